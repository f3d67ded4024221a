package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"go.yaml.in/yaml/v4"

	"sereno"
	"sereno/notify"
	"sereno/probe"
)

// A section is a part of the list of devices: all of it, or a chunk.
type section struct {
	text  []byte // parsed again when a line is asked for; nil if nodes are kept
	shift int    // lines of the file before text
	nodes []*yaml.Node
	first int // devices before this one's first

	devices  []sereno.Device
	told     map[int][]string // of devices, counted in this section: keys whose mistakes are told already
	mistakes []Mistake
}

func parse(name string, text []byte, kinds []probe.Kind, channels []notify.Kind, size int) (*Config, error) {
	c := Default()
	r := &reader{kinds: kinds, channels: channels}
	sections, err := r.file(c, text, size)
	if err != nil {
		return nil, Errors{syntaxMistake(name, err)}
	}
	for _, s := range sections {
		s.first = len(c.Devices)
		c.Devices = append(c.Devices, s.devices...)
		s.devices = nil
		r.mistakes = append(r.mistakes, s.mistakes...)
	}
	r.plan(c.Devices, sections)
	if len(r.mistakes) > 0 {
		slices.SortStableFunc(r.mistakes, func(a, b Mistake) int { return a.Line - b.Line })
		for i := range r.mistakes {
			r.mistakes[i].File = name
		}
		return nil, Errors(r.mistakes)
	}
	for i := range c.Warnings {
		c.Warnings[i].File = name
	}
	for i := range c.Devices {
		slices.Sort(c.Devices[i].Tags)
		c.Devices[i].Tags = slices.Compact(c.Devices[i].Tags)
	}
	return c, nil
}

// file reads the whole file into c, but for the devices, which it returns in
// sections. A large file is cut into chunks, if that is sure to mean the same.
func (r *reader) file(c *Config, text []byte, size int) ([]*section, error) {
	if cut, ok := divide(text, size); ok {
		if root, err := load(cut.rest); err == nil && cut.fits(root) {
			if sections, ok := r.chunks(c, root, cut); ok {
				return sections, nil
			}
		}
	}
	*r = reader{kinds: r.kinds, channels: r.channels}
	*c = *Default()
	root, err := load(text)
	if err != nil || root == nil {
		return nil, err
	}
	devices := r.settingsOf(c, root)
	if devices == nil {
		return nil, nil
	}
	s := &section{nodes: r.items(devices, "devices")}
	s.read(r.kinds, r.defaults)
	return []*section{s}, nil
}

// settingsOf reads all but the devices and returns their node, nil if there is
// none.
func (r *reader) settingsOf(c *Config, root *yaml.Node) (devices *yaml.Node) {
	r.defaults = c.Defaults
	a := &alerting{book: &c.Alerting}
	keys := append(append(settingKeys(c), a.keys(root)...),
		key{"defaults", func(r *reader, v *yaml.Node) {
			before := len(r.mistakes)
			var told []string
			c.Defaults, told = r.policy(v, "defaults", c.Defaults, nil, nil)
			r.judge(v, c.Defaults.Validate(), told)
			if len(r.mistakes) == before { // else each check would repeat them
				r.defaults = c.Defaults
			}
		}},
		key{"devices", func(_ *reader, v *yaml.Node) { devices = v }},
	)
	told := r.mapping(root, "the file", keys, nil)
	r.judge(root, c.Validate(), told)
	c.Warnings = a.judge(r, root)
	return devices
}

// chunks reads the devices chunk by chunk, some at once, so that the nodes of
// a large file (some KB a device) are never all in memory. It is not ok when one of the
// chunks cannot stand alone.
func (r *reader) chunks(c *Config, root *yaml.Node, cut division) ([]*section, bool) {
	r.from, r.shift = cut.line, cut.lines
	_, devices := entry(root, "devices")
	*devices = yaml.Node{Kind: yaml.SequenceNode, Line: devices.Line} // for what was taken out
	r.settingsOf(c, root)
	var (
		wg     sync.WaitGroup
		next   atomic.Int64
		failed atomic.Bool
	)
	for range min(runtime.GOMAXPROCS(0), len(cut.sections)) {
		wg.Go(func() {
			for !failed.Load() {
				i := int(next.Add(1)) - 1
				if i >= len(cut.sections) {
					return
				}
				s := cut.sections[i]
				if !s.load() {
					failed.Store(true)
					return
				}
				s.read(r.kinds, r.defaults)
				s.nodes = nil
			}
		})
	}
	wg.Wait()
	return cut.sections, !failed.Load()
}

func (s *section) load() bool {
	if s.nodes != nil {
		return true
	}
	list, err := load(s.text)
	if err != nil || list == nil || list.Kind != yaml.SequenceNode {
		return false
	}
	s.nodes = list.Content
	return true
}

func (s *section) read(kinds []probe.Kind, defaults sereno.Policy) {
	r := reader{kinds: kinds, defaults: defaults, shift: s.shift}
	s.devices = make([]sereno.Device, 0, len(s.nodes))
	s.told = map[int][]string{}
	for i, n := range s.nodes {
		d, told := r.device(n)
		s.devices = append(s.devices, d)
		if len(told) > 0 {
			s.told[i] = told
		}
	}
	s.mistakes = r.mistakes
}

// plan applies the rules of the plan to all devices and finds the lines of
// what is wrong with them.
func (r *reader) plan(devices []sereno.Device, sections []*section) {
	for _, e := range sereno.ValidateDevices(devices, nil) {
		var i int
		if _, err := fmt.Sscanf(e.Field, "devices[%d]", &i); err != nil {
			r.mistakes = append(r.mistakes, Mistake{Line: 1, Text: e.Error()})
			continue
		}
		at := len(sections) - 1
		for sections[at].first > i {
			at--
		}
		s := sections[at]
		_, field, _ := strings.Cut(e.Field, ".")
		if slices.Contains(s.told[i-s.first], topKey(field)) || !s.load() {
			continue
		}
		for _, other := range sections {
			if other != s && other.text != nil {
				other.nodes = nil // one chunk's nodes at a time
			}
		}
		in := reader{shift: s.shift}
		r.mistakes = append(r.mistakes, Mistake{Line: in.line(find(s.nodes[i-s.first], field)), Text: e.Text})
	}
}

// load parses a text of one YAML document. The node is nil for an empty one.
func load(text []byte) (*yaml.Node, error) {
	loader, err := yaml.NewLoader(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	var doc, second yaml.Node
	if err := loader.Load(&doc); errors.Is(err, io.EOF) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	if err := loader.Load(&second); err == nil {
		return nil, yaml.NewLoadError(yaml.ParserStage, "a second document begins, and a configuration is one", yaml.Mark{Line: second.Line}, nil)
	} else if !errors.Is(err, io.EOF) {
		return nil, err
	}
	if doc.Kind != yaml.DocumentNode || len(doc.Content) == 0 || doc.Content[0].Tag == "!!null" {
		return nil, nil
	}
	return doc.Content[0], nil
}

func syntaxMistake(file string, err error) Mistake {
	m := Mistake{File: file, Line: 1, Text: fmt.Sprintf("this is not YAML: %s", err)}
	if e, ok := errors.AsType[*yaml.LoadError](err); ok {
		m.Line = max(1, e.Mark.Line)
		m.Text = "this is not YAML: " + e.Message
		if e.ContextMsg != "" {
			m.Text += " " + e.ContextMsg
		}
	}
	return m
}
