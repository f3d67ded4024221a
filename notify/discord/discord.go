// Package discord tells a channel of Discord by a webhook
// (https://docs.discord.com/developers/resources/webhook#execute-webhook).
package discord

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode"

	"sereno"
	"sereno/notify"
)

// Kind is the kind "discord".
type Kind struct{}

func (Kind) Name() string { return "discord" }

// Secrets has the URL: whoever knows it can write to the channel.
func (Kind) Secrets() []string { return []string{"url"} }

type settings struct {
	URL      string `json:"url"`
	Username string `json:"username"` // instead of the webhook's own name
	Thread   string `json:"thread"`   // the id of a thread of the channel; "": none
}

// What one message holds at most: Discord takes 2000 characters of content, 4096
// of an embed's description, 6000 of all embeds, with what escapes them.
const (
	maxContent     = 1900
	maxDescription = 3900
	maxUsername    = 80
)

func (Kind) Open(raw json.RawMessage, o notify.Options) (notify.Channel, error) {
	var s settings
	if err := notify.Decode(raw, &s); err != nil {
		return nil, err
	}
	wrong := []error{notify.CheckURL("url", s.URL)}
	if strings.ContainsFunc(s.Thread, func(r rune) bool { return r < '0' || r > '9' }) {
		wrong = append(wrong, notify.Wrong("thread", "it is the number of a thread, in quotes: switch on developer mode and copy the thread's ID"))
	}
	if lower := strings.ToLower(s.Username); len([]rune(s.Username)) > maxUsername || notify.Line(s.Username) != s.Username ||
		strings.Contains(lower, "discord") || strings.Contains(lower, "clyde") {
		wrong = append(wrong, notify.Wrong("username", "Discord takes names of at most %d characters in one line, without discord and clyde in them", maxUsername))
	}
	if err := errors.Join(wrong...); err != nil {
		return nil, err
	}
	u, err := url.Parse(s.URL)
	if err != nil {
		return nil, notify.Wrong("url", "it is not a URL")
	}
	query := u.Query()
	query.Set("wait", "true") // the answer then tells whether the message was saved
	if s.Thread != "" {
		query.Set("thread_id", s.Thread)
	}
	u.RawQuery = query.Encode()
	return &channel{settings: s, address: u.String(), web: notify.NewWeb(o, nil, s.URL)}, nil
}

type channel struct {
	settings
	address string
	web     *notify.Web
}

// Send takes the message that Discord has made of it for a yes.
func (c *channel) Send(ctx context.Context, m notify.Message) error {
	body, err := json.Marshal(c.write(m))
	if err != nil {
		return notify.Refuse("the message cannot be written as JSON: %s", notify.Line(err.Error()))
	}
	reply, err := c.web.Post(ctx, notify.Call{URL: c.address, Body: body})
	if err != nil {
		return c.explain(reply, notify.FailureOf(err))
	}
	var made struct {
		ID string `json:"id"`
	}
	if reply.Status != http.StatusNoContent && (json.Unmarshal(reply.Body, &made) != nil || made.ID == "") {
		return &notify.Failure{Unsure: reply.Cut, Text: c.web.Clean(fmt.Sprintf("%d, but not with the message that was made: %s", reply.Status, bytes.TrimSpace(reply.Body)))}
	}
	return nil
}

// explain reads Discord's own words for a failure.
func (c *channel) explain(reply notify.Reply, f *notify.Failure) error {
	var said struct {
		Message    string  `json:"message"`
		Code       int     `json:"code"`
		RetryAfter float64 `json:"retry_after"` // seconds
	}
	if json.Unmarshal(reply.Body, &said) != nil {
		return notify.Doubt(f, reply)
	}
	if reply.Status == http.StatusTooManyRequests && said.RetryAfter > 0 {
		f.After = notify.After(said.RetryAfter) // more exact than the header
	}
	if said.Message != "" {
		f.Text = c.web.Clean(fmt.Sprintf("%d %s: %s (code %d)", reply.Status, http.StatusText(reply.Status), said.Message, said.Code))
	}
	if why, ok := meanings[said.Code]; ok {
		f.Text += ": " + why
	}
	return f
}

// meanings are what some of Discord's codes mean for whoever set up a channel.
var meanings = map[int]string{
	10003:  "the channel or thread is gone",
	10015:  "the webhook was deleted: make a new one",
	50027:  "the URL is wrong: copy it again",
	50083:  "the thread is archived: somebody has to write in it first",
	160005: "the thread is locked",
	220001: "in a forum messages need a thread: set thread",
}

type message struct {
	Content  string   `json:"content"`
	Username string   `json:"username,omitempty"`
	Embeds   []embed  `json:"embeds,omitempty"`
	Mentions mentions `json:"allowed_mentions"`
}

// mentions are all that may call somebody: nothing.
type mentions struct {
	Parse []string `json:"parse"`
}

type embed struct {
	Description string    `json:"description"`
	Color       int       `json:"color"`
	Timestamp   time.Time `json:"timestamp"`
}

// write puts the title into the content, which is what a phone shows, and the
// rest into an embed.
func (c *channel) write(m notify.Message) message {
	title, rest := m.Parts()
	out := message{Username: c.Username, Mentions: mentions{[]string{}}}
	mark := m.Mark()
	if mark != "" {
		mark += " "
	}
	pieces := notify.Split(title, maxContent, 1, size)
	if len(notify.Split(title, maxContent, 2, size)) > 1 {
		rest = title + "\n" + rest
	}
	out.Content = mark + "**" + escape(pieces[0]) + "**"
	var links []string
	for _, l := range []struct{ label, url string }{{"Open", m.Open}, {"Acknowledge", m.Acknowledge}} {
		if len(l.url) > 0 && len(l.url) < 500 {
			links = append(links, "["+l.label+"](<"+address(l.url)+">)")
		}
	}
	room := maxDescription
	for _, l := range links {
		room -= len(l) + 3
	}
	var description []string
	if rest := notify.Split(rest, room, 1, size); len(rest) > 0 {
		description = append(description, escape(rest[0]))
	}
	if len(links) > 0 {
		description = append(description, strings.Join(links, " · "))
	}
	if len(description) > 0 {
		out.Embeds = []embed{{Description: strings.Join(description, "\n"), Color: color(m), Timestamp: m.At.UTC()}}
	}
	return out
}

func color(m notify.Message) int {
	switch m.Event {
	case notify.Closed:
		return 0x2e9e5b
	case notify.Acknowledged, notify.Test:
		return 0x7a869a
	}
	switch m.Severity {
	case sereno.SeverityCritical:
		return 0xd92d20
	case sereno.SeverityHigh:
		return 0xf08c00
	case sereno.SeverityMedium:
		return 0xf2c94c
	}
	return 0x3b82f6
}

// special is what may mean something to Discord; a backslash before any
// punctuation takes its meaning away.
func special(r rune) bool {
	return r < unicode.MaxASCII && strings.ContainsRune("\\*_~|`<>#-+[]@:.", r)
}

// size is how much of a limit a character uses up. Discord does not say how it
// counts what has two UTF-16 code units: we count two.
func size(r rune) int {
	if special(r) {
		return 2
	}
	return notify.UTF16(r)
}

// escape takes the meaning from all that has one. Phones show the backslashes in
// their notifications, so there are no more than needed: a sign that means
// something only where a line begins stays as it is elsewhere, and so do the
// colons of a time and the dots of an address.
func escape(s string) string {
	var b strings.Builder
	begins := true // only spaces and digits since the line began
	runes := []rune(s)
	at := func(i int) rune {
		if i < len(runes) {
			return runes[i]
		}
		return 0
	}
	for i, r := range runes {
		means := special(r)
		switch r {
		case '#', '-', '+', '>':
			means = begins
		case '.': // "1. " is a list
			means = begins && !digit(at(i+1))
		case ':': // :smile: and https://, not 12:03:04 and "down: no answer"
			next := at(i + 1)
			clock := digit(next) && digit(at(i+2)) && !digit(at(i+3))
			means = !clock && next != 0 && next != ' ' && next != '\n'
		}
		if means {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
		begins = r == '\n' || begins && (r == ' ' || digit(r))
	}
	return b.String()
}

func digit(r rune) bool { return r >= '0' && r <= '9' }

// address makes a URL one that cannot end its link.
func address(u string) string {
	return strings.NewReplacer("<", "%3C", ">", "%3E", "(", "%28", ")", "%29", "\\", "%5C", " ", "%20", "\n", "%0A", "\r", "%0D").Replace(u)
}
