package alert

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"sereno"
	"sereno/notify"
)

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
	before := make([]course, len(t.Courses))
	for i, c := range t.Courses {
		before[i] = *c
		before[i].Paces = slices.Clone(c.Paces)
	}
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
	if !slices.EqualFunc(t.Courses, before, func(c *course, was course) bool { return reflect.DeepEqual(*c, was) }) {
		e.touch(t)
	}
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
	if t.Restored {
		return "a backup that was restored", 0
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
		case heard && one.Policy != pol.Name && !e.overtake(t, channel, &w):
			continue // it hears of it by another policy
		case heard && one.Policy == pol.Name:
			w.event, w.by = notify.Reminder, ""
		default:
			w.event, w.by = notify.Opened, t.carer()
		}
		kind := "opened"
		if reminder > 0 {
			kind = "reminder"
		}
		w.occasion = t.occasion(kind, pol.Name, step, reminder)
		e.tell(t, in, channel, w)
	}
}

// carer is who still has acknowledged trouble that is back; "" if nobody has, or
// it is new.
func (t *thread) carer() string {
	if t.Acknowledged == nil || t.Again < 2 {
		return ""
	}
	return t.Acknowledged.By
}

// overtake takes back what one policy lets a channel wait for, where by another
// it is to be told sooner.
func (e *Engine) overtake(t *thread, channel string, w *telling) bool {
	in := t.Incident.ID
	if t.ear(in, channel).Told {
		return false
	}
	due := w.policy.quietUntil(&t.subject, w.course.Severity, w.due)
	var late []*parcel
	for _, p := range t.waiting {
		if p.Channel != channel || !p.tells(in) {
			continue
		}
		if !e.sleeps(p, due) {
			return false
		}
		late = append(late, p)
	}
	for _, p := range late {
		e.takeOut(p, in, fmt.Sprintf("by policy %q it is told sooner", w.policy.Name))
	}
	return true
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
