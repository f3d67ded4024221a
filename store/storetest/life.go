package storetest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"pgregory.net/rapid"

	"sereno"
	"sereno/ledger"
)

func faults(b *rig) {
	ctx := b.Context()
	b.sound()
	first := func(check sereno.CheckID, end float64) sereno.Span {
		return sereno.Span{Check: check, Cause: sereno.CauseNew, Begin: t0, End: at(end), Proof: t0}
	}
	open := func(check sereno.CheckID, begin float64) sereno.Span {
		return sereno.Span{Check: check, Status: sereno.Up, Begin: at(begin), Proof: at(begin)}
	}
	seen := ""
	found := func(words ...string) {
		b.Helper()
		err := b.CheckInvariants(ctx)
		if err == nil {
			b.Fatalf("not found: %q", words)
		}
		for _, w := range words {
			if !strings.Contains(err.Error(), w) {
				b.Errorf("%q does not mention %q", err, w)
			}
		}
		if err.Error() == seen {
			b.Errorf("nothing was added to %q", seen)
		}
		seen = err.Error()
	}

	b.commit(ledger.Entry{Incidents: []sereno.Incident{
		{ID: 90, Trouble: sereno.TroubleIsolated, Opened: at(1)}, {ID: 91, Trouble: sereno.TroubleStorage, Opened: at(2)},
	}})
	b.sound() // cut off, and a full disk

	gap := b.check("gap")
	b.commit(ledger.Entry{Closed: []sereno.Span{first(gap, 10)}, Open: []sereno.Span{open(gap, 11)}})
	found(fmt.Sprint("check ", gap, " "), at(10).String(), at(11).String())
	b.commit(ledger.Entry{Open: []sereno.Span{open(gap, 10)}})
	b.sound()

	overlap := b.check("overlap")
	b.commit(ledger.Entry{Closed: []sereno.Span{first(overlap, 10)}, Open: []sereno.Span{open(overlap, 9)}})
	found(fmt.Sprint("check ", overlap, " "), at(9).String())
	late := b.check("late")
	b.commit(ledger.Entry{Open: []sereno.Span{open(late, 1)}})
	found(fmt.Sprint("check ", late, " was made at"))

	d := b.add(device("twice"))[0]
	b.commit(ledger.Entry{Incidents: []sereno.Incident{
		{ID: 1, Device: d.ID, Check: d.Checks[0].ID, Opened: at(1)}, {ID: 2, Device: d.ID, Check: d.Checks[0].ID, Opened: at(2)},
	}})
	found(fmt.Sprint("check ", d.Checks[0].ID, " has 2 open incidents"))
	b.commit(ledger.Entry{Incidents: []sereno.Incident{{ID: 3, Opened: at(5), Closed: at(4)}}})
	found("incident 3 opened at")
	b.commit(ledger.Entry{Incidents: []sereno.Incident{{ID: 4, Opened: at(6), Closed: at(5)}}})
	found("incident 4 opened at")
	b.commit(ledger.Entry{Incidents: []sereno.Incident{
		{ID: 5, Vantage: 3, Trouble: sereno.TroubleIsolated, Opened: at(1)}, {ID: 6, Vantage: 3, Trouble: sereno.TroubleIsolated, Opened: at(2)},
	}})
	found("vantage point 3 has 2 open incidents of one kind", "and more")
}

// lives commits random histories of a few checks, some entries twice, and
// compares what is stored with what was said.
func lives(b *rig) {
	ctx := b.Context()
	n := 0
	rapid.Check(b.T, func(t *rapid.T) {
		n++
		devices, err := b.AddDevices(ctx, []sereno.Device{device(fmt.Sprint("x", n)), device(fmt.Sprint("y", n)), device(fmt.Sprint("z", n))}, t0)
		b.must(err)
		lives := make([]life, len(devices))
		for i, d := range devices {
			lives[i].open = sereno.Span{Check: d.Checks[0].ID, Cause: sereno.CauseNew, Begin: t0, Proof: t0}
		}
		for range rapid.IntRange(1, 8).Draw(t, "entries") {
			var e ledger.Entry
			for i := range lives {
				l := &lives[i]
				for range rapid.IntRange(0, 4).Draw(t, "changes") {
					e.Closed = append(e.Closed, l.turn(t))
				}
				e.Open = append(e.Open, l.open)
			}
			for range rapid.IntRange(1, 2).Draw(t, "times") {
				if err := b.Commit(ctx, &e); err != nil {
					t.Fatal(err)
				}
			}
		}
		end := t0
		for i := range lives {
			end = max(end, lives[i].open.Begin)
		}
		end = end.Add(time.Hour)
		if rapid.Bool().Draw(t, "the first is removed") {
			_, err := b.RemoveDevice(ctx, devices[0].ID, end)
			b.must(err)
			l := &lives[0]
			l.open.End = end
			l.closed, l.open = append(l.closed, l.open), sereno.Span{}
		}
		if err := b.CheckInvariants(ctx); err != nil {
			t.Fatal(err)
		}

		from := t0 + sereno.Instant(rapid.Int64Range(-5e6, int64(end-t0)).Draw(t, "from"))
		to := from + sereno.Instant(rapid.Int64Range(0, int64(end-t0)+5e6).Draw(t, "length"))
		for i, l := range lives {
			var got []sereno.Span
			for s, err := range b.Spans(ctx, devices[i].Checks[0].ID, from, to) {
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, s)
			}
			if want := l.touching(from, to); !slices.Equal(got, want) {
				t.Fatalf("[%d, %d): spans\n%v\nwant\n%v", from-t0, to-t0, got, want)
			}
			f := sereno.Tally(slices.Values(got), from, to)
			if sum := f.Up + f.Degraded + f.Down + f.Unknown + f.Maintenance + f.Paused; sum != to.Sub(from) {
				t.Fatalf("the figures of [%d, %d) sum to %s: %+v", from-t0, to-t0, sum, f)
			}
			whole := l.closed
			if l.open.Check != 0 {
				whole = append(whole, l.open)
			}
			if all := sereno.Tally(slices.Values(whole), from, to); f != all {
				t.Fatalf("the spans of [%d, %d) give %+v, the whole life %+v", from-t0, to-t0, f, all)
			}
		}
	})
}

type life struct {
	closed []sereno.Span
	open   sereno.Span
}

// turn closes the open span and returns it.
func (l *life) turn(t *rapid.T) sereno.Span {
	s := l.open
	s.End = s.Begin + sereno.Instant(rapid.OneOf(rapid.Int64Range(1, 10), rapid.Int64Range(1, 1e9)).Draw(t, "microseconds"))
	l.closed = append(l.closed, s)
	l.open = sereno.Span{
		Check: s.Check, Begin: s.End, Proof: s.End + sereno.Instant(rapid.Int64Range(0, 3e6).Draw(t, "proof")),
		Status:      sereno.Status(rapid.IntRange(0, 3).Draw(t, "status")),
		Cause:       sereno.Cause(rapid.IntRange(0, 6).Draw(t, "cause")),
		Uncertainty: time.Duration(rapid.Int64Range(0, 1e6).Draw(t, "uncertainty")) * time.Microsecond,
		Reason:      strings.ReplaceAll(rapid.StringN(0, 12, 40).Draw(t, "reason"), "\x00", ""), // no engine keeps it
	}
	return s
}

func (l *life) touching(from, to sereno.Instant) (list []sereno.Span) {
	for _, s := range l.closed {
		if s.End > from && s.Begin < to {
			list = append(list, s)
		}
	}
	if l.open.Check != 0 && l.open.Begin < to {
		list = append(list, l.open)
	}
	return list
}
