// Package store keeps Sereno's facts in SQL: the plan (devices and checks),
// what is believed of every check now, and what happened: spans, incidents,
// absences.
//
// Each query has one text for every engine, with $N parameters, times as whole
// microseconds and lists as JSON. What differs between engines stands in the
// file of the engine (sqlite.go); package storetest is what each of them must
// do.
package store

import (
	"context"
	"database/sql"
	"fmt"
	"iter"
	"log/slog"
	"strings"
	"sync"

	"sereno"
	"sereno/ledger"
)

// A Store keeps facts. Its methods may be called by many goroutines at once;
// writers take turns, readers see the store as it was when they began.
type Store struct {
	writer  *sql.DB           // one connection: one transaction at a time
	reader  *sql.DB           // a pool that cannot write
	explain func(error) error // the engine's errors as sentences
	release func() error      // what the engine holds besides the connections
	log     *slog.Logger

	postgres *postgres // nil for another engine

	// keeping is held by what reads spans to write down what they sum to, and
	// by what drops them: neither may find the other halfway.
	keeping sync.Mutex
}

var _ ledger.Journal = (*Store)(nil)

// ErrFull is in the tree of every error that a full disk has caused. Nothing
// of what was asked is written then, and the same may be asked again.
var ErrFull error = &sereno.Error{Kind: sereno.Internal, Text: "the disk is full"}

// ErrAway is in the tree of every error that says: the database cannot be used
// now. Whether what was asked is written is not known then, and the same may be
// asked again. The kind of such an error is Unavailable where waiting may help,
// and another where somebody has to act, as after a change of the password.
var ErrAway error = &sereno.Error{Kind: sereno.Unavailable, Text: "the database cannot be reached; ask again later"}

// An Option changes how a store is opened.
type Option func(*options)

type options struct{ connections int }

// Connections says how many connections a PostgreSQL store has at most, 10 by
// default. A file has its own number.
func Connections(n int) Option { return func(o *options) { o.connections = n } }

// Open opens the store at url, "sqlite:PATH" or "postgres://…", and brings its
// schema up to date. A file is made if there is none, with mode 0600 and its
// folder with 0700; a database must be there.
//
// Errors are a sereno.Error of one sentence: what, where, what to do. A file
// that is no store of Sereno's, or one of a newer Sereno, is left as it is. A
// server that does not answer gives ErrAway and the kind Unavailable.
func Open(ctx context.Context, url string, log *slog.Logger, with ...Option) (*Store, error) {
	return open(ctx, url, latest, log, with...)
}

// OpenAsItIs opens the store at url with the schema that it has, which may be
// older than what this program writes: only Dump, Schema and Sums are sure to
// work then. If there is no store the error is NotFound, and none is made.
func OpenAsItIs(ctx context.Context, url string, log *slog.Logger) (*Store, error) {
	return open(ctx, url, asItIs, log)
}

func open(ctx context.Context, url string, version int64, log *slog.Logger, with ...Option) (*Store, error) {
	if IsPostgres(url) {
		var o options
		for _, w := range with {
			w(&o)
		}
		return openPostgres(ctx, url, version, o, log)
	}
	path, err := sqlitePath(url)
	if err != nil {
		return nil, err
	}
	return openSQLite(ctx, path, version, log)
}

// IsPostgres reports whether url is the address of a PostgreSQL database.
func IsPostgres(url string) bool {
	return strings.HasPrefix(url, "postgres://") || strings.HasPrefix(url, "postgresql://")
}

func sqlitePath(url string) (string, error) {
	path, ok := strings.CutPrefix(url, "sqlite:")
	if !ok || path == "" {
		return "", sereno.Errorf(sereno.Invalid, "%q is not the address of a store: write sqlite:PATH, such as sqlite:data/sereno.db, or postgres://USER:PASSWORD@HOST:5432/DATABASE", Redact(url))
	}
	return path, nil
}

// Redact returns the address of a store without its password.
func Redact(address string) string {
	scheme, rest, ok := strings.Cut(address, "://")
	if !ok {
		return address
	}
	// What is before the last @ is who asks: a password may hold any sign.
	at := strings.LastIndexByte(rest, '@')
	if at < 0 {
		return address
	}
	user, _, secret := strings.Cut(rest[:at], ":")
	if secret {
		user += ":***"
	}
	return scheme + "://" + user + rest[at:]
}

// Close waits for what is under way and closes the store.
func (s *Store) Close() error {
	err := s.reader.Close()
	if e := s.writer.Close(); err == nil {
		err = e
	}
	if e := s.release(); err == nil {
		err = e
	}
	return err
}

// write does f in one transaction. Waiting for its turn ends with ctx; what
// has begun is done to its end, because a commit that was given up halfway
// leaves its caller not knowing.
func (s *Store) write(ctx context.Context, doing string, f func(*sql.Tx) error) error {
	conn, tx, stop, err := s.begin(ctx)
	if err != nil && s.stale(err) {
		conn, tx, stop, err = s.begin(ctx)
	}
	if err != nil {
		return s.failed(doing, err)
	}
	defer conn.Close()
	defer stop()
	defer tx.Rollback()
	if err := f(tx); err != nil {
		return s.failed(doing, err)
	}
	if err := tx.Commit(); err != nil {
		return s.failed(doing, err)
	}
	return nil
}

// begin begins the transaction of write. The engine's guard is on until stop.
func (s *Store) begin(ctx context.Context) (conn *sql.Conn, tx *sql.Tx, stop func(), err error) {
	conn, err = s.writer.Conn(ctx)
	if err != nil {
		return nil, nil, nil, err
	}
	stop = func() {}
	if s.postgres != nil {
		if stop, err = guard(conn, writePatience); err != nil {
			conn.Close()
			return nil, nil, nil, err
		}
	}
	if tx, err = conn.BeginTx(context.WithoutCancel(ctx), nil); err != nil {
		stop()
		conn.Close()
		return nil, nil, nil, err
	}
	return conn, tx, stop, nil
}

// stale reports whether a transaction or a query could not begin because the
// connection had broken while nobody used it, as after a restart of the server.
// A second try has another one.
func (s *Store) stale(err error) bool { return s.postgres != nil && s.postgres.stale(err) }

// writeSpans is write for a transaction that closes spans, which end at the
// given moments: there must be a partition for each. One that is missing is
// made beforehand: a reader whose plan is from just before it was attached, but
// whose moment is after, would otherwise miss the span and see what follows it.
func (s *Store) writeSpans(ctx context.Context, doing string, ends iter.Seq[sereno.Instant], f func(*sql.Tx) error) error {
	if s.postgres == nil {
		return s.write(ctx, doing, f)
	}
	if months := &s.postgres.months; len(months.missing(ends)) > 0 {
		var made []month
		err := s.write(ctx, doing, func(tx *sql.Tx) (err error) {
			made, err = months.partition(tx, ends)
			return err
		})
		if err != nil {
			return err
		}
		months.learn(made)
		if len(made) > 0 {
			// A connection that read while a partition was attached may go on
			// without it for as long as it lives.
			s.postgres.pool.Reset()
		}
	}
	return s.write(ctx, doing, f)
}

// only is one moment.
func only(at sereno.Instant) iter.Seq[sereno.Instant] {
	return func(yield func(sereno.Instant) bool) { yield(at) }
}

// read does f in one transaction that sees one moment and cannot write.
func (s *Store) read(ctx context.Context, doing string, f func(*sql.Tx) error) error {
	moment := &sql.TxOptions{ReadOnly: true}
	if s.postgres != nil {
		moment.Isolation = sql.LevelRepeatableRead // SQLite has nothing less
	}
	tx, err := s.reader.BeginTx(ctx, moment)
	if err != nil && s.stale(err) {
		tx, err = s.reader.BeginTx(ctx, moment)
	}
	if err != nil {
		return s.failed(doing, err)
	}
	defer tx.Rollback()
	if err := f(tx); err != nil {
		return s.failed(doing, err)
	}
	return nil
}

// failed leaves the mistakes of the asker as they are and says of all else
// what was being done.
func (s *Store) failed(doing string, err error) error {
	if sereno.KindOf(err) != sereno.Internal {
		return err
	}
	return fmt.Errorf("%s: %w", doing, s.explain(err))
}

// A scanner is one row of an answer.
type scanner interface{ Scan(dest ...any) error }

// rows yields what scan makes of each row of one query. It holds a connection
// and the moment it shows until it ends, so its reader should not tarry.
func rows[T any](ctx context.Context, s *Store, doing, text string, args []any, scan func(scanner) (T, error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		answer, err := s.reader.QueryContext(ctx, text, args...)
		if err != nil && s.stale(err) {
			answer, err = s.reader.QueryContext(ctx, text, args...)
		}
		if err != nil {
			yield(none, s.failed(doing, err))
			return
		}
		defer answer.Close()
		for answer.Next() {
			row, err := scan(answer)
			if err != nil {
				yield(none, s.failed(doing, err))
				return
			}
			if !yield(row, nil) {
				return
			}
		}
		if err := answer.Err(); err != nil {
			yield(none, s.failed(doing, err))
		}
	}
}

// all collects a scan; it is nil on an error.
func all[T any](seq iter.Seq2[T, error]) ([]T, error) {
	var list []T
	for row, err := range seq {
		if err != nil {
			return nil, err
		}
		list = append(list, row)
	}
	return list, nil
}

// each runs one text for every row. A prepared statement in one transaction is
// the fastest way into SQLite from here (200,000 rows/s; rows in one VALUES
// list are slower from about 30 on).
func each[T any](tx *sql.Tx, text string, list []T, args func(T) []any) error {
	if len(list) == 0 {
		return nil
	}
	stmt, err := tx.Prepare(text)
	if err != nil {
		return err
	}
	defer stmt.Close()
	for _, row := range list {
		if _, err := stmt.Exec(args(row)...); err != nil {
			return err
		}
	}
	return nil
}

// insert adds a row for each of list and returns how many were added, which
// may be fewer where a conflict lets one go. into is the table and its columns
// in the order of args: "starts (at_us, version)". Whatever the number of rows,
// PostgreSQL at the other end of a wire is asked a few times only.
func insert[T any](s *Store, tx *sql.Tx, into, conflict string, list []T, args func(T) []any) (added int64, err error) {
	if s.postgres != nil {
		if len(list) == 0 {
			return 0, nil
		}
		kinds := kindsOf(columns(list[:1], args))
		return together(tx, `INSERT INTO `+into+` SELECT * FROM `+unnest(kinds)+` `+conflict, list, args)
	}
	if len(list) == 0 {
		return 0, nil
	}
	values := make([]string, len(args(list[0])))
	for i := range values {
		values[i] = fmt.Sprintf("$%d", i+1)
	}
	stmt, err := tx.Prepare(`INSERT INTO ` + into + ` VALUES (` + strings.Join(values, ", ") + `) ` + conflict)
	if err != nil {
		return 0, err
	}
	defer stmt.Close()
	for _, row := range list {
		done, err := stmt.Exec(args(row)...)
		if err != nil {
			return added, err
		}
		n, err := done.RowsAffected()
		if added += n; err != nil {
			return added, err
		}
	}
	return added, nil
}
