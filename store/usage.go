package store

import (
	"context"
	"database/sql"
	"os"
	"strings"
)

// classOf says to which class of facts a table belongs.
func classOf(table string) string {
	switch {
	case table == "spans" || strings.HasPrefix(table, "spans_"): // a month's
		return "spans"
	case table == "devices" || table == "device_parents" || table == "checks" || table == "states" || table == "policies" || table == "book" || table == "maintained":
		return "plan"
	case table == "absences" || table == "clock_events" || table == "starts":
		return "absences"
	case table == "alerts" || table == "alert_state" || table == "deliveries" || table == "delivery_items" || table == "used_links":
		return "deliveries"
	case table == "incidents" || table == "meters" || table == "days" || table == "audit":
		return table
	}
	return "other"
}

// Usage returns the bytes that facts take on disk, with their indexes, by class:
// "plan" (with what was said about alerting), "spans", "incidents", "absences",
// "meters", "days", "deliveries", "audit", "other" (with what is free in the
// file), and for SQLite "log". In SQLite it reads the whole
// file: a second a gigabyte, so ask seldom.
func (s *Store) Usage(ctx context.Context) (map[string]int64, error) {
	type size struct {
		table string
		bytes int64
	}
	scan := func(row scanner) (t size, err error) {
		err = row.Scan(&t.table, &t.bytes)
		return t, err
	}
	text := `SELECT s.tbl_name, sum(d.pgsize) FROM dbstat d JOIN sqlite_schema s ON s.name = d.name WHERE d.aggregate = TRUE GROUP BY s.tbl_name`
	if s.postgres != nil {
		text = `SELECT relname, pg_total_relation_size(oid) FROM pg_class WHERE relkind = 'r' AND relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = 'devices'::regclass)`
	}
	usage := map[string]int64{}
	err := s.read(ctx, "measure the store", func(tx *sql.Tx) error {
		tables, err := query(ctx, tx, text, nil, scan)
		if err != nil {
			return err
		}
		var sum int64
		for _, t := range tables {
			usage[classOf(t.table)] += t.bytes
			sum += t.bytes
		}
		if s.postgres != nil {
			return nil
		}
		var whole int64
		var path string
		if err := tx.QueryRowContext(ctx, `SELECT page_count * page_size FROM pragma_page_count, pragma_page_size`).Scan(&whole); err != nil {
			return err
		}
		if err := tx.QueryRowContext(ctx, `SELECT file FROM pragma_database_list WHERE name = 'main'`).Scan(&path); err != nil {
			return err
		}
		usage["other"] += max(0, whole-sum)
		if info, err := os.Stat(path + "-wal"); err == nil {
			usage["log"] = info.Size()
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return usage, nil
}
