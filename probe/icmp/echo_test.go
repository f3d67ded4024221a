package icmp

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

func TestChecksum(t *testing.T) {
	// The example of RFC 1071, section 3.
	if got := checksum(sum([]byte{0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7})); got != ^uint16(0xddf2) {
		t.Errorf("checksum %#x, want %#x", got, ^uint16(0xddf2))
	}
	message := make([]byte, headerSize+57)
	fill(message[headerSize:])
	putHeader(message, echoRequest4, 0xbeef, 0xffff, sum(message[headerSize:]))
	if got := checksum(sum(message)); got != 0 {
		t.Errorf("a message with its checksum adds up to %#x, want 0", got)
	}
}

func TestSealOfAnEcho(t *testing.T) {
	s := newSeal()
	payload := make([]byte, markSize)
	m := mark{slot: 70_000, generation: 3, stamp: 123_456_789}
	s.write(payload, m)
	if got, ok := s.read(payload); !ok || got != m {
		t.Fatalf("read %+v %v, want %+v", got, ok, m)
	}
	for bit := range markSize * 8 {
		forged := bytes.Clone(payload)
		forged[bit/8] ^= 1 << (bit % 8)
		if _, ok := s.read(forged); ok {
			t.Errorf("bit %d can be changed unnoticed", bit)
		}
	}
	if _, ok := s.read(payload[:markSize-1]); ok {
		t.Error("a short mark is accepted")
	}
	if _, ok := newSeal().read(payload); ok {
		t.Error("the seal of another process is accepted")
	}
}

func FuzzEcho4(f *testing.F) {
	s := newSeal()
	genuine := make([]byte, 20+headerSize+markSize)
	genuine[0] = 0x45
	s.write(genuine[28:], mark{slot: 1})
	f.Add(genuine)
	f.Add([]byte{0x4f, 0, 0})
	f.Add(append([]byte{0x46}, make([]byte, 27)...))
	f.Fuzz(func(t *testing.T, packet []byte) {
		message, ok := stripIPv4(packet)
		if ok && (len(packet)-len(message) < 20 || len(packet)-len(message) > 60) {
			t.Errorf("a header of %d bytes", len(packet)-len(message))
		}
		checkEcho(t, s, message, echoReply4, genuine[28:])
	})
}

func FuzzEcho6(f *testing.F) {
	s := newSeal()
	genuine := make([]byte, headerSize+markSize)
	genuine[0] = echoReply6
	s.write(genuine[headerSize:], mark{slot: 1})
	f.Add(genuine)
	f.Add([]byte{echoReply6})
	f.Fuzz(func(t *testing.T, message []byte) {
		checkEcho(t, s, message, echoReply6, genuine[headerSize:])
	})
}

// checkEcho checks that nothing passes for a genuine echo but the one that is.
func checkEcho(t *testing.T, s *seal, message []byte, kind byte, genuine []byte) {
	e, ok := parseEcho(message, kind)
	if !ok {
		return
	}
	if message[0] != kind || message[1] != 0 || len(e.payload) != len(message)-headerSize {
		t.Errorf("%x passes for an echo", message)
	}
	if _, ok := s.read(e.payload); ok && !bytes.Equal(e.payload[:markSize], genuine) {
		t.Errorf("%x passes for ours", e.payload)
	}
}

// controlMessage makes one control message as the kernel does.
func controlMessage(level, kind int, data []byte) []byte {
	b := make([]byte, unix.CmsgSpace(len(data)))
	h := (*unix.Cmsghdr)(unsafe.Pointer(&b[0]))
	h.Level, h.Type = int32(level), int32(kind)
	h.SetLen(unix.CmsgLen(len(data)))
	copy(b[unix.CmsgLen(0):], data)
	return b
}

// extendedError makes a sock_extended_err with its offender.
func extendedError(origin, kind, code byte, from netip.Addr) []byte {
	data := make([]byte, 16)
	data[4], data[5], data[6] = origin, kind, code
	if from.Is4() {
		data = append(data, make([]byte, unix.SizeofSockaddrInet4)...)
		putNativeUint16(data[16:], unix.AF_INET)
		copy(data[20:], from.AsSlice())
	} else {
		data = append(data, make([]byte, unix.SizeofSockaddrInet6)...)
		putNativeUint16(data[16:], unix.AF_INET6)
		copy(data[24:], from.AsSlice())
	}
	return data
}

func TestTroubles(t *testing.T) {
	stamp := controlMessage(unix.SOL_SOCKET, unix.SCM_TIMESTAMPNS, make([]byte, 16))
	for _, test := range []struct {
		rule    string
		control []byte
		says    string // empty: no ICMP error
	}{
		{"who says it, and what", controlMessage(unix.SOL_IP, unix.IP_RECVERR, extendedError(unix.SO_EE_ORIGIN_ICMP, 3, 1, netip.MustParseAddr("10.0.0.1"))), "host unreachable, says 10.0.0.1"},
		{"time exceeded", controlMessage(unix.SOL_IP, unix.IP_RECVERR, extendedError(unix.SO_EE_ORIGIN_ICMP, 11, 0, netip.MustParseAddr("10.0.0.1"))), "time to live exceeded, says 10.0.0.1"},
		{"a code that nobody has assigned", controlMessage(unix.SOL_IP, unix.IP_RECVERR, extendedError(unix.SO_EE_ORIGIN_ICMP, 3, 77, netip.MustParseAddr("10.0.0.1"))), "ICMP error 3/77, says 10.0.0.1"},
		{"IPv6", controlMessage(unix.SOL_IPV6, unix.IPV6_RECVERR, extendedError(unix.SO_EE_ORIGIN_ICMP6, 1, 0, netip.MustParseAddr("fd01::1"))), "no route to destination, says fd01::1"},
		{"behind another control message", append(stamp, controlMessage(unix.SOL_IP, unix.IP_RECVERR, extendedError(unix.SO_EE_ORIGIN_ICMP, 3, 0, netip.MustParseAddr("10.0.0.1")))...), "network unreachable, says 10.0.0.1"},
		{"an error of this machine is none", controlMessage(unix.SOL_IP, unix.IP_RECVERR, extendedError(unix.SO_EE_ORIGIN_LOCAL, 0, 0, netip.MustParseAddr("10.0.0.1"))), ""},
		{"without offender it is none", controlMessage(unix.SOL_IP, unix.IP_RECVERR, make([]byte, 16)), ""},
		{"nothing", nil, ""},
	} {
		trouble, ok := parseTrouble(test.control)
		if ok != (test.says != "") || ok && trouble.String() != test.says {
			t.Errorf("%s: %v %v, want %q", test.rule, trouble, ok, test.says)
		}
	}
}

func FuzzTrouble(f *testing.F) {
	f.Add(controlMessage(unix.SOL_IP, unix.IP_RECVERR, extendedError(unix.SO_EE_ORIGIN_ICMP, 3, 1, netip.MustParseAddr("10.0.0.1"))))
	f.Add(controlMessage(unix.SOL_IPV6, unix.IPV6_RECVERR, extendedError(unix.SO_EE_ORIGIN_ICMP6, 1, 0, netip.MustParseAddr("fd01::1"))))
	f.Fuzz(func(t *testing.T, control []byte) {
		trouble, ok := parseTrouble(control)
		if ok && (!trouble.from.IsValid() || trouble.String() == "") {
			t.Errorf("%+v", trouble)
		}
	})
}

func TestStamp(t *testing.T) {
	const at int64 = 1_700_000_000_123_456_789
	spec := unix.NsecToTimespec(at)
	data := unsafe.Slice((*byte)(unsafe.Pointer(&spec)), unsafe.Sizeof(spec))
	other := controlMessage(unix.SOL_SOCKET, unix.SO_RXQ_OVFL, make([]byte, 4))
	if got := parseStamp(append(other, controlMessage(unix.SOL_SOCKET, unix.SCM_TIMESTAMPNS, data)...)); got != at {
		t.Errorf("stamp %d, want %d", got, at)
	}
	if got := parseStamp(other); got != 0 {
		t.Errorf("stamp %d where there is none", got)
	}
}

func FuzzStamp(f *testing.F) {
	f.Add(controlMessage(unix.SOL_SOCKET, unix.SCM_TIMESTAMPNS, binary.BigEndian.AppendUint64(nil, uint64(time.Second))))
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, control []byte) {
		if got := parseStamp(control); got != 0 && len(control) < unix.CmsgLen(8) {
			t.Errorf("stamp %d out of %d bytes", got, len(control))
		}
	})
}
