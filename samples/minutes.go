package samples

import (
	"time"

	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

// minuteOptions are for a database that nobody appends to: its blocks are
// written beside it, and it finds, serves, merges and deletes them.
func (db *DB) minuteOptions() *tsdb.Options {
	o := tsdb.DefaultOptions()
	o.FloatChunkEncoding = chunkenc.EncXOR2
	o.WALSegmentSize = -1
	o.StripeSize = 16
	o.RetentionDuration = db.o.RollupRetention.Milliseconds()
	o.MinBlockDuration = (2 * time.Hour).Milliseconds()
	o.MaxBlockDuration = max(2*time.Hour, min(31*24*time.Hour, db.o.RollupRetention/10)).Milliseconds()
	return o
}
