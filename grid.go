package sereno

import "time"

// GridUnit is what the times of looks are whole numbers of: it is the unit of
// the samples' time stamps, so that what was stored of a look carries the very
// time by which it was judged.
const GridUnit = time.Millisecond

// Grid returns i, cut to a whole number of GridUnits.
func (i Instant) Grid() Instant { return i - i%Instant(GridUnit/time.Microsecond) }

// Phase returns where in its interval a check is due: at the Unix times t with
// t ≡ Phase (mod interval). It depends on the check's id and interval alone, so
// load is spread evenly and a restart, a reload or another machine keeps the
// same grid. An interval that divides another gives the same grid, thinned out.
// Intervals and phases are whole numbers of GridUnits.
func Phase(id CheckID, interval time.Duration) time.Duration {
	h := uint64(id) + 0x9e3779b97f4a7c15 // SplitMix64 (Steele, Lea, Flood 2014): every bit of the id moves every bit
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	h ^= h >> 31
	return time.Duration(h%uint64(interval/GridUnit)) * GridUnit
}

// Slot returns the last time at or before at when the check was due.
func Slot(id CheckID, interval time.Duration, at Instant) Instant {
	step := Instant(interval / time.Microsecond)
	phase := Instant(Phase(id, interval) / time.Microsecond)
	past := (at - phase) % step
	if past < 0 {
		past += step
	}
	return at - past
}
