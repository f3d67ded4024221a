package alert

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"sereno"
	"sereno/match"
	"sereno/message"
	"sereno/notify"
)

// Stories know what messages tell: incidents as they are now, and what is around
// them.
type Stories interface {
	// Incidents returns the present versions, and whom they are about. Those that
	// are gone are left out.
	Incidents(ctx context.Context, ids []sereno.IncidentID) ([]Change, error)
	// Delivery returns a message with its items; NotFound if it is gone.
	Delivery(ctx context.Context, id DeliveryID) (Delivery, error)
	// Behind returns how many devices have incidents that hang on one, and the
	// names of some of them.
	Behind(ctx context.Context, id sereno.IncidentID, limit int) (n int, names []string, err error)
	// Count returns how many incidents of a check were opened in [from, to).
	Count(ctx context.Context, check sereno.CheckID, from, to sereno.Instant) (int, error)
	// Uncertainty returns how much earlier the span of a check that began at a
	// moment may have begun.
	Uncertainty(ctx context.Context, check sereno.CheckID, begin sereno.Instant) (time.Duration, error)
	// Looks returns whether the latest n looks of a check before a moment were
	// answered, oldest first; nil where looks are not kept.
	Looks(ctx context.Context, check sereno.CheckID, before sereno.Instant, n int) ([]bool, error)
}

// Links make the addresses of the page of an incident, and of the page that
// acknowledges it, or all that the delivery tells of, once: below base, where
// people reach this Sereno.
type Links func(base string, id sereno.IncidentID, delivery DeliveryID, all bool, now sereno.Instant) (open, acknowledge string)

const (
	readInPart = 1000        // incidents
	toldWhole  = 5           // of so many incidents a message tells all that is known
	toldBehind = 20          // and of so many what is behind them
	toldLooks  = 10          // the latest
	toldNames  = 10          // of what is behind
	lateAfter  = time.Minute // a message that goes out later than that after its time says so
)

// A story is what a message is made of, as far as the Engine knows it.
type story struct {
	rules    *rules
	delivery Delivery
	now      sereno.Instant
	because  string  // why it is late; ""
	shut     illness // of the outbox, the latest
	thread   sereno.IncidentID
	again    int
	againIn  time.Duration
	severity map[sereno.IncidentID]sereno.Severity
	threads  map[sereno.IncidentID]sereno.IncidentID // of those that are remembered
}

// story asks the Engine.
func (d *Desk) story(r *rules, del Delivery, now sereno.Instant) story {
	s := story{rules: r, delivery: del, now: now, because: d.because(now, del), shut: d.shut, severity: map[sereno.IncidentID]sereno.Severity{}, threads: map[sereno.IncidentID]sereno.IncidentID{}}
	for i, id := range del.Incidents() {
		a, ok := d.engine.Alert(id)
		if !ok {
			continue
		}
		s.severity[id], s.threads[id] = a.SeverityIn(del.Policy), a.ID
		if i == 0 {
			s.thread, s.again, s.againIn = a.ID, a.Again, a.AgainIn
		}
	}
	return s
}

// compose gathers what a message tells and writes it. While the stories cannot
// be read it tries again, until ctx ends: that is no fault of the channel.
func (d *Desk) compose(ctx context.Context, s story) (notify.Message, error) {
	for pause := commitPause; ; pause = min(2*pause, commitPauseMax) {
		f, err := d.facts(ctx, s)
		if err == nil {
			m := write(s.rules, f, s.now)
			m.Key = s.delivery.Key
			if s.thread != 0 && s.delivery.Event != notify.Digest {
				m.Thread = notify.ThreadOf(s.thread)
			}
			for i := range m.Incidents {
				id := m.Incidents[i].ID
				m.Incidents[i].Thread = notify.ThreadOf(cmp.Or(s.threads[id], id))
			}
			m.Count = f.Count
			return m, nil
		}
		d.o.Log.Warn("what a message is to tell cannot be read; it is tried again", "delivery", s.delivery.ID, "err", err)
		select {
		case <-ctx.Done():
			return notify.Message{}, ctx.Err()
		case <-time.After(pause):
		}
	}
}

// facts are what the message speaks of.
func (d *Desk) facts(ctx context.Context, s story) (message.Facts, error) {
	del := s.delivery
	ids := del.Incidents()
	f := message.Facts{
		Event: string(del.Event), Count: len(ids), Group: del.Group,
		Reminder: del.Reminder, Last: del.Last,
		By: del.By, Note: del.Note,
		Held: del.Held, Channel: del.Channel,
	}
	if s.again > 1 && len(ids) == 1 {
		f.Again, f.AgainIn = s.again, s.againIn
	}
	if del.Event == notify.Changed {
		f.Was = del.Was.String()
	}
	if p := s.rules.policy(del.Policy); p != nil && del.Reminder > 0 && del.Step < len(p.Steps) {
		f.Reminders = len(p.Steps[del.Step].Remind)
	}
	opened, closed := map[sereno.IncidentID]bool{}, 0
	for _, i := range del.Items {
		if strings.HasPrefix(i.Occasion, "opened") {
			opened[i.Incident] = true
		}
	}
	for part := range slices.Chunk(ids, readInPart) {
		changes, err := d.o.Stories.Incidents(ctx, part)
		if err != nil {
			return f, err
		}
		for _, c := range changes {
			if c.Incident.Closed != 0 {
				closed++
				f.Both = f.Both || del.Event == notify.Closed && opened[c.Incident.ID]
			}
			f.Incidents = append(f.Incidents, s.incident(c))
		}
	}
	f.Over = closed
	slices.SortStableFunc(f.Incidents, func(a, b message.Incident) int {
		return cmp.Or(cmp.Compare(b.Severity, a.Severity), cmp.Compare(a.Opened, b.Opened), cmp.Compare(a.ID, b.ID))
	})
	f.Incidents = f.Incidents[:min(len(f.Incidents), notify.MaxIncidents)]
	if len(f.Incidents) == 0 { // they were purged while the message waited
		f.Incidents = []message.Incident{{Incident: sereno.Incident{ID: ids[0], Opened: del.Promised, Closed: s.now, Reason: "what it was about has been deleted since"}}}
	}
	for i := range f.Incidents {
		if err := d.around(ctx, &f.Incidents[i], i, len(ids), s.now); err != nil {
			return f, err
		}
	}
	f.Severity = f.Incidents[0].Severity
	if f.Due, f.LateBecause = s.late(f.Incidents[0]); f.LateBecause == "" {
		f.Due = 0
	}
	if base := s.rules.Book.URL; base != "" && d.o.Links != nil {
		f.Open, f.Acknowledge = d.o.Links(base, f.Incidents[0].ID, del.ID, len(ids) > 1, s.now)
		if !answerable(&f) {
			f.Acknowledge = ""
		}
	}
	return f, nil
}

// late says when the message should have gone out, and why it did not; "" if it
// is not late. What could not even be promised in time was due before it was.
func (s *story) late(first message.Incident) (due sereno.Instant, because string) {
	if s.because != "" {
		return s.delivery.Due, s.because
	}
	happened := first.Opened
	if s.delivery.Event == notify.Closed {
		happened = first.Closed
	}
	kept := s.shut.until.Sub(max(happened, s.shut.since))
	since := s.delivery.Promised.Sub(s.shut.until)
	if kept < lateAfter || since < 0 || since > lateAfter {
		return 0, ""
	}
	return s.delivery.Due.Add(-kept), s.shut.why
}

// answerable reports whether somebody can take care of what a message tells, or
// of a part of it.
func answerable(f *message.Facts) bool {
	switch notify.Event(f.Event) {
	case notify.Opened, notify.Reminder, notify.Changed, notify.Digest:
		return f.Over < f.Count && slices.ContainsFunc(f.Incidents, func(in message.Incident) bool { return in.ID != 0 && (in.Closed == 0 || f.Count > len(f.Incidents)) })
	}
	return false
}

// incident is what is told of one in any message.
func (s *story) incident(c Change) message.Incident {
	in := message.Incident{Incident: c.Incident, Severity: s.severity[c.Incident.ID], Removed: c.Removed}
	if c.Device != nil {
		in.Name, in.Address, in.Tags, in.Site = c.Device.Name, c.Device.Address, c.Device.Tags, match.Of(c.Device, nil).Site
	}
	if c.Check != nil {
		in.Check = c.Check.Name
	}
	if in.Severity == sereno.SeverityNone {
		importance := sereno.Medium
		if c.Device != nil {
			importance = c.Device.Importance
		}
		in.Severity = sereno.SeverityOf(importance, c.Incident.Trouble)
	}
	return in
}

// around adds what is around the i-th of n incidents.
func (d *Desk) around(ctx context.Context, in *message.Incident, i, n int, now sereno.Instant) (err error) {
	if in.Check == "" || i >= toldBehind {
		return nil
	}
	if in.Behind, in.BehindNames, err = d.o.Stories.Behind(ctx, in.ID, toldNames); err != nil || n > toldWhole {
		return err
	}
	check := in.Incident.Check
	if in.Uncertainty, err = d.o.Stories.Uncertainty(ctx, check, in.Opened); err != nil {
		return err
	}
	opened := in.Opened.Time().In(d.rules.Load().Zone())
	midnight := time.Date(opened.Year(), opened.Month(), opened.Day(), 0, 0, 0, 0, opened.Location())
	first := time.Date(opened.Year(), opened.Month(), 1, 0, 0, 0, 0, opened.Location())
	if in.Today, err = d.o.Stories.Count(ctx, check, sereno.At(midnight), in.Opened+1); err != nil {
		return err
	}
	if in.Month, err = d.o.Stories.Count(ctx, check, sereno.At(first), in.Opened+1); err != nil {
		return err
	}
	looks, err := d.o.Stories.Looks(ctx, check, now, toldLooks)
	if err != nil { // a message without them is better than none
		d.o.Log.Warn("the latest looks cannot be read; a message goes out without them", "incident", in.ID, "err", err)
	}
	in.Looks = looks
	return nil
}

// policy returns a policy of the book by its name, nil if there is none any
// more.
func (r *rules) policy(name string) *policy {
	for _, p := range r.policies {
		if p.Name == name {
			return p
		}
	}
	return nil
}

// write makes a message of facts.
func write(r *rules, f message.Facts, now sereno.Instant) notify.Message {
	f.Now, f.Zone = now, r.Zone()
	m := notify.Message{
		Event: notify.Event(f.Event), Severity: f.Severity, At: now.Time(), Count: f.Count, Open: f.Open, Acknowledge: f.Acknowledge,
		Buttons: answerable(&f), Last: f.Last,
	}
	texts := r.texts[f.Channel]
	m.Title, m.Text = texts.Write(f)
	for _, in := range f.Incidents {
		m.Incidents = append(m.Incidents, incidentFor(in, now))
	}
	if len(m.Incidents) > 0 {
		m.Incident = &m.Incidents[0]
		m.Device = m.Incidents[0].Device
	}
	return m
}

// incidentFor is an incident as programs read it.
func incidentFor(in message.Incident, now sereno.Instant) notify.Incident {
	end := in.Closed
	if end == 0 {
		end = max(now, in.Opened)
	}
	n := notify.Incident{
		ID: in.ID, Status: in.Trouble, Severity: in.Severity, Opened: in.Opened, Closed: in.Closed,
		Seconds: end.Sub(in.Opened).Seconds(), Reason: in.Reason,
	}
	if in.Under != 0 {
		n.Under = &in.Under
	}
	if in.Name != "" {
		n.Device = &notify.Device{ID: in.Device, Name: in.Name, Address: in.Address, Tags: append([]string{}, in.Tags...)}
	}
	return n
}
