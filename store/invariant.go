package store

import (
	"context"
	"fmt"
	"strings"

	"sereno"
	"sereno/alert"
	"sereno/notify"
)

// CheckInvariants proves the ledger: the spans of every check tile its life,
// from its creation, closed ones end to begin, then the open one, which it has
// exactly as long as it lives; at most one incident is open per check, and one of
// each trouble and subject of a vantage point's own; none ends before it began or
// hangs on one that is not there. And the outbox: it has not taken in what is
// not there yet, an alert that is not done has its incident, a delivery that was
// settled tells of something, one that was merged says where; no maintenance
// ends before it began, or lasts twice. The error is of the kind Internal and
// names the first few offenders. It reads every span.
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
		UNION ALL SELECT 'twice', check_id, 0, count(*) FROM incidents WHERE closed_us = 0 AND check_id <> 0 GROUP BY check_id HAVING count(*) > 1
		UNION ALL SELECT 'own twice', vantage_id, trouble, count(*) FROM incidents WHERE closed_us = 0 AND check_id = 0 GROUP BY vantage_id, trouble, subject HAVING count(*) > 1
		UNION ALL SELECT 'backwards', id, opened_us, closed_us FROM incidents WHERE closed_us <> 0 AND closed_us < opened_us
		UNION ALL SELECT 'parentless', i.id, i.under_id, 0 FROM incidents i
			WHERE i.under_id <> 0 AND NOT EXISTS (SELECT 1 FROM incidents p WHERE p.id = i.under_id)
		UNION ALL SELECT 'ahead', revision, (SELECT last FROM sequences WHERE name = 'revisions'), 0 FROM alert_state
			WHERE revision > (SELECT last FROM sequences WHERE name = 'revisions')
		UNION ALL SELECT 'about nothing', a.id, 0, 0 FROM alerts a WHERE a.done = 0 AND a.id <> 0 AND NOT EXISTS (SELECT 1 FROM incidents i WHERE i.id = a.id)
		UNION ALL SELECT 'empty', d.id, 0, 0 FROM deliveries d
			WHERE d.state <> %d AND d.event <> '%s' AND NOT EXISTS (SELECT 1 FROM delivery_items i WHERE i.delivery_id = d.id)
		UNION ALL SELECT 'nowhere', id, 0, 0 FROM deliveries WHERE state = %d AND into_id = 0
		UNION ALL SELECT 'maintained backwards', device_id, begin_us, end_us FROM maintained WHERE end_us <> 0 AND end_us <= begin_us
		UNION ALL SELECT 'maintained twice', device_id, count(*), 0 FROM maintained WHERE end_us = 0 GROUP BY device_id, window_name HAVING count(*) > 1
		LIMIT %d`, endless, alert.Waiting, notify.Test, alert.Merged, few+1), nil, scanOffender))
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
		return fmt.Sprintf("check %d has %d open incidents", id, b), nil
	case "own twice":
		return fmt.Sprintf("vantage point %d has %d open incidents of one kind", id, b), nil
	case "ahead":
		return fmt.Sprintf("alerting has taken in %d changes of incidents, but there were only %d", id, a), nil
	case "about nothing":
		return fmt.Sprintf("alert %d is about an incident that does not exist", id), nil
	case "empty":
		return fmt.Sprintf("delivery %d tells of nothing", id), nil
	case "nowhere":
		return fmt.Sprintf("delivery %d was merged into none", id), nil
	case "maintained backwards":
		return fmt.Sprintf("maintenance of device %d began at %s and ended at %s", id, at, to), nil
	case "maintained twice":
		return fmt.Sprintf("device %d is under maintenance by one window %d times at once", id, a), nil
	case "backwards":
		return fmt.Sprintf("incident %d opened at %s and closed at %s", id, at, to), nil
	default:
		return fmt.Sprintf("incident %d hangs on incident %d, which does not exist", id, a), nil
	}
}
