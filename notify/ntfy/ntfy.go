// Package ntfy tells phones by ntfy (https://docs.ntfy.sh/publish/#publish-as-json),
// on ntfy.sh or on a server of one's own.
package ntfy

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"sereno"
	"sereno/notify"
)

// Kind is the kind "ntfy".
type Kind struct{}

func (Kind) Name() string { return "ntfy" }

// Secrets has the topic: on a server without users whoever knows it can read
// and write.
func (Kind) Secrets() []string { return []string{"topic", "token", "password"} }

type settings struct {
	BaseURL  string   `json:"base_url"` // "" for https://ntfy.sh
	Topic    string   `json:"topic"`
	Token    string   `json:"token"`
	Username string   `json:"username"`
	Password string   `json:"password"`
	Priority int      `json:"priority"` // 1 to 5 for every message; 0: as severe as it is
	Tags     []string `json:"tags"`     // besides the one that shows what happened
	CA       string   `json:"ca"`       // certificate authorities as PEM
}

// What one message holds at most, in bytes: of more than 4096 ntfy makes an
// attachment, which a phone does not show.
const (
	maxMessage = 4000
	maxTitle   = 250
	maxTopic   = 64
)

func (Kind) Open(raw json.RawMessage, o notify.Options) (notify.Channel, error) {
	var s settings
	if err := notify.Decode(raw, &s); err != nil {
		return nil, err
	}
	var wrong []error
	if s.BaseURL == "" {
		s.BaseURL = "https://ntfy.sh"
	}
	if err := notify.CheckURL("base_url", s.BaseURL); err != nil {
		wrong = append(wrong, err)
	} else if strings.Contains(s.BaseURL, "?") {
		wrong = append(wrong, notify.Wrong("base_url", "it is the server's own address, such as https://ntfy.example.com; the topic is a setting of its own"))
	}
	switch {
	case s.Topic == "":
		wrong = append(wrong, notify.Wrong("topic", "it is missing"))
	case len(s.Topic) > maxTopic || strings.ContainsFunc(s.Topic, func(r rune) bool { return !topical(r) }):
		wrong = append(wrong, notify.Wrong("topic", "it is at most %d of the letters A to Z and a to z, digits, - and _; the server's address is base_url", maxTopic))
	}
	switch {
	case s.Token != "" && (s.Username != "" || s.Password != ""):
		wrong = append(wrong, notify.Wrong("token", "a token, or username and password, not both"))
	case s.Password != "" && s.Username == "":
		wrong = append(wrong, notify.Wrong("username", "a password needs a username; an access token is token"))
	case s.Username != "" && s.Password == "":
		wrong = append(wrong, notify.Wrong("password", "it is missing"))
	}
	if strings.Contains(s.Username, ":") {
		wrong = append(wrong, notify.Wrong("username", "it cannot have a colon in it"))
	}
	if strings.ContainsFunc(s.Token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		wrong = append(wrong, notify.Wrong("token", "it is such as tk_ and 29 letters and digits"))
	}
	if s.Priority < 0 || s.Priority > 5 {
		wrong = append(wrong, notify.Wrong("priority", "it is 1 (the least) to 5"))
	}
	if slices.ContainsFunc(s.Tags, func(tag string) bool { return tag == "" || notify.Line(tag) != tag || strings.Contains(tag, ",") }) {
		wrong = append(wrong, notify.Wrong("tags", "a tag is a word such as warning"))
	}
	roots, err := notify.Roots("ca", s.CA)
	if err := errors.Join(append(wrong, err)...); err != nil {
		return nil, err
	}
	c := &channel{settings: s, web: notify.NewWeb(o, roots, s.Topic, s.Token, s.Password)}
	switch {
	case s.Token != "":
		c.authorization = "Bearer " + s.Token
	case s.Username != "":
		basic := base64.StdEncoding.EncodeToString([]byte(s.Username + ":" + s.Password))
		c.authorization = "Basic " + basic
		c.web = notify.NewWeb(o, roots, s.Topic, s.Password, basic)
	}
	return c, nil
}

func topical(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_'
}

type channel struct {
	settings
	authorization string
	web           *notify.Web
}

// Send takes the message that ntfy has made of it for a yes.
func (c *channel) Send(ctx context.Context, m notify.Message) error {
	body, err := json.Marshal(c.write(m))
	if err != nil {
		return notify.Refuse("the message cannot be written as JSON: %s", notify.Line(err.Error()))
	}
	header := http.Header{}
	if c.authorization != "" {
		header.Set("Authorization", c.authorization)
	}
	reply, err := c.web.Post(ctx, notify.Call{URL: strings.TrimRight(c.BaseURL, "/") + "/", Header: header, Body: body})
	if err != nil {
		return c.explain(reply, notify.FailureOf(err))
	}
	var made struct {
		ID string `json:"id"`
	}
	if json.Unmarshal(reply.Body, &made) != nil || made.ID == "" {
		return &notify.Failure{Unsure: reply.Cut, Text: c.web.Clean(fmt.Sprintf("%d, but not with the message that was made (is base_url that of ntfy?): %s", reply.Status, bytes.TrimSpace(reply.Body)))}
	}
	return nil
}

// explain reads ntfy's own words for a failure.
func (c *channel) explain(reply notify.Reply, f *notify.Failure) error {
	var said struct {
		Code  int    `json:"code"`
		Error string `json:"error"`
	}
	if json.Unmarshal(reply.Body, &said) == nil && said.Error != "" {
		f.Text = c.web.Clean(fmt.Sprintf("%d %s: %s (code %d)", reply.Status, http.StatusText(reply.Status), said.Error, said.Code))
	} else {
		notify.Doubt(f, reply)
	}
	switch {
	case said.Code == 42908:
		f.Text += ": the day's messages are used up; they come back little by little"
	case reply.Status == http.StatusUnauthorized:
		f.Text += ": the token, or username and password, are wrong"
	case reply.Status == http.StatusForbidden:
		f.Text += ": this user may not write to the topic"
	}
	return f
}

type message struct {
	Topic    string   `json:"topic"`
	Title    string   `json:"title"`
	Message  string   `json:"message"` // never empty, or ntfy writes "triggered"
	Tags     []string `json:"tags,omitempty"`
	Priority int      `json:"priority"`
	Click    string   `json:"click,omitempty"`
	Actions  []action `json:"actions,omitempty"`
}

type action struct {
	Action string `json:"action"`
	Label  string `json:"label"`
	URL    string `json:"url"`
	Clear  bool   `json:"clear,omitempty"`
}

func (c *channel) write(m notify.Message) message {
	title, rest := m.Parts()
	out := message{
		Topic: c.Topic, Title: notify.Split(title, maxTitle, 1, notify.Bytes)[0], Message: title, Priority: c.Priority,
		Tags: append(tagsOf(m), c.Tags...), Click: m.Open,
	}
	if len(notify.Split(title, maxTitle, 2, notify.Bytes)) > 1 {
		out.Title = notify.Line(notify.Split(title, maxTitle-3, 2, notify.Bytes)[0]) + "…"
		rest = title + "\n" + rest
	}
	if pieces := notify.Split(rest, maxMessage, 1, notify.Bytes); len(pieces) > 0 {
		out.Message = pieces[0]
	}
	if out.Priority == 0 {
		out.Priority = priorityOf(m)
	}
	// Both open a page: the link for acknowledging asks before it does.
	if m.Acknowledge != "" {
		out.Actions = append(out.Actions, action{"view", "Acknowledge", m.Acknowledge, true})
	}
	if m.Open != "" {
		out.Actions = append(out.Actions, action{"view", "Open", m.Open, false})
	}
	return out
}

// priorityOf is how loud a phone is to be: 5 wakes people, 2 makes no sound.
func priorityOf(m notify.Message) int {
	switch m.Event {
	case notify.Closed, notify.Acknowledged, notify.Test:
		return 3
	}
	switch m.Severity {
	case sereno.SeverityCritical:
		return 5
	case sereno.SeverityHigh:
		return 4
	case sereno.SeverityLow:
		return 2
	}
	return 3
}

// tagsOf is one of the tags that ntfy shows as a picture before the title.
func tagsOf(m notify.Message) []string {
	switch m.Event {
	case notify.Closed:
		return []string{"white_check_mark"}
	case notify.Acknowledged:
		return []string{"eyes"}
	case notify.Test:
		return []string{"test_tube"}
	}
	switch m.Severity {
	case sereno.SeverityCritical:
		return []string{"rotating_light"}
	case sereno.SeverityHigh, sereno.SeverityMedium:
		return []string{"warning"}
	}
	return []string{"information_source"}
}
