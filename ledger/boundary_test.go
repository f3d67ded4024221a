package ledger

import (
	"context"
	"testing"
	"time"

	"sereno"
)

// place gives the ledger a device anew, as a change of the plan does.
func (w *world) place(d sereno.Device) {
	for _, c := range d.Checks {
		all := w.policies[c.ID]
		if last := all[len(all)-1].Policy; last != c.Policy {
			w.policies[c.ID] = append(all, sereno.PolicySince{Check: c.ID, Since: w.now, Policy: c.Policy})
		}
		w.hosts[c.ID] = host{d.Name, c.Policy}
	}
	w.l.beat()
	w.l.place(Place{d, true})
	w.l.link()
	w.commit()
}

// deliver hands over one look, whenever it was due.
func (w *world) deliver(r sereno.Result) {
	w.l.beat()
	w.l.foldAll([]sereno.Result{r})
	w.l.review(false)
	w.commit()
}

// absent lets the process not run until that long after the beginning.
func (w *world) absent(until time.Duration, cause sereno.AbsenceCause) {
	from := w.now
	w.events = nil
	w.now = w.begin.Add(until)
	w.found = []sereno.Absence{{Begin: from, End: w.now, Cause: cause}}
	for id, h := range w.hosts {
		w.grid(id, h.policy.Interval)
	}
	w.tick()
}

func TestALookUnderWayDoesNotEndAPause(t *testing.T) {
	devices := []sereno.Device{{Name: "a"}}
	w := newWorld(t, devices)
	w.pass(sec(20))
	w.events = nil // nothing is looked at any more …
	devices[0].Paused = true
	w.place(devices[0])
	w.now = w.now.Add(30 * time.Millisecond)
	w.deliver(sereno.Result{Check: 100, At: w.now.Add(-50 * time.Millisecond), Status: sereno.Up}) // … but this one was under way
	if s := w.open[100]; s.Status != sereno.Unknown || s.Cause != sereno.CausePaused {
		t.Error(w.tell(100))
	}
}

func TestALookToldAfterAnAbsenceDoesNotBridgeIt(t *testing.T) {
	w := newWorld(t, []sereno.Device{{Name: "a"}})
	w.pass(sec(20))
	last := w.l.checks[100].state.Evidence
	w.now = last.Add(sec(1.1))
	w.absent(sec(26), sereno.Stall)
	w.deliver(sereno.Result{Check: 100, At: last.Add(time.Second), Status: sereno.Up}) // it was answered, but nobody read it
	w.pass(sec(40))
	if w.ever(100) != "unknown up unknown up" {
		t.Fatal(w.tell(100))
	}
	if s := w.spans(100)[2]; s.Cause != sereno.CauseAbsence || s.End < w.begin.Add(sec(26)) {
		t.Error(w.tell(100))
	}
}

func TestIsolationEndsWhereNoWitnessIsLeftToTell(t *testing.T) {
	w := newWorld(t, []sereno.Device{{Name: "a"}, {Name: "b"}}, "gw")
	w.silent(20, 40, "a", "b", "gw")
	w.pass(sec(30))
	if !w.l.isolated {
		t.Fatal("not cut off")
	}
	// The machine is moved to a network whose gateway answers nobody.
	w.hosts[-2] = host{"mute", sereno.WitnessPolicy}
	w.silent(0, 1000, "gw", "mute")
	w.l.witnesses = map[sereno.CheckID]*witness{-2: {name: "mute"}}
	w.l.testify()
	w.grid(-2, time.Second)
	w.silent(60, 80, "b")
	w.pass(sec(50))
	if in := w.all(sereno.TroubleIsolated); len(in) != 1 || in[0].Closed == 0 {
		t.Errorf("both answer, and yet: %+v", in)
	}
	w.pass(sec(90))
	if len(w.all(sereno.TroubleDown)) != 1 {
		t.Errorf("an outage was lost: %s", w.tell(200))
	}
}

// alone fails unless the check's incident is open and hangs on no other.
func (w *world) alone(id sereno.CheckID) {
	w.t.Helper()
	if in := w.incidents[w.l.checks[id].trouble.Incident.ID]; in.ID == 0 || in.Under != 0 || in.Closed != 0 {
		w.t.Errorf("not an outage of its own: %+v; %s", in, w.tell(id))
	}
}

func TestAChildStaysDownWhenAnAbsenceHidItsParentsReturn(t *testing.T) {
	w := newWorld(t, []sereno.Device{{Name: "switch"}, {Name: "child", Parents: []string{"switch"}}}, "gw")
	w.silent(20, 40, "switch", "child")
	w.silent(40, 1000, "child")
	w.pass(sec(35))
	w.absent(sec(50), sereno.Suspended)
	w.pass(sec(70))
	w.alone(200)
}

func TestAChildStaysDownWhenOneOfItsParentsIsBack(t *testing.T) {
	w := newWorld(t, []sereno.Device{{Name: "s1"}, {Name: "s2"}, {Name: "child", Parents: []string{"s1", "s2"}}}, "gw")
	w.silent(20, 1000, "s1", "child")
	w.silent(20, 40, "s2")
	w.pass(sec(60))
	w.alone(300)
}

func TestAChildStaysDownWhenItsParentIsRemoved(t *testing.T) {
	w := newWorld(t, []sereno.Device{{Name: "switch"}, {Name: "child", Parents: []string{"switch"}}}, "gw")
	w.silent(20, 1000, "switch", "child")
	w.pass(sec(35))
	w.l.forget([]sereno.DeviceID{1})
	w.pass(sec(50))
	w.alone(200)
}

func TestAChildStaysDownWhenItNoLongerHangsOnTheParent(t *testing.T) {
	devices := []sereno.Device{{Name: "switch"}, {Name: "child", Parents: []string{"switch"}}}
	w := newWorld(t, devices, "gw")
	w.silent(20, 1000, "switch", "child")
	w.pass(sec(35))
	devices[1].Parents = nil
	w.place(devices[1])
	w.pass(sec(50))
	w.alone(200)
}

func TestDoubtIsHurriedAfterAPause(t *testing.T) {
	p := sereno.Policy{Interval: time.Minute, Timeout: time.Second, Fall: 3, Rise: 2}
	devices := []sereno.Device{{Name: "a", Checks: []sereno.Check{{Policy: p}}}}
	w := newWorld(t, devices)
	w.silent(200, 10_000, "a")
	for at := 200.0; !w.hurried[100]; at++ {
		w.pass(sec(at))
	}
	devices[0].Paused = true
	w.place(devices[0])
	w.hurried[100] = false // the schedule has dropped it
	devices[0].Paused = false
	w.place(devices[0])
	w.pass(w.now.Sub(w.begin) + 80*time.Second)
	if w.l.checks[100].state.Status != sereno.Down {
		t.Error(w.tell(100))
	}
}

func TestHurryIsCalledOffWhenTheIntervalIsQuickItself(t *testing.T) {
	p := sereno.Policy{Interval: time.Minute, Timeout: time.Second, Fall: 3, Rise: 2}
	devices := []sereno.Device{{Name: "a", Checks: []sereno.Check{{Policy: p}}}}
	w := newWorld(t, devices)
	w.silent(200, 10_000, "a")
	for at := 200.0; !w.hurried[100]; at++ {
		w.pass(sec(at))
	}
	devices[0].Checks[0].Policy.Interval = 3 * time.Second
	w.place(devices[0])
	w.pass(w.now.Sub(w.begin) + 30*time.Second)
	if w.hurried[100] {
		t.Error("it is looked at every second for ever")
	}
}

func TestAWitnessIsTrustedAsSoonAsTheUserVouchesForIt(t *testing.T) {
	l := New(Options{Journal: mute{}, Beat: func() Beat { return Beat{Now: 1_700_000_000_000_000} }})
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- l.Run(ctx) }()
	for _, trusted := range []bool{false, true} {
		if err := l.Witnesses(ctx, []WitnessSite{{Check: -1, Name: "gw", Trusted: trusted}}); err != nil {
			t.Fatal(err)
		}
	}
	trusted := false
	if err := l.do(ctx, func() { trusted = l.testimony[0].Trusted }); err != nil {
		t.Fatal(err)
	}
	stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if !trusted {
		t.Error("the user's word is not heard")
	}
}

type mute struct{}

func (mute) Commit(context.Context, *Entry) error { return nil }

type taker struct{ entries []*Entry }

func (t *taker) Commit(_ context.Context, e *Entry) error {
	t.entries = append(t.entries, e)
	return nil
}

func TestAnAbsenceWhileTheClockIsPendingIsBooked(t *testing.T) {
	w := newWorld(t, []sereno.Device{{Name: "a"}})
	beat := Beat{Pending: true}
	w.l.o.Beat = func() Beat { b := beat; b.Now = w.now; beat.Beat = sereno.Beat{}; return b }
	look := func(s float64) {
		w.now = w.begin.Add(sec(s))
		w.l.beat()
		w.l.foldAll([]sereno.Result{{Check: 100, At: w.now, Status: sereno.Up}})
	}
	look(1)
	look(2)
	beat.Absences = []sereno.Absence{{Begin: w.begin.Add(sec(2.5)), End: w.begin.Add(sec(7.5)), Cause: sereno.Stall}}
	look(8)
	look(9)
	hour := time.Hour
	w.now = w.begin.Add(hour + sec(10))
	beat = Beat{Beat: sereno.Beat{Settled: true, Shift: hour, Absences: []sereno.Absence{{Begin: w.begin, End: w.begin.Add(hour), Cause: sereno.PowerLoss}}}}
	w.l.beat()
	var absences []sereno.Absence
	for _, e := range w.l.journal.waiting {
		absences = append(absences, e.Absences...)
	}
	w.commit()
	if len(absences) != 2 || absences[1].Cause != sereno.Stall || absences[1].Begin != w.begin.Add(hour+sec(2.5)) || absences[1].End != w.begin.Add(hour+sec(7.5)) {
		t.Errorf("%+v", absences)
	}
	if w.ever(100) != "unknown up unknown up" || w.spans(100)[2].Begin != w.begin.Add(hour+sec(3)) || w.spans(100)[3].Begin != w.begin.Add(hour+sec(8)) {
		t.Error(w.tell(100))
	}
}

// restarted watches devices with a ledger that takes up what this one has
// written, with other witnesses.
func (w *world) restarted(devices []sereno.Device, witnesses ...string) {
	settled := w.now
	if len(w.found) > 0 {
		settled = w.found[0].Begin
	}
	w.restartedAs(devices, settled, witnesses...)
}

// restartedAs does so where all had been judged and written up to settled.
func (w *world) restartedAs(devices []sereno.Device, settled sereno.Instant, witnesses ...string) {
	w.events = nil
	w.hurried = map[sereno.CheckID]bool{}
	past := Past{LastID: w.l.lastID, Settled: settled, Open: func(yield func(sereno.Span) bool) {
		for _, s := range w.open {
			if !yield(s) {
				return
			}
		}
	}}
	for _, in := range w.incidents {
		if in.Closed == 0 {
			past.Incidents = append(past.Incidents, in)
		}
	}
	w.l = New(w.l.o)
	var places []Place
	for _, d := range devices {
		places = append(places, Place{d, true})
	}
	w.l.Load(places, past)
	w.l.begin()
	w.commit()
	var sites []WitnessSite
	for i, name := range witnesses {
		sites = append(sites, WitnessSite{Check: sereno.CheckID(-1 - i), Name: name})
	}
	w.l.post(sites)
	for id, h := range w.hosts {
		w.grid(id, h.policy.Interval)
	}
	w.tick()
}

func TestARestartWhileCutOffBooksNobodysOutage(t *testing.T) {
	devices := []sereno.Device{{Name: "near"}, {Name: "far"}}
	w := newWorld(t, devices, "gw")
	w.silent(20, 80, "far", "gw")
	w.silent(20, 30, "near")
	w.pass(sec(40))
	if !w.l.isolated {
		t.Fatal("not cut off")
	}
	w.restarted(devices, "gw")
	w.pass(sec(100))
	if in := w.all(sereno.TroubleDown); len(in) != 0 {
		t.Errorf("%+v", in)
	}
	if in := w.all(sereno.TroubleIsolated); len(in) != 1 || in[0].Closed < w.begin.Add(sec(80)) {
		t.Errorf("%+v", in)
	}
}

func TestAChildStaysDownWhenItsParentCameBackJustBeforeARestart(t *testing.T) {
	devices := []sereno.Device{{Name: "switch"}, {Name: "child", Parents: []string{"switch"}}}
	w := newWorld(t, devices, "gw")
	w.silent(20, 40, "switch", "child")
	w.silent(40, 1000, "child")
	w.pass(sec(42.5))
	if w.incidents[1].Closed == 0 || w.l.checks[200].under() == 0 {
		t.Fatal("not the moment between")
	}
	w.restarted(devices, "gw")
	w.pass(sec(60))
	w.alone(200)
}

func TestAChildStaysDownWhenItsParentAnswersBadly(t *testing.T) {
	w := newWorld(t, []sereno.Device{{Name: "switch"}, {Name: "child", Parents: []string{"switch"}}}, "gw")
	w.silent(20, 40, "switch", "child")
	w.silent(40, 1000, "child")
	before := w.alive
	w.alive = func(host string, at sereno.Instant) sereno.Status {
		if host == "switch" && at >= w.begin.Add(sec(40)) {
			return sereno.Degraded
		}
		return before(host, at)
	}
	w.pass(sec(60))
	w.alone(200)
}

func TestNobodyIsBehindAParentThatIsPaused(t *testing.T) {
	devices := []sereno.Device{{Name: "s1"}, {Name: "s2"}, {Name: "child", Parents: []string{"s1", "s2"}}}
	w := newWorld(t, devices, "gw")
	w.pass(sec(10))
	devices[0].Paused = true
	w.place(devices[0])
	w.silent(20, 1000, "s2", "child")
	w.pass(sec(40))
	if in := w.l.checks[300].trouble.Incident; in.Reason != "unreachable behind s2" || in.Under == 0 || in.Under != w.l.checks[200].trouble.Incident.ID {
		t.Errorf("%+v", in)
	}
}

func TestWhoStopsWatchingWhileAProofWaitsDecidesNothing(t *testing.T) {
	p := sereno.Policy{Interval: time.Second, Timeout: 100 * time.Millisecond, Fall: 1, Rise: 2}
	for _, how := range []string{"stop", "suspend"} {
		devices := []sereno.Device{{Name: "a", Checks: []sereno.Check{{Policy: p}}}}
		w := newWorld(t, devices, "gw")
		w.silent(20, 22, "*") // the network goes down first, as it does
		for at := 20.0; w.l.held == nil; at += 0.01 {
			w.pass(sec(at))
		}
		if how == "stop" {
			taken := &taker{}
			w.l.journal.o.Journal = taken
			done := make(chan struct{})
			go func() { w.l.journal.run(t.Context()); close(done) }()
			if err := w.l.finish(func() {}); err != nil {
				t.Fatal(err)
			}
			close(w.l.journal.entries)
			<-done
			w.l.journal.waiting = taken.entries
			if settled := w.l.Settled(); settled >= w.now {
				t.Error("what waits is called settled")
			}
		} else {
			w.absent(sec(30), sereno.Suspended)
			w.pass(sec(40))
		}
		w.commit()
		if in := w.all(sereno.TroubleDown); len(in) != 0 || w.ever(100) != map[string]string{"stop": "unknown up", "suspend": "unknown up unknown up"}[how] {
			t.Errorf("%s: %+v, %s", how, in, w.tell(100))
		}
	}
}
