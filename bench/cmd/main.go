// Command bench puts Sereno beside the bare loop and fping, in one run, and
// writes what it saw to bench/README.md. It needs root (raw sockets), looks at
// 127.0.0.0/8 only, and takes about fifteen minutes. With "serve DEVICES LENGTH",
// such as serve 100000 10m, it measures the server alone and writes nothing.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"sereno"
	"sereno/bench"
	"sereno/bench/bare"
	"sereno/probe"
	"sereno/probe/icmp"
)

func main() {
	do := run
	if len(os.Args) > 1 {
		if os.Args[1] != "serve" {
			child(os.Args[1:])
			return
		}
		do = func() error { return watching(os.Args[2:]) }
	}
	if err := do(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// A sample is what one child process measured, or was measured to be.
type sample struct {
	CPU  time.Duration // of the whole process, by its parent
	RSS  int64
	Sent int
	Lost int
	P50  time.Duration // round-trip time
	P99  time.Duration
	Min  time.Duration
}

func (s sample) perLook() time.Duration { return s.CPU / time.Duration(max(s.Sent, 1)) }

// child is one measured loop in a process of its own: bare or engine, RATE,
// SECONDS. It prints a sample.
func child(args []string) {
	rate, err1 := strconv.Atoi(args[1])
	seconds, err2 := strconv.Atoi(args[2])
	if err1 != nil || err2 != nil {
		fmt.Fprintln(os.Stderr, "bench: bare|engine RATE SECONDS")
		os.Exit(2)
	}
	var s sample
	var err error
	if args[0] == "bare" {
		s, err = bareLoop(rate, seconds)
	} else {
		s, err = engine(rate, seconds)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	_ = json.NewEncoder(os.Stdout).Encode(s)
}

func bareLoop(rate, seconds int) (sample, error) {
	batch := 64
	if rate < 1000 {
		batch = 1
	}
	r, err := bare.Run(context.Background(), bare.Options{
		Rate: rate, Targets: rate, Duration: time.Duration(seconds) * time.Second, Batch: batch,
	})
	if err != nil {
		return sample{}, err
	}
	return withRTTs(sample{Sent: r.Sent, Lost: r.Lost}, r.RTTs), nil
}

// engine drives the echo engine alone, as the schedule does.
func engine(rate, seconds int) (sample, error) {
	rtts := make([]time.Duration, 0, rate*seconds)
	lost := 0
	e, err := icmp.New(icmp.Options{Deliver: func(batch []sereno.Result) {
		for i := range batch {
			if batch[i].Status == sereno.Up {
				rtts = append(rtts, batch[i].RTT)
			} else {
				lost++
			}
		}
	}})
	if err != nil {
		return sample{}, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	targets := make([]probe.Target, rate)
	for i := range targets {
		if targets[i], err = e.Target(sereno.CheckID(i+1), bench.Loopback4(i), time.Second, nil); err != nil {
			cancel()
			return sample{}, err
		}
	}
	begin := time.Now().Add(10 * time.Millisecond)
	sent := 0
	for sent < rate*seconds {
		until := int(float64(rate) * (time.Since(begin) + 5*time.Millisecond).Seconds())
		var looks []probe.Look
		for ; sent < min(until, rate*seconds); sent++ {
			due := begin.Add(time.Duration(float64(sent) / float64(rate) * 1e9))
			looks = append(looks, probe.Look{Target: targets[sent%rate], Due: sereno.At(due)})
		}
		if len(looks) > 0 {
			if err := e.Sweep(ctx, looks); err != nil {
				cancel()
				return sample{}, err
			}
		}
		time.Sleep(5 * time.Millisecond)
	}
	time.Sleep(1100 * time.Millisecond)
	cancel()
	if err := <-done; err != nil {
		return sample{}, err
	}
	return withRTTs(sample{Sent: sent, Lost: lost + sent - len(rtts) - lost}, rtts), nil
}

func withRTTs(s sample, rtts []time.Duration) sample {
	if len(rtts) > 0 {
		slices.Sort(rtts)
		s.Min, s.P50, s.P99 = rtts[0], rtts[len(rtts)/2], rtts[len(rtts)*99/100]
	}
	return s
}

// self runs a child loop.
func self(name string, rate, seconds int) (sample, error) {
	var s sample
	out, state, err := output(os.Args[0], name, strconv.Itoa(rate), strconv.Itoa(seconds))
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(out, &s); err != nil {
		return s, err
	}
	s.CPU = state.UserTime() + state.SystemTime()
	return s, nil
}

func output(name string, args ...string) ([]byte, *os.ProcessState, error) {
	c := exec.Command(name, args...)
	c.Stderr = os.Stderr
	out, err := c.Output()
	if c.ProcessState == nil {
		return nil, nil, err
	}
	return out, c.ProcessState, err
}

// sweep runs `sereno ping` over n hosts, ten looks at 1 Hz.
func sweep(binary, list string) (sample, error) {
	out, state, err := output(binary, "ping", "--json", "-q", "--yes", "-c", "10", "-i", "1s", "@"+list)
	if err != nil {
		return sample{}, fmt.Errorf("%w: %s", err, out)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	var last struct {
		Summary struct{ Sent, Lost, Faults int }
	}
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); err != nil {
		return sample{}, err
	}
	return sample{CPU: state.UserTime() + state.SystemTime(), Sent: last.Summary.Sent, Lost: last.Summary.Lost + last.Summary.Faults}, nil
}

// fping does the same with fping.
func fping(n int, list string) (sample, error) {
	_, state, err := output("sh", "-c", "exec fping -q -C 10 -p 1000 -i 0 -r 0 -f "+list+" 2>/dev/null >/dev/null")
	if state == nil {
		return sample{}, err
	}
	return sample{CPU: state.UserTime() + state.SystemTime(), Sent: 10 * n}, nil
}

// A watch is `sereno serve` over n devices at 1 s, in a steady state.
type watch struct {
	sample
	Seconds           float64
	First, All        time.Duration // from the start of the process
	LateShare         float64       // of the looks, later than 50 ms
	EmptyRSS          int64
	Incidents, Faults int
	Dropped           float64 // looks that are missing among the samples
}

func serve(binary string, n int, length time.Duration) (w watch, err error) {
	data, err := os.MkdirTemp("", "bench")
	if err != nil {
		return w, err
	}
	defer os.RemoveAll(data)
	ask := &http.Client{Timeout: 30 * time.Second}
	ctx := context.Background()
	start := func(config string) (*bench.Server, error) {
		return bench.Start(ctx, binary, data, config, exec.Command, ask)
	}
	// The first start fills the store; the second is the one that is measured.
	s, err := start(bench.Loopback(n))
	if err != nil {
		return w, err
	}
	time.Sleep(2 * time.Second)
	if err := s.Stop(); err != nil {
		return w, err
	}
	if s, err = start(bench.Loopback(n)); err != nil {
		return w, err
	}
	defer s.Kill()
	for w.All == 0 {
		st, err := s.Statistics(ctx, ask)
		if err != nil {
			return w, err
		}
		if st.Taken() > 0 && w.First == 0 {
			w.First = time.Since(s.Began)
		}
		if st.Devices.Up == n && st.Taken() >= uint64(n) {
			w.All = time.Since(s.Began)
		}
		time.Sleep(10 * time.Millisecond)
	}
	time.Sleep(5 * time.Second)

	before, err := s.Statistics(ctx, ask)
	if err != nil {
		return w, err
	}
	late0, count0, err := lateness(ctx, s, ask)
	if err != nil {
		return w, err
	}
	cpu0, err := bench.CPU(s.PID())
	if err != nil {
		return w, err
	}
	began := time.Now()
	time.Sleep(length)
	cpu1, err := bench.CPU(s.PID())
	if err != nil {
		return w, err
	}
	w.Seconds = time.Since(began).Seconds()
	after, err := s.Statistics(ctx, ask)
	if err != nil {
		return w, err
	}
	late1, count1, err := lateness(ctx, s, ask)
	if err != nil {
		return w, err
	}
	w.CPU = cpu1 - cpu0
	w.Sent = int(after.Taken() - before.Taken())
	w.Lost = int(after.Looks["icmp"].Lost)
	w.Faults = int(after.Looks["icmp"].Faults)
	w.LateShare = max(0, late1-late0) / (count1 - count0) // two readings of a moving counter
	if w.Dropped, err = s.Metric(ctx, ask, `sereno_samples_looks_total{outcome="dropped"}`); err != nil {
		return w, err
	}
	if w.RSS, err = bench.RSS(s.PID()); err != nil {
		return w, err
	}
	var incidents struct{ Items []any }
	if err := s.Get(ctx, ask, "/api/incidents", &incidents); err != nil {
		return w, err
	}
	w.Incidents = len(incidents.Items)
	return w, s.Stop()
}

const watchHead = `| devices | µs/look | bare loop | ratio | of one core | resident MB | KB/device above empty | lost | faults | incidents | later than 50 ms | not kept | first look | all looked at |
|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|`

// watchRow measures n devices, between two measures of the bare loop. One
// device tells what the empty program takes.
func watchRow(binary string, n int, span time.Duration, empty *int64) (string, error) {
	var bares []sample
	bare := func(times int) error {
		for range times {
			b, err := self("bare", n, 10)
			if err != nil {
				return err
			}
			bares = append(bares, b)
		}
		return nil
	}
	if n > 1 {
		if err := bare(1); err != nil {
			return "", err
		}
	}
	w, err := serve(binary, n, span)
	if err != nil {
		return "", err
	}
	if n == 1 {
		*empty = w.RSS
		return "", nil
	}
	if err := bare(2); err != nil {
		return "", err
	}
	price := median(bares, func(s sample) float64 { return micros(s.perLook()) })
	return fmt.Sprintf("| %d | %.1f | %.1f | %.2f | %.1f %% | %.0f | %.1f | %d | %d | %d | %.3f %% | %.0f | %.2f s | %.2f s |", n,
		micros(w.perLook()), price, micros(w.perLook())/price, 100*w.CPU.Seconds()/w.Seconds, float64(w.RSS)/1e6,
		float64(w.RSS-*empty)/float64(n)/1e3, w.Lost, w.Faults, w.Incidents, 100*w.LateShare, w.Dropped, w.First.Seconds(), w.All.Seconds()), nil
}

// watching measures `sereno serve` alone: DEVICES LENGTH.
func watching(args []string) error {
	if len(args) != 2 {
		return errors.New("serve DEVICES LENGTH, such as serve 100000 10m")
	}
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	span, err := time.ParseDuration(args[1])
	if err != nil {
		return err
	}
	binary, err := filepath.Abs("bin/sereno")
	if err != nil {
		return err
	}
	var empty int64
	if _, err := watchRow(binary, 1, 5*time.Second, &empty); err != nil {
		return err
	}
	row, err := watchRow(binary, n, span, &empty)
	if err == nil {
		fmt.Println(watchHead)
		fmt.Println(row)
	}
	return err
}

func lateness(ctx context.Context, s *bench.Server, ask *http.Client) (late, count float64, err error) {
	within, err := s.Metric(ctx, ask, `sereno_look_lateness_seconds_bucket{le="0.05"}`)
	if err != nil {
		return 0, 0, err
	}
	count, err = s.Metric(ctx, ask, `sereno_look_lateness_seconds_count`)
	return count - within, count, err
}

func median[T any](all []T, value func(T) float64) float64 {
	v := make([]float64, len(all))
	for i, a := range all {
		v[i] = value(a)
	}
	slices.Sort(v)
	if len(v) == 0 {
		return math.NaN()
	}
	return v[len(v)/2]
}

func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }

func list(dir string, n int) (string, error) {
	var b strings.Builder
	for i := range n {
		fmt.Fprintln(&b, bench.Address(i))
	}
	path := filepath.Join(dir, fmt.Sprintf("hosts-%d", n))
	return path, os.WriteFile(path, []byte(b.String()), 0o600)
}

func run() error {
	if os.Getuid() != 0 {
		return fmt.Errorf("needs root: the bare loop and fping are measured on raw sockets")
	}
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	binary, err := filepath.Abs("bin/sereno")
	if err != nil {
		return err
	}
	rounds, length := 3, time.Minute
	if v, err := strconv.Atoi(os.Getenv("BENCH_ROUNDS")); err == nil {
		rounds = v
	}
	if v, err := time.ParseDuration(os.Getenv("BENCH_LENGTH")); err == nil {
		length = v
	}
	var out strings.Builder
	say := func(format string, args ...any) {
		fmt.Fprintf(&out, format+"\n", args...)
		fmt.Printf(format+"\n", args...)
	}
	var uname syscall.Utsname
	_ = syscall.Uname(&uname)
	say("# What a look costs\n")
	say("Written by `make bench` (%s, %d cores, %s, %s). Everything runs on 127.0.0.0/8 in one run; what is compared", runtime.GOARCH, runtime.NumCPU(), release(uname), runtime.Version())
	say("alternates, and medians of %d rounds are given. The *bare loop* is the kernel's own price: one goroutine, a raw", rounds)
	say("socket, sendmmsg of 64, then recvmmsg until nothing is left. Processor time is user and system time of the process.\n")

	say("## sereno ping, ten looks at 1 Hz\n")
	say("| hosts | sereno µs/look | bare loop µs/look | ratio | fping µs/look | lost |")
	say("|---:|---:|---:|---:|---:|---:|")
	for _, n := range []int{1000, 5000, 20_000} {
		file, err := list(dir, n)
		if err != nil {
			return err
		}
		var ours, theirs, others []sample
		lost := 0
		for range rounds {
			a, err := sweep(binary, file)
			if err != nil {
				return err
			}
			b, err := self("bare", n, 10)
			if err != nil {
				return err
			}
			ours, theirs = append(ours, a), append(theirs, b)
			lost += a.Lost
			if n <= 5000 {
				if _, err := exec.LookPath("fping"); err == nil {
					f, err := fping(n, file)
					if err != nil {
						return err
					}
					others = append(others, f)
				}
			}
		}
		cost := func(s sample) float64 { return micros(s.perLook()) }
		beside := "–"
		if len(others) > 0 {
			beside = fmt.Sprintf("%.1f", median(others, cost))
		}
		say("| %d | %.1f | %.1f | %.2f | %s | %d |", n, median(ours, cost), median(theirs, cost), median(ours, cost)/median(theirs, cost), beside, lost)
	}
	say("\nfping stops above 65,535 requests in its ten seconds (6,500 hosts).\n")

	say("## sereno serve, every device once a second\n")
	say(watchHead)
	var empty int64
	for _, n := range []int{1, 1000, 10_000, 100_000} {
		span := length
		switch n {
		case 1:
			span = 5 * time.Second
		case 100_000:
			span = 5 * length
		}
		row, err := watchRow(binary, n, span, &empty)
		if err != nil {
			return err
		}
		if n > 1 {
			say("%s", row)
		}
	}
	say("\nMeasured over %v (100,000 devices: %v) in a steady state. The start is that of a store and a file that know all", length, 5*length)
	say("devices already; its times are from the start of the process.\n")

	say("## Round-trip times stay true\n")
	say("| looks/s | engine p50 | engine p99 | least | bare loop p50 | bare loop p99 | p99 ratio |")
	say("|---:|---:|---:|---:|---:|---:|---:|")
	for _, rate := range []int{100, 50_000} {
		var ours, theirs []sample
		for range rounds {
			a, err := self("engine", rate, 5)
			if err != nil {
				return err
			}
			b, err := self("bare", rate, 5)
			if err != nil {
				return err
			}
			ours, theirs = append(ours, a), append(theirs, b)
		}
		p50 := func(s sample) float64 { return micros(s.P50) }
		p99 := func(s sample) float64 { return micros(s.P99) }
		say("| %d | %.1f µs | %.1f µs | %.1f µs | %.1f µs | %.1f µs | %.2f |", rate, median(ours, p50), median(ours, p99),
			median(ours, func(s sample) float64 { return micros(s.Min) }), median(theirs, p50), median(theirs, p99), median(ours, p99)/median(theirs, p99))
	}
	return os.WriteFile("bench/README.md", []byte(out.String()), 0o644)
}

func release(u syscall.Utsname) string {
	var b strings.Builder
	b.WriteString("Linux ")
	for _, c := range u.Release {
		if c == 0 || c == '-' {
			break
		}
		b.WriteByte(byte(c))
	}
	return b.String()
}
