package alert

import (
	"slices"
	"strconv"
	"strings"

	"sereno"
	"sereno/notify"
)

// A telling is something that one channel is to be told of one incident.
type telling struct {
	event    notify.Event
	occasion string
	policy   *policy // nil: it is gone
	course   *course
	step     int
	reminder int
	last     bool
	by, note string
	was      sereno.Trouble
	held     string
	due      sereno.Instant
	many     bool    // it is told of many at once, by the wish of one person
	from     *parcel // of another channel, which did not take it; nil
}

// tell promises something to a channel, once: in a message that waits already,
// in the digest of a storm, with others of its group, or in one of its own.
func (e *Engine) tell(t *thread, in sereno.IncidentID, channel string, w telling) {
	one := t.hear(in, channel)
	if slices.Contains(one.Said, w.occasion) || slices.Contains(one.Said, "closed") {
		return
	}
	if !t.knows(in, channel) {
		one.Policy, one.For = "", ""
		if w.policy != nil {
			one.Policy = w.policy.Name
		}
		if w.from != nil {
			one.For = w.from.Channel
		}
	}
	one.Said = append(one.Said, w.occasion)
	e.touch(t)
	if w.policy != nil && w.from == nil {
		severity := t.severity()
		if w.course != nil {
			severity = w.course.Severity
		}
		if until := w.policy.quietUntil(&t.subject, severity, w.due); until > w.due || w.due > e.now && w.course != nil && w.due == w.course.Base {
			w.due = until
			if w.held == "" {
				w.held = "quiet hours"
			}
		}
	}
	item := Item{in, w.occasion}
	if e.join(t, in, channel, &w, item) {
		return
	}
	for _, o := range t.waiting {
		if o.Channel == channel && t.in(o) {
			w.due = max(w.due, o.Due)
		}
	}
	q := e.queue(channel)
	e.calm(q, e.now)
	if q.Storm != 0 && w.due <= e.now.Add(minute) && !w.many {
		d := e.parcels[q.Digest]
		if d == nil || !d.open() || d.Due < e.now {
			d = e.digest(q, max(e.now, q.Storm), e.now)
		}
		if !t.isBehind(channel, d) {
			q.Count++
			e.queuesChanged = true
			if d.Policy == "" && w.policy != nil {
				d.Policy = w.policy.Name
			}
			e.put(d, item)
			if w.event == notify.Opened && w.step == 0 && w.reminder == 0 && w.from == nil {
				e.align(t, w.course, d.Due)
			}
			return
		}
	}
	d := Delivery{
		Channel: channel, Event: w.event, Step: w.step, Reminder: w.reminder, Last: w.last, By: w.by, Note: w.note,
		Was: w.was, Held: w.held, Promised: e.now, Due: w.due,
	}
	if w.policy != nil {
		d.Policy = w.policy.Name
	}
	group := ""
	if w.course != nil {
		group, d.Group = w.course.Group, w.course.Text
	}
	if w.from != nil {
		d.For = w.from.Channel
		group += "\x00for " + strconv.FormatInt(int64(w.from.ID), 10)
	}
	name := groupOf(&d, group)
	for _, g := range slices.Backward(e.groups[name]) {
		if !g.open() || g.Tries > 0 || g.Due < e.now {
			continue
		}
		if g.Event == notify.Acknowledged && max(g.Due.Sub(w.due), w.due.Sub(g.Due)) <= minute {
			w.due = max(w.due, g.Due)
			e.delay(g, w.due)
		}
		if g.Due <= w.due && !t.isBehind(channel, g) {
			if g.Group != d.Group {
				g.Group = "" // an acknowledgement is of several
			}
			e.put(g, item)
			return
		}
	}
	p := e.post(d, name)
	e.groups[name] = append(e.groups[name], p)
	if w.from != nil {
		e.standing = append(e.standing, p)
	}
	e.put(p, item)
	e.press(q, e.now)
}

// groupOf is what deliveries share that may be one. What is acknowledged at one
// moment may have been told in many groups.
func groupOf(d *Delivery, group string) string {
	if d.Event == notify.Acknowledged {
		group = strconv.FormatInt(int64(d.Promised), 10)
	}
	return d.Channel + "\x00" + string(d.Event) + "\x00" + d.Policy + "\x00" + strconv.Itoa(d.Step) + "\x00" + strconv.Itoa(d.Reminder) + "\x00" +
		strconv.Itoa(int(d.Was)) + "\x00" + d.By + "\x00" + d.Note + "\x00" + d.Held + "\x00" + d.For + "\x00" + group
}

// alike reports whether all that a parcel tells is of one sort: only then may
// others join it.
func (p *parcel) alike() bool {
	for i := range p.Items {
		if p.Items[i].sort() != p.Items[0].sort() {
			return false
		}
	}
	return true
}

// sort is an occasion without what counts how often there was one.
func (i Item) sort() string {
	if kind := i.kind(); kind == "changed" || kind == "acknowledged" {
		return kind
	}
	sort, _, _ := strings.Cut(i.Occasion, "+")
	return sort
}

// join adds a line to a message about the same incident that waits for that
// channel, and reports whether there is one. The end of a trouble gathers all
// that waits about it.
func (e *Engine) join(t *thread, in sereno.IncidentID, channel string, w *telling, item Item) bool {
	if w.event == notify.Acknowledged {
		return false
	}
	var mates []*parcel
	alone := true
	for _, o := range t.waiting {
		if o.Channel != channel {
			continue
		}
		if o.tells(in) && o.open() {
			mates = append(mates, o)
		} else {
			alone = false
		}
	}
	if len(mates) == 0 {
		return false
	}
	p := mates[len(mates)-1]
	if w.event == notify.Changed && alone && len(mates) == 1 && len(p.about) > 1 && !t.ear(in, channel).Told && e.sleeps(p, w.due) {
		e.hasten(t, in, p, w.due)
		return true
	}
	if w.event == notify.Closed {
		p = mates[0]
		for _, o := range mates[1:] {
			if len(o.about) == 1 {
				e.pour(o, p, e.now, "")
				continue
			}
			for _, i := range o.Items { // what waits behind tells nothing of it after its end
				if i.Incident == in {
					e.put(p, i)
				}
			}
			o.heir = p.ID
			e.takeOut(o, in, "its end is told before")
		}
	}
	p.Reminder = max(p.Reminder, w.reminder)
	p.Last = p.Last || w.last
	e.put(p, item)
	if !p.alike() {
		e.leave(p)
	}
	if w.event == notify.Closed && p.lasting == 0 && p.Event != notify.Digest {
		p.Event, p.By, p.Note = notify.Closed, w.by, w.note
	}
	if alone && len(mates) == 1 && len(p.about) == 1 && w.due < p.Due {
		q := e.queue(channel)
		q.remove(p)
		p.Due = w.due
		q.add(p)
		e.watch(p)
	}
	e.stood(p, false)
	e.check(p)
	return true
}

// isBehind reports whether something about a thread waits that comes after p.
func (t *thread) isBehind(channel string, p *parcel) bool {
	for _, o := range t.waiting {
		if o.Channel == channel && o != p && p.before(o) && t.in(o) {
			return true
		}
	}
	return false
}

// in reports whether a parcel tells of a thread and will go on to do so.
func (t *thread) in(p *parcel) bool {
	return p.tells(t.Incident.ID) || slices.ContainsFunc(t.Past, func(past *episode) bool { return p.tells(past.Incident) })
}

// sleeps reports whether a parcel waits for the end of quiet hours, beyond a time
// and beyond what it gathers for.
func (e *Engine) sleeps(p *parcel, due sereno.Instant) bool {
	wait := DefaultGroupWait
	if pol := e.policy(p.Policy); pol != nil {
		wait = pol.GroupWait
	}
	return p.open() && p.Event != notify.Digest && p.Due > max(due, p.Promised.Add(wait))
}

// hasten tells of one of those incidents that a parcel lets wait, before the
// others.
func (e *Engine) hasten(t *thread, in sereno.IncidentID, p *parcel, due sereno.Instant) {
	one := t.ear(in, p.Channel)
	e.takeOut(p, in, "some of it is told sooner")
	for _, i := range p.Items {
		if i.Incident != in {
			continue
		}
		one.Said = slices.DeleteFunc(one.Said, func(said string) bool { return said == i.Occasion })
		w := telling{
			event: p.Event, occasion: i.Occasion, policy: e.policy(p.Policy), course: t.course(p.Policy), step: p.Step,
			reminder: p.Reminder, last: p.Last, by: p.By, note: p.Note, was: p.Was, held: p.Held, due: due,
		}
		e.tell(t, in, p.Channel, w)
		one.For = p.For
	}
	for _, o := range t.waiting {
		if o.Channel == p.Channel && o.tells(in) {
			p.heir = o.ID
		}
	}
}

// post makes a delivery.
func (e *Engine) post(d Delivery, group string) *parcel {
	e.lastID++
	d.ID = e.lastID
	d.Key = strconv.FormatInt(int64(d.ID), 10) + "-" + strconv.FormatInt(int64(d.Promised), 36)
	p := &parcel{Delivery: d, about: map[sereno.IncidentID]uint8{}, place: -1, group: group}
	e.parcels[p.ID] = p
	e.queue(p.Channel).add(p)
	e.stain(p)
	e.watch(p)
	return p
}

// delay puts a parcel off, and with it what was to come after it.
func (e *Engine) delay(p *parcel, due sereno.Instant) {
	if due <= p.Due {
		return
	}
	was := &parcel{Delivery: Delivery{ID: p.ID, Due: p.Due}}
	e.putOff(p, due)
	e.follow(p, was)
}

func (e *Engine) putOff(p *parcel, due sereno.Instant) {
	q := e.queue(p.Channel)
	q.remove(p)
	p.Due = due
	q.add(p)
	e.watch(p)
	e.stain(p)
}

// follow keeps what was to come after a parcel, and what was to come after that,
// behind the one in its place.
func (e *Engine) follow(p, was *parcel) {
	var behind []*parcel
	seen := map[*parcel]bool{p: true}
	mates := func(x, place *parcel) {
		for _, t := range x.threads {
			for _, o := range t.waiting {
				if !seen[o] && o.Channel == p.Channel && place.before(o) && o.before(p) {
					seen[o] = true
					behind = append(behind, o)
				}
			}
		}
	}
	mates(p, was)
	for i := 0; i < len(behind); i++ {
		mates(behind[i], behind[i])
	}
	slices.SortFunc(behind, func(a, b *parcel) int {
		if a.before(b) {
			return -1
		}
		return 1
	})
	due, last := p.Due, p.ID
	for _, o := range behind {
		if o.ID < last {
			due++
		}
		last = o.ID
		e.putOff(o, due)
	}
}

// put adds an item to a parcel.
func (e *Engine) put(p *parcel, i Item) {
	p.Items = append(p.Items, i)
	e.index(p, i)
	e.stain(p)
}

func (e *Engine) index(p *parcel, i Item) {
	p.note(i)
	t := e.threads[i.Incident]
	if t == nil {
		return
	}
	for _, o := range slices.Backward(t.waiting) {
		if o == p {
			return
		}
	}
	p.threads = append(p.threads, t)
	t.waiting = append(t.waiting, p)
	for i := len(t.waiting) - 1; i > 0 && t.waiting[i].ID < t.waiting[i-1].ID; i-- {
		t.waiting[i], t.waiting[i-1] = t.waiting[i-1], t.waiting[i]
	}
}

// settle ends a parcel.
func (e *Engine) settle(p *parcel, s State, into DeliveryID, answer string, at sereno.Instant) {
	p.State, p.Into, p.SettledAt = s, into, at
	if answer != "" || s == Delivered {
		p.Answer = answer
	}
	e.queue(p.Channel).remove(p)
	e.stood(p, false)
	delete(e.parcels, p.ID)
	e.leave(p)
	for _, t := range p.threads {
		t.waiting = slices.DeleteFunc(t.waiting, func(o *parcel) bool { return o == p })
	}
	e.stain(p)
}

// leave lets nothing join a parcel any more.
func (e *Engine) leave(p *parcel) {
	list := slices.DeleteFunc(e.groups[p.group], func(o *parcel) bool { return o == p })
	if e.groups[p.group] = list; len(list) == 0 {
		delete(e.groups, p.group)
	}
}

// takeOut takes what is told of an incident out of a message that waits.
func (e *Engine) takeOut(p *parcel, in sereno.IncidentID, reason string) {
	if p.withdraw == nil {
		p.withdraw = map[sereno.IncidentID]bool{}
		e.torn = append(e.torn, p)
	}
	p.withdraw[in], p.reason = true, reason
}

// finish makes new messages of those from which something was taken out.
func (e *Engine) finish() {
	for len(e.torn) > 0 {
		p := e.torn[0]
		e.torn = e.torn[1:]
		if p.State != Waiting {
			continue
		}
		rest := slices.DeleteFunc(slices.Clone(p.Items), func(i Item) bool { return p.withdraw[i.Incident] })
		if len(rest) == 0 {
			state := Dropped
			if p.heir != 0 {
				state = Merged
			}
			e.settle(p, state, p.heir, p.reason, e.now)
			e.after(p)
			continue
		}
		d := p.Delivery
		d.Items = nil
		other := e.post(d, p.group)
		if q := e.queue(p.Channel); q.Digest == p.ID {
			q.Digest, e.queuesChanged = other.ID, true
		}
		e.settle(p, Merged, other.ID, p.reason, e.now)
		for _, i := range rest {
			e.put(other, i)
		}
		if other.lasting == 0 && other.Event == notify.Opened {
			other.Event = notify.Closed
		}
		e.offer(other)
		e.follow(other, p)
		e.after(p)
	}
}
