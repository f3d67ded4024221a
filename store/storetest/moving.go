package storetest

import (
	"sync"
	"sync/atomic"
	"time"

	"sereno"
	"sereno/ledger"
	"sereno/store"
)

// moving asks for figures while changes arrive that begin in the past, as all
// do that had to be proven: every answer is of one moment, so no time in it is
// negative, and a window of a second is in one status.
func moving(b *rig) {
	const changes = 300
	check := b.check("a")
	var done atomic.Int64
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for {
				n := done.Load()
				if n == changes {
					return
				}
				begin := at(float64(10 * (n + 1)))
				w := store.Window{From: begin.Add(time.Second), To: begin.Add(2 * time.Second)}
				got, err := b.Tallies(b.Context(), []sereno.CheckID{check}, []store.Window{w})
				if err != nil {
					b.Error(err)
					return
				}
				f := got[0][0]
				if one := max(f.Up, f.Down, f.Unknown); one != time.Second || min(f.Up, f.Down, f.Unknown) < 0 {
					b.Errorf("change %d: of a second up are %v, down %v and unknown %v", n+1, f.Up, f.Down, f.Unknown)
					return
				}
			}
		})
	}
	open := sereno.Span{Check: check, Cause: sereno.CauseNew, Begin: t0, Proof: t0}
	for n := range changes {
		closed := open
		closed.End = at(float64(10 * (n + 1)))
		open = sereno.Span{Check: check, Status: sereno.Up + 2*sereno.Status(n%2), Begin: closed.End, Proof: closed.End}
		err := b.Commit(b.Context(), &ledger.Entry{Closed: []sereno.Span{closed}, Open: []sereno.Span{open}})
		if done.Store(int64(n + 1)); err != nil {
			b.Error(err)
			done.Store(changes)
			break
		}
	}
	readers.Wait()
}
