package sereno

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// maintainedDay reads spans such as "up 0-10, down 10-20, unknown 20-" in minutes.
func maintainedDay(t testing.TB, text string) (spans []Span) {
	for item := range strings.SplitSeq(text, ", ") {
		word, times, _ := strings.Cut(item, " ")
		var s Span
		switch word {
		case "paused":
			s.Cause = CausePaused
		case "behind":
			s.Status, s.Cause = Down, CauseBehindParent
		default:
			if err := s.Status.UnmarshalText([]byte(word)); err != nil {
				t.Fatal(err)
			}
		}
		begin, end, _ := strings.Cut(times, "-")
		s.Begin, s.End = minuteOf(begin), minuteOf(end)
		s.Proof = s.Begin
		spans = append(spans, s)
	}
	return spans
}

const dawn = Instant(1_800_000_000_000_000)

func minuteOf(text string) (at Instant) {
	if text != "" {
		var n int
		if _, err := fmt.Sscan(text, &n); err != nil {
			panic(err)
		}
		at = dawn + Instant(n)*60e6
	}
	return at
}

func under(text string) (list []Maintained) {
	for item := range strings.FieldsSeq(text) {
		begin, end, _ := strings.Cut(item, "-")
		list = append(list, Maintained{Begin: minuteOf(begin), End: minuteOf(end)})
	}
	return list
}

func TestMaintenanceIsLeftOut(t *testing.T) {
	for _, c := range []struct {
		what, spans, under string
		up, down, unknown  int // minutes of 100
		maintained, paused int
		outages, longest   int
	}{
		{"no maintenance", "up 0-10, down 10-30, up 30-", "", 80, 20, 0, 0, 0, 1, 20},
		{"an outage inside is none", "up 0-10, down 10-30, up 30-", "5-40", 65, 0, 0, 35, 0, 0, 0},
		{"one that reaches out counts with the part outside, at its end", "up 0-10, down 10-30, up 30-", "5-20", 75, 10, 0, 15, 0, 1, 10},
		{"and at its begin", "up 0-10, down 10-30, up 30-", "20-40", 70, 10, 0, 20, 0, 1, 10},
		{"and on both: it is one", "up 0-10, down 10-30, up 30-", "15-25", 80, 10, 0, 10, 0, 1, 10},
		{"an answer inside ends it", "down 0-20, up 20-30, down 30-50, up 50-", "15-35", 50, 30, 0, 20, 0, 2, 15},
		{"two windows that overlap are one", "up 0-10, down 10-30, up 30-", "15-22 5-20 22-25", 75, 5, 0, 20, 0, 1, 5},
		{"one that lasts", "up 0-10, down 10-30, up 30-", "20-", 10, 10, 0, 80, 0, 1, 10},
		{"what was not seen is maintenance too", "up 0-10, unknown 10-30, up 30-", "5-20", 75, 0, 10, 15, 0, 0, 0},
		{"what was paused stays paused", "up 0-10, paused 10-30, up 30-", "5-40", 65, 0, 0, 15, 20, 0, 0},
		{"before it was made it is not known", "up 50-", "0-60", 40, 0, 50, 10, 0, 0, 0},
		{"behind a parent", "behind 0-50, up 50-", "10-20", 50, 40, 0, 10, 0, 1, 40},
	} {
		t.Run(c.what, func(t *testing.T) {
			f := Tally(Exempt(slices.Values(maintainedDay(t, c.spans)), under(c.under)), dawn, dawn.Add(100*time.Minute))
			m := func(d time.Duration) int { return int(d / time.Minute) }
			got := []int{m(f.Up), m(f.Down), m(f.Unknown), m(f.Maintenance), m(f.Paused), f.Outages, m(f.Longest)}
			if want := []int{c.up, c.down, c.unknown, c.maintained, c.paused, c.outages, c.longest}; !slices.Equal(got, want) {
				t.Errorf("up, down, unknown, maintenance, paused, outages, longest:\n got %v\nwant %v", got, want)
			}
		})
	}
}

func drawSpans(t *rapid.T) []Span {
	var spans []Span
	at := dawn.Add(time.Duration(rapid.IntRange(0, 50).Draw(t, "born")) * time.Microsecond)
	for i := range rapid.IntRange(1, 12).Draw(t, "spans") {
		s := Span{Begin: at, Proof: at, Status: Status(rapid.IntRange(0, 3).Draw(t, "status")), Reason: fmt.Sprint(i)}
		switch {
		case s.Status == Unknown && rapid.Bool().Draw(t, "paused"):
			s.Cause = CausePaused
		case s.Status == Down && rapid.Bool().Draw(t, "behind"):
			s.Cause = CauseBehindParent
		}
		at += Instant(rapid.IntRange(1, 20).Draw(t, "length"))
		s.End = at
		spans = append(spans, s)
	}
	if rapid.Bool().Draw(t, "open") {
		spans[len(spans)-1].End = 0
	}
	return spans
}

func drawMaintained(t *rapid.T) []Maintained {
	var list []Maintained
	for range rapid.IntRange(0, 6).Draw(t, "stretches") {
		m := Maintained{Begin: dawn + Instant(rapid.IntRange(0, 200).Draw(t, "begin"))}
		m.End = m.Begin + Instant(rapid.IntRange(1, 60).Draw(t, "length"))
		if rapid.IntRange(0, 5).Draw(t, "lasts") == 0 {
			m.End = 0
		}
		list = append(list, m)
	}
	return list
}

// Every microsecond is in one sum, and in the right one.
func TestTheSixSumsAreTheWindow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		spans, list := drawSpans(t), drawMaintained(t)
		from := dawn + Instant(rapid.IntRange(0, 150).Draw(t, "from"))
		to := from + Instant(rapid.IntRange(1, 150).Draw(t, "window"))
		c := Counting{
			DegradedIsDown: rapid.Bool().Draw(t, "degraded"), UnknownIsDown: rapid.Bool().Draw(t, "unknown"),
			MaintenanceIsSeen: rapid.Bool().Draw(t, "maintenance"), BehindIsNotDowntime: rapid.Bool().Draw(t, "behind"),
		}
		cut := slices.Collect(Exempt(slices.Values(spans), list))
		f := c.Tally(slices.Values(cut), from, to)
		if sum := f.Up + f.Degraded + f.Down + f.Unknown + f.Maintenance + f.Paused; sum != f.Window() {
			t.Fatalf("the sums make %s, the window is %s", sum, f.Window())
		}
		want := Figures{From: from, To: to}
		for at := from; at < to; at++ { // microsecond by microsecond
			inside := slices.ContainsFunc(list, func(m Maintained) bool { return m.Begin <= at && (m.End == 0 || at < m.End) })
			var here *Span
			for i, s := range spans {
				if s.Begin <= at && (s.End == 0 || at < s.End) {
					here = &spans[i]
				}
			}
			switch {
			case here == nil:
				want.Unknown += time.Microsecond
			case here.Cause == CausePaused:
				want.Paused += time.Microsecond
			case inside:
				want.Maintenance += time.Microsecond
			default:
				*want.share(here.Status, here.Cause) += time.Microsecond
			}
		}
		got := Figures{From: from, To: to, Up: f.Up, Degraded: f.Degraded, Down: f.Down, Unknown: f.Unknown, Maintenance: f.Maintenance, Paused: f.Paused}
		if got != want {
			t.Fatalf("got %+v\nwant %+v", got, want)
		}
		var downtime time.Duration
		outages := 0
		for o := range c.Outages(slices.Values(cut), from, to) {
			outages++
			downtime += o.Down
		}
		if outages != f.Outages || downtime != f.Downtime() {
			t.Fatalf("%d outages of %s, but the figures say %d of %s", outages, downtime, f.Outages, f.Downtime())
		}
		// What is cut tiles as what was whole does, and says the same but for the cause.
		for i, s := range cut {
			if i > 0 && (cut[i-1].End != s.Begin) || s.Proof < s.Begin || s.End != 0 && s.End <= s.Begin {
				t.Fatalf("span %d, %+v, does not tile", i, s)
			}
		}
		if first, last := cut[0], cut[len(cut)-1]; first.Begin != spans[0].Begin || last.End != spans[len(spans)-1].End {
			t.Fatalf("from %s to %s, not from %s to %s", first.Begin, last.End, spans[0].Begin, spans[len(spans)-1].End)
		}
	})
}

func TestOneUnderMaintenanceIsLeftOutOfAll(t *testing.T) {
	to := dawn.Add(100 * time.Minute)
	sweep := NewSweep(dawn, to)
	sweep.Add(slices.Collect(Exempt(slices.Values(maintainedDay(t, "up 0-10, down 10-60, up 60-")), under("5-40 80-90"))))
	sweep.Add(slices.Collect(Exempt(slices.Values(maintainedDay(t, "up 0-100")), under("85-95"))))
	f := Tally(slices.Values(sweep.Spans()), dawn, to)
	if f.Up != 75*time.Minute || f.Down != 20*time.Minute || f.Maintenance != 5*time.Minute || f.Outages != 1 {
		t.Errorf("got %+v", f)
	}
}

func BenchmarkExempt(b *testing.B) {
	spans := maintainedDay(b, "up 0-10, down 10-30, up 30-60, down 60-90, up 90-")
	list := under("5-20 70-80")
	for b.Loop() {
		for range Exempt(slices.Values(spans), list) {
		}
	}
}
