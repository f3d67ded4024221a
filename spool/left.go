package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Left is what lies in the folder of a spool that nobody uses.
type Left struct {
	Usage
	Unreadable []string // files with entries that are damaged, or of a newer Sereno
	SetAside   []string // what an earlier start could not read
}

// Waits reports whether there is anything that a store has to take first.
func (l Left) Waits() bool { return l.Entries > 0 || len(l.Unreadable) > 0 }

// Look reads what waits in a folder, and changes nothing. After a crash some of
// it may be in the store already. A folder that is not there holds nothing; the
// error is what the file system said.
func Look(dir string) (left Left, err error) {
	all, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return left, fmt.Errorf("look into the spool: %w", err)
	}
	var files []string // in order, which is that of their numbers
	for _, f := range all {
		path := filepath.Join(dir, f.Name())
		switch {
		case strings.HasSuffix(path, suffix):
			files = append(files, path)
		case strings.HasSuffix(path, suffix+setAside):
			left.SetAside = append(left.SetAside, path)
		}
	}
	q := &queue{dir: dir}
	for i, path := range files {
		b, err := os.ReadFile(path)
		if err != nil {
			return left, fmt.Errorf("look into the spool: %w", err)
		}
		last := i == len(files)-1
		if last && len(b) < int(headSize) {
			break // its first entry was not even begun
		}
		s := &segment{path: path}
		damage := q.inspect(s, b, new(Found))
		left.Entries += s.entries
		left.Bytes += int64(len(b))
		if damage != nil && !(last && s.size >= headSize && torn(b[s.size:], damage)) {
			left.Unreadable = append(left.Unreadable, path)
		}
	}
	return left, nil
}
