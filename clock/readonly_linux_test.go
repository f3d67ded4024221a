package clock

import (
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"sereno"
)

func TestAReadOnlyDirectory(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("mounting a read-only directory needs root")
	}
	dir := t.TempDir()
	errs := make(chan error, 2)
	go func() {
		// The thread gets mounts of its own and ends with this goroutine.
		defer close(errs)
		runtime.LockOSThread()
		if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
			errs <- err
			return
		}
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			errs <- err
			return
		}
		errs <- unix.Mount("tmpfs", dir, "tmpfs", unix.MS_RDONLY, "")
		_, _, _, err := OpenMarks(filepath.Join(dir, "alive"), slog.New(slog.DiscardHandler))
		errs <- err
	}()
	if err := <-errs; err != nil {
		t.Skip("cannot mount here: ", err)
	}
	err := <-errs
	if sereno.KindOf(err) != sereno.Invalid || !strings.Contains(err.Error(), "read-only file system") || strings.Contains(err.Error(), "\n") {
		t.Errorf("got %v", err)
	}
}
