package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"sereno"
	"sereno/alert"
	"sereno/maintenance"
	"sereno/notify"
)

// An alerting is what the file says of alerting while it is read: places where
// something is wrong already, so that the rules of the book do not repeat it.
type alerting struct {
	book  *alert.Book
	zone  *time.Location // in which the file writes times
	zoned string         // its name, if the file says it
	told  []string       // fields of the book
	blank []string       // fields of channels whose kind cannot be judged
	vague bool           // the name of a channel may be missing
}

// alertingKeys are the keys of the file that make the book. Times are written
// in the zone of the file, wherever in it that stands.
func (a *alerting) keys(root *yaml.Node) []key {
	list := func(name string, read func(r *reader, n *yaml.Node, field string)) key {
		return key{name, func(r *reader, v *yaml.Node) {
			for i, item := range r.items(v, name) {
				read(r, item, fmt.Sprintf("%s[%d]", name, i))
			}
		}}
	}
	_, zone := entry(root, "zone")
	a.zone = time.Local
	if zone != nil {
		if loc, err := sereno.LoadZone(resolve(zone).Value); err == nil {
			a.zone, a.zoned = loc, resolve(zone).Value
		}
	}
	return []key{
		{"url", func(r *reader, v *yaml.Node) { a.book.URL, _ = r.text(v, "url") }},
		{"zone", func(r *reader, v *yaml.Node) { a.book.Zone, _ = r.text(v, "zone") }},
		list("channels", a.channel),
		list("policies", a.policy),
		list("maintenance", a.window),
		list("silences", a.silence),
		{"templates", func(r *reader, v *yaml.Node) {
			told := r.mapping(v, "templates", templateKeys(&a.book.Templates), nil)
			a.note("templates", told)
		}},
	}
}

// note keeps which keys of a field need not be judged again.
func (a *alerting) note(field string, told []string) {
	for _, name := range told {
		a.told = append(a.told, field+"."+name)
	}
}

// known reports whether something is told about a field, or about what it is in.
func (a *alerting) known(field string) bool {
	if a.vague && (strings.Contains(field, ".channels[") || strings.HasSuffix(field, ".fallback")) {
		return true
	}
	for _, channel := range a.blank {
		if rest, ok := strings.CutPrefix(field, channel); ok && (rest == "" || rest[0] == '.' && !ofAnyChannel(rest[1:])) {
			return true
		}
	}
	return slices.ContainsFunc(a.told, func(told string) bool {
		rest, ok := strings.CutPrefix(field, told)
		return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
	})
}

// channel reads one channel: a mapping of its name, its kind with its settings,
// and what is said of any channel.
func (a *alerting) channel(r *reader, n *yaml.Node, field string) {
	c := alert.Channel{FromFile: true}
	var kinds []string // as they are written
	names := make([]string, len(r.channels))
	keys := []key{
		{"name", func(r *reader, v *yaml.Node) { c.Name, _ = r.text(v, "name") }},
		{"fallback", func(r *reader, v *yaml.Node) { c.Fallback, _ = r.text(v, "fallback") }},
		{"fallback_after", func(r *reader, v *yaml.Node) { r.length(v, "fallback_after", &c.FallbackAfter) }},
		{"give_up", func(r *reader, v *yaml.Node) { r.length(v, "give_up", &c.GiveUp) }},
		{"templates", func(r *reader, v *yaml.Node) {
			told := r.mapping(v, "templates", templateKeys(&c.Templates), nil)
			a.note(field+".templates", told)
		}},
	}
	for i, kind := range r.channels {
		names[i] = kind.Name()
		keys = append(keys, key{kind.Name(), func(r *reader, v *yaml.Node) {
			kinds = append(kinds, kind.Name())
			c.Kind = kind.Name()
			c.Settings, c.Hidden = r.channelSettings(v, kind.Name())
		}})
	}
	before := len(r.mistakes)
	told := r.mapping(n, "a channel", keys, nil)
	switch {
	case len(kinds) > 1:
		r.wrong(n, "a channel is of one kind, not both %s and %s: make two of it", kinds[0], kinds[1])
	case len(kinds) == 0 && len(r.mistakes) == before:
		r.wrong(n, "a channel needs its kind with its settings, such as ntfy: {topic: alerts}; there are %s", strings.Join(names, ", "))
	}
	if len(r.mistakes) > before {
		told = append(told, "kind", "settings")
	}
	if len(kinds) != 1 || slices.Contains(told, c.Kind) {
		a.blank = append(a.blank, field)
	}
	a.vague = a.vague || slices.Contains(told, "name")
	a.note(field, told)
	a.book.Channels = append(a.book.Channels, c)
}

// ofAnyChannel reports whether a field of a channel is none of its kind's
// settings.
func ofAnyChannel(field string) bool {
	return slices.Contains([]string{"name", "fallback", "fallback_after", "give_up", "templates"}, topKey(field))
}

// channelSettings turns the settings of a channel into JSON. Texts may refer to
// secrets; the settings in which one does are returned.
func (r *reader) channelSettings(n *yaml.Node, of string) (settings json.RawMessage, referring []string) {
	before := len(r.mistakes)
	m := resolve(n)
	if m.Kind != yaml.MappingNode {
		r.wrong(n, "%s is a mapping of its settings, not %s", of, what(n))
		return nil, nil
	}
	var bounded any
	if aliased(n) && n.Load(&bounded) != nil { // such as an alias inside of what it stands for
		r.wrong(n, "the settings of %s cannot be read", of)
		return nil, nil
	}
	value := r.plain(n, of)
	if len(r.mistakes) > before {
		return nil, nil
	}
	raw, err := json.Marshal(value)
	if err != nil {
		r.wrong(n, "the settings of %s cannot be read: %s", of, err)
		return nil, nil
	}
	for i := 0; i+1 < len(m.Content); i += 2 {
		if refers(m.Content[i+1]) {
			referring = append(referring, m.Content[i].Value)
		}
	}
	return raw, referring
}

// aliased reports whether a node has aliases.
func aliased(n *yaml.Node) bool {
	return n.Kind == yaml.AliasNode || slices.ContainsFunc(n.Content, aliased)
}

// refers reports whether any text in a node stands elsewhere.
func refers(n *yaml.Node) bool {
	s := resolve(n)
	return s.Kind == yaml.ScalarNode && reference.MatchString(s.Value) || slices.ContainsFunc(s.Content, refers)
}

// plain is a node as JSON has it: texts with what they refer to, numbers,
// true and false, lists, mappings.
func (r *reader) plain(n *yaml.Node, of string) any {
	switch s := resolve(n); s.Kind {
	case yaml.MappingNode:
		m := map[string]any{}
		r.mapping(n, of, nil, func(k, v *yaml.Node) {
			if resolve(v).Tag == "!!null" {
				r.wrong(k, "%s has no value; give it one or leave it out", k.Value)
				return
			}
			m[k.Value] = r.plain(v, k.Value)
		})
		return m
	case yaml.SequenceNode:
		list := make([]any, len(s.Content))
		for i, item := range s.Content {
			list[i] = r.plain(item, of)
		}
		return list
	default:
		switch s.Tag {
		case "!!bool":
			return s.Value == "true"
		case "!!int":
			if i, err := strconv.ParseInt(s.Value, 10, 64); err == nil && strconv.FormatInt(i, 10) == s.Value {
				return json.Number(s.Value)
			}
		case "!!float":
			if f, err := strconv.ParseFloat(s.Value, 64); err == nil && !math.IsInf(f, 0) && !math.IsNaN(f) {
				return f
			}
		}
		text, _ := r.secret(n, of)
		return text
	}
}

// events are what texts can be written for.
var events = []notify.Event{notify.Opened, notify.Reminder, notify.Acknowledged, notify.Changed, notify.Closed, notify.Digest, notify.Test}

// templateKeys are the keys of templates: the events.
func templateKeys(to *map[string]alert.Template) (keys []key) {
	for _, event := range events {
		keys = append(keys, key{string(event), func(r *reader, v *yaml.Node) {
			var t alert.Template
			r.mapping(v, string(event), []key{
				{"title", func(r *reader, v *yaml.Node) { t.Title, _ = r.text(v, "title") }},
				{"text", func(r *reader, v *yaml.Node) { t.Text, _ = r.text(v, "text") }},
			}, nil)
			if *to == nil {
				*to = map[string]alert.Template{}
			}
			(*to)[string(event)] = t
		}})
	}
	return keys
}

// policy reads who hears what, when.
func (a *alerting) policy(r *reader, n *yaml.Node, field string) {
	p := alert.Policy{FromFile: true}
	told := r.mapping(n, "a policy", []key{
		{"name", func(r *reader, v *yaml.Node) { p.Name, _ = r.text(v, "name") }},
		{"match", func(r *reader, v *yaml.Node) { p.Match, _ = r.text(v, "match") }},
		{"continue", func(r *reader, v *yaml.Node) { r.boolean(v, "continue", &p.Continue) }},
		{"severity", func(r *reader, v *yaml.Node) { r.severity(v, "severity", &p.Severity) }},
		{"raise", func(r *reader, v *yaml.Node) {
			for _, item := range r.items(v, "raise") {
				var raise alert.Raise
				told := r.mapping(item, "an item of raise", []key{
					{"after", func(r *reader, v *yaml.Node) { r.length(v, "after", &raise.After) }},
					{"to", func(r *reader, v *yaml.Node) { r.severity(v, "to", &raise.To) }},
				}, nil)
				if r.needs(item, "an item of raise", told, "after", "to") || len(told) > 0 {
					a.told = append(a.told, field+".raise") // they are judged by each other
				}
				p.Raise = append(p.Raise, raise)
			}
		}},
		{"group_wait", func(r *reader, v *yaml.Node) {
			if r.duration(v, "group_wait", &p.GroupWait); p.GroupWait < 0 {
				r.wrong(v, "group_wait is a length of time, or 0s to gather nothing, not %s", what(v))
			} else if p.GroupWait == 0 {
				p.GroupWait = -1
			}
		}},
		{"group_by", func(r *reader, v *yaml.Node) { p.GroupBy = orNone(r.texts(v, "group_by", "a key of group_by")) }},
		{"settle", func(r *reader, v *yaml.Node) { r.length(v, "settle", &p.Settle) }},
		{"quiet", func(r *reader, v *yaml.Node) {
			for i, item := range r.items(v, "quiet") {
				p.Quiet = append(p.Quiet, a.quiet(r, item, fmt.Sprintf("%s.quiet[%d]", field, i)))
			}
		}},
		{"steps", func(r *reader, v *yaml.Node) {
			p.Steps = []alert.Step{}
			for i, item := range r.items(v, "steps") {
				p.Steps = append(p.Steps, a.step(r, item, fmt.Sprintf("%s.steps[%d]", field, i)))
			}
		}},
	}, nil)
	// What is wrong within these is told of each item by itself.
	told = slices.DeleteFunc(told, func(name string) bool {
		return (name == "raise" || name == "quiet" || name == "steps") && len(resolveItems(n, name)) > 0
	})
	a.note(field, told)
	a.book.Policies = append(a.book.Policies, p)
}

// resolveItems returns the elements of a list below a key.
func resolveItems(n *yaml.Node, name string) []*yaml.Node {
	if _, v := entry(n, name); v != nil && resolve(v).Kind == yaml.SequenceNode {
		return resolve(v).Content
	}
	return nil
}

// orNone makes a list that is written and empty differ from one left out.
func orNone(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

func (a *alerting) quiet(r *reader, n *yaml.Node, field string) (q alert.Quiet) {
	text := func(name string, to *string) key {
		return key{name, func(r *reader, v *yaml.Node) { *to, _ = r.text(v, name) }}
	}
	told := r.mapping(n, "quiet hours", []key{
		text("from", &q.From),
		text("to", &q.To),
		{"days", func(r *reader, v *yaml.Node) { q.Days = r.texts(v, "days", "a day") }},
		text("zone", &q.Zone),
		text("except", &q.Except),
	}, nil)
	a.note(field, told)
	return q
}

func (a *alerting) step(r *reader, n *yaml.Node, field string) (s alert.Step) {
	told := r.mapping(n, "a step", []key{
		{"after", func(r *reader, v *yaml.Node) { r.duration(v, "after", &s.After) }},
		{"unless", func(r *reader, v *yaml.Node) {
			if word, ok := r.text(v, "unless"); ok && word != "acknowledged" {
				r.wrong(v, "unless can be acknowledged, not %s", what(v))
			}
			s.UnlessAcknowledged = true
		}},
		{"channels", func(r *reader, v *yaml.Node) {
			if all := resolve(v); all.Kind == yaml.ScalarNode {
				if all.Value != "all" {
					r.wrong(v, "channels is a list of their names such as [ops-mail], or all, not %s", what(v))
				}
				return
			}
			if s.Channels = r.texts(v, "channels", "the name of a channel"); len(resolve(v).Content) == 0 {
				r.wrong(v, "a step tells at least one channel; write all, or leave channels out, for every channel there is")
			}
		}},
		{"remind", func(r *reader, v *yaml.Node) {
			for _, item := range r.items(v, "remind") {
				var d time.Duration
				r.duration(item, "a reminder", &d)
				s.Remind = append(s.Remind, d)
			}
		}},
	}, nil)
	a.note(field, told)
	return s
}

func (a *alerting) window(r *reader, n *yaml.Node, field string) {
	var w maintenance.Window
	text := func(name string, to *string) key {
		return key{name, func(r *reader, v *yaml.Node) { *to, _ = r.text(v, name) }}
	}
	told := r.mapping(n, "a maintenance window", []key{
		text("name", &w.Name),
		text("match", &w.Match),
		text("rrule", &w.RRule),
		text("start", &w.Start),
		text("zone", &w.Zone),
		{"length", func(r *reader, v *yaml.Node) { r.duration(v, "length", &w.Length) }},
		text("reason", &w.Reason),
	}, nil)
	if w.Zone == "" && !slices.Contains(told, "zone") {
		w.Zone = a.zoned
	}
	a.note(field, told)
	a.book.Windows = append(a.book.Windows, w)
}

func (a *alerting) silence(r *reader, n *yaml.Node, field string) {
	s := alert.Silence{FromFile: true}
	moment := func(name string, to *sereno.Instant) key {
		return key{name, func(r *reader, v *yaml.Node) {
			if text, ok := r.text(v, name); ok {
				at, err := parseMoment(text, a.zone)
				if err != nil {
					r.wrong(v, "%s: %s", name, err)
				}
				*to = at
			}
		}}
	}
	told := r.mapping(n, "a silence", []key{
		{"name", func(r *reader, v *yaml.Node) { s.Name, _ = r.text(v, "name") }},
		{"match", func(r *reader, v *yaml.Node) { s.Match, _ = r.text(v, "match") }},
		moment("from", &s.From),
		moment("until", &s.Until),
		{"reason", func(r *reader, v *yaml.Node) { s.Reason, _ = r.text(v, "reason") }},
	}, nil)
	a.note(field, told)
	a.book.Silences = append(a.book.Silences, s)
}

// parseMoment reads a time, or a day and a time by the clock on a wall.
func parseMoment(s string, zone *time.Location) (sereno.Instant, error) {
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return sereno.At(t), nil
	}
	for _, layout := range []string{"2006-01-02T15:04", "2006-01-02 15:04", "2006-01-02T15:04:05", time.DateTime, time.DateOnly} {
		if t, err := time.ParseInLocation(layout, s, zone); err == nil {
			return sereno.At(t), nil
		}
	}
	return 0, fmt.Errorf("%q is no time such as 2026-12-24T18:00, or 2026-12-24T17:00:00Z", clip(s))
}

func (r *reader) severity(n *yaml.Node, of string, to *sereno.Severity) {
	if s, ok := r.text(n, of); ok && (s == "" || to.UnmarshalText([]byte(s)) != nil) {
		r.wrong(n, "%s is critical, high, medium or low, not %s", of, what(n))
	}
}

// needs tells which keys a mapping lacks, and whether it lacks any.
func (r *reader) needs(n *yaml.Node, of string, told []string, names ...string) (lacks bool) {
	for _, name := range names {
		if resolve(n).Kind == yaml.MappingNode && !has(n, name) && !slices.Contains(told, name) {
			r.wrong(n, "%s needs %s", of, name)
			lacks = true
		}
	}
	return lacks
}

// judge applies the rules of the book to what was read, and returns what is
// allowed and surely not meant.
func (a *alerting) judge(r *reader, root *yaml.Node) (warnings []Mistake) {
	if reflect.DeepEqual(*a.book, alert.Book{}) {
		return nil
	}
	plan, err := a.book.Compile(r.channels, notify.Options{Commands: true, Log: slog.New(slog.DiscardHandler)})
	for e := range allOf(err) {
		if !a.known(e.Field) {
			r.wrong(inBook(root, e.Field), "%s", a.sentence(e))
		}
	}
	if err != nil {
		return nil
	}
	for _, text := range plan.Warnings {
		line := 1
		for i, p := range a.book.Policies {
			if strings.HasPrefix(text, fmt.Sprintf("policy %q ", p.Name)) {
				line = r.line(inBook(root, fmt.Sprintf("policies[%d]", i)))
			}
		}
		warnings = append(warnings, Mistake{Line: line, Text: text})
	}
	return warnings
}

// sentence says what is wrong. Of a setting it says which, and of what kind: its
// line may hold several.
func (a *alerting) sentence(e *sereno.Error) string {
	var i int
	if _, err := fmt.Sscanf(e.Field, "channels[%d]", &i); err != nil || i >= len(a.book.Channels) {
		return e.Text
	}
	_, setting, _ := strings.Cut(e.Field, "].")
	if setting == "" || ofAnyChannel(setting) {
		return e.Text
	}
	if rest, ok := strings.CutPrefix(e.Text, "it "); ok {
		return fmt.Sprintf("%s: %s %s", a.book.Channels[i].Kind, setting, rest)
	}
	return a.book.Channels[i].Kind + ": " + e.Text
}

// allOf yields the sereno.Errors in err's tree. Any other error is one without
// a field.
func allOf(err error) func(yield func(*sereno.Error) bool) {
	return func(yield func(*sereno.Error) bool) { walk(err, yield) }
}

func walk(err error, yield func(*sereno.Error) bool) bool {
	if err == nil {
		return true
	}
	if many, ok := err.(interface{ Unwrap() []error }); ok { //nolint:errorlint // each error of the tree by itself
		for _, one := range many.Unwrap() {
			if !walk(one, yield) {
				return false
			}
		}
		return true
	}
	if e, ok := errors.AsType[*sereno.Error](err); ok {
		return yield(e)
	}
	return yield(&sereno.Error{Text: err.Error()})
}

// inBook returns the node that a field of the book is about, or the nearest one
// around it. The settings of a channel are below its kind.
func inBook(root *yaml.Node, field string) *yaml.Node {
	in, about := root, root
	for step := range strings.SplitSeq(field, ".") {
		name, index, indexed := strings.Cut(strings.TrimSuffix(step, "]"), "[")
		k, v := entry(in, name)
		if k == nil {
			k, v = below(in, name)
		}
		if k == nil {
			break
		}
		in, about = v, k
		if !indexed {
			continue
		}
		i, err := strconv.Atoi(index)
		list := resolve(v)
		if err != nil || list.Kind != yaml.SequenceNode || i >= len(list.Content) {
			break
		}
		in, about = list.Content[i], list.Content[i]
	}
	return about
}

// below looks for a key in the mappings that are values of n.
func below(n *yaml.Node, name string) (k, v *yaml.Node) {
	m := resolve(n)
	if m.Kind != yaml.MappingNode {
		return nil, nil
	}
	for i := 1; i < len(m.Content); i += 2 {
		if k, v = entry(m.Content[i], name); k != nil {
			return k, v
		}
	}
	return nil, nil
}
