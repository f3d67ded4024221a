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
		return tx.QueryRowContext(ctx, `SELECT coalesce(max(at), 0) FROM (
			SELECT max(proof_us) AS at FROM states
			UNION ALL SELECT max(end_us) FROM absences
			UNION ALL SELECT max(deleted_us) FROM checks) AS latest`).Scan((*int64)(&newest))
	})
	return newest, err
}
