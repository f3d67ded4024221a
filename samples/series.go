package samples

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"runtime"
	"slices"
	"time"

	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"

	"sereno"
)

// A Series is what the looks of a check were over a window, in buckets of the
// same length. The last one ends with the window, and may be shorter.
type Series struct {
	Check    sereno.CheckID
	From, To sereno.Instant
	Step     time.Duration
	Buckets  []Bucket
	Sources  []Source // which part of the window is known from where; they tile it
}

// A Bucket is what the looks that were due in [Begin, Begin + Step) were.
// Looks that failed by our own fault are not among them, so a stretch in which
// nobody looked has Sent 0. Round-trip times are seconds, and NaN when none
// was answered.
type Bucket struct {
	Begin      sereno.Instant
	Sent, Lost int64
	RTT        [len(Quantiles)]float64
}

// Quantiles are the percentiles of a Bucket and of a minute, by nearest rank:
// least, p25, p50, p75, p95, greatest.
var Quantiles = [...]float64{0, 0.25, 0.5, 0.75, 0.95, 1}

// A Source is where a part of a Series comes from.
type Source struct {
	From, To sereno.Instant
	Minutes  bool // from minutes: the looks themselves are gone
	// Estimated: percentiles of several minutes were put together from theirs.
	// Sent, Lost, the least and the greatest are exact all the same.
	Estimated bool
}

// Series returns the series of a check from this process's vantage point over
// [from, to). step is a whole number of milliseconds above 0. A check without
// any looks there has empty buckets.
func (db *DB) Series(ctx context.Context, check sereno.CheckID, from, to sereno.Instant, step time.Duration) (*Series, error) {
	open, err := db.open()
	if err != nil {
		return nil, err
	}
	from = from.Grid()
	s := &Series{Check: check, From: from, To: to, Step: step}
	n := int((to.Sub(from) + step - 1) / step)
	s.Buckets = make([]Bucket, n)
	for i := range s.Buckets {
		s.Buckets[i] = Bucket{Begin: from.Add(time.Duration(i) * step)}
		s.Buckets[i].silence()
	}
	fill := filling{series: s, check: check}
	fill.first, fill.last = span(from, to)
	for {
		err := fill.raw(ctx, open)
		if err == nil {
			break
		}
		if ctx.Err() != nil || !db.weedOut(ctx, open.raw, fill.first, fill.last) {
			return nil, fmt.Errorf("read the samples of check %d: %w", check, err)
		}
	}
	since, has := oldest(open.raw)
	fromMinutes := make([]bool, n)
	if !has || since > fill.first || db.asides() > 0 {
		for {
			err := fill.minutes(ctx, open, since, has, fromMinutes)
			if err == nil {
				break
			}
			if ctx.Err() != nil || !db.weedOut(ctx, open.minutes, fill.first, fill.last) {
				return nil, fmt.Errorf("read the minutes of check %d: %w", check, err)
			}
		}
	}
	s.tell(fromMinutes)
	return s, nil
}

// Empty reports whether there are no looks in it.
func (s *Series) Empty() bool {
	return !slices.ContainsFunc(s.Buckets, func(b Bucket) bool { return b.Sent > 0 })
}

func (b *Bucket) silence() {
	b.Sent, b.Lost = 0, 0
	for i := range b.RTT {
		b.RTT[i] = math.NaN()
	}
}

// end returns where a bucket ends.
func (s *Series) end(i int) sereno.Instant { return min(s.To, s.From.Add(time.Duration(i+1)*s.Step)) }

// tell writes down the sources of the buckets.
func (s *Series) tell(fromMinutes []bool) {
	exact := s.Step == time.Minute && s.From%sereno.Instant(time.Minute/time.Microsecond) == 0
	for i, minutes := range fromMinutes {
		if i == 0 || minutes != fromMinutes[i-1] {
			s.Sources = append(s.Sources, Source{From: s.Buckets[i].Begin, Minutes: minutes, Estimated: minutes && !exact})
		}
		s.Sources[len(s.Sources)-1].To = s.end(i)
	}
}

// A filling fills the buckets of a series.
type filling struct {
	series      *Series
	check       sereno.CheckID
	first, last int64 // milliseconds
}

// bucket returns the number of the bucket that a time lies in, and when that
// one ends.
func (f *filling) bucket(t int64) (i int, end int64) {
	from, step := int64(f.series.From)/1000, f.series.Step.Milliseconds()
	n := (t - from) / step
	return int(n), from + (n+1)*step
}

// raw fills the buckets from looks. The window is divided among the processors.
func (f *filling) raw(ctx context.Context, open *opened) error {
	n := len(f.series.Buckets)
	parts := min(n, runtime.GOMAXPROCS(0), maxParts)
	errs := make(chan error, parts)
	for p := range parts {
		go func() { errs <- f.part(ctx, open, n*p/parts, n*(p+1)/parts) }()
	}
	var err error
	for range parts {
		if e := <-errs; err == nil {
			err = e
		}
	}
	return err
}

// maxParts is how many processors one request may take.
const maxParts = 4

// part fills the buckets from begin to before end.
func (f *filling) part(ctx context.Context, open *opened, begin, end int) error {
	s := f.series
	for i := begin; i < end; i++ {
		s.Buckets[i].silence()
	}
	part := filling{series: s, check: f.check}
	part.first, part.last = span(s.Buckets[begin].Begin, s.end(end-1))
	return part.withQuerier(open.raw.ChunkQuerier, func(q storage.ChunkQuerier) error {
		return cmp.Or(part.counts(ctx, q), part.times(ctx, q))
	})
}

func (f *filling) withQuerier(open func(from, to int64) (storage.ChunkQuerier, error), do func(storage.ChunkQuerier) error) error {
	q, err := open(f.first, f.last)
	if err != nil {
		return err
	}
	defer q.Close()
	return do(q)
}

// counts fills in Sent and Lost, and nothing else.
func (f *filling) counts(ctx context.Context, q storage.ChunkQuerier) error {
	up := read(ctx, q, f.first, f.last, Up, f.check)
	var b *Bucket
	end := int64(math.MinInt64)
	for up.next() {
		if up.t >= end {
			var i int
			i, end = f.bucket(up.t)
			b = &f.series.Buckets[i]
		}
		b.Sent++
		if up.v == 0 {
			b.Lost++
		}
	}
	return up.err
}

// times fills in RTT, and nothing else.
func (f *filling) times(ctx context.Context, q storage.ChunkQuerier) error {
	rtt := read(ctx, q, f.first, f.last, RTT, f.check)
	var values []float64
	at, end := -1, int64(math.MinInt64) // the bucket of values
	for rtt.next() {
		if rtt.t >= end {
			if at >= 0 {
				sereno.Percentiles(values, Quantiles[:], f.series.Buckets[at].RTT[:])
			}
			values = values[:0]
			at, end = f.bucket(rtt.t)
		}
		values = append(values, rtt.v)
	}
	if at >= 0 {
		sereno.Percentiles(values, Quantiles[:], f.series.Buckets[at].RTT[:])
	}
	return rtt.err
}

// minutes fills the buckets that begin before the first raw look, and those
// that a block that was set aside has left empty, from minutes, and tells
// which. Where minutes end within a bucket, those of the looks after them are
// made for it.
func (f *filling) minutes(ctx context.Context, open *opened, since int64, hasRaw bool, which []bool) error {
	clear(which)
	until := minutesUntil(open.minutes)
	return f.withQuerier(open.minutes.ChunkQuerier, func(q storage.ChunkQuerier) error {
		rows := readMinutes(ctx, q, f.first, f.last, f.check)
		var found []minute
		at := -1
		flush := func() error {
			if at < 0 || len(found) == 0 {
				return nil
			}
			b := &f.series.Buckets[at]
			// Minutes may go back no further than the looks themselves.
			known := max(int64(b.Begin)/1000, found[0].at+minuteMS-1)
			if hasRaw && known >= since && b.Sent > 0 {
				return nil
			}
			if last := int64(f.series.end(at)-1) / 1000; last >= until && hasRaw {
				var err error
				if found, err = f.latest(ctx, open.raw, until, last, found); err != nil {
					return err
				}
			}
			which[at] = true
			b.merge(found)
			return nil
		}
		for rows.next() {
			if i, _ := f.bucket(rows.row.at); i != at {
				if err := flush(); err != nil {
					return err
				}
				at, found = i, found[:0]
			}
			found = append(found, rows.row)
		}
		if err := flush(); err != nil {
			return err
		}
		// Where nobody looked, minutes say so as long as there are any.
		if first, ok := oldest(open.minutes); ok {
			for i := range f.series.Buckets {
				b := &f.series.Buckets[i]
				begin := int64(b.Begin) / 1000
				which[i] = which[i] || b.Sent == 0 && begin >= first && (!hasRaw || begin < since)
			}
		}
		return rows.err()
	})
}

// latest appends the minutes of [first, last], which are not kept yet, from
// looks.
func (f *filling) latest(ctx context.Context, raw *tsdb.DB, first, last int64, rows []minute) ([]minute, error) {
	part := filling{first: first, last: last}
	err := part.withQuerier(raw.ChunkQuerier, func(q storage.ChunkQuerier) error {
		fresh, err := countMinutes(nil, read(ctx, q, first, last, Up, f.check))
		if err != nil {
			return err
		}
		rows = append(rows, fresh...)
		_, err = timeMinutes(rows[len(rows)-len(fresh):], nil, read(ctx, q, first, last, RTT, f.check))
		return err
	})
	return rows, err
}

// merge makes a bucket of minutes. Its percentiles are those of values that
// have the weights with which the minutes' own stand for their looks; of one
// minute they are exact.
func (b *Bucket) merge(rows []minute) {
	b.silence()
	if len(rows) == 1 {
		b.Sent, b.Lost, b.RTT = rows[0].sent, rows[0].lost, rows[0].rtt
		return
	}
	var knots []knot
	var all float64
	for _, m := range rows {
		b.Sent, b.Lost = b.Sent+m.sent, b.Lost+m.lost
		n := float64(m.sent - m.lost)
		if n <= 0 {
			continue
		}
		all += n
		for i, v := range m.rtt {
			knots = append(knots, knot{v, n * knotWeights[i]})
		}
	}
	if len(knots) == 0 {
		return
	}
	slices.SortFunc(knots, func(a, b knot) int {
		switch {
		case a.value < b.value:
			return -1
		case a.value > b.value:
			return 1
		}
		return 0
	})
	sum, at := 0.0, 0
	for i, p := range Quantiles {
		for at < len(knots)-1 && sum+knots[at].weight < p*all*(1-1e-12) {
			sum += knots[at].weight
			at++
		}
		b.RTT[i] = knots[at].value
	}
	b.RTT[0], b.RTT[len(b.RTT)-1] = knots[0].value, knots[len(knots)-1].value
}

// A knot is a percentile of a minute with the looks that it stands for.
type knot struct{ value, weight float64 }

// knotWeights are the shares of a minute's looks that its percentiles stand
// for: half of what lies between each and its neighbours.
var knotWeights = func() (w [len(Quantiles)]float64) {
	for i := 1; i < len(w); i++ {
		half := (Quantiles[i] - Quantiles[i-1]) / 2
		w[i-1] += half
		w[i] += half
	}
	return w
}()
