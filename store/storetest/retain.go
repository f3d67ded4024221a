package storetest

import (
	"slices"
	"time"

	"pgregory.net/rapid"

	"sereno"
	"sereno/ledger"
	"sereno/store"
)

const day = 24 * time.Hour

// retained drops the older part of random lives: what is left proves itself,
// figures from the cut on stay what they were, and before it nothing is known.
func retained(b *rig) {
	n := 0
	rapid.Check(b.T, func(t *rapid.T) {
		// Each makes and drops partitions, which takes PostgreSQL a second or
		// more.
		if n++; n > 20 {
			return
		}
		begun := t0.Add(time.Duration(n) * 400 * day)
		added, err := b.AddDevices(b.Context(), []sereno.Device{device(number("kept", 2*n)), device(number("kept", 2*n+1))}, begun)
		b.must(err)
		var e ledger.Entry
		for _, d := range added {
			span := sereno.Span{Check: d.Checks[0].ID, Begin: begun, Proof: begun}
			for range rapid.IntRange(0, 30).Draw(t, "changes") {
				length := time.Duration(rapid.IntRange(1, 9).Draw(t, "length"))
				length *= rapid.SampledFrom([]time.Duration{time.Minute, time.Hour, day}).Draw(t, "unit")
				span.End = span.Begin.Add(length)
				e.Closed = append(e.Closed, span)
				span = sereno.Span{Check: span.Check, Begin: span.End, Proof: span.End, Status: (span.Status + 1 + sereno.Status(rapid.IntRange(0, 2).Draw(t, "status"))) % 4}
			}
			e.Open = append(e.Open, span)
		}
		b.commit(e)
		if rapid.Bool().Draw(t, "the first is removed") {
			_, err := b.RemoveDevice(b.Context(), added[0].ID, begun.Add(300*day))
			b.must(err)
		}
		checks := []sereno.CheckID{added[0].Checks[0].ID, added[1].Checks[0].ID}
		now := begun.Add(350 * day)
		keep := time.Duration(rapid.IntRange(40, 349).Draw(t, "days kept")) * day
		random := rapid.Custom(func(t *rapid.T) store.Window {
			from := begun.Add(time.Duration(rapid.Int64Range(0, int64(350*day)).Draw(t, "from")))
			return store.Window{From: from, To: from.Add(time.Duration(rapid.Int64Range(1, int64(100*day)).Draw(t, "to")))}
		})
		windows := rapid.SliceOfN(random, 1, 10).Draw(t, "windows")
		before, err := b.Tallies(b.Context(), checks, windows)
		b.must(err)

		for range rapid.IntRange(1, 2).Draw(t, "times") {
			b.retain(store.Retention{Spans: keep}, now)
		}
		b.sound()
		b.must(b.CheckMeters(b.Context()))
		cut, err := b.KeptFrom(b.Context())
		b.must(err)
		if cut > now.Add(-keep) || cut < now.Add(-keep-32*day) {
			t.Fatalf("%v before %v the cut is at %v", keep, now, cut)
		}
		for _, check := range checks {
			for _, s := range collect(b, b.Spans(b.Context(), check, 0, now)) {
				if s.End != 0 && s.End < cut {
					t.Fatalf("a span of %v to %v outlived the cut at %v", s.Begin, s.End, cut)
				}
			}
		}
		after, err := b.Tallies(b.Context(), checks, windows)
		b.must(err)
		for i := range checks {
			for k, w := range windows {
				was, is := before[i][k], after[i][k]
				if w.From >= cut {
					if was != is {
						t.Fatalf("the figures of %v were\n%+v and are\n%+v", w, was, is)
					}
					continue
				}
				if is.Window() != was.Window() || is.Seen()+is.Unknown+is.Paused != is.Window() || is.Unknown < min(w.To, cut).Sub(w.From) {
					t.Fatalf("of %v, cut at %v, is known %+v", w, cut, is)
				}
			}
		}
	})
}

// retain drops what is too old at now, which retention believes only after it
// has come there step by step.
func (b *rig) retain(r store.Retention, now sereno.Instant) {
	b.Helper()
	for range 1000 {
		believed, err := b.Retain(b.Context(), store.Retention{}, now)
		b.must(err)
		if believed == now {
			_, err := b.Retain(b.Context(), r, now)
			b.must(err)
			return
		}
	}
	b.Fatalf("retention never comes to %v", now)
}

// retainedByAWrongClock drops no more than a month of facts a run, whatever the
// clock says, and less retention at once.
func retainedByAWrongClock(b *rig) {
	const year = 365 * day
	check := b.check("a")
	begun := t0.Add(0)
	var e ledger.Entry
	for k := range 20 { // a change each half year
		from := begun.Add(time.Duration(k) * year / 2)
		e.Closed = append(e.Closed, sereno.Span{Check: check, Status: sereno.Status(k % 4), Begin: from, End: from.Add(year / 2)})
	}
	now := begun.Add(10 * year)
	e.Open = []sereno.Span{{Check: check, Status: sereno.Up, Begin: now}}
	b.commit(e)
	run := func(keep time.Duration, at, wantBelieved sereno.Instant) (cut sereno.Instant) {
		b.Helper()
		believed, err := b.Retain(b.Context(), store.Retention{Spans: keep, Incidents: keep, Absences: keep, Days: keep}, at)
		b.must(err)
		if believed != wantBelieved {
			b.Errorf("at %v retention goes by %v, want %v", at, believed, wantBelieved)
		}
		b.sound()
		cut, err = b.KeptFrom(b.Context())
		b.must(err)
		if cut > wantBelieved.Add(-keep) || cut < wantBelieved.Add(-keep-32*day) {
			b.Errorf("the cut is at %v, want about %v", cut, wantBelieved.Add(-keep))
		}
		return cut
	}
	run(8*year, now, now)
	ahead := now.Add(30 * year) // believed, and wrong
	leapt := now.Add(store.MaxAdvance)
	run(8*year, ahead, leapt)
	run(8*year, ahead, leapt.Add(store.MaxAdvance))
	// Corrected: it goes by the truth at once, and what was dropped stays so.
	believed, err := b.Retain(b.Context(), store.Retention{Spans: 8 * year}, now.Add(day))
	b.must(err)
	if believed != now.Add(day) {
		b.Errorf("after the correction retention goes by %v", believed)
	}
	run(3*year, now.Add(2*day), now.Add(2*day)) // the operator keeps less
	run(3*year, now.Add(20*day), now.Add(20*day))
}

// incidentsRetained drops incidents that closed, but none that another hangs
// on, nor the latest.
func incidentsRetained(b *rig) {
	check := b.check("a")
	incident := func(id, under sereno.IncidentID, closed float64) sereno.Incident {
		in := sereno.Incident{ID: id, Check: check, Under: under, Opened: at(float64(id)), Reason: "no reply"}
		if closed != 0 {
			in.Closed = at(closed)
		}
		return in
	}
	b.commit(ledger.Entry{
		Incidents: []sereno.Incident{incident(1, 0, 10), incident(2, 1, 11), incident(3, 0, 12), incident(4, 3, 90), incident(5, 2, 13), incident(6, 0, 99), incident(7, 0, 14)},
		Absences:  []sereno.Absence{{Begin: at(1), End: at(2)}, {Begin: at(50), End: at(60)}},
		Clock:     []sereno.ClockEvent{{At: at(3), Step: time.Hour}, {At: at(51), Step: time.Hour}},
	})
	b.retain(store.Retention{Incidents: 50 * time.Second, Absences: 50 * time.Second}, at(100))
	b.sound()
	left, _, err := b.Incidents(b.Context(), store.IncidentQuery{})
	b.must(err)
	var ids []sereno.IncidentID
	for _, in := range left {
		ids = append(ids, in.ID)
	}
	if want := []sereno.IncidentID{7, 6, 4, 3}; !slices.Equal(ids, want) {
		b.Errorf("left are the incidents %v, want %v", ids, want)
	}
	absences, _, err := b.Absences(b.Context(), store.AbsenceQuery{})
	b.must(err)
	events, _, err := b.ClockEvents(b.Context(), store.AbsenceQuery{})
	b.must(err)
	if len(absences) != 1 || absences[0].Begin != at(50) || len(events) != 1 || events[0].At != at(51) {
		b.Errorf("left are %v and %v", absences, events)
	}
}

// purged deletes a removed device, and nothing of its neighbours.
func purged(b *rig) {
	devices := b.add(device("a"), device("b", "a"))
	for i, d := range devices {
		check := d.Checks[0].ID
		var e ledger.Entry
		for k := range 1200 {
			e.Closed = append(e.Closed, sereno.Span{Check: check, Status: sereno.Status(k % 4), Begin: at(float64(60 * k)), End: at(float64(60*k + 60))})
		}
		e.Open = []sereno.Span{{Check: check, Status: sereno.Up, Begin: at(60 * 1200)}}
		e.Incidents = []sereno.Incident{{ID: sereno.IncidentID(1 + i), Device: d.ID, Check: check, Under: sereno.IncidentID(i), Opened: at(9), Closed: at(10)}}
		b.commit(e)
	}
	b.must(b.ReadMeters(b.Context()))
	gone := devices[0]
	_, err := b.Purge(b.Context(), gone.ID)
	b.refused(err, sereno.Conflict, "", "still watched")
	_, err = b.Purge(b.Context(), 4711)
	b.refused(err, sereno.NotFound, "", "4711")
	_, err = b.RemoveDevice(b.Context(), gone.ID, at(100_000))
	b.must(err)
	stones, err := b.Tombstones(b.Context(), "a")
	b.must(err)
	if len(stones) != 1 || stones[0].ID != gone.ID || stones[0].Removed != at(100_000) {
		b.Fatalf("the removed are %v", stones)
	}
	checks, err := b.Purge(b.Context(), gone.ID)
	b.must(err)
	if want := []sereno.CheckID{gone.Checks[0].ID}; !slices.Equal(checks, want) {
		b.Errorf("purged were the checks %v, want %v", checks, want)
	}
	b.sound()
	b.must(b.CheckMeters(b.Context()))
	if left := collect(b, b.Spans(b.Context(), gone.Checks[0].ID, 0, at(1e9))); len(left) != 0 {
		b.Errorf("%d spans are left", len(left))
	}
	if left := collect(b, b.Spans(b.Context(), devices[1].Checks[0].ID, 0, at(1e9))); len(left) != 1201 {
		b.Errorf("the neighbour has %d spans left", len(left))
	}
	if stones, err := b.Tombstones(b.Context(), ""); err != nil || len(stones) != 0 {
		b.Errorf("the removed are %v, %v", stones, err)
	}
}
