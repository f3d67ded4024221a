package samples

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"syscall"
	"testing"
	"time"

	"sereno"
)

func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkAppend writes a second of looks of 100,000 checks, in batches of a
// tenth of a second as they come.
func BenchmarkAppend(b *testing.B) {
	const checks = 100_000
	o := options(b, b.TempDir())
	o.Log = slog.New(slog.DiscardHandler)
	db := New(o)
	db.Know(devices(checks, time.Second))
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	open, err := db.openBoth()
	if err != nil {
		b.Fatal(err)
	}
	defer open.close()
	dice := rand.New(rand.NewPCG(1, 2))
	batch := make([]sereno.Result, checks/10)
	second := 0
	var cpu time.Duration
	write := func() {
		for part := range 10 {
			for i := range batch {
				after := time.Duration(second)*time.Second + time.Duration(part)*100*time.Millisecond
				batch[i] = answered(part*len(batch)+i+1, after, 20*time.Millisecond+time.Duration(dice.Int64N(int64(4*time.Millisecond))))
			}
			began := cpuTime(b)
			db.Keep(batch)
			packets := db.waiting.take()
			if err := db.write.append(context.Background(), open.raw, packets, nil); err != nil {
				b.Fatal(err)
			}
			db.waiting.give(packets)
			cpu += cpuTime(b) - began
		}
		second++
	}
	write() // the series are made
	cpu = 0
	n := 0
	for b.Loop() {
		write()
		n++
	}
	b.ReportMetric(float64(cpu.Nanoseconds())/float64(n*checks), "ns/look")
	b.ReportMetric(100*cpu.Seconds()/float64(n), "%core-at-100k/s")
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/checks, "heap-B/check")
	b.ReportMetric(0, "ns/op")
	if db.write.refused.Load() > 0 {
		b.Fatal("looks were refused")
	}
}

// BenchmarkSeries reads the series of a check that was looked at every second
// for thirty days.
func BenchmarkSeries(b *testing.B) {
	const days = 30
	o := options(b, b.TempDir())
	o.Retention, o.Log = 40*24*time.Hour, slog.New(slog.DiscardHandler)
	db := New(o)
	db.Know(devices(1, time.Second))
	start(b, db)
	for d := range days {
		db.Keep(history(1, time.Duration(d)*24*time.Hour, time.Duration(d+1)*24*time.Hour, time.Second, 9))
		for db.Usage().Waiting > 0 {
			time.Sleep(time.Millisecond)
		}
		if err := db.opened.Load().raw.Compact(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
	for _, c := range []struct {
		length  time.Duration
		buckets int
	}{{24 * time.Hour, 1000}, {7 * 24 * time.Hour, 1000}, {days * 24 * time.Hour, 1000}, {days * 24 * time.Hour, 10_000}} {
		b.Run(fmt.Sprintf("%s/%d", sereno.FormatLength(c.length), c.buckets), func(b *testing.B) {
			to := day.Add(days * 24 * time.Hour)
			var sent int64
			began, n := cpuTime(b), 0
			for b.Loop() {
				n++
				s, err := db.Series(context.Background(), 1, to.Add(-c.length), to, c.length/time.Duration(c.buckets))
				if err != nil {
					b.Fatal(err)
				}
				sent = 0
				for i := range s.Buckets {
					sent += s.Buckets[i].Sent
				}
			}
			b.ReportMetric(float64((cpuTime(b)-began).Microseconds())/float64(n)/1000, "cpu-ms/op")
			b.ReportMetric(float64(sent), "looks")
		})
	}
}
