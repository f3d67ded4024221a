package samples

import (
	"context"
	"testing"
	"time"

	"github.com/prometheus/prometheus/tsdb"

	"sereno"
)

// A bucket that begins before the first look has everything that was seen in
// it, although minutes of the latest hours are not made yet.
func TestAWideBucketLosesNothing(t *testing.T) {
	o, looks := filled(t)
	db, _ := reopen(t, o)
	for _, before := range []time.Duration{0, time.Minute, 20 * time.Hour} {
		from, to := day.Add(-before), day.Add(span6h)
		s, err := db.Series(t.Context(), 1, from, to, to.Sub(from))
		if err != nil {
			t.Fatal(err)
		}
		want := plain(looks, from, to, to.Sub(from))
		if got := s.Buckets[0]; got.Sent != want[0].Sent || got.Lost != want[0].Lost || got.RTT[0] != want[0].RTT[0] || got.RTT[5] != want[0].RTT[5] {
			t.Errorf("from %v before: got %+v\nwant %+v", before, got, want[0])
		}
	}
}

// Nor does one that begins when the looks themselves were kept no more.
func TestAWideBucketIsOfMinutesAndLooks(t *testing.T) {
	o, looks := filled(t)
	forgetLooks(t, o.Dir, day.Add(3*time.Hour))
	db, _ := reopen(t, o)
	u := db.Usage()
	if u.RawOldest < day.Add(time.Hour) || u.MinutesUntil >= day.Add(5*time.Hour) {
		t.Fatalf("looks from %v, minutes until %v", u.RawOldest, u.MinutesUntil)
	}
	for _, step := range []time.Duration{span6h, 5 * time.Hour} {
		s, err := db.Series(t.Context(), 1, day, day.Add(span6h), step)
		if err != nil {
			t.Fatal(err)
		}
		want := plain(looks, day, day.Add(span6h), step)
		for i, got := range s.Buckets {
			if want := want[i]; got.Sent != want.Sent || got.Lost != want.Lost || got.RTT[0] != want.RTT[0] || got.RTT[5] != want.RTT[5] {
				t.Errorf("steps of %v: got %+v\nwant %+v", step, got, want)
			}
		}
		if !s.Sources[0].Minutes || !s.Sources[0].Estimated {
			t.Errorf("sources %+v", s.Sources)
		}
	}
}

// A block that the database has replaced by another meanwhile is not broken.
func TestABlockThatIsGoneIsNotBroken(t *testing.T) {
	o, _ := filled(t)
	b, err := tsdb.OpenBlock(nil, blocks(t, o.Dir)[0], nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if err := verifyBlock(t.Context(), b); err != nil {
		t.Error(err)
	}
}

// Looks that come late, as after a clock was put back, are read, survive a
// restart, and are in a snapshot.
func TestLateLooksAreKept(t *testing.T) {
	o, looks := filled(t)
	db, stop := reopen(t, o)
	late := looks[0]
	late.At = late.At.Add(500 * time.Millisecond)
	later := looks[len(looks)-1]
	later.At = later.At.Add(-500 * time.Millisecond)
	db.Keep([]sereno.Result{late, later})
	for db.Usage().Waiting > 0 {
		time.Sleep(time.Millisecond)
	}
	has := func(name string, db *DB) {
		t.Helper()
		all := looksOf(t, db, 1, day, day.Add(span6h))
		if len(all) != len(looks)+2 {
			t.Errorf("%s: %d looks of %d", name, len(all), len(looks)+2)
		}
		for i := range all[1:] {
			if all[i+1].At <= all[i].At {
				t.Errorf("%s: out of order at %d", name, i)
			}
		}
	}
	has("live", db)
	snap := t.TempDir()
	if err := db.Snapshot(t.Context(), snap); err != nil {
		t.Fatal(err)
	}
	stop()
	db, stop = reopen(t, o)
	has("after a restart", db)
	stop()
	o.Dir = snap
	db, stop = reopen(t, o)
	has("in a snapshot", db)
	stop()
}

// The log of the latest looks counts when there are too many bytes, and blocks
// go for it.
func TestTheLogCountsForTheSize(t *testing.T) {
	o, _ := filled(t)
	db, stop := reopen(t, o)
	settle(t, db)
	u := db.Usage()
	stop()
	if u.LogBytes < 1000 || u.RawBytes < 1000 {
		t.Fatalf("%d bytes of log, %d of blocks", u.LogBytes, u.RawBytes)
	}
	for _, test := range []struct {
		most int64
		gone bool
	}{{u.RawBytes + 2*u.LogBytes, false}, {u.RawBytes + 1000, true}} {
		o.MaxBytes = test.most
		db, stop = reopen(t, o)
		raw := db.opened.Load().raw
		if gone := len(tsdb.DefaultBlocksToDelete(raw)(raw.Blocks())) > 0; gone != test.gone {
			t.Errorf("%d bytes at most, %d of blocks, %d of log: blocks go: %v", test.most, u.RawBytes, u.LogBytes, gone)
		}
		stop()
	}
}

// Where nothing is kept, nothing is looked for: not in fifty years of pieces.
func TestLooksOfNothing(t *testing.T) {
	db := New(options(t, t.TempDir()))
	start(t, db)
	ctx := &counted{Context: t.Context()}
	for r, err := range db.Looks(ctx, 1, 0, day) {
		t.Errorf("%v, %v", r, err)
	}
	if ctx.asked > 100 {
		t.Errorf("the samples were asked %d times", ctx.asked)
	}
}

// counted counts how often it is asked whether it has ended.
type counted struct {
	context.Context
	asked int
}

func (c *counted) Err() error { c.asked++; return c.Context.Err() }
