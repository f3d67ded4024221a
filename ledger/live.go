package ledger

import (
	"time"

	"sereno"
)

// Live is what the ledger knows of one check beyond what is in the store: the
// last look and the shape of the latest ones.
type Live struct {
	Check  sereno.CheckID
	Status sereno.Status
	Cause  sereno.Cause
	Since  sereno.Instant
	Reason string
	Doubt  sereno.Status  // what the latest looks say, when they contradict Status; else equal to it
	Last   sereno.Instant // the last look, 0 if there was none
	RTT    time.Duration  // of the last look that was answered
	Looks  uint64         // since this process began
	Lost   uint64         // of them, without an answer; our own faults are in neither
	Recent uint64         // the last 64 looks that were evidence, newest in bit 0: 1 answered
	Seen   int            // how many bits of Recent count
}
