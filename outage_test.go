package sereno

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestTheListOfOutages(t *testing.T) {
	at := func(s float64) Instant { return Instant(1e15 + s*1e6) }
	span := func(status Status, begin, end float64) Span {
		s := Span{Status: status, Begin: at(begin), Uncertainty: time.Second, Reason: status.String()}
		if end != 0 {
			s.End = at(end)
		}
		return s
	}
	for _, c := range []struct {
		name  string
		spans []Span
		want  []Outage
	}{
		{"none", []Span{span(Up, 0, 0)}, nil},
		{"one", []Span{span(Up, 0, 10), span(Down, 10, 20), span(Up, 20, 0)}, []Outage{{at(10), at(20), 10 * time.Second, time.Second, 0, "down"}}},
		{"it goes on", []Span{span(Up, 0, 10), span(Down, 10, 0)}, []Outage{{at(10), 0, 90 * time.Second, time.Second, 0, "down"}}},
		{"it began before", []Span{span(Down, -10, 20), span(Up, 20, 0)}, []Outage{{at(-10), at(20), 20 * time.Second, time.Second, 0, "down"}}},
		{
			"not seen for a while",
			[]Span{span(Down, 10, 20), span(Unknown, 20, 30), span(Down, 30, 40), span(Degraded, 40, 0)},
			[]Outage{{at(10), at(40), 20 * time.Second, time.Second, 0, "down"}},
		},
		{
			"two",
			[]Span{span(Down, 10, 20), span(Up, 20, 30), span(Down, 30, 40), span(Up, 40, 0)},
			[]Outage{{at(10), at(20), 10 * time.Second, time.Second, 0, "down"}, {at(30), at(40), 10 * time.Second, time.Second, 0, "down"}},
		},
		{"after the window", []Span{span(Up, 0, 100), span(Down, 100, 0)}, nil},
	} {
		if got := slices.Collect(Counting{}.Outages(slices.Values(c.spans), at(0), at(100))); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
}

func TestOutagesAreThoseThatFiguresCount(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := Counting{
			DegradedIsDown: rapid.Bool().Draw(t, "degraded is down"), UnknownIsDown: rapid.Bool().Draw(t, "unknown is down"),
			BehindIsNotDowntime: rapid.Bool().Draw(t, "behind is not downtime"),
		}
		var spans []Span
		begin := Instant(1000)
		for range rapid.IntRange(0, 20).Draw(t, "spans") {
			end := begin + Instant(rapid.IntRange(1, 50).Draw(t, "length"))
			spans = append(spans, Span{
				Status: Status(rapid.IntRange(0, 3).Draw(t, "status")), Begin: begin, End: end,
				Cause: rapid.SampledFrom([]Cause{CauseLook, CauseAbsence, CausePaused, CauseBehindParent}).Draw(t, "cause"),
			})
			begin = end
		}
		if n := len(spans); n > 0 && rapid.Bool().Draw(t, "the last is open") {
			spans[n-1].End = 0
		}
		from := Instant(rapid.IntRange(900, 2000).Draw(t, "from"))
		to := from + Instant(rapid.IntRange(1, 1000).Draw(t, "window"))
		f := c.Tally(slices.Values(spans), from, to)
		outages := slices.Collect(c.Outages(slices.Values(spans), from, to))
		var sum, longest time.Duration
		for _, o := range outages {
			sum, longest = sum+o.Down, max(longest, o.Down)
		}
		if len(outages) != f.Outages || sum != f.Downtime() || longest != f.Longest {
			t.Errorf("%d outages, %s, longest %s; figures say %d, %s, %s", len(outages), sum, longest, f.Outages, f.Downtime(), f.Longest)
		}
		if n := len(outages); n > 0 && outages[n-1].Begin != f.LastOutage {
			t.Errorf("the last began at %d; figures say %d", outages[n-1].Begin, f.LastOutage)
		}
	})
}
