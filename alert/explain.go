package alert

import (
	"slices"
	"time"

	"sereno"
	"sereno/match"
)

// An Explanation says what would come of a trouble, and why.
type Explanation struct {
	Subject  match.Subject
	Severity sereno.Severity
	Held     string // why nobody is told at that time: "maintenance sunday"; ""
	Until    sereno.Instant
	Policies []Explained // all there are, in their order
}

// Explained is one policy's part in an Explanation.
type Explained struct {
	Policy   string
	Applies  bool
	Why      string          // why it does not apply, or that it stops the search, for a person
	Severity sereno.Severity // by this policy, at first
	Raise    []Raise
	Group    string         // whom it would share a message with: "plant1"
	Wait     time.Duration  // how long the first message waits for others of that group
	Quiet    sereno.Instant // messages wait until then; 0: no quiet hours
	Steps    []ExplainedStep
}

// An ExplainedStep is one wave of messages.
type ExplainedStep struct {
	At                 sereno.Instant // when it is due, for trouble taken in at that time; quiet hours are counted in
	After              time.Duration
	UnlessAcknowledged bool
	Channels           []string
	Remind             []sereno.Instant
}

// Explain says who would hear of a trouble that is taken in at a time. It asks
// what the engine asks. The device may be nil; its importance gives the severity
// where s has none.
func (p *Plan) Explain(s match.Subject, device *sereno.Device, at sereno.Instant) Explanation {
	x := Explanation{Subject: s}
	var trouble sereno.Trouble
	if x.Severity.UnmarshalText([]byte(s.Severity)) != nil {
		var importance sereno.Importance
		if device != nil {
			importance = device.Importance
		}
		if trouble.UnmarshalText([]byte(s.Status)) == nil {
			x.Severity = sereno.SeverityOf(importance, trouble)
			s.Severity, s.Own = x.Severity.String(), trouble.Own()
		}
		x.Subject = s
	}
	x.Held, x.Until = p.held(&s, at)
	begin := max(at, x.Until)
	for r := range p.ask(s) {
		one := Explained{Policy: r.Name, Applies: r.applies, Why: r.why, Severity: r.severity(x.Severity), Raise: r.Raise, Wait: r.GroupWait}
		if r.applies {
			_, one.Group = r.group(&s)
			c := course{Base: r.quietUntil(&s, one.Severity, begin), Paces: make([]pace, len(r.Steps))}
			if c.Base > begin {
				one.Quiet = c.Base
			}
			for i := range r.Steps {
				one.Steps = append(one.Steps, p.explainStep(&s, r.policy, &c, i, one.Severity))
			}
		}
		x.Policies = append(x.Policies, one)
	}
	return x
}

func (p *Plan) explainStep(s *match.Subject, pol *policy, c *course, i int, severity sereno.Severity) ExplainedStep {
	step := &pol.Steps[i]
	at, _, _ := c.due(pol, i)
	x := ExplainedStep{
		At: pol.quietUntil(s, severity, at), After: step.After, UnlessAcknowledged: step.UnlessAcknowledged,
		Channels: slices.Clone(p.tells(pol, *step, s)),
	}
	for c.Paces[i].Fired = at; ; c.Paces[i].Reminded++ {
		at, _, ok := c.due(pol, i)
		if !ok {
			return x
		}
		x.Remind = append(x.Remind, pol.quietUntil(s, severity, at))
	}
}
