package sereno

import "time"

// A DayOfLooks is what the looks of one check were on one day, in UTC. Looks that
// failed by our own fault are not among them. Times are 0 when none was
// answered.
type DayOfLooks struct {
	Check CheckID
	Day   int64 // days since 1970-01-01
	Looks int64
	Lost  int64

	Min, Mean, P50, P95, P99, Max time.Duration // round-trip times; percentiles by nearest rank
}

// DayOf returns the number of the day that i lies in.
func DayOf(i Instant) int64 {
	const day = Instant(24 * time.Hour / time.Microsecond)
	n := int64(i / day)
	if i%day < 0 {
		n--
	}
	return n
}

// BeginOfDay returns when a day begins.
func BeginOfDay(day int64) Instant {
	return Instant(time.Duration(day) * 24 * time.Hour / time.Microsecond)
}
