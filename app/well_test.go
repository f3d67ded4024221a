package app

import (
	"context"
	"errors"
	"testing"
	"time"

	"sereno"
	"sereno/ledger"
)

func TestWell(t *testing.T) {
	const now sereno.Instant = 1e15
	good := ledger.Statistics{Since: now.Add(-time.Hour), Now: now, Settled: now.Add(-time.Second)}
	for name, c := range map[string]struct {
		change func(*ledger.Statistics)
		ledger error
		socket error
		stuck  string
		well   bool
	}{
		"all is well":            {well: true},
		"just begun":             {change: func(s *ledger.Statistics) { s.Since, s.Settled = now, 0 }, well: true},
		"the ledger hangs":       {ledger: context.DeadlineExceeded},
		"storage fails":          {change: func(s *ledger.Statistics) { s.Fault = "the disk is full" }},
		"the clock is pending":   {change: func(s *ledger.Statistics) { s.Pending = true }},
		"nothing is written":     {change: func(s *ledger.Statistics) { s.Settled = now.Add(-2 * time.Minute) }},
		"no socket":              {socket: errors.New("not permitted")},
		"messages do not go out": {stuck: "the outbox is stuck"},
	} {
		w := well{
			ask: func(context.Context) (ledger.Statistics, error) {
				s := good
				if c.change != nil {
					c.change(&s)
				}
				return s, c.ledger
			},
			permitted: func() error { return c.socket },
			stuck:     func() string { return c.stuck },
		}
		if err := w.Check(t.Context()); (err == nil) != c.well {
			t.Errorf("%s: %v", name, err)
		}
	}
}
