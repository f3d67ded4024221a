package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"sereno"
	"sereno/ledger"
	"sereno/store"
)

const (
	year    = 365 * 24 * time.Hour
	yearly  = 400    // spans of a check in a year, about
	atATime = 20_000 // spans of one transaction
)

// ended is when the year that was recorded ends: not at a full hour.
var ended = sereno.At(time.Date(2026, 11, 21, 12, 34, 56, 789_000_000, time.UTC))

// fill makes n devices with one check each, and a year of 400 spans for every
// one of them: up for hours or days, then down, degraded or unknown for
// minutes. The seed is fixed, so every engine holds the same.
func fill(ctx context.Context, s *store.Store, n int) error {
	born := ended.Add(-year)
	devices := make([]sereno.Device, n)
	for i := range devices {
		devices[i] = sereno.Device{
			Name: fmt.Sprintf("device-%06d", i), Address: fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255),
			Tags:   []string{fmt.Sprintf("rack:%d", i/40), fmt.Sprintf("site:plant%d", i/1000)},
			Checks: []sereno.Check{{Name: "icmp", Kind: "icmp", Policy: sereno.DefaultPolicy}},
		}
	}
	devices, err := s.AddDevices(ctx, devices, born)
	if err != nil {
		return err
	}
	random := rand.New(rand.NewPCG(1, 2))
	var e ledger.Entry
	for _, d := range devices {
		span := sereno.Span{Check: d.Checks[0].ID, Cause: sereno.CauseNew, Begin: born, Proof: born}
		for span.Begin.Add(4*year/yearly) < ended {
			// Two spans share 365/200 days: nearly all of it is Up.
			lasts := time.Duration(random.Int64N(int64(4 * year / yearly * 95 / 100)))
			if span.Status != sereno.Up {
				lasts /= 20
			}
			span.End = span.Begin.Add(lasts + time.Second)
			e.Closed = append(e.Closed, span)
			next := sereno.Span{Check: span.Check, Status: sereno.Up, Begin: span.End, Proof: span.End.Add(time.Second), Uncertainty: time.Second}
			if span.Status == sereno.Up {
				next.Status, next.Reason = sereno.Down, "no reply in 1s"
				switch random.IntN(10) {
				case 0:
					next.Status, next.Cause, next.Reason = sereno.Unknown, sereno.CauseAbsence, "Sereno was stopped"
				case 1:
					next.Status, next.Reason = sereno.Degraded, "slower than 50ms"
				}
			}
			span = next
		}
		e.Open = append(e.Open, span)
		if len(e.Closed) >= atATime {
			if err := s.Commit(ctx, &e); err != nil {
				return err
			}
			e = ledger.Entry{}
		}
	}
	return s.Commit(ctx, &e)
}

// cursor is what the list of devices gives to go on after id.
func cursor(id int) string { return strconv.FormatInt(int64(id), 36) }
