package soak

import (
	"testing"
	"time"

	"sereno"
)

const (
	interval = time.Second // between two looks
	// early is how late a look may be sent: it counts by the time at which it
	// was due, and so may have met what happened a little after.
	early = 100 * time.Millisecond
	late  = 5 * time.Millisecond // of the truth's own clock
)

// bookable returns from when to when a turn, the begin or the end of an outage,
// may be booked. It is seen by the next look, and so booked within one interval.
// A turn in an absence, or so near to one that no look was certain to lie
// between (one interval, and by how much the absence is uncertain), is known to
// the edges of that absence alone.
func bookable(turn time.Time, absences []sereno.Absence) (from, to time.Time, exact bool) {
	from, to, exact = turn.Add(-early), turn.Add(interval+late), true
	for _, a := range absences {
		begin, end := a.Begin.Time().Add(-interval-a.Uncertainty), a.End.Time().Add(interval+a.Uncertainty)
		if turn.Before(begin) || turn.After(end) {
			continue
		}
		exact = false
		if begin.Before(from) {
			from = begin
		}
		if end.After(to) {
			to = end
		}
	}
	return from, to, exact
}

func TestATurnIsExactOutsideOfAbsences(t *testing.T) {
	const s, ms = time.Second, time.Millisecond
	epoch := time.Unix(1_800_000_000, 0)
	absence := func(from, to, uncertainty time.Duration) sereno.Absence {
		return sereno.Absence{Begin: sereno.At(epoch.Add(from)), End: sereno.At(epoch.Add(to)), Uncertainty: uncertainty}
	}
	for _, c := range []struct {
		rule     string
		turn     time.Duration
		absences []sereno.Absence
		from, to time.Duration
		exact    bool
	}{
		{"without absences: the next look", 10 * s, nil, 9900 * ms, 11005 * ms, true},
		{"in an absence: its edges, and the look beside each", 10 * s, []sereno.Absence{absence(8*s, 12*s, 0)}, 7 * s, 13 * s, false},
		{"an interval before it", 7 * s, []sereno.Absence{absence(8*s, 12*s, 0)}, 6900 * ms, 13 * s, false},
		{"earlier than that", 7*s - ms, []sereno.Absence{absence(8*s, 12*s, 0)}, 6899 * ms, 8004 * ms, true},
		{"an interval after it", 13 * s, []sereno.Absence{absence(8*s, 12*s, 0)}, 7 * s, 14005 * ms, false},
		{"later than that", 13*s + ms, []sereno.Absence{absence(8*s, 12*s, 0)}, 12901 * ms, 14006 * ms, true},
		{"one that is uncertain reaches farther", 5 * s, []sereno.Absence{absence(8*s, 12*s, 2*s)}, 4900 * ms, 15 * s, false},
		{"each counts for itself", 10 * s, []sereno.Absence{absence(1*s, 2*s, 0), absence(9*s, 9500*ms, 0), absence(20*s, 30*s, 0)}, 8 * s, 11005 * ms, false},
		{"two at once", 10 * s, []sereno.Absence{absence(8*s, 9500*ms, 0), absence(10500*ms, 14*s, 0)}, 7 * s, 15 * s, false},
	} {
		from, to, exact := bookable(epoch.Add(c.turn), c.absences)
		if from.Sub(epoch) != c.from || to.Sub(epoch) != c.to || exact != c.exact {
			t.Errorf("%s: %v to %v, exact %v; want %v to %v, %v", c.rule, from.Sub(epoch), to.Sub(epoch), exact, c.from, c.to, c.exact)
		}
	}
}
