package alert

import (
	"errors"
	"fmt"
	"iter"
	"net/url"
	"slices"
	"strings"
	"time"

	"sereno"
	"sereno/maintenance"
	"sereno/match"
	"sereno/message"
	"sereno/notify"
)

// What a Book leaves open.
const (
	DefaultFallbackAfter = 2 * time.Minute
	DefaultGiveUp        = 24 * time.Hour
	DefaultGroupWait     = 10 * time.Second
	DefaultSettle        = 5 * time.Minute
)

// Default is the policy of a book that has none: everything, at once, to every
// channel, with three reminders.
var Default = Policy{Name: "default", Steps: []Step{usualStep}}

var usualStep = Step{Remind: []time.Duration{10 * time.Minute, 30 * time.Minute, time.Hour}}

// A Plan is a Book that is ready to be used. It does not change.
type Plan struct {
	Book     Book
	Warnings []string // sentences about policies that can tell nobody, or of nothing

	zone     *time.Location
	channels map[string]*channel
	names    []string // of the channels, in the order of the book
	policies []*policy
	windows  []*maintenance.Calendar
	silences []*silence
}

type channel struct {
	Channel
	open          notify.Channel
	place         int
	fallbackAfter time.Duration
	giveUp        time.Duration
}

type silence struct {
	Silence
	match match.Expression
}

// Channel returns a channel by its name, nil if there is none.
func (p *Plan) Channel(name string) notify.Channel {
	if c := p.channels[name]; c != nil {
		return c.open
	}
	return nil
}

// Channels returns the names of all channels, in the order of the book.
func (p *Plan) Channels() []string { return slices.Clone(p.names) }

// Zone is where messages write their times.
func (p *Plan) Zone() *time.Location { return p.zone }

// Compile makes a book ready. Its errors are sereno.Errors of kind Invalid, all
// of them joined; Field is where in the book: "policies[0].steps[1].channels[0]".
func (b Book) Compile(kinds []notify.Kind, o notify.Options) (*Plan, error) {
	p := &Plan{Book: b, channels: map[string]*channel{}}
	var m mistakes
	var err error
	p.zone = time.Local
	if b.Zone != "" {
		if p.zone, err = sereno.LoadZone(b.Zone); err != nil {
			m.under("zone", err)
			p.zone = time.UTC
		}
	}
	m.webAddress(b.URL)
	m.templates("templates", b.Templates)
	p.openChannels(&m, kinds, o)
	p.readPolicies(&m)
	p.readWindows(&m)
	p.readSilences(&m)
	if len(m.list) > 0 {
		return nil, errors.Join(m.list...)
	}
	p.warn()
	return p, nil
}

// mistakes gathers what is wrong, each with its place.
type mistakes struct{ list []error }

func (m *mistakes) add(field, format string, args ...any) {
	m.list = append(m.list, &sereno.Error{Kind: sereno.Invalid, Field: field, Text: fmt.Sprintf(format, args...)})
}

// under adds all errors of a tree, their fields being inside of field.
func (m *mistakes) under(field string, err error) {
	switch e := err.(type) { //nolint:errorlint // the tree is walked here
	case nil:
	case *sereno.Error:
		if e.Field != "" {
			field += "." + e.Field
		}
		m.add(field, "%s", e.Text)
	case interface{ Unwrap() []error }:
		for _, one := range e.Unwrap() {
			m.under(field, one)
		}
	default:
		if inner, ok := errors.AsType[*sereno.Error](err); ok {
			m.under(field, inner)
			return
		}
		m.add(field, "%s", err)
	}
}

// between refuses a time outside of its range.
func (m *mistakes) between(field, what string, d, least, most time.Duration) {
	switch {
	case d < 0:
		m.add(field, "%s cannot be negative", what)
	case d < least || d > most:
		m.add(field, "%s is between %s and %s, not %s", what, least, most, d)
	}
}

func (m *mistakes) webAddress(text string) {
	if text == "" {
		return
	}
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
		m.add("url", "%q is not the address of a page such as https://sereno.example.org", text)
	case strings.HasSuffix(text, "/"):
		m.add("url", "%q ends with a slash: leave it out", text)
	}
}

func (m *mistakes) templates(field string, by map[string]Template) {
	_, err := message.NewTexts(layer(by))
	m.under(field, err)
}

func layer(by map[string]Template) map[string]message.Template {
	l := make(map[string]message.Template, len(by))
	for event, t := range by {
		l[event] = message.Template(t)
	}
	return l
}

// Texts makes what messages of a channel are written by: the built-in templates,
// those of the book, those of the channel.
func (p *Plan) Texts(channel string) (*message.Texts, error) {
	layers := []map[string]message.Template{layer(p.Book.Templates)}
	if c := p.channels[channel]; c != nil {
		layers = append(layers, layer(c.Templates))
	}
	return message.NewTexts(layers...)
}

// names refuses a name that is missing, is too long, or was there before.
type names map[string]bool

func (n names) add(m *mistakes, field, what, name string) {
	switch {
	case strings.TrimSpace(name) == "":
		m.add(field+".name", "%s needs a name", what)
	case len([]rune(name)) > 100:
		m.add(field+".name", "a name has at most 100 characters")
	case n[name]:
		m.add(field+".name", "there is another %s with the name %q", strings.TrimPrefix(strings.TrimPrefix(what, "a "), "an "), name)
	}
	n[name] = true
}

func (p *Plan) openChannels(m *mistakes, kinds []notify.Kind, o notify.Options) {
	named := names{}
	for i, c := range p.Book.Channels {
		field := fmt.Sprintf("channels[%d]", i)
		named.add(m, field, "a channel", c.Name)
		m.between(field+".fallback_after", "fallback_after", c.FallbackAfter, 0, 24*time.Hour)
		m.between(field+".give_up", "give_up", c.GiveUp, 0, 30*24*time.Hour)
		m.templates(field+".templates", c.Templates)
		compiled := &channel{Channel: c, place: i, fallbackAfter: c.FallbackAfter, giveUp: c.GiveUp}
		if c.FallbackAfter == 0 {
			compiled.fallbackAfter = DefaultFallbackAfter
		}
		if c.GiveUp == 0 {
			compiled.giveUp = DefaultGiveUp
		}
		k := slices.IndexFunc(kinds, func(k notify.Kind) bool { return k.Name() == c.Kind })
		if k < 0 {
			var known []string
			for _, kind := range kinds {
				known = append(known, kind.Name())
			}
			m.add(field, "%q is no kind of channel; there are %s%s", c.Kind, strings.Join(known, ", "), sereno.DidYouMean(c.Kind, slices.Values(known)))
		} else {
			own := o
			own.Commands = o.Commands && c.FromFile
			var err error
			compiled.open, err = kinds[k].Open(c.Settings, own)
			m.under(field, err)
		}
		if p.channels[c.Name] == nil {
			p.channels[c.Name] = compiled
			p.names = append(p.names, c.Name)
		}
	}
	for i, c := range p.Book.Channels {
		field := fmt.Sprintf("channels[%d].fallback", i)
		if c.Fallback == "" {
			continue
		}
		p.knows(m, field, c.Fallback)
		// Each circle is told once, at its first channel.
		path := []string{c.Name}
		for next := p.channels[c.Fallback]; next != nil && len(path) <= len(p.names); next = p.channels[next.Fallback] {
			if next.Name == c.Name {
				if !slices.ContainsFunc(path, func(name string) bool { return p.channels[name].place < i }) {
					m.add(field, "fallbacks go round in a circle: %s", strings.Join(append(path, c.Name), " → "))
				}
				break
			}
			path = append(path, next.Name)
		}
	}
}

func (p *Plan) knows(m *mistakes, field, name string) {
	if p.channels[name] != nil {
		return
	}
	if len(p.names) == 0 {
		m.add(field, "there is no channel %q: no channel is set up", name)
		return
	}
	m.add(field, "there is no channel %q, only %s%s", name, strings.Join(p.names, ", "), sereno.DidYouMean(name, slices.Values(p.names)))
}

func (p *Plan) readPolicies(m *mistakes) {
	named := names{}
	for i := range p.Book.Policies {
		field := fmt.Sprintf("policies[%d]", i)
		named.add(m, field, "a policy", p.Book.Policies[i].Name)
		p.policies = append(p.policies, p.compile(m, field, p.Book.Policies[i]))
	}
	if len(p.policies) == 0 {
		p.policies = []*policy{p.compile(m, "", Default)}
	}
}

func (p *Plan) readWindows(m *mistakes) {
	named := names{}
	for i, w := range p.Book.Windows {
		field := fmt.Sprintf("maintenance[%d]", i)
		named.add(m, field, "a maintenance window", w.Name)
		calendar, err := w.Compile()
		m.under(field, err)
		p.windows = append(p.windows, calendar)
	}
}

func (p *Plan) readSilences(m *mistakes) {
	named := names{}
	for i, s := range p.Book.Silences {
		field := fmt.Sprintf("silences[%d]", i)
		named.add(m, field, "a silence", s.Name)
		expression, err := match.Compile(s.Match)
		m.under(field+".match", err)
		switch {
		case err == nil && expression.All():
			m.add(field+".match", "a silence says what it is about; for everything write true")
		case s.Until == 0:
			m.add(field+".until", "a silence needs an end")
		case s.Until <= s.From:
			m.add(field+".until", "it would end before it begins")
		}
		p.silences = append(p.silences, &silence{s, expression})
	}
}

// warn says of policies what is allowed and surely not meant.
func (p *Plan) warn() {
	takesAll := ""
	for _, pol := range p.policies {
		if takesAll != "" {
			p.Warnings = append(p.Warnings, fmt.Sprintf("policy %q is never asked: %q before it takes everything and does not say continue", pol.Name, takesAll))
		}
		if pol.match.All() && !pol.Continue && takesAll == "" {
			takesAll = pol.Name
		}
		tells := slices.ContainsFunc(pol.Steps, func(s Step) bool { return len(p.stepChannels(s)) > 0 })
		if !tells && len(p.Book.Policies) > 0 {
			p.Warnings = append(p.Warnings, fmt.Sprintf("policy %q has nobody to tell: none of its steps has a channel", pol.Name))
		}
	}
}

// stepChannels returns whom a step tells, in its order.
func (p *Plan) stepChannels(s Step) []string {
	if s.Channels == nil {
		return p.names
	}
	return s.Channels
}

// tells returns whom a step tells of a trouble. That of a channel itself is not
// told on it, and where no other would hear of it, all others do.
func (p *Plan) tells(pol *policy, s Step, subject *match.Subject) []string {
	channels := p.stepChannels(s)
	broken := brokenChannel(subject)
	if broken == "" || !slices.Contains(channels, broken) {
		return channels
	}
	others := without(channels, broken)
	if len(others) == 0 && !slices.ContainsFunc(pol.Steps, func(s Step) bool { return len(without(p.stepChannels(s), broken)) > 0 }) {
		others = without(p.names, broken)
	}
	return others
}

// brokenChannel returns the channel that a trouble is about, "" for any other.
func brokenChannel(s *match.Subject) string {
	if s.Own && s.Status == sereno.TroubleChannel.String() {
		return s.About
	}
	return ""
}

func without(list []string, one string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return s == one })
}

// A ruling is what a policy says of a trouble.
type ruling struct {
	*policy
	applies bool
	why     string // for a person
}

// ask asks every policy in turn, also those behind the one that ends the search.
func (p *Plan) ask(s match.Subject) iter.Seq[ruling] {
	return func(yield func(ruling) bool) {
		taken := ""
		for _, pol := range p.policies {
			r := ruling{policy: pol}
			if taken != "" {
				r.why = fmt.Sprintf("%q has taken it, and does not say continue", taken)
			} else if holds, err := pol.match.Holds(s); err != nil {
				r.why = "its match cannot be asked: " + err.Error()
			} else if !holds {
				r.why = "its match does not hold"
			} else if r.applies = true; !pol.Continue {
				taken = pol.Name
			}
			if !yield(r) {
				return
			}
		}
	}
}

// applying returns the policies that a trouble is told by, in their order.
func (p *Plan) applying(s match.Subject) []*policy {
	var list []*policy
	for _, pol := range p.policies {
		holds, err := pol.match.Holds(s)
		if err != nil || !holds {
			continue
		}
		if list = append(list, pol); !pol.Continue {
			break
		}
	}
	return list
}

// held says why nobody is to be told of a trouble at a time, and until when; ""
// if nothing stands against it. A window is about devices, never about trouble
// of Sereno's own.
func (p *Plan) held(s *match.Subject, at sereno.Instant) (why string, until sereno.Instant) {
	for _, w := range p.windows {
		if _, end, in := w.At(at); in && !s.Own && w.Covers(*s) {
			return "maintenance " + w.Name, end
		}
	}
	for _, one := range p.silences {
		if at < one.From || at >= one.Until {
			continue
		}
		if holds, err := one.match.Holds(*s); err == nil && holds {
			return "silence " + one.Name, one.Until
		}
	}
	return "", 0
}

// Reach returns the channels that hear at once of a trouble, in the order of the
// book.
func (p *Plan) Reach(s match.Subject) []string {
	var reached []string
	for _, pol := range p.applying(s) {
		for _, step := range pol.Steps {
			if step.After == 0 {
				reached = append(reached, p.tells(pol, step, &s)...)
			}
		}
	}
	return slices.DeleteFunc(slices.Clone(p.names), func(name string) bool { return !slices.Contains(reached, name) })
}

// Unmatched returns a sentence for every policy that no trouble of these devices,
// and none of Sereno's own, can ever reach.
func (p *Plan) Unmatched(devices iter.Seq[sereno.Device]) []string {
	open := slices.Clone(p.policies)
	try := func(s match.Subject, i sereno.Importance, t sereno.Trouble) {
		s.Status, s.Severity = t.String(), sereno.SeverityOf(i, t).String()
		open = slices.DeleteFunc(open, func(pol *policy) bool {
			holds, err := pol.match.Holds(s)
			return err == nil && holds
		})
	}
	for t := sereno.TroubleIsolated; t <= sereno.TroublePeer; t++ {
		try(match.Subject{Own: true, Label: map[string]string{}}, 0, t)
	}
	for d := range devices {
		if len(open) == 0 {
			break
		}
		for i := range d.Checks {
			s := match.Of(&d, &d.Checks[i])
			for _, t := range []sereno.Trouble{sereno.TroubleDown, sereno.TroubleDegraded, sereno.TroubleFlapping} {
				try(s, d.Importance, t)
			}
		}
	}
	var sentences []string
	for _, pol := range open {
		sentences = append(sentences, fmt.Sprintf("policy %q matches nobody: no device that is watched, in no trouble, fits %s", pol.Name, pol.match))
	}
	return sentences
}
