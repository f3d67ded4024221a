package vantage

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestBeyond(t *testing.T) {
	p := Place{Own: []netip.Prefix{
		netip.MustParsePrefix("192.0.2.7/32"), netip.MustParsePrefix("10.0.0.0/8"),
		netip.MustParsePrefix("2001:db8::7/128"), netip.MustParsePrefix("fe80::7/128"),
	}}
	for addr, want := range map[string]bool{
		"192.0.2.8": true, "192.0.2.7": false, "::ffff:192.0.2.7": false, "10.3.2.1": false,
		"127.0.0.1": false, "127.9.9.9": false, "::1": false, "0.0.0.0": false, "::": false,
		"2001:db8::8": true, "2001:db8::7": false, "fe80::7%eth0": false, "fe80::8%eth0": true,
	} {
		if got := p.Beyond(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: beyond %v", addr, got)
		}
	}
	if p.Beyond(netip.Addr{}) {
		t.Error("no address is beyond")
	}
}

func TestNameservers(t *testing.T) {
	for _, c := range []struct{ name, first, second, want string }{
		{"comments, options and nonsense are passed over", "# nameserver 192.0.2.1\nsearch example.org\nnameserver\nnameserver router\n nameserver\t192.0.2.53 # ours\n", "", "[192.0.2.53]"},
		{"each once, with its zone", "nameserver 192.0.2.53\nnameserver fe80::1%eth0\nnameserver 192.0.2.53\n", "", "[192.0.2.53 fe80::1%eth0]"},
		{"a stub's servers are meant, not the stub", "nameserver 127.0.0.53\n", "nameserver 192.0.2.53\n", "[192.0.2.53]"},
		{"a name server on this machine", "nameserver 127.0.0.1\n", "", "[127.0.0.1]"},
		{"no file", "", "", "[]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			files := []string{filepath.Join(t.TempDir(), "first"), filepath.Join(t.TempDir(), "second")}
			for i, text := range []string{c.first, c.second} {
				if text != "" {
					if err := os.WriteFile(files[i], []byte(text), 0o600); err != nil {
						t.Fatal(err)
					}
				}
			}
			if got := fmt.Sprint(nameservers(files)); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestReadThisMachine(t *testing.T) {
	p, err := Read()
	if err != nil {
		t.Fatal(err)
	}
	for _, own := range p.Own {
		if p.Beyond(own.Addr()) {
			t.Errorf("%v is beyond this machine", own)
		}
	}
	if slices.Contains(p.Gateways, netip.Addr{}) {
		t.Errorf("gateways %v", p.Gateways)
	}
}
