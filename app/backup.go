package app

import (
	"path/filepath"

	"sereno"
	"sereno/backup"
	"sereno/clock"
	"sereno/config"
	"sereno/ledger"
	"sereno/samples"
	"sereno/store"
)

// newBackups returns what a backup of the running program is made of.
func newBackups(cfg *config.Config, facts *store.Store, looks *samples.DB, books *ledger.Ledger, clk *clock.Clock, idle func() error, version string) *backup.Source {
	s := &backup.Source{
		Facts: facts, Scratch: filepath.Join(cfg.Data, ".backup"), Version: version,
		Now: func() (now, settled sereno.Instant) {
			settled = books.Settled() // first: it is never later than now
			return clk.Now(), settled
		},
		Ready: func() error {
			if idle() == nil {
				return nil
			}
			return sereno.Errorf(sereno.Unavailable, "what was found while storage was away still waits on disk, so a backup would lack it: try again when it is written")
		},
	}
	if !cfg.SamplesOff {
		s.Samples = looks.Snapshot
	}
	return s
}
