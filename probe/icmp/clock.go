package icmp

import (
	"time"

	"golang.org/x/sys/unix"
)

// A clock measures for a loop: nanoseconds since the loop began, by the
// monotonic clock, which nobody sets. Receive stamps come by the wall clock;
// it knows the distance between the two.
type clock struct {
	base   time.Time
	offset int64 // wall minus monotonic, in nanoseconds
	before int64 // what it was before the wall clock was last set
}

func newClock() *clock {
	base := time.Now()
	return &clock{base: base, offset: base.UnixNano(), before: base.UnixNano()}
}

// now returns the time.
func (c *clock) now() int64 { return int64(time.Since(c.base)) }

// read returns the time and notices when the wall clock was set.
func (c *clock) read() int64 {
	const (
		jitter = int64(20 * time.Microsecond) // of two clocks that are read one after the other
		tries  = 5
	)
	var now, wall int64
	for range tries {
		t := time.Now()
		now, wall = int64(t.Sub(c.base)), t.UnixNano()
		if d := wall - now - c.offset; -jitter < d && d < jitter {
			return now
		}
	}
	c.before, c.offset = c.offset, wall-now
	return now
}

// roundTrip returns the time from sent to the receive stamp (wall clock, in
// nanoseconds since 1970), for a packet that was read at now. It is at least
// 1 ns and never longer than from sent to now, whoever sets the wall clock.
func (c *clock) roundTrip(sent, stamp, now int64) time.Duration {
	const slack = int64(time.Millisecond) // an interpolated sent may lie after the answer
	elapsed := max(now-sent, 1)
	rtt := stamp - c.offset - sent
	if rtt < -slack || rtt > elapsed {
		if old := stamp - c.before - sent; old >= -slack && old <= elapsed {
			rtt = old
		}
	}
	return time.Duration(min(max(rtt, 1), elapsed))
}

// asleep returns how long this machine was suspended since it was started: by
// how much the boot-time clock is ahead of the monotonic one.
func asleep() time.Duration {
	var boot, mono unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &mono) != nil || unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot) != nil {
		return 0
	}
	return time.Duration(boot.Nano() - mono.Nano())
}

// stallLimit is how late the loop may be before it must be taken for stopped.
const stallLimit = 250 * time.Millisecond

// A stall is a stretch, by the loop's clock, in which the loop did not run
// although it should have.
type stall struct{ begin, end int64 }

// stalled compares two moments between which the loop should not have rested:
// expected, when it was to run next, and now, when it did. suspended is how
// long the machine slept meanwhile, which the monotonic clock does not show.
func stalled(expected, now int64, suspended time.Duration) (stall, bool) {
	late := time.Duration(now-expected) > stallLimit || suspended > stallLimit
	return stall{min(expected, now), now}, late
}

// hit reports whether a look that got no answer was under way in the stall, so
// that its silence says nothing about the target.
func (s stall) hit(sent, deadline int64) bool {
	return s.end > 0 && sent < s.end && deadline > s.begin
}
