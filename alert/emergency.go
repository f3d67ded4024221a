package alert

import (
	"context"
	"fmt"
	"time"

	"sereno"
	"sereno/match"
	"sereno/message"
	"sereno/notify"
)

const (
	emergencyAfter = 30 * time.Second // the outbox may be away for so long without a word
	emergencyEvery = 30 * time.Second // between two tries to say so
	emergencyTries = 20               // to say that it is over
)

// An emergency is the one message that does not go through the outbox: that
// there is none, or that nothing new gets as far as that. It goes to the channels
// that would hear of trouble with storage, once to each, and those that took it
// hear when it is over.
type emergency struct {
	since sereno.Instant
	over  sereno.Instant // 0 while it lasts
	stop  context.CancelFunc
	told  []string // channels that took it
}

// silent is since when nobody can be told of anything, because the outbox does
// not answer or because what is found out is not stored; 0: that works.
func (d *Desk) silent() sereno.Instant {
	since := d.unwritten()
	if since == 0 || d.access != 0 && d.access < since {
		since = d.access
	}
	return since
}

func (d *Desk) unwritten() sereno.Instant {
	if d.o.Unwritten == nil {
		return 0
	}
	return d.o.Unwritten()
}

// cry says that nobody can be told of anything, once that has lasted.
func (d *Desk) cry() {
	since := d.silent()
	if d.emergency != nil || since == 0 || d.o.Now().Sub(since) < emergencyAfter {
		return
	}
	r := d.rules.Load()
	ctx, stop := context.WithCancel(d.running)
	e := &emergency{since: since, stop: stop}
	d.emergency = e
	severity := sereno.SeverityOf(sereno.Medium, sereno.TroubleStorage)
	for _, name := range r.Reach(match.Subject{Status: sereno.TroubleStorage.String(), Severity: severity.String(), Own: true}) {
		m := e.message(r, name, d.o.Now())
		d.parts.Go(func() {
			if !d.insist(ctx, r, name, m, -1) {
				return
			}
			d.bring(func() {
				if e.told = append(e.told, name); e.over != 0 {
					d.allClear(e, name)
				}
			})
		})
	}
}

// calm ends an emergency when the outbox has answered, and what is found out is
// stored.
func (d *Desk) calm() {
	e := d.emergency
	if e == nil || d.unwritten() != 0 {
		return
	}
	d.emergency, e.over = nil, d.o.Now()
	e.stop()
	for _, name := range e.told {
		d.allClear(e, name)
	}
}

func (d *Desk) allClear(e *emergency, name string) {
	r := d.rules.Load()
	m := e.message(r, name, d.o.Now())
	d.parts.Go(func() { d.insist(d.running, r, name, m, emergencyTries) })
}

// insist tries until a message is taken, refused for good, or not wanted any
// more.
func (d *Desk) insist(ctx context.Context, r *rules, name string, m notify.Message, tries int) (taken bool) {
	channel := r.Channel(name)
	if channel == nil {
		return false
	}
	for ; tries != 0; tries-- {
		o := d.try(ctx, channel, m)
		switch {
		case o.Failure == nil:
			return true
		case o.Failure.Class == notify.Refused:
			d.o.Log.Error("a channel refuses to say that nothing can be stored", "channel", name, "answer", o.Failure.Text)
			return false
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(max(emergencyEvery, o.Failure.After)):
		}
	}
	return false
}

// message says that messages cannot be stored, or that they can again.
func (e *emergency) message(r *rules, channel string, now sereno.Instant) notify.Message {
	event := notify.Opened
	if e.over != 0 {
		event = notify.Closed
	}
	severity := sereno.SeverityOf(sereno.Medium, sereno.TroubleStorage)
	m := write(r, message.Facts{
		Event: string(event), Channel: channel, Severity: severity, Count: 1,
		Incidents: []message.Incident{{
			Incident: sereno.Incident{
				Trouble: sereno.TroubleStorage, Opened: e.since, Closed: e.over,
				Reason: "the store takes no messages; what happens meanwhile is told when it does again",
			},
			Severity: severity,
		}},
	}, now)
	m.Key = fmt.Sprintf("outbox-%d-%s", e.since, event)
	m.Thread = fmt.Sprintf("outbox-%d", e.since)
	for i := range m.Incidents {
		m.Incidents[i].Thread = m.Thread
	}
	return m
}
