package app

import (
	"context"
	"time"

	"sereno/config"
	"sereno/doctor"
	"sereno/samples"
	"sereno/spool"
	"sereno/store"
)

// examinations are what a running program can find out about itself. The signs
// of life are its own, and written every few seconds.
func examinations(cfg *config.Config, facts *store.Store, looks *samples.DB, storage *storage) func() []doctor.Examination {
	return func() []doctor.Examination {
		list := []doctor.Examination{
			doctor.Ledger(facts), doctor.Outbox(facts), doctor.Meters(facts), doctor.Partitions(facts, time.Now()),
			doctor.Spool(func() (spool.Left, error) { return spool.Left{Usage: storage.spool.Usage()}, nil }),
		}
		if !cfg.SamplesOff {
			list = append(list, doctor.Samples(func(ctx context.Context) ([]string, error) { return looks.Verify(ctx) }))
		}
		reserve := ""
		if cfg.Reserve > 0 {
			reserve = reservePath(cfg)
		}
		return append(list, doctor.Disk(cfg.Data, reserve))
	}
}
