package sereno

import "time"

// A State is what is believed of a check, and the doubt that its latest looks
// cast on it. The zero State is Unknown and has seen nothing.
type State struct {
	Status Status
	Cause  Cause
	Since  Instant // the first of the looks that proved it

	Evidence Instant // the latest look that was evidence; 0: none yet
	Answered Instant // the latest look that brought an answer; 0: none yet
	Blank    Instant // the first look since Evidence that was a fault of our own; 0: none

	Doubt Run // the latest looks, while they contradict Status: not Up when Up, answered when Down
	Tail  Run // the latest looks that all saw the same
}

// A Run is a number of looks in a row. Looks that were faults of our own
// neither belong to it nor break it.
type Run struct {
	Status Status // of a Tail: what they saw
	Count  int32
	Since  Instant // the first of them
	Before Instant // the evidence before the first of them; 0: none
}

// A Change is a status proven: where one span ends and the next begins.
// The zero Change is none.
type Change struct {
	From, To    Status
	Cause       Cause
	Begin       Instant       // the first of the looks that proved To
	Uncertainty time.Duration // the true moment lies in (Begin − Uncertainty, Begin]
	Proof       Instant       // the look that completed the proof
	Reason      string
}

// IsZero reports whether nothing changed.
func (c Change) IsZero() bool { return c.Begin == 0 }

// Next folds one look into a state. Its only clock is r.At, so any history can
// be replayed. Looks must come in order; one that is not later than the latest
// evidence changes nothing. A caller that may have left a gap calls Lapse(p,
// r.At) first.
func (s State) Next(p Policy, r Result) (State, Change) {
	if r.At <= s.Evidence {
		return s, Change{}
	}
	if r.Status == Unknown {
		if s.Blank == 0 {
			s.Blank = r.At
		}
		return s, Change{}
	}
	before := s.Evidence
	s.Evidence, s.Blank = r.At, 0
	if r.Status.Answered() {
		s.Answered = r.At
	}
	if s.Tail.Status != r.Status {
		s.Tail = Run{Status: r.Status}
	}
	s.Tail = s.Tail.extend(r.At, before)
	if s.Status == Up && r.Status != Up || s.Status == Down && r.Status != Down {
		s.Doubt = s.Doubt.extend(r.At, before)
	} else {
		s.Doubt = Run{}
	}
	to, run := s.proven(p)
	if to == s.Status {
		return s, Change{}
	}
	return s.become(Change{To: to, Begin: run.Since, Uncertainty: run.uncertainty(), Proof: r.At, Reason: r.Reason})
}

// Again folds a look that says what the state and the latest looks say
// already, as nearly every look does, and reports whether it did. It gives what
// Lapse and Next would give, for a small part of the price; when it reports
// false it has changed nothing.
func (s *State) Again(p *Policy, at Instant, status Status) bool {
	if status != s.Status || status != s.Tail.Status || status == Unknown ||
		s.Doubt.Count != 0 || at <= s.Evidence || at.Sub(s.Evidence) >= p.Patience() {
		return false
	}
	s.Evidence, s.Blank = at, 0
	if status != Down {
		s.Answered = at
	}
	s.Tail = s.Tail.extend(at, 0)
	return true
}

// proven returns the status that the latest looks prove, and the looks that do.
func (s State) proven(p Policy) (Status, Run) {
	fall, rise := int32(p.Fall), int32(p.Rise)
	tail := func(of Status, n int32) bool { return s.Tail.Status == of && s.Tail.Count >= n }
	switch s.Status {
	case Up:
		if s.Doubt.Count >= fall {
			if tail(Down, s.Doubt.Count) {
				return Down, s.Doubt
			}
			return Degraded, s.Doubt
		}
	case Degraded:
		if tail(Down, fall) {
			return Down, s.Tail
		}
		if tail(Up, rise) {
			return Up, s.Tail
		}
	case Down:
		if s.Doubt.Count >= rise {
			if tail(Up, s.Doubt.Count) {
				return Up, s.Doubt
			}
			return Degraded, s.Doubt
		}
	default:
		if s.Tail.Status.Answered() {
			return s.Tail.Status, s.Tail
		}
		if tail(Down, fall) {
			return Down, s.Tail
		}
	}
	return s.Status, Run{}
}

// Lapse says what becomes of a state in which nothing was seen until now: when
// there has been no evidence for Policy.Patience, it is Unknown from one
// interval after the latest evidence.
func (s State) Lapse(p Policy, now Instant) (State, Change) {
	if s.Evidence == 0 || now.Sub(s.Evidence) < p.Patience() {
		return s, Change{}
	}
	if s.Status == Unknown {
		s.Doubt, s.Tail = Run{}, Run{}
		return s, Change{}
	}
	return s.Lose(s.Evidence.Add(p.Interval), CauseNoEvidence, "nothing seen")
}

// Lose makes a state Unknown from a moment on, whatever it was: nobody looked,
// or nothing that was seen can be believed. What the latest looks said is
// forgotten. A state that is Unknown already stays as it is.
func (s State) Lose(from Instant, cause Cause, reason string) (State, Change) {
	s.Doubt, s.Tail = Run{}, Run{}
	if s.Status == Unknown {
		return s, Change{}
	}
	return s.become(Change{To: Unknown, Cause: cause, Begin: from, Proof: from, Reason: reason})
}

// Withdraw does as Lose does, and says so even of a state that is Unknown
// already: what its latest looks said is not to be believed.
func (s State) Withdraw(from Instant, cause Cause, reason string) (State, Change) {
	s.Doubt, s.Tail = Run{}, Run{}
	return s.become(Change{To: Unknown, Cause: cause, Begin: from, Proof: from, Reason: reason})
}

// Recall returns the state in which a start takes up a check: what its open
// span says, and that it was seen so until settled, up to when all looks had
// been judged and written. What later looks had brought into doubt is
// forgotten.
func Recall(p Policy, open Span, settled Instant) State {
	s := State{Status: open.Status, Cause: open.Cause, Since: open.Begin}
	if s.Status == Unknown {
		return s
	}
	s.Evidence = max(open.Proof, Slot(open.Check, p.Interval, Judged(p, settled)))
	if s.Status.Answered() {
		s.Answered = s.Evidence
	}
	return s
}

// Judged returns up to when the looks of a check had been judged, where all
// that was known by settled was: an answer may take the policy's timeout, and
// a moment to be told.
func Judged(p Policy, settled Instant) Instant {
	return settled.Add(-p.Timeout - 100*time.Millisecond)
}

// Failing returns the first of the latest looks that brought no answer, for
// whatever reason, since the last one that did; 0 if the latest look did.
func (s State) Failing() Instant {
	if s.Tail.Status == Down && s.Tail.Count > 0 {
		return s.Tail.Since
	}
	return s.Blank
}

// InDoubt reports whether the latest looks contradict the status.
func (s State) InDoubt() bool {
	return s.Doubt.Count > 0 ||
		s.Status == Degraded && s.Tail.Count > 0 && s.Tail.Status != Degraded ||
		s.Status == Unknown && s.Tail.Status == Down
}

// become moves to another status. A status never begins before the one it
// replaces: where they would begin together, the earlier one never was.
func (s State) become(c Change) (State, Change) {
	c.From = s.Status
	c.Begin = max(c.Begin, s.Since)
	c.Proof = max(c.Proof, c.Begin)
	s.Status, s.Cause, s.Since, s.Doubt = c.To, c.Cause, c.Begin, Run{}
	return s, c
}

func (r Run) extend(at, before Instant) Run {
	if r.Count == 0 {
		r.Since, r.Before = at, before
	}
	r.Count = min(r.Count+1, 1<<30)
	return r
}

func (r Run) uncertainty() time.Duration {
	if r.Before == 0 {
		return 0
	}
	return r.Since.Sub(r.Before)
}
