package samples

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"sereno"
	"sereno/lab"
)

// The chunks of the head find no room: nothing ends because of that, neither
// while it runs nor when it stops or starts, and what was kept is there when
// there is room again.
func TestAFullDisk(t *testing.T) {
	disk := lab.SmallDisk(t, "tmpfs", 64)
	if disk == "" {
		return
	}
	dir := filepath.Join(disk, "samples")
	open := func() *DB {
		o := options(t, dir)
		o.Log = slog.New(slog.NewTextHandler(os.Stderr, nil)) // a database that is left as it is may speak after the test
		db := New(o)
		db.reload = 2 * time.Second
		db.Know(devices(1, time.Second))
		return db
	}
	until := func(what string, ok func() bool) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("never: " + what)
			}
		}
	}
	kept := func(db *DB) {
		t.Helper()
		if got := len(looksOf(t, db, 1, 0, 1<<62)); got != 1000 {
			t.Errorf("%d looks of 1000", got)
		}
	}

	db := open()
	stop := start(t, db)
	var looks []sereno.Result
	for i := range 1000 { // several chunks
		looks = append(looks, answered(1, time.Duration(i)*time.Second, time.Duration(i)*time.Microsecond))
	}
	db.Keep(looks)
	until("written", func() bool { return db.Usage().Waiting == 0 && len(looksOf(t, db, 1, 0, 1<<62)) == 1000 })
	ballast := lab.FillUp(t, disk)
	until("held", db.held.Load)
	kept(db)
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	until("let through", func() bool {
		files, err := filepath.Glob(filepath.Join(dir, "raw", "chunks_head", "0*"))
		return err == nil && !db.held.Load() && len(files) > 0
	})
	kept(db)
	lab.FillUp(t, disk)
	until("held", db.held.Load)
	stop()

	again := open()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- again.Run(ctx) }()
	until("waits for room", func() bool { return again.Room() != nil })
	if again.Ready() {
		t.Error("opened without room")
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	if err := again.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	kept(again)
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// A transaction finds half the room it needs in the log. What is kept when there
// is room again is there after a restart, though the log cannot be read on
// behind it.
func TestALogThatWasCutShort(t *testing.T) {
	disk := lab.SmallDisk(t, "tmpfs", 64)
	if disk == "" {
		return
	}
	open := func() *DB {
		db := New(options(t, filepath.Join(disk, "samples")))
		db.Know(devices(1, time.Second))
		return db
	}
	until := func(what string, ok func() bool) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("never: " + what)
			}
		}
	}
	db := open()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- db.Run(ctx) }()
	if err := db.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	db.Keep([]sereno.Result{answered(1, 0, time.Millisecond)})
	until("written", func() bool { return db.Usage().Kept == 1 })
	ballast := lab.FillUp(t, disk)
	room, err := os.Stat(ballast)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(ballast, room.Size()-64<<10); err != nil {
		t.Fatal(err)
	}
	db.Keep(history(1, time.Second, 8*time.Hour, time.Second, 3))
	until("refused", func() bool { return db.Usage().Refused > 0 && db.Usage().Waiting == 0 })
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	until("opened anew", func() bool { o := db.opened.Load(); return o != nil && db.lives.Load() == 2 })
	kept := db.Usage().Kept
	late := answered(1, 9*time.Hour, time.Millisecond)
	db.Keep([]sereno.Result{late})
	until("written", func() bool { return db.Usage().Kept == kept+1 })
	// As a kill leaves it.
	again := New(options(t, copied(t, filepath.Join(disk, "samples"))))
	again.Know(devices(1, time.Second))
	start(t, again)
	if got := looksOf(t, again, 1, late.At, late.At+1); len(got) != 1 {
		t.Errorf("kept with room, and lost: %v", got)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// copied is a copy of a folder that is in use.
func copied(t *testing.T, dir string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}
