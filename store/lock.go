package store

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"sereno"
)

// lockFile takes path for this process until the file is closed or the process
// ends, however it ends. The file stays: to remove it would let two processes
// hold two files of one name.
func lockFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		defer f.Close()
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		who := "another sereno"
		if pid, _ := io.ReadAll(io.LimitReader(f, 20)); len(pid) > 0 {
			who += " (pid " + strings.TrimSpace(string(pid)) + ")"
		}
		return nil, sereno.Errorf(sereno.Conflict, "%s already uses %s: stop it first, or choose another folder for the data", who, strings.TrimSuffix(path, lockSuffix))
	}
	// Who holds it is a courtesy to the reader of a message, so a full disk
	// must not stand in the way.
	if f.Truncate(0) == nil {
		fmt.Fprintln(f, os.Getpid())
	}
	return f, nil
}

const lockSuffix = ".lock"
