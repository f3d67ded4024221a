package sereno

import (
	"iter"
	"slices"
	"time"
)

// A Counting is how its reader wants time to be counted. The zero Counting is
// the one that everything else is compared with: degraded is up, what was not
// seen is left out, and down behind a parent is down.
type Counting struct {
	DegradedIsDown      bool
	UnknownIsDown       bool // but not the time before its first and after its last span
	MaintenanceIsSeen   bool // maintenance stays in what coverage is a share of
	BehindIsNotDowntime bool // down behind a parent is left out, like what was not seen
}

// Figures are the time of each status in a window [From, To), in whole
// microseconds. The six always sum to To − From exactly, however they are
// counted; the Counting decides on uptime and outages.
type Figures struct {
	From, To    Instant
	Counting    Counting
	Up          time.Duration
	Degraded    time.Duration
	Down        time.Duration
	Unknown     time.Duration // includes what lies before the first and after the last span
	Maintenance time.Duration
	Paused      time.Duration

	Behind  time.Duration // the part of Down that was spent behind a parent
	Outside time.Duration // the part of Unknown before the first and after the last span

	// An outage begins with downtime and lasts until an answer is proven. What
	// was not seen in between, and maintenance, neither ends it nor belongs to
	// its length; but an answer during maintenance does end it.
	Outages    int           // that touch the window
	Longest    time.Duration // the downtime of the longest of them, inside the window
	LastOutage Instant       // when the last of them began, which may be before the window; 0 if none
	Ongoing    bool          // it was down when the window ended
}

// Tally sums spans (of one check or one device, in order, without overlap)
// over [from, to). An open span counts until to.
func Tally(spans iter.Seq[Span], from, to Instant) Figures {
	return Counting{}.Tally(spans, from, to)
}

// Tally is [Tally] as its reader wants it.
func (c Counting) Tally(spans iter.Seq[Span], from, to Instant) Figures {
	f := Figures{From: from, To: to, Counting: c}
	seen, outage, open := time.Duration(0), time.Duration(0), false
	for s := range spans {
		begin, end := max(s.Begin, from), to
		if s.End != 0 {
			end = min(s.End, to)
		}
		if end <= begin {
			continue
		}
		length := end.Sub(begin)
		seen += length
		*f.share(s.Status, s.Cause) += length
		if s.Status == Down && s.Cause == CauseBehindParent {
			f.Behind += length
		}
		f.Ongoing = false
		switch c.means(s.Status, s.Cause) {
		case downtime:
			if !open {
				f.Outages++
				f.LastOutage = s.Begin
				outage, open = 0, true
			}
			outage += length
			f.Longest = max(f.Longest, outage)
			f.Ongoing = end == to
		case uptime:
			open = false
		}
	}
	f.Outside = f.Window() - seen
	f.Unknown += f.Outside
	return f
}

// share returns where the time of a status is summed.
func (f *Figures) share(s Status, c Cause) *time.Duration {
	switch {
	case c == CausePaused:
		return &f.Paused
	case c == CauseMaintenance:
		return &f.Maintenance
	case s == Up:
		return &f.Up
	case s == Degraded:
		return &f.Degraded
	case s == Down:
		return &f.Down
	default:
		return &f.Unknown
	}
}

// A meaning is what a stretch of time is to a Counting.
type meaning uint8

const (
	leftOut meaning = iota
	uptime          // or an answer during maintenance, which ends an outage as any answer does
	downtime
)

func (c Counting) means(s Status, cause Cause) meaning {
	var bad bool
	switch {
	case cause == CausePaused:
		return leftOut
	case cause == CauseMaintenance && (s == Unknown || s == Down):
		return leftOut
	case cause == CauseMaintenance && s == Degraded && c.DegradedIsDown:
		return leftOut
	case s == Up:
		return uptime
	case s == Degraded:
		bad = c.DegradedIsDown
		if !bad {
			return uptime
		}
	case s == Down:
		bad = cause != CauseBehindParent || !c.BehindIsNotDowntime
	default:
		bad = c.UnknownIsDown
	}
	if bad {
		return downtime
	}
	return leftOut
}

// Window returns the length of the window.
func (f Figures) Window() time.Duration { return f.To.Sub(f.From) }

// Seen returns the time in which the status was known.
func (f Figures) Seen() time.Duration { return f.Up + f.Degraded + f.Down }

// Counted returns what uptime is made from, its numerator and its denominator:
// by default up + degraded, and up + degraded + down.
func (f Figures) Counted() (up, of time.Duration) {
	up = f.Up
	if !f.Counting.DegradedIsDown {
		up += f.Degraded
	}
	return up, up + f.Downtime()
}

// Downtime returns the time that counts against uptime, by default Down.
func (f Figures) Downtime() time.Duration {
	down := f.Down
	if f.Counting.DegradedIsDown {
		down += f.Degraded
	}
	if f.Counting.BehindIsNotDowntime {
		down -= f.Behind
	}
	if f.Counting.UnknownIsDown {
		down += f.Unknown - f.Outside
	}
	return down
}

// Uptime returns the share that Counted tells. It is undefined, and ok is
// false, when nothing of the window counts.
func (f Figures) Uptime() (share float64, ok bool) { return ratio(f.Counted()) }

// Coverage returns the share of the window, without maintenance and pauses, in
// which the status was known. ok is false when no such time is left.
func (f Figures) Coverage() (share float64, ok bool) { return ratio(f.Seen(), f.Watchable()) }

// Watchable returns the window without pauses and, unless it is wanted
// otherwise, maintenance.
func (f Figures) Watchable() time.Duration {
	watchable := f.Window() - f.Paused
	if !f.Counting.MaintenanceIsSeen {
		watchable -= f.Maintenance
	}
	return watchable
}

func ratio(part, whole time.Duration) (float64, bool) {
	if whole <= 0 {
		return 0, false
	}
	return float64(part) / float64(whole), true
}

// Means returns the mean time between failures, which is the time that counts
// as up by outages, and the mean time to recovery, which is the downtime by
// outages. They are undefined, and ok is false, without an outage.
func (f Figures) Means() (between, recovery time.Duration, ok bool) {
	if f.Outages == 0 {
		return 0, 0, false
	}
	n := time.Duration(f.Outages)
	up, _ := f.Counted()
	return (up / n).Truncate(time.Microsecond), (f.Downtime() / n).Truncate(time.Microsecond), true
}

// Tile completes the spans of a living check from those of them that are not
// Up, in order. Spans tile a life, so whatever lies between them, from born to
// to, was Up. If only those that touch a window are given, born is where the
// window begins or the check was made, whichever is later.
func Tile(notUp iter.Seq[Span], check CheckID, born, to Instant) iter.Seq[Span] {
	return func(yield func(Span) bool) {
		up := Span{Check: check, Status: Up, Begin: born, Proof: born}
		for s := range notUp {
			if up.End = s.Begin; up.End > up.Begin && !yield(up) {
				return
			}
			if !yield(s) || s.End == 0 {
				return
			}
			up.Begin, up.Proof = max(born, s.End), max(born, s.End)
		}
		if up.End = 0; up.Begin < to {
			yield(up)
		}
	}
}

// Series sums spans, as Tally does, over the windows between bounds, which
// ascend: one Figures less than there are bounds.
func (c Counting) Series(spans []Span, bounds []Instant) []Figures {
	if len(bounds) < 2 {
		return nil
	}
	series := make([]Figures, len(bounds)-1)
	for i := range series {
		from, to := bounds[i], bounds[i+1]
		for len(spans) > 0 && spans[0].End != 0 && spans[0].End <= from {
			spans = spans[1:]
		}
		end := len(spans)
		if n := slices.IndexFunc(spans, func(s Span) bool { return s.Begin >= to }); n >= 0 {
			end = n
		}
		series[i] = c.Tally(slices.Values(spans[:end]), from, to)
	}
	return series
}
