package store

import (
	"cmp"
	"context"
	"database/sql"
	"slices"

	"sereno"
)

const selectMaintained = `SELECT device_id, begin_us, end_us, window_name FROM maintained`

// Maintained returns the stretches of maintenance of some devices (nil: of all)
// that touch [from, to), by device and begin. A to of 0 is no end.
func (s *Store) Maintained(ctx context.Context, devices []sereno.DeviceID, from, to sereno.Instant) ([]sereno.Maintained, error) {
	f := &filter{}
	if devices != nil {
		ids := make([]int64, len(devices))
		for i, d := range devices {
			ids[i] = int64(d)
		}
		f.args = append(f.args, s.list(ids))
		f.and("device_id" + s.among())
	}
	if from != 0 {
		f.and("(end_us = 0 OR end_us > ?)", int64(from))
	}
	if to != 0 {
		f.and("begin_us < ?", int64(to))
	}
	return all(rows(ctx, s, "load maintenance", selectMaintained+f.where()+` ORDER BY device_id, begin_us, window_name`, f.args, scanMaintained))
}

// OpenMaintained returns the stretches that last.
func (s *Store) OpenMaintained(ctx context.Context) ([]sereno.Maintained, error) {
	return all(rows(ctx, s, "load maintenance", selectMaintained+` WHERE end_us = 0 ORDER BY device_id, begin_us, window_name`, nil, scanMaintained))
}

// PutMaintained writes stretches down, in one transaction: one with the same
// device, window and begin is written over, which is how it ends.
func (s *Store) PutMaintained(ctx context.Context, list []sereno.Maintained) error {
	return s.write(ctx, "write maintenance down", func(tx *sql.Tx) error {
		for _, m := range list {
			if m.End != 0 && m.End <= m.Begin {
				return sereno.Errorf(sereno.Internal, "maintenance of device %d by %q would begin at %s and end at %s", m.Device, m.Window, m.Begin, m.End)
			}
		}
		list = slices.SortedStableFunc(slices.Values(list), func(a, b sereno.Maintained) int {
			return cmp.Or(cmp.Compare(a.Device, b.Device), cmp.Compare(a.Window, b.Window), cmp.Compare(a.Begin, b.Begin))
		})
		type key struct {
			device sereno.DeviceID
			window string
			begin  sereno.Instant
		}
		list = lastOf(list, func(m sereno.Maintained) key { return key{m.Device, m.Window, m.Begin} })
		_, err := put(s, tx, `INSERT INTO maintained (device_id, window_name, begin_us, end_us) SELECT * FROM @ WHERE true
			ON CONFLICT (device_id, window_name, begin_us) DO UPDATE SET end_us = excluded.end_us`, "device_id, window_name, begin_us, end_us", list,
			func(m sereno.Maintained) []any {
				return []any{int64(m.Device), storable(m.Window), int64(m.Begin), int64(m.End)}
			})
		return err
	})
}

func scanMaintained(row scanner) (m sereno.Maintained, err error) {
	err = row.Scan((*int64)(&m.Device), (*int64)(&m.Begin), (*int64)(&m.End), &m.Window)
	return m, err
}
