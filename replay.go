package sereno

import (
	"cmp"
	"slices"
	"time"
)

// A Book is what was written down of one check: what a replay of its looks is
// held against, and what no policy can change (who was not watching, cut off,
// paused, started, and what hung on a parent). Lists are in order of time; the
// last span may be open.
type Book struct {
	Check      CheckID
	Spans      []Span        // from the one on that was open when the looks begin
	Policies   []PolicySince // from the one on that was in force then
	Starts     []Start
	Absences   []Absence
	Isolations []Incident // of the vantage point
}

// A Replay folds the stored looks of one check again, in order: under the
// policies that were in force, and at the same time under others. Make it with
// NewReplay, give it every look, then End it.
//
// It begins where the state of the check is known for certain: at a look that
// says what was recorded, with a loss window that is as it was, or where looks
// began anew. From there on it gives under the recorded policies what was
// recorded, to the microsecond.
//
// What it does not derive from looks, it takes from the book:
//
//   - Absences and starts. A start takes up what was on disk, so of the last
//     seconds before one, what was recorded is what counts.
//   - Pauses, and stretches in which the vantage point was cut off, from the
//     spans that say so. Silence in those proves nothing.
//   - That a Down is behind a parent, and since when it is no more.
//   - Which looks were taken. A check with a long interval is looked at more
//     often while in doubt: under another policy it would have been at other
//     times.
type Replay struct {
	book  Book
	same  course
	other *course
	since Instant // all looks from then on are given
	from  Instant // where it began; 0: not yet
}

// NewReplay begins a replay of all looks from a moment on. change makes of each policy that was in force the
// one to judge by as well; nil for none. It must leave the interval and the
// timeout alone, for looks were taken by them.
func NewReplay(book Book, since Instant, change func(Policy) Policy) *Replay {
	facts := book.facts()
	r := &Replay{book: book, since: since}
	r.same = newCourse(&r.book, facts, func(p Policy) Policy { return p }, true)
	if change != nil {
		other := newCourse(&r.book, facts, change, false)
		r.other = &other
	}
	return r
}

// Look folds the next look. Looks that were faults of our own say nothing.
func (r *Replay) Look(look *Result) {
	if look.Status == Unknown {
		return
	}
	if r.from != 0 {
		r.same.look(look)
		if r.other != nil {
			r.other.look(look)
		}
		return
	}
	r.same.warm(look, r.since)
	if r.other != nil {
		r.other.warm(look, r.since)
	}
	if span, ok := r.same.anew(); ok && span.Begin >= r.since {
		r.from = span.Begin
		r.same.begin(span, look)
		if r.other != nil {
			r.other.begin(span, look)
		}
	} else if span, ok := r.same.agrees(look); ok {
		r.from = look.At
		r.same.take(span, look)
		if r.other != nil {
			r.other.take(span, look)
		}
	}
}

// Replayed is what came of a replay: three accounts of [From, Until). Spans
// that reach over an edge are cut there.
type Replayed struct {
	From, Until Instant // From ≥ Until: nothing can be said
	Recorded    []Span
	Same        []Span // under the policies that were in force
	Other       []Span // under the others; nil if there were none
}

// End ends the replay of the looks that were due before judged, up to when all
// looks are known to have been judged and written, and gives the account of
// [from, to). A stretch at the end in which the looks left a doubt is left out:
// later looks may prove that it began there.
func (r *Replay) End(from, to, judged Instant) Replayed {
	if r.from == 0 {
		return Replayed{From: to, Until: to}
	}
	done := Replayed{From: max(from, r.from), Until: min(to, r.same.end(judged))}
	if r.other != nil {
		done.Until = min(done.Until, r.other.end(judged))
	}
	if done.From >= done.Until {
		return done
	}
	done.Recorded = cutSpans(r.book.Spans, done.From, done.Until)
	done.Same = cutSpans(r.same.spans(), done.From, done.Until)
	if r.other != nil {
		done.Other = cutSpans(r.other.spans(), done.From, done.Until)
	}
	return done
}

// Differ returns the first span in which what was recorded and a replay under
// the same policies differ, and whether they do: in status, kind of cause,
// begin, end, proof or uncertainty. A side that has no more spans gives the
// zero Span. Reasons may differ: they hold more than looks do.
func (d Replayed) Differ() (recorded, replayed Span, differ bool) {
	for i := range max(len(d.Recorded), len(d.Same)) {
		var a, b Span
		if i < len(d.Recorded) {
			a = d.Recorded[i]
		}
		if i < len(d.Same) {
			b = d.Same[i]
		}
		plain := a
		plain.Reason = b.Reason
		if plain != b {
			return a, b, true
		}
	}
	return Span{}, Span{}, false
}

// cutSpans returns the spans that touch [from, to), cut to it.
func cutSpans(spans []Span, from, to Instant) (cut []Span) {
	for _, s := range spans {
		if s.Begin >= to || s.End != 0 && s.End <= from {
			continue
		}
		if s.End == 0 || s.End > to {
			s.End = to
		}
		if s.Begin < from {
			s.Begin, s.Proof, s.Uncertainty = from, from, 0
		}
		cut = append(cut, s)
	}
	return cut
}

// Alarms counts the incidents that would have opened in the spans of one check
// from a moment on, as the ledger opens them: one while a check flaps, none for
// what is down behind a parent. starts are in order: a start forgets how often
// a check has changed.
func Alarms(spans []Span, starts []Start, from Instant) (n int) {
	var c Case
	var id IncidentID
	for i, s := range spans {
		for len(starts) > 0 && starts[0].At <= s.Proof {
			c = Case{Incident: c.Incident}
			starts = starts[1:]
		}
		before := Span{}
		if i > 0 {
			before = spans[i-1]
		}
		if s.Status == Down && before.Status == Down { // its parent is back, and it is not
			if before.Cause == CauseBehindParent && s.Cause != CauseBehindParent && s.Begin >= from {
				n++
			}
			continue
		}
		c, _, _ = c.Calm(State{Status: before.Status, Since: before.Begin}, s.Proof)
		was := c.Incident.ID
		c, _, _ = c.Next(Change{From: before.Status, To: s.Status, Begin: s.Begin}, func() IncidentID { id++; return id })
		if c.Incident.ID > was && s.Begin >= from && s.Cause != CauseBehindParent {
			n++
		}
	}
	return n
}

// A fact is something that no look told: it is weighed before the first look
// that was due at that time or later.
type fact struct {
	at   Instant
	kind factKind

	policy   Policy
	absence  Absence
	start    Start
	absences []Absence // that the start found
	span     Span
	until    Instant // silence from before this proves nothing
}

type factKind uint8

// In the order in which they count at one and the same time.
const (
	factPolicy factKind = iota
	factAbsence
	factStart
	factAnew     // looks begin anew, or are paused
	factWithdraw // what the latest looks said is not to be believed
	factAlone    // a Down is no longer behind a parent
)

// facts puts what the book says in the order of time.
func (b *Book) facts() []fact {
	var facts []fact
	found := make([]bool, len(b.Absences)) // by a start
	for i, s := range b.Starts {
		f := fact{at: s.At, kind: factStart, start: s}
		before := s.At // a start that found none of its own took up at once
		for _, a := range b.Absences {
			if a.Cause.AtStart() && a.Begin >= s.Settled && a.End <= s.At {
				before = a.Begin
			}
		}
		for k, a := range b.Absences {
			if a.Begin >= before && a.End <= s.At && !found[k] && (i == 0 || a.End > b.Starts[i-1].At) {
				found[k] = true
				f.absences = append(f.absences, a)
			}
		}
		facts = append(facts, f)
	}
	for i, a := range b.Absences {
		if !found[i] {
			facts = append(facts, fact{at: a.End, kind: factAbsence, absence: a})
		}
	}
	for _, p := range b.Policies {
		facts = append(facts, fact{at: p.Since, kind: factPolicy, policy: p.Policy})
	}
	for i, s := range b.Spans {
		switch {
		case s.Cause == CauseNew || s.Cause == CausePaused:
			facts = append(facts, fact{at: s.Begin, kind: factAnew, span: s})
		case s.Cause == CauseIsolated:
			facts = append(facts, fact{at: s.Begin, kind: factWithdraw, span: s, until: b.seesAgain(s.Begin)})
		case s.Cause == CauseAbsence:
			// An absence that came while a proof of Down waited took that back.
			k := slices.IndexFunc(b.Absences, func(a Absence) bool { return a.End > s.Begin })
			if k >= 0 && !found[k] && !slices.ContainsFunc(b.Starts, func(t Start) bool { return t.At > s.Begin && t.At <= b.Absences[k].Begin }) {
				facts = append(facts, fact{at: s.Begin, kind: factWithdraw, span: s, until: b.Absences[k].End})
			}
		case i > 0 && s.Status == Down && b.Spans[i-1].Status == Down:
			facts = append(facts, fact{at: s.Begin, kind: factAlone, span: s})
		}
	}
	slices.SortStableFunc(facts, func(x, y fact) int {
		return cmp.Or(cmp.Compare(x.at, y.at), cmp.Compare(x.kind, y.kind))
	})
	return facts
}

// seesAgain returns when the vantage point, which was cut off at a moment, saw
// again.
func (b *Book) seesAgain(cut Instant) Instant {
	for _, in := range b.Isolations {
		if in.Closed == 0 || in.Closed > cut {
			if in.Closed == 0 {
				return endOfTime
			}
			return in.Closed
		}
	}
	return cut
}

const endOfTime Instant = 1<<63 - 1

// at returns the recorded span that a moment lies in; the zero Span if there is
// none.
func (b *Book) at(at Instant) Span {
	i, found := slices.BinarySearchFunc(b.Spans, at, func(s Span, at Instant) int { return cmp.Compare(s.Begin, at) })
	if !found {
		i--
	}
	if i < 0 || b.Spans[i].End != 0 && b.Spans[i].End <= at {
		return Span{}
	}
	return b.Spans[i]
}

// begun returns the recorded span of a status that begins at a moment.
func (b *Book) begun(at Instant, status Status) (Span, bool) {
	s := b.at(at)
	return s, s.Begin == at && s.Status == status && at != 0
}

// A course is one fold of the looks: what a ledger does with those of one
// check.
type course struct {
	book   *Book
	facts  []fact
	change func(Policy) Policy
	exact  bool // under the policies that were in force

	next     Instant // when the next fact is
	policy   Policy
	before   *Policy // the one that the process before the next start had; nil: the same
	size     int     // of the loss window; 0: none
	loss     Loss
	full     bool    // the loss window is as it was
	warmed   bool    // a look was seen
	started  Instant // the latest start
	state    State
	doubtful *fact   // the silence that came last is not to be believed
	silent   Instant // silence from before this proves nothing
	closed   []told
	open     told
	latest   Instant // look
	now      Instant // when the look or the fact was that is being weighed
}

// told is a span, and by when the looks had told it.
type told struct {
	Span
	known Instant
}

func newCourse(book *Book, facts []fact, change func(Policy) Policy, exact bool) course {
	c := course{book: book, facts: facts, change: change, exact: exact}
	if len(book.Policies) > 0 {
		c.adopt(book.Policies[0].Policy)
		c.full = false
	}
	c.advance(0)
	return c
}

// advance leaves out the first n facts.
func (c *course) advance(n int) {
	if c.facts = c.facts[n:]; len(c.facts) > 0 {
		c.next = c.facts[0].at
	} else {
		c.next = endOfTime
	}
}

func (c *course) adopt(p Policy) {
	c.policy = c.change(p)
	if size := c.policy.LossLooks(); size != c.size {
		c.size, c.full, c.loss = size, true, Loss{}
	}
}

// judge says what a look is worth after those before it.
func (c *course) judge(look *Result) Status {
	if c.size == 0 {
		if c.loss.size > 0 {
			c.loss = Loss{}
		}
		return c.policy.Judge(look, nil)
	}
	c.loss.Add(c.size, look.Status == Down)
	return c.policy.Judge(look, &c.loss)
}

func (c *course) forgetLoss() { c.loss, c.full = Loss{}, true }

// look folds one look.
func (c *course) look(look *Result) {
	for look.At >= c.next {
		f := &c.facts[0]
		c.advance(1)
		if f.kind != factWithdraw || f.span.Cause == CauseIsolated || f.at == look.At {
			c.weigh(f, look.At)
		}
		if f.kind == factWithdraw && c.doubtful == f && f.at != look.At {
			c.withdraw() // it began with a look that could not be taken
		}
	}
	c.now, c.latest = look.At, look.At
	if c.doubtful != nil && (look.Status.Answered() || look.At >= c.doubtful.until) {
		c.withdraw()
	}
	if look.At < c.silent && !look.Status.Answered() {
		c.ignore(look)
		return
	}
	if look.At <= c.state.Evidence {
		return
	}
	status := c.judge(look)
	if c.state.Again(&c.policy, look.At, status) {
		return
	}
	c.lapse(look.At)
	judged := *look
	judged.Status = status
	state, ch := c.state.Next(c.policy, judged)
	if c.doubtful != nil && ch.Begin > c.doubtful.at { // what began later cannot have been proven before
		c.withdraw()
		c.ignore(look)
		return
	}
	c.state = state
	if !ch.IsZero() {
		if ch.To == Degraded {
			ch.Reason = c.policy.Explain(look, &c.loss)
		}
		c.record(ch)
	}
}

// ignore takes a look for silence that proves nothing.
func (c *course) ignore(look *Result) {
	c.lapse(look.At)
	c.state.Evidence = max(c.state.Evidence, look.At)
}

// lapse does as the ledger does. Silence that is not to be believed was taken
// back before it grew long enough for that.
func (c *course) lapse(now Instant) {
	state, ch := c.state.Lapse(c.policy, now)
	if c.doubtful != nil && !ch.IsZero() && c.state.Evidence >= c.doubtful.at {
		c.withdraw()
		state, ch = c.state.Lapse(c.policy, now)
	}
	c.state = state
	c.record(ch)
}

// record writes a change down, as the ledger does.
func (c *course) record(ch Change) {
	if ch.IsZero() {
		return
	}
	if ch.Begin > c.open.Begin {
		c.open.End = ch.Begin
		c.closed = append(c.closed, c.open)
	}
	c.open = told{known: c.now, Span: Span{
		Check: c.book.Check, Status: ch.To, Cause: ch.Cause, Begin: ch.Begin,
		Proof: max(ch.Proof, c.started), Uncertainty: ch.Uncertainty, Reason: ch.Reason,
	}}
	told, same := c.book.begun(ch.Begin, ch.To)
	if same {
		c.open.Reason = told.Reason
	}
	if ch.To == Down {
		if told.Status != Down {
			told = c.book.at(ch.Proof)
		}
		if told.Status == Down && told.Cause == CauseBehindParent {
			c.open.Cause, c.open.Reason = told.Cause, told.Reason
		} else if !same {
			c.open.Reason = "no answer"
		}
	}
	c.state.Cause = c.open.Cause
}

// weigh takes in a fact. The next look was due at next.
func (c *course) weigh(f *fact, next Instant) {
	c.now = f.at
	switch {
	case f.kind == factPolicy:
	case f.kind == factAbsence && c.doubtful != nil && c.doubtful.span.Cause == CauseIsolated:
		// It may have been a short one, before the cut was found out.
		if next, _ := c.state.Absent(c.policy, f.absence); next != c.state {
			c.withdraw()
		}
	default:
		c.withdraw()
	}
	switch f.kind {
	case factPolicy:
		if slices.ContainsFunc(c.facts, func(f fact) bool { return f.kind == factStart && f.at <= next }) {
			if c.before == nil { // it came with a start: no look was judged by it before
				was := c.policy
				c.before = &was
			}
		} else {
			c.lapse(f.at)
		}
		c.adopt(f.policy)
	case factAbsence:
		c.lapse(f.absence.Begin)
		c.absent(f.absence)
	case factStart:
		c.restart(f)
	case factAnew:
		c.lapse(f.at)
		c.forgetLoss()
		c.silent = 0
		c.state = State{Cause: f.span.Cause, Since: f.span.Begin}
		c.record(Change{From: c.open.Status, Cause: f.span.Cause, Begin: f.span.Begin, Proof: f.span.Proof, Reason: f.span.Reason})
	case factWithdraw:
		c.doubtful = f
	case factAlone:
		if c.open.Status == Down && c.state.Status == Down {
			c.record(Change{From: Down, To: Down, Begin: f.at, Proof: f.at, Reason: f.span.Reason})
			c.state.Since = f.at
		}
	}
}

// withdraw gives up what looks said that are not to be believed: a stretch of
// silence that was judged as such when it came, and was found out later.
func (c *course) withdraw() {
	f := c.doubtful
	if f == nil {
		return
	}
	c.doubtful = nil
	c.lapse(f.at)
	c.forgetLoss()
	state, ch := c.state.Withdraw(f.at, f.span.Cause, f.span.Reason)
	c.state = state
	ch.Uncertainty = f.span.Uncertainty
	c.record(ch)
	c.silent = max(c.silent, f.until)
}

func (c *course) absent(a Absence) {
	if c.open.Cause == CausePaused {
		return
	}
	c.forgetLoss()
	state, ch := c.state.Absent(c.policy, a)
	c.state = state
	c.record(ch)
}

// restart takes up what was on disk.
func (c *course) restart(f *fact) {
	was := c.policy
	if c.before != nil {
		was, c.before = *c.before, nil
	}
	judged := min(Judged(was, f.start.Settled), Judged(c.policy, f.start.Settled)).Add(-time.Second)
	c.settle(max(min(judged, c.latest), c.started), f.at)
	c.started = f.at
	c.state = Recall(c.policy, c.open.Span, f.start.Settled)
	c.forgetLoss()
	c.silent = 0
	for _, a := range f.absences {
		if !a.Cause.AtStart() {
			c.lapse(a.Begin)
		}
		c.absent(a)
	}
}

// settle makes the book's what was found out after a moment and before a start:
// it may not have been written any more, and the looks may not have been kept.
func (c *course) settle(certain, start Instant) {
	all := append(c.closed, c.open)
	last := slices.IndexFunc(all, func(s told) bool { return s.known > certain })
	if last < 0 {
		last = len(all)
	}
	last = max(last, 1)
	kept, rest := all[:last:last], all[last:]
	if !c.exact {
		for _, s := range rest {
			if _, ok := c.book.begun(s.Begin, s.Status); ok {
				kept = append(kept, s)
			}
		}
	} else {
		doubtful := endOfTime
		if len(rest) > 0 {
			doubtful = rest[0].Begin
		}
		for _, s := range c.book.Spans {
			if s.Proof >= start || s.Begin <= all[0].Begin {
				continue
			}
			unseen := s.Status == Unknown && s.Begin > c.state.Evidence // no look tells
			if s.Begin < doubtful && s.Proof <= certain && !unseen {
				continue
			}
			if n := len(kept) - 1; n > 0 && kept[n].Begin == s.Begin {
				kept = kept[:n]
			}
			if s.Begin > kept[len(kept)-1].Begin {
				kept = append(kept, told{Span: s})
			}
		}
	}
	for i := range kept[:len(kept)-1] {
		kept[i].End = kept[i+1].Begin
	}
	c.closed, c.open = kept[:len(kept)-1], kept[len(kept)-1]
	c.open.End = 0
}

// spans returns all spans, the last of which is open.
func (c *course) spans() []Span {
	all := make([]Span, 0, len(c.closed)+1)
	for _, s := range c.closed {
		all = append(all, s.Span)
	}
	return append(all, c.open.Span)
}

// warm takes in what a look says about the ones to come, before it is known
// what the state is.
func (c *course) warm(look *Result, since Instant) {
	var anew Instant
	for look.At >= c.next {
		f := c.facts[0]
		c.advance(1)
		switch f.kind {
		case factPolicy:
			c.adopt(f.policy)
		case factStart:
			c.forgetLoss()
			anew = f.at
			if f.start.Settled != 0 && !slices.ContainsFunc(f.absences, func(a Absence) bool { return a.Cause.AtStart() && a.End <= c.open.Begin }) {
				c.open = told{} // the last looks before a start may not have been kept
			}
		case factAbsence, factAnew, factWithdraw:
			c.forgetLoss()
			anew = f.at
			c.silent = max(c.silent, f.until)
			c.open = told{Span: f.span} // zero but for factAnew and factWithdraw
		}
	}
	if !c.warmed { // looks from before are not at hand
		c.warmed, c.full = true, anew >= since
	}
	if look.At >= c.silent || look.Status.Answered() {
		c.state.Tail.Status = c.judge(look)
		c.full = c.full || c.loss.seen >= c.size
	} else {
		c.state.Tail.Status = Unknown
	}
}

// agrees reports whether a look says what was recorded of its time, so that
// the state after it is known, and gives the span.
func (c *course) agrees(look *Result) (Span, bool) {
	s := c.book.at(look.At)
	ok := s.Status != Unknown && s.Proof <= look.At && c.state.Tail.Status == s.Status && (c.size == 0 || c.full)
	return s, ok
}

// anew reports whether looks began anew just before this one, so that the
// state then is known, and gives the span that says so.
func (c *course) anew() (Span, bool) {
	return c.open.Span, c.open.Begin != 0 && c.open.Cause == CauseNew
}

// take begins at a look that says what was recorded.
func (c *course) take(s Span, look *Result) {
	s.End = 0
	c.open = told{Span: s}
	c.state = State{Status: s.Status, Cause: s.Cause, Since: s.Begin, Evidence: look.At, Tail: Run{Status: s.Status, Count: 1, Since: look.At}}
	if s.Status.Answered() {
		c.state.Answered = look.At
	}
}

// begin begins where looks began anew.
func (c *course) begin(s Span, look *Result) {
	s.End = 0
	c.open = told{Span: s}
	c.state = State{Cause: s.Cause, Since: s.Begin}
	c.forgetLoss()
	c.look(look)
}

// end weighs what was left and returns until when the course is certain.
func (c *course) end(judged Instant) Instant {
	for c.next <= judged {
		f := &c.facts[0]
		c.advance(1)
		if f.kind != factWithdraw || f.span.Cause == CauseIsolated {
			c.weigh(f, judged)
		}
		if f.kind == factWithdraw {
			c.withdraw()
		}
	}
	c.withdraw()
	s := &c.state
	if s.Evidence != 0 && s.Status != Unknown && judged.Sub(s.Evidence) >= c.policy.Patience()+c.policy.Timeout+3*time.Second {
		c.lapse(judged)
	}
	switch {
	case s.Doubt.Count > 0:
		return min(judged, s.Doubt.Since)
	case s.Status != Up && s.Status != Down && s.Tail.Count > 0 && s.Tail.Status != s.Status:
		return min(judged, s.Tail.Since)
	case s.Status == Unknown:
		return judged
	default:
		return min(judged, s.Evidence+1)
	}
}
