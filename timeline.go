package sereno

import "time"

// A Rhythm says how a Timeline is kept.
type Rhythm struct {
	Beat     time.Duration // a reading comes at least this often
	Patience time.Duration // how long to wait for a wall clock that cannot be believed (clock_patience)
}

// DefaultRhythm is what the program uses unless it is told otherwise.
var DefaultRhythm = Rhythm{Beat: 250 * time.Millisecond, Patience: 10 * time.Minute}

const (
	// clockStep is the smallest change of the wall clock that counts as a step.
	clockStep = time.Second

	// The ledger's time is brought to the wall clock's at 500 parts in a
	// million, which is what the kernel allows a disciplined clock as well
	// (RFC 5905, section 11.3): an hour of downtime is wrong by 1.8 s at most.
	// Faster would make the stamps right sooner and the durations wrong, and
	// durations are what the ledger is for.
	slewMost = 500_000 // parts in 10⁹

	// slewFor is how long a rate is used without a new reading.
	slewFor = 4 * time.Second

	// clockFloor is before any Sereno: 2026-01-01. A wall clock below it is wrong.
	clockFloor Instant = 1_767_225_600_000_000

	// savedClock: a machine without a clock chip starts with the time that it
	// saved when it went down (systemd-timesyncd, fake-hwclock), so it seems
	// to have been off for hardly longer than the going down took.
	savedClock = 2 * time.Minute
)

// A Pace turns the boot-time clock into the ledger's time until the next beat.
type Pace struct {
	boot time.Duration // of the beat
	now  time.Duration // the ledger's time of the beat, since 1970
	rate int64         // parts in 10⁹ to run faster
}

// At returns the ledger's time when the boot-time clock shows boot.
func (p Pace) At(boot time.Duration) Instant { return instantOf(p.at(boot)) }

func (p Pace) at(boot time.Duration) time.Duration {
	elapsed := boot - p.boot
	return p.now + elapsed + min(max(elapsed, 0), slewFor)*time.Duration(p.rate)/1e9
}

func instantOf(sinceEpoch time.Duration) Instant { return Instant(sinceEpoch / time.Microsecond) }

func sinceEpoch(i Instant) time.Duration { return time.Duration(i) * time.Microsecond }

// A Timeline is the ledger's time. Its rules:
//
//   - It runs with the boot-time clock. Durations are true, whatever is done to
//     the wall clock, and it never goes back.
//   - A wall clock that differs by less than a second is followed at 500 parts
//     in a million.
//   - A wall clock that is set forward by a second or more is followed at once.
//     The stretch that was jumped over is an absence of cause ClockStep: nobody
//     watched a time that did not exist.
//   - A wall clock that is set back is not followed at once: the ledger stays
//     ahead and comes back at 500 parts in a million (an hour takes 83 days).
//   - Sleep and stall count as time, and as absences.
//   - A start goes on from the last mark: in the same boot by the boot-time
//     clock, else by the wall clock.
//   - A wall clock that cannot be believed at a start makes it pending: it runs
//     on provisionally from the mark until the clock is synchronised, is set
//     forward past the mark, or Patience is over. Then it becomes true: all
//     that was given out moves on by one Shift.
//
// A wall clock cannot be believed if it is not synchronised, if the machine was
// started since the mark, and if it shows a time before the mark or before
// 2026; nor, on a machine without a clock chip, if it makes the machine off for
// less than two minutes, since that is what a saved clock shows.
//
// A Timeline is a value: Next returns the one after the next reading.
type Timeline struct {
	rhythm  Rhythm
	pace    Pace
	last    Reading
	mark    Mark
	first   Reading       // of the start
	begun   time.Duration // the ledger's time of first
	pending bool
}

// A Beat is what a Timeline found out with one reading.
type Beat struct {
	Absences []Absence    // that ended now, in order, without overlap
	Steps    []ClockEvent // of the wall clock
	Settled  bool         // the timeline was pending until now; Absences begins with that of the start

	// Shift, set with Settled and never negative, is to be added to every
	// instant that was given out while the timeline was pending. The instants
	// in this Beat are true.
	Shift time.Duration
}

// Quiet reports whether there is nothing to tell.
func (b Beat) Quiet() bool { return len(b.Absences) == 0 && len(b.Steps) == 0 && !b.Settled }

// StartTimeline begins with the first reading of a process and goes on from the
// last sign of life: the last mark (the zero Mark if there is none) or newest,
// the latest instant that the ledger holds (0 if it holds nothing), whichever
// is later. So what a start books never overlaps what is booked already.
// If there is only newest, the absence is Unsure.
func StartTimeline(h Rhythm, m Mark, newest Instant, r Reading) (Timeline, Beat) {
	switch {
	case newest <= m.Ledger:
	case m.Ledger.IsZero():
		m = Mark{Reading: Reading{Wall: newest}, Ledger: newest, Settled: newest}
	default:
		m = m.later(newest.Sub(m.Ledger))
	}
	t := Timeline{rhythm: h, last: r, mark: m, first: r, pending: doubtful(m, r)}
	switch {
	case m.Ledger.IsZero():
		t.begun = sinceEpoch(max(r.Wall, clockFloor))
	case t.pending:
		t.begun = sinceEpoch(m.Ledger)
	default:
		t.begun = sinceEpoch(m.resume(r))
	}
	t.pace = Pace{boot: r.Boot, now: t.begun}
	if t.pending {
		return t, Beat{}
	}
	var b Beat
	if a, ok := AbsenceAtStart(m, r, instantOf(t.begun)); ok {
		b.Absences = append(b.Absences, a)
	}
	if step := stepAtStart(m, r); step.Abs() >= clockStep {
		b.Steps = append(b.Steps, ClockEvent{At: instantOf(t.begun), Step: step})
	}
	t.follow(r, &b)
	return t, b
}

// doubtful reports whether the wall clock of a start cannot be believed.
func doubtful(m Mark, r Reading) bool {
	if r.Synced || m.follows(r) {
		return false
	}
	saved := !r.Chip && !m.Ledger.IsZero() && r.Wall.Sub(m.Wall) < r.Boot+savedClock
	return r.Wall < max(m.Wall, clockFloor) || saved
}

// stepAtStart is how far the wall clock was set since the mark, as far as that
// can be known.
func stepAtStart(m Mark, r Reading) time.Duration {
	switch {
	case m.Ledger.IsZero():
		return 0
	case m.follows(r):
		return r.Wall.Sub(m.Wall) - (r.Boot - m.Boot)
	default:
		return min(0, r.Wall.Sub(m.Wall))
	}
}

// Next goes on to the next reading.
func (t Timeline) Next(r Reading) (Timeline, Beat) {
	r.Boot, r.Mono = max(r.Boot, t.last.Boot), max(r.Mono, t.last.Mono)
	passed, ran := r.Boot-t.last.Boot, r.Mono-t.last.Mono
	before, now := t.pace.now, t.pace.at(r.Boot)
	step := r.Wall.Sub(t.last.Wall) - passed
	t.last = r

	var b Beat
	if t.pending && t.believes(r) {
		t.pending = false
		b.Settled = true
		b.Shift = t.settle(r, &b)
		before, now = before+b.Shift, now+b.Shift
	}
	if cause, away := lapse(passed, ran, t.rhythm.Beat); away {
		b.Absences = append(b.Absences, Absence{
			Begin: instantOf(before), End: instantOf(now), Cause: cause, Uncertainty: min(ran, t.rhythm.Beat),
		})
	}
	if step.Abs() >= clockStep {
		b.Steps = append(b.Steps, ClockEvent{At: instantOf(now), Step: step})
	}
	t.pace = Pace{boot: r.Boot, now: now}
	if !t.pending {
		t.follow(r, &b)
	}
	return t, b
}

// lapse says whether this process was away between two readings, by how much
// the boot-time clock passed and how long the machine ran in that time.
func lapse(passed, ran, beat time.Duration) (AbsenceCause, bool) {
	if passed-ran > StallTolerance {
		return Suspended, true
	}
	return Stall, ran > beat+StallTolerance
}

// follow brings the ledger's time to the wall clock's: at once if it was set
// forward, else slowly.
func (t *Timeline) follow(r Reading, b *Beat) {
	behind := sinceEpoch(r.Wall) - t.pace.now
	if behind >= clockStep {
		from := instantOf(t.pace.now)
		b.Absences = append(b.Absences, Absence{Begin: from, End: r.Wall, Cause: ClockStep})
		if len(b.Steps) == 0 {
			b.Steps = append(b.Steps, ClockEvent{At: from, Step: behind.Truncate(time.Microsecond)})
		}
		t.pace.now, behind = sinceEpoch(r.Wall), 0
	}
	t.pace.rate = min(max(int64(behind)/int64(slewFor/time.Second), -slewMost), slewMost)
}

// believes reports whether r ends the doubt that made the start pending.
func (t *Timeline) believes(r Reading) bool {
	return r.Synced || t.setForward(r) || r.Boot-t.first.Boot >= t.rhythm.Patience
}

// setForward reports whether somebody set the clock, past the mark, since the start.
func (t *Timeline) setForward(r Reading) bool {
	step := r.Wall.Sub(t.first.Wall) - (r.Boot - t.first.Boot)
	return step >= clockStep && r.Wall >= max(t.mark.Wall, clockFloor)
}

// settle books the absence of a start that was pending, with the clock that r
// believes in, and returns by how much the provisional time was short.
func (t *Timeline) settle(r Reading, b *Beat) (shift time.Duration) {
	start := t.first
	start.Wall = r.Wall.Add(t.first.Boot - r.Boot)
	begun := start.Wall
	if !t.mark.Ledger.IsZero() {
		begun = t.mark.resume(start)
	}
	shift = max(0, sinceEpoch(begun)-t.begun)
	if a, ok := AbsenceAtStart(t.mark, start, instantOf(t.begun+shift)); ok {
		a.Unsure = a.Unsure || !r.Synced && !t.setForward(r)
		b.Absences = append(b.Absences, a)
	}
	return shift
}

// Pace returns how the ledger's time runs until the next reading.
func (t Timeline) Pace() Pace { return t.pace }

// Pending reports whether the ledger's time is provisional.
func (t Timeline) Pending() bool { return t.pending }
