package app

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"sereno"
	"sereno/api"
	"sereno/config"
	"sereno/ledger"
	"sereno/spool"
	"sereno/store"
)

// A storage is the way of what is found out to where it is kept: the store, the
// spool before it, and the room on the disk that both need. It tells the ledger
// what is wrong with them.
type storage struct {
	spool *spool.Spool
	guard *spool.Guard
	now   func() sereno.Instant
	news  chan struct{} // fault or disk has changed

	mu      sync.Mutex
	fault   spool.Fault    // what is wrong with the store
	disk    string         // and with the disk
	months  string         // and with the partitions that are needed soon
	faultAt sereno.Instant // since when fault is no zero
	since   time.Time      // the same by the monotonic clock
}

// faultPatience is how long the store may fail without an incident, which then
// begins where the failing did: a database that is restarted is not news.
const faultPatience = 2 * time.Second

// reservePath is on the disk of the store if that is of this machine, else with
// the rest of the data.
func reservePath(cfg *config.Config) string {
	folder := cfg.Data
	if path, local := strings.CutPrefix(cfg.Store(), "sqlite:"); local {
		folder = filepath.Dir(path)
	}
	return filepath.Join(folder, "reserve")
}

// newStorage makes room on a disk that is full already, takes up what waits
// from before, and writes that into the store before anything builds on it. It
// is nil without an error when ctx ended meanwhile.
func newStorage(ctx context.Context, facts ledger.Journal, cfg *config.Config, guard *spool.Guard, now func() sereno.Instant, log *slog.Logger) (*storage, spool.Found, error) {
	s := &storage{guard: guard, now: now, news: make(chan struct{}, 1)}
	guard.Told, s.disk = s.full, guard.Fault() // that may be known already
	if err := guard.Look(); err != nil {
		return nil, spool.Found{}, err
	}
	local := strings.HasPrefix(cfg.Store(), "sqlite:") // on a disk of this machine
	var found spool.Found
	var err error
	s.spool, found, err = spool.Open(facts, spool.Options{
		Dir: filepath.Join(cfg.Data, "spool"), MaxBytes: int64(cfg.Spool), Now: now, Log: log,
		Waits:    waits,
		Full:     func(err error) bool { return local && errors.Is(err, store.ErrFull) },
		MakeRoom: guard.MakeRoom,
		Told:     s.told,
	})
	if err != nil {
		return nil, found, err
	}
	for {
		err := s.spool.Drain(ctx)
		switch {
		case err == nil:
			return s, found, nil
		case ctx.Err() != nil:
			return nil, found, s.spool.Close()
		}
		if sereno.KindOf(err) != sereno.Unavailable && !errors.Is(err, store.ErrFull) {
			return nil, found, errors.Join(err, s.spool.Close())
		}
		log.Warn("waiting for the database; nothing is watched until what waits for it is written", "err", err)
		select {
		case <-ctx.Done():
		case <-time.After(factsPause):
		}
	}
}

// inReserve does what a start needs, and again for as long as it finds the disk
// full and a slice of the reserve can be given up for it.
func inReserve(ctx context.Context, guard *spool.Guard, do func() error) error {
	err := do()
	for errors.Is(err, store.ErrFull) && ctx.Err() == nil && guard.MakeRoom(ctx) {
		err = do()
	}
	return err
}

// waits reports whether what a store did not take may wait on disk for it, also
// when somebody has to act first. What another Sereno has taken over by now it
// also books.
func waits(err error) bool {
	if errors.Is(err, store.ErrAway) {
		return sereno.KindOf(err) != sereno.Conflict
	}
	return sereno.KindOf(err) == sereno.Unavailable || errors.Is(err, store.ErrFull)
}

// full notes what is wrong with the disk; see spool.Guard.
func (s *storage) full(fault string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.disk = fault
	s.tell()
}

// tended notes whether the store is prepared for the months to come; see
// store.Store.Run. Away it is neither, and that is told anyhow.
func (s *storage) tended(err error) {
	if sereno.KindOf(err) == sereno.Unavailable {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.months = ""
	if err != nil {
		s.months = "the database has no partitions for the months to come, and spans of theirs may have to wait: the log says why"
	}
	s.tell()
}

// standing is what is wrong beside the store itself.
func (s *storage) standing() string {
	if s.disk != "" && s.months != "" {
		return s.disk + "; " + s.months
	}
	return s.disk + s.months
}

// told notes what is wrong with the store; see spool.Options.
func (s *storage) told(f spool.Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if (s.fault.Err == nil) != (f.Err == nil) {
		s.faultAt, s.since = s.now(), time.Now()
	}
	s.fault = f
	s.tell()
}

func (s *storage) tell() {
	select {
	case s.news <- struct{}{}:
	default:
	}
}

// Run tells the ledger what is wrong, until ctx ends.
func (s *storage) Run(ctx context.Context, books *ledger.Ledger) error {
	for {
		fault, at, wait := s.finding()
		if err := books.Own(ctx, at, ledger.Fault{Trouble: sereno.TroubleStorage, Reason: fault}); err != nil {
			return nil // it has ended, or is about to
		}
		var later <-chan time.Time
		if wait > 0 {
			later = time.After(wait)
		}
		select {
		case <-s.news:
		case <-later:
		case <-ctx.Done():
			return nil
		}
	}
}

// finding returns what is wrong and since when, and in how long there may be
// more to say.
func (s *storage) finding() (fault string, at sereno.Instant, wait time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fault, at = s.standing(), s.now()
	if s.fault.Err == nil {
		return fault, at, 0
	}
	if wait = faultPatience - time.Since(s.since); wait > 0 {
		return fault, at, wait
	}
	if fault == "" {
		at = s.faultAt
	} else {
		fault += "; "
	}
	return fault + sentence(s.fault), at, 0
}

// sentence says for everybody what is wrong with the store; the log says more.
func sentence(f spool.Fault) string {
	what := "storage fails"
	switch {
	case errors.Is(f.Err, store.ErrAway):
		what = "the database cannot be reached"
	case errors.Is(f.Err, store.ErrFull):
		what = "the disk of the store is full"
	case sereno.KindOf(f.Err) == sereno.Unavailable:
		what = "storage does not answer in time"
	}
	if f.Kept {
		return what + ": what is found waits on disk and is written when it is back"
	}
	return what + ": what is found is held in memory alone"
}

// unwritten is since when the store does not take what is found out, wherever
// that waits; 0: it does.
func (s *storage) unwritten() sereno.Instant {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fault.Err == nil {
		return 0
	}
	return s.faultAt
}

// State says how storage is, for the API.
func (s *storage) State() api.StorageState {
	u := s.spool.Usage()
	s.mu.Lock()
	defer s.mu.Unlock()
	state := api.StorageState{Fault: s.standing(), Kept: s.fault.Err == nil || s.fault.Kept, Entries: u.Entries, Bytes: u.Bytes, Reserve: s.guard.Held()}
	if s.fault.Err != nil {
		if state.Fault != "" {
			state.Fault += "; "
		}
		state.Fault += sentence(s.fault)
	}
	return state
}
