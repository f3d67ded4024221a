package lab

import (
	"container/heap"
	"time"
)

// later holds packets until they are due, in the order of due times and, where
// they are equal, in that in which they came.
type later struct {
	waiting parcels
	came    uint64
	spare   []*parcel
}

type parcel struct {
	packet []byte
	due    time.Duration
	came   uint64
}

// parcel returns an empty one, used before if possible.
func (l *later) parcel() *parcel {
	last := len(l.spare) - 1
	if last < 0 {
		return new(parcel)
	}
	p := l.spare[last]
	l.spare = l.spare[:last]
	p.packet = p.packet[:0]
	return p
}

// recycle takes back a parcel that nobody needs.
func (l *later) recycle(p *parcel) { l.spare = append(l.spare, p) }

func (l *later) put(p *parcel, due time.Duration) {
	p.due, p.came = due, l.came
	l.came++
	heap.Push(&l.waiting, p)
}

// take returns the next packet that is due now or was before, nil if there is
// none.
func (l *later) take(now time.Duration) *parcel {
	if due, ok := l.next(); !ok || due > now {
		return nil
	}
	return heap.Pop(&l.waiting).(*parcel)
}

// next returns when a packet is due next.
func (l *later) next() (due time.Duration, ok bool) {
	if len(l.waiting) == 0 {
		return 0, false
	}
	return l.waiting[0].due, true
}

type parcels []*parcel

func (p parcels) Len() int      { return len(p) }
func (p parcels) Swap(i, j int) { p[i], p[j] = p[j], p[i] }
func (p *parcels) Push(x any)   { *p = append(*p, x.(*parcel)) }

func (p parcels) Less(i, j int) bool {
	if p[i].due != p[j].due {
		return p[i].due < p[j].due
	}
	return p[i].came < p[j].came
}

func (p *parcels) Pop() any {
	last := len(*p) - 1
	x := (*p)[last]
	(*p)[last] = nil
	*p = (*p)[:last]
	return x
}
