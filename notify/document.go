package notify

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"sereno"
)

// A Document is a message as programs read it: the body of a webhook, what a
// command finds on its standard input, the data of an event. Its names do not
// change.
type Document struct {
	Event     Event           `json:"event"`
	Delivery  string          `json:"delivery"` // the same for the same message, however often it comes
	Thread    string          `json:"thread"`   // the same for all messages about one trouble; "" for digests and tests
	Severity  sereno.Severity `json:"severity"`
	Title     string          `json:"title"`
	Text      string          `json:"text"`
	At        sereno.Instant  `json:"at"`
	Last      bool            `json:"last"`
	Incident  *Incident       `json:"incident"`
	Device    *Device         `json:"device"`
	Incidents []Incident      `json:"incidents"` // at most MaxIncidents
	Count     int             `json:"count"`
	Links     Links           `json:"links"`
}

// ThreadOf is the Thread of the messages about the trouble that began with an
// incident.
func ThreadOf(id sereno.IncidentID) string { return fmt.Sprintf("incident-%d", id) }

// Links are the URLs of a Document; "" where there is none.
type Links struct {
	Open        string `json:"open"`
	Acknowledge string `json:"acknowledge"`
}

// DocumentOf writes down a message. Its texts are inert (see Lines).
func DocumentOf(m Message) Document {
	d := Document{
		Event: m.Event, Delivery: m.Key, Thread: m.Thread, Severity: m.Severity,
		Title: Line(m.Title), Text: Lines(m.Text), At: sereno.At(m.At), Last: m.Last,
		Device: m.Device, Incidents: m.Incidents, Count: m.Count,
		Links: Links{Open: m.Open, Acknowledge: m.Acknowledge},
	}
	if m.Incident != nil {
		first := *m.Incident
		first.Device = nil // stands beside it
		d.Incident = &first
	}
	if d.Device != nil && d.Device.Tags == nil {
		device := *d.Device
		device.Tags = []string{}
		d.Device = &device
	}
	if d.Incidents == nil {
		d.Incidents = []Incident{}
	}
	return d
}

// JSON returns the document on one line. What is not UTF-8 in it becomes U+FFFD.
func (d Document) JSON() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(d); err != nil {
		return nil, err
	}
	return bytes.TrimRight(b.Bytes(), "\n"), nil
}

// Parts returns the title as one harmless line that is never empty, and what
// follows it in the text, as harmless lines without a line end at its end.
func (m Message) Parts() (title, rest string) {
	title = Line(m.Title)
	rest = m.Text
	if after, ok := strings.CutPrefix(rest, m.Title); ok && (after == "" || after[0] == '\n' || after[0] == '\r') {
		rest = after
	}
	rest = Lines(rest)
	if title == "" {
		title, rest, _ = strings.Cut(strings.Trim(rest, "\n "), "\n")
		title = Line(title)
	}
	if title == "" {
		title = "Sereno: " + string(m.Event)
	}
	return title, strings.Trim(rest, "\n ")
}

// Mark is a picture that says at a glance how a message is meant; "" for a test.
func (m Message) Mark() string {
	switch m.Event {
	case Closed:
		return "✅"
	case Acknowledged:
		return "👀"
	case Test:
		return ""
	}
	switch m.Severity {
	case sereno.SeverityCritical:
		return "🔴"
	case sereno.SeverityHigh:
		return "🟠"
	case sereno.SeverityMedium:
		return "🟡"
	}
	return "🔵"
}
