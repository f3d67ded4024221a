package icmp

import (
	"fmt"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"

	"sereno"
)

// A trouble is an ICMP error: who could not carry our request further, and why.
type trouble struct {
	from netip.Addr
	kind byte
	code byte
}

var (
	unreachable4 = [...]string{
		"network unreachable", "host unreachable", "protocol unreachable", "port unreachable",
		"fragmentation needed", "source route failed", "network unknown", "host unknown",
		"source host isolated", "network prohibited", "host prohibited",
		"network unreachable for this service", "host unreachable for this service",
		"administratively prohibited", "precedence violation", "precedence cut off",
	} // RFC 792, RFC 1122, RFC 1812
	unreachable6 = [...]string{
		"no route to destination", "administratively prohibited", "beyond the scope of our address",
		"host unreachable", "port unreachable", "our address is refused", "route rejects", "source route failed",
	} // RFC 4443, RFC 6550
)

// String says it as the reason of a result: "host unreachable, says 10.0.0.1".
func (t trouble) String() string {
	what := fmt.Sprintf("ICMP error %d/%d", t.kind, t.code)
	if t.from.Is4() {
		switch {
		case t.kind == 3 && int(t.code) < len(unreachable4):
			what = unreachable4[t.code]
		case t.kind == 11 && t.code == 0:
			what = "time to live exceeded"
		case t.kind == 11 && t.code == 1:
			what = "reassembly time exceeded"
		case t.kind == 12:
			what = "parameter problem"
		}
	} else {
		switch {
		case t.kind == 1 && int(t.code) < len(unreachable6):
			what = unreachable6[t.code]
		case t.kind == 2:
			what = "packet too big"
		case t.kind == 3 && t.code == 0:
			what = "hop limit exceeded"
		case t.kind == 3 && t.code == 1:
			what = "reassembly time exceeded"
		case t.kind == 4:
			what = "parameter problem"
		}
	}
	return what + ", says " + t.from.String()
}

// parseTrouble finds the ICMP error among the control messages of an error
// queue (IP_RECVERR, IPV6_RECVERR). Errors that this machine made up itself
// have no offender and are none.
func parseTrouble(control []byte) (trouble, bool) {
	for len(control) >= unix.SizeofCmsghdr {
		h, data, rest, err := unix.ParseOneSocketControlMessage(control)
		if err != nil {
			break
		}
		control = rest
		const size = int(unsafe.Sizeof(unix.SockExtendedErr{}))
		isError := h.Level == unix.SOL_IP && h.Type == unix.IP_RECVERR ||
			h.Level == unix.SOL_IPV6 && h.Type == unix.IPV6_RECVERR
		if !isError || len(data) < size {
			continue
		}
		origin, from := data[4], parseAddr(data[size:])
		t := trouble{from: from, kind: data[5], code: data[6]}
		if origin == unix.SO_EE_ORIGIN_ICMP && from.Is4() || origin == unix.SO_EE_ORIGIN_ICMP6 && from.Is6() {
			return t, true
		}
	}
	return trouble{}, false
}

// parseAddr returns the address in a sockaddr_in or sockaddr_in6.
func parseAddr(sockaddr []byte) netip.Addr {
	if len(sockaddr) < 2 {
		return netip.Addr{}
	}
	switch family := nativeUint16(sockaddr); {
	case family == unix.AF_INET && len(sockaddr) >= unix.SizeofSockaddrInet4:
		return netip.AddrFrom4([4]byte(sockaddr[4:8]))
	case family == unix.AF_INET6 && len(sockaddr) >= unix.SizeofSockaddrInet6:
		return netip.AddrFrom16([16]byte(sockaddr[8:24]))
	}
	return netip.Addr{}
}

// faultOf says what it means for a look that the kernel did not take its
// request.
func faultOf(errno unix.Errno) sereno.Fault {
	switch errno {
	case unix.ENETUNREACH, unix.EHOSTUNREACH, unix.ENETDOWN, unix.EADDRNOTAVAIL, unix.ENODEV, unix.ENXIO:
		return sereno.NoRoute
	case unix.ENOBUFS, unix.ENOMEM, unix.EAGAIN:
		return sereno.Skipped
	case unix.EBADF, unix.ENOTSOCK:
		return sereno.NoSocket
	default: // EPERM and EACCES: firewall, broadcast; EMSGSIZE, EINVAL: the size or the address
		return sereno.Refused
	}
}

// refusalOf says for a person why the kernel did not take a request.
func refusalOf(errno unix.Errno) string {
	if errno == unix.ENOBUFS { // its own words help nobody
		return "this machine could not send: its send queue or its table of neighbours is full (net.ipv4.neigh.default.gc_thresh3)"
	}
	return errno.Error()
}

// full reports whether the kernel may take the request a little later.
func full(errno unix.Errno) bool { return faultOf(errno) == sereno.Skipped }
