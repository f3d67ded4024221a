package store

import (
	"context"
	"database/sql"
	"fmt"

	"sereno"
)

// A Life is a device as it was over a window of time, also when it is gone by
// now: with all of its checks that lived then, the removed among them, and
// without its parents.
type Life struct {
	sereno.Device
	Removed sereno.Instant // 0 while it lives
}

// A LifeQuery selects devices that lived in [From, To). The zero query selects
// those of all times.
type LifeQuery struct {
	From, To sereno.Instant  // a To of 0 is no end
	Device   sereno.DeviceID // 0 for every device
	Name     string          // had exactly this name last; a name may have had several lives
	Tag      string          // had exactly this tag last
	Cursor   string          // the next of the page before, "" for the first page
	Limit    int             // 1 to 1000; 0 for 100
}

// Lives returns one page of devices by ascending id, and the cursor of the
// next, "" after the last.
func (s *Store) Lives(ctx context.Context, q LifeQuery) (items []Life, next string, err error) {
	f := &filter{}
	if q.Cursor != "" {
		var after int64
		if err := parseCursor(q.Cursor, &after); err != nil {
			return nil, "", err
		}
		f.and("id > ?", after)
	}
	if q.Device != 0 {
		f.and("id = ?", int64(q.Device))
	}
	if q.Name != "" {
		f.and("name = ?", q.Name)
	}
	if q.Tag != "" {
		f.and("replace(tags, ?, '') <> tags", string(encode(q.Tag)))
	}
	q.lived(f)
	limit := pageLimit(q.Limit)
	err = s.read(ctx, "list devices of a window", func(tx *sql.Tx) error {
		items, err = readLives(ctx, tx, f, q, limit+1)
		return err
	})
	if err != nil {
		return nil, "", err
	}
	if len(items) > limit {
		items = items[:limit]
		next = formatCursor(int64(items[limit-1].ID))
	}
	return items, next, nil
}

// lived adds that a device, or a check, lived in the window.
func (q LifeQuery) lived(f *filter) {
	if q.From != 0 {
		f.and("(deleted_us = 0 OR deleted_us > ?)", int64(q.From))
	}
	if q.To != 0 {
		f.and("created_us < ?", int64(q.To))
	}
}

func readLives(ctx context.Context, tx *sql.Tx, f *filter, q LifeQuery, limit int) ([]Life, error) {
	ending := f.where() + " ORDER BY id LIMIT " + f.param(int64(limit))
	answer, err := tx.QueryContext(ctx, `SELECT id, name, address, importance, tags, paused, from_file, created_us, deleted_us FROM devices`+ending, f.args...)
	if err != nil {
		return nil, err
	}
	defer answer.Close()
	var devices []sereno.Device
	var removed []sereno.Instant
	for answer.Next() {
		var gone sereno.Instant
		d, err := scanDevice(withLast{answer, &gone})
		if err != nil {
			return nil, err
		}
		devices, removed = append(devices, d), append(removed, gone)
	}
	if err := answer.Err(); err != nil || len(devices) == 0 {
		return nil, err
	}
	of := &filter{}
	of.and("device_id >= ?", int64(devices[0].ID))
	of.and("device_id <= ?", int64(devices[len(devices)-1].ID))
	q.lived(of)
	err = merge(ctx, tx, devices, fmt.Sprintf(`SELECT device_id, id, name, kind, interval_us, timeout_us, fall, rise, rtt_above_us, loss_above, loss_window_us, settings, created_us
		FROM checks%s ORDER BY device_id, id`, of.where()), of.args, scanCheck,
		func(d *sereno.Device, c sereno.Check) { d.Checks = append(d.Checks, c) })
	if err != nil {
		return nil, err
	}
	items := make([]Life, len(devices))
	for i := range devices {
		items[i] = Life{devices[i], removed[i]}
	}
	return items, nil
}

// withLast is a row with one more column at its end.
type withLast struct {
	scanner
	last *sereno.Instant
}

func (w withLast) Scan(dest ...any) error { return w.scanner.Scan(append(dest, (*int64)(w.last))...) }
