package vantage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Read asks the kernel (rtnetlink(7)) and resolv.conf(5).
func Read() (Place, error) {
	links, err := netlink.LinkList()
	if err != nil {
		return Place{}, fmt.Errorf("list links: %w", err)
	}
	byIndex := make(map[int]*netlink.LinkAttrs, len(links))
	for _, link := range links {
		byIndex[link.Attrs().Index] = link.Attrs()
	}
	hops, err := defaultHops(byIndex)
	if err != nil {
		return Place{}, fmt.Errorf("list default routes: %w", err)
	}
	own, err := ownPrefixes()
	if err != nil {
		return Place{}, fmt.Errorf("list own addresses: %w", err)
	}
	p := Place{Own: own, Nameservers: nameservers(resolverFiles)}
	for _, hop := range hops {
		p.LinkUp = p.LinkUp || running(byIndex[hop.link])
		if hop.gateway.IsValid() && !slices.Contains(p.Gateways, hop.gateway) {
			p.Gateways = append(p.Gateways, hop.gateway)
		}
	}
	if len(hops) == 0 {
		p.LinkUp = slices.ContainsFunc(links, func(link netlink.Link) bool { return running(link.Attrs()) })
	}
	return p, nil
}

// running reports whether a link that is not the loopback is up and has a carrier.
func running(link *netlink.LinkAttrs) bool {
	const wanted = unix.IFF_UP | unix.IFF_RUNNING
	return link != nil && link.RawFlags&(wanted|unix.IFF_LOOPBACK) == wanted
}

// A hop is one way out: a default route may have several.
type hop struct {
	gateway netip.Addr // not valid if the link itself leads out
	link    int
	metric  int
}

func defaultHops(links map[int]*netlink.LinkAttrs) ([]hop, error) {
	var hops []hop
	add := func(gateway []byte, via netlink.Destination, link, metric int) {
		if v, ok := via.(*netlink.Via); ok && v != nil {
			gateway = v.Addr
		}
		addr, _ := netip.AddrFromSlice(gateway)
		addr = addr.Unmap()
		if addr.IsLinkLocalUnicast() && addr.Is6() && links[link] != nil {
			addr = addr.WithZone(links[link].Name)
		}
		hops = append(hops, hop{addr, link, metric})
	}
	filter := &netlink.Route{Table: unix.RT_TABLE_MAIN, Type: unix.RTN_UNICAST}
	err := routes(filter, func(r netlink.Route) {
		if r.Dst != nil {
			if ones, _ := r.Dst.Mask.Size(); ones != 0 {
				return
			}
		}
		if len(r.MultiPath) == 0 {
			add(r.Gw, r.Via, r.LinkIndex, r.Priority)
		}
		for _, path := range r.MultiPath {
			add(path.Gw, path.Via, path.LinkIndex, r.Priority)
		}
	}, func() { hops = nil })
	slices.SortStableFunc(hops, func(a, b hop) int { return cmp.Compare(a.metric, b.metric) })
	return hops, err
}

// ownPrefixes returns what the kernel's table "local" delivers to this machine:
// its addresses, the loopback ranges, and whole ranges that were routed to it.
func ownPrefixes() ([]netip.Prefix, error) {
	var own []netip.Prefix
	filter := &netlink.Route{Table: unix.RT_TABLE_LOCAL, Type: unix.RTN_LOCAL}
	err := routes(filter, func(r netlink.Route) {
		if r.Dst == nil {
			return
		}
		addr, _ := netip.AddrFromSlice(r.Dst.IP)
		bits, _ := r.Dst.Mask.Size()
		own = append(own, netip.PrefixFrom(addr, bits))
	}, func() { own = nil })
	slices.SortFunc(own, netip.Prefix.Compare)
	return slices.Compact(own), err
}

// routes calls found for the routes of both families with the table and type of
// filter. A list that changed while it was read is read again after reset.
func routes(filter *netlink.Route, found func(netlink.Route), reset func()) error {
	const mask = netlink.RT_FILTER_TABLE | netlink.RT_FILTER_TYPE
	for range 4 {
		var errs []error
		for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
			errs = append(errs, netlink.RouteListFilteredIter(family, filter, mask, func(r netlink.Route) bool {
				found(r)
				return true
			}))
		}
		err := errors.Join(errs...)
		if !errors.Is(err, netlink.ErrDumpInterrupted) {
			return err
		}
		reset()
	}
	return netlink.ErrDumpInterrupted
}

// announcements calls changed after every change of links, addresses and routes
// until ctx ends (it returns nil then).
func announcements(ctx context.Context, changed func()) error {
	socket, err := nl.Subscribe(unix.NETLINK_ROUTE, unix.RTNLGRP_LINK,
		unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR, unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE)
	if err != nil {
		return fmt.Errorf("subscribe to changes: %w", err)
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	receiving, cancel := context.WithCancel(ctx)
	defer cancel()
	wg.Go(func() {
		<-receiving.Done()
		socket.Close()
	})
	changed() // between the first reading and the subscription something may have happened
	for {
		_, _, err := socket.Receive()
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil, errors.Is(err, unix.ENOBUFS): // too many to hear each: still a change
			changed()
		default:
			return fmt.Errorf("receive changes: %w", err)
		}
	}
}
