package clock

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"sereno"
)

// Marks is the file of the alive marks: two slots, written in turn and in
// place, so that a write that is torn by a power cut leaves the mark before it.
// One goroutine uses it at a time.
type Marks struct {
	file   *os.File
	number uint64 // of the last mark
}

// OpenMarks opens the file at path, makes it if there is none, and returns the
// last mark in it (found false if there is none). The file is ours until Close:
// a second process gets an error of kind Conflict.
//
// A file that is ours but damaged counts as one without marks, and log says so:
// the length of the absence is then known from the store alone. A file that is
// not ours is left alone; that, and a directory that cannot be written to, is
// an error of kind Invalid.
func OpenMarks(path string, log *slog.Logger) (marks *Marks, last sereno.Mark, found bool, err error) {
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		if err = createMarks(path); err == nil {
			file, err = os.OpenFile(path, os.O_RDWR, 0)
		}
	}
	if err != nil {
		return nil, last, false, cannotKeep(path, err)
	}
	defer func() {
		if err != nil {
			file.Close()
		}
	}()
	marks = &Marks{file: file}
	last, damage := marks.read()
	damaged := errors.Is(damage, errDamaged)
	switch {
	case errors.Is(damage, errForeign):
		return nil, last, false, sereno.Errorf(sereno.Invalid,
			"%s holds no alive marks that this version of Sereno knows; move it away or choose another data directory", path)
	case damage != nil && !damaged:
		return nil, last, false, cannotKeep(path, damage)
	}
	if !lock(file) {
		return nil, last, false, sereno.Errorf(sereno.Conflict,
			"%s is in use: Sereno already runs on this data directory (process %d wrote last)", path, last.PID)
	}
	if damaged {
		log.Warn("the alive marks are damaged; how long nobody watched is known from the store alone", "file", path)
		if err := marks.blank(); err != nil {
			return nil, last, false, cannotKeep(path, err)
		}
	}
	return marks, last, !last.Ledger.IsZero(), nil
}

func cannotKeep(path string, err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		err = p.Err
	}
	return sereno.Errorf(sereno.Invalid,
		"cannot keep the alive marks in %s: %v; give Sereno a data directory that it may write to", path, err)
}

// createMarks makes a file with two blank slots, whole or not at all.
func createMarks(path string) error {
	temporary := path + ".new"
	file, err := os.OpenFile(temporary, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	err = (&Marks{file: file}).blank()
	if err := errors.Join(err, file.Close()); err != nil {
		return errors.Join(err, os.Remove(temporary))
	}
	if err := os.Rename(temporary, path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// blank writes two slots without a mark.
func (m *Marks) blank() error {
	m.number = 0
	whole := make([]byte, 2*slotSize)
	copy(whole, encodeSlot(0, sereno.Mark{}))
	copy(whole[slotSize:], encodeSlot(0, sereno.Mark{}))
	if err := m.file.Truncate(int64(len(whole))); err != nil {
		return err
	}
	if _, err := m.file.WriteAt(whole, 0); err != nil {
		return err
	}
	return m.file.Sync()
}

// read returns the latest mark of the two slots. If there is none, the error is
// errForeign if the file was never ours, and errDamaged if it was.
func (m *Marks) read() (last sereno.Mark, err error) {
	whole := make([]byte, 2*slotSize+1)
	n, err := m.file.ReadAt(whole, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return last, err
	}
	usable, verdict := false, errDamaged
	if n > 2*slotSize {
		verdict = errForeign
	}
	for slot := range slices.Chunk(whole[:min(n, 2*slotSize)], slotSize) {
		number, mark, bad := decodeSlot(slot)
		switch {
		case bad == nil && (!usable || number > m.number):
			m.number, last, usable = number, mark, true
		case errors.Is(bad, errForeign):
			verdict = errForeign
		}
	}
	if usable {
		return last, nil
	}
	return last, verdict
}

// Write stores a mark and returns when it is on the disk. A mark that could not
// be stored leaves the one before it.
func (m *Marks) Write(mark sereno.Mark) error {
	number := m.number + 1
	if _, err := m.file.WriteAt(encodeSlot(number, mark), int64(number%2)*slotSize); err != nil {
		return fmt.Errorf("write the alive mark: %w", err)
	}
	if err := syncData(m.file); err != nil {
		return fmt.Errorf("write the alive mark: %w", err)
	}
	m.number = number
	return nil
}

// Close lets go of the file.
func (m *Marks) Close() error { return m.file.Close() }
