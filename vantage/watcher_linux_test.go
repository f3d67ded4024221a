package vantage

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const insideEnv = "SERENO_TEST_NAMESPACE"

// The test runs itself again in a network namespace of its own, so that no
// route or link of this machine is touched.
func TestWatcherInANamespace(t *testing.T) {
	if os.Getenv(insideEnv) != "" {
		watchInside(t)
		return
	}
	if os.Geteuid() != 0 {
		t.Skip("making a network namespace needs root")
	}
	again := exec.Command(os.Args[0], "-test.run=^TestWatcherInANamespace$", "-test.v", "-test.timeout=60s")
	again.Env = append(os.Environ(), insideEnv+"=1")
	again.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	out, err := again.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// watchInside changes an empty network and waits until each change is told.
func watchInside(t *testing.T) {
	places := make(chan Place, 100)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	w := &Watcher{Changed: func(p Place) { places <- p }, Log: slog.New(slog.NewTextHandler(t.Output(), nil))}
	go func() { done <- w.Run(ctx) }()
	told := func(what string, is func(Place) bool) {
		t.Helper()
		late := time.After(20 * time.Second) // the poll comes later: these are announcements
		for last := (Place{}); ; {
			select {
			case last = <-places:
				if is(last) {
					return
				}
			case <-late:
				t.Fatalf("not told of %s; the last place was %+v", what, last)
			}
		}
	}
	gateways := func(want string) func(Place) bool {
		return func(p Place) bool { return fmt.Sprint(p.Gateways) == want }
	}
	addr := netip.MustParseAddr

	told("an empty network", func(p Place) bool { return !p.LinkUp && len(p.Gateways) == 0 })

	lo, err := netlink.LinkByName("lo")
	must(t, err)
	must(t, netlink.LinkSetUp(lo))
	near := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "near"}, PeerName: "far"}
	must(t, netlink.LinkAdd(near))
	far, err := netlink.LinkByName("far")
	must(t, err)
	must(t, netlink.LinkSetUp(far))
	must(t, netlink.LinkSetUp(near))
	told("the link", func(p Place) bool { return p.LinkUp })

	must(t, netlink.AddrAdd(near, &netlink.Addr{IPNet: network("10.77.0.2/24")}))
	told("the own address", func(p Place) bool { return !p.Beyond(addr("10.77.0.2")) && p.Beyond(addr("10.77.0.3")) })

	must(t, netlink.RouteAdd(&netlink.Route{Gw: net.ParseIP("10.77.0.1"), Priority: 100}))
	told("the default route", gateways("[10.77.0.1]"))

	must(t, netlink.RouteAdd(&netlink.Route{Gw: net.ParseIP("10.77.0.9"), Priority: 50}))
	told("a better one", gateways("[10.77.0.9 10.77.0.1]"))

	must(t, netlink.RouteAdd(&netlink.Route{Gw: net.ParseIP("fe80::1"), LinkIndex: near.Index, Priority: 10}))
	told("the best, of the other family", gateways("[fe80::1%near 10.77.0.9 10.77.0.1]"))

	must(t, netlink.RouteDel(&netlink.Route{Gw: net.ParseIP("10.77.0.9"), Priority: 50}))
	must(t, netlink.RouteReplace(&netlink.Route{Dst: network("0.0.0.0/0"), Priority: 100, MultiPath: []*netlink.NexthopInfo{
		{LinkIndex: near.Index, Gw: net.ParseIP("10.77.0.4")}, {LinkIndex: near.Index, Gw: net.ParseIP("10.77.0.5")},
	}}))
	told("one with two ways", gateways("[fe80::1%near 10.77.0.4 10.77.0.5]"))

	must(t, netlink.RouteAdd(&netlink.Route{
		Dst: network("10.99.0.0/16"), Type: unix.RTN_LOCAL, Table: unix.RT_TABLE_LOCAL, Scope: unix.RT_SCOPE_HOST, LinkIndex: lo.Attrs().Index,
	}))
	told("a range that is routed to this machine", func(p Place) bool { return !p.Beyond(addr("10.99.3.4")) })

	must(t, netlink.LinkSetDown(far))
	told("the lost carrier", func(p Place) bool { return !p.LinkUp && len(p.Gateways) > 0 })
	must(t, netlink.LinkSetUp(far))
	told("the carrier", func(p Place) bool { return p.LinkUp })
	must(t, netlink.LinkSetDown(near))
	told("the link that is gone, and its routes", func(p Place) bool { return !p.LinkUp && len(p.Gateways) == 0 })

	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func network(text string) *net.IPNet {
	p := netip.MustParsePrefix(text)
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
