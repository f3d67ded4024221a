package store

import (
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"

	"sereno"
)

// An Entry is one thing that somebody said about alerting by the API: a channel,
// a policy, a maintenance window, a silence. The store does not look inside.
type Entry struct {
	ID       int64  // given by the store, never again
	Kind     string // channel, policy, maintenance, silence
	Name     string // unique among its kind
	Position int    // among its kind, ascending
	Doc      json.RawMessage
	Sealed   []byte         // its secrets, encrypted; nil for none
	Changed  sereno.Instant // when it was said
}

// SaveEntry adds an entry, or replaces the one with its ID, and returns it with
// its identity; what is written to the audit trail is part of it. A name that
// another entry of the kind has is a Conflict, an ID that is not there NotFound.
func (s *Store) SaveEntry(ctx context.Context, e Entry, audit ...sereno.Audit) (Entry, error) {
	err := s.write(ctx, "save the "+e.Kind+" "+e.Name, func(tx *sql.Tx) error {
		var taken int64
		err := tx.QueryRow(`SELECT id FROM book WHERE kind = $1 AND name = $2`, e.Kind, e.Name).Scan(&taken)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		if taken != 0 && taken != e.ID {
			return &sereno.Error{Kind: sereno.Conflict, Field: "name", Text: fmt.Sprintf("there is a %s %q already: choose another name", e.Kind, e.Name)}
		}
		if e.ID == 0 {
			if e.ID, err = take(tx, "book", 1); err != nil {
				return err
			}
			_, err = tx.Exec(`INSERT INTO book (id, kind, name, position, doc, sealed, changed_us) VALUES ($1, $2, $3, $4, $5, $6, $7)`, entryArgs(e)...)
		} else {
			err = one(tx.Exec(`UPDATE book SET name = $3, position = $4, doc = $5, sealed = $6, changed_us = $7 WHERE id = $1 AND kind = $2`, entryArgs(e)...))
			if errors.Is(err, sql.ErrNoRows) {
				return sereno.Errorf(sereno.NotFound, "there is no %s with the id %d any more", e.Kind, e.ID)
			}
		}
		if err != nil {
			return err
		}
		_, err = s.putAudits(tx, audit, false)
		return err
	})
	if err != nil {
		return Entry{}, err
	}
	return e, nil
}

func entryArgs(e Entry) []any {
	return []any{e.ID, e.Kind, storable(e.Name), int64(e.Position), storable(string(e.Doc)), base64.StdEncoding.EncodeToString(e.Sealed), int64(e.Changed)}
}

// one is sql.ErrNoRows for a statement that touched no row.
func one(done sql.Result, err error) error {
	if err != nil {
		return err
	}
	if n, err := done.RowsAffected(); err != nil || n > 0 {
		return err
	}
	return sql.ErrNoRows
}

// Entries returns the entries of a kind by position, and of one position by ID;
// of all kinds, kind by kind, if kind is "".
func (s *Store) Entries(ctx context.Context, kind string) ([]Entry, error) {
	f := &filter{}
	if kind != "" {
		f.and("kind = ?", kind)
	}
	return all(rows(ctx, s, "load the book", `SELECT id, kind, name, position, doc, sealed, changed_us FROM book`+f.where()+` ORDER BY kind, position, id`, f.args, scanEntry))
}

func scanEntry(row scanner) (e Entry, err error) {
	var doc, sealed string
	if err := row.Scan(&e.ID, &e.Kind, &e.Name, &e.Position, &doc, &sealed, (*int64)(&e.Changed)); err != nil {
		return e, err
	}
	e.Doc = json.RawMessage(doc)
	if sealed != "" {
		e.Sealed, err = base64.StdEncoding.DecodeString(sealed)
	}
	return e, err
}

// DeleteEntry deletes an entry; what is written to the audit trail is part of
// it. One that is not there is NotFound.
func (s *Store) DeleteEntry(ctx context.Context, kind, name string, audit ...sereno.Audit) error {
	return s.write(ctx, "delete the "+kind+" "+name, func(tx *sql.Tx) error {
		err := one(tx.Exec(`DELETE FROM book WHERE kind = $1 AND name = $2`, kind, name))
		if errors.Is(err, sql.ErrNoRows) {
			return sereno.Errorf(sereno.NotFound, "there is no %s %q", kind, name)
		}
		if err != nil {
			return err
		}
		_, err = s.putAudits(tx, audit, false)
		return err
	})
}
