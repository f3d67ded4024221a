//go:build !linux

package vantage

import (
	"context"
	"net"
	"net/netip"
)

// Read asks the system for its interfaces. The gateways are not known here.
func Read() (Place, error) {
	p := Place{Nameservers: nameservers(resolverFiles)}
	interfaces, err := net.Interfaces()
	if err != nil {
		return p, err
	}
	for _, i := range interfaces {
		const wanted = net.FlagUp | net.FlagRunning
		p.LinkUp = p.LinkUp || i.Flags&(wanted|net.FlagLoopback) == wanted
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return p, err
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok {
			if addr, ok := netip.AddrFromSlice(n.IP); ok {
				addr = addr.Unmap()
				p.Own = append(p.Own, netip.PrefixFrom(addr, addr.BitLen()))
			}
		}
	}
	return p, nil
}

// announcements makes none: there is the poll.
func announcements(ctx context.Context, _ func()) error {
	<-ctx.Done()
	return nil
}
