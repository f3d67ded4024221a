package icmp

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
)

// Message types (RFC 792, RFC 4443).
const (
	echoReply4   = 0
	echoRequest4 = 8
	echoRequest6 = 128
	echoReply6   = 129
)

const (
	headerSize = 8  // type, code, checksum, identifier, sequence number
	markSize   = 24 // slot, generation, stamp, token: all big-endian
)

// A mark is what a request carries so that its reply finds its way back.
type mark struct {
	slot       uint32 // which flight
	generation uint32 // which use of that slot
	stamp      int64  // when it was written, by the clock of the loop
}

// A seal makes marks that nobody else can make: the token beside a mark is
// AES-128 over it under a key that this process made up, cut to 64 bits. It
// can be verified without any memory of the request.
type seal struct {
	block     cipher.Block
	text, out [aes.BlockSize]byte
}

func newSeal() *seal {
	var key [16]byte
	rand.Read(key[:])
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic(err) // only for a key of another length
	}
	return &seal{block: block}
}

// write puts m and its token into the first markSize bytes of a payload.
func (s *seal) write(payload []byte, m mark) {
	_ = payload[markSize-1]
	binary.BigEndian.PutUint32(payload[0:], m.slot)
	binary.BigEndian.PutUint32(payload[4:], m.generation)
	binary.BigEndian.PutUint64(payload[8:], uint64(m.stamp))
	copy(s.text[:], payload)
	s.block.Encrypt(s.out[:], s.text[:])
	copy(payload[16:markSize], s.out[:])
}

// read returns the mark of a payload; ok is false when its token is not ours.
func (s *seal) read(payload []byte) (m mark, ok bool) {
	if len(payload) < markSize {
		return mark{}, false
	}
	copy(s.text[:], payload)
	s.block.Encrypt(s.out[:], s.text[:])
	if subtle.ConstantTimeCompare(s.out[:8], payload[16:markSize]) != 1 {
		return mark{}, false
	}
	return mark{
		slot:       binary.BigEndian.Uint32(payload[0:]),
		generation: binary.BigEndian.Uint32(payload[4:]),
		stamp:      int64(binary.BigEndian.Uint64(payload[8:])),
	}, true
}

// An echo is one echo message.
type echo struct {
	id       uint16
	sequence uint16
	payload  []byte
}

// parseEcho reads an ICMP echo message of one type, code 0. It does not look
// at the checksum: the payload proves more.
func parseEcho(message []byte, kind byte) (echo, bool) {
	if len(message) < headerSize || message[0] != kind || message[1] != 0 {
		return echo{}, false
	}
	return echo{
		id:       binary.BigEndian.Uint16(message[4:]),
		sequence: binary.BigEndian.Uint16(message[6:]),
		payload:  message[headerSize:],
	}, true
}

// putHeader writes the header of an echo request. rest is the sum of all that
// follows the header.
func putHeader(message []byte, kind byte, id, sequence uint16, rest uint64) {
	_ = message[headerSize-1]
	message[0], message[1], message[2], message[3] = kind, 0, 0, 0
	binary.BigEndian.PutUint16(message[4:], id)
	binary.BigEndian.PutUint16(message[6:], sequence)
	binary.BigEndian.PutUint16(message[2:], checksum(rest+sum(message[:headerSize])))
}

// sum adds up b for checksum. Sums of pieces with even lengths may be added.
func sum(b []byte) (s uint64) {
	for len(b) >= 4 {
		s += uint64(binary.BigEndian.Uint32(b))
		b = b[4:]
	}
	if len(b) >= 2 {
		s += uint64(binary.BigEndian.Uint16(b))
		b = b[2:]
	}
	if len(b) == 1 {
		s += uint64(b[0]) << 8
	}
	return s
}

// checksum is the Internet checksum (RFC 1071) of what sum added up.
func checksum(sum uint64) uint16 {
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// stripIPv4 returns what follows the header of an IPv4 packet.
func stripIPv4(packet []byte) ([]byte, bool) {
	if len(packet) < 20 || packet[0]>>4 != 4 {
		return nil, false
	}
	size := int(packet[0]&0xf) * 4
	if size < 20 || size > len(packet) {
		return nil, false
	}
	return packet[size:], true
}

// fill writes what a payload holds after its mark: byte i is i modulo 256.
func fill(payload []byte) {
	for i := markSize; i < len(payload); i++ {
		payload[i] = byte(i)
	}
}
