// Package pagerduty raises and resolves alerts of PagerDuty by its Events API v2
// (https://developer.pagerduty.com/docs/events-api-v2-overview).
package pagerduty

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"sereno"
	"sereno/notify"
)

// Kind is the kind "pagerduty".
type Kind struct{}

func (Kind) Name() string { return "pagerduty" }

func (Kind) Secrets() []string { return []string{"routing_key"} }

type settings struct {
	RoutingKey string `json:"routing_key"` // the integration key of a service, or of an orchestration
	BaseURL    string `json:"base_url"`    // "" for https://events.pagerduty.com
}

// What one event holds at most: PagerDuty takes 1024 characters of summary, 255
// of a dedup key, 512 kB in all.
const (
	maxSummary   = 1000
	maxKey       = 255
	maxSource    = 255
	maxDetails   = 20_000
	maxIncidents = 50
	maxApart     = 20 // of so many incidents in one message each is an alert of its own
)

func (Kind) Open(raw json.RawMessage, o notify.Options) (notify.Channel, error) {
	var s settings
	if err := notify.Decode(raw, &s); err != nil {
		return nil, err
	}
	var wrong []error
	switch {
	case s.RoutingKey == "":
		wrong = append(wrong, notify.Wrong("routing_key", "it is missing: the integration key of an integration of type Events API v2"))
	case len(s.RoutingKey) != 32 || strings.ContainsFunc(s.RoutingKey, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	}):
		wrong = append(wrong, notify.Wrong("routing_key", "it has 32 letters and digits (a key of the REST API is something else)"))
	}
	if s.BaseURL == "" {
		s.BaseURL = "https://events.pagerduty.com"
	}
	if err := notify.CheckURL("base_url", s.BaseURL); err != nil {
		wrong = append(wrong, err)
	} else if strings.Contains(s.BaseURL, "?") || strings.Contains(s.BaseURL, "/v2") {
		wrong = append(wrong, notify.Wrong("base_url", "it is the server's address without /v2/enqueue, such as https://events.eu.pagerduty.com"))
	}
	if err := errors.Join(wrong...); err != nil {
		return nil, err
	}
	return &channel{settings: s, web: notify.NewWeb(o, nil, s.RoutingKey)}, nil
}

type channel struct {
	settings
	web      *notify.Web
	progress notify.Progress
}

// Send takes "success" for a yes. All messages of one thread are events of one
// alert there: a recovery resolves it, an acknowledgement acknowledges it,
// everything else triggers it, which for an open alert is an entry in its log.
// Of a message about several troubles each is an event of its own thread's alert,
// so that it ends where it began; only what tells of very many is one alert, which
// nothing resolves. All events may be repeated, which changes nothing there; but
// each try goes on where the one before it ended, so that many do not take too
// long.
func (c *channel) Send(ctx context.Context, m notify.Message) error {
	taken := c.progress.Taken(m.Key)
	for _, e := range c.events(m) {
		part := e.Action + " " + e.DedupKey
		if slices.Contains(taken, part) {
			continue
		}
		if err := c.enqueue(ctx, e); err != nil {
			return err
		}
		c.progress.Take(m.Key, part)
	}
	c.progress.Done(m.Key)
	return nil
}

// events are what a message is to PagerDuty.
func (c *channel) events(m notify.Message) (all []event) {
	whole := c.write(m)
	if len(m.Incidents) < 2 && m.Count < 2 {
		if len(m.Incidents) == 1 && m.Thread == "" {
			whole.DedupKey = keyOf(threadOf(m.Incidents[0]))
		}
		return []event{whole}
	}
	latest := map[string]sereno.IncidentID{} // by thread: it may be down again
	over := m.Count <= len(m.Incidents)
	for _, in := range m.Incidents {
		latest[threadOf(in)] = max(latest[threadOf(in)], in.ID)
		over = over && in.Closed != 0
	}
	apart := m.Count <= maxApart
	if !apart && m.Event != notify.Closed && !over {
		all = append(all, whole)
	}
	for _, in := range m.Incidents {
		e := c.one(m, whole, in)
		if e.Action == "trigger" && !apart || latest[threadOf(in)] != in.ID {
			continue
		}
		text := title(m) // of which this is one
		if len(all) == 0 {
			text = strings.TrimRight(text+"\n"+whole.Payload.Details.Text, "\n")
		} else { // the first has it all
			e.Payload.Details.Incidents = nil
		}
		e.Payload.Details.Text = text
		all = append(all, e)
	}
	return all
}

// one is the event of one of a message's incidents.
func (c *channel) one(m notify.Message, whole event, in notify.Incident) event {
	e := whole
	e.DedupKey = keyOf(threadOf(in))
	e.Action = "trigger"
	switch {
	case m.Event == notify.Closed, in.Closed != 0:
		e.Action = "resolve"
	case m.Event == notify.Acknowledged:
		e.Action = "acknowledge"
	}
	name := fmt.Sprintf("incident %d", in.ID)
	e.Payload.Source, e.Payload.Component, e.Payload.Details.Tags = "sereno", "", nil
	if d := in.Device; d != nil {
		e.describe(*d)
		if n := notify.Line(d.Name); n != "" {
			name = n
		}
	}
	e.Payload.Summary = notify.Cut(name, maxSource) + ": " + in.Status.String()
	if reason := notify.Line(in.Reason); reason != "" {
		e.Payload.Summary = notify.Cut(e.Payload.Summary+", "+reason, maxSummary)
	}
	e.Payload.Severity, e.Payload.Class = severityOf(in.Severity), in.Status.String()
	return e
}

// describe says which device it is.
func (e *event) describe(d notify.Device) {
	if name := notify.Cut(notify.Line(d.Name), maxSource); name != "" {
		e.Payload.Source = name
	}
	e.Payload.Component = notify.Cut(notify.Line(d.Address), maxSource)
	e.Payload.Details.Tags = d.Tags
}

func title(m notify.Message) string {
	title, _ := m.Parts()
	return notify.Cut(title, maxSummary)
}

func threadOf(in notify.Incident) string {
	return cmp.Or(in.Thread, notify.ThreadOf(in.ID))
}

func (c *channel) enqueue(ctx context.Context, e event) error {
	body, err := json.Marshal(e)
	if err != nil {
		return notify.Refuse("the event cannot be written as JSON: %s", notify.Line(err.Error()))
	}
	reply, err := c.web.Post(ctx, notify.Call{URL: strings.TrimRight(c.BaseURL, "/") + "/v2/enqueue", Body: body})
	var said struct {
		Status  string   `json:"status"`
		Message string   `json:"message"`
		Errors  []string `json:"errors"`
	}
	shaped := json.Unmarshal(reply.Body, &said) == nil
	if err != nil {
		f := notify.FailureOf(err)
		if shaped && said.Status != "" {
			f.Text = c.web.Clean(fmt.Sprintf("%d %s: %s", reply.Status, said.Status, strings.Join(append([]string{said.Message}, said.Errors...), "; ")))
		} else {
			notify.Doubt(f, reply)
		}
		if reply.Status == http.StatusTooManyRequests {
			f.Text += ": too many events for this integration just now"
		}
		return f
	}
	if !shaped || said.Status != "success" {
		return &notify.Failure{Unsure: reply.Cut, Text: c.web.Clean(fmt.Sprintf("%d, but not with PagerDuty's success: %s", reply.Status, bytes.TrimSpace(reply.Body)))}
	}
	return nil
}

type event struct {
	RoutingKey string  `json:"routing_key"`
	Action     string  `json:"event_action"` // trigger, acknowledge, resolve
	DedupKey   string  `json:"dedup_key"`
	Client     string  `json:"client"`
	ClientURL  string  `json:"client_url,omitempty"`
	Links      []link  `json:"links,omitempty"`
	Payload    payload `json:"payload"`
}

type link struct {
	Href string `json:"href"`
	Text string `json:"text"`
}

type payload struct {
	Summary   string         `json:"summary"`
	Source    string         `json:"source"`
	Severity  string         `json:"severity"`
	Timestamp sereno.Instant `json:"timestamp"`
	Component string         `json:"component,omitempty"` // the device's address
	Class     string         `json:"class,omitempty"`     // down, degraded …
	Details   details        `json:"custom_details"`
}

type details struct {
	Event     notify.Event      `json:"event"`
	Delivery  string            `json:"delivery"`
	Text      string            `json:"text"`
	Tags      []string          `json:"tags,omitempty"`
	Incidents []notify.Incident `json:"incidents,omitempty"` // at most maxIncidents
	Count     int               `json:"count"`
}

func (c *channel) write(m notify.Message) event {
	title, rest := m.Parts()
	e := event{
		RoutingKey: c.RoutingKey, Action: "trigger", DedupKey: key(m), Client: "Sereno", ClientURL: m.Open,
		Payload: payload{
			Summary: notify.Cut(title, maxSummary), Source: "sereno", Severity: severityOf(m.Severity), Timestamp: sereno.At(m.At),
			Details: details{Event: m.Event, Delivery: m.Key, Incidents: m.Incidents[:min(len(m.Incidents), maxIncidents)], Count: m.Count},
		},
	}
	switch m.Event {
	case notify.Closed:
		e.Action = "resolve"
	case notify.Acknowledged:
		e.Action = "acknowledge"
	}
	if e.Payload.Summary != title {
		rest = title + "\n" + rest
	}
	if pieces := notify.Split(rest, maxDetails, 1, notify.Runes); len(pieces) > 0 {
		e.Payload.Details.Text = pieces[0]
	}
	if d := m.Device; d != nil {
		e.describe(*d)
	}
	if m.Incident != nil {
		e.Payload.Class = m.Incident.Status.String()
	}
	for _, l := range []link{{m.Open, "Open in Sereno"}, {m.Acknowledge, "Acknowledge in Sereno"}} {
		if l.Href != "" {
			e.Links = append(e.Links, l)
		}
	}
	return e
}

// prefix begins every key, for an integration may have other senders.
const prefix = "sereno/"

// key is what PagerDuty knows the alert of a whole message by: the thread, or
// what has none for itself. What tells of several is not over when the first of
// them is.
func key(m notify.Message) string {
	switch {
	case m.Thread == "":
		return keyOf(m.Key)
	case m.Count > 1:
		return keyOf("group/" + m.Thread)
	}
	return keyOf(m.Thread)
}

func keyOf(of string) string {
	k := prefix + of
	if len(k) > maxKey {
		sum := sha256.Sum256([]byte(k))
		k = prefix + hex.EncodeToString(sum[:])
	}
	return k
}

func severityOf(s sereno.Severity) string {
	switch s {
	case sereno.SeverityCritical:
		return "critical"
	case sereno.SeverityHigh:
		return "error"
	case sereno.SeverityMedium:
		return "warning"
	}
	return "info"
}
