package ledger

import (
	"context"
	"time"
)

// A journal gathers what is to be written while the entry before it is being
// committed: the busier storage is, the larger the transactions.
type journal struct {
	o       Options
	entries chan *Entry   // to the committing goroutine
	done    chan struct{} // an entry is on disk

	// The rest belongs to the ledger's goroutine.
	waiting []*Entry // in order; only the last one still grows
	busy    bool     // an entry is under way
	kept    uint64   // entries on disk
	waiters []waiter
}

// A waiter wants to know when all that was said before is on disk.
type waiter struct {
	entry uint64 // the number of the last entry it waits for
	done  chan struct{}
}

func newJournal(o Options) journal {
	return journal{o: o, entries: make(chan *Entry, 1), done: make(chan struct{}, 1)}
}

// next returns the entry that takes the next change, whole: what belongs
// together is never split over two transactions.
func (j *journal) next() *Entry {
	if n := len(j.waiting); n > 0 && j.waiting[n-1].Len() < commitRows {
		return j.waiting[n-1]
	}
	e := &Entry{}
	j.waiting = append(j.waiting, e)
	return e
}

// rows returns about how many rows wait.
func (j *journal) rows() int {
	n := len(j.waiting)
	if n == 0 {
		return 0
	}
	return (n-1)*commitRows + j.waiting[n-1].Len()
}

// idle reports whether all that was said is on disk.
func (j *journal) idle() bool { return !j.busy && len(j.waiting) == 0 }

// wait returns a channel that is closed when all that was said is on disk.
func (j *journal) wait() <-chan struct{} {
	done := make(chan struct{})
	if j.idle() {
		close(done)
		return done
	}
	entry := j.kept + uint64(len(j.waiting))
	if j.busy {
		entry++
	}
	j.waiters = append(j.waiters, waiter{entry, done})
	return done
}

// run commits entries in order until the channel is closed. A commit that
// fails is repeated until it succeeds or ctx ends: no change is ever skipped.
func (j *journal) run(ctx context.Context) {
	for e := range j.entries {
		began := time.Now()
		pause := 50 * time.Millisecond
		for failed := false; ; failed = true {
			err := j.o.Journal.Commit(ctx, e)
			if err == nil {
				if failed {
					j.o.Log.Info("storage works again", "rows", e.Len(), "late", time.Since(began).Round(time.Millisecond))
				}
				break
			}
			if !failed {
				j.o.Log.Error("storage fails; watching goes on and what is found waits to be written", "err", err)
			}
			select {
			case <-time.After(pause):
			case <-ctx.Done():
				return
			}
			pause = min(2*pause, 5*time.Second)
		}
		if j.o.Committed != nil {
			j.o.Committed(time.Since(began), e)
		}
		j.done <- struct{}{}
	}
}

// flush hands the oldest entry that waits to the committing goroutine, if that
// is idle.
func (j *journal) flush() {
	if j.busy || len(j.waiting) == 0 {
		return
	}
	j.busy = true
	e := j.waiting[0]
	j.waiting[0] = nil
	j.waiting = j.waiting[1:]
	j.entries <- e
}

// finish notes that the entry under way is on disk.
func (j *journal) finish() {
	j.busy = false
	j.kept++
	rest := j.waiters[:0]
	for _, w := range j.waiters {
		if j.kept >= w.entry {
			close(w.done)
		} else {
			rest = append(rest, w)
		}
	}
	j.waiters = rest
}
