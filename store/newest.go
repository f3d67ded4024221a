package store

import (
	"context"
	"database/sql"

	"sereno"
)

// Newest returns the latest instant that the ledger has written, 0 if none: a
// start goes on from there when no sign of life is left, or an older one.
func (s *Store) Newest(ctx context.Context) (newest sereno.Instant, err error) {
	err = s.read(ctx, "find the latest entry", func(tx *sql.Tx) error {
		return tx.QueryRowContext(ctx, `SELECT max(
			(SELECT coalesce(max(proof_us), 0) FROM states),
			(SELECT coalesce(max(end_us), 0) FROM absences),
			(SELECT coalesce(max(deleted_us), 0) FROM devices))`).Scan((*int64)(&newest))
	})
	return newest, err
}
