package app

import (
	"context"
	"log/slog"
	"math"
	"testing"
	"time"

	"sereno"
	"sereno/samples"
	"sereno/store"
)

func TestDaysAreWrittenOnceTheyHaveEnded(t *testing.T) {
	facts, err := store.Open(t.Context(), "sqlite:"+t.TempDir()+"/sereno.db", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer facts.Close()
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	kept := samples.New(samples.Options{Dir: t.TempDir(), Retention: 30 * 24 * time.Hour, Log: log})
	kept.Know([]sereno.Device{{ID: 1, Checks: []sereno.Check{{ID: 1, Kind: "icmp", Policy: sereno.DefaultPolicy}}}})
	const first = 20000
	// Two and a half days, every ten minutes; each tenth is lost, the others
	// take 1 to 9 ms.
	var looks []sereno.Result
	for i := range 360 {
		r := sereno.Result{Check: 1, At: sereno.BeginOfDay(first).Add(time.Duration(i) * 10 * time.Minute), Status: sereno.Up, RTT: time.Duration(i%10) * time.Millisecond}
		if i%10 == 0 {
			r.Status, r.RTT = sereno.Down, 0
		}
		looks = append(looks, r)
	}
	kept.Keep(looks)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- kept.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("samples: %v", err)
		}
	}()
	for kept.Usage().Kept < uint64(len(looks)) {
		time.Sleep(time.Millisecond)
	}

	d := &days{samples: kept, store: facts, log: log}
	for range 2 { // the second time, nothing is left to do
		if err := d.catchUp(t.Context(), first); err != nil {
			t.Fatal(err)
		}
	}
	got, err := facts.DaysOf(t.Context(), 1, 0, math.MaxInt32)
	if err != nil || len(got) != 1 {
		t.Fatalf("after the first day: %v, %v", got, err)
	}
	if err := d.catchUp(t.Context(), first+1); err != nil {
		t.Fatal(err)
	}
	if got, err = facts.DaysOf(t.Context(), 1, 0, math.MaxInt32); err != nil || len(got) != 2 {
		t.Fatalf("after the second day: %v, %v", got, err)
	}
	for i, day := range got {
		near := func(d, want time.Duration) bool { return (d - want).Abs() <= time.Microsecond }
		if day.Check != 1 || day.Day != first+int64(i) || day.Looks != 144 || day.Lost < 14 || day.Lost > 15 ||
			!near(day.Min, time.Millisecond) || !near(day.P50, 5*time.Millisecond) || !near(day.Max, 9*time.Millisecond) || !near(day.P99, 9*time.Millisecond) ||
			day.Mean < 4900*time.Microsecond || day.Mean > 5100*time.Microsecond {
			t.Errorf("day %d: %+v", i, day)
		}
	}
}
