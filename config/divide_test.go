package config

import (
	"strings"
	"testing"
)

// The fuzz test compares both ways of parsing; this one knows that chunks are
// used at all.
func TestDivide(t *testing.T) {
	for _, story := range []struct {
		name, text string
		chunks     int // 0: not divided, or not parsed in chunks
	}{
		{"a list", "devices:\n  - {name: a, address: ::1}\n  - {name: b, address: ::1}\n", 2},
		{"a list at the margin, keys before and after", "data: x\ndevices: # all\n- name: a\n\n# note\n- name: b\n  address: ::1\nlisten: y\n", 0},
		{"the same without the comment", "data: x\ndevices:\n- name: a\n\n# note\n- name: b\n  address: ::1\nlisten: y\n", 2},
		{"one device", "devices:\n  - name: a\n", 0},
		{"flow style", "devices: [{name: a}, {name: b}]\n", 0},
		{"a text that looks like devices", "data: \"\ndevices:\n - a\n - b\n\"\n", 0},
		{"a quoted text over a cut", "devices:\n - name: \"a\n - b\"\n - name: c\n", 0},
		{"an anchor over a cut", "devices:\n - &a {name: a}\n - *a\n", 0},
		{"a directive", "%YAML 1.2\n---\ndevices:\n - name: a\n - name: b\n", 0},
		{"odd line breaks", "devices:\n - name: a\n - name: \"b\u2028\"\n", 0},
	} {
		t.Run(story.name, func(t *testing.T) {
			cut, ok := divide([]byte(story.text), 1)
			if ok {
				root, err := load(cut.rest)
				ok = err == nil && cut.fits(root)
			}
			for _, s := range cut.sections {
				ok = ok && s.load()
			}
			got := 0
			if ok {
				got = len(cut.sections)
			}
			if got != story.chunks {
				t.Errorf("got %d chunks, want %d", got, story.chunks)
			}
			if ok && strings.Contains(string(cut.rest), "name") {
				t.Errorf("a device was left behind: %q", cut.rest)
			}
		})
	}
}
