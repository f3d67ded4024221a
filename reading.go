package sereno

import "time"

// A Reading is what the clocks of this machine showed at one moment.
type Reading struct {
	Wall   Instant       // CLOCK_REALTIME: what people call the time; may be set, forward and back
	Boot   time.Duration // CLOCK_BOOTTIME: since the machine started, sleep included; never set
	Mono   time.Duration // CLOCK_MONOTONIC: the same without sleep
	BootID string        // another one after each start of the machine; empty where there is none
	Synced bool          // something keeps the wall clock right (NTP): no STA_UNSYNC, see adjtimex(2)
	Chip   bool          // the machine keeps the time while it is off
}

// A Mark is a sign of life that is stored every few seconds. The next start
// compares it with its own first reading and so knows how long nobody watched.
type Mark struct {
	Reading
	Ledger  Instant       // the ledger's time of the reading; 0: there is no mark
	Settled Instant       // every look that had to be judged by then is committed
	Clean   bool          // the last one of a process that was stopped in order
	Every   time.Duration // how long after it the next one was to come; 0: not known
	PID     int           // the process that wrote it

	// Restored: it was left by a restore and says when the backup was made.
	// Whatever was watched since then is not in it.
	Restored bool
}

// follows reports whether r is a later reading of m's boot.
func (m Mark) follows(r Reading) bool {
	return m.BootID != "" && m.BootID == r.BootID && r.Boot >= m.Boot
}

// later returns m as it would have been, had it been written d later.
func (m Mark) later(d time.Duration) Mark {
	m.Wall, m.Boot, m.Mono, m.Ledger = m.Wall.Add(d), m.Boot+d, m.Mono+d, m.Ledger.Add(d)
	return m
}

// resume returns the ledger's time at r, going on from m: within one boot by
// the boot-time clock, which nobody can set, else by the wall clock. A wall
// clock that went back says nothing, so the ledger goes on where it was.
func (m Mark) resume(r Reading) Instant {
	if m.follows(r) {
		return m.Ledger.Add(r.Boot - m.Boot)
	}
	return m.Ledger + max(0, r.Wall-m.Wall)
}

// StallTolerance is how late a beat may come, and how much longer than the
// interval of the marks a restart in order may take, without an absence.
const StallTolerance = 2 * time.Second

// AbsenceAtStart returns the absence that a start finds: from the last mark to
// now, the reading of the start, whose time in the ledger is nowLedger.
//
// A process that was not stopped in order was away for certain, however short
// it was: its absence begins with its mark, and its end of life lies within
// Every after that. One that was stopped in order is an absence from that very
// moment, if it lasted longer than Every + 2 s; a shorter one is a restart.
// There may be an absence without any length: the wall clock is all there is
// to go by, and it went back. It is Unsure then.
func AbsenceAtStart(m Mark, now Reading, nowLedger Instant) (Absence, bool) {
	if m.Ledger.IsZero() {
		return Absence{}, false
	}
	a := Absence{Begin: m.Ledger, End: max(nowLedger, m.Ledger), Cause: causeAtStart(m, now)}
	a.Unsure = !m.follows(now) && now.Wall < m.Wall
	if m.Restored {
		a.Cause = Restored
		return a, true
	}
	if m.Clean {
		return a, a.End.Sub(a.Begin) > m.Every+StallTolerance
	}
	a.Uncertainty = m.Every
	if m.Every == 0 {
		a.Uncertainty, a.Unsure = a.End.Sub(a.Begin), true
	}
	return a, true
}

func causeAtStart(m Mark, now Reading) AbsenceCause {
	another := m.BootID != "" && now.BootID != "" && !m.follows(now)
	switch {
	case another && m.Clean:
		return Reboot
	case another:
		return PowerLoss
	case m.Clean:
		return Stopped
	default:
		return Crash
	}
}
