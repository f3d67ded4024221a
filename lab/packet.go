package lab

import (
	"encoding/binary"
	"errors"
	"net/netip"
)

// What a packet can be instead of an echo.
var (
	errForeign   = errors.New("no echo request or reply in one piece")
	errMalformed = errors.New("wrong length or checksum")
)

const (
	header4, header6 = 20, 40 // without options and extension headers
	headerICMP       = 8
	hopLimit         = 64
)

const (
	protocolICMP4, protocolICMP6 = 1, 58
	echoRequest4, echoReply4     = 8, 0 // RFC 792
	echoRequest6, echoReply6     = 128, 129
)

// An echo is an echo request or reply with its IP header (RFC 792, RFC 4443).
type echo struct {
	src, dst netip.Addr
	reply    bool
	id, seq  uint16
	data     []byte
}

// parseEcho reads a packet as a host would: what has a wrong checksum or
// length is errMalformed, what is something else or a fragment errForeign. The
// data is part of packet.
func parseEcho(packet []byte) (echo, error) {
	if len(packet) == 0 {
		return echo{}, errMalformed
	}
	switch packet[0] >> 4 {
	case 4:
		return parseEcho4(packet)
	case 6:
		return parseEcho6(packet)
	default:
		return echo{}, errForeign
	}
}

func parseEcho4(b []byte) (echo, error) {
	if len(b) < header4 {
		return echo{}, errMalformed
	}
	header, total := int(b[0]&0xf)*4, int(binary.BigEndian.Uint16(b[2:]))
	if header < header4 || total < header || total > len(b) || fold(sum(0, b[:header])) != 0xffff {
		return echo{}, errMalformed
	}
	const fragment = 0x3fff // more fragments, or an offset
	if b[9] != protocolICMP4 || binary.BigEndian.Uint16(b[6:])&fragment != 0 {
		return echo{}, errForeign
	}
	e := echo{src: netip.AddrFrom4([4]byte(b[12:16])), dst: netip.AddrFrom4([4]byte(b[16:20]))}
	return e.parseICMP(b[header:total], 0, echoRequest4, echoReply4)
}

func parseEcho6(b []byte) (echo, error) {
	if len(b) < header6 {
		return echo{}, errMalformed
	}
	end := header6 + int(binary.BigEndian.Uint16(b[4:]))
	if end > len(b) {
		return echo{}, errMalformed
	}
	if b[6] != protocolICMP6 {
		return echo{}, errForeign
	}
	e := echo{src: netip.AddrFrom16([16]byte(b[8:24])), dst: netip.AddrFrom16([16]byte(b[24:40]))}
	return e.parseICMP(b[header6:end], pseudo(b), echoRequest6, echoReply6)
}

func (e echo) parseICMP(b []byte, acc uint64, request, reply byte) (echo, error) {
	if len(b) < headerICMP || fold(sum(acc, b)) != 0xffff {
		return echo{}, errMalformed
	}
	if b[0] != request && b[0] != reply || b[1] != 0 {
		return echo{}, errForeign
	}
	e.reply = b[0] == reply
	e.id, e.seq = binary.BigEndian.Uint16(b[4:]), binary.BigEndian.Uint16(b[6:])
	e.data = b[headerICMP:]
	return e, nil
}

// append appends the packet, checksums and all.
func (e echo) append(b []byte) []byte {
	kind := byte(echoRequest4)
	switch {
	case e.dst.Is4() && e.reply:
		kind = echoReply4
	case e.reply:
		kind = echoReply6
	case e.dst.Is6():
		kind = echoRequest6
	}
	b, start := appendIP(b, e.src, e.dst, headerICMP+len(e.data))
	b = append(b, kind, 0, 0, 0)
	b = binary.BigEndian.AppendUint16(b, e.id)
	b = binary.BigEndian.AppendUint16(b, e.seq)
	b = append(b, e.data...)
	seal(b[start:])
	return b
}

// appendRefusal appends the ICMP error that says why original was not
// delivered. It quotes the IP header and eight bytes (RFC 792), or all if
// whole: up to 576 bytes in total for IPv4 (RFC 1812), 1280 for IPv6 (RFC
// 4443).
func appendRefusal(b []byte, why Refusal, from, to netip.Addr, original []byte, whole bool) []byte {
	kind, most := refusals4[why], 576-header4-headerICMP
	header := int(original[0]&0xf) * 4
	if to.Is6() {
		kind, header, most = refusals6[why], header6, 1280-header6-headerICMP
	}
	quote := original[:min(len(original), header+8)]
	if whole {
		quote = original[:min(len(original), most)]
	}
	b, start := appendIP(b, from, to, headerICMP+len(quote))
	b = append(b, kind[0], kind[1], 0, 0, 0, 0, 0, 0)
	b = append(b, quote...)
	seal(b[start:])
	return b
}

// appendIP appends an IP header for an ICMP message of a length, and says
// where in b it starts.
func appendIP(b []byte, src, dst netip.Addr, length int) (_ []byte, start int) {
	start = len(b)
	if dst.Is4() {
		b = append(b, 4<<4|header4/4, 0)
		b = binary.BigEndian.AppendUint16(b, uint16(header4+length))
		b = append(b, 0, 0, 0, 0, hopLimit, protocolICMP4, 0, 0)
	} else {
		b = append(b, 6<<4, 0, 0, 0)
		b = binary.BigEndian.AppendUint16(b, uint16(length))
		b = append(b, protocolICMP6, hopLimit)
	}
	s, d := src.As16(), dst.As16()
	if dst.Is4() {
		return append(append(b, s[12:]...), d[12:]...), start
	}
	return append(append(b, s[:]...), d[:]...), start
}

// seal writes the checksums into a packet whose checksum fields are zero.
func seal(b []byte) {
	if b[0]>>4 == 4 {
		binary.BigEndian.PutUint16(b[10:], ^fold(sum(0, b[:header4])))
		binary.BigEndian.PutUint16(b[header4+2:], ^fold(sum(0, b[header4:])))
		return
	}
	binary.BigEndian.PutUint16(b[header6+2:], ^fold(sum(pseudo(b), b[header6:])))
}

// pseudo sums the pseudo-header that ICMPv6 checksums begin with (RFC 8200,
// section 8.1).
func pseudo(b []byte) uint64 {
	return sum(uint64(binary.BigEndian.Uint16(b[4:]))+protocolICMP6, b[8:40])
}

// sum adds b to a ones' complement sum that is not yet folded (RFC 1071).
func sum(acc uint64, b []byte) uint64 {
	for ; len(b) >= 4; b = b[4:] {
		acc += uint64(binary.BigEndian.Uint32(b))
	}
	if len(b) >= 2 {
		acc += uint64(binary.BigEndian.Uint16(b))
		b = b[2:]
	}
	if len(b) == 1 {
		acc += uint64(b[0]) << 8
	}
	return acc
}

func fold(acc uint64) uint16 {
	for acc > 0xffff {
		acc = acc>>16 + acc&0xffff
	}
	return uint16(acc)
}
