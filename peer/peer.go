// Package peer lets two Serenos watch each other: each sends the others a signed
// beat every few seconds, and notices when theirs stop coming.
package peer

import (
	"bytes"
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"sereno"
)

// A Peer is another Sereno.
type Peer struct {
	Name    string        // how it calls itself
	URL     string        // where it is asked: http://10.0.0.2:8080; "" if it is only listened to
	Secret  string        // shared with it; at least 16 characters
	Every   time.Duration // between beats to it, 1 s to 10 min; 0: 10 s
	Missing time.Duration // without its beats until it is missing, at least three times Every; 0: 1 min
}

const (
	defaultEvery   = 10 * time.Second
	defaultMissing = time.Minute
	leastSecret    = 16
)

func (p Peer) every() time.Duration   { return cmp.Or(p.Every, defaultEvery) }
func (p Peer) missing() time.Duration { return cmp.Or(p.Missing, max(defaultMissing, 3*p.every())) }

// Validate returns every mistake, Field being name, url, secret, every or
// missing_after.
func (p Peer) Validate() []*sereno.Error {
	var errs []*sereno.Error
	wrong := func(field, format string, args ...any) {
		errs = append(errs, &sereno.Error{Kind: sereno.Invalid, Field: field, Text: fmt.Sprintf(format, args...)})
	}
	if p.Name == "" || len(p.Name) > sereno.MaxName || strings.ContainsFunc(p.Name, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		wrong("name", "name is how the other Sereno calls itself, 1 to %d characters", sereno.MaxName)
	}
	if u, err := url.Parse(p.URL); p.URL != "" && (err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https") {
		wrong("url", "url is where the other Sereno answers, such as http://10.0.0.2:8080")
	}
	if len(p.Secret) < leastSecret {
		wrong("secret", "secret is a text of at least %d characters that both Serenos have", leastSecret)
	}
	if p.Every != 0 && (p.Every < time.Second || p.Every > 10*time.Minute) {
		wrong("every", "every is 1s to 10m, not %s", p.Every)
	} else if p.Missing != 0 && (p.Missing < 3*p.every() || p.Missing > 24*time.Hour) {
		wrong("missing_after", "missing_after is %s (three beats) to 24h, not %s", 3*p.every(), p.Missing)
	}
	return errs
}

// A Beat is what one Sereno tells another.
type Beat struct {
	From string         `json:"from"` // how the sender calls itself
	At   sereno.Instant `json:"at"`   // by its own clock, ascending
}

// Path is where a Sereno takes beats.
const Path = "/api/beats"

// SignatureHeader holds the hexadecimal HMAC-SHA256 of the body, made with the
// shared secret.
const SignatureHeader = "Sereno-Beat-Signature"

func sign(secret string, body []byte) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(body)
	return hex.EncodeToString(mac.Sum(nil))
}

// tolerance is how far two clocks may differ. It bounds how old a beat may be
// that somebody has recorded and sends again after a restart.
const tolerance = 10 * time.Minute

// Options are what a Watch needs. Told may be nil.
type Options struct {
	Name  string // how this Sereno calls itself
	Peers []Peer // names are unique
	Now   func() sereno.Instant
	// Blind reports that nothing beyond this machine can be seen now: the
	// silence of a peer says nothing about it.
	Blind func() bool
	// Told is told of a peer that is missing, since when and why, and with an
	// empty reason when it is back. It may be told the same again.
	Told  func(name string, since sereno.Instant, reason string)
	Agent string
	Log   *slog.Logger
}

// A Watch sends beats and listens for those of the peers. Run it; Receive may be
// called from anywhere.
type Watch struct {
	o      Options
	client http.Client

	mu    sync.Mutex
	state map[string]*state
}

// A state is what is known of one peer.
type state struct {
	peer    Peer
	sent    sereno.Instant // the latest At that it has sent
	heard   sereno.Instant // when its latest beat came, by our clock; the start if none has
	ever    bool           // one has come
	missing bool
	deaf    bool // our beats do not reach it
}

// New makes a Watch; a peer is missing only when it has been silent for long
// enough since now.
func New(o Options) *Watch {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Told == nil {
		o.Told = func(string, sereno.Instant, string) {}
	}
	if o.Blind == nil {
		o.Blind = func() bool { return false }
	}
	w := &Watch{o: o, state: map[string]*state{}}
	w.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	w.client.Transport = &http.Transport{ForceAttemptHTTP2: true, IdleConnTimeout: time.Minute}
	for _, p := range o.Peers {
		w.state[p.Name] = &state{peer: p, heard: o.Now()}
	}
	return w
}

// Receive takes in a beat. What is not from a peer, or not for now, is refused
// (kind Forbidden), and says no more than the sender needs.
func (w *Watch) Receive(body []byte, signature string) error {
	var b Beat
	if err := json.Unmarshal(body, &b); err != nil {
		return sereno.Errorf(sereno.Invalid, "a beat is {\"from\": NAME, \"at\": TIME}")
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.state[b.From]
	if s == nil || !hmac.Equal([]byte(signature), []byte(sign(s.peer.Secret, body))) {
		return sereno.Errorf(sereno.Forbidden, "there is no peer of this name with this secret")
	}
	now := w.o.Now()
	if apart := now.Sub(b.At).Abs(); apart > tolerance {
		return sereno.Errorf(sereno.Forbidden, "the clocks of the two differ by %s; a beat may be %s off", sereno.FormatLength(apart), sereno.FormatLength(tolerance))
	}
	if b.At <= s.sent {
		return sereno.Errorf(sereno.Conflict, "this beat, or a later one, has come before")
	}
	s.sent, s.heard, s.ever = b.At, now, true
	return nil
}

// Run sends and judges until ctx ends.
func (w *Watch) Run(ctx context.Context) error {
	defer w.client.CloseIdleConnections()
	var wg sync.WaitGroup
	defer wg.Wait()
	for _, p := range w.o.Peers {
		if p.URL != "" {
			wg.Go(func() { w.send(ctx, p) })
		}
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			w.judge()
		}
	}
}

// judge finds out who is missing, and who is back.
func (w *Watch) judge() {
	now := w.o.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(w.state)) {
		s := w.state[name]
		silent := now.Sub(s.heard)
		switch {
		case silent < s.peer.missing() && s.ever:
			if s.missing {
				w.o.Log.Info("a peer is back", "peer", name)
			}
			s.missing = false
			w.o.Told(name, s.heard, "") // also of one that was missing before a restart
		case silent >= s.peer.missing() && !s.missing && !w.o.Blind():
			s.missing = true
			reason := "its beats stopped coming"
			if !s.ever {
				reason = "no beat of it has come since this one was started"
			}
			w.o.Log.Warn("a peer is missing", "peer", name, "since", s.heard)
			w.o.Told(name, s.heard, reason)
		}
	}
}

// send sends beats to one peer until ctx ends.
func (w *Watch) send(ctx context.Context, p Peer) {
	tick := time.NewTicker(p.every())
	defer tick.Stop()
	for {
		err := w.beat(ctx, p)
		if ctx.Err() != nil {
			return
		}
		w.mu.Lock()
		s := w.state[p.Name]
		switch {
		case err != nil && !s.deaf:
			w.o.Log.Warn("a peer does not take our beats", "peer", p.Name, "err", err)
		case err == nil && s.deaf:
			w.o.Log.Info("a peer takes our beats again", "peer", p.Name)
		}
		s.deaf = err != nil
		w.mu.Unlock()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// beat sends one.
func (w *Watch) beat(ctx context.Context, p Peer) error {
	ctx, cancel := context.WithTimeout(ctx, p.every())
	defer cancel()
	body, err := json.Marshal(Beat{From: w.o.Name, At: w.o.Now()})
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(p.URL, "/")+Path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("User-Agent", w.o.Agent)
	request.Header.Set(SignatureHeader, sign(p.Secret, body))
	answer, err := w.client.Do(request)
	if err != nil {
		if wrong, ok := errors.AsType[*url.Error](err); ok {
			err = wrong.Err // a URL may hold a password
		}
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, 1<<14))
	if err != nil {
		return err
	}
	if answer.StatusCode >= 300 {
		var problem struct {
			Detail string `json:"detail"`
		}
		if json.Unmarshal(text, &problem) == nil && problem.Detail != "" {
			return fmt.Errorf("%s: %.200q", answer.Status, problem.Detail)
		}
		return errors.New(answer.Status)
	}
	return nil
}
