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
}

var _ ledger.Journal = (*Store)(nil)

// ErrFull is in the tree of every error that a full disk has caused. Nothing
// of what was asked is written then, and the same may be asked again.
var ErrFull error = &sereno.Error{Kind: sereno.Internal, Text: "the disk is full"}

// Open opens the store at url, "sqlite:PATH", makes it if there is none, and
// brings its schema up to date. The folder of PATH is made with mode 0700, the
// file with 0600.
//
// Errors are a sereno.Error of one sentence: what, where, what to do. A file
// that is no store of Sereno's, or one of a newer Sereno, is left as it is.
func Open(ctx context.Context, url string, log *slog.Logger) (*Store, error) {
	return open(ctx, url, latest, log)
}

// OpenAsItIs opens the store at url with the schema that it has, which may be
// older than what this program writes: only Dump, Schema and Sums are sure to
// work then. If there is no store the error is NotFound, and none is made.
func OpenAsItIs(ctx context.Context, url string, log *slog.Logger) (*Store, error) {
	return open(ctx, url, asItIs, log)
}

func open(ctx context.Context, url string, version int64, log *slog.Logger) (*Store, error) {
	path, ok := strings.CutPrefix(url, "sqlite:")
	if !ok || path == "" {
		return nil, sereno.Errorf(sereno.Invalid, "%q is not the address of a store: write sqlite:PATH, such as sqlite:data/sereno.db", url)
	}
	return openSQLite(ctx, path, version, log)
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
	conn, err := s.writer.Conn(ctx)
	if err != nil {
		return s.failed(doing, err)
	}
	defer conn.Close()
	tx, err := conn.BeginTx(context.WithoutCancel(ctx), nil)
	if err != nil {
		return s.failed(doing, err)
	}
	defer tx.Rollback()
	if err := f(tx); err != nil {
		return s.failed(doing, err)
	}
	if err := tx.Commit(); err != nil {
		return s.failed(doing, err)
	}
	return nil
}

// read does f in one transaction that sees one moment and cannot write.
func (s *Store) read(ctx context.Context, doing string, f func(*sql.Tx) error) error {
	tx, err := s.reader.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
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
