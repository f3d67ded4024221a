// Package slack tells a channel of Slack by an incoming webhook
// (https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks),
// and whatever else takes Slack's messages.
package slack

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"sereno/notify"
)

// Kind is the kind "slack".
type Kind struct{}

func (Kind) Name() string { return "slack" }

// Secrets has the URL: whoever knows it can write to the channel.
func (Kind) Secrets() []string { return []string{"url"} }

type settings struct {
	URL    string `json:"url"`
	Format string `json:"format"` // blocks, the default, or text
}

// What one message holds at most, in UTF-16 code units: Slack takes 150 of a
// header, 3000 of a section, 50 blocks, and cuts a text off at 40,000.
const (
	maxHeader   = 140
	maxSection  = 2900
	maxSections = 10
	maxText     = 12_000
)

func (Kind) Open(raw json.RawMessage, o notify.Options) (notify.Channel, error) {
	var s settings
	if err := notify.Decode(raw, &s); err != nil {
		return nil, err
	}
	wrong := []error{notify.CheckURL("url", s.URL)}
	switch s.Format {
	case "":
		s.Format = "blocks"
	case "blocks", "text":
	default:
		wrong = append(wrong, notify.Wrong("format", "a format is blocks or text"))
	}
	if err := errors.Join(wrong...); err != nil {
		return nil, err
	}
	return &channel{settings: s, web: notify.NewWeb(o, nil, s.URL)}, nil
}

type channel struct {
	settings
	web *notify.Web
}

// Send takes "ok" for a yes, which is Slack's, and what those say who took its
// messages over: an object with ok or success.
func (c *channel) Send(ctx context.Context, m notify.Message) error {
	body, err := json.Marshal(c.write(m))
	if err != nil {
		return notify.Refuse("the message cannot be written as JSON: %s", notify.Line(err.Error()))
	}
	reply, err := c.web.Post(ctx, notify.Call{URL: c.URL, Body: body})
	if err != nil {
		f := notify.FailureOf(err)
		if why, ok := meanings[string(bytes.TrimSpace(reply.Body))]; ok {
			f.Text += " (" + why + ")"
		}
		if !own(reply.Body) {
			return notify.Doubt(f, reply)
		}
		return f
	}
	if got := bytes.TrimSpace(reply.Body); !yes(got) {
		return &notify.Failure{Unsure: reply.Cut, Text: c.web.Clean(fmt.Sprintf("%d, but not with Slack's ok: %s", reply.Status, got))}
	}
	return nil
}

func yes(body []byte) bool {
	var said struct{ OK, Success bool }
	return string(body) == "ok" || json.Unmarshal(body, &said) == nil && (said.OK || said.Success)
}

// own reports whether a refusal is in Slack's words: one, such as no_service; or
// an object, as of those who took its messages over.
func own(body []byte) bool {
	var said map[string]any
	return word.Match(bytes.TrimSpace(body)) || json.Unmarshal(body, &said) == nil
}

var word = regexp.MustCompile(`^[a-z]+(_[a-z]+)*$`)

// meanings are the refusals that Slack documents, for people.
var meanings = map[string]string{
	"action_prohibited":                 "an administrator of the workspace does not allow it",
	"channel_is_archived":               "the channel is archived: choose another one and make a new webhook",
	"channel_not_found":                 "the channel is gone: make a new webhook",
	"invalid_token":                     "the URL is wrong or was withdrawn: copy it again, or make a new webhook",
	"no_active_hooks":                   "the webhook is switched off",
	"no_service":                        "the webhook was removed, switched off, or the URL is wrong: make a new webhook",
	"no_service_id":                     "the URL is not whole",
	"no_team":                           "the URL is wrong, or the workspace is gone",
	"posting_to_general_channel_denied": "only some people may write to this channel",
	"team_disabled":                     "the workspace is switched off",
	"user_not_found":                    "the person it was for is gone: make a new webhook",
}

type message struct {
	Text   string  `json:"text"` // of the notification; of the message too if there are no blocks
	Mrkdwn bool    `json:"mrkdwn"`
	Blocks []block `json:"blocks,omitempty"`
	// What looks like a link stays as it is, and is not looked up.
	UnfurlLinks bool `json:"unfurl_links"`
	UnfurlMedia bool `json:"unfurl_media"`
}

type block struct {
	Type     string `json:"type"`
	Text     *text  `json:"text,omitempty"`
	Elements []text `json:"elements,omitempty"`
}

type text struct {
	Type string `json:"type"`
	Text string `json:"text"`
}

// plain is a text in which nothing has a meaning: no mark-up, no mention, no
// link.
func plain(s string) *text { return &text{"plain_text", s} }

func (c *channel) write(m notify.Message) message {
	title, rest := m.Parts()
	headline := title
	if mark := m.Mark(); mark != "" {
		headline = mark + " " + title
	}
	links := linksOf(m)
	if c.Format == "text" {
		all := headline
		if rest != "" {
			all += "\n" + rest
		}
		var out strings.Builder
		out.WriteString(escape(first(all, maxText)))
		for _, l := range links {
			out.WriteString("\n" + escape(l.label) + ": <" + address(l.url) + ">")
		}
		return message{Text: out.String()}
	}
	short := notify.Cut(headline, maxHeader/2)
	if len(notify.Split(headline, maxHeader, 2, notify.UTF16)) == 1 {
		short = headline
	} else if rest = title + "\n" + rest; strings.HasSuffix(rest, "\n") {
		rest = title
	}
	out := message{Text: escape(notify.Cut(headline, maxSection)), Blocks: []block{{Type: "header", Text: plain(short)}}}
	for _, piece := range notify.Split(rest, maxSection, maxSections, notify.UTF16) {
		if strings.TrimSpace(piece) != "" {
			out.Blocks = append(out.Blocks, block{Type: "section", Text: plain(piece)})
		}
	}
	if len(links) > 0 {
		var words []string
		for _, l := range links {
			words = append(words, "<"+address(l.url)+"|"+escape(l.label)+">")
		}
		out.Blocks = append(out.Blocks, block{Type: "context", Elements: []text{{"mrkdwn", strings.Join(words, " · ")}}})
	}
	return out
}

// first is as much of a text as one message holds.
func first(s string, most int) string {
	pieces := notify.Split(s, most, 1, notify.UTF16)
	if len(pieces) == 0 {
		return ""
	}
	return pieces[0]
}

type link struct{ label, url string }

func linksOf(m notify.Message) (links []link) {
	if m.Open != "" {
		links = append(links, link{"Open", m.Open})
	}
	if m.Acknowledge != "" {
		links = append(links, link{"Acknowledge", m.Acknowledge})
	}
	return links
}

// escape writes the three characters that have a meaning in texts as entities.
func escape(s string) string { return entities.Replace(s) }

var entities = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")

// address makes a URL one that cannot end its link.
func address(url string) string {
	return escape(strings.NewReplacer("|", "%7C", "<", "%3C", ">", "%3E", " ", "%20", "\n", "%0A", "\r", "%0D").Replace(url))
}
