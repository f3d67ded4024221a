package store

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"sereno"
)

// AddDevices adds devices, all or none, and returns them with their identities.
// Each of their checks gets its first open span in the same transaction:
// Unknown from now on. They may name each other as parents.
//
// A name that is taken is a Conflict, an unknown parent and a circle of parents
// are Invalid; Field says which, as in "devices[3].name".
func (s *Store) AddDevices(ctx context.Context, devices []sereno.Device, now sereno.Instant) ([]sereno.Device, error) {
	added, err := normal(devices, deviceField)
	if err != nil {
		return nil, err
	}
	err = s.write(ctx, "add devices", func(tx *sql.Tx) error {
		p := &plan{store: s, tx: tx, now: now}
		if err := p.add(added, deviceField); err != nil {
			return err
		}
		// Nobody else hangs on a new device, so a circle is among the new.
		return circle(parentsOf(added))
	})
	if err != nil {
		return nil, err
	}
	return added, nil
}

// ReplaceDevice makes the living device with d's ID what d says. A check that
// keeps its name and kind keeps its identity, and with it its history; the
// others end now, with their open spans and incidents, and new ones begin Unknown. When the name changes, the
// children of the device follow.
func (s *Store) ReplaceDevice(ctx context.Context, d sereno.Device, now sereno.Instant) (old, new sereno.Device, err error) {
	given, err := normal([]sereno.Device{d}, func(int) string { return "" })
	if err != nil {
		return old, new, err
	}
	new = given[0]
	err = s.writeSpans(ctx, "replace a device", only(now), func(tx *sql.Tx) error {
		old, err = readDevice(ctx, tx, d.ID)
		if err != nil {
			return err
		}
		p := &plan{store: s, tx: tx, now: now}
		if new.Name != old.Name {
			if taken, err := p.id(new.Name); err != nil {
				return err
			} else if taken != 0 {
				return nameTaken("", new.Name)
			}
		}
		if err := p.change(old, &new, ""); err != nil {
			return err
		}
		if slices.Equal(old.Parents, new.Parents) {
			return nil
		}
		parents, err := p.parents()
		if err != nil {
			return err
		}
		return circle(parents)
	})
	return old, new, err
}

// RemoveDevice ends a living device and returns what it was. Its history stays
// under a tombstone, its name is free again, and its children lose it as a
// parent. The open spans and incidents of its checks end now.
func (s *Store) RemoveDevice(ctx context.Context, id sereno.DeviceID, now sereno.Instant) (sereno.Device, error) {
	var d sereno.Device
	err := s.writeSpans(ctx, "remove a device", only(now), func(tx *sql.Tx) (err error) {
		if d, err = readDevice(ctx, tx, id); err != nil {
			return err
		}
		return (&plan{store: s, tx: tx, now: now}).remove([]sereno.Device{d})
	})
	return d, err
}

// A plan is one change of the plan, in one transaction.
type plan struct {
	store *Store
	tx    *sql.Tx
	now   sereno.Instant
	// since when nobody has watched; 0: somebody did until now
	unseen sereno.Instant
	ids    map[string]sereno.DeviceID // living devices by name, as far as looked up
}

// id returns the living device with a name, 0 if there is none.
func (p *plan) id(name string) (sereno.DeviceID, error) {
	if id, ok := p.ids[name]; ok {
		return id, nil
	}
	var id int64
	err := p.tx.QueryRow(`SELECT id FROM devices WHERE name = $1 AND deleted_us = 0`, name).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	p.know(name, sereno.DeviceID(id))
	return sereno.DeviceID(id), nil
}

func (p *plan) know(name string, id sereno.DeviceID) {
	if p.ids == nil {
		p.ids = make(map[string]sereno.DeviceID)
	}
	p.ids[name] = id
}

// take reserves n identities of a table and returns the first.
func (p *plan) take(table string, n int) (int64, error) {
	return take(p.tx, table, n)
}

// add inserts devices and fills in their identities. field is the beginning of
// the field names of the i-th.
func (p *plan) add(devices []sereno.Device, field func(i int) string) error {
	if len(devices) == 0 {
		return nil
	}
	first, err := p.take("devices", len(devices))
	if err != nil {
		return err
	}
	for i := range devices {
		devices[i].ID, devices[i].Created = sereno.DeviceID(first)+sereno.DeviceID(i), p.now
	}
	added, err := insert(p.store, p.tx, `devices (id, name, address, importance, tags, paused, from_file, search, created_us)`,
		`ON CONFLICT (name) WHERE deleted_us = 0 DO NOTHING`, devices, func(d sereno.Device) []any { return append(deviceArgs(d), int64(d.Created)) })
	if err != nil {
		return err
	}
	for i, d := range devices {
		if added < int64(len(devices)) {
			if id, err := p.id(d.Name); err != nil {
				return err
			} else if id != d.ID {
				return nameTaken(field(i), d.Name)
			}
		}
		p.know(d.Name, d.ID)
	}
	var links []link
	for i, d := range devices {
		if links, err = p.links(links, d, field(i)); err != nil {
			return err
		}
	}
	if err := p.hang(links); err != nil {
		return err
	}
	return p.begin(devices)
}

// begin inserts those checks of devices that have no identity yet, gives them
// one, and opens their first spans.
func (p *plan) begin(devices []sereno.Device) error {
	var spans []sereno.Span
	var checks []*sereno.Check
	for i := range devices {
		d := &devices[i]
		first := sereno.Span{Cause: sereno.CauseNew, Begin: p.now, Proof: p.now}
		if d.Paused {
			first.Cause, first.Reason = sereno.CausePaused, "paused"
		}
		for j := range d.Checks {
			c := &d.Checks[j]
			if c.ID != 0 {
				continue
			}
			c.Device, c.Created = d.ID, p.now
			checks = append(checks, c)
			spans = append(spans, first)
		}
	}
	if len(checks) == 0 {
		return nil
	}
	first, err := p.take("checks", len(checks))
	if err != nil {
		return err
	}
	for i := range checks {
		checks[i].ID = sereno.CheckID(first) + sereno.CheckID(i)
		spans[i].Check = checks[i].ID
	}
	_, err = insert(p.store, p.tx, `checks (id, device_id, name, kind, interval_us, timeout_us, fall, rise, rtt_above_us, loss_above, loss_window_us, settings, created_us)`, "", checks, func(c *sereno.Check) []any {
		return append([]any{int64(c.ID), int64(c.Device), c.Name, c.Kind}, append(policyArgs(*c), int64(c.Created))...)
	})
	if err != nil {
		return err
	}
	_, err = insert(p.store, p.tx, `policies (`+policyColumns+`)`, "", checks, func(c *sereno.Check) []any { return policyRow(*c, p.now) })
	if err != nil {
		return err
	}
	_, err = insert(p.store, p.tx, `states (`+stateColumns+`)`, "", spans, stateArgs)
	return err
}

// A link is a device and one that it hangs on.
type link struct{ child, parent sereno.DeviceID }

// links appends the links of a device to its parents.
func (p *plan) links(links []link, d sereno.Device, field string) ([]link, error) {
	for _, name := range d.Parents {
		parent, err := p.id(name)
		if err != nil {
			return nil, err
		}
		if parent == 0 {
			return nil, unknownParent(field, name)
		}
		links = append(links, link{d.ID, parent})
	}
	return links, nil
}

func (p *plan) hang(links []link) error {
	_, err := insert(p.store, p.tx, `device_parents (device_id, parent_id)`, "", links, func(l link) []any {
		return []any{int64(l.child), int64(l.parent)}
	})
	return err
}

// change makes old into new, whose name must be free or the same, and fills in
// the identities of new.
func (p *plan) change(old sereno.Device, new *sereno.Device, field string) error {
	new.ID, new.Created = old.ID, old.Created
	if !sameRow(old, *new) {
		_, err := p.tx.Exec(`UPDATE devices SET name = $2, address = $3, importance = $4, tags = $5, paused = $6, from_file = $7, search = $8 WHERE id = $1`,
			deviceArgs(*new)...)
		if err != nil {
			return err
		}
		p.know(new.Name, new.ID)
	}
	if !slices.Equal(old.Parents, new.Parents) {
		if _, err := p.tx.Exec(`DELETE FROM device_parents WHERE device_id = $1`, int64(new.ID)); err != nil {
			return err
		}
		links, err := p.links(nil, *new, field)
		if err != nil {
			return err
		}
		if err := p.hang(links); err != nil {
			return err
		}
	}
	if err := p.changeChecks(old, new); err != nil {
		return err
	}
	slices.SortFunc(new.Checks, func(a, b sereno.Check) int { return cmp.Compare(a.ID, b.ID) })
	return nil
}

// changeChecks lets the checks of new, which have no identity yet, take over
// that of old's check with the same name and kind, ends those left over, and
// begins the new ones.
func (p *plan) changeChecks(old sereno.Device, new *sereno.Device) error {
	var gone []sereno.Check
	for _, was := range old.Checks {
		i := slices.IndexFunc(new.Checks, func(c sereno.Check) bool { return c.Name == was.Name && c.Kind == was.Kind })
		if i < 0 {
			gone = append(gone, was)
			continue
		}
		c := &new.Checks[i]
		c.ID, c.Device, c.Created = was.ID, was.Device, was.Created
		if sameCheck(was, *c) {
			continue
		}
		_, err := p.tx.Exec(`UPDATE checks SET interval_us = $2, timeout_us = $3, fall = $4, rise = $5, rtt_above_us = $6, loss_above = $7, loss_window_us = $8, settings = $9 WHERE id = $1`,
			append([]any{int64(c.ID)}, policyArgs(*c)...)...)
		if err != nil {
			return err
		}
		if was.Policy == c.Policy {
			continue
		}
		_, err = p.tx.Exec(`INSERT INTO policies (`+policyColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
			ON CONFLICT (check_id, since_us) DO UPDATE SET interval_us = excluded.interval_us, timeout_us = excluded.timeout_us, fall = excluded.fall, rise = excluded.rise,
			rtt_above_us = excluded.rtt_above_us, loss_above = excluded.loss_above, loss_window_us = excluded.loss_window_us`, policyRow(*c, p.now)...)
		if err != nil {
			return err
		}
	}
	if err := p.end(gone); err != nil {
		return err
	}
	return p.begin([]sereno.Device{*new})
}

// end sets tombstones on checks and closes their open spans and incidents.
func (p *plan) end(checks []sereno.Check) error {
	if p.unseen != 0 && p.unseen < p.now {
		if err := p.lose(checks); err != nil {
			return err
		}
	}
	for _, text := range []string{
		`INSERT INTO spans (` + spanColumns + `) SELECT check_id, $2, begin_us, status, cause, proof_us, uncertainty_us, reason
			FROM states WHERE check_id = $1 AND begin_us < $2`,
		`UPDATE checks SET deleted_us = $2 WHERE id = $1`,
	} {
		if err := each(p.tx, text, checks, func(c sereno.Check) []any { return []any{int64(c.ID), int64(p.now)} }); err != nil {
			return err
		}
	}
	if err := p.closeIncidents(checks); err != nil {
		return err
	}
	return each(p.tx, `DELETE FROM states WHERE check_id = $1`, checks, func(c sereno.Check) []any { return []any{int64(c.ID)} })
}

// closeIncidents closes the open incidents of checks now, or when they opened
// if that was later.
func (p *plan) closeIncidents(checks []sereno.Check) error {
	ids := make([]int64, len(checks))
	for i, c := range checks {
		ids[i] = int64(c.ID)
	}
	open, err := query(context.Background(), p.tx, selectIncidents+` WHERE closed_us = 0 AND check_id`+p.store.among()+` ORDER BY id`, []any{p.store.list(ids)}, scanIncident)
	if err != nil {
		return err
	}
	for i := range open {
		open[i].Closed = max(open[i].Opened, p.now)
	}
	return p.store.rewrite(p.tx, open)
}

// lose makes the status of checks unknown from the moment on since when nobody
// has watched.
func (p *plan) lose(checks []sereno.Check) error {
	known := fmt.Sprintf(`check_id = $1 AND begin_us < $2 AND status <> %d`, sereno.Unknown)
	for _, text := range []string{
		`INSERT INTO spans (` + spanColumns + `) SELECT check_id, $2, begin_us, status, cause, proof_us, uncertainty_us, reason FROM states WHERE ` + known,
		fmt.Sprintf(`UPDATE states SET begin_us = $2, proof_us = $2, uncertainty_us = 0, status = %d, cause = %d, reason = 'Sereno was not watching' WHERE `,
			sereno.Unknown, sereno.CauseAbsence) + known,
	} {
		if err := each(p.tx, text, checks, func(c sereno.Check) []any { return []any{int64(c.ID), int64(p.unseen)} }); err != nil {
			return err
		}
	}
	return nil
}

// remove sets tombstones on devices and ends their checks.
func (p *plan) remove(devices []sereno.Device) error {
	var checks []sereno.Check
	for _, d := range devices {
		checks = append(checks, d.Checks...)
	}
	if err := p.end(checks); err != nil {
		return err
	}
	err := each(p.tx, `UPDATE devices SET deleted_us = $2 WHERE id = $1`, devices, func(d sereno.Device) []any { return []any{int64(d.ID), int64(p.now)} })
	if err != nil {
		return err
	}
	return each(p.tx, `DELETE FROM device_parents WHERE device_id = $1 OR parent_id = $1`, devices, func(d sereno.Device) []any { return []any{int64(d.ID)} })
}

// parents reads who hangs on whom, by name.
func (p *plan) parents() (map[string][]string, error) {
	answer, err := p.tx.Query(`SELECT d.name, p.name FROM device_parents l JOIN devices d ON d.id = l.device_id JOIN devices p ON p.id = l.parent_id ORDER BY p.name`)
	if err != nil {
		return nil, err
	}
	defer answer.Close()
	parents := map[string][]string{}
	for answer.Next() {
		var child, parent string
		if err := answer.Scan(&child, &parent); err != nil {
			return nil, err
		}
		parents[child] = append(parents[child], parent)
	}
	return parents, answer.Err()
}

func parentsOf(devices []sereno.Device) map[string][]string {
	parents := map[string][]string{}
	for _, d := range devices {
		if len(d.Parents) > 0 {
			parents[d.Name] = d.Parents
		}
	}
	return parents
}

// circle returns an Invalid error that spells out a circle of parents, nil if
// there is none.
func circle(parents map[string][]string) error {
	const open, closed = 1, 2
	seen := make(map[string]int, len(parents))
	var path []string
	var walk func(name string) bool
	walk = func(name string) bool {
		path = append(path, name)
		switch seen[name] {
		case open:
			return true
		case 0:
			seen[name] = open
			if slices.ContainsFunc(parents[name], walk) {
				return true
			}
			seen[name] = closed
		}
		path = path[:len(path)-1]
		return false
	}
	if slices.ContainsFunc(slices.Sorted(maps.Keys(parents)), walk) {
		path = path[slices.Index(path, path[len(path)-1]):]
		return &sereno.Error{Kind: sereno.Invalid, Field: "parents", Text: "the parents go in a circle: " + strings.Join(path, " → ")}
	}
	return nil
}

func deviceField(i int) string { return fmt.Sprintf("devices[%d].", i) }

func nameTaken(field, name string) error {
	return &sereno.Error{Kind: sereno.Conflict, Field: field + "name", Text: fmt.Sprintf("there is a device %q already: choose another name", name)}
}

func unknownParent(field, name string) error {
	return &sereno.Error{Kind: sereno.Invalid, Field: field + "parents", Text: fmt.Sprintf("there is no device %q to hang on: add it first, or correct the name", name)}
}

// normal returns copies of devices as the store keeps them: lists sorted, each
// entry once, durations in whole microseconds, nothing with an identity but the
// devices. A check's name that a device has twice is a Conflict.
func normal(devices []sereno.Device, field func(i int) string) ([]sereno.Device, error) {
	list := slices.Clone(devices)
	for i := range list {
		d := &list[i]
		d.Tags, d.Parents = sorted(d.Tags), sorted(d.Parents)
		d.Checks = slices.Clone(d.Checks)
		for j := range d.Checks {
			c := &d.Checks[j]
			if slices.ContainsFunc(d.Checks[:j], func(o sereno.Check) bool { return o.Name == c.Name }) {
				return nil, &sereno.Error{Kind: sereno.Conflict, Field: fmt.Sprintf("%schecks[%d].name", field(i), j), Text: fmt.Sprintf("the device has a check %q already: choose another name", c.Name)}
			}
			c.ID, c.Device, c.Created = 0, 0, 0
			for _, t := range []*time.Duration{&c.Policy.Interval, &c.Policy.Timeout, &c.Policy.RTTAbove, &c.Policy.LossWindow} {
				*t = t.Truncate(time.Microsecond)
			}
		}
	}
	return list, nil
}

func sorted(list []string) []string {
	if len(list) == 0 {
		return nil
	}
	list = slices.Clone(list)
	slices.Sort(list)
	return slices.Compact(list)
}

// sameRow reports whether two devices differ at most in parents and checks.
func sameRow(a, b sereno.Device) bool {
	return a.Name == b.Name && a.Address == b.Address && a.Importance == b.Importance && slices.Equal(a.Tags, b.Tags) &&
		a.Paused == b.Paused && a.FromFile == b.FromFile
}

// same reports whether two devices are alike, apart from identities and the
// order of checks.
func same(a, b sereno.Device) bool {
	return sameRow(a, b) && slices.Equal(a.Parents, b.Parents) && len(a.Checks) == len(b.Checks) &&
		!slices.ContainsFunc(a.Checks, func(c sereno.Check) bool {
			return !slices.ContainsFunc(b.Checks, func(o sereno.Check) bool { return sameCheck(c, o) })
		})
}

func sameCheck(a, b sereno.Check) bool {
	return a.Name == b.Name && a.Kind == b.Kind && a.Policy == b.Policy && bytes.Equal(a.Settings, b.Settings)
}

func deviceArgs(d sereno.Device) []any {
	tags := "[]"
	if len(d.Tags) > 0 {
		tags = string(encode(d.Tags))
	}
	search := strings.ToLower(strings.Join(append([]string{d.Name, d.Address}, d.Tags...), "\n"))
	return []any{int64(d.ID), d.Name, d.Address, int64(d.Importance), tags, flag(d.Paused), flag(d.FromFile), search}
}

func policyArgs(c sereno.Check) []any {
	p := c.Policy
	return []any{micros(p.Interval), micros(p.Timeout), int64(p.Fall), int64(p.Rise), micros(p.RTTAbove), p.LossAbove, micros(p.LossWindow), string(c.Settings)}
}
