package alert

import (
	"cmp"
	"slices"
	"time"

	"sereno"
)

// An Alert is what becomes of one trouble, as people and messages see it.
type Alert struct {
	ID       sereno.IncidentID // of the first incident of the thread
	Incident sereno.Incident   // the latest
	Device   *sereno.Device    // nil for Sereno's own trouble; without its checks
	Check    *sereno.Check     // likewise; its name and kind
	Severity sereno.Severity   // the highest that a policy gives it

	Again   int           // how many times it opened in this thread; 1: once
	AgainIn time.Duration // from the first to the latest opening

	Acknowledged *Acknowledged // nil: it is not
	Snoozed      *Snoozed      // nil: it is not
	Resolved     string        // by whom; ""
	Held         string        // why nobody is told (more) at present: "maintenance sunday", "behind incident 12"; ""
	HeldUntil    sereno.Instant

	Policies []string // by which it is told
	Told     []string // channels that took a message about the latest incident
	Pending  []string // channels that have one waiting
	Next     []Coming // what comes if nothing changes, the soonest first

	severities map[string]sereno.Severity
}

// SeverityIn returns the severity that it has by a policy, which may override
// and raise it.
func (a *Alert) SeverityIn(policy string) sereno.Severity {
	if s, ok := a.severities[policy]; ok {
		return s
	}
	return a.Severity
}

// An Acknowledged says that somebody takes care.
type Acknowledged struct {
	By    string         `json:"by"`
	Via   string         `json:"via"`
	Note  string         `json:"note"`
	At    sereno.Instant `json:"at"`
	Until sereno.Instant `json:"until"` // 0: until it is over
}

// A Snoozed says until when somebody wants to hear nothing of it.
type Snoozed struct {
	By    string         `json:"by"`
	Note  string         `json:"note"`
	At    sereno.Instant `json:"at"`
	Until sereno.Instant `json:"until"`
}

// A Coming is a message that will be sent if nothing changes.
type Coming struct {
	At       sereno.Instant
	Policy   string
	Step     int      // 0 first
	Reminder int      // the how-manieth; 0: the step itself
	Of       int      // how many reminders that step has
	Channels []string // whom it goes to
}

// A ChannelHealth says how a channel does.
type ChannelHealth struct {
	Channel   string
	Waiting   int            // messages that are due and not delivered
	Later     int            // messages whose time has not come
	Oldest    sereno.Instant // when the oldest of Waiting was due; 0: none waits
	Failing   sereno.Instant // since when no try has succeeded; 0: the last one did, or none was made
	Refusing  bool           // the last answer was a refusal for good
	Answer    string         // of the last try that failed; "" once one succeeded
	Hold      sereno.Instant // no try before it: the channel backs off, or was asked to; 0
	Delivered sereno.Instant // the last time; 0: never
	Storm     bool           // one digest a minute at present
}

// Incidents returns of whom a delivery tells, each once, in the order of its items.
func (d *Delivery) Incidents() []sereno.IncidentID {
	ids := make([]sereno.IncidentID, 0, len(d.Items))
	seen := make(map[sereno.IncidentID]bool, len(d.Items))
	for _, item := range d.Items {
		if !seen[item.Incident] {
			seen[item.Incident] = true
			ids = append(ids, item.Incident)
		}
	}
	return slices.Clip(ids)
}

// Alerts returns what is open, acknowledged or kept back or not, by ID.
func (e *Engine) Alerts() []Alert {
	list := []Alert{}
	for _, t := range e.ordered() {
		if t.Ended == 0 {
			list = append(list, e.view(t))
		}
	}
	return list
}

// Alert returns the alert that an incident belongs to, also for a while after it
// closed, and as long as messages about it wait.
func (e *Engine) Alert(id sereno.IncidentID) (Alert, bool) {
	t := e.threads[id]
	if t == nil {
		return Alert{}, false
	}
	return e.view(t), true
}

func (e *Engine) view(t *thread) Alert {
	a := Alert{
		ID: t.ID, Incident: t.Incident, Device: t.device(), Check: t.check(), Severity: t.severity(),
		Again: t.Again, AgainIn: t.Incident.Opened.Sub(t.First),
		Resolved: t.Resolved, severities: map[string]sereno.Severity{},
	}
	if t.Acknowledged != nil {
		a.Acknowledged = new(*t.Acknowledged)
	}
	if t.Snoozed != nil {
		a.Snoozed = new(*t.Snoozed)
	}
	highest := sereno.SeverityNone
	for _, c := range t.Courses {
		a.severities[c.Policy] = c.Severity
		if !c.Over {
			highest = max(highest, c.Severity)
			a.Policies = append(a.Policies, c.Policy)
		}
	}
	if highest != sereno.SeverityNone {
		a.Severity = highest
	}
	for _, one := range t.Ears {
		if one.Told {
			a.Told = append(a.Told, one.Channel)
		}
		if t.waits(t.Incident.ID, one.Channel) {
			a.Pending = append(a.Pending, one.Channel)
		}
	}
	if t.Ended != 0 {
		return a
	}
	if a.Held, a.HeldUntil = e.held(t); a.Held == "" && t.Incident.Trouble == sereno.TroubleFlapping {
		a.Held = "flapping"
	}
	for _, c := range t.Courses {
		if pol := e.policy(c.Policy); pol != nil && !c.Over {
			a.Next = append(a.Next, e.coming(t, c, pol, &a)...)
		}
	}
	slices.SortStableFunc(a.Next, func(x, y Coming) int { return cmp.Compare(x.At, y.At) })
	return a
}

// coming returns what a course has yet to send, as far as its end is known: what
// is kept back comes when that is over.
func (e *Engine) coming(t *thread, c *course, pol *policy, a *Alert) []Coming {
	late := a.HeldUntil
	if a.Held != "" && late == 0 {
		return nil // until something changes
	}
	ahead := *c
	if ahead.Base == 0 {
		ahead.Base = pol.quietUntil(&t.subject, c.Severity, max(e.now, late))
	}
	var list []Coming
	for i, p := range c.Paces {
		s := &pol.Steps[i]
		from := late
		if t.Acknowledged != nil && (p.Fired != 0 || s.UnlessAcknowledged) {
			if t.Acknowledged.Until == 0 {
				continue
			}
			from = max(from, t.Acknowledged.Until)
		}
		shift := time.Duration(0)
		if ahead.HeldFrom != 0 {
			shift = from.Sub(ahead.HeldFrom)
		}
		ahead.Paces = slices.Clone(c.Paces)
		for {
			at, reminder, ok := ahead.due(pol, i)
			if !ok {
				break
			}
			at = max(at.Add(shift), from)
			list = append(list, Coming{
				At: pol.quietUntil(&t.subject, c.Severity, at), Policy: c.Policy, Step: i, Reminder: reminder, Of: len(s.Remind),
				Channels: slices.Clone(e.plan.tells(pol, *s, &t.subject)),
			})
			if reminder == 0 {
				if t.Acknowledged != nil {
					break
				}
				ahead.Paces[i].Fired = at.Add(-shift)
			} else {
				ahead.Paces[i].Reminded = reminder
			}
		}
	}
	return list
}

// Health tells of every channel, in the order of the book.
func (e *Engine) Health() []ChannelHealth {
	list := make([]ChannelHealth, 0, len(e.plan.names))
	for _, name := range e.plan.names {
		q := e.queue(name)
		h := ChannelHealth{
			Channel: name, Failing: q.Failing, Refusing: q.Refusing, Answer: q.Answer,
			Delivered: q.Delivered, Storm: q.Storm > e.now,
		}
		if q.Others > e.now {
			h.Hold = q.Others
		}
		due, _ := q.due(e.now, 0)
		h.Waiting, h.Later = len(due), len(q.heap)-len(due)
		if len(due) > 0 {
			h.Oldest = due[0].Due
		}
		list = append(list, h)
	}
	return list
}
