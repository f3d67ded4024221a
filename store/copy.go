package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"math"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/pressly/goose/v3"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"sereno"
)

// tables are all tables with facts, those that others refer to first. A table
// that is missing here would be missing in every backup: a test compares the
// list with the schema.
var tables = []string{
	"sequences", "devices", "device_parents", "checks", "states", "spans", "incidents", "absences", "clock_events",
	"policies", "starts", "meters", "days", "cuts",
	"alert_state", "alerts", "deliveries", "delivery_items", "audit", "book", "used_links", "maintained",
}

// firstOf is the first table of the list that a schema brought, for those since
// the second.
var firstOf = map[int64]string{2: "policies", 3: "alert_state"}

// A Table names the columns of the rows of a table. Its columns are sorted by
// name, so that they are the same on every engine.
type Table struct {
	Name    string
	Columns []string
}

// A Row holds the values of a table's columns: int64, float64 or string.
type Row = []any

// A Sum is the content of a table in two numbers, the same on every engine and
// in whatever order the rows come.
type Sum struct {
	Table  string `json:"table"`
	Rows   int64  `json:"rows"`
	Digest string `json:"digest"` // hexadecimal
}

// A Summer makes the Sum of a table, row by row.
type Summer struct {
	Table   Table
	rows    int64
	digest  [4]uint64
	scratch []byte
}

// Add counts a row in.
//
// The digest is the sum of the SHA-256 of the rows, in four parts modulo 2⁶⁴: it
// does not depend on an order, which engines that compare texts by other rules
// would not agree on.
func (s *Summer) Add(row Row) {
	b := s.scratch[:0]
	for _, v := range row {
		switch v := v.(type) {
		case int64:
			b = binary.BigEndian.AppendUint64(append(b, 'i'), uint64(v))
		case float64:
			b = binary.BigEndian.AppendUint64(append(b, 'f'), math.Float64bits(v))
		case string:
			b = binary.BigEndian.AppendUint64(append(b, 's'), uint64(len(v)))
			b = append(b, v...)
		default:
			panic(fmt.Sprintf("a row of %s has a %T", s.Table.Name, v)) // plain lets nothing else through
		}
	}
	s.scratch = b
	sum := sha256.Sum256(b)
	for i := range s.digest {
		s.digest[i] += binary.BigEndian.Uint64(sum[8*i:])
	}
	s.rows++
}

// Sum returns the sum of the rows so far.
func (s *Summer) Sum() Sum {
	var b []byte
	for _, d := range s.digest {
		b = binary.BigEndian.AppendUint64(b, d)
	}
	return Sum{s.Table.Name, s.rows, hex.EncodeToString(b)}
}

// Schema returns the version of the schema that the store has.
func (s *Store) Schema(ctx context.Context) (version int64, err error) {
	err = s.read(ctx, "read the schema's version", func(tx *sql.Tx) (err error) {
		version, err = schemaOf(ctx, tx)
		return err
	})
	return version, err
}

func schemaOf(ctx context.Context, tx *sql.Tx) (version int64, err error) {
	err = tx.QueryRowContext(ctx, `SELECT coalesce(max(version_id), 0) FROM goose_db_version`).Scan(&version)
	return version, err
}

// LatestSchema is the version of the schema that this program makes.
func LatestSchema() int64 {
	var latest int64
	names, err := migrations.ReadDir("migration/sqlite")
	if err != nil {
		panic(err) // they are linked in
	}
	for _, n := range names {
		version, err := goose.NumericComponent(n.Name())
		if err != nil {
			panic(err)
		}
		latest = max(latest, version)
	}
	return latest
}

// Dump hands over the whole content of the store as it is at one moment, table
// by table, and first the version of its schema. What each is given ends with
// its call. Writers are not held up, but what they write meanwhile cannot be
// tidied before Dump returns, so nobody should tarry.
func (s *Store) Dump(ctx context.Context, schema func(version int64) error, each func(t Table, rows iter.Seq2[Row, error]) error) error {
	return s.read(ctx, "read everything", func(tx *sql.Tx) error {
		if err := s.unhurried(ctx, tx); err != nil {
			return err
		}
		version, err := schemaOf(ctx, tx)
		if err != nil {
			return err
		}
		if err := schema(version); err != nil {
			return err
		}
		return dump(ctx, tx, version, each)
	})
}

func dump(ctx context.Context, tx *sql.Tx, schema int64, each func(t Table, rows iter.Seq2[Row, error]) error) error {
	for _, name := range tablesOf(schema) {
		t, err := describe(ctx, tx, name)
		if err != nil {
			return err
		}
		if err := each(t, scan(ctx, tx, t)); err != nil {
			return err
		}
	}
	return nil
}

// unhurried lets a transaction that reads everything take its time.
func (s *Store) unhurried(ctx context.Context, tx *sql.Tx) error {
	if s.postgres == nil {
		return nil
	}
	_, err := tx.ExecContext(ctx, `SET LOCAL statement_timeout = 0`)
	return err
}

// tablesOf are the tables of a schema: those of later ones come last.
func tablesOf(schema int64) []string {
	if first, ok := firstOf[schema+1]; ok {
		return tables[:slices.Index(tables, first)]
	}
	return tables
}

func describe(ctx context.Context, tx *sql.Tx, name string) (Table, error) {
	none, err := tx.QueryContext(ctx, `SELECT * FROM `+name+` LIMIT 0`)
	if err != nil {
		return Table{}, fmt.Errorf("read %s: %w", name, err)
	}
	defer none.Close()
	columns, err := none.Columns()
	if err == nil {
		err = none.Err()
	}
	slices.Sort(columns)
	return Table{name, columns}, err
}

// scan yields the rows of a table. A row is used up when the next is asked for.
func scan(ctx context.Context, tx *sql.Tx, t Table) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		answer, err := tx.QueryContext(ctx, `SELECT `+strings.Join(t.Columns, ", ")+` FROM `+t.Name)
		if err != nil {
			yield(nil, fmt.Errorf("read %s: %w", t.Name, err))
			return
		}
		defer answer.Close()
		row, into := make(Row, len(t.Columns)), make([]any, len(t.Columns))
		for i := range row {
			into[i] = &row[i]
		}
		for answer.Next() {
			err := answer.Scan(into...)
			for i := range row {
				if err == nil {
					row[i], err = plain(row[i])
				}
			}
			if err != nil {
				yield(nil, fmt.Errorf("read %s: %w", t.Name, err))
				return
			}
			if !yield(row, nil) {
				return
			}
		}
		if err := answer.Err(); err != nil {
			yield(nil, fmt.Errorf("read %s: %w", t.Name, err))
		}
	}
}

// plain makes one of the three kinds of values of what a driver gave.
func plain(v any) (any, error) {
	switch v := v.(type) {
	case int64, float64, string:
		return v, nil
	case []byte:
		return string(v), nil
	case bool:
		return flag(v), nil
	}
	return nil, fmt.Errorf("a value of type %T has no place in a store", v)
}

// Sums returns the sum of every table, of one moment. It reads everything.
func (s *Store) Sums(ctx context.Context) (sums []Sum, err error) {
	err = s.read(ctx, "sum everything", func(tx *sql.Tx) error {
		if err := s.unhurried(ctx, tx); err != nil {
			return err
		}
		schema, err := schemaOf(ctx, tx)
		if err == nil {
			sums, err = sumAll(ctx, tx, schema)
		}
		return err
	})
	return sums, err
}

func sumAll(ctx context.Context, tx *sql.Tx, schema int64) (sums []Sum, err error) {
	err = dump(ctx, tx, schema, func(t Table, rows iter.Seq2[Row, error]) error {
		s := Summer{Table: t}
		for row, err := range rows {
			if err != nil {
				return err
			}
			s.Add(row)
		}
		sums = append(sums, s.Sum())
		return nil
	})
	return sums, err
}

// A Draft is a new store that is being filled.
type Draft struct {
	tx     *sql.Tx
	schema int64
	ready  map[string]bool // tables that were emptied of what the migrations put there
	months *months         // PostgreSQL's partitions; nil elsewhere
}

// Put adds rows of one table. Tables come in the order of Dump.
func (d *Draft) Put(ctx context.Context, t Table, rows []Row) error {
	have, err := d.prepare(ctx, t)
	if err != nil || len(rows) == 0 {
		return err
	}
	if d.months != nil {
		return d.putTogether(t, rows)
	}
	batch := max(1, min(len(rows), 2000/len(have.Columns)))
	var insert *sql.Stmt
	defer func() {
		if insert != nil {
			insert.Close()
		}
	}()
	prepared := 0
	for part := range slices.Chunk(rows, batch) {
		if len(part) != prepared {
			if insert != nil {
				insert.Close()
			}
			prepared = len(part)
			if insert, err = d.tx.PrepareContext(ctx, insertRows(have, prepared)); err != nil { //nolint:sqlclosecheck // closed above, whichever it is then
				return fmt.Errorf("fill %s: %w", t.Name, err)
			}
		}
		args := make([]any, 0, len(part)*len(have.Columns))
		for _, row := range part {
			args = append(args, row...)
		}
		if _, err := insert.ExecContext(ctx, args...); contradicts(err) {
			return sereno.Errorf(sereno.Invalid, "rows of the table %s contradict each other or its rules: what they come from is damaged (%v)", t.Name, err)
		} else if err != nil {
			return fmt.Errorf("fill %s: %w", t.Name, err)
		}
	}
	return nil
}

// contradicts reports whether an engine refused rows for what they say.
func contradicts(err error) bool {
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		return e.Code()&0xff == sqlite3.SQLITE_CONSTRAINT
	}
	e, ok := errors.AsType[*pgconn.PgError](err)
	return ok && (strings.HasPrefix(e.Code, "22") || strings.HasPrefix(e.Code, "23")) // data exception, integrity constraint violation
}

// prepare proves that the store has the table as it is given and, the first
// time, empties it.
func (d *Draft) prepare(ctx context.Context, t Table) (Table, error) {
	if !slices.Contains(tablesOf(d.schema), t.Name) {
		return t, sereno.Errorf(sereno.Invalid, "there is no table %.100q in a store of schema %d", t.Name, d.schema)
	}
	if d.ready[t.Name] {
		return t, nil
	}
	have, err := describe(ctx, d.tx, t.Name)
	if err != nil {
		return t, err
	}
	if !slices.Equal(have.Columns, t.Columns) {
		return t, sereno.Errorf(sereno.Invalid, "the table %s of schema %d has the columns %s, not %.300s", t.Name, d.schema, strings.Join(have.Columns, ", "), strings.Join(t.Columns, ", "))
	}
	if _, err := d.tx.ExecContext(ctx, `DELETE FROM `+t.Name); err != nil {
		return t, fmt.Errorf("fill %s: %w", t.Name, err)
	}
	d.ready[t.Name] = true
	return have, nil
}

func insertRows(t Table, n int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "INSERT INTO %s (%s) VALUES ", t.Name, strings.Join(t.Columns, ", "))
	for i := range n * len(t.Columns) {
		switch {
		case i == 0:
			b.WriteByte('(')
		case i%len(t.Columns) == 0:
			b.WriteString("), (")
		default:
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "$%d", i+1)
	}
	b.WriteByte(')')
	return b.String()
}

// Sums returns the sum of every table as the draft holds it.
func (d *Draft) Sums(ctx context.Context) ([]Sum, error) {
	return sumAll(ctx, d.tx, d.schema)
}

// LeaveThePast makes of what was put into the draft, a backup, a store that
// tells nobody of what was before: all changes of incidents are taken in, what
// waited to be sent is dropped, and what people were told stays known. A draft
// that moves a store on from one place to another is not to be changed so.
func (d *Draft) LeaveThePast(ctx context.Context, now sereno.Instant) error {
	if !slices.Contains(tablesOf(d.schema), "alert_state") {
		return nil // nothing was told by it, and no change has a revision
	}
	if err := restored(ctx, d.tx, now); err != nil {
		return fmt.Errorf("leave the past: %w", err)
	}
	return nil
}

// Restore makes a new store at url with a schema of the past or the present,
// lets fill fill it, and brings it up to date. When anything fails there is no
// store.
//
// A store that is there already is a Conflict, a schema of the future Invalid.
func Restore(ctx context.Context, url string, schema int64, fill func(*Draft) error, log *slog.Logger) error {
	if latest := LatestSchema(); schema < 1 || schema > latest {
		return sereno.Errorf(sereno.Invalid, "this was written by a newer Sereno (schema %d, this one knows %d): use that version", schema, latest)
	}
	if IsPostgres(url) {
		return restorePostgres(ctx, url, schema, fill, log)
	}
	path, err := sqlitePath(url)
	if err != nil {
		return err
	}
	return restoreSQLite(ctx, path, schema, fill, log)
}

// fillIn runs fill on a store that is made but empty.
func fillIn(ctx context.Context, db *sql.DB, schema int64, fill func(*Draft) error) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if err := fill(&Draft{tx: tx, schema: schema, ready: map[string]bool{}}); err != nil {
		return err
	}
	return tx.Commit()
}
