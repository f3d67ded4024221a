package lab

import (
	"cmp"
	"errors"
	"slices"

	"github.com/vishvananda/netlink"
)

// An Uplink is an interface over which a namespace reaches others.
type Uplink struct {
	ns     *Namespace
	link   string
	routes []netlink.Route // that were there before the cut
}

// Uplink returns the interface as an uplink.
func (ns *Namespace) Uplink(link string) *Uplink { return &Uplink{ns: ns, link: link} }

// CutLink switches the interface off; its routes are lost.
func (u *Uplink) CutLink() error {
	if _, err := u.remember(); err != nil {
		return err
	}
	return u.ns.SetUp(u.link, false)
}

// CutRoutes removes all routes over the interface and leaves it on.
func (u *Uplink) CutRoutes() error {
	routes, err := u.remember()
	if err != nil {
		return err
	}
	for _, r := range slices.Backward(routes) {
		if err := u.ns.handle.RouteDel(&r); err != nil {
			return u.ns.failed("cut "+u.link, err)
		}
	}
	return nil
}

// Mend undoes a cut: the interface is on and has the routes that it had.
func (u *Uplink) Mend() error {
	if u.routes == nil {
		return u.ns.failed("mend "+u.link, errors.New("it is not cut"))
	}
	l, err := u.ns.link(u.link)
	if err != nil {
		return err
	}
	if err := u.ns.SetUp(u.link, true); err != nil {
		return err
	}
	if err := u.ns.settle(l); err != nil {
		return err
	}
	for _, r := range u.routes {
		if err := u.ns.handle.RouteReplace(&r); err != nil {
			return u.ns.failed("mend "+u.link, err)
		}
	}
	u.routes = nil
	return nil
}

// remember keeps the routes over the interface, those without a router first,
// as the others need them.
func (u *Uplink) remember() ([]netlink.Route, error) {
	if u.routes != nil {
		return nil, u.ns.failed("cut "+u.link, errors.New("it is cut already"))
	}
	l, err := u.ns.link(u.link)
	if err != nil {
		return nil, err
	}
	routes, err := u.ns.handle.RouteList(l, netlink.FAMILY_ALL)
	if err != nil {
		return nil, u.ns.failed("list routes of "+u.link, err)
	}
	if len(routes) == 0 {
		return nil, u.ns.failed("cut "+u.link, errors.New("it has no routes"))
	}
	slices.SortStableFunc(routes, func(a, b netlink.Route) int { return cmp.Compare(len(a.Gw), len(b.Gw)) })
	u.routes = routes
	return routes, nil
}
