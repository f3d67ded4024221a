// Package clock reads the clocks of this machine, keeps the ledger's time and
// stores the signs of life by which the next start knows how long nobody
// watched. The rules are sereno.Timeline's; here is what touches the system.
package clock

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"sereno"
)

// Options say how a Clock begins. The zero Options are a first start.
type Options struct {
	Rhythm sereno.Rhythm                  // each part that is 0: as in sereno.DefaultRhythm
	Mark   sereno.Mark                    // the last one, from OpenMarks
	Newest sereno.Instant                 // the latest instant in the store
	Read   func() (sereno.Reading, error) // the package's Read if nil
}

// A Clock tells the ledger's time.
type Clock struct {
	read     func() (sereno.Reading, error)
	beat     time.Duration
	base     time.Time // for its monotonic reading
	timeline sereno.Timeline
	pulse    atomic.Pointer[pulse]
	latest   atomic.Int64 // that Now returned
}

// A pulse is what Now needs of the latest beat.
type pulse struct {
	pace    sereno.Pace
	boot    time.Duration // the boot-time clock above time.Since(base)
	at      time.Duration // time.Since(base) of the beat
	pending bool
}

// New starts the ledger's time. What the start found (an absence, a step of the
// wall clock) is in the Beat. Run is to begin soon after: until then nobody
// notices a sleep, and a wait of some seconds is booked as a stall.
func New(o Options) (*Clock, sereno.Beat, error) {
	if o.Read == nil {
		o.Read = Read
	}
	if o.Rhythm.Beat == 0 {
		o.Rhythm.Beat = sereno.DefaultRhythm.Beat
	}
	if o.Rhythm.Patience == 0 {
		o.Rhythm.Patience = sereno.DefaultRhythm.Patience
	}
	c := &Clock{read: o.Read, beat: o.Rhythm.Beat, base: time.Now()}
	r, err := c.read()
	if err != nil {
		return nil, sereno.Beat{}, fmt.Errorf("read the clocks: %w", err)
	}
	var found sereno.Beat
	c.timeline, found = sereno.StartTimeline(o.Rhythm, o.Mark, o.Newest, r)
	c.publish(r)
	return c, found, nil
}

// publish lets Now know of the beat of r.
//
// The runtime reads the monotonic clock without a system call, which it cannot
// do with the boot-time clock (34 against 409 ns where this was written). Each
// reading bounds the distance of the two from below, so the largest bound is
// the best.
func (c *Clock) publish(r sereno.Reading) {
	at := time.Since(c.base)
	p := &pulse{
		pace: c.timeline.Pace(), boot: r.Boot - at, at: at,
		pending: c.timeline.Pending(),
	}
	if last := c.pulse.Load(); last != nil {
		p.boot = max(p.boot, last.boot)
	}
	c.pulse.Store(p)
}

// Now returns the ledger's time. It never goes back, whoever asks, costs no
// system call, and may be called from everywhere at once. After a sleep it goes
// on where it was until the next beat has noticed the sleep.
func (c *Clock) Now() sereno.Instant {
	p := c.pulse.Load()
	now := p.pace.At(time.Since(c.base) + p.boot)
	// A beat that was published late may have slowed the pace in the past.
	for {
		latest := sereno.Instant(c.latest.Load())
		if now <= latest {
			return latest
		}
		if c.latest.CompareAndSwap(int64(latest), int64(now)) {
			return now
		}
	}
}

// Look reads the clocks and returns the ledger's time of the reading.
func (c *Clock) Look() (sereno.Reading, sereno.Instant, error) {
	r, err := c.read()
	if err != nil {
		return r, 0, fmt.Errorf("read the clocks: %w", err)
	}
	return r, c.pulse.Load().pace.At(r.Boot), nil
}

// Pending reports whether the ledger's time is provisional, see sereno.Timeline.
func (c *Clock) Pending() bool { return c.pulse.Load().pending }

// Overdue reports whether the next beat is so late that it will find a stall:
// a look that seems to have failed meanwhile proves nothing.
func (c *Clock) Overdue() bool {
	return time.Since(c.base)-c.pulse.Load().at > c.beat+sereno.StallTolerance
}

// Run reads the clocks at every beat until ctx ends. It calls news, if there
// are any, before Now shows them: the instants in the Beat may lie ahead of Now
// until news returns, which should be soon.
func (c *Clock) Run(ctx context.Context, news func(sereno.Beat)) error {
	beats := time.NewTicker(c.beat)
	defer beats.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-beats.C:
		}
		r, err := c.read()
		if err != nil {
			return fmt.Errorf("read the clocks: %w", err)
		}
		var b sereno.Beat
		c.timeline, b = c.timeline.Next(r)
		if !b.Quiet() {
			news(b)
		}
		c.publish(r)
	}
}
