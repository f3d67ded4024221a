package alert

import (
	"fmt"
	"slices"

	"sereno"
	"sereno/notify"
)

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
	if e.now >= max(p.Due, p.Promised).Add(c.giveUp) {
		if p.flying {
			return // what comes of it decides
		}
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
