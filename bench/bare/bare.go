// Package bare measures what the kernel itself charges for looks by echo
// request on loopback: one goroutine and one raw socket, a sendmmsg, then
// recvmmsg until nothing is left, and nothing else. It keeps no state of
// targets, verifies nothing and delivers nothing, so nothing that does can be
// cheaper; it is what echo engines are compared with.
package bare

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Options say what to measure.
type Options struct {
	Rate     int           // looks a second
	Targets  int           // 127.0.0.1 and the next ones, in turn; up to 16 million
	Duration time.Duration // of sending
	Batch    int           // packets per sendmmsg; 0: 64
}

// A Report is what was measured.
type Report struct {
	Sent int
	Lost int             // no reply until 200 ms after the last request
	CPU  time.Duration   // user and system time of the whole process
	RTTs []time.Duration // kernel receive stamp minus the send stamp, interpolated over the batch
}

// PerLook returns the CPU time of one look.
func (r Report) PerLook() time.Duration {
	if r.Sent == 0 {
		return 0
	}
	return r.CPU / time.Duration(r.Sent)
}

// monitored is the time after which the runtime's monitor takes the processor
// from a goroutine that has not yielded, looking for it fifty times a
// millisecond. To yield before a shorter nap avoids that; before a longer one it
// only puts it off. Each is the cheaper of the two (measured).
const monitored = 10 * time.Millisecond

const (
	vlen    = 64
	size    = 8 + 56 // header and payload, as ping sends
	inSize  = 128
	control = 64
)

// A loop is the socket and the memory that the kernel reads and fills.
type loop struct {
	fd        int
	out, in   [vlen]unix.Mmsghdr
	outVector [vlen]unix.Iovec
	inVector  [vlen]unix.Iovec
	message   [vlen][size]byte
	packet    [vlen][inSize]byte
	control   [vlen][control]byte
	to        [vlen]unix.RawSockaddrInet4

	offset int64                  // wall minus monotonic clock
	sent   [1 << 16]time.Duration // by sequence number, since base
	report Report
	base   time.Time
}

// Run measures. It needs root.
func Run(ctx context.Context, o Options) (Report, error) {
	if o.Batch == 0 {
		o.Batch = vlen
	}
	if o.Rate <= 0 || o.Targets <= 0 || o.Targets >= 1<<24 || o.Batch < 0 || o.Batch > vlen {
		return Report{}, fmt.Errorf("bare loop: bad options %+v", o)
	}
	l := &loop{base: time.Now()}
	l.offset = l.base.UnixNano()
	l.report.RTTs = make([]time.Duration, 0, int(float64(o.Rate)*o.Duration.Seconds())+vlen)
	if err := l.open(); err != nil {
		return Report{}, err
	}
	defer unix.Close(l.fd)
	before := cpu()
	err := l.run(ctx, o)
	l.report.CPU = cpu() - before
	l.report.Lost = l.report.Sent - len(l.report.RTTs)
	return l.report, err
}

// open makes the socket: one that gets echo replies with our identifier, a
// receive stamp on each, and nothing else.
func (l *loop) open() (err error) {
	l.fd, err = unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMP)
	if err != nil {
		return fmt.Errorf("bare loop: open raw socket: %w", err)
	}
	id := uint16(unix.Getpid())
	program := []unix.SockFilter{
		{Code: unix.BPF_LDX | unix.BPF_B | unix.BPF_MSH},
		{Code: unix.BPF_LD | unix.BPF_H | unix.BPF_IND, K: 4},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: uint32(id)},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0xffff_ffff},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0},
	}
	err = errors.Join(
		unix.SetsockoptSockFprog(l.fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}),
		unix.SetsockoptInt(l.fd, unix.SOL_RAW, unix.ICMP_FILTER, ^1),
		unix.SetsockoptInt(l.fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1),
		unix.SetsockoptInt(l.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 32<<20),
	)
	if err != nil {
		unix.Close(l.fd)
		return fmt.Errorf("bare loop: prepare raw socket: %w", err)
	}
	for i := range vlen {
		m := &l.message[i]
		m[0] = 8
		binary.BigEndian.PutUint16(m[4:], id)
		l.to[i].Family = unix.AF_INET
		l.outVector[i].Base = &m[0]
		l.outVector[i].SetLen(size)
		l.inVector[i].Base = &l.packet[i][0]
		l.inVector[i].SetLen(inSize)
		out, in := &l.out[i].Hdr, &l.in[i].Hdr
		out.Iov, in.Iov = &l.outVector[i], &l.inVector[i]
		out.SetIovlen(1)
		in.SetIovlen(1)
		out.Name, out.Namelen = (*byte)(unsafe.Pointer(&l.to[i])), unix.SizeofSockaddrInet4
		in.Control = &l.control[i][0]
		in.SetControllen(control)
	}
	return nil
}

func (l *loop) run(ctx context.Context, o Options) error {
	total := int(float64(o.Rate) * o.Duration.Seconds())
	target := 0
	for l.report.Sent < total && ctx.Err() == nil {
		due := int(float64(o.Rate) * time.Since(l.base).Seconds())
		n := min(o.Batch, total-l.report.Sent)
		if due < l.report.Sent+n {
			wait := time.Duration(float64(l.report.Sent+n)/float64(o.Rate)*1e9) - time.Since(l.base)
			nap := unix.NsecToTimespec(int64(max(wait, time.Microsecond)))
			if wait < monitored {
				runtime.Gosched()
			}
			_ = unix.Nanosleep(&nap, nil) // a shorter nap is only another turn
			continue
		}
		for i := range n {
			binary.BigEndian.PutUint32(l.to[i].Addr[:], 127<<24|uint32(target+1))
			if target++; target == o.Targets {
				target = 0
			}
			l.write(i, uint16(l.report.Sent+i))
		}
		before := time.Since(l.base)
		sent, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(l.fd), uintptr(unsafe.Pointer(&l.out[0])), uintptr(n), 0, 0, 0)
		if errno != 0 {
			return fmt.Errorf("bare loop: sendmmsg: %w", errno)
		}
		after := time.Since(l.base)
		for i := range int(sent) {
			l.sent[uint16(l.report.Sent+i)] = before + (after-before)*time.Duration(i)/time.Duration(sent)
		}
		l.report.Sent += int(sent)
		if err := l.drain(); err != nil {
			return err
		}
	}
	for end := time.Now().Add(200 * time.Millisecond); len(l.report.RTTs) < l.report.Sent && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
		if err := l.drain(); err != nil {
			return err
		}
	}
	return context.Cause(ctx)
}

// write puts a sequence number and the checksum (RFC 1071) into a message,
// whose payload is all zero.
func (l *loop) write(i int, sequence uint16) {
	m := &l.message[i]
	binary.BigEndian.PutUint16(m[6:], sequence)
	sum := 8<<8 + uint32(binary.BigEndian.Uint16(m[4:])) + uint32(sequence)
	binary.BigEndian.PutUint16(m[2:], ^uint16(sum+sum>>16))
}

func (l *loop) drain() error {
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(l.fd), uintptr(unsafe.Pointer(&l.in[0])), vlen, unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
		case unix.EAGAIN:
			return nil
		default:
			return fmt.Errorf("bare loop: recvmmsg: %w", errno)
		}
		for i := range int(n) {
			p := &l.packet[i]
			header := int(p[0]&0xf) * 4
			stamp := (*unix.Timespec)(unsafe.Pointer(&l.control[i][unix.CmsgLen(0)]))
			sequence := binary.BigEndian.Uint16(p[header+6:])
			l.report.RTTs = append(l.report.RTTs, max(time.Duration(stamp.Nano()-l.offset)-l.sent[sequence], 1))
			l.in[i].Hdr.SetControllen(control)
		}
	}
}

// cpu returns the user and system time that this process has used.
func cpu() time.Duration {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
