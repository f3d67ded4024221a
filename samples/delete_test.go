package samples

import (
	"slices"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"sereno"
)

// countSamples returns how many samples PromQL would find of a check, in all of
// its series.
func countSamples(t *testing.T, db *DB, check string) (n int) {
	t.Helper()
	q, err := db.Queryable().Querier(int64(day)/1000, int64(day.Add(24*time.Hour))/1000)
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	set := q.Select(t.Context(), true, nil, labels.MustNewMatcher(labels.MatchEqual, "check", check))
	for set.Next() {
		for it := set.At().Iterator(nil); it.Next() != chunkenc.ValNone; {
			n++
		}
	}
	if err := set.Err(); err != nil {
		t.Fatal(err)
	}
	return n
}

// A check that was deleted is nowhere: not in blocks, not in memory, not in
// minutes, not after a restart, not in blocks that are written later; its
// neighbours keep everything, also the one whose id begins alike.
func TestDeleteForgetsAChecksLooksAndMinutes(t *testing.T) {
	o := options(t, t.TempDir())
	open := func() *DB {
		db := New(o)
		db.block = 20 * time.Minute
		db.Know(devices(20, time.Second))
		return db
	}
	db := open()
	kept := map[int][]sereno.Result{}
	for _, check := range []int{1, 2, 11} {
		looks := history(check, 0, 7*time.Hour, 2*time.Second, 5)
		db.Keep(looks)
		kept[check] = slices.DeleteFunc(looks, func(r sereno.Result) bool { return r.Status == sereno.Unknown })
	}
	if err := db.Delete(t.Context(), []sereno.CheckID{1}); sereno.KindOf(err) != sereno.Unavailable {
		t.Errorf("before it is open: %v", err)
	}
	stop := start(t, db)
	settle(t, db)
	before := db.Usage()
	if len(db.opened.Load().minutes.Blocks()) == 0 {
		// They are found by the database once a minute; a restart does, too.
		stop()
		db = open()
		stop = start(t, db)
	}
	if n := countSamples(t, db, "1"); n < 2*len(kept[1])-1000 || len(db.opened.Load().minutes.Blocks()) == 0 {
		t.Fatalf("%d samples, %d blocks of minutes", n, len(db.opened.Load().minutes.Blocks()))
	}
	for range 2 { // it may be said again
		if err := db.Delete(t.Context(), []sereno.CheckID{1, 7}); err != nil {
			t.Fatal(err)
		}
	}
	proof := func(when string) {
		t.Helper()
		if n := countSamples(t, db, "1"); n != 0 {
			t.Errorf("%s: %d samples are left", when, n)
		}
		for _, check := range []int{2, 11} {
			if got := looksOf(t, db, check, day, day.Add(24*time.Hour)); !slices.Equal(got, kept[check]) {
				t.Errorf("%s: of %d looks of the neighbour %d %d are left", when, len(kept[check]), check, len(got))
			}
		}
		s, err := db.Series(t.Context(), 1, day, day.Add(7*time.Hour), time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range s.Buckets {
			if b.Sent != 0 {
				t.Errorf("%s: a bucket of the deleted: %+v", when, b)
			}
		}
	}
	proof("at once")
	stop()
	db = open()
	stop = start(t, db)
	proof("after a restart")
	more := history(2, 7*time.Hour, 12*time.Hour, 2*time.Second, 6)
	db.Keep(more) // makes blocks of what was in memory
	kept[2] = append(kept[2], slices.DeleteFunc(more, func(r sereno.Result) bool { return r.Status == sereno.Unknown })...)
	settle(t, db)
	proof("in new blocks")
	stop()
	db = open()
	start(t, db)
	proof("and their minutes")
	if wrong, err := db.Verify(t.Context()); len(wrong) > 0 || err != nil {
		t.Errorf("Verify: %q, %v", wrong, err)
	}
	if now := db.Usage(); now.Aside != before.Aside {
		t.Errorf("%d parts were set aside", now.Aside)
	}
}

// What was on its way when its check was deleted is deleted a few rounds of
// care later.
func TestWhatComesToLightAfterADeletionIsDeletedToo(t *testing.T) {
	db := New(options(t, t.TempDir()))
	db.Know(devices(1, time.Second))
	start(t, db)
	if err := db.Delete(t.Context(), []sereno.CheckID{1}); err != nil {
		t.Fatal(err)
	}
	db.Keep([]sereno.Result{silent(1, 0), silent(1, time.Second)})
	for db.Usage().Kept < 2 {
		time.Sleep(time.Millisecond)
	}
	for range goneRings - 1 { // the first round of its own may come in between
		if n := len(looksOf(t, db, 1, day, day.Add(time.Minute))); n != 2 {
			t.Fatalf("%d looks before their time", n)
		}
		db.deleteAgain(t.Context(), db.opened.Load())
	}
	db.deleteAgain(t.Context(), db.opened.Load())
	if n := len(looksOf(t, db, 1, day, day.Add(time.Minute))); n != 0 {
		t.Errorf("%d looks are left", n)
	}
}

// newestOf returns the time and value of the newest sample of a series.
func newestOf(t *testing.T, db *DB, name, check string) (at sereno.Instant, v float64) {
	t.Helper()
	q, err := db.Queryable().Querier(int64(day)/1000, int64(day.Add(24*time.Hour))/1000)
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	set := q.Select(t.Context(), true, nil,
		labels.MustNewMatcher(labels.MatchEqual, model.MetricNameLabel, name), labels.MustNewMatcher(labels.MatchEqual, "check", check))
	for set.Next() {
		for it := set.At().Iterator(nil); it.Next() != chunkenc.ValNone; {
			ms, value := it.At()
			at, v = sereno.Instant(ms*1000), value
		}
	}
	if err := set.Err(); err != nil {
		t.Fatal(err)
	}
	return at, v
}

func TestSeriesEndWhereLookingEnds(t *testing.T) {
	o := options(t, t.TempDir())
	var told []sereno.Result
	db := New(o)
	db.Tap(func(batch []sereno.Result) { told = append(told, batch...) })
	const all = packet + 100 // more than are ended together
	db.Know(devices(all, time.Second))
	var batch []sereno.Result
	for check := 1; check <= all; check++ {
		batch = append(batch, answered(check, time.Second, 20*time.Millisecond))
	}
	db.Keep(batch)
	db.Keep([]sereno.Result{silent(2, 2*time.Second), ownFault(3, 2*time.Second), answered(5, time.Minute, time.Millisecond)})
	db.End([]sereno.CheckID{1}, day.Add(10*time.Second)) // paused
	stop := start(t, db)
	stop()

	db = New(o)
	db.Know(devices(all, time.Second))
	start(t, db)
	paused, stopped := day.Add(10*time.Second+time.Millisecond), day.Add(time.Minute+time.Millisecond)
	for _, want := range []struct {
		name, check string
		at          sereno.Instant
	}{
		{Up, "1", paused},
		{RTT, "1", paused},
		{Up, "2", stopped},
		{RTT, "2", day.Add(2 * time.Second)}, // its round-trip time had ended before
		{Up, "3", day.Add(2 * time.Second)},
		{RTT, "3", day.Add(2 * time.Second)},
		{Up, "4", stopped},
		{RTT, "4", stopped},
		{RTT, "5", stopped},
		{RTT, "4196", stopped},
	} {
		if at, v := newestOf(t, db, want.name, want.check); at != want.at || !value.IsStaleNaN(v) {
			t.Errorf("%s of check %s ends at %v with %v, want a stale mark at %v", want.name, want.check, at, v, want.at)
		}
	}
	ended := 0
	for _, r := range told {
		if r.Status == sereno.Unknown && r.At == stopped {
			ended++
		}
	}
	if ended != all-2 {
		t.Errorf("%d checks were told to have ended, want %d", ended, all-2)
	}
	if got := looksOf(t, db, 1, day, day.Add(time.Hour)); !slices.Equal(got, batch[:1]) {
		t.Errorf("the marks are taken for looks: %v", got)
	}
	// Looking goes on after the restart, and so do the series.
	db.Keep([]sereno.Result{answered(1, 2*time.Minute, 20*time.Millisecond)})
	for db.Usage().Waiting > 0 {
		time.Sleep(time.Millisecond)
	}
	if at, v := newestOf(t, db, Up, "1"); at != day.Add(2*time.Minute) || v != 1 {
		t.Errorf("after the restart: %v at %v", v, at)
	}
	if u := db.Usage(); u.Refused != 0 {
		t.Errorf("%d looks were refused", u.Refused)
	}
}
