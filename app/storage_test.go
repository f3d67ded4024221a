package app

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sereno"
	"sereno/config"
	"sereno/ledger"
	"sereno/spool"
	"sereno/store"
	"sereno/store/postgrestest"
)

func TestOnlyAFaultThatLastsIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &storage{now: func() sereno.Instant { return sereno.Instant(time.Now().UnixMicro()) }, news: make(chan struct{}, 1)}
		began := s.now()
		s.told(spool.Fault{Err: store.ErrAway, Kept: true})
		if fault, _, wait := s.finding(); fault != "" || wait != faultPatience {
			t.Errorf("at once: %q, more in %v", fault, wait)
		}
		time.Sleep(faultPatience)
		fault, at, wait := s.finding()
		if fault != "the database cannot be reached: what is found waits on disk and is written when it is back" || at != began || wait != 0 {
			t.Errorf("%q since %v, more in %v", fault, at, wait)
		}
		if got := s.unwritten(); got != began {
			t.Errorf("nothing is written since %v, not %v", began, got)
		}
		s.full("the disk is full")
		if fault, _, _ := s.finding(); !strings.HasPrefix(fault, "the disk is full; the database cannot be reached") {
			t.Errorf("both: %q", fault)
		}
		s.told(spool.Fault{Err: errors.Join(store.ErrAway, errors.New("secret address"))})
		if fault, at, _ := s.finding(); !strings.Contains(fault, "memory") || strings.Contains(fault, "secret") || at < began {
			t.Errorf("worse: %q", fault)
		}
		s.full("")
		s.told(spool.Fault{})
		if fault, at, _ := s.finding(); fault != "" || at != s.now() {
			t.Errorf("well again: %q at %v", fault, at)
		}
		if got := s.unwritten(); got != 0 {
			t.Errorf("well again, and nothing is written since %v", got)
		}
	})
}

func TestMissingPartitionsAreTold(t *testing.T) {
	s := &storage{now: func() sereno.Instant { return 1 }, news: make(chan struct{}, 1), spool: idle(t), guard: &spool.Guard{}}
	told := func(want ...string) {
		t.Helper()
		fault, _, _ := s.finding()
		for _, w := range want {
			if !strings.Contains(fault, w) || !strings.Contains(s.State().Fault, w) {
				t.Errorf("%q and %q do not mention %q", fault, s.State().Fault, w)
			}
		}
		if len(want) == 0 && fault != "" {
			t.Errorf("told %q", fault)
		}
	}
	s.tended(store.ErrAway) // which is told as such
	told()
	s.tended(errors.New("must be owner of table spans"))
	told("no partitions")
	s.tended(store.ErrAway)
	s.full("the disk is full")
	told("the disk is full; ", "no partitions")
	s.tended(nil)
	s.full("")
	told()
}

// idle is a spool in which nothing waits.
func idle(t *testing.T) *spool.Spool {
	t.Helper()
	s, _, err := spool.Open(away{}, spool.Options{Dir: filepath.Join(t.TempDir(), "spool"), Now: func() sereno.Instant { return 1 }})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// What an earlier run could not write is in the store before anything is
// watched; what is damaged is set aside, and costs certainty, not the start.
func TestWhatWaitedIsWrittenBeforeAnythingIsWatched(t *testing.T) {
	cfg := config.Default()
	cfg.Data = t.TempDir()
	up := func(l list[deviceAnswer]) bool { return len(l.Items) > 0 && l.Items[0].Status == sereno.Up }
	url, stop := serve(t, cfg, Options{})
	get(t, url+"/api/devices", up)
	stop()

	absence := sereno.Absence{Begin: 1_600_000_000_000_000, End: 1_600_000_060_000_000, Cause: sereno.Suspended}
	leave(t, cfg, absence)
	type booked struct{ Cause string }
	suspended := func(l list[booked]) bool {
		for _, a := range l.Items {
			if a.Cause == "suspended" {
				return true
			}
		}
		return false
	}
	url, stop = serve(t, cfg, Options{})
	get(t, url+"/api/absences?limit=1000", suspended)
	get(t, url+"/api/devices", up)
	stop()
	if left, err := filepath.Glob(filepath.Join(cfg.Data, "spool", "*")); err != nil || len(left) != 0 {
		t.Errorf("left %v (%v)", left, err)
	}

	path := leave(t, cfg, absence)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)-6] ^= 1
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	url, stop = serve(t, cfg, Options{Log: slog.New(slog.NewTextHandler(&said, nil))})
	get(t, url+"/api/devices", up)
	stop()
	if _, err := os.Stat(path + ".damaged"); err != nil || !strings.Contains(said.String(), path+".damaged") {
		t.Errorf("%v; said %s", err, &said)
	}
}

// leave lets an absence wait in the spool, as a run does that ends while storage
// is away, and returns the file.
func leave(t *testing.T, cfg *config.Config, a sereno.Absence) string {
	t.Helper()
	s, _, err := spool.Open(away{}, spool.Options{Dir: filepath.Join(cfg.Data, "spool"), Now: func() sereno.Instant { return a.End }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- s.Run(ctx) }()
	err = s.Commit(t.Context(), &ledger.Entry{Absences: []sereno.Absence{a}})
	cancel()
	if err := errors.Join(err, <-done, s.Close()); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(cfg.Data, "spool", "*.entries"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	return files[0]
}

// away is storage that cannot be reached.
type away struct{}

func (away) Commit(context.Context, *ledger.Entry) error { return store.ErrAway }

// A primary that became a standby needs a person, and takes nothing until then:
// what is found meanwhile is on disk, as it is while a database is away.
func TestWhatAReadOnlyDatabaseDoesNotTakeWaitsOnDisk(t *testing.T) {
	server := postgrestest.Start(t)
	cfg := config.Default()
	cfg.Data, cfg.Database = t.TempDir(), server.Database(t)
	log := slog.New(slog.DiscardHandler)
	facts, err := store.Open(t.Context(), cfg.Database, log)
	if err != nil {
		t.Fatal(err)
	}
	defer facts.Close()
	guard := &spool.Guard{Reserve: spool.Reserve{Path: reservePath(cfg)}, Log: log}
	s, _, err := newStorage(t.Context(), facts, cfg, guard, func() sereno.Instant { return sereno.At(time.Now()) }, log)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.spool.Run(ctx) }()
	defer func() {
		cancel()
		if err := errors.Join(<-done, s.spool.Close()); err != nil {
			t.Error(err)
		}
	}()

	server.Exec(t, "postgres", `ALTER SYSTEM SET default_transaction_read_only = on`, `SELECT pg_reload_conf()`)
	server.Exec(t, "postgres", `SELECT pg_terminate_backend(l.pid) FROM pg_locks l WHERE l.locktype = 'advisory'`)
	away := sereno.Absence{Begin: 1_600_000_000_000_000, End: 1_600_000_060_000_000, Cause: sereno.Suspended}
	for i := range 3 { // the first finds the connection broken
		away.Begin++
		if err := s.spool.Commit(t.Context(), &ledger.Entry{Absences: []sereno.Absence{away}}); err != nil {
			t.Errorf("%d: %v", i, err)
		}
	}
	if u := s.spool.Usage(); u.Entries != 3 {
		t.Errorf("%d entries wait", u.Entries)
	}

	server.Exec(t, "postgres", `ALTER SYSTEM RESET default_transaction_read_only`, `SELECT pg_reload_conf()`)
	for s.spool.Idle() != nil {
		time.Sleep(10 * time.Millisecond)
	}
	list, _, err := facts.Absences(t.Context(), store.AbsenceQuery{})
	if err != nil || len(list) != 3 {
		t.Errorf("booked are %v, %v", list, err)
	}
}
