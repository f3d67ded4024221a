package icmp

import (
	"context"
	"encoding/binary"
	"errors"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sereno"
	"sereno/probe"
	"sereno/probe/probetest"
)

func needRaw(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("raw sockets need root")
	}
}

// allowDatagram permits ping sockets in the namespace of a wire.
func (w *wire) allowDatagram() {
	w.t.Helper()
	var err error
	w.do(func() {
		err = os.WriteFile("/proc/sys/net/ipv4/ping_group_range", []byte("0 2147483647"), 0)
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

func TestSweeper(t *testing.T) {
	for _, mode := range []Mode{Raw, Datagram} {
		for name, addr := range map[string]func(byte) netip.Addr{"IPv4": host4, "IPv6": host6} {
			t.Run(mode.String()+" "+name, func(t *testing.T) {
				w := newWire(t)
				w.allowDatagram()
				w.host(1, func(request []byte) { w.send(reply(request, nil)) })
				probetest.Sweeper(t, probetest.Subject{
					New: func(t *testing.T, deliver probe.Deliver) probe.Sweeper {
						e, err := New(Options{Deliver: deliver, Mode: mode})
						if err != nil {
							t.Fatal(err)
						}
						return e
					},
					Run: func(ctx context.Context, s probe.Sweeper) (err error) {
						w.do(func() { err = s.Run(ctx) })
						return err
					},
					Answers:  addr(1),
					Silent:   addr(2),
					Settings: []string{`{"size": 10}`, `{"size": 100000}`},
				})
			})
		}
	}
}

func TestLoopbackAnswers(t *testing.T) {
	needRaw(t)
	e := start(t, nil, Options{Mode: Raw})
	const hosts, rounds = 1000, 5
	for range rounds {
		var targets []probe.Target
		for i := range hosts {
			targets = append(targets, e.target(i, netip.AddrFrom4([4]byte{127, 3, byte(i >> 8), byte(i)}), patience, ``))
		}
		e.look(append(targets, e.target(hosts, netip.IPv6Loopback(), patience, `{"size": 1400}`))...)
		for range hosts + 1 {
			if r := e.next(); r.Status != sereno.Up || r.RTT < 1 {
				t.Fatalf("%+v", r)
			}
		}
	}
	e.stop()
	want := Counters{Sent: rounds * (hosts + 1), Received: rounds * (hosts + 1)}
	got := e.Counters()
	if got.Lateness = (Lateness{}); got != want {
		t.Errorf("counted %+v, want %+v: our own requests and other programs' replies must stay outside", got, want)
	}
}

func TestEvidenceIsNoAnswer(t *testing.T) {
	w := newWire(t)
	const timeout = 250 * time.Millisecond
	foreign := func(host byte, change func(message []byte)) {
		w.host(host, func(request []byte) { w.send(reply(request, change)) })
	}
	foreign(1, func(m []byte) { m[headerSize+16] ^= 1 })
	foreign(2, func(m []byte) { m[headerSize+markSize] ^= 1 })
	foreign(3, func(m []byte) { m[7] ^= 1 })
	w.host(4, func(request []byte) { // genuine, but host 5 says it
		p := reply(request, nil)
		p[15] = 5
		w.send(seal4(p, nil))
	})
	w.host(6, func(request []byte) { // shorter than the request
		p := reply(request, nil)
		p = p[:len(p)-8]
		binary.BigEndian.PutUint16(p[2:], uint16(len(p)))
		w.send(seal4(p, nil))
	})
	e := start(t, w, Options{Mode: Raw})
	var targets []probe.Target
	for _, host := range []byte{1, 2, 3, 4, 6} {
		targets = append(targets, e.target(int(host), host4(host), timeout, ``))
	}
	e.look(targets...)
	for range targets {
		if r := e.next(); r.Status != sereno.Down || r.Reason != "no reply in 250ms" {
			t.Errorf("%+v, want down without a reply", r)
		}
	}
	if c := e.Counters(); c.Foreign != 5 || c.Received != 0 || c.Late != 0 {
		t.Errorf("%+v, want 5 foreign", c)
	}
}

func TestLateAndDuplicateReplies(t *testing.T) {
	w := newWire(t)
	late := make(chan []byte, 1)
	w.host(1, func(request []byte) { late <- reply(request, nil) })
	w.host(2, func(request []byte) {
		w.send(reply(request, nil))
		w.send(reply(request, nil))
	})
	e := start(t, w, Options{Mode: Raw})
	e.look(e.target(1, host4(1), 100*time.Millisecond, ``))
	if r := e.next(); r.Status != sereno.Down || r.Reason != "no reply in 100ms" {
		t.Errorf("%+v, want down", r)
	}
	w.send(<-late)
	two := e.target(2, host4(2), patience, ``)
	for c := e.Counters(); c.Late != 1 || c.Duplicate < 1; c = e.Counters() { // what comes while nothing is under way is read with the next look
		e.look(two)
		if r := e.next(); r.Status != sereno.Up || r.Check != 2 {
			t.Fatalf("%+v, want up", r)
		}
	}
	told := map[string]bool{receive(t, e.evidence): true, receive(t, e.evidence): true}
	for kind := range told {
		if kind != "late" && kind != "duplicate" {
			t.Errorf("evidence %q", kind)
		}
	}
}

func TestReplyToAReusedSlotIsLate(t *testing.T) {
	w := newWire(t)
	old := make(chan []byte, 1)
	w.host(1, func(request []byte) { old <- reply(request, nil) })
	w.host(2, func(request []byte) { w.send(reply(request, nil)) })
	e := start(t, w, Options{Mode: Raw})
	e.look(e.target(1, host4(1), 50*time.Millisecond, ``))
	e.next()
	many := make([]probe.Target, 2*firstSlots)
	for i := range many {
		many[i] = e.target(2, host4(2), patience, ``)
	}
	e.look(many...)
	for range many {
		e.next()
	}
	w.send(<-old)
	for e.Counters().Late != 1 {
		e.look(many[0])
		e.next()
	}
	if c := e.Counters(); c.Foreign != 0 {
		t.Errorf("%+v: a genuine reply passed for foreign", c)
	}
}

func TestICMPErrors(t *testing.T) {
	router4, router6 := host4(254), host6(254)
	for _, mode := range []Mode{Raw, Datagram} {
		t.Run(mode.String(), func(t *testing.T) {
			w := newWire(t)
			w.allowDatagram()
			for _, host := range []struct {
				n          byte
				kind4      byte
				kind6      byte
				quote      int
				thenAnswer bool
			}{
				{1, 3, 1, 1000, false},           // all of the request is quoted
				{2, 3, 1, headerSize, false},     // RFC 792 asks for no more
				{3, 3, 1, 1000, true},            // a router was wrong
				{4, 3, 1, headerSize - 1, false}, // too little to say whose it was
			} {
				w.host(host.n, func(request []byte) {
					if request[0]>>4 == 4 {
						w.send(failure(request, router4, host.kind4, 1, host.quote))
					} else {
						w.send(failure(request, router6, host.kind6, 3, host.quote))
					}
					if host.thenAnswer {
						w.send(reply(request, nil))
					}
				})
			}
			e := start(t, w, Options{Mode: mode})
			var targets []probe.Target
			for n := byte(1); n <= 4; n++ {
				timeout := 300 * time.Millisecond
				if n == 3 {
					timeout = patience
				}
				targets = append(targets, e.target(int(n), host4(n), timeout, ``), e.target(int(n)+10, host6(n), timeout, ``))
			}
			e.look(targets...)
			got := map[sereno.CheckID]sereno.Result{}
			for range targets {
				r := e.next()
				got[r.Check] = r
			}
			for check, reason := range map[sereno.CheckID]string{
				1: "host unreachable, says 10.1.0.254", 2: "host unreachable, says 10.1.0.254", 4: "no reply in 300ms",
				11: "host unreachable, says fd01::fe", 12: "host unreachable, says fd01::fe", 14: "no reply in 300ms",
			} {
				if r := got[check]; r.Status != sereno.Down || r.Reason != reason {
					t.Errorf("%+v, want down: %s", r, reason)
				}
			}
			for _, check := range []sereno.CheckID{3, 13} {
				if r := got[check]; r.Status != sereno.Up {
					t.Errorf("%+v, want up: it answered after all", r)
				}
			}
		})
	}
}

func TestOwnFaultsHurtNobodyElse(t *testing.T) {
	for _, mode := range []Mode{Raw, Datagram} {
		t.Run(mode.String(), func(t *testing.T) {
			w := newWire(t)
			w.allowDatagram()
			w.host(1, func(request []byte) { w.send(reply(request, nil)) })
			e := start(t, w, Options{Mode: mode})
			up := e.target(1, host4(1), patience, ``)
			away := e.target(2, netip.MustParseAddr("10.99.0.1"), patience, ``)
			away6 := e.target(3, netip.MustParseAddr("fd99::1"), patience, ``)
			broadcast := e.target(4, netip.MustParseAddr("10.1.255.255"), patience, ``)
			e.look(up, away, up, broadcast, up, away6, away, up)
			want := map[sereno.CheckID]sereno.Fault{2: sereno.NoRoute, 3: sereno.NoRoute, 4: sereno.Refused}
			ups := 0
			for range 8 {
				r := e.next()
				if r.Check == 1 && r.Status == sereno.Up {
					ups++
				} else if r.Status != sereno.Unknown || r.Fault != want[r.Check] || r.Reason == "" {
					t.Errorf("%+v, want unknown with fault %v and a reason", r, want[r.Check])
				}
			}
			if ups != 4 {
				t.Errorf("%d of 4 looks at a host that answers were up", ups)
			}
			if c := e.Counters(); c.Errors != 4 {
				t.Errorf("%d errors counted, want 4", c.Errors)
			}
		})
	}
}

func TestResultsOfOneTargetComeInOrder(t *testing.T) {
	w := newWire(t)
	requests := 0
	w.host(1, func(request []byte) {
		if requests++; requests != 1 {
			w.send(reply(request, nil))
		}
	})
	e := start(t, w, Options{Mode: Raw})
	target := e.target(1, host4(1), 300*time.Millisecond, ``)
	due := now()
	looks := []probe.Look{{Target: target, Due: due}, {Target: target, Due: due + 1}, {Target: target, Due: due + 2}}
	if err := e.Sweep(t.Context(), looks); err != nil {
		t.Fatal(err)
	}
	for i, status := range []sereno.Status{sereno.Down, sereno.Up, sereno.Up} {
		if r := e.next(); r.At != due+sereno.Instant(i) || r.Status != status {
			t.Errorf("result %d: %+v, want %v, due at +%d µs", i, r, status, i)
		}
	}
}

func TestMoreInFlightThanSequenceNumbers(t *testing.T) {
	const looks = 70_000
	w := newWire(t)
	replies := make(chan []byte, looks)
	w.host(1, func(request []byte) { replies <- reply(request, nil) })
	e := start(t, w, Options{Mode: Raw})
	targets := make([]probe.Target, looks)
	for i := range targets {
		targets[i] = e.target(i, host4(1), patience, ``)
	}
	e.look(targets...)
	var held [][]byte
	for range looks {
		held = append(held, receive(t, replies))
	}
	for _, p := range held {
		w.send(p)
	}
	seen := make([]bool, looks)
	for range looks {
		r := e.next()
		if r.Status != sereno.Up || seen[r.Check] {
			t.Fatalf("%+v, seen before: %v", r, seen[r.Check])
		}
		seen[r.Check] = true
	}
}

func TestOverflowIsOurFault(t *testing.T) {
	w := newWire(t)
	results := make(chan sereno.Result, 10)
	flooded := make(chan bool)
	flood := make(chan bool)
	w.host(1, func(request []byte) {
		<-flood // until the loop reads nothing
		forged := reply(request, func(m []byte) { m[headerSize+16] ^= 1 })
		for range 4000 {
			w.send(forged)
		}
		w.send(reply(request, nil))
		close(flooded)
	})
	e := start(t, w, Options{Mode: Raw, Deliver: func(batch []sereno.Result) {
		for _, r := range batch {
			if r.Fault == sereno.Unresolved { // our other look: hold the loop up
				close(flood)
				<-flooded
			}
			results <- r
		}
	}})
	e.look(e.target(1, host4(1), 400*time.Millisecond, `{"size": 60000}`))
	e.counts(func(c Counters) bool { return c.Sent == 1 })
	e.look(e.target(2, netip.Addr{}, time.Second, ``))
	receive(t, results)
	r := receive(t, results)
	if r.Check != 1 || r.Status != sereno.Unknown || r.Fault != sereno.Overflow && r.Fault != sereno.Stalled {
		t.Errorf("%+v, want unknown by overflow", r) // a machine so slow that the flood took 250 ms says stalled
	}
	if c := e.Counters(); c.SocketDrops == 0 {
		t.Errorf("%+v: no drops counted", c)
	}
}

func TestFullQueueSkipsLooks(t *testing.T) {
	for _, mode := range []Mode{Raw, Datagram} {
		t.Run(mode.String(), func(t *testing.T) {
			w := newWire(t)
			w.allowDatagram()
			if err := w.choke(); err != nil {
				t.Skip("cannot make a queue without room:", err)
			}
			e := start(t, w, Options{Mode: mode})
			targets := make([]probe.Target, 40)
			for i := range targets {
				targets[i] = e.target(i, host4(1), 100*time.Millisecond, ``)
			}
			e.look(targets...)
			for i := range targets {
				if r := e.next(); r.Check != sereno.CheckID(i) || r.Status != sereno.Unknown || r.Fault != sereno.Skipped || r.Reason == "" {
					t.Errorf("%+v, want unknown, skipped: our own queue dropped it", r)
				}
			}
		})
	}
}

func TestAStormOfICMPErrorsIsNoFaultOfOurs(t *testing.T) {
	for _, mode := range []Mode{Raw, Datagram} {
		t.Run(mode.String(), func(t *testing.T) {
			const looks = 3000
			w := newWire(t)
			w.allowDatagram()
			w.host(1, func(request []byte) { w.send(failure(request, host4(254), 3, 1, 1000)) })
			w.host(2, func(request []byte) { w.send(reply(request, nil)) })
			e := start(t, w, Options{Mode: mode})
			var targets []probe.Target
			for range looks {
				targets = append(targets, e.target(1, host4(1), time.Second, ``), e.target(2, host4(2), patience, ``))
			}
			e.look(targets...)
			for range targets {
				r := e.next()
				if r.Check == 1 && (r.Status != sereno.Down || r.Reason != "host unreachable, says 10.1.0.254") || r.Check == 2 && r.Status != sereno.Up {
					t.Fatalf("%+v", r)
				}
			}
		})
	}
}

// TestStalledLoop holds the loop up, by a delivery that takes too long, until
// two looks have timed out: one was answered meanwhile, the other was not.
func TestStalledLoop(t *testing.T) {
	const timeout = 2 * time.Second
	w := newWire(t)
	results := make(chan sereno.Result, 10)
	held, answered := make(chan bool), make(chan bool)
	w.host(1, func(request []byte) {
		<-held
		w.send(reply(request, nil))
		close(answered)
	})
	e := start(t, w, Options{Mode: Raw, Deliver: func(batch []sereno.Result) {
		for _, r := range batch {
			if r.Fault == sereno.Unresolved {
				close(held)
				<-answered
				time.Sleep(timeout + stallLimit)
			}
			results <- r
		}
	}})
	e.look(e.target(1, host4(1), timeout, ``), e.target(2, host4(2), timeout, ``))
	e.counts(func(c Counters) bool { return c.Sent == 2 })
	e.look(e.target(3, netip.Addr{}, time.Second, ``))
	receive(t, results)
	if r := receive(t, results); r.Check != 1 || r.Status != sereno.Up {
		t.Errorf("%+v, want up: the answer came in time, however late it was read", r)
	}
	if r := receive(t, results); r.Check != 2 || r.Status != sereno.Unknown || r.Fault != sereno.Stalled {
		t.Errorf("%+v, want unknown, stalled", r)
	}
}

func TestNothingToDoIsNothingDone(t *testing.T) {
	var rounds atomic.Int64
	clock := func() sereno.Instant { rounds.Add(1); return now() } // a loop asks once a round
	e := start(t, nil, Options{Clock: clock})
	e.look(e.target(1, netip.Addr{}, time.Second, ``))
	e.next()
	time.Sleep(200 * time.Millisecond)
	e.stop()
	if most := int64(winding + 8 + 2*runtime.GOMAXPROCS(0)); rounds.Load() > most {
		t.Errorf("%d rounds for one look, want at most %d", rounds.Load(), most)
	}
}

func TestLinkLocal(t *testing.T) {
	w := newWire(t)
	w.host(1, func(request []byte) { w.send(reply(request, nil)) })
	zone := w.index()
	e := start(t, w, Options{Mode: Raw})
	e.look(e.target(1, netip.MustParseAddr("fe80::1%"+zone), patience, ``))
	if r := e.next(); r.Status != sereno.Up {
		t.Errorf("%+v, want up", r)
	}
}

func TestWithoutPermission(t *testing.T) {
	w := newWire(t)
	var permitted error
	w.do(func() { // the thread's own capabilities
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var data [2]unix.CapUserData
		if permitted = unix.Capget(&header, &data[0]); permitted == nil {
			data[0].Effective &^= 1 << unix.CAP_NET_RAW
			permitted = unix.Capset(&header, &data[0])
		}
	})
	if permitted != nil {
		t.Skip("cannot give up CAP_NET_RAW:", permitted)
	}
	e := start(t, w, Options{})
	e.look(e.target(1, host4(1), time.Second, ``))
	r := e.next()
	if r.Status != sereno.Unknown || r.Fault != sereno.NoSocket {
		t.Errorf("%+v, want unknown, no socket", r)
	}
	for _, advice := range []string{"setcap cap_net_raw+ep /", `sysctl -w net.ipv4.ping_group_range="0 2147483647"`} {
		if !strings.Contains(r.Reason, advice) {
			t.Errorf("%q does not say %q", r.Reason, advice)
		}
	}
	e.stop()
	w.do(func() { permitted = e.Permitted() })
	if sereno.KindOf(permitted) != sereno.Forbidden || permitted == nil || permitted.Error() != r.Reason {
		t.Errorf("Permitted says %v", permitted)
	}
	w.allowDatagram()
	w.do(func() { permitted = e.Permitted() })
	if permitted != nil {
		t.Errorf("ping sockets are permitted, but Permitted says %v", permitted)
	}
}

func TestSweepBlocksWhileTooMuchWaits(t *testing.T) {
	e, err := New(Options{Deliver: func([]sereno.Result) {}})
	if err != nil {
		t.Fatal(err)
	}
	looks := make([]probe.Look, hold)
	if err := e.Sweep(t.Context(), looks); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	blocked := make(chan error)
	go func() { blocked <- e.Sweep(ctx, looks[:1]) }()
	select {
	case err := <-blocked:
		t.Fatalf("a sweep too much returned %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	cancel()
	if err := receive(t, blocked); !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v", err)
	}
}

func TestMaxPPSIsKept(t *testing.T) {
	needRaw(t)
	const rate, looks = 500, 100
	e := start(t, nil, Options{Mode: Raw, MaxPPS: rate})
	targets := make([]probe.Target, looks)
	for i := range targets {
		targets[i] = e.target(i, netip.AddrFrom4([4]byte{127, 0, 1, byte(i)}), patience, ``)
	}
	begin := time.Now()
	e.look(targets...)
	for range targets {
		e.next()
	}
	depth := int(rate * longest.Seconds()) // packets that may leave at once
	if took, least := time.Since(begin), time.Duration(looks-depth-1)*time.Second/rate; took < least {
		t.Errorf("%d looks at %d a second took %v, want at least %v", looks, rate, took, least)
	}
}

func TestALookAllocatesNothing(t *testing.T) {
	needRaw(t)
	const hosts, rounds = 500, 20
	answered := make(chan bool, 1)
	n := 0
	e := start(t, nil, Options{Mode: Raw, Deliver: func(batch []sereno.Result) {
		if n += len(batch); n%hosts == 0 {
			answered <- true
		}
	}})
	targets := make([]probe.Target, hosts)
	for i := range targets {
		targets[i] = e.target(i, netip.AddrFrom4([4]byte{127, 0, byte(i >> 8), byte(i + 1)}), patience, ``)
	}
	looks := make([]probe.Look, hosts)
	round := func() {
		for i := range looks {
			looks[i] = probe.Look{Target: targets[i], Due: now()}
		}
		if err := e.Sweep(t.Context(), looks); err != nil {
			t.Fatal(err)
		}
		receive(t, answered)
	}
	round()
	round()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range rounds {
		round()
	}
	runtime.ReadMemStats(&after)
	if perLook := float64(after.Mallocs-before.Mallocs) / (hosts * rounds); perLook > 0.1 {
		t.Errorf("%.3f allocations per look", perLook)
	}
}

func TestRunOnlyOnce(t *testing.T) {
	e := start(t, nil, Options{})
	e.look(e.target(1, netip.Addr{}, time.Second, ``))
	e.next() // it runs
	if err := e.Run(t.Context()); err == nil {
		t.Error("a second Run beside the first one ended well")
	}
}
