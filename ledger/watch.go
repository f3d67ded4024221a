package ledger

import (
	"context"
	"slices"
	"time"

	"sereno"
)

// A device is one device under watch, with what it hangs on.
type device struct {
	id       sereno.DeviceID
	name     string
	beyond   bool // beyond this machine: looks at it need the network
	paused   bool
	parents  []*device
	children []*device
	wants    []string // the names of its parents, as told
	checks   []*watch
	inquired sereno.Instant // when a look was last asked for
}

// A watch is one check under watch: its state, its open span, its trouble.
type watch struct {
	id      sereno.CheckID
	dev     *device
	kind    *Outcomes
	echo    bool
	policy  sereno.Policy
	state   sereno.State
	open    sereno.Span
	loss    *sereno.Loss // nil unless the policy judges by loss
	trouble *sereno.Case // nil until there was some

	before  []sereno.PolicySince // policies of looks that were due before another came in force: of each, its end
	givenUp sereno.Instant       // looks from before it are told too late to count

	proof     *sereno.Change // of Down, waiting for a verdict
	heldSince sereno.Instant
	waited    []sereno.Result // the looks since the proof
	orphaned  sereno.Instant  // since when the parent it is down behind is back; 0: not
	hurried   bool
	up        bool // counted in Ledger.ups
	doubted   bool // counted in Ledger.doubted

	last        sereno.Instant
	rtt         time.Duration
	fault       string // why the latest look could not be taken
	looks, lost uint64
	recent      uint64
	seen        uint8
}

// count keeps what is live: the last look and the shape of the latest ones.
func (w *watch) count(r *sereno.Result) {
	w.last = r.At
	if r.Status == sereno.Unknown {
		w.fault = r.Reason
		w.kind.Faults++
		return
	}
	w.looks++
	w.recent <<= 1
	w.seen = min(w.seen+1, 64)
	if r.Status == sereno.Down {
		w.kind.Lost++
		w.lost++
	} else {
		w.kind.Answered++
		w.rtt = r.RTT
		w.recent |= 1
	}
}

// judge says what a look is worth after those before it.
func (w *watch) judge(r *sereno.Result, policy *sereno.Policy) sereno.Status {
	if size := policy.LossLooks(); size == 0 {
		w.loss = nil
	} else if r.Status != sereno.Unknown {
		if w.loss == nil {
			w.loss = new(sereno.Loss)
		}
		w.loss.Add(size, r.Status == sereno.Down)
	}
	return policy.Judge(r, w.loss)
}

// policyAt returns the policy that was in force when a look was due. Looks come
// in order.
func (w *watch) policyAt(due sereno.Instant) *sereno.Policy {
	for i := range w.before {
		if due < w.before[i].Since {
			return &w.before[i].Policy
		}
	}
	for i := range w.before {
		if w.before[i].Policy.LossLooks() != w.policy.LossLooks() {
			w.loss = nil // the window is another
		}
	}
	w.before = nil
	return &w.policy
}

func (w *watch) view() sereno.CheckView {
	return sereno.CheckView{
		Status: w.state.Status, Cause: w.state.Cause, Since: w.state.Since,
		Answered: w.state.Answered, Echo: w.echo, Reason: w.open.Reason,
	}
}

func (w *watch) live() Live {
	l := Live{
		Check: w.id, Status: w.open.Status, Cause: w.open.Cause, Since: w.open.Begin, Reason: w.open.Reason,
		Doubt: w.open.Status, Last: w.last, RTT: w.rtt, Looks: w.looks, Lost: w.lost, Recent: w.recent, Seen: int(w.seen),
	}
	if l.Status == sereno.Unknown && l.Reason == "" {
		l.Reason = w.fault
	}
	if w.proof != nil || w.state.InDoubt() {
		l.Doubt = w.state.Tail.Status
	}
	return l
}

// view derives the status of a device from its checks.
func (d *device) view() sereno.CheckView {
	if len(d.checks) == 1 {
		return d.checks[0].view()
	}
	views := make([]sereno.CheckView, len(d.checks))
	for i, w := range d.checks {
		views[i] = w.view()
	}
	return sereno.DeviceStatus(views)
}

// parentViews tells what is known of the devices that d hangs on. A parent
// whose own proof of Down still waits counts as undecided.
func (d *device) parentViews() []sereno.Parent {
	views := make([]sereno.Parent, 0, len(d.parents))
	for _, p := range d.parents {
		if p.paused {
			continue
		}
		v := p.view()
		answered := v.Answered
		for _, w := range p.checks {
			answered = max(answered, w.state.Answered)
			if w.proof != nil {
				v.Status = sereno.Unknown
			}
		}
		views = append(views, sereno.Parent{Status: v.Status, Answered: answered})
	}
	return views
}

// behind returns the parent that d is behind when all that are looked at are
// Down.
func (d *device) behind() *device {
	for _, p := range d.parents {
		if !p.paused {
			return p
		}
	}
	return nil
}

// A Place is a device to watch, and whether it lies beyond this machine.
type Place struct {
	Device sereno.Device
	Beyond bool
}

// A Past is what is known from before: the last span of every check, which is
// open, and the incidents that are open. Settled is up to when all looks had
// been judged and written; a check that was known counts as seen until then.
type Past struct {
	Open      func(yield func(sereno.Span) bool)
	Incidents []sereno.Incident
	LastID    sereno.IncidentID
	Settled   sereno.Instant
}

// Load takes up what was known from before. Call it once, before Run.
func (l *Ledger) Load(places []Place, past Past) {
	l.lastID, l.recalled = past.LastID, past.Settled
	for _, p := range places {
		l.place(p)
	}
	l.link()
	if past.Open != nil {
		for s := range past.Open {
			if w := l.checks[s.Check]; w != nil {
				l.recall(w, s, past.Settled)
			}
		}
	}
	for _, in := range past.Incidents {
		l.incidents++
		w := l.checks[in.Check]
		switch {
		case in.Trouble == sereno.TroubleIsolated:
			l.isolation, l.isolated, l.silenced = in, true, silencedIn(in)
		case in.Trouble.Own():
			l.own[respect{in.Trouble, in.Subject}] = &ailment{incident: in}
		case w != nil:
			w.trouble = &sereno.Case{Incident: in}
		}
	}
}

// recall puts a check into the state in which its open span left it.
func (l *Ledger) recall(w *watch, s sereno.Span, settled sereno.Instant) {
	w.open, w.state = s, sereno.Recall(w.policy, s, settled)
	l.recount(w)
}

// Watch begins to watch devices that the store has just taken in, or takes
// over what changed in them. It returns when that is in force.
func (l *Ledger) Watch(ctx context.Context, places []Place) error {
	return l.do(ctx, func() {
		for _, p := range places {
			l.place(p)
		}
		l.link()
	})
}

// Flush returns when all that was found out before is on disk. Call it before
// the store removes checks: the store takes no more news of them afterwards.
func (l *Ledger) Flush(ctx context.Context) error {
	var kept <-chan struct{}
	if err := l.do(ctx, func() { kept = l.journal.wait() }); err != nil {
		return err
	}
	select {
	case <-kept:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-l.ended:
		return errEnded
	}
}

// Forget stops watching devices that the store has removed.
func (l *Ledger) Forget(ctx context.Context, ids []sereno.DeviceID) error {
	return l.do(ctx, func() { l.forget(ids) })
}

func (l *Ledger) forget(ids []sereno.DeviceID) {
	for _, id := range ids {
		if d := l.devices[id]; d != nil {
			for _, w := range slices.Clone(d.checks) {
				l.drop(w)
			}
			delete(l.devices, id)
			if l.names[d.name] == d {
				delete(l.names, d.name)
			}
		}
	}
	l.link()
}

// place takes in one device, new or changed.
func (l *Ledger) place(p Place) {
	d := l.devices[p.Device.ID]
	if d == nil {
		d = &device{id: p.Device.ID}
		l.devices[d.id] = d
	}
	if l.names[d.name] == d {
		delete(l.names, d.name)
	}
	d.name, d.beyond, d.wants = p.Device.Name, p.Beyond, p.Device.Parents
	l.names[d.name] = d
	for _, w := range slices.Clone(d.checks) {
		if !slices.ContainsFunc(p.Device.Checks, func(c sereno.Check) bool { return c.ID == w.id }) {
			l.drop(w)
		}
	}
	for _, c := range p.Device.Checks {
		w := l.checks[c.ID]
		if w == nil {
			w = &watch{id: c.ID, dev: d, kind: l.kind(c.Kind), echo: c.Kind == "icmp"}
			w.open = sereno.Span{Check: c.ID, Cause: sereno.CauseNew, Begin: c.Created, Proof: c.Created}
			if p.Device.Paused {
				w.open.Cause, w.open.Reason = sereno.CausePaused, "paused"
			}
			w.state = sereno.State{Cause: w.open.Cause, Since: c.Created}
			l.checks[c.ID] = w
			l.file(c.ID, w)
			d.checks = append(d.checks, w)
		} else if w.policy != c.Policy {
			l.repolicy(w)
		}
		w.policy = c.Policy
		if w.hurried {
			l.hurry(w)
		}
		l.recount(w)
	}
	if d.paused != p.Device.Paused {
		d.paused = p.Device.Paused
		for _, w := range d.checks {
			l.pause(w)
		}
	}
}

// repolicy notes that a check is judged by another policy from now on. Looks
// that are under way are judged by the one they were taken under.
func (l *Ledger) repolicy(w *watch) {
	if l.now == 0 {
		return
	}
	if !w.dev.paused && !l.pendingClock {
		l.lapse(w, &w.policy, l.now)
	}
	w.before = append(w.before, sereno.PolicySince{Check: w.id, Since: l.now, Policy: w.policy})
	e := l.journal.next()
	e.Policies = append(e.Policies, sereno.PolicySince{Check: w.id, Since: l.now})
}

// pause begins or ends the pause of a check, if its span does not say so
// already: nobody looks, or looks begin anew.
func (l *Ledger) pause(w *watch) {
	if l.now == 0 || w.dev.paused == (w.open.Cause == sereno.CausePaused) {
		return
	}
	if !l.pendingClock {
		l.lapse(w, &w.policy, l.now)
	}
	l.decide(w, true) // what waits for a verdict was seen before
	ch := sereno.Change{From: w.state.Status, Cause: sereno.CauseNew, Begin: l.now, Proof: l.now, Reason: "no longer paused"}
	if w.dev.paused {
		ch.Cause, ch.Reason = sereno.CausePaused, "paused"
	}
	w.loss, w.before = nil, nil
	w.hurried = false // what is not looked at is not hurried either
	w.state = sereno.State{Cause: ch.Cause, Since: ch.Begin}
	l.record(w, ch, nil)
	l.recount(w)
}

// drop forgets a check. Whoever removes it closes its span.
func (l *Ledger) drop(w *watch) {
	w.proof = nil
	w.state = sereno.State{}
	l.recount(w)
	if w.trouble != nil && w.trouble.Incident.ID != 0 {
		l.incidents--
	}
	delete(l.checks, w.id)
	l.file(w.id, nil)
	w.dev.checks = slices.DeleteFunc(w.dev.checks, func(o *watch) bool { return o == w })
}

// file keeps a check where watch finds it, nil to take it out. A store gives
// small ids, in order; where they have grown sparse the map serves.
func (l *Ledger) file(id sereno.CheckID, w *watch) {
	if id < 0 || int(id) > 2*len(l.checks)+4096 && int(id) >= len(l.dense) {
		return
	}
	for int(id) >= len(l.dense) {
		l.dense = append(l.dense, nil)
	}
	l.dense[id] = w
}

// watch returns the check with an id, nil if it is not watched.
func (l *Ledger) watch(id sereno.CheckID) *watch {
	if id >= 0 && int(id) < len(l.dense) {
		if w := l.dense[id]; w != nil {
			return w
		}
	}
	return l.checks[id]
}

// link joins devices to those they hang on, by name.
func (l *Ledger) link() {
	for _, d := range l.devices {
		d.parents, d.children = d.parents[:0], d.children[:0]
	}
	for _, d := range l.devices {
		for _, name := range d.wants {
			if p := l.names[name]; p != nil && p != d {
				d.parents = append(d.parents, p)
				p.children = append(p.children, d)
			}
		}
	}
	l.disown()
}

// Beyond says whether a device lies beyond this machine, once its address is
// known or has changed.
func (l *Ledger) Beyond(ctx context.Context, id sereno.DeviceID, beyond bool) error {
	return l.do(ctx, func() {
		if d := l.devices[id]; d != nil {
			d.beyond = beyond
			for _, w := range d.checks {
				l.recount(w)
			}
		}
	})
}
