package samples

import (
	"cmp"
	"context"
	"errors"
	"math"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"sereno"
)

// Minutes outlive looks. A minute of a check is a sample, with its begin as the
// time stamp, of each of
//
//	sereno_minute_sent{check,device,kind,vantage}  looks that were due in it
//	sereno_minute_lost{…}                          those without an answer
//	sereno_minute_rtt_seconds{…,quantile}          least (0), 0.25, 0.5, 0.75, 0.95 and greatest (1)
//
// and there is none for a minute without looks. They are not counted while the
// looks come in, but read from the raw database, once its blocks have reached
// two hours further: exact whatever came late, restarted or was repaired in
// between, at no cost for a look, and without eight more series for each check
// in memory. Until then the looks themselves are there. A look that comes later
// still, as after a clock was put back by hours, is not in its minute.
const (
	MinuteSent = "sereno_minute_sent"
	MinuteLost = "sereno_minute_lost"
	MinuteRTT  = "sereno_minute_rtt_seconds"
)

// stride is how much time goes into a new block of minutes.
const stride = 2 * time.Hour

// quantileLabels are the values of the label "quantile".
var quantileLabels = [len(Quantiles)]string{"0", "0.25", "0.5", "0.75", "0.95", "1"}

const minuteMS = int64(time.Minute / time.Millisecond)

// minuteOptions are for a database that nobody appends to: its blocks are
// written beside it, and it finds, serves, merges and deletes them.
func (db *DB) minuteOptions() *tsdb.Options {
	o := tsdb.DefaultOptions()
	o.FloatChunkEncoding = chunkenc.EncXOR2
	o.WALSegmentSize = -1
	o.StripeSize = 16
	o.RetentionDuration = db.o.RollupRetention.Milliseconds()
	o.MinBlockDuration = stride.Milliseconds()
	o.MaxBlockDuration = max(stride, min(31*24*time.Hour, db.o.RollupRetention/10)).Milliseconds()
	return o
}

// A minute is what the looks of one check in one minute were.
type minute struct {
	at         int64 // Unix milliseconds of its begin
	sent, lost int64
	rtt        [len(Quantiles)]float64 // seconds; NaN when none was answered
}

// A minuteReader goes through the minutes of one check.
type minuteReader struct {
	row        minute
	sent, lost *reader
	rtt        [len(Quantiles)]*reader
	ahead      [len(Quantiles)]bool // its reader stands on a sample
}

func readMinutes(ctx context.Context, q storage.ChunkQuerier, first, last int64, check sereno.CheckID) *minuteReader {
	r := &minuteReader{
		sent: read(ctx, q, first, last, MinuteSent, check),
		lost: read(ctx, q, first, last, MinuteLost, check),
	}
	for i, label := range quantileLabels {
		r.rtt[i] = read(ctx, q, first, last, MinuteRTT, check, labels.MustNewMatcher(labels.MatchEqual, "quantile", label))
		r.ahead[i] = r.rtt[i].next()
	}
	return r
}

func (r *minuteReader) next() bool {
	if !r.sent.next() {
		return false
	}
	r.row = minute{at: r.sent.t, sent: int64(r.sent.v)}
	if r.lost.next() && r.lost.t == r.row.at {
		r.row.lost = int64(r.lost.v)
	}
	for i, rtt := range r.rtt {
		for r.ahead[i] && rtt.t < r.row.at {
			r.ahead[i] = rtt.next()
		}
		if r.row.rtt[i] = math.NaN(); r.ahead[i] && rtt.t == r.row.at {
			r.row.rtt[i] = rtt.v
		}
	}
	return true
}

func (r *minuteReader) err() error {
	err := cmp.Or(r.sent.err, r.lost.drain())
	for _, rtt := range r.rtt {
		err = cmp.Or(err, rtt.drain())
	}
	return err
}

// rollUp makes minutes of the looks that have become blocks of the raw
// database since the last time. until is how far there are minutes already; it
// returns how far there are now.
func (db *DB) rollUp(ctx context.Context, open *opened, until int64) (int64, error) {
	for {
		begin, ok := nextStride(open.raw, until)
		if !ok {
			return until, nil
		}
		end := begin + stride.Milliseconds()
		err := db.rollUpRange(ctx, open, begin, end)
		if err != nil && ctx.Err() == nil && db.weedOut(ctx, open.raw, begin, end-1) {
			continue // without the broken block
		}
		if err != nil {
			return until, err
		}
		until = end
	}
}

// nextStride returns the begin of the first stretch from until on that has
// looks, all of them in blocks.
func nextStride(raw *tsdb.DB, until int64) (begin int64, ok bool) {
	step := stride.Milliseconds()
	begin, reached := int64(math.MaxInt64), int64(math.MinInt64)
	for _, b := range metas(raw) {
		reached = max(reached, b.MaxTime)
		if b.MaxTime > until {
			begin = min(begin, max(until, b.MinTime-floorMod(b.MinTime, step)))
		}
	}
	return begin, begin != math.MaxInt64 && begin+step <= reached
}

func floorMod(a, b int64) int64 { return (a%b + b) % b }

// minutesUntil returns how far there are minutes.
func minutesUntil(minutes *tsdb.DB) int64 {
	until := int64(math.MinInt64)
	for _, b := range minutes.Blocks() {
		until = max(until, b.MaxTime())
	}
	return until
}

// rollUpRange writes a block of the minutes of [begin, end), if there were any
// looks.
func (db *DB) rollUpRange(ctx context.Context, open *opened, begin, end int64) (err error) {
	q, err := open.raw.ChunkQuerier(begin, end-1)
	if err != nil {
		return err
	}
	defer q.Close()
	w, err := newMinuteWriter(open.minutes.Dir(), begin, end)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	each := func(name string) storage.ChunkSeriesSet {
		return q.Select(ctx, true, untrimmed(begin, end-1), labels.MustNewMatcher(labels.MatchEqual, model.MetricNameLabel, name))
	}
	ups, rtts := each(Up), each(RTT)
	pace := pace{share: 3}
	var rows []minute
	var values []float64
	var up, rtt reader
	hasRTT := rtts.Next()
	for ups.Next() {
		lset := ups.At().Labels()
		for hasRTT && compareOwners(rtts.At().Labels(), lset) < 0 {
			hasRTT = rtts.Next()
		}
		up.within(ctx, begin, end-1, ups.At())
		if rows, err = countMinutes(rows[:0], &up); err != nil {
			return err
		}
		if hasRTT && compareOwners(rtts.At().Labels(), lset) == 0 {
			rtt.within(ctx, begin, end-1, rtts.At())
			if values, err = timeMinutes(rows, values, &rtt); err != nil {
				return err
			}
		}
		if err := w.add(lset, rows); err != nil {
			return err
		}
		if err := pace.rest(ctx); err != nil {
			return err
		}
	}
	if err := cmp.Or(ups.Err(), rtts.Err()); err != nil {
		return err
	}
	return w.finish(ctx)
}

// countMinutes appends the minutes in which there were looks.
func countMinutes(rows []minute, up *reader) ([]minute, error) {
	for up.next() {
		at := up.t - floorMod(up.t, minuteMS)
		if len(rows) == 0 || rows[len(rows)-1].at != at {
			row := minute{at: at}
			for i := range row.rtt {
				row.rtt[i] = math.NaN()
			}
			rows = append(rows, row)
		}
		row := &rows[len(rows)-1]
		row.sent++
		if up.v == 0 {
			row.lost++
		}
	}
	return rows, up.err
}

// timeMinutes fills in the round-trip times. values is room to work in.
func timeMinutes(rows []minute, values []float64, rtt *reader) ([]float64, error) {
	more := rtt.next()
	for i := range rows {
		row := &rows[i]
		for more && rtt.t < row.at {
			more = rtt.next()
		}
		values = values[:0]
		for more && rtt.t < row.at+minuteMS {
			values = append(values, rtt.v)
			more = rtt.next()
		}
		if len(values) > 0 {
			sereno.Percentiles(values, Quantiles[:], row.rtt[:])
		}
	}
	return values, rtt.drain()
}

// ownerLabels are those that say whose a series is, in the order in which the
// series of one name are sorted.
var ownerLabels = [...]string{"check", "device", "kind", "vantage"}

func compareOwners(a, b labels.Labels) int {
	for _, name := range ownerLabels {
		if c := cmp.Compare(a.Get(name), b.Get(name)); c != 0 {
			return c
		}
	}
	return 0
}

// pace keeps work in the background to a share of a processor: 1 in share.
type pace struct {
	share int
	since time.Time
}

// slice is how long it works before it rests.
const slice = 5 * time.Millisecond

func (p *pace) rest(ctx context.Context) error {
	now := time.Now()
	if p.since.IsZero() {
		p.since = now
	}
	worked := now.Sub(p.since)
	if worked < slice {
		return nil
	}
	select {
	case <-time.After(worked * time.Duration(p.share-1)):
		p.since = time.Now()
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
