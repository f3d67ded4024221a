package store

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"iter"
	"slices"
	"strings"

	"sereno"
)

// A DeviceQuery selects living devices. The zero query selects all.
type DeviceQuery struct {
	Search string         // part of the name, the address or a tag, in any case
	Tag    string         // has exactly this tag
	Status *sereno.Status // is in this status, as far as committed; see deviceStatus
	Cursor string         // the next of the page before, "" for the first page
	Limit  int            // 1 to 1000; 0 for 100
}

// deviceStatus is the status of a device by its checks' open spans: Unknown if
// nothing is known of any, Down or Up if all of which something is known are,
// else Degraded.
const deviceStatus = `(SELECT CASE
		WHEN count(*) FILTER (WHERE s.status <> 0) = 0 THEN 0
		WHEN count(*) FILTER (WHERE s.status NOT IN (0, 1)) = 0 THEN 1
		WHEN count(*) FILTER (WHERE s.status NOT IN (0, 3)) = 0 THEN 3
		ELSE 2 END
	FROM checks c JOIN states s ON s.check_id = c.id WHERE c.device_id = devices.id AND c.deleted_us = 0)`

// Devices returns one page of living devices by ascending id, and the cursor
// of the next, "" after the last. Devices that come or go meanwhile neither
// repeat nor hide others.
func (s *Store) Devices(ctx context.Context, q DeviceQuery) (items []sereno.Device, next string, err error) {
	f := living()
	if q.Cursor != "" {
		var after int64
		if err := parseCursor(q.Cursor, &after); err != nil {
			return nil, "", err
		}
		f.and("id > ?", after)
	}
	if q.Search != "" {
		f.and(`search LIKE ? ESCAPE '\'`, contains(strings.ToLower(q.Search)))
	}
	if q.Tag != "" {
		// Exact on every engine, where LIKE differs in case.
		f.and("replace(tags, ?, '') <> tags", string(encode(q.Tag)))
	}
	if q.Status != nil {
		f.and(deviceStatus+" = ?", int64(*q.Status))
	}
	limit := pageLimit(q.Limit)
	err = s.read(ctx, "list devices", func(tx *sql.Tx) error {
		items, err = readDevices(ctx, tx, f, limit+1)
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

// AllDevices yields the living devices of one moment by ascending id.
func (s *Store) AllDevices(ctx context.Context) iter.Seq2[sereno.Device, error] {
	return func(yield func(sereno.Device, error) bool) {
		err := s.read(ctx, "load devices", func(tx *sql.Tx) error {
			for d, err := range allDevices(ctx, tx) {
				if err != nil {
					return err
				}
				if !yield(d, nil) {
					return nil
				}
			}
			return nil
		})
		if err != nil {
			yield(sereno.Device{}, err)
		}
	}
}

// Device returns a living device, or an error of the kind NotFound.
func (s *Store) Device(ctx context.Context, id sereno.DeviceID) (sereno.Device, error) {
	var d sereno.Device
	err := s.read(ctx, "read a device", func(tx *sql.Tx) (err error) {
		d, err = readDevice(ctx, tx, id)
		return err
	})
	return d, err
}

// DeviceByName returns a living device, or an error of the kind NotFound.
func (s *Store) DeviceByName(ctx context.Context, name string) (sereno.Device, error) {
	var d sereno.Device
	err := s.read(ctx, "read a device", func(tx *sql.Tx) error {
		f := living()
		f.and("name = ?", name)
		found, err := readDevices(ctx, tx, f, 1)
		if err == nil && len(found) == 0 {
			err = sereno.Errorf(sereno.NotFound, "there is no device %q", name)
		}
		if err == nil {
			d = found[0]
		}
		return err
	})
	return d, err
}

// CountDevices returns the number of living devices.
func (s *Store) CountDevices(ctx context.Context) (int, error) {
	var n int
	err := s.reader.QueryRowContext(ctx, `SELECT count(*) FROM devices WHERE deleted_us = 0`).Scan(&n)
	if err != nil {
		return 0, s.failed("count devices", err)
	}
	return n, nil
}

func living() *filter {
	f := &filter{}
	f.and("deleted_us = 0")
	return f
}

func readDevice(ctx context.Context, tx *sql.Tx, id sereno.DeviceID) (sereno.Device, error) {
	f := living()
	f.and("id = ?", int64(id))
	found, err := readDevices(ctx, tx, f, 1)
	if err != nil {
		return sereno.Device{}, err
	}
	if len(found) == 0 {
		return sereno.Device{}, sereno.Errorf(sereno.NotFound, "there is no device with the id %d", id)
	}
	return found[0], nil
}

// allDevices reads all living devices, a stretch of ids at a time.
func allDevices(ctx context.Context, tx *sql.Tx) iter.Seq2[sereno.Device, error] {
	return func(yield func(sereno.Device, error) bool) {
		const stretch = 2000
		for after := int64(0); ; {
			f := living()
			f.and("id > ?", after)
			devices, err := readDevices(ctx, tx, f, stretch)
			if err != nil {
				yield(sereno.Device{}, err)
				return
			}
			for _, d := range devices {
				if !yield(d, nil) {
					return
				}
			}
			if len(devices) < stretch {
				return
			}
			after = int64(devices[stretch-1].ID)
		}
	}
}

// readDevices reads the first devices that f selects, by id: one query for
// each table, merged by the device's id.
func readDevices(ctx context.Context, tx *sql.Tx, f *filter, limit int) ([]sereno.Device, error) {
	ending := f.where() + " ORDER BY id LIMIT " + f.param(int64(limit))
	answer, err := tx.QueryContext(ctx, `SELECT id, name, address, importance, tags, paused, from_file, created_us FROM devices`+ending, f.args...)
	if err != nil {
		return nil, err
	}
	defer answer.Close()
	var devices []sereno.Device
	for answer.Next() {
		d, err := scanDevice(answer)
		if err != nil {
			return nil, err
		}
		devices = append(devices, d)
	}
	if err := answer.Err(); err != nil || len(devices) == 0 {
		return nil, err
	}

	// Devices that follow closely are cheapest found as a range of ids, strays
	// by the same conditions again.
	these, args := ` IN (SELECT id FROM devices`+ending+`)`, f.args
	first, last := int64(devices[0].ID), int64(devices[len(devices)-1].ID)
	if last-first < 2*int64(len(devices)) {
		these, args = ` BETWEEN $1 AND $2`, []any{first, last}
	}
	err = merge(ctx, tx, devices, `SELECT device_id, id, name, kind, interval_us, timeout_us, fall, rise, rtt_above_us, loss_above, loss_window_us, settings, created_us
		FROM checks WHERE deleted_us = 0 AND device_id`+these+` ORDER BY device_id`, args, scanCheck,
		func(d *sereno.Device, c sereno.Check) { d.Checks = append(d.Checks, c) })
	if err != nil {
		return nil, err
	}
	err = merge(ctx, tx, devices, `SELECT l.device_id, p.name FROM device_parents l JOIN devices p ON p.id = l.parent_id
		WHERE l.device_id`+these+` ORDER BY l.device_id`, args, scanParent,
		func(d *sereno.Device, parent string) { d.Parents = append(d.Parents, parent) })
	if err != nil {
		return nil, err
	}
	for i := range devices {
		slices.SortFunc(devices[i].Checks, func(a, b sereno.Check) int { return cmp.Compare(a.ID, b.ID) })
		slices.Sort(devices[i].Parents)
	}
	return devices, nil
}

// merge gives each row of a query that is ordered by device to its device, if
// that is among devices.
func merge[T any](ctx context.Context, tx *sql.Tx, devices []sereno.Device, text string, args []any,
	scan func(scanner) (sereno.DeviceID, T, error), give func(*sereno.Device, T),
) error {
	answer, err := tx.QueryContext(ctx, text, args...)
	if err != nil {
		return err
	}
	defer answer.Close()
	i := 0
	for answer.Next() {
		id, row, err := scan(answer)
		if err != nil {
			return err
		}
		for devices[i].ID < id {
			i++
		}
		if devices[i].ID == id {
			give(&devices[i], row)
		}
	}
	return answer.Err()
}

func scanDevice(row scanner) (d sereno.Device, err error) {
	var tags string
	err = row.Scan((*int64)(&d.ID), &d.Name, &d.Address, &d.Importance, &tags, &d.Paused, &d.FromFile, (*int64)(&d.Created))
	if err == nil {
		d.Tags, err = decodeTags(tags)
	}
	return d, err
}

func scanCheck(row scanner) (sereno.DeviceID, sereno.Check, error) {
	var c sereno.Check
	var settings string
	p := &c.Policy
	err := row.Scan((*int64)(&c.Device), (*int64)(&c.ID), &c.Name, &c.Kind, (*length)(&p.Interval), (*length)(&p.Timeout), &p.Fall, &p.Rise,
		(*length)(&p.RTTAbove), &p.LossAbove, (*length)(&p.LossWindow), &settings, (*int64)(&c.Created))
	if settings != "" {
		c.Settings = json.RawMessage(settings)
	}
	return c.Device, c, err
}

func scanParent(row scanner) (device sereno.DeviceID, parent string, err error) {
	err = row.Scan((*int64)(&device), &parent)
	return device, parent, err
}

// decodeTags reads what encode wrote. Nearly all tags are free of escapes, and
// 100,000 devices are to be loaded at once.
func decodeTags(text string) (tags []string, err error) {
	switch {
	case text == "[]":
	case strings.Contains(text, `\`):
		err = json.Unmarshal([]byte(text), &tags)
	default:
		tags = strings.Split(text[len(`["`):len(text)-len(`"]`)], `","`)
	}
	return tags, err
}

// encode writes a list or a text as JSON, without the escapes for HTML, so
// that a text has one form.
func encode(v any) []byte {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(err) // lists of strings always encode
	}
	return []byte(strings.TrimSuffix(b.String(), "\n"))
}
