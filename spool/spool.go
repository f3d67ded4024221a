// Package spool keeps what the ledger found out while storage is away or full:
// a ledger.Journal around another one. An entry goes straight through while
// storage works. When it does not, the entry is written into a file of the data
// folder and is as safe there as in the store; it is committed, in its turn and
// with its true times, when storage is back. Nothing overtakes it.
//
// It also looks after the room on the disk that this needs: see Guard.
package spool

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"syscall"
	"time"

	"sereno"
	"sereno/ledger"
)

// Options are what a Spool needs. All but Dir and Now may be zero.
type Options struct {
	Dir      string                     // the folder of its files; made when it is needed
	MaxBytes int64                      // of all entries that wait; 0: DefaultMaxBytes
	Patience time.Duration              // how long the journal may take before an entry waits here; 0: 10 s
	Waits    func(error) bool           // whether an error of the journal means "not now"; nil: Unavailable ones
	Full     func(error) bool           // whether it means that the disk is full; nil: never
	MakeRoom func(context.Context) bool // frees some room on a full disk, and reports whether it did
	// Told is told when storage begins to fail, when that grows worse or
	// better, and with the zero Fault when it works again and nothing waits.
	// It may be called by several goroutines and must not block.
	Told func(Fault)
	Now  func() sereno.Instant // the ledger's time
	Log  *slog.Logger
}

// DefaultMaxBytes is room for several million changes.
const DefaultMaxBytes = 1 << 30

// A Fault is what is wrong with storage; the zero Fault is nothing.
type Fault struct {
	Err error
	// Kept says that what is found is on disk nevertheless, in the spool. When
	// it is not, the ledger holds it in memory.
	Kept bool
}

// A Spool is a ledger.Journal. Open it, Drain it, then Run it, for as long as
// there are commits; one goroutine at a time may commit.
type Spool struct {
	o      Options
	inner  ledger.Journal
	direct chan request
	poke   chan struct{} // something waits
	ended  chan struct{}

	// Of the goroutine that commits: when its entry was first handed over.
	entry   *ledger.Entry
	entryAt sereno.Instant

	mu    sync.Mutex
	queue *queue
	fault Fault
}

// A request asks Run to commit an entry at once.
type request struct {
	entry *ledger.Entry
	done  chan error
}

// Found says what an earlier run has left behind.
type Found struct {
	Entries int
	// Lost says that some of it could not be read and was set aside, by this
	// start or by an earlier one that ended before its first Commit. All that was
	// judged up to Until is there, what came later may not be.
	Lost  bool
	Until sereno.Instant
}

// Open takes up what waits in o.Dir. A last entry that was not wholly written,
// and so never acknowledged, is cut off; where an entry is damaged it and all
// later ones are set aside in a file of their own, and the log says so: without
// it those would contradict the store.
//
// Errors are of kind Invalid (entries of a newer Sereno) or tell what the file
// system said.
func Open(inner ledger.Journal, o Options) (*Spool, Found, error) {
	if o.MaxBytes == 0 {
		o.MaxBytes = DefaultMaxBytes
	}
	if o.Patience == 0 {
		o.Patience = 10 * time.Second
	}
	if o.Waits == nil {
		o.Waits = func(err error) bool { return sereno.KindOf(err) == sereno.Unavailable }
	}
	if o.Full == nil {
		o.Full = func(error) bool { return false }
	}
	if o.MakeRoom == nil {
		o.MakeRoom = func(context.Context) bool { return false }
	}
	if o.Told == nil {
		o.Told = func(Fault) {}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	q, found, err := openQueue(o.Dir, o.Log)
	if err != nil {
		return nil, found, fmt.Errorf("open the spool: %w", err)
	}
	return &Spool{
		o: o, inner: inner, queue: q,
		direct: make(chan request), poke: make(chan struct{}, 1), ended: make(chan struct{}),
	}, found, nil
}

// Close lets go of the files. What waits stays for the next Open.
func (s *Spool) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.queue.close()
}

// Usage is what waits.
type Usage struct {
	Entries int
	Bytes   int64 // of the files
}

// Usage may be called from anywhere.
func (s *Spool) Usage() Usage {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.queue.usage()
}

// Fault returns what is wrong with storage at present. It may be called from
// anywhere.
func (s *Spool) Fault() Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fault
}

// Idle is an error of kind Unavailable while anything waits: the store does not
// hold yet what a change of the plan would build on.
func (s *Spool) Idle() error {
	if !s.waits() {
		return nil
	}
	return sereno.Errorf(sereno.Unavailable, "storage has failed and what was found meanwhile is still to be written: the plan cannot be changed until it is; try again later")
}

func (s *Spool) waits() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.queue.waits()
}

// Commit implements ledger.Journal. When it returns nil the entry is in the
// store, or on disk behind all that wait for it.
func (s *Spool) Commit(ctx context.Context, e *ledger.Entry) error {
	if s.entry != e {
		s.entry, s.entryAt = e, s.o.Now()
	}
	err := s.take(ctx, e)
	if err == nil {
		s.booked()
	}
	return err
}

// booked forgets that something was lost: what the ledger says first after a
// start is that the time since is unknown.
func (s *Spool) booked() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.queue.forgetLost(); err != nil {
		s.o.Log.Warn("the note of what the spool has lost cannot be removed; the next start books more time as unknown than it has to", "err", err)
	}
}

func (s *Spool) take(ctx context.Context, e *ledger.Entry) error {
	if !s.waits() {
		err := s.through(ctx, e)
		switch {
		case err == nil:
			s.tell(Fault{})
			return nil
		case ctx.Err() != nil:
			return err
		case !s.o.Waits(err) && !s.o.Full(err):
			s.tell(Fault{Err: err})
			return err
		}
		return s.keep(ctx, e, err)
	}
	return s.keep(ctx, e, nil)
}

// through asks Run to commit e, and waits for a bounded time. When that is over
// Run may still be at it; since it does one thing after the other, nothing can
// overtake it.
func (s *Spool) through(ctx context.Context, e *ledger.Entry) error {
	r := request{e, make(chan error, 1)}
	late := time.NewTimer(s.o.Patience)
	defer late.Stop()
	slow := sereno.Errorf(sereno.Unavailable, "storage has not answered for %s", s.o.Patience)
	select {
	case s.direct <- r:
	case <-late.C:
		return slow
	case <-s.ended:
		return sereno.Errorf(sereno.Unavailable, "storage is closed already")
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	select {
	case err := <-r.done:
		return err
	case <-late.C:
		return slow
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// keep writes an entry into the spool. why is what storage said, nil if it
// failed earlier.
func (s *Spool) keep(ctx context.Context, e *ledger.Entry, why error) error {
	payload := encodeEntry(e)
	err := s.put(payload)
	if (errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)) && s.o.MakeRoom(ctx) {
		err = s.put(payload)
	}
	if err != nil {
		if why != nil {
			err = fmt.Errorf("%w; nor can it wait on disk: %w", why, err)
		}
		s.tell(Fault{Err: err})
		return err
	}
	if why == nil {
		s.mu.Lock()
		why = s.fault.Err // the spool works again, if it did not
		s.mu.Unlock()
	}
	if why != nil {
		s.tell(Fault{Err: why, Kept: true})
	}
	select {
	case s.poke <- struct{}{}:
	default:
	}
	return nil
}

func (s *Spool) put(payload []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if used := s.queue.usage().Bytes; used+int64(len(payload)) > s.o.MaxBytes {
		return sereno.Errorf(sereno.Unavailable, "the spool %s is full (%d bytes)", s.o.Dir, used)
	}
	return s.queue.append(s.entryAt, payload)
}

const (
	leastPause = 100 * time.Millisecond
	mostPause  = 5 * time.Second // between tries, so that it is back soon after storage is
)

// Run passes entries on and writes those that wait until ctx ends. What waits
// then stays for the next start. The error is one of an entry that was written
// by this process and can be read no more: what comes behind it would contradict
// the store, and only a new start can book the rest as unknown.
func (s *Spool) Run(ctx context.Context) error {
	defer close(s.ended)
	pause := leastPause
	var next <-chan time.Time // nil: no pause between tries
	for ctx.Err() == nil {
		if next == nil && s.waits() {
			switch err := s.drainSome(ctx); {
			case errors.Is(err, errDamaged):
				return fmt.Errorf("the spool is damaged: %w", err)
			case err != nil && ctx.Err() == nil:
				s.tell(Fault{Err: err, Kept: true})
				next = time.After(pause)
				pause = min(2*pause, mostPause)
			default:
				pause = leastPause
				s.calm()
			}
			continue
		}
		select {
		case <-next:
			next = nil
		case r := <-s.direct:
			r.done <- s.commit(ctx, r.entry)
		case <-s.poke:
		case <-ctx.Done():
		}
	}
	if u := s.Usage(); u.Entries > 0 {
		s.o.Log.Warn("storage still fails; what waits is on disk and is written at the next start", "entries", u.Entries, "bytes", u.Bytes, "folder", s.o.Dir)
	}
	return nil
}

// commit commits, and tries once more if the disk was full and room was made.
func (s *Spool) commit(ctx context.Context, e *ledger.Entry) error {
	err := s.inner.Commit(ctx, e)
	if err != nil && s.o.Full(err) && s.o.MakeRoom(ctx) {
		err = s.inner.Commit(ctx, e)
	}
	return err
}

// Drain commits all that waits, before anything else is committed. Its error is
// the journal's; what is not committed then still waits.
func (s *Spool) Drain(ctx context.Context) error {
	u := s.Usage()
	for s.waits() {
		if err := s.drainSome(ctx); err != nil {
			return fmt.Errorf("write what waits in %s from before: %w", s.o.Dir, err)
		}
	}
	if u.Entries > 0 {
		s.o.Log.Info("what had waited for storage is written", "entries", u.Entries)
	}
	return nil
}

// drainRows is about how many rows are committed at once: many small entries
// would take as many transactions.
const drainRows = 5000

// drainSome commits the oldest entries that wait, and forgets them.
func (s *Spool) drainSome(ctx context.Context) error {
	s.mu.Lock()
	from := s.queue.front()
	s.mu.Unlock()
	e, n, bytes, err := from.read(drainRows)
	if err != nil {
		return err
	}
	if n > 0 {
		if err := s.commit(ctx, e); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.queue.pop(n, bytes)
}

// calm tells that storage works again, once nothing waits.
func (s *Spool) calm() {
	if !s.waits() {
		s.tell(Fault{})
	}
}

// tell tells of a change for the worse or the better, once.
func (s *Spool) tell(f Fault) {
	s.mu.Lock()
	was := s.fault
	same := (was.Err == nil) == (f.Err == nil) && was.Kept == f.Kept
	if !same {
		s.fault = f
	}
	s.mu.Unlock()
	if same {
		return
	}
	// What goes back to the ledger is for it to log.
	switch {
	case f.Kept:
		s.o.Log.Error("storage fails; watching goes on, and what is found waits on disk", "err", f.Err, "folder", s.o.Dir)
	case f.Err == nil && was.Kept:
		s.o.Log.Info("storage works again, and all that waited is written")
	}
	s.o.Told(f)
}

var _ ledger.Journal = (*Spool)(nil)
