package ledger

import (
	"slices"
	"strings"
	"time"

	"sereno"
)

// incident lets a change of status open, change or close the check's incident.
func (l *Ledger) incident(w *watch, ch sereno.Change, over *device) {
	if w.trouble == nil {
		if ch.To == sereno.Up || ch.To == sereno.Unknown {
			return
		}
		w.trouble = new(sereno.Case)
	}
	next, in, news := w.trouble.Next(ch, l.newID)
	*w.trouble = next
	if !news {
		return
	}
	in.Device, in.Check = w.dev.id, w.id
	if in.Closed == 0 {
		if w.trouble.Incident.Device == 0 {
			l.incidents++
		}
		in.Under = 0 // what it was under before may be over
		if over != nil {
			in.Under = over.openIncident()
		}
		w.trouble.Incident = in
	}
	l.write(in)
	if in.Closed == 0 && in.Trouble == sereno.TroubleDown {
		l.adopt(w.dev, in)
	}
}

// write writes an incident down in its present form.
func (l *Ledger) write(in sereno.Incident) {
	if in.Closed != 0 {
		l.incidents--
	}
	e := l.journal.next()
	e.Incidents = append(e.Incidents, in)
}

func (l *Ledger) newID() sereno.IncidentID {
	l.lastID++
	return l.lastID
}

// openIncident returns the incident that d's children are under; 0 if none.
func (d *device) openIncident() sereno.IncidentID {
	for _, w := range d.checks {
		if w.trouble != nil && w.trouble.Incident.ID != 0 {
			return w.trouble.Incident.ID
		}
	}
	return 0
}

// adopt puts under a parent's incident those of its children that were
// declared Down on their own because the parent's proof took longer.
func (l *Ledger) adopt(parent *device, in sereno.Incident) {
	if parent.view().Status != sereno.Down {
		return
	}
	for _, child := range parent.children {
		allDown := true
		for _, v := range child.parentViews() {
			allDown = allDown && v.Status == sereno.Down
		}
		for _, w := range child.checks {
			if !allDown || w.state.Status != sereno.Down || w.trouble == nil || w.proof != nil {
				continue
			}
			own := &w.trouble.Incident
			if own.ID == 0 || own.Under != 0 || own.Trouble != sereno.TroubleDown || in.Opened.Sub(own.Opened) > w.policy.Interval+l.o.Hold {
				continue
			}
			own.Under, own.Reason = in.ID, "unreachable behind "+parent.name
			l.write(*own)
			w.open.Cause, w.open.Reason = sereno.CauseBehindParent, own.Reason
			w.state.Cause = w.open.Cause
			e := l.journal.next()
			e.Open = append(e.Open, w.open)
		}
	}
}

// orphan notes that a parent is back: children that stay Down are Down by
// themselves from now on.
func (l *Ledger) orphan(parent *device, at sereno.Instant) {
	if len(parent.children) == 0 || parent.view().Status == sereno.Down {
		return
	}
	for _, child := range parent.children {
		for _, w := range child.checks {
			if w.under() != 0 && w.orphaned == 0 {
				w.orphaned = at
			}
		}
	}
}

// disown does so for children whose parent's incident is over, or no longer a
// parent's: it was removed, they hang on another one now, or it came back
// just before a restart.
func (l *Ledger) disown() {
	for _, d := range l.devices {
		for _, w := range d.checks {
			if w.under() != 0 && w.orphaned == 0 && !d.hangsOn(w.under()) {
				w.orphaned = l.now
			}
		}
	}
}

// under returns the incident that the one of w is under; 0 if none.
func (w *watch) under() sereno.IncidentID {
	if w.trouble == nil {
		return 0
	}
	return w.trouble.Incident.Under
}

// hangsOn reports whether an incident is a parent's and open.
func (d *device) hangsOn(in sereno.IncidentID) bool {
	for _, p := range d.parents {
		for _, w := range p.checks {
			if w.trouble != nil && w.trouble.Incident.ID == in {
				return true
			}
		}
	}
	return false
}

// standAlone gives a child that stayed Down when its parent came back an
// outage of its own.
func (l *Ledger) standAlone(w *watch, r *sereno.Result) {
	in := &w.trouble.Incident
	in.Under, in.Reason = 0, r.Reason
	l.write(*in)
	w.orphaned = 0
	e := l.journal.next()
	closed := w.open
	closed.End = r.At
	e.Closed = append(e.Closed, closed)
	w.open = sereno.Span{Check: w.id, Status: sereno.Down, Begin: r.At, Proof: r.At, Reason: r.Reason}
	w.state.Since, w.state.Cause = r.At, sereno.CauseLook
	e.Open = append(e.Open, w.open)
}

// inquire asks for a look at a device now, at most once a second, unless its
// own rhythm is as quick.
func (l *Ledger) inquire(d *device) {
	if l.now.Sub(d.inquired) < time.Second {
		return
	}
	d.inquired = l.now
	for _, w := range d.checks {
		if w.policy.Interval > time.Second {
			l.o.Look(w.id)
		}
	}
}

// inquireFor asks all that a verdict on w depends on.
func (l *Ledger) inquireFor(w *watch) {
	for _, p := range w.dev.parents {
		l.inquire(p)
	}
	for id, wit := range l.witnesses {
		if l.now.Sub(wit.inquired) >= 500*time.Millisecond {
			wit.inquired = l.now
			l.o.Look(id)
		}
	}
}

// A witness is something beside the targets that shows whether we can see.
type witness struct {
	sereno.Witness
	name     string
	inquired sereno.Instant
}

// heard folds a look at a witness, and decides whether this vantage point is
// cut off.
func (l *Ledger) heard(r *sereno.Result) {
	wit := l.witnesses[r.Check]
	if wit == nil {
		return // a check that was removed while the look was under way
	}
	wit.Witness = wit.Next(*r)
	l.sees = l.sees || r.Status.Answered()
	l.testify()
	doubted := 0.0
	if l.ups > 0 {
		doubted = float64(l.doubted) / float64(l.ups)
	}
	switch isolated := sereno.Isolated(l.isolated, l.testimony, doubted); {
	case isolated && !l.isolated:
		l.isolate()
	case !isolated && l.isolated && wit.State.Answered == r.At:
		l.reunite(wit.State.Tail.Since)
	}
}

const noWitness = "no witness answers: "

// silencedIn returns the names of the witnesses whose silence opened an
// incident. They had answered before, which a restart has not seen. An incident
// of an earlier version names them in its reason alone.
func silencedIn(in sereno.Incident) []string {
	names := in.Subject
	if names == "" {
		names, _ = strings.CutPrefix(in.Reason, noWitness)
	}
	return strings.Split(names, ", ")
}

// trusting reports whether any witness is trusted.
func (l *Ledger) trusting() bool {
	return slices.ContainsFunc(l.testimony, func(w sereno.Witness) bool { return w.Trusted })
}

func (l *Ledger) testify() {
	l.testimony = l.testimony[:0]
	for _, wit := range l.witnesses {
		said := wit.Witness
		said.Trusted = l.trusts(wit)
		l.testimony = append(l.testimony, said)
	}
}

// trusts reports whether the silence of a witness means anything. That of a
// gateway which has never answered does only until something else has: when
// the power comes back, Sereno may be up before its router, and a gateway that
// is mute by its owner's will is told from it by the first target that answers.
func (l *Ledger) trusts(wit *witness) bool { return wit.Trusted || !l.sees }

// isolate makes everything that cannot be seen any more Unknown, and opens the
// one incident that says so.
func (l *Ledger) isolate() {
	l.isolated = true
	since := l.now
	var names []string
	for _, wit := range l.witnesses {
		if l.trusts(wit) {
			names = append(names, wit.name)
			if at := wit.State.Failing(); at != 0 {
				since = min(since, at)
			}
		}
	}
	for _, w := range l.checks {
		if !w.dev.beyond || w.dev.paused {
			continue
		}
		if from := w.state.Failing(); from != 0 && (w.proof != nil || w.state.Status.Answered() || w.state.Status == sereno.Unknown && w.state.Tail.Count > 0) {
			since = min(since, from)
			l.blinded = max(l.blinded, w.state.Evidence)
			l.lose(w, from)
		}
	}
	slices.Sort(names)
	l.incidents++
	l.isolation = sereno.Incident{
		ID: l.newID(), Trouble: sereno.TroubleIsolated, Subject: strings.Join(names, ", "), Opened: since,
		Reason: noWitness + strings.Join(names, ", "),
	}
	l.write(l.isolation)
	l.o.Log.Warn("this vantage point is cut off; nothing beyond this machine can be judged", "since", since, "witnesses", names)
}

// reunite ends isolation with the first of the looks that proved it: at a
// witness or, when no witness is left whose silence would mean anything, at a
// target. No look that it took the meaning of is later than its end.
func (l *Ledger) reunite(at sereno.Instant) {
	l.isolated = false
	l.isolation.Closed = max(at, l.isolation.Opened, l.blinded+1)
	l.reunited = l.isolation.Closed
	l.write(l.isolation)
	l.o.Log.Info("this vantage point sees again", "blind_for", sereno.FormatLength(l.isolation.Closed.Sub(l.isolation.Opened)))
	l.isolation, l.silenced = sereno.Incident{}, nil
}
