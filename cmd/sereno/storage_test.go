package main

import (
	"fmt"
	"net/http"
	"testing"
)

func TestStatusTellsThatStorageFails(t *testing.T) {
	const away = `{"now":"2026-11-21T12:00:00Z","settled":"2026-11-21T12:00:00Z","devices":{"total":3,"up":2,"down":1},"storage":{"status":"waiting","fault":"the database cannot be reached"}}`
	for _, story := range []struct {
		name  string
		lists bool
		want  string
		told  string // by the statistics
	}{
		{"and yet the store can be read", true, "All is calm: 3 devices up. Attention: the disk is full.\n", `{"now":"2026-11-21T12:00:00Z","devices":{"total":3,"up":3},"storage":{"status":"degraded","fault":"the disk is full"}}`},
		{"and cannot be read", false, "Of 3 devices 2 are up, 1 down, 0 degraded, 0 not known; which they are cannot be read just now. Attention: the database cannot be reached.\n", away},
		{"and nothing had to be written yet", false, "Of 3 devices 3 are up, 0 down, 0 degraded, 0 not known; which they are cannot be read just now. Attention: the database cannot be reached; ask again later.\n", `{"now":"2026-11-21T12:00:00Z","devices":{"total":3,"up":3},"storage":{"status":"ok"}}`},
	} {
		t.Run(story.name, func(t *testing.T) {
			out, _, _ := ask(t, func(w http.ResponseWriter, r *http.Request) {
				switch {
				case r.URL.Path == "/api/statistics":
					fmt.Fprint(w, story.told)
				case story.lists:
					fmt.Fprint(w, `{"items":[],"next_cursor":null}`)
				default:
					w.Header().Set("Content-Type", "application/problem+json")
					w.WriteHeader(http.StatusServiceUnavailable)
					fmt.Fprint(w, `{"status":503,"title":"Service Unavailable","detail":"the database cannot be reached; ask again later"}`)
				}
			}, "status")
			if out != story.want {
				t.Errorf("got %q, want %q", out, story.want)
			}
		})
	}
}
