package app

import (
	"context"
	"log/slog"
	"time"

	"sereno"
)

// A bookkeeper takes the meter readings that are due, once an hour. What it
// could not do it does the next time: figures are right without it, only slower.
type bookkeeper struct {
	read func(context.Context) error
	log  *slog.Logger
}

// settling is how long the bookkeeper leaves a program alone that has just
// begun.
const settling = time.Minute

// Run works until ctx ends.
func (b *bookkeeper) Run(ctx context.Context) error {
	next := time.NewTimer(settling)
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-next.C:
		}
		if err := b.read(ctx); err != nil && ctx.Err() == nil {
			b.log.Warn("the meters were not read; it is tried again in an hour", "err", err)
		}
		next.Reset(sereno.MeterHour)
	}
}
