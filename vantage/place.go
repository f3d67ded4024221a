// Package vantage knows the place that this process looks from: its own
// addresses, the gateways and name servers next to it, and whether its link is
// up. It says so anew whenever the system changes any of it.
package vantage

import (
	"bufio"
	"net/netip"
	"os"
	"slices"
	"strings"
)

// A Place is where this process looks from.
type Place struct {
	Gateways    []netip.Addr   // of the default routes of both families, best metric first; link-local ones with their zone
	Own         []netip.Prefix // what this machine itself answers for
	Nameservers []netip.Addr   // that it asks
	LinkUp      bool           // a link with a default route has a carrier; without such a route: any link but the loopback
}

// Beyond reports whether addr lies beyond this machine. One that is not valid,
// such as that of a name which is not resolved yet, does not.
func (p Place) Beyond(addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	if !addr.IsValid() || addr.IsLoopback() || addr.IsUnspecified() {
		return false
	}
	return !slices.ContainsFunc(p.Own, func(own netip.Prefix) bool { return own.Contains(addr) })
}

func (p Place) equal(q Place) bool {
	return p.LinkUp == q.LinkUp && slices.Equal(p.Gateways, q.Gateways) &&
		slices.Equal(p.Own, q.Own) && slices.Equal(p.Nameservers, q.Nameservers)
}

// The files of resolv.conf(5). Where the first one names but a stub on this
// machine, the second one has the servers that the stub asks.
var resolverFiles = []string{"/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"}

// nameservers returns the servers of the first of the files that names one
// beyond this machine, else those of the first.
func nameservers(files []string) []netip.Addr {
	var first []netip.Addr
	for i, file := range files {
		servers := nameserversOf(file)
		if slices.ContainsFunc(servers, func(a netip.Addr) bool { return !a.IsLoopback() }) {
			return servers
		}
		if i == 0 {
			first = servers
		}
	}
	return first
}

func nameserversOf(file string) []netip.Addr {
	f, err := os.Open(file)
	if err != nil {
		return nil // a machine without the file asks nobody
	}
	defer f.Close()
	var servers []netip.Addr
	for lines := bufio.NewScanner(f); lines.Scan(); {
		words := strings.Fields(lines.Text())
		if len(words) < 2 || words[0] != "nameserver" {
			continue
		}
		if a, err := netip.ParseAddr(words[1]); err == nil && !slices.Contains(servers, a) {
			servers = append(servers, a)
		}
	}
	return servers
}
