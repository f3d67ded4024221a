package sereno

import (
	"math"
	"slices"
	"time"
)

// A Total is time added up over many devices. A Duration ends at 292 years,
// which 1,000 devices reach within four months.
type Total struct {
	Seconds int64
	Micros  int64 // 0 to 999,999
}

// Plus returns t and d together. d is not negative, in whole microseconds.
func (t Total) Plus(d time.Duration) Total {
	us := t.Micros + d.Microseconds()
	return Total{t.Seconds + us/1e6, us % 1e6}
}

// Float returns t in seconds.
func (t Total) Float() float64 { return float64(t.Seconds) + float64(t.Micros)/1e6 }

// Mean returns the nth part of t, cut to the microsecond.
func (t Total) Mean(n int) Total {
	if n <= 0 {
		return Total{}
	}
	whole, rest := t.Seconds/int64(n), t.Seconds%int64(n)
	return Total{whole, (rest*1e6 + t.Micros) / int64(n)}
}

// A Mean is the figures of many devices over one window, weighted by the time
// that counts of each. The zero Mean is of no device.
type Mean struct {
	Devices         int
	Up, Of          Total // as Counted tells
	Seen, Watchable Total // as coverage is made from
	Downtime        Total
	Outages         int
}

// Add takes in the figures of a device.
func (m *Mean) Add(f Figures) {
	up, of := f.Counted()
	m.Devices++
	m.Up, m.Of = m.Up.Plus(up), m.Of.Plus(of)
	m.Seen, m.Watchable = m.Seen.Plus(f.Seen()), m.Watchable.Plus(f.Watchable())
	m.Downtime = m.Downtime.Plus(f.Downtime())
	m.Outages += f.Outages
}

// Uptime returns the share of the time that counts, of all devices, in which
// they were up; ok is false when nothing counts.
func (m *Mean) Uptime() (share float64, ok bool) { return m.Up.over(m.Of) }

// Coverage returns the share of the windows of all devices, without maintenance
// and pauses, in which their status was known; ok is false when none is left.
func (m *Mean) Coverage() (share float64, ok bool) { return m.Seen.over(m.Watchable) }

func (t Total) over(whole Total) (float64, bool) {
	if whole.Seconds <= 0 && whole.Micros <= 0 {
		return 0, false
	}
	return t.Float() / whole.Float(), true
}

// A Sweep finds the time in which all of many devices were up, from their
// spans that are not Up alone: thousands of devices over a year take a
// fraction of a second.
//
// Together they are Down while one of them is Down (behind a parent, if all
// that are Down are), else Unknown while one of them is, else Degraded while
// one of them is, else Up. Those that are paused, under maintenance, or not
// there yet, are left out; while all are, so are they together.
type Sweep struct {
	from, to Instant
	edges    []uint64 // µs since from, condition, whether it begins: in one word, because millions are sorted
}

// A condition is what a device brings into a Sweep.
type condition uint8

const (
	present condition = iota
	paused
	maintained
	unknown
	degraded
	behind
	down
	conditions
)

// NewSweep begins with no device over [from, to).
func NewSweep(from, to Instant) *Sweep { return &Sweep{from: from, to: to} }

// Add takes in the spans of one device, in order, without overlap or gap.
func (s *Sweep) Add(spans []Span) {
	if len(spans) == 0 {
		return
	}
	s.stretch(present, spans[0].Begin, spans[len(spans)-1].End)
	for _, span := range spans {
		switch {
		case span.Cause == CausePaused:
			s.stretch(paused, span.Begin, span.End)
		case span.Cause == CauseMaintenance:
			s.stretch(maintained, span.Begin, span.End)
		case span.Status == Unknown:
			s.stretch(unknown, span.Begin, span.End)
		case span.Status == Degraded:
			s.stretch(degraded, span.Begin, span.End)
		case span.Status == Down && span.Cause == CauseBehindParent:
			s.stretch(behind, span.Begin, span.End)
		case span.Status == Down:
			s.stretch(down, span.Begin, span.End)
		}
	}
}

const edgeBits = 4

func (s *Sweep) stretch(c condition, begin, end Instant) {
	if end == 0 {
		end = math.MaxInt64
	}
	begin, end = max(begin, s.from), min(end, s.to)
	if begin >= end {
		return
	}
	s.edges = append(s.edges, uint64(begin-s.from)<<edgeBits|uint64(c)<<1|1, uint64(end-s.from)<<edgeBits|uint64(c)<<1)
}

// Spans returns what they were together, in order. It says nothing of time in
// which none was there.
func (s *Sweep) Spans() []Span {
	slices.Sort(s.edges)
	var many [conditions]int
	var spans []Span
	for i := 0; i < len(s.edges); {
		at := s.edges[i] >> edgeBits
		for ; i < len(s.edges) && s.edges[i]>>edgeBits == at; i++ {
			c := condition(s.edges[i] >> 1 & (1<<(edgeBits-1) - 1))
			if s.edges[i]&1 == 1 {
				many[c]++
			} else {
				many[c]--
			}
		}
		if i == len(s.edges) {
			break // all have ended
		}
		if many[present] == 0 {
			continue
		}
		span := together(&many)
		span.Begin, span.End = s.from+Instant(at), s.from+Instant(s.edges[i]>>edgeBits)
		span.Proof = span.Begin
		if n := len(spans); n > 0 && spans[n-1].End == span.Begin && spans[n-1].Status == span.Status && spans[n-1].Cause == span.Cause {
			spans[n-1].End = span.End
		} else {
			spans = append(spans, span)
		}
	}
	return spans
}

func together(many *[conditions]int) Span {
	switch {
	case many[down] > 0:
		return Span{Status: Down}
	case many[behind] > 0:
		return Span{Status: Down, Cause: CauseBehindParent}
	case many[unknown] > 0:
		return Span{Cause: CauseNoEvidence}
	case many[degraded] > 0:
		return Span{Status: Degraded}
	case many[paused] == many[present]:
		return Span{Cause: CausePaused}
	case many[paused]+many[maintained] == many[present]:
		return Span{Cause: CauseMaintenance}
	default:
		return Span{Status: Up}
	}
}
