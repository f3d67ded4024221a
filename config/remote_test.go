package config

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"sereno/prometheus/remote"
)

func TestRemoteWrite(t *testing.T) {
	dir := t.TempDir()
	secret := filepath.Join(dir, "password")
	if err := os.WriteFile(secret, []byte("from a file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("STORE_TOKEN", "from the environment")
	c, err := Parse("s.yaml", []byte(`
remote_write:
  - url: https://mimir.example:8443/api/v1/push
    headers: {X-Scope-OrgID: "42", X-Key: "a ${env:STORE_TOKEN} b"}
    username: sereno
    password: ${file:`+secret+`}
    labels: {site: plant1}
    timeout: 10s
    max_size: 2GB
    max_age: 2d
  - {name: local, url: "http://127.0.0.1:9090/api/v1/write", bearer_token: "${env:STORE_TOKEN}"}
prometheus: {timeout: 1m, concurrent: 2}
`), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := []remote.Target{
		{
			Name: "mimir.example-8443", URL: "https://mimir.example:8443/api/v1/push", Headers: map[string]string{"X-Scope-OrgID": "42", "X-Key": "a from the environment b"},
			Username: "sereno", Password: "from a file", Labels: map[string]string{"site": "plant1"}, Timeout: 10 * time.Second, MaxBytes: 2e9, MaxAge: 48 * time.Hour,
		},
		{Name: "local", URL: "http://127.0.0.1:9090/api/v1/write", BearerToken: "from the environment"},
	}
	if !reflect.DeepEqual(c.RemoteWrite, want) {
		t.Errorf("read %+v", c.RemoteWrite)
	}
	if l := c.Prometheus; l.Timeout != time.Minute || l.Concurrent != 2 || l.Held != Default().Prometheus.Held {
		t.Errorf("the limits are %+v", l)
	}
}

func TestMistakesOfRemoteWrite(t *testing.T) {
	for text, want := range map[string]string{
		"remote_write: {url: x}":                                                        `s.yaml:1: remote_write is a list, not a mapping; write [a, b], or each on a line of its own after a hyphen`,
		"remote_write:\n  - name: a":                                                    `s.yaml:2: a target of remote_write needs a url, such as https://metrics.example/api/v1/write`,
		"remote_write:\n  - url: store.example":                                         `s.yaml:2: url begins with http:// or https:// and a host`,
		"remote_write:\n  - url: http://a/\n    bearer: x":                              `s.yaml:3: there is no key "bearer" in a target of remote_write; there are name, url, headers, bearer_token, username, password, labels, timeout, max_size, max_age`,
		"remote_write:\n  - url: http://a/\n    bearer_token: ${env:NOT_SET_AT_ALL}":    `s.yaml:3: bearer_token: the environment has no variable NOT_SET_AT_ALL, which ${env:NOT_SET_AT_ALL} asks for`,
		"remote_write:\n  - url: http://a/\n    username: u\n    password: ${file:/no}": `s.yaml:4: password: ${file:/no} cannot be read: open /no: no such file or directory`,
		"remote_write:\n  - url: http://a/1\n  - url: http://a/2":                       `s.yaml:3: two targets of remote_write are called "a"; give each a name of its own`,
		"remote_write:\n  - url: http://a/\n    labels: {device: x}":                    `s.yaml:3: every series has a label "device" already`,
		"remote_write:\n  - url: http://a/\n    max_size: 1MB":                          `s.yaml:3: max_size is at least 16 MB`,
		"remote_write:\n  - url: http://me:s3cret@a/":                                   `s.yaml:2: write the user of a as username and password, not in its url: urls end up in logs`,
		"samples: {off: true}\nremote_write:\n  - url: http://a/":                       `s.yaml:2: remote_write sends on what samples keep, and samples.off keeps none: leave out one of them`,
		"prometheus: {timeout: 1h}":                                                     `s.yaml:1: prometheus.timeout is 1s to 10m0s, not 1h0m0s`,
		"prometheus: {concurrent: 0}":                                                   `s.yaml:1: prometheus.concurrent is a number from 1 to 100, not 0`,
	} {
		_, err := Parse("s.yaml", []byte(text), nil, nil)
		if err == nil {
			t.Errorf("%q is taken", text)
			continue
		}
		if got := err.Error(); got != want || strings.Contains(got, "s3cret") {
			t.Errorf("%q\n  is   %s\n  want %s", text, got, want)
		}
	}
}
