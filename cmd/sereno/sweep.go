package main

import (
	"context"
	"sync"
	"time"

	"sereno"
	"sereno/probe"
	"sereno/probe/icmp"
)

// A sweep looks at hosts in rounds and keeps what it saw.
type sweep struct {
	hosts    []host
	count    int // rounds; 0: until stopped
	interval time.Duration
	timeout  time.Duration

	targets []probe.Target
	start   sereno.Instant
	began   time.Time
	every   bool // whoever shows it wants each look, not only changes

	mu      sync.Mutex
	tallies []tally
	ended   uint64        // looks that have an outcome
	events  []event       // not yet taken
	news    chan struct{} // holds a value when there are events
	done    chan struct{} // closed when the last look has ended
}

// An event is one look that is worth a line.
type event struct {
	host   int
	round  int
	result sereno.Result
	gap    uint64 // looks without an answer before this one
}

const (
	// lead is how long before they are due looks are handed to the engine,
	// and pulse how often: each time costs a wake-up.
	lead  = 25 * time.Millisecond
	pulse = 20 * time.Millisecond
	// farewell is how much longer than its timeout the last look may take.
	farewell = 2 * time.Second
)

func newSweep(hosts []host, count int, interval, timeout time.Duration) *sweep {
	s := &sweep{
		hosts: hosts, count: count, interval: interval, timeout: timeout,
		tallies: make([]tally, len(hosts)), news: make(chan struct{}, 1), done: make(chan struct{}),
	}
	if count > 0 && count <= exactValues {
		room := make([]float32, count*len(hosts))
		for i := range s.tallies {
			s.tallies[i].spread.values = room[i*count : i*count : (i+1)*count]
		}
	}
	return s
}

// prepare makes the engine's targets. Check ids are indices of hosts plus one.
func (s *sweep) prepare(e *icmp.Engine, settings []byte) error {
	s.targets = make([]probe.Target, len(s.hosts))
	for i, h := range s.hosts {
		var err error
		if s.targets[i], err = e.Target(sereno.CheckID(i+1), h.addr, s.timeout, settings); err != nil {
			return err
		}
	}
	return nil
}

// run looks until all rounds are done or ctx ends, and returns when the engine
// has stopped.
func (s *sweep) run(ctx context.Context, e *icmp.Engine) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.began = time.Now()
	s.start = sereno.At(s.began)
	var wg sync.WaitGroup
	var failed error
	wg.Go(func() {
		defer cancel()
		failed = e.Run(ctx)
	})
	s.feed(ctx, e)
	if ctx.Err() == nil {
		last := time.NewTimer(time.Until(s.began.Add(s.due(s.total()-1).Sub(s.start))) + s.timeout + farewell)
		defer last.Stop()
		select {
		case <-s.done:
		case <-last.C:
		case <-ctx.Done():
		}
	}
	cancel()
	wg.Wait()
	return failed
}

// total is how many looks there will be, 0 for no end.
func (s *sweep) total() uint64 { return uint64(s.count) * uint64(len(s.hosts)) }

// due is when look i is due: round k of host j of n at k intervals and j n-ths
// of one.
func (s *sweep) due(i uint64) sereno.Instant {
	n := uint64(len(s.hosts))
	round, at := i/n, i%n
	us := uint64(s.interval / time.Microsecond)
	return s.start + sereno.Instant(round*us+at*us/n)
}

// feed hands looks to the engine a moment before they are due. A round that
// comes late because the engine is behind is late as a whole: none is left
// out.
func (s *sweep) feed(ctx context.Context, e *icmp.Engine) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	n := uint64(len(s.hosts))
	for next := uint64(0); s.count == 0 || next < s.total(); {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		now := s.start.Add(time.Since(s.began))
		until := next
		for (s.count == 0 || until < s.total()) && s.due(until) <= now.Add(lead) && until-next < 4096 {
			until++
		}
		if until > next {
			looks := make([]probe.Look, 0, until-next)
			for ; next < until; next++ {
				looks = append(looks, probe.Look{Target: s.targets[next%n], Due: s.due(next)})
			}
			if e.Sweep(ctx, looks) != nil {
				return
			}
		}
		timer.Reset(max(pulse, s.due(next).Sub(now)-lead))
	}
}

// deliver is the engine's way to tell. One lock is for a batch of looks.
func (s *sweep) deliver(batch []sereno.Result) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range batch {
		r := &batch[i]
		at := int(r.Check) - 1
		t := &s.tallies[at]
		before, gap := t.condition(), t.gap
		t.add(r)
		after := t.condition()
		changed := before != after && !(before == waiting && after == answers) && !(before >= silent && after >= silent) && !(before <= lossy && after <= lossy)
		if s.every || changed {
			s.events = append(s.events, event{at, int(t.sent + t.faults), *r, gap})
		}
	}
	s.ended += uint64(len(batch))
	if len(s.events) > 0 {
		select {
		case s.news <- struct{}{}:
		default:
		}
	}
	if s.count > 0 && s.ended == s.total() {
		close(s.done)
	}
}

// take returns the events since the last time.
func (s *sweep) take() []event {
	s.mu.Lock()
	defer s.mu.Unlock()
	events := s.events
	s.events = nil
	return events
}

// A totals is the sum over all hosts.
type totals struct {
	hosts, all, some, none int    // hosts that answered every look, some, none
	sent, lost, faults     uint64 // looks
}

func (s *sweep) totals() totals {
	t := totals{hosts: len(s.tallies)}
	for i := range s.tallies {
		h := &s.tallies[i]
		switch {
		case h.answered == 0:
			t.none++
		case h.lost() > 0 || h.faults > 0:
			t.some++
		default:
			t.all++
		}
		t.sent += h.sent
		t.lost += h.lost()
		t.faults += h.faults
	}
	return t
}
