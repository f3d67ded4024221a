package alert

import (
	"container/heap"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"sereno"
	"sereno/notify"
)

// An Order is a person's wish.
type Order struct {
	Action   string // acknowledge, unacknowledge, snooze, unsnooze, resolve, comment
	Incident sereno.IncidentID
	Until    sereno.Instant // of a snooze; when an acknowledgement expires, 0: never
	Who, Via string         // as in sereno.Audit
	Text     string         // why
}

const (
	// linger is how long after settle a closed alert is kept: what comes back
	// within settle is proven later.
	linger = 5 * time.Minute
	// stale is how long ago trouble that nobody heard of may have ended to be told.
	stale = 24 * time.Hour
)

// An Engine decides who is to be told what, when. It has no clock and does no
// input or output: the same calls give the same batches. It is one goroutine's.
//
// What it decided is in Batch, and nothing that Ready hands out may be sent
// before that batch is committed. An Engine made from what batches wrote goes on
// as the one that wrote them would have.
type Engine struct {
	plan   *Plan
	now    sereno.Instant
	cursor int64
	lastID DeliveryID
	taken  spans // the incidents that were taken in

	threads map[sereno.IncidentID]*thread     // by every incident of theirs that matters
	checks  map[threadKey]*thread             // the latest of each
	parcels map[DeliveryID]*parcel            // what waits
	queues  map[string]*queue                 // by channel
	bases   map[string]map[sereno.Instant]int // of the groups, by policy and key, and how many share them
	groups  map[string][]*parcel              // what others may join, by channel and key, the latest last
	timers  timers

	changedThreads  map[sereno.IncidentID]Record // those that are done, as they were; an empty Doc for the others
	changedParcels  map[DeliveryID]*parcel
	strange         []sereno.IncidentID // records that could not be read
	standing        []*parcel           // which a fallback is given at present
	torn            []*parcel           // from which something is to be taken out
	queuesChanged   bool
	committedCursor int64
	audit           []sereno.Audit
}

// NewEngine takes up where an earlier one left off. After a restored backup
// nobody is reminded of what was open in it: whether it lasts is not known yet.
func NewEngine(l Loaded, p *Plan, now sereno.Instant) *Engine {
	e := &Engine{
		plan: p, now: now, cursor: l.Cursor, committedCursor: l.Cursor, lastID: l.LastID,
		threads: map[sereno.IncidentID]*thread{}, checks: map[threadKey]*thread{}, parcels: map[DeliveryID]*parcel{},
		queues: map[string]*queue{}, bases: map[string]map[sereno.Instant]int{}, groups: map[string][]*parcel{},
		changedThreads: map[sereno.IncidentID]Record{}, changedParcels: map[DeliveryID]*parcel{},
	}
	for _, r := range l.Alerts {
		e.recall(r)
	}
	for name, q := range e.queues {
		q.name = name
	}
	for i := range l.Waiting {
		e.lastID = max(e.lastID, l.Waiting[i].ID)
		e.reload(l.Waiting[i])
	}
	for _, t := range e.ordered() {
		for _, c := range t.Courses {
			e.count(c, 1)
		}
		if l.Restored != 0 && t.Ended == 0 {
			t.Restored = true
			e.touch(t)
		}
	}
	e.setPlan(p)
	e.finish()
	return e
}

func (e *Engine) recall(r Record) {
	if r.ID == 0 {
		var doc queuesDoc
		if json.Unmarshal(r.Doc, &doc) == nil && doc.Queues != nil {
			e.queues, e.taken = doc.Queues, doc.Taken
		} else {
			e.strange = append(e.strange, r.ID)
		}
		return
	}
	t := &thread{}
	if json.Unmarshal(r.Doc, t) != nil || t.ID == 0 {
		e.strange = append(e.strange, r.ID) // what is open comes again when it changes
		return
	}
	t.describe()
	e.threads[t.ID], e.threads[t.Incident.ID] = t, t
	for _, past := range t.Past {
		e.threads[past.Incident] = t
	}
	if k := key(&t.Incident); e.checks[k] == nil || e.checks[k].Incident.ID < t.Incident.ID {
		e.checks[k] = t
	}
}

func (e *Engine) reload(d Delivery) {
	p := &parcel{Delivery: d, about: map[sereno.IncidentID]uint8{}, place: -1}
	p.Items = slices.Clone(d.Items)
	if len(p.Items) == 0 {
		p.State, p.SettledAt, p.Answer = Dropped, e.now, "what it was about has been deleted"
		e.stain(p)
		return
	}
	e.parcels[p.ID] = p
	for _, i := range p.Items {
		e.index(p, i)
	}
	q := e.queue(p.Channel)
	q.add(p)
	_, p.stoodIn = slices.BinarySearch(q.StoodIn, p.ID)
	e.watch(p)
	e.offer(p)
}

// offer lets others of its group join a parcel that is of one sort.
func (e *Engine) offer(p *parcel) {
	if len(p.Items) == 0 || p.Event == notify.Digest || p.Tries > 0 || p.For != "" || !p.alike() {
		return
	}
	in := p.Items[0].Incident
	if t := e.threads[in]; t != nil {
		p.group = groupOf(&p.Delivery, t.groupBy(in, p.Policy))
		e.groups[p.group] = append(e.groups[p.group], p)
	}
}

// Strange returns which records of those that it was made from could not be read:
// of these alerts nothing was taken up, and their end may not be told.
func (e *Engine) Strange() []sereno.IncidentID { return e.strange }

// SetPlan goes on by another book. What is promised to a channel that is gone is
// dropped; whom it had told stays known, should it come back.
func (e *Engine) SetPlan(now sereno.Instant, p *Plan) {
	e.now = now
	before := e.plan
	e.plan = p
	for name, q := range e.queues {
		was, is := before.channels[name], p.channels[name]
		if was == nil || is == nil || was.Kind != is.Kind || string(was.Settings) != string(is.Settings) {
			q.clear()
			q.Refusing, e.queuesChanged = false, true
		}
	}
	e.setPlan(p)
	e.finish()
}

// setPlan drops what the plan has no channel for and lets every alert go on by
// the policies of the plan.
func (e *Engine) setPlan(p *Plan) {
	for _, parcel := range e.waiting() {
		if p.channels[parcel.Channel] == nil {
			if !parcel.flying {
				e.drop(parcel)
			}
			continue
		}
		e.watch(parcel)
	}
	for _, name := range p.names {
		e.queue(name)
	}
	for name, q := range e.queues {
		if p.channels[name] == nil && q.flying == nil && len(q.heap) == 0 {
			delete(e.queues, name)
			e.queuesChanged = true
		}
	}
	threads := e.ordered()
	for _, t := range threads {
		if t.Ended == 0 {
			e.assign(t)
		}
	}
	for _, t := range threads { // what one is told may concern the others
		e.advance(t)
	}
}

// drop gives up a parcel whose channel is gone. Trouble that nobody knows of
// then, because no other channel was told, begins anew with those that are left.
func (e *Engine) drop(p *parcel) {
	e.settle(p, Dropped, 0, fmt.Sprintf("the channel %s is no longer set up", p.Channel), e.now)
	e.deaf(p)
	for in := range p.each() {
		t := e.threads[in]
		if t == nil || t.Ended != 0 || t.Incident.ID != in || t.known() {
			continue
		}
		e.restart(t)
		e.touch(t)
	}
}

// restart lets the courses of a thread begin anew.
func (e *Engine) restart(t *thread) {
	t.Round++
	for _, c := range t.Courses {
		e.count(c, -1)
		c.reset()
	}
}

// Take takes in changes, in the order of their revisions, and moves the cursor
// past them. One that was taken in before changes nothing.
func (e *Engine) Take(now sereno.Instant, changes []Change) {
	e.now = now
	for i := range changes {
		c := &changes[i]
		if c.Revision <= e.cursor {
			continue
		}
		e.cursor = c.Revision
		e.take(c)
		if e.taken.add(c.Incident.ID) {
			e.queuesChanged = true
		}
	}
	e.finish()
}

func (e *Engine) take(c *Change) {
	in := c.Incident
	if c.Removed && in.Closed == 0 {
		in.Closed = max(e.now, in.Opened)
	}
	t := e.threads[in.ID]
	switch {
	case t != nil && t.Incident.ID != in.ID:
		return // of an earlier incident of the thread, which is over
	case t != nil:
		e.update(t, c, in)
		return
	case in.Closed != 0 && (e.taken.has(in.ID) || e.now.Sub(in.Closed) > stale):
		return
	}
	k := key(&in)
	t = e.checks[k]
	if t != nil && t.Ended != 0 && in.ID > t.Incident.ID && in.Opened.Sub(t.Incident.Closed) <= e.settleOf(t) {
		e.reopen(t, in)
	} else {
		t = &thread{Version: threadVersion, ID: in.ID, Incident: in, Again: 1, First: in.Opened}
	}
	e.threads[in.ID], e.checks[k] = t, t
	t.learn(c)
	closed := t.Incident.Closed
	t.Incident.Closed = 0
	t.describe()
	e.touch(t)
	e.assign(t)
	e.advance(t)
	if closed != 0 {
		t.Incident.Closed = closed
		e.end(t, "", "")
	}
}

// reopen goes on with a thread whose trouble is back.
func (e *Engine) reopen(t *thread, in sereno.Incident) {
	if len(t.waiting) > 0 {
		past := &episode{t.Incident.ID, t.Ears, map[string]string{}}
		for _, c := range t.Courses {
			past.Groups[c.Policy] = c.Group
		}
		t.Past = append(t.Past, past)
	} else if t.Incident.ID != t.ID {
		delete(e.threads, t.Incident.ID)
	}
	for _, c := range t.Courses {
		e.count(c, -1)
	}
	t.Incident, t.Ears, t.Courses = in, nil, nil
	t.Again++
	t.Ended, t.Round, t.Resolved, t.Gone, t.Restored = 0, 0, "", false, false
}

// update takes in what became of an incident.
func (e *Engine) update(t *thread, c *Change, in sereno.Incident) {
	was, severity := t.Incident, t.severity()
	if t.Ended != 0 {
		t.Incident = in // amended: there is nothing new to tell
		e.touch(t)
		return
	}
	closed := in.Closed
	in.Closed = 0
	t.Incident, t.Restored = in, false
	if closed == 0 || c.Device != nil && !c.Removed {
		t.learn(c)
	}
	t.Gone = t.Gone || c.Removed
	t.describe()
	e.touch(t)
	if closed != 0 {
		t.Incident.Closed = closed
		note := ""
		if c.Removed {
			note = "no longer watched"
		}
		e.end(t, "", note)
		return
	}
	switch {
	case in.Under != 0 && was.Under == 0:
		e.takeBack(t)
	case in.Under == 0 && was.Under != 0:
		e.restart(t)
	}
	e.assign(t)
	if in.Trouble != was.Trouble || t.severity() != severity {
		if why, _ := e.held(t); why == "" {
			e.tellChange(t, was.Trouble, "")
		}
	}
	e.advance(t)
}

// Tick does whatever is due by now.
func (e *Engine) Tick(now sereno.Instant) {
	e.now = now
	for len(e.timers) > 0 && e.timers[0].at <= now {
		top := heap.Pop(&e.timers).(timer) //nolint:forcetypeassert // it holds no other
		if !top.thread {
			if p := e.parcels[DeliveryID(top.id)]; p != nil && p.alarm == top.at {
				p.alarm = 0
				e.check(p)
			}
			continue
		}
		if t := e.threads[sereno.IncidentID(top.id)]; t != nil && t.wake == top.at {
			t.wake = 0
			e.advance(t)
		}
	}
	e.finish()
}

// Next returns when Tick is wanted next, and Ready of every channel after it;
// 0: not before something else happens.
func (e *Engine) Next() sereno.Instant {
	var next sereno.Instant
	soonest := func(at sereno.Instant) {
		if at != 0 && (next == 0 || at < next) {
			next = at
		}
	}
	for len(e.timers) > 0 {
		top := e.timers[0]
		valid := e.parcels[DeliveryID(top.id)] != nil
		if top.thread {
			t := e.threads[sereno.IncidentID(top.id)]
			valid = t != nil && t.wake == top.at
		}
		if valid {
			soonest(top.at)
			break
		}
		heap.Pop(&e.timers)
	}
	for name, q := range e.queues {
		if e.plan.channels[name] != nil && q.flying == nil {
			_, at := q.choose(e.now)
			soonest(at)
		}
	}
	return next
}

// Ready returns what a channel is to send now, and marks it under way: nothing
// more comes for that channel before Tried. The try is part of the next Batch
// (as one that may have been taken), so that a crash while it is under way leads
// to a repetition of exactly this message, with the same Key.
func (e *Engine) Ready(now sereno.Instant, channel string) (Delivery, bool) {
	e.now = now
	q := e.queues[channel]
	if q == nil || e.plan.channels[channel] == nil || q.flying != nil {
		return Delivery{}, false
	}
	e.press(q, now)
	p, _ := q.choose(now)
	if p == nil {
		return Delivery{}, false
	}
	q.flying, p.flying, p.doubted = p, true, p.Unsure
	p.Tries++
	p.TriedAt, p.Unsure = now, true
	p.plain()
	e.stain(p)
	d := p.Delivery
	d.Items = slices.Clone(p.Items)
	return d, true
}

// Tried notes what came of what Ready handed out.
func (e *Engine) Tried(now sereno.Instant, id DeliveryID, o Outcome) {
	e.now = now
	p := e.parcels[id]
	if p == nil || !p.flying {
		return
	}
	q := e.queue(p.Channel)
	q.flying, p.flying, p.Unsure = nil, false, p.doubted
	e.queuesChanged = true
	p.Title = o.Title
	at := o.At
	if at == 0 {
		at = now
	}
	switch f := o.Failure; {
	case f == nil:
		p.Unsure = false
		q.clear()
		q.Failing, q.Refusing, q.Answer, q.Delivered = 0, false, "", at
		if q.Sent = append(q.Sent, at); len(q.Sent) > storm+1 {
			q.Sent = slices.Delete(q.Sent, 0, 1)
		}
		e.settle(p, Delivered, 0, o.Answer, at)
		e.heard(p)
	case f.Class == notify.Refused:
		p.Unsure = p.Unsure || f.Unsure
		q.clear()
		q.Refusing, q.Answer = true, f.Text
		p.Answer = f.Text
		e.settle(p, RefusedForGood, 0, f.Text, at)
		e.standIn(p)
		e.deaf(p)
	default:
		p.Unsure = p.Unsure || f.Unsure
		p.Answer = f.Text
		p.Next = at.Add(max(backOff(p.Tries, p.Key), f.After))
		if q.Failing == 0 {
			q.Failing = p.TriedAt
			for _, one := range q.heap {
				e.watch(one)
			}
		}
		q.fail(p, at, f)
		e.stain(p)
		if e.plan.channels[p.Channel] == nil {
			e.drop(p)
			for _, t := range slices.Clone(p.threads) {
				if t.Ended == 0 {
					e.assign(t)
					e.advance(t)
				}
			}
			break
		}
		due, _ := q.due(now, 0)
		for _, one := range due {
			e.check(one)
		}
	}
	e.finish()
}

// ordered returns all threads, by ID.
func (e *Engine) ordered() []*thread {
	var list []*thread
	for id, t := range e.threads {
		if id == t.ID {
			list = append(list, t)
		}
	}
	slices.SortFunc(list, func(a, b *thread) int { return int(min(max(a.ID-b.ID, -1), 1)) })
	return list
}

// waiting returns all parcels, by ID.
func (e *Engine) waiting() []*parcel {
	list := make([]*parcel, 0, len(e.parcels))
	for _, id := range slices.Sorted(maps.Keys(e.parcels)) {
		list = append(list, e.parcels[id])
	}
	return list
}

func (e *Engine) queue(name string) *queue {
	q := e.queues[name]
	if q == nil {
		q = &queue{name: name}
		e.queues[name] = q
	}
	return q
}

// touch notes that a thread is to be written.
func (e *Engine) touch(t *thread) {
	if !t.changed {
		t.changed = true
		e.changedThreads[t.ID] = Record{}
	}
}

// stain notes that a parcel is to be written.
func (e *Engine) stain(p *parcel) {
	if !p.changed {
		p.changed = true
		e.changedParcels[p.ID] = p
	}
}

// forget takes leave of a thread of which nothing will come any more.
func (e *Engine) forget(t *thread) {
	for _, c := range t.Courses {
		e.count(c, -1)
	}
	e.changedThreads[t.ID] = t.record(true)
	delete(e.threads, t.ID)
	delete(e.threads, t.Incident.ID)
	if k := key(&t.Incident); e.checks[k] == t {
		delete(e.checks, k)
	}
}

// Batch returns what changed since the last call, nil if nothing did.
func (e *Engine) Batch() *Batch {
	b := &Batch{Audit: e.audit}
	if e.cursor != e.committedCursor {
		b.Cursor, e.committedCursor = e.cursor, e.cursor
	}
	if e.queuesChanged {
		b.Alerts = append(b.Alerts, e.queuesRecord())
	}
	for _, id := range slices.Sorted(maps.Keys(e.changedThreads)) {
		r := e.changedThreads[id]
		if r.Doc == nil {
			t := e.threads[id]
			t.changed = false
			r = t.record(false)
		}
		b.Alerts = append(b.Alerts, r)
	}
	for _, id := range slices.Sorted(maps.Keys(e.changedParcels)) {
		p := e.changedParcels[id]
		p.changed = false
		d := p.Delivery
		d.Items = slices.Clip(p.Items)
		b.Deliveries = append(b.Deliveries, d)
	}
	e.audit, e.queuesChanged = nil, false
	clear(e.changedThreads)
	clear(e.changedParcels)
	if b.Cursor == 0 && b.Len() == 0 {
		return nil
	}
	return b
}
