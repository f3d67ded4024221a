package samples

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sereno"
)

// plain computes the buckets of looks the slow way, by the definition.
func plain(looks []sereno.Result, from, to sereno.Instant, step time.Duration) []Bucket {
	var buckets []Bucket
	for begin := from; begin < to; begin = begin.Add(step) {
		b := Bucket{Begin: begin}
		var values []float64
		for _, r := range looks {
			if r.At < begin || r.At >= min(to, begin.Add(step)) || r.Status == sereno.Unknown {
				continue
			}
			b.Sent++
			if r.Status == sereno.Up {
				values = append(values, sereno.StoredRTT(r.RTT))
			} else {
				b.Lost++
			}
		}
		slices.Sort(values)
		for i, p := range Quantiles {
			if b.RTT[i] = math.NaN(); len(values) > 0 {
				b.RTT[i] = values[sereno.Rank(p, len(values))]
			}
		}
		buckets = append(buckets, b)
	}
	return buckets
}

func sameBucket(a, b Bucket) bool {
	for i := range a.RTT {
		if a.RTT[i] != b.RTT[i] && !(math.IsNaN(a.RTT[i]) && math.IsNaN(b.RTT[i])) {
			return false
		}
	}
	return a.Begin == b.Begin && a.Sent == b.Sent && a.Lost == b.Lost
}

func compareBuckets(t interface {
	Helper()
	Errorf(string, ...any)
}, got, want []Bucket,
) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%d buckets instead of %d", len(got), len(want))
		return
	}
	for i := range want {
		if !sameBucket(got[i], want[i]) {
			t.Errorf("bucket %d\n got %+v\nwant %+v", i, got[i], want[i])
			return
		}
	}
}

// history is looks of a check every step, some lost, some our own faults, with
// holes.
func history(check int, from, to, step time.Duration, seed uint64) []sereno.Result {
	dice := rand.New(rand.NewPCG(seed, uint64(check)))
	var list []sereno.Result
	for after := from; after < to; after += step {
		switch n := dice.IntN(1000); {
		case n < 20:
			list = append(list, silent(check, after))
		case n < 25:
			list = append(list, ownFault(check, after))
		case n < 26:
			after += time.Duration(dice.IntN(300)) * time.Second
			after -= after % step
		default:
			list = append(list, answered(check, after, 20*time.Millisecond+time.Duration(dice.NormFloat64()*float64(2*time.Millisecond))))
		}
	}
	return list
}

// settle makes blocks of all that can become one, and minutes of them.
func settle(t testing.TB, db *DB) {
	t.Helper()
	for db.Usage().Waiting > 0 {
		time.Sleep(time.Millisecond)
	}
	open := db.opened.Load()
	if err := open.raw.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := db.rollUp(t.Context(), open, minutesUntil(open.minutes)); err != nil {
		t.Fatal(err)
	}
}

func TestSeriesIsWhatTheLooksSay(t *testing.T) {
	const hours = 9
	db := New(options(t, t.TempDir()))
	db.block = 20 * time.Minute
	db.Know(devices(3, time.Second))
	looks := map[int][]sereno.Result{}
	for check := 1; check <= 2; check++ {
		looks[check] = history(check, 0, hours*time.Hour, 2*time.Second, 7)
		db.Keep(looks[check])
	}
	start(t, db)
	settle(t, db)
	if n := len(db.opened.Load().raw.Blocks()); n == 0 {
		t.Fatal("there are no blocks: this test would see the head alone")
	}
	rapid.Check(t, func(t *rapid.T) {
		check := rapid.IntRange(1, 3).Draw(t, "check")
		from := day.Add(time.Duration(rapid.IntRange(-1000, hours*3600*1000).Draw(t, "from ms")) * time.Millisecond)
		to := from.Add(time.Duration(rapid.IntRange(1, hours*3600*1000).Draw(t, "length ms")) * time.Millisecond)
		step := max(time.Millisecond, (to.Sub(from) / time.Duration(rapid.IntRange(1, 300).Draw(t, "buckets"))).Truncate(time.Millisecond))
		s, err := db.Series(t.Context(), sereno.CheckID(check), from, to, step)
		if err != nil {
			t.Fatal(err)
		}
		compareBuckets(t, s.Buckets, plain(looks[check], from, to, step))
		if s.Sources[0].From != from || s.Sources[len(s.Sources)-1].To != to {
			t.Errorf("the sources %+v do not tile %v to %v", s.Sources, from, to)
		}
	})
}
