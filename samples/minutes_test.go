package samples

import (
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/prometheus/tsdb"

	"sereno"
)

// forgetLooks removes the blocks of the raw database that end at or before a
// time, as its retention would.
func forgetLooks(t *testing.T, dir string, until sereno.Instant) {
	t.Helper()
	metas, err := filepath.Glob(filepath.Join(dir, "raw", "*", "meta.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range metas {
		b, err := tsdb.OpenBlock(nil, filepath.Dir(path), nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		past := b.MaxTime() <= int64(until)/1000
		if b.Close(); past {
			if err := os.RemoveAll(filepath.Dir(path)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestMinutesOutliveLooks(t *testing.T) {
	const hours = 9
	dir := t.TempDir()
	o := options(t, dir)
	db := New(o)
	db.block = 20 * time.Minute
	db.Know(devices(1, time.Second))
	db.Know(devices(3, 10*time.Minute)[1:])
	looks := map[int][]sereno.Result{
		1: history(1, 0, hours*time.Hour, time.Second, 3),
		2: history(2, 0, hours*time.Hour, 10*time.Minute, 4), // a minute has one look, most have none
		3: {silent(3, time.Minute), silent(3, 5*time.Hour)},  // never an answer
	}
	for _, l := range looks {
		db.Keep(l)
	}
	elsewhere := make([]sereno.Result, 0, len(looks[1]))
	for _, r := range looks[1] { // another vantage point sees the same, a little later
		if r.Vantage = 1; r.Status == sereno.Up {
			r.RTT += time.Millisecond
		}
		elsewhere = append(elsewhere, r)
	}
	db.Keep(elsewhere)
	stop := start(t, db)
	settle(t, db)
	stop()
	forgetLooks(t, dir, day.Add(6*time.Hour))

	db = New(o)
	db.block = 20 * time.Minute
	db.Know(devices(3, time.Second))
	start(t, db)
	if wrong, err := db.Verify(t.Context()); len(wrong) > 0 || err != nil {
		t.Errorf("Verify: %q, %v", wrong, err)
	}
	u := db.Usage()
	if u.MinutesOldest != day || u.MinutesUntil != day.Add(8*time.Hour) || u.RawOldest < day.Add(5*time.Hour) {
		t.Fatalf("minutes of %v to %v, looks from %v", u.MinutesOldest, u.MinutesUntil, u.RawOldest)
	}
	for check, l := range looks {
		from, to := day, day.Add(hours*time.Hour)
		s, err := db.Series(t.Context(), sereno.CheckID(check), from, to, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		compareBuckets(t, s.Buckets, plain(l, from, to, time.Minute)) // exact: a bucket is a minute
		if check == 1 && (len(s.Sources) != 2 || !s.Sources[0].Minutes || s.Sources[1].Minutes || s.Sources[0].Estimated) {
			t.Errorf("sources %+v", s.Sources)
		}
	}

	// Wider buckets: counts, least and greatest are exact, percentiles near.
	s, err := db.Series(t.Context(), 1, day, day.Add(5*time.Hour), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Sources) != 1 || !s.Sources[0].Estimated {
		t.Errorf("sources %+v", s.Sources)
	}
	for i, want := range plain(looks[1], day, day.Add(5*time.Hour), time.Hour) {
		got := s.Buckets[i]
		if got.Sent != want.Sent || got.Lost != want.Lost || got.RTT[0] != want.RTT[0] || got.RTT[5] != want.RTT[5] {
			t.Errorf("hour %d\n got %+v\nwant %+v", i, got, want)
		}
		for q := 1; q <= 4; q++ {
			if off := math.Abs(got.RTT[q] - want.RTT[q]); off > 0.0005 { // of a deviation of 2 ms
				t.Errorf("hour %d: p%v is %v instead of %v", i, 100*Quantiles[q], got.RTT[q], want.RTT[q])
			}
		}
	}
}
