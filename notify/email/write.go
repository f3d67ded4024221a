package email

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"html"
	"strings"
	"time"

	gomail "github.com/wneessen/go-mail"

	"sereno"
	"sereno/notify"
)

const maxSubject = 250 // characters

// write makes the mail for a message: plain and HTML.
func (c *channel) write(m notify.Message, now time.Time) ([]byte, error) {
	msg := gomail.NewMsg(gomail.WithNoDefaultUserAgent())
	if err := msg.From(c.from.String()); err != nil {
		return nil, err
	}
	for _, to := range c.to {
		if err := msg.AddTo(to.String()); err != nil {
			return nil, err
		}
	}
	msg.Subject(subject(m))
	msg.SetDateWithValue(now)
	msg.SetMessageIDWithValue(c.id(messageOf(m)))
	if m.Thread != "" {
		// Nobody has sent the mail of this id: mail programs gather what refers
		// to it all the same, whichever of them comes first.
		root := "<" + c.id("thread "+m.Thread) + ">"
		msg.SetGenHeader(gomail.HeaderInReplyTo, root)
		msg.SetGenHeader(gomail.HeaderReferences, root)
	}
	msg.SetGenHeader("Auto-Submitted", "auto-generated")
	msg.SetGenHeader("X-Auto-Response-Suppress", "All")
	if c.agent != "" {
		msg.SetGenHeader(gomail.HeaderUserAgent, c.agent)
	}
	if m.Severity == sereno.SeverityCritical && m.Event != notify.Closed && m.Event != notify.Acknowledged {
		msg.SetImportance(gomail.ImportanceHigh)
	}
	msg.SetBodyString(gomail.TypeTextPlain, plain(m))
	msg.AddAlternativeString(gomail.TypeTextHTML, page(m))
	var b bytes.Buffer
	if _, err := msg.WriteTo(&b); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// subject is the title. What looks like a word that is encoded for a header is
// broken up: it could be made to read as anything.
func subject(m notify.Message) string {
	title := notify.Cut(notify.Line(m.Title), maxSubject)
	if title == "" {
		title = "Sereno: " + string(m.Event)
	}
	return strings.ReplaceAll(title, "=?", "= ?")
}

// messageOf tells a message from all others, also from those of another Sereno
// that counts alike: mail programs drop the second mail of one id.
func messageOf(m notify.Message) string {
	what := "message " + m.Key
	if m.Incident != nil {
		what += fmt.Sprint(" ", m.Incident.ID, " ", int64(m.Incident.Opened))
	}
	return what
}

// id is a Message-ID, the same for the same words.
func (c *channel) id(words string) string {
	_, domain, _ := strings.Cut(c.from.Address, "@")
	sum := sha256.Sum256([]byte(words))
	return "sereno." + hex.EncodeToString(sum[:16]) + "@" + domain
}

// links are those that a text does not have itself.
func links(m notify.Message) (open, acknowledge string) {
	if !strings.Contains(m.Text, m.Open) {
		open = notify.Line(m.Open)
	}
	if !strings.Contains(m.Text, m.Acknowledge) {
		acknowledge = notify.Line(m.Acknowledge)
	}
	return open, acknowledge
}

// body is the text with its title first, as it is in Message.Text.
func body(m notify.Message) (title, rest string) {
	title = notify.Line(m.Title)
	rest = strings.Trim(notify.Lines(m.Text), "\n")
	if after, ok := strings.CutPrefix(rest, title); ok && (after == "" || after[0] == '\n') {
		rest = strings.TrimLeft(after, "\n")
	}
	return title, rest
}

func plain(m notify.Message) string {
	title, rest := body(m)
	var b strings.Builder
	b.WriteString(title + "\n")
	if rest != "" {
		b.WriteString("\n" + rest + "\n")
	}
	open, acknowledge := links(m)
	if open != "" || acknowledge != "" {
		b.WriteString("\n")
	}
	if open != "" {
		b.WriteString("Details: " + open + "\n")
	}
	if acknowledge != "" {
		b.WriteString("Acknowledge: " + acknowledge + "\n")
	}
	return b.String()
}

// colours of severities that can be told from both white and black.
var colours = map[sereno.Severity]string{
	sereno.SeverityCritical: "#d1242f", sereno.SeverityHigh: "#d4700c", sereno.SeverityMedium: "#b58900", sereno.SeverityLow: "#2f7fd1",
}

// page is the same as HTML. It leaves colours of text and background to the
// reader's program, so that it can be read in the dark as well; no script, no
// picture, nothing from elsewhere.
func page(m notify.Message) string {
	title, rest := body(m)
	colour, ok := colours[m.Severity]
	switch {
	case m.Event == notify.Closed:
		colour = "#2da44e"
	case !ok:
		colour = "#808080"
	}
	var b strings.Builder
	b.WriteString("<!DOCTYPE html>\n<html><head><meta charset=\"utf-8\">" +
		"<meta name=\"color-scheme\" content=\"light dark\"><meta name=\"supported-color-schemes\" content=\"light dark\"></head>\n" +
		"<body style=\"font-family:sans-serif;font-size:15px;line-height:1.5\">\n" +
		"<div style=\"border-left:6px solid " + colour + ";padding-left:12px\">\n")
	b.WriteString("<p style=\"font-size:17px;margin:0\"><strong>" + html.EscapeString(title) + "</strong></p>\n")
	if rest != "" {
		b.WriteString("<p>" + strings.ReplaceAll(html.EscapeString(rest), "\n", "<br>\n") + "</p>\n")
	}
	link := func(says, url string) {
		if strings.HasPrefix(url, "https://") || strings.HasPrefix(url, "http://") {
			b.WriteString("<a href=\"" + html.EscapeString(url) + "\">" + says + "</a> &nbsp; ")
		}
	}
	if m.Open != "" || m.Acknowledge != "" {
		b.WriteString("<p>")
		link("Details", notify.Line(m.Open))
		link("Acknowledge", notify.Line(m.Acknowledge))
		b.WriteString("</p>\n")
	}
	b.WriteString("</div>\n</body></html>\n")
	return b.String()
}
