package storetest

import (
	"fmt"
	"time"

	"sereno"
	"sereno/ledger"
	"sereno/store"
)

func windows(b *rig) {
	ctx := b.Context()
	check, other := b.check("a"), b.check("b")
	closed := func(check sereno.CheckID, status sereno.Status, begin, end float64) sereno.Span {
		return sereno.Span{Check: check, Status: status, Begin: at(begin), End: at(end), Proof: at(begin)}
	}
	b.commit(ledger.Entry{
		Closed: []sereno.Span{
			closed(check, sereno.Unknown, 0, 10), closed(check, sereno.Up, 10, 20), closed(check, sereno.Down, 20, 30),
			closed(other, sereno.Unknown, 0, 15),
		},
		Open: []sereno.Span{
			{Check: check, Status: sereno.Up, Begin: at(30), Proof: at(31)},
			{Check: other, Status: sereno.Down, Begin: at(15), Proof: at(15)},
		},
	})
	for _, c := range []struct {
		from, to float64
		want     string // the begins of the spans
	}{
		{0, 100, "0 10 20 30"},
		{-50, 0, ""},
		{-50, 0.000001, "0"},
		{10, 20, "10"},
		{9.999999, 20, "0 10"},
		{10, 20.000001, "10 20"},
		{12, 13, "10"},
		{20, 30, "20"},
		{25, 31, "20 30"},
		{30, 31, "30"},
		{29.999999, 30, "20"},
		{1000, 2000, "30"},
		{15, 15, "10"}, // an instant
	} {
		got := ""
		for _, s := range collect(b, b.Spans(ctx, check, at(c.from), at(c.to))) {
			if s.Check != check {
				b.Fatalf("a span of another check: %s", text(s))
			}
			if got != "" {
				got += " "
			}
			got += fmt.Sprint(s.Begin.Sub(t0).Seconds())
		}
		if got != c.want {
			b.Errorf("[%g, %g): spans that begin at %q, want %q", c.from, c.to, got, c.want)
		}
	}
	if spans := collect(b, b.Spans(ctx, 999, t0, at(100))); len(spans) != 0 {
		b.Errorf("a check that is not known has %s", text(spans))
	}
	for s, err := range b.Spans(ctx, check, t0, at(100)) {
		b.must(err)
		if s.Begin != t0 {
			b.Fatal("iteration went on after break")
		}
		break
	}
}

func incidents(b *rig) {
	ctx := b.Context()
	if id, err := b.LastIncidentID(ctx); err != nil || id != 0 {
		b.Fatalf("before the first incident the last one is %d (%v)", id, err)
	}
	devices := b.add(device("sw"), device("a"), device("b"), device("c"))
	in := func(id int, d int, opened, closed float64) sereno.Incident {
		i := sereno.Incident{ID: sereno.IncidentID(id), Device: devices[d].ID, Check: devices[d].Checks[0].ID, Opened: at(opened), Reason: fmt.Sprint("reason ", id)}
		if closed != 0 {
			i.Closed = at(closed)
		}
		return i
	}
	i1, i2, i3, i4 := in(1, 0, 10, 20), in(2, 1, 12, 0), in(3, 2, 12, 25), in(4, 0, 30, 0)
	i2.Under, i3.Under = 1, 1
	i4.Trouble, i4.Vantage = sereno.TroubleDegraded, 7
	i5 := sereno.Incident{ID: 5, Trouble: sereno.TroubleIsolated, Opened: at(40), Closed: at(50), Reason: "cut off"}
	opened := i1
	opened.Closed = 0
	b.commit(ledger.Entry{Incidents: []sereno.Incident{opened, i2}})
	b.commit(ledger.Entry{Incidents: []sereno.Incident{i1, i3, i4, i5}})

	one, none := sereno.IncidentID(1), sereno.IncidentID(0)
	for _, c := range []struct {
		name  string
		query store.IncidentQuery
		want  []sereno.Incident
	}{
		{"all, newest first", store.IncidentQuery{}, []sereno.Incident{i5, i4, i3, i2, i1}},
		{"of a device", store.IncidentQuery{Device: devices[0].ID}, []sereno.Incident{i4, i1}},
		{"of vantage points", store.IncidentQuery{Own: true}, []sereno.Incident{i5}},
		{"open", store.IncidentQuery{OpenOnly: true}, []sereno.Incident{i4, i2}},
		{"open of a device", store.IncidentQuery{OpenOnly: true, Device: devices[1].ID}, []sereno.Incident{i2}},
		{"under one", store.IncidentQuery{Under: &one}, []sereno.Incident{i3, i2}},
		{"under none", store.IncidentQuery{Under: &none}, []sereno.Incident{i5, i4, i1}},
		{"since", store.IncidentQuery{From: at(25)}, []sereno.Incident{i5, i4, i2}},
		{"until", store.IncidentQuery{To: at(30)}, []sereno.Incident{i3, i2, i1}},
		{"between", store.IncidentQuery{From: at(20), To: at(40)}, []sereno.Incident{i4, i3, i2}},
	} {
		got, next, err := b.Incidents(ctx, c.query)
		b.must(err)
		same(b, c.name, got, c.want)
		if next != "" {
			b.Errorf("%s: there is a next page %q", c.name, next)
		}
	}
	paged := pages(b, func(cursor string) ([]sereno.Incident, string, error) {
		return b.Incidents(ctx, store.IncidentQuery{Cursor: cursor, Limit: 2})
	}, func() {
		id, err := b.LastIncidentID(ctx)
		b.must(err)
		b.commit(ledger.Entry{Incidents: []sereno.Incident{{ID: id + 1, Vantage: sereno.VantageID(id), Opened: at(60), Closed: at(61)}}})
	})
	same(b, "in pages while others open", paged, []sereno.Incident{i5, i4, i3, i2, i1})

	open, err := b.OpenIncidents(ctx)
	b.must(err)
	same(b, "open ones, oldest first", open, []sereno.Incident{i2, i4})
	if id, err := b.LastIncidentID(ctx); err != nil || id != 7 {
		b.Fatalf("the last incident is %d (%v), not 7", id, err)
	}
	b.sound()
}

func absences(b *rig) {
	ctx := b.Context()
	var all []sereno.Absence
	for i := range 7 {
		all = append(all, sereno.Absence{
			Begin: at(float64(100 * i)), End: at(float64(100*i + 50)), Uncertainty: 5 * time.Second, Cause: sereno.AbsenceCause(i), Unsure: i%2 == 1, Checks: i,
		})
	}
	b.commit(ledger.Entry{Absences: all[:3]})
	b.commit(ledger.Entry{Absences: all[3:]})
	newest := func(from, to int) (list []sereno.Absence) {
		for i := to - 1; i >= from; i-- {
			list = append(list, all[i])
		}
		return list
	}
	got := pages(b, func(cursor string) ([]sereno.Absence, string, error) {
		return b.Absences(ctx, store.AbsenceQuery{Cursor: cursor, Limit: 3})
	}, func() {
		b.commit(ledger.Entry{Absences: []sereno.Absence{{Begin: at(1000), End: at(1001)}}})
	})
	same(b, "in pages", got, newest(0, 7))
	for _, c := range []struct {
		from, to   float64
		first, end int
	}{{50, 300, 1, 3}, {49.999999, 300.000001, 0, 4}, {610, 620, 6, 7}, {660, 700, 7, 7}} {
		got, _, err := b.Absences(ctx, store.AbsenceQuery{From: at(c.from), To: at(c.to)})
		b.must(err)
		same(b, fmt.Sprintf("[%g, %g)", c.from, c.to), got, newest(c.first, c.end))
	}
}

func clockEvents(b *rig) {
	ctx := b.Context()
	all := []sereno.ClockEvent{{At: at(1), Step: time.Hour}, {At: at(2), Step: -time.Hour}, {At: at(2), Step: time.Microsecond}, {At: at(9), Step: time.Second}}
	b.commit(ledger.Entry{Clock: all})
	want := []sereno.ClockEvent{all[3], all[2], all[1], all[0]}
	got := pages(b, func(cursor string) ([]sereno.ClockEvent, string, error) {
		return b.ClockEvents(ctx, store.AbsenceQuery{Cursor: cursor, Limit: 1})
	}, func() {})
	same(b, "one a page", got, want)
	got, _, err := b.ClockEvents(ctx, store.AbsenceQuery{From: at(2), To: at(9)})
	b.must(err)
	same(b, "in a window", got, want[1:3])
}

func newest(b *rig) {
	is := func(want sereno.Instant) {
		b.Helper()
		if got, err := b.Newest(b.Context()); err != nil || got != want {
			b.Fatalf("the newest entry is of %s (%v), not %s", got, err, want)
		}
	}
	is(0)
	d := b.add(device("a"))[0]
	is(t0)
	b.commit(ledger.Entry{Absences: []sereno.Absence{{Begin: at(1), End: at(4)}}})
	is(at(4))
	b.commit(ledger.Entry{Open: []sereno.Span{{Check: d.Checks[0].ID, Status: sereno.Up, Begin: t0, Proof: at(6)}}})
	is(at(6))
	_, err := b.RemoveDevice(b.Context(), d.ID, at(9))
	b.must(err)
	is(at(9))
}

func cursors(b *rig) {
	ctx := b.Context()
	for _, cursor := range []string{"?", "1.2.3", ".", "-", "1e9", "zzzzzzzzzzzzzzzzzzzzzz", "' OR 1=1 --"} {
		_, _, err := b.Devices(ctx, store.DeviceQuery{Cursor: cursor})
		if cursor != "1e9" { // a number in base 36
			b.refused(err, sereno.Invalid, "cursor", fmt.Sprintf("%q", cursor))
		}
		_, _, err = b.Absences(ctx, store.AbsenceQuery{Cursor: cursor})
		b.refused(err, sereno.Invalid, "cursor")
		_, _, err = b.ClockEvents(ctx, store.AbsenceQuery{Cursor: cursor})
		b.refused(err, sereno.Invalid, "cursor")
	}
	_, _, err := b.Incidents(ctx, store.IncidentQuery{Cursor: "1.2"})
	b.refused(err, sereno.Invalid, "cursor")
}
