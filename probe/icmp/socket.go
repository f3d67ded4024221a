package icmp

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A Mode is how echo requests reach the network.
type Mode uint8

const (
	Auto     Mode = iota // raw if permitted, else datagram
	Raw                  // a raw socket: needs CAP_NET_RAW
	Datagram             // an unprivileged "ping socket": needs net.ipv4.ping_group_range
)

func (m Mode) String() string { return [...]string{"auto", "raw", "datagram"}[m] }

const (
	batch         = 16  // packets per sendmmsg: their send stamps are interpolated
	inbox         = 128 // packets per recvmmsg
	receiveBuffer = 32 << 20
	sendBuffer    = 4 << 20
	smallest      = 256 // bytes of a receive buffer
)

// A socket sends and receives the echo messages of one family. It belongs to
// the loop.
type socket struct {
	fd      int
	family  family
	mode    Mode
	id      uint16
	request byte // message types
	reply   byte

	size     int // of the largest payload
	outgoing []unix.Mmsghdr
	slots    [batch]int32 // whose request it is
	first    int          // the first of outgoing that has not left
	queued   int          // how many are filled in

	incoming []unix.Mmsghdr
	sources  [][unix.SizeofSockaddrInet6]byte
	controls [][controlSize]byte
	errors   [controlSize]byte // control messages of the error queue

	flying   int
	troubled bool   // something may be in the error queue
	jammed   int64  // since when the kernel has taken nothing, by the loop's clock; 0: it does
	drops    uint32 // the kernel's count when it was last asked
	dropped  int64  // when it was last found to have grown, by the loop's clock
}

const controlSize = 128

// open makes a socket in the first of the modes that is permitted.
func open(f family, mode Mode, size int) (*socket, error) {
	if mode != Auto {
		return openAs(f, mode, size)
	}
	s, err := openAs(f, Raw, size)
	if err == nil || !denied(err) {
		return s, err
	}
	return openAs(f, Datagram, size)
}

// denied reports whether err says that we may not, rather than that we cannot.
func denied(err error) bool { return errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) }

func openAs(f family, mode Mode, size int) (s *socket, err error) {
	s = &socket{family: f, mode: mode, request: echoRequest4, reply: echoReply4}
	domain, protocol, kind := unix.AF_INET, unix.IPPROTO_ICMP, unix.SOCK_RAW
	if f == ipv6 {
		s.request, s.reply = echoRequest6, echoReply6
		domain, protocol = unix.AF_INET6, unix.IPPROTO_ICMPV6
	}
	if mode == Datagram {
		kind = unix.SOCK_DGRAM
	}
	s.fd, err = unix.Socket(domain, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return nil, fmt.Errorf("open %v echo socket: %w", mode, err)
	}
	if err := s.prepare(); err != nil {
		unix.Close(s.fd)
		return nil, fmt.Errorf("prepare %v echo socket: %w", mode, err)
	}
	s.grow(size)
	return s, nil
}

// prepare sets the options of a new socket and its identifier.
func (s *socket) prepare() error {
	set := func(level, option, value int) error { return unix.SetsockoptInt(s.fd, level, option, value) }
	if set(unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer) != nil {
		_ = set(unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer) // as much as the system allows; drops are counted
	}
	if set(unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, sendBuffer) != nil {
		_ = set(unix.SOL_SOCKET, unix.SO_SNDBUF, sendBuffer)
	}
	// The error queue tells ICMP errors in both modes; without it the kernel
	// also keeps quiet about requests that its own queues dropped (ENOBUFS).
	level, option := unix.SOL_IP, unix.IP_RECVERR
	if s.family == ipv6 {
		level, option = unix.SOL_IPV6, unix.IPV6_RECVERR
	}
	if err := cmp.Or(set(unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1), set(level, option, 1)); err != nil {
		return err
	}
	if s.mode == Datagram {
		return s.bind()
	}
	s.id = uint16(rand.Uint32())
	return s.filter()
}

// bind gives a ping socket its identifier, which the kernel chooses.
func (s *socket) bind() error {
	var free unix.Sockaddr = &unix.SockaddrInet4{}
	if s.family == ipv6 {
		free = &unix.SockaddrInet6{}
	}
	if err := unix.Bind(s.fd, free); err != nil {
		return err
	}
	name, err := unix.Getsockname(s.fd)
	if err != nil {
		return err
	}
	switch name := name.(type) {
	case *unix.SockaddrInet4:
		s.id = uint16(name.Port)
	case *unix.SockaddrInet6:
		s.id = uint16(name.Port)
	}
	return nil
}

// filter lets the kernel pass nothing but echo replies with our identifier. Our
// own requests, which loopback brings back, fall to the first filter, before
// the kernel has copied them.
func (s *socket) filter() error {
	jump, offset := unix.BPF_LD|unix.BPF_H|unix.BPF_ABS, uint32(4) // IPv6: begins with the ICMP message
	var program []unix.SockFilter
	if s.family == ipv4 { // begins with the IP header, whose length goes to X
		program = append(program, unix.SockFilter{Code: unix.BPF_LDX | unix.BPF_B | unix.BPF_MSH})
		jump = unix.BPF_LD | unix.BPF_H | unix.BPF_IND
	}
	program = append(program,
		unix.SockFilter{Code: uint16(jump), K: offset},
		unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: uint32(s.id)},
		unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: 0xffff_ffff},
		unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: 0},
	)
	err := unix.SetsockoptSockFprog(s.fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]})
	if err != nil {
		return err
	}
	if s.family == ipv4 {
		return unix.SetsockoptInt(s.fd, unix.SOL_RAW, unix.ICMP_FILTER, ^(1 << echoReply4))
	}
	var pass unix.ICMPv6Filter // a set bit blocks
	for i := range pass.Data {
		pass.Data[i] = 0xffff_ffff
	}
	pass.Data[echoReply6/32] &^= 1 << (echoReply6 % 32)
	return unix.SetsockoptICMPv6Filter(s.fd, unix.IPPROTO_ICMPV6, unix.ICMPV6_FILTER, &pass)
}

// grow makes room for payloads of size bytes. Nothing may be queued.
func (s *socket) grow(size int) {
	s.size = size
	messages := make([]byte, batch*(headerSize+size))
	s.outgoing = make([]unix.Mmsghdr, batch)
	vectors := make([]unix.Iovec, batch+inbox)
	for i := range s.outgoing {
		message := messages[i*(headerSize+size):][:headerSize+size]
		fill(message[headerSize:])
		vectors[i].Base = &message[0]
		s.outgoing[i].Hdr.Iov = &vectors[i]
		s.outgoing[i].Hdr.SetIovlen(1)
	}
	vectors = vectors[batch:]
	room := max(smallest, 60+headerSize+size)
	messages = make([]byte, inbox*room)
	s.incoming = make([]unix.Mmsghdr, inbox)
	s.sources = make([][unix.SizeofSockaddrInet6]byte, inbox)
	s.controls = make([][controlSize]byte, inbox)
	for i := range s.incoming {
		vectors[i].Base = &messages[i*room]
		vectors[i].SetLen(room)
		h := &s.incoming[i].Hdr
		h.Iov = &vectors[i]
		h.SetIovlen(1)
		h.Name, h.Control = &s.sources[i][0], &s.controls[i][0]
		s.rearm(i)
	}
}

// rearm makes an incoming header ready to be filled again.
func (s *socket) rearm(i int) {
	h := &s.incoming[i].Hdr
	h.Namelen = unix.SizeofSockaddrInet6
	h.SetControllen(controlSize)
}

// queue fills in the request of a look. There is room for it when queued is
// below batch.
func (s *socket) queue(slot int32, t *target, seal *seal, m mark) {
	h := &s.outgoing[s.queued].Hdr
	size := headerSize + int(t.size)
	message := unsafe.Slice(h.Iov.Base, size)
	seal.write(message[headerSize:], m)
	putHeader(message, s.request, s.id, uint16(slot), t.filling+sum(message[headerSize:headerSize+markSize]))
	h.Iov.SetLen(size)
	h.Name, h.Namelen = &t.sockaddr[0], t.sockaddrSize()
	s.slots[s.queued] = slot
	s.queued++
}

// send hands what is queued to the kernel, which takes n of them. When it takes
// none, errno says why.
func (s *socket) send() (n int, errno unix.Errno) {
	r, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(s.fd), uintptr(unsafe.Pointer(&s.outgoing[s.first])), uintptr(s.queued-s.first), 0, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(r), 0
}

// receive takes up to inbox packets from the kernel.
func (s *socket) receive() (n int, errno unix.Errno) {
	r, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(s.fd), uintptr(unsafe.Pointer(&s.incoming[0])), inbox, unix.MSG_DONTWAIT, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(r), 0
}

// message returns the ICMP message of an incoming packet.
func (s *socket) message(i int) ([]byte, bool) {
	m := &s.incoming[i]
	packet := unsafe.Slice(m.Hdr.Iov.Base, int(m.Len))
	if s.mode == Raw && s.family == ipv4 {
		return stripIPv4(packet)
	}
	return packet, true
}

// stamp returns when the kernel received an incoming packet: nanoseconds since
// 1970, 0 if it did not say.
func (s *socket) stamp(i int) int64 {
	return parseStamp(s.controls[i][:min(uint64(s.incoming[i].Hdr.Controllen), controlSize)])
}

// parseStamp finds a receive stamp among control messages.
func parseStamp(control []byte) int64 {
	for len(control) >= unix.SizeofCmsghdr {
		h, data, rest, err := unix.ParseOneSocketControlMessage(control)
		if err != nil {
			return 0
		}
		if h.Level == unix.SOL_SOCKET && h.Type == unix.SCM_TIMESTAMPNS && len(data) >= int(unsafe.Sizeof(unix.Timespec{})) {
			var t unix.Timespec
			copy(unsafe.Slice((*byte)(unsafe.Pointer(&t)), unsafe.Sizeof(t)), data)
			return t.Nano()
		}
		control = rest
	}
	return 0
}

// lastError takes one ICMP error from the error queue: what it says, to whom
// the request went, and as much of the request as it quotes. ok is false when
// the queue is empty.
func (s *socket) lastError() (control []byte, to *[unix.SizeofSockaddrInet6]byte, quoted []byte, ok bool) {
	h := s.incoming[0].Hdr
	h.Control = &s.errors[0]
	h.SetControllen(controlSize)
	n, _, errno := unix.RawSyscall(unix.SYS_RECVMSG, uintptr(s.fd), uintptr(unsafe.Pointer(&h)), unix.MSG_ERRQUEUE|unix.MSG_DONTWAIT)
	if errno != 0 {
		return nil, nil, nil, false
	}
	return s.errors[:min(uint64(h.Controllen), controlSize)], &s.sources[0], unsafe.Slice(h.Iov.Base, int(n)), true
}

// overflow returns how many packets the receive buffer had no room for since
// it was last asked. It is the count that SO_RXQ_OVFL attaches to packets;
// asking finds it also when no packet followed those that were dropped.
func (s *socket) overflow() uint32 {
	const drops = 8 // SK_MEMINFO_DROPS
	var info [drops + 1]uint32
	size := uint32(unsafe.Sizeof(info))
	_, _, errno := unix.RawSyscall6(unix.SYS_GETSOCKOPT, uintptr(s.fd), unix.SOL_SOCKET, unix.SO_MEMINFO, uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 || size < uint32(unsafe.Sizeof(info)) {
		return 0
	}
	n := info[drops] - s.drops
	s.drops = info[drops]
	return n
}

func (s *socket) close() { unix.Close(s.fd) }

// permission turns the refusal of a socket into a sentence that says what to
// do.
func permission(err error) string {
	switch {
	case denied(err):
		program, problem := os.Executable()
		if problem != nil {
			program = os.Args[0]
		}
		return fmt.Sprintf("echo requests are not permitted: run  setcap cap_net_raw+ep %s  or  sysctl -w net.ipv4.ping_group_range=\"0 2147483647\"", program)
	case errors.Is(err, unix.EAFNOSUPPORT):
		return "this machine does not speak this address family"
	default:
		return err.Error()
	}
}
