package lab

import (
	"encoding/binary"
	"net/netip"
)

// dice decide the fate of one request. They fall the same way for the same
// seed, address and number of the request, and independently for each purpose,
// so that a change of one share leaves all else as it was.
type dice uint64

type purpose uint64

const (
	ofLoss purpose = iota + 1
	ofBurst
	ofBurstPhase
	ofDelay
	ofSpread
	ofHeld
	ofDuplicate
	ofDuplicateDelay
	ofDuplicateSpread
	ofGarbled
	ofStrange
	ofForged
	ofForgery
	ofError
	ofOutageError
)

func roll(seed uint64, addr netip.Addr, number uint64) dice {
	a := addr.As16()
	h := mix(seed ^ binary.BigEndian.Uint64(a[:8]))
	h = mix(h ^ binary.BigEndian.Uint64(a[8:]))
	return dice(mix(h ^ number))
}

// bits returns 64 random bits.
func (d dice) bits(p purpose) uint64 { return mix(uint64(d) + uint64(p)*0x9e3779b97f4a7c15) }

// share returns a number in [0, 1).
func (d dice) share(p purpose) float64 { return float64(d.bits(p)>>11) / (1 << 53) }

func (d dice) hit(p purpose, share float64) bool { return share > 0 && d.share(p) < share }

// mix is the finalizer of SplitMix64 (Steele, Lea, Flood 2014).
func mix(h uint64) uint64 {
	h += 0x9e3779b97f4a7c15
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}
