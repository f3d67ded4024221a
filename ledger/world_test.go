package ledger

import (
	"container/heap"
	"fmt"
	"slices"
	"strings"
	"time"

	"pgregory.net/rapid"

	"sereno"
)

// A world is a network in simulated time around a real ledger: it takes the
// looks on their grids, answers for the hosts, and keeps what is committed.
// Nothing in it waits or depends on the machine.
type world struct {
	t       rapid.TB
	l       *Ledger
	begin   sereno.Instant
	now     sereno.Instant
	events  events
	planned int
	alive   func(host string, at sereno.Instant) sereno.Status // Unknown: this machine has no route
	hosts   map[sereno.CheckID]host
	found   []sereno.Absence // for the next beat

	closed    map[sereno.CheckID][]sereno.Span
	open      map[sereno.CheckID]sereno.Span
	incidents map[sereno.IncidentID]sereno.Incident
	committed map[sereno.IncidentID]sereno.Instant // when it was first written
	looks     map[sereno.CheckID][]sereno.Result   // as they were delivered
	kept      map[sereno.CheckID][]sereno.Result   // as the ledger gave them on
	policies  map[sereno.CheckID][]sereno.PolicySince
	starts    []sereno.Start
	absences  []sereno.Absence
	rtt       func(host string, at sereno.Instant) time.Duration
	stuck     bool // storage does not answer
	hurried   map[sereno.CheckID]bool
	busy      map[sereno.CheckID]sereno.Instant // when the latest result of a check is delivered
}

type host struct {
	name   string
	policy sereno.Policy
}

type event struct {
	at sereno.Instant
	n  int // of equal times, the order in which they were planned
	do func()
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at < e[j].at || e[i].at == e[j].at && e[i].n < e[j].n
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	last := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	return last
}

// newWorld watches devices. Those whose name begins with "lo" are on this
// machine; witnesses are the names given, looked at once a second.
func newWorld(t rapid.TB, devices []sereno.Device, witnesses ...string) *world {
	w := &world{
		t: t, begin: 1_700_000_000_000_000,
		alive:     func(string, sereno.Instant) sereno.Status { return sereno.Up },
		hosts:     map[sereno.CheckID]host{},
		closed:    map[sereno.CheckID][]sereno.Span{},
		open:      map[sereno.CheckID]sereno.Span{},
		incidents: map[sereno.IncidentID]sereno.Incident{},
		committed: map[sereno.IncidentID]sereno.Instant{},
		looks:     map[sereno.CheckID][]sereno.Result{},
		kept:      map[sereno.CheckID][]sereno.Result{},
		policies:  map[sereno.CheckID][]sereno.PolicySince{},
		rtt:       func(string, sereno.Instant) time.Duration { return time.Millisecond },
		hurried:   map[sereno.CheckID]bool{},
		busy:      map[sereno.CheckID]sereno.Instant{},
	}
	w.now = w.begin
	w.l = New(Options{
		Beat: func() Beat {
			b := Beat{Now: w.now, Beat: sereno.Beat{Absences: w.found}}
			w.found = nil
			return b
		},
		Look:  func(c sereno.CheckID) { w.look(c, w.now.Grid()) },
		Hurry: func(c sereno.CheckID, on bool) { w.hurry(c, on) },
		Keep: func(looks []sereno.Result) {
			for _, r := range looks {
				w.kept[r.Check] = append(w.kept[r.Check], r)
			}
		},
	})
	var places []Place
	for i := range devices {
		d := &devices[i]
		d.ID = sereno.DeviceID(i + 1)
		if d.Checks == nil {
			d.Checks = []sereno.Check{{Policy: sereno.DefaultPolicy}}
		}
		for k := range d.Checks {
			c := &d.Checks[k]
			if c.ID == 0 {
				c.ID = sereno.CheckID(100*(i+1) + k)
			}
			c.Device, c.Kind, c.Created = d.ID, "icmp", w.begin
			w.hosts[c.ID] = host{d.Name, c.Policy}
			w.policies[c.ID] = []sereno.PolicySince{{Check: c.ID, Since: w.begin, Policy: c.Policy}}
			w.open[c.ID] = sereno.Span{Check: c.ID, Cause: sereno.CauseNew, Begin: w.begin, Proof: w.begin}
		}
		places = append(places, Place{*d, !strings.HasPrefix(d.Name, "lo")})
	}
	w.l.Load(places, Past{Open: func(yield func(sereno.Span) bool) {
		for _, s := range w.open {
			if !yield(s) {
				return
			}
		}
	}})
	for i, name := range witnesses {
		id := sereno.CheckID(-1 - i)
		w.hosts[id] = host{name, sereno.WitnessPolicy}
		w.l.witnesses[id] = &witness{Witness: sereno.Witness{Trusted: true}, name: name}
	}
	w.l.testify()
	w.l.begin()
	w.commit()
	for id, h := range w.hosts {
		w.grid(id, h.policy.Interval)
	}
	w.tick()
	return w
}

func (w *world) at(at sereno.Instant, do func()) {
	w.planned++
	heap.Push(&w.events, event{at, w.planned, do})
}

func (w *world) grid(id sereno.CheckID, interval time.Duration) {
	due := sereno.Slot(id, interval, w.now).Add(interval)
	w.at(due, func() {
		w.look(id, due)
		w.grid(id, w.hosts[id].policy.Interval)
	})
}

func (w *world) hurry(id sereno.CheckID, on bool) {
	w.hurried[id] = on
	var next func(due sereno.Instant)
	next = func(due sereno.Instant) {
		w.at(due, func() {
			if !w.hurried[id] {
				return
			}
			if interval := w.hosts[id].policy.Interval; sereno.Slot(id, interval, due) != due {
				w.look(id, due)
			}
			next(due.Add(sereno.Doubting))
		})
	}
	if on {
		next(sereno.Slot(id, sereno.Doubting, w.now).Add(sereno.Doubting))
	}
}

func (w *world) look(id sereno.CheckID, due sereno.Instant) {
	h := w.hosts[id]
	r := sereno.Result{Check: id, At: due, Status: w.alive(h.name, due)}
	after := h.policy.Timeout + 2*time.Millisecond
	switch r.Status {
	case sereno.Unknown:
		r.Fault, r.Reason, after = sereno.NoRoute, "no route", time.Millisecond
	case sereno.Down:
		r.Reason = "no reply in 1s"
	default:
		r.RTT = min(w.rtt(h.name, due), h.policy.Timeout-1)
		after = r.RTT
	}
	// Results of one check come in the order of their looks.
	w.busy[id] = max(w.busy[id], due.Add(after))
	w.at(w.busy[id], func() {
		w.looks[id] = append(w.looks[id], r)
		w.l.beat()
		w.l.foldAll([]sereno.Result{r})
		w.l.review(false)
	})
}

func (w *world) tick() {
	w.at(w.now.Add(100*time.Millisecond), func() {
		w.l.beat()
		w.l.review(true)
		w.l.sweep()
		w.tick()
	})
}

// pass lets time go on until that long after the beginning.
func (w *world) pass(until time.Duration) {
	end := w.begin.Add(until)
	for len(w.events) > 0 && w.events[0].at <= end {
		e := heap.Pop(&w.events).(event)
		w.now = max(w.now, e.at)
		e.do()
		w.commit()
	}
	w.now = max(w.now, end)
}

func (w *world) commit() {
	if w.stuck {
		return
	}
	for _, e := range w.l.journal.waiting {
		w.starts = append(w.starts, e.Starts...)
		w.absences = append(w.absences, e.Absences...)
		for _, p := range e.Policies {
			all := w.policies[p.Check]
			all[len(all)-1].Since = p.Since
		}
		for _, s := range e.Closed {
			w.closed[s.Check] = append(w.closed[s.Check], s)
		}
		for _, s := range e.Open {
			w.open[s.Check] = s
		}
		for _, in := range e.Incidents {
			if _, ok := w.committed[in.ID]; !ok {
				w.committed[in.ID] = w.now
			}
			w.incidents[in.ID] = in
		}
	}
	w.l.journal.waiting = nil
}

// spans returns all spans of a check, and fails unless they tile its life.
func (w *world) spans(id sereno.CheckID) []sereno.Span {
	w.t.Helper()
	spans := append(slices.Clone(w.closed[id]), w.open[id])
	at := w.begin
	for i, s := range spans {
		if s.Begin != at || i < len(spans)-1 && s.End <= s.Begin {
			w.t.Fatalf("check %d: spans do not tile: %v after %v in %s", id, s.Begin, at, w.tell(id))
		}
		at = s.End
	}
	return spans
}

// tell writes the spans of a check as "0 up, 12.5 down (no reply in 1s)".
func (w *world) tell(id sereno.CheckID) string {
	var words []string
	for _, s := range append(slices.Clone(w.closed[id]), w.open[id]) {
		words = append(words, fmt.Sprintf("%g %v %v (%s)", s.Begin.Sub(w.begin).Seconds(), s.Status, s.Cause, s.Reason))
	}
	return strings.Join(words, ", ")
}

// ever returns the statuses a check ever had, in order.
func (w *world) ever(id sereno.CheckID) string {
	var words []string
	for _, s := range w.spans(id) {
		words = append(words, s.Status.String())
	}
	return strings.Join(words, " ")
}

func (w *world) all(trouble sereno.Trouble) (all []sereno.Incident) {
	for _, in := range w.incidents {
		if in.Trouble == trouble {
			all = append(all, in)
		}
	}
	slices.SortFunc(all, func(a, b sereno.Incident) int { return int(a.ID - b.ID) })
	return all
}
