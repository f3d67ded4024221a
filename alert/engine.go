package alert

import (
	"container/heap"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
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
	standing        []*parcel // which a fallback is given at present
	torn            []*parcel // from which something is to be taken out
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
			if l.Restored != 0 && t.Ended == 0 {
				c.Over = true
				e.touch(t)
			}
		}
	}
	e.setPlan(p, l.Restored != 0)
	e.finish()
	return e
}

func (e *Engine) recall(r Record) {
	if r.ID == 0 {
		var doc queuesDoc
		if json.Unmarshal(r.Doc, &doc) == nil && doc.Queues != nil {
			e.queues, e.taken = doc.Queues, doc.Taken
		}
		return
	}
	t := &thread{}
	if json.Unmarshal(r.Doc, t) != nil || t.ID == 0 {
		return // not ours: what is open comes again when it changes
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
	if len(p.threads) > 0 && p.Event != notify.Digest && p.Tries == 0 && p.For == "" && p.alike() {
		in := p.Items[0].Incident
		p.group = groupOf(&p.Delivery, in, e.threads[in].groupBy(in, p.Policy))
		e.groups[p.group] = append(e.groups[p.group], p)
	}
}

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
	e.setPlan(p, false)
	e.finish()
}

// setPlan drops what the plan has no channel for and lets every alert go on by
// the policies of the plan.
func (e *Engine) setPlan(p *Plan, restored bool) {
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
	for _, t := range e.ordered() {
		if t.Ended == 0 && !restored {
			e.assign(t)
		}
		e.advance(t)
	}
}

// drop gives up a parcel whose channel is gone.
func (e *Engine) drop(p *parcel) {
	e.settle(p, Dropped, 0, fmt.Sprintf("the channel %s is no longer set up", p.Channel), e.now)
	e.deaf(p)
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
	t.Ended, t.Round, t.Resolved, t.Gone = 0, 0, "", false
}

// settleOf is within which time trouble that comes back is the same.
func (e *Engine) settleOf(t *thread) time.Duration {
	settle := time.Duration(-1)
	for _, c := range t.Courses {
		if pol := e.policy(c.Policy); pol != nil {
			settle = max(settle, pol.Settle)
		}
	}
	if settle < 0 {
		return DefaultSettle
	}
	return settle
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
	t.Incident = in
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
		t.Round++
		for _, c := range t.Courses {
			e.count(c, -1)
			c.reset()
		}
	}
	e.assign(t)
	if in.Trouble != was.Trouble || t.severity() != severity {
		if why, _ := e.held(t); why == "" {
			e.tellChange(t, was.Trouble, "")
		}
	}
	e.advance(t)
}

// takeBack takes out of what waits what is told of a trouble that turned out to
// hang on another. Who knows of it already, or may, hears on.
func (e *Engine) takeBack(t *thread) {
	in := t.Incident.ID
	reason := fmt.Sprintf("some of it hangs on incident %d, which is told instead", t.Incident.Under)
	for _, one := range t.Ears {
		mine := slices.DeleteFunc(slices.Clone(t.waiting), func(p *parcel) bool { return p.Channel != one.Channel || !p.tells(in) })
		if one.Told || t.Resolved != "" || slices.ContainsFunc(mine, func(p *parcel) bool { return !p.open() }) {
			continue
		}
		for _, p := range mine {
			e.takeOut(p, in, reason)
		}
	}
}

// assign gives a thread a course for every policy that speaks of it.
func (e *Engine) assign(t *thread) {
	policies := e.plan.applying(t.subject)
	var vanished []*course
	for _, c := range t.Courses {
		if e.policy(c.Policy) == nil {
			vanished = append(vanished, c)
		}
	}
	for _, pol := range policies {
		c := t.course(pol.Name)
		if c == nil && len(vanished) > 0 {
			// It was renamed, or another took its place: nobody is told anew.
			c = vanished[0]
			vanished = vanished[1:]
			for _, one := range t.Ears {
				if one.Policy == c.Policy {
					one.Policy = pol.Name
				}
			}
			e.count(c, -1)
			c.Policy = pol.Name
			e.count(c, 1)
		} else if c == nil {
			c = &course{Policy: pol.Name}
			t.Courses = append(t.Courses, c)
		}
		for len(c.Paces) < len(pol.Steps) {
			c.Paces = append(c.Paces, pace{})
		}
		c.Paces = c.Paces[:len(pol.Steps)]
		for i := range c.Paces {
			c.Paces[i].Reminded = min(c.Paces[i].Reminded, len(pol.Steps[i].Remind))
		}
	}
	for _, c := range t.Courses {
		c.Over = true
		for _, pol := range policies {
			c.Over = c.Over && pol.Name != c.Policy
		}
		if pol := e.policy(c.Policy); pol != nil {
			c.Raised = min(c.Raised, len(pol.Raise))
			if c.Severity = pol.severity(t.severity()); c.Raised > 0 {
				c.Severity = max(c.Severity, pol.Raise[c.Raised-1].To)
			}
		}
	}
	e.touch(t)
}

func (e *Engine) policy(name string) *policy {
	for _, pol := range e.plan.policies {
		if pol.Name == name {
			return pol
		}
	}
	return nil
}

// held says why nobody is to hear of a thread at present, and until when; 0 for
// until something changes.
func (e *Engine) held(t *thread) (why string, until sereno.Instant) {
	if t.Incident.Under != 0 {
		return fmt.Sprintf("behind incident %d", t.Incident.Under), 0
	}
	if t.Resolved != "" {
		return "resolved", 0
	}
	if t.Snoozed != nil {
		return "snoozed by " + t.Snoozed.By, t.Snoozed.Until
	}
	return e.plan.held(&t.subject, e.now)
}

// advance does what a thread is due, and notes when it is due again.
func (e *Engine) advance(t *thread) {
	if t.Snoozed != nil && e.now >= t.Snoozed.Until && t.Ended == 0 {
		e.wakeUp(t)
	}
	if a := t.Acknowledged; a != nil && a.Until != 0 && e.now >= a.Until && t.Ended == 0 {
		t.Acknowledged = nil
		e.touch(t)
	}
	var wake sereno.Instant
	soonest := func(at sereno.Instant) {
		if at != 0 && (wake == 0 || at < wake) {
			wake = at
		}
	}
	if t.Ended != 0 {
		done := t.Ended.Add(e.settleOf(t) + linger)
		if e.now >= done && len(t.waiting) == 0 {
			e.forget(t)
			return
		}
		if len(t.waiting) == 0 {
			soonest(done)
		}
	} else {
		why, until := e.held(t)
		soonest(until)
		if t.Snoozed != nil {
			soonest(t.Snoozed.Until)
		}
		if t.Acknowledged != nil {
			soonest(t.Acknowledged.Until)
		}
		for _, c := range t.Courses {
			if pol := e.policy(c.Policy); pol != nil && !c.Over {
				soonest(e.run(t, c, pol, why))
			}
		}
	}
	if wake != 0 {
		wake = max(wake, e.now+1)
	}
	if wake != t.wake {
		t.wake = wake
		if wake != 0 {
			e.timers.add(timer{wake, int64(t.ID), true})
		}
	}
}

// run does what is due of one course, and returns when there is more.
func (e *Engine) run(t *thread, c *course, pol *policy, why string) (next sereno.Instant) {
	soonest := func(at sereno.Instant) {
		if at > e.now && (next == 0 || at < next) {
			next = at
		}
	}
	if c.Base == 0 {
		if why != "" {
			if c.Held != why {
				c.Held = why
				e.touch(t)
			}
			return 0
		}
		e.begin(t, c, pol)
	}
	if why == "" && t.Incident.Trouble == sereno.TroubleFlapping {
		why = "flapping"
	}
	acknowledged := t.Acknowledged != nil
	if c.HeldFrom != 0 && why == "" && !acknowledged {
		c.release(pol, e.now)
		e.touch(t)
	}
	e.raise(t, c, pol, why, soonest)
	for i := range c.Paces {
		for {
			at, reminder, ok := c.due(pol, i)
			if !ok {
				break
			}
			// What comes at once is promised at once, to wait for the end of quiet hours.
			first := reminder == 0 && pol.Steps[i].After == 0
			if at > e.now && !(first && at == c.Base) {
				soonest(at)
				break
			}
			held := why
			if first && held == "flapping" {
				held = ""
			}
			if held == "" && acknowledged && (reminder > 0 || pol.Steps[i].UnlessAcknowledged) {
				held = acknowledgedBy + t.Acknowledged.By
			}
			if held != "" {
				c.hold(at, held)
				e.touch(t)
				break
			}
			e.fire(t, c, pol, i, at, reminder)
		}
	}
	c.Held = ""
	return next
}

// begin starts a course: together with those that it shares a message with, and
// after quiet hours.
func (e *Engine) begin(t *thread, c *course, pol *policy) {
	c.Group, c.Text = pol.group(&t.subject)
	c.Begun = e.now
	c.Base = pol.quietUntil(&t.subject, c.Severity, e.now)
	for base := range e.bases[c.Policy+"\x00"+c.Group] {
		if c.Base == e.now && base < e.now && e.now < base.Add(pol.GroupWait) {
			c.Base = base
		}
	}
	e.count(c, 1)
	e.touch(t)
}

// count keeps how many courses share the base of a group.
func (e *Engine) count(c *course, n int) {
	if c.Base == 0 {
		return
	}
	name := c.Policy + "\x00" + c.Group
	bases := e.bases[name]
	if bases == nil {
		bases = map[sereno.Instant]int{}
		e.bases[name] = bases
	}
	if bases[c.Base] += n; bases[c.Base] == 0 {
		if delete(bases, c.Base); len(bases) == 0 {
			delete(e.bases, name)
		}
	}
}

// raise makes a trouble more severe that has lasted.
func (e *Engine) raise(t *thread, c *course, pol *policy, why string, soonest func(sereno.Instant)) {
	raised := c.Raised
	for raised < len(pol.Raise) && c.Begun.Add(pol.Raise[raised].After) <= e.now {
		raised++
	}
	if raised > c.Raised {
		before := c.Severity
		c.Raised = raised
		c.Severity = max(c.Severity, pol.Raise[raised-1].To)
		e.touch(t)
		if c.Severity > before && (why == "" || why == "flapping") {
			e.tellChange(t, t.Incident.Trouble, c.Policy)
		}
	}
	if raised < len(pol.Raise) {
		soonest(c.Begun.Add(pol.Raise[raised].After))
	}
}

// fire sends a step, or the latest of its reminders that are due.
func (e *Engine) fire(t *thread, c *course, pol *policy, step int, at sereno.Instant, reminder int) {
	p, s := &c.Paces[step], &pol.Steps[step]
	due, last := e.now, false
	if reminder == 0 {
		p.Fired, p.Shift = at, 0
		if s.After == 0 {
			due = max(at.Add(pol.GroupWait), e.now)
			if at > e.now {
				due = at
			}
		}
		last = false
	} else {
		for p.Reminded = reminder; p.Reminded < len(s.Remind) && p.Fired.Add(s.Remind[p.Reminded]+p.Shift) <= e.now; {
			p.Reminded++
		}
		reminder = p.Reminded
		last = reminder == len(s.Remind)
	}
	e.touch(t)
	w := telling{
		policy: pol, course: c, step: step, reminder: reminder, last: last,
		due: due, held: c.Held,
	}
	for _, channel := range e.plan.tells(pol, *s, &t.subject) {
		in := t.Incident.ID
		one := t.ear(in, channel)
		switch heard := t.knows(in, channel); {
		case heard && one.Policy != pol.Name:
			continue // it hears of it by another policy
		case heard:
			w.event = notify.Reminder
		default:
			w.event = notify.Opened
		}
		kind := "opened"
		if reminder > 0 {
			kind = "reminder"
		}
		w.occasion = t.occasion(kind, pol.Name, step, reminder)
		e.tell(t, in, channel, w)
	}
}

const acknowledgedBy = "acknowledged by "

// hold notes that something fell due while it was kept back.
func (c *course) hold(at sereno.Instant, why string) {
	if c.HeldFrom == 0 {
		c.HeldWhy, c.HeldAll = why, !strings.HasPrefix(why, acknowledgedBy)
	}
	if c.HeldFrom == 0 || at < c.HeldFrom {
		c.HeldFrom = at
	}
}

// wakeUp ends a snooze: the next reminder comes at once.
func (e *Engine) wakeUp(t *thread) {
	by := t.Snoozed.By
	t.Snoozed = nil
	e.touch(t)
	if why, _ := e.held(t); why != "" || t.Acknowledged != nil {
		return
	}
	for _, c := range t.Courses {
		pol := e.policy(c.Policy)
		if pol == nil || c.Over || c.Base == 0 || c.HeldFrom != 0 {
			continue
		}
		next, left := sereno.Instant(0), false
		for i := range c.Paces {
			if at, reminder, ok := c.due(pol, i); ok && reminder > 0 && (!left || at < next) {
				next, left = at, true
			}
		}
		if left {
			for i := range c.Paces {
				if c.Paces[i].Fired != 0 {
					c.Paces[i].Shift += e.now.Sub(next)
				}
			}
			c.Held = "snoozed by " + by
			continue
		}
		// All reminders were sent; somebody asked for one more.
		t.Snoozes++
		for _, one := range t.Ears {
			if one.Policy == c.Policy && t.knows(t.Incident.ID, one.Channel) && one.Channel != brokenChannel(&t.subject) {
				e.tell(t, t.Incident.ID, one.Channel, telling{
					event: notify.Reminder, occasion: "reminder/snooze/" + strconv.Itoa(t.Snoozes),
					policy: pol, course: c, last: true, due: e.now, held: "snoozed by " + by,
				})
			}
		}
	}
}

// end notes that a trouble is over, and tells those who know of it.
func (e *Engine) end(t *thread, by, note string) {
	t.Ended = e.now
	e.touch(t)
	if t.Resolved == "" {
		e.tellEnd(t, by, note)
	}
	e.advance(t)
}

func (e *Engine) tellEnd(t *thread, by, note string) {
	in := t.Incident.ID
	for _, one := range slices.Clone(t.Ears) {
		if !t.knows(in, one.Channel) || e.plan.channels[one.Channel] == nil {
			continue
		}
		pol, c := e.policy(one.Policy), t.course(one.Policy)
		due := e.now.Add(DefaultGroupWait)
		if pol != nil {
			due = e.now.Add(pol.GroupWait)
		}
		e.tell(t, in, one.Channel, telling{event: notify.Closed, occasion: "closed", policy: pol, course: c, by: by, note: note, due: due})
	}
}

// tellChange tells those who know of a trouble that it is another now, or, by
// one policy, that it is more severe.
func (e *Engine) tellChange(t *thread, was sereno.Trouble, policy string) {
	t.Changes++
	in := t.Incident.ID
	for _, one := range slices.Clone(t.Ears) {
		if policy != "" && one.Policy != policy || !t.knows(in, one.Channel) {
			continue
		}
		pol, c := e.policy(one.Policy), t.course(one.Policy)
		due := e.now
		if pol != nil {
			due = e.now.Add(pol.GroupWait)
		}
		e.tell(t, in, one.Channel, telling{
			event: notify.Changed, occasion: "changed/" + strconv.Itoa(t.Changes), policy: pol, course: c, was: was, due: due,
		})
	}
}

// Tick does whatever is due by now.
func (e *Engine) Tick(now sereno.Instant) {
	e.now = now
	for len(e.timers) > 0 && e.timers[0].at <= now {
		top := heap.Pop(&e.timers).(timer) //nolint:forcetypeassert // it holds no other
		if !top.thread {
			if p := e.parcels[DeliveryID(top.id)]; p != nil {
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
		valid := false
		if top.thread {
			t := e.threads[sereno.IncidentID(top.id)]
			valid = t != nil && t.wake == top.at
		} else {
			valid = e.parcels[DeliveryID(top.id)] != nil
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
			break
		}
		due, _ := q.due(now, 0)
		for _, one := range due {
			e.check(one)
		}
	}
	e.finish()
}

// heard notes that a channel took what it was told.
func (e *Engine) heard(p *parcel) {
	for _, i := range p.Items {
		if t := e.threads[i.Incident]; t != nil {
			if one := t.ear(i.Incident, p.Channel); one != nil && !one.Told {
				one.Told = true
				e.touch(t)
			}
		}
	}
	e.after(p)
}

// deaf notes that a channel never took what it was to be told: what follows of
// that trouble is not told there either.
func (e *Engine) deaf(p *parcel) {
	for in := range p.each() {
		t := e.threads[in]
		if t == nil {
			continue
		}
		if one := t.ear(in, p.Channel); one != nil && one.Told {
			continue
		}
		for _, o := range slices.Clone(t.waiting) {
			if o.Channel == p.Channel && o.tells(in) && o.about[in]&tellsAlarm == 0 && o.open() {
				e.takeOut(o, in, "what it goes on about was never told here")
			}
		}
	}
	e.after(p)
}

// after lets the threads of a parcel that is settled go on.
func (e *Engine) after(p *parcel) {
	for _, t := range p.threads {
		t.Past = slices.DeleteFunc(t.Past, func(past *episode) bool {
			for _, o := range t.waiting {
				if o.tells(past.Incident) {
					return false
				}
			}
			if past.Incident != t.ID {
				delete(e.threads, past.Incident)
			}
			e.touch(t)
			return true
		})
		if t.Ended != 0 && len(t.waiting) == 0 {
			e.advance(t)
		}
	}
}

// each yields the incidents of a parcel in the order of its items, each once.
func (p *parcel) each() func(yield func(sereno.IncidentID) bool) {
	return slices.Values(p.Incidents())
}

// check expires a parcel, or lets its fallback stand in, when it is time.
func (e *Engine) check(p *parcel) {
	c := e.plan.channels[p.Channel]
	if c == nil || p.State != Waiting {
		return
	}
	if e.now >= max(p.Due, p.Promised).Add(c.giveUp) && !p.flying {
		e.settle(p, Expired, 0, fmt.Sprintf("given up after %s: %s", sereno.FormatLength(c.giveUp), nothing(p.Answer)), e.now)
		e.standIn(p)
		e.deaf(p)
		return
	}
	if e.now >= e.patience(p, c) {
		e.standIn(p)
		e.stood(p, true)
	}
	e.watch(p)
}

// stood notes whether a parcel was given to the fallback, as it is now.
func (e *Engine) stood(p *parcel, is bool) {
	c := e.plan.channels[p.Channel]
	if p.stoodIn == is || is && (c == nil || c.Fallback == "") {
		return
	}
	p.stoodIn, e.queuesChanged = is, true
	q := e.queue(p.Channel)
	i, _ := slices.BinarySearch(q.StoodIn, p.ID)
	if is {
		q.StoodIn = slices.Insert(q.StoodIn, i, p.ID)
		return
	}
	q.StoodIn = slices.Delete(q.StoodIn, i, i+1)
}

func nothing(answer string) string {
	if answer == "" {
		return "its turn never came"
	}
	return answer
}

// patience is when the fallback of a channel gets a parcel too: a time after it
// was due or, if the channel has been failing for that long already, at once.
func (e *Engine) patience(p *parcel, c *channel) sereno.Instant {
	at := p.Due.Add(c.fallbackAfter)
	if failing := e.queue(p.Channel).Failing; failing != 0 {
		at = min(at, max(p.Due, failing.Add(c.fallbackAfter)))
	}
	return at
}

// watch sets the next time at which check is to be called.
func (e *Engine) watch(p *parcel) {
	c := e.plan.channels[p.Channel]
	if c == nil {
		return
	}
	at := max(p.Due, p.Promised).Add(c.giveUp)
	if c.Fallback != "" && !p.stoodIn {
		at = min(at, e.patience(p, c))
	}
	if p.alarm != at {
		p.alarm = at
		e.timers.add(timer{at, int64(p.ID), false})
	}
}

// standIn gives what a channel did not take to its fallback: what alarms, with
// its end if that is told too.
func (e *Engine) standIn(p *parcel) {
	c := e.plan.channels[p.Channel]
	if c == nil || e.plan.channels[c.Fallback] == nil {
		return
	}
	for _, i := range slices.Clone(p.Items) {
		t := e.threads[i.Incident]
		if t == nil || t.ears(i.Incident) == nil || p.about[i.Incident]&tellsAlarm == 0 || brokenChannel(&t.subject) == c.Fallback {
			continue
		}
		one := t.ear(i.Incident, c.Fallback)
		if one != nil && one.For != p.Channel && t.knows(i.Incident, c.Fallback) {
			continue // it hears of it by itself
		}
		if kind := i.kind(); kind != "opened" && kind != "reminder" && !t.knows(i.Incident, c.Fallback) {
			continue // it refused what this goes on about
		}
		w := telling{
			event: p.Event, occasion: i.Occasion, policy: e.policy(p.Policy), course: t.course(p.Policy), step: p.Step,
			reminder: p.Reminder, last: p.Last, by: p.By, note: p.Note, was: p.Was, held: p.Held, due: e.now, from: p,
		}
		if w.policy == nil {
			if from := t.ear(i.Incident, p.Channel); from != nil {
				w.policy, w.course = e.policy(from.Policy), t.course(from.Policy)
			}
		}
		switch {
		case i.kind() == "closed":
			w.event = notify.Closed
		case i.kind() == "reminder" && t.knows(i.Incident, c.Fallback):
			w.event = notify.Reminder
		}
		e.tell(t, i.Incident, c.Fallback, w)
	}
	for in := range p.each() {
		t := e.threads[in]
		if t == nil || t.ears(in) == nil || t.Incident.ID == in && t.Ended == 0 && t.Resolved == "" || !t.knows(in, c.Fallback) {
			continue
		}
		if one := t.ear(in, c.Fallback); one.For == p.Channel {
			// It was over when that channel should have told it.
			e.tell(t, in, c.Fallback, telling{
				event: notify.Closed, occasion: "closed", policy: e.policy(one.Policy), course: t.course(one.Policy), due: e.now, from: p,
			})
		}
	}
	for _, one := range e.standing {
		e.leave(one)
	}
	e.standing = nil
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

// A timer wakes a thread or has a parcel checked.
type timer struct {
	at     sereno.Instant
	id     int64
	thread bool
}

type timers []timer

func (h timers) Len() int { return len(h) }

func (h timers) Less(i, j int) bool {
	if h[i].at != h[j].at {
		return h[i].at < h[j].at
	}
	if h[i].thread != h[j].thread {
		return h[i].thread
	}
	return h[i].id < h[j].id
}

func (h timers) Swap(i, j int) { h[i], h[j] = h[j], h[i] }

func (h *timers) Push(x any) { *h = append(*h, x.(timer)) } //nolint:forcetypeassert // add pushes no other

func (h *timers) Pop() any {
	last := len(*h) - 1
	t := (*h)[last]
	*h = (*h)[:last]
	return t
}

func (h *timers) add(t timer) { heap.Push(h, t) }
