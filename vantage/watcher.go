package vantage

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

const (
	// settling is how long to wait for the rest of a change: a link that comes
	// up brings addresses and routes one by one.
	settling = 50 * time.Millisecond

	// pollEvery finds what the system does not announce (the name servers),
	// and everything where it announces nothing.
	pollEvery = 30 * time.Second
)

// A Watcher tells what the place is, and what it becomes.
type Watcher struct {
	Changed func(Place) // called by Run, one at a time: at once, and after each change
	Log     *slog.Logger
}

// Run watches until ctx ends. A place that cannot be read stays what it was,
// and the log says so, once.
func (w *Watcher) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	announced := make(chan struct{}, 1)
	wg.Go(func() { w.listen(ctx, announced) })

	poll := time.NewTicker(pollEvery)
	defer poll.Stop()
	var (
		place   Place
		known   bool
		trouble error
	)
	for {
		now, err := Read()
		switch {
		case err != nil && trouble == nil:
			w.Log.Warn("cannot read this machine's addresses and routes", "error", err)
		case err == nil && !(known && place.equal(now)):
			place, known = now, true
			w.Changed(place)
		}
		trouble = err
		select {
		case <-ctx.Done():
			return nil
		case <-poll.C:
		case <-announced:
			time.Sleep(settling)
		}
	}
}

// listen tells of changes until ctx ends; without announcements there is still
// the poll.
func (w *Watcher) listen(ctx context.Context, announced chan<- struct{}) {
	said := false
	for ctx.Err() == nil {
		err := announcements(ctx, func() {
			select {
			case announced <- struct{}{}:
			default:
			}
		})
		if err != nil && !said {
			w.Log.Warn("changes of addresses and routes are noticed late", "within", pollEvery, "error", err)
			said = true
		}
		select {
		case <-ctx.Done():
		case <-time.After(pollEvery):
		}
	}
}
