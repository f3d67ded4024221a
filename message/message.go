// Package message writes what people read at three in the morning: the first
// line says what, where and since when; then evidence, what is behind it, how
// often lately.
//
// All texts are logic-less templates (mustache) over Facts that a user may
// change. What they give is plain text: nothing in a name or a reason becomes
// markup, a second line, or turns the reading direction.
package message

import (
	"time"

	"sereno"
)

// Facts are what a message can speak of.
type Facts struct {
	Event    string // opened, reminder, acknowledged, changed, closed, digest, test
	Now      sereno.Instant
	Zone     *time.Location // in which times are written
	Severity sereno.Severity

	Incidents []Incident // of one message, worst first; at least one but in a test
	Count     int        // how many there are, which may be more than Incidents holds
	Over      int        // how many of Count are over
	Both      bool       // nobody was told that it began: what is over is told from its begin to its end
	Group     string     // what they share, as a person says it: "plant1", "behind core-sw1"; ""

	Again     int           // how many times it opened in this thread, if above 1
	AgainIn   time.Duration // within which time
	Reminder  int           // the how-manieth, 1 first; 0: none
	Reminders int           // of how many; 0: not known
	Last      bool          // no more reminders will follow

	By   string // who acknowledged or resolved it
	Note string // what that person wrote
	Was  string // what its trouble was before it changed, such as down

	Due         sereno.Instant // when the message should have been sent
	LateBecause string         // "telegram was unreachable"; "" if it is not late
	Held        string         // why it was kept back: "quiet hours"; ""

	Channel     string // its name
	Open        string // URL of the incident's page; ""
	Acknowledge string // URL to acknowledge by; ""
}

// An Incident is one trouble with what is known around it.
type Incident struct {
	sereno.Incident
	Severity    sereno.Severity
	Name        string // of the device; "" for trouble of Sereno's own
	Address     string
	Site        string
	Tags        []string
	Check       string        // its name
	Removed     bool          // device or check is no longer watched
	Uncertainty time.Duration // of Opened
	Looks       []bool        // the latest looks when it opened or now, oldest first: answered or not
	Behind      int           // devices whose incidents hang on this one
	BehindNames []string      // some of them
	Today       int           // incidents of this check since midnight in Zone, this one included
	Month       int           // and since the first of the month
}
