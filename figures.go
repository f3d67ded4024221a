package sereno

import (
	"iter"
	"time"
)

// Figures are the time of each status in a window [From, To), in whole
// microseconds. The six always sum to To − From exactly.
type Figures struct {
	From, To    Instant
	Up          time.Duration
	Degraded    time.Duration
	Down        time.Duration
	Unknown     time.Duration // includes what lies before the first and after the last span
	Maintenance time.Duration
	Paused      time.Duration

	Outages    int           // Down spans that touch the window
	Longest    time.Duration // the longest of them, inside the window
	LastOutage Instant       // when the last of them began; 0 if none
}

// Tally sums spans (of one check or one device, in order, without overlap)
// over [from, to). An open span counts until to.
func Tally(spans iter.Seq[Span], from, to Instant) Figures {
	f := Figures{From: from, To: to}
	seen := time.Duration(0)
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
		switch {
		case s.Cause == CausePaused:
			f.Paused += length
		case s.Status == Up:
			f.Up += length
		case s.Status == Degraded:
			f.Degraded += length
		case s.Status == Down:
			f.Down += length
			f.Outages++
			f.Longest = max(f.Longest, length)
			f.LastOutage = s.Begin
		default:
			f.Unknown += length
		}
	}
	f.Unknown += f.Window() - seen
	return f
}

// Window returns the length of the window.
func (f Figures) Window() time.Duration { return f.To.Sub(f.From) }

// Seen returns the time in which the status was known.
func (f Figures) Seen() time.Duration { return f.Up + f.Degraded + f.Down }

// Uptime returns (up + degraded) / (up + degraded + down). It is undefined,
// and ok is false, when nothing was seen.
func (f Figures) Uptime() (share float64, ok bool) {
	return ratio(f.Up+f.Degraded, f.Seen())
}

// Coverage returns the share of the window, without maintenance and pauses, in
// which the status was known. ok is false when no such time is left.
func (f Figures) Coverage() (share float64, ok bool) {
	return ratio(f.Seen(), f.Window()-f.Maintenance-f.Paused)
}

func ratio(part, whole time.Duration) (float64, bool) {
	if whole <= 0 {
		return 0, false
	}
	return float64(part) / float64(whole), true
}

// Means returns the mean time between failures, which is the answered time by
// outages, and the mean time to recovery, which is the time down by outages.
// They are undefined, and ok is false, without an outage.
func (f Figures) Means() (between, recovery time.Duration, ok bool) {
	if f.Outages == 0 {
		return 0, 0, false
	}
	n := time.Duration(f.Outages)
	return (f.Up + f.Degraded) / n, f.Down / n, true
}
