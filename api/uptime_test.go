package api

import (
	"fmt"
	"net/http"
	"testing"

	"sereno"
)

func TestWhatCannotBeAnsweredJustNowMayBeAskedAgain(t *testing.T) {
	away := fmt.Errorf("load: %w", sereno.Errorf(sereno.Unavailable, "the samples are still being read back"))
	h, log := remembered(t, &memory{fail: away})
	got := serve(h, request("GET", "/api/devices", ""))
	if got.Code != http.StatusServiceUnavailable || got.Header().Get("Retry-After") == "" {
		t.Errorf("%d, Retry-After %q: %s", got.Code, got.Header().Get("Retry-After"), got.Body)
	}
	if said := log.String(); said != "" {
		t.Errorf("it is not an error of our own, but the log says %s", said)
	}
}
