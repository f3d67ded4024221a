package alert

import (
	"cmp"
	"encoding/json"
	"slices"
	"strconv"
	"time"

	"sereno"
	"sereno/notify"
)

// longest is how long somebody may keep an alert quiet.
const longest = 366 * 24 * time.Hour

// Do carries out an order. Its errors are sereno.Errors: NotFound for an
// incident that no alert speaks of, Conflict where there is nothing to do (it is
// over, it is not acknowledged), Invalid for an order that makes no sense.
//
// A comment may be on any incident: whether that exists is for the caller.
func (e *Engine) Do(now sereno.Instant, o Order) error {
	e.now = now
	if err := o.check(now); err != nil {
		return err
	}
	if err := e.carryOut(o, false); err != nil {
		return err
	}
	e.finish()
	return nil
}

// DoAll carries out one order for many incidents, such as those that one message
// tells of, in one batch, and returns those for which there was something to do;
// the Incident of the order is not looked at. An acknowledgement of many leaves
// alone what somebody else takes care of for at least as long, and is told in
// one message; who takes back one of many takes back his own, and what others
// did only where there is none of that. Its errors are those of Do: Conflict if there was nothing to do
// for any of them.
func (e *Engine) DoAll(now sereno.Instant, o Order, ids []sereno.IncidentID) (done []sereno.IncidentID, err error) {
	e.now = now
	var refused error
	for _, o.Incident = range ids {
		if err := o.check(now); err != nil {
			return nil, err
		}
	}
	if o.Action == "unacknowledge" {
		if own := slices.DeleteFunc(slices.Clone(ids), func(id sereno.IncidentID) bool { return !e.acknowledgedBy(id, o.Who) }); len(own) > 0 {
			ids = own
		}
	}
	for _, o.Incident = range ids {
		if err := e.carryOut(o, len(ids) > 1); err != nil {
			refused = err
			continue
		}
		done = append(done, o.Incident)
	}
	e.finish()
	switch {
	case len(done) > 0:
		return done, nil
	case len(ids) == 1:
		return nil, refused
	case o.Action == "acknowledge":
		return nil, sereno.Errorf(sereno.Conflict, "there is nothing to acknowledge any more: all of it is over, or acknowledged")
	}
	return nil, sereno.Errorf(sereno.Conflict, "there is nothing to %s any more: all of it is over, or that was done", o.Action)
}

func (e *Engine) acknowledgedBy(id sereno.IncidentID, who string) bool {
	t := e.threads[id]
	return t != nil && t.Acknowledged != nil && t.Acknowledged.By == who
}

// carryOut does what an order says, one of many or alone, and notes it for the
// audit trail.
func (e *Engine) carryOut(o Order, many bool) error {
	if o.Action != "comment" {
		t := e.threads[o.Incident]
		if t == nil {
			return sereno.Errorf(sereno.NotFound, "no alert speaks of incident %d: it is long over, or was never taken in", o.Incident)
		}
		if err := e.obey(t, o, many); err != nil {
			return err
		}
	}
	detail := ""
	if o.Until != 0 {
		doc, err := json.Marshal(struct {
			Until sereno.Instant `json:"until"`
		}{o.Until})
		if err != nil {
			return err
		}
		detail = string(doc)
	}
	e.audit = append(e.audit, sereno.Audit{
		At: e.now, Who: o.Who, Via: o.Via, Action: o.Action, Target: "incident", Of: strconv.FormatInt(int64(o.Incident), 10), Text: o.Text, Detail: detail,
	})
	return nil
}

func (o *Order) check(now sereno.Instant) error {
	if o.Incident <= 0 {
		return &sereno.Error{Kind: sereno.Invalid, Field: "incident", Text: "say which incident: its number, as `sereno alerts` shows it"}
	}
	switch o.Action {
	case "acknowledge", "snooze":
	case "unacknowledge", "unsnooze", "resolve", "comment":
		if o.Until != 0 {
			return &sereno.Error{Kind: sereno.Invalid, Field: "until", Text: o.Action + " has no end"}
		}
	default:
		return &sereno.Error{
			Kind: sereno.Invalid, Field: "action",
			Text: strconv.Quote(o.Action) + " is nothing to do with an alert; there are acknowledge, unacknowledge, snooze, unsnooze, resolve, comment",
		}
	}
	switch {
	case o.Action == "snooze" && o.Until == 0:
		return &sereno.Error{Kind: sereno.Invalid, Field: "until", Text: "say until when to snooze"}
	case o.Until != 0 && o.Until <= now:
		return &sereno.Error{Kind: sereno.Invalid, Field: "until", Text: "that time is over: it is " + now.String()}
	case o.Until != 0 && o.Until.Sub(now) > longest:
		return &sereno.Error{Kind: sereno.Invalid, Field: "until", Text: "that is more than a year ahead"}
	}
	if o.Action == "comment" && o.Text == "" {
		return &sereno.Error{Kind: sereno.Invalid, Field: "text", Text: "a comment needs words"}
	}
	return nil
}

func (e *Engine) obey(t *thread, o Order, many bool) error {
	if t.Ended != 0 || t.Incident.ID != o.Incident && t.ears(o.Incident) == nil {
		return sereno.Errorf(sereno.Conflict, "incident %d is over since %s", o.Incident, t.Incident.Closed.Time().In(e.plan.zone).Format("2006-01-02 15:04:05 MST"))
	}
	if t.Resolved != "" {
		return sereno.Errorf(sereno.Conflict, "incident %d was resolved by %s already", o.Incident, t.Resolved)
	}
	switch o.Action {
	case "acknowledge":
		if a := t.Acknowledged; many && a != nil && a.By != o.Who && (a.Until == 0 || o.Until != 0 && o.Until <= a.Until) {
			return sereno.Errorf(sereno.Conflict, "incident %d is acknowledged by %s", o.Incident, a.By)
		}
		e.acknowledge(t, o, many)
	case "unacknowledge":
		if t.Acknowledged == nil {
			return sereno.Errorf(sereno.Conflict, "incident %d is not acknowledged", o.Incident)
		}
		t.Acknowledged = nil
		if t.Announced != nil {
			t.Announced = new(*t.Announced)
			t.Announced.At = e.now
		}
	case "snooze":
		t.Snoozed = &Snoozed{By: o.Who, Note: o.Text, At: e.now, Until: o.Until}
	case "unsnooze":
		if t.Snoozed == nil {
			return sereno.Errorf(sereno.Conflict, "incident %d is not snoozed", o.Incident)
		}
		t.Snoozed = nil
	case "resolve":
		e.tellEnd(t, o.Who, o.Text)
		if t.Resolved = o.Who; t.Resolved == "" {
			t.Resolved = "somebody"
		}
	}
	e.touch(t)
	e.advance(t)
	return nil
}

// acknowledge notes that somebody takes care, and tells it where that is news:
// not to those who know it, nor again within a minute of a change of mind.
func (e *Engine) acknowledge(t *thread, o Order, many bool) {
	a := &Acknowledged{By: o.Who, Via: o.Via, Note: o.Text, At: e.now, Until: o.Until}
	stands := t.Acknowledged
	told := cmp.Or(t.Announced, stands)
	t.Acknowledged = a
	if told != nil && told.By == a.By && (a.Note == "" || a.Note == told.Note) && (stands != nil && stands.By == a.By || e.now.Sub(told.At) < minute) {
		a.Note = told.Note
		if stands != nil && stands.By == a.By {
			a.At = stands.At
		}
		return
	}
	t.Announced = a
	e.tellAcknowledged(t, many)
}

// tellAcknowledged tells those who know of a trouble that somebody takes care.
func (e *Engine) tellAcknowledged(t *thread, many bool) {
	t.Acknowledges++
	in := t.Incident.ID
	for _, one := range t.Ears {
		if !t.knows(in, one.Channel) {
			continue
		}
		e.tell(t, in, one.Channel, telling{
			event: notify.Acknowledged, occasion: "acknowledged/" + strconv.Itoa(t.Acknowledges),
			policy: e.policy(one.Policy), course: t.course(one.Policy), by: t.Acknowledged.By, note: t.Acknowledged.Note, due: e.now, many: many,
		})
	}
}
