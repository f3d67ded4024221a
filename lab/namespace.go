package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// A Namespace is a network of its own: interfaces, routes, sockets. It has no
// name that the system knows, so nothing is left of it when this process and
// its children have ended, however they ended.
type Namespace struct {
	name   string
	file   *os.File
	handle *netlink.Handle
}

// OpenNamespace makes a namespace with the loopback interface up. The name is
// for error messages. Without the right to do so the error is
// os.ErrPermission.
func OpenNamespace(name string) (*Namespace, error) {
	ns := &Namespace{name: name}
	err := onThread(func() (err error) {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return os.NewSyscallError("unshare", err)
		}
		ns.file, err = os.Open("/proc/thread-self/ns/net")
		return err
	})
	if err != nil {
		return nil, ns.failed("make it", err)
	}
	if ns.handle, err = netlink.NewHandleAt(netns.NsHandle(ns.file.Fd())); err != nil {
		ns.file.Close()
		return nil, ns.failed("open netlink", err)
	}
	if err := errors.Join(ns.SetUp("lo", true), ns.Do(quieten)); err != nil {
		ns.Close()
		return nil, err
	}
	return ns, nil
}

// quieten lets answers come from anywhere, keeps IPv6 addresses over a link
// that goes down, and silences what the kernel says unasked.
func quieten() error {
	var errs []error
	for _, setting := range []struct{ key, value string }{
		{"ipv4/conf/all/rp_filter", "0"},
		{"ipv4/conf/default/rp_filter", "0"},
		{"ipv6/conf/default/accept_dad", "0"},
		{"ipv6/conf/default/accept_ra", "0"},
		{"ipv6/conf/default/router_solicitations", "0"},
		{"ipv6/conf/all/keep_addr_on_down", "1"},
	} {
		errs = append(errs, os.WriteFile("/proc/sys/net/"+setting.key, []byte(setting.value), 0))
	}
	return errors.Join(errs...)
}

// Close lets go of the namespace. It ends when no process is left in it.
func (ns *Namespace) Close() error {
	ns.handle.Close()
	return ns.file.Close()
}

// Path returns where the namespace can be entered from outside, such as by
// nsenter --net=PATH, as long as it is open.
func (ns *Namespace) Path() string {
	return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), ns.file.Fd())
}

// Do calls f on a thread inside the namespace and returns what it returns.
// Sockets that f opens belong to the namespace for good; goroutines that f
// starts run outside of it.
func (ns *Namespace) Do(f func() error) error {
	err := onThread(func() error {
		if err := unix.Setns(int(ns.file.Fd()), unix.CLONE_NEWNET); err != nil {
			return os.NewSyscallError("setns", err)
		}
		return f()
	})
	if err != nil {
		return fmt.Errorf("namespace %s: %w", ns.name, err)
	}
	return nil
}

// onThread calls f on a thread of its own. The thread ends with the goroutine
// that never unlocks it, instead of serving others in a foreign namespace.
func onThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		err := errors.New("ended by runtime.Goexit")
		defer func() { done <- err }()
		runtime.LockOSThread()
		err = f()
	}()
	return <-done
}

// Command is exec.Command for a program that runs inside the namespace.
func (ns *Namespace) Command(name string, args ...string) *exec.Cmd {
	return exec.Command("nsenter", ns.entering(name, args)...)
}

// CommandContext is exec.CommandContext for a program that runs inside the
// namespace. nsenter becomes the program, so its process id and signals are
// the program's.
func (ns *Namespace) CommandContext(ctx context.Context, name string, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, "nsenter", ns.entering(name, args)...)
}

func (ns *Namespace) entering(name string, args []string) []string {
	return append([]string{"--net=" + ns.Path(), "--", name}, args...)
}

// Exec runs a program inside the namespace and returns what it printed.
func (ns *Namespace) Exec(name string, args ...string) (string, error) {
	out, err := ns.Command(name, args...).CombinedOutput()
	if err != nil {
		return string(out), ns.failed(name+" "+strings.Join(args, " "), fmt.Errorf("%w: %s", err, strings.TrimSpace(string(out))))
	}
	return string(out), nil
}

// SetUp switches an interface on or off.
func (ns *Namespace) SetUp(link string, up bool) error {
	l, err := ns.link(link)
	if err != nil {
		return err
	}
	set := ns.handle.LinkSetDown
	if up {
		set = ns.handle.LinkSetUp
	}
	if err := set(l); err != nil {
		return ns.failed("switch "+link, err)
	}
	return nil
}

// AddAddress puts an address on an interface that is up.
func (ns *Namespace) AddAddress(link string, p netip.Prefix) error {
	l, err := ns.link(link)
	if err != nil {
		return err
	}
	a := &netlink.Addr{IPNet: ipNet(p)}
	if p.Addr().Is6() {
		a.Flags = unix.IFA_F_NODAD
	}
	if err := ns.handle.AddrAdd(l, a); err != nil {
		return ns.failed(fmt.Sprintf("add address %v to %s", p, link), err)
	}
	return ns.settle(l)
}

// settle waits until the kernel takes packets for all global IPv6 addresses of
// an interface that is up: it makes the routes for them some time after it has
// said that the addresses are there.
func (ns *Namespace) settle(l netlink.Link) error {
	addresses, err := ns.handle.AddrList(l, netlink.FAMILY_V6)
	if err != nil {
		return ns.failed("list addresses", err)
	}
	for _, a := range addresses {
		if a.Scope != int(netlink.SCOPE_UNIVERSE) {
			continue
		}
		for until := time.Now().Add(settling); ; time.Sleep(time.Millisecond) {
			routes, err := ns.handle.RouteGet(a.IP)
			if err == nil && len(routes) > 0 && routes[0].Type == unix.RTN_LOCAL {
				break
			}
			if time.Now().After(until) {
				return ns.failed(fmt.Sprintf("use address %v", a.IP), errors.Join(err, errors.New("the kernel has no route for it yet")))
			}
		}
	}
	return nil
}

// settling is more than the kernel ever needs to begin to use an address.
const settling = 10 * time.Second

// AddRoute sends what goes to a prefix over an interface, to a router if via
// is valid.
func (ns *Namespace) AddRoute(to netip.Prefix, via netip.Addr, link string) error {
	l, err := ns.link(link)
	if err != nil {
		return err
	}
	r := &netlink.Route{LinkIndex: l.Attrs().Index, Dst: ipNet(to), Gw: via.AsSlice()}
	if err := ns.handle.RouteAdd(r); err != nil {
		return ns.failed(fmt.Sprintf("add route to %v", to), err)
	}
	return nil
}

// AnyIP makes every address of a prefix one of the namespace's own: the kernel
// answers for it.
func (ns *Namespace) AnyIP(p netip.Prefix) error {
	lo, err := ns.link("lo")
	if err != nil {
		return err
	}
	r := &netlink.Route{LinkIndex: lo.Attrs().Index, Dst: ipNet(p), Type: unix.RTN_LOCAL, Table: unix.RT_TABLE_LOCAL}
	if p.Addr().Is4() {
		r.Scope = netlink.SCOPE_HOST
	}
	if err := ns.handle.RouteAdd(r); err != nil {
		return ns.failed(fmt.Sprintf("answer for %v", p), err)
	}
	return nil
}

func (ns *Namespace) link(name string) (netlink.Link, error) {
	l, err := ns.handle.LinkByName(name)
	if err != nil {
		return nil, ns.failed("find interface "+name, err)
	}
	return l, nil
}

func (ns *Namespace) failed(doing string, err error) error {
	return fmt.Errorf("namespace %s: %s: %w", ns.name, doing, err)
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
