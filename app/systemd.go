package app

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"sereno"
	"sereno/ledger"
)

// tellSystemd tells the service manager, if one started us and listens
// (sd_notify(3)), how we are.
func tellSystemd(log *slog.Logger, state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		log.Warn("the service manager cannot be told", "err", err)
	}
}

// A watchdog keeps the service manager's watchdog (WatchdogSec=) quiet for as
// long as the ledger makes progress: its goroutine answers, and its time goes on.
type watchdog struct {
	every time.Duration // 0: nobody watches
	ask   func(context.Context) (ledger.Statistics, error)
	tell  func(state string)
	log   *slog.Logger
}

func newWatchdog(ask func(context.Context) (ledger.Statistics, error), log *slog.Logger) *watchdog {
	limit, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		log.Warn("the watchdog of the service manager is not served", "err", err)
	}
	return &watchdog{every: limit / 3, ask: ask, tell: func(state string) { tellSystemd(log, state) }, log: log}
}

// Run serves it until ctx ends.
func (w *watchdog) Run(ctx context.Context) error {
	if w.every <= 0 {
		<-ctx.Done()
		return nil
	}
	tick := time.NewTicker(w.every)
	defer tick.Stop()
	var last sereno.Instant
	for {
		if now, ok := w.progress(ctx, last); ok {
			last = now
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (w *watchdog) progress(ctx context.Context, last sereno.Instant) (sereno.Instant, bool) {
	patience, cancel := context.WithTimeout(ctx, w.every)
	defer cancel()
	s, err := w.ask(patience)
	if err != nil || s.Now <= last {
		if ctx.Err() == nil {
			w.log.Error("the ledger makes no progress; the service manager is not told that all is well", "err", err, "since", last)
		}
		return last, false
	}
	devices := 0
	for _, n := range s.Devices {
		devices += n
	}
	w.tell(fmt.Sprintf("%s\nSTATUS=devices watched: %d; up: %d, down: %d; incidents open: %d",
		daemon.SdNotifyWatchdog, devices, s.Devices[sereno.Up], s.Devices[sereno.Down], s.Incidents))
	return s.Now, true
}
