package samples

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"

	"sereno"
)

// Looks yields the looks of a check from this process's vantage point that
// were due in [from, to), in order: Status Up or Down, round-trip times as
// they were stored. Looks that failed by our own fault are not kept.
func (db *DB) Looks(ctx context.Context, check sereno.CheckID, from, to sereno.Instant) iter.Seq2[sereno.Result, error] {
	return func(yield func(sereno.Result, error) bool) {
		open, err := db.open()
		if err != nil {
			yield(sereno.Result{}, err)
			return
		}
		err = db.looks(ctx, open, check, from, to, func(r sereno.Result) bool { return yield(r, nil) })
		if err != nil {
			yield(sereno.Result{}, fmt.Errorf("read the samples of check %d: %w", check, err))
		}
	}
}

// piece is how much is read before it is told: where a block is broken, a
// database tells the rest first and the error last.
const piece = 2 * time.Hour

// looks tells the looks of [from, to) to yield until it returns false. When a
// block turns out to be broken it is set aside, and that piece is read again.
func (db *DB) looks(ctx context.Context, open *opened, check sereno.CheckID, from, to sereno.Instant, yield func(sereno.Result) bool) error {
	first, last := span(from, to)
	since, ok := oldest(open.raw)
	until, _ := newest(open.raw)
	if !ok {
		return nil // piece by piece of nothing would take long
	}
	first, last = max(first, since), min(last, until)
	var found []sereno.Result
	for first <= last {
		end := min(last, first+piece.Milliseconds()-1)
		var err error
		if found, err = looksOnce(ctx, open.raw, check, first, end, found[:0]); err != nil {
			if ctx.Err() != nil || !db.weedOut(ctx, open.raw, first, end) {
				return err
			}
			continue
		}
		for i := range found {
			if !yield(found[i]) {
				return nil
			}
		}
		first = end + 1
	}
	return nil
}

func looksOnce(ctx context.Context, raw *tsdb.DB, check sereno.CheckID, first, last int64, found []sereno.Result) ([]sereno.Result, error) {
	q, err := raw.ChunkQuerier(first, last)
	if err != nil {
		return found, err
	}
	defer q.Close()
	up, rtt := read(ctx, q, first, last, Up, check), read(ctx, q, first, last, RTT, check)
	hasRTT := rtt.next()
	for up.next() {
		for hasRTT && rtt.t < up.t {
			hasRTT = rtt.next()
		}
		r := sereno.Result{Check: check, At: sereno.Instant(up.t * 1000), Status: sereno.Down}
		if up.v != 0 {
			r.Status = sereno.Up
			if hasRTT && rtt.t == up.t {
				r.RTT = sereno.RTTOf(rtt.v)
			}
		}
		found = append(found, r)
	}
	return found, cmp.Or(up.err, rtt.drain())
}

// span returns the first and the last millisecond of [from, to).
func span(from, to sereno.Instant) (first, last int64) {
	first, last = int64(from)/1000, int64(to)/1000
	if from > 0 && int64(from)%1000 != 0 {
		first++
	}
	if int64(to)%1000 == 0 {
		last--
	}
	return first, last
}

// A reader goes through the samples of one series, or of those that differ in
// what was not asked for one after the other. Marks that end a series are left
// out.
type reader struct {
	t   int64
	v   float64
	err error

	ctx         context.Context
	first, last int64
	set         storage.ChunkSeriesSet
	chunks      chunks.Iterator
	samples     chunkenc.Iterator // nil between chunks
	spare       chunkenc.Iterator // used again, so that a chunk costs no memory
}

// read returns a reader of a check's series called name within [first, last],
// seen from this process's vantage point.
func read(ctx context.Context, q storage.ChunkQuerier, first, last int64, name string, check sereno.CheckID, more ...*labels.Matcher) *reader {
	matchers := []*labels.Matcher{
		labels.MustNewMatcher(labels.MatchEqual, "check", strconv.FormatInt(int64(check), 10)),
		labels.MustNewMatcher(labels.MatchEqual, model.MetricNameLabel, name),
		labels.MustNewMatcher(labels.MatchEqual, "vantage", local),
	}
	set := q.Select(ctx, true, untrimmed(first, last), append(matchers, more...)...)
	return &reader{ctx: ctx, first: first, last: last, set: set}
}

// untrimmed asks for whole chunks: to cut them would be to write them anew.
func untrimmed(first, last int64) *storage.SelectHints {
	return &storage.SelectHints{Start: first, End: last, DisableTrimming: true, Step: 1}
}

// within makes r a reader of one series.
func (r *reader) within(ctx context.Context, first, last int64, series storage.ChunkSeries) {
	*r = reader{
		ctx: ctx, first: first, last: last, spare: r.spare,
		set: storage.EmptyChunkSeriesSet(), chunks: series.Iterator(r.chunks),
	}
}

// next goes to the next sample.
func (r *reader) next() bool {
	for {
		for r.samples != nil {
			if r.samples.Next() != chunkenc.ValFloat {
				if r.err = r.samples.Err(); r.err != nil {
					return false
				}
				break
			}
			r.t, r.v = r.samples.At()
			if r.t > r.last {
				break
			}
			if r.t >= r.first && !value.IsStaleNaN(r.v) {
				return true
			}
		}
		if !r.nextChunk() {
			return false
		}
	}
}

// drain goes to the end, where errors are told.
func (r *reader) drain() error {
	for r.err == nil && r.next() {
	}
	return r.err
}

func (r *reader) nextChunk() bool {
	for {
		if r.err = r.ctx.Err(); r.err != nil {
			r.samples = nil
			return false
		}
		for r.chunks != nil && r.chunks.Next() {
			meta := r.chunks.At()
			if meta.MaxTime < r.first || meta.MinTime > r.last {
				continue
			}
			if meta.Chunk == nil {
				r.samples, r.err = nil, errors.New("a chunk is not there")
				return false
			}
			r.spare = meta.Chunk.Iterator(r.spare)
			r.samples = r.spare
			return true
		}
		r.samples = nil
		if r.chunks != nil {
			if r.err = r.chunks.Err(); r.err != nil {
				return false
			}
		}
		if !r.set.Next() {
			r.err = r.set.Err()
			r.chunks = nil
			return false
		}
		r.chunks = r.set.At().Iterator(nil)
	}
}

// Checks returns the checks that have looks in [from, to), sorted, also those
// that are no longer watched.
func (db *DB) Checks(ctx context.Context, from, to sereno.Instant) ([]sereno.CheckID, error) {
	open, err := db.open()
	if err != nil {
		return nil, err
	}
	first, last := span(from, to)
	q, err := open.raw.Querier(first, last)
	if err != nil {
		return nil, fmt.Errorf("list the checks that have samples: %w", err)
	}
	defer q.Close()
	values, _, err := q.LabelValues(ctx, "check", nil, labels.MustNewMatcher(labels.MatchEqual, model.MetricNameLabel, Up))
	if err != nil {
		return nil, fmt.Errorf("list the checks that have samples: %w", err)
	}
	list := make([]sereno.CheckID, 0, len(values))
	for _, v := range values {
		if id, err := strconv.ParseInt(v, 10, 64); err == nil {
			list = append(list, sereno.CheckID(id))
		}
	}
	slices.Sort(list)
	return list, nil
}

// Queryable gives the raw series, and those of minutes, to PromQL. What is not
// open yet is an error of the kind sereno.Unavailable.
func (db *DB) Queryable() storage.Queryable {
	return storage.QueryableFunc(func(from, to int64) (storage.Querier, error) {
		open, err := db.open()
		if err != nil {
			return nil, err
		}
		raw, err := open.raw.Querier(from, to)
		if err != nil {
			return nil, err
		}
		minutes, err := open.minutes.Querier(from, to)
		if err != nil {
			return nil, errors.Join(err, raw.Close())
		}
		return storage.NewMergeQuerier([]storage.Querier{raw, minutes}, nil, storage.ChainedSeriesMerge), nil
	})
}
