package spool

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// A Reserve is a file that does nothing but take up room, to be given up when
// the disk is full.
type Reserve struct {
	Path string
	Size int64 // that is wanted, in bytes; see Fitting
}

const (
	smallReserve = 16 << 20
	ofDisk       = 64 // at most this part of the disk, if that is more than a small reserve …
	ofSmallDisk  = 8  // … and this part in any case
)

// Fitting returns how large a reserve on a disk of so many bytes is: the size
// that is wanted, on a disk of less than a few gigabytes 16 MB, and never more
// than an eighth of the disk.
func Fitting(wanted, disk int64) int64 {
	return min(wanted, max(smallReserve, disk/ofDisk), disk/ofSmallDisk)
}

// Held returns how many bytes it takes up, 0 if it was given up.
func (r Reserve) Held() int64 {
	info, err := os.Stat(r.Path)
	if err != nil {
		return 0
	}
	return info.Size()
}

// Make takes up size bytes, which must really be there: where the file system
// does not promise to keep allocated room (it compresses, or copies on write)
// the file is filled with what cannot be compressed. It is whole or not there.
func (r Reserve) Make(size int64) (err error) {
	temporary := r.Path + ".new"
	if err := os.MkdirAll(filepath.Dir(r.Path), 0o700); err != nil {
		return fmt.Errorf("make the reserve: %w", err)
	}
	f, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("make the reserve: %w", err)
	}
	if err = allocate(f, size); errors.Is(err, errors.ErrUnsupported) {
		_, err = io.CopyN(f, rand.Reader, size)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(temporary, r.Path)
	}
	if err != nil {
		return fmt.Errorf("make the reserve: %w", errors.Join(err, os.Remove(temporary)))
	}
	return nil
}

// A slice of the reserve is an eighth of what is left of it, and not less than
// SQLite may want at once.
const (
	slice      = 8
	leastSlice = 1 << 20
)

// Give gives a slice of it up, and reports whether there was any.
func (r Reserve) Give() (bool, error) {
	err := removed(os.Remove(r.Path + ".new"))
	held := r.Held()
	if held > 0 {
		// Shortened, not removed: on a disk without any room some file systems
		// can do only that.
		err = errors.Join(err, os.Truncate(r.Path, max(0, held-max(held/slice, leastSlice))))
	}
	if err != nil {
		err = fmt.Errorf("give up a part of the reserve: %w", err)
	}
	return r.Held() < held, err
}

func removed(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Room returns how many bytes are free where path is, for whoever is not root,
// and how many there are. path need not exist yet.
func Room(path string) (free, all int64, err error) {
	for {
		var s unix.Statfs_t
		err = unix.Statfs(path, &s)
		if err == nil {
			return int64(s.Bavail) * int64(s.Bsize), int64(s.Blocks) * int64(s.Bsize), nil
		}
		above := filepath.Dir(path)
		if !errors.Is(err, fs.ErrNotExist) || above == path {
			return 0, 0, fmt.Errorf("ask how much room there is: %w", &fs.PathError{Op: "statfs", Path: path, Err: err})
		}
		path = above
	}
}
