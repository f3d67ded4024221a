// Package teams tells a channel or chat of Microsoft Teams by a workflow that
// begins with "When a Teams webhook request is received" and posts the card that
// it is sent. (The older connectors have been switched off.)
package teams

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"sereno"
	"sereno/notify"
)

// Kind is the kind "teams".
type Kind struct{}

func (Kind) Name() string { return "teams" }

// Secrets has the URL: whoever knows it can write to the channel.
func (Kind) Secrets() []string { return []string{"url"} }

type settings struct {
	URL string `json:"url"`
}

// Teams takes about 28 kB of a message, as JSON, with all that stands around it.
const (
	maxBody  = 24_000
	maxTitle = 500
	maxLines = 150
)

func (Kind) Open(raw json.RawMessage, o notify.Options) (notify.Channel, error) {
	var s settings
	if err := notify.Decode(raw, &s); err != nil {
		return nil, err
	}
	if err := notify.CheckURL("url", s.URL); err != nil {
		return nil, err
	}
	if u, err := url.Parse(s.URL); err == nil && retired(u.Hostname()) {
		return nil, notify.Wrong("url", "it is that of an Office 365 connector, which Microsoft has switched off: make a workflow in Teams (Workflows, \"Send webhook alerts to a channel\") and give its URL")
	}
	return &channel{settings: s, web: notify.NewWeb(o, nil, s.URL)}, nil
}

// retired reports whether a host is that of the connectors.
func retired(host string) bool {
	host = strings.ToLower(host)
	return host == "outlook.office.com" || host == "outlook.office365.com" || host == "webhook.office.com" || strings.HasSuffix(host, ".webhook.office.com")
}

type channel struct {
	settings
	web *notify.Web
}

// Send takes any answer of 2xx for a yes: a workflow answers 202 with nothing,
// or what its maker wants. That a yes is no proof that the card was posted is
// how workflows are.
func (c *channel) Send(ctx context.Context, m notify.Message) error {
	body, err := json.Marshal(write(m))
	if err != nil {
		return notify.Refuse("the message cannot be written as JSON: %s", notify.Line(err.Error()))
	}
	reply, err := c.web.Post(ctx, notify.Call{URL: c.URL, Body: body})
	if err == nil {
		return nil
	}
	f := notify.FailureOf(err)
	var said struct {
		Error struct {
			Code    string `json:"code"`
			Message string `json:"message"`
		} `json:"error"`
	}
	if json.Unmarshal(reply.Body, &said) == nil && said.Error.Code != "" {
		f.Text = c.web.Clean(fmt.Sprintf("%d %s: %s", reply.Status, said.Error.Code, said.Error.Message))
	} else {
		notify.Doubt(f, reply)
	}
	if why := meaning(said.Error.Code, reply.Status); why != "" {
		f.Text += " (" + why + ")"
	}
	return f
}

func meaning(code string, status int) string {
	switch code {
	case "WorkflowTriggerIsNotEnabled", "WorkflowNotEnabled":
		return "the workflow is switched off: its owner switches it on again"
	case "DirectApiAuthorizationRequired", "DirectApiRequestHasMoreThanOneAuthorization":
		return "the URL is not whole, or the workflow wants to know who calls: set its trigger to Anyone and copy the URL again"
	case "AuthorizationFailed", "InvalidApiKey":
		return "the signature in the URL is wrong: copy the URL again"
	case "TriggerInputSchemaMismatch":
		return "the workflow expects something else: it must begin with \"When a Teams webhook request is received\""
	}
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return "copy the URL again, and let Anyone trigger the workflow"
	case http.StatusNotFound, http.StatusGone:
		return "the workflow was deleted: make a new one"
	}
	return ""
}

type message struct {
	Type        string       `json:"type"`
	Attachments []attachment `json:"attachments"`
}

type attachment struct {
	ContentType string `json:"contentType"`
	Content     card   `json:"content"`
}

// A card is an Adaptive Card (https://adaptivecards.io/explorer/AdaptiveCard.html).
type card struct {
	Schema  string   `json:"$schema"`
	Type    string   `json:"type"`
	Version string   `json:"version"`
	MSTeams width    `json:"msteams"`
	Body    []block  `json:"body"`
	Actions []action `json:"actions,omitempty"`
}

type width struct {
	Width string `json:"width"`
}

// A block is one line of text. Teams reads Markdown in a TextBlock; in the runs
// of a RichTextBlock nothing has a meaning.
type block struct {
	Type    string `json:"type"`
	Spacing string `json:"spacing,omitempty"`
	Inlines []run  `json:"inlines"`
}

type run struct {
	Type   string `json:"type"`
	Text   string `json:"text"`
	Size   string `json:"size,omitempty"`
	Weight string `json:"weight,omitempty"`
	Color  string `json:"color,omitempty"`
}

type action struct {
	Type  string `json:"type"`
	Title string `json:"title"`
	URL   string `json:"url"`
}

func write(m notify.Message) message {
	title, rest := m.Parts()
	if short := notify.Cut(title, maxTitle); short != title {
		title, rest = short, title+"\n"+rest
	}
	if mark := m.Mark(); mark != "" {
		title = mark + " " + title
	}
	c := card{
		Schema: "http://adaptivecards.io/schemas/adaptive-card.json", Type: "AdaptiveCard", Version: "1.4", MSTeams: width{"Full"},
		Body: []block{{Type: "RichTextBlock", Inlines: []run{{Type: "TextRun", Text: title, Size: "Medium", Weight: "Bolder", Color: colorOf(m)}}}},
	}
	for _, l := range []struct{ label, url string }{{"Acknowledge", m.Acknowledge}, {"Open", m.Open}} {
		if l.url != "" {
			c.Actions = append(c.Actions, action{"Action.OpenUrl", l.label, l.url})
		}
	}
	c.Body = append(c.Body, lines(rest, maxBody-size(c))...)
	return message{Type: "message", Attachments: []attachment{{ContentType: "application/vnd.microsoft.card.adaptive", Content: c}}}
}

// lines writes as many lines as fit into room bytes of JSON, and says if not all
// of them did.
func lines(text string, room int) (blocks []block) {
	if strings.TrimSpace(text) == "" {
		return nil
	}
	line := func(s string) block {
		if s == "" {
			s = " " // an empty run would be no line
		}
		return block{Type: "RichTextBlock", Spacing: "None", Inlines: []run{{Type: "TextRun", Text: s}}}
	}
	last := line("… the rest was left out")
	room -= size(last)
	all := strings.Split(text, "\n")
	for i, s := range all {
		b := line(s)
		need := size(b) + 1
		if need > room && i == 0 { // one line that is too long alone
			for need > room && s != "" {
				s = notify.Split(s, max(len(s)/2, 1), 2, notify.Bytes)[0]
				b = line(s)
				need = size(b) + 1
			}
			return append(blocks, b, last)
		}
		if need > room || len(blocks) == maxLines {
			return append(blocks, last)
		}
		room -= need
		blocks = append(blocks, b)
	}
	return blocks
}

// size is how many bytes something has as JSON.
func size(v any) int {
	text, err := json.Marshal(v)
	if err != nil {
		panic(errors.Join(errors.New("teams: what has only texts in it cannot be written as JSON"), err))
	}
	return len(text)
}

func colorOf(m notify.Message) string {
	switch {
	case m.Event == notify.Closed:
		return "Good"
	case m.Event == notify.Acknowledged, m.Event == notify.Test:
		return "Default"
	case m.Severity >= sereno.SeverityHigh:
		return "Attention"
	case m.Severity == sereno.SeverityMedium:
		return "Warning"
	}
	return "Accent"
}
