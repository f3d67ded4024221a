package app

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"sereno"
	"sereno/clock"
	"sereno/ledger"
)

// beats carries what the clock found to the ledger, before the ledger judges
// anything that was seen later.
type beats struct {
	clock *clock.Clock

	mu    sync.Mutex
	found sereno.Beat
}

// Run reads the clocks until ctx ends.
func (b *beats) Run(ctx context.Context) error {
	return b.clock.Run(ctx, func(news sereno.Beat) {
		b.mu.Lock()
		defer b.mu.Unlock()
		for i := range b.found.Absences { // what was found while pending and not taken yet
			a := &b.found.Absences[i]
			a.Begin, a.End = a.Begin.Add(news.Shift), a.End.Add(news.Shift)
		}
		for i := range b.found.Steps {
			b.found.Steps[i].At = b.found.Steps[i].At.Add(news.Shift)
		}
		b.found.Absences = append(b.found.Absences, news.Absences...)
		slices.SortStableFunc(b.found.Absences, func(a, c sereno.Absence) int { return cmp.Compare(a.Begin, c.Begin) })
		b.found.Steps = append(b.found.Steps, news.Steps...)
		b.found.Shift += news.Shift
		b.found.Settled = b.found.Settled || news.Settled
	})
}

// Take returns what was found since the last time. If this process has just
// been away it waits, for a moment, until the clock has noticed.
func (b *beats) Take() ledger.Beat {
	for i := 0; i < 500 && b.clock.Overdue(); i++ {
		time.Sleep(time.Millisecond)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	beat := ledger.Beat{Beat: b.found, Now: b.clock.Now(), Pending: b.clock.Pending() && !b.found.Settled}
	for _, a := range b.found.Absences {
		beat.Now = max(beat.Now, a.End) // news comes before the clock shows it
	}
	b.found = sereno.Beat{}
	return beat
}
