package store

import (
	"context"
	"database/sql"

	"sereno"
)

// An IncidentQuery selects incidents. The zero query selects all.
type IncidentQuery struct {
	Device   sereno.DeviceID    // 0 for every device
	Own      bool               // only those of vantage points, which are about no device
	OpenOnly bool               // still open
	Under    *sereno.IncidentID // under this one; pointing to 0: under none
	From, To sereno.Instant     // those that touch [From, To); a To of 0 is no end
	Oldest   bool               // oldest first
	Cursor   string             // the next of the page before, "" for the first page
	Limit    int                // 1 to 1000; 0 for 100
}

const selectIncidents = `SELECT id, device_id, check_id, vantage_id, trouble, opened_us, closed_us, under_id, reason, subject FROM incidents`

// Incidents returns one page of incidents, newest first unless asked otherwise,
// and the cursor of the next, "" after the last.
func (s *Store) Incidents(ctx context.Context, q IncidentQuery) (items []sereno.Incident, next string, err error) {
	f := &filter{}
	if q.Cursor != "" {
		var before int64
		if err := parseCursor(q.Cursor, &before); err != nil {
			return nil, "", err
		}
		f.and("id "+beyond(q.Oldest)+" ?", before)
	}
	if q.Device != 0 {
		f.and("device_id = ?", int64(q.Device))
	}
	if q.Own {
		f.and("device_id = 0")
	}
	if q.OpenOnly {
		f.and("closed_us = 0")
	}
	if q.Under != nil {
		f.and("under_id = ?", int64(*q.Under))
		if *q.Under != 0 {
			f.and("under_id <> 0") // what the index covers
		}
	}
	if q.From != 0 {
		f.and("(closed_us = 0 OR closed_us > ?)", int64(q.From))
	}
	if q.To != 0 {
		f.and("opened_us < ?", int64(q.To))
	}
	limit := pageLimit(q.Limit)
	text := selectIncidents + f.where() + " ORDER BY id" + order(q.Oldest) + " LIMIT " + f.param(int64(limit+1))
	items, err = all(rows(ctx, s, "list incidents", text, f.args, scanIncident))
	if len(items) > limit {
		items = items[:limit]
		next = formatCursor(int64(items[limit-1].ID))
	}
	return items, next, err
}

// OpenIncidents returns all open incidents, oldest first.
func (s *Store) OpenIncidents(ctx context.Context) ([]sereno.Incident, error) {
	return all(rows(ctx, s, "load open incidents", selectIncidents+` WHERE closed_us = 0 ORDER BY id`, nil, scanIncident))
}

// LastIncidentID returns the highest identity of an incident, 0 if there is
// none.
func (s *Store) LastIncidentID(ctx context.Context) (sereno.IncidentID, error) {
	var id int64
	if err := s.reader.QueryRowContext(ctx, `SELECT coalesce(max(id), 0) FROM incidents`).Scan(&id); err != nil {
		return 0, s.failed("read the last incident", err)
	}
	return sereno.IncidentID(id), nil
}

// IncidentByID returns an incident, or an error of the kind NotFound.
func (s *Store) IncidentByID(ctx context.Context, id sereno.IncidentID) (sereno.Incident, error) {
	found, err := all(rows(ctx, s, "read an incident", selectIncidents+` WHERE id = $1`, []any{int64(id)}, scanIncident))
	if err == nil && len(found) == 0 {
		err = sereno.Errorf(sereno.NotFound, "there is no incident %d", id)
	}
	if err != nil {
		return sereno.Incident{}, err
	}
	return found[0], nil
}

// IncidentsByID returns those of some incidents that are there, by ID.
func (s *Store) IncidentsByID(ctx context.Context, ids []sereno.IncidentID) ([]sereno.Incident, error) {
	numbers := make([]int64, len(ids))
	for i, id := range ids {
		numbers[i] = int64(id)
	}
	return all(rows(ctx, s, "read incidents", selectIncidents+` WHERE id`+s.among()+` ORDER BY id`, []any{s.list(distinct(numbers))}, scanIncident))
}

// CountIncidents returns how many incidents of a check opened in [from, to); a
// to of 0 is no end.
func (s *Store) CountIncidents(ctx context.Context, check sereno.CheckID, from, to sereno.Instant) (n int, err error) {
	if to == 0 {
		to = endless
	}
	// By the device, of which there is an index.
	err = s.read(ctx, "count incidents", func(tx *sql.Tx) error {
		return tx.QueryRowContext(ctx, `SELECT count(*) FROM incidents WHERE device_id = (SELECT device_id FROM checks WHERE id = $1)
			AND check_id = $1 AND opened_us >= $2 AND opened_us < $3`, int64(check), int64(from), int64(to)).Scan(&n)
	})
	return n, err
}

// ChildrenOf returns how many devices have an incident that hangs on another,
// over however many steps, and the names of those whose incidents came first,
// at most limit.
func (s *Store) ChildrenOf(ctx context.Context, incident sereno.IncidentID, limit int) (count int, names []string, err error) {
	const below = `WITH RECURSIVE below (id, device_id) AS (
			SELECT id, device_id FROM incidents WHERE under_id = $1 AND under_id <> 0
			UNION SELECT i.id, i.device_id FROM incidents i JOIN below b ON i.under_id = b.id WHERE i.under_id <> 0
		) `
	err = s.read(ctx, "find what hangs on an incident", func(tx *sql.Tx) error {
		if err := tx.QueryRowContext(ctx, below+`SELECT count(DISTINCT device_id) FROM below WHERE device_id <> 0`, int64(incident)).Scan(&count); err != nil || count == 0 {
			return err
		}
		names, err = query(ctx, tx, below+`SELECT d.name FROM (SELECT device_id, min(id) AS first FROM below GROUP BY device_id) f JOIN devices d ON d.id = f.device_id
			ORDER BY f.first LIMIT $2`, []any{int64(incident), int64(max(limit, 0))}, func(row scanner) (name string, err error) {
			err = row.Scan(&name)
			return name, err
		})
		return err
	})
	return count, names, err
}

func scanIncident(row scanner) (i sereno.Incident, err error) {
	err = row.Scan((*int64)(&i.ID), (*int64)(&i.Device), (*int64)(&i.Check), &i.Vantage, &i.Trouble,
		(*int64)(&i.Opened), (*int64)(&i.Closed), (*int64)(&i.Under), &i.Reason, &i.Subject)
	return i, err
}
