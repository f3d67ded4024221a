package samples

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
)

// aside is where broken parts go, beside raw and minutes.
const aside = "set-aside"

// inspect opens every block of a database once and sets aside those that
// cannot be opened, for the database would refuse to start because of them.
func (db *DB) inspect(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("list the blocks of %s: %w", dir, err)
	}
	for _, e := range entries {
		if _, err := ulid.ParseStrict(e.Name()); err != nil || !e.IsDir() {
			continue
		}
		block, err := tsdb.OpenBlock(slog.New(slog.DiscardHandler), filepath.Join(dir, e.Name()), nil, nil)
		if err == nil {
			if err = block.Close(); err == nil {
				continue
			}
		}
		if ours(err) {
			return fmt.Errorf("open a block of samples: %w", err)
		}
		if err := db.setAside(filepath.Join(dir, e.Name()), err); err != nil {
			return err
		}
	}
	return nil
}

// ours reports whether an error is one of this machine's rather than of the
// bytes: no memory or descriptors left, no permission. A file that is not
// there is the block's fault.
func ours(err error) bool {
	errno, system := errors.AsType[syscall.Errno](err)
	return system && !errors.Is(err, fs.ErrNotExist) && errno != syscall.EINVAL && errno != syscall.EIO
}

// setAside moves a folder out of a database's way.
func (db *DB) setAside(path string, why error) error {
	to := db.asidePath(path)
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return fmt.Errorf("set aside the broken samples %s: %w", path, err)
	}
	if err := os.Rename(path, to); err != nil {
		return fmt.Errorf("set aside the broken samples: %w", err)
	}
	db.setAway.Add(1)
	db.log.Error("a part of the samples is broken and was set aside; all others are served", "moved_to", to, "err", why)
	return nil
}

func (db *DB) asidePath(path string) string {
	name := filepath.Base(filepath.Dir(path)) + "-" + filepath.Base(path)
	to := filepath.Join(db.o.Dir, aside, name)
	for i := 2; ; i++ {
		if _, err := os.Lstat(to); errors.Is(err, fs.ErrNotExist) {
			return to
		}
		to = filepath.Join(db.o.Dir, aside, fmt.Sprintf("%s.%d", name, i))
	}
}

// setHeadAside moves away what is not in blocks yet.
func (db *DB) setHeadAside(dir string, why error) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("list the logs of %s: %w", dir, err)
	}
	for _, e := range entries {
		switch name := e.Name(); {
		case name == "wal", name == "wbl", name == "chunks_head", strings.HasPrefix(name, "chunk_snapshot."):
			if err := db.setAside(filepath.Join(dir, name), why); err != nil {
				return err
			}
		}
	}
	return nil
}

// condemned are blocks that were found to be broken while they are open. They
// are read no more, and the database deletes them; a copy was set aside before.
type condemned struct {
	mu     sync.RWMutex
	blocks map[ulid.ULID]bool // true: there is a copy, so it may go
}

func (c *condemned) add(id ulid.ULID) (first bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.blocks == nil {
		c.blocks = map[ulid.ULID]bool{}
	}
	_, known := c.blocks[id]
	if !known {
		c.blocks[id] = false
	}
	return !known
}

func (c *condemned) copied(id ulid.ULID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.blocks[id] = true
}

func (c *condemned) has(b tsdb.BlockReader) bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if len(c.blocks) == 0 {
		return false
	}
	_, has := c.blocks[b.Meta().ULID]
	return has
}

// idle keeps them out of compactions.
func (c *condemned) idle(m *tsdb.BlockMeta) bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	_, has := c.blocks[m.ULID]
	return has
}

// delete wraps the database's own choice of blocks to delete, which is there
// once the database is.
func (c *condemned) delete(usual func([]*tsdb.Block) map[ulid.ULID]struct{}) tsdb.BlocksToDeleteFunc {
	return func(blocks []*tsdb.Block) map[ulid.ULID]struct{} {
		away := usual(blocks)
		c.mu.RLock()
		defer c.mu.RUnlock()
		for id, copied := range c.blocks {
			if copied {
				if away == nil {
					away = map[ulid.ULID]struct{}{}
				}
				away[id] = struct{}{}
			}
		}
		return away
	}
}

func (c *condemned) querier(b tsdb.BlockReader, from, to int64) (storage.Querier, error) {
	if c.has(b) {
		return storage.NoopQuerier(), nil
	}
	return tsdb.NewBlockQuerier(b, from, to)
}

func (c *condemned) chunkQuerier(b tsdb.BlockReader, from, to int64) (storage.ChunkQuerier, error) {
	if c.has(b) {
		return storage.NoopChunkedQuerier(), nil
	}
	return tsdb.NewBlockChunkQuerier(b, from, to)
}

// weedOut reads the blocks of a database that overlap [from, to] to the last
// byte and condemns those that are broken. It reports whether it found one.
func (db *DB) weedOut(ctx context.Context, in *tsdb.DB, from, to int64) (found bool) {
	for _, b := range in.Blocks() {
		if !b.OverlapsClosedInterval(from, to) || db.broken.has(b) {
			continue
		}
		if err := verifyBlock(ctx, b); err != nil && ctx.Err() == nil {
			db.condemn(b, err)
			found = true
		}
	}
	return found
}

// condemn sets a copy of an open block aside, made of links, and has the
// database delete its own.
func (db *DB) condemn(b *tsdb.Block, why error) {
	if !db.broken.add(b.Meta().ULID) {
		return
	}
	to := db.asidePath(b.Dir())
	err := os.MkdirAll(filepath.Dir(to), 0o700)
	if err == nil {
		err = linkTree(b.Dir(), to)
	}
	db.setAway.Add(1)
	meta := b.Meta()
	db.log.Error("a block of samples is broken and was set aside; all others are served", "moved_to", to, "err", why,
		"from", time.UnixMilli(meta.MinTime).UTC(), "to", time.UnixMilli(meta.MaxTime).UTC())
	if err != nil {
		db.log.Error("the broken block could not be set aside, so it stays where it is and is not read", "block", b.Dir(), "err", err)
		return
	}
	db.broken.copied(meta.ULID)
}

// linkTree makes to a copy of the folder from, the files being the same ones.
func linkTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o700)
		}
		return os.Link(path, filepath.Join(to, rel))
	})
}
