package store

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"sereno"
	"sereno/alert"
	"sereno/notify"
)

// A DeliveryQuery selects deliveries. The zero query selects all.
type DeliveryQuery struct {
	Incident sereno.IncidentID // that tell of it, or did before they were merged; 0 for any
	Channel  string            // "" for any
	States   []alert.State     // nil for any
	From, To sereno.Instant    // those promised in [From, To); a To of 0 is no end
	Oldest   bool              // oldest first
	Cursor   string            // the next of the page before, "" for the first page
	Limit    int               // 1 to 1000; 0 for 100
}

const (
	deliveryColumns = `id, dedup_key, channel, stands_for, event, policy, step, reminder, is_last, group_text, by_whom, note, was, held, promised_us, due_us,
		state, into_id, tries, tried_us, next_us, answer, unsure, settled_us, title`
	selectDeliveries = `SELECT ` + deliveryColumns + ` FROM deliveries`
	putDelivery      = `INSERT INTO deliveries (` + deliveryColumns + `) SELECT * FROM @ WHERE true
		ON CONFLICT (id) DO UPDATE SET dedup_key = excluded.dedup_key, channel = excluded.channel, stands_for = excluded.stands_for, event = excluded.event,
		policy = excluded.policy, step = excluded.step, reminder = excluded.reminder, is_last = excluded.is_last, group_text = excluded.group_text,
		by_whom = excluded.by_whom, note = excluded.note, was = excluded.was, held = excluded.held, promised_us = excluded.promised_us, due_us = excluded.due_us,
		state = excluded.state, into_id = excluded.into_id, tries = excluded.tries, tried_us = excluded.tried_us, next_us = excluded.next_us,
		answer = excluded.answer, unsure = excluded.unsure, settled_us = excluded.settled_us, title = excluded.title`
)

func deliveryArgs(d alert.Delivery) []any {
	return []any{
		int64(d.ID), storable(d.Key), storable(d.Channel), storable(d.For), storable(string(d.Event)), storable(d.Policy), int64(d.Step), int64(d.Reminder), flag(d.Last),
		storable(d.Group), storable(d.By), storable(d.Note), int64(d.Was), storable(d.Held), int64(d.Promised), int64(d.Due),
		int64(d.State), int64(d.Into), int64(d.Tries), int64(d.TriedAt), int64(d.Next), storable(d.Answer), flag(d.Unsure), int64(d.SettledAt), storable(d.Title),
	}
}

func scanDelivery(row scanner) (d alert.Delivery, err error) {
	err = row.Scan((*int64)(&d.ID), &d.Key, &d.Channel, &d.For, (*string)(&d.Event), &d.Policy, &d.Step, &d.Reminder, &d.Last, &d.Group, &d.By, &d.Note,
		&d.Was, &d.Held, (*int64)(&d.Promised), (*int64)(&d.Due), &d.State, (*int64)(&d.Into), &d.Tries, (*int64)(&d.TriedAt), (*int64)(&d.Next),
		&d.Answer, &d.Unsure, (*int64)(&d.SettledAt), &d.Title)
	return d, err
}

// Deliveries returns one page of deliveries with their items, the latest
// promised first unless asked otherwise, and the cursor of the next, "" after
// the last. A merged one comes with what it was to tell.
func (s *Store) Deliveries(ctx context.Context, q DeliveryQuery) (items []alert.Delivery, next string, err error) {
	f, err := q.filter()
	if err != nil {
		return nil, "", err
	}
	limit := pageLimit(q.Limit)
	text := selectDeliveries + f.where() + " ORDER BY promised_us" + order(q.Oldest) + ", id" + order(q.Oldest) + " LIMIT " + f.param(int64(limit+1))
	err = s.read(ctx, "list deliveries", func(tx *sql.Tx) error {
		if items, err = query(ctx, tx, text, f.args, scanDelivery); err != nil {
			return err
		}
		if len(items) > limit {
			items = items[:limit]
			next = formatCursor(int64(items[limit-1].Promised), int64(items[limit-1].ID))
		}
		return s.giveAll(ctx, tx, items)
	})
	if err != nil {
		return nil, "", err
	}
	return items, next, nil
}

func (q DeliveryQuery) filter() (*filter, error) {
	f := &filter{}
	if q.Cursor != "" {
		var promised, id int64
		if err := parseCursor(q.Cursor, &promised, &id); err != nil {
			return nil, err
		}
		f.and("(promised_us, id) "+beyond(q.Oldest)+" (?, ?)", promised, id)
	}
	if q.Incident != 0 { // the indexes know what is carried and what was merged
		f.and(`id IN (SELECT delivery_id FROM delivery_items WHERE incident_id = ? AND carries = 1
			UNION SELECT delivery_id FROM delivery_items WHERE incident_id = ? AND carries = 0)`, int64(q.Incident), int64(q.Incident))
	}
	if q.Channel != "" {
		f.and("channel = ?", q.Channel)
	}
	if len(q.States) > 0 {
		var numbers []string
		for _, state := range q.States {
			numbers = append(numbers, fmt.Sprint(int(state)))
		}
		f.and("state IN (" + strings.Join(numbers, ", ") + ")")
	}
	if q.From != 0 {
		f.and("promised_us >= ?", int64(q.From))
	}
	if q.To != 0 {
		f.and("promised_us < ?", int64(q.To))
	}
	return f, nil
}

// Delivery returns a delivery with its items, or an error of the kind NotFound.
func (s *Store) Delivery(ctx context.Context, id alert.DeliveryID) (d alert.Delivery, err error) {
	err = s.read(ctx, "read a delivery", func(tx *sql.Tx) error {
		one, err := query(ctx, tx, selectDeliveries+` WHERE id = $1`, []any{int64(id)}, scanDelivery)
		if err == nil && len(one) == 0 {
			err = sereno.Errorf(sereno.NotFound, "there is no delivery %d", id)
		}
		if err != nil {
			return err
		}
		err = s.giveAll(ctx, tx, one)
		d = one[0]
		return err
	})
	return d, err
}

// giveAll gives some deliveries their items.
func (s *Store) giveAll(ctx context.Context, tx *sql.Tx, list []alert.Delivery) error {
	if len(list) == 0 {
		return nil
	}
	ids := make([]int64, len(list))
	for i, d := range list {
		ids[i] = int64(d.ID)
	}
	return give(ctx, tx, list, `SELECT delivery_id, incident_id, occasion FROM delivery_items WHERE delivery_id`+s.among()+` ORDER BY delivery_id, position`, s.list(ids))
}

// give gives deliveries the items that a query finds.
func give(ctx context.Context, tx *sql.Tx, list []alert.Delivery, text string, args ...any) error {
	items, err := query(ctx, tx, text, args, func(row scanner) (i item, err error) {
		err = row.Scan((*int64)(&i.delivery), (*int64)(&i.Incident), &i.Occasion)
		return i, err
	})
	if err != nil {
		return err
	}
	at := make(map[alert.DeliveryID]int, len(list))
	for i, d := range list {
		at[d.ID] = i
	}
	for _, i := range items {
		d := &list[at[i.delivery]]
		d.Items = append(d.Items, i.Item)
	}
	return nil
}

// dropDeliveries deletes deliveries that were settled before an instant, with
// their items, the oldest first and in short turns.
func (s *Store) dropDeliveries(ctx context.Context, before sereno.Instant) error {
	type place struct{ promised, id int64 }
	var after place
	return s.inTurns(ctx, "drop deliveries", func(tx *sql.Tx) (more bool, err error) {
		gone, err := query(ctx, tx, fmt.Sprintf(`SELECT promised_us, id FROM deliveries WHERE (promised_us, id) > ($1, $2) AND promised_us < $3
			AND state <> %d AND settled_us < $3 ORDER BY promised_us, id LIMIT %d`, alert.Waiting, fewRows/5), []any{after.promised, after.id, int64(before)},
			func(row scanner) (p place, err error) {
				err = row.Scan(&p.promised, &p.id)
				return p, err
			})
		if err != nil || len(gone) == 0 {
			return false, err
		}
		after = gone[len(gone)-1]
		for _, text := range []string{`DELETE FROM delivery_items WHERE delivery_id = $1`, `DELETE FROM deliveries WHERE id = $1`} {
			if err := each(tx, text, gone, func(p place) []any { return []any{p.id} }); err != nil {
				return false, err
			}
		}
		return true, nil
	})
}

// forget deletes what was told of incidents that are deleted: an alert, the
// items, and deliveries that told of nothing else and do not wait any more.
func forget(ctx context.Context, tx *sql.Tx, incidents []sereno.IncidentID) error {
	id := func(id sereno.IncidentID) []any { return []any{int64(id)} }
	told := map[int64]bool{}
	for _, in := range incidents {
		found, err := query(ctx, tx, `SELECT delivery_id FROM delivery_items WHERE incident_id = $1 AND carries = 1
			UNION SELECT delivery_id FROM delivery_items WHERE incident_id = $1 AND carries = 0`, id(in), func(row scanner) (d int64, err error) {
			err = row.Scan(&d)
			return d, err
		})
		if err != nil {
			return err
		}
		for _, d := range found {
			told[d] = true
		}
	}
	for _, text := range []string{
		`DELETE FROM delivery_items WHERE incident_id = $1 AND carries = 1`, `DELETE FROM delivery_items WHERE incident_id = $1 AND carries = 0`,
		`DELETE FROM alerts WHERE id = $1`,
	} {
		if err := each(tx, text, incidents, id); err != nil {
			return err
		}
	}
	for d := range told {
		_, err := tx.Exec(fmt.Sprintf(`DELETE FROM deliveries WHERE id = $1 AND state <> %d AND event <> '%s'
			AND NOT EXISTS (SELECT 1 FROM delivery_items WHERE delivery_id = $1)`, alert.Waiting, notify.Test), d)
		if err != nil {
			return err
		}
	}
	return nil
}
