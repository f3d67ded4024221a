package store

import (
	"context"
	"fmt"
	"iter"
	"math"

	"sereno"
)

// Spans yields the spans of a check that touch [from, to) in order, the open
// one last. A check that is not known has none; one that was removed keeps its
// own.
//
// The window ends with the first span that ends at or after its end: without
// that bound a window of long ago would read everything since.
func (s *Store) Spans(ctx context.Context, check sereno.CheckID, from, to sereno.Instant) iter.Seq2[sereno.Span, error] {
	return rows(ctx, s, "load spans", fmt.Sprintf(`SELECT check_id, status, cause, begin_us, end_us, proof_us, uncertainty_us, reason FROM spans
		WHERE check_id = $1 AND end_us > $2 AND begin_us < $3
		AND end_us <= (SELECT coalesce(min(end_us), %[1]d) FROM spans WHERE check_id = $1 AND end_us >= $3)
		UNION ALL SELECT check_id, status, cause, begin_us, %[1]d, proof_us, uncertainty_us, reason FROM states
		WHERE check_id = $1 AND begin_us < $3
		ORDER BY end_us`, endless), []any{int64(check), int64(from), int64(to)}, scanSpan)
}

// OpenSpans yields the open span of every living check by ascending id.
func (s *Store) OpenSpans(ctx context.Context) iter.Seq2[sereno.Span, error] {
	return rows(ctx, s, "load open spans", fmt.Sprintf(`SELECT s.check_id, s.status, s.cause, s.begin_us, %d, s.proof_us, s.uncertainty_us, s.reason
		FROM states s JOIN checks c ON c.id = s.check_id WHERE c.deleted_us = 0 ORDER BY s.check_id`, endless), nil, scanSpan)
}

// endless stands for the end of an open span where ends are compared.
const endless sereno.Instant = math.MaxInt64

func scanSpan(row scanner) (s sereno.Span, err error) {
	err = row.Scan((*int64)(&s.Check), &s.Status, &s.Cause, (*int64)(&s.Begin), (*int64)(&s.End), (*int64)(&s.Proof), (*length)(&s.Uncertainty), &s.Reason)
	if s.End == endless {
		s.End = 0
	}
	return s, err
}
