package app

import (
	"context"
	"log/slog"
	"time"

	"sereno"
	"sereno/samples"
)

// days writes down what the looks of every check were on each day, once it has
// ended. It reads every look of the day again, slowly, and after an absence
// goes on where it was.
type days struct {
	samples *samples.DB
	store   dayBook
	now     func() sereno.Instant
	log     *slog.Logger
}

// dayBook is where days are kept.
type dayBook interface {
	PutDays(ctx context.Context, days []sereno.DayOfLooks) error
	LatestDay(ctx context.Context, check sereno.CheckID) (day int64, ok bool, err error)
}

const (
	// lateDay is how long after its end a day is taken to be whole: a timeout
	// and the queue, with much to spare.
	lateDay = 15 * time.Minute
	// dayShare is the share of a processor that it takes: one in so many.
	dayShare = 10
	// dayBatch is how many days are written together.
	dayBatch = 500
	// dayPatience is how long it waits after an error.
	dayPatience = 5 * time.Minute
)

// Run writes days until ctx ends.
func (d *days) Run(ctx context.Context) error {
	if err := d.samples.Wait(ctx); err != nil {
		return nil //nolint:nilerr // told to end before it was open
	}
	done := int64(-1) // all days up to it are written
	for {
		wait := dayPatience
		last := sereno.DayOf(d.now().Add(-lateDay)) - 1 // the last one that has ended
		if last <= done {
			wait = max(time.Second, sereno.BeginOfDay(done+2).Add(lateDay).Sub(d.now()))
		} else if err := d.catchUp(ctx, last); err == nil {
			done = last
			continue
		} else if ctx.Err() == nil {
			d.log.Error("what the looks of past days were could not be written; it is tried again", "err", err)
		}
		select {
		case <-time.After(min(wait, time.Hour)): // the clock may be set
		case <-ctx.Done():
			return nil
		}
	}
}

// catchUp writes all days up to last that are not written and whose looks are
// all there.
func (d *days) catchUp(ctx context.Context, last int64) error {
	usage := d.samples.Usage()
	oldest := usage.RawOldest
	if oldest.IsZero() {
		return nil
	}
	first := sereno.DayOf(oldest)
	if !usage.MinutesOldest.IsZero() && usage.MinutesOldest < oldest && oldest > sereno.BeginOfDay(first) {
		first++ // a part of its looks has gone: minutes tell that there were some
	}
	checks, err := d.samples.Checks(ctx, sereno.BeginOfDay(first), sereno.BeginOfDay(last+1))
	if err != nil {
		return err
	}
	var batch []sereno.DayOfLooks
	for _, check := range checks {
		began := time.Now()
		from := first
		latest, ok, err := d.store.LatestDay(ctx, check)
		if err != nil {
			return err
		}
		if ok {
			from = max(from, latest+1)
		}
		for day := from; day <= last; day++ {
			row, any, err := d.samples.Day(ctx, check, day)
			if err != nil {
				return err
			}
			if any {
				batch = append(batch, row)
			}
		}
		if len(batch) >= dayBatch {
			if err := d.store.PutDays(ctx, batch); err != nil {
				return err
			}
			batch = batch[:0]
		}
		select {
		case <-time.After((dayShare - 1) * time.Since(began)):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return d.store.PutDays(ctx, batch)
}
