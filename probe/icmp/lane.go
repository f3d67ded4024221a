package icmp

import (
	"context"
	"sync"

	"sereno/probe"
)

// A lane is the way that some of an engine's looks take, through one loop.
type lane struct {
	engine *Engine

	mu    sync.Mutex
	inbox [][]probe.Look // handed over, not yet seen by the loop
	held  int            // looks handed over and not yet sent
	room  sync.Cond      // held went down
	doze  bool           // the loop rests for longer than a tick

	bell *bell // ends the doze
}

// hold is how many looks wait in a lane at most, unless one sweep alone is
// larger.
const hold = 1 << 18

func newLane(e *Engine) *lane {
	n := &lane{engine: e, bell: newBell()}
	n.room.L = &n.mu
	return n
}

// sweep hands over looks at targets of this lane.
func (n *lane) sweep(ctx context.Context, looks []probe.Look) error {
	if len(looks) == 0 {
		return nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.crowded(len(looks)) {
		stop := context.AfterFunc(ctx, func() {
			n.mu.Lock()
			defer n.mu.Unlock()
			n.room.Broadcast()
		})
		defer stop()
		for n.crowded(len(looks)) && ctx.Err() == nil {
			n.room.Wait()
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	n.inbox = append(n.inbox, looks)
	n.held += len(looks)
	if n.doze {
		n.doze = false
		n.bell.ring()
	}
	return nil
}

func (n *lane) crowded(more int) bool { return n.held > 0 && n.held+more > hold }

// run looks until ctx ends.
func (n *lane) run(ctx context.Context) {
	rung := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		n.bell.ring()
		close(rung)
	})
	l := newLoop(n)
	for ctx.Err() == nil {
		l.round()
	}
	l.close()
	if !stop() {
		<-rung
	}
	n.discard()
}

// discard forgets what was handed over.
func (n *lane) discard() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.inbox, n.held = nil, 0
	n.room.Broadcast()
}

// exchange gives the loop what was handed over, after it sent so many looks. It
// returns the emptied slice for the next time.
func (n *lane) exchange(sent int, empty [][]probe.Look) [][]probe.Look {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.held -= sent; sent > 0 {
		n.room.Broadcast()
	}
	full := n.inbox
	n.inbox = empty[:0]
	return full
}

// mayDoze lets the loop rest until it is woken, unless something was handed
// over meanwhile.
func (n *lane) mayDoze() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.doze = len(n.inbox) == 0
	return n.doze
}

// awake ends what mayDoze began.
func (n *lane) awake() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.doze = false
}
