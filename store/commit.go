package store

import (
	"cmp"
	"context"
	"database/sql"
	"maps"
	"slices"
	"strings"
	"time"

	"sereno"
	"sereno/ledger"
)

// Commit writes an entry in one transaction, which is on disk when it returns
// nil. The same entry again, after an answer that was lost, changes nothing.
// What is said of checks that live no more is left out. When the disk is full
// the error is ErrFull.
func (s *Store) Commit(ctx context.Context, e *ledger.Entry) error {
	ends := func(yield func(sereno.Instant) bool) {
		for _, span := range e.Closed {
			if !yield(span.End) {
				return
			}
		}
	}
	return s.writeSpans(ctx, "commit", ends, func(tx *sql.Tx) error {
		if s.postgres != nil {
			return s.postgres.commit(s, tx, e)
		}
		for _, put := range []func(*sql.Tx, *ledger.Entry) error{closeSpans, openSpans, s.putIncidents, freeIncidents, putAbsences, putClockEvents, putStarts, putPolicies} {
			if err := put(tx, e); err != nil {
				return err
			}
		}
		return nil
	})
}

const (
	spanColumns  = `check_id, end_us, begin_us, status, cause, proof_us, uncertainty_us, reason`
	stateColumns = `check_id, status, cause, begin_us, proof_us, uncertainty_us, reason`

	// A check lives as long as it has a state.
	insertSpan = `INSERT INTO spans (` + spanColumns + `) SELECT $1, $2, $3, $4, $5, $6, $7, $8
		WHERE EXISTS (SELECT 1 FROM states WHERE check_id = $1) ON CONFLICT (check_id, end_us) DO NOTHING`
	countSpan = `SELECT count(*) FROM spans WHERE check_id = $1 AND end_us = $2 AND begin_us = $3
		AND status = $4 AND cause = $5 AND proof_us = $6 AND uncertainty_us = $7 AND reason = $8`
	updateState = `UPDATE states SET status = $2, cause = $3, begin_us = $4, proof_us = $5, uncertainty_us = $6, reason = $7 WHERE check_id = $1`

	incidentColumns = `id, device_id, check_id, vantage_id, trouble, opened_us, closed_us, under_id, reason, subject, revision`

	// What is told again as it is already is no new version.
	putIncident = `INSERT INTO incidents (` + incidentColumns + `) SELECT * FROM @
		WHERE u.check_id = 0 OR EXISTS (SELECT 1 FROM states WHERE states.check_id = u.check_id)
		ON CONFLICT (id) DO UPDATE SET device_id = excluded.device_id, check_id = excluded.check_id, vantage_id = excluded.vantage_id, trouble = excluded.trouble,
		opened_us = excluded.opened_us, closed_us = excluded.closed_us, under_id = excluded.under_id, reason = excluded.reason, subject = excluded.subject, revision = excluded.revision
		WHERE (incidents.device_id, incidents.check_id, incidents.vantage_id, incidents.trouble, incidents.opened_us, incidents.closed_us, incidents.under_id, incidents.reason, incidents.subject)
		<> (excluded.device_id, excluded.check_id, excluded.vantage_id, excluded.trouble, excluded.opened_us, excluded.closed_us, excluded.under_id, excluded.reason, excluded.subject)`
)

// closeSpans never replaces a span: a repeated one must say what the first
// said.
func closeSpans(tx *sql.Tx, e *ledger.Entry) error {
	if len(e.Closed) == 0 {
		return nil
	}
	insert, err := tx.Prepare(insertSpan)
	if err != nil {
		return err
	}
	defer insert.Close()
	for _, span := range byCheck(e.Closed) {
		done, err := insert.Exec(spanArgs(span)...)
		if err != nil {
			return err
		}
		if n, err := done.RowsAffected(); err != nil {
			return err
		} else if n == 1 {
			continue
		}
		var living, same int
		if err := tx.QueryRow(`SELECT count(*) FROM states WHERE check_id = $1`, int64(span.Check)).Scan(&living); err != nil {
			return err
		}
		if err := tx.QueryRow(countSpan, spanArgs(span)...).Scan(&same); err != nil {
			return err
		}
		if living > 0 && same == 0 {
			return otherSpan(span)
		}
	}
	return nil
}

func otherSpan(s sereno.Span) error {
	return sereno.Errorf(sereno.Internal, "check %d already has another span that ends at %s", s.Check, s.End)
}

func spanArgs(s sereno.Span) []any {
	return []any{int64(s.Check), int64(s.End), int64(s.Begin), int64(s.Status), int64(s.Cause), int64(s.Proof), micros(s.Uncertainty), storable(s.Reason)}
}

func openSpans(tx *sql.Tx, e *ledger.Entry) error {
	return each(tx, updateState, byCheck(e.Open), stateArgs)
}

// byCheck sorts spans the way they lie on disk: a storm comes in any order, and
// to touch each page once instead of again and again doubles the speed.
func byCheck(spans []sereno.Span) []sereno.Span {
	return slices.SortedStableFunc(slices.Values(spans), func(a, b sereno.Span) int { return cmp.Compare(a.Check, b.Check) })
}

func stateArgs(s sereno.Span) []any {
	return []any{int64(s.Check), int64(s.Status), int64(s.Cause), int64(s.Begin), int64(s.Proof), micros(s.Uncertainty), storable(s.Reason)}
}

// A version is an incident as it is written now.
type version struct {
	sereno.Incident
	revision int64
}

// versions gives incidents the revisions that follow the latest, in order: who
// has read up to one of them knows all that was committed before.
func versions(tx *sql.Tx, list []sereno.Incident) ([]version, error) {
	if len(list) == 0 {
		return nil, nil
	}
	first, err := take(tx, "revisions", len(list))
	next := make([]version, len(list))
	for i, in := range list {
		next[i] = version{in, first + int64(i)}
	}
	return next, err
}

// rewrite writes new versions of incidents that are there, whether or not their
// checks live.
func (s *Store) rewrite(tx *sql.Tx, list []sereno.Incident) error {
	changed, err := versions(tx, list)
	if err != nil {
		return err
	}
	_, err = put(s, tx, `UPDATE incidents SET closed_us = u.closed_us, under_id = u.under_id, revision = u.revision FROM @ WHERE incidents.id = u.id`, incidentColumns, changed, incidentArgs)
	return err
}

func (s *Store) putIncidents(tx *sql.Tx, e *ledger.Entry) error {
	list := slices.SortedStableFunc(slices.Values(e.Incidents), func(a, b sereno.Incident) int { return cmp.Compare(a.ID, b.ID) })
	written, err := versions(tx, lastOf(list, func(i sereno.Incident) sereno.IncidentID { return i.ID }))
	if err != nil {
		return err
	}
	_, err = put(s, tx, putIncident, incidentColumns, written, incidentArgs)
	return err
}

// freeIncidents frees those that hang on one that is not there, because it was
// left out as news of a check that lives no more: the same entry wrote them, so
// their revisions are new.
func freeIncidents(tx *sql.Tx, e *ledger.Entry) error {
	parents := map[sereno.IncidentID]bool{}
	for _, i := range e.Incidents {
		if i.Under != 0 {
			parents[i.Under] = true
		}
	}
	return each(tx, `UPDATE incidents SET under_id = 0 WHERE under_id = $1 AND under_id <> 0 AND NOT EXISTS (SELECT 1 FROM incidents p WHERE p.id = $1)`,
		slices.Sorted(maps.Keys(parents)), func(id sereno.IncidentID) []any { return []any{int64(id)} })
}

func incidentArgs(v version) []any {
	i := v.Incident
	return []any{
		int64(i.ID), int64(i.Device), int64(i.Check), int64(i.Vantage), int64(i.Trouble), int64(i.Opened), int64(i.Closed), int64(i.Under),
		storable(i.Reason), storable(i.Subject), v.revision,
	}
}

func putAbsences(tx *sql.Tx, e *ledger.Entry) error {
	return each(tx, `INSERT INTO absences (begin_us, end_us, uncertainty_us, cause, unsure, checks)
		VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (begin_us, end_us) DO NOTHING`,
		e.Absences, func(a sereno.Absence) []any {
			return []any{int64(a.Begin), int64(a.End), micros(a.Uncertainty), int64(a.Cause), flag(a.Unsure), int64(a.Checks)}
		})
}

func putClockEvents(tx *sql.Tx, e *ledger.Entry) error {
	return each(tx, `INSERT INTO clock_events (at_us, step_us) VALUES ($1, $2) ON CONFLICT (at_us, step_us) DO NOTHING`,
		e.Clock, func(c sereno.ClockEvent) []any { return []any{int64(c.At), micros(c.Step)} })
}

// storable is a text as every engine can keep it: PostgreSQL knows neither NUL
// nor what is no UTF-8. What a target sent may be in a reason, and must never
// stop the ledger.
func storable(s string) string {
	return strings.ToValidUTF8(strings.ReplaceAll(s, "\x00", "\uFFFD"), "\uFFFD")
}

// micros returns d as the store keeps it, cut to the microsecond.
func micros(d time.Duration) int64 { return int64(d / time.Microsecond) }

// length is a stored number of microseconds on its way into a Duration.
type length time.Duration

// Scan implements sql.Scanner.
func (l *length) Scan(v any) error {
	*l = length(time.Duration(v.(int64)) * time.Microsecond)
	return nil
}

func flag(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
