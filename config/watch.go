package config

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
)

// settle is how long a folder is left alone before its change is believed:
// editors write a file in several steps.
const settle = 200 * time.Millisecond

// Watch calls changed, in its own goroutine, after the file at path was
// written, replaced or linked elsewhere, until ctx ends. It watches the
// folder, since editors replace files rather than write them; a file that is
// missing for the moment is waited for.
func Watch(ctx context.Context, path string, changed func()) error {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watch the configuration file: %w", err)
	}
	defer watcher.Close()
	folder, name := filepath.Split(filepath.Clean(path))
	if folder == "" {
		folder = "."
	}
	if err := watcher.Add(folder); err != nil {
		return fmt.Errorf("watch the folder of the configuration file: %w", err)
	}
	last, _ := os.Stat(path)
	timer := time.NewTimer(0)
	timer.Stop()
	named := false // the file itself was touched, not only its folder
	for {
		select {
		case <-ctx.Done():
			return nil
		case e, ok := <-watcher.Events:
			if !ok {
				return errors.New("watch the configuration file: the watch ended")
			}
			if e.Op == fsnotify.Chmod {
				continue
			}
			named = named || filepath.Base(e.Name) == name
			timer.Reset(settle)
		case err, ok := <-watcher.Errors:
			if !ok {
				return errors.New("watch the configuration file: the watch ended")
			}
			if !errors.Is(err, fsnotify.ErrEventOverflow) {
				return fmt.Errorf("watch the configuration file: %w", err)
			}
			timer.Reset(settle) // whatever was missed, the file says
		case <-timer.C:
			now, err := os.Stat(path)
			if err != nil {
				continue
			}
			// A file behind a link changes without an event of its name.
			if named || last == nil || !os.SameFile(last, now) || now.ModTime() != last.ModTime() || now.Size() != last.Size() {
				changed()
			}
			last, named = now, false
		}
	}
}
