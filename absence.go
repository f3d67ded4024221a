package sereno

import (
	"fmt"
	"time"
)

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

// tellable is how long a process may be away, suspended, stalled or stopped by
// its owner, without anybody being told.
const tellable = time.Minute

// Incident returns what people are told of an absence, once it is over: that
// nobody watched, from when to when and why. It is not ok where there is nothing
// to tell: an owner who stops and starts it, a clock that was set, a backup that
// was restored, a moment of sleep.
func (a Absence) Incident() (in Incident, ok bool) {
	switch a.Cause {
	case PowerLoss, Reboot, Crash:
	case Stopped, Suspended, Stall:
		if a.End.Sub(a.Begin) < tellable {
			return Incident{}, false
		}
	default:
		return Incident{}, false
	}
	in = Incident{Trouble: TroubleAbsent, Opened: a.Begin, Closed: a.End, Reason: a.Cause.Sentence()}
	if a.Unsure {
		in.Reason += " (the clock was not to be trusted)"
	}
	switch a.Checks {
	case 0:
	case 1:
		in.Reason += "; 1 check could not be seen"
	default:
		in.Reason += fmt.Sprintf("; %d checks could not be seen", a.Checks)
	}
	return in, true
}
