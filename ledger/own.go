package ledger

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"sereno"
)

// A Fault is what is wrong with Sereno itself, in one respect.
type Fault struct {
	Trouble sereno.Trouble
	Subject string // which, where there can be several: the name of a channel
	Reason  string // for a person; "" when nothing is wrong (any more)
}

// A respect is what there is at most one fault in.
type respect struct {
	trouble sereno.Trouble
	subject string
}

// An ailment is what was said of one respect, and its incident.
type ailment struct {
	incident sereno.Incident // ID 0: none is open
	reason   string
	at       sereno.Instant // since when that is so; 0: nobody has said anything yet
}

// Own says what is wrong with Sereno itself since at. The first fault in a
// respect opens an incident of this vantage point's own, another one rewords it,
// and the end of all closes it.
//
// Until the first call an incident from before the start stays as it was.
func (l *Ledger) Own(ctx context.Context, at sereno.Instant, f Fault) error {
	return l.do(ctx, func() { l.ail(at, f) })
}

// OwnFaults returns the incidents of this kind that are open.
func (l *Ledger) OwnFaults(ctx context.Context) (open []sereno.Incident, err error) {
	err = l.do(ctx, func() {
		for _, a := range l.own {
			if a.incident.ID != 0 {
				open = append(open, a.incident)
			}
		}
	})
	slices.SortFunc(open, func(a, b sereno.Incident) int { return int(a.ID - b.ID) })
	return open, err
}

func (l *Ledger) ail(at sereno.Instant, f Fault) {
	in := respect{f.Trouble, f.Subject}
	a := l.own[in]
	if a == nil {
		if f.Reason == "" && in != storage {
			return // nothing is wrong, and nothing was
		}
		a = new(ailment)
		l.own[in] = a
	}
	if a.at == 0 || (a.reason == "") != (f.Reason == "") {
		a.at = at
	}
	a.reason = f.Reason
	if !l.pendingClock { // else there is no true time to write yet
		l.confess(in, a)
	}
}

// confess makes the incident say what is known.
func (l *Ledger) confess(of respect, a *ailment) {
	in := &a.incident
	switch {
	case a.at == 0, a.reason != "" && in.ID != 0 && in.Reason == a.reason:
		return
	case a.reason == "":
		if in.ID != 0 {
			in.Closed = max(a.at, in.Opened)
			l.write(*in)
		}
		a.incident = sereno.Incident{}
		if of != storage {
			delete(l.own, of)
		}
		return
	case in.ID == 0:
		l.incidents++
		in.ID, in.Trouble, in.Subject, in.Opened = l.newID(), of.trouble, of.subject, a.at
	}
	in.Reason = a.reason
	l.write(*in)
}

// confessAll does so once the clock has become true and has moved by shift.
func (l *Ledger) confessAll(shift time.Duration) {
	for _, of := range slices.SortedFunc(maps.Keys(l.own), respect.compare) {
		a := l.own[of]
		if a.at != 0 {
			a.at = a.at.Add(shift)
		}
		l.confess(of, a)
	}
}

func (r respect) compare(o respect) int {
	return cmp.Or(cmp.Compare(r.trouble, o.trouble), cmp.Compare(r.subject, o.subject))
}

// storage is the respect that is asked for by itself, see Statistics.
var storage = respect{trouble: sereno.TroubleStorage}

// Resolve closes, now, an open incident that cannot close itself: a fault of
// Sereno's own that nobody speaks of any more, an isolation without a witness,
// trouble of a check of which nothing is known.
//
// It is a Conflict where the trouble lasts, and NotFound if no such incident is
// open.
func (l *Ledger) Resolve(ctx context.Context, id sereno.IncidentID) error {
	var refused error
	err := l.do(ctx, func() { refused = l.resolve(id) })
	return errors.Join(err, refused)
}

func (l *Ledger) resolve(id sereno.IncidentID) error {
	lasts := func(what string) error {
		return sereno.Errorf(sereno.Conflict, "incident %d lasts and closes by itself %s; acknowledge it to be left in peace", id, what)
	}
	for of, a := range l.own {
		if a.incident.ID != id {
			continue
		}
		if a.reason != "" {
			return lasts("when that is mended")
		}
		a.at = l.now
		l.confess(of, a)
		if of == storage {
			a.at = 0
		}
		return nil
	}
	if l.isolated && l.isolation.ID == id {
		if l.trusting() {
			return lasts("with the first answer of a witness")
		}
		l.reunite(l.now)
		return nil
	}
	for _, w := range l.checks {
		if w.trouble == nil || w.trouble.Incident.ID != id {
			continue
		}
		if w.state.Status == sereno.Down || w.state.Status == sereno.Degraded {
			return lasts("with the first answer")
		}
		next, in := w.trouble.Resolve(l.now)
		*w.trouble = next
		w.orphaned = 0
		l.write(in)
		return nil
	}
	return sereno.Errorf(sereno.NotFound, "no incident %d is open", id)
}
