package sereno

import (
	"math"
	"time"
)

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
	Blind            // this vantage point was cut off
)

var faultNames = [...]string{"", "no_route", "no_socket", "refused", "overflow", "stalled", "skipped", "unresolved", "blind"}

func (f Fault) String() string { return faultNames[f] }

// rttUnits is how many units of a stored round-trip time make a second: 2²⁰.
// A unit (0.95 µs) is about what whole microseconds would be, and numbers of so
// few significant bits take 2 bytes as a sample where others take 5.
const rttUnits = 1 << 20

// StoredRTT returns a round-trip time in seconds as samples keep it: rounded to
// 2⁻²⁰ s, and never 0.
func StoredRTT(rtt time.Duration) float64 {
	return max(1, math.Round(float64(rtt)*rttUnits/float64(time.Second))) / rttUnits
}

// RTTOf returns the round-trip time that StoredRTT made seconds of, to the
// nanosecond.
func RTTOf(seconds float64) time.Duration {
	return time.Duration(math.Round(seconds * float64(time.Second)))
}

// slow reports whether an answer took longer than the policy allows. It judges
// what samples will tell, so that a replay of them says the same.
func (p *Policy) slow(rtt time.Duration) bool {
	return p.RTTAbove > 0 && RTTOf(StoredRTT(rtt)) > p.RTTAbove
}
