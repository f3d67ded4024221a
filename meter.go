package sereno

import (
	"iter"
	"time"
)

const (
	// MeterHour is the grid of stored meter readings.
	MeterHour = time.Hour
	// MeterSpans is how many spans at least end between two stored readings:
	// so many are read sooner than a second reading, and take less room.
	MeterSpans = 10
)

// A Meter is a reading: how long a check had been in each status, from its
// creation until At, in whole microseconds. The figures of a window are the
// difference of two readings, however long the window is.
//
// The zero Meter is the reading at a check's creation, and before it.
type Meter struct {
	Check    CheckID
	At       Instant
	Up       time.Duration
	Degraded time.Duration
	Down     time.Duration
	Behind   time.Duration // the part of Down that was spent behind a parent
	Unknown  time.Duration
	Paused   time.Duration
	Outages  int  // begun before At
	Ailing   bool // Down when it was last seen: if it is Down again without an answer, the outage goes on
}

// Read returns the reading at a later moment, from the spans between, in order
// and without a gap. Those before At may be among them.
func (m Meter) Read(spans iter.Seq[Span], at Instant) Meter {
	for s := range spans {
		begin, end := max(s.Begin, m.At), at
		if s.End != 0 {
			end = min(s.End, at)
		}
		if end <= begin {
			continue
		}
		length := end.Sub(begin)
		switch {
		case s.Cause == CausePaused:
			m.Paused += length
			continue
		case s.Status == Unknown:
			m.Unknown += length
			continue
		case s.Status == Up:
			m.Up += length
		case s.Status == Degraded:
			m.Degraded += length
		default:
			m.Down += length
			if s.Cause == CauseBehindParent {
				m.Behind += length
			}
			if !m.Ailing {
				m.Outages++
			}
		}
		m.Ailing = s.Status == Down
	}
	m.At = at
	return m
}

// Since returns the figures from an earlier reading to this one, without the
// lengths and moments of outages, which a meter does not know. resumed tells
// that the outage of an earlier reading that was Ailing was seen to go on.
func (m Meter) Since(earlier Meter, resumed bool) Figures {
	f := Figures{
		From: earlier.At, To: m.At,
		Up: m.Up - earlier.Up, Degraded: m.Degraded - earlier.Degraded, Down: m.Down - earlier.Down, Behind: m.Behind - earlier.Behind,
		Unknown: m.Unknown - earlier.Unknown, Paused: m.Paused - earlier.Paused,
		Outages: m.Outages - earlier.Outages,
	}
	if earlier.Ailing && resumed {
		f.Outages++
	}
	f.Outside = f.Window() - f.Seen() - f.Unknown - f.Paused
	f.Unknown += f.Outside
	return f
}

// Readings yields the readings that are to be kept of a check, after last: one
// at the full hour before a change, when MeterSpans spans have ended since the
// one before. spans are those that end after last, in order; only those that
// are closed count, because what is closed never changes.
func Readings(last Meter, spans iter.Seq[Span]) iter.Seq[Meter] {
	return func(yield func(Meter) bool) {
		m, ended := last, 0
		for s := range spans {
			if s.End == 0 {
				return
			}
			one := func(yield func(Span) bool) { yield(s) }
			ended++
			if hour := s.End.Hour(); ended >= MeterSpans && hour > m.At && hour > s.Begin {
				if m = m.Read(one, hour); !yield(m) {
					return
				}
				ended = 1
				if s.End == hour {
					ended = 0
				}
			}
			m = m.Read(one, s.End)
		}
	}
}

// Hour returns the full hour (UTC) at or before i.
func (i Instant) Hour() Instant { return i - i%Instant(MeterHour/time.Microsecond) }
