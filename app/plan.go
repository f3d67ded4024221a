package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"sync"

	"sereno"
	"sereno/ledger"
	"sereno/probe"
	"sereno/resolve"
	"sereno/schedule"
	"sereno/store"
)

// A plan keeps what is watched the same in the store and in the running parts.
// One change is made at a time.
type plan struct {
	planParts

	mu      sync.Mutex
	addrs   map[string]netip.Addr                        // what names resolve to
	named   map[string]map[sereno.DeviceID]sereno.Device // devices by the name that is their address
	distant map[sereno.DeviceID]bool                     // those beyond this machine
}

// planParts are what a plan works on.
type planParts struct {
	store    *store.Store
	ledger   *ledger.Ledger
	schedule *schedule.Scheduler
	kinds    []probe.Kind
	now      func() sereno.Instant
	log      *slog.Logger
	idle     func() error // an error while what was found waits to be written
	resolver *resolve.Resolver
	beyond   func(netip.Addr) bool                         // beyond this machine?
	outside  func(bool)                                    // told whether anything beyond this machine is watched
	know     func([]sereno.Device)                         // told whose checks are, before their first look
	forget   func([]sereno.DeviceID)                       // told which are watched no longer
	changed  func(before, after []sereno.Device)           // told of devices as they were and as they are
	end      func([]sereno.CheckID)                        // told which are not looked at from now on
	erase    func(context.Context, []sereno.CheckID) error // deletes their looks
}

func newPlan(parts planParts) *plan {
	return &plan{
		planParts: parts,
		addrs:     map[string]netip.Addr{},
		named:     map[string]map[sereno.DeviceID]sereno.Device{},
		distant:   map[sereno.DeviceID]bool{},
	}
}

// Add takes in new devices, all or none.
func (p *plan) Add(ctx context.Context, devices []sereno.Device) ([]sereno.Device, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.idle(); err != nil {
		return nil, err
	}
	added, err := p.store.AddDevices(ctx, devices, p.now())
	if err != nil {
		return nil, err
	}
	return added, p.enact(ctx, nil, added)
}

// Replace changes a device.
func (p *plan) Replace(ctx context.Context, d sereno.Device) (sereno.Device, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.ours(ctx, d.ID); err != nil {
		return d, err
	}
	if err := p.settle(ctx); err != nil {
		return d, err
	}
	before, after, err := p.store.ReplaceDevice(ctx, d, p.now())
	if err != nil {
		return d, err
	}
	changed := []sereno.Device{after}
	if before.Name != after.Name {
		children, err := p.childrenOf(ctx, after.Name)
		if err != nil {
			return after, err
		}
		changed = append(changed, children...)
	}
	return after, p.enact(ctx, []sereno.Device{before}, changed)
}

// settle returns when all that was found out before is in the store, which is to
// change.
func (p *plan) settle(ctx context.Context) error {
	if err := p.ledger.Flush(ctx); err != nil {
		return err
	}
	return p.idle()
}

// childrenOf finds the devices that hang on the one with a name.
func (p *plan) childrenOf(ctx context.Context, name string) (children []sereno.Device, err error) {
	for d, err := range p.store.AllDevices(ctx) {
		if err != nil {
			return nil, err
		}
		if slices.Contains(d.Parents, name) {
			children = append(children, d)
		}
	}
	return children, nil
}

// Remove stops watching a device. Its history stays.
func (p *plan) Remove(ctx context.Context, id sereno.DeviceID) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.ours(ctx, id); err != nil {
		return err
	}
	if err := p.settle(ctx); err != nil {
		return err
	}
	gone, err := p.store.RemoveDevice(ctx, id, p.now())
	if err != nil {
		return err
	}
	return p.enact(ctx, []sereno.Device{gone}, nil)
}

// Purge deletes the history of a device that was removed: its looks first, for
// once the facts have gone nobody knows which looks were its own. Cut short, it
// may be called again.
func (p *plan) Purge(ctx context.Context, id sereno.DeviceID) error {
	if err := p.idle(); err != nil { // something of it may wait
		return err
	}
	gone, err := p.store.Removed(ctx, id)
	if err != nil {
		return err
	}
	if err := p.erase(ctx, gone.Checks); err != nil {
		return err
	}
	if _, err := p.store.Purge(ctx, id); err != nil {
		return err
	}
	p.log.Info("purged the history of a device that was removed", "device", gone.Name, "id", int64(id))
	return nil
}

// Apply makes the devices of the configuration file those that are watched
// because of it.
func (p *plan) Apply(ctx context.Context, devices []sereno.Device) (store.Applied, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.settle(ctx); err != nil {
		return store.Applied{}, err
	}
	done, err := p.store.ApplyFile(ctx, devices, p.now())
	if err != nil {
		return done, inFile(err)
	}
	before, after := done.Removed, done.Added
	for _, c := range done.Changed {
		before, after = append(before, c.Old), append(after, c.New)
	}
	return done, p.enact(ctx, before, after)
}

// inFile says of a name of the file that is taken by whom it is: that of
// another device of the file was found before.
func inFile(err error) error {
	if e, ok := errors.AsType[*sereno.Error](err); ok && e.Kind == sereno.Conflict {
		return sereno.Errorf(sereno.Conflict, "the configuration file: %s, or first remove the other, which was added by command (sereno devices remove)", e.Text)
	}
	return err
}

// ours refuses to change what the configuration file manages.
func (p *plan) ours(ctx context.Context, id sereno.DeviceID) error {
	d, err := p.store.Device(ctx, id)
	if err != nil {
		return err
	}
	if d.FromFile {
		return sereno.Errorf(sereno.Forbidden, "%s is managed by the configuration file: change it there", d.Name)
	}
	return nil
}

// enact brings what the store has taken in to the running parts: before are
// devices as they were, after as they are now.
func (p *plan) enact(ctx context.Context, before, after []sereno.Device) error {
	ctx = context.WithoutCancel(ctx) // the store has it: the rest must follow
	p.changed(before, after)
	kept := map[sereno.DeviceID]bool{}
	living := map[sereno.CheckID]bool{}
	for _, d := range after {
		kept[d.ID] = true
		for _, c := range d.Checks {
			living[c.ID] = !d.Paused
		}
	}
	var idle []sereno.CheckID
	var gone []sereno.DeviceID
	for _, d := range before {
		p.unname(d)
		if !kept[d.ID] {
			gone = append(gone, d.ID)
			delete(p.distant, d.ID)
		}
		for _, c := range d.Checks {
			if !living[c.ID] {
				idle = append(idle, c.ID)
			}
		}
	}
	p.schedule.Drop(idle)
	p.forget(gone)
	places, items, err := p.prepare(after)
	if err != nil {
		return err
	}
	if err := errors.Join(p.ledger.Forget(ctx, gone), p.ledger.Watch(ctx, places)); err != nil {
		return err
	}
	p.end(idle) // after the ledger has given on the last looks at them
	p.schedule.Set(items)
	p.outside(len(p.distant) > 0)
	return nil
}

// prepare makes devices ready to be watched. Those that are paused are
// watched, but not looked at.
func (p *plan) prepare(devices []sereno.Device) (places []ledger.Place, items []schedule.Item, err error) {
	p.know(devices)
	places = make([]ledger.Place, 0, len(devices))
	items = make([]schedule.Item, 0, len(devices))
	for _, d := range devices {
		addr, err := netip.ParseAddr(d.Address)
		if err != nil {
			if p.named[d.Address] == nil {
				p.named[d.Address] = map[sereno.DeviceID]sereno.Device{}
			}
			p.named[d.Address][d.ID] = d
			addr = p.addrs[d.Address]
		}
		places = append(places, ledger.Place{Device: d, Beyond: p.place(d.ID, addr)})
		if d.Paused {
			continue
		}
		for _, c := range d.Checks {
			item, err := p.item(d, c, addr)
			if err != nil {
				return nil, nil, err
			}
			items = append(items, item)
		}
	}
	p.rename()
	return places, items, nil
}

// place notes where a device is, and returns whether that is beyond this
// machine. A name that is not resolved yet is taken to be.
func (p *plan) place(id sereno.DeviceID, addr netip.Addr) bool {
	if addr.IsValid() && !p.beyond(addr) {
		delete(p.distant, id)
		return false
	}
	p.distant[id] = true
	return true
}

func (p *plan) item(d sereno.Device, c sereno.Check, addr netip.Addr) (schedule.Item, error) {
	i := slices.IndexFunc(p.kinds, func(k probe.Kind) bool { return k.Name() == c.Kind })
	if i < 0 {
		return schedule.Item{}, sereno.Errorf(sereno.Invalid, "%s: there is no check of kind %q", d.Name, c.Kind)
	}
	target, err := p.kinds[i].Target(c.ID, addr, c.Policy.Timeout, c.Settings)
	if err != nil { // such as the zone of an interface that is not there (yet)
		p.log.Error("cannot look at a device; its check stays unknown", "device", d.Name, "check", c.Name, "err", err)
		if target, err = p.kinds[i].Target(c.ID, netip.Addr{}, c.Policy.Timeout, nil); err != nil {
			return schedule.Item{}, fmt.Errorf("prepare check %s of %s: %w", c.Name, d.Name, err)
		}
	}
	return schedule.Item{Target: target, Interval: c.Policy.Interval}, nil
}

func (p *plan) unname(d sereno.Device) {
	if m := p.named[d.Address]; m != nil {
		if delete(m, d.ID); len(m) == 0 {
			delete(p.named, d.Address)
		}
	}
}

// rename tells the resolver which names there are. The resolver tells a name's
// address once, so it is kept for as long as the name is.
func (p *plan) rename() {
	maps.DeleteFunc(p.addrs, func(name string, _ netip.Addr) bool { return p.named[name] == nil })
	p.resolver.Set(slices.Collect(maps.Keys(p.named)))
}

// Resolved aims the looks at devices of that name at another address.
func (p *plan) Resolved(name string, addr netip.Addr) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.named[name] == nil || !addr.IsValid() || p.addrs[name] == addr {
		return
	}
	p.addrs[name] = addr
	var items []schedule.Item
	for _, d := range p.named[name] {
		if err := p.ledger.Beyond(context.Background(), d.ID, p.place(d.ID, addr)); err != nil {
			return // the ledger has stopped: so does the program
		}
		for _, c := range d.Checks {
			if d.Paused {
				continue
			}
			item, err := p.item(d, c, addr)
			if err != nil {
				p.log.Error("cannot aim at a resolved address", "device", d.Name, "address", addr, "err", err)
				continue
			}
			items = append(items, item)
		}
	}
	p.schedule.Set(items)
	p.outside(len(p.distant) > 0)
}

// Load begins with the devices that the store holds, before anything runs.
func (p *plan) Load(ctx context.Context, devices []sereno.Device, past ledger.Past) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	places, items, err := p.prepare(devices)
	if err != nil {
		return err
	}
	var failed error
	past.Open = func(yield func(sereno.Span) bool) {
		for s, err := range p.store.OpenSpans(ctx) {
			if failed = err; err != nil || !yield(s) {
				return
			}
		}
	}
	p.ledger.Load(places, past)
	if failed != nil {
		return fmt.Errorf("load states: %w", failed)
	}
	p.schedule.Set(items)
	p.outside(len(p.distant) > 0)
	return nil
}

// looksOutside reports whether anything beyond this machine is watched.
func (p *plan) looksOutside() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.distant) > 0
}
