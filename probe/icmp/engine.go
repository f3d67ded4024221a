// Package icmp looks by echo requests (RFC 792, RFC 4443): one socket per
// address family and one goroutine for any number of targets.
//
// Nobody is woken by a reply. The kernel stamps it when it arrives; the loop
// sends what is due, reads what has come, and only then decides what did not
// come in time. Each request carries a token that only this process can make,
// so neither another program's echoes nor a forger who does not see the
// requests can answer for a dead host.
package icmp

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"

	"sereno"
	"sereno/probe"
)

// Options say how an Engine works. Only Deliver must be set.
type Options struct {
	Deliver probe.Deliver
	Clock   func() sereno.Instant // the ledger's time, which dues are in; nil: the wall clock
	MaxPPS  int                   // at most so many packets a second; 0: no cap but the one on bursts
	Mode    Mode
	Log     *slog.Logger // nil: silent

	// Evidence is told what is worth knowing but changes no result: kind is
	// "late" or "duplicate", detail is for a person: "late, 1.3s". It is called
	// on the loop and must not block. It may be nil.
	Evidence func(check sereno.CheckID, kind, detail string)
}

// An Engine is the probe.Sweeper of kind "icmp".
type Engine struct {
	options Options
	board   board
	size    atomic.Int64 // bytes of the largest payload that any target asks for

	mu    sync.Mutex
	inbox [][]probe.Look // handed over, not yet seen by the loop
	held  int            // looks handed over and not yet sent
	room  sync.Cond      // held went down
	doze  bool           // the loop rests for longer than a tick

	bell    *bell // ends the doze
	running atomic.Bool
}

// hold is how many looks wait at most, unless one sweep alone is larger.
const hold = 1 << 18

// New makes an engine. It opens no socket: see Permitted.
func New(o Options) (*Engine, error) {
	if o.Deliver == nil {
		return nil, errors.New("icmp: nobody to deliver results to")
	}
	if o.Clock == nil {
		o.Clock = now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	e := &Engine{options: o, bell: newBell()}
	e.room.L = &e.mu
	e.grow(defaultSize)
	return e, nil
}

// Permitted reports whether echo requests may be sent at all, and if not, what
// to do about it. Without permission looks bring Unknown with Fault NoSocket.
func (e *Engine) Permitted() error {
	var problem error
	for _, f := range [...]family{ipv4, ipv6} {
		s, err := open(f, e.options.Mode, minSize)
		if err == nil {
			s.close()
			return nil
		}
		if problem == nil {
			problem = err
		}
	}
	return sereno.Errorf(sereno.Forbidden, "%s", permission(problem))
}

// Name is "icmp".
func (e *Engine) Name() string { return "icmp" }

// Validate checks settings: {"size": bytes of ICMP payload}, 24 to 65,499,
// default 56.
func (e *Engine) Validate(settings json.RawMessage) error {
	_, err := parseSettings(settings)
	return err
}

// Counters returns what was counted so far.
func (e *Engine) Counters() Counters { return e.board.read() }

// grow says that payloads of size bytes will be needed.
func (e *Engine) grow(size int) {
	for {
		old := e.size.Load()
		if int64(size) <= old || e.size.CompareAndSwap(old, int64(size)) {
			return
		}
	}
}

// Sweep hands over looks, as probe.Sweeper says. Looks that are handed over
// while nothing runs wait for Run.
func (e *Engine) Sweep(ctx context.Context, looks []probe.Look) error {
	if len(looks) == 0 {
		return nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.crowded(len(looks)) {
		stop := context.AfterFunc(ctx, func() {
			e.mu.Lock()
			defer e.mu.Unlock()
			e.room.Broadcast()
		})
		defer stop()
		for e.crowded(len(looks)) && ctx.Err() == nil {
			e.room.Wait()
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	e.inbox = append(e.inbox, looks)
	e.held += len(looks)
	if e.doze {
		e.doze = false
		e.bell.ring()
	}
	return nil
}

func (e *Engine) crowded(more int) bool { return e.held > 0 && e.held+more > hold }

// Run looks until ctx ends. Looks that are then under way, or wait, bring no
// result. Only one Run may be under way.
func (e *Engine) Run(ctx context.Context) error {
	if !e.running.CompareAndSwap(false, true) {
		return errors.New("icmp: already running")
	}
	defer e.running.Store(false)
	rung := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		e.bell.ring()
		close(rung)
	})
	l := newLoop(e)
	for ctx.Err() == nil {
		l.round()
	}
	l.close()
	if !stop() {
		<-rung
	}
	e.discard()
	return nil
}

// discard forgets what was handed over.
func (e *Engine) discard() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.inbox, e.held = nil, 0
	e.room.Broadcast()
}

// exchange gives the loop what was handed over, after it sent n looks. It
// returns the emptied slice for the next time.
func (e *Engine) exchange(n int, empty [][]probe.Look) [][]probe.Look {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.held -= n; n > 0 {
		e.room.Broadcast()
	}
	full := e.inbox
	e.inbox = empty[:0]
	return full
}

// mayDoze lets the loop rest until it is woken, unless something was handed
// over meanwhile.
func (e *Engine) mayDoze() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.doze = len(e.inbox) == 0
	return e.doze
}

// awake ends what mayDoze began.
func (e *Engine) awake() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.doze = false
}
