package peer

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sereno"
)

const secret = "a secret of the two"

func TestValidate(t *testing.T) {
	good := Peer{Name: "plant2", URL: "http://10.0.0.2:8080", Secret: secret}
	for fields, change := range map[string]func(*Peer){
		"":              func(*Peer) {},
		"name":          func(p *Peer) { p.Name = "" },
		"url":           func(p *Peer) { p.URL = "10.0.0.2" },
		"secret":        func(p *Peer) { p.Secret = "short" },
		"every":         func(p *Peer) { p.Every = time.Hour },
		"missing_after": func(p *Peer) { p.Every, p.Missing = 10*time.Second, 20*time.Second },
	} {
		p := good
		change(&p)
		var got []string
		for _, e := range p.Validate() {
			got = append(got, e.Field)
		}
		if strings.Join(got, " ") != fields {
			t.Errorf("%q is said to be wrong, not %q", got, fields)
		}
	}
}

func now() sereno.Instant { return sereno.At(time.Now()) }

func TestReceive(t *testing.T) {
	w := New(Options{Peers: []Peer{{Name: "plant2", Secret: secret}}, Now: now})
	text := func(from string, at sereno.Instant) []byte {
		body, err := json.Marshal(Beat{from, at})
		if err != nil {
			t.Fatal(err)
		}
		return body
	}
	at := now()
	good := text("plant2", at)
	for _, c := range []struct {
		name      string
		body      []byte
		signature string
		want      sereno.Kind
	}{
		{"no JSON", []byte("beat"), "", sereno.Invalid},
		{"a stranger", text("plant3", at), sign(secret, text("plant3", at)), sereno.Forbidden},
		{"another secret", good, sign("another secret of two", good), sereno.Forbidden},
		{"no signature", good, "", sereno.Forbidden},
		{"from long ago", text("plant2", at.Add(-time.Hour)), sign(secret, text("plant2", at.Add(-time.Hour))), sereno.Forbidden},
	} {
		if err := w.Receive(c.body, c.signature); sereno.KindOf(err) != c.want || err == nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if err := w.Receive(good, sign(secret, good)); err != nil {
		t.Fatal(err)
	}
	if err := w.Receive(good, sign(secret, good)); sereno.KindOf(err) != sereno.Conflict {
		t.Errorf("sent again: %v", err)
	}
}

// told is what a Watch says of its peers.
type told struct {
	mu   sync.Mutex
	said []string
}

func (o *told) tell(name string, _ sereno.Instant, reason string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	what := name + " is missing"
	if reason == "" {
		what = name + " is there"
	}
	if n := len(o.said); n == 0 || o.said[n-1] != what {
		o.said = append(o.said, what)
	}
}

func (o *told) is(t *testing.T, want ...string) {
	t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	if !slices.Equal(o.said, want) {
		t.Errorf("%q, not %q", o.said, want)
	}
}

func TestAPeerThatIsSilentIsMissingUntilItBeatsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var o told
		var blind atomic.Bool
		w := New(Options{Peers: []Peer{{Name: "plant2", Secret: secret}}, Now: now, Told: o.tell, Blind: blind.Load})
		go w.Run(t.Context())
		beat := func() {
			body, err := json.Marshal(Beat{"plant2", now()})
			if err != nil {
				t.Fatal(err)
			}
			if err := w.Receive(body, sign(secret, body)); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(59 * time.Second)
		o.is(t)
		time.Sleep(2 * time.Second)
		o.is(t, "plant2 is missing") // never heard of since the start
		beat()
		time.Sleep(2 * time.Second)
		o.is(t, "plant2 is missing", "plant2 is there")
		blind.Store(true)
		time.Sleep(2 * time.Minute)
		o.is(t, "plant2 is missing", "plant2 is there")
		blind.Store(false)
		time.Sleep(2 * time.Second)
		o.is(t, "plant2 is missing", "plant2 is there", "plant2 is missing")
	})
}

func TestTwoWatchEachOther(t *testing.T) {
	var a, b *Watch
	var atA, atB told
	serve := func(w **Watch) *httptest.Server {
		s := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				t.Error(err)
			}
			if err := (*w).Receive(body, r.Header.Get(SignatureHeader)); err != nil || r.URL.Path != Path {
				t.Errorf("%s: %v", r.URL.Path, err)
				out.WriteHeader(http.StatusForbidden)
			}
		}))
		t.Cleanup(s.Close)
		return s
	}
	sa, sb := serve(&a), serve(&b)
	a = New(Options{Name: "a", Peers: []Peer{{Name: "b", URL: sb.URL, Secret: secret}}, Now: now, Told: atA.tell})
	b = New(Options{Name: "b", Peers: []Peer{{Name: "a", URL: sa.URL + "/", Secret: secret}}, Now: now, Told: atB.tell})
	for _, err := range []error{a.beat(t.Context(), a.o.Peers[0]), b.beat(t.Context(), b.o.Peers[0])} {
		if err != nil {
			t.Error(err)
		}
	}
	a.judge()
	b.judge()
	atA.is(t, "b is there")
	atB.is(t, "a is there")
	wrong := a.o.Peers[0]
	wrong.URL = "http://user:hidden@127.0.0.1:1"
	if err := a.beat(t.Context(), wrong); err == nil || strings.Contains(err.Error(), "hidden") {
		t.Errorf("%v", err)
	}
}
