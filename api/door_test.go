package api

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"sereno"
	"sereno/probe"
	"sereno/store"
)

// remembered is a handler over memory, and what it logs.
func remembered(t testing.TB, m *memory) (http.Handler, *bytes.Buffer) {
	t.Helper()
	var log bytes.Buffer
	return New(Options{
		Plan: m, Facts: m, Watch: m, Kinds: []probe.Kind{fakeKind{}}, Version: "test",
		Log: slog.New(slog.NewTextHandler(&log, nil)), Now: func() sereno.Instant { return noon },
	}), &log
}

func request(method, path, body string) *http.Request {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Host = "127.0.0.1:8080"
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	return r
}

func serve(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestTheDoorIsForThisMachineAlone(t *testing.T) {
	tests := []struct {
		host string
		code int
	}{
		{"127.0.0.1:8080", 200},
		{"127.0.0.1", 200},
		{"127.8.8.8:1", 200},
		{"localhost:8080", 200},
		{"LocalHost", 200},
		{"localhost.", 200},
		{"[::1]:8080", 200},
		{"[::1]", 200},
		{"[::ffff:127.0.0.1]:80", 200},
		{"rebound.example:8080", 421},
		{"localhost.example", 421},
		{"127.0.0.1.example:8080", 421},
		{"10.0.0.1:8080", 421},
		{"0.0.0.0:8080", 421},
		{"[::]:8080", 421},
		{"2130706433", 421},
		{"", 421},
	}
	strict, _ := remembered(t, &memory{})
	for _, test := range tests {
		r := request("GET", "/health", "")
		r.Host = test.host
		if w := serve(strict, r); w.Code != test.code {
			t.Errorf("Host %q: %d, want %d", test.host, w.Code, test.code)
		}
	}

	m := &memory{}
	insecure := New(Options{Plan: m, Facts: m, Watch: m, InsecureListen: true, Now: func() sereno.Instant { return noon }})
	r := request("GET", "/health", "")
	r.Host = "watch.example"
	if w := serve(insecure, r); w.Code != 200 {
		t.Errorf("--insecure-listen, Host %q: %d, want 200", r.Host, w.Code)
	}
	r = request("DELETE", "/api/devices/1", "")
	r.Header.Set("Origin", "https://evil.example")
	if w := serve(insecure, r); w.Code != 403 {
		t.Errorf("--insecure-listen, another site: %d, want 403", w.Code)
	}
}

func TestAnotherSiteChangesNothing(t *testing.T) {
	const device = `{"name":"a","address":"10.0.0.1"}`
	tests := []struct {
		name         string
		method, path string
		headers      map[string]string
		code         int
	}{
		{"a program", "POST", "/api/devices", nil, 201},
		{"our own page", "POST", "/api/devices", map[string]string{"Origin": "http://127.0.0.1:8080", "Sec-Fetch-Site": "same-origin"}, 201},
		{"another site", "POST", "/api/devices", map[string]string{"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}, 403},
		{"another site in an old browser", "POST", "/api/devices", map[string]string{"Origin": "https://evil.example"}, 403},
		{"another port of this machine", "POST", "/api/devices", map[string]string{"Sec-Fetch-Site": "same-site"}, 403},
		{"a sandboxed page", "POST", "/api/devices", map[string]string{"Origin": "null"}, 403},
		{"another site deletes", "DELETE", "/api/devices/1", map[string]string{"Sec-Fetch-Site": "cross-site"}, 403},
		{"a form", "POST", "/api/devices", map[string]string{"Content-Type": "text/plain"}, 415},
		{"a form of this machine", "POST", "/api/devices", map[string]string{"Content-Type": "application/x-www-form-urlencoded"}, 415},
		{"no type", "POST", "/api/devices", map[string]string{"Content-Type": ""}, 415},
		{"nonsense as type", "POST", "/api/devices", map[string]string{"Content-Type": "a+b;c"}, 415},
		{"another site reads, and may not see it", "GET", "/api/devices", map[string]string{"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}, 200},
		{"another site has everything read, as a picture", "GET", "/api/doctor", map[string]string{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}, 403},
		{"another site has everything copied, as a frame", "GET", "/api/backup", map[string]string{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}, 403},
		{"another site has everything written out", "GET", "/api/export/looks", map[string]string{"Sec-Fetch-Site": "cross-site"}, 403},
		{"somebody follows a link of another site", "GET", "/api/report", map[string]string{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}, 404}, // there is none in this server
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			h, _ := remembered(t, &memory{})
			r := request(test.method, test.path, device)
			for name, value := range test.headers {
				r.Header.Set(name, value)
			}
			w := serve(h, r)
			if w.Code != test.code {
				t.Errorf("%d, want %d: %s", w.Code, test.code, w.Body)
			}
			for header, want := range map[string]string{
				"X-Content-Type-Options":       "nosniff",
				"Cross-Origin-Resource-Policy": "same-origin",
				"Access-Control-Allow-Origin":  "",
				"Cache-Control":                "no-store",
			} {
				if got := w.Header().Get(header); got != want {
					t.Errorf("%s: %q, want %q", header, got, want)
				}
			}
			if !strings.HasPrefix(w.Header().Get("Content-Security-Policy"), "default-src 'none'") {
				t.Errorf("Content-Security-Policy: %q", w.Header().Get("Content-Security-Policy"))
			}
		})
	}
}

func TestErrorsOfOurOwnAreLoggedAndNotTold(t *testing.T) {
	secret := errors.New("open /secret/place: permission denied")
	requests := []*http.Request{
		request("GET", "/api/devices", ""),
		request("GET", "/api/devices/1", ""),
		request("POST", "/api/devices", `{"name":"a","address":"10.0.0.1"}`),
		request("PUT", "/api/devices/1", `{"name":"a","address":"10.0.0.1"}`),
		request("DELETE", "/api/devices/1", ""),
		request("GET", "/api/devices/1/history", ""),
		request("GET", "/api/incidents", ""),
		request("GET", "/api/absences", ""),
		request("GET", "/api/statistics", ""),
	}
	for _, r := range requests {
		h, log := remembered(t, &memory{fail: secret})
		w := serve(h, r)
		if w.Code != 500 || strings.Contains(w.Body.String(), "secret") || w.Header().Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s %s: %d %s", r.Method, r.URL, w.Code, w.Body)
		}
		if !strings.Contains(log.String(), "permission denied") {
			t.Errorf("%s %s: the log says %q", r.Method, r.URL, log)
		}
	}
}

func TestAFullDiskIsSaid(t *testing.T) {
	full := &memory{}
	h := New(Options{Plan: &memory{fail: errors.Join(errors.New("commit"), store.ErrFull)}, Facts: full, Watch: full, Kinds: []probe.Kind{fakeKind{}}, Now: func() sereno.Instant { return noon }})
	if w := serve(h, request("POST", "/api/devices", `{"name":"b","address":"10.0.0.1"}`)); w.Code != 507 || !strings.Contains(w.Body.String(), "disk is full") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestHealthSaysWhichPartIsSick(t *testing.T) {
	well, ill := &memory{}, &memory{fail: errors.New("broken")}
	fine := StorageState{Kept: true}
	tests := []struct {
		facts, watch *memory
		storage      StorageState
		code         int
		text         string
	}{
		{well, well, fine, 200, `"status":"ok"`},
		{ill, well, fine, 503, "the store does not answer"},
		{well, ill, fine, 503, "the ledger does not answer"},
		{ill, well, StorageState{Fault: "the database cannot be reached", Kept: true, Entries: 3}, 200, `"status":"degraded","reason":"the database cannot be reached"`},
		{well, well, StorageState{Fault: "the disk is full", Kept: true}, 200, `"status":"degraded"`},
		{well, well, StorageState{Fault: "all is held in memory"}, 503, "all is held in memory"},
		{well, ill, StorageState{Fault: "the disk is full", Kept: true}, 503, "the ledger does not answer"},
	}
	for _, test := range tests {
		h := New(Options{
			Plan: well, Facts: test.facts, Watch: test.watch, Storage: func() StorageState { return test.storage },
			Log: slog.New(slog.DiscardHandler), Now: func() sereno.Instant { return noon },
		})
		if w := serve(h, request("GET", "/health", "")); w.Code != test.code || !strings.Contains(w.Body.String(), test.text) {
			t.Errorf("%d %s, want %d %s", w.Code, w.Body, test.code, test.text)
		}
	}
}

func TestAPanicIsOneFailedRequest(t *testing.T) {
	var log bytes.Buffer
	h := door(false, linkDoor{}, slog.New(slog.NewTextHandler(&log, nil)), http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("out of cheese") }))
	if w := serve(h, request("GET", "/", "")); w.Code != 500 || strings.Contains(w.Body.String(), "cheese") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if !strings.Contains(log.String(), "out of cheese") {
		t.Errorf("the log says %q", &log)
	}
}

func TestWhereNothingIs(t *testing.T) {
	tests := []struct {
		method, path string
		code         int
		text         string
	}{
		{"GET", "/", 200, "/api/devices"},
		{"HEAD", "/health", 200, ""},
		{"GET", "/docs", 404, "nothing at this address"},
		{"GET", "/schemas/Device.json", 404, "nothing at this address"},
		{"GET", "/api/devices/1/2", 404, "nothing at this address"},
		{"PATCH", "/api/devices/1", 405, "PATCH is not possible here, only DELETE, GET, HEAD, PUT"},
		{"POST", "/health", 405, "only GET, HEAD"},
	}
	h, _ := remembered(t, &memory{})
	for _, test := range tests {
		r := request(test.method, test.path, "{}")
		w := serve(h, r)
		if w.Code != test.code || !strings.Contains(w.Body.String(), test.text) {
			t.Errorf("%s %s: %d %s, want %d and %q", test.method, test.path, w.Code, w.Body, test.code, test.text)
		}
		if kind := w.Header().Get("Content-Type"); test.code >= 400 && kind != "application/problem+json" {
			t.Errorf("%s %s: Content-Type %q", test.method, test.path, kind)
		}
	}
}

func TestALargeBodyIsRefused(t *testing.T) {
	h, _ := remembered(t, &memory{})
	body := `{"name":"` + strings.Repeat("a", maxBody) + `"}`
	for _, r := range []*http.Request{request("POST", "/api/devices", body), request("PUT", "/api/devices/1", body)} {
		if w := serve(h, r); w.Code != 413 {
			t.Errorf("%s: %d %s, want 413", r.Method, w.Code, w.Body)
		}
	}
	r := request("POST", "/api/devices", "{}")
	r.Body = io.NopCloser(brokenReader{})
	if w := serve(h, r); w.Code != 500 || strings.Contains(w.Body.String(), "reset") {
		t.Errorf("a body that breaks off: %d %s", w.Code, w.Body)
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, errors.New("connection reset") }

func TestWhoWentAwayIsNotLogged(t *testing.T) {
	h, log := remembered(t, &memory{fail: context.Canceled})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	serve(h, request("GET", "/api/devices", "").WithContext(ctx))
	if log.Len() > 0 {
		t.Errorf("the log says %q", log)
	}
}
