package clock

import (
	"context"
	"log/slog"
	"os"
	"time"

	"sereno"
)

// A Keeper stores a sign of life every few seconds. It is to be the last part
// that stops, when all that was seen is committed.
type Keeper struct {
	Clock   *Clock
	Marks   *Marks
	Every   time.Duration         // 5 s if 0 (alive_interval)
	Settled func() sereno.Instant // every look that had to be judged by then is committed
	Log     *slog.Logger
}

const defaultEvery = 5 * time.Second

// Run writes a mark at once, then one every Every, and one of a stop in order
// when ctx ends. A mark that cannot be written is logged, once, and tried again
// with the next; only the last one is an error.
//
// While the ledger's time is pending there is nothing true to write, and until
// the ledger has settled (0 before) what the start found is not on disk: the
// mark before it stays, and so a process that ends so early leaves one absence,
// from that mark to the next start.
func (k *Keeper) Run(ctx context.Context) error {
	every := k.Every
	if every == 0 {
		every = defaultEvery
	}
	ticks := time.NewTicker(every)
	defer ticks.Stop()
	var trouble error
	for {
		err := k.write(every, false)
		switch {
		case err != nil && trouble == nil:
			k.Log.Error("cannot store signs of life; an absence would seem longer than it is", "error", err)
		case err == nil && trouble != nil:
			k.Log.Info("signs of life are stored again")
		}
		trouble = err
		select {
		case <-ticks.C:
		case <-ctx.Done():
			return k.write(every, true)
		}
	}
}

func (k *Keeper) write(every time.Duration, clean bool) error {
	settled := k.Settled()
	if k.Clock.Pending() || settled == 0 {
		return nil
	}
	r, now, err := k.Clock.Look()
	if err != nil {
		return err
	}
	return k.Marks.Write(sereno.Mark{
		Reading: r, Ledger: now, Settled: settled, Clean: clean, Every: every, PID: os.Getpid(),
	})
}
