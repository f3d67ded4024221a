// Package samples keeps every look: its round-trip time and whether it was
// answered, for weeks, and what each minute of them was, for a year.
//
// Two databases of the Prometheus family lie behind it. The raw one holds
//
//	sereno_rtt_seconds{check,device,kind,vantage}  of looks that were answered
//	sereno_up{check,device,kind,vantage}           1 or 0
//
// with the grid time of the look as the time stamp. The other holds minutes
// (see minutes.go) and is made from the blocks of the raw one.
//
// Nothing that judges waits for it: looks go into a bounded queue, and what
// finds no room there is dropped and counted.
package samples

import (
	"context"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/prometheus/tsdb"

	"sereno"
)

// Options are what a DB needs. The zero value of all but Dir and Retention is
// a sensible choice.
type Options struct {
	Dir             string        // holds raw, minutes and set-aside
	Retention       time.Duration // of raw looks; they go in whole blocks, so some stay a tenth longer
	RollupRetention time.Duration // of minutes; 0: a year
	MaxBytes        int64         // of raw blocks and the log of the latest looks; blocks go for it; 0: no limit
	OutOfOrder      time.Duration // how late a look may come; 0: 24 h
	Log             *slog.Logger  // nil: slog.Default()
}

// A DB keeps looks. Keep and Know may be called before Run, and never block.
type DB struct {
	o       Options
	log     *slog.Logger
	waiting queue
	names   names
	write   *writer
	block   time.Duration // of the raw database; 0: by the number of looks

	opened  atomic.Pointer[opened] // nil: not yet, or no more
	ready   chan struct{}          // closed when it is open
	once    sync.Once              // to close it
	paused  atomic.Bool
	setAway atomic.Int64 // blocks set aside since the start
	broken  condemned
	held    atomic.Bool   // a database waits for room
	lives   atomic.Int32  // how often they were opened
	left    atomic.Bool   // the databases were not closed, for want of room
	reload  time.Duration // how often blocks are looked for; 0: every minute
	gone    gone

	tapLock sync.Mutex
	taps    []func([]sereno.Result)
}

// opened is what there is while the databases are open.
type opened struct {
	raw, minutes *tsdb.DB
	lock         *os.File
}

// New returns a DB that holds nothing and opens nothing before Run.
func New(o Options) *DB {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.OutOfOrder == 0 {
		o.OutOfOrder = 24 * time.Hour
	}
	if o.RollupRetention == 0 {
		o.RollupRetention = 365 * 24 * time.Hour
	}
	db := &DB{o: o, log: o.Log.With("part", "samples"), ready: make(chan struct{})}
	db.waiting.limit = maxWaiting
	db.write = newWriter(db)
	return db
}

// Know tells whose a check is, before its first look. What a check is called
// in the series never changes, so nothing is ever taken back.
func (db *DB) Know(devices []sereno.Device) { db.names.add(devices) }

// Tap gives f all that is kept from now on, per check in the order in which it
// was kept: the looks, and with Status Unknown the moments at which looks
// stopped saying anything. f is called by one goroutine, must return soon, and
// must not keep the slice. Round-trip times are those that were stored.
func (db *DB) Tap(f func(batch []sereno.Result)) {
	db.tapLock.Lock()
	defer db.tapLock.Unlock()
	db.taps = append(db.taps, f)
}

// Keep takes in looks. It copies them and never blocks; what finds no room is
// dropped and counted.
func (db *DB) Keep(batch []sereno.Result) {
	if db.paused.Load() {
		db.waiting.refuse(len(batch))
		return
	}
	db.waiting.add(batch)
}

// End tells that checks are not looked at from now on, as when a device is
// paused: their series end there, instead of being shown for five minutes more.
// The next look goes on with them. Like Keep it never blocks.
func (db *DB) End(checks []sereno.CheckID, now sereno.Instant) {
	if len(checks) == 0 || db.paused.Load() {
		return
	}
	// The millisecond after: at the same one there may be a look already.
	now = (now/1000 + 1) * 1000
	marks := make([]sereno.Result, len(checks))
	for i, c := range checks {
		marks[i] = sereno.Result{Check: c, At: now}
	}
	db.waiting.add(marks)
}

// Pause makes Keep drop all it is given, for as long as it is on: looks are the
// first to go when a disk is full.
func (db *DB) Pause(on bool) { db.paused.Store(on) }

// Ready reports whether what was kept can be read.
func (db *DB) Ready() bool { return db.opened.Load() != nil }

// Wait returns when what was kept can be read, or ctx ends.
func (db *DB) Wait(ctx context.Context) error {
	select {
	case <-db.ready:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// open returns the databases, or the reason why they cannot be read now, which
// is of the kind sereno.Unavailable.
func (db *DB) open() (*opened, error) {
	if o := db.opened.Load(); o != nil {
		return o, nil
	}
	return nil, sereno.Errorf(sereno.Unavailable, "samples are still being read back: try again in a while")
}
