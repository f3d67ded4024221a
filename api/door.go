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

// maxBody is the largest body of a request, in bytes.
const maxBody = 1 << 20

// door stands before all routes. Until there are users, whoever can connect
// may do anything, and a browser on this machine can be made to connect by any
// page it shows. So a request must be meant for this machine (a name that was
// rebound to 127.0.0.1 is not), and one that changes something must not come
// from another site and must be JSON, which a plain form cannot send.
func door(anyHost bool, log *slog.Logger, next http.Handler) http.Handler {
	origin := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer recovered(w, r, log)
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")

		if !anyHost && !loopbackHost(r.Host) {
			refuse(w, http.StatusMisdirectedRequest, "this server answers to localhost and to loopback addresses only")
			return
		}
		if err := origin.Check(r); err != nil {
			refuse(w, http.StatusForbidden, "a page of another site may not change anything here")
			return
		}
		if r.Method == http.MethodPost || r.Method == http.MethodPut || r.Method == http.MethodPatch {
			if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
				refuse(w, http.StatusUnsupportedMediaType, "the body must be JSON, with Content-Type: application/json")
				return
			}
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		next.ServeHTTP(w, r)
	})
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
