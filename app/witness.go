package app

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"sync"

	"sereno"
	"sereno/ledger"
	"sereno/probe"
	"sereno/schedule"
)

// A watchpost is the witnesses of this vantage point: its default gateways and
// those that the user named. They are looked at only while something beyond
// this machine is watched.
type watchpost struct {
	ledger   *ledger.Ledger
	schedule *schedule.Scheduler
	kind     probe.Kind
	log      *slog.Logger
	wake     chan struct{}

	mu       sync.Mutex
	named    []netip.Addr // the user vouches for them
	gateways []netip.Addr
	needed   bool

	ids map[netip.Addr]sereno.CheckID // belongs to Run
}

func newWatchpost(l *ledger.Ledger, s *schedule.Scheduler, kind probe.Kind, log *slog.Logger) *watchpost {
	return &watchpost{ledger: l, schedule: s, kind: kind, log: log, wake: make(chan struct{}, 1), ids: map[netip.Addr]sereno.CheckID{}}
}

func (w *watchpost) change(f func()) {
	w.mu.Lock()
	f()
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// Outside says whether anything beyond this machine is watched.
func (w *watchpost) Outside(needed bool) { w.change(func() { w.needed = needed }) }

// Name says whom the user vouches for.
func (w *watchpost) Name(named []netip.Addr) { w.change(func() { w.named = named }) }

// Gateways says what the default gateways are now. A family that has none any
// more keeps those it had: their silence is the news.
func (w *watchpost) Gateways(found []netip.Addr) {
	w.change(func() {
		for _, old := range w.gateways {
			if !slices.ContainsFunc(found, func(a netip.Addr) bool { return a.Is4() == old.Is4() }) {
				found = append(found, old)
			}
		}
		w.gateways = found
	})
}

// Run posts the witnesses whenever they change, until ctx ends.
func (w *watchpost) Run(ctx context.Context) error {
	var before []ledger.WitnessSite
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-w.wake:
		}
		sites, items := w.sites()
		if slices.Equal(before, sites) {
			w.schedule.Set(items) // an interface may have come back under another number
			continue
		}
		var gone []sereno.CheckID
		for _, old := range before {
			if !slices.ContainsFunc(sites, func(s ledger.WitnessSite) bool { return s.Check == old.Check }) {
				gone = append(gone, old.Check)
			}
		}
		w.schedule.Drop(gone)
		if err := w.ledger.Witnesses(ctx, sites); err != nil && ctx.Err() == nil {
			return err
		}
		w.schedule.Set(items)
		before = sites
	}
}

// sites lists the witnesses, each once, the named ones first. An address keeps
// its id for as long as the process lives. Where the interface of an address is
// gone, it is looked at as before, if it ever was: that it is gone is news.
func (w *watchpost) sites() (sites []ledger.WitnessSite, items []schedule.Item) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.needed {
		return nil, nil
	}
	seen := map[netip.Addr]bool{}
	for i, addr := range slices.Concat(w.named, w.gateways) {
		if seen[addr] {
			continue
		}
		seen[addr] = true
		id, known := w.ids[addr]
		if !known {
			id = -1 - sereno.CheckID(len(w.ids))
		}
		target, err := w.kind.Target(id, addr, sereno.WitnessPolicy.Timeout, nil)
		switch {
		case err == nil:
			w.ids[addr] = id
			items = append(items, schedule.Item{Target: target, Interval: sereno.WitnessPolicy.Interval})
		case !known:
			w.log.Warn("cannot look at a witness; it is left out", "witness", addr, "err", err)
			continue
		}
		sites = append(sites, ledger.WitnessSite{Check: id, Name: addr.String(), Trusted: i < len(w.named)})
	}
	return sites, items
}
