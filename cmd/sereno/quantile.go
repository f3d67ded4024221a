package main

import (
	"math"
	"slices"
	"time"
)

// exactValues is how many round-trip times of a host are kept as they are.
const exactValues = 128

// quantiles remembers how round-trip times are spread: exactly up to 128 of
// them, from then on in buckets that are at most 1/64 of their value wide, so
// that any quantile is at most 0.8 % wrong and an endless ping needs no more
// than some hundred bytes a host.
type quantiles struct {
	values  []float32 // nanoseconds; nil once there are buckets
	buckets []uint32  // from bucket first
	first   uint32
	count   uint64
}

// A bucket is the upper 15 bits of a positive float32: its exponent and the
// first 6 bits of its fraction.
const bucketBits = 17

func (q *quantiles) add(d time.Duration) {
	v := float32(max(d, 1))
	q.count++
	if q.buckets == nil {
		if q.values = append(q.values, v); len(q.values) <= exactValues {
			return
		}
		values := q.values
		q.values = nil
		for _, v := range values {
			q.fill(v)
		}
		return
	}
	q.fill(v)
}

func (q *quantiles) fill(v float32) {
	b := math.Float32bits(v) >> bucketBits
	switch n := uint32(len(q.buckets)); {
	case n == 0:
		q.first, q.buckets = b, make([]uint32, 1, 16)
	case b < q.first:
		q.buckets = slices.Concat(make([]uint32, q.first-b), q.buckets)
		q.first = b
	case b >= q.first+n:
		q.buckets = append(q.buckets, make([]uint32, b-q.first-n+1)...)
	}
	q.buckets[b-q.first]++
}

// at returns the smallest value that a share p of all values does not exceed
// (nearest rank), 0 if there are none. p is in (0, 1].
func (q *quantiles) at(p float64) time.Duration {
	if q.count == 0 {
		return 0
	}
	rank := max(1, uint64(math.Ceil(p*float64(q.count))))
	if q.buckets == nil {
		sorted := slices.Sorted(slices.Values(q.values))
		return time.Duration(sorted[rank-1])
	}
	for i, n := range q.buckets {
		if rank <= uint64(n) {
			middle := (q.first+uint32(i))<<bucketBits | 1<<(bucketBits-1)
			return time.Duration(math.Float32frombits(middle))
		}
		rank -= uint64(n)
	}
	return 0 // not reached: the buckets add up to count
}
