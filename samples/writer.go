package samples

import (
	"context"
	"errors"
	"iter"
	"math"
	"sync/atomic"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage"

	"sereno"
)

// A writer appends looks. Its goroutine owns the appender and the tracks.
type writer struct {
	db     *DB
	tracks tracks
	told   []sereno.Result // for taps
	newest int64           // Unix milliseconds of the newest look written

	kept    atomic.Uint64 // looks written
	refused atomic.Uint64 // looks that the database did not take, or that are nobody's
}

func newWriter(db *DB) *writer { return &writer{db: db} }

// A track is where the looks of a check from one vantage point go.
type track struct {
	rtt, up         storage.SeriesRef // 0: not known yet
	rttLive, upLive bool              // the newest sample is one that says something
	met             bool
}

// tracks finds the track of a check without a hash: ids are given one after
// the other.
type tracks struct {
	pages []*[1024]track
	far   map[trackKey]*track // other vantage points, and ids beyond all reason
}

type trackKey struct {
	check   sereno.CheckID
	vantage sereno.VantageID
}

const maxPages = 1 << 16

func (t *tracks) of(check sereno.CheckID, vantage sereno.VantageID) *track {
	page := uint64(check) / 1024
	if vantage != 0 || page >= maxPages {
		key := trackKey{check, vantage}
		if t.far == nil {
			t.far = map[trackKey]*track{}
		}
		if t.far[key] == nil {
			t.far[key] = new(track)
		}
		return t.far[key]
	}
	for uint64(len(t.pages)) <= page {
		t.pages = append(t.pages, nil)
	}
	if t.pages[page] == nil {
		t.pages[page] = new([1024]track)
	}
	return &t.pages[page][uint64(check)%1024]
}

// live yields the tracks whose newest sample says something.
func (t *tracks) live() iter.Seq2[sereno.CheckID, sereno.VantageID] {
	return func(yield func(sereno.CheckID, sereno.VantageID) bool) {
		for p, page := range t.pages {
			if page == nil {
				continue
			}
			for i := range page {
				if page[i].upLive && !yield(sereno.CheckID(p*len(page)+i), 0) {
					return
				}
			}
		}
		for key, track := range t.far {
			if track.upLive && !yield(key.check, key.vantage) {
				return
			}
		}
	}
}

// stale is the value that ends a series for the time being.
var stale = math.Float64frombits(value.StaleNaN)

// append writes packets in one transaction. On an error none of them is
// written; they are not tried again, for what waits behind them is newer.
func (w *writer) append(ctx context.Context, store storage.Appendable, packets [][]look, taps []func([]sereno.Result)) error {
	app := store.Appender(ctx)
	var taken, refused uint64
	w.told = w.told[:0]
	for _, p := range packets {
		for i := range p {
			switch w.one(app, &p[i]) {
			case nil:
				w.newest = max(w.newest, p[i].at)
				if p[i].rtt != fault {
					taken++
				}
				if len(taps) > 0 {
					w.told = append(w.told, p[i].result())
				}
			default:
				refused++
			}
		}
	}
	if err := app.Commit(); err != nil {
		w.refused.Add(taken + refused)
		return err
	}
	w.kept.Add(taken)
	w.refused.Add(refused)
	if len(w.told) > 0 {
		for _, tap := range taps {
			tap(w.told)
		}
	}
	return nil
}

// result is what a look is to those who read.
func (l *look) result() sereno.Result {
	r := sereno.Result{Check: l.check, Vantage: l.vantage, At: sereno.Instant(l.at * 1000)}
	switch l.rtt {
	case fault:
	case lost:
		r.Status = sereno.Down
	default:
		r.Status, r.RTT = sereno.Up, sereno.RTTOf(l.rtt)
	}
	return r
}

var errNobody = errors.New("a look at a check that nobody made known")

// one writes a look: a sample of each series, or the mark that ends one.
func (w *writer) one(app storage.Appender, l *look) error {
	t := w.tracks.of(l.check, l.vantage)
	if !t.met {
		if err := w.meet(app, t, l); err != nil {
			return err
		}
	}
	up := 1.0
	switch l.rtt {
	case fault:
		if t.upLive {
			if err := w.sample(app, Up, &t.up, l, stale); err != nil {
				return err
			}
			t.upLive = false
		}
		return w.end(app, t, l)
	case lost:
		up = 0
		if err := w.end(app, t, l); err != nil {
			return err
		}
	default:
		if err := w.sample(app, RTT, &t.rtt, l, l.rtt); err != nil {
			return err
		}
		t.rttLive = true
	}
	if err := w.sample(app, Up, &t.up, l, up); err != nil {
		return err
	}
	t.upLive = true
	return nil
}

// end marks the round-trip times as ended, so that an old one is not shown as
// if it were new.
func (w *writer) end(app storage.Appender, t *track, l *look) error {
	if !t.rttLive {
		return nil
	}
	t.rttLive = false
	return w.sample(app, RTT, &t.rtt, l, stale)
}

// meet looks up what an earlier run has left of a check's series.
func (w *writer) meet(app storage.Appender, t *track, l *look) error {
	finder, ok := app.(storage.GetRef)
	if !ok {
		return errors.New("the database does not know its series")
	}
	for _, s := range []struct {
		name string
		ref  *storage.SeriesRef
		live *bool
	}{{RTT, &t.rtt, &t.rttLive}, {Up, &t.up, &t.upLive}} {
		lset, ok := w.db.Labels(s.name, l.check, l.vantage)
		if !ok {
			return errNobody
		}
		*s.ref, _ = finder.GetRef(lset, lset.Hash())
		*s.live = *s.ref != 0
	}
	t.met = true
	return nil
}

// sample appends one value. A series that had nothing for long has left the
// head, and its reference with it: it is made anew then.
func (w *writer) sample(app storage.Appender, name string, ref *storage.SeriesRef, l *look, v float64) error {
	if *ref != 0 {
		_, err := app.Append(*ref, labels.EmptyLabels(), l.at, v)
		if err == nil || refuses(err) {
			return err
		}
	}
	lset, ok := w.db.Labels(name, l.check, l.vantage)
	if !ok {
		return errNobody
	}
	made, err := app.Append(0, lset, l.at, v)
	if err == nil {
		*ref = made
	}
	return err
}

// refuses reports whether an error is about the sample, not the reference.
func refuses(err error) bool {
	return errors.Is(err, storage.ErrOutOfBounds) || errors.Is(err, storage.ErrOutOfOrderSample) ||
		errors.Is(err, storage.ErrTooOldSample) || errors.Is(err, storage.ErrDuplicateSampleForTimestamp)
}
