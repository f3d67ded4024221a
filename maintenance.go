package sereno

import (
	"cmp"
	"iter"
	"slices"
)

// A Maintained is a stretch in which a device was under maintenance: written
// down when a window begins and ends for it, so that a later change of the
// window's rule changes nothing of what was.
type Maintained struct {
	Device DeviceID
	Begin  Instant
	End    Instant // 0 while it lasts
	Window string  // the name of the window
}

// Exempt cuts spans (of one check or one device, in order) where maintenance of
// the device begins and ends, and gives the parts inside CauseMaintenance; their
// status stays what was seen. What is paused stays paused: nobody looked. The
// stretches may come in any order and overlap.
func Exempt(spans iter.Seq[Span], maintained []Maintained) iter.Seq[Span] {
	stretches := joined(maintained)
	if len(stretches) == 0 {
		return spans
	}
	return func(yield func(Span) bool) {
		next := 0 // the first stretch that may touch what comes
		for s := range spans {
			for next < len(stretches) && stretches[next].End != 0 && stretches[next].End <= s.Begin {
				next++
			}
			if s.Cause == CausePaused {
				if !yield(s) {
					return
				}
				continue
			}
			for _, m := range stretches[next:] {
				if s.End != 0 && m.Begin >= s.End {
					break
				}
				if m.Begin > s.Begin { // the part before
					part := s
					part.End = m.Begin
					if !yield(part) {
						return
					}
					s = s.from(m.Begin)
				}
				part := s
				part.Cause = CauseMaintenance
				if m.End == 0 || s.End != 0 && s.End <= m.End { // to its end
					s.Begin = s.End
					if !yield(part) {
						return
					}
					if s.End == 0 {
						return
					}
					break
				}
				part.End = m.End
				if !yield(part) {
					return
				}
				s = s.from(m.End)
			}
			if (s.End == 0 || s.Begin < s.End) && !yield(s) {
				return
			}
		}
	}
}

// from returns the rest of a span from a cut on, which is exact.
func (s Span) from(at Instant) Span {
	s.Begin, s.Proof, s.Uncertainty = at, max(s.Proof, at), 0
	return s
}

// joined returns the stretches in order, those that overlap or touch as one.
func joined(maintained []Maintained) []Maintained {
	in := func(a, b Maintained) int { return cmp.Compare(a.Begin, b.Begin) }
	if !slices.IsSortedFunc(maintained, in) {
		maintained = slices.SortedFunc(slices.Values(maintained), in)
	}
	var out []Maintained
	for _, m := range maintained {
		n := len(out)
		switch {
		case m.End != 0 && m.End <= m.Begin:
		case n > 0 && out[n-1].End == 0:
			return out
		case n > 0 && m.Begin <= out[n-1].End:
			if m.End == 0 || m.End > out[n-1].End {
				out[n-1].End = m.End
			}
		default:
			out = append(out, m)
		}
	}
	return out
}
