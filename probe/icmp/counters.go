package icmp

import (
	"sync/atomic"
	"time"
)

// Counters are what an engine has counted since it was made.
type Counters struct {
	Sent        uint64 // requests that the kernel took
	Received    uint64 // answers in time
	Duplicate   uint64 // further answers to a look that was answered
	Late        uint64 // answers after the timeout
	Foreign     uint64 // echo replies that answer nothing of ours: wrong token, source, length or payload
	SocketDrops uint64 // packets that our own receive buffers had no room for
	Errors      uint64 // requests that this machine did not send
	Lateness    Lateness
}

// LatenessBounds are the upper bounds of the buckets of a Lateness.
var LatenessBounds = [...]time.Duration{
	time.Millisecond, 2 * time.Millisecond, 5 * time.Millisecond,
	10 * time.Millisecond, 20 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 200 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second,
}

// A Lateness is a histogram of how long after they were due looks were sent.
type Lateness struct {
	Counts [len(LatenessBounds) + 1]uint64 // not cumulative; the last is beyond all bounds
	Sum    time.Duration
}

// Quantile returns the bound below which a share q (0 to 1) of the looks lie,
// or ten times the last bound when they lie beyond it. It is 0 for no looks.
func (l *Lateness) Quantile(q float64) time.Duration {
	total := uint64(0)
	for _, n := range l.Counts {
		total += n
	}
	if total == 0 {
		return 0
	}
	seen := uint64(0)
	for i, bound := range LatenessBounds {
		if seen += l.Counts[i]; float64(seen) >= q*float64(total) {
			return bound
		}
	}
	return 10 * LatenessBounds[len(LatenessBounds)-1]
}

// note counts n looks that were d late.
func (l *Lateness) note(d time.Duration) {
	l.Sum += d
	i := 0
	for i < len(LatenessBounds) && d > LatenessBounds[i] {
		i++
	}
	l.Counts[i]++
}

// A board shows the counters of a loop to everybody else.
type board struct {
	sent, received, duplicate, late, foreign, drops, errors atomic.Uint64

	lateness [len(LatenessBounds) + 1]atomic.Uint64
	sum      atomic.Int64
}

// add adds what a round counted and empties it.
func (b *board) add(c *Counters) {
	for _, pair := range [...]struct {
		to   *atomic.Uint64
		from uint64
	}{
		{&b.sent, c.Sent},
		{&b.received, c.Received},
		{&b.duplicate, c.Duplicate},
		{&b.late, c.Late},
		{&b.foreign, c.Foreign},
		{&b.drops, c.SocketDrops},
		{&b.errors, c.Errors},
	} {
		if pair.from > 0 {
			pair.to.Add(pair.from)
		}
	}
	for i, n := range c.Lateness.Counts {
		if n > 0 {
			b.lateness[i].Add(n)
		}
	}
	if c.Lateness.Sum != 0 {
		b.sum.Add(int64(c.Lateness.Sum))
	}
	*c = Counters{}
}

func (b *board) read() Counters {
	c := Counters{
		Sent:        b.sent.Load(),
		Received:    b.received.Load(),
		Duplicate:   b.duplicate.Load(),
		Late:        b.late.Load(),
		Foreign:     b.foreign.Load(),
		SocketDrops: b.drops.Load(),
		Errors:      b.errors.Load(),
	}
	for i := range b.lateness {
		c.Lateness.Counts[i] = b.lateness[i].Load()
	}
	c.Lateness.Sum = time.Duration(b.sum.Load())
	return c
}
