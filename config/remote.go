package config

import (
	"net/url"
	"strings"

	"go.yaml.in/yaml/v4"

	"sereno/prometheus"
	"sereno/prometheus/remote"
)

// remoteWrite reads the list of stores that samples are sent on to.
func (r *reader) remoteWrite(n *yaml.Node, c *Config) {
	taken := map[string]bool{}
	for _, item := range r.items(n, "remote_write") {
		t, told := r.remoteTarget(item)
		before := len(r.mistakes)
		if r.judge(item, t.Validate(), told); len(r.mistakes) > before || len(told) > 0 {
			continue
		}
		if taken[t.Name] {
			r.wrong(find(item, "name"), "two targets of remote_write are called %q; give each a name of its own", t.Name)
		}
		taken[t.Name] = true
		c.RemoteWrite = append(c.RemoteWrite, t)
	}
}

func (r *reader) remoteTarget(n *yaml.Node) (t remote.Target, told []string) {
	text := func(name string, to *string) key {
		return key{name, func(r *reader, v *yaml.Node) { *to, _ = r.text(v, name) }}
	}
	secret := func(name string, to *string) key {
		return key{name, func(r *reader, v *yaml.Node) { *to, _ = r.secret(v, name) }}
	}
	told = r.mapping(n, "a target of remote_write", []key{
		text("name", &t.Name),
		secret("url", &t.URL),
		{"headers", func(r *reader, v *yaml.Node) { t.Headers = r.pairs(v, "headers", r.secret) }},
		secret("bearer_token", &t.BearerToken),
		secret("username", &t.Username),
		secret("password", &t.Password),
		{"labels", func(r *reader, v *yaml.Node) { t.Labels = r.pairs(v, "labels", r.text) }},
		{"timeout", func(r *reader, v *yaml.Node) { r.duration(v, "timeout", &t.Timeout) }},
		{"max_size", func(r *reader, v *yaml.Node) {
			var size Bytes
			r.size(v, "max_size", &size)
			t.MaxBytes = int64(size)
		}},
		{"max_age", func(r *reader, v *yaml.Node) { r.duration(v, "max_age", &t.MaxAge) }},
	}, nil)
	if u, err := url.Parse(t.URL); t.Name == "" && err == nil {
		t.Name = strings.Trim(strings.Map(func(c rune) rune {
			if c == ':' || c == '[' || c == ']' {
				return '-'
			}
			return c
		}, u.Host), "-")
	}
	if t.Name == "" {
		told = append(told, "name") // it follows from the url, which is wrong then
	}
	return t, told
}

// pairs reads a mapping of words to texts.
func (r *reader) pairs(n *yaml.Node, of string, read func(*yaml.Node, string) (string, bool)) map[string]string {
	pairs := map[string]string{}
	r.mapping(n, of, nil, func(k, v *yaml.Node) {
		if s, ok := read(v, k.Value); ok {
			pairs[k.Value] = s
		}
	})
	return pairs
}

// limitKeys are the keys of prometheus.
func limitKeys(l *prometheus.Limits) []key {
	return []key{
		{"timeout", func(r *reader, v *yaml.Node) { r.duration(v, "timeout", &l.Timeout) }},
		{"samples", func(r *reader, v *yaml.Node) { r.number(v, "samples", &l.Held) }},
		{"reads", func(r *reader, v *yaml.Node) { r.number(v, "reads", &l.Read) }},
		{"concurrent", func(r *reader, v *yaml.Node) { r.number(v, "concurrent", &l.Concurrent) }},
	}
}
