package icmp

import (
	"time"

	"sereno"
)

// A flight is one look under way, from when it is taken to when its result is
// handed over, and what is remembered of it until its slot is used again.
type flight struct {
	target     *target
	due        sereno.Instant
	sent       int64 // by the loop's clock; interpolated
	rtt        time.Duration
	reason     string // of the result; while flying, what an ICMP error said
	generation uint32
	after      int32 // the next look at the same target that is under way; 0: none
	next, prev int32 // in its bucket of the hangar; next also chains free slots
	stage      stage
	status     sereno.Status
	fault      sereno.Fault
}

type stage uint8

const (
	landed stage = iota // the slot is free; the rest of the flight tells what became of it
	waiting
	flying
	decided // waits for an older look at the same target
)

// deadline is when the answer must have come.
func (f *flight) deadline() int64 { return f.sent + f.target.timeout }

const (
	firstSlots = 4096
	buckets    = 4096
	bucketBits = 20 // a bucket is 2^20 ns long, about a millisecond
)

// A hangar holds all flights, by slot, and those that fly also by deadline, in
// a timing wheel (Varghese, Lauck 1987). Slots are used again in the order in
// which they became free, so that a late answer mostly still finds its flight.
type hangar struct {
	slots       []flight // slot 0 is never used: 0 means none
	freed, free int32    // last and first free slot
	flying      int
	wheel       [buckets]int32
	swept       int64 // number of the first bucket that may hold something overdue
}

func newHangar() *hangar {
	h := &hangar{slots: make([]flight, 1, firstSlots)}
	h.grow()
	return h
}

// grow doubles the slots.
func (h *hangar) grow() {
	old := len(h.slots)
	size := max(2*old, firstSlots)
	h.slots = append(h.slots, make([]flight, size-old)...)
	for i := old; i < size; i++ {
		h.release(int32(i))
	}
}

// take prepares a slot for a look and queues it behind the other looks at its
// target.
func (h *hangar) take(t *target, due sereno.Instant) int32 {
	if h.free == 0 {
		h.grow()
	}
	i := h.free
	f := &h.slots[i]
	if h.free = f.next; h.free == 0 {
		h.freed = 0
	}
	*f = flight{target: t, due: due, generation: f.generation + 1, stage: waiting}
	if t.first == 0 {
		t.first = i
	} else {
		h.slots[t.last].after = i
	}
	t.last = i
	return i
}

// release makes a slot free, and keeps what it tells.
func (h *hangar) release(i int32) {
	f := &h.slots[i]
	f.stage, f.next, f.reason = landed, 0, ""
	if h.free == 0 {
		h.free = i
	} else {
		h.slots[h.freed].next = i
	}
	h.freed = i
}

// launch says that a look was sent.
func (h *hangar) launch(i int32, sent int64) {
	f := &h.slots[i]
	f.sent, f.stage = sent, flying
	head := &h.wheel[f.deadline()>>bucketBits%buckets]
	f.prev, f.next = 0, *head
	if *head != 0 {
		h.slots[*head].prev = i
	}
	*head = i
	h.flying++
}

// land takes a flying look off the wheel.
func (h *hangar) land(i int32) {
	f := &h.slots[i]
	if f.prev == 0 {
		h.wheel[f.deadline()>>bucketBits%buckets] = f.next
	} else {
		h.slots[f.prev].next = f.next
	}
	if f.next != 0 {
		h.slots[f.next].prev = f.prev
	}
	h.flying--
}

// overdue calls lost for every flying look whose deadline is not after limit.
// lost may land it, and nothing else.
func (h *hangar) overdue(limit int64, lost func(i int32)) {
	last := max(limit>>bucketBits, 0)
	if h.flying == 0 {
		h.swept = last
		return
	}
	for n := max(h.swept, last-buckets+1); n <= last; n++ {
		for i := h.wheel[n%buckets]; i != 0; {
			next := h.slots[i].next
			if h.slots[i].deadline() <= limit {
				lost(i)
			}
			i = next
		}
	}
	h.swept = last
}

// find returns the flying look at the target with this address whose echo had
// this sequence number, 0 if there is none. It is for ICMP errors that quote
// no more than the header; more than one can only match if 65,536 looks at one
// target are under way.
func (h *hangar) find(sequence uint16, to *[28]byte) int32 {
	for i := int(sequence); i < len(h.slots); i += 1 << 16 {
		if f := &h.slots[i]; f.stage == flying && f.target.is(to) {
			return int32(i)
		}
	}
	return 0
}
