package icmp

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"sereno"
	"sereno/probe"
)

// A wire is a network namespace with nothing in it but loopback and a TUN
// device. Hosts behind the device answer as a test has them do: 10.1.0.N and
// fd01::N as host N, fe80::N likewise. Host 0 is this end.
type wire struct {
	t     *testing.T
	tun   *os.File
	calls chan func()

	mu    sync.Mutex
	hosts map[byte]func(request []byte)
}

func newWire(t *testing.T) *wire {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("a network namespace and a TUN device need root")
	}
	w := &wire{t: t, calls: make(chan func()), hosts: make(map[byte]func([]byte))}
	var wg sync.WaitGroup
	var problem error
	ready := make(chan bool)
	wg.Go(func() {
		runtime.LockOSThread() // for good: the thread ends with its namespace
		problem = w.build()
		close(ready)
		for call := range w.calls {
			call()
		}
	})
	<-ready
	t.Cleanup(func() {
		close(w.calls)
		if w.tun != nil {
			w.tun.Close()
		}
		wg.Wait()
	})
	if problem != nil {
		t.Fatal(problem)
	}
	wg.Go(w.serve)
	return w
}

// build makes the namespace of the calling thread.
func (w *wire) build() error {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return err
	}
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	request, err := unix.NewIfreq("wire")
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, request); err != nil {
		return err
	}
	w.tun = os.NewFile(uintptr(fd), "tun")
	for _, name := range []string{"lo", "wire"} {
		link, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		if name == "wire" {
			if err := netlink.LinkSetMTU(link, 65535); err != nil {
				return err
			}
			if err := netlink.LinkSetTxQLen(link, 1<<17); err != nil {
				return err
			}
		}
		if err := netlink.LinkSetUp(link); err != nil {
			return err
		}
		if name == "lo" {
			continue
		}
		for _, cidr := range []string{"10.1.0.0/16", "fd01::/64", "fe80::/64"} {
			address, err := netlink.ParseAddr(cidr)
			if err != nil {
				return err
			}
			address.Flags = unix.IFA_F_NODAD
			if err := netlink.AddrAdd(link, address); err != nil {
				return err
			}
		}
	}
	return settled("fd01::", "fe80::")
}

// settled waits until packets to addresses of this end are taken in: the kernel
// adds their routes a moment after the addresses.
func settled(addresses ...string) error {
	for _, address := range addresses {
		for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
			routes, err := netlink.RouteGet(net.ParseIP(address))
			if err == nil && len(routes) > 0 && routes[0].Type == unix.RTN_LOCAL {
				break
			}
			if time.Now().After(end) {
				return fmt.Errorf("no local route to %s: %v %v", address, routes, err)
			}
		}
	}
	return nil
}

// index returns the number of the TUN device, as a zone.
func (w *wire) index() (zone string) {
	w.t.Helper()
	var problem error
	w.do(func() {
		var link netlink.Link
		if link, problem = netlink.LinkByName("wire"); problem == nil {
			zone = strconv.Itoa(link.Attrs().Index)
		}
	})
	if problem != nil {
		w.t.Fatal(problem)
	}
	return zone
}

// choke lets no packet wait for the TUN device, so that each one is dropped.
func (w *wire) choke() (problem error) {
	w.do(func() {
		var link netlink.Link
		if link, problem = netlink.LinkByName("wire"); problem != nil {
			return
		}
		if problem = netlink.LinkSetTxQLen(link, 0); problem != nil {
			return
		}
		problem = netlink.QdiscReplace(&netlink.GenericQdisc{
			QdiscAttrs: netlink.QdiscAttrs{LinkIndex: link.Attrs().Index, Parent: netlink.HANDLE_ROOT, Handle: netlink.MakeHandle(1, 0)},
			QdiscType:  "pfifo",
		})
	})
	return problem
}

// do calls f on the thread of the namespace.
func (w *wire) do(f func()) {
	done := make(chan bool)
	w.calls <- func() { f(); close(done) }
	<-done
}

// host says what host n does with a request.
func (w *wire) host(n byte, answer func(request []byte)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hosts[n] = answer
}

func (w *wire) serve() {
	packet := make([]byte, 1<<16)
	for {
		n, err := w.tun.Read(packet)
		if err != nil {
			return // closed
		}
		host, kind := byte(0), byte(0)
		switch {
		case n >= 28 && packet[0]>>4 == 4:
			host, kind = packet[19], packet[20]
		case n >= 48 && packet[0]>>4 == 6 && packet[6] == unix.IPPROTO_ICMPV6:
			host, kind = packet[39], packet[40]
		}
		if kind != echoRequest4 && kind != echoRequest6 {
			continue
		}
		w.mu.Lock()
		answer := w.hosts[host]
		w.mu.Unlock()
		if answer != nil {
			answer(append([]byte(nil), packet[:n]...))
		}
	}
}

func (w *wire) send(packet []byte) {
	if _, err := w.tun.Write(packet); err != nil && !isClosed(err) {
		w.t.Errorf("write to the TUN device: %v", err)
	}
}

func isClosed(err error) bool {
	pathError, ok := errors.AsType[*os.PathError](err)
	return ok && errors.Is(pathError.Err, os.ErrClosed)
}

// reply makes the answer to a request. change, if given, alters its ICMP
// message before the checksum is made.
func reply(request []byte, change func(message []byte)) []byte {
	p := append([]byte(nil), request...)
	if p[0]>>4 == 4 {
		copy(p[12:16], request[16:20])
		copy(p[16:20], request[12:16])
		p[20] = echoReply4
		return seal4(p, change)
	}
	copy(p[8:24], request[24:40])
	copy(p[24:40], request[8:24])
	p[40] = echoReply6
	return seal6(p, change)
}

// failure makes the ICMP error that a router sends about a request, of which
// it quotes so many bytes of the ICMP message.
func failure(request []byte, router netip.Addr, kind, code byte, quote int) []byte {
	if router.Is4() {
		quoted := request[:min(20+quote, len(request))]
		p := make([]byte, 28+len(quoted))
		p[0], p[8], p[9] = 0x45, 64, unix.IPPROTO_ICMP
		binary.BigEndian.PutUint16(p[2:], uint16(len(p)))
		copy(p[12:], router.AsSlice())
		copy(p[16:], request[12:16])
		p[20], p[21] = kind, code
		copy(p[28:], quoted)
		return seal4(p, nil)
	}
	quoted := request[:min(40+quote, len(request))]
	p := make([]byte, 48+len(quoted))
	p[0], p[6], p[7] = 0x60, unix.IPPROTO_ICMPV6, 64
	binary.BigEndian.PutUint16(p[4:], uint16(len(p)-40))
	copy(p[8:], router.AsSlice())
	copy(p[24:], request[8:24])
	p[40], p[41] = kind, code
	copy(p[48:], quoted)
	return seal6(p, nil)
}

func seal4(p []byte, change func([]byte)) []byte {
	if change != nil {
		change(p[20:])
	}
	p[10], p[11], p[22], p[23] = 0, 0, 0, 0
	binary.BigEndian.PutUint16(p[10:], checksum(sum(p[:20])))
	binary.BigEndian.PutUint16(p[22:], checksum(sum(p[20:])))
	return p
}

func seal6(p []byte, change func([]byte)) []byte {
	if change != nil {
		change(p[40:])
	}
	p[42], p[43] = 0, 0
	pseudo := sum(p[8:40]) + uint64(len(p)-40) + unix.IPPROTO_ICMPV6 // RFC 8200, 8.1
	binary.BigEndian.PutUint16(p[42:], checksum(pseudo+sum(p[40:])))
	return p
}

// host4 and host6 are the addresses of host n.
func host4(n byte) netip.Addr { return netip.AddrFrom4([4]byte{10, 1, 0, n}) }

func host6(n byte) netip.Addr {
	return netip.AddrFrom16([16]byte{0: 0xfd, 1: 1, 15: n})
}

// A watch is an engine that runs, and what it brings.
type watch struct {
	*Engine
	t        *testing.T
	results  chan sereno.Result
	evidence chan string
	stop     func()
}

// start runs an engine for as long as the test: on the wire, or in the
// namespace of the test if there is none.
func start(t *testing.T, w *wire, o Options) watch {
	t.Helper()
	watch := watch{t: t, results: make(chan sereno.Result, 1<<18), evidence: make(chan string, 1<<10)}
	if o.Deliver == nil {
		o.Deliver = func(batch []sereno.Result) {
			for _, r := range batch {
				watch.results <- r
			}
		}
	}
	o.Evidence = func(check sereno.CheckID, kind, detail string) { watch.evidence <- kind }
	e, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	watch.Engine = e
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	run := func() { done <- e.Run(ctx) }
	if w == nil {
		go run()
	} else {
		go w.do(run)
	}
	watch.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run ended with %v", err)
		}
	})
	t.Cleanup(watch.stop)
	return watch
}

func (w watch) target(check int, addr netip.Addr, timeout time.Duration, settings string) probe.Target {
	w.t.Helper()
	target, err := w.Target(sereno.CheckID(check), addr, timeout, []byte(settings))
	if err != nil {
		w.t.Fatal(err)
	}
	return target
}

// look takes looks at targets, all due now.
func (w watch) look(targets ...probe.Target) {
	w.t.Helper()
	var looks []probe.Look
	for _, target := range targets {
		looks = append(looks, probe.Look{Target: target, Due: now()})
	}
	if err := w.Sweep(w.t.Context(), looks); err != nil {
		w.t.Fatal(err)
	}
}

const patience = 30 * time.Second

// next returns the next result. A machine that does not let the loop run for a
// quarter of a second proves nothing.
func (w watch) next() sereno.Result {
	w.t.Helper()
	r := receive(w.t, w.results)
	if r.Fault == sereno.Stalled {
		w.t.Skipf("this machine is too busy for this test: %+v", r)
	}
	return r
}

func receive[T any](t *testing.T, from <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-from:
	case <-time.After(patience):
		t.Fatal("waited in vain")
	}
	return v
}

// counts waits until the counters are as wanted.
func (w watch) counts(wanted func(Counters) bool) {
	w.t.Helper()
	for end := time.Now().Add(patience); !wanted(w.Counters()); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			w.t.Fatalf("counters stay at %+v", w.Counters())
		}
	}
}
