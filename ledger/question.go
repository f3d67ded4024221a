package ledger

import (
	"context"
	"errors"
	"maps"
	"slices"

	"sereno"
)

var errEnded = errors.New("the ledger has stopped")

// do runs f on the ledger's goroutine and returns when it is done.
func (l *Ledger) do(ctx context.Context, f func()) error {
	done := make(chan struct{})
	select {
	case l.ask <- func() { defer close(done); f() }:
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-l.ended:
		return errEnded
	}
	<-done
	return nil
}

// Outcomes counts the looks of one kind since this process began.
type Outcomes struct {
	Answered uint64
	Lost     uint64 // no answer, or bad news
	Faults   uint64 // could not look, by our own fault
}

func (l *Ledger) kind(name string) *Outcomes {
	o := l.outcomes[name]
	if o == nil {
		o = new(Outcomes)
		l.outcomes[name] = o
	}
	return o
}

// Statistics are what the ledger knows of the whole.
type Statistics struct {
	Since     sereno.Instant // when this process began to watch
	Now       sereno.Instant
	Settled   sereno.Instant
	Devices   map[sereno.Status]int
	Checks    map[sereno.Status]int
	Looks     map[string]Outcomes // by kind
	Incidents int                 // open ones
	Isolated  bool
	Pending   bool   // the clock is not to be trusted yet; nothing is judged
	Queue     int    // batches of results that wait to be folded
	Unwritten int    // rows that wait for storage
	Refused   uint64 // results that were refused because the queue was full

	Fault   string         // what is wrong with storage (see Own); empty: nothing
	Faulted sereno.Instant // since when; 0 when nothing is
}

// Statistics answers from the ledger's goroutine.
func (l *Ledger) Statistics(ctx context.Context) (s Statistics, err error) {
	err = l.do(ctx, func() {
		s = Statistics{
			Since: l.since, Now: l.now, Settled: l.Settled(),
			Devices: map[sereno.Status]int{}, Checks: map[sereno.Status]int{}, Looks: map[string]Outcomes{},
			Incidents: l.incidents, Isolated: l.isolated, Pending: l.pendingClock,
			Queue: len(l.queue), Unwritten: l.journal.rows(), Refused: l.dropped.Load(),
		}
		if a := l.own[storage]; a != nil && a.reason != "" {
			s.Fault, s.Faulted = a.reason, a.at
		}
		for _, d := range l.devices {
			s.Devices[d.view().Status]++
		}
		for _, w := range l.checks {
			s.Checks[w.state.Status]++
		}
		for name, o := range maps.All(l.outcomes) {
			s.Looks[name] = *o
		}
	})
	return s, err
}

// Live returns what is live of checks; those it does not watch are left out.
func (l *Ledger) Live(ctx context.Context, ids []sereno.CheckID) (all []Live, err error) {
	err = l.do(ctx, func() {
		all = make([]Live, 0, len(ids))
		for _, id := range ids {
			if w := l.checks[id]; w != nil {
				all = append(all, w.live())
			}
		}
	})
	return all, err
}

// QueueLength returns how many batches of results wait. It may be called from
// anywhere.
func (l *Ledger) QueueLength() int { return len(l.queue) }

// A WitnessSite is a witness by name.
type WitnessSite struct {
	Check   sereno.CheckID // negative
	Name    string
	Trusted bool // the user vouches for it
}

// Witnesses says who the witnesses are from now on. Those that stay keep what
// is known of them.
func (l *Ledger) Witnesses(ctx context.Context, sites []WitnessSite) error {
	return l.do(ctx, func() { l.post(sites) })
}

func (l *Ledger) post(sites []WitnessSite) {
	old := l.witnesses
	l.witnesses = make(map[sereno.CheckID]*witness, len(sites))
	for _, s := range sites {
		wit := old[s.Check]
		if wit == nil {
			wit = new(witness)
		}
		wit.name = s.Name
		wit.Trusted = wit.Trusted || s.Trusted || slices.Contains(l.silenced, s.Name)
		l.witnesses[s.Check] = wit
	}
	l.testify()
	if l.isolated && len(sites) == 0 {
		l.reunite(l.now)
	}
}
