package remote

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"sereno"
)

// A Target is a store elsewhere that takes samples by remote write 1.0:
// Prometheus, Mimir, Thanos, VictoriaMetrics and their kin.
type Target struct {
	Name        string            // of its folder and in its metrics; letters, digits, "-", "_", "."
	URL         string            // "https://metrics.example/api/v1/push"
	Headers     map[string]string // added to each request ("X-Scope-OrgID")
	BearerToken string            // or Username and Password; none of them: no Authorization
	Username    string
	Password    string
	Labels      map[string]string // added to each series, to tell this Sereno from others
	Timeout     time.Duration     // of one request; 0: 30 s
	MaxBytes    int64             // of what waits on disk, the oldest goes first; 0: 1 GB
	MaxAge      time.Duration     // of what waits; 0: 24 h
}

// Defaults of a Target.
const (
	DefaultTimeout  = 30 * time.Second
	DefaultMaxBytes = 1_000_000_000
	DefaultMaxAge   = 24 * time.Hour
)

func (t Target) orDefault() Target {
	if t.Timeout == 0 {
		t.Timeout = DefaultTimeout
	}
	if t.MaxBytes == 0 {
		t.MaxBytes = DefaultMaxBytes
	}
	if t.MaxAge == 0 {
		t.MaxAge = DefaultMaxAge
	}
	return t
}

var (
	namePattern  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)
	labelPattern = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
)

// own are the labels that series have already.
var own = []string{"check", "device", "kind", "vantage"}

// Validate returns every mistake, Field being the key of the configuration
// file. No sentence holds a secret.
func (t Target) Validate() []*sereno.Error {
	var errs []*sereno.Error
	wrong := func(field, format string, args ...any) {
		errs = append(errs, &sereno.Error{Kind: sereno.Invalid, Field: field, Text: fmt.Sprintf(format, args...)})
	}
	switch u, err := url.Parse(t.URL); {
	case t.URL == "":
		wrong("url", "a target of remote_write needs a url, such as https://metrics.example/api/v1/write")
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		wrong("url", "url begins with http:// or https:// and a host")
	case u.User != nil:
		wrong("url", "write the user of %s as username and password, not in its url: urls end up in logs", u.Host)
	}
	if !namePattern.MatchString(t.Name) {
		wrong("name", "the name of a target is 1 to 63 letters, digits, '-', '_' or '.', and begins with a letter or a digit; not %q", t.Name)
	}
	if t.BearerToken != "" && (t.Username != "" || t.Password != "") {
		wrong("bearer_token", "a target has a bearer_token, or a username and a password, not both")
	}
	if t.Password != "" && t.Username == "" {
		wrong("password", "a password needs a username")
	}
	for _, name := range slices.Sorted(maps.Keys(t.Headers)) {
		switch canonical := http.CanonicalHeaderKey(name); {
		case !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(t.Headers[name]):
			wrong("headers", "%q is no header that can be sent", name)
		case slices.Contains([]string{"Authorization", "Content-Encoding", "Content-Length", "Content-Type", "Host", "User-Agent", "X-Prometheus-Remote-Write-Version"}, canonical):
			wrong("headers", "%s is set by Sereno itself (a password or a token has its own key)", canonical)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(t.Labels)) {
		switch {
		case !labelPattern.MatchString(name) || strings.HasPrefix(name, "__"):
			wrong("labels", "%q is no name of a label: letters, digits and '_', not beginning with a digit or '__'", name)
		case slices.Contains(own, name):
			wrong("labels", "every series has a label %q already", name)
		case t.Labels[name] == "":
			wrong("labels", "the label %s needs a value", name)
		}
	}
	within := func(field string, v, least, most time.Duration) {
		if v != 0 && (v < least || v > most) {
			wrong(field, "%s is %s to %s, not %s", field, least, most, v)
		}
	}
	within("timeout", t.Timeout, time.Second, 5*time.Minute)
	within("max_age", t.MaxAge, time.Minute, 31*24*time.Hour)
	if t.MaxBytes != 0 && t.MaxBytes < leastBytes {
		wrong("max_size", "max_size is at least %d MB", leastBytes/1_000_000)
	}
	return errs
}
