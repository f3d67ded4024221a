package app

import (
	"context"
	"log/slog"
	"maps"
	"sync"
	"time"

	"sereno/config"
	"sereno/samples"
	"sereno/spool"
	"sereno/store"
)

// measureEvery is how old a measure of the disk may be; that of a large store
// an hour for each gigabyte, since it is read whole.
const (
	measureEvery = time.Minute
	measureLarge = time.Hour // for each
	large        = 1 << 30
)

// A gauge measures what Sereno takes on disk.
type gauge struct {
	cfg     *config.Config
	facts   *store.Store
	looks   *samples.DB
	storage *storage
	log     *slog.Logger

	mutex sync.Mutex
	last  map[string]int64
}

// Bytes returns what was measured last: the bytes on disk by class of what lies
// there, and under "free" those that are free where the data is.
func (g *gauge) Bytes() map[string]int64 {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	return g.last
}

// Run measures until ctx ends.
func (g *gauge) Run(ctx context.Context) error {
	facts, due := map[string]int64{}, time.Now()
	next := time.NewTimer(0)
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-next.C:
		}
		next.Reset(measureEvery)
		if !time.Now().Before(due) {
			usage, err := g.facts.Usage(ctx)
			switch {
			case ctx.Err() != nil:
				return nil
			case err != nil:
				g.log.Warn("cannot measure what facts take on disk", "err", err)
			default:
				facts = usage
			}
			var all int64
			for _, n := range facts {
				all += n
			}
			due = time.Now().Add(measureLarge * time.Duration(all/large))
		}
		g.keep(maps.Clone(facts))
	}
}

// keep completes a measure of the facts by all that is quickly measured.
func (g *gauge) keep(bytes map[string]int64) {
	u := g.looks.Usage()
	bytes["looks"], bytes["looks_log"], bytes["minutes"], bytes["looks_aside"] = u.RawBytes, u.LogBytes, u.MinuteBytes, u.AsideBytes
	bytes["spool"], bytes["reserve"] = g.storage.spool.Usage().Bytes, g.storage.guard.Held()
	if free, _, err := spool.Room(g.cfg.Data); err == nil {
		bytes["free"] = free
	}
	g.mutex.Lock()
	defer g.mutex.Unlock()
	g.last = bytes
}
