package prometheus

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/util/annotations"

	"sereno"
)

// joined is the samples and the series of the catalog as one. Each of its
// queriers belongs to one question, and ends it when the series that it asks
// for would have more samples than a question may read. That is known from the
// pace of the checks before a single sample is read.
type joined struct {
	samples storage.Queryable
	catalog *Catalog
	now     func() sereno.Instant
	raw     func() sereno.Instant
	most    int // samples
}

func (j *joined) Querier(mint, maxt int64) (storage.Querier, error) {
	q, err := j.samples.Querier(mint, maxt)
	if err != nil {
		return nil, err
	}
	return &querier{
		Querier: q, catalog: j.catalog, from: mint, to: maxt, now: milliseconds(j.now()), raw: milliseconds(j.raw()),
		budget: &budget{most: j.most},
	}, nil
}

func milliseconds(i sereno.Instant) int64 { return int64(i) / int64(time.Millisecond/time.Microsecond) }

type querier struct {
	storage.Querier
	catalog       *Catalog
	from, to, now int64 // Unix milliseconds
	raw           int64 // since when there are looks
	budget        *budget
}

// Select returns the series of the samples and of the catalog.
func (q *querier) Select(ctx context.Context, sorted bool, hints *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
	infos := q.infos(matchers)
	read := q.Querier.Select(ctx, sorted || len(infos) > 0, hints, matchers...)
	if hints == nil || hints.Func != "series" {
		from, to := q.from, q.to
		if hints != nil {
			from, to = hints.Start, hints.End
		}
		read = q.pay(ctx, read, hintsOf(hints), from, min(to, q.now))
	}
	if len(infos) == 0 {
		return read
	}
	names := &infoSet{infos: infos, from: q.from, to: min(q.to, q.now)}
	return storage.NewMergeSeriesSet([]storage.SeriesSet{read, names}, hintsOf(hints).Limit, storage.ChainedSeriesMerge)
}

func hintsOf(hints *storage.SelectHints) storage.SelectHints {
	if hints == nil {
		return storage.SelectHints{}
	}
	return *hints
}

// infos returns the catalog's series that are there at some time of q.
func (q *querier) infos(matchers []*labels.Matcher) []info {
	return slices.DeleteFunc(q.catalog.find(matchers), func(i info) bool {
		return max(milliseconds(i.since), q.from) > min(q.to, q.now)
	})
}

func (q *querier) LabelValues(ctx context.Context, name string, hints *storage.LabelHints, matchers ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	values, warnings, err := q.Querier.LabelValues(ctx, name, hints, matchers...)
	if err != nil {
		return nil, warnings, err
	}
	more := map[string]struct{}{}
	for _, i := range q.infos(matchers) {
		if v := i.labels.Get(name); v != "" {
			more[v] = struct{}{}
		}
	}
	return with(values, more), warnings, nil
}

func (q *querier) LabelNames(ctx context.Context, hints *storage.LabelHints, matchers ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	names, warnings, err := q.Querier.LabelNames(ctx, hints, matchers...)
	if err != nil {
		return nil, warnings, err
	}
	more := map[string]struct{}{}
	for _, i := range q.infos(matchers) {
		i.labels.Range(func(l labels.Label) { more[l.Name] = struct{}{} })
	}
	return with(names, more), warnings, nil
}

// with returns a sorted list and a set as one sorted list, each word once.
func with(list []string, more map[string]struct{}) []string {
	if len(more) == 0 {
		return list
	}
	all := slices.Clone(list) // it may be the storage's own
	for word := range more {
		all = append(all, word)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// A budget is what is left of what one question may cost.
type budget struct {
	mu    sync.Mutex
	most  int     // samples to read
	read  float64 // so far
	looks float64 // at samples, so far: a range is looked at anew at each step
	err   error   // it is used up
}

// looksPerRead is how many times as many looks at samples there may be as
// reads: a look is a few nanoseconds, but for quantiles, and the engine does
// not hear of a time limit while it works on one series.
const looksPerRead = 4

// spend takes samples and looks at them, or says why not.
func (b *budget) spend(samples, looks float64) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.read += samples
	b.looks += looks
	switch most := float64(b.most); {
	case b.err != nil:
	case b.read > most:
		b.err = sereno.Errorf(sereno.Invalid, "this question would read more than %d million samples, which is the most for one: ask for a shorter time or for fewer series", b.most/1_000_000)
	case b.looks > most*looksPerRead:
		b.err = tooOften(b.most)
	}
	return b.err
}

func tooOften(read int) error {
	return sereno.Errorf(sereno.Invalid, "this question would look at samples more than %d million times, which is the most for one: ask for a shorter range in brackets, a longer step or fewer series", read/1_000_000*looksPerRead)
}

// pay collects a set and takes its samples from the budget. The engine selects
// all that a question is about before it reads any of it, so a question that is
// too large has read nothing when it is refused.
func (q *querier) pay(ctx context.Context, set storage.SeriesSet, hints storage.SelectHints, from, to int64) storage.SeriesSet {
	again := 0.0 // how often the samples of a range are looked at
	if hints.Range > 0 && hints.Step > 0 {
		again = float64(hints.Range) / float64(hints.Step)
	}
	var list []storage.Series
	for set.Next() {
		s := set.At()
		n := q.samples(s.Labels(), from, to)
		if err := q.budget.spend(n, n*again); err != nil {
			return storage.ErrSeriesSet(err)
		}
		if list = append(list, s); len(list)%1024 == 0 && ctx.Err() != nil {
			return storage.ErrSeriesSet(ctx.Err())
		}
	}
	return &collected{SeriesSet: set, list: list, budget: q.budget}
}

// A collected set has its series in memory, and none of them once the budget
// is used up by another. What else there is to say of them is the set's that
// they come from.
type collected struct {
	storage.SeriesSet
	list   []storage.Series
	next   int
	budget *budget
}

func (c *collected) Next() bool {
	c.next++
	return c.next <= len(c.list) && c.budget.spend(0, 0) == nil
}

func (c *collected) Err() error {
	if err := c.budget.spend(0, 0); err != nil {
		return err
	}
	return c.SeriesSet.Err()
}

func (c *collected) At() storage.Series { return c.list[c.next-1] }

// samples estimates how many samples of a series there are in a stretch. That
// of a check that nobody knows (any more) is taken for small.
func (q *querier) samples(of labels.Labels, from, to int64) float64 {
	p, ok := q.catalog.pace(of)
	if !ok || p.interval <= 0 {
		return 0
	}
	from = max(from, milliseconds(p.since))
	if strings.HasPrefix(of.Get(model.MetricNameLabel), minutes) {
		p.interval = max(p.interval, time.Minute)
	} else {
		from = max(from, q.raw)
	}
	return float64(max(0, to-from)) / float64(p.interval.Milliseconds())
}

// minutes begins the names of the series that have one sample a minute.
const minutes = "sereno_minute_"

// An infoSet iterates over series of the catalog.
type infoSet struct {
	infos    []info
	next     int
	from, to int64
}

func (s *infoSet) Next() bool {
	s.next++
	return s.next <= len(s.infos)
}

func (s *infoSet) At() storage.Series {
	i := s.infos[s.next-1]
	return &storage.SeriesEntry{Lset: i.labels, SampleIteratorFn: func(chunkenc.Iterator) chunkenc.Iterator {
		first := milliseconds(i.since)
		if first < s.from {
			first = s.from + (grid-s.from%grid)%grid
		}
		return storage.NewListSeriesIterator(ones{first, s.to})
	}}
}

func (*infoSet) Err() error                        { return nil }
func (*infoSet) Warnings() annotations.Annotations { return nil }

// ones is the value 1 at first and then on a grid until last, so that whoever
// looks back a little finds it at any time.
type ones struct{ first, last int64 } // Unix milliseconds

// grid is how far apart ones are, in milliseconds.
const grid = 15_000

func (o ones) Len() int {
	if o.last < o.first {
		return 0
	}
	return 1 + int(o.last/grid-o.first/grid)
}

func (o ones) Get(i int) chunks.Sample {
	if i == 0 {
		return one(o.first)
	}
	return one((o.first/grid + int64(i)) * grid)
}

// A one is the value 1 at a time, in Unix milliseconds.
type one int64

func (o one) T() int64                    { return int64(o) }
func (one) ST() int64                     { return 0 }
func (one) F() float64                    { return 1 }
func (one) H() *histogram.Histogram       { return nil }
func (one) FH() *histogram.FloatHistogram { return nil }
func (one) Type() chunkenc.ValueType      { return chunkenc.ValFloat }
func (o one) Copy() chunks.Sample         { return o }
