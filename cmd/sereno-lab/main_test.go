package main

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"sereno-lab": main, "ask": ask})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Condition: func(name string) (bool, error) {
			if name != "root" {
				return false, fmt.Errorf("unknown condition %s", name)
			}
			return os.Geteuid() == 0, nil
		},
	})
}

// ask sends one echo request to each of its arguments, and says who answers.
func ask() {
	for _, arg := range os.Args[1:] {
		says := "answers"
		if err := askOne(netip.MustParseAddr(arg)); os.IsTimeout(err) {
			says = "does not answer"
		} else if err != nil {
			says = err.Error()
		}
		fmt.Println(arg, says)
	}
}

func askOne(host netip.Addr) error {
	network, kind, reply, wait := "ip4:icmp", icmp.Type(ipv4.ICMPTypeEcho), byte(0), 3*time.Second
	if host.Is6() {
		network, kind, reply = "ip6:ipv6-icmp", ipv6.ICMPTypeEchoRequest, 129
	}
	c, err := net.DialIP(network, nil, &net.IPAddr{IP: host.AsSlice()})
	if err != nil {
		return err
	}
	defer c.Close()
	packet, err := (&icmp.Message{Type: kind, Body: &icmp.Echo{ID: 1, Seq: 1}}).Marshal(nil)
	if err != nil {
		return err
	}
	if _, err := c.Write(packet); err != nil {
		return err
	}
	if err := c.SetReadDeadline(time.Now().Add(wait)); err != nil {
		return err
	}
	for buffer := make([]byte, 1500); ; {
		if _, _, err := c.ReadFrom(buffer); err != nil {
			return err
		}
		if buffer[0] == reply {
			return nil
		}
	}
}
