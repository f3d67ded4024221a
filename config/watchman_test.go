package config

import (
	"strings"
	"testing"
	"time"
)

func TestWatchman(t *testing.T) {
	t.Setenv("PEER_SECRET", "a secret of the two")
	c, err := Parse("f", []byte(`
name: plant1
deadman: {url: "https://example.org/ping/1", every: 30s, timeout: 5s, method: POST}
peers:
  - {name: plant2, url: "http://10.0.0.2:8080", secret: "${env:PEER_SECRET}", every: 5s, missing_after: 20s}
  - {name: plant3, secret: "${env:PEER_SECRET}"}
`), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if c.Name != "plant1" || c.Deadman == nil || c.Deadman.Every != 30*time.Second || c.Deadman.Method != "POST" || len(c.Peers) != 2 || c.Peers[0].Secret != "a secret of the two" || c.Peers[0].Missing != 20*time.Second {
		t.Errorf("%+v %+v", c.Deadman, c.Peers)
	}
}

func TestWatchmanMistakes(t *testing.T) {
	_, err := Parse("f", []byte(`
deadman:
  url: ftp://example.org
  every: 0
  metod: GET
peers:
  - name: plant2
    secret: "${env:NO_SUCH_SECRET}"
  - name: a
    secret: a secret of the two
    every: 1h
  - name: b
    secret: a secret of the two
  - name: b
    secret: a secret of the two
`), nil, nil)
	if err == nil {
		t.Fatal("no mistake was found")
	}
	for _, words := range []string{
		"f:3: url is where to call", "f:4: every is a length of time above zero", `f:5: there is no key "metod" in deadman; did you mean`,
		"f:8: secret: the environment has no variable NO_SUCH_SECRET", "f:11: every is 1s to 10m", `f:14: two peers are called "b"`,
	} {
		if !strings.Contains(err.Error(), words) {
			t.Errorf("%q is not among\n%s", words, err)
		}
	}
}
