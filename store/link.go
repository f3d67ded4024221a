package store

import (
	"context"
	"database/sql"
	"errors"

	"sereno"
)

// UseLink notes that a link was used and reports whether this was the first
// time: it is so once, whoever asks at once, and after a restart, too. What was
// used is kept for ever, a row for each link that somebody followed.
func (s *Store) UseLink(ctx context.Context, nonce string, at sereno.Instant) (first bool, err error) {
	err = s.write(ctx, "use a link", func(tx *sql.Tx) error {
		err := one(tx.Exec(`INSERT INTO used_links (nonce, used_us) VALUES ($1, $2) ON CONFLICT (nonce) DO NOTHING`, nonce, int64(at)))
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		first = err == nil
		return err
	})
	return first && err == nil, err
}

// LinkUsed returns when a link was used, 0 if it never was.
func (s *Store) LinkUsed(ctx context.Context, nonce string) (at sereno.Instant, err error) {
	err = s.read(ctx, "read whether a link was used", func(tx *sql.Tx) error {
		err := tx.QueryRowContext(ctx, `SELECT used_us FROM used_links WHERE nonce = $1`, nonce).Scan((*int64)(&at))
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		return err
	})
	return at, err
}
