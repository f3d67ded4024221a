package samples

import (
	"sync"

	"sereno"
)

// maxWaiting is how many looks may wait: a minute of 100,000 a second, as long
// as a large database may take to be read back at start. They take 32 bytes
// each, and only while they wait.
const maxWaiting = 6_000_000

// A look is a Result as it waits.
type look struct {
	check   sereno.CheckID
	at      int64   // Unix milliseconds
	rtt     float64 // seconds as they are stored; lost or fault when there was no answer
	vantage sereno.VantageID
}

const (
	lost  = 0
	fault = -1
)

// packet is how many looks are copied together; a queue grows by packets, so
// that it never copies what it holds.
const packet = 4096

// A queue holds looks between those who tell and the one who writes.
type queue struct {
	limit int

	mu      sync.Mutex
	packets [][]look // the last one is not full
	free    [][]look
	length  int // those that were taken but not given back, too
	dropped uint64
}

// add copies a batch, or the part of it that finds room.
func (q *queue) add(batch []sereno.Result) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if room := q.limit - q.length; len(batch) > room {
		q.dropped += uint64(len(batch) - room)
		batch = batch[:room]
	}
	q.length += len(batch)
	for i := range batch {
		r := &batch[i]
		last := len(q.packets) - 1
		if last < 0 || len(q.packets[last]) == packet {
			q.packets = append(q.packets, q.fresh())
			last++
		}
		l := look{check: r.Check, at: int64(r.At) / 1000, vantage: r.Vantage, rtt: lost}
		switch {
		case r.Status.Answered():
			l.rtt = sereno.StoredRTT(r.RTT)
		case r.Status == sereno.Unknown:
			l.rtt = fault
		}
		q.packets[last] = append(q.packets[last], l)
	}
}

func (q *queue) fresh() []look {
	if n := len(q.free); n > 0 {
		p := q.free[n-1]
		q.free = q.free[:n-1]
		return p
	}
	return make([]look, 0, packet)
}

// refuse counts looks that were not even let in.
func (q *queue) refuse(n int) {
	q.mu.Lock()
	q.dropped += uint64(n)
	q.mu.Unlock()
}

// take returns all that waits. It counts as waiting until it is given back.
func (q *queue) take() (packets [][]look) {
	q.mu.Lock()
	defer q.mu.Unlock()
	packets, q.packets = q.packets, nil
	return packets
}

// maxFree is how many empty packets are kept: what 100,000 looks a second fill
// between two commits.
const maxFree = 32

// give returns packets that were written.
func (q *queue) give(packets [][]look) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, p := range packets {
		q.length -= len(p)
		if len(q.free) < maxFree {
			q.free = append(q.free, p[:0])
		}
	}
}

func (q *queue) counts() (length int, dropped uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.length, q.dropped
}
