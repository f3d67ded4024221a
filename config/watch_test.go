package config

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// watched starts a Watch and returns what tells that the file changed. Before
// it returns, the watch has been seen at work.
func watched(t *testing.T, path string) <-chan struct{} {
	t.Helper()
	changes := make(chan struct{}, 100)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- Watch(ctx, path, func() { changes <- struct{}{} }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	for {
		write(t, path, "warming: up\n")
		select {
		case <-changes:
			return changes
		case <-time.After(5 * settle):
		}
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func wait(t *testing.T, changes <-chan struct{}) {
	t.Helper()
	select {
	case <-changes:
	case <-time.After(time.Minute):
		t.Fatal("no change was seen in a minute")
	}
}

func TestWatch(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "sereno.yaml")
	changes := watched(t, path)

	write(t, path, "a: 1\n")
	wait(t, changes)

	write(t, path+".new", "a: 2\n") // as editors do
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	wait(t, changes)

	if err := os.Remove(path); err != nil { // as other editors do
		t.Fatal(err)
	}
	write(t, path, "a: 3\n")
	wait(t, changes)

	write(t, filepath.Join(folder, "neighbour"), "x")
	select {
	case <-changes:
		t.Error("a neighbour's change was taken for the file's")
	case <-time.After(5 * settle):
	}
}

func TestWatchBehindLinks(t *testing.T) {
	folder := t.TempDir()
	for _, v := range []string{"v1", "v2"} {
		if err := os.Mkdir(filepath.Join(folder, v), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(folder, v, "sereno.yaml"), v)
	}
	link := func(to string) {
		t.Helper()
		if err := os.Symlink(to, filepath.Join(folder, "next")); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(folder, "next"), filepath.Join(folder, "current")); err != nil {
			t.Fatal(err)
		}
	}
	link("v1")
	if err := os.Symlink(filepath.Join("current", "sereno.yaml"), filepath.Join(folder, "sereno.yaml")); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	changes := make(chan struct{}, 100)
	ended := make(chan error)
	go func() {
		ended <- Watch(ctx, filepath.Join(folder, "sereno.yaml"), func() { changes <- struct{}{} })
	}()
	for i, seen := 0, false; !seen; i++ { // the watch may not stand yet when the first changes
		link([]string{"v2", "v1"}[i%2])
		select {
		case <-changes:
			seen = true
		case <-time.After(5 * settle):
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestWatchNowhere(t *testing.T) {
	if err := Watch(t.Context(), filepath.Join(t.TempDir(), "none", "f"), func() {}); err == nil {
		t.Error("a folder that is not there can be watched")
	}
}
