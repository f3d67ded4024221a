// Package schedule knows when each check is due.
//
// A check is due on a grid that depends on its id and its interval alone (see
// sereno.Phase). One goroutine walks along the grid and hands over what is due
// in the next few milliseconds, all at once; there is no timer and no goroutine
// per check, and a change of the plan disturbs no other check.
package schedule

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"sereno"
	"sereno/probe"
)

const (
	// Lead is how far ahead looks are handed over: long enough that waking for
	// it costs little, short enough that a change of the plan is soon in force.
	Lead = 20 * time.Millisecond
	// Leap is how overdue looks may be that are still caught up with. When the
	// oldest is later, all that are overdue are left out: the machine slept, or
	// the clock was set.
	Leap = time.Second
	// firstWithin is when a new check with a long interval is first looked at.
	firstWithin = 5 * time.Second
)

// An Item is one check in the plan.
type Item struct {
	Target   probe.Target
	Interval time.Duration
}

// A Scheduler hands the looks that are due to a sweeper.
type Scheduler struct {
	sweeper probe.Sweeper
	now     func() sereno.Instant
	log     *slog.Logger
	skipped atomic.Uint64

	mu     sync.Mutex
	orders []func() // for Run's goroutine, in order
	wake   chan struct{}

	// All below belongs to Run's goroutine.
	done  sereno.Instant // all that was due until here was handed over
	items map[sereno.CheckID]Item
	rings []*ring
	hurry ring         // checks in doubt, every sereno.Doubting
	soon  []probe.Look // single looks, in order of their due times
}

// New makes a scheduler without checks. now is the ledger's time.
func New(sweeper probe.Sweeper, now func() sereno.Instant, log *slog.Logger) *Scheduler {
	return &Scheduler{
		sweeper: sweeper, now: now, log: log,
		wake:  make(chan struct{}, 1),
		items: map[sereno.CheckID]Item{},
		hurry: ring{interval: sereno.Doubting},
	}
}

// Set takes checks into the plan, or replaces their targets and intervals.
func (s *Scheduler) Set(items []Item) { s.order(func() { s.set(items) }) }

// Drop takes checks out of the plan.
func (s *Scheduler) Drop(checks []sereno.CheckID) { s.order(func() { s.drop(checks) }) }

// Look takes one look now, besides the grid.
func (s *Scheduler) Look(check sereno.CheckID) {
	s.order(func() {
		if item, ok := s.items[check]; ok {
			s.once(probe.Look{Target: item.Target, Due: s.now().Grid()})
		}
	})
}

// Hurry looks every sereno.Doubting, on the same grid, until it is called off.
func (s *Scheduler) Hurry(check sereno.CheckID, on bool) {
	s.order(func() {
		if item, ok := s.items[check]; ok && on {
			s.hurry.set([]probe.Target{item.Target})
		} else {
			s.hurry.drop([]sereno.CheckID{check})
		}
	})
}

// Skipped returns for how many checks the grid was left out so far, because
// this process could not look in time.
func (s *Scheduler) Skipped() uint64 { return s.skipped.Load() }

func (s *Scheduler) order(f func()) {
	s.mu.Lock()
	s.orders = append(s.orders, f)
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Run hands over what is due until ctx ends.
func (s *Scheduler) Run(ctx context.Context) error {
	s.done = s.now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		case <-s.wake:
		}
		s.obey()
		if looks := s.due(); len(looks) > 0 {
			if err := s.sweeper.Sweep(ctx, looks); err != nil {
				if ctx.Err() != nil {
					return nil
				}
				return err
			}
		}
		timer.Reset(s.rest())
	}
}

func (s *Scheduler) obey() {
	s.mu.Lock()
	orders := s.orders
	s.orders = nil
	s.mu.Unlock()
	for _, f := range orders {
		f()
	}
}

// due collects what is due until Lead from now.
func (s *Scheduler) due() []probe.Look {
	now := s.now()
	from, to := s.done, now.Add(Lead)
	if to <= from {
		return nil
	}
	if now.Sub(s.next()) > Leap {
		s.leap(now.Sub(from))
		from = now
	}
	s.done = to
	var looks []probe.Look
	filled := 0
	for _, r := range s.rings {
		before := len(looks)
		if looks = r.due(looks, from, to); len(looks) > before {
			filled++
		}
	}
	if hurried := s.hurry.due(nil, from, to); len(hurried) > 0 {
		for _, l := range hurried {
			check := l.Target.Check()
			if sereno.Slot(check, s.items[check].Interval, l.Due) != l.Due { // else it is due anyway
				looks = append(looks, l)
			}
		}
		filled++
	}
	if n := s.soonDue(to); n > 0 {
		looks = append(looks, s.soon[:n]...)
		s.soon = slices.Delete(s.soon, 0, n)
		filled++
	}
	if filled > 1 {
		slices.SortStableFunc(looks, func(a, b probe.Look) int { return cmp.Compare(a.Due, b.Due) })
	}
	return looks
}

func (s *Scheduler) leap(gap time.Duration) {
	var skipped time.Duration
	for _, r := range s.rings {
		skipped += time.Duration(len(r.entries)) * (gap / r.interval)
	}
	s.skipped.Add(uint64(skipped))
	s.log.Warn("could not look for a while; going on from now", "for", gap.Round(time.Millisecond), "looks_left_out", int64(skipped))
}

func (s *Scheduler) soonDue(to sereno.Instant) int {
	n := 0
	for n < len(s.soon) && s.soon[n].Due <= to {
		n++
	}
	return n
}

// next returns when the next look that was not handed over is due, or some
// later time if that is far away.
func (s *Scheduler) next() sereno.Instant {
	next := s.done.Add(time.Minute)
	for _, r := range append(s.rings[:len(s.rings):len(s.rings)], &s.hurry) {
		if len(r.entries) > 0 {
			_, at := r.after(s.done)
			next = min(next, at)
		}
	}
	if len(s.soon) > 0 {
		next = min(next, s.soon[0].Due)
	}
	return next
}

// rest returns how long there is nothing to hand over.
func (s *Scheduler) rest() time.Duration { return max(s.next().Sub(s.now())-Lead/2, Lead) }

func (s *Scheduler) set(items []Item) {
	byInterval := map[time.Duration][]probe.Target{}
	var moved []sereno.CheckID
	now := s.now()
	for _, item := range items {
		check := item.Target.Check()
		old, known := s.items[check]
		if known && old.Interval != item.Interval {
			moved = append(moved, check)
		}
		s.items[check] = item
		byInterval[item.Interval] = append(byInterval[item.Interval], item.Target)
		if first := sereno.Slot(check, firstWithin, now).Add(firstWithin); !known && item.Interval > firstWithin &&
			sereno.Slot(check, item.Interval, first) != first {
			s.soon = append(s.soon, probe.Look{Target: item.Target, Due: first})
		}
		if i, ok := s.hurry.find(check); ok {
			s.hurry.entries[i].target = item.Target
		}
	}
	s.sortSoon()
	for _, r := range s.rings {
		r.drop(moved)
	}
	for interval, targets := range byInterval {
		i := slices.IndexFunc(s.rings, func(r *ring) bool { return r.interval == interval })
		if i < 0 {
			i = len(s.rings)
			s.rings = append(s.rings, &ring{interval: interval})
		}
		s.rings[i].set(targets)
	}
}

func (s *Scheduler) drop(checks []sereno.CheckID) {
	for _, c := range checks {
		delete(s.items, c)
	}
	for _, r := range s.rings {
		r.drop(checks)
	}
	s.rings = slices.DeleteFunc(s.rings, func(r *ring) bool { return len(r.entries) == 0 })
	s.hurry.drop(checks)
	s.soon = slices.DeleteFunc(s.soon, func(l probe.Look) bool { _, ok := s.items[l.Target.Check()]; return !ok })
}

// once adds a single look, unless one at the same target waits already.
func (s *Scheduler) once(l probe.Look) {
	if slices.ContainsFunc(s.soon, func(o probe.Look) bool { return o.Target.Check() == l.Target.Check() }) {
		return
	}
	s.soon = append(s.soon, l)
	s.sortSoon()
}

func (s *Scheduler) sortSoon() {
	slices.SortStableFunc(s.soon, func(a, b probe.Look) int { return cmp.Compare(a.Due, b.Due) })
}
