package icmp

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"sereno"
	"sereno/probe"
)

const (
	defaultSize = 56 // bytes of ICMP payload
	minSize     = markSize
	maxSize     = 65_507 - headerSize
)

// Settings are the kind's own keys of a check.
type Settings struct {
	Size int `json:"size"` // bytes of ICMP payload: 24 (they hold the proof that an answer is one) to 65,499; default 56
}

func parseSettings(text json.RawMessage) (Settings, error) {
	s := Settings{Size: defaultSize}
	if len(text) == 0 {
		return s, nil
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&s); err != nil {
		return s, &sereno.Error{Kind: sereno.Invalid, Text: fmt.Sprintf("icmp settings %s: %v; there is one key, size", text, err)}
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return s, &sereno.Error{Kind: sereno.Invalid, Text: fmt.Sprintf("icmp settings %s: more than one object", text)}
	}
	if s.Size < minSize || s.Size > maxSize {
		return s, &sereno.Error{Kind: sereno.Invalid, Field: "size", Text: fmt.Sprintf("%d bytes of payload: it must be %d to %d", s.Size, minSize, maxSize)}
	}
	return s, nil
}

// A family is an index of the loop's sockets.
type family uint8

const (
	noFamily family = iota // the address is not known
	ipv4
	ipv6
	families
)

// A target is all that a look at one address needs, and the looks at it that
// are under way. Its first and last belong to the loop.
type target struct {
	lane     *lane
	check    sereno.CheckID
	timeout  int64 // nanoseconds
	filling  uint64
	silence  string // the reason when nothing came back: "no reply in 1s"
	size     int32
	family   family
	sockaddr [unix.SizeofSockaddrInet6]byte

	first, last int32 // flights, in order of due times; 0: none
}

func (t *target) Check() sereno.CheckID { return t.check }

// sockaddrSize is how much of sockaddr counts.
func (t *target) sockaddrSize() uint32 {
	if t.family == ipv4 {
		return unix.SizeofSockaddrInet4
	}
	return unix.SizeofSockaddrInet6
}

// is reports whether a packet with this source address came from the target.
func (t *target) is(source *[unix.SizeofSockaddrInet6]byte) bool {
	if t.family == ipv4 {
		return [4]byte(source[4:8]) == [4]byte(t.sockaddr[4:8])
	}
	zone := [4]byte(t.sockaddr[24:28])
	return [16]byte(source[8:24]) == [16]byte(t.sockaddr[8:24]) && (zone == [4]byte{} || zone == [4]byte(source[24:28]))
}

// Target prepares a check for looking at addr. A Target belongs to the engine
// that made it.
func (e *Engine) Target(check sereno.CheckID, addr netip.Addr, timeout time.Duration, settings json.RawMessage) (probe.Target, error) {
	s, err := parseSettings(settings)
	if err != nil {
		return nil, err
	}
	if timeout <= 0 {
		return nil, sereno.Errorf(sereno.Invalid, "timeout %v: it must be above 0", timeout)
	}
	t := &target{lane: e.lane(), check: check, timeout: int64(timeout), size: int32(s.Size), silence: "no reply in " + timeout.String()}
	addr = addr.Unmap()
	switch {
	case !addr.IsValid():
		return t, nil
	case addr.IsUnspecified() || addr.IsMulticast():
		return nil, sereno.Errorf(sereno.Invalid, "%v is not the address of one host", addr)
	case addr.Is4():
		t.family = ipv4
		putNativeUint16(t.sockaddr[:], unix.AF_INET)
		*(*[4]byte)(t.sockaddr[4:]) = addr.As4()
	default:
		scope, err := scopeOf(addr.Zone())
		if err != nil {
			return nil, err
		}
		t.family = ipv6
		putNativeUint16(t.sockaddr[:], unix.AF_INET6)
		*(*[16]byte)(t.sockaddr[8:]) = addr.As16()
		*(*[4]byte)(t.sockaddr[24:]) = *(*[4]byte)(unsafe.Pointer(&scope))
	}
	filler := make([]byte, s.Size)
	fill(filler)
	t.filling = sum(filler[markSize:])
	e.grow(s.Size)
	return t, nil
}

// scopeOf returns the index of the interface that an IPv6 zone names.
func scopeOf(zone string) (uint32, error) {
	if zone == "" {
		return 0, nil
	}
	if link, err := net.InterfaceByName(zone); err == nil {
		return uint32(link.Index), nil
	}
	n, err := strconv.ParseUint(zone, 10, 32)
	if err != nil {
		return 0, sereno.Errorf(sereno.Invalid, "there is no interface %q on this machine", zone)
	}
	return uint32(n), nil
}

// The family of a sockaddr is in the machine's own byte order.
func nativeUint16(b []byte) uint16       { return *(*uint16)(unsafe.Pointer((*[2]byte)(b))) }
func putNativeUint16(b []byte, v uint16) { *(*[2]byte)(b) = *(*[2]byte)(unsafe.Pointer(&v)) }
