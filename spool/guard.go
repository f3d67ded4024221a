package spool

import (
	"context"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A Guard sees to it that spans and incidents can be written when the disk
// fills up: it stops what takes the most room first, then gives up a reserve
// that was set aside, and takes both back when there is room again.
//
// A guard without a Reserve.Size has nothing to give up. All may be called from
// anywhere.
type Guard struct {
	Reserve Reserve
	Told    func(string) // what is wrong with the disk, "" when nothing is any more; must not block; nil: nobody
	Log     *slog.Logger

	mu     sync.Mutex
	pause  func(bool)
	level  level
	fullAt time.Time // when somebody last found the disk full
	failed bool      // the reserve could not be made, and that was said
}

// A level says how much room there is.
type level uint8

const (
	calm  level = iota
	tight       // samples wait for room
	full        // and the reserve is given up
)

// afterFull is how long after a write found the disk full it is not believed to
// have room: a quota is full where the disk is not.
const afterFull = 15 * time.Second

// next is the rule. size is how large the reserve should be, which is also the
// measure of what is little; held how much of it there is; recent, that a write
// has just found the disk full.
//
// Samples stop below half a reserve of room and go on from a whole one; the
// reserve goes below an eighth and comes back when a whole one stays besides.
func (l level) next(free, size, held int64, recent bool) level {
	switch {
	case recent || free < size/8:
		return full
	case free < size/2:
		return max(l, tight)
	case free+held < 2*size: // enough to be calm, not to become so
		return l
	}
	return calm
}

// Spare names what stops while there is little room, samples: pause is called
// with true and false, at once if it has to. It must not block.
func (g *Guard) Spare(pause func(bool)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.pause = pause; g.level != calm {
		pause(true)
	}
}

// Look measures the room on the disk, and acts on it. Call it before anything
// opens a file on the disk, for a disk that is full already.
func (g *Guard) Look() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.look()
}

func (g *Guard) look() error {
	free, all, err := Room(filepath.Dir(g.Reserve.Path))
	if err != nil {
		return err
	}
	size := Fitting(g.Reserve.Size, all)
	measure := max(size, Fitting(smallReserve, all))
	held := g.Reserve.Held()
	to := g.level.next(free, measure, held, time.Since(g.fullAt) < afterFull)
	if to == full && held > 0 {
		g.give()
	}
	if to != full && held < size {
		g.reserve(size, free >= size-held+measure)
	}
	g.become(to, free)
	return nil
}

// reserve makes the reserve, if there is room for it, and says once if it
// cannot.
func (g *Guard) reserve(size int64, room bool) {
	err := error(unix.ENOSPC)
	if room {
		err = g.Reserve.Make(size)
	}
	if err != nil && !g.failed {
		g.Log.Warn("there is no reserve for when the disk is full", "folder", filepath.Dir(g.Reserve.Path), "bytes", size, "err", err)
	}
	g.failed = err != nil
}

// become acts on a change of level.
func (g *Guard) become(to level, free int64) {
	from := g.level
	if g.level = to; from == to {
		return
	}
	if g.pause != nil && (from == calm || to == calm) {
		g.pause(to != calm)
	}
	if to == calm {
		g.Log.Info("there is room on the disk again; samples are kept again", "folder", filepath.Dir(g.Reserve.Path), "free_bytes", free)
	} else {
		g.Log.Error(g.sentence(), "folder", filepath.Dir(g.Reserve.Path), "free_bytes", free)
	}
	if g.Told != nil {
		g.Told(g.sentence())
	}
}

// sentence says what is wrong.
func (g *Guard) sentence() string {
	switch {
	case g.level == tight:
		return "the disk is nearly full: samples are not kept until there is room"
	case g.level == full && g.Reserve.Size == 0:
		return "the disk is full: samples are not kept, and spans and incidents may have to wait until there is room"
	case g.level == full:
		return "the disk is full: samples are not kept until there is room; the reserve is given up for spans and incidents"
	}
	return ""
}

func (g *Guard) give() bool {
	gave, err := g.Reserve.Give()
	if err != nil {
		g.Log.Error("the reserve cannot be given up", "err", err)
	}
	return gave
}

// MakeRoom is called by whoever found the disk full: samples stop, the reserve
// is given up. It reports whether there was one, so that a second try may
// succeed.
func (g *Guard) MakeRoom(context.Context) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.fullAt = time.Now()
	gave := g.give()
	free, _, _ := Room(filepath.Dir(g.Reserve.Path)) // for the log alone
	g.become(full, free)
	return gave
}

// Held returns how many bytes the reserve holds now.
func (g *Guard) Held() int64 { return g.Reserve.Held() }

// Run looks once a second until ctx ends. The reserve stays for the next start.
func (g *Guard) Run(ctx context.Context) error {
	every := time.NewTicker(time.Second)
	defer every.Stop()
	said := false
	for {
		if err := g.Look(); err != nil && !said {
			g.Log.Error("nobody knows how full the disk is", "err", err)
			said = true
		}
		select {
		case <-every.C:
		case <-ctx.Done():
			return nil
		}
	}
}
