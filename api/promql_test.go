package api

import (
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
)

// Questions in PromQL are forms, nothing else is; and nobody's page may put
// them from elsewhere.
func TestFormsAreForPromQLAlone(t *testing.T) {
	var got string
	m := &memory{}
	h := New(Options{
		Plan: m, Facts: m, Watch: m, Log: slog.New(slog.DiscardHandler),
		Prometheus: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { got = r.FormValue("query"); io.WriteString(w, "{}") }),
	})
	const form = "application/x-www-form-urlencoded"
	for _, c := range []struct {
		method, path, kind string
		header             http.Header
		code               int
	}{
		{"POST", "/prometheus/api/v1/query", form, nil, 200},
		{"POST", "/prometheus/api/v1/query", form + "; charset=utf-8", nil, 200},
		{"GET", "/prometheus/api/v1/query?query=up", "", nil, 200},
		{"GET", "/prometheus/api/v1/query?query=up", "", http.Header{"Sec-Fetch-Site": {"same-origin"}}, 200},
		{"GET", "/prometheus/api/v1/query?query=up", "", http.Header{"Sec-Fetch-Site": {"cross-site"}}, 403},
		{"POST", "/prometheus/api/v1/query", form, http.Header{"Sec-Fetch-Site": {"cross-site"}}, 403},
		{"POST", "/prometheus/api/v1/query", form, http.Header{"Origin": {"https://evil.example"}}, 403},
		{"POST", "/prometheus/api/v1/query", "text/plain", nil, 415},
		{"POST", "/prometheus/api/v1/query", "multipart/form-data; boundary=x", nil, 415},
		{"POST", "/prometheus/api/v1/query", "application/json", nil, 415},
		{"PUT", "/prometheus/api/v1/query", form, nil, 415},
		{"POST", "/api/devices", form, nil, 415},
		{"POST", "/prometheus/../api/devices", form, nil, 307}, // to a path where it is none
		{"POST", "/prometheusx", form, nil, 415},
	} {
		got = ""
		r := request(c.method, c.path, "query=up")
		r.Header = c.header.Clone()
		if r.Header == nil {
			r.Header = http.Header{}
		}
		r.Header.Set("Content-Type", c.kind)
		w := serve(h, r)
		if w.Code != c.code || (got == "up") != (c.code == 200) {
			t.Errorf("%s %s %s %v: %d, the question was %q; %s", c.method, c.path, c.kind, c.header, w.Code, got, strings.TrimSpace(w.Body.String()))
		}
	}
}
