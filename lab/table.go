package lab

import (
	"iter"
	"net/netip"
	"slices"
)

// A table holds one value for each of many prefixes, of any length.
type table[V any] struct {
	rows    map[netip.Prefix]V
	lengths [2][]int // of the prefixes, longest first: IPv4, IPv6
}

func (t *table[V]) put(p netip.Prefix, v V) {
	p = p.Masked()
	if t.rows == nil {
		t.rows = make(map[netip.Prefix]V)
	}
	t.rows[p] = v
	lengths := &t.lengths[family(p.Addr())]
	if !slices.Contains(*lengths, p.Bits()) {
		*lengths = append(*lengths, p.Bits())
		slices.SortFunc(*lengths, func(a, b int) int { return b - a })
	}
}

func (t *table[V]) get(p netip.Prefix) V { return t.rows[p.Masked()] }

// holding yields the values of all prefixes that hold a, the most specific one
// first.
func (t *table[V]) holding(a netip.Addr) iter.Seq[V] {
	return func(yield func(V) bool) {
		for _, length := range t.lengths[family(a)] {
			p, _ := a.Prefix(length) // the length is one of a's family
			if v, ok := t.rows[p]; ok && !yield(v) {
				return
			}
		}
	}
}

func family(a netip.Addr) int {
	if a.Is4() {
		return 0
	}
	return 1
}
