package samples

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/index"

	"sereno"
)

// Usage is what samples take on disk, and what became of looks. Bytes are
// known while it opens, too; oldest samples and series only afterwards.
type Usage struct {
	RawBytes      int64 // blocks of raw looks
	LogBytes      int64 // the latest hours: the log and what was cut from memory
	MinuteBytes   int64
	AsideBytes    int64
	RawOldest     sereno.Instant // 0: none
	MinutesOldest sereno.Instant
	MinutesUntil  sereno.Instant // minutes are there up to here
	Series        uint64         // of the latest hours
	Kept          uint64         // looks written since the start
	Dropped       uint64         // looks that found no room since the start, or came while samples were paused
	Refused       uint64         // looks that could not be written since the start
	Waiting       int            // looks to be written
	Aside         int            // parts that lie set aside
}

// Usage returns what there is now.
func (db *DB) Usage() Usage {
	var u Usage
	u.Waiting, u.Dropped = db.waiting.counts()
	u.Kept, u.Refused = db.write.kept.Load(), db.write.refused.Load()
	raw := filepath.Join(db.o.Dir, "raw")
	all := folderBytes(raw)
	for _, log := range []string{"wal", "wbl", "chunks_head"} {
		u.LogBytes += folderBytes(filepath.Join(raw, log))
	}
	if snapshots, _ := filepath.Glob(filepath.Join(raw, "chunk_snapshot.*")); snapshots != nil {
		for _, s := range snapshots {
			u.LogBytes += folderBytes(s)
		}
	}
	u.RawBytes = max(0, all-u.LogBytes)
	u.MinuteBytes = folderBytes(filepath.Join(db.o.Dir, "minutes"))
	u.AsideBytes = folderBytes(filepath.Join(db.o.Dir, aside))
	u.Aside = db.asides()
	if open := db.opened.Load(); open != nil {
		u.Series = open.raw.Head().NumSeries()
		if first, ok := oldest(open.raw); ok {
			u.RawOldest = sereno.Instant(first * 1000)
		}
		if blocks := open.minutes.Blocks(); len(blocks) > 0 {
			u.MinutesOldest = sereno.Instant(blocks[0].MinTime() * 1000)
			for _, b := range blocks {
				u.MinutesUntil = max(u.MinutesUntil, sereno.Instant(b.MaxTime()*1000))
			}
		}
	}
	return u
}

// asides counts the parts that lie set aside.
func (db *DB) asides() int {
	parts, err := os.ReadDir(filepath.Join(db.o.Dir, aside))
	if err != nil {
		return 0 // mostly: there is no such folder
	}
	return len(parts)
}

// oldest returns the time of the first sample of a database.
func oldest(in *tsdb.DB) (first int64, ok bool) {
	first = math.MaxInt64
	if blocks := in.Blocks(); len(blocks) > 0 {
		first = blocks[0].MinTime()
	}
	if h := in.Head(); h.NumSeries() > 0 {
		first = min(first, h.MinTime(), h.MinOOOTime())
	}
	return first, first != math.MaxInt64
}

// newest returns the time of the last sample of a database, or a later one.
func newest(in *tsdb.DB) (last int64, ok bool) {
	last = math.MinInt64
	for _, b := range in.Blocks() {
		last = max(last, b.MaxTime())
	}
	if h := in.Head(); h.NumSeries() > 0 {
		last = max(last, h.MaxTime(), h.MaxOOOTime())
	}
	return last, last != math.MinInt64
}

// folderBytes adds up the files in a folder; what goes away meanwhile counts
// as nothing.
func folderBytes(path string) (sum int64) {
	_ = filepath.WalkDir(path, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil
		}
		if info, err := d.Info(); err == nil {
			sum += info.Size()
		}
		return nil
	})
	return sum
}

// Verify reads every block of both databases to the last byte and returns a
// sentence for each thing that is wrong; none means that all is well. Blocks
// that it finds broken are set aside.
func (db *DB) Verify(ctx context.Context) ([]string, error) {
	open, err := db.open()
	if err != nil {
		return nil, err
	}
	var wrong []string
	for name, in := range map[string]*tsdb.DB{"raw": open.raw, "minutes": open.minutes} {
		for _, b := range in.Blocks() {
			if db.broken.has(b) {
				continue
			}
			err := verifyBlock(ctx, b)
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
			if err != nil {
				db.condemn(b, err)
				wrong = append(wrong, fmt.Sprintf("samples, %s: the block of %s to %s is broken (%v) and was set aside", name,
					stamp(b.MinTime()), stamp(b.MaxTime()), err))
			}
		}
		for r, blocks := range tsdb.OverlappingBlocks(metas(in)) {
			wrong = append(wrong, fmt.Sprintf("samples, %s: %d blocks hold the same time, from %s to %s; they will be made one", name, len(blocks), stamp(r.Min), stamp(r.Max)))
		}
	}
	slices.Sort(wrong)
	return wrong, nil
}

func stamp(ms int64) string { return time.UnixMilli(ms).UTC().Format(time.RFC3339) }

// metas describes the blocks that were not made of looks that came late: those
// overlap others until they are merged.
func metas(in *tsdb.DB) (list []tsdb.BlockMeta) {
	for _, m := range in.BlockMetas() {
		if !m.Compaction.FromOutOfOrder() {
			list = append(list, m)
		}
	}
	return list
}

// verifyBlock reads a block: every series of its index and every sample of
// every chunk, which carry checksums, and their order.
//
// A block that the database closes meanwhile, as it has made another of it, is
// not looked at.
func verifyBlock(ctx context.Context, b tsdb.BlockReader) (err error) {
	ix, err := b.Index()
	if errors.Is(err, tsdb.ErrClosing) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ix.Close()) }()
	cr, err := b.Chunks()
	if errors.Is(err, tsdb.ErrClosing) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cr.Close()) }()
	name, all := index.AllPostingsKey()
	postings, err := ix.Postings(ctx, name, all)
	if err != nil {
		return err
	}
	var v verifier
	for postings.Next() {
		if err := ctx.Err(); err != nil {
			return err
		}
		v.metas = v.metas[:0]
		if err := ix.Series(postings.At(), &v.labels, &v.metas); err != nil {
			return fmt.Errorf("series %d: %w", postings.At(), err)
		}
		if err := v.series(cr, b.Meta()); err != nil {
			return fmt.Errorf("series %s: %w", v.labels.Labels(), err)
		}
		v.count++
	}
	if err := postings.Err(); err != nil {
		return err
	}
	if want := b.Meta().Stats.NumSeries; v.count != want {
		return fmt.Errorf("it has %d series instead of %d", v.count, want)
	}
	return verifyPostings(ctx, ix)
}

// verifyPostings reads the lists by which series are found.
func verifyPostings(ctx context.Context, ix tsdb.IndexReader) error {
	names, err := ix.LabelNames(ctx)
	if err != nil {
		return err
	}
	for _, name := range names {
		values, err := ix.LabelValues(ctx, name, nil)
		if err != nil {
			return fmt.Errorf("values of %s: %w", name, err)
		}
		for _, value := range values {
			if err := ctx.Err(); err != nil {
				return err
			}
			list, err := ix.Postings(ctx, name, value)
			if err != nil {
				return fmt.Errorf("series with %s=%s: %w", name, value, err)
			}
			for list.Next() {
			}
			if err := list.Err(); err != nil {
				return fmt.Errorf("series with %s=%s: %w", name, value, err)
			}
		}
	}
	return nil
}

// snapshotFolders are the databases in a snapshot.
const (
	rawFolder    = "raw"
	minuteFolder = "minutes"
)

// Snapshot makes complete copies of both databases in dir, which must be on the
// same file system: blocks are links to the same files, and the latest hours
// become a block. A DB whose Dir is a copy of dir opens with all of it.
func (db *DB) Snapshot(ctx context.Context, dir string) error {
	open, err := db.open()
	if err != nil {
		return err
	}
	if db.cramped() {
		return sereno.Errorf(sereno.Unavailable, "there is no room for a snapshot of the samples in %s: make room there", db.o.Dir)
	}
	for _, part := range []struct {
		name string
		of   *tsdb.DB
	}{{rawFolder, open.raw}, {minuteFolder, open.minutes}} {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		to := filepath.Join(dir, part.name)
		if err := os.MkdirAll(to, 0o700); err != nil {
			return fmt.Errorf("snapshot of the samples: %w", err)
		}
		head := part.of.Head()
		if head.MinOOOTime() <= head.MaxOOOTime() { // looks that came late, which no snapshot of the head holds
			if err := part.of.CompactOOOHead(ctx); err != nil {
				return fmt.Errorf("snapshot of the samples %s: %w", part.name, err)
			}
		}
		if err := part.of.Snapshot(to, head.NumSeries() > 0 && head.MinTime() <= head.MaxTime()); err != nil {
			return fmt.Errorf("snapshot of the samples %s: %w", part.name, err)
		}
	}
	return nil
}
