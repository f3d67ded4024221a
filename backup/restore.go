package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"slices"
	"time"

	"sereno"
	"sereno/clock"
	"sereno/store"
)

// storeName is the store in a data folder, samplesName the folder of the looks,
// aliveName the signs of life, draftName a restore that is under way.
const (
	storeName   = "sereno.db"
	samplesName = "samples"
	aliveName   = "alive"
	draftName   = ".restoring"
)

// A Target is where a backup is restored to.
type Target struct {
	Data     string // a folder that is empty or not there yet
	Database string // the store's address if it is not in Data, else ""
	Progress func(Progress)
	Log      *slog.Logger
}

// Restore makes a data folder (and, if the target has one, a database) of a
// backup: whole, or not at all. A server that starts on it books the time since
// the backup was made as one absence, of cause Restored, and tells of nothing
// that was before.
//
// A folder that is not empty, and a store that is there already, are a
// Conflict. A folder that cannot be moved to its place once the database is
// filled is a Conflict, too: then the database must be emptied by hand.
func Restore(ctx context.Context, r *Reader, t Target) (Manifest, error) {
	draft, err := empty(t.Data)
	if err != nil {
		return Manifest{}, err
	}
	defer os.RemoveAll(draft)
	folder, err := os.OpenRoot(draft)
	if err != nil {
		return Manifest{}, fmt.Errorf("restore: %w", err)
	}
	defer folder.Close()
	url := t.Database
	if url == "" {
		url = "sqlite:" + filepath.Join(draft, storeName)
	}
	if err := writeMark(filepath.Join(draft, aliveName), r.Head, t.Log); err != nil {
		return Manifest{}, err
	}
	var m Manifest
	err = store.Restore(ctx, url, r.Head.Schema, func(d *store.Draft) (err error) {
		m, err = r.Each(ctx, Sink{
			Rows:     func(t store.Table, rows []store.Row) error { return d.Put(ctx, t, rows) },
			File:     func(name string, content io.Reader) error { return writeFile(folder, name, content) },
			Progress: t.Progress,
		})
		if err != nil {
			return err
		}
		if err := sameSums(ctx, d, m.Tables); err != nil {
			return err
		}
		return d.LeaveThePast(ctx, sereno.At(time.Now()))
	}, t.Log)
	if err != nil {
		return Manifest{}, err
	}
	err = settleIn(t.Data, draft)
	if err != nil && t.Database != "" {
		// The database is committed, and nobody else can empty it.
		err = sereno.Errorf(sereno.Conflict, "the database is filled, but its folder %s is not: %v; drop the database and make it anew, then restore again", t.Data, err)
	}
	return m, err
}

// sameSums proves that a store holds what the backup does.
func sameSums(ctx context.Context, d *store.Draft, want []store.Sum) error {
	have, err := d.Sums(ctx)
	if err != nil {
		return err
	}
	if !slices.Equal(have, want) {
		return sereno.Errorf(sereno.Internal, "the store does not hold what was put there; nothing was restored: check the disk, and try another")
	}
	return nil
}

// empty makes sure that nothing is in a data folder, and makes a draft in it.
func empty(data string) (draft string, err error) {
	if err := os.MkdirAll(data, 0o700); err != nil {
		return "", sereno.Errorf(sereno.Invalid, "cannot make the folder %s: %v", data, errors.Unwrap(err))
	}
	entries, err := os.ReadDir(data)
	if err != nil {
		return "", sereno.Errorf(sereno.Invalid, "cannot read the folder %s: %v", data, errors.Unwrap(err))
	}
	for _, e := range entries {
		if name := e.Name(); name != draftName && name != "lost+found" {
			return "", sereno.Errorf(sereno.Conflict, "the folder %s is not empty (there is %s): a backup is restored into an empty folder; move what is there away, or choose another", data, name)
		}
	}
	draft = filepath.Join(data, draftName)
	if err := os.RemoveAll(draft); err != nil { // of a restore that was cut short
		return "", sereno.Errorf(sereno.Invalid, "cannot remove %s: %v", draft, errors.Unwrap(err))
	}
	if err := os.Mkdir(draft, 0o700); err != nil {
		return "", sereno.Errorf(sereno.Invalid, "cannot write to the folder %s: %v", data, errors.Unwrap(err))
	}
	return draft, nil
}

// settleIn moves what is in the draft to where it belongs, the store last:
// until it is there, a folder is none of Sereno's.
func settleIn(data, draft string) error {
	for _, name := range []string{aliveName, samplesName, storeName} {
		err := os.Rename(filepath.Join(draft, name), filepath.Join(data, name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("restore: %w", err)
		}
	}
	dir, err := os.Open(data)
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// writeMark leaves the sign of life by which the next start knows that it goes
// on from a backup, and of when.
func writeMark(path string, h Head, log *slog.Logger) error {
	if h.Ledger == 0 {
		return nil // the start finds the newest entry of the store
	}
	marks, _, _, err := clock.OpenMarks(path, log)
	if err != nil {
		return err
	}
	err = marks.Write(sereno.Mark{
		Reading: sereno.Reading{Wall: h.Ledger}, Ledger: h.Ledger, Settled: h.Settled, Restored: true, PID: os.Getpid(),
	})
	return errors.Join(err, marks.Close())
}

// writeFile writes one file of the samples, with its folders, and syncs it.
func writeFile(folder *os.Root, name string, content io.Reader) error {
	name = path.Join(samplesName, name)
	if err := folder.MkdirAll(path.Dir(name), 0o700); err != nil {
		return fmt.Errorf("restore %s: %w", name, err)
	}
	f, err := folder.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("restore %s: %w", name, err)
	}
	_, err = io.Copy(f, content)
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("restore %s: %w", name, err)
	}
	return nil
}

// Verify reads all of a backup and proves that it is as it was written. Unless
// quick, it also restores the facts into a folder for a moment, and proves the
// ledger in them: then a contradiction is an error of the kind Internal.
func Verify(ctx context.Context, r *Reader, quick bool, progress func(Progress), log *slog.Logger) (Manifest, error) {
	if quick {
		return r.Each(ctx, Sink{Progress: progress})
	}
	folder, err := os.MkdirTemp("", "sereno-verify-")
	if err != nil {
		return Manifest{}, fmt.Errorf("verify: %w", err)
	}
	defer os.RemoveAll(folder)
	url := "sqlite:" + filepath.Join(folder, storeName)
	var m Manifest
	err = store.Restore(ctx, url, r.Head.Schema, func(d *store.Draft) (err error) {
		m, err = r.Each(ctx, Sink{
			Rows:     func(t store.Table, rows []store.Row) error { return d.Put(ctx, t, rows) },
			Progress: progress,
		})
		if err != nil {
			return err
		}
		return sameSums(ctx, d, m.Tables)
	}, log)
	if err != nil {
		return Manifest{}, err
	}
	facts, err := store.Open(ctx, url, log)
	if err != nil {
		return Manifest{}, err
	}
	defer facts.Close()
	return m, facts.CheckInvariants(ctx)
}
