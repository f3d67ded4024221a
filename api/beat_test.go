package api

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"sereno"
	"sereno/peer"
)

func TestBeats(t *testing.T) {
	var body, signature string
	var refusal error
	h := New(Options{Now: func() sereno.Instant { return 1e15 }, Beats: func(b []byte, s string) error {
		body, signature = string(b), s
		return refusal
	}})
	post := func(text string) int {
		r := httptest.NewRequest(http.MethodPost, peer.Path, strings.NewReader(text))
		r.Host = "localhost"
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set(peer.SignatureHeader, "0abc")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Code
	}
	if code := post(`{}`); code != http.StatusNoContent || body != "{}" || signature != "0abc" {
		t.Errorf("%d: %q signed %q", code, body, signature)
	}
	refusal = sereno.Errorf(sereno.Forbidden, "no")
	if code := post(`{}`); code != http.StatusForbidden {
		t.Errorf("refused with %d", code)
	}
	if code := post(strings.Repeat(" ", 5000)); code != http.StatusRequestEntityTooLarge {
		t.Errorf("too much is answered with %d", code)
	}
	bare := New(Options{Now: func() sereno.Instant { return 1e15 }})
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodPost, peer.Path, strings.NewReader("{}"))
	r.Host = "localhost"
	r.Header.Set("Content-Type", "application/json")
	if bare.ServeHTTP(w, r); w.Code != http.StatusNotFound {
		t.Errorf("without peers: %d", w.Code)
	}
}
