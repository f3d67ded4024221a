// Package deadman calls a URL for as long as all is well, so that a service
// elsewhere notices when this Sereno has died, hangs or cannot do its work: what
// is dead cannot say so itself.
package deadman

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"time"

	"sereno"
)

// A Target is the URL that is called.
type Target struct {
	URL     string        // http or https; a secret, for who knows it can pretend that all is well
	Every   time.Duration // 10 s to 1 h; 0: 1 min
	Timeout time.Duration // of one call, 1 s to Every; 0: 10 s
	Method  string        // GET, HEAD or POST; "" for GET
}

// DefaultEvery is how often the URL is called where nobody says anything else.
const DefaultEvery = time.Minute

// Validate returns every mistake, Field being url, every, timeout or method.
func (t Target) Validate() []*sereno.Error {
	var errs []*sereno.Error
	wrong := func(field, format string, args ...any) {
		errs = append(errs, &sereno.Error{Kind: sereno.Invalid, Field: field, Text: fmt.Sprintf(format, args...)})
	}
	if u, err := url.Parse(t.URL); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		wrong("url", "url is where to call, such as https://example.org/ping/…")
	}
	if t.Every != 0 && (t.Every < 10*time.Second || t.Every > time.Hour) {
		wrong("every", "every is 10s to 1h, not %s", t.Every)
	} else if t.Timeout != 0 && (t.Timeout < time.Second || t.Timeout > t.every()) {
		wrong("timeout", "timeout is 1s to %s, not %s", t.every(), t.Timeout)
	}
	switch t.Method {
	case "", http.MethodGet, http.MethodHead, http.MethodPost:
	default:
		wrong("method", "method is GET, HEAD or POST, not %q", t.Method)
	}
	return errs
}

func (t Target) every() time.Duration {
	if t.Every == 0 {
		return DefaultEvery
	}
	return t.Every
}

func (t Target) timeout() time.Duration {
	if t.Timeout == 0 {
		return min(10*time.Second, t.every())
	}
	return t.Timeout
}

// Options are what a Switch needs.
type Options struct {
	Target Target
	// Well returns why not all is well, nil if it is. While it is not, nobody is
	// called: the silence says so.
	Well  func(context.Context) error
	Agent string // what the requests call themselves
	Log   *slog.Logger
}

// A Switch calls its target. Run it.
type Switch struct {
	o      Options
	client http.Client

	mu   sync.Mutex
	last time.Time
	err  error
}

// New makes a Switch that has not called yet.
func New(o Options) *Switch {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Switch{o: o, client: http.Client{
		Transport:     &http.Transport{Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, MaxIdleConns: 1, IdleConnTimeout: 2 * o.Target.every()},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Last returns when a call last succeeded, zero if none has, and what is wrong
// now, nil if nothing is.
func (s *Switch) Last() (time.Time, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last, s.err
}

// again is how soon a call that failed is repeated within one round.
const again = 5 * time.Second

// Run calls until ctx ends, at once and then at every interval; a call that
// failed is repeated until the next is due.
func (s *Switch) Run(ctx context.Context) error {
	defer s.client.CloseIdleConnections()
	round := time.NewTicker(s.o.Target.every())
	defer round.Stop()
	for {
		err := s.once(ctx)
		if ctx.Err() != nil {
			return nil
		}
		s.note(err)
		var retry <-chan time.Time
		if err != nil {
			retry = time.After(again)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-round.C:
		case <-retry:
		}
	}
}

// errUnwell is in the tree of what keeps us from calling at all.
var errUnwell = errors.New("not all is well here")

func (s *Switch) once(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.o.Target.timeout())
	defer cancel()
	if err := s.o.Well(ctx); err != nil {
		return fmt.Errorf("%w: %w", errUnwell, err)
	}
	method := s.o.Target.Method
	if method == "" {
		method = http.MethodGet
	}
	request, err := http.NewRequestWithContext(ctx, method, s.o.Target.URL, nil)
	if err != nil {
		return errors.New("the dead-man URL is none")
	}
	request.Header.Set("User-Agent", s.o.Agent)
	answer, err := s.client.Do(request)
	if err != nil {
		if wrong, ok := errors.AsType[*url.Error](err); ok {
			err = wrong.Err // the URL is a secret
		}
		return err
	}
	defer answer.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, 1<<16)) // so that the connection can be used again
	if answer.StatusCode < 200 || answer.StatusCode > 299 {
		return fmt.Errorf("the answer is %s", answer.Status)
	}
	return nil
}

// note keeps what came of a call, and tells the log when that has changed.
func (s *Switch) note(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err == nil && s.err != nil:
		s.o.Log.Info("the dead-man URL is called again")
	case err != nil && s.err == nil && errors.Is(err, errUnwell):
		s.o.Log.Warn("the dead-man URL is not called, so that its service notices", "why", err)
	case err != nil && s.err == nil:
		s.o.Log.Warn("the dead-man URL could not be called; its service will think that this Sereno is dead", "err", err)
	}
	if s.err = err; err == nil {
		s.last = time.Now()
	}
}
