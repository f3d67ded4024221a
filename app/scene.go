package app

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync/atomic"

	"sereno"
	"sereno/vantage"
)

// A scene is the place that this process looks from, as last seen.
type scene struct {
	place    atomic.Pointer[vantage.Place]
	gateways func([]netip.Addr) // told whenever it changes
}

// newScene takes a first look, so that a start knows its own addresses.
func newScene(gateways func([]netip.Addr)) *scene {
	s := &scene{gateways: gateways}
	place, err := vantage.Read()
	if err != nil {
		place = vantage.Place{} // the watcher tries again, and says why it fails
	}
	s.Changed(place)
	return s
}

// Changed takes over what the place has become.
func (s *scene) Changed(p vantage.Place) {
	s.place.Store(&p)
	s.gateways(p.Gateways)
}

// Beyond reports whether addr lies beyond this machine.
func (s *scene) Beyond(addr netip.Addr) bool { return s.place.Load().Beyond(addr) }

// kindEcho is the kind of check that a device has which says nothing else.
const kindEcho = "icmp"

// thisMachine is what is watched when nobody has said anything yet, so that
// the first screen shows something alive: this machine itself.
func thisMachine() []sereno.Device {
	devices := []sereno.Device{{Name: "this-machine", Address: "127.0.0.1"}}
	if c, err := net.ListenPacket("udp6", "[::1]:0"); err == nil {
		c.Close()
		devices = append(devices, sereno.Device{Name: "this-machine-ipv6", Address: "::1"})
	}
	for i := range devices {
		devices[i].Checks = []sereno.Check{{Name: kindEcho, Kind: kindEcho, Policy: sereno.DefaultPolicy}}
	}
	return devices
}

// proposals are what somebody who has just begun might want to watch, the
// gateways and name servers of this machine, as arguments of the command.
// Nothing is sent to them.
func (s *scene) proposals() (arguments []string) {
	place := s.place.Load()
	seen := map[netip.Addr]bool{}
	propose := func(what string, addrs []netip.Addr) {
		for i, addr := range addrs {
			if seen[addr] || !place.Beyond(addr) {
				continue
			}
			seen[addr] = true
			name := what
			if i > 0 {
				name = fmt.Sprint(what, "-", i+1)
			}
			arguments = append(arguments, fmt.Sprintf("devices add %s %s", name, addr))
		}
	}
	propose("gateway", place.Gateways)
	propose("dns", place.Nameservers)
	return arguments
}

// greet says where to look and what to type next; command is what to type for
// this program.
func greet(w io.Writer, command, version, url string, count int, proposals []string) {
	plural := "s"
	if count == 1 {
		plural = ""
	}
	fmt.Fprintf(w, "Sereno %s watches %d device%s.\n\n", version, count, plural)
	fmt.Fprintf(w, "  look     %s status --watch\n", command)
	fmt.Fprintf(w, "  or       %s/api/devices\n", url)
	fmt.Fprintf(w, "  add      %s devices add NAME ADDRESS\n", command)
	fmt.Fprintf(w, "  stop     Ctrl-C\n")
	if len(proposals) > 0 {
		fmt.Fprintf(w, "\nFound beside this machine. Nothing is sent to them unless you say so:\n\n")
		for _, p := range proposals {
			fmt.Fprintf(w, "  %s %s\n", command, p)
		}
	}
	fmt.Fprintln(w)
}
