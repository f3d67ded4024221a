package store

import (
	"context"
	"database/sql"

	"sereno"
	"sereno/alert"
)

// ChangesOf returns some incidents as Changes does: those that are there, by
// ID, with what each is about.
func (s *Store) ChangesOf(ctx context.Context, ids []sereno.IncidentID) (changes []alert.Change, err error) {
	if len(ids) == 0 {
		return nil, nil
	}
	numbers := make([]int64, len(ids))
	for i, id := range ids {
		numbers[i] = int64(id)
	}
	err = s.read(ctx, "read incidents and what they are about", func(tx *sql.Tx) error {
		changes, err = query(ctx, tx, `SELECT `+incidentColumns+` FROM incidents WHERE id`+s.among()+` ORDER BY id`, []any{s.list(distinct(numbers))}, scanChange)
		if err != nil {
			return err
		}
		return s.whom(ctx, tx, changes)
	})
	return changes, err
}
