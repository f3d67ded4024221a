package lab

import (
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
)

// A Switch joins namespaces: a bridge in a namespace of its own.
type Switch struct {
	ns     *Namespace
	bridge netlink.Link
	ports  int
}

// OpenSwitch makes a switch without ports. The name is for error messages.
func OpenSwitch(name string) (*Switch, error) {
	ns, err := OpenNamespace(name)
	if err != nil {
		return nil, err
	}
	s := &Switch{ns: ns}
	if err := s.build(); err != nil {
		ns.Close()
		return nil, err
	}
	return s, nil
}

func (s *Switch) build() (err error) {
	const name = "bridge"
	if err := s.ns.handle.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: name}}); err != nil {
		return s.ns.failed("make a bridge", err)
	}
	if s.bridge, err = s.ns.link(name); err != nil {
		return err
	}
	return s.ns.SetUp(name, true)
}

// Close takes the switch and all cables to it away.
func (s *Switch) Close() error {
	// The namespace may live on for a moment; what is plugged in must not.
	if err := s.ns.handle.LinkDel(s.bridge); err != nil {
		s.ns.Close()
		return s.ns.failed("remove the bridge", err)
	}
	return s.ns.Close()
}

// Connect lays a cable from the switch to a namespace, where it ends in an
// interface of the given name that is up and has the addresses.
func (s *Switch) Connect(ns *Namespace, link string, addresses ...netip.Prefix) (*Port, error) {
	s.ports++
	p := &Port{ns: s.ns, link: fmt.Sprintf("port%d", s.ports)}
	veth := &netlink.Veth{
		LinkAttrs:     netlink.LinkAttrs{Name: p.link, MasterIndex: s.bridge.Attrs().Index},
		PeerName:      link,
		PeerNamespace: netlink.NsFd(ns.file.Fd()),
	}
	if err := s.ns.handle.LinkAdd(veth); err != nil {
		return nil, s.ns.failed(fmt.Sprintf("lay a cable to %s", ns.name), err)
	}
	if err := p.Plug(); err != nil {
		return nil, err
	}
	if err := ns.SetUp(link, true); err != nil {
		return nil, err
	}
	for _, a := range addresses {
		if err := ns.AddAddress(link, a); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// A Port is where a cable ends in a switch.
type Port struct {
	ns   *Namespace
	link string
}

// Pull pulls the cable: the interface at its other end is up, but without
// carrier.
func (p *Port) Pull() error { return p.ns.SetUp(p.link, false) }

// Plug plugs it in again.
func (p *Port) Plug() error { return p.ns.SetUp(p.link, true) }
