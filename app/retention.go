package app

import (
	"context"
	"log/slog"
	"time"

	"sereno"
	"sereno/store"
)

// retain drops what is too old at now, and says so when that is doubted.
func retain(ctx context.Context, facts *store.Store, r store.Retention, now sereno.Instant, log *slog.Logger) error {
	believed, err := facts.Retain(ctx, r, now)
	if err == nil && believed != now {
		log.Warn("much time has passed since old facts were last dropped: in case the clock is wrong, only a month of them goes at once; if it is wrong, set it",
			"clock", now, "dropped_as_of", believed)
	}
	return err
}

// A retainer drops, once a day, what is older than it is to be kept.
type retainer struct {
	drop    func(context.Context) error
	pending func() bool // the clock cannot be believed: nobody knows what is old
	log     *slog.Logger
}

const (
	retainFirst = 10 * time.Minute // after a start, which has better to do
	retainEvery = 24 * time.Hour
	retainAgain = time.Hour // after a failure
)

// Run works until ctx ends.
func (r *retainer) Run(ctx context.Context) error {
	next := time.NewTimer(retainFirst)
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-next.C:
		}
		if r.pending() {
			next.Reset(retainAgain)
			continue
		}
		began := time.Now()
		err := r.drop(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			r.log.Warn("what is too old was not dropped; it is tried again in an hour", "err", err)
			next.Reset(retainAgain)
		default:
			r.log.Debug("dropped what is too old", "took", time.Since(began))
			next.Reset(retainEvery)
		}
	}
}
