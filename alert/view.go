package alert

import (
	"slices"
	"time"

	"sereno"
)

// An Alert is what becomes of one trouble, as people and messages see it.
type Alert struct {
	ID       sereno.IncidentID // of the first incident of the thread
	Incident sereno.Incident   // the latest
	Device   *sereno.Device    // nil for Sereno's own trouble; without its checks
	Check    *sereno.Check     // likewise; its name and kind
	Severity sereno.Severity   // the highest that a policy gives it

	Again   int           // how many times it opened in this thread; 1: once
	AgainIn time.Duration // from the first to the latest opening

	Acknowledged *Acknowledged // nil: it is not
	Snoozed      *Snoozed      // nil: it is not
	Resolved     string        // by whom; ""
	Held         string        // why nobody is told (more) at present: "maintenance sunday", "behind incident 12"; ""
	HeldUntil    sereno.Instant

	Policies []string // by which it is told
	Told     []string // channels that took a message about the latest incident
	Pending  []string // channels that have one waiting
	Next     []Coming // what comes if nothing changes, the soonest first

	severities map[string]sereno.Severity
}

// SeverityIn returns the severity that it has by a policy, which may override
// and raise it.
func (a *Alert) SeverityIn(policy string) sereno.Severity {
	if s, ok := a.severities[policy]; ok {
		return s
	}
	return a.Severity
}

// An Acknowledged says that somebody takes care.
type Acknowledged struct {
	By    string         `json:"by"`
	Via   string         `json:"via"`
	Note  string         `json:"note"`
	At    sereno.Instant `json:"at"`
	Until sereno.Instant `json:"until"` // 0: until it is over
}

// A Snoozed says until when somebody wants to hear nothing of it.
type Snoozed struct {
	By    string         `json:"by"`
	Note  string         `json:"note"`
	At    sereno.Instant `json:"at"`
	Until sereno.Instant `json:"until"`
}

// A Coming is a message that will be sent if nothing changes.
type Coming struct {
	At       sereno.Instant
	Policy   string
	Step     int      // 0 first
	Reminder int      // the how-manieth; 0: the step itself
	Of       int      // how many reminders that step has
	Channels []string // whom it goes to
}

// A ChannelHealth says how a channel does.
type ChannelHealth struct {
	Channel   string
	Waiting   int            // messages that are due and not delivered
	Later     int            // messages whose time has not come
	Oldest    sereno.Instant // when the oldest of Waiting was due; 0: none waits
	Failing   sereno.Instant // since when no try has succeeded; 0: the last one did, or none was made
	Refusing  bool           // the last answer was a refusal for good
	Answer    string         // of the last try that failed; "" once one succeeded
	Hold      sereno.Instant // no try before it: the channel backs off, or was asked to; 0
	Delivered sereno.Instant // the last time; 0: never
	Storm     bool           // one digest a minute at present
}

// Incidents returns of whom a delivery tells, each once, in the order of its items.
func (d *Delivery) Incidents() []sereno.IncidentID {
	ids := make([]sereno.IncidentID, 0, len(d.Items))
	seen := make(map[sereno.IncidentID]bool, len(d.Items))
	for _, item := range d.Items {
		if !seen[item.Incident] {
			seen[item.Incident] = true
			ids = append(ids, item.Incident)
		}
	}
	return slices.Clip(ids)
}
