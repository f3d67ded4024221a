package icmp

import (
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// A bell rests the loop, and wakes it when it is rung.
type bell struct {
	rung  chan struct{}
	timer *time.Timer
}

func newBell() *bell {
	b := &bell{rung: make(chan struct{}, 1), timer: time.NewTimer(0)}
	b.timer.Stop()
	return b
}

// ring ends the doze that is under way, or the next one. Anybody may ring.
func (b *bell) ring() {
	select {
	case b.rung <- struct{}{}:
	default: // it rings already
	}
}

// doze rests until the bell rings, or until so much time has passed, if it is
// not below 0.
func (b *bell) doze(rest time.Duration) {
	if rest < 0 {
		<-b.rung
		return
	}
	b.timer.Reset(rest)
	select {
	case <-b.rung:
		b.timer.Stop()
	case <-b.timer.C:
	}
}

// nap rests for a few milliseconds at most; nothing wakes it. It sleeps in the
// kernel, because the runtime's timers round up to whole milliseconds when
// nothing else runs, as long as a hundred packets take. It yields before: to
// the runtime's monitor, a goroutine that never yields is one that hogs its
// processor, and it would be watched fifty times a millisecond (measured: twice
// the CPU time at 1,000 looks a second).
func nap(rest time.Duration) {
	runtime.Gosched()
	t := unix.NsecToTimespec(int64(rest))
	_ = unix.Nanosleep(&t, nil) // a shorter nap does no harm
}
