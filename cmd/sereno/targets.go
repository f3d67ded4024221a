package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"sereno"
)

const (
	// askAbove is how many hosts a prefix may have without --yes, as a power
	// of two.
	askAbove = 16
	// refuseAbove is how many it may have at all, likewise.
	refuseAbove = 24
	// resolvers is how many names are resolved at once.
	resolvers = 64
	// resolving is how long one name may take.
	resolving = 10 * time.Second
	// byteOrderMark begins the text files of some editors.
	byteOrderMark = "\ufeff"
)

// A family limits addresses to IPv4 or IPv6.
type family string

const (
	anyFamily family = "ip"
	onlyIPv4  family = "ip4"
	onlyIPv6  family = "ip6"
)

func (f family) allows(a netip.Addr) bool {
	return f == anyFamily || a.Is4() == (f == onlyIPv4)
}

// A host is something to look at: an address, and the name that it was given
// by, if it was.
type host struct {
	name string
	addr netip.Addr
}

// String is how the host was given.
func (h *host) String() string {
	if h.name != "" {
		return inert(h.name)
	}
	return h.addr.String()
}

// A targetList collects hosts from what was typed, each address once.
type targetList struct {
	stdin  io.Reader
	family family
	yes    bool // large prefixes are meant

	hosts []host // without addr while it is only a name
	seen  map[host]bool
}

// collect reads arguments: addresses, names, prefixes, @file and @- (stdin).
func (l *targetList) collect(args []string) error {
	l.seen = make(map[host]bool)
	for _, arg := range args {
		var err error
		if path, isFile := strings.CutPrefix(arg, "@"); isFile {
			err = l.file(path)
		} else {
			err = l.one(arg)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (l *targetList) file(path string) error {
	from := l.stdin
	switch path {
	case "":
		return errors.New("say which file after the @, or @- for standard input")
	case "-":
		path = "stdin"
	default:
		f, err := os.Open(path)
		if err != nil {
			return fmt.Errorf("read the targets: %w", err)
		}
		defer f.Close()
		from = f
	}
	lines := bufio.NewScanner(from)
	n := 1
	for ; lines.Scan(); n++ {
		text, _, _ := strings.Cut(strings.TrimPrefix(lines.Text(), byteOrderMark), "#")
		for target := range strings.FieldsSeq(text) {
			if err := l.one(target); err != nil {
				return fmt.Errorf("%s:%d: %w", path, n, err)
			}
		}
	}
	if errors.Is(lines.Err(), bufio.ErrTooLong) {
		return fmt.Errorf("%s:%d: the line is longer than 64 KB; it does not look like a list of targets", path, n)
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("read the targets from %s: %w", path, err)
	}
	return nil
}

func (l *targetList) one(target string) error {
	if prefix, err := netip.ParsePrefix(target); err == nil {
		return l.prefix(prefix)
	}
	if err := sereno.ValidateAddress(target); err != nil {
		return err
	}
	addr, err := netip.ParseAddr(target)
	if err != nil {
		l.add(host{name: target})
		return nil
	}
	if addr = addr.Unmap(); !l.family.allows(addr) {
		return fmt.Errorf("%s is not of the address family that was asked for", addr)
	}
	l.add(host{addr: addr})
	return nil
}

// prefix adds the hosts of a network. An IPv4 network's own address and its
// broadcast address are none, but in a /31 (RFC 3021).
func (l *targetList) prefix(p netip.Prefix) error {
	p = p.Masked()
	if !l.family.allows(p.Addr()) {
		return fmt.Errorf("%s is not of the address family that was asked for", p)
	}
	if p.Addr().IsMulticast() {
		return fmt.Errorf("%s is a range of multicast groups, not of hosts", p)
	}
	bits := p.Addr().BitLen() - p.Bits()
	ends := p.Addr().Is4() && bits > 1
	if bits > refuseAbove {
		return fmt.Errorf("%s has %s hosts, and at most %s can be looked at together; give a longer prefix",
			p, hostCount(bits, ends), hostCount(refuseAbove, false))
	}
	if bits > askAbove && !l.yes {
		return fmt.Errorf("%s has %s hosts; add --yes if you mean it", p, hostCount(bits, ends))
	}
	addr, n := p.Addr(), 1<<bits
	if ends {
		addr, n = addr.Next(), n-2
	}
	for range n {
		if !addr.IsUnspecified() {
			l.add(host{addr: addr})
		}
		addr = addr.Next()
	}
	return nil
}

func (l *targetList) add(h host) {
	if !l.seen[h] {
		l.seen[h] = true
		l.hosts = append(l.hosts, h)
	}
}

// hostCount is 2 to the power of bits, without the two ends if there are
// some, in groups of three digits.
func hostCount(bits int, ends bool) string {
	n := new(big.Int).Lsh(big.NewInt(1), uint(bits))
	if ends {
		n.Sub(n, big.NewInt(2))
	}
	return grouped(n.String())
}

// grouped sets commas between groups of three digits.
func grouped(digits string) string {
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// resolve finds the addresses of names, many at once. Names that mean an
// address which is in the list already are left out. The error tells every
// name that has none.
func (l *targetList) resolve(ctx context.Context) error {
	var wg sync.WaitGroup
	slots := make(chan struct{}, resolvers)
	errs := make([]error, len(l.hosts))
	for i := range l.hosts {
		h := &l.hosts[i]
		if h.addr.IsValid() {
			continue
		}
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			h.addr, errs[i] = lookUp(ctx, h.name, l.family)
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	taken := make(map[netip.Addr]bool, len(l.hosts))
	all := l.hosts
	l.hosts = l.hosts[:0]
	for _, h := range all {
		if !taken[h.addr] {
			taken[h.addr] = true
			l.hosts = append(l.hosts, h)
		}
	}
	l.seen = nil
	return nil
}

// lookUp returns the address of a name that this machine would try first.
func lookUp(ctx context.Context, name string, f family) (netip.Addr, error) {
	ctx, cancel := context.WithTimeout(ctx, resolving)
	defer cancel()
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, string(f), name)
	if err == nil && len(addrs) > 0 {
		return addrs[0].Unmap(), nil
	}
	kind := map[family]string{anyFamily: "address", onlyIPv4: "IPv4 address", onlyIPv6: "IPv6 address"}[f]
	why := ""
	if wrong, ok := errors.AsType[*net.DNSError](err); ok && !wrong.IsNotFound {
		why = ": the resolver answers \"" + wrong.Err + "\""
		if wrong.IsTimeout {
			why = ": the resolver does not answer"
		}
	}
	return netip.Addr{}, fmt.Errorf("%s has no %s%s; check the name, or give an address", name, kind, why)
}
