package sereno

import (
	"testing"
	"time"
	_ "time/tzdata"

	"pgregory.net/rapid"
)

func zone(t interface{ Fatal(...any) }, name string) *time.Location {
	z, err := LoadZone(name)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

func TestPeriods(t *testing.T) {
	now := At(time.Date(2026, 11, 21, 23, 30, 0, 0, time.UTC)) // a Saturday; in Berlin it is Sunday already
	for _, test := range []struct{ zone, name, from, to string }{
		{"", "2026", "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z"},
		{"", "2026-10", "2026-10-01T00:00:00Z", "2026-11-01T00:00:00Z"},
		{"", "2026-10-03", "2026-10-03T00:00:00Z", "2026-10-04T00:00:00Z"},
		{"", "today", "2026-11-21T00:00:00Z", "2026-11-22T00:00:00Z"},
		{"", "yesterday", "2026-11-20T00:00:00Z", "2026-11-21T00:00:00Z"},
		{"", "week", "2026-11-16T00:00:00Z", "2026-11-23T00:00:00Z"},
		{"", "month", "2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z"},
		{"", "year", "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z"},
		{"", "2026-W01", "2025-12-29T00:00:00Z", "2026-01-05T00:00:00Z"},
		{"", "2020-W53", "2020-12-28T00:00:00Z", "2021-01-04T00:00:00Z"},
		{"Europe/Berlin", "today", "2026-11-21T23:00:00Z", "2026-11-22T23:00:00Z"},
		{"Europe/Berlin", "2026-10", "2026-09-30T22:00:00Z", "2026-10-31T23:00:00Z"},    // an hour longer than 31 days
		{"Europe/Berlin", "2026-10-25", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"}, // 25 hours
		{"Europe/Berlin", "2026-03-29", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"}, // 23 hours
		{"Europe/Berlin", "2026-W42", "2026-10-11T22:00:00Z", "2026-10-18T22:00:00Z"},
		{"Asia/Kolkata", "2026-10-03", "2026-10-02T18:30:00Z", "2026-10-03T18:30:00Z"},
		{"Africa/Cairo", "2026-04-24", "2026-04-23T22:00:00Z", "2026-04-24T21:00:00Z"},   // there is no midnight
		{"America/Havana", "2025-11-02", "2025-11-02T04:00:00Z", "2025-11-03T05:00:00Z"}, // there are two
		{"Pacific/Apia", "2011-12-31", "2011-12-30T10:00:00Z", "2011-12-31T10:00:00Z"},   // the day before never was
	} {
		from, to, err := ParsePeriod(test.name, zone(t, test.zone), now)
		if err != nil {
			t.Errorf("%s in %q: %v", test.name, test.zone, err)
			continue
		}
		if got := [2]string{from.Time().Format(time.RFC3339), to.Time().Format(time.RFC3339)}; got != [2]string{test.from, test.to} {
			t.Errorf("%s in %q is %v, not [%s %s]", test.name, test.zone, got, test.from, test.to)
		}
	}
}

func TestWhatIsNoPeriod(t *testing.T) {
	now := At(time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC))
	for _, name := range []string{
		"", "tomorrow", "26", "2026-13", "2026-00", "2026-02-30", "2026-W54", "2026-W00", "2026-W1", "2025-W53", "-2026", "0001", "1969",
		"2026-10-03T00:00:00Z", "2027", "2026-12", "2026-W48", "2026-11-22", "9999999999", "2026-W4２",
	} {
		if from, to, err := ParsePeriod(name, time.UTC, now); KindOf(err) != Invalid || err == nil {
			t.Errorf("%q is [%v, %v), %v", name, from, to, err)
		}
	}
}

func TestWindows(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"90m": 90 * time.Minute, "24h": 24 * time.Hour, "7d": 168 * time.Hour, "4w": 672 * time.Hour, "365d": 8760 * time.Hour, "36500d": 876_000 * time.Hour,
	} {
		if got, err := ParseWindow(text); err != nil || got != want {
			t.Errorf("%s is %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "d", "7", "0d", "-7d", "+7d", "7 d", "1.5d", "200000d", "99999999999999999999d", "7y", "d7", "7dd"} {
		if got, err := ParseWindow(text); KindOf(err) != Invalid || err == nil {
			t.Errorf("%q is %v, %v", text, got, err)
		}
	}
}

func TestZones(t *testing.T) {
	for _, name := range []string{"Berlin", "Europe/Atlantis", "../../etc/passwd", "Local", "CEST"} {
		if z, err := LoadZone(name); KindOf(err) != Invalid || err == nil {
			t.Errorf("%q is %v, %v", name, z, err)
		}
	}
}

// Wherever clocks are changed: windows tile, each begins where its step begins,
// and it holds no moment of another.
func TestAnyCalendar(t *testing.T) {
	names := []string{
		"UTC", "Europe/Berlin", "America/New_York", "America/Havana", "America/Sao_Paulo", "Africa/Cairo", "Africa/Casablanca", "Asia/Kolkata",
		"Asia/Beirut", "Asia/Tehran", "Australia/Lord_Howe", "America/St_Johns", "Pacific/Apia", "Pacific/Chatham", "Antarctica/Troll", "America/Asuncion",
	}
	rapid.Check(t, func(t *rapid.T) {
		z := zone(t, rapid.SampledFrom(names).Draw(t, "zone"))
		step := rapid.SampledFrom([]Step{Hour, Day, Week, Month, Year}).Draw(t, "step")
		from := Instant(rapid.Int64Range(0, 2_500_000_000).Draw(t, "from")) * 1e6
		to := from.Add(time.Duration(rapid.Int64Range(1, 400).Draw(t, "hours")) * time.Hour)
		if step > Week {
			to = to.Add(1000 * 24 * time.Hour)
		}
		bounds, err := step.Bounds(from, to, z, 1000)
		if err != nil {
			t.Fatal(err)
		}
		if bounds[0] != from || bounds[len(bounds)-1] != to {
			t.Fatalf("[%v, %v) begins at %v and ends at %v", from, to, bounds[0], bounds[len(bounds)-1])
		}
		name := func(i Instant) string {
			l := i.Time().In(z)
			switch y, w := l.ISOWeek(); step {
			case Hour:
				return l.Format("2006-01-02 15 -0700")
			case Week:
				return time.Duration(y*100 + w).String()
			case Month:
				return l.Format("2006-01")
			case Year:
				return l.Format("2006")
			default:
				return l.Format(time.DateOnly)
			}
		}
		for i := range len(bounds) - 1 {
			a, b := bounds[i], bounds[i+1]
			if a >= b {
				t.Fatalf("bounds %v, %v", a, b)
			}
			if step == Hour {
				if b.Sub(a) > 90*time.Minute { // a quarter or half of an hour that clocks were put back
					t.Fatalf("an hour of %v from %v", b.Sub(a), a)
				}
				continue
			}
			if name(a) != name(b-1) || i > 0 && name(a) == name(a-1) {
				t.Fatalf("%v to %v of %v is from %s to %s, after %s", a, b, z, name(a), name(b-1), name(a-1))
			}
		}
	})
}
