package api

import (
	"cmp"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"sereno"
	"sereno/alert"
	"sereno/match"
	"sereno/store"
)

// A Signer makes and knows marks that nobody else can make.
type Signer interface {
	Sign(purpose string, message []byte) ([]byte, error)
	Verify(purpose string, message, signed []byte) bool
}

// A Link lets whoever has it do one thing, once.
type Link struct {
	Incident sereno.IncidentID // to acknowledge; 0: all that the message tells of
	Delivery alert.DeliveryID  // the message that the link was in
	Expires  sereno.Instant    // cut to the second
}

const (
	linkPath    = "/a/"
	linkPurpose = "link"
	linkVersion = 1
	linkMark    = 32 // bytes of the signature
	linkLife    = 7  // days
	linkListed  = 20 // troubles on the page
	linkTakers  = 3  // people who take care
)

// NewLink makes the link of a delivery. It is the same for all tries of one day,
// so that a message that is sent again is the same message.
func NewLink(incident sereno.IncidentID, delivery alert.DeliveryID, now sereno.Instant) Link {
	return Link{incident, delivery, sereno.At(now.Time().Truncate(24*time.Hour).AddDate(0, 0, linkLife+1))}
}

// Path is where the link leads, below the address at which people reach Sereno.
func (l Link) Path(s Signer) (string, error) {
	text := []byte{linkVersion}
	text = binary.AppendUvarint(text, uint64(l.Incident))
	text = binary.AppendUvarint(text, uint64(l.Delivery))
	text = binary.AppendUvarint(text, uint64(l.Expires.Time().Unix()))
	signed, err := s.Sign(linkPurpose, text)
	if err != nil {
		return "", fmt.Errorf("sign a link: %w", err)
	}
	return linkPath + linkText.EncodeToString(append(text, signed...)), nil
}

// linkText writes tokens: each in one way only.
var linkText = base64.RawURLEncoding.Strict()

// readLink returns what a token that Path made says; ok is false for any other.
func readLink(s Signer, token string) (l Link, ok bool) {
	whole, err := linkText.DecodeString(token)
	if err != nil || len(whole) <= linkMark || whole[0] != linkVersion {
		return Link{}, false
	}
	text, mark := whole[:len(whole)-linkMark], whole[len(whole)-linkMark:]
	if !s.Verify(linkPurpose, text, mark) {
		return Link{}, false
	}
	var numbers [3]uint64
	for i, rest := 0, text[1:]; i < len(numbers); i++ {
		n, size := binary.Uvarint(rest)
		if size <= 0 {
			return Link{}, false
		}
		numbers[i], rest = n, rest[size:]
	}
	return Link{sereno.IncidentID(numbers[0]), alert.DeliveryID(numbers[1]), sereno.At(time.Unix(int64(numbers[2]), 0))}, true
}

//go:embed link.html
var linkHTML string

// linkPage is one page for all that there is to say. Its style is named in the
// policy by its hash, and nothing else may be loaded or run.
var (
	linkPage  = template.Must(template.New("link").Parse(linkHTML))
	linkStyle = func() string {
		_, style, _ := strings.Cut(linkHTML, "<style>")
		style, _, _ = strings.Cut(style, "</style>")
		sum := sha256.Sum256([]byte(style))
		return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
	}()
)

// links is the pages to which links in messages lead. A GET shows what would be
// done, a POST does it: programs that look at mail follow links, but press no
// buttons.
type links struct {
	*desk
	one sync.Mutex // one use at a time
}

// A linkAnswer is what the page says.
type linkAnswer struct {
	Code     int
	Title    string   // one line
	Lines    []string // what else there is to know
	List     []string // what it is about, where that is several
	Question bool     // show the button
}

func (d *desk) registerLinks(mux *http.ServeMux) {
	l := &links{desk: d}
	mux.HandleFunc("GET "+linkPath+"{token}", l.show) // and HEAD
	mux.HandleFunc("POST "+linkPath+"{token}", l.act)
}

func (l *links) show(w http.ResponseWriter, r *http.Request) {
	_, answer := l.read(r)
	l.write(w, r, answer)
}

// act does what the link says, if it may.
func (l *links) act(w http.ResponseWriter, r *http.Request) {
	who, note := strings.TrimSpace(r.PostFormValue("who")), strings.TrimSpace(r.PostFormValue("note"))
	if len(who) > maxWho || len(note) > maxComment {
		l.write(w, r, linkAnswer{Code: http.StatusRequestEntityTooLarge, Title: "That is too long.", Lines: []string{"Go back and say it in fewer words. Nothing was done."}})
		return
	}
	l.one.Lock()
	defer l.one.Unlock()
	open, answer := l.read(r)
	if !answer.Question {
		l.write(w, r, answer)
		return
	}
	ctx := r.Context()
	done, err := l.Alerts.DoAll(ctx, alert.Order{
		Action: "acknowledge", Who: named(who, "somebody with the link"), Via: "link", Text: note,
	}, open)
	if err == nil {
		// Only now: a link that could not act may be used again.
		if _, err = l.Told.UseLink(ctx, r.PathValue("token"), l.Now()); err != nil {
			l.Log.Error("a link acted, and that it was used could not be written down", "incidents", done, "err", err)
		}
		lines := []string{answer.Title, "No more reminders will be sent while the acknowledgement stands. When it recovers you will hear of it."}
		if less := len(open) - len(done); less > 0 { // since the page was read
			lines = append(lines, fmt.Sprintf("Of these %d, %d needed it no more.", len(open), less))
		}
		l.write(w, r, linkAnswer{Code: http.StatusOK, Title: "Acknowledged.", Lines: lines})
		return
	}
	l.write(w, r, l.failed(r, err))
}

// read says what a link is good for: answer.Question is set if it may act, on
// what is open.
func (l *links) read(r *http.Request) (open []sereno.IncidentID, answer linkAnswer) {
	ctx, now := r.Context(), l.Now()
	token := r.PathValue("token")
	link, ok := readLink(l.Signer, token)
	if !ok {
		return nil, linkAnswer{Code: http.StatusNotFound, Title: "This link is not one of this Sereno's.", Lines: []string{"Perhaps a part of it was cut off: copy all of it from the message."}}
	}
	about, err := l.about(ctx, link)
	if err != nil {
		return nil, l.failed(r, err)
	}
	if len(about) == 0 {
		return nil, linkAnswer{Code: http.StatusGone, Title: "What this link was about has been deleted since."}
	}
	lasting := slices.DeleteFunc(slices.Clone(about), func(c alert.Change) bool { return c.Incident.Closed != 0 })
	for _, c := range lasting {
		open = append(open, c.Incident.ID)
	}
	all := len(about)
	if len(lasting) > 0 {
		about = lasting
	}
	what := headline(about)
	since := l.clock(slices.MinFunc(about, func(a, b alert.Change) int { return cmp.Compare(a.Incident.Opened, b.Incident.Opened) }).Incident.Opened)
	taken, lines := l.taker(r, about)
	used, err := l.Told.LinkUsed(ctx, token)
	switch {
	case err != nil:
		return nil, l.failed(r, err)
	case used != 0:
		lines = append([]string{fmt.Sprintf("It was used on %s, and works once.", l.clock(used))}, lines...)
		return nil, linkAnswer{Code: http.StatusGone, Title: "This link was used already.", Lines: append(lines, what+".")}
	case len(open) == 0:
		until := l.clock(slices.MaxFunc(about, func(a, b alert.Change) int { return cmp.Compare(a.Incident.Closed, b.Incident.Closed) }).Incident.Closed)
		return nil, linkAnswer{Code: http.StatusOK, Title: "There is nothing to acknowledge any more.", Lines: []string{fmt.Sprintf("%s from %s to %s.", what, since, until)}}
	case now >= link.Expires:
		how := fmt.Sprintf("Acknowledge it on the page or with “sereno ack %d”.", open[0])
		if len(open) > 1 {
			how = fmt.Sprintf("“sereno alerts %d” lists them; acknowledge each on its page or with “sereno ack”.", link.Delivery)
		}
		return nil, linkAnswer{Code: http.StatusGone, Title: "This link has expired.", Lines: append(lines, what+".", how)}
	case taken == len(open):
		return nil, linkAnswer{Code: http.StatusOK, Title: "Somebody takes care already.", Lines: append(lines, what+", since "+since+".")}
	}
	answer = linkAnswer{Code: http.StatusOK, Title: what + ".", Lines: []string{"Since " + since + "."}, Question: true}
	if len(open) == 1 && link.Incident != 0 {
		if reason := about[0].Incident.Reason; reason != "" {
			answer.Lines = append(answer.Lines, "Reason: "+reason)
		}
		return open, answer
	}
	for _, c := range about[:min(len(about), linkListed)] {
		answer.List = append(answer.List, sentence(c))
	}
	if more := len(about) - len(answer.List); more > 0 {
		answer.List = append(answer.List, fmt.Sprintf("… and %d more", more))
	}
	if over := all - len(open); over > 0 {
		answer.Lines = append(answer.Lines, fmt.Sprintf("Of what the message told, %d %s over.", over, either(over == 1, "is", "are")))
	}
	if taken > 0 {
		answer.Lines = append(answer.Lines, fmt.Sprintf("Somebody takes care of %d of them already.", taken))
	}
	return open, answer
}

// about is what a link is about, the oldest first; nothing if it was deleted.
func (l *links) about(ctx context.Context, link Link) ([]alert.Change, error) {
	ids := []sereno.IncidentID{link.Incident}
	if link.Incident == 0 {
		d, err := l.Told.Delivery(ctx, link.Delivery)
		if sereno.KindOf(err) == sereno.NotFound {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		ids = d.Incidents()
	}
	return l.Facts.ChangesOf(ctx, ids)
}

// headline says what incidents are or, where they are over, were.
func headline(about []alert.Change) string {
	if len(about) == 1 {
		return sentence(about[0])
	}
	devices, noun, site := map[sereno.DeviceID]bool{}, "devices", ""
	state := about[0].Incident.Trouble.String()
	for i, c := range about {
		here := ""
		if c.Device != nil {
			here = match.Of(c.Device, nil).Site
		}
		if i == 0 {
			site = here
		} else if here != site {
			site = ""
		}
		if c.Incident.Trouble != about[0].Incident.Trouble {
			state = "in trouble"
		}
		switch {
		case c.Incident.Trouble.Own():
			noun = "troubles"
		case devices[c.Incident.Device] && noun == "devices":
			noun = "checks"
		}
		devices[c.Incident.Device] = true
	}
	if noun == "troubles" {
		state = "open"
	}
	if site != "" {
		site = " at " + site
	}
	return fmt.Sprintf("%d %s %s %s%s", len(about), noun, either(about[0].Incident.Closed == 0, "are", "were"), state, site)
}

// taker returns of how many incidents somebody takes care now, and says who does,
// or did.
func (l *links) taker(r *http.Request, about []alert.Change) (now int, lines []string) {
	ids := make([]sereno.IncidentID, len(about))
	for i, c := range about {
		ids[i] = c.Incident.ID
	}
	type taking struct {
		alert.Acknowledged
		of int
	}
	var takers []taking
	if all, err := l.Alerts.AlertsOf(r.Context(), ids); err == nil {
		for _, id := range ids {
			a := all[id].Acknowledged
			if a == nil {
				continue
			}
			now++
			i := slices.IndexFunc(takers, func(t taking) bool { return t.By == a.By && t.Note == a.Note && t.At == a.At })
			switch {
			case i >= 0:
				takers[i].of++
			case len(takers) < linkTakers:
				takers = append(takers, taking{*a, 1})
			}
		}
	}
	for _, t := range takers {
		what := "it"
		switch {
		case len(ids) > 1 && t.of == len(ids):
			what = "them"
		case len(ids) > 1:
			what = fmt.Sprintf("%d of them", t.of)
		}
		lines = append(lines, acknowledgedBy(t.By, what, l.clock(t.At), t.Note))
	}
	if now > 0 {
		return now, lines
	}
	done, _, err := l.Told.Audits(r.Context(), store.AuditQuery{Target: "incident", Of: fmt.Sprint(ids[0]), Action: "acknowledge", Limit: 1})
	if err != nil || len(done) == 0 {
		return 0, nil // then it is not said
	}
	return 0, []string{acknowledgedBy(done[0].Who, either(len(ids) == 1, "it", "them"), l.clock(done[0].At), done[0].Text)}
}

func acknowledgedBy(who, what, when, note string) string {
	if note != "" {
		return fmt.Sprintf("%s acknowledged %s on %s: “%s”", who, what, when, note)
	}
	return fmt.Sprintf("%s acknowledged %s on %s.", who, what, when)
}

func either(first bool, a, b string) string {
	if first {
		return a
	}
	return b
}

// failed is the page for an error, which is logged if it is our own.
func (l *links) failed(r *http.Request, err error) linkAnswer {
	switch kind := sereno.KindOf(err); {
	case errors.Is(err, store.ErrAway), errors.Is(err, store.ErrFull), kind == sereno.Unavailable:
		return linkAnswer{Code: http.StatusServiceUnavailable, Title: "That cannot be done just now.", Lines: []string{"Sereno cannot reach its storage. Nothing was done, and the link is as good as before: try again in a minute."}}
	case kind != sereno.Internal:
		return linkAnswer{Code: codes[kind], Title: "That cannot be done.", Lines: []string{err.Error()}}
	case r.Context().Err() == nil:
		l.Log.Error("request failed", "operation", "link", "err", err)
	}
	return linkAnswer{Code: http.StatusInternalServerError, Title: "That did not work.", Lines: []string{ours + "."}}
}

// clock writes a moment for the reader of a page.
func (l *links) clock(i sereno.Instant) string {
	return i.Time().In(l.Alerts.Plan().Zone()).Format("Mon 2 Jan 2006 15:04:05 MST")
}

func (l *links) write(w http.ResponseWriter, r *http.Request, a linkAnswer) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src "+linkStyle+"; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
	// With no-referrer a browser would not say where the form comes from.
	h.Set("Referrer-Policy", "same-origin")
	h.Set("X-Robots-Tag", "noindex")
	w.WriteHeader(a.Code)
	if r.Method == http.MethodHead {
		return
	}
	// Nobody is left to tell if the connection is gone.
	_ = linkPage.Execute(w, a)
}

// linkDoor is what the door asks of a request for a link: it may name the host
// of the address at which people reach this Sereno, for it may come through a
// proxy, and its form is a form.
type linkDoor struct{ base func() string }

// mine reports whether the door is to treat a request as one for a link.
func (d linkDoor) mine(r *http.Request) bool {
	return d.base != nil && strings.HasPrefix(r.URL.Path, linkPath)
}

// host reports whether the Host of a request is the one people use.
func (d linkDoor) host(r *http.Request) bool {
	base, err := url.Parse(d.base())
	asked, wrong := url.Parse("//" + r.Host)
	return err == nil && wrong == nil && base.Hostname() != "" && strings.EqualFold(base.Hostname(), asked.Hostname())
}

// origin reports whether the page that sends a form is ours, as seen from
// outside of a proxy.
func (d linkDoor) origin(r *http.Request) bool {
	base, err := url.Parse(d.base())
	from, wrong := url.Parse(r.Header.Get("Origin"))
	return err == nil && wrong == nil && base.Host != "" && strings.EqualFold(base.Host, from.Host) && base.Scheme == from.Scheme
}
