package lab

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// patience is how long a test waits for what must come. Only a failing test
// waits that long.
const patience = 10 * time.Second

// quiet is how long a test listens for what must not come.
const quiet = 100 * time.Millisecond

// An asker sends echo requests from inside a namespace.
type asker struct {
	t    *testing.T
	conn *icmp.PacketConn
	v6   bool
	seq  int
}

func newAsker(t *testing.T, ns *Namespace, v6 bool) *asker {
	t.Helper()
	network, any := "ip4:icmp", "0.0.0.0"
	if v6 {
		network, any = "ip6:ipv6-icmp", "::"
	}
	a := &asker{t: t, v6: v6}
	err := ns.Do(func() (err error) {
		a.conn, err = icmp.ListenPacket(network, any)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.conn.Close() })
	return a
}

// data is what every request carries.
const data = "twelve o'clock, and all is calm"

// ask sends a request and returns its sequence number.
func (a *asker) ask(to netip.Addr) int {
	a.t.Helper()
	a.seq++
	if err := a.send(to); err != nil {
		a.t.Fatal(err)
	}
	return a.seq
}

func (a *asker) send(to netip.Addr) error {
	m := icmp.Message{Type: ipv4.ICMPTypeEcho, Body: &icmp.Echo{ID: 4711, Seq: a.seq, Data: []byte(data)}}
	if a.v6 {
		m.Type = ipv6.ICMPTypeEchoRequest
	}
	packet, err := m.Marshal(nil)
	if err != nil {
		return err
	}
	_, err = a.conn.WriteTo(packet, &net.IPAddr{IP: to.AsSlice()})
	return err
}

// A heard is one message that came back.
type heard struct {
	from netip.Addr
	kind icmp.Type
	code int
	seq  int
	data string
}

// hear returns the next message, or false if none comes in time.
func (a *asker) hear(within time.Duration) (heard, bool) {
	a.t.Helper()
	buffer := make([]byte, 2000)
	if err := a.conn.SetReadDeadline(time.Now().Add(within)); err != nil {
		a.t.Fatal(err)
	}
	for {
		n, from, err := a.conn.ReadFrom(buffer)
		if os.IsTimeout(err) {
			return heard{}, false
		}
		if err != nil {
			a.t.Fatal(err)
		}
		protocol := 1
		if a.v6 {
			protocol = 58
		}
		m, err := icmp.ParseMessage(protocol, buffer[:n])
		if err != nil {
			a.t.Fatal(err)
		}
		source, _ := netip.AddrFromSlice(from.(*net.IPAddr).IP)
		h := heard{from: source.Unmap(), kind: m.Type, code: m.Code}
		switch body := m.Body.(type) {
		case *icmp.Echo:
			if m.Type == ipv4.ICMPTypeEcho || m.Type == ipv6.ICMPTypeEchoRequest {
				continue // our own, on the loopback
			}
			h.seq, h.data = body.Seq, string(body.Data)
		case *icmp.DstUnreach:
			h.data = string(body.Data)
		case *icmp.TimeExceeded:
			h.data = string(body.Data)
		default:
			continue // neighbours and multicast
		}
		return h, true
	}
}

// answers asks once and reports whether the host itself answers. wait is how
// long, patience if it must.
func (a *asker) answers(host netip.Addr, wait time.Duration) bool {
	a.t.Helper()
	a.ask(host)
	return a.hears(host, wait)
}

// hears reports whether the host answers the latest request.
func (a *asker) hears(host netip.Addr, wait time.Duration) bool {
	a.t.Helper()
	for {
		h, ok := a.hear(wait)
		if !ok {
			return false
		}
		if h.from == host && h.seq == a.seq && h.data == data {
			return true
		}
	}
}

func counts(t *testing.T, r *Responder) Counts {
	t.Helper()
	c, err := r.Counts()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestNetAnswersForAll(t *testing.T) {
	n := New(t, Script{})
	for _, v6 := range []bool{false, true} {
		hosts := []string{"10.0.0.0", "10.0.0.1", "10.77.88.99", "10.255.255.255"}
		if v6 {
			hosts = []string{"fd00:5e7e::", "fd00:5e7e::1", "fd00:5e7e::abcd:ef01:2345:6789"}
		}
		a := newAsker(t, n.Namespace, v6)
		for _, host := range hosts {
			if !a.answers(addr(host), patience) {
				t.Errorf("%s does not answer", host)
			}
			if asked := n.Asked(addr(host)); asked != 1 {
				t.Errorf("%s was asked %d times, not once", host, asked)
			}
		}
	}
	if c := counts(t, n.Responder); c.Requests != 7 || c.Answered != 7 || c.Malformed != 0 || c.Dropped != 0 {
		t.Errorf("counted %+v", c)
	}
}

// TestKernelReadsOurPackets lets the kernel's own decoder judge: its counters
// tell wrong checksums and lengths.
func TestKernelReadsOurPackets(t *testing.T) {
	n := New(t, Script{Rules: []Rule{
		{prefix("10.0.0.2/32"), Behaviour{Error: Error{Share: 1, Says: PortUnreachable, Whole: true}}},
		{prefix("fd00:5e7e::2/128"), Behaviour{Error: Error{Share: 1, Says: PortUnreachable, Whole: true}}},
	}})
	a4, a6 := newAsker(t, n.Namespace, false), newAsker(t, n.Namespace, true)
	for range 10 {
		for _, a := range []*asker{a4, a6} {
			for _, host := range map[bool][]string{false: {"10.0.0.1", "10.0.0.2"}, true: {"fd00:5e7e::1", "fd00:5e7e::2"}}[a.v6] {
				a.ask(addr(host))
				if _, ok := a.hear(patience); !ok {
					t.Fatalf("nothing from %s", host)
				}
			}
		}
	}
	for _, c := range []struct {
		file, counter string
		want          bool // that it counted something
	}{
		{"snmp", "Icmp: InErrors", false},
		{"snmp", "Icmp: InCsumErrors", false},
		{"snmp", "Ip: InHdrErrors", false},
		{"snmp", "Icmp: InEchoReps", true},
		{"snmp", "Icmp: InDestUnreachs", true},
		{"snmp6", "Icmp6InErrors", false},
		{"snmp6", "Icmp6InCsumErrors", false},
		{"snmp6", "Ip6InHdrErrors", false},
		{"snmp6", "Icmp6InEchoReplies", true},
		{"snmp6", "Icmp6InDestUnreachs", true},
	} {
		if got := kernelCounter(t, n.Namespace, c.file, c.counter); got != "0" != c.want {
			t.Errorf("%s is %s", c.counter, got)
		}
	}
}

// kernelCounter reads /proc/net/snmp ("Icmp: InErrors") or snmp6
// ("Icmp6InErrors").
func kernelCounter(t *testing.T, ns *Namespace, file, counter string) string {
	t.Helper()
	var text []byte
	err := ns.Do(func() (err error) {
		text, err = os.ReadFile("/proc/thread-self/net/" + file)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	group, name, grouped := strings.Cut(counter, ": ")
	var names []string
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		switch {
		case !grouped && fields[0] == counter:
			return fields[1]
		case grouped && fields[0] == group+":" && names == nil:
			names = fields
		case grouped && fields[0] == group+":":
			for i := range names {
				if names[i] == name {
					return fields[i]
				}
			}
		}
	}
	t.Fatalf("the kernel does not count %s", counter)
	return ""
}

func TestBehaviours(t *testing.T) {
	router := "10.255.255.254"
	n := New(t, Script{Rules: []Rule{
		{prefix("10.0.1.0/24"), Behaviour{Ignore: true}},
		{prefix("10.0.2.0/24"), Behaviour{Loss: 1}},
		{prefix("10.0.3.0/24"), Behaviour{Duplicate: 1}},
		{prefix("10.0.4.0/24"), Behaviour{Garbled: 1}},
		{prefix("10.0.5.0/24"), Behaviour{Strange: 1, Source: addr("10.9.9.9")}},
		{prefix("10.0.6.0/24"), Behaviour{Forged: 1, Ignore: true}},
		{prefix("10.0.7.0/24"), Behaviour{Error: Error{Share: 1, Says: HostUnreachable, From: addr(router)}}},
		{prefix("10.0.8.0/24"), Behaviour{Error: Error{Share: 1, Says: TimeExceeded, From: addr(router), Whole: true}}},
	}})
	a := newAsker(t, n.Namespace, false)
	flip := func(s string) string {
		b := []byte(s)
		for i := range b {
			b[i] ^= 0xff
		}
		return string(b)
	}
	reply := func(from, data string) heard {
		return heard{from: addr(from), kind: ipv4.ICMPTypeEchoReply, data: data}
	}
	for _, c := range []struct {
		host string
		want []heard // but for sequence numbers and quotes
	}{
		{"10.0.1.1", nil},
		{"10.0.2.1", nil},
		{"10.0.3.1", []heard{reply("10.0.3.1", data), reply("10.0.3.1", data)}},
		{"10.0.4.1", []heard{reply("10.0.4.1", flip(data))}},
		{"10.0.5.1", []heard{reply("10.9.9.9", data)}},
		{"10.0.7.1", []heard{{from: addr(router), kind: ipv4.ICMPTypeDestinationUnreachable, code: 1}}},
		{"10.0.8.1", []heard{{from: addr(router), kind: ipv4.ICMPTypeTimeExceeded}}},
	} {
		seq := a.ask(addr(c.host))
		for _, want := range c.want {
			got, ok := a.hear(patience)
			if want.kind == ipv4.ICMPTypeEchoReply {
				want.seq = seq
			} else {
				got.data = ""
			}
			if !ok || got != want {
				t.Errorf("%s: got %+v, want %+v", c.host, got, want)
			}
		}
		if got, ok := a.hear(quiet); ok {
			t.Errorf("%s: got %+v on top", c.host, got)
		}
	}

	seq := a.ask(addr("10.0.6.1"))
	if got, ok := a.hear(patience); !ok || got.from != addr("10.0.6.1") || got.seq != seq || got.data == data || len(got.data) != len(data) {
		t.Errorf("a forgery should be right but for its data, got %+v", got)
	}
}

func TestDelays(t *testing.T) {
	n := New(t, Script{Rules: []Rule{{prefix("10.0.0.0/16"), Behaviour{Delay: Uniform(20*time.Millisecond, 40*time.Millisecond)}}}})
	a := newAsker(t, n.Namespace, false)
	for host := addr("10.0.0.1"); host.Less(addr("10.0.0.11")); host = host.Next() {
		began := time.Now()
		if !a.answers(host, patience) {
			t.Fatalf("%v does not answer", host)
		}
		if took := time.Since(began); took < 20*time.Millisecond {
			t.Errorf("%v answered after %v", host, took)
		}
	}
}

// TestHeldRepliesComeOutOfOrder: a request that is held back is overtaken by
// the one after it.
func TestHeldRepliesComeOutOfOrder(t *testing.T) {
	n := New(t, Script{Rules: []Rule{{prefix("10.0.0.1/32"), Behaviour{Held: Held{1, time.Second}}}}})
	a := newAsker(t, n.Namespace, false)
	a.ask(addr("10.0.0.1"))
	a.ask(addr("10.0.0.2"))
	first, _ := a.hear(patience)
	second, _ := a.hear(patience)
	if first.from != addr("10.0.0.2") || second.from != addr("10.0.0.1") {
		t.Errorf("first came %v, then %v", first.from, second.from)
	}
	if c := counts(t, n.Responder); c.Held != 1 {
		t.Errorf("%d were held", c.Held)
	}
}

// TestLossIsCounted: who does not hear an answer and what the truth says agree
// exactly.
func TestLossIsCounted(t *testing.T) {
	const hosts = 2000
	n := New(t, Script{Rules: []Rule{{prefix("10.0.0.0/8"), Behaviour{Loss: 0.1}}}})
	a := newAsker(t, n.Namespace, false)
	heard := 0
	host := addr("10.0.0.0")
	for range hosts / 50 {
		for range 50 {
			host = host.Next()
			a.ask(host)
		}
		for until := time.Now().Add(patience); time.Now().Before(until); {
			c := counts(t, n.Responder)
			if _, ok := a.hear(time.Millisecond); ok {
				heard++
			} else if c.Requests == uint64(a.seq) && c.Answered == uint64(heard) {
				break
			}
		}
	}
	c := counts(t, n.Responder)
	if c.Requests != hosts || c.Lost+c.Answered != hosts || c.Answered != uint64(heard) || c.Dropped != 0 {
		t.Errorf("heard %d, counted %+v", heard, c)
	}
	if c.Lost < 130 || c.Lost > 270 { // five standard deviations around 200, and the seed is fixed
		t.Errorf("%d of %d lost, expected about 200", c.Lost, hosts)
	}
}

// TestBurstIsNotDropped: who asks many hosts at once is not punished by the
// lab itself.
func TestBurstIsNotDropped(t *testing.T) {
	const hosts = 20_000
	n := New(t, Script{})
	a := newAsker(t, n.Namespace, false)
	host := addr("10.0.0.0")
	for range hosts {
		host = host.Next()
		a.ask(host)
	}
	for until := time.Now().Add(patience); time.Now().Before(until) && counts(t, n.Responder).Answered < hosts; {
		time.Sleep(time.Millisecond)
	}
	if c := counts(t, n.Responder); c.Answered != hosts || c.Dropped != 0 || c.Unsent != 0 {
		t.Errorf("counted %+v", c)
	}
}

func TestSilenceAndRestore(t *testing.T) {
	n := New(t, Script{Behind: []Behind{{prefix("10.0.7.0/24"), addr("10.0.7.1")}}})
	a := newAsker(t, n.Namespace, false)
	parent, child, other := addr("10.0.7.1"), addr("10.0.7.12"), addr("10.0.8.1")
	check := func(when string, silent bool) {
		t.Helper()
		for _, host := range []netip.Addr{parent, child} {
			wait := patience
			if silent {
				wait = quiet
			}
			if a.answers(host, wait) == silent {
				t.Errorf("%s: %v answers: %v", when, host, silent)
			}
		}
		if !a.answers(other, patience) {
			t.Errorf("%s: %v does not answer", when, other)
		}
	}
	check("before", false)
	silenced := n.Silence(prefix("10.0.7.1/32"))
	check("silenced", true)
	check("still", true)
	restored := n.Restore(prefix("10.0.7.1/32"))
	check("restored", false)

	silences := n.Silences()
	if len(silences) != 1 || silences[0] != (Silence{prefix("10.0.7.1/32"), silenced, restored}) {
		t.Errorf("truth: %+v, not from %v to %v", silences, silenced, restored)
	}
	gaps := n.Gaps()
	if len(gaps) != 2 || gaps[0].Addr != parent || gaps[1].Addr != child {
		t.Fatalf("gaps: %+v", gaps)
	}
	for _, g := range gaps {
		if g.Lost.Before(silenced) || !g.Lost.Before(restored) || g.Answered.Before(restored) {
			t.Errorf("%v: from %v to %v, but silent from %v to %v", g.Addr, g.Lost, g.Answered, silenced, restored)
		}
	}
	if !n.Restore(prefix("10.0.7.1/32")).IsZero() {
		t.Error("what was not silent was restored")
	}
}

func TestSet(t *testing.T) {
	n := New(t, Script{})
	a := newAsker(t, n.Namespace, false)
	host := prefix("10.0.0.1/32")
	if err := n.Set(Rule{host, Behaviour{Ignore: true}}); err != nil {
		t.Fatal(err)
	}
	if a.answers(host.Addr(), quiet) {
		t.Error("answers, but shall not")
	}
	if err := n.Set(Rule{host, Behaviour{}}, Rule{host, Behaviour{Loss: 2}}); err == nil {
		t.Error("a loss of 200 % was taken")
	}
	if a.answers(host.Addr(), quiet) {
		t.Error("half of a set of rules with a mistake was taken")
	}
	if err := n.Set(Rule{Prefix: host}); err != nil {
		t.Fatal(err)
	}
	if !a.answers(host.Addr(), patience) {
		t.Error("does not answer, but shall")
	}
}

func TestTimetable(t *testing.T) {
	host := addr("10.0.0.1")
	n := New(t, Script{Outages: []Outage{{Prefix: prefix("10.0.0.1/32"), To: 300 * time.Millisecond}}})
	a := newAsker(t, n.Namespace, false)
	for until := time.Now().Add(patience); !a.answers(host, 20*time.Millisecond); {
		if time.Now().After(until) {
			t.Fatal("never came back")
		}
	}
	silences, gaps := n.Silences(), n.Gaps()
	if len(silences) != 1 || silences[0].To.Sub(silences[0].From) != 300*time.Millisecond {
		t.Fatalf("silences: %+v", silences)
	}
	for _, g := range gaps { // none, if this test got to ask too late
		if g.Lost.After(silences[0].To) || g.Answered.Before(silences[0].To) {
			t.Errorf("gap %+v against silence %+v", g, silences[0])
		}
	}
}

func TestCommandRunsInside(t *testing.T) {
	n := New(t, Script{})
	out, err := n.Exec("ip", "-brief", "link")
	if err != nil {
		t.Fatal(err)
	}
	links := strings.Fields(out)
	if strings.Count(strings.TrimSpace(out), "\n") != 1 || links[0] != "lo" || !strings.Contains(out, Device) {
		t.Errorf("not alone with lo and %s:\n%s", Device, out)
	}
	if _, err := n.Exec("false"); err == nil {
		t.Error("false was true")
	}
}

// join makes a vantage and a site with 10.0.0.0/8 and fd00:5e7e::/64, and a
// switch between them.
func join(t *testing.T) (vantage *Namespace, port *Port) {
	t.Helper()
	vantage = NewNamespace(t, "vantage")
	site := NewNamespace(t, "site")
	s := NewSwitch(t, "switch")
	port, err := s.Connect(vantage, "up0", prefix("192.0.2.1/24"), prefix("2001:db8::1/64"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Connect(site, "up0", prefix("192.0.2.2/24"), prefix("2001:db8::2/64")); err != nil {
		t.Fatal(err)
	}
	for _, step := range []error{
		site.AnyIP(Network4), site.AnyIP(Network6),
		vantage.AddRoute(Network4, addr("192.0.2.2"), "up0"), vantage.AddRoute(Network6, addr("2001:db8::2"), "up0"),
	} {
		if step != nil {
			t.Fatal(step)
		}
	}
	return vantage, port
}

func TestNamespacesAreJoined(t *testing.T) {
	vantage, _ := join(t)
	a4, a6 := newAsker(t, vantage, false), newAsker(t, vantage, true)
	for range 3 {
		if !a4.answers(addr("10.1.2.3"), patience) || !a6.answers(addr("fd00:5e7e::7"), patience) {
			t.Fatal("AnyIP does not answer")
		}
	}
}

func TestUplinkIsCutAndMended(t *testing.T) {
	hosts := map[bool]netip.Addr{false: addr("10.1.2.3"), true: addr("fd00:5e7e::7")}
	vantage, port := join(t)
	uplink := vantage.Uplink("up0")
	askers := []*asker{newAsker(t, vantage, false), newAsker(t, vantage, true)}
	for _, c := range []struct {
		name      string
		cut, mend func() error
		unsent    bool // sending itself fails
	}{
		{"link", uplink.CutLink, uplink.Mend, true},
		{"routes", uplink.CutRoutes, uplink.Mend, true},
		{"cable", port.Pull, port.Plug, false},
		{"link again", uplink.CutLink, uplink.Mend, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, a := range askers {
				if !eventually(a, hosts[a.v6]) {
					t.Fatalf("%v does not answer before the cut", hosts[a.v6])
				}
			}
			before := routes(t, vantage)
			if err := c.cut(); err != nil {
				t.Fatal(err)
			}
			for _, a := range askers {
				a.seq++
				err := a.send(hosts[a.v6])
				if c.unsent && err == nil {
					t.Errorf("a request to %v could be sent", hosts[a.v6])
				}
				if err == nil && a.hears(hosts[a.v6], quiet) {
					t.Errorf("%v answers all the same", hosts[a.v6])
				}
			}
			if err := c.mend(); err != nil {
				t.Fatal(err)
			}
			for _, a := range askers {
				if !eventually(a, hosts[a.v6]) {
					t.Errorf("%v does not answer after the cut", hosts[a.v6])
				}
			}
			if after := routes(t, vantage); after != before {
				t.Errorf("routes before:\n%safter:\n%s", before, after)
			}
		})
	}
	if err := uplink.Mend(); err == nil {
		t.Error("what was not cut was mended")
	}
}

// eventually asks until the host answers: a link that comes up needs a moment.
func eventually(a *asker, host netip.Addr) bool {
	for until := time.Now().Add(patience); time.Now().Before(until); time.Sleep(10 * time.Millisecond) {
		a.seq++
		if a.send(host) == nil && a.hears(host, quiet) {
			return true
		}
	}
	return false
}

// routes lists the routes over the uplink, without what only says that the
// carrier is coming.
func routes(t *testing.T, ns *Namespace) string {
	t.Helper()
	var all strings.Builder
	for _, family := range []string{"-4", "-6"} {
		out, err := ns.Exec("ip", family, "route", "list", "dev", "up0")
		if err != nil {
			t.Fatal(err)
		}
		all.WriteString(strings.ReplaceAll(out, "linkdown ", ""))
	}
	return all.String()
}

func TestNetIsCutByLinkAndRoute(t *testing.T) {
	n := New(t, Script{})
	a := newAsker(t, n.Namespace, false)
	uplink := n.Uplink(Device)
	for name, cut := range map[string]func() error{"link": uplink.CutLink, "routes": uplink.CutRoutes} {
		if err := cut(); err != nil {
			t.Fatal(err)
		}
		if err := a.send(addr("10.0.0.1")); err == nil {
			t.Errorf("%s: a request could be sent", name)
		}
		if err := uplink.Mend(); err != nil {
			t.Fatal(err)
		}
		if !a.answers(addr("10.0.0.1"), patience) {
			t.Errorf("%s: no answer after it was mended", name)
		}
	}
}

// TestNothingIsLeft: no mount names a namespace, and closing lets go of all
// descriptors, even if it comes to nothing half way.
func TestNothingIsLeft(t *testing.T) {
	NewNamespace(t, "a reason to skip")
	traces := func() string {
		mounts, err := os.ReadFile("/proc/self/mounts")
		if err != nil {
			t.Fatal(err)
		}
		files, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("%d descriptors, mounts\n%s", len(files), mounts)
	}
	before := traces()
	n, err := Open(Script{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := OpenResponder(n.Namespace, Script{}); err == nil {
		t.Error("a second Device was made in one namespace")
	}
	if _, err := Open(Script{Rules: []Rule{{}}}); err == nil {
		t.Error("a wrong script was taken")
	}
	if traces() == before {
		t.Error("this test would not see a descriptor that is left")
	}
	if err := n.Close(); err != nil {
		t.Error(err)
	}
	if after := traces(); after != before {
		t.Errorf("before: %s\nafter: %s", before, after)
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	NewNamespace(t, "a reason to skip")
	n, err := Open(Script{Rules: []Rule{{prefix("10.0.0.0/8"), Behaviour{Delay: Fixed(time.Hour)}}}})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	a := newAsker(t, n.Namespace, false)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- n.Run(ctx) }()
	a.ask(addr("10.0.0.1"))
	for n.Asked(addr("10.0.0.1")) == 0 {
		time.Sleep(time.Millisecond)
	}
	cancel()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Fatal("it waits for a reply that is due in an hour")
	}
}
