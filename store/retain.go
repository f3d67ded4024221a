package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"sereno"
)

// A Retention says how long facts are kept; 0 is for ever. What is still open
// is always kept.
type Retention struct {
	Spans     time.Duration
	Incidents time.Duration
	Absences  time.Duration // with the steps of the clock
	Days      time.Duration // what the looks of a day were

	Deliveries time.Duration // messages, from when they were settled
	Audit      time.Duration // what people did
}

const (
	// shortTurn is how long one transaction of a deletion goes on, and rest how
	// many times as long it then leaves the store to others: the ledger must
	// hardly notice.
	shortTurn = 4 * time.Millisecond
	rest      = 4

	// fewRows is how many rows one statement deletes at most.
	fewRows = 500
)

const selectCut = `coalesce((SELECT kept_from_us FROM cuts WHERE class = 'spans'), 0)`

// KeptFrom returns the instant before which spans were dropped, 0 if none ever
// were. What ended before it is not known any more, and counts as that.
func (s *Store) KeptFrom(ctx context.Context) (from sereno.Instant, err error) {
	err = s.read(ctx, "read from when spans are kept", func(tx *sql.Tx) error {
		return tx.QueryRowContext(ctx, `SELECT `+selectCut).Scan((*int64)(&from))
	})
	return from, err
}

// Retain drops what is older than it is to be kept, slowly and in small steps;
// it may be cut short at any moment and called again. Spans are dropped by
// whole days of UTC, in PostgreSQL by whole months, which costs nothing there.
//
// Before spans are dropped the meters are read at the cut, so that all figures
// from there on stay what they were.
//
// A clock that is wrong by years, and believed, must not cost years of facts: to
// Retain, time goes on by at most MaxAdvance from one call to the next. It is to
// be called daily then, also when everything is kept for ever. It returns the
// instant that it went by, which is before now after a leap or a long absence.
func (s *Store) Retain(ctx context.Context, r Retention, now sereno.Instant) (believed sereno.Instant, err error) {
	s.keeping.Lock()
	defer s.keeping.Unlock()
	now, err = s.advance(ctx, now)
	if err != nil {
		return now, err
	}
	var errs []error
	if r.Spans > 0 {
		errs = append(errs, s.dropSpans(ctx, s.spanCut(now.Add(-r.Spans))))
	}
	if r.Days > 0 {
		day := int64(now.Add(-r.Days)) / (24 * 60 * 60 * 1e6)
		errs = append(errs, s.sweep(ctx, "days", "day", day))
	}
	if r.Incidents > 0 {
		errs = append(errs, s.dropIncidents(ctx, now.Add(-r.Incidents)))
	}
	if r.Absences > 0 {
		before := int64(now.Add(-r.Absences))
		errs = append(errs, s.write(ctx, "drop absences", func(tx *sql.Tx) error {
			if _, err := tx.Exec(`DELETE FROM absences WHERE end_us < $1`, before); err != nil {
				return err
			}
			_, err := tx.Exec(`DELETE FROM clock_events WHERE at_us < $1`, before)
			return err
		}))
	}
	if r.Deliveries > 0 {
		errs = append(errs, s.dropDeliveries(ctx, now.Add(-r.Deliveries)))
	}
	if r.Audit > 0 {
		errs = append(errs, s.dropAudits(ctx, now.Add(-r.Audit)))
	}
	return now, errors.Join(errs...)
}

// MaxAdvance is how far time goes on between two calls of Retain, at most.
const MaxAdvance = 31 * 24 * time.Hour

// advance notes until when retention believes time to have come, and returns
// it. A clock that goes back is believed at once: that drops nothing.
func (s *Store) advance(ctx context.Context, now sereno.Instant) (believed sereno.Instant, err error) {
	err = s.write(ctx, "note the time of the retention", func(tx *sql.Tx) error {
		var last sereno.Instant
		err := tx.QueryRow(`SELECT coalesce((SELECT kept_from_us FROM cuts WHERE class = 'now'), 0)`).Scan((*int64)(&last))
		if err != nil {
			return err
		}
		if believed = now; last != 0 {
			believed = min(now, last.Add(MaxAdvance))
		}
		_, err = tx.Exec(`INSERT INTO cuts (class, kept_from_us) VALUES ('now', $1)
			ON CONFLICT (class) DO UPDATE SET kept_from_us = excluded.kept_from_us`, int64(believed))
		return err
	})
	return believed, err
}

// spanCut moves a cut back to where spans can be cut.
func (s *Store) spanCut(at sereno.Instant) sereno.Instant {
	if s.postgres != nil {
		return monthOf(at).begin()
	}
	const day = sereno.Instant(24 * 60 * 60 * 1e6)
	return at - at%day
}

func (s *Store) dropSpans(ctx context.Context, cut sereno.Instant) error {
	kept, err := s.KeptFrom(ctx)
	if err != nil || cut < kept || cut <= 0 {
		return err
	}
	if err := s.readMeters(ctx); err != nil {
		return err
	}
	err = s.write(ctx, "cut the spans", func(tx *sql.Tx) error {
		_, err := tx.Exec(`INSERT INTO cuts (class, kept_from_us) VALUES ('spans', $1)
			ON CONFLICT (class) DO UPDATE SET kept_from_us = excluded.kept_from_us`, int64(cut))
		return err
	})
	if err != nil {
		return err
	}
	if err := s.readMetersAt(ctx, cut); err != nil {
		return err
	}
	if s.postgres != nil {
		_, err = s.DropBefore(ctx, cut)
	} else {
		err = s.sweep(ctx, "spans", "end_us", int64(cut))
	}
	if err != nil {
		return err
	}
	// The last reading at or before the cut is what the next ones go on from.
	return s.sweepBy(ctx, "drop meters", fmt.Sprintf(`DELETE FROM meters WHERE check_id = $1 AND at_us <
		(SELECT max(at_us) FROM meters WHERE check_id = $1 AND at_us <= %d)`, cut), nil)
}

// readMetersAt takes a reading at the cut of every check that has changed
// between its last reading and the cut: the spans in between go.
func (s *Store) readMetersAt(ctx context.Context, cut sereno.Instant) error {
	for after := sereno.CheckID(0); ; {
		changed, err := all(rows(ctx, s, "find meters to read", `SELECT c.id FROM checks c
			WHERE c.id > $1 AND c.created_us < $2 AND (c.deleted_us = 0 OR c.deleted_us > $2)
			AND EXISTS (SELECT 1 FROM spans s WHERE s.check_id = c.id AND s.end_us < $2
				AND s.end_us > coalesce((SELECT max(m.at_us) FROM meters m WHERE m.check_id = c.id AND m.at_us <= $2), 0))
			ORDER BY c.id LIMIT 500`, []any{int64(after), int64(cut)}, scanCheckID))
		if err != nil {
			return err
		}
		if len(changed) == 0 {
			return nil
		}
		after = changed[len(changed)-1]
		var at map[sereno.CheckID]position
		err = s.read(ctx, "read meters", func(tx *sql.Tx) error {
			at, err = positions(ctx, tx, changed, cut)
			return err
		})
		if err != nil {
			return err
		}
		readings := make([]sereno.Meter, 0, len(at))
		for _, check := range changed {
			m := at[check].meter
			m.Check, m.At = check, cut
			readings = append(readings, m)
		}
		err = s.write(ctx, "write meter readings", func(tx *sql.Tx) error {
			return each(tx, insertMeter, readings, meterArgs)
		})
		if err != nil {
			return err
		}
	}
}

const insertMeter = `INSERT INTO meters (check_id, at_us, ` + meterColumns + `) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
	ON CONFLICT (check_id, at_us) DO NOTHING`

func scanCheckID(row scanner) (id sereno.CheckID, err error) {
	err = row.Scan((*int64)(&id))
	return id, err
}

// sweep deletes the rows of a table whose column is below before, of all checks.
// The names are of this package.
func (s *Store) sweep(ctx context.Context, table, column string, before int64) error {
	// Oldest first: what is left tiles, whenever it is cut short.
	return s.sweepBy(ctx, "drop old "+table, fmt.Sprintf(`DELETE FROM %[1]s WHERE check_id = $1 AND %[2]s < %[3]d AND %[2]s <=
		(SELECT max(%[2]s) FROM (SELECT %[2]s FROM %[1]s WHERE check_id = $1 AND %[2]s < %[3]d ORDER BY %[2]s LIMIT %[4]d) AS few)`,
		table, column, before, fewRows), nil)
}

// sweepBy runs a deletion, of at most fewRows at a time, for each of some checks
// (nil: all that ever were) until it deletes nothing more, in short turns.
func (s *Store) sweepBy(ctx context.Context, doing, text string, checks []sereno.CheckID) error {
	for after := sereno.CheckID(0); ; {
		these := checks
		if checks == nil {
			var err error
			these, err = all(rows(ctx, s, doing, `SELECT id FROM checks WHERE id > $1 ORDER BY id LIMIT 1000`, []any{int64(after)}, scanCheckID))
			if err != nil {
				return err
			}
		}
		if len(these) == 0 {
			return nil
		}
		after = these[len(these)-1]
		for len(these) > 0 {
			began := time.Now()
			err := s.write(ctx, doing, func(tx *sql.Tx) error {
				for len(these) > 0 && time.Since(began) < shortTurn {
					done, err := tx.Exec(text, int64(these[0]))
					if err != nil {
						return err
					}
					if n, err := done.RowsAffected(); err != nil {
						return err
					} else if n < fewRows {
						these = these[1:]
					}
				}
				return nil
			})
			if err != nil {
				return err
			}
			if err := pause(ctx, rest*time.Since(began)); err != nil {
				return err
			}
		}
		if checks != nil {
			return nil
		}
	}
}

// inTurns calls a deletion, of a few rows each time, in short turns until it
// says that there is no more.
func (s *Store) inTurns(ctx context.Context, doing string, step func(*sql.Tx) (more bool, err error)) error {
	for more := true; more; {
		began := time.Now()
		err := s.write(ctx, doing, func(tx *sql.Tx) (err error) {
			for more = true; more && err == nil && time.Since(began) < shortTurn; {
				more, err = step(tx)
			}
			return err
		})
		if err != nil {
			return err
		}
		if err := pause(ctx, rest*time.Since(began)); err != nil {
			return err
		}
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

// dropIncidents deletes what closed before an instant, those that hang on others
// first: none is ever left without the one it hangs on. The latest stays, since
// its number must not be given again; so does one of which somebody is still to
// hear.
func (s *Store) dropIncidents(ctx context.Context, before sereno.Instant) error {
	for again := true; again; {
		again = false
		for after := int64(0); ; {
			began := time.Now()
			var gone []sereno.IncidentID
			err := s.write(ctx, "drop incidents", func(tx *sql.Tx) (err error) {
				gone, err = query(ctx, tx, `SELECT i.id FROM incidents i
					WHERE i.id > $1 AND i.closed_us <> 0 AND i.closed_us < $2 AND i.id < (SELECT max(id) FROM incidents)
					AND NOT EXISTS (SELECT 1 FROM incidents c WHERE c.under_id = i.id AND c.under_id <> 0)
					AND NOT EXISTS (SELECT 1 FROM alerts a WHERE a.id = i.id AND a.done = 0)
					AND NOT EXISTS (SELECT 1 FROM delivery_items t JOIN deliveries d ON d.id = t.delivery_id WHERE t.incident_id = i.id AND t.carries = 1 AND d.state = 0)
					ORDER BY i.id LIMIT 200`, []any{after, int64(before)}, func(row scanner) (id sereno.IncidentID, err error) {
					err = row.Scan((*int64)(&id))
					return id, err
				})
				if err != nil {
					return err
				}
				if err := each(tx, `DELETE FROM alerts WHERE id = $1`, gone, func(id sereno.IncidentID) []any { return []any{int64(id)} }); err != nil {
					return err
				}
				return each(tx, `DELETE FROM incidents WHERE id = $1`, gone, func(id sereno.IncidentID) []any { return []any{int64(id)} })
			})
			if err != nil {
				return err
			}
			if len(gone) == 0 {
				break
			}
			again, after = true, int64(gone[len(gone)-1])
			if err := pause(ctx, rest*time.Since(began)); err != nil {
				return err
			}
		}
	}
	return nil
}

// A Tombstone is a device that was removed, and whose history is still there.
type Tombstone struct {
	ID      sereno.DeviceID
	Name    string
	Created sereno.Instant
	Removed sereno.Instant
	Checks  []sereno.CheckID
}

// Tombstones returns the removed devices of a name, or all if it is empty, the
// latest first; at most 1000.
func (s *Store) Tombstones(ctx context.Context, name string) (list []Tombstone, err error) {
	err = s.read(ctx, "list removed devices", func(tx *sql.Tx) error {
		list, err = query(ctx, tx, `SELECT id, name, created_us, deleted_us FROM devices
			WHERE deleted_us <> 0 AND ($1 = '' OR name = $1) ORDER BY deleted_us DESC, id DESC LIMIT 1000`, []any{name},
			func(row scanner) (t Tombstone, err error) {
				err = row.Scan((*int64)(&t.ID), &t.Name, (*int64)(&t.Created), (*int64)(&t.Removed))
				return t, err
			})
		for i := range list {
			if err == nil {
				list[i].Checks, err = query(ctx, tx, `SELECT id FROM checks WHERE device_id = $1 ORDER BY id`, []any{int64(list[i].ID)}, scanCheckID)
			}
		}
		return err
	})
	return list, err
}

// Removed returns the removed device with an id. A device that still lives is a
// Conflict, one that is not there NotFound.
func (s *Store) Removed(ctx context.Context, id sereno.DeviceID) (t Tombstone, err error) {
	t.ID = id
	err = s.read(ctx, "read a removed device", func(tx *sql.Tx) error {
		err := tx.QueryRowContext(ctx, `SELECT name, created_us, deleted_us FROM devices WHERE id = $1`, int64(id)).
			Scan(&t.Name, (*int64)(&t.Created), (*int64)(&t.Removed))
		switch {
		case errors.Is(err, sql.ErrNoRows):
			return sereno.Errorf(sereno.NotFound, "there is no device with the id %d, living or removed", id)
		case err == nil && t.Removed == 0:
			return sereno.Errorf(sereno.Conflict, "%s is still watched: remove it first", t.Name)
		case err != nil:
			return err
		}
		t.Checks, err = query(ctx, tx, `SELECT id FROM checks WHERE device_id = $1 ORDER BY id`, []any{int64(id)}, scanCheckID)
		return err
	})
	return t, err
}

// Purge deletes all that is remembered of a device that was removed, in small
// steps; cut short, it may be called again. Errors are those of Removed. Its
// checks are returned, for whoever keeps their looks.
func (s *Store) Purge(ctx context.Context, id sereno.DeviceID) (checks []sereno.CheckID, err error) {
	s.keeping.Lock()
	defer s.keeping.Unlock()
	gone, err := s.Removed(ctx, id)
	if err != nil {
		return nil, err
	}
	checks = gone.Checks
	// The latest first: what is left begins with the check, whenever it is cut
	// short.
	for _, of := range []struct{ table, column string }{{"spans", "end_us"}, {"meters", "at_us"}, {"days", "day"}, {"policies", "since_us"}} {
		text := fmt.Sprintf(`DELETE FROM %[1]s WHERE check_id = $1 AND %[2]s >=
			(SELECT min(%[2]s) FROM (SELECT %[2]s FROM %[1]s WHERE check_id = $1 ORDER BY %[2]s DESC LIMIT %[3]d) AS few)`, of.table, of.column, fewRows)
		if len(checks) > 0 {
			if err := s.sweepBy(ctx, "purge "+of.table, text, checks); err != nil {
				return nil, err
			}
		}
	}
	return checks, s.write(ctx, "purge a device", func(tx *sql.Tx) error {
		// What hung on its incidents hangs on nothing then.
		freed, err := query(ctx, tx, selectIncidents+` WHERE under_id <> 0 AND under_id IN (SELECT id FROM incidents WHERE device_id = $1) ORDER BY id`, []any{int64(id)}, scanIncident)
		if err != nil {
			return err
		}
		for i := range freed {
			freed[i].Under = 0
		}
		if err := s.rewrite(tx, freed); err != nil {
			return err
		}
		// What was told of it is not known any more either.
		told, err := query(ctx, tx, `SELECT id FROM incidents WHERE device_id = $1`, []any{int64(id)}, func(row scanner) (id sereno.IncidentID, err error) {
			err = row.Scan((*int64)(&id))
			return id, err
		})
		if err != nil {
			return err
		}
		if err := forget(ctx, tx, told); err != nil {
			return err
		}
		for _, text := range []string{
			// The latest incident of all keeps its number.
			`DELETE FROM incidents WHERE device_id = $1 AND id < (SELECT max(id) FROM incidents)`,
			`DELETE FROM device_parents WHERE device_id = $1 OR parent_id = $1`,
			`DELETE FROM maintained WHERE device_id = $1`,
			`DELETE FROM checks WHERE device_id = $1`,
			`DELETE FROM devices WHERE id = $1`,
		} {
			if _, err := tx.Exec(text, int64(id)); err != nil {
				return err
			}
		}
		return nil
	})
}
