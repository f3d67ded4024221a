package api

import (
	"context"
	"fmt"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"sereno"
	"sereno/alert"
	"sereno/store"
)

// An Incident is the document of one stretch of trouble.
type Incident struct {
	ID        sereno.IncidentID  `json:"id"`
	DeviceID  *sereno.DeviceID   `json:"device_id" nullable:"true" doc:"null: the vantage point's own"`
	CheckID   *sereno.CheckID    `json:"check_id" nullable:"true" doc:"null: the vantage point's own"`
	VantageID sereno.VantageID   `json:"vantage_id" doc:"Where it was seen from; 0 is this process"`
	Status    sereno.Trouble     `json:"status" enum:"down,degraded,flapping,isolated,storage,absent,socket,overload,clock,outbox,policy,channel,peer"`
	Subject   string             `json:"subject" doc:"What trouble of Sereno's own is about, such as the name of a channel"`
	Severity  sereno.Severity    `json:"severity" enum:"low,medium,high,critical" doc:"While it lasts the highest that a policy gives it"`
	Opened    sereno.Instant     `json:"opened" format:"date-time" doc:"When the trouble began"`
	Closed    sereno.Instant     `json:"closed" format:"date-time" nullable:"true" doc:"When it ended; null while it lasts"`
	Seconds   Seconds            `json:"seconds" doc:"Its length; until now, while it lasts"`
	Reason    string             `json:"reason"`
	Under     *sereno.IncidentID `json:"under" nullable:"true" doc:"The incident of the parent that it hangs on"`

	Acknowledged *Acknowledged  `json:"acknowledged,omitempty" doc:"Who takes care; left out if nobody does, and once it is over"`
	Alert        *IncidentAlert `json:"alert,omitempty" doc:"Who is told of it; left out if nobody was, and once all is said"`
}

type incidentList struct {
	Window
	Paging
	DeviceID int64 `query:"device_id" minimum:"1" doc:"Only of this device"`
	Open     bool  `query:"open" doc:"Only those that last"`
	Under    int64 `query:"under" minimum:"1" doc:"Only those that hang on this incident of a parent"`
}

func (d *desk) registerIncidents() {
	register(d, huma.Operation{
		OperationID: "listIncidents", Method: http.MethodGet, Path: "/api/incidents",
		Summary: "Stretches of trouble that touch a window, latest first; by default all",
	}, d.incidents)
}

func (d *desk) incidents(ctx context.Context, in *incidentList) (*answer[Page[Incident]], error) {
	incidents, cursor, err := d.Facts.Incidents(ctx, store.IncidentQuery{
		Device: sereno.DeviceID(in.DeviceID), OpenOnly: in.Open, Under: orNull(sereno.IncidentID(in.Under)),
		From: in.From.Instant, To: in.To.Instant, Cursor: in.Cursor, Limit: in.Limit,
	})
	if err != nil {
		return nil, fmt.Errorf("list incidents: %w", err)
	}
	ids := make([]sereno.IncidentID, len(incidents))
	for i, in := range incidents {
		ids[i] = in.ID
	}
	about, err := d.concerning(ctx, ids)
	if err != nil {
		return nil, fmt.Errorf("list incidents: %w", err)
	}
	known := d.standing(ctx, incidents)
	now := d.Now()
	return page(incidents, cursor, func(i sereno.Incident) Incident {
		c := about[i.ID]
		c.Incident = i
		return incidentDocument(c, known, now)
	}), nil
}

// standing is what alerting knows of those incidents that are open. It does not
// know before it has read what it had promised; a list need not wait for that.
func (d *desk) standing(ctx context.Context, incidents []sereno.Incident) map[sereno.IncidentID]*alert.Alert {
	known := map[sereno.IncidentID]*alert.Alert{}
	for _, in := range incidents {
		if d.Alerts == nil || in.Closed != 0 {
			continue
		}
		// One by one: of all that is open in a storm only these are wanted.
		a, err := d.Alerts.Alert(ctx, in.ID)
		switch {
		case err == nil && a.Incident.ID == in.ID:
			known[in.ID] = &a
		case err != nil && sereno.KindOf(err) != sereno.NotFound:
			return known
		}
	}
	return known
}

// incidentDocument makes a document of an incident, and of what alerting knows.
func incidentDocument(c alert.Change, known map[sereno.IncidentID]*alert.Alert, now sereno.Instant) Incident {
	i := c.Incident
	importance := sereno.Medium
	if c.Device != nil {
		importance = c.Device.Importance
	}
	doc := Incident{
		ID: i.ID, DeviceID: orNull(i.Device), CheckID: orNull(i.Check), VantageID: i.Vantage,
		Status: i.Trouble, Subject: i.Subject, Severity: sereno.SeverityOf(importance, i.Trouble),
		Opened: i.Opened, Closed: i.Closed, Seconds: length(i.Opened, i.Closed, now), Reason: i.Reason, Under: orNull(i.Under),
	}
	a := known[i.ID]
	if a == nil {
		return doc
	}
	doc.Alert = incidentAlert(a)
	if a.Severity != sereno.SeverityNone {
		doc.Severity = a.Severity
	}
	if k := a.Acknowledged; k != nil && i.Closed == 0 {
		doc.Acknowledged = &Acknowledged{k.By, k.Via, k.Note, k.At, k.Until}
	}
	return doc
}
