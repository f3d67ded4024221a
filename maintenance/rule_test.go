package maintenance

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/teambition/rrule-go"
	"pgregory.net/rapid"

	"sereno"
)

func TestMistakes(t *testing.T) {
	good := window("FREQ=WEEKLY;BYDAY=SU", "2026-11-01T02:00", "Europe/Berlin", hour)
	for _, c := range []struct {
		change func(w *Window)
		want   string
	}{
		{func(w *Window) { w.Match = `site = "x"` }, "match: "},
		{func(w *Window) { w.Zone = "Berlin" }, `zone: "Berlin" is no time zone: use a name such as Europe/Berlin, America/New_York or UTC`},
		{func(w *Window) { w.Start = "" }, "start: the first begin must be given, by the clock on the wall: 2026-11-01T02:00"},
		{func(w *Window) { w.Start = "2026-11-01T02:00:00+01:00" }, `start: "2026-11-01T02:00:00+01:00" has an offset: write the time on the wall alone (2026-11-01T02:00), and which wall as the zone`},
		{func(w *Window) { w.Start = "next Sunday" }, `start: "next Sunday" is not a time such as 2026-11-01T02:00`},
		{func(w *Window) { w.Start = "1926-11-01T02:00" }, "start: the first begin lies between the years 2000 and 2199, not in 1926"},
		{func(w *Window) { w.Length = 0 }, "length: how long the window is must be given: 2h, 90m, 48h"},
		{func(w *Window) { w.Length = time.Second }, "length: a window is between 1 minute and 31 days long, not 1s"},
		{func(w *Window) { w.Length = 800 * hour }, "length: a window is between 1 minute and 31 days long, not 800h0m0s"},
		{func(w *Window) { w.RRule = "every Sunday" }, `rrule: "EVERY SUNDAY" is no part of a rule: parts are NAME=value with a semicolon between them, as in FREQ=WEEKLY;BYDAY=SU`},
		{func(w *Window) { w.RRule = "BYDAY=SU" }, "rrule: a rule needs FREQ, as in FREQ=WEEKLY;BYDAY=SU; without a rule the window is once"},
		{func(w *Window) { w.RRule = "FREQ=SECONDLY" }, "rrule: a window that begins every second never ends: take FREQ=MINUTELY or something rarer"},
		{func(w *Window) { w.RRule = "FREQ=FORTNIGHTLY" }, "rrule: FREQ=FORTNIGHTLY: there are YEARLY, MONTHLY, WEEKLY, DAILY, HOURLY and MINUTELY"},
		{func(w *Window) { w.RRule = "FREQ=DAILY;FREQ=WEEKLY" }, "rrule: FREQ is there twice"},
		{func(w *Window) { w.RRule = "DTSTART=20261101T020000;FREQ=DAILY" }, "rrule: DTSTART has no place in the rule: write the first begin as start, and where its clock hangs as zone"},
		{func(w *Window) { w.RRule = "DTSTART;TZID=Europe/Berlin:20261101T020000\nRRULE:FREQ=DAILY" }, "rrule: DTSTART has no place in the rule: write the first begin as start, and where its clock hangs as zone"},
		{func(w *Window) { w.RRule = "FREQ=DAILY;TZID=Europe/Berlin" }, "rrule: TZID has no place in the rule: write it as zone"},
		{func(w *Window) { w.RRule = "FREQ=DAILY;INTERVAL=0" }, "rrule: INTERVAL is from 1 to 100000, not 0"},
		{func(w *Window) { w.RRule = "FREQ=DAILY;INTERVAL=99999999999999999999" }, "rrule: INTERVAL is from 1 to 100000, not 99999999999999999999"},
		{func(w *Window) { w.RRule = "FREQ=DAILY;COUNT=1000000" }, "rrule: COUNT is from 1 to 10000, not 1000000; a rule that goes on longer has an UNTIL, or no end"},
		{func(w *Window) { w.RRule = "FREQ=DAILY;COUNT=3;UNTIL=20270101" }, "rrule: a rule ends by COUNT or by UNTIL, not by both"},
		{func(w *Window) { w.RRule = "FREQ=DAILY;UNTIL=tomorrow" }, "rrule: UNTIL=TOMORROW is no time: write 20261231 for all of that day, 20261231T235900 by the clock on the wall, or 20261231T225900Z in UTC"},
		{func(w *Window) { w.RRule = "FREQ=WEEKLY;BYDAY=2MO" }, "rrule: a numbered day such as 2MO goes with FREQ=MONTHLY or YEARLY alone"},
		{func(w *Window) { w.RRule = "FREQ=WEEKLY;BYDAY=SUNDAY" }, "rrule: BYDAY is a list of MO, TU, WE, TH, FR, SA and SU, numbered if need be (1MO is the first Monday, -1SU the last Sunday), not SUNDAY"},
		{func(w *Window) { w.RRule = "FREQ=MONTHLY;BYMONTHDAY=32" }, "rrule: BYMONTHDAY is a list of numbers from 1 to 31, or from -31 to -1 counted from the end, not 32"},
		{func(w *Window) { w.RRule = "FREQ=YEARLY;BYWEEKNO=20" }, "rrule: BYWEEKNO needs BYDAY, to say which days of the week"},
		{func(w *Window) { w.RRule = "FREQ=YEARLY;BYEASTER=0" }, "rrule: a rule has no part BYEASTER: there are FREQ, INTERVAL,"},
		{func(w *Window) { w.RRule = "FREQ=DAILY;BYSETPOS=2" }, "rrule: BYSETPOS chooses from what another BY part gives: add one, such as BYDAY"},
		{func(w *Window) { w.RRule = "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30" }, "rrule: this rule never occurs between 2026-11-01 and 2126-11-01"},
		{func(w *Window) { w.RRule = "FREQ=MINUTELY;BYHOUR=5;BYMONTH=2;BYMONTHDAY=30" }, "rrule: this rule never occurs between 2026-11-01 and 2126-11-01"},
		{func(w *Window) { w.RRule = "FREQ=HOURLY;INTERVAL=24;BYHOUR=5" }, "rrule: this rule never occurs between 2026-11-01 and 2126-11-01"},
		{func(w *Window) { w.RRule = "FREQ=MINUTELY;INTERVAL=2;BYMINUTE=31" }, "rrule: this rule never occurs between 2026-11-01 and"},
		{func(w *Window) { w.RRule = "FREQ=MONTHLY;BYDAY=53MO" }, "rrule: this rule never occurs between 2026-11-01 and 2126-11-01"},
		{func(w *Window) { w.RRule = "FREQ=MONTHLY;BYDAY=SU;BYSETPOS=6" }, "rrule: this rule never occurs between 2026-11-01 and 2126-11-01"},
		{func(w *Window) { w.RRule = "FREQ=WEEKLY;UNTIL=20261031" }, "rrule: its UNTIL, 2026-10-31, lies before the first begin, 2026-11-01"},
		{func(w *Window) { w.RRule = "FREQ=HOURLY" }, "rrule: its occurrences leave no gap: from 2026-11-01 02:00 on it would be maintenance for more than 31 days; make the window shorter or the rule rarer, or pause the devices"},
		{func(w *Window) { w.RRule = "FREQ=MINUTELY" }, "rrule: its occurrences leave no gap"},
		{func(w *Window) { w.RRule = "FREQ=MINUTELY;BYMONTH=6,7" }, "rrule: its occurrences leave no gap: from 2027-06-01 00:00 on"},
		{func(w *Window) { w.RRule = "FREQ=DAILY;INTERVAL=" + strings.Repeat("1", 600) }, "rrule: a rule has at most 500 characters, not 620"},
	} {
		w := good
		c.change(&w)
		_, err := w.Compile()
		if err == nil || !strings.HasPrefix(err.Error(), c.want) || sereno.KindOf(err) != sereno.Invalid {
			t.Errorf("%+v: got %v, want %s", w, err, c.want)
		}
	}
	_, err := Window{Match: "(", RRule: "x", Start: "y", Zone: "z"}.Compile()
	if n := strings.Count(fmt.Sprint(err), "\n"); n != 4 {
		t.Errorf("five mistakes, %d lines: %v", n+1, err)
	}
}

func TestAnAbsurdIntervalIsOnce(t *testing.T) {
	c := compile(t, window("FREQ=YEARLY;INTERVAL=100000", "2026-11-01T02:00", "", hour))
	if got, want := story(c, "2026-01-01 00:00", 2), "2026-11-01 02:00 UTC to 01 03:00 UTC (1h0m0s)\nnone"; got != want {
		t.Errorf("got %s", got)
	}
}

func TestALongTimeAfterTheFirst(t *testing.T) {
	c := compile(t, window("FREQ=MINUTELY;INTERVAL=7", "2000-01-01T00:00", "Europe/Berlin", time.Minute))
	if got, want := story(c, "2150-07-01 12:00", 1), "2150-07-01 12:02 CEST to 01 12:03 CEST (1m0s)"; got != want {
		t.Errorf("got %s", got)
	}
}

// drawRule draws a rule that both we and the library give one meaning to.
func drawRule(t *rapid.T) string {
	some := func(label string, gen *rapid.Generator[int]) string {
		list := rapid.SliceOfNDistinct(gen, 1, 4, func(i int) int { return i }).Draw(t, label)
		return strings.Trim(strings.ReplaceAll(fmt.Sprint(list), " ", ","), "[]")
	}
	maybe := func(label string) bool { return rapid.IntRange(0, 3).Draw(t, label+"?") == 0 }
	signed := func(most int) *rapid.Generator[int] {
		return rapid.OneOf(rapid.IntRange(1, most), rapid.IntRange(-most, -1))
	}
	freq := rapid.SampledFrom([]string{"YEARLY", "MONTHLY", "WEEKLY", "DAILY", "HOURLY", "MINUTELY"}).Draw(t, "freq")
	text := "FREQ=" + freq
	if maybe("interval") {
		text += fmt.Sprintf(";INTERVAL=%d", rapid.IntRange(1, 40).Draw(t, "interval"))
	}
	if maybe("wkst") {
		text += ";WKST=" + rapid.SampledFrom([]string{"MO", "SU", "WE"}).Draw(t, "wkst")
	}
	by := false
	if maybe("bymonth") {
		by, text = true, text+";BYMONTH="+some("months", rapid.IntRange(1, 12))
	}
	if freq != "WEEKLY" && maybe("bymonthday") {
		by, text = true, text+";BYMONTHDAY="+some("monthdays", signed(31))
	}
	if freq != "MONTHLY" && freq != "WEEKLY" && freq != "DAILY" && maybe("byyearday") {
		by, text = true, text+";BYYEARDAY="+some("yeardays", signed(366))
	}
	if maybe("byday") {
		days := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"MO", "TU", "WE", "TH", "FR", "SA", "SU"}), 1, 3, func(s string) string { return s }).Draw(t, "days")
		if (freq == "MONTHLY" || freq == "YEARLY") && rapid.Bool().Draw(t, "numbered") {
			for i := range days {
				days[i] = fmt.Sprint(signed(4).Draw(t, "nth")) + days[i] // the library panics at 53MO of a month
			}
		}
		by, text = true, text+";BYDAY="+strings.Join(days, ",")
	}
	if freq != "HOURLY" && freq != "MINUTELY" { // where the library may never return
		if maybe("byhour") {
			by, text = true, text+";BYHOUR="+some("hours", rapid.IntRange(0, 23))
		}
		if maybe("byminute") {
			by, text = true, text+";BYMINUTE="+some("minutes", rapid.IntRange(0, 59))
		}
		// Of the week of the start the library chooses among the days that are
		// left, not among those of the week.
		if by && freq != "WEEKLY" && maybe("bysetpos") {
			text += ";BYSETPOS=" + some("positions", signed(5))
		}
	}
	switch rapid.IntRange(0, 5).Draw(t, "end") {
	case 0:
		text += fmt.Sprintf(";COUNT=%d", rapid.IntRange(1, 50).Draw(t, "count"))
	case 1:
		text += ";UNTIL=" + time.Date(2026, 1, rapid.IntRange(1, 2000).Draw(t, "until"), 5, 0, 0, 0, time.UTC).Format("20060102T150405")
	}
	return text
}

func drawStart(t *rapid.T) time.Time {
	return time.Date(2025, 1, 1, 0, rapid.IntRange(0, 2*366*24*60).Draw(t, "start"), 0, 0, time.UTC)
}

// On a wall without a zone, our rules are those of the library.
func TestRulesAgreeWithTheLibrary(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text, start := drawRule(t), drawStart(t)
		r, err := parseRule(text)
		if err != nil {
			t.Fatal(err)
		}
		r.settle(wall(start.Unix()), func(sereno.Instant) wall { return 0 })
		option, err := rrule.StrToROption(text)
		if err != nil {
			t.Fatal(err)
		}
		option.Dtstart = start
		library, err := rrule.NewRRule(*option)
		if err != nil {
			t.Fatal(err)
		}
		far := start.AddDate(60, 0, 0)
		var want []wall
		next := library.Iterator()
		for len(want) < 60 {
			at, ok := next()
			if !ok || at.After(far) {
				break
			}
			want = append(want, wall(at.Unix()))
		}
		var got []wall
		for w := range r.occurrences(r.start) {
			if len(got) == len(want) && len(want) == 60 || w > wall(far.Unix()) {
				break
			}
			got = append(got, w)
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%s from %s:\n got %v\nwant %v", text, start, walls(got), walls(want))
		}
		// And wherever one begins to ask, it is the same rule.
		if n := len(want); n > 0 {
			i := rapid.IntRange(0, n-1).Draw(t, "from")
			for w := range r.occurrences(want[i]) {
				if w != want[i] {
					t.Fatalf("%s from %s: asked at occurrence %d, %s, got %s", text, start, i, want[i].date(), w.date())
				}
				break
			}
		}
	})
}

func walls(list []wall) []string {
	var out []string
	for _, w := range list {
		out = append(out, w.date().Format("2006-01-02T15:04"))
	}
	return out
}

var zones = []string{"Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "UTC", "Pacific/Apia", "Africa/Cairo", "America/Nuuk", "America/St_Johns", "Antarctica/Troll"}

// TestTheWallIsWalked compares with the slowest way there is: every minute of
// the weeks around a transition, what the wall shows and whether an occurrence
// is on.
func TestTheWallIsWalked(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tz := rapid.SampledFrom(zones).Draw(t, "zone")
		zone, err := time.LoadLocation(tz)
		if err != nil {
			t.Fatal(err)
		}
		year := rapid.SampledFrom([]int{2011, 2026}).Draw(t, "year")
		_, transition := time.Date(year, rapid.SampledFrom([]time.Month{1, 7, 12}).Draw(t, "month"), 20, 0, 0, 0, 0, zone).ZoneBounds()
		if transition.IsZero() {
			transition = time.Date(year, 2, 26, 0, 0, 0, 0, time.UTC)
		}
		begun := transition.Add(-time.Duration(rapid.IntRange(4, 12).Draw(t, "days")) * 24 * time.Hour)
		start := begun.UTC().Truncate(24 * time.Hour).Add(time.Duration(rapid.IntRange(0, 5*24*60).Draw(t, "start")) * time.Minute)
		length := time.Duration(rapid.SampledFrom([]int{1, 29, 60, 120, 7 * 60, 24 * 60, 26 * 60}).Draw(t, "minutes")) * time.Minute
		hours := rapid.SliceOfNDistinct(rapid.IntRange(0, 23), 1, 3, func(i int) int { return i }).Draw(t, "hours")
		weekday := time.Weekday(rapid.IntRange(0, 6).Draw(t, "weekday"))
		names := []string{"SU", "MO", "TU", "WE", "TH", "FR", "SA"}
		rule := fmt.Sprintf("FREQ=DAILY;BYDAY=%s,%s;BYHOUR=%s", names[weekday], names[(weekday+3)%7], strings.Trim(strings.ReplaceAll(fmt.Sprint(hours), " ", ","), "[]"))
		c, err := window(rule, start.Format("2006-01-02T15:04"), tz, length).Compile()
		if err != nil {
			t.Fatal(err)
		}

		// What the rule says, as a question about a wall.
		begins := func(w time.Time) bool {
			return !w.Before(start) && w.Minute() == start.Minute() && slices.Contains(hours, w.Hour()) && (w.Weekday() == weekday || w.Weekday() == (weekday+3)%7)
		}
		type minute = int64
		from := begun.Unix()/60 - 2*24*60
		to := from + 28*24*60
		on := map[minute]bool{}
		first := map[minute]minute{} // of a minute on the wall: when it is shown, or was jumped over
		before := wallMinutes(from-1, zone)
		for m := from; m < to; m++ {
			w := wallMinutes(m, zone)
			for jumped := before + 1; jumped <= w; jumped++ {
				first[jumped] = m
			}
			before = max(before, w)
		}
		for w, m := range first {
			shown := wallMinutes(m, zone)
			if !begins(time.Unix(w*60, 0).UTC()) {
				continue
			}
			if shown-w >= 1 && jump(m, zone) >= 24*60 {
				continue // that day never was
			}
			days := int64(length / (24 * time.Hour))
			end := m
			if days > 0 {
				e, ok := first[w+days*24*60]
				if !ok {
					continue // beyond the walk
				}
				end = e
			}
			for m := m; m < end+int64(length%(24*time.Hour)/time.Minute); m++ {
				on[m] = true
			}
		}
		to -= 3 * 24 * 60
		var begin minute
		for m := from; m < to; m++ {
			at := sereno.Instant(m * 60 * 1e6)
			b, e, in := c.At(at)
			if in != on[m] {
				t.Fatalf("%s in %s for %s: at %s At says %v, the walk %v", rule, tz, length, at.Time().In(zone), in, on[m])
			}
			if !in {
				continue
			}
			if !on[m-1] {
				begin = m
				if nb, ne, ok := c.Next(at - 1); !ok || nb != b || ne != e {
					t.Fatalf("Next before %s is %s to %s, At %s to %s", at, nb, ne, b, e)
				}
			}
			if b != sereno.Instant(begin*60*1e6) {
				t.Fatalf("%s in %s: the stretch at %s begins at %s, not %s", rule, tz, at, sereno.Instant(begin*60*1e6), b)
			}
			if last := int64(e)/60e6 - 1; last < to && (!on[last] || on[last+1]) {
				t.Fatalf("%s in %s: the stretch at %s does not end at %s", rule, tz, at, e)
			}
		}
	})
}

func wallMinutes(m int64, zone *time.Location) int64 {
	_, offset := time.Unix(m*60, 0).In(zone).Zone()
	return m + int64(offset)/60
}

// jump returns by how many minutes the wall is put forward at a minute.
func jump(m int64, zone *time.Location) int64 {
	return wallMinutes(m, zone) - wallMinutes(m-1, zone) - 1
}

// At and Next say the same, whatever order they are asked in.
func TestAtAgreesWithNext(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := window(drawRule(t), drawStart(t).Format("2006-01-02T15:04"), rapid.SampledFrom(zones).Draw(t, "zone"),
			time.Duration(rapid.IntRange(1, 3*24*60).Draw(t, "minutes"))*time.Minute)
		c, err := w.Compile()
		if err != nil {
			t.Skip(err)
		}
		fresh, _ := w.Compile()
		for range 20 {
			at := sereno.At(time.Date(2024, 6, 1, 0, rapid.IntRange(0, 10*366*24*60).Draw(t, "at"), 0, 0, time.UTC))
			begin, end, ok := c.Next(at)
			if !ok {
				continue
			}
			if begin <= at || end <= begin {
				t.Fatalf("Next(%s) is %s to %s", at, begin, end)
			}
			for _, in := range []sereno.Instant{begin, end - 1, begin + (end-begin)/2} {
				if b, e, ok := fresh.At(in); !ok || b != begin || e != end {
					t.Fatalf("Next(%s) is %s to %s, but At(%s) %s to %s, %v", at, begin, end, in, b, e, ok)
				}
			}
			for _, out := range []sereno.Instant{begin - 1, end} {
				if b, e, ok := fresh.At(out); ok && b <= begin && e >= end {
					t.Fatalf("%s lies in %s to %s, but Next(%s) is %s to %s", out, b, e, at, begin, end)
				}
			}
			if b, e, ok := c.At(at); ok && (b > at || e <= at || e >= begin) {
				t.Fatalf("At(%s) is %s to %s, before %s", at, b, e, begin)
			}
		}
	})
}

// FuzzRule: no text makes it panic or hang, and what it accepts has a first
// occurrence.
func FuzzRule(f *testing.F) {
	for _, text := range []string{
		"", "FREQ=WEEKLY;BYDAY=SU", "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30", "FREQ=MONTHLY;BYDAY=-1FR", "FREQ=MONTHLY;BYDAY=53MO",
		"FREQ=HOURLY;INTERVAL=24;BYHOUR=5", "FREQ=MINUTELY;INTERVAL=10;BYMONTH=6;BYHOUR=3", "FREQ=DAILY;BYHOUR=1,2,3;BYSETPOS=-1;COUNT=10000",
		"FREQ=YEARLY;BYWEEKNO=-53;BYDAY=MO;WKST=SU", "RRULE:FREQ=DAILY;UNTIL=20270101T000000Z", "FREQ=YEARLY;BYYEARDAY=-366;INTERVAL=100000",
		"DTSTART;TZID=Europe/Berlin:20261101T020000\nRRULE:FREQ=DAILY", "FREQ=SECONDLY", "FREQ=MINUTELY;BYMONTH=2;BYMONTHDAY=29;INTERVAL=99991",
	} {
		f.Add(text, int64(60), byte(0))
	}
	f.Fuzz(func(t *testing.T, text string, minutes int64, zone byte) {
		w := window(text, "2026-11-01T02:30", zones[int(zone)%len(zones)], time.Duration(minutes%50000)*time.Minute)
		c, err := w.Compile()
		if err != nil {
			if sereno.KindOf(err) != sereno.Invalid {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		begin, end, ok := c.Next(0)
		if !ok || end <= begin {
			t.Fatalf("%q: accepted, and never occurs", text)
		}
		if b, e, in := c.At(end - 1); !in || b != begin || e != end {
			t.Fatalf("%q: Next says %s to %s, At %s to %s", text, begin, end, b, e)
		}
		c.Next(end.Add(40 * 365 * 24 * time.Hour))
	})
}

func BenchmarkCompile(b *testing.B) {
	for _, text := range []string{"FREQ=WEEKLY;BYDAY=SU", "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30", "FREQ=MINUTELY;INTERVAL=2;BYMINUTE=31", "FREQ=MINUTELY", "FREQ=MINUTELY;INTERVAL=2", "FREQ=DAILY;COUNT=10000"} {
		b.Run(text, func(b *testing.B) {
			w := window(text, "2026-11-01T02:00", "Europe/Berlin", time.Minute)
			for b.Loop() {
				_, _ = w.Compile()
			}
		})
	}
}

func BenchmarkAt(b *testing.B) {
	c := compile(b, window("FREQ=WEEKLY;BYDAY=SU", "2000-01-02T02:00", "Europe/Berlin", hour))
	at := sereno.At(time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC))
	for b.Loop() {
		c.At(at)
	}
}
