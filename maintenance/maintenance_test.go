package maintenance

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"sereno"
)

func window(rule, start, zone string, length time.Duration) Window {
	return Window{Name: "w", RRule: rule, Start: start, Zone: zone, Length: length}
}

func compile(t testing.TB, w Window) *Calendar {
	t.Helper()
	c, err := w.Compile()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// story writes the stretches from a moment on as they are on the wall, with
// the offset where it is not the same on both ends.
func story(c *Calendar, from string, n int) string {
	at, err := time.ParseInLocation("2006-01-02 15:04", from, c.zone)
	if err != nil {
		panic(err)
	}
	var lines []string
	next := sereno.At(at) - 1
	for range n {
		begin, end, ok := c.Next(next)
		if !ok {
			lines = append(lines, "none")
			break
		}
		lines = append(lines, fmt.Sprintf("%s to %s (%s)", begin.Time().In(c.zone).Format("2006-01-02 15:04 MST"), end.Time().In(c.zone).Format("02 15:04 MST"), end.Sub(begin)))
		next = begin
	}
	return strings.Join(lines, "\n")
}

const hour = time.Hour

func TestWallClockTimesStayPut(t *testing.T) {
	for _, c := range []struct {
		what            string
		rule, start, tz string
		length          time.Duration
		from            string
		stretches       string
	}{
		{"every Sunday, across the autumn change in Berlin", "FREQ=WEEKLY;BYDAY=SU", "2026-10-04T02:00", "Europe/Berlin", 2 * hour, "2026-10-18 00:00", `
			2026-10-18 02:00 CEST to 18 04:00 CEST (2h0m0s)
			2026-10-25 02:00 CEST to 25 03:00 CET (2h0m0s)
			2026-11-01 02:00 CET to 01 04:00 CET (2h0m0s)`},
		{"02:30 is there twice: the first counts", "FREQ=DAILY", "2026-10-01T02:30", "Europe/Berlin", 30 * time.Minute, "2026-10-24 12:00", `
			2026-10-25 02:30 CEST to 25 02:00 CET (30m0s)
			2026-10-26 02:30 CET to 26 03:00 CET (30m0s)`},
		{"02:30 is not there: 03:00", "FREQ=DAILY", "2026-03-01T02:30", "Europe/Berlin", 2 * hour, "2026-03-28 00:00", `
			2026-03-28 02:30 CET to 28 04:30 CET (2h0m0s)
			2026-03-29 03:00 CEST to 29 05:00 CEST (2h0m0s)
			2026-03-30 02:30 CEST to 30 04:30 CEST (2h0m0s)`},
		{"a whole day ends at the same time on the wall, autumn", "FREQ=WEEKLY;BYDAY=SU", "2026-10-04T00:00", "Europe/Berlin", 24 * hour, "2026-10-25 00:00", `
			2026-10-25 00:00 CEST to 26 00:00 CET (25h0m0s)`},
		{"a whole day ends at the same time on the wall, spring", "FREQ=WEEKLY;BYDAY=SU", "2026-03-01T00:00", "Europe/Berlin", 24 * hour, "2026-03-29 00:00", `
			2026-03-29 00:00 CET to 30 00:00 CEST (23h0m0s)`},
		{"a day and two hours", "", "2026-10-24T23:00", "Europe/Berlin", 26 * hour, "2026-10-01 00:00", `
			2026-10-24 23:00 CEST to 26 01:00 CET (27h0m0s)
			none`},
		{"New York, spring", "FREQ=DAILY", "2026-03-01T02:15", "America/New_York", hour, "2026-03-08 00:00", `
			2026-03-08 03:00 EDT to 08 04:00 EDT (1h0m0s)
			2026-03-09 02:15 EDT to 09 03:15 EDT (1h0m0s)`},
		{"New York, autumn", "FREQ=DAILY", "2026-03-01T01:15", "America/New_York", hour, "2026-11-01 00:00", `
			2026-11-01 01:15 EDT to 01 01:15 EST (1h0m0s)
			2026-11-02 01:15 EST to 02 02:15 EST (1h0m0s)`},
		{"Lord Howe puts its clocks forward by half an hour", "FREQ=DAILY", "2026-03-01T02:15", "Australia/Lord_Howe", hour, "2026-10-04 00:00", `
			2026-10-04 02:30 +11 to 04 03:30 +11 (1h0m0s)
			2026-10-05 02:15 +11 to 05 03:15 +11 (1h0m0s)`},
		{"Lord Howe puts its clocks back by half an hour", "FREQ=DAILY", "2026-03-01T01:45", "Australia/Lord_Howe", hour, "2026-04-05 00:00", `
			2026-04-05 01:45 +11 to 05 02:15 +1030 (1h0m0s)
			2026-04-06 01:45 +1030 to 06 02:45 +1030 (1h0m0s)`},
		{"a zone without any", "FREQ=DAILY", "2026-03-01T02:30", "Asia/Kolkata", hour, "2026-03-29 00:00", `
			2026-03-29 02:30 IST to 29 03:30 IST (1h0m0s)`},
		{"UTC", "FREQ=DAILY", "2026-03-01T02:30", "", hour, "2026-03-29 00:00", `
			2026-03-29 02:30 UTC to 29 03:30 UTC (1h0m0s)`},
		{"clocks put forward at midnight", "FREQ=DAILY", "2026-04-01T00:30", "Africa/Cairo", hour, "2026-04-23 12:00", `
			2026-04-24 01:00 EEST to 24 02:00 EEST (1h0m0s)`},
		{"Apia never had 30 December 2011", "FREQ=DAILY", "2011-12-01T10:00", "Pacific/Apia", hour, "2011-12-29 00:00", `
			2011-12-29 10:00 -10 to 29 11:00 -10 (1h0m0s)
			2011-12-31 10:00 +14 to 31 11:00 +14 (1h0m0s)`},
		{"nor did a window of a day end in it", "FREQ=DAILY;INTERVAL=3", "2011-12-29T10:00", "Pacific/Apia", 24 * hour, "2011-12-29 00:00", `
			2011-12-29 10:00 -10 to 31 00:00 +14 (14h0m0s)
			2012-01-01 10:00 +14 to 02 10:00 +14 (24h0m0s)`},
		{"overlapping ones are one", "FREQ=DAILY;BYHOUR=1,2,3;COUNT=6", "2026-11-01T01:00", "", 90 * time.Minute, "2026-11-01 00:00", `
			2026-11-01 01:00 UTC to 01 04:30 UTC (3h30m0s)
			2026-11-02 01:00 UTC to 02 04:30 UTC (3h30m0s)
			none`},
		{"and those that touch", "FREQ=DAILY;COUNT=3", "2026-11-01T00:00", "Europe/Berlin", 24 * hour, "2026-11-01 00:00", `
			2026-11-01 00:00 CET to 04 00:00 CET (72h0m0s)
			none`},
		{"the last Friday", "FREQ=MONTHLY;BYDAY=-1FR", "2026-01-01T22:00", "Europe/Berlin", 8 * hour, "2026-01-01 00:00", `
			2026-01-30 22:00 CET to 31 06:00 CET (8h0m0s)
			2026-02-27 22:00 CET to 28 06:00 CET (8h0m0s)
			2026-03-27 22:00 CET to 28 06:00 CET (8h0m0s)`},
		{"patch Tuesday's Wednesday", "FREQ=MONTHLY;BYDAY=WE;BYMONTHDAY=9,10,11,12,13,14,15", "2026-01-01T01:00", "Europe/Berlin", hour, "2026-11-01 00:00", `
			2026-11-11 01:00 CET to 11 02:00 CET (1h0m0s)
			2026-12-09 01:00 CET to 09 02:00 CET (1h0m0s)`},
		{"the last working day", "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1", "2026-01-01T01:00", "", hour, "2026-01-01 00:00", `
			2026-01-30 01:00 UTC to 30 02:00 UTC (1h0m0s)
			2026-02-27 01:00 UTC to 27 02:00 UTC (1h0m0s)`},
		{"the 31st, where there is one", "FREQ=MONTHLY", "2026-01-31T01:00", "", hour, "2026-01-01 00:00", `
			2026-01-31 01:00 UTC to 31 02:00 UTC (1h0m0s)
			2026-03-31 01:00 UTC to 31 02:00 UTC (1h0m0s)`},
		{"29 February", "FREQ=YEARLY", "2024-02-29T01:00", "", hour, "2096-01-01 00:00", `
			2096-02-29 01:00 UTC to 29 02:00 UTC (1h0m0s)
			2104-02-29 01:00 UTC to 29 02:00 UTC (1h0m0s)`},
		{"every third week, from a Wednesday", "FREQ=WEEKLY;INTERVAL=3;BYDAY=MO,WE", "2026-11-04T01:00", "", hour, "2026-11-01 00:00", `
			2026-11-04 01:00 UTC to 04 02:00 UTC (1h0m0s)
			2026-11-23 01:00 UTC to 23 02:00 UTC (1h0m0s)
			2026-11-25 01:00 UTC to 25 02:00 UTC (1h0m0s)`},
		{"until a day: that day is one of them", "FREQ=DAILY;UNTIL=20261103", "2026-11-02T01:00", "Europe/Berlin", hour, "2026-11-01 00:00", `
			2026-11-02 01:00 CET to 02 02:00 CET (1h0m0s)
			2026-11-03 01:00 CET to 03 02:00 CET (1h0m0s)
			none`},
		{"until a moment in UTC", "FREQ=DAILY;UNTIL=20261103T000000Z", "2026-11-02T01:00", "Europe/Berlin", hour, "2026-11-01 00:00", `
			2026-11-02 01:00 CET to 02 02:00 CET (1h0m0s)
			2026-11-03 01:00 CET to 03 02:00 CET (1h0m0s)
			none`},
		{"until just before", "FREQ=DAILY;UNTIL=20261102T235959Z", "2026-11-02T01:00", "Europe/Berlin", hour, "2026-11-01 00:00", `
			2026-11-02 01:00 CET to 02 02:00 CET (1h0m0s)
			none`},
		{"week 53", "FREQ=YEARLY;BYWEEKNO=53;BYDAY=SU", "2026-01-01T01:00", "", hour, "2026-01-01 00:00", `
			2027-01-03 01:00 UTC to 03 02:00 UTC (1h0m0s)
			2033-01-02 01:00 UTC to 02 02:00 UTC (1h0m0s)`},
		{"every ten minutes for three, nights of June", "FREQ=MINUTELY;INTERVAL=10;BYMONTH=6;BYHOUR=3", "2026-01-01T00:00", "", 3 * time.Minute, "2026-06-30 03:40", `
			2026-06-30 03:40 UTC to 30 03:43 UTC (3m0s)
			2026-06-30 03:50 UTC to 30 03:53 UTC (3m0s)
			2027-06-01 03:00 UTC to 01 03:03 UTC (3m0s)`},
	} {
		t.Run(c.what, func(t *testing.T) {
			want := strings.TrimSpace(strings.ReplaceAll(c.stretches, "\t", ""))
			got := story(compile(t, window(c.rule, c.start, c.tz, c.length)), c.from, strings.Count(want, "\n")+1)
			if got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// A calendar is asked by many at once, about now and about other times.
func TestManyAsk(t *testing.T) {
	c := compile(t, window("FREQ=DAILY", "2026-01-01T02:00", "Europe/Berlin", hour))
	var many sync.WaitGroup
	for i := range 8 {
		many.Go(func() {
			for k := range 2000 {
				day := time.Date(2026, 1, 1+(k*(i+1))%3000, 0, 0, 0, 0, c.zone)
				at := sereno.At(day.Add(time.Hour))
				begin, end, ok := c.Next(at)
				if b, e, in := c.At(begin); !ok || !in || b != begin || e != end || end.Sub(begin) != hour {
					t.Errorf("after %s: %s to %s, %v", at, begin, end, ok)
					return
				}
			}
		})
	}
	many.Wait()
}
