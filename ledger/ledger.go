// Package ledger turns results into states, states into spans and spans into
// incidents, and is the one writer of all three.
//
// One goroutine owns every state. Folding a look costs a small part of a
// microsecond, so one goroutine keeps up with far more looks than a machine
// can take, and rules that reach across checks (parents, witnesses, mass
// doubt) need no locks and have no races. It never waits for storage: what is
// to be written gathers while a second goroutine commits.
package ledger

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"sereno"
)

// A Beat is what the clock has to say each time the ledger wakes.
type Beat struct {
	sereno.Beat                // what the latest reading found out
	Now         sereno.Instant // the ledger's time
	Pending     bool           // Now is provisional: the clock is not to be trusted yet
}

// Options are what a Ledger needs. Look, Hurry, Keep and Committed may be nil.
type Options struct {
	Journal Journal
	Beat    func() Beat // called by the ledger's goroutine, at least four times a second
	// Look asks for a look at once; Hurry for one every sereno.Doubting until
	// it is called off. Neither may block.
	Look  func(sereno.CheckID)
	Hurry func(check sereno.CheckID, on bool)
	// Hold is how long a proof of Down may wait for witnesses and parents.
	Hold time.Duration // 0: 2 s
	// Keep is given, by the ledger's goroutine, the looks that were folded: per
	// check in ascending order of time, each once. Those that came too late to
	// count are not among them. It may not block, and not keep the slice.
	Keep    func([]sereno.Result)
	Version string // of the program, for the record of starts
	// Committed is told of every transaction, from the committing goroutine.
	Committed func(took time.Duration, e *Entry)
	Log       *slog.Logger
}

const (
	queueBatches = 4096    // batches that may wait to be folded
	commitRows   = 20_000  // rows of one transaction
	backlogRows  = 500_000 // rows that may wait for storage before results are refused
)

// A Ledger owns all states. Load it, then Run it; Deliver and the questions
// may be called from anywhere.
type Ledger struct {
	o Options

	queue   chan []sereno.Result
	free    chan []sereno.Result
	ask     chan func()
	ended   chan struct{} // closed when Run has returned
	dropped atomic.Uint64
	settled atomic.Int64

	// All below belongs to Run's goroutine.
	now       sereno.Instant
	since     sereno.Instant
	recalled  sereno.Instant // Past.Settled
	devices   map[sereno.DeviceID]*device
	names     map[string]*device
	checks    map[sereno.CheckID]*watch
	dense     []*watch // the same by id, as far as ids are dense
	witnesses map[sereno.CheckID]*witness
	testimony []sereno.Witness // what the witnesses say now
	held      []*watch         // proofs of Down that wait for a verdict
	reviewed  sereno.Instant
	swept     sereno.Instant

	sees      bool // something beyond this machine has answered since Run began
	isolated  bool
	reunited  sereno.Instant       // when the latest isolation ended: silence from before proves nothing
	blinded   sereno.Instant       // the latest look that an isolation took the meaning of
	isolation sereno.Incident      // ID 0: none open
	silenced  []string             // the witnesses that it names, if it is from before the start
	own       map[respect]*ailment // what is wrong with Sereno itself, as told
	ups       int                  // checks beyond this machine that are Up …
	doubted   int                  // … and those of them whose latest looks failed

	away         sereno.Absence // the latest
	pendingClock bool
	early        []sereno.Result  // taken while the clock was pending
	earlyAway    []sereno.Absence // that were noticed meanwhile

	lastID    sereno.IncidentID
	incidents int // open ones
	outcomes  map[string]*Outcomes
	journal   journal
}

// New makes a ledger that watches nothing.
func New(o Options) *Ledger {
	if o.Hold == 0 {
		o.Hold = 2 * time.Second
	}
	if o.Look == nil {
		o.Look = func(sereno.CheckID) {}
	}
	if o.Hurry == nil {
		o.Hurry = func(sereno.CheckID, bool) {}
	}
	if o.Keep == nil {
		o.Keep = func([]sereno.Result) {}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Ledger{
		o:         o,
		queue:     make(chan []sereno.Result, queueBatches),
		free:      make(chan []sereno.Result, 64),
		ask:       make(chan func()),
		ended:     make(chan struct{}),
		devices:   map[sereno.DeviceID]*device{},
		own:       map[respect]*ailment{},
		names:     map[string]*device{},
		checks:    map[sereno.CheckID]*watch{},
		witnesses: map[sereno.CheckID]*witness{},
		outcomes:  map[string]*Outcomes{},
		journal:   newJournal(o),
	}
}

// Deliver takes in results without ever waiting. When more are waiting than
// the queue holds they are refused and counted: looks that were not seen are
// not evidence of anything.
func (l *Ledger) Deliver(batch []sereno.Result) {
	if len(batch) == 0 {
		return
	}
	var own []sereno.Result
	select {
	case own = <-l.free:
	default:
	}
	own = append(own[:0], batch...)
	select {
	case l.queue <- own:
	default:
		l.dropped.Add(uint64(len(batch)))
	}
}

// Settled returns the ledger's time by which every look that had been judged
// is also committed. It may be called from anywhere.
func (l *Ledger) Settled() sereno.Instant { return sereno.Instant(l.settled.Load()) }

// Run folds results and commits what follows, until ctx ends and all that was
// delivered before is on disk.
func (l *Ledger) Run(ctx context.Context) error {
	defer close(l.ended)
	committing, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var wg sync.WaitGroup
	wg.Go(func() { l.journal.run(committing) })
	defer wg.Wait()
	defer close(l.journal.entries)

	l.begin()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		l.journal.flush()
		queue := l.queue
		if l.journal.rows() > backlogRows {
			queue = nil
		}
		select {
		case batch := <-queue:
			l.beat()
			l.foldAll(batch)
			l.review(false)
		case <-tick.C:
			l.beat()
			l.review(true)
			l.sweep()
			l.settle()
		case f := <-l.ask:
			l.beat()
			f()
		case <-l.journal.done:
			l.journal.finish()
		case <-ctx.Done():
			return l.finish(stop)
		}
	}
}

// begin takes up watching where the process before left off.
func (l *Ledger) begin() {
	l.beat()
	if !l.pendingClock {
		l.started()
	}
	for _, w := range l.checks {
		l.pause(w)
	}
	l.disown()
}

// started writes the start down, once its time is known.
func (l *Ledger) started() {
	e := l.journal.next()
	e.Starts = append(e.Starts, sereno.Start{At: l.since, Settled: l.recalled, Version: l.o.Version})
}

// lastPatience is how long a stop waits for the journal: longer than that waits
// for storage before it keeps an entry elsewhere, which is 10 s.
const lastPatience = 20 * time.Second

// finish folds what was delivered and commits all, within a bounded time. A
// proof that still waits is left to the next start: a machine that goes down
// loses its network first.
func (l *Ledger) finish(giveUp func()) error {
	l.beat()
	for len(l.queue) > 0 {
		l.foldAll(<-l.queue)
	}
	l.review(true)
	deadline := time.After(lastPatience)
	for {
		l.journal.flush()
		if l.journal.idle() {
			l.settle()
			return nil
		}
		select {
		case <-l.journal.done:
			l.journal.finish()
		case <-deadline:
			giveUp()
			return errors.New("ledger: storage does not answer: changes of the last seconds are not written; the next start books them as unknown")
		}
	}
}

// beat asks the clock, and books what it found before any newer look.
func (l *Ledger) beat() {
	b := l.o.Beat()
	l.now = max(l.now, b.Now)
	l.since = cmp.Or(l.since, l.now)
	for _, step := range b.Steps {
		e := l.journal.next()
		e.Clock = append(e.Clock, step)
		l.o.Log.Warn("the wall clock was stepped", "by", step.Step)
	}
	if b.Pending {
		l.pendingClock = true
		l.earlyAway = append(l.earlyAway, b.Absences...)
		return
	}
	away := b.Absences
	if l.pendingClock {
		l.pendingClock = false
		if l.since != 0 {
			l.since = l.since.Add(b.Shift)
			l.started()
		}
		away = l.foldEarly(away, b.Shift)
		l.confessAll(b.Shift)
	}
	for _, a := range away {
		l.absent(a)
	}
}

// foldEarly takes in, in order, what was found out while the clock was pending
// and the absences that the clock tells now, and returns those that are later
// than all looks.
func (l *Ledger) foldEarly(away []sereno.Absence, shift time.Duration) []sereno.Absence {
	early, earlyAway := l.early, l.earlyAway
	kept := early[:0]
	l.early, l.earlyAway = nil, nil
	for _, a := range earlyAway {
		a.Begin, a.End = a.Begin.Add(shift), a.End.Add(shift)
		away = append(away, a)
	}
	slices.SortStableFunc(away, func(a, b sereno.Absence) int { return cmp.Compare(a.Begin, b.Begin) })
	for i := range early {
		r := &early[i]
		r.At = r.At.Add(shift).Grid()
		for len(away) > 0 && away[0].Begin < r.At {
			l.absent(away[0])
			away = away[1:]
		}
		if l.fold(r) {
			kept = append(kept, *r)
		}
	}
	l.o.Keep(kept)
	return away
}

// maxEarly bounds what is remembered while the clock is pending.
const maxEarly = 2_000_000

func (l *Ledger) foldAll(batch []sereno.Result) {
	if l.pendingClock {
		room := maxEarly - len(l.early)
		l.early = append(l.early, batch[:min(room, len(batch))]...)
	} else {
		kept := batch[:0]
		for i := range batch {
			if l.fold(&batch[i]) {
				kept = append(kept, batch[i])
			}
		}
		if len(kept) > 0 {
			l.o.Keep(kept)
		}
	}
	select {
	case l.free <- batch:
	default:
	}
}

// fold takes in one look at a check, and reports whether it counted.
func (l *Ledger) fold(r *sereno.Result) bool {
	w := l.watch(r.Check)
	if w == nil {
		l.heard(r)
		return false
	}
	if r.At <= w.state.Evidence || w.dev.paused || r.At < w.state.Since {
		return false // told twice, or after a later one; or under way when a pause began
	}
	if r.At < l.away.End || r.At < w.givenUp {
		return false // due when nobody watched, or told after what it saw was given up: it can prove nothing any more
	}
	if w.dev.beyond && !r.Status.Answered() && (l.isolated || r.At < l.reunited) {
		l.blind(w, r)
		return true
	}
	policy := w.policyAt(r.At)
	w.count(r)
	status := w.judge(r, policy)
	if !l.sees && w.dev.beyond && status.Answered() {
		l.sees = true
		l.testify()
	}
	if l.isolated && w.dev.beyond && status.Answered() && !l.trusting() {
		l.reunite(r.At)
	}
	if status.Answered() && w.state.Again(policy, r.At, status) {
		return true
	}
	window := w.loss
	if l.lapse(w, policy, r.At); w.loss != window {
		status = w.judge(r, policy) // what was before counts no more
	}
	l.next(w, policy, r, status)
	l.doubt(w, r)
	return true
}

// next folds a look that was judged. What would end a proof of Down that still
// waits brings its verdict first: what was withdrawn never was.
func (l *Ledger) next(w *watch, policy *sereno.Policy, r *sereno.Result, status sereno.Status) {
	look := *r
	look.Status = status
	state, ch := w.state.Next(*policy, look)
	if w.proof != nil && !ch.IsZero() {
		window := w.loss
		if l.decide(w, true); w.loss != window {
			look.Status = w.judge(r, policy) // what was before counts no more
		}
		state, ch = w.state.Next(*policy, look)
	}
	if look.Status == sereno.Degraded && !ch.IsZero() {
		ch.Reason = cmp.Or(policy.Explain(r, w.loss), r.Reason)
	}
	if w.proof != nil && r.Status != sereno.Unknown {
		w.waited = append(w.waited, *r)
	}
	if ch.IsZero() {
		w.state = state
		return
	}
	l.turn(w, state, ch)
}

// lapse makes a check Unknown in which nothing has been seen until now. Looks
// from before that are told later cannot bridge it.
func (l *Ledger) lapse(w *watch, policy *sereno.Policy, now sereno.Instant) {
	if w.state.Evidence == 0 || now.Sub(w.state.Evidence) < policy.Patience() {
		return
	}
	if w.proof != nil {
		l.decide(w, true)
	}
	w.givenUp = now
	state, ch := w.state.Lapse(*policy, now)
	if ch.IsZero() {
		w.state = state
		return
	}
	l.turn(w, state, ch)
	l.recount(w)
}

// blind takes a look that was not answered while this vantage point was cut
// off for what it is: a fault of our own.
func (l *Ledger) blind(w *watch, r *sereno.Result) {
	if r.Status != sereno.Unknown {
		r.Status, r.Fault, r.Reason = sereno.Unknown, sereno.Blind, cutOff
	}
	l.blinded = max(l.blinded, r.At)
	w.count(r)
	l.lapse(w, w.policyAt(r.At), r.At)
	if w.proof != nil || w.state.Status != sereno.Unknown {
		l.lose(w, r.At)
	}
}

// doubt keeps count of who is in doubt, and looks again quickly where that
// brings proof sooner.
func (l *Ledger) doubt(w *watch, r *sereno.Result) {
	l.recount(w)
	l.hurry(w)
	if r.Status != sereno.Down {
		return
	}
	if w.state.Tail.Count == 1 {
		for _, p := range w.dev.parents {
			l.inquire(p)
		}
	}
	if w.orphaned != 0 && w.proof == nil && w.state.Status == sereno.Down && r.At.Sub(w.orphaned) >= time.Duration(w.policy.Fall)*w.policy.Interval {
		l.standAlone(w, r)
	}
}

// slow is the interval above which a check in doubt is looked at more often.
const slow = 5 * time.Second

func (l *Ledger) hurry(w *watch) {
	if hurry := w.policy.Interval > slow && w.state.InDoubt(); hurry != w.hurried {
		w.hurried = hurry
		l.o.Hurry(w.id, hurry)
	}
}

func (l *Ledger) recount(w *watch) {
	up := w.dev.beyond && w.state.Status == sereno.Up
	doubted := up && w.state.Tail.Status == sereno.Down && w.state.Tail.Count > 0
	if up != w.up {
		w.up = up
		l.ups += sign(up)
	}
	if doubted != w.doubted {
		w.doubted = doubted
		l.doubted += sign(doubted)
	}
}

func sign(up bool) int {
	if up {
		return 1
	}
	return -1
}

// turn moves a check to another status. A proof of Down is weighed first.
func (l *Ledger) turn(w *watch, state sereno.State, ch sereno.Change) {
	w.state = state
	if ch.To != sereno.Down {
		l.record(w, ch, nil)
		return
	}
	w.proof, w.heldSince, w.waited = &ch, l.now, nil
	if !l.decide(w, false) {
		l.held = append(l.held, w)
	}
}

// review decides proofs that wait, when something may have become known.
func (l *Ledger) review(always bool) {
	if len(l.held) == 0 || !always && l.now.Sub(l.reviewed) < 10*time.Millisecond {
		return
	}
	l.reviewed = l.now
	rest := l.held[:0]
	for _, w := range l.held {
		if w.proof != nil && !l.decide(w, l.now.Sub(w.heldSince) >= l.o.Hold) {
			rest = append(rest, w)
		}
	}
	clear(l.held[len(rest):])
	l.held = rest
}

// decide gives the verdict on a proof of Down, and reports whether there was
// one. When late, there always is.
func (l *Ledger) decide(w *watch, late bool) bool {
	if w.proof == nil {
		return true
	}
	verdict := sereno.Stand
	if w.dev.beyond {
		verdict = sereno.Corroborate(w.proof.Proof, l.testimony, l.isolated, late)
	}
	if verdict == sereno.Stand && len(w.dev.parents) > 0 {
		verdict = sereno.BehindParents(w.proof.Proof, w.dev.parentViews(), late)
	}
	switch verdict {
	case sereno.Wait:
		l.inquireFor(w)
		return false
	case sereno.CutOff:
		if !l.isolated {
			l.isolate()
		}
		l.withdraw(w, sereno.CauseIsolated, cutOff)
	case sereno.Behind:
		ch := *w.proof
		over := w.dev.behind()
		ch.Cause, ch.Reason = sereno.CauseBehindParent, "unreachable behind "+over.name
		w.proof = nil
		l.record(w, ch, over)
	default:
		ch := *w.proof
		w.proof = nil
		l.record(w, ch, nil)
	}
	return true
}

// withdraw turns a proof of Down into Unknown: we could not see. The answers
// that came while it waited count from there; what was silent meanwhile proves
// as little as the proof.
func (l *Ledger) withdraw(w *watch, cause sereno.Cause, reason string) {
	if w.proof == nil {
		return
	}
	proof, waited := *w.proof, w.waited
	w.proof, w.waited, w.loss = nil, nil, nil
	state, ch := w.state.Withdraw(proof.Begin, cause, reason)
	ch.From, ch.Uncertainty = w.open.Status, proof.Uncertainty
	state.Evidence = proof.Proof
	w.state = state
	l.record(w, ch, nil)
	for i := range waited {
		if r := &waited[i]; r.Status.Answered() {
			policy := w.policyAt(r.At)
			l.next(w, policy, r, w.judge(r, policy))
		} else {
			w.state.Evidence = r.At
		}
	}
	l.recount(w)
}

const cutOff = "this vantage point was cut off"

// lose makes a check Unknown because this vantage point cannot see it.
func (l *Ledger) lose(w *watch, from sereno.Instant) {
	if w.proof != nil {
		l.withdraw(w, sereno.CauseIsolated, cutOff)
		return
	}
	w.loss = nil
	state, ch := w.state.Withdraw(from, sereno.CauseIsolated, cutOff)
	w.state = state
	l.record(w, ch, nil)
	l.recount(w)
}

// record writes a change down: the span that ends, the one that begins, and
// what becomes of the incident. over is the parent it is behind, or nil. What a
// start finds out of the time before it, it has not proven before it: so the
// spans tell what had been written when it came.
func (l *Ledger) record(w *watch, ch sereno.Change, over *device) {
	e := l.journal.next()
	if ch.Begin > w.open.Begin {
		closed := w.open
		closed.End = ch.Begin
		e.Closed = append(e.Closed, closed)
	}
	w.open = sereno.Span{
		Check: w.id, Status: ch.To, Cause: ch.Cause, Begin: ch.Begin,
		Proof: max(ch.Proof, l.since), Uncertainty: ch.Uncertainty, Reason: ch.Reason,
	}
	w.state.Cause = ch.Cause
	w.orphaned, w.waited = 0, nil
	e.Open = append(e.Open, w.open)
	if !w.dev.paused {
		l.incident(w, ch, over)
	}
	if ch.To.Answered() {
		l.orphan(w.dev, ch.Begin)
	}
}

// absent books a stretch in which nobody watched.
func (l *Ledger) absent(a sereno.Absence) {
	l.o.Log.Warn("I was not watching", "from", a.Begin, "to", a.End, "for", sereno.FormatLength(a.End.Sub(a.Begin)), "cause", a.Cause)
	for _, w := range l.held {
		if !l.decide(w, false) {
			l.withdraw(w, sereno.CauseAbsence, "Sereno was not watching: "+a.Cause.Sentence())
		}
	}
	l.held = nil
	for _, w := range l.checks {
		if w.dev.paused {
			continue
		}
		if !a.Cause.AtStart() {
			l.lapse(w, &w.policy, a.Begin)
		}
		w.loss = nil
		state, ch := w.state.Absent(w.policy, a)
		w.state = state
		if !ch.IsZero() {
			l.record(w, ch, nil)
		}
		if w.open.Status == sereno.Unknown {
			a.Checks++
		}
		l.recount(w)
	}
	l.away = a
	e := l.journal.next()
	e.Absences = append(e.Absences, a)
	if in, told := a.Incident(); told {
		l.incidents++
		in.ID = l.newID()
		l.write(in)
	}
}

// sweep finds, once a second, checks in which nothing has been seen for too
// long, and flapping that has ended.
func (l *Ledger) sweep() {
	if l.pendingClock || l.now.Sub(l.swept) < time.Second || l.journal.rows() > backlogRows {
		return // in the last case what was seen waits to be folded
	}
	l.swept = l.now
	for _, w := range l.checks {
		if w.dev.paused {
			continue
		}
		// A look that was due just before the patience ran out may still be answered.
		l.lapse(w, &w.policy, l.now.Add(-w.policy.Timeout-time.Second))
		if w.trouble != nil && w.trouble.Incident.Trouble == sereno.TroubleFlapping {
			next, in, news := w.trouble.Calm(w.state, l.now)
			*w.trouble = next
			if news {
				l.write(in)
			}
		}
	}
}

// settle moves the time by which all is judged and committed.
func (l *Ledger) settle() {
	if len(l.queue) == 0 && len(l.held) == 0 && !l.pendingClock && l.journal.idle() {
		l.settled.Store(int64(l.now))
	}
}
