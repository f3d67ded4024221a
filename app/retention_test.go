package app

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestOldFactsAreDroppedDaily(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var when []time.Duration
		var pending atomic.Bool
		pending.Store(true)
		r := &retainer{
			drop: func(context.Context) error {
				when = append(when, time.Since(began))
				if len(when) == 2 {
					return errors.New("the database is away")
				}
				return nil
			},
			pending: pending.Load,
			log:     slog.New(slog.DiscardHandler),
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- r.Run(ctx) }()
		time.Sleep(30 * time.Minute)
		pending.Store(false) // a clock that is not believed drops nothing
		time.Sleep(49 * time.Hour)
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		first := retainFirst + retainAgain
		want := []time.Duration{first, first + retainEvery, first + retainEvery + retainAgain}
		if len(when) != 3 || when[0] != want[0] || when[1] != want[1] || when[2] != want[2] {
			t.Errorf("dropped at %v, want %v", when, want)
		}
	})
}
