package deadman

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestValidate(t *testing.T) {
	for name, c := range map[string]struct {
		target Target
		fields string
	}{
		"good":          {Target{URL: "https://example.org/x"}, ""},
		"no URL":        {Target{}, "url"},
		"odd scheme":    {Target{URL: "file:///etc/passwd"}, "url"},
		"too often":     {Target{URL: "http://a", Every: time.Second}, "every"},
		"too patient":   {Target{URL: "http://a", Every: 10 * time.Second, Timeout: time.Minute}, "timeout"},
		"strange words": {Target{URL: "http://a", Method: "DELETE"}, "method"},
	} {
		var fields []string
		for _, e := range c.target.Validate() {
			fields = append(fields, e.Field)
		}
		if got := strings.Join(fields, " "); got != c.fields {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// caller makes a Switch that calls a server and counts the calls.
func caller(t *testing.T, well func(context.Context) error, status func() int) (s *Switch, calls *atomic.Int32, log *bytes.Buffer) {
	calls, log = new(atomic.Int32), new(bytes.Buffer)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		if r.URL.Path != "/secret-path" || r.Header.Get("User-Agent") != "sereno/test" {
			t.Errorf("%s as %q", r.URL, r.Header.Get("User-Agent"))
		}
		w.WriteHeader(status())
	}))
	t.Cleanup(server.Close)
	return New(Options{Target: Target{URL: server.URL + "/secret-path"}, Well: well, Agent: "sereno/test", Log: slog.New(slog.NewTextHandler(log, nil))}), calls, log
}

func TestItCallsOnlyWhileAllIsWell(t *testing.T) {
	var wrong error
	code := http.StatusOK
	s, calls, log := caller(t, func(context.Context) error { return wrong }, func() int { return code })
	step := func() {
		t.Helper()
		s.note(s.once(t.Context()))
	}
	step()
	if at, err := s.Last(); at.IsZero() || err != nil || calls.Load() != 1 {
		t.Fatalf("%v, %v, %d calls", at, err, calls.Load())
	}
	wrong = errors.New("the disk is full")
	step()
	if _, err := s.Last(); !errors.Is(err, wrong) || calls.Load() != 1 {
		t.Errorf("it called although %v: %d calls, %v", wrong, calls.Load(), err)
	}
	wrong, code = nil, http.StatusNotFound
	step()
	if _, err := s.Last(); err == nil || calls.Load() != 2 {
		t.Errorf("an answer of 404 is none: %v", err)
	}
	code = http.StatusNoContent
	step()
	if _, err := s.Last(); err != nil {
		t.Error(err)
	}
	for _, words := range []string{"the disk is full", "called again"} {
		if !strings.Contains(log.String(), words) {
			t.Errorf("the log does not say %q:\n%s", words, log)
		}
	}
}

func TestTheURLIsASecret(t *testing.T) {
	log := new(bytes.Buffer)
	s := New(Options{Target: Target{URL: "http://127.0.0.1:1/token-1234"}, Well: func(context.Context) error { return nil }, Log: slog.New(slog.NewTextHandler(log, nil))})
	err := s.once(t.Context())
	s.note(err)
	if err == nil || strings.Contains(err.Error()+log.String(), "token-1234") {
		t.Errorf("%v\n%s", err, log)
	}
}

func TestRunEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s, calls, _ := caller(t, func(context.Context) error { return nil }, func() int { defer cancel(); return http.StatusOK })
	if err := s.Run(ctx); err != nil || calls.Load() != 1 {
		t.Errorf("%v after %d calls", err, calls.Load())
	}
}
