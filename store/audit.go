package store

import (
	"context"
	"database/sql"
	"fmt"

	"sereno"
)

// An AuditQuery selects what people did. The zero query selects all.
type AuditQuery struct {
	Target   string         // incident, channel …; "" for any
	Of       string         // which of them; "" for any
	Who      string         // exactly; "" for anybody
	Action   string         // acknowledge, snooze …; "" for any
	From, To sereno.Instant // in [From, To); a To of 0 is no end
	Oldest   bool           // oldest first
	Cursor   string         // the next of the page before, "" for the first page
	Limit    int            // 1 to 1000; 0 for 100
}

const auditColumns = `id, at_us, who, via, action, target, of_id, text, detail`

// AddAudit writes down what somebody did and returns its identity.
func (s *Store) AddAudit(ctx context.Context, a sereno.Audit) (id int64, err error) {
	err = s.write(ctx, "write the audit trail", func(tx *sql.Tx) error {
		id, err = s.putAudits(tx, []sereno.Audit{a}, false)
		return err
	})
	return id, err
}

// putAudits adds entries to the audit trail and returns the identity of the
// first. Those of a batch that may be a repetition are left out if they are
// there already: the same person did the same in the same microsecond.
func (s *Store) putAudits(tx *sql.Tx, list []sereno.Audit, repeated bool) (first int64, err error) {
	if len(list) == 0 {
		return 0, nil
	}
	if first, err = take(tx, "audit", len(list)); err != nil {
		return 0, err
	}
	numbered := make([]sereno.Audit, len(list))
	for i, a := range list {
		a.ID = first + int64(i)
		numbered[i] = a
	}
	text := `INSERT INTO audit (` + auditColumns + `) SELECT * FROM @ WHERE true`
	if repeated {
		text = `INSERT INTO audit (` + auditColumns + `) SELECT * FROM @ WHERE NOT EXISTS (SELECT 1 FROM audit a WHERE a.at_us = u.at_us AND a.who = u.who AND a.via = u.via
			AND a.action = u.action AND a.target = u.target AND a.of_id = u.of_id AND a.text = u.text AND a.detail = u.detail)`
	}
	_, err = put(s, tx, text, auditColumns, numbered, func(a sereno.Audit) []any {
		return []any{a.ID, int64(a.At), storable(a.Who), storable(a.Via), storable(a.Action), storable(a.Target), storable(a.Of), storable(a.Text), storable(a.Detail)}
	})
	return first, err
}

// Audits returns one page of what people did, newest first unless asked
// otherwise, and the cursor of the next, "" after the last.
func (s *Store) Audits(ctx context.Context, q AuditQuery) (items []sereno.Audit, next string, err error) {
	f := &filter{}
	if q.Cursor != "" {
		var before int64
		if err := parseCursor(q.Cursor, &before); err != nil {
			return nil, "", err
		}
		f.and("id "+beyond(q.Oldest)+" ?", before)
	}
	for _, c := range []struct{ column, value string }{{"target", q.Target}, {"of_id", q.Of}, {"who", q.Who}, {"action", q.Action}} {
		if c.value != "" {
			f.and(c.column+" = ?", c.value)
		}
	}
	if q.From != 0 {
		f.and("at_us >= ?", int64(q.From))
	}
	if q.To != 0 {
		f.and("at_us < ?", int64(q.To))
	}
	limit := pageLimit(q.Limit)
	text := `SELECT ` + auditColumns + ` FROM audit` + f.where() + " ORDER BY id" + order(q.Oldest) + " LIMIT " + f.param(int64(limit+1))
	items, err = all(rows(ctx, s, "read the audit trail", text, f.args, scanAudit))
	if len(items) > limit {
		items = items[:limit]
		next = formatCursor(items[limit-1].ID)
	}
	return items, next, err
}

func scanAudit(row scanner) (a sereno.Audit, err error) {
	err = row.Scan(&a.ID, (*int64)(&a.At), &a.Who, &a.Via, &a.Action, &a.Target, &a.Of, &a.Text, &a.Detail)
	return a, err
}

// dropAudits deletes what people did before an instant, in short turns.
func (s *Store) dropAudits(ctx context.Context, before sereno.Instant) error {
	return s.inTurns(ctx, "drop the audit trail", func(tx *sql.Tx) (more bool, err error) {
		done, err := tx.ExecContext(ctx, fmt.Sprintf(`DELETE FROM audit WHERE id IN (SELECT id FROM audit WHERE at_us < $1 ORDER BY at_us LIMIT %d)`, fewRows), int64(before))
		if err != nil {
			return false, err
		}
		n, err := done.RowsAffected()
		return n == fewRows, err
	})
}
