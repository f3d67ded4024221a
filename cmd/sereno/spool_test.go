package main

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sereno"
	"sereno/ledger"
	"sereno/spool"
	"sereno/store"
)

// command runs the program on its own, without a server.
func command(t *testing.T, args ...string) (stdout string, err error) {
	t.Helper()
	var out, errs bytes.Buffer
	root := newRoot(strings.NewReader(""), &out, &errs)
	root.SetArgs(args)
	err = root.ExecuteContext(t.Context())
	return out.String(), err
}

// unreachable is a store that is away.
type unreachable struct{}

func (unreachable) Commit(context.Context, *ledger.Entry) error { return store.ErrAway }

// spooled is a data folder with a store for which a transaction waits.
func spooled(t *testing.T) (data string) {
	t.Helper()
	data = t.TempDir()
	facts, err := store.Open(t.Context(), "sqlite:"+filepath.Join(data, "sereno.db"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	facts.Close()
	s, _, err := spool.Open(unreachable{}, spool.Options{Dir: filepath.Join(data, "spool"), Now: func() sereno.Instant { return 1 }})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	err = s.Commit(t.Context(), &ledger.Entry{Absences: []sereno.Absence{{Begin: 1, End: 2}}})
	stop()
	if e := <-done; err != nil || e != nil {
		t.Fatal(err, e)
	}
	return data
}

// What waits in a data folder belongs to the store that was away then: nothing
// takes another one's place meanwhile.
func TestNothingIsMovedWhileSomethingWaits(t *testing.T) {
	data := spooled(t)
	from, to := "sqlite:"+filepath.Join(data, "sereno.db"), filepath.Join(t.TempDir(), "to.db")
	refused := func(what string, err error) {
		t.Helper()
		if sereno.KindOf(err) != sereno.Conflict || !strings.Contains(err.Error(), "holds 1 transaction for the store that was away") || !strings.Contains(err.Error(), data) {
			t.Errorf("%s: %v", what, err)
		}
	}
	migrate := []string{"migrate", "--from", from, "--to", "sqlite:" + to}
	_, err := command(t, migrate...)
	refused("migrate", err)
	if _, err := os.Lstat(to); err == nil {
		t.Error("it was copied all the same")
	}
	_, err = command(t, "migrate", "--from", "postgres://nobody@127.0.0.1:1/none", "--to", "sqlite:"+to, "--data", data)
	refused("migrate, of a folder that is named", err)

	saved := filepath.Join(t.TempDir(), "saved")
	if _, err := command(t, "backup", saved, "--data", data); err != nil {
		t.Fatal(err)
	}
	_, err = command(t, "restore", saved, "--data", data)
	refused("restore", err)

	out, err := command(t, "doctor", "--data", data)
	if err == nil || !strings.Contains(out, "wait on disk: 1 (") {
		t.Errorf("doctor: %v\n%s", err, out)
	}
	if err := os.RemoveAll(filepath.Join(data, "spool")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(data, "reserve"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := command(t, "doctor", "--data", data); err == nil || !strings.Contains(out, "spool: sound") || !strings.Contains(out, "used up") {
		t.Errorf("doctor, of a reserve that is used up: %v\n%s", err, out)
	}
	if _, err := command(t, migrate...); err != nil {
		t.Errorf("and when nothing waits: %v", err)
	}
}
