package icmp

import "time"

const (
	burst    = 64      // packets that may leave together
	fastest  = 400_000 // packets a second while catching up, when nobody asked for less
	shortest = 500 * time.Microsecond

	// longest stays below the 10 ms after which the runtime's monitor takes the
	// processor away from a goroutine in a system call, which costs more than
	// the nap saves.
	longest = 8 * time.Millisecond
)

// A pace decides how many packets may leave and how long the loop rests. It is
// a token bucket no deeper than one burst, so that what is overdue is caught up
// with at a bounded rate.
type pace struct {
	rate      float64 // packets a second
	depth     float64 // 1 to burst
	allowance float64
	at        int64 // when allowance was true, by the loop's clock
	tick      int64 // how long the loop rests while it has work: about the time that a burst takes to fall due
}

func newPace(maxPPS int) *pace {
	rate := float64(fastest)
	if maxPPS > 0 {
		rate = float64(maxPPS)
	}
	depth := min(max(rate*longest.Seconds(), 1), burst)
	return &pace{rate: rate, depth: depth, allowance: depth, tick: int64(longest)}
}

// share makes do with one of so many parts of a burst.
func (p *pace) share(parts int) {
	p.depth = min(max(p.rate*longest.Seconds(), 1), float64(burst/parts))
	p.allowance = min(p.allowance, p.depth)
}

// allow returns how many packets may leave now.
func (p *pace) allow(now int64) int {
	p.allowance = min(p.allowance+float64(now-p.at)*p.rate/1e9, p.depth)
	p.at = now
	return int(p.allowance)
}

// spend books n packets and adapts the tick, so that at any rate what falls due
// in a tick makes about one burst.
func (p *pace) spend(n int) {
	p.allowance -= float64(n)
	switch {
	case n >= int(p.depth):
		p.tick = max(p.tick*7/8, int64(shortest))
	case n < int(p.depth)*3/4:
		p.tick = min(p.tick*17/16, int64(longest))
	}
}

// refill returns how long it takes until a full burst may leave.
func (p *pace) refill() int64 {
	return int64((p.depth - p.allowance) / p.rate * 1e9)
}
