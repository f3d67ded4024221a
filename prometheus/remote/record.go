package remote

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math"

	"sereno"
)

// A look as it waits: what a store is to be told.
type look struct {
	check   sereno.CheckID
	vantage sereno.VantageID
	at      int64 // Unix milliseconds
	value   uint64
}

// What a value means; everything from answered on is a round-trip time in
// units of 2⁻²⁰ s, in which samples keep them, plus answered.
const (
	fault    = 0 // looks stopped saying anything
	lost     = 1
	answered = 2
)

const unit = 1 << 20 // of them make a second

func lookOf(r *sereno.Result) look {
	l := look{check: r.Check, vantage: r.Vantage, at: int64(r.At) / 1000, value: lost}
	switch {
	case r.Status.Answered():
		l.value = answered + uint64(math.Round(sereno.StoredRTT(r.RTT)*unit))
	case r.Status == sereno.Unknown:
		l.value = fault
	}
	return l
}

// rtt returns the round-trip time in seconds, exactly as samples keep it.
func (l *look) rtt() float64 { return float64(l.value-answered) / unit }

// An identity is what the labels of a check are made from.
type identity struct{ device, kind string }

// A subject is whose look it is.
type subject struct {
	check   sereno.CheckID
	vantage sereno.VantageID
}

// A record of a segment:
//
//	length uint32, crc32c of the payload uint32, payload
//	payload: n, n × (check, vantage, device, kind) new in this segment,
//	         m, base time, m × (subject by its order in the segment, time − base, value)
//
// All numbers of the payload are varints. A segment names all the subjects of
// its looks, so that it can be read when nobody knows them any more.
const headSize = 8

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// A register numbers the subjects of one segment.
type register struct {
	numbers map[subject]int // for who writes
	list    []named
}

type named struct {
	subject
	identity
}

// number returns the number of a subject, and gives it one if identify knows
// it.
func (r *register) number(s subject, identify func(sereno.CheckID) (identity, bool)) (number int, ok bool) {
	if n, ok := r.numbers[s]; ok {
		return n, true
	}
	id, ok := identify(s.check)
	if !ok {
		return 0, false
	}
	if r.numbers == nil {
		r.numbers = map[subject]int{}
	}
	n := len(r.list)
	r.numbers[s] = n
	r.list = append(r.list, named{s, id})
	return n, true
}

// appendRecord appends looks as one record. Those that identify does not know
// are left out; it returns how many were not.
func appendRecord(b []byte, looks []look, known *register, identify func(sereno.CheckID) (identity, bool)) ([]byte, int) {
	before, count := len(known.list), 0
	var base int64
	numbers := make([]int, len(looks))
	for i := range looks {
		l := &looks[i]
		n, ok := known.number(subject{l.check, l.vantage}, identify)
		if !ok {
			numbers[i] = -1
			continue
		}
		numbers[i] = n
		if count++; count == 1 {
			base = l.at
		}
	}
	fresh := known.list[before:]
	start := len(b)
	b = append(b, make([]byte, headSize)...)
	b = binary.AppendUvarint(b, uint64(len(fresh)))
	for _, n := range fresh {
		b = binary.AppendVarint(b, int64(n.check))
		b = binary.AppendVarint(b, int64(n.vantage))
		b = appendText(appendText(b, n.device), n.kind)
	}
	b = binary.AppendUvarint(b, uint64(count))
	b = binary.AppendVarint(b, base)
	for i, n := range numbers {
		if n < 0 {
			continue
		}
		b = binary.AppendUvarint(b, uint64(n))
		b = binary.AppendVarint(b, looks[i].at-base)
		b = binary.AppendUvarint(b, looks[i].value)
	}
	payload := b[start+headSize:]
	binary.LittleEndian.PutUint32(b[start:], uint32(len(payload)))
	binary.LittleEndian.PutUint32(b[start+4:], crc32.Checksum(payload, castagnoli))
	return b, count
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

var errDamaged = errors.New("the record is damaged")

// maxRecord is the longest payload that is believed to be one.
const maxRecord = 64 << 20

// payload returns the payload of the record that b begins with, and the size
// of the record. ok is false when b ends before the record does.
func payload(b []byte) (p []byte, size int, ok bool, err error) {
	if len(b) < headSize {
		return nil, 0, false, nil
	}
	n := binary.LittleEndian.Uint32(b)
	if n == 0 || n > maxRecord {
		return nil, 0, false, errDamaged
	}
	size = headSize + int(n)
	if len(b) < size {
		return nil, 0, false, nil
	}
	p = b[headSize:size]
	if crc32.Checksum(p, castagnoli) != binary.LittleEndian.Uint32(b[4:]) {
		return nil, 0, false, errDamaged
	}
	return p, size, true, nil
}

// decode gives the looks of a payload to each, with the numbers of their
// subjects, and enters new subjects into known. The looks are counted even if
// each is nil.
func decode(p []byte, known *register, each func(number int, l look)) (count int, newest int64, err error) {
	d := decoder{b: p}
	for range d.length() {
		n := named{subject: subject{sereno.CheckID(d.varint()), sereno.VantageID(d.varint())}}
		n.device, n.kind = d.text(), d.text()
		if d.failed {
			return 0, 0, errDamaged
		}
		known.list = append(known.list, n)
	}
	count = d.length()
	base := d.varint()
	newest = math.MinInt64
	for range count {
		number, at, value := d.uvarint(), base+d.varint(), d.uvarint()
		if d.failed || number >= uint64(len(known.list)) {
			return 0, 0, errDamaged
		}
		newest = max(newest, at)
		if each != nil {
			s := known.list[number].subject
			each(int(number), look{s.check, s.vantage, at, value})
		}
	}
	if d.failed || len(d.b) != 0 {
		return 0, 0, errDamaged
	}
	return count, newest, nil
}

// A decoder reads from b until it fails.
type decoder struct {
	b      []byte
	failed bool
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.failed, d.b = true, nil
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.failed, d.b = true, nil
		return 0
	}
	d.b = d.b[n:]
	return v
}

// length reads a number of things, each of which takes at least a byte.
func (d *decoder) length() int {
	v := d.uvarint()
	if v > uint64(len(d.b)) {
		d.failed, d.b = true, nil
		return 0
	}
	return int(v)
}

func (d *decoder) text() string {
	n := d.length()
	s := string(d.b[:n])
	d.b = d.b[n:]
	return s
}
