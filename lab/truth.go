package lab

import (
	"net/netip"
	"time"
)

// Counts are what a Responder did. Each request has one ending:
//
//	Requests = Answered + Lost + Silenced + Ignored + Refused
type Counts struct {
	Requests uint64 // echo requests that came
	Answered uint64 // by the host, in whatever way
	Lost     uint64 // at random or in bursts
	Silenced uint64 // by an outage
	Ignored  uint64
	Refused  uint64 // an ICMP error came instead

	Held       uint64 // of Answered
	Duplicated uint64
	Garbled    uint64
	Strange    uint64

	Forged    uint64 // requests that somebody else answered as well
	Foreign   uint64 // packets that were no echo requests
	Malformed uint64 // packets of wrong length or checksum
	Unsent    uint64 // packets that the kernel would not take, as the link was down
	Dropped   uint64 // packets that the kernel threw away because we were too slow: the lab's fault
}

// A Gap is a stretch in which one address left requests unanswered because of
// an outage, its own or a parent's. A request that is lost for another reason
// neither begins nor ends one.
type Gap struct {
	Addr     netip.Addr
	Lost     time.Time // when the first request came that was left unanswered
	Answered time.Time // when the first one came that was answered again; zero: none yet
}

// A truth is what happened in a world. Times are counted from its beginning.
type truth struct {
	counts Counts
	asked  tally
	gaps   []gap
	open   map[netip.Addr]int // into gaps
}

type gap struct {
	addr           netip.Addr
	lost, answered time.Duration // answered is 0 as long as it is open
}

// note takes in one request and its fate.
func (t *truth) note(a netip.Addr, at time.Duration, f fate) {
	c := &t.counts
	c.Requests++
	switch f.ending {
	case answered:
		c.Answered++
	case lost:
		c.Lost++
	case silenced:
		c.Silenced++
	case ignored:
		c.Ignored++
	case refused:
		c.Refused++
	}
	for _, n := range [...]struct {
		of *uint64
		is bool
	}{{&c.Held, f.held}, {&c.Duplicated, f.doubled}, {&c.Garbled, f.garbled}, {&c.Strange, f.strange}, {&c.Forged, f.forged}} {
		if n.is {
			*n.of++
		}
	}
	i, open := t.open[a]
	switch {
	case f.silent && !open:
		if t.open == nil {
			t.open = make(map[netip.Addr]int)
		}
		t.open[a] = len(t.gaps)
		t.gaps = append(t.gaps, gap{addr: a, lost: at})
	case open && f.sound():
		t.gaps[i].answered = at
		delete(t.open, a)
	}
}

// A tally counts requests by address, in pages of 256 neighbours, so that a
// whole /8 fits into 64 MB.
type tally struct {
	pages map[netip.Addr]*[256]uint32
}

// next returns how often it was called for a before.
func (t *tally) next(a netip.Addr) uint64 {
	first, i := page(a)
	p := t.pages[first]
	if p == nil {
		if t.pages == nil {
			t.pages = make(map[netip.Addr]*[256]uint32)
		}
		p = new([256]uint32)
		t.pages[first] = p
	}
	n := p[i]
	p[i]++
	return uint64(n)
}

func (t *tally) of(a netip.Addr) uint64 {
	first, i := page(a)
	if p := t.pages[first]; p != nil {
		return uint64(p[i])
	}
	return 0
}

func page(a netip.Addr) (first netip.Addr, i byte) {
	if a.Is4() {
		b := a.As4()
		i, b[3] = b[3], 0
		return netip.AddrFrom4(b), i
	}
	b := a.As16()
	i, b[15] = b[15], 0
	return netip.AddrFrom16(b), i
}
