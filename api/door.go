package api

import (
	"fmt"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strings"
)

// promQL is where programs that speak Prometheus ask.
const promQL = "/prometheus/"

// maxBody is the largest body of a request, in bytes.
const maxBody = 1 << 20

// door stands before all routes. Until there are users, whoever can connect
// may do anything, and a browser on this machine can be made to connect by any
// page it shows. So a request must be meant for this machine (a name that was
// rebound to 127.0.0.1 is not), and one that changes something must not come
// from another site and must be JSON, which a plain form cannot send. Only
// questions in PromQL, which change nothing, are forms, as Prometheus has them,
// and what is said by a link, whose address nobody else can know.
func door(anyHost bool, links linkDoor, log *slog.Logger, next http.Handler) http.Handler {
	origin := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer recovered(w, r, log)
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")

		link := links.mine(r)
		if !anyHost && !loopbackHost(r.Host) && !(link && links.host(r)) {
			refuse(w, http.StatusMisdirectedRequest, "this server answers to localhost and to loopback addresses only")
			return
		}
		if err := origin.Check(r); err != nil && !(link && links.origin(r)) {
			refuse(w, http.StatusForbidden, "a page of another site may not change anything here")
			return
		}
		if r.Header.Get("Sec-Fetch-Site") == "cross-site" && costly(r) {
			refuse(w, http.StatusForbidden, "a page of another site may not put questions here: they cost too much")
			return
		}
		if r.Method == http.MethodPost || r.Method == http.MethodPut || r.Method == http.MethodPatch {
			wanted := "application/json"
			if r.Method == http.MethodPost && (link || strings.HasPrefix(r.URL.Path, promQL)) {
				wanted = "application/x-www-form-urlencoded"
			}
			if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != wanted {
				what := "JSON"
				if wanted != "application/json" {
					what = "a form"
				}
				refuse(w, http.StatusUnsupportedMediaType, "the body must be "+what+", with Content-Type: "+wanted)
				return
			}
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		next.ServeHTTP(w, r)
	})
}

// costly reports whether a request reads so much that a page of another site,
// which may not see the answer, must not be able to have it made. Somebody who
// follows a link of that page may.
func costly(r *http.Request) bool {
	if strings.HasPrefix(r.URL.Path, promQL) {
		return true
	}
	for _, path := range []string{"/api/backup", "/api/doctor", "/api/events", "/api/export/", "/api/replay", "/api/report"} {
		if strings.HasPrefix(r.URL.Path, path) {
			return r.Header.Get("Sec-Fetch-Dest") != "document"
		}
	}
	return false
}

// loopbackHost reports whether a Host header names this machine and nothing
// that a resolver could have been lied to about.
func loopbackHost(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if strings.EqualFold(strings.TrimSuffix(host, "."), "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(host, "["), "]"))
	return err == nil && addr.Unmap().IsLoopback()
}

// recovered makes a panic one failed request, and a line in the log.
func recovered(w http.ResponseWriter, r *http.Request, log *slog.Logger) {
	p := recover()
	if p == nil {
		return
	}
	if p == http.ErrAbortHandler { //nolint:errorlint // the server compares in the same way
		panic(p)
	}
	if r.Context().Err() == nil {
		log.Error("request failed", "method", r.Method, "path", r.URL.Path, "err", fmt.Sprint(p), "stack", string(debug.Stack()))
	}
	refuse(w, http.StatusInternalServerError, ours)
}
