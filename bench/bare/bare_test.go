package bare

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"sereno"
	"sereno/probe"
	"sereno/probe/icmp"
)

func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("the bare loop needs a raw socket: run as root")
	}
}

func TestBareLoopGetsEveryReply(t *testing.T) {
	needRoot(t)
	r, err := Run(t.Context(), Options{Rate: 5000, Targets: 100, Duration: 300 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if r.Sent != 1500 || r.Lost != 0 || len(r.RTTs) != r.Sent || r.PerLook() <= 0 {
		t.Errorf("sent %d, lost %d, %d round trips, %v of CPU per look", r.Sent, r.Lost, len(r.RTTs), r.PerLook())
	}
}

// engine measures our own engine as Run measures the bare loop. The looks are
// made before, so that the CPU time is the engine's own.
func engine(b testing.TB, o Options) Report {
	lost := 0
	total := int(float64(o.Rate) * o.Duration.Seconds())
	rtts := make([]time.Duration, 0, total)
	all := make(chan struct{})
	e, err := icmp.New(icmp.Options{Mode: icmp.Raw, Deliver: func(batch []sereno.Result) {
		for i := range batch {
			if batch[i].Status == sereno.Up {
				rtts = append(rtts, batch[i].RTT)
			} else {
				lost++
			}
		}
		if len(rtts)+lost == total {
			close(all)
		}
	}})
	if err != nil {
		b.Fatal(err)
	}
	targets := make([]probe.Target, o.Targets)
	for i := range targets {
		var address [4]byte
		binary.BigEndian.PutUint32(address[:], 127<<24|uint32(i+1))
		if targets[i], err = e.Target(sereno.CheckID(i+1), netip.AddrFrom4(address), time.Second, nil); err != nil {
			b.Fatal(err)
		}
	}
	const slot = 50 * time.Millisecond
	start := time.Now().Add(50 * time.Millisecond)
	looks := make([]probe.Look, total)
	for i := range looks {
		looks[i] = probe.Look{
			Target: targets[i%len(targets)],
			Due:    sereno.At(start.Add(time.Duration(float64(i) / float64(o.Rate) * 1e9))),
		}
	}
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error)
	before := cpu()
	go func() { done <- e.Run(ctx) }()
	for at := start; len(looks) > 0; at = at.Add(slot) {
		time.Sleep(time.Until(at) - slot/2)
		n, _ := slices.BinarySearchFunc(looks, sereno.At(at.Add(slot)), func(l probe.Look, end sereno.Instant) int { return int(l.Due - end) })
		if err := e.Sweep(ctx, looks[:n]); err != nil {
			b.Fatal(err)
		}
		looks = looks[n:]
	}
	select {
	case <-all:
	case <-time.After(10 * time.Second):
		b.Fatal("not all looks were judged")
	}
	cancel()
	if err := <-done; err != nil {
		b.Fatal(err)
	}
	return Report{Sent: int(e.Counters().Sent), Lost: total - len(rtts), CPU: cpu() - before, RTTs: rtts}
}

func median[T ~int64 | ~float64](values []T) T { return quantile(values, 0.5) }

func quantile[T ~int64 | ~float64](values []T, q float64) T {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	return values[int(q*float64(len(values)-1))]
}

// BenchmarkEngine compares the engine with the bare loop in one run, turn by
// turn: CPU time per look, and medians over the turns.
//
//	go test ./bench/bare -run xxx -bench Engine -benchtime 3x
func BenchmarkEngine(b *testing.B) {
	needRoot(b)
	for _, rate := range []int{1_000, 20_000, 100_000} {
		b.Run(fmt.Sprintf("%d", rate), func(b *testing.B) {
			var bare, ours, ratios []float64
			lost := 0
			for b.Loop() {
				o := Options{Rate: rate, Targets: rate, Duration: time.Second}
				r, err := Run(b.Context(), o)
				if err != nil {
					b.Fatal(err)
				}
				e := engine(b, o)
				lost += e.Lost
				bare = append(bare, r.PerLook().Seconds()*1e6)
				ours = append(ours, e.PerLook().Seconds()*1e6)
				ratios = append(ratios, e.PerLook().Seconds()/r.PerLook().Seconds())
			}
			b.ReportMetric(median(bare), "bare-µs/look")
			b.ReportMetric(median(ours), "engine-µs/look")
			b.ReportMetric(median(ratios), "ratio")
			b.ReportMetric(float64(lost), "lost")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkRoundTrip compares round-trip times at rest and at speed.
func BenchmarkRoundTrip(b *testing.B) {
	needRoot(b)
	for _, rate := range []int{100, 50_000} {
		b.Run(fmt.Sprintf("%d", rate), func(b *testing.B) {
			var bare50, bare99, ours50, ours99 []time.Duration
			for b.Loop() {
				o := Options{Rate: rate, Targets: rate, Duration: time.Second, Batch: min(16, max(1, rate/1000))}
				r, err := Run(b.Context(), o)
				if err != nil {
					b.Fatal(err)
				}
				e := engine(b, o)
				bare50, bare99 = append(bare50, quantile(r.RTTs, 0.5)), append(bare99, quantile(r.RTTs, 0.99))
				ours50, ours99 = append(ours50, quantile(e.RTTs, 0.5)), append(ours99, quantile(e.RTTs, 0.99))
			}
			for _, m := range []struct {
				name   string
				values []time.Duration
			}{{"bare-p50-µs", bare50}, {"bare-p99-µs", bare99}, {"engine-p50-µs", ours50}, {"engine-p99-µs", ours99}} {
				b.ReportMetric(median(m.values).Seconds()*1e6, m.name)
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}
