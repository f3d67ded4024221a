package samples

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"golang.org/x/sys/unix"

	"sereno"
)

// The database writes the chunks of its head into files when it is opened, once
// a minute, and when it is closed; if the disk is full then, it panics, in a
// goroutine of its own, and Sereno would end with it. So none of these is begun
// without room.

// chunkBytes is about what the chunk of a series takes.
const chunkBytes = 256

// needed is how many bytes of chunks may be written at once: a chunk for each
// series, and what is buffered.
func needed(series int) int64 { return chunks.DefaultWriteBufferSize + int64(series)*chunkBytes }

// free is how many bytes are free where path is. Where nobody can say, it is
// all there may be.
func free(path string) int64 {
	var s unix.Statfs_t
	if unix.Statfs(path, &s) != nil {
		return math.MaxInt64
	}
	return int64(s.Bavail) * int64(s.Bsize)
}

// Room is an error, of the kind sereno.Unavailable, when the disk has too little
// room to open the databases, even if only to read them.
func (db *DB) Room() error {
	checks, _ := db.names.expected()
	if need, have := needed(2*checks), free(db.o.Dir); have < need {
		return sereno.Errorf(sereno.Unavailable, "the disk of the samples in %s has %d MB free, of %d MB that may be needed at once: make room there", db.o.Dir, have>>20, (need+1<<20-1)>>20)
	}
	return nil
}

// cramped reports whether the databases had better not write now.
func (db *DB) cramped() bool { return db.paused.Load() || db.Room() != nil }

// A gate stands where a database asks which blocks are to be deleted, which is
// right before it writes chunks, and lets it through when there is room, or
// will be because something is deleted.
type gate struct {
	db   *DB
	shut atomic.Bool // from when on it may hold: a database that is still being opened must not wait
}

// waitForRoom is how often a gate looks for room.
const waitForRoom = time.Second

func (g *gate) before(choose tsdb.BlocksToDeleteFunc) tsdb.BlocksToDeleteFunc {
	return func(blocks []*tsdb.Block) map[ulid.ULID]struct{} {
		defer g.db.held.Store(false)
		for {
			chosen := choose(blocks)
			if !g.shut.Load() || !g.db.left.Load() && (len(chosen) > 0 || !g.db.cramped()) {
				return chosen
			}
			g.db.held.Store(true)
			time.Sleep(waitForRoom)
		}
	}
}

// shut closes what is open, at the end. Without room for its chunks the
// databases are left as a kill leaves them: all that was kept is in their log,
// and is read back from there.
func (db *DB) shut(o *opened) error {
	if db.cramped() {
		db.left.Store(true) // for good: what stands at a gate stays there
		db.log.Warn("the disk is full, so the samples are left as they are; the next start reads them back from their log")
		return o.lock.Close()
	}
	return db.close(o)
}

func (db *DB) close(o *opened) (err error) {
	defer func() {
		if r := recover(); r != nil { // the room went meanwhile
			err = errors.Join(fmt.Errorf("close the samples in %s: %v", filepath.Clean(db.o.Dir), r), o.lock.Close())
		}
	}()
	return o.close()
}
