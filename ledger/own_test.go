package ledger

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"sereno"
)

// fault says what is wrong with storage, as Own does.
func (w *world) fault(at float64, fault string) {
	w.l.beat()
	w.l.ail(w.begin.Add(sec(at)), Fault{Trouble: sereno.TroubleStorage, Reason: fault})
	w.commit()
}

func TestStorageThatFailsIsOneIncident(t *testing.T) {
	w := newWorld(t, []sereno.Device{{Name: "a"}}, "gw")
	w.fault(0, "")
	w.pass(sec(20))
	w.fault(18, "the database cannot be reached")
	w.fault(20, "the database cannot be reached")
	w.pass(sec(30))
	w.fault(30, "the disk is full")
	w.pass(sec(60))
	if in := w.all(sereno.TroubleStorage); len(in) != 1 || in[0].Closed != 0 || w.l.incidents != 1 {
		t.Fatalf("while it lasts: %+v, %d open", in, w.l.incidents)
	}
	w.fault(50, "")
	w.fault(60, "")
	want := sereno.Incident{ID: 1, Trouble: sereno.TroubleStorage, Opened: w.begin.Add(sec(18)), Closed: w.begin.Add(sec(50)), Reason: "the disk is full"}
	if in := w.all(sereno.TroubleStorage); len(in) != 1 || in[0] != want || w.l.incidents != 0 {
		t.Errorf("%+v, %d open\nwant %+v", in, w.l.incidents, want)
	}
	if w.ever(100) != "unknown up" {
		t.Errorf("storage is no target's trouble: %s", w.tell(100))
	}
	w.fault(80, "the disk is full")
	if in := w.all(sereno.TroubleStorage); len(in) != 2 {
		t.Errorf("the next is another: %+v", in)
	}
}

func TestStorageAndIsolationDoNotMix(t *testing.T) {
	w := newWorld(t, []sereno.Device{{Name: "a"}, {Name: "b"}}, "gw")
	w.pass(sec(10))
	w.fault(10, "the disk is full")
	w.silent(20, 40, "*")
	w.pass(sec(30))
	if len(w.all(sereno.TroubleIsolated)) != 1 || w.l.incidents != 2 {
		t.Fatalf("%+v", w.incidents)
	}
	w.fault(30, "")
	w.pass(sec(60))
	for id, in := range w.incidents {
		if in.Closed == 0 {
			t.Errorf("%d is open: %+v", id, in)
		}
	}
}

func TestAStorageIncidentFromBeforeTheStartIsClosedOnceStorageIsKnownToWork(t *testing.T) {
	before := sereno.Incident{ID: 7, Trouble: sereno.TroubleStorage, Opened: 1_700_000_000_000_000 - 60e6, Reason: "the disk is full"}
	w := newWorld(t, []sereno.Device{{Name: "a"}}, "gw")
	w.l.Load(nil, Past{Incidents: []sereno.Incident{before}, LastID: 7})
	w.pass(sec(5))
	if w.l.isolated || len(w.incidents) != 0 || w.l.incidents != 1 {
		t.Fatalf("nobody has said anything yet: %+v", w.incidents)
	}
	w.fault(5, "")
	before.Closed = w.begin.Add(sec(5))
	if in := w.all(sereno.TroubleStorage); len(in) != 1 || in[0] != before || w.l.incidents != 0 {
		t.Errorf("%+v, %d open; want %+v", in, w.l.incidents, before)
	}
}

func TestAFaultBeforeTheClockIsRightIsBookedAtItsTrueTime(t *testing.T) {
	var beat Beat
	l := New(Options{Beat: func() Beat { return beat }})
	const wrong, right = 1_000_000_000, 1_700_000_000_000_000
	beat = Beat{Now: wrong, Pending: true}
	l.beat()
	l.ail(wrong+5e6, Fault{Trouble: sereno.TroubleStorage, Reason: "the disk is full"})
	if l.journal.rows() != 0 {
		t.Fatal("written while the clock was wrong")
	}
	beat = Beat{Now: right + 60e6, Beat: sereno.Beat{Shift: time.Duration(right-wrong) * time.Microsecond, Settled: true}}
	l.beat()
	if in := l.journal.next().Incidents; len(in) != 1 || in[0].Opened != right+5e6 {
		t.Errorf("%+v", in)
	}
}

func TestEachChannelHasItsOwnIncident(t *testing.T) {
	w := newWorld(t, []sereno.Device{{Name: "a"}}, "gw")
	w.pass(sec(5))
	say := func(at float64, subject, reason string) {
		w.l.beat()
		w.l.ail(w.begin.Add(sec(at)), Fault{sereno.TroubleChannel, subject, reason})
		w.commit()
	}
	say(1, "mail", "")
	say(2, "mail", "refused")
	say(3, "hook", "500")
	say(4, "mail", "")
	say(5, "mail", "refused again")
	var got []string
	for _, in := range w.all(sereno.TroubleChannel) {
		got = append(got, fmt.Sprint(in.Subject, " ", in.Reason, " ", in.Closed != 0))
	}
	slices.Sort(got)
	if want := []string{"hook 500 false", "mail refused again false", "mail refused true"}; !slices.Equal(got, want) || w.l.incidents != 2 {
		t.Errorf("%q, %d open; want %q", got, w.l.incidents, want)
	}
}

func TestAnAbsenceIsToldOnceItIsOver(t *testing.T) {
	w := newWorld(t, []sereno.Device{{Name: "a"}}, "gw")
	w.pass(sec(5))
	w.l.beat()
	w.l.absent(sereno.Absence{Begin: w.begin.Add(sec(1)), End: w.begin.Add(sec(2)), Cause: sereno.PowerLoss})
	w.l.absent(sereno.Absence{Begin: w.begin.Add(sec(3)), End: w.begin.Add(sec(4)), Cause: sereno.Stall})
	w.commit()
	in := w.all(sereno.TroubleAbsent)
	if len(in) != 1 || in[0].Opened != w.begin.Add(sec(1)) || in[0].Closed != w.begin.Add(sec(2)) || w.l.incidents != 0 {
		t.Errorf("%+v, %d open", in, w.l.incidents)
	}
}

func TestResolve(t *testing.T) {
	w := newWorld(t, []sereno.Device{{Name: "a"}, {Name: "b"}}, "gw")
	w.silent(10, 30, "a")
	w.pass(sec(20))
	w.l.Load(nil, Past{LastID: 100, Incidents: []sereno.Incident{{ID: 90, Trouble: sereno.TroubleChannel, Subject: "gone", Opened: w.begin}}})
	w.fault(20, "the disk is full")
	down := w.all(sereno.TroubleDown)
	if len(down) != 1 {
		t.Fatalf("%+v", w.incidents)
	}
	for _, id := range []sereno.IncidentID{down[0].ID, w.all(sereno.TroubleStorage)[0].ID} {
		if err := w.l.resolve(id); sereno.KindOf(err) != sereno.Conflict {
			t.Errorf("incident %d lasts: %v", id, err)
		}
	}
	if err := w.l.resolve(90); err != nil {
		t.Error(err)
	}
	w.commit()
	if in := w.all(sereno.TroubleChannel); len(in) != 1 || in[0].Closed == 0 {
		t.Errorf("%+v", in)
	}
	if err := w.l.resolve(90); sereno.KindOf(err) != sereno.NotFound {
		t.Errorf("resolved twice: %v", err)
	}
	check := w.l.watch(down[0].Check)
	check.state.Status = sereno.Unknown // nothing is known of it any more
	if err := w.l.resolve(down[0].ID); err != nil {
		t.Error(err)
	}
	w.commit()
	if in := w.all(sereno.TroubleDown); len(in) != 1 || in[0].Closed == 0 {
		t.Errorf("%+v", in)
	}
}
