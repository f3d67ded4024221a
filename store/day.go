package store

import (
	"context"
	"database/sql"
	"errors"

	"sereno"
)

// PutDays writes what the looks of days were. A day that was written before is
// written over.
func (s *Store) PutDays(ctx context.Context, days []sereno.DayOfLooks) error {
	return s.write(ctx, "write days", func(tx *sql.Tx) error {
		return each(tx, `INSERT INTO days (check_id, day, looks, lost, rtt_min_us, rtt_avg_us, rtt_p50_us, rtt_p95_us, rtt_p99_us, rtt_max_us)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
			ON CONFLICT (check_id, day) DO UPDATE SET looks = excluded.looks, lost = excluded.lost, rtt_min_us = excluded.rtt_min_us,
			rtt_avg_us = excluded.rtt_avg_us, rtt_p50_us = excluded.rtt_p50_us, rtt_p95_us = excluded.rtt_p95_us,
			rtt_p99_us = excluded.rtt_p99_us, rtt_max_us = excluded.rtt_max_us`, days, func(d sereno.DayOfLooks) []any {
			return []any{
				int64(d.Check), d.Day, d.Looks, d.Lost, micros(d.Min), micros(d.Mean), micros(d.P50), micros(d.P95), micros(d.P99), micros(d.Max),
			}
		})
	})
}

// DaysOf returns the days of a check from the day from to before the day to,
// in order. A day without looks has none.
func (s *Store) DaysOf(ctx context.Context, check sereno.CheckID, from, to int64) ([]sereno.DayOfLooks, error) {
	return all(rows(ctx, s, "load days", `SELECT check_id, day, looks, lost, rtt_min_us, rtt_avg_us, rtt_p50_us, rtt_p95_us, rtt_p99_us, rtt_max_us
		FROM days WHERE check_id = $1 AND day >= $2 AND day < $3 ORDER BY day`, []any{int64(check), from, to}, scanDay))
}

// LatestDay returns the last day of a check that is written; ok is false if
// there is none.
func (s *Store) LatestDay(ctx context.Context, check sereno.CheckID) (day int64, ok bool, err error) {
	err = s.read(ctx, "find the latest day", func(tx *sql.Tx) error {
		err := tx.QueryRowContext(ctx, "SELECT day FROM days WHERE check_id = $1 ORDER BY day DESC LIMIT 1", int64(check)).Scan(&day)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		ok = err == nil
		return err
	})
	return day, ok, err
}

func scanDay(row scanner) (d sereno.DayOfLooks, err error) {
	err = row.Scan((*int64)(&d.Check), &d.Day, &d.Looks, &d.Lost, (*length)(&d.Min), (*length)(&d.Mean), (*length)(&d.P50), (*length)(&d.P95), (*length)(&d.P99), (*length)(&d.Max))
	return d, err
}
