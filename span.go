package sereno

import "time"

// A Span is one stretch of one status of one check. The spans of a check tile
// its life, from its creation to now, without gap or overlap. A span begins
// with the first of the looks that proved it.
type Span struct {
	Check       CheckID
	Status      Status
	Cause       Cause
	Begin       Instant
	End         Instant       // 0 while it is open
	Proof       Instant       // the look that proved it, or the start that found it out: its Begin or later
	Uncertainty time.Duration // the true moment lies in (Begin − Uncertainty, Begin]
	Reason      string        // for a person: "no reply in 1s", "unreachable behind core-sw1"
}
