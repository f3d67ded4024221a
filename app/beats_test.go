package app

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sereno"
	"sereno/clock"
)

// A start may take so long that the ledger first asks when the clock has been
// set right: what was noticed before is then told in the right time too.
func TestWhatWasNoticedWhileTheClockWasPendingMovesOnWithIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		wrong := sereno.At(time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC))
		var paused, set atomic.Int64
		read := func() (sereno.Reading, error) {
			up := time.Since(begin)
			return sereno.Reading{
				Wall: wrong.Add(up + time.Duration(set.Load())), Boot: time.Hour + up + time.Duration(paused.Load()),
				Mono: time.Hour + up, BootID: "second", Synced: set.Load() > 0,
			}, nil
		}
		mark := sereno.Mark{Reading: sereno.Reading{Wall: wrong.Add(time.Hour), Boot: time.Hour, Mono: time.Hour, BootID: "first"}, Ledger: wrong.Add(time.Hour), Settled: wrong}
		clk, found, err := clock.New(clock.Options{Mark: mark, Read: read})
		if err != nil {
			t.Fatal(err)
		}
		b := &beats{clock: clk, found: found}
		ctx, stop := context.WithCancel(t.Context())
		go b.Run(ctx)
		time.Sleep(time.Second)
		paused.Store(int64(time.Minute)) // it sleeps for a minute
		time.Sleep(time.Second)
		set.Store(int64(24 * time.Hour))
		time.Sleep(time.Second)
		got := b.Take()
		stop()
		synctest.Wait()
		slept := false
		for _, a := range got.Absences {
			if a.Cause == sereno.Suspended {
				slept = true
				if a.Begin < wrong.Add(23*time.Hour) {
					t.Errorf("the sleep began at %v, before the start at about %v", a.Begin, wrong.Add(24*time.Hour))
				}
			}
		}
		if !slept || !got.Settled {
			t.Errorf("%+v", got)
		}
	})
}
