package api

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"sereno"
	"sereno/alert"
	"sereno/maintenance"
)

// A RuleKind is a sort of thing that people say about alerting.
type RuleKind string

const (
	RuleChannel     RuleKind = "channel"
	RulePolicy      RuleKind = "policy"
	RuleMaintenance RuleKind = "maintenance"
	RuleSilence     RuleKind = "silence"
)

// Noun is what people call it.
func (k RuleKind) Noun() string {
	if k == RuleMaintenance {
		return "maintenance window"
	}
	return string(k)
}

// A Rule is one thing that people say about alerting: exactly the field of its
// kind is set. The settings of a channel are without its secrets.
type Rule struct {
	Position int    // among those of its kind, 1 first
	FromFile bool   // the configuration file manages it
	Aside    string // why it has no effect; "" if it has
	Channel  *alert.Channel
	Policy   *alert.Policy
	Window   *maintenance.Window
	Silence  *alert.Silence

	Secrets []string // of a channel: the names of those that are set
}

// Kind is what sort of thing r is.
func (r Rule) Kind() RuleKind {
	switch {
	case r.Channel != nil:
		return RuleChannel
	case r.Policy != nil:
		return RulePolicy
	case r.Window != nil:
		return RuleMaintenance
	default:
		return RuleSilence
	}
}

// Name is unique among those of its kind.
func (r Rule) Name() string {
	switch {
	case r.Channel != nil:
		return r.Channel.Name
	case r.Policy != nil:
		return r.Policy.Name
	case r.Window != nil:
		return r.Window.Name
	case r.Silence != nil:
		return r.Silence.Name
	}
	return ""
}

// Managed is the part of a document that says who may change it.
type Managed struct {
	Position int    `json:"position" required:"false" minimum:"1" doc:"Among those of its kind, 1 first; those of the file come first. Left out: at the end, or where it was"`
	FromFile bool   `json:"from_file" readOnly:"true" doc:"The configuration file manages it; here it can only be read"`
	Aside    string `json:"aside" readOnly:"true" doc:"Why it has no effect; empty if it has"`
}

// A Channel is the document of one way to reach somebody.
type Channel struct {
	Name          string              `json:"name" doc:"Unique, 1 to 100 characters"`
	Kind          string              `json:"kind" example:"telegram" doc:"See /api/kinds"`
	Settings      json.RawMessage     `json:"settings" required:"false" doc:"The kind's own. Secrets can be written and are never read back: left out, they stay as they were; null takes one away"`
	Secrets       []string            `json:"secrets" readOnly:"true" doc:"Which secrets are set"`
	Fallback      string              `json:"fallback" required:"false" doc:"The channel that gets what this one did not take"`
	FallbackAfter Seconds             `json:"fallback_after_seconds" required:"false" minimum:"0" doc:"0: 120"`
	GiveUp        Seconds             `json:"give_up_seconds" required:"false" minimum:"0" doc:"0: 86400"`
	Templates     map[string]Template `json:"templates" required:"false" doc:"By event: texts of this channel instead of the built-in ones"`
	Managed
	Health *ChannelHealth `json:"health,omitempty" readOnly:"true" required:"false" doc:"How it is with what is sent; left out while it has no effect"`
}

// A Template replaces the texts of one event.
type Template struct {
	Title string `json:"title" required:"false" doc:"One line"`
	Text  string `json:"text" required:"false" doc:"What follows the title"`
}

// ChannelHealth is how it is with a channel.
type ChannelHealth struct {
	Status    string         `json:"status" enum:"ok,failing,refusing,unused" doc:"unused: nothing was delivered since the start"`
	Waiting   int            `json:"waiting" doc:"Messages that are due and not delivered"`
	Later     int            `json:"later" doc:"Messages whose time has not come"`
	OldestDue sereno.Instant `json:"oldest_due" format:"date-time" nullable:"true" doc:"When the oldest of those that wait was due"`
	Failing   sereno.Instant `json:"failing_since" format:"date-time" nullable:"true" doc:"No try has succeeded since"`
	Answer    string         `json:"last_answer" doc:"Of the latest try, if that failed"`
	Hold      sereno.Instant `json:"not_before" format:"date-time" nullable:"true" doc:"No try is made before"`
	Delivered sereno.Instant `json:"delivered_at" format:"date-time" nullable:"true" doc:"The latest message that it took"`
	Storm     bool           `json:"storm" doc:"One digest a minute at present"`
}

// An AlertPolicy is the document of who hears what, when.
type AlertPolicy struct {
	Name      string       `json:"name" doc:"Unique, 1 to 100 characters"`
	Match     string       `json:"match" required:"false" example:"severity in [\"critical\", \"high\"]" doc:"Which trouble; empty for all"`
	Continue  bool         `json:"continue" required:"false" doc:"Go on to the next policy when this one matches"`
	Severity  string       `json:"severity" required:"false" enum:",critical,high,medium,low" doc:"Instead of the trouble's own"`
	Raise     []AlertRaise `json:"raise" required:"false"`
	GroupWait *Seconds     `json:"group_wait_seconds" required:"false" nullable:"true" minimum:"0" doc:"How long trouble of one group is gathered into one message; left out: 10"`
	GroupBy   []string     `json:"group_by" required:"false" nullable:"true" doc:"Left out: site, parent, status"`
	Settle    Seconds      `json:"settle_seconds" required:"false" minimum:"0" doc:"Trouble that comes back within it is the same trouble; 0: 300"`
	Quiet     []AlertQuiet `json:"quiet" required:"false"`
	Steps     []AlertStep  `json:"steps" required:"false" nullable:"true" doc:"Left out: at once to every channel, with reminders after 10, 30 and 60 minutes"`
	Managed
}

// An AlertRaise makes trouble that lasts more severe.
type AlertRaise struct {
	After Seconds `json:"after_seconds"`
	To    string  `json:"to" enum:"critical,high,medium,low"`
}

// AlertQuiet is a part of the day in which messages wait.
type AlertQuiet struct {
	From   string   `json:"from" example:"22:00" doc:"By the clock on the wall"`
	To     string   `json:"to" example:"07:00"`
	Days   []string `json:"days" required:"false" nullable:"true" doc:"mon to sun, on which it begins; left out: every day"`
	Zone   string   `json:"zone" required:"false" example:"Europe/Berlin" doc:"Left out: that in which messages write times"`
	Except string   `json:"except" required:"false" doc:"What is sent nevertheless; empty: nothing"`
}

// An AlertStep is one wave of messages.
type AlertStep struct {
	After    Seconds   `json:"after_seconds" required:"false" minimum:"0"`
	Unless   string    `json:"unless" required:"false" enum:",acknowledged"`
	Channels []string  `json:"channels" required:"false" nullable:"true" doc:"Left out: every channel"`
	Remind   []Seconds `json:"remind_seconds" required:"false" doc:"After the step, ascending"`
}

// A MaintenanceWindow is the document of one maintenance window.
type MaintenanceWindow struct {
	Name   string  `json:"name" doc:"Unique, 1 to 100 characters"`
	Match  string  `json:"match" required:"false" doc:"Which devices; empty for all"`
	RRule  string  `json:"rrule" required:"false" example:"FREQ=WEEKLY;BYDAY=SU" doc:"RFC 5545, without DTSTART; empty for once"`
	Start  string  `json:"start" example:"2026-11-01T02:00" doc:"The first begin, by the clock on the wall of the zone"`
	Zone   string  `json:"zone" required:"false" example:"Europe/Berlin" doc:"Left out: UTC"`
	Length Seconds `json:"length_seconds"`
	Reason string  `json:"reason" required:"false"`
	Managed
	Now  *Occurrence  `json:"now,omitempty" readOnly:"true" required:"false" doc:"The occurrence that lasts; left out if none does"`
	Next []Occurrence `json:"next" readOnly:"true" doc:"Those to come, at most three"`
}

// An Occurrence is one time that a maintenance window is.
type Occurrence struct {
	Begin sereno.Instant `json:"begin" format:"date-time"`
	End   sereno.Instant `json:"end" format:"date-time"`
}

// A Silence is the document of a time in which nobody is told of some trouble.
type Silence struct {
	Name   string         `json:"name" required:"false" doc:"Unique, 1 to 100 characters; left out: a number is found"`
	Match  string         `json:"match" doc:"Which trouble"`
	From   sereno.Instant `json:"from" required:"false" format:"date-time" nullable:"true" doc:"Left out: from now on"`
	Until  sereno.Instant `json:"until" required:"false" format:"date-time" nullable:"true"`
	For    Seconds        `json:"for_seconds,omitempty" required:"false" writeOnly:"true" minimum:"0" doc:"Instead of until: how long, from its begin"`
	Reason string         `json:"reason" required:"false"`
	By     string         `json:"by" readOnly:"true" doc:"Who made it"`
	State  string         `json:"state" readOnly:"true" enum:"waiting,active,over"`
	Managed
}

// NewChannel makes the document of a channel, without its health.
func NewChannel(c alert.Channel) Channel {
	return Channel{
		Name: c.Name, Kind: c.Kind, Settings: c.Settings, Secrets: []string{}, Fallback: c.Fallback,
		FallbackAfter: Seconds(c.FallbackAfter), GiveUp: Seconds(c.GiveUp), Templates: templateDocuments(c.Templates),
		Managed: Managed{FromFile: c.FromFile},
	}
}

func templateDocuments(templates map[string]alert.Template) map[string]Template {
	documents := make(map[string]Template, len(templates))
	for event, t := range templates {
		documents[event] = Template(t)
	}
	return documents
}

// Rule is what the document says.
func (c Channel) Rule() Rule {
	var templates map[string]alert.Template
	for event, t := range maps.All(c.Templates) {
		if templates == nil {
			templates = map[string]alert.Template{}
		}
		templates[event] = alert.Template(t)
	}
	return Rule{Position: c.Position, Channel: &alert.Channel{
		Name: c.Name, Kind: c.Kind, Settings: settings(c.Settings), Fallback: c.Fallback,
		FallbackAfter: time.Duration(c.FallbackAfter), GiveUp: time.Duration(c.GiveUp), Templates: templates,
	}}
}

// NewPolicy makes the document of a policy.
func NewPolicy(p alert.Policy) AlertPolicy {
	doc := AlertPolicy{
		Name: p.Name, Match: p.Match, Continue: p.Continue, Severity: p.Severity.String(), Raise: []AlertRaise{},
		GroupBy: p.GroupBy, Settle: Seconds(p.Settle), Quiet: []AlertQuiet{}, Managed: Managed{FromFile: p.FromFile},
	}
	switch {
	case p.GroupWait < 0:
		doc.GroupWait = new(Seconds)
	case p.GroupWait > 0:
		doc.GroupWait = orNull(Seconds(p.GroupWait))
	}
	for _, r := range p.Raise {
		doc.Raise = append(doc.Raise, AlertRaise{Seconds(r.After), r.To.String()})
	}
	for _, q := range p.Quiet {
		doc.Quiet = append(doc.Quiet, AlertQuiet(q))
	}
	if p.Steps != nil {
		doc.Steps = []AlertStep{}
	}
	for _, s := range p.Steps {
		step := AlertStep{After: Seconds(s.After), Channels: s.Channels, Remind: []Seconds{}}
		if s.UnlessAcknowledged {
			step.Unless = "acknowledged"
		}
		for _, d := range s.Remind {
			step.Remind = append(step.Remind, Seconds(d))
		}
		doc.Steps = append(doc.Steps, step)
	}
	return doc
}

// Rule is what the document says.
func (p AlertPolicy) Rule() Rule {
	policy := &alert.Policy{Name: p.Name, Match: p.Match, Continue: p.Continue, GroupBy: p.GroupBy, Settle: time.Duration(p.Settle)}
	policy.Severity = severity(p.Severity)
	if p.GroupWait != nil {
		if policy.GroupWait = time.Duration(*p.GroupWait); policy.GroupWait == 0 {
			policy.GroupWait = -1
		}
	}
	for _, r := range p.Raise {
		policy.Raise = append(policy.Raise, alert.Raise{After: time.Duration(r.After), To: severity(r.To)})
	}
	for _, q := range p.Quiet {
		policy.Quiet = append(policy.Quiet, alert.Quiet(q))
	}
	if p.Steps != nil {
		policy.Steps = []alert.Step{}
	}
	for _, s := range p.Steps {
		step := alert.Step{After: time.Duration(s.After), UnlessAcknowledged: s.Unless != "", Channels: s.Channels}
		for _, d := range s.Remind {
			step.Remind = append(step.Remind, time.Duration(d))
		}
		policy.Steps = append(policy.Steps, step)
	}
	return Rule{Position: p.Position, Policy: policy}
}

// severity reads a word that the description of the API lets through.
func severity(word string) (s sereno.Severity) {
	if s.UnmarshalText([]byte(word)) != nil {
		return sereno.SeverityNone
	}
	return s
}

// NewWindow makes the document of a maintenance window, without its
// occurrences.
func NewWindow(w maintenance.Window) MaintenanceWindow {
	return MaintenanceWindow{
		Name: w.Name, Match: w.Match, RRule: w.RRule, Start: w.Start, Zone: w.Zone, Length: Seconds(w.Length), Reason: w.Reason, Next: []Occurrence{},
	}
}

// Rule is what the document says.
func (w MaintenanceWindow) Rule() Rule {
	return Rule{Position: w.Position, Window: &maintenance.Window{
		Name: w.Name, Match: w.Match, RRule: w.RRule, Start: w.Start, Zone: w.Zone, Length: time.Duration(w.Length), Reason: w.Reason,
	}}
}

// NewSilence makes the document of a silence.
func NewSilence(s alert.Silence, now sereno.Instant) Silence {
	state := "active"
	switch {
	case s.Until <= now && !s.Until.IsZero():
		state = "over"
	case s.From > now:
		state = "waiting"
	}
	return Silence{
		Name: s.Name, Match: s.Match, From: s.From, Until: s.Until, Reason: s.Reason, By: s.By, State: state, Managed: Managed{FromFile: s.FromFile},
	}
}

// Rule is what the document says.
func (s Silence) Rule() Rule {
	return Rule{Position: s.Position, Silence: &alert.Silence{Name: s.Name, Match: s.Match, From: s.From, Until: s.Until, Reason: s.Reason, By: s.By}}
}

// inRule names the place of a mistake in a rule as the body of the request has
// it: "body.steps[1].after_seconds" for "steps[1].after". What is none of the
// keys of a channel is one of its settings.
func inRule(kind RuleKind, field string) string {
	steps := strings.Split(field, ".")
	for i, step := range steps {
		name, index, indexed := strings.Cut(step, "[")
		if slices.Contains([]string{"after", "remind", "group_wait", "settle", "fallback_after", "give_up", "length"}, name) {
			name += "_seconds"
		}
		if steps[i] = name; indexed {
			steps[i] += "[" + index
		}
	}
	known := []string{"name", "kind", "settings", "fallback", "fallback_after_seconds", "give_up_seconds", "templates"}
	if first, _, _ := strings.Cut(steps[0], "["); kind == RuleChannel && !slices.Contains(known, first) {
		return "body.settings." + field
	}
	return "body." + strings.Join(steps, ".")
}
