package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"sereno"
	"sereno/notify"
	"sereno/probe"
)

// A reader turns YAML nodes into values and writes down what is wrong.
//
// Nodes are walked by hand rather than decoded by reflection: a mistake then
// has its line, a second mistake is found behind the first, and the sentences
// are our own.
type reader struct {
	kinds    []probe.Kind
	channels []notify.Kind
	defaults sereno.Policy
	mistakes []Mistake // without File
	// A node's line plus shift, for lines after line from: the text that was
	// parsed is a part of the file.
	from, shift int
}

func (r *reader) line(n *yaml.Node) int {
	if n.Line > r.from {
		return n.Line + r.shift
	}
	return n.Line
}

func (r *reader) wrong(n *yaml.Node, format string, args ...any) {
	r.mistakes = append(r.mistakes, Mistake{Line: r.line(n), Text: fmt.Sprintf(format, args...)})
}

// resolve returns what an alias stands for.
func resolve(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

// what says what a node is, for the end of "…, not".
func what(n *yaml.Node) string {
	switch n = resolve(n); {
	case n.Kind == yaml.MappingNode:
		return "a mapping"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.Tag == "!!null":
		return "nothing"
	}
	return strconv.Quote(clip(n.Value))
}

func clip(s string) string {
	if len(s) <= 80 {
		return s
	}
	return strings.ToValidUTF8(s[:80], "") + "…"
}

// A key is one that a mapping may have.
type key struct {
	name string
	read func(r *reader, v *yaml.Node)
}

// mapping reads the keys of n. A key that is none of keys goes to other, or is
// a mistake if other is nil. It returns the keys whose values cannot be judged
// any further: what is wrong with them is told.
func (r *reader) mapping(n *yaml.Node, of string, keys []key, other func(k, v *yaml.Node)) (told []string) {
	m := resolve(n)
	if m.Kind != yaml.MappingNode {
		r.wrong(n, "%s is a mapping of keys to values, not %s", of, what(n))
		return names(keys)
	}
	seen := make(map[string]*yaml.Node, len(m.Content)/2)
	strange := false
	for i := 0; i+1 < len(m.Content); i += 2 {
		k, v := m.Content[i], m.Content[i+1]
		if k.Kind != yaml.ScalarNode {
			r.wrong(k, "a key of %s is a word, not %s", of, what(k))
			continue
		}
		if first := seen[k.Value]; first != nil {
			r.wrong(k, "%q is given twice in %s; the first is on line %d", clip(k.Value), of, r.line(first))
			continue
		}
		seen[k.Value] = k
		at := slices.IndexFunc(keys, func(known key) bool { return known.name == k.Value })
		switch {
		case at >= 0 && resolve(v).Tag == "!!null":
			r.wrong(k, "%s has no value; give it one or leave it out", k.Value)
			told = append(told, k.Value)
		case at >= 0:
			before := len(r.mistakes)
			if keys[at].read(r, v); len(r.mistakes) > before {
				told = append(told, k.Value)
			}
		case other != nil:
			other(k, v)
		default:
			r.wrong(k, "%s", unknownKey(k.Value, of, keys))
			strange = true
		}
	}
	for _, k := range keys {
		if strange && seen[k.name] == nil { // it may be the one that was meant
			told = append(told, k.name)
		}
	}
	return told
}

func names(keys []key) []string {
	list := make([]string, len(keys))
	for i, k := range keys {
		list[i] = k.name
	}
	return list
}

func unknownKey(name, of string, keys []key) string {
	known := names(keys)
	guess := sereno.DidYouMean(name, slices.Values(known))
	if guess == "" {
		guess = "; there are " + strings.Join(known, ", ")
	}
	return fmt.Sprintf("there is no key %q in %s%s", clip(name), of, guess)
}

// judge tells what the rules find wrong with values of n, but for keys about
// which something is told already.
func (r *reader) judge(n *yaml.Node, errs []*sereno.Error, told []string) {
	for _, e := range errs {
		if !slices.Contains(told, topKey(e.Field)) {
			r.wrong(find(n, e.Field), "%s", e.Text)
		}
	}
}

// topKey is the key of the outermost mapping that a Field is in: "checks" of
// "checks[0].interval".
func topKey(field string) string {
	if end := strings.IndexAny(field, ".["); end >= 0 {
		return field[:end]
	}
	return field
}

// items returns the elements of a list, and nothing when n is none.
func (r *reader) items(n *yaml.Node, of string) []*yaml.Node {
	list := resolve(n)
	if list.Kind != yaml.SequenceNode {
		r.wrong(n, "%s is a list, not %s; write [a, b], or each on a line of its own after a hyphen", of, what(n))
		return nil
	}
	return list.Content
}

// text reads a scalar as it is written, so that a name may be 0042 or 1.10.
func (r *reader) text(n *yaml.Node, of string) (string, bool) {
	s := resolve(n)
	if s.Kind != yaml.ScalarNode || s.Tag == "!!null" || s.Tag == "!!binary" || strings.HasPrefix(s.Tag, "!") && !strings.HasPrefix(s.Tag, "!!") {
		r.wrong(n, "%s is text, not %s", of, what(n))
		return "", false
	}
	return s.Value, true
}

func (r *reader) texts(n *yaml.Node, of, one string) []string {
	var list []string
	for _, item := range r.items(n, of) {
		if s, ok := r.text(item, one); ok {
			list = append(list, s)
		}
	}
	return list
}

func (r *reader) boolean(n *yaml.Node, of string, to *bool) {
	switch s := resolve(n); {
	case s.Kind == yaml.ScalarNode && s.Value == "true":
		*to = true
	case s.Kind == yaml.ScalarNode && s.Value == "false":
		*to = false
	default:
		r.wrong(n, "%s is true or false, not %s", of, what(n))
	}
}

func (r *reader) number(n *yaml.Node, of string, to *int) {
	s := resolve(n)
	v, err := strconv.Atoi(s.Value)
	if s.Kind != yaml.ScalarNode || s.Tag != "!!int" || err != nil {
		r.wrong(n, "%s is a whole number, not %s", of, what(n))
		return
	}
	*to = v
}

func (r *reader) duration(n *yaml.Node, of string, to *time.Duration) {
	s := resolve(n)
	if s.Kind != yaml.ScalarNode {
		r.wrong(n, "%s is a length of time such as 500ms, 10s or 5m, not %s", of, what(n))
		return
	}
	d, err := parseDuration(s.Value)
	if err != nil {
		r.wrong(n, "%s: %s", of, err)
		return
	}
	*to = d
}

func parseDuration(s string) (time.Duration, error) {
	if n, err := strconv.ParseFloat(s, 64); err == nil && n != 0 {
		return 0, fmt.Errorf("%q has no unit; write %ss, or %sms", clip(s), clip(s), clip(s))
	}
	rest, whole := s, time.Duration(0)
	if number, after, found := strings.Cut(s, "d"); found { // days come first, such as 30d or 1d12h
		n, err := strconv.ParseUint(number, 10, 16)
		if rest = after; err != nil {
			rest = s
		}
		if whole = time.Duration(n) * day; err == nil && rest == "" {
			return whole, nil
		}
	}
	d, err := time.ParseDuration(rest)
	if err != nil {
		return 0, fmt.Errorf("%q is no length of time such as 500ms, 10s, 5m or 30d", clip(s))
	}
	return whole + d, nil
}

func (r *reader) size(n *yaml.Node, of string, to *Bytes) {
	s := resolve(n)
	if s.Kind != yaml.ScalarNode {
		r.wrong(n, "%s is a size such as 500MB or 10GB, not %s", of, what(n))
		return
	}
	if err := to.UnmarshalText([]byte(s.Value)); err != nil {
		r.wrong(n, "%s: %s", of, err)
	}
}

var percentage = regexp.MustCompile(`^[0-9]+(\.[0-9]+)?%$`)

func (r *reader) share(n *yaml.Node, of string, to *float64) {
	s := resolve(n)
	if s.Kind != yaml.ScalarNode || !percentage.MatchString(s.Value) {
		r.wrong(n, "%s is a percentage such as 5%%, not %s", of, what(n))
		return
	}
	v, err := strconv.ParseFloat(strings.TrimSuffix(s.Value, "%"), 64)
	if err != nil || v <= 0 || math.IsInf(v, 0) {
		r.wrong(n, "%s is above 0%% (leave it out for never), not %s", of, what(n))
		return
	}
	*to = v / 100
}

func parseWitness(s string) (netip.Addr, error) {
	addr, err := netip.ParseAddr(s)
	if err != nil {
		return addr, fmt.Errorf("a witness is an IP address, so that it needs no resolver; %q is none", clip(s))
	}
	return addr, nil
}

// settingKeys are the keys of the file besides defaults and devices.
func settingKeys(c *Config) []key {
	text := func(name string, to *string) key {
		return key{name, func(r *reader, v *yaml.Node) {
			if s, ok := r.text(v, name); ok {
				*to = s
			}
		}}
	}
	duration := func(name string, to *time.Duration) key {
		return key{name, func(r *reader, v *yaml.Node) { r.duration(v, name, to) }}
	}
	return []key{
		text("listen", &c.Listen),
		text("data", &c.Data),
		text("database", &c.Database),
		{"database_connections", func(r *reader, v *yaml.Node) { r.number(v, "database_connections", &c.DatabaseConnections) }},
		{"insecure_listen", func(r *reader, v *yaml.Node) { r.boolean(v, "insecure_listen", &c.InsecureListen) }},
		{"max_pps", func(r *reader, v *yaml.Node) { r.number(v, "max_pps", &c.MaxPPS) }},
		{"witnesses", func(r *reader, v *yaml.Node) {
			for _, item := range r.items(v, "witnesses") {
				if s, ok := r.text(item, "a witness"); ok {
					addr, err := parseWitness(s)
					if err != nil {
						r.wrong(item, "%s", err)
						continue
					}
					c.Witnesses = append(c.Witnesses, addr)
				}
			}
		}},
		duration("isolation_hold", &c.IsolationHold),
		duration("alive_interval", &c.AliveInterval),
		duration("clock_patience", &c.ClockPatience),
		{"reserve", func(r *reader, v *yaml.Node) { r.size(v, "reserve", &c.Reserve) }},
		{"spool", func(r *reader, v *yaml.Node) { r.size(v, "spool", &c.Spool) }},
		{"samples", func(r *reader, v *yaml.Node) { r.mapping(v, "samples", sampleKeys(c), nil) }},
		{"retention", func(r *reader, v *yaml.Node) { r.mapping(v, "retention", retentionKeys(c), nil) }},
		{"prometheus", func(r *reader, v *yaml.Node) { r.mapping(v, "prometheus", limitKeys(&c.Prometheus), nil) }},
		{"remote_write", func(r *reader, v *yaml.Node) { r.remoteWrite(v, c) }},
		text("name", &c.Name),
		{"deadman", func(r *reader, v *yaml.Node) { r.deadman(v, c) }},
		{"peers", func(r *reader, v *yaml.Node) { r.peers(v, c) }},
	}
}

const (
	year           = 365 * day
	leastRetention = 7 * day
)

// retained are the classes of facts that may be kept for a while only.
func retained(c *Config) map[string]*time.Duration {
	return map[string]*time.Duration{
		"spans": &c.Retention.Spans, "incidents": &c.Retention.Incidents, "absences": &c.Retention.Absences, "days": &c.Retention.Days,
		"deliveries": &c.Retention.Deliveries, "audit": &c.Retention.Audit,
	}
}

// retentionKeys are the keys of retention.
func retentionKeys(c *Config) (keys []key) {
	classes := retained(c)
	for _, name := range slices.Sorted(maps.Keys(classes)) {
		keys = append(keys, key{name, func(r *reader, v *yaml.Node) { r.retention(v, name, classes[name]) }})
	}
	return keys
}

// retention reads "forever", a number of years such as 5y, or a length of time.
func (r *reader) retention(n *yaml.Node, of string, to *time.Duration) {
	s := resolve(n)
	years, inYears := strings.CutSuffix(s.Value, "y")
	number, err := strconv.ParseUint(years, 10, 8)
	switch {
	case s.Kind == yaml.ScalarNode && s.Value == "forever":
		*to = 0
	case s.Kind == yaml.ScalarNode && inYears && err == nil && number > 0:
		*to = time.Duration(number) * year
	case s.Kind == yaml.ScalarNode && s.Value == "0":
		r.wrong(n, "%s is forever, or a length of time such as 90d or 5y, not 0: nothing would be kept", of)
	default:
		r.duration(n, of, to)
		if *to == 0 && s.Kind == yaml.ScalarNode {
			r.wrong(n, "%s is forever, or a length of time such as 90d or 5y, not %s", of, what(n))
		}
	}
}

// sampleKeys are the keys of samples.
func sampleKeys(c *Config) []key {
	return []key{
		{"off", func(r *reader, v *yaml.Node) { r.boolean(v, "off", &c.SamplesOff) }},
		{"retention", func(r *reader, v *yaml.Node) { r.duration(v, "retention", &c.SamplesRetention) }},
		{"size", func(r *reader, v *yaml.Node) { r.size(v, "size", &c.SamplesSize) }},
		{"rollups", func(r *reader, v *yaml.Node) { r.duration(v, "rollups", &c.SamplesRollups) }},
		{"out_of_order", func(r *reader, v *yaml.Node) { r.duration(v, "out_of_order", &c.SamplesOutOfOrder) }},
	}
}

// policyKeys are the keys of a policy.
func policyKeys(p *sereno.Policy) []key {
	return []key{
		{"interval", func(r *reader, v *yaml.Node) { r.duration(v, "interval", &p.Interval) }},
		{"timeout", func(r *reader, v *yaml.Node) { r.duration(v, "timeout", &p.Timeout) }},
		{"fall", func(r *reader, v *yaml.Node) { r.number(v, "fall", &p.Fall) }},
		{"rise", func(r *reader, v *yaml.Node) { r.number(v, "rise", &p.Rise) }},
		{"rtt_above", func(r *reader, v *yaml.Node) { r.duration(v, "rtt_above", &p.RTTAbove) }},
		{"loss_above", func(r *reader, v *yaml.Node) { r.share(v, "loss_above", &p.LossAbove) }},
		{"loss_window", func(r *reader, v *yaml.Node) { r.duration(v, "loss_window", &p.LossWindow) }},
	}
}

// has reports whether a mapping has a key.
func has(n *yaml.Node, name string) bool {
	keyNode, _ := entry(n, name)
	return keyNode != nil
}

// entry returns the key and the value of a mapping's entry, nil if there is
// none.
func entry(n *yaml.Node, name string) (k, v *yaml.Node) {
	if n = resolve(n); n.Kind == yaml.MappingNode {
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Kind == yaml.ScalarNode && n.Content[i].Value == name {
				return n.Content[i], n.Content[i+1]
			}
		}
	}
	return nil, nil
}

// policy reads policy keys of n over what is inherited, passing others on. A
// timeout that is only inherited shrinks with the interval; one that is
// written is left for validation to judge.
func (r *reader) policy(n *yaml.Node, of string, inherited sereno.Policy, more []key, other func(k, v *yaml.Node)) (p sereno.Policy, told []string) {
	p = inherited
	told = r.mapping(n, of, append(policyKeys(&p), more...), other)
	if !has(n, "timeout") {
		p.Timeout = min(p.Timeout, p.Interval)
	}
	if slices.Contains(told, "interval") { // what is measured by it cannot be judged
		told = append(told, "timeout", "loss_window")
	}
	if slices.Contains(told, "timeout") {
		told = append(told, "rtt_above")
	}
	return p, told
}

// device reads one device. What the rules of the plan find wrong with the keys
// that are told would only repeat it.
func (r *reader) device(n *yaml.Node) (d sereno.Device, told []string) {
	d.FromFile = true
	text := func(name string, to *string) key {
		return key{name, func(r *reader, v *yaml.Node) { *to, _ = r.text(v, name) }}
	}
	keys := []key{
		text("name", &d.Name),
		text("address", &d.Address),
		{"importance", func(r *reader, v *yaml.Node) {
			if s, ok := r.text(v, "importance"); ok {
				if err := d.Importance.UnmarshalText([]byte(s)); err != nil {
					r.wrong(v, "importance is critical, high, medium or low, not %s", what(v))
				}
			}
		}},
		{"tags", func(r *reader, v *yaml.Node) { d.Tags = r.texts(v, "tags", "a tag") }},
		{"parents", func(r *reader, v *yaml.Node) { d.Parents = r.texts(v, "parents", "a parent") }},
		{"paused", func(r *reader, v *yaml.Node) { r.boolean(v, "paused", &d.Paused) }},
		{"checks", func(r *reader, v *yaml.Node) {
			for _, item := range r.items(v, "checks") {
				if c, ok := r.check(item); ok {
					d.Checks = append(d.Checks, c)
				}
			}
		}},
	}
	told = r.mapping(n, "a device", keys, nil)
	if !has(n, "checks") {
		d.Checks = []sereno.Check{{Name: "icmp", Kind: "icmp", Policy: r.defaults}}
	}
	return d, told
}

// check reads one check: a mapping of its kind to its settings. Keys that are
// not the policy's belong to the kind.
func (r *reader) check(n *yaml.Node) (c sereno.Check, ok bool) {
	m := resolve(n)
	if m.Kind == yaml.ScalarNode && m.Tag == "!!str" {
		m = &yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{m, {Kind: yaml.MappingNode, Line: m.Line}}} // "- icmp"
	}
	if m.Kind != yaml.MappingNode || len(m.Content) != 2 || m.Content[0].Kind != yaml.ScalarNode {
		r.wrong(n, "a check is one kind with its settings, such as icmp: {interval: 10s}")
		return c, false
	}
	name, body := m.Content[0], m.Content[1]
	at := slices.IndexFunc(r.kinds, func(k probe.Kind) bool { return k.Name() == name.Value })
	if at < 0 {
		names := make([]string, len(r.kinds))
		for i, k := range r.kinds {
			names[i] = k.Name()
		}
		r.wrong(name, "there is no kind of check called %q; there is %s", clip(name.Value), strings.Join(names, ", "))
		return c, false
	}
	c.Name, c.Kind = name.Value, name.Value
	if resolve(body).Tag == "!!null" {
		body = &yaml.Node{Kind: yaml.MappingNode, Line: name.Line} // "- icmp:"
	}
	before := len(r.mistakes)
	settings := make(map[string]any)
	named := key{"name", func(r *reader, v *yaml.Node) { c.Name, _ = r.text(v, "name") }}
	var told []string
	c.Policy, told = r.policy(body, "a check", r.defaults, []key{named}, func(k, v *yaml.Node) {
		var value any
		if err := v.Load(&value); err != nil {
			r.wrong(v, "%s cannot be read", k.Value)
			return
		}
		settings[k.Value] = value
	})
	if len(settings) > 0 {
		c.Settings = r.settings(body, r.kinds[at], settings)
	}
	if ok = len(r.mistakes) == before; !ok { // the rules of the plan will not see it
		r.judge(body, c.Policy.Validate(), told)
	}
	return c, ok
}

func (r *reader) settings(body *yaml.Node, kind probe.Kind, settings map[string]any) json.RawMessage {
	raw, err := json.Marshal(settings)
	if err != nil {
		r.wrong(body, "the settings of %s cannot be read: the keys of a mapping are words", kind.Name())
		return nil
	}
	if err := kind.Validate(raw); err == nil {
		return raw
	} else if !r.blame(body, kind, settings) { // each is good by itself
		r.wrong(body, "%s: %s", kind.Name(), sentence(err))
	}
	return nil
}

// blame tells the mistakes of the settings that a kind refuses even when they
// stand alone, and whether there are any.
func (r *reader) blame(body *yaml.Node, kind probe.Kind, settings map[string]any) (found bool) {
	for i := 0; i+1 < len(resolve(body).Content); i += 2 {
		k := resolve(body).Content[i]
		value, ours := settings[k.Value]
		if !ours {
			continue
		}
		delete(settings, k.Value) // a key that is given twice is told already
		raw, err := json.Marshal(map[string]any{k.Value: value})
		if err == nil {
			err = kind.Validate(raw)
		}
		if err != nil {
			found = true
			r.wrong(k, "%s: %s%s", kind.Name(), sentence(err), guess(k.Value))
		}
	}
	return found
}

// sentence is what an error says besides its field, which has a line here.
func sentence(err error) string {
	if e, ok := errors.AsType[*sereno.Error](err); ok {
		return e.Text
	}
	return err.Error()
}

// guess names the key of any check that was meant by one that a kind refuses.
func guess(typed string) string {
	known := append(names(policyKeys(new(sereno.Policy))), "name")
	return sereno.DidYouMean(typed, slices.Values(known))
}

// find returns the node that a Field of sereno.ValidateDevices, without the
// device, is about, or the nearest one around it: "checks[0].interval".
func find(device *yaml.Node, field string) *yaml.Node {
	at := device
	for step := range strings.SplitSeq(field, ".") {
		name, index, indexed := strings.Cut(strings.TrimSuffix(step, "]"), "[")
		k, v := entry(at, name)
		if k == nil {
			return at
		}
		if !indexed {
			return k
		}
		i, err := strconv.Atoi(index)
		list := resolve(v)
		if err != nil || list.Kind != yaml.SequenceNode || i >= len(list.Content) {
			return k
		}
		at = list.Content[i]
		if m := resolve(at); name == "checks" && m.Kind == yaml.MappingNode && len(m.Content) == 2 {
			at = m.Content[1]
			if resolve(at).Kind != yaml.MappingNode || len(resolve(at).Content) == 0 {
				at = m.Content[0]
			}
		}
	}
	return at
}
