package app

import (
	"context"
	"log/slog"
	"time"

	"sereno"
	"sereno/config"
	"sereno/store"
)

const (
	factsPause = 2 * time.Second // between two tries to open the store
	factsTell  = time.Minute     // between two lines of the log about it
)

// openFacts opens the store. A server that is away is waited for: after a power
// cut it may be up later than Sereno. It is nil without an error when ctx ended
// meanwhile. What waiting cannot mend is an error at once.
func openFacts(ctx context.Context, cfg *config.Config, log *slog.Logger) (*store.Store, error) {
	began := time.Now()
	var told time.Time
	for {
		facts, err := store.Open(ctx, cfg.Store(), log, store.Connections(cfg.DatabaseConnections))
		switch {
		case err == nil:
			if !told.IsZero() {
				log.Info("the database is there", "after", time.Since(began).Round(time.Second))
			}
			return facts, nil
		case ctx.Err() != nil:
			return nil, nil
		case sereno.KindOf(err) != sereno.Unavailable:
			return nil, err
		case time.Since(told) >= factsTell:
			told = time.Now()
			log.Warn("waiting for the database; nothing is watched until it is there", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil, nil
		case <-time.After(factsPause):
		}
	}
}

// untended says when a store cannot be prepared for the months to come.
func untended(log *slog.Logger, tended func(error)) func(error) {
	return func(err error) {
		tended(err)
		if err == nil {
			log.Info("the store has room for the months to come again")
			return
		}
		log.Error("the store has no partitions for the months to come; the first span of a month makes its own, if it can", "err", err)
	}
}
