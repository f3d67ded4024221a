package samples

import (
	"context"
	"time"

	"github.com/prometheus/prometheus/tsdb"
)

// care looks after the open databases until ctx ends: blocks that a compaction
// failed on are read through, and those that are broken set aside; minutes are
// made of new blocks.
func (db *DB) care(ctx context.Context, open *opened) {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	until := minutesUntil(open.minutes)
	var said string
	for {
		for _, in := range []*tsdb.DB{open.raw, open.minutes} {
			db.inspectFailed(ctx, in)
		}
		db.deleteAgain(ctx, open)
		var err error
		if until, err = db.rollUp(ctx, open, until); err != nil && ctx.Err() == nil && err.Error() != said {
			said = err.Error()
			db.log.Error("no minutes could be made of looks; it is tried again every minute", "err", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// deleteAgain deletes what came to light of checks since they were deleted.
func (db *DB) deleteAgain(ctx context.Context, open *opened) {
	if db.cramped() {
		return // the database waits for room, and would make this wait as well
	}
	checks := db.gone.ripe()
	if len(checks) == 0 {
		return
	}
	if err := db.deleteNow(ctx, open, checks); err != nil {
		db.gone.add(checks)
		if ctx.Err() == nil {
			db.log.Warn("the latest samples of purged devices could not be deleted; it is tried again in a few minutes", "err", err)
		}
	}
}

// inspectFailed reads the blocks that a compaction has failed on.
func (db *DB) inspectFailed(ctx context.Context, in *tsdb.DB) {
	for _, b := range in.Blocks() {
		if !b.Meta().Compaction.Failed || db.broken.has(b) {
			continue
		}
		if err := verifyBlock(ctx, b); err != nil && ctx.Err() == nil {
			db.condemn(b, err)
		}
	}
}
