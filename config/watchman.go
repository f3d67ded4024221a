package config

import (
	"time"

	"go.yaml.in/yaml/v4"

	"sereno/deadman"
	"sereno/peer"
)

// deadman reads the URL that is called for as long as all is well.
func (r *reader) deadman(n *yaml.Node, c *Config) {
	t := deadman.Target{}
	told := r.mapping(n, "deadman", []key{
		{"url", func(r *reader, v *yaml.Node) { t.URL, _ = r.secret(v, "url") }},
		{"every", func(r *reader, v *yaml.Node) { r.length(v, "every", &t.Every) }},
		{"timeout", func(r *reader, v *yaml.Node) { r.length(v, "timeout", &t.Timeout) }},
		{"method", func(r *reader, v *yaml.Node) { t.Method, _ = r.text(v, "method") }},
	}, nil)
	before := len(r.mistakes)
	if r.judge(n, t.Validate(), told); len(r.mistakes) == before && len(told) == 0 {
		c.Deadman = &t
	}
}

// length is a duration that is not 0, which would stand for the default.
func (r *reader) length(n *yaml.Node, of string, to *time.Duration) {
	before := len(r.mistakes)
	if r.duration(n, of, to); *to == 0 && len(r.mistakes) == before {
		r.wrong(n, "%s is a length of time above zero; leave it out for the usual one", of)
	}
}

// peers reads the other Serenos that are watched, and watch this one.
func (r *reader) peers(n *yaml.Node, c *Config) {
	taken := map[string]bool{}
	for _, item := range r.items(n, "peers") {
		var p peer.Peer
		text := func(name string, to *string) key {
			return key{name, func(r *reader, v *yaml.Node) { *to, _ = r.text(v, name) }}
		}
		told := r.mapping(item, "a peer", []key{
			text("name", &p.Name),
			text("url", &p.URL),
			{"secret", func(r *reader, v *yaml.Node) { p.Secret, _ = r.secret(v, "secret") }},
			{"every", func(r *reader, v *yaml.Node) { r.length(v, "every", &p.Every) }},
			{"missing_after", func(r *reader, v *yaml.Node) { r.length(v, "missing_after", &p.Missing) }},
		}, nil)
		before := len(r.mistakes)
		if r.judge(item, p.Validate(), told); len(r.mistakes) > before || len(told) > 0 {
			continue
		}
		if taken[p.Name] {
			r.wrong(find(item, "name"), "two peers are called %q; a Sereno calls itself by one name (name)", p.Name)
		}
		taken[p.Name] = true
		c.Peers = append(c.Peers, p)
	}
}
