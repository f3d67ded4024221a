package alert

import (
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
// what the engine asks.
func (p *Plan) Explain(s match.Subject, device *sereno.Device, at sereno.Instant) Explanation {
	panic("to be written")
}
