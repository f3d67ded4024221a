// Package probetest is what every kind of probe must do.
package probetest

import (
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"sereno"
	"sereno/probe"
)

// A Subject is a kind under test, and the world that it is tested in.
type Subject struct {
	// New makes a sweeper that is not running yet.
	New func(t *testing.T, deliver probe.Deliver) probe.Sweeper
	// Run runs it; nil for its own Run. It is for kinds that must run on a
	// certain thread.
	Run func(ctx context.Context, s probe.Sweeper) error

	Answers  netip.Addr // answers at once
	Silent   netip.Addr // never answers
	Settings []string   // all of them must be refused
}

// patience is how long anything may take before the test gives up. Nothing is
// judged by it.
const patience = 30 * time.Second

// Sweeper tests that a kind keeps the promises of probe.Sweeper.
func Sweeper(t *testing.T, s Subject) {
	t.Run("settings are checked", s.settings)
	t.Run("an answer is up", s.answer)
	t.Run("silence is down, not an error, and not before the timeout", s.silence)
	t.Run("an unresolved name is our own trouble", s.unresolved)
	t.Run("each look of many hands brings one result, in order", s.parallel)
	t.Run("nothing is left when it ends", s.leaks)
}

// A desk collects results.
type desk struct {
	t       *testing.T
	results chan sereno.Result
}

func (d desk) deliver(batch []sereno.Result) {
	for _, r := range batch {
		d.results <- r
	}
}

func (d desk) next() sereno.Result {
	d.t.Helper()
	select {
	case r := <-d.results:
		return r
	case <-time.After(patience):
		d.t.Fatal("no result")
		return sereno.Result{}
	}
}

// start runs a sweeper for as long as the test, or until stop is called.
func (s Subject) start(t *testing.T) (sweeper probe.Sweeper, d desk, stop func()) {
	d = desk{t, make(chan sereno.Result, 1<<14)}
	sweeper = s.New(t, d.deliver)
	run := s.Run
	if run == nil {
		run = func(ctx context.Context, s probe.Sweeper) error { return s.Run(ctx) }
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx, sweeper) }()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Run ended with %v", err)
			}
		case <-time.After(patience):
			t.Error("Run did not end")
		}
	})
	t.Cleanup(stop)
	return sweeper, d, stop
}

func target(t *testing.T, k probe.Kind, check sereno.CheckID, addr netip.Addr, timeout time.Duration) probe.Target {
	t.Helper()
	target, err := k.Target(check, addr, timeout, nil)
	if err != nil {
		t.Fatal(err)
	}
	if target.Check() != check {
		t.Fatalf("a target of check %d says %d", check, target.Check())
	}
	return target
}

func sweep(t *testing.T, s probe.Sweeper, looks ...probe.Look) {
	t.Helper()
	if err := s.Sweep(t.Context(), looks); err != nil {
		t.Fatal(err)
	}
}

func now() sereno.Instant { return sereno.At(time.Now()) }

func (s Subject) settings(t *testing.T) {
	k := s.New(t, func([]sereno.Result) {})
	if err := k.Validate(nil); err != nil {
		t.Errorf("the defaults are refused: %v", err)
	}
	for _, text := range append(s.Settings, `{"no such key": 1}`, `[`, `{} {}`) {
		if err := k.Validate(json.RawMessage(text)); sereno.KindOf(err) != sereno.Invalid || err == nil {
			t.Errorf("settings %s: %v, want an error of kind Invalid", text, err)
		}
		if _, err := k.Target(1, s.Answers, time.Second, json.RawMessage(text)); err == nil {
			t.Errorf("a target was made of settings %s", text)
		}
	}
}

func (s Subject) answer(t *testing.T) {
	sweeper, d, _ := s.start(t)
	due := now()
	sweep(t, sweeper, probe.Look{Target: target(t, sweeper, 7, s.Answers, patience), Due: due})
	if r := d.next(); r.Check != 7 || r.At != due || r.Status != sereno.Up || r.Fault != 0 || r.RTT <= 0 || r.Reason != "" {
		t.Errorf("%+v, want check 7, up, at %v, with a round-trip time", r, due)
	}
}

func (s Subject) silence(t *testing.T) {
	const timeout = 300 * time.Millisecond
	sweeper, d, _ := s.start(t)
	begin, due := time.Now(), now()
	sweep(t, sweeper, probe.Look{Target: target(t, sweeper, 8, s.Silent, timeout), Due: due})
	r := d.next()
	if r.Fault == sereno.Stalled {
		t.Skipf("this machine is too busy for this test: %+v", r)
	}
	if r.Check != 8 || r.At != due || r.Status != sereno.Down || r.Fault != 0 || r.RTT != 0 || r.Reason == "" {
		t.Errorf("%+v, want check 8, down, at %v, with a reason", r, due)
	}
	if took := time.Since(begin); took < timeout {
		t.Errorf("given up after %v, before the timeout of %v", took, timeout)
	}
}

func (s Subject) unresolved(t *testing.T) {
	sweeper, d, _ := s.start(t)
	sweep(t, sweeper, probe.Look{Target: target(t, sweeper, 9, netip.Addr{}, time.Second), Due: now()})
	if r := d.next(); r.Status != sereno.Unknown || r.Fault != sereno.Unresolved || r.Reason == "" {
		t.Errorf("%+v, want unknown, unresolved, with a reason", r)
	}
}

func (s Subject) parallel(t *testing.T) {
	const hands, looks = 8, 200
	sweeper, d, _ := s.start(t)
	var wg sync.WaitGroup
	for hand := range hands {
		wg.Go(func() {
			up := target(t, sweeper, sereno.CheckID(hand), s.Answers, patience)
			for range looks {
				sweep(t, sweeper, probe.Look{Target: up, Due: now()})
				runtime.Gosched()
				time.Sleep(time.Microsecond) // dues of one target differ
			}
		})
	}
	var count [hands]int
	var last [hands]sereno.Instant
	for range hands * looks {
		r := d.next()
		if r.Status != sereno.Up {
			t.Fatalf("%+v, want up", r)
		}
		if r.At <= last[r.Check] {
			t.Fatalf("check %d: %v came after %v", r.Check, r.At, last[r.Check])
		}
		last[r.Check] = r.At
		count[r.Check]++
	}
	wg.Wait()
	for hand, n := range count {
		if n != looks {
			t.Errorf("check %d: %d results of %d looks", hand, n, looks)
		}
	}
	if len(d.results) > 0 {
		t.Errorf("more results than looks: %+v", <-d.results)
	}
}

func (s Subject) leaks(t *testing.T) {
	routines, files := runtime.NumGoroutine(), openFiles(t)
	sweeper, d, stop := s.start(t)
	up := target(t, sweeper, 1, s.Answers, patience)
	silent := target(t, sweeper, 2, s.Silent, patience)
	sweep(t, sweeper, probe.Look{Target: silent, Due: now()}, probe.Look{Target: up, Due: now()})
	d.next()
	stop()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := sweeper.Sweep(ctx, []probe.Look{{Target: up, Due: now()}}); !errors.Is(err, context.Canceled) {
		t.Errorf("a sweep that was called off returned %v", err)
	}
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		if runtime.NumGoroutine() <= routines && openFiles(t) <= files {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d goroutines and %d files before, %d and %d after", routines, files, runtime.NumGoroutine(), openFiles(t))
		}
	}
}

func openFiles(t *testing.T) int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("cannot count open files:", err)
	}
	return len(entries)
}
