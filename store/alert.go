package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	"sereno"
	"sereno/alert"
	"sereno/notify"
)

var _ alert.Outbox = (*Store)(nil)

// LoadAlerts returns where an earlier process left off, as of one moment.
func (s *Store) LoadAlerts(ctx context.Context) (l alert.Loaded, err error) {
	err = s.read(ctx, "load alerts", func(tx *sql.Tx) error {
		err := tx.QueryRowContext(ctx, `SELECT revision, restored_us FROM alert_state`).Scan(&l.Cursor, (*int64)(&l.Restored))
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		if err := tx.QueryRowContext(ctx, `SELECT last FROM sequences WHERE name = 'deliveries'`).Scan((*int64)(&l.LastID)); err != nil {
			return err
		}
		if l.Alerts, err = query(ctx, tx, `SELECT id, done, doc FROM alerts WHERE done = 0 ORDER BY id`, nil, scanRecord); err != nil {
			return err
		}
		if l.Waiting, err = query(ctx, tx, selectDeliveries+` WHERE state = 0 ORDER BY id`, nil, scanDelivery); err != nil {
			return err
		}
		return give(ctx, tx, l.Waiting, `SELECT i.delivery_id, i.incident_id, i.occasion FROM deliveries d JOIN delivery_items i ON i.delivery_id = d.id
			WHERE d.state = 0 ORDER BY i.delivery_id, i.position`)
	})
	if err != nil {
		return alert.Loaded{}, err
	}
	return l, nil
}

func scanRecord(row scanner) (r alert.Record, err error) {
	err = row.Scan((*int64)(&r.ID), &r.Done, &r.Doc)
	return r, err
}

// mostChanges is how many changes are read at once, at most.
const mostChanges = 10_000

// Changes returns incidents whose latest version is newer than a revision, in
// order, at most limit (1 to 10,000), with what each is about. Several changes
// may share a Device, which is not to be written to.
func (s *Store) Changes(ctx context.Context, after int64, limit int) (changes []alert.Change, err error) {
	err = s.read(ctx, "read changes", func(tx *sql.Tx) error {
		changes, err = query(ctx, tx, `SELECT `+incidentColumns+` FROM incidents WHERE revision > $1 AND revision > 0 ORDER BY revision LIMIT $2`,
			[]any{after, int64(min(max(limit, 1), mostChanges))}, scanChange)
		if err != nil {
			return err
		}
		return s.whom(ctx, tx, changes)
	})
	return changes, err
}

func scanChange(row scanner) (c alert.Change, err error) {
	c.Incident, err = scanIncident(withLast{row, (*sereno.Instant)(&c.Revision)})
	return c, err
}

// whom fills in the devices and checks that changes are about, as they are or
// were when they were removed.
func (s *Store) whom(ctx context.Context, tx *sql.Tx, changes []alert.Change) error {
	var devices, checks []int64
	for _, c := range changes {
		if c.Incident.Device != 0 {
			devices, checks = append(devices, int64(c.Incident.Device)), append(checks, int64(c.Incident.Check))
		}
	}
	if len(devices) == 0 {
		return nil
	}
	known, err := s.devicesOf(ctx, tx, distinct(devices))
	if err != nil {
		return err
	}
	concerned, err := s.checksOf(ctx, tx, distinct(checks))
	if err != nil {
		return err
	}
	for i := range changes {
		c := &changes[i]
		if life, ok := known[c.Incident.Device]; ok {
			c.Device, c.Removed = &life.Device, life.Removed != 0
		}
		if check, ok := concerned[c.Incident.Check]; ok {
			c.Check, c.Removed = &check.Check, c.Removed || check.removed != 0
		}
	}
	return nil
}

// devicesOf reads devices, the removed among them, with the checks and parents
// that they have or, of the removed, the checks that they had last.
func (s *Store) devicesOf(ctx context.Context, tx *sql.Tx, ids []int64) (map[sereno.DeviceID]*Life, error) {
	lives, err := query(ctx, tx, `SELECT id, name, address, importance, tags, paused, from_file, created_us, deleted_us FROM devices
		WHERE id`+s.among()+` ORDER BY id`, []any{s.list(ids)}, func(row scanner) (l Life, err error) {
		l.Device, err = scanDevice(withLast{row, &l.Removed})
		return l, err
	})
	if err != nil {
		return nil, err
	}
	known := make(map[sereno.DeviceID]*Life, len(lives))
	for i := range lives {
		known[lives[i].ID] = &lives[i]
	}
	type part struct {
		of    sereno.DeviceID
		check sereno.Check
		name  string
	}
	parts, err := query(ctx, tx, `SELECT c.device_id, c.id, c.name, c.kind, c.interval_us, c.timeout_us, c.fall, c.rise, c.rtt_above_us, c.loss_above, c.loss_window_us, c.settings, c.created_us
		FROM checks c JOIN devices d ON d.id = c.device_id WHERE c.device_id`+s.among()+` AND c.deleted_us = d.deleted_us ORDER BY c.id`,
		[]any{s.list(ids)}, func(row scanner) (p part, err error) {
			p.of, p.check, err = scanCheck(row)
			return p, err
		})
	if err != nil {
		return nil, err
	}
	for _, p := range parts {
		known[p.of].Checks = append(known[p.of].Checks, p.check)
	}
	parts, err = query(ctx, tx, `SELECT l.device_id, p.name FROM device_parents l JOIN devices p ON p.id = l.parent_id WHERE l.device_id`+s.among()+` ORDER BY p.name`,
		[]any{s.list(ids)}, func(row scanner) (p part, err error) {
			p.of, p.name, err = scanParent(row)
			return p, err
		})
	if err != nil {
		return nil, err
	}
	for _, p := range parts {
		known[p.of].Parents = append(known[p.of].Parents, p.name)
	}
	return known, nil
}

// A pastCheck is a check that may be gone by now.
type pastCheck struct {
	sereno.Check
	removed sereno.Instant
}

func (s *Store) checksOf(ctx context.Context, tx *sql.Tx, ids []int64) (map[sereno.CheckID]*pastCheck, error) {
	list, err := query(ctx, tx, `SELECT device_id, id, name, kind, interval_us, timeout_us, fall, rise, rtt_above_us, loss_above, loss_window_us, settings, created_us, deleted_us
		FROM checks WHERE id`+s.among(), []any{s.list(ids)}, func(row scanner) (c pastCheck, err error) {
		_, c.Check, err = scanCheck(withLast{row, &c.removed})
		return c, err
	})
	if err != nil {
		return nil, err
	}
	known := make(map[sereno.CheckID]*pastCheck, len(list))
	for i := range list {
		known[list[i].ID] = &list[i]
	}
	return known, nil
}

// Promise writes a batch in one transaction, which is on disk when it returns
// nil. The same batch again, after an answer that was lost, changes nothing.
// What is said of incidents that are gone for good is left out. The record 0 is
// about none.
//
// What another delivery carries on the same channel, and is not merged by now,
// would be told twice. That is a fault of the caller's: it is logged, CheckOutbox
// finds it, and the batch is written nevertheless, since a refusal would hold up
// all that follows for ever.
func (s *Store) Promise(ctx context.Context, b *alert.Batch) error {
	return s.write(ctx, "promise", func(tx *sql.Tx) error {
		if err := s.moveOn(tx, b); err != nil {
			return err
		}
		alerts := slices.SortedStableFunc(slices.Values(b.Alerts), func(x, y alert.Record) int { return cmp.Compare(x.ID, y.ID) })
		alerts = lastOf(alerts, func(r alert.Record) sereno.IncidentID { return r.ID })
		if _, err := put(s, tx, `INSERT INTO alerts (id, done, doc) SELECT u.id, u.done, u.doc FROM @ WHERE u.id = 0 OR EXISTS (SELECT 1 FROM incidents i WHERE i.id = u.id)
			ON CONFLICT (id) DO UPDATE SET done = excluded.done, doc = excluded.doc`, "id, done, doc", alerts, func(r alert.Record) []any {
			return []any{int64(r.ID), flag(r.Done), storable(string(r.Doc))}
		}); err != nil {
			return err
		}
		if err := s.putDeliveries(tx, b.Deliveries); err != nil {
			return err
		}
		_, err := s.putAudits(tx, b.Audit, true)
		return err
	})
}

// moveOn moves the cursor and the highest identity of a delivery on, never
// back.
func (s *Store) moveOn(tx *sql.Tx, b *alert.Batch) error {
	if _, err := tx.Exec(`INSERT INTO alert_state (id, revision, restored_us) VALUES (1, $1, 0)
		ON CONFLICT (id) DO UPDATE SET restored_us = 0, revision = CASE WHEN excluded.revision > alert_state.revision THEN excluded.revision ELSE alert_state.revision END`, b.Cursor); err != nil {
		return err
	}
	var last alert.DeliveryID
	for i := range b.Deliveries {
		last = max(last, b.Deliveries[i].ID)
	}
	if last == 0 {
		return nil
	}
	_, err := tx.Exec(`UPDATE sequences SET last = $1 WHERE name = 'deliveries' AND last < $1`, int64(last))
	return err
}

// An item is one thing that a delivery tells or told.
type item struct {
	delivery alert.DeliveryID
	channel  string
	position int
	carries  bool
	alert.Item
}

const itemColumns = `delivery_id, incident_id, occasion, channel, position, carries`

func itemArgs(i item) []any {
	return []any{int64(i.delivery), int64(i.Incident), storable(i.Occasion), storable(i.channel), int64(i.position), flag(i.carries)}
}

func (s *Store) putDeliveries(tx *sql.Tx, list []alert.Delivery) error {
	list = slices.SortedStableFunc(slices.Values(list), func(x, y alert.Delivery) int { return cmp.Compare(x.ID, y.ID) })
	list = lastOf(list, func(d alert.Delivery) alert.DeliveryID { return d.ID })
	if _, err := put(s, tx, putDelivery, deliveryColumns, list, deliveryArgs); err != nil {
		return err
	}
	// What was merged lets go of its items before another takes them.
	var merged []alert.DeliveryID
	for _, d := range list {
		if d.State == alert.Merged {
			merged = append(merged, d.ID)
		}
	}
	if _, err := put(s, tx, `UPDATE delivery_items SET carries = 0 FROM @ WHERE delivery_items.delivery_id = u.id AND delivery_items.carries = 1`, "id",
		merged, func(id alert.DeliveryID) []any { return []any{int64(id)} }); err != nil {
		return err
	}
	return s.putItems(tx, list)
}

// putItems adds the items that deliveries do not have yet: they only grow, at
// their ends. Of incidents that are gone for good there is nothing stored, of
// which the caller may or may not know.
func (s *Store) putItems(tx *sql.Tx, list []alert.Delivery) error {
	ids := make([]int64, len(list))
	for i, d := range list {
		ids[i] = int64(d.ID)
	}
	type end struct {
		of      alert.DeliveryID
		n, next int
	}
	ends, err := query(context.Background(), tx, `SELECT delivery_id, count(*), max(position) + 1 FROM delivery_items WHERE delivery_id`+s.among()+` GROUP BY delivery_id`,
		[]any{s.list(ids)}, func(row scanner) (e end, err error) {
			err = row.Scan((*int64)(&e.of), &e.n, &e.next)
			return e, err
		})
	if err != nil {
		return err
	}
	has := make(map[alert.DeliveryID]end, len(ends))
	for _, e := range ends {
		has[e.of] = e
	}
	var items []item
	var grown, bare []int64
	for _, d := range list {
		e := has[d.ID]
		if d.State == alert.Dropped && len(d.Items) == 0 && e.n == 0 {
			bare = append(bare, int64(d.ID))
		}
		if len(d.Items) <= e.n {
			continue
		}
		grown = append(grown, int64(d.ID))
		first := 0
		if e.n == e.next { // none of those before is gone
			first, e.next = e.n, 0
		}
		for i := first; i < len(d.Items); i++ {
			items = append(items, item{d.ID, d.Channel, e.next + i, d.State != alert.Merged, d.Items[i]})
		}
	}
	const add = `INSERT INTO delivery_items (` + itemColumns + `) SELECT u.delivery_id, u.incident_id, u.occasion, u.channel, u.position, %s FROM @
		WHERE EXISTS (SELECT 1 FROM incidents i WHERE i.id = u.incident_id) ON CONFLICT DO NOTHING`
	n, err := put(s, tx, fmt.Sprintf(add, "u.carries"), itemColumns, items, itemArgs)
	if err != nil || n == int64(len(items)) && len(bare) == 0 {
		return err
	}
	// Some are of incidents that are gone for good; so is what tells of nothing
	// else. And some are another delivery's.
	if n, err = put(s, tx, fmt.Sprintf(add, "0"), itemColumns, items, itemArgs); err != nil {
		return err
	}
	if n > 0 {
		if err := s.complain(tx, grown); err != nil {
			return err
		}
	}
	_, err = tx.Exec(fmt.Sprintf(`DELETE FROM deliveries WHERE id%s AND state <> %d AND event <> '%s'
		AND NOT EXISTS (SELECT 1 FROM delivery_items i WHERE i.delivery_id = deliveries.id)`, s.among(), alert.Waiting, notify.Test), s.list(append(grown, bare...)))
	return err
}

// toldTwice selects what deliveries tell although others carry it.
var toldTwice = fmt.Sprintf(`SELECT i.delivery_id, i.incident_id, i.occasion, i.channel FROM delivery_items i JOIN deliveries d ON d.id = i.delivery_id
	WHERE i.carries = 0 AND d.state <> %d`, alert.Merged)

func scanTwice(row scanner) (i item, err error) {
	err = row.Scan((*int64)(&i.delivery), (*int64)(&i.Incident), &i.Occasion, &i.channel)
	return i, err
}

func (i item) String() string {
	return fmt.Sprintf("delivery %d tells %q of incident %d on %s, as another does", i.delivery, i.Occasion, i.Incident, i.channel)
}

// complain logs that some of these deliveries, which have grown, tell what others
// tell.
func (s *Store) complain(tx *sql.Tx, grown []int64) error {
	twice, err := query(context.Background(), tx, toldTwice+` AND d.id`+s.among()+` ORDER BY i.delivery_id, i.position`, []any{s.list(grown)}, scanTwice)
	if err == nil && len(twice) > 0 {
		s.log.Error("a message is told twice; it is sent nevertheless: this is a fault of Sereno's, please report it", "which", twice[0].String(), "how_many", len(twice))
	}
	return err
}

// CheckOutbox proves that nothing is told twice on a channel. The error is of the
// kind Internal and names the first few offenders. Whatever it finds was or will
// be sent: better twice than never.
func (s *Store) CheckOutbox(ctx context.Context) error {
	const few = 5
	twice, err := all(rows(ctx, s, "check the outbox", fmt.Sprintf(`%s ORDER BY i.delivery_id, i.position LIMIT %d`, toldTwice, few+1), nil, scanTwice))
	if err != nil || len(twice) == 0 {
		return err
	}
	sentences := make([]string, len(twice))
	for i := range twice {
		sentences[i] = twice[i].String()
	}
	if len(twice) > few {
		sentences[few] = "and more"
	}
	return sereno.Errorf(sereno.Internal, "messages were told twice: %s", strings.Join(sentences, "; "))
}

// restored makes of a store that a backup has filled one that tells nobody of
// the past: all changes are taken in, and what waited is dropped.
func restored(ctx context.Context, tx *sql.Tx, now sereno.Instant) error {
	for _, text := range []string{
		`INSERT INTO alert_state (id, revision, restored_us) SELECT 1, last, $1 FROM sequences WHERE name = 'revisions'
			ON CONFLICT (id) DO UPDATE SET revision = excluded.revision, restored_us = excluded.restored_us`,
		fmt.Sprintf(`UPDATE deliveries SET state = %d, settled_us = $1, answer = 'not sent: it waited when the backup was made that was restored here' WHERE state = %d`, alert.Dropped, alert.Waiting),
	} {
		if _, err := tx.ExecContext(ctx, text, int64(now)); err != nil {
			return err
		}
	}
	return nil
}
