package lab

import (
	"net"
	"runtime"
	"testing"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

// BenchmarkTurn measures what an answer costs: read, decide, note, build and
// write, which includes the kernel's delivery to the asker's socket, where
// nobody reads. Asking is not part of it. "requests/s" is what one core can
// answer, in CPU time.
func BenchmarkTurn(b *testing.B) {
	for _, c := range []struct {
		name string
		Behaviour
	}{
		{"plain", Behaviour{}},
		{"scripted", Behaviour{
			Delay: Uniform(5*time.Millisecond, 20*time.Millisecond), Loss: 0.01, Burst: Burst{0.001, 5},
			Duplicate: 0.01, Held: Held{0.01, 500 * time.Millisecond},
		}},
	} {
		b.Run(c.name, func(b *testing.B) {
			script := Script{
				Rules:   []Rule{{prefix("10.0.0.0/8"), c.Behaviour}, {prefix("10.0.0.0/24"), c.Behaviour}},
				Outages: []Outage{{Prefix: prefix("10.0.0.1/32"), From: time.Hour}},
				Behind:  []Behind{{prefix("10.0.0.0/16"), addr("10.255.0.1")}},
			}
			ns := NewNamespace(b, "lab")
			r, err := OpenResponder(ns, script)
			if err != nil {
				b.Fatal(err)
			}
			defer r.Close()
			batches := newBatches(b, ns)
			var answering time.Duration
			requests := 0
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			b.ReportAllocs()
			for b.Loop() {
				requests += batches.send(b)
				began := cpuTime(b)
				for more := true; more; {
					if more, err = r.turn(); err != nil {
						b.Fatal(err)
					}
				}
				answering += cpuTime(b) - began
			}
			if c, err := r.Counts(); err != nil || c.Requests != uint64(requests) {
				b.Fatalf("%d requests were sent, %+v came, %v", requests, c, err)
			}
			b.ReportMetric(float64(requests)/answering.Seconds(), "requests/s")
			b.ReportMetric(float64(answering.Nanoseconds())/float64(requests), "ns/request")
		})
	}
}

// cpuTime returns what this thread has used of a core.
func cpuTime(b *testing.B) time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		b.Fatal(err)
	}
	return time.Duration(t.Nano())
}

// batches sends requests to 65,536 hosts in turn, 64 at a time.
type batches struct {
	conn *ipv4.PacketConn
	msgs []ipv4.Message
	next uint16
}

func newBatches(b *testing.B, ns *Namespace) *batches {
	b.Helper()
	s := new(batches)
	err := ns.Do(func() error {
		c, err := net.ListenPacket("ip4:icmp", Vantage4.String())
		if err != nil {
			return err
		}
		b.Cleanup(func() { c.Close() })
		s.conn = ipv4.NewPacketConn(c)
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	packet, err := (&icmp.Message{Type: ipv4.ICMPTypeEcho, Body: &icmp.Echo{Data: make([]byte, 56)}}).Marshal(nil)
	if err != nil {
		b.Fatal(err)
	}
	for range batch {
		s.msgs = append(s.msgs, ipv4.Message{Buffers: [][]byte{packet}, Addr: &net.IPAddr{IP: net.IPv4(10, 0, 0, 0).To4()}})
	}
	return s
}

func (s *batches) send(b *testing.B) int {
	for i := range s.msgs {
		ip := s.msgs[i].Addr.(*net.IPAddr).IP
		ip[2], ip[3] = byte(s.next>>8), byte(s.next)
		s.next++
	}
	n, err := s.conn.WriteBatch(s.msgs, unix.MSG_DONTWAIT)
	if err != nil {
		b.Fatal(err)
	}
	return n
}
