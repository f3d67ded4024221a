package alert

import (
	"container/heap"

	"sereno"
)

// A timer wakes a thread or has a parcel checked.
type timer struct {
	at     sereno.Instant
	id     int64
	thread bool
}

type timers []timer

func (h timers) Len() int { return len(h) }

func (h timers) Less(i, j int) bool {
	if h[i].at != h[j].at {
		return h[i].at < h[j].at
	}
	if h[i].thread != h[j].thread {
		return h[i].thread
	}
	return h[i].id < h[j].id
}

func (h timers) Swap(i, j int) { h[i], h[j] = h[j], h[i] }

func (h *timers) Push(x any) { *h = append(*h, x.(timer)) } //nolint:forcetypeassert // add pushes no other

func (h *timers) Pop() any {
	last := len(*h) - 1
	t := (*h)[last]
	*h = (*h)[:last]
	return t
}

func (h *timers) add(t timer) { heap.Push(h, t) }
