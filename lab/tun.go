package lab

import (
	"errors"
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// Where the hosts of a Net are, and who asks them: the addresses of its own
// side (RFC 5737, RFC 3849), which the kernel answers for.
var (
	Network4 = netip.MustParsePrefix("10.0.0.0/8")
	Network6 = netip.MustParsePrefix("fd00:5e7e::/64")
	Vantage4 = netip.MustParseAddr("192.0.2.1")
	Vantage6 = netip.MustParseAddr("2001:db8::1")
)

// Device is the interface that leads to the hosts.
const Device = "lab0"

const (
	deviceMTU   = 65535   // requests come in one piece, however long
	deviceQueue = 1 << 16 // packets that may wait for us: no burst of a test may overflow it
)

// openTUN makes the Device in a namespace and sends both networks there.
func openTUN(ns *Namespace) (fd int, err error) {
	err = ns.Do(func() (err error) {
		fd, err = unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err != nil {
			return &os.PathError{Op: "open", Path: "/dev/net/tun", Err: err}
		}
		request, err := unix.NewIfreq(Device)
		if err == nil {
			request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
			err = unix.IoctlIfreq(fd, unix.TUNSETIFF, request)
		}
		if err != nil {
			unix.Close(fd)
			return os.NewSyscallError("TUNSETIFF", err)
		}
		return nil
	})
	if err != nil {
		return -1, err
	}
	if err := setUpTUN(ns); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func setUpTUN(ns *Namespace) error {
	l, err := ns.link(Device)
	if err != nil {
		return err
	}
	err = errors.Join(ns.handle.LinkSetMTU(l, deviceMTU), ns.handle.LinkSetTxQLen(l, deviceQueue))
	if err != nil {
		return ns.failed("set up "+Device, err)
	}
	if err := ns.SetUp(Device, true); err != nil {
		return err
	}
	for _, side := range []struct {
		vantage netip.Addr
		network netip.Prefix
	}{{Vantage4, Network4}, {Vantage6, Network6}} {
		own := netip.PrefixFrom(side.vantage, side.vantage.BitLen())
		if err := errors.Join(ns.AddAddress(Device, own), ns.AddRoute(side.network, netip.Addr{}, Device)); err != nil {
			return err
		}
	}
	return nil
}

// dropped returns how many packets the kernel threw away because the queue of
// the Device was full.
func dropped(ns *Namespace) (uint64, error) {
	l, err := ns.link(Device)
	if err != nil {
		return 0, err
	}
	s := l.Attrs().Statistics
	if s == nil {
		return 0, fmt.Errorf("no statistics of %s", Device)
	}
	return s.TxDropped, nil
}
