package clock

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"sereno"
)

// Read reads the clocks of this machine, see clock_gettime(2), adjtimex(2) and
// random(4). Where the kernel does not say whether something keeps the wall
// clock right, it is taken to be right, as every other program does.
func Read() (sereno.Reading, error) {
	r, err := readTogether()
	r.BootID, r.Chip = bootID(), chip()
	var state unix.Timex
	verdict, adjErr := unix.Adjtimex(&state)
	r.Synced = adjErr != nil || verdict != unix.TIME_ERROR && state.Status&unix.STA_UNSYNC == 0
	return r, err
}

// readTogether reads three clocks as if at once: a pause between them, as long
// as a process may be stopped, would look like a step of one of them. The
// boot-time clock is read before and after, and the closest of several counts.
func readTogether() (best sereno.Reading, err error) {
	closest := time.Duration(math.MaxInt64)
	for range 8 {
		var before, mono, wall, after unix.Timespec
		for _, c := range []struct {
			id int32
			to *unix.Timespec
		}{{unix.CLOCK_BOOTTIME, &before}, {unix.CLOCK_MONOTONIC, &mono}, {unix.CLOCK_REALTIME, &wall}, {unix.CLOCK_BOOTTIME, &after}} {
			if err := unix.ClockGettime(c.id, c.to); err != nil {
				return sereno.Reading{}, err
			}
		}
		apart := time.Duration(after.Nano() - before.Nano())
		if apart < closest {
			closest = apart
			best.Wall = sereno.Instant(wall.Nano() / 1000)
			best.Boot = time.Duration(before.Nano()) + apart/2
			best.Mono = time.Duration(mono.Nano())
		}
		if closest < 20*time.Microsecond {
			break
		}
	}
	return best, nil
}

var bootID = sync.OnceValue(func() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(id))
})

// chip reports whether the wall clock survives a power cut. A PC always has a
// clock chip, and what pretends to be one keeps the time for it. A small board
// may have a chip without a battery, which then shows a time that is nothing
// like ours. (A chip on local time is up to 26 h away.)
var chip = sync.OnceValue(func() bool {
	if runtime.GOARCH == "amd64" || runtime.GOARCH == "386" {
		return true
	}
	chips, _ := filepath.Glob("/sys/class/rtc/rtc*/since_epoch")
	for _, path := range chips {
		text, _ := os.ReadFile(path)
		seconds, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
		if err == nil && time.Since(time.Unix(seconds, 0)).Abs() < 26*time.Hour {
			return true
		}
	}
	return false
})

// syncData makes what was written to f last.
func syncData(f *os.File) error {
	return os.NewSyscallError("fdatasync", unix.Fdatasync(int(f.Fd())))
}

// lock makes f ours until it is closed or this process ends, however it ends.
// It reports false if another process has it.
func lock(f *os.File) bool {
	err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	return !errors.Is(err, unix.EWOULDBLOCK) // some file systems have no locks
}
