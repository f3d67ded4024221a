package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"sereno"
	"sereno/alert"
	"sereno/store"
)

// Alerts is the part of the running program that tells people of trouble.
// Unavailable are its answers until it has read what it had promised.
type Alerts interface {
	// Alert returns the alert that an incident belongs to; NotFound if there is
	// none, or none any more.
	Alert(ctx context.Context, id sereno.IncidentID) (alert.Alert, error)
	// Do carries out a wish, and returns when it is written down: NotFound for an
	// incident without an alert, Conflict where there is nothing to do.
	Do(ctx context.Context, o alert.Order) error
	// DoAll carries out one wish for many incidents, in one transaction, and
	// returns those for which there was something to do; Conflict if for none.
	DoAll(ctx context.Context, o alert.Order, ids []sereno.IncidentID) ([]sereno.IncidentID, error)
	// AlertsOf returns the alerts that some incidents belong to, by the incident.
	AlertsOf(ctx context.Context, ids []sereno.IncidentID) (map[sereno.IncidentID]alert.Alert, error)
	Plan() *alert.Plan
}

// Told is what was promised and told, and what people did, as it was written
// down.
type Told interface {
	Deliveries(ctx context.Context, q store.DeliveryQuery) ([]alert.Delivery, string, error)
	Delivery(ctx context.Context, id alert.DeliveryID) (alert.Delivery, error)
	ChildrenOf(ctx context.Context, id sereno.IncidentID, limit int) (int, []string, error)
	AddAudit(ctx context.Context, a sereno.Audit) (int64, error)
	Audits(ctx context.Context, q store.AuditQuery) ([]sereno.Audit, string, error)
	UseLink(ctx context.Context, token string, at sereno.Instant) (first bool, err error)
	LinkUsed(ctx context.Context, token string) (sereno.Instant, error)
}

const (
	maxComment = 1000 // bytes
	maxWho     = 100
	longest    = 366 * 24 * time.Hour // of a snooze or an acknowledgement
)

// A Wish is what somebody says with an action.
type Wish struct {
	Comment string         `json:"comment,omitempty" maxLength:"1000" doc:"Why"`
	By      string         `json:"by,omitempty" maxLength:"100" doc:"Who wishes it, as people know them; the address it came from is noted in any case"`
	Until   sereno.Instant `json:"until,omitzero" format:"date-time" doc:"When a snooze ends, or an acknowledgement expires"`
	For     Seconds        `json:"for_seconds,omitempty" doc:"The same as a length of time from now"`
}

// IncidentPath is the part of a path that names an incident.
type IncidentPath struct {
	ID int64 `path:"id" minimum:"1"`
}

type wishFor struct {
	Asker
	IncidentPath
	Body *Wish
}

// actions are what people can do about an incident.
var actions = []struct{ name, summary string }{
	{"acknowledge", "Take care of it: no more reminders and no escalation, until it is over or until a time"},
	{"unacknowledge", "Take that back: reminders go on"},
	{"snooze", "Hear nothing of it until a time; if it lasts then, the next reminder comes at once"},
	{"unsnooze", "Take that back"},
	{"resolve", "Close what cannot close itself; a check that is down closes its incident with the first answer"},
	{"comment", "Write down what is known"},
}

func (d *desk) registerActions() {
	for _, a := range actions {
		register(d, huma.Operation{
			OperationID: a.name + "Incident", Method: http.MethodPost, Path: "/api/incidents/{id}/" + a.name, Summary: a.summary,
		}, func(ctx context.Context, in *wishFor) (*answer[IncidentDetail], error) {
			if err := d.act(ctx, a.name, sereno.IncidentID(in.ID), in.author, in.Body); err != nil {
				return nil, fmt.Errorf("%s incident: %w", a.name, err)
			}
			return d.incident(ctx, &in.IncidentPath)
		})
	}
	register(d, huma.Operation{
		OperationID: "acknowledgeAlert", Method: http.MethodPost, Path: "/api/alerts/{id}/acknowledge",
		Summary: "Acknowledge all incidents of a delivery that are open",
	}, d.acknowledgeAlert)
	register(d, huma.Operation{
		OperationID: "listAudit", Method: http.MethodGet, Path: "/api/audit", Summary: "What people did, latest first; by default all",
	}, d.audit)
}

// order is what a wish means.
func (d *desk) order(action string, id sereno.IncidentID, by Author, w *Wish) (alert.Order, error) {
	if w == nil {
		w = &Wish{}
	}
	now := d.Now()
	o := alert.Order{Action: action, Incident: id, Who: named(w.By, by.Who), Via: by.Via, Text: strings.TrimSpace(w.Comment), Until: w.Until}
	invalid := func(field, format string, args ...any) (alert.Order, error) {
		return o, &sereno.Error{Kind: sereno.Invalid, Field: "body." + field, Text: fmt.Sprintf(format, args...)}
	}
	if w.For != 0 {
		switch {
		case w.Until != 0:
			return invalid("for_seconds", "say either until or for_seconds")
		case w.For < 0:
			return invalid("for_seconds", "a time from now is longer than nothing")
		}
		o.Until = now.Add(time.Duration(min(w.For, Seconds(2*longest))))
	}
	field := "until"
	if w.For != 0 {
		field = "for_seconds"
	}
	switch {
	case o.Until != 0 && action != "snooze" && action != "acknowledge":
		return invalid(field, "only snooze and acknowledge have an end")
	case o.Until == 0 && action == "snooze":
		return invalid("until", "say how long, with until or for_seconds")
	case o.Until != 0 && o.Until <= now:
		return invalid(field, "%s is past", o.Until)
	case o.Until.Sub(now) > longest:
		return invalid(field, "a year is the longest; what is to be ignored for ever is not to be watched")
	case action == "comment" && o.Text == "":
		return invalid("comment", "say what there is to say")
	}
	return o, nil
}

// named puts a name before where a wish came from.
func named(name, from string) string {
	name = strings.Join(strings.Fields(name), " ")
	switch {
	case name == "":
		return from
	case from == "" || strings.HasPrefix(from, "somebody"):
		return name
	default:
		return name + " (" + from + ")"
	}
}

// act does something about an incident, and sees that it is written down.
func (d *desk) act(ctx context.Context, action string, id sereno.IncidentID, by Author, w *Wish) error {
	o, err := d.order(action, id, by, w)
	if err != nil {
		return err
	}
	about, err := d.Facts.ChangesOf(ctx, []sereno.IncidentID{id})
	if err != nil {
		return err
	}
	if len(about) == 0 {
		return sereno.Errorf(sereno.NotFound, "there is no incident %d", id)
	}
	closed := about[0].Incident.Closed
	if closed != 0 && action != "comment" {
		return sereno.Errorf(sereno.Conflict, "incident %d is over since %s", id, closed.Time().In(d.Alerts.Plan().Zone()).Format("Mon 2 Jan 2006 15:04:05 MST"))
	}
	if action == "resolve" {
		if err := d.Resolve(ctx, id); err != nil {
			return err
		}
	}
	err = d.Alerts.Do(ctx, o)
	kind := sereno.KindOf(err)
	if err != nil && (action == "comment" && kind == sereno.NotFound || action == "resolve" && (kind == sereno.NotFound || kind == sereno.Conflict)) {
		// No message speaks of it (any more). What was done is noted nevertheless.
		_, err = d.Told.AddAudit(ctx, sereno.Audit{
			At: d.Now(), Who: o.Who, Via: o.Via, Action: action, Target: "incident", Of: fmt.Sprint(id), Text: o.Text,
		})
	}
	return err
}

// Acknowledgement is the document of what came of acknowledging a delivery.
type Acknowledgement struct {
	Acknowledged []sereno.IncidentID `json:"acknowledged"`
	Over         []sereno.IncidentID `json:"over" doc:"Those that needed nothing any more: they are over, or somebody else takes care of them"`
}

type wishForAlert struct {
	Asker
	AlertPath
	Body *Wish
}

func (d *desk) acknowledgeAlert(ctx context.Context, in *wishForAlert) (*answer[Acknowledgement], error) {
	delivery, err := d.Told.Delivery(ctx, alert.DeliveryID(in.ID))
	if err != nil {
		return nil, fmt.Errorf("acknowledge an alert: %w", err)
	}
	ids := delivery.Incidents()
	if len(ids) == 0 {
		return nil, sereno.Errorf(sereno.Conflict, "delivery %d is about no incident: there is nothing to acknowledge", in.ID)
	}
	o, err := d.order("acknowledge", ids[0], in.author, in.Body)
	if err != nil {
		return nil, err
	}
	done, err := d.Alerts.DoAll(ctx, o, ids)
	if err != nil {
		return nil, fmt.Errorf("acknowledge an alert: %w", err)
	}
	doc := Acknowledgement{Acknowledged: done, Over: []sereno.IncidentID{}}
	for _, id := range ids { // done is in their order
		if len(done) > 0 && done[0] == id {
			done = done[1:]
			continue
		}
		doc.Over = append(doc.Over, id)
	}
	return &answer[Acknowledgement]{doc}, nil
}

// An AuditEntry is the document of something that a person did.
type AuditEntry struct {
	ID     int64           `json:"id"`
	At     sereno.Instant  `json:"at" format:"date-time"`
	Who    string          `json:"who" doc:"As far as it is known: a name, an address"`
	Via    string          `json:"via" doc:"By which way: api, telegram, link, file"`
	Action string          `json:"action"`
	Target string          `json:"target" doc:"incident, channel, policy, maintenance, silence, device"`
	Of     string          `json:"of" doc:"Which of them: the number of an incident, the name of a channel"`
	Text   string          `json:"text" doc:"Why, as it was said"`
	Detail json.RawMessage `json:"detail" nullable:"true" doc:"What changed"`
}

type auditList struct {
	Window
	Paging
	Target string `query:"target" maxLength:"100" doc:"Only what was done to one: incident, channel, policy, maintenance, silence, device"`
	Of     string `query:"of" maxLength:"300" doc:"Only to this one of them"`
	Who    string `query:"who" maxLength:"300" doc:"Only by this one, exactly as it is written"`
	Action string `query:"action" maxLength:"100" doc:"Only this: acknowledge, snooze, …"`
}

func (d *desk) audit(ctx context.Context, in *auditList) (*answer[Page[AuditEntry]], error) {
	list, cursor, err := d.Told.Audits(ctx, store.AuditQuery{
		Target: in.Target, Of: in.Of, Who: in.Who, Action: in.Action,
		From: in.From.Instant, To: in.To.Instant, Cursor: in.Cursor, Limit: in.Limit,
	})
	if err != nil {
		return nil, fmt.Errorf("list the audit trail: %w", err)
	}
	return page(list, cursor, auditEntry), nil
}

func auditEntry(a sereno.Audit) AuditEntry {
	e := AuditEntry{ID: a.ID, At: a.At, Who: a.Who, Via: a.Via, Action: a.Action, Target: a.Target, Of: a.Of, Text: a.Text}
	if json.Valid([]byte(a.Detail)) {
		e.Detail = json.RawMessage(a.Detail)
	}
	return e
}
