package storetest

import (
	"context"
	"errors"
	"sync"
	"time"

	"sereno"
	"sereno/ledger"
	"sereno/store"
)

func repeated(b *rig) {
	ctx := b.Context()
	check := b.check("a")
	e := ledger.Entry{
		Closed: []sereno.Span{
			{Check: check, Cause: sereno.CauseNew, Begin: t0, End: at(1), Proof: t0},
			{Check: check, Status: sereno.Up, Begin: at(1), End: at(5), Proof: at(1), Uncertainty: time.Second},
		},
		Open:      []sereno.Span{{Check: check, Status: sereno.Down, Begin: at(5), Proof: at(7), Uncertainty: time.Second, Reason: "no reply in 1s"}},
		Incidents: []sereno.Incident{{ID: 4, Device: 1, Check: check, Opened: at(5), Reason: "no reply in 1s"}},
		Absences:  []sereno.Absence{{Begin: at(-10), End: at(-5), Uncertainty: 5 * time.Second, Cause: sereno.Crash, Checks: 3}},
		Clock:     []sereno.ClockEvent{{At: at(2), Step: -3 * time.Second}},
	}
	facts := func() []any {
		incidents, _, err := b.Incidents(ctx, store.IncidentQuery{})
		b.must(err)
		absences, _, err := b.Absences(ctx, store.AbsenceQuery{})
		b.must(err)
		steps, _, err := b.ClockEvents(ctx, store.AbsenceQuery{})
		b.must(err)
		return []any{collect(b, b.Spans(ctx, check, t0, at(100))), incidents, absences, steps}
	}
	b.commit(e)
	first := facts()
	same(b, "what was written", first, []any{append(e.Closed, e.Open...), e.Incidents, e.Absences, e.Clock})
	b.commit(e)
	same(b, "after the repetition", facts(), first)
	b.sound()

	other := ledger.Entry{Closed: []sereno.Span{{Check: check, Status: sereno.Down, Begin: at(2), End: at(5), Proof: at(2)}}}
	if err := b.Commit(ctx, &other); sereno.KindOf(err) != sereno.Internal || err == nil {
		b.Fatalf("another span with the same end gives %v", err)
	}
	same(b, "after the contradiction", facts(), first)
	b.commit(ledger.Entry{})
}

func whole(b *rig) {
	ctx := b.Context()
	check := b.check("a")
	before := collect(b, b.Spans(ctx, check, t0, at(100)))
	bad := ledger.Entry{
		Closed: []sereno.Span{
			{Check: check, Cause: sereno.CauseNew, Begin: t0, End: at(1), Proof: t0},
			{Check: check, Status: sereno.Up, Begin: at(2), End: at(2), Proof: at(2)}, // no length
		},
		Open:     []sereno.Span{{Check: check, Status: sereno.Up, Begin: at(2), Proof: at(2)}},
		Absences: []sereno.Absence{{Begin: at(1), End: at(2)}},
	}
	if err := b.Commit(ctx, &bad); err == nil {
		b.Fatal("a span without length was taken")
	}
	same(b, "after the refusal", collect(b, b.Spans(ctx, check, t0, at(100))), before)
	if a, _, err := b.Absences(ctx, store.AbsenceQuery{}); err != nil || len(a) != 0 {
		b.Fatalf("a part of the entry was written: %s (%v)", text(a), err)
	}
}

func dead(b *rig) {
	ctx := b.Context()
	gone := b.add(device("gone"))[0]
	stays := b.check("stays")
	check := gone.Checks[0].ID
	_, err := b.RemoveDevice(ctx, gone.ID, at(5))
	b.must(err)
	// The ledger did not know yet.
	b.commit(ledger.Entry{
		Closed: []sereno.Span{
			{Check: check, Cause: sereno.CauseNew, Begin: t0, End: at(4), Proof: t0},
			{Check: stays, Cause: sereno.CauseNew, Begin: t0, End: at(4), Proof: t0},
		},
		Open: []sereno.Span{
			{Check: check, Status: sereno.Down, Begin: at(4), Proof: at(6)},
			{Check: stays, Status: sereno.Up, Begin: at(4), Proof: at(4)},
		},
		Incidents: []sereno.Incident{
			{ID: 1, Device: gone.ID, Check: check, Opened: at(4)},
			{ID: 2, Trouble: sereno.TroubleIsolated, Opened: at(4)},
		},
	})
	// What hung on the trouble of the dead hangs on nothing, however often it is
	// told.
	under := sereno.Incident{ID: 3, Device: 2, Check: stays, Opened: at(4), Closed: at(5), Under: 1}
	for range 2 {
		b.commit(ledger.Entry{Incidents: []sereno.Incident{under}})
		b.sound()
	}
	same(b, "the life of the dead", collect(b, b.Spans(ctx, check, t0, at(99))),
		[]sereno.Span{{Check: check, Cause: sereno.CauseNew, Begin: t0, End: at(5), Proof: t0}})
	open := collect(b, b.OpenSpans(ctx))
	if len(open) != 1 || open[0].Check != stays || open[0].Status != sereno.Up {
		b.Fatalf("open spans: %s", text(open))
	}
	in, err := b.OpenIncidents(ctx)
	b.must(err)
	if len(in) != 1 || in[0].ID != 2 {
		b.Fatalf("open incidents: %s", text(in))
	}
	b.sound()
}

func givenUp(b *rig) {
	ctx, cancel := context.WithCancel(b.Context())
	check := b.check("a")
	cancel()
	e := ledger.Entry{Absences: []sereno.Absence{{Begin: at(1), End: at(2)}}}
	if err := b.Commit(ctx, &e); !errors.Is(err, context.Canceled) {
		b.Errorf("a commit that was given up before it began: %v", err)
	}
	if _, err := b.AddDevices(ctx, []sereno.Device{device("b")}, t0); !errors.Is(err, context.Canceled) {
		b.Errorf("devices that were given up: %v", err)
	}
	for _, err := range b.Spans(ctx, check, t0, at(9)) {
		if !errors.Is(err, context.Canceled) {
			b.Errorf("spans that were given up: %v", err)
		}
	}
	for _, err := range b.AllDevices(ctx) {
		if !errors.Is(err, context.Canceled) {
			b.Errorf("devices that were given up: %v", err)
		}
	}
	if a, _, err := b.Absences(b.Context(), store.AbsenceQuery{}); err != nil || len(a) != 0 {
		b.Errorf("the absence is there: %s (%v)", text(a), err)
	}
	same(b, "devices", names(collect(b, b.AllDevices(b.Context()))), []string{"a"})
}

// crowded lets readers look on while others write: each reader sees one moment,
// in which a check's spans tile and devices come with their checks. (On
// PostgreSQL that is promised where the month has its partition, as it does
// from three months before: who reads in the milliseconds in which one is
// attached may miss what was put there first.)
func crowded(b *rig) {
	const rounds = 30
	b.must(b.Tend(b.Context(), t0))
	check := b.check("watched")
	ctx, done := context.WithCancel(b.Context())
	var writers, readers sync.WaitGroup
	writers.Go(func() {
		for i := range rounds {
			s := sereno.Span{Check: check, Status: sereno.Status(i % 4), Begin: at(float64(i)), End: at(float64(i + 1)), Proof: at(float64(i))}
			next := sereno.Span{Check: check, Status: sereno.Status((i + 1) % 4), Begin: s.End, Proof: s.End}
			if err := b.Commit(ctx, &ledger.Entry{Closed: []sereno.Span{s}, Open: []sereno.Span{next}}); err != nil {
				b.Error(err)
			}
		}
	})
	writers.Go(func() {
		for i := range rounds {
			d, err := b.AddDevices(ctx, []sereno.Device{device(number("come", i)), device(number("go", i))}, at(float64(i)))
			if err != nil {
				b.Error(err)
				return
			}
			if _, err := b.RemoveDevice(ctx, d[1].ID, at(float64(i+1))); err != nil {
				b.Error(err)
			}
		}
	})
	for range 3 {
		readers.Go(func() {
			for ctx.Err() == nil {
				last := t0
				for s, err := range b.Spans(b.Context(), check, t0, at(1000)) {
					if err != nil || s.Begin != last {
						b.Errorf("a span begins at %s after one that ended at %s (%v)", s.Begin, last, err)
					}
					last = s.End
				}
				if last != 0 {
					b.Errorf("the last span ends at %s", last)
				}
				for d, err := range b.AllDevices(b.Context()) {
					if err != nil || len(d.Checks) != 1 {
						b.Errorf("device %q has %d checks (%v)", d.Name, len(d.Checks), err)
					}
				}
			}
		})
	}
	writers.Wait()
	done()
	readers.Wait()
	if n, err := b.CountDevices(b.Context()); err != nil || n != rounds+1 {
		b.Errorf("%d devices live, not %d (%v)", n, rounds+1, err)
	}
	b.sound()
}

// unspeakable is what a target that means harm may bring into a reason.
func unspeakable(b *rig) {
	check := b.check("a")
	bad := "\x00 a\xff b\xc3("
	b.commit(ledger.Entry{
		Closed:    []sereno.Span{{Check: check, Cause: sereno.CauseNew, Begin: t0, End: at(1), Proof: t0, Reason: bad}},
		Open:      []sereno.Span{{Check: check, Status: sereno.Down, Begin: at(1), Proof: at(1), Reason: bad}},
		Incidents: []sereno.Incident{{ID: 1, Device: 1, Check: check, Opened: at(1), Reason: bad}},
	})
	in, err := b.OpenIncidents(b.Context())
	b.must(err)
	got := []string{in[0].Reason}
	for _, s := range collect(b, b.Spans(b.Context(), check, t0, at(9))) {
		got = append(got, s.Reason)
	}
	const kept = "\uFFFD a\uFFFD b\uFFFD("
	same(b, "reasons", got, []string{kept, kept, kept})
}
