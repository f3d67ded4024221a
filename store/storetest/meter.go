package storetest

import (
	"fmt"
	"slices"
	"time"

	"pgregory.net/rapid"

	"sereno"
	"sereno/ledger"
	"sereno/store"
)

// meters commits random histories over some days, in several goes with readings
// taken in between or not, and compares the figures by readings, and those by
// the spans that are not Up, with those by all spans.
func meters(b *rig) {
	ctx := b.Context()
	n := 0
	rapid.Check(b.T, func(t *rapid.T) {
		n++
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		devices, err := b.AddDevices(ctx, []sereno.Device{device(fmt.Sprint("meter x", n)), device(fmt.Sprint("meter y", n)), device(fmt.Sprint("meter z", n))}, t0)
		must(err)
		var checks []sereno.CheckID
		lives := make([]life, len(devices))
		for i, d := range devices {
			checks = append(checks, d.Checks[0].ID)
			lives[i].open = sereno.Span{Check: d.Checks[0].ID, Cause: sereno.CauseNew, Begin: t0, Proof: t0}
		}
		for range rapid.IntRange(1, 3).Draw(t, "goes") {
			var e ledger.Entry
			for i := range lives {
				for range rapid.IntRange(0, 25).Draw(t, "changes") {
					e.Closed = append(e.Closed, lives[i].change(t))
				}
				e.Open = append(e.Open, lives[i].open)
			}
			must(b.Commit(ctx, &e))
			for range rapid.IntRange(0, 2).Draw(t, "readings") {
				must(b.ReadMeters(ctx))
			}
		}
		must(b.CheckMeters(ctx))

		end := t0
		for i := range lives {
			end = max(end, lives[i].open.Begin)
		}
		end = end.Add(time.Hour)
		var windows []store.Window
		for range 3 {
			// Of long ago, as well as until now.
			from := t0 + sereno.Instant(rapid.Int64Range(-5e6, int64(end-t0)).Draw(t, "from"))
			to := from + sereno.Instant(rapid.OneOf(rapid.Just(int64(end-from)), rapid.Int64Range(0, int64(end-from))).Draw(t, "length"))
			if rapid.Bool().Draw(t, "at a full hour") {
				from = min(from.Hour(), to)
			}
			windows = append(windows, store.Window{From: from, To: to})
		}
		got, err := b.Tallies(ctx, checks, windows)
		must(err)
		for k, w := range windows {
			stretches := map[sereno.CheckID][]sereno.Span{}
			last := sereno.CheckID(0)
			for s, err := range b.NotUp(ctx, checks, w.From, w.To) {
				must(err)
				if s.Check < last || s.Status == sereno.Up {
					t.Fatalf("a span out of order or up: %v", s)
				}
				last = s.Check
				stretches[s.Check] = append(stretches[s.Check], s)
			}
			for i, l := range lives {
				want := sereno.Tally(slices.Values(append(l.closed, l.open)), w.From, w.To)
				tiles := sereno.Tile(slices.Values(stretches[checks[i]]), checks[i], max(t0, w.From), w.To)
				if tiled := sereno.Tally(tiles, w.From, w.To); tiled != want {
					t.Fatalf("[%d, %d): by what is not up\n%+v\nby all\n%+v", w.From-t0, w.To-t0, tiled, want)
				}
				want.Longest, want.LastOutage, want.Ongoing = 0, 0, false
				if got[i][k] != want {
					t.Fatalf("%v [%d, %d): by readings\n%+v\nby spans\n%+v", l, w.From-t0, w.To-t0, got[i][k], want)
				}
			}
		}
	})
}

// change closes the open span after some minutes or hours.
func (l *life) change(t *rapid.T) sereno.Span {
	s := l.open
	s.End = s.Begin.Add(rapid.SampledFrom([]time.Duration{
		time.Microsecond, 7 * time.Minute, 20 * time.Minute, time.Hour, time.Hour + time.Microsecond, 5 * time.Hour, 30 * time.Hour,
	}).Draw(t, "lasts"))
	if rapid.Bool().Draw(t, "until a full hour") {
		s.End = max(s.End.Hour(), s.Begin+1)
	}
	l.closed = append(l.closed, s)
	l.open = sereno.Span{Check: s.Check, Begin: s.End, Proof: s.End, Status: sereno.Status(rapid.IntRange(0, 3).Draw(t, "status"))}
	switch l.open.Status {
	case sereno.Unknown:
		l.open.Cause = rapid.SampledFrom([]sereno.Cause{sereno.CausePaused, sereno.CauseAbsence}).Draw(t, "cause")
	case sereno.Down:
		l.open.Cause = rapid.SampledFrom([]sereno.Cause{sereno.CauseLook, sereno.CauseBehindParent}).Draw(t, "cause")
	}
	return s
}

// deadMeters is about checks that were removed, and those that never were.
func deadMeters(b *rig) {
	d := b.add(device("a"))[0]
	check := d.Checks[0].ID
	hour := 3600.0
	b.commit(ledger.Entry{
		Closed: []sereno.Span{{Check: check, Cause: sereno.CauseNew, Begin: t0, End: at(hour), Proof: t0}},
		Open:   []sereno.Span{{Check: check, Status: sereno.Down, Begin: at(hour), Proof: at(hour)}},
	})
	_, err := b.RemoveDevice(b.Context(), d.ID, at(5*hour))
	b.must(err)
	b.must(b.ReadMeters(b.Context()))
	got, err := b.Tallies(b.Context(), []sereno.CheckID{999, check}, []store.Window{{From: t0, To: at(10 * hour)}, {From: at(6 * hour), To: at(7 * hour)}})
	b.must(err)
	for i, want := range []time.Duration{0, 4 * time.Hour} {
		if f := got[i][0]; f.Down != want || f.Window() != 10*time.Hour || f.Outages != i || f.Unknown != 10*time.Hour-want {
			b.Errorf("figures of %d: %+v", i, f)
		}
		if f := got[i][1]; f.Unknown != time.Hour || f.Outside != time.Hour || f.Outages != 0 {
			b.Errorf("figures of %d when it was gone: %+v", i, f)
		}
	}
	b.must(b.CheckMeters(b.Context()))
}
