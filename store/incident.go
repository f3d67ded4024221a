package store

import (
	"context"

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

const selectIncidents = `SELECT id, device_id, check_id, vantage_id, trouble, opened_us, closed_us, under_id, reason FROM incidents`

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

func scanIncident(row scanner) (i sereno.Incident, err error) {
	err = row.Scan((*int64)(&i.ID), (*int64)(&i.Device), (*int64)(&i.Check), &i.Vantage, &i.Trouble,
		(*int64)(&i.Opened), (*int64)(&i.Closed), (*int64)(&i.Under), &i.Reason)
	return i, err
}
