// Package webhook tells another program by HTTP: a JSON document, or a body of
// the user's making, signed so that the other side knows who sent it and when.
package webhook

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"sereno"
	"sereno/notify"
)

// Kind is the kind "webhook".
type Kind struct{}

func (Kind) Name() string { return "webhook" }

// Secrets has the URL because what lets one in is often part of it.
func (Kind) Secrets() []string { return []string{"url", "secret", "headers"} }

type settings struct {
	URL         string            `json:"url"`
	Method      string            `json:"method"`       // POST, the default, or PUT
	Secret      string            `json:"secret"`       // signs; "" for no signature
	Headers     map[string]string `json:"headers"`      // values are templates
	Body        string            `json:"body"`         // a template; "" for the whole document
	ContentType string            `json:"content_type"` // "" for application/json
	CA          string            `json:"ca"`           // certificate authorities as PEM
}

func (Kind) Open(raw json.RawMessage, o notify.Options) (notify.Channel, error) {
	var s settings
	if err := notify.Decode(raw, &s); err != nil {
		return nil, err
	}
	var wrong []error
	add := func(err error) {
		if err != nil {
			wrong = append(wrong, err)
		}
	}
	add(notify.CheckURL("url", s.URL))
	if s.Method == "" {
		s.Method = http.MethodPost
	}
	if s.Method != http.MethodPost && s.Method != http.MethodPut {
		add(notify.Wrong("method", "a method is POST or PUT"))
	}
	if s.ContentType == "" {
		s.ContentType = "application/json"
	}
	if !printable(s.ContentType) || !strings.Contains(s.ContentType, "/") {
		add(notify.Wrong("content_type", "it is such as application/json"))
	}
	roots, err := notify.Roots("ca", s.CA)
	add(err)
	c := &channel{settings: s, headers: map[string]template{}}
	if s.Body != "" {
		c.body, err = parse(s.Body, escapeFor(s.ContentType))
		if err != nil {
			add(notify.Wrong("body", "%s", err))
		} else {
			add(c.tryBody())
		}
	}
	secrets := []string{s.URL, s.Secret}
	for _, name := range slices.Sorted(maps.Keys(s.Headers)) {
		if err := headerMistake(name); err != "" {
			add(notify.Wrong("headers", "%q %s", notify.Cut(notify.Line(name), 100), err))
			continue
		}
		value, err := parse(s.Headers[name], notify.Line)
		if err != nil {
			add(notify.Wrong("headers", "the value of %q: %s", name, err))
			continue
		}
		c.headers[http.CanonicalHeaderKey(name)] = value
		secrets = append(secrets, secretsOf(name, s.Headers[name])...)
	}
	if len(wrong) > 0 {
		return nil, errors.Join(wrong...)
	}
	c.web = notify.NewWeb(o, roots, secrets...)
	return c, nil
}

// secretsOf are the parts of a header that must not be shown again: all of it,
// and what follows "Bearer ". A short value is a word such as "5" or "high",
// which an answer may well have of its own, unless the header's name says that it
// is a key.
func secretsOf(name, value string) []string {
	name = strings.ToLower(name)
	authorization := strings.Contains(name, "auth")
	secret := authorization || slices.ContainsFunc([]string{"key", "token", "secret", "pass", "cookie"}, func(word string) bool { return strings.Contains(name, word) })
	if !secret && (len(value) < 8 || strings.Contains(value, "{{")) {
		return nil
	}
	parts := []string{value}
	if _, credentials, ok := strings.Cut(value, " "); ok && authorization {
		parts = append(parts, strings.TrimSpace(credentials))
	}
	return parts
}

func headerMistake(name string) string {
	token := func(r rune) bool {
		return r > ' ' && r < 0x7f && !strings.ContainsRune(`()<>@,;:\"/[]?={}`, r)
	}
	switch {
	case name == "", strings.ContainsFunc(name, func(r rune) bool { return !token(r) }):
		return "is no name of a header"
	case len(name) > 100:
		return "is too long for the name of a header"
	}
	switch name := http.CanonicalHeaderKey(name); name {
	case "Content-Length", "Transfer-Encoding", "Connection", "Te", "Trailer", "Upgrade", "Expect":
		return "is a header that belongs to the connection; leave it out"
	case "Content-Type":
		return "is set by content_type"
	default:
		if strings.HasPrefix(name, "Sereno-") {
			return "is one of Sereno's own headers"
		}
	}
	return ""
}

func printable(text string) bool { return notify.Line(text) == text }

type channel struct {
	settings settings
	web      *notify.Web
	body     template // nil for the document itself
	headers  map[string]template
}

// Send takes any answer of 2xx for a yes and does not read what it says. That
// there is nothing at the URL may pass: a receiver is being replaced, and whoever
// stands before it says so.
func (c *channel) Send(ctx context.Context, m notify.Message) error {
	body, header, err := c.write(m, time.Now())
	if err != nil {
		return err
	}
	reply, err := c.web.Post(ctx, notify.Call{
		Method: c.settings.Method, URL: c.settings.URL, Header: header, Type: c.settings.ContentType, Body: body,
	})
	if reply.Status == http.StatusNotFound {
		return notify.Doubt(notify.FailureOf(err), reply)
	}
	return err
}

// write makes the request for a message that is sent now.
func (c *channel) write(m notify.Message, now time.Time) ([]byte, http.Header, error) {
	doc := notify.DocumentOf(m)
	body, err := doc.JSON()
	if err != nil {
		return nil, nil, notify.Refuse("the message cannot be written as JSON: %s", notify.Line(err.Error()))
	}
	header := http.Header{}
	if c.body != nil || len(c.headers) > 0 {
		values := values(doc)
		if c.body != nil {
			text, err := c.body(values)
			if err != nil {
				return nil, nil, notify.Refuse("the body: %s", err)
			}
			body = []byte(text)
			if isJSON(c.settings.ContentType) && !json.Valid(body) {
				return nil, nil, notify.Refuse("the body: the template makes no JSON of this message; what may be missing is written in quotes")
			}
		}
		for name, value := range c.headers {
			text, err := value(values)
			if err != nil {
				return nil, nil, notify.Refuse("the header %s: %s", name, err)
			}
			header.Set(name, notify.Cut(notify.Line(text), 4000))
		}
	}
	header.Set("Sereno-Event", string(m.Event))
	header.Set("Sereno-Delivery", notify.Line(m.Key))
	if c.settings.Secret != "" {
		header.Set("Sereno-Signature", Sign(c.settings.Secret, now, body))
	}
	return body, header, nil
}

// Sign returns the value of the header Sereno-Signature for a body that is sent
// now: t=SECONDS,v1=HEX, where HEX is the HMAC-SHA256 with the secret of
// SECONDS, a dot and the body.
func Sign(secret string, now time.Time, body []byte) string {
	t := strconv.FormatInt(now.Unix(), 10)
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(t + "."))
	mac.Write(body)
	return "t=" + t + ",v1=" + hex.EncodeToString(mac.Sum(nil))
}

// values are the document as a template sees it: what is null is left out.
func values(d notify.Document) map[string]any {
	text, err := d.JSON()
	if err != nil {
		return nil
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var values map[string]any
	if decoder.Decode(&values) != nil {
		return nil
	}
	drop(values)
	return values
}

func drop(value any) {
	switch v := value.(type) {
	case map[string]any:
		for name, inner := range v {
			switch n := inner.(type) {
			case nil:
				delete(v, name)
			case json.Number:
				v[name] = n.String()
			default:
				drop(inner)
			}
		}
	case []any:
		for _, inner := range v {
			drop(inner)
		}
	}
}

// tryBody writes a body for each sort of message there is, and refuses a
// template that makes no JSON of one of them.
func (c *channel) tryBody() error {
	if !isJSON(c.settings.ContentType) {
		return nil
	}
	for _, m := range samples() {
		text, err := c.body(values(notify.DocumentOf(m)))
		if err != nil {
			return notify.Wrong("body", "%s", err)
		}
		var v any
		if err := json.Unmarshal([]byte(text), &v); err != nil {
			where := ""
			if e, ok := errors.AsType[*json.SyntaxError](err); ok {
				from, to := max(int(e.Offset)-20, 0), min(int(e.Offset)+5, len(text))
				where = fmt.Sprintf(" near %q", notify.Line(text[from:to]))
			}
			return notify.Wrong("body", "it makes no JSON for the event %q%s; what may be missing is written in quotes, and content_type is for other formats", m.Event, where)
		}
	}
	return nil
}

// samples are messages with all there may be, and with as little.
func samples() []notify.Message {
	at := time.Date(2026, 11, 21, 11, 3, 4, 0, time.UTC)
	device := &notify.Device{ID: 1, Name: `a "name"`, Address: "192.0.2.1", Tags: []string{"one", "two"}}
	under := sereno.IncidentID(1)
	full := notify.Incident{
		ID: 2, Severity: sereno.SeverityHigh, Opened: sereno.At(at), Closed: sereno.At(at.Add(time.Minute)), Seconds: 60,
		Reason: "a reason\\", Under: &under, Device: device,
	}
	open := notify.Incident{ID: 3, Severity: sereno.SeverityLow, Opened: sereno.At(at), Seconds: 1.5}
	return []notify.Message{
		{
			Key: "k", Thread: "t", Event: notify.Closed, Severity: sereno.SeverityHigh, Title: "title", Text: "title\ntext\n", At: at,
			Incident: &full, Incidents: []notify.Incident{full, open}, Count: 2, Device: device, Open: "https://example.com/", Acknowledge: "https://example.com/a", Last: true,
		},
		{Key: "k", Event: notify.Opened, Title: "title", Text: "title\n", At: at, Incident: &open, Incidents: []notify.Incident{open}, Count: 1},
		{Key: "k", Event: notify.Test, Title: "title", Text: "title\n", At: at},
	}
}
