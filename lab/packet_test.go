package lab

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"testing"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

var (
	ping4 = echo{src: Vantage4, dst: addr("10.0.0.1"), id: 7, seq: 65535, data: []byte("an odd lot of bytes")}
	ping6 = echo{src: Vantage6, dst: addr("fd00:5e7e::1"), id: 7, seq: 65535, data: []byte("an odd lot of bytes")}
)

func addr(s string) netip.Addr     { return netip.MustParseAddr(s) }
func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

// parseMessage reads a packet with the decoders of x/net, which share nothing
// with ours.
func parseMessage(t *testing.T, packet []byte) (src netip.Addr, m *icmp.Message) {
	t.Helper()
	if packet[0]>>4 == 4 {
		h, err := ipv4.ParseHeader(packet)
		if err != nil {
			t.Fatal(err)
		}
		if h.TotalLen != len(packet) || h.Protocol != 1 {
			t.Fatalf("header says %v for %d bytes", h, len(packet))
		}
		if m, err = icmp.ParseMessage(1, packet[h.Len:]); err != nil {
			t.Fatal(err)
		}
		src, _ := netip.AddrFromSlice(h.Src)
		return src.Unmap(), m
	}
	h, err := ipv6.ParseHeader(packet)
	if err != nil {
		t.Fatal(err)
	}
	if h.PayloadLen != len(packet)-40 || h.NextHeader != 58 {
		t.Fatalf("header says %v for %d bytes", h, len(packet))
	}
	if m, err = icmp.ParseMessage(58, packet[40:]); err != nil {
		t.Fatal(err)
	}
	src, _ = netip.AddrFromSlice(h.Src)
	return src, m
}

func TestEchoIsWhatOthersRead(t *testing.T) {
	for _, e := range []echo{ping4, ping6} {
		for _, reply := range []bool{false, true} {
			e.reply = reply
			src, m := parseMessage(t, e.append(nil))
			body, ok := m.Body.(*icmp.Echo)
			if !ok || src != e.src || m.Code != 0 || body.ID != 7 || body.Seq != 65535 || string(body.Data) != string(e.data) {
				t.Errorf("%v was read as %v from %v, %+v", e, m, src, m.Body)
			}
		}
	}
}

// TestPacketsAreWhatOthersWrite compares with the encoder of x/net, checksums
// and all.
func TestPacketsAreWhatOthersWrite(t *testing.T) {
	for _, e := range []echo{ping4, ping6} {
		var kind icmp.Type = ipv4.ICMPTypeEcho
		var pseudo []byte
		header := header4
		if e.dst.Is6() {
			kind, header = ipv6.ICMPTypeEchoRequest, header6
			pseudo = icmp.IPv6PseudoHeader(e.src.AsSlice(), e.dst.AsSlice())
		}
		m := icmp.Message{Type: kind, Body: &icmp.Echo{ID: int(e.id), Seq: int(e.seq), Data: e.data}}
		want, err := m.Marshal(pseudo)
		if err != nil {
			t.Fatal(err)
		}
		if got := e.append(nil)[header:]; !bytes.Equal(got, want) {
			t.Errorf("%v: got % x, x/net writes % x", e.dst, got, want)
		}
	}
}

func TestSum(t *testing.T) {
	// RFC 1071, section 3.
	if got := fold(sum(0, []byte{0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7})); got != 0xddf2 {
		t.Errorf("got %#x, RFC 1071 says 0xddf2", got)
	}
}

func TestRefusal(t *testing.T) {
	type story struct {
		name    string
		request echo
		why     Refusal
		from    string
		whole   bool
		kind    icmp.Type
		code    int
		quoted  int // bytes of the request
	}
	long4, long6 := ping4, ping6
	long4.data, long6.data = make([]byte, 3000), make([]byte, 3000)
	for _, s := range []story{
		{"a router knows no host", ping4, HostUnreachable, "10.0.0.254", false, ipv4.ICMPTypeDestinationUnreachable, 1, 28},
		{"a router knows no network", ping4, NetUnreachable, "10.0.0.254", false, ipv4.ICMPTypeDestinationUnreachable, 0, 28},
		{"the host itself has no port", ping4, PortUnreachable, "10.0.0.1", true, ipv4.ICMPTypeDestinationUnreachable, 3, 28 + len(ping4.data)},
		{"a loop", ping4, TimeExceeded, "172.16.0.1", true, ipv4.ICMPTypeTimeExceeded, 0, 28 + len(ping4.data)},
		{"all is 576 bytes", long4, HostUnreachable, "10.0.0.254", true, ipv4.ICMPTypeDestinationUnreachable, 1, 576 - 28},
		{"IPv6: address unreachable", ping6, HostUnreachable, "fd00:5e7e::fe", true, ipv6.ICMPTypeDestinationUnreachable, 3, 48 + len(ping6.data)},
		{"IPv6: no route", ping6, NetUnreachable, "fd00:5e7e::fe", false, ipv6.ICMPTypeDestinationUnreachable, 0, 48},
		{"IPv6: port unreachable", ping6, PortUnreachable, "fd00:5e7e::1", false, ipv6.ICMPTypeDestinationUnreachable, 4, 48},
		{"IPv6: time exceeded", ping6, TimeExceeded, "fd00:5e7e::fe", false, ipv6.ICMPTypeTimeExceeded, 0, 48},
		{"IPv6: all is 1280 bytes", long6, HostUnreachable, "fd00:5e7e::fe", true, ipv6.ICMPTypeDestinationUnreachable, 3, 1280 - 48},
	} {
		t.Run(s.name, func(t *testing.T) {
			original := s.request.append(nil)
			packet := appendRefusal(nil, s.why, addr(s.from), s.request.src, original, s.whole)
			src, m := parseMessage(t, packet)
			if src != addr(s.from) || m.Type != s.kind || m.Code != s.code {
				t.Errorf("got %v code %d from %v", m.Type, m.Code, src)
			}
			header := header4
			var pseudoSum uint64
			if s.request.dst.Is6() {
				header, pseudoSum = header6, pseudo(packet)
			}
			if fold(sum(pseudoSum, packet[header:])) != 0xffff {
				t.Error("wrong checksum")
			}
			if quote := packet[header+headerICMP:]; !bytes.Equal(quote, original[:s.quoted]) {
				t.Errorf("quotes %d bytes, not the first %d of the request", len(quote), s.quoted)
			}
		})
	}
}

func TestDamageIsNoticed(t *testing.T) {
	for _, e := range []echo{ping4, ping6} {
		whole := e.append(nil)
		for cut := range whole {
			if _, err := parseEcho(whole[:cut]); err == nil {
				t.Errorf("%v: %d of %d bytes were taken for an echo", e.dst, cut, len(whole))
			}
		}
		for bit := range len(whole) * 8 {
			damaged := bytes.Clone(whole)
			damaged[bit/8] ^= 1 << (bit % 8)
			_, err := parseEcho(damaged)
			// Of an IPv6 header only lengths, addresses and the next header
			// are covered by a checksum.
			uncovered := e.dst.Is6() && (bit < 32 || bit/8 == 7)
			if err == nil && !uncovered {
				t.Errorf("%v: bit %d was turned, and nobody noticed", e.dst, bit)
			}
		}
	}
}

func TestForeignPackets(t *testing.T) {
	fragment := ping4.append(nil)
	fragment[6] |= 0x20 // more fragments
	clear(fragment[10:12])
	binary.BigEndian.PutUint16(fragment[10:], ^fold(sum(0, fragment[:header4])))
	refusal := appendRefusal(nil, HostUnreachable, addr("10.0.0.1"), Vantage4, ping4.append(nil), true)
	for name, packet := range map[string][]byte{"fragment": fragment, "refusal": refusal, "ARP": {0, 1, 8, 0}} {
		if _, err := parseEcho(packet); !errors.Is(err, errForeign) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// FuzzParseEcho: nothing that comes over a wire makes the parser panic, and
// what it takes for an echo it can write again so that it reads the same.
func FuzzParseEcho(f *testing.F) {
	f.Add(ping4.append(nil))
	f.Add(ping6.append(nil))
	f.Add(appendRefusal(nil, TimeExceeded, addr("10.0.0.1"), Vantage4, ping4.append(nil), true))
	f.Add([]byte{0x4f})
	f.Fuzz(func(t *testing.T, packet []byte) {
		e, err := parseEcho(packet)
		if err != nil {
			if !errors.Is(err, errForeign) && !errors.Is(err, errMalformed) {
				t.Fatalf("an unknown kind of error: %v", err)
			}
			return
		}
		again, err := parseEcho(e.append(nil))
		if err != nil {
			t.Fatalf("cannot read what was written: %v", err)
		}
		if again.src != e.src || again.dst != e.dst || again.reply != e.reply || again.id != e.id || again.seq != e.seq || !bytes.Equal(again.data, e.data) {
			t.Fatalf("%+v became %+v", e, again)
		}
	})
}

// FuzzEcho: whatever an echo holds survives the wire.
func FuzzEcho(f *testing.F) {
	f.Add(true, uint16(1), uint16(2), []byte("data"), []byte("0123456789abcdef"))
	f.Add(false, uint16(0), uint16(65535), []byte{}, []byte("abcd"))
	f.Fuzz(func(t *testing.T, reply bool, id, seq uint16, data, dst []byte) {
		e := echo{src: Vantage4, reply: reply, id: id, seq: seq, data: data}
		var ok bool
		if e.dst, ok = netip.AddrFromSlice(dst); !ok || len(data) > 60_000 {
			return
		}
		if e.dst.Is6() {
			e.src = Vantage6
		}
		got, err := parseEcho(e.append(nil))
		if err != nil {
			t.Fatal(err)
		}
		if got.src != e.src || got.dst != e.dst || got.reply != reply || got.id != id || got.seq != seq || !bytes.Equal(got.data, data) {
			t.Fatalf("%+v became %+v", e, got)
		}
	})
}
