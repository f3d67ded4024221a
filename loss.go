package sereno

import (
	"math/bits"
	"time"
)

// A Loss is the share of looks without an answer among the latest ones: one
// bit a look. The zero Loss has seen nothing.
type Loss struct {
	bits []uint64
	size int
	next int // where the next look goes
	seen int
	lost int
}

// maxLossLooks bounds a Loss to 128 bytes.
const maxLossLooks = 1000

// Add takes in one look that was evidence. size is how many looks the window
// holds; another size than before starts anew.
func (l *Loss) Add(size int, lost bool) {
	if l.size != size {
		*l = Loss{bits: make([]uint64, (size+63)/64), size: size}
	}
	word, bit := &l.bits[l.next/64], uint64(1)<<(l.next%64)
	if l.seen == size {
		l.lost -= bits.OnesCount64(*word & bit)
	} else {
		l.seen++
	}
	*word &^= bit
	if lost {
		*word |= bit
		l.lost++
	}
	l.next = (l.next + 1) % size
}

// Share returns the loss, and whether enough was seen to say so: half a
// window.
func (l *Loss) Share(size int) (float64, bool) {
	if l.seen == 0 || 2*l.seen < size {
		return 0, false
	}
	return float64(l.lost) / float64(l.seen), true
}

// LossLooks returns how many looks the policy's loss window holds; 0 if it
// does not judge by loss.
func (p *Policy) LossLooks() int {
	if p.LossAbove <= 0 {
		return 0
	}
	return int(max(1, min(p.LossWindow/p.Interval, maxLossLooks)))
}

// Judge says what an answer is worth: an Up that was too slow, or that came
// through too much loss, is Degraded. loss may be nil.
func (p *Policy) Judge(r *Result, loss *Loss) Status {
	if r.Status != Up {
		return r.Status
	}
	if p.slow(r.RTT) {
		return Degraded
	}
	if loss != nil && p.LossAbove > 0 {
		if share, ok := loss.Share(p.LossLooks()); ok && share > p.LossAbove {
			return Degraded
		}
	}
	return Up
}

// Explain says for a person why Judge called an answer Degraded.
func (p *Policy) Explain(r *Result, loss *Loss) string {
	if p.slow(r.RTT) {
		return "answered in " + r.RTT.Round(10*time.Microsecond).String() + ", above " + p.RTTAbove.String()
	}
	if loss != nil && p.LossAbove > 0 {
		if share, ok := loss.Share(p.LossLooks()); ok && share > p.LossAbove {
			return "loss " + percent(share) + " over " + p.LossWindow.String() + ", above " + percent(p.LossAbove)
		}
	}
	return ""
}
