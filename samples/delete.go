package samples

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb"

	"sereno"
)

// Delete makes all looks and minutes of checks unreadable at once: checks that
// nobody looks at any more, and whose ids are never given again. What was on
// its way into a block meanwhile goes a few minutes later. The room on the disk
// comes back when compaction writes the blocks anew, or with their retention: to
// rewrite months of blocks for a few series would keep the disk busy for hours.
//
// It may be called again. Samples that are not open yet are of the kind
// sereno.Unavailable.
func (db *DB) Delete(ctx context.Context, checks []sereno.CheckID) error {
	open, err := db.open()
	if err != nil || len(checks) == 0 {
		return err
	}
	if db.held.Load() || db.left.Load() {
		return sereno.Errorf(sereno.Unavailable, "the disk is full, and the samples wait for room: make room there and try again")
	}
	// First, so that a roll-up that reads the looks now is followed by another
	// deletion, however this one ends.
	db.gone.add(checks)
	return db.deleteNow(ctx, open, checks)
}

func (db *DB) deleteNow(ctx context.Context, open *opened, checks []sereno.CheckID) error {
	ids := make([]string, len(checks))
	for i, c := range checks {
		ids[i] = strconv.FormatInt(int64(c), 10)
	}
	which := labels.MustNewMatcher(labels.MatchRegexp, "check", strings.Join(ids, "|"))
	for _, in := range []*tsdb.DB{open.raw, open.minutes} {
		err := in.Delete(ctx, math.MinInt64, math.MaxInt64, which)
		if err != nil && ctx.Err() == nil && db.weedOut(ctx, in, math.MinInt64, math.MaxInt64) {
			err = in.Delete(ctx, math.MinInt64, math.MaxInt64, which)
		}
		if err != nil {
			return fmt.Errorf("delete samples: %w", err)
		}
	}
	return nil
}

// gone are the checks that were deleted a moment ago. Looks of them may still
// have waited to be written, and minutes of them may have been written that the
// database had not found yet: so they are deleted once more.
type gone struct {
	mu    sync.Mutex
	rings [goneRings][]sereno.CheckID // the latest first
}

// goneRings is after how many rounds of care, which are a minute apart and each
// of which ends the roll-up that it began, everything of a check has come to
// light.
const goneRings = 3

func (g *gone) add(checks []sereno.CheckID) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.rings[0] = append(g.rings[0], checks...)
}

// ripe returns the checks whose time has come, once.
func (g *gone) ripe() (checks []sereno.CheckID) {
	g.mu.Lock()
	defer g.mu.Unlock()
	checks = g.rings[goneRings-1]
	copy(g.rings[1:], g.rings[:])
	g.rings[0] = nil
	slices.Sort(checks)
	return slices.Compact(checks)
}
