package lab

import (
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// A world is a script at work: it decides, and knows nothing of packets or
// clocks. Times are counted from its beginning.
type world struct {
	seed    uint64
	rules   table[*Behaviour]
	silent  table[[]*Outage] // that may still hold
	behind  table[[]netip.Addr]
	outages []*Outage // all there ever were
}

// A fate is what becomes of one request.
type fate struct {
	ending  ending
	after   time.Duration // until the reply or the refusal
	refusal Error         // if refused
	source  netip.Addr    // of the reply, if strange
	held    bool
	garbled bool
	strange bool
	doubled bool
	again   time.Duration // until the second reply, if doubled
	forged  bool          // somebody else answers too
	silent  bool          // by an outage, whatever a router says of it
}

type ending uint8

const (
	answered ending = iota
	lost
	silenced // by an outage
	ignored
	refused
)

// sound reports whether the asker gets a reply that it can believe.
func (f fate) sound() bool { return f.ending == answered && !f.garbled && !f.strange }

func newWorld(s Script) (*world, error) {
	if err := s.validate(); err != nil {
		return nil, err
	}
	w := &world{seed: s.Seed}
	w.set(s.Rules)
	for _, o := range s.Outages {
		w.add(&o)
	}
	for _, b := range s.Behind {
		w.behind.put(b.Prefix, append(w.behind.get(b.Prefix), b.Parent))
	}
	for _, b := range s.Behind {
		if path := w.cycle(nil, b.Parent); path != nil {
			return nil, fmt.Errorf("parents in a circle: %v", path)
		}
	}
	return w, nil
}

// cycle returns the way from an address over its parents back to one on the
// way, nil if there is none.
func (w *world) cycle(path []netip.Addr, a netip.Addr) []netip.Addr {
	if slices.Contains(path, a) {
		return append(path, a)
	}
	path = append(path, a)
	for parents := range w.behind.holding(a) {
		for _, parent := range parents {
			if parent == a {
				continue
			}
			if found := w.cycle(path, parent); found != nil {
				return found
			}
		}
	}
	return nil
}

func (w *world) set(rules []Rule) {
	for _, r := range rules {
		w.rules.put(r.Prefix, &r.Behaviour)
	}
}

func (w *world) add(o *Outage) {
	w.outages = append(w.outages, o)
	w.silent.put(o.Prefix, append(w.silent.get(o.Prefix), o))
}

// restore ends the outages of exactly this prefix and says whether there was
// one.
func (w *world) restore(p netip.Prefix, at time.Duration) bool {
	live, ended := w.silent.get(p), false
	live = slices.DeleteFunc(live, func(o *Outage) bool {
		if !o.holds(at) {
			return o.To != 0 && o.To <= at
		}
		o.To, ended = at, true
		return true
	})
	if ended {
		w.silent.put(p, live)
	}
	return ended
}

func (o *Outage) holds(at time.Duration) bool { return o.From <= at && (o.To == 0 || at < o.To) }

// outage returns what silences an address, nil if nothing does.
func (w *world) outage(a netip.Addr, at time.Duration) *Outage {
	for outages := range w.silent.holding(a) {
		for _, o := range outages {
			if o.holds(at) {
				return o
			}
		}
	}
	for parents := range w.behind.holding(a) {
		for _, parent := range parents {
			if parent == a {
				continue
			}
			if o := w.outage(parent, at); o != nil {
				return o
			}
		}
	}
	return nil
}

var perfect Behaviour

// decide says what becomes of the request with a number (0 is the first that
// came to this address) that comes at a time.
func (w *world) decide(a netip.Addr, number uint64, at time.Duration) fate {
	b := &perfect
	for b = range w.rules.holding(a) {
		break
	}
	d := roll(w.seed, a, number)
	f := fate{
		after:  b.Delay.Draw(d.share(ofDelay), d.share(ofSpread)),
		forged: d.hit(ofForged, b.Forged),
	}
	o := w.outage(a, at)
	f.silent = o != nil
	switch {
	case o != nil && d.hit(ofOutageError, o.Error.Share):
		f.ending, f.refusal = refused, o.Error
	case o != nil:
		f.ending = silenced
	case b.Ignore:
		f.ending = ignored
	case d.hit(ofLoss, b.Loss) || b.Burst.takes(w.seed, a, number):
		f.ending = lost
	case d.hit(ofError, b.Error.Share):
		f.ending, f.refusal = refused, b.Error
	default:
		f.held = d.hit(ofHeld, b.Held.Share)
		f.garbled = d.hit(ofGarbled, b.Garbled)
		f.strange, f.source = d.hit(ofStrange, b.Strange), b.Source
		f.doubled = d.hit(ofDuplicate, b.Duplicate)
		f.again = b.Delay.Draw(d.share(ofDuplicateDelay), d.share(ofDuplicateSpread))
		if f.held {
			f.after += b.Held.By
		}
	}
	return f
}

// takes reports whether a burst loses the request: the requests to an address
// are cut into stretches of Length, and each stretch is lost or not. Where the
// first one begins differs between addresses.
func (b Burst) takes(seed uint64, a netip.Addr, number uint64) bool {
	if b.Share == 0 {
		return false
	}
	length := uint64(b.Length)
	phase := roll(seed, a, 0).bits(ofBurstPhase) % length
	return roll(seed, a, (number+phase)/length).hit(ofBurst, b.Share)
}
