package store

import (
	"context"
	"database/sql"

	"sereno"
	"sereno/ledger"
)

// Policies returns the policies that a check has had, in order. A check that is
// not known has none; one that was removed keeps its own.
func (s *Store) Policies(ctx context.Context, check sereno.CheckID) ([]sereno.PolicySince, error) {
	return all(rows(ctx, s, "load policies", `SELECT check_id, since_us, interval_us, timeout_us, fall, rise, rtt_above_us, loss_above, loss_window_us
		FROM policies WHERE check_id = $1 ORDER BY since_us`, []any{int64(check)}, scanPolicy))
}

// Starts returns the starts of Sereno in [from, to), in order.
func (s *Store) Starts(ctx context.Context, from, to sereno.Instant) ([]sereno.Start, error) {
	return all(rows(ctx, s, "load starts", `SELECT at_us, settled_us, version FROM starts WHERE at_us >= $1 AND at_us < $2 ORDER BY at_us`,
		[]any{int64(from), int64(to)}, func(row scanner) (st sereno.Start, err error) {
			err = row.Scan((*int64)(&st.At), (*int64)(&st.Settled), &st.Version)
			return st, err
		}))
}

func scanPolicy(row scanner) (p sereno.PolicySince, err error) {
	q := &p.Policy
	err = row.Scan((*int64)(&p.Check), (*int64)(&p.Since), (*length)(&q.Interval), (*length)(&q.Timeout), &q.Fall, &q.Rise,
		(*length)(&q.RTTAbove), &q.LossAbove, (*length)(&q.LossWindow))
	return p, err
}

const policyColumns = `check_id, since_us, interval_us, timeout_us, fall, rise, rtt_above_us, loss_above, loss_window_us`

// policyRow is the policy of a check from a moment on.
func policyRow(c sereno.Check, since sereno.Instant) []any {
	args := policyArgs(c)
	return append([]any{int64(c.ID), int64(since)}, args[:len(args)-1]...) // without the settings
}

func putStarts(tx *sql.Tx, e *ledger.Entry) error {
	return each(tx, `INSERT INTO starts (at_us, settled_us, version) VALUES ($1, $2, $3) ON CONFLICT (at_us) DO NOTHING`,
		e.Starts, func(s sereno.Start) []any { return []any{int64(s.At), int64(s.Settled), s.Version} })
}

// putPolicies moves the latest policy of a check to when it came in force. Told
// again it finds it there.
func putPolicies(tx *sql.Tx, e *ledger.Entry) error {
	return each(tx, `UPDATE policies SET since_us = $2 WHERE check_id = $1 AND since_us < $2
		AND since_us = (SELECT max(since_us) FROM policies WHERE check_id = $1)`,
		e.Policies, func(p sereno.PolicySince) []any { return []any{int64(p.Check), int64(p.Since)} })
}

// Book returns what was written down of a check and may matter for its looks
// in [from, to): see sereno.Replay.
func (s *Store) Book(ctx context.Context, check sereno.CheckID, from, to sereno.Instant) (b sereno.Book, err error) {
	b.Check = check
	if b.Spans, err = all(s.Spans(ctx, check, from, to)); err != nil {
		return b, err
	}
	if b.Policies, err = s.Policies(ctx, check); err != nil {
		return b, err
	}
	if b.Starts, err = s.Starts(ctx, from, to); err != nil {
		return b, err
	}
	window := []any{int64(from), int64(to)}
	b.Absences, err = all(rows(ctx, s, "load absences", `SELECT begin_us, end_us, uncertainty_us, cause, unsure, checks FROM absences
		WHERE end_us > $1 AND begin_us < $2 ORDER BY begin_us, end_us`, window, scanAbsence))
	if err != nil {
		return b, err
	}
	b.Isolations, err = all(rows(ctx, s, "load isolations", selectIncidents+` WHERE device_id = 0 AND trouble = $3
		AND (closed_us = 0 OR closed_us > $1) AND opened_us < $2 ORDER BY id`, append(window, int64(sereno.TroubleIsolated)), scanIncident))
	return b, err
}
