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
// fills up: it stops what takes the most room first. A reserve was set aside for
// what is written then; a slice of it is given up when a write finds no room,
// and not before, for whoever else writes may be faster. Both are taken back
// when there is room again.
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
	said   string    // the last sentence
	fullAt time.Time // when somebody last found the disk full
	failed bool      // the reserve could not be made, and that was said
}

// A level says how much room there is.
type level uint8

const (
	calm  level = iota
	tight       // samples wait for room
	full        // and what is written takes from the reserve
)

// afterFull is how long after a write found the disk full it is not believed to
// have room: a quota is full where the disk is not.
const afterFull = 15 * time.Second

// next is the rule. size is how large the reserve should be, which is also the
// measure of what is little; held how much of it there is; recent, that a write
// has just found the disk full.
//
// Samples stop below half a reserve of room and go on from a whole one; below an
// eighth the disk counts as full, until a whole one stays besides the reserve.
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
	if to != full && held < size {
		g.reserve(size, free >= size-held+measure)
	}
	g.become(to, g.Reserve.Held() > 0, free)
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

// become acts on a change of level, or of whether there is a reserve on a full
// disk.
func (g *Guard) become(to level, holds bool, free int64) {
	from, said := g.level, g.said
	g.level = to
	g.said = sentence(to, holds)
	if g.said == said {
		return
	}
	if g.pause != nil && (from == calm) != (to == calm) {
		g.pause(to != calm)
	}
	if to == calm {
		g.Log.Info("there is room on the disk again; samples are kept again", "folder", filepath.Dir(g.Reserve.Path), "free_bytes", free)
	} else {
		g.Log.Error(g.said, "folder", filepath.Dir(g.Reserve.Path), "free_bytes", free)
	}
	if g.Told != nil {
		g.Told(g.said)
	}
}

// sentence says what is wrong, "" if nothing is.
func sentence(l level, holds bool) string {
	switch {
	case l == tight:
		return "the disk is nearly full: samples are not kept until there is room"
	case l == full && holds:
		return "the disk is full: samples are not kept until there is room; spans and incidents are written into the reserve"
	case l == full:
		return "the disk is full and no reserve is left: samples are not kept, and spans and incidents may have to wait until there is room"
	}
	return ""
}

// MakeRoom is called by whoever found the disk full: samples stop, a slice of
// the reserve is given up. It reports whether there was any, so that another try
// may succeed.
func (g *Guard) MakeRoom(context.Context) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.fullAt = time.Now()
	gave, err := g.Reserve.Give()
	if err != nil {
		g.Log.Error("the reserve cannot be given up", "err", err)
	}
	free, _, _ := Room(filepath.Dir(g.Reserve.Path)) // for the log alone
	g.become(full, g.Reserve.Held() > 0, free)
	return gave
}

// Fault returns what is wrong with the disk, "" if nothing is.
func (g *Guard) Fault() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.said
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
