package sereno

import "time"

// An Absence is a stretch in which Sereno itself was not watching.
type Absence struct {
	Begin       Instant
	End         Instant
	Uncertainty time.Duration // of Begin: the last sign of life may be this much older than the end of life
	Cause       AbsenceCause
	Unsure      bool // the clock was not trustworthy when it was booked
	Checks      int  // how many checks could not be seen
}

// An AbsenceCause says why.
type AbsenceCause uint8

const (
	PowerLoss AbsenceCause = iota // another boot, no clean stop: power loss or hard reset
	Reboot                        // another boot, clean stop: shutdown or reboot
	Crash                         // same boot, no clean stop
	Stopped                       // same boot, clean stop
	Suspended                     // boot-time clock ran on, monotonic clock did not
	Stall                         // both ran on, the process did not
	ClockStep                     // the wall clock was set forward
	Restored                      // a backup was put in place: what was between is not in it
)

var absenceCauseNames = [...]string{"power_loss", "reboot", "crash", "stopped", "suspended", "stalled", "clock_step", "restored"}

func (c AbsenceCause) String() string { return absenceCauseNames[c] }

// MarshalText gives the lower-case name.
func (c AbsenceCause) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText reads the lower-case name.
func (c *AbsenceCause) UnmarshalText(text []byte) error {
	return unmarshalName(c, absenceCauseNames[:], text, "cause of an absence")
}

// AtStart reports whether it is a start that finds such an absence: another
// process was watching before.
func (c AbsenceCause) AtStart() bool { return c != Suspended && c != Stall && c != ClockStep }

// A ClockEvent is one step of the wall clock against the boot-time clock.
type ClockEvent struct {
	At   Instant       // by the ledger's time
	Step time.Duration // positive: set forward
}

// Absent says what becomes of a state over a stretch in which Sereno was not
// watching: Unknown from one interval after the latest evidence, unless the
// next look was not due before the absence ended.
func (s State) Absent(p Policy, a Absence) (State, Change) {
	from := a.Begin
	if s.Evidence != 0 {
		from = s.Evidence.Add(p.Interval)
	}
	if from >= a.End {
		return s, Change{}
	}
	return s.Lose(from, CauseAbsence, "Sereno was not watching: "+a.Cause.Sentence())
}

// Sentence says the cause for a person, as the end of a sentence.
func (c AbsenceCause) Sentence() string {
	return [...]string{
		"power loss or hard reset", "shutdown or reboot", "it crashed or was killed", "it was stopped",
		"the machine was suspended", "the process did not get to run", "the clock was set forward",
		"a backup was restored",
	}[c]
}
