// Package notifytest is what every kind of channel must do.
package notifytest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"sereno"
	"sereno/notify"
)

// A Manner is how a far end behaves.
type Manner uint8

const (
	Takes     Manner = iota // every message, as documented
	Hangs                   // reads the message and never answers
	Trickles                // answers a byte at a time, for ever
	Floods                  // answers without end
	Resets                  // reads the message and drops the connection
	Busy                    // asks to come back in BusyFor
	Fails                   // fails by its own fault
	Refuses                 // says that it will never take it, and repeats all that it was sent
	Garbage                 // says yes, in words that nobody documented
	Redirects               // sends elsewhere
	Gone                    // is not there: connections are refused
)

var mannerNames = [...]string{"takes", "hangs", "trickles", "floods", "resets", "busy", "fails", "refuses", "garbage", "redirects", "gone"}

func (m Manner) String() string { return mannerNames[m] }

// BusyFor is what a busy far end asks for.
const BusyFor = 30 * time.Second

// A Far is the other end of a channel: a real one, on loopback, whose manners
// can be changed. It is safe for concurrent use.
type Far interface {
	// Settings are good settings that lead to it, as JSON.
	Settings() string
	// Behave changes its manners, from the next message on.
	Behave(m Manner)
	// Taken are the messages it took, or parts of them, in order.
	Taken() []Sent
}

// A Sent is one request, mail or run as it arrived.
type Sent struct {
	Method, Path string
	Header       map[string][]string
	Body         []byte
}

// A Fixture is a kind's far end and what to expect of both.
type Fixture struct {
	// Far starts a far end that takes messages, for as long as the test.
	Far func(t *testing.T) Far
	// Secrets are the values of the secret settings in Far.Settings.
	Secrets []string
	// Bad are settings that Open must refuse, each with part of the sentence
	// that says why.
	Bad map[string]string
	// Without are manners that such a far end cannot have.
	Without []Manner
	// Shaped: a yes has a shape, and garbage in its place is none.
	Shaped bool
	// Sure: whoever hangs or drops the connection surely has nothing.
	Sure bool
	// NoAfter: a busy far end of this kind cannot say for how long.
	NoAfter bool
	// Shown returns what a person would see of a part, without markup: title
	// and text as far as they are in it. It fails the test for a part that is
	// not well formed.
	Shown func(t *testing.T, part Sent) string
	// Inert fails the test if a part has markup in it that came from names; nil
	// if Shown does. Hostile has what was in them.
	Inert func(t *testing.T, part Sent)
	// Limit fails the test if a part is longer than the far end takes; nil if
	// there is no limit.
	Limit func(t *testing.T, part Sent)
	// Options are what the kind needs; Log and Agent are set by Run.
	Options notify.Options
	// Cancelled: an ended context does not keep it from taking a message.
	Cancelled bool
}

// patience is how long anything may take before the test gives up. short is the
// deadline that a far end is given which never answers. What lies between them
// is for slow machines.
const (
	patience = 30 * time.Second
	short    = 400 * time.Millisecond
	bounded  = 9 * time.Second // less than any deadline that channels have themselves
	long     = 4 * time.Second

	// maxFlood is what may be on its way of an endless answer that nobody reads,
	// in the buffers of both ends, in bytes.
	maxFlood = 32 << 20
)

// Run tests that a kind keeps the promises of notify.Kind and notify.Channel.
func Run(t *testing.T, k notify.Kind, f Fixture) {
	s := suite{k, f}
	t.Run("settings are checked", s.settings)
	t.Run("every event is taken", s.events)
	t.Run("deadlines are obeyed", s.deadlines)
	t.Run("a cancelled context ends it", s.cancelled)
	t.Run("failures are told apart", s.classes)
	t.Run("hostile names are inert", s.hostile)
	t.Run("long texts fit", s.long)
	t.Run("many may send at once", s.parallel)
	t.Run("it recovers", s.recovers)
	t.Run("nothing is left when it ends", s.leaks)
}

type suite struct {
	k notify.Kind
	f Fixture
}

// A desk is a channel and its far end, and everything that was said about them.
type desk struct {
	t       *testing.T
	f       Fixture
	channel notify.Channel
	far     Far
	log     *record
}

func (s suite) open(t *testing.T) desk {
	t.Helper()
	far := s.f.Far(t)
	log := &record{}
	channel, err := s.k.Open(json.RawMessage(far.Settings()), s.options(log))
	if err != nil {
		t.Fatalf("good settings are refused: %v", err)
	}
	d := desk{t, s.f, channel, far, log}
	t.Cleanup(func() { d.secret("the log", log.String()) })
	return d
}

func (s suite) options(log *record) notify.Options {
	o := s.f.Options
	o.Agent, o.Log = "sereno/test", slog.New(log)
	return o
}

// send sends within a deadline; nothing it says holds a secret, and it comes
// back.
func (d desk) send(ctx context.Context, m notify.Message) error {
	d.t.Helper()
	done := make(chan error, 1)
	go func() { done <- d.channel.Send(ctx, m) }()
	select {
	case err := <-done:
		if err != nil {
			d.harmless(err)
		}
		return err
	case <-time.After(patience):
		d.t.Fatalf("Send did not come back within %s", patience)
		return nil
	}
}

func (d desk) harmless(err error) {
	d.t.Helper()
	for e := err; e != nil; e = errors.Unwrap(e) {
		d.secret("an error", fmt.Sprintf("%s %#v", e, e))
	}
	text := err.Error()
	if got := notify.Line(text); got != text {
		d.t.Errorf("an error is not one harmless line: %q", text)
	}
	if utf8.RuneCountInString(text) > 2*notify.MaxAnswer {
		d.t.Errorf("an error has %d characters: %q", utf8.RuneCountInString(text), text)
	}
	if strings.TrimSpace(text) == "" {
		d.t.Error("an error says nothing")
	}
}

func (d desk) secret(where, text string) {
	d.t.Helper()
	for _, secret := range d.f.Secrets {
		if strings.Contains(text, secret) {
			d.t.Errorf("%s shows the secret %q: %s", where, secret, text)
		}
	}
}

func (d desk) ok(m notify.Message) {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), patience)
	defer cancel()
	if err := d.send(ctx, m); err != nil {
		d.t.Fatalf("a message was not taken: %v", err)
	}
}

func (d desk) fails(m notify.Message) *notify.Failure {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), patience)
	defer cancel()
	err := d.send(ctx, m)
	if err == nil {
		d.t.Fatal("a message that was not taken is said to be")
	}
	if _, ok := errors.AsType[*notify.Failure](err); !ok {
		d.t.Errorf("%v (%T) is no Failure", err, err)
	}
	return notify.FailureOf(err)
}

func (s suite) can(m Manner) bool { return !slices.Contains(s.f.Without, m) }

func (s suite) settings(t *testing.T) {
	open := func(settings string) error {
		_, err := s.k.Open(json.RawMessage(settings), s.options(&record{}))
		return err
	}
	if s.k.Name() == "" || s.k.Name() != strings.ToLower(s.k.Name()) {
		t.Errorf("a kind is called %q", s.k.Name())
	}
	bad := map[string]string{`{"nosuchsetting": 1}`: "nosuchsetting", `[]`: "settings", `"text"`: "settings"}
	maps.Copy(bad, s.f.Bad)
	for settings, want := range bad {
		err := open(settings)
		if err == nil {
			t.Errorf("%s is taken", settings)
			continue
		}
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%s is refused with %q, which does not speak of %q", settings, err, want)
		}
		if kind := sereno.KindOf(err); kind != sereno.Invalid {
			t.Errorf("%s is refused with an error of kind %v", settings, kind)
		}
		for _, secret := range s.f.Secrets {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("the refusal of settings shows a secret: %v", err)
			}
		}
	}
	var good map[string]any
	if err := json.Unmarshal([]byte(s.f.Far(t).Settings()), &good); err != nil {
		t.Fatal(err)
	}
	for _, secret := range s.f.Secrets {
		hidden := slices.ContainsFunc(s.k.Secrets(), func(name string) bool {
			return strings.Contains(fmt.Sprint(good[name]), secret)
		})
		if !hidden {
			t.Errorf("no setting among the secret ones %q holds %q", s.k.Secrets(), secret)
		}
	}
	for name := range good { // every value of a wrong type is named, and not repeated
		broken := map[string]any{}
		maps.Copy(broken, good)
		broken[name] = map[string]any{"hunter2hunter2": []any{"hunter2hunter2"}}
		text, err := json.Marshal(broken)
		if err != nil {
			t.Fatal(err)
		}
		if err := open(string(text)); err == nil || !strings.Contains(err.Error(), name) || strings.Contains(err.Error(), ": json") {
			t.Errorf("a setting %s that is a map of lists brings %v", name, err)
		}
	}
}

func (s suite) events(t *testing.T) {
	d := s.open(t)
	for _, event := range []notify.Event{
		notify.Opened, notify.Reminder, notify.Acknowledged, notify.Changed, notify.Closed, notify.Digest, notify.Test,
	} {
		before := len(d.far.Taken())
		d.ok(Message(event))
		if len(d.far.Taken()) == before {
			t.Errorf("nothing arrived of %s", event)
			continue
		}
		for _, part := range d.far.Taken()[before:] {
			if shown := s.f.Shown(t, part); !strings.Contains(shown, Message(event).Title) && event != notify.Acknowledged {
				t.Errorf("%s: a person sees %q, without %q", event, shown, Message(event).Title)
			}
		}
	}
	t.Run("without anything but its texts", func(t *testing.T) {
		d.ok(notify.Message{Key: "bare", Event: notify.Opened, Title: "bare", Text: "bare\n", At: time.Now()})
	})
}

func (s suite) deadlines(t *testing.T) {
	for _, m := range []Manner{Hangs, Trickles, Floods} {
		if !s.can(m) {
			continue
		}
		t.Run(m.String(), func(t *testing.T) {
			d := s.open(t)
			d.far.Behave(m)
			deadline := short
			if m == Floods { // time enough to read far too much
				deadline = long
			}
			ctx, cancel := context.WithTimeout(t.Context(), deadline)
			defer cancel()
			began := time.Now()
			err := d.send(ctx, Message(notify.Opened))
			if took := time.Since(began); took > bounded {
				t.Errorf("a deadline of %s was obeyed after %s", deadline, took)
			}
			if m == Hangs && err == nil {
				t.Error("a far end that hangs has taken the message")
			}
			if err != nil {
				f := notify.FailureOf(err)
				if f.Class != notify.Passing {
					t.Errorf("a time-out is not passing: %v", err)
				}
				if _, web := d.far.(*httpFar); web && m == Trickles && s.f.Shaped && !f.Unsure {
					t.Errorf("an answer that broke off may have been a yes, and it is sure: %v", f)
				}
				if m == Hangs && f.Unsure == s.f.Sure {
					t.Errorf("a message that was sent and not answered: unsure is %v", f.Unsure)
				}
			}
			if flood, ok := d.far.(interface{ Flooded() int64 }); ok && flood.Flooded() > maxFlood {
				t.Errorf("%d bytes of an endless answer were read", flood.Flooded())
			}
		})
	}
}

func (s suite) cancelled(t *testing.T) {
	d := s.open(t)
	if !s.f.Cancelled {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := d.send(ctx, Message(notify.Opened)); err == nil {
			t.Error("sent although its context had ended")
		}
		if n := len(d.far.Taken()); n != 0 {
			t.Errorf("%d messages were taken although the context had ended", n)
		}
	}
	if !s.can(Hangs) {
		return
	}
	d.far.Behave(Hangs)
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(short, cancel)
	began := time.Now()
	if err := d.send(ctx, Message(notify.Opened)); err == nil || notify.FailureOf(err).Class != notify.Passing {
		t.Errorf("a send that was cancelled brings %v", err)
	}
	if took := time.Since(began); took > bounded {
		t.Errorf("it came back %s after it was cancelled", took)
	}
}

func (s suite) classes(t *testing.T) {
	for _, c := range []struct {
		manner Manner
		want   func(f *notify.Failure) bool
		says   string
	}{
		{Busy, func(f *notify.Failure) bool {
			return f.Class == notify.Passing && !f.Unsure && (f.After == BusyFor || s.f.NoAfter)
		}, "passing, sure, after 30 s"},
		{Fails, func(f *notify.Failure) bool { return f.Class == notify.Passing && !f.Unsure }, "passing, sure"},
		{Refuses, func(f *notify.Failure) bool { return f.Class == notify.Refused && !f.Unsure }, "refused, sure"},
		{Redirects, func(f *notify.Failure) bool { return !f.Unsure }, "sure"},
		{Resets, func(f *notify.Failure) bool { return f.Class == notify.Passing && f.Unsure == !s.f.Sure }, "passing, unsure if all was sent"},
		{Gone, func(f *notify.Failure) bool { return f.Class == notify.Passing && !f.Unsure && f.After == 0 }, "passing, sure"},
	} {
		if !s.can(c.manner) {
			continue
		}
		t.Run(c.manner.String(), func(t *testing.T) {
			d := s.open(t)
			d.far.Behave(c.manner)
			if f := d.fails(Message(notify.Opened)); !c.want(f) {
				t.Errorf("%+v; it should be %s", f, c.says)
			}
			if n := len(d.far.Taken()); n != 0 {
				t.Errorf("%d messages were taken", n)
			}
		})
	}
	if s.can(Garbage) {
		t.Run("garbage", func(t *testing.T) {
			d := s.open(t)
			d.far.Behave(Garbage)
			if !s.f.Shaped {
				d.ok(Message(notify.Opened))
				return
			}
			if f := d.fails(Message(notify.Opened)); f.Class != notify.Passing {
				t.Errorf("%+v; garbage may be from anybody on the way: it should be passing", f)
			}
		})
	}
}

// Hostile are texts that a device, or whoever names one, may choose.
var Hostile = map[string]string{
	"HTML":          `<script>alert(1)</script><b>bold</b>&amp;<img src=x onerror=alert(1)>`,
	"Markdown":      "*bold* _it_ ~no~ `code` [click](http://evil.example/) <http://evil.example/|click> ![x](http://evil.example/x.png) ||spoiler|| # head > quote",
	"mentions":      "@everyone @here <!channel> <!everyone> <@U123> <@&123> @all",
	"header lines":  "core\r\nX-Injected: yes\r\nBcc: mallory@evil.example\r\n\r\nbody",
	"template":      "{{text}} {{{text}}} {{#device}}x{{/device}} {{> partial}} ${env:HOME} $(id) `id` %s %n",
	"right to left": "a\u202egnp.exe\u2066b\u2067c\u2069\u200f\u200e\u061c",
	"control":       "a\x00b\x01c\x1b[31mred\x07\x7f\u0085\u2028end\u2029",
	"not UTF-8":     "a\xff\xfe\xc0\xafb\xed\xa0\x80c",
	"quotes":        `"quoted" 'single' \back\slash "}],"x":{"y":"`,
	"SMTP":          "a\r\n.\r\nMAIL FROM:<mallory@evil.example>\r\n",
	"long":          strings.Repeat("0123456789", 1000),
	"one long word": strings.Repeat("ä", 5000) + strings.Repeat("👩‍👩‍👧‍👦", 1200),
	"nothing":       "",
	"spaces":        "   \n\n  ",
}

func (s suite) hostile(t *testing.T) {
	for name, text := range Hostile {
		t.Run(name, func(t *testing.T) {
			d := s.open(t)
			for _, event := range []notify.Event{notify.Opened, notify.Closed, notify.Digest} {
				d.ok(named(event, text))
			}
			for _, part := range d.far.Taken() {
				for header, values := range part.Header {
					if strings.EqualFold(header, "X-Injected") || strings.EqualFold(header, "Bcc") {
						t.Errorf("a name became the header %s: %q", header, values)
					}
					if values := strings.Join(values, ""); strings.ContainsAny(values, "\r\n\x00") {
						t.Errorf("the header %s is %q", header, values)
					}
				}
				shown := s.f.Shown(t, part)
				if got := notify.Lines(shown); got != shown && strings.ReplaceAll(got, "\n", "") != strings.ReplaceAll(strings.ReplaceAll(shown, "\r", ""), "\n", "") {
					t.Errorf("what is shown is not inert: %q", shown)
				}
				if s.f.Inert != nil {
					s.f.Inert(t, part)
				}
				if s.f.Limit != nil {
					s.f.Limit(t, part)
				}
			}
		})
	}
}

func (s suite) long(t *testing.T) {
	d := s.open(t)
	m := Message(notify.Digest)
	m.Title = "412 devices are down"
	var text strings.Builder
	text.WriteString(m.Title + "\n")
	for i := range 2000 {
		fmt.Fprintf(&text, "host-%04d <&> is down since 12:03:04 CET, 🔥 €\n", i)
	}
	m.Text = text.String()
	d.ok(m)
	taken := d.far.Taken()
	if len(taken) == 0 {
		t.Fatal("nothing arrived")
	}
	var all strings.Builder
	for _, part := range taken {
		all.WriteString(s.f.Shown(t, part) + "\n")
		if s.f.Limit != nil {
			s.f.Limit(t, part)
		}
	}
	if !strings.Contains(all.String(), m.Title) || !strings.Contains(all.String(), "host-0000 <&> is down since 12:03:04 CET, 🔥 €") {
		t.Errorf("the begin of a long text is missing: %.300q", all.String())
	}
}

func (s suite) parallel(t *testing.T) {
	d := s.open(t)
	const senders, each = 8, 4
	var wg sync.WaitGroup
	errs := make(chan error, senders*each)
	for i := range senders {
		wg.Go(func() {
			for k := range each {
				m := Message(notify.Opened)
				m.Key = fmt.Sprintf("key-%d-%d", i, k)
				errs <- d.channel.Send(t.Context(), m)
			}
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			t.Errorf("one of many at once was not taken: %v", err)
		}
	}
	if n := len(d.far.Taken()); n != senders*each {
		t.Errorf("%d of %d arrived", n, senders*each)
	}
}

// recovers: after any trouble the next message is taken as if nothing had been.
func (s suite) recovers(t *testing.T) {
	d := s.open(t)
	for _, m := range []Manner{Busy, Fails, Refuses, Resets} {
		if !s.can(m) {
			continue
		}
		d.far.Behave(m)
		d.fails(Message(notify.Opened))
		d.far.Behave(Takes)
		before := len(d.far.Taken())
		d.ok(Message(notify.Opened))
		if n := len(d.far.Taken()) - before; n != 1 {
			t.Errorf("after a far end that %s: %d messages", m, n)
		}
	}
}

func (s suite) leaks(t *testing.T) {
	d := s.open(t)
	d.ok(Message(notify.Test)) // whatever is started once
	before := settled()
	for range 10 {
		d.ok(Message(notify.Opened))
	}
	for range 5 { // as if settings were read again
		channel, err := s.k.Open(json.RawMessage(d.far.Settings()), s.options(d.log))
		if err != nil {
			t.Fatal(err)
		}
		again := d
		again.channel = channel
		again.ok(Message(notify.Opened))
	}
	for _, m := range []Manner{Fails, Resets, Hangs} {
		if s.can(m) {
			d.far.Behave(m)
			ctx, cancel := context.WithTimeout(t.Context(), short)
			if err := d.send(ctx, Message(notify.Opened)); err == nil {
				t.Errorf("a far end that %s has taken it", m)
			}
			cancel()
		}
	}
	for end := time.Now().Add(patience); runtime.NumGoroutine() > before; {
		if time.Now().After(end) {
			stacks := make([]byte, 1<<20)
			t.Fatalf("%d goroutines became %d:\n%s", before, runtime.NumGoroutine(), stacks[:runtime.Stack(stacks, true)])
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// settled waits until no goroutine has ended for a while, and counts them.
func settled() int {
	n := runtime.NumGoroutine()
	for calm := 0; calm < 10; calm++ {
		time.Sleep(20 * time.Millisecond)
		if now := runtime.NumGoroutine(); now != n {
			n, calm = now, 0
		}
	}
	return n
}

// Message is a message as the outbox writes them.
func Message(event notify.Event) notify.Message { return named(event, "core-sw1") }

func named(event notify.Event, name string) notify.Message {
	opened := time.Date(2026, 11, 21, 11, 3, 4, 0, time.UTC)
	device := &notify.Device{ID: 7, Name: name, Address: "192.0.2.1", Tags: []string{"site:plant1", name}}
	incident := notify.Incident{
		ID: 42, Thread: "alert-42", Status: sereno.TroubleDown, Severity: sereno.SeverityCritical,
		Opened: sereno.At(opened), Seconds: 202.25, Reason: "no answer from " + name, Device: device,
	}
	m := notify.Message{
		Key: "42-" + string(event), Thread: "alert-42", Event: event, Severity: sereno.SeverityCritical,
		Title: name + " is down since 12:03:04 CET", At: opened.Add(10 * time.Second),
		Incident: &incident, Incidents: []notify.Incident{incident}, Count: 1, Device: device,
		Open: "https://sereno.example/incidents/42", Acknowledge: "https://sereno.example/links/abc?t=" + "x%26y",
		Buttons: true,
	}
	switch event {
	case notify.Closed:
		incident.Closed = sereno.At(opened.Add(202 * time.Second))
		m.Incident, m.Incidents = &incident, []notify.Incident{incident}
		m.Title = name + " is back after 3 m 22 s"
		m.Buttons, m.Acknowledge = false, ""
	case notify.Acknowledged:
		m.Title = name + " was acknowledged by anna"
		m.Buttons, m.Acknowledge = false, ""
	case notify.Digest:
		m.Thread = ""
		m.Title = "3 devices are down, " + name + " among them"
		second, third := incident, incident
		second.ID, third.ID = 43, 44
		second.Thread, third.Thread = "alert-43", "alert-44"
		m.Incidents, m.Count = []notify.Incident{incident, second, third}, 3
	case notify.Test:
		m.Thread, m.Severity, m.Incident, m.Incidents, m.Count, m.Device = "", sereno.SeverityNone, nil, nil, 0, nil
		m.Open, m.Acknowledge, m.Buttons = "", "", false
		m.Title = "Test of the channel of " + name
	case notify.Reminder:
		m.Last = true
	}
	m.Text = m.Title + "\nlast looks: ......xxx\nno answer from " + name + "\n"
	return m
}

// A record keeps what is logged.
type record struct {
	mu   sync.Mutex
	text strings.Builder
}

func (*record) Enabled(context.Context, slog.Level) bool { return true }

func (r *record) Handle(_ context.Context, line slog.Record) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	fmt.Fprintf(&r.text, "%s %s", line.Level, line.Message)
	line.Attrs(func(a slog.Attr) bool {
		fmt.Fprintf(&r.text, " %s=%+v", a.Key, a.Value.Resolve().Any())
		return true
	})
	r.text.WriteString("\n")
	return nil
}

func (r *record) WithAttrs(attrs []slog.Attr) slog.Handler {
	r.mu.Lock()
	defer r.mu.Unlock()
	fmt.Fprintf(&r.text, "with %+v\n", attrs)
	return r
}

func (r *record) WithGroup(string) slog.Handler { return r }

func (r *record) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.String()
}
