package api

import (
	"context"
	"fmt"
	"net/http"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"sereno"
	"sereno/alert"
	"sereno/match"
	"sereno/notify"
	"sereno/store"
)

// An Alert is the document of one delivery: a message promised to one channel,
// and what became of it.
type Alert struct {
	ID       alert.DeliveryID `json:"id"`
	Key      string           `json:"key" doc:"By which the receiver may recognise a repetition"`
	State    alert.State      `json:"state" enum:"waiting,delivered,refused,expired,merged,dropped"`
	Event    notify.Event     `json:"event" enum:"opened,reminder,acknowledged,changed,closed,digest,test"`
	Channel  string           `json:"channel"`
	For      string           `json:"for" doc:"The channel that this one stands in for; empty if none"`
	Policy   string           `json:"policy"`
	Step     int              `json:"step" doc:"Of the policy, 0 first"`
	Reminder int              `json:"reminder" doc:"The how-manieth; 0: it is none"`
	Last     bool             `json:"last" doc:"No more reminders follow"`
	Group    string           `json:"group" doc:"What its incidents share"`
	Title    string           `json:"title" doc:"As it was sent last; empty until it was tried"`
	By       string           `json:"by" doc:"Who acknowledged"`
	Note     string           `json:"note" doc:"What that person wrote"`
	Held     string           `json:"held" doc:"Why it was kept back; empty if it was not"`

	Promised  sereno.Instant  `json:"promised" format:"date-time" doc:"When it was stored"`
	Due       sereno.Instant  `json:"due" format:"date-time" doc:"When it is or was to be sent"`
	Tries     int             `json:"tries"`
	Tried     sereno.Instant  `json:"tried" format:"date-time" nullable:"true" doc:"The last time"`
	Next      sereno.Instant  `json:"next_try" format:"date-time" nullable:"true" doc:"Not before; null unless it waits"`
	Answer    string          `json:"answer" doc:"What came of the last try"`
	Unsure    bool            `json:"unsure" doc:"It may have arrived although no answer came"`
	Delivered *sereno.Instant `json:"delivered" format:"date-time" nullable:"true"`
	Late      Seconds         `json:"late_seconds" doc:"How much later than due it was delivered, or until now while it waits"`
	Settled   sereno.Instant  `json:"settled" format:"date-time" nullable:"true" doc:"When nothing more was to come of it"`
	MergedTo  *int64          `json:"merged_into" nullable:"true" doc:"The delivery that tells what this one was to tell"`

	Count     int             `json:"count" doc:"How many incidents it tells of"`
	Incidents []AlertIncident `json:"incidents" doc:"Some of them: 10 in a list, else 1000"`
}

// An AlertIncident is what a delivery tells of one incident.
type AlertIncident struct {
	ID       sereno.IncidentID `json:"id"`
	Status   sereno.Trouble    `json:"status"`
	Subject  string            `json:"subject" doc:"What trouble of Sereno's own is about"`
	Device   *string           `json:"device" nullable:"true" doc:"Its name; null: trouble of Sereno's own, or the device is gone for good"`
	Opened   sereno.Instant    `json:"opened" format:"date-time" nullable:"true" doc:"null: it was deleted since"`
	Closed   sereno.Instant    `json:"closed" format:"date-time" nullable:"true"`
	Occasion []string          `json:"occasions" doc:"What it tells of it, such as opened/default/0 (policy and step), closed"`
}

const (
	fewIncidents  = 10
	manyIncidents = 1000
)

// AlertPath is the part of a path that names a delivery.
type AlertPath struct {
	ID int64 `path:"id" minimum:"1"`
}

type alertList struct {
	Window
	Paging
	Open     bool     `query:"open" doc:"Only those that wait: promised and not settled"`
	Incident int64    `query:"incident_id" minimum:"1" doc:"Only those that tell of this incident, or were to"`
	Channel  string   `query:"channel" maxLength:"300" doc:"Only those to this channel"`
	State    []string `query:"state" enum:"waiting,delivered,refused,expired,merged,dropped" doc:"Only those in these states, with commas between them"`
}

func (d *desk) registerAlerts() {
	register(d, huma.Operation{
		OperationID: "listAlerts", Method: http.MethodGet, Path: "/api/alerts",
		Summary: "Messages promised in a window, with what became of them, latest first; by default all",
	}, d.alerts)
	register(d, huma.Operation{
		OperationID: "getAlert", Method: http.MethodGet, Path: "/api/alerts/{id}", Summary: "Read a message with its whole story",
	}, d.alert)
	register(d, huma.Operation{
		OperationID: "getIncident", Method: http.MethodGet, Path: "/api/incidents/{id}",
		Summary: "Read an incident: who was told, what people did, what comes next",
	}, d.incident)
	d.registerActions()
}

func (d *desk) alerts(ctx context.Context, in *alertList) (*answer[Page[Alert]], error) {
	q := store.DeliveryQuery{
		Incident: sereno.IncidentID(in.Incident), Channel: in.Channel,
		From: in.From.Instant, To: in.To.Instant, Cursor: in.Cursor, Limit: in.Limit,
	}
	for _, name := range in.State {
		var s alert.State
		if err := s.UnmarshalText([]byte(name)); err != nil {
			return nil, err // the enum has seen to it
		}
		q.States = append(q.States, s)
	}
	if in.Open {
		if len(q.States) > 0 && !slices.Contains(q.States, alert.Waiting) {
			return nil, &sereno.Error{Kind: sereno.Invalid, Field: "query.open", Text: "what is open waits: leave out state, or open"}
		}
		q.States = []alert.State{alert.Waiting}
	}
	list, cursor, err := d.Told.Deliveries(ctx, q)
	if err != nil {
		return nil, fmt.Errorf("list alerts: %w", err)
	}
	docs, err := d.alertDocuments(ctx, list, fewIncidents)
	if err != nil {
		return nil, fmt.Errorf("list alerts: %w", err)
	}
	return &answer[Page[Alert]]{Page[Alert]{docs, orNull(cursor)}}, nil
}

func (d *desk) alert(ctx context.Context, in *AlertPath) (*answer[Alert], error) {
	delivery, err := d.Told.Delivery(ctx, alert.DeliveryID(in.ID))
	if err != nil {
		return nil, fmt.Errorf("read an alert: %w", err)
	}
	docs, err := d.alertDocuments(ctx, []alert.Delivery{delivery}, manyIncidents)
	if err != nil {
		return nil, fmt.Errorf("read an alert: %w", err)
	}
	return &answer[Alert]{docs[0]}, nil
}

// alertDocuments makes documents that name a number of incidents each.
func (d *desk) alertDocuments(ctx context.Context, list []alert.Delivery, most int) ([]Alert, error) {
	var ids []sereno.IncidentID
	for i := range list {
		named := list[i].Incidents()
		ids = append(ids, named[:min(len(named), most)]...)
	}
	about, err := d.concerning(ctx, ids)
	if err != nil {
		return nil, err
	}
	now := d.Now()
	docs := make([]Alert, len(list))
	for i := range list {
		docs[i] = alertDocument(&list[i], about, most, now)
	}
	return docs, nil
}

// concerning reads incidents and what they are about.
func (d *desk) concerning(ctx context.Context, ids []sereno.IncidentID) (map[sereno.IncidentID]alert.Change, error) {
	slices.Sort(ids)
	changes, err := d.Facts.ChangesOf(ctx, slices.Compact(ids))
	about := make(map[sereno.IncidentID]alert.Change, len(changes))
	for _, c := range changes {
		about[c.Incident.ID] = c
	}
	return about, err
}

func alertDocument(a *alert.Delivery, about map[sereno.IncidentID]alert.Change, most int, now sereno.Instant) Alert {
	doc := Alert{
		ID: a.ID, Key: a.Key, State: a.State, Event: a.Event, Channel: a.Channel, For: a.For, Policy: a.Policy, Step: a.Step,
		Reminder: a.Reminder, Last: a.Last, Group: a.Group, Title: a.Title, By: a.By, Note: a.Note, Held: a.Held,
		Promised: a.Promised, Due: a.Due, Tries: a.Tries, Tried: a.TriedAt, Answer: a.Answer, Unsure: a.Unsure, Settled: a.SettledAt,
		MergedTo: orNull(int64(a.Into)), Incidents: []AlertIncident{},
	}
	switch a.State {
	case alert.Waiting:
		doc.Next = max(a.Due, a.Next)
		doc.Late = Seconds(max(0, now.Sub(a.Due)))
	case alert.Delivered:
		doc.Delivered = &a.SettledAt
		doc.Late = Seconds(max(0, a.SettledAt.Sub(a.Due)))
	}
	ids := a.Incidents()
	doc.Count = len(ids)
	occasions := make(map[sereno.IncidentID][]string, len(ids))
	for _, item := range a.Items {
		occasions[item.Incident] = append(occasions[item.Incident], item.Occasion)
	}
	for _, id := range ids[:min(len(ids), most)] {
		c, ok := about[id]
		if !ok { // purged since
			c.Incident = sereno.Incident{ID: id}
		}
		one := AlertIncident{
			ID: id, Status: c.Incident.Trouble, Subject: c.Incident.Subject, Opened: c.Incident.Opened, Closed: c.Incident.Closed, Occasion: occasions[id],
		}
		if c.Device != nil {
			one.Device = &c.Device.Name
		}
		doc.Incidents = append(doc.Incidents, one)
	}
	return doc
}

// An IncidentAlert is what alerting makes of an incident that lasts, or ended a
// moment ago.
type IncidentAlert struct {
	Thread   sereno.IncidentID `json:"thread" doc:"The incident that it began with; trouble that comes back soon is the same"`
	Again    int               `json:"again" doc:"How many times it began in this thread"`
	Policies []string          `json:"policies" doc:"By which it is told"`
	Snoozed  *Snoozed          `json:"snoozed,omitempty"`
	Held     string            `json:"held" doc:"Why nobody is told (any more) at present; empty if nothing keeps it back"`
	Until    sereno.Instant    `json:"held_until" format:"date-time" nullable:"true"`
	Told     []string          `json:"told" doc:"Channels that took a message about it"`
	Pending  []string          `json:"pending" doc:"Channels that have one waiting"`
	Next     []Coming          `json:"next" doc:"What will be sent if nothing changes, the soonest first"`
}

// An Acknowledged says that somebody takes care.
type Acknowledged struct {
	By    string         `json:"by"`
	Via   string         `json:"via"`
	Note  string         `json:"note"`
	At    sereno.Instant `json:"at" format:"date-time"`
	Until sereno.Instant `json:"until" format:"date-time" nullable:"true" doc:"When it expires; null: when the trouble is over"`
}

// A Snoozed says until when somebody wants to hear nothing.
type Snoozed struct {
	By    string         `json:"by"`
	Note  string         `json:"note"`
	At    sereno.Instant `json:"at" format:"date-time"`
	Until sereno.Instant `json:"until" format:"date-time"`
}

// A Coming is a message that will be sent if nothing changes.
type Coming struct {
	At       sereno.Instant `json:"at" format:"date-time"`
	Policy   string         `json:"policy"`
	Step     int            `json:"step" doc:"0 first"`
	Reminder int            `json:"reminder" doc:"The how-manieth; 0: the step itself"`
	Of       int            `json:"of" doc:"How many reminders the step has"`
	Channels []string       `json:"channels"`
}

func incidentAlert(a *alert.Alert) *IncidentAlert {
	doc := &IncidentAlert{
		Thread: a.ID, Again: a.Again, Policies: orEmpty(a.Policies), Held: a.Held, Until: a.HeldUntil,
		Told: orEmpty(a.Told), Pending: orEmpty(a.Pending), Next: make([]Coming, len(a.Next)),
	}
	if s := a.Snoozed; s != nil {
		doc.Snoozed = &Snoozed{s.By, s.Note, s.At, s.Until}
	}
	for i, n := range a.Next {
		doc.Next[i] = Coming{n.At, n.Policy, n.Step, n.Reminder, n.Of, orEmpty(n.Channels)}
	}
	return doc
}

// An IncidentDetail is the document of one incident with all that belongs to it.
type IncidentDetail struct {
	Incident
	Device      *IncidentDevice `json:"device,omitempty" doc:"Left out for trouble of Sereno's own"`
	Check       *string         `json:"check" nullable:"true" doc:"The name of the check"`
	Behind      int             `json:"behind" doc:"How many devices hang on it"`
	BehindNames []string        `json:"behind_names" doc:"100 of them at most"`
	Alerts      []Alert         `json:"alerts" doc:"Messages about it, oldest first, 1000 at most"`
	Timeline    []AuditEntry    `json:"timeline" doc:"What people did about it, oldest first, 1000 at most"`
}

// An IncidentDevice is whom an incident is about.
type IncidentDevice struct {
	ID         sereno.DeviceID   `json:"id"`
	Name       string            `json:"name"`
	Address    string            `json:"address"`
	Importance sereno.Importance `json:"importance" enum:"low,medium,high,critical"`
	Tags       []string          `json:"tags"`
	Removed    bool              `json:"removed" doc:"It is no longer watched"`
}

func (d *desk) incident(ctx context.Context, in *IncidentPath) (*answer[IncidentDetail], error) {
	id := sereno.IncidentID(in.ID)
	about, err := d.Facts.ChangesOf(ctx, []sereno.IncidentID{id})
	if err != nil {
		return nil, fmt.Errorf("read an incident: %w", err)
	}
	if len(about) == 0 {
		return nil, sereno.Errorf(sereno.NotFound, "there is no incident %d", id)
	}
	c := about[0]
	known := map[sereno.IncidentID]*alert.Alert{}
	if a, err := d.Alerts.Alert(ctx, id); err == nil && a.Incident.ID == id {
		known[id] = &a
	}
	doc := IncidentDetail{Incident: incidentDocument(c, known, d.Now()), BehindNames: []string{}, Alerts: []Alert{}, Timeline: []AuditEntry{}}
	if c.Device != nil {
		doc.Device = &IncidentDevice{c.Device.ID, c.Device.Name, c.Device.Address, c.Device.Importance, orEmpty(c.Device.Tags), c.Removed}
	}
	if c.Check != nil {
		doc.Check = &c.Check.Name
	}
	if doc.Behind, doc.BehindNames, err = d.Told.ChildrenOf(ctx, id, 100); err != nil {
		return nil, fmt.Errorf("read an incident: %w", err)
	}
	doc.BehindNames = orEmpty(doc.BehindNames)
	deliveries, _, err := d.Told.Deliveries(ctx, store.DeliveryQuery{Incident: id, Oldest: true, Limit: 1000})
	if err != nil {
		return nil, fmt.Errorf("read an incident: %w", err)
	}
	if doc.Alerts, err = d.alertDocuments(ctx, deliveries, fewIncidents); err != nil {
		return nil, fmt.Errorf("read an incident: %w", err)
	}
	timeline, _, err := d.Told.Audits(ctx, store.AuditQuery{Target: "incident", Of: fmt.Sprint(id), Oldest: true, Limit: 1000})
	if err != nil {
		return nil, fmt.Errorf("read an incident: %w", err)
	}
	for _, a := range timeline {
		doc.Timeline = append(doc.Timeline, auditEntry(a))
	}
	return &answer[IncidentDetail]{doc}, nil
}

// sentence says an incident in a line without a full stop.
func sentence(c alert.Change) string {
	if c.Incident.Trouble.Own() {
		what := "Sereno's own trouble: " + c.Incident.Trouble.String()
		if c.Incident.Subject != "" {
			what += " " + c.Incident.Subject
		}
		return what
	}
	name := "A device that is gone"
	if c.Device != nil {
		name = c.Device.Name
		if site := match.Of(c.Device, nil).Site; site != "" {
			name += " at " + site
		}
	}
	if c.Incident.Closed != 0 {
		return name + " was " + c.Incident.Trouble.String()
	}
	return name + " is " + c.Incident.Trouble.String()
}
