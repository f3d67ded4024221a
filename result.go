package sereno

import "time"

// A Result is what one look saw. A target that is down is a Result, never an
// error; a look that failed by our own fault is a Result with Status Unknown
// and its Fault, and says nothing about the target.
type Result struct {
	Check   CheckID
	Vantage VantageID
	Status  Status
	Fault   Fault
	At      Instant       // when the look was due: the grid, not the jitter
	RTT     time.Duration // 0 when there was no answer
	Reason  string        // short, for a person; empty for a plain answer
}

// A Fault is what went wrong on our own side of a look.
type Fault uint8

const (
	NoFault    Fault = iota
	NoRoute          // this machine has no route to the target
	NoSocket         // no permission, no socket, no descriptor
	Refused          // this machine's own firewall or limits refused to send
	Overflow         // our receive buffer dropped packets
	Stalled          // our process did not run
	Skipped          // the look could not be taken in its time
	Unresolved       // the target's name has no address that we know of
)

var faultNames = [...]string{"", "no_route", "no_socket", "refused", "overflow", "stalled", "skipped", "unresolved"}

func (f Fault) String() string { return faultNames[f] }
