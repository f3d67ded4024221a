package store

import (
	"context"
	"fmt"
	"strings"

	"sereno"
)

// CheckInvariants proves the ledger: the spans of every check tile its life,
// from its creation, closed ones end to begin, then the open one, which it has
// exactly as long as it lives; at most one incident is open per check and vantage
// point, and one of each trouble of a vantage point's own; none ends before it began or hangs on one that is not there. The error
// is of the kind Internal and names the first few offenders. It reads every
// span.
func (s *Store) CheckInvariants(ctx context.Context) error {
	const few = 5
	offenders, err := all(rows(ctx, s, "check the invariants", fmt.Sprintf(`
		WITH lives AS (
			SELECT check_id, begin_us, end_us FROM spans
			UNION ALL SELECT check_id, begin_us, %d FROM states
		), joints AS (
			SELECT check_id, begin_us, lag(end_us) OVER (PARTITION BY check_id ORDER BY end_us) AS before_us FROM lives
		), cut AS (
			SELECT `+selectCut+` AS kept
		)
		SELECT 'stranger' AS fault, j.check_id AS id, j.begin_us AS a, 0 AS b FROM joints j
			WHERE NOT EXISTS (SELECT 1 FROM checks c WHERE c.id = j.check_id)
		UNION ALL SELECT 'birth', j.check_id, c.created_us, j.begin_us FROM joints j JOIN checks c ON c.id = j.check_id
			WHERE j.before_us IS NULL AND j.begin_us <> c.created_us
			AND NOT (c.created_us < (SELECT kept FROM cut) AND j.begin_us <= (SELECT kept FROM cut))
		UNION ALL SELECT 'joint', check_id, before_us, begin_us FROM joints WHERE before_us <> begin_us
		UNION ALL SELECT 'stateless', c.id, 0, 0 FROM checks c
			WHERE c.deleted_us = 0 AND NOT EXISTS (SELECT 1 FROM states s WHERE s.check_id = c.id)
		UNION ALL SELECT 'ghost', c.id, c.deleted_us, 0 FROM checks c JOIN states s ON s.check_id = c.id WHERE c.deleted_us <> 0
		UNION ALL SELECT 'twice', check_id, vantage_id, count(*) FROM incidents WHERE closed_us = 0
			GROUP BY check_id, vantage_id, CASE check_id WHEN 0 THEN trouble ELSE 0 END HAVING count(*) > 1
		UNION ALL SELECT 'backwards', id, opened_us, closed_us FROM incidents WHERE closed_us <> 0 AND closed_us < opened_us
		UNION ALL SELECT 'parentless', i.id, i.under_id, 0 FROM incidents i
			WHERE i.under_id <> 0 AND NOT EXISTS (SELECT 1 FROM incidents p WHERE p.id = i.under_id)
		LIMIT %d`, endless, few+1), nil, scanOffender))
	if err != nil {
		return err
	}
	if len(offenders) == 0 {
		return nil
	}
	if len(offenders) > few {
		offenders[few] = "and more"
	}
	return sereno.Errorf(sereno.Internal, "the ledger contradicts itself: %s", strings.Join(offenders, "; "))
}

func scanOffender(row scanner) (string, error) {
	var fault string
	var id, a, b int64
	if err := row.Scan(&fault, &id, &a, &b); err != nil {
		return "", err
	}
	at, to := sereno.Instant(a), sereno.Instant(b)
	switch fault {
	case "stranger":
		return fmt.Sprintf("check %d has a span from %s but does not exist", id, at), nil
	case "birth":
		return fmt.Sprintf("check %d was made at %s but its first span begins at %s", id, at, to), nil
	case "joint":
		return fmt.Sprintf("check %d has a span that ends at %s before one that begins at %s", id, at, to), nil
	case "stateless":
		return fmt.Sprintf("check %d lives without an open span", id), nil
	case "ghost":
		return fmt.Sprintf("check %d ended at %s but has an open span", id, at), nil
	case "twice":
		if id == 0 {
			return fmt.Sprintf("vantage point %d has %d open incidents of one kind", a, b), nil
		}
		return fmt.Sprintf("check %d has %d open incidents at vantage point %d", id, b, a), nil
	case "backwards":
		return fmt.Sprintf("incident %d opened at %s and closed at %s", id, at, to), nil
	default:
		return fmt.Sprintf("incident %d hangs on incident %d, which does not exist", id, a), nil
	}
}
