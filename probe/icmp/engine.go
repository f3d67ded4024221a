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
	"runtime"
	"sync"
	"sync/atomic"

	"sereno"
	"sereno/probe"
)

// Options say how an Engine works. Only Deliver must be set; it is called by
// one goroutine at a time, the other functions may be called by several.
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

// An Engine is the probe.Sweeper of kind "icmp". Its looks are spread over one
// lane or more, each with a loop and sockets of its own, so that the processor
// time of many looks need not come from one core.
type Engine struct {
	options Options
	board   board
	size    atomic.Int64 // bytes of the largest payload that any target asks for
	made    atomic.Int64 // targets
	lanes   []*lane
	running atomic.Bool
	deliver sync.Mutex // lanes deliver one at a time
}

// laneTargets is how many targets fill a lane before the next one is used: at
// one look a second three quarters of what a core can take. More lanes cost more,
// since the kernel shows every reply to every raw socket.
const laneTargets = 80_000

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
	e := &Engine{options: o}
	lanes := min(runtime.GOMAXPROCS(0), 4)
	if o.MaxPPS > 0 {
		lanes = 1 // who counts packets has no more of them than one loop can send
	}
	for range lanes {
		e.lanes = append(e.lanes, newLane(e))
	}
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

// lane chooses the lane of the next target.
func (e *Engine) lane() *lane {
	n := e.made.Add(1) - 1
	return e.lanes[n/laneTargets%int64(len(e.lanes))]
}

// used returns how many lanes have targets.
func (e *Engine) used() int {
	return int(min((e.made.Load()+laneTargets-1)/laneTargets, int64(len(e.lanes))))
}

// Sweep hands over looks, as probe.Sweeper says. Looks that are handed over
// while nothing runs wait for Run.
func (e *Engine) Sweep(ctx context.Context, looks []probe.Look) error {
	if e.used() <= 1 {
		return e.lanes[0].sweep(ctx, looks)
	}
	for _, l := range e.lanes {
		var own []probe.Look
		for _, look := range looks {
			if look.Target.(*target).lane == l {
				own = append(own, look)
			}
		}
		if err := l.sweep(ctx, own); err != nil {
			return err
		}
	}
	return nil
}

// Run looks until ctx ends. Looks that are then under way, or wait, bring no
// result. Only one Run may be under way.
func (e *Engine) Run(ctx context.Context) error {
	if !e.running.CompareAndSwap(false, true) {
		return errors.New("icmp: already running")
	}
	defer e.running.Store(false)
	var wg sync.WaitGroup
	for _, l := range e.lanes[1:] {
		wg.Go(func() { l.run(ctx) })
	}
	e.lanes[0].run(ctx)
	wg.Wait()
	return nil
}

// handOver delivers results of one lane.
func (e *Engine) handOver(results []sereno.Result) {
	e.deliver.Lock()
	defer e.deliver.Unlock()
	e.options.Deliver(results)
}
