package app

import (
	"context"
	"fmt"
	"time"

	"sereno"
	"sereno/ledger"
)

// faults finds out what is wrong with Sereno itself and is nobody else's to
// say, and tells the ledger.
type faults struct {
	ask       func(context.Context) (ledger.Statistics, error)
	permitted func() error                       // whether looks can be taken
	synced    func() (bool, error)               // whether the wall clock is synchronised
	own       func(sereno.Instant, ledger.Fault) // Ledger.Own
	now       func() sereno.Instant
	refused   uint64         // looks that the ledger had refused by the last time
	overload  sereno.Instant // when it refused some last
	unsynced  sereno.Instant // since when the clock is not synchronised; 0: it is
	blocked   sereno.Instant // since when no looks can be taken; 0: they can
}

const (
	faultsEvery = 5 * time.Second
	// overloaded is how long nothing may be refused before it is over.
	overloaded = time.Minute
	// unsyncedFor is how long a clock may be on its own: a time server that is
	// restarted is not news.
	unsyncedFor = 10 * time.Minute
)

// Run looks every few seconds until ctx ends.
func (f *faults) Run(ctx context.Context) error {
	tick := time.NewTicker(faultsEvery)
	defer tick.Stop()
	for {
		if s, err := f.ask(ctx); err == nil {
			f.look(s)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (f *faults) look(s ledger.Statistics) {
	now := f.now()
	say := func(t sereno.Trouble, at sereno.Instant, reason string) {
		f.own(at, ledger.Fault{Trouble: t, Reason: reason})
	}

	switch err := f.permitted(); {
	case err != nil && f.blocked == 0:
		f.blocked = now
		fallthrough
	case err != nil:
		say(sereno.TroubleSocket, f.blocked, "no looks can be taken, so nothing is known of any device: "+err.Error())
	default:
		f.blocked = 0
		say(sereno.TroubleSocket, now, "")
	}

	if s.Refused > f.refused {
		f.refused, f.overload = s.Refused, now
		say(sereno.TroubleOverload, now, fmt.Sprintf("looks come faster than they can be judged or written: %d of them were lost so far", s.Refused))
	} else if now.Sub(f.overload) >= overloaded {
		say(sereno.TroubleOverload, now, "")
	}

	synced, err := f.synced()
	switch {
	case err != nil:
	case synced:
		f.unsynced = 0
		say(sereno.TroubleClock, now, "")
	case f.unsynced == 0:
		f.unsynced = now
	case now.Sub(f.unsynced) >= unsyncedFor:
		say(sereno.TroubleClock, f.unsynced, "the clock of this machine is not synchronised: times may be wrong, lengths of time are not")
	}
}
