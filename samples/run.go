package samples

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/bits"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/util/compression"

	"sereno"
)

const (
	// rhythm is how often what waits is written. What was kept but not written
	// is all that a crash of the process costs.
	rhythm = 100 * time.Millisecond
	// most is how many packets one transaction takes: after a long wait there
	// are many of them.
	most = 16
	// again is how long to wait when a database could not be opened.
	again = 10 * time.Second
)

// Run opens the databases, which may take as long as reading back the latest
// hours does, writes what waits and what comes, and returns when ctx has ended
// and all is written and closed. While the databases cannot be opened it says
// why and tries again: Sereno watches without them.
func (db *DB) Run(ctx context.Context) error {
	stretch := &stretch{db: db}
	for {
		again, err := db.live(ctx, stretch)
		if !again {
			return err
		}
		if err != nil {
			db.log.Error("samples could not be closed", "err", err)
		}
		db.log.Info("there is room for samples again; they are opened anew, for nothing could be read on behind what their log holds in part")
	}
}

// live is Run until ctx ends, or until the databases have to be opened anew.
func (db *DB) live(ctx context.Context, stretch *stretch) (again bool, err error) {
	var background sync.WaitGroup
	defer background.Wait()
	opening := make(chan *opened, 1)
	background.Go(func() { opening <- db.openPatiently(ctx) })

	tick := time.NewTicker(rhythm)
	defer tick.Stop()
	var open *opened
	ended := ctx.Done()
	var told <-chan time.Time
	for open == nil {
		select {
		case open = <-opening:
			if open == nil {
				return false, nil // it could not be opened, and nobody wants it any more
			}
		case <-tick.C:
			stretch.watch()
		case <-ended:
			ended, told = nil, time.After(2*time.Second)
		case <-told:
			db.log.Info("samples are still being read back; what waits for it is written before the end")
		}
	}
	db.opened.Store(open)
	db.lives.Add(1)
	db.once.Do(func() { close(db.ready) })
	care, stop := context.WithCancel(ctx)
	background.Go(func() { db.care(care, open) })
	defer stop()

	for {
		select {
		case <-tick.C:
			db.writeWaiting(open, stretch)
			stretch.watch()
			if !stretch.torn || db.cramped() || db.held.Load() {
				continue
			}
			stop()
			background.Wait()
			stretch.torn, db.write.tracks = false, tracks{}
			db.opened.Store(nil)
			return true, db.close(open)
		case <-ctx.Done():
			stop()
			background.Wait()
			db.writeWaiting(open, stretch)
			db.endAll(open, stretch)
			db.opened.Store(nil)
			return false, db.shut(open)
		}
	}
}

// endAll ends every series that still goes on, after the newest look of all:
// after an orderly stop nobody is to be shown its last look for five minutes.
func (db *DB) endAll(open *opened, s *stretch) {
	if db.paused.Load() {
		return // there is no room for looks, nor for this
	}
	at := db.write.newest + 1
	marks := make([]look, 0, packet)
	for check, vantage := range db.write.tracks.live() {
		if len(marks) == packet {
			db.writePart(open, s, [][]look{marks})
			marks = marks[:0]
		}
		marks = append(marks, look{check: check, at: at, rtt: fault, vantage: vantage})
	}
	db.writePart(open, s, [][]look{marks})
}

// writeWaiting writes all that waits.
func (db *DB) writeWaiting(open *opened, s *stretch) {
	packets := db.waiting.take()
	for len(packets) > 0 {
		part := packets[:min(most, len(packets))]
		packets = packets[len(part):]
		db.writePart(open, s, part)
		db.waiting.give(part)
	}
}

// writePart writes packets in one transaction.
func (db *DB) writePart(open *opened, s *stretch, part [][]look) {
	db.tapLock.Lock()
	taps := db.taps
	db.tapLock.Unlock()
	if err := db.write.append(context.Background(), open.raw, part, taps); err != nil {
		s.failed(err)
	}
}

// A stretch is one in which looks are lost: it is told when it begins and when
// it has ended.
type stretch struct {
	db      *DB
	last    uint64 // lost so far
	begun   uint64 // lost before it began
	calm    int    // ticks without another loss
	on      bool
	lastErr error
	torn    bool // a write into the log was cut short, by a full disk most likely
}

const calmAfter = 50 // ticks

func (s *stretch) failed(err error) {
	s.lastErr = err
	if _, system := errors.AsType[syscall.Errno](err); system {
		s.torn = true
	}
}

func (s *stretch) watch() {
	n := s.db.lostLooks()
	switch {
	case n > s.last && !s.on:
		s.on, s.begun, s.calm = true, s.last, 0
		s.db.log.Warn("looks are dropped: they are judged, but will be missing among the samples", "why", s.reason())
	case n > s.last:
		s.calm = 0
	case s.on:
		if s.calm++; s.calm == calmAfter {
			s.on, s.lastErr = false, nil
			s.db.log.Info("looks are kept again", "dropped", n-s.begun)
		}
	}
	s.last = n
}

func (s *stretch) reason() string {
	switch {
	case s.lastErr != nil:
		return s.lastErr.Error()
	case s.db.paused.Load():
		return "the disk is full"
	case !s.db.Ready():
		return "the samples of the latest hours are still being read back, and more wait than there is room for"
	}
	return "the database does not take them"
}

// lostLooks is how many looks will be missing.
func (db *DB) lostLooks() uint64 {
	_, dropped := db.waiting.counts()
	return dropped + db.write.refused.Load()
}

// openPatiently opens the databases. It is nil when ctx ended while they could
// not be opened.
func (db *DB) openPatiently(ctx context.Context) *opened {
	var said string
	for {
		open, err := db.openBoth()
		if err == nil {
			return open
		}
		if err.Error() != said {
			said = err.Error()
			db.log.Error("samples cannot be opened, so looks are judged but not kept; trying again every 10 s", "err", err)
		}
		select {
		case <-time.After(again):
		case <-ctx.Done():
			return nil
		}
	}
}

func (db *DB) openBoth() (_ *opened, err error) {
	began := time.Now()
	lock, err := lockFolder(db.o.Dir)
	if err != nil {
		return nil, err
	}
	if err := db.Room(); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, lock.Close())
		}
	}()
	raw, err := db.openOne("raw", db.rawOptions())
	if err != nil {
		return nil, err
	}
	minutes, err := db.openOne("minutes", db.minuteOptions())
	if err != nil {
		return nil, errors.Join(err, raw.Close())
	}
	if took := time.Since(began); took > 2*time.Second {
		db.log.Info("samples were read back", "took", took.Round(100*time.Millisecond))
	}
	return &opened{raw, minutes, lock}, nil
}

func (o *opened) close() error { return errors.Join(o.raw.Close(), o.minutes.Close(), o.lock.Close()) }

// lockFolder keeps other processes out until the file is closed, or the
// process ends, however it does.
func lockFolder(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of samples: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the samples: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, sereno.Errorf(sereno.Conflict, "the samples in %s are in use by another process: stop it, or choose another folder for the data", dir)
	}
	return f, nil
}

// openOne opens a database. Blocks that cannot be opened are set aside before.
// If it cannot be opened all the same, and not because of the disk or of
// permissions, the latest hours are set aside, and the blocks are served.
func (db *DB) openOne(name string, o *tsdb.Options) (*tsdb.DB, error) {
	dir := filepath.Join(db.o.Dir, name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of samples %s: %w", dir, err)
	}
	if err := db.inspect(dir); err != nil {
		return nil, err
	}
	log := slog.New(warnings{db.log.Handler()})
	var usual atomic.Pointer[tsdb.BlocksToDeleteFunc] // exists only once the database does
	gate := &gate{db: db}
	o.BlocksToDelete = gate.before(db.broken.delete(func(blocks []*tsdb.Block) map[ulid.ULID]struct{} {
		if f := usual.Load(); f != nil {
			return (*f)(blocks)
		}
		return nil
	}))
	o.BlockQuerierFunc, o.BlockChunkQuerierFunc = db.broken.querier, db.broken.chunkQuerier
	o.BlockCompactionExcludeFunc = db.broken.idle
	o.NoLockfile = true // there is one for both
	if db.reload > 0 {
		o.BlockReloadInterval = db.reload
	}
	begin := func(opened *tsdb.DB, err error) (*tsdb.DB, error) {
		if err != nil {
			return nil, fmt.Errorf("open the samples in %s: %w", dir, err)
		}
		f := tsdb.DefaultBlocksToDelete(opened)
		usual.Store(&f)
		gate.shut.Store(name == rawFolder) // the minutes have no head
		return opened, nil
	}
	opened, err := begin(tsdb.Open(dir, log, nil, o, nil))
	if _, system := errors.AsType[syscall.Errno](err); err == nil || system {
		return opened, err
	}
	if err := db.setHeadAside(dir, err); err != nil {
		return nil, err
	}
	return begin(tsdb.Open(dir, log, nil, o, nil))
}

// rawOptions fits the raw database to what will come.
func (db *DB) rawOptions() *tsdb.Options {
	checks, rate := db.names.expected()
	o := tsdb.DefaultOptions()
	o.FloatChunkEncoding = chunkenc.EncXOR2
	o.WALCompression = compression.Zstd
	o.StripeSize = stripes(2 * checks)
	o.SamplesPerChunk = samplesPerChunk
	o.OutOfOrderTimeWindow = db.o.OutOfOrder.Milliseconds()
	o.IsolationDisabled = true // a read may see half of a transaction, which is a tenth of a second
	o.EnableMemorySnapshotOnShutdown = true
	o.RetentionDuration = db.o.Retention.Milliseconds()
	o.MaxBytes = db.o.MaxBytes
	block := db.block
	if block == 0 {
		block = blockLength(rate, db.o.Retention)
	}
	o.MinBlockDuration = block.Milliseconds()
	o.MaxBlockDuration = max(block, min(31*24*time.Hour, db.o.Retention/10)).Milliseconds()
	o.WALReplayConcurrency = runtime.GOMAXPROCS(0)
	return o
}

// samplesPerChunk must not exceed 127: from the 128th sample on, an XOR2 chunk
// notes for every sample when its counter began, which none of ours has, and
// takes twice the room.
const samplesPerChunk = 120

// blockLength is how much time goes into a new block. Until half a block more
// has passed, its chunks are held by the head: memory for each of them, and a
// log to be read back at start.
func blockLength(rate float64, retention time.Duration) time.Duration {
	block := 2 * time.Hour
	switch {
	case rate > 25_000:
		block = 30 * time.Minute
	case rate > 5_000:
		block = time.Hour
	}
	for block > 10*time.Minute && retention < 8*block {
		block /= 2
	}
	return block
}

// stripes is how many parts the table of so many series has: each costs about
// 150 bytes, and a part should not hold more than a few dozen.
func stripes(series int) int {
	return min(max(512, 1<<bits.Len(uint(series/16))), tsdb.DefaultStripeSize)
}

// warnings passes on what an operator should know: the database is talkative.
type warnings struct{ slog.Handler }

func (w warnings) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelWarn && w.Handler.Enabled(ctx, l)
}
func (w warnings) WithAttrs(a []slog.Attr) slog.Handler { return warnings{w.Handler.WithAttrs(a)} }
func (w warnings) WithGroup(g string) slog.Handler      { return warnings{w.Handler.WithGroup(g)} }
