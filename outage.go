package sereno

import (
	"iter"
	"time"
)

// An Outage is one stretch of downtime, as far as it lies in a window: it begins
// with downtime and lasts until an answer is proven. What was not seen in
// between neither ends it nor belongs to its length.
type Outage struct {
	Begin       Instant       // the first look that proved it, which may be before the window
	End         Instant       // the answer that ended it; 0 if none came in the window
	Down        time.Duration // its downtime inside the window
	Uncertainty time.Duration // its true length may differ by so much from End − Begin
	Cause       Cause
	Reason      string // why it began, for a person
}

// Outages yields the outages of spans (of one check or one device, in order,
// without overlap) that touch [from, to). They are those that Tally counts, and
// their downtime adds up to its Downtime.
func (c Counting) Outages(spans iter.Seq[Span], from, to Instant) iter.Seq[Outage] {
	return func(yield func(Outage) bool) {
		var o Outage
		open := false
		for s := range spans {
			begin, end := max(s.Begin, from), to
			if s.End != 0 {
				end = min(s.End, to)
			}
			if end <= begin {
				continue
			}
			switch c.means(s.Status, s.Cause) {
			case downtime:
				if !open {
					o = Outage{Begin: s.Begin, Uncertainty: s.Uncertainty, Cause: s.Cause, Reason: s.Reason}
					open = true
				}
				o.Down += end.Sub(begin)
			case uptime:
				if !open {
					continue
				}
				o.End, o.Uncertainty, open = s.Begin, max(o.Uncertainty, s.Uncertainty), false
				if !yield(o) {
					return
				}
			}
		}
		if open {
			yield(o)
		}
	}
}
