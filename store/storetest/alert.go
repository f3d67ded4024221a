package storetest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"pgregory.net/rapid"

	"sereno"
	"sereno/alert"
	"sereno/ledger"
	"sereno/notify"
	"sereno/store"
)

// changes returns all changes after a revision, read in pages, whose revisions
// must ascend.
func (b *rig) changes(after int64, page int) (list []alert.Change) {
	b.Helper()
	for {
		more, err := b.Changes(b.Context(), after, page)
		b.must(err)
		if len(more) > page {
			b.Fatalf("a page of %d has %d changes", page, len(more))
		}
		for _, c := range more {
			if c.Revision <= after {
				b.Fatalf("the revision %d follows %d", c.Revision, after)
			}
			after = c.Revision
		}
		list = append(list, more...)
		if len(more) == 0 {
			return list
		}
	}
}

func latest(changes []alert.Change) int64 {
	if len(changes) == 0 {
		return 0
	}
	return changes[len(changes)-1].Revision
}

// trouble writes incidents that lie open, numbered from 1.
func (b *rig) trouble(n int) {
	b.Helper()
	var e ledger.Entry
	for i := range n {
		e.Incidents = append(e.Incidents, sereno.Incident{ID: sereno.IncidentID(i + 1), Vantage: sereno.VantageID(i), Trouble: sereno.TroubleIsolated, Opened: at(float64(i + 1))})
	}
	b.commit(e)
}

// changed follows each way in which an incident is written.
func changed(b *rig) {
	ctx := b.Context()
	sw := device("sw")
	sw.Tags, sw.Importance = []string{"site:plant1"}, sereno.Critical
	sw.Checks = append(sw.Checks, sereno.Check{Name: "second", Kind: "icmp", Policy: sereno.DefaultPolicy})
	devices := b.add(sw, device("a", "sw"), device("gone", "sw"))
	first, second := devices[0].Checks[0], devices[0].Checks[1]
	if c := b.changes(0, 10); len(c) != 0 {
		b.Fatalf("before the first incident there is %s", text(c))
	}
	i1 := sereno.Incident{ID: 1, Device: devices[0].ID, Check: first.ID, Opened: at(1), Reason: "no reply in 1s"}
	i2 := sereno.Incident{ID: 2, Device: devices[2].ID, Check: devices[2].Checks[0].ID, Opened: at(2), Under: 1}
	i3 := sereno.Incident{ID: 3, Trouble: sereno.TroubleChannel, Subject: "ops", Opened: at(3), Reason: "it answers 500"}
	i4 := sereno.Incident{ID: 4, Device: devices[0].ID, Check: second.ID, Opened: at(4)}
	e := ledger.Entry{Incidents: []sereno.Incident{i1, i2, i3}}
	b.commit(e)
	got := b.changes(0, 2)
	same(b, "the incidents", []sereno.Incident{got[0].Incident, got[1].Incident, got[2].Incident}, []sereno.Incident{i1, i2, i3})
	same(b, "the device", got[0].Device, devices[0])
	same(b, "its check", got[0].Check, first)
	same(b, "the device behind it", got[1].Device, devices[2])
	if got[2].Device != nil || got[2].Check != nil || got[0].Removed || got[1].Removed || got[2].Removed {
		b.Errorf("of living devices, and of none: %s", text(got))
	}
	seen := latest(got)
	next := func() []alert.Change {
		b.Helper()
		list := b.changes(seen, 1000)
		seen = max(seen, latest(list))
		return list
	}

	b.commit(e) // its answer was lost
	same(b, "told again", next(), []alert.Change(nil))
	i1.Reason, i3.Reason = "no reply in 1s; it was degraded before", "it answers 403"
	b.commit(ledger.Entry{Incidents: []sereno.Incident{i1}})
	b.commit(ledger.Entry{Incidents: []sereno.Incident{i3}})
	i3.Closed = at(9)
	b.commit(ledger.Entry{Incidents: []sereno.Incident{i3, i4}})
	got = next()
	same(b, "what changed twice comes once", []sereno.Incident{got[0].Incident, got[1].Incident, got[2].Incident}, []sereno.Incident{i1, i3, i4})

	// A check that is replaced takes its incident with it; the device stays.
	replacement := sw
	replacement.ID, replacement.Checks = devices[0].ID, sw.Checks[:1]
	_, now, err := b.ReplaceDevice(ctx, replacement, at(20))
	b.must(err)
	got = next()
	i4.Closed = at(20)
	if len(got) != 1 || !got[0].Removed {
		b.Fatalf("a check is gone: %s", text(got))
	}
	same(b, "of a check that is gone", got[0].Incident, i4)
	same(b, "its device", got[0].Device, now)
	same(b, "the check", got[0].Check, second)

	// A removed device is what it was, without its parents.
	_, err = b.RemoveDevice(ctx, devices[2].ID, at(30))
	b.must(err)
	got = next()
	i2.Closed = at(30)
	was := devices[2]
	was.Parents = nil
	if len(got) != 1 || !got[0].Removed {
		b.Fatalf("a device is gone: %s", text(got))
	}
	same(b, "of a device that is gone", got[0].Incident, i2)
	same(b, "the device that is gone", got[0].Device, was)
	same(b, "its check, that is gone", got[0].Check, was.Checks[0])

	// The dead parent of news.
	dead := sereno.Incident{ID: 5, Device: devices[2].ID, Check: devices[2].Checks[0].ID, Opened: at(31)}
	i6 := sereno.Incident{ID: 6, Device: devices[1].ID, Check: devices[1].Checks[0].ID, Opened: at(32), Under: 5}
	b.commit(ledger.Entry{Incidents: []sereno.Incident{dead, i6}})
	got = next()
	i6.Under = 0
	if len(got) != 1 {
		b.Fatalf("freed: %s", text(got))
	}
	same(b, "freed", got[0].Incident, i6)

	// By the file, and for good.
	_, err = b.RemoveDevice(ctx, devices[0].ID, at(40))
	b.must(err)
	i1.Closed = at(40)
	got = next()
	same(b, "the switch is gone", got[0].Incident, i1)
	_, err = b.Purge(ctx, devices[0].ID)
	b.must(err)
	got = next()
	i2.Under = 0
	if len(got) != 1 || got[0].Device == nil {
		b.Fatalf("of the purged hung: %s", text(got))
	}
	same(b, "of the purged hung", got[0].Incident, i2)
	if _, err := b.IncidentByID(ctx, 1); sereno.KindOf(err) != sereno.NotFound {
		b.Errorf("an incident of a purged device gives %v", err)
	}
	b.retain(store.Retention{Incidents: time.Second}, at(1000))
	same(b, "retention", next(), []alert.Change(nil))
	b.sound()
}

// followed lets a reader take in changes while incidents are written in every
// way there is: what it then believes is what is stored.
func followed(b *rig) {
	ctx := b.Context()
	believed, cursor, n := map[sereno.IncidentID]sereno.Incident{}, int64(0), 0
	var last sereno.IncidentID
	rapid.Check(b.T, func(t *rapid.T) {
		n++
		now := func() sereno.Instant { return at(float64(1000 * n)) }
		file := []sereno.Device{device(fmt.Sprint("f", n)), device(fmt.Sprint("g", n), fmt.Sprint("f", n))}
		applied, err := b.ApplyFile(ctx, file, now())
		b.must(err)
		added, err := b.AddDevices(ctx, []sereno.Device{device(fmt.Sprint("x", n)), device(fmt.Sprint("y", n))}, now())
		b.must(err)
		all := append(applied.Added, added...)
		open := map[sereno.CheckID]sereno.Incident{}
		lost, purged := map[sereno.DeviceID]bool{}, map[sereno.DeviceID]bool{}
		for range rapid.IntRange(1, 12).Draw(t, "steps") {
			switch rapid.SampledFrom([]string{"trouble", "trouble", "trouble", "again", "remove", "file", "purge"}).Draw(t, "step") {
			case "trouble":
				var e ledger.Entry
				for _, d := range all {
					if !rapid.Bool().Draw(t, d.Name) {
						continue
					}
					check := d.Checks[0].ID
					in, ok := open[check]
					switch {
					case !ok:
						last++
						in = sereno.Incident{ID: last, Device: d.ID, Check: check, Opened: now(), Under: sereno.IncidentID(rapid.IntRange(0, 1).Draw(t, "under")) * (last - 1)}
					case rapid.Bool().Draw(t, "ends"):
						in.Closed = now().Add(time.Second)
					default:
						in.Reason = fmt.Sprint("reason ", rapid.IntRange(0, 3).Draw(t, "reason"))
					}
					if in.Closed != 0 {
						delete(open, check)
					} else {
						open[check] = in
					}
					e.Incidents = append(e.Incidents, in)
				}
				for range rapid.IntRange(1, 2).Draw(t, "times") {
					b.commit(e)
				}
			case "remove":
				d := added[rapid.IntRange(0, 1).Draw(t, "which")]
				if !lost[d.ID] {
					_, err := b.RemoveDevice(ctx, d.ID, now())
					b.must(err)
					lost[d.ID] = true
				}
			case "file":
				_, err := b.ApplyFile(ctx, file[:rapid.IntRange(0, 1).Draw(t, "left")], now())
				b.must(err)
			case "purge":
				d := added[rapid.IntRange(0, 1).Draw(t, "which")]
				if lost[d.ID] && !purged[d.ID] {
					_, err := b.Purge(ctx, d.ID)
					b.must(err)
					purged[d.ID] = true
				}
			}
			if !rapid.Bool().Draw(t, "read") {
				continue
			}
			for _, c := range b.changes(cursor, rapid.IntRange(1, 5).Draw(t, "page")) {
				believed[c.Incident.ID], cursor = c.Incident, c.Revision
			}
			stored := pages(b, func(cursor string) ([]sereno.Incident, string, error) {
				return b.Incidents(ctx, store.IncidentQuery{Cursor: cursor, Limit: 1000})
			}, func() {})
			there := map[sereno.IncidentID]bool{}
			for _, in := range stored {
				there[in.ID] = true
				if believed[in.ID] != in {
					t.Fatalf("a reader of changes believes %+v, stored is %+v", believed[in.ID], in)
				}
			}
			maps.DeleteFunc(believed, func(id sereno.IncidentID, _ sereno.Incident) bool { return !there[id] }) // purged
		}
	})
	b.sound()
}

// message is a delivery with something in every field.
func message(id alert.DeliveryID, channel string, items ...alert.Item) alert.Delivery {
	return alert.Delivery{
		ID: id, Key: fmt.Sprint("key ", id), Channel: channel, For: "other", Event: notify.Reminder, Policy: "night", Step: 1, Reminder: 2, Last: true,
		Items: items, Group: "plant1", By: "anna", Note: "looking", Was: sereno.TroubleDegraded, Held: "quiet hours",
		Promised: at(float64(id)), Due: at(float64(id) + 10), Tries: 3, TriedAt: at(float64(id) + 11), Next: at(float64(id) + 12),
		Answer: "429 \x00 süß", Unsure: true, Title: "sw is down",
	}
}

func told(incident sereno.IncidentID, occasion string) alert.Item {
	return alert.Item{Incident: incident, Occasion: occasion}
}

func (b *rig) promise(batch alert.Batch) {
	b.Helper()
	b.must(b.Promise(b.Context(), &batch))
}

func (b *rig) loaded() alert.Loaded {
	b.Helper()
	l, err := b.LoadAlerts(b.Context())
	b.must(err)
	return l
}

func (b *rig) delivery(id alert.DeliveryID) alert.Delivery {
	b.Helper()
	d, err := b.Delivery(b.Context(), id)
	b.must(err)
	return d
}

func promised(b *rig) {
	ctx := b.Context()
	if l := b.loaded(); l.Cursor != 0 || l.LastID != 0 || len(l.Alerts)+len(l.Waiting) != 0 {
		b.Fatalf("an empty outbox holds %s", text(l))
	}
	b.trouble(5)
	d1, d2 := message(1, "mail", told(2, "opened/default/0"), told(1, "opened/default/0")), message(2, "phone", told(1, "opened/default/0"))
	batch := alert.Batch{
		Cursor:     3,
		Alerts:     []alert.Record{{ID: 1, Doc: []byte(`{"step":0}`)}, {ID: 2, Done: true, Doc: []byte(`{}`)}, {ID: 3, Doc: []byte(`{"name":"süß"}`)}, {Doc: []byte(`{"queues":{}}`)}},
		Deliveries: []alert.Delivery{d1, d2},
		Audit:      []sereno.Audit{{At: at(1), Who: "anna", Via: "telegram", Action: "acknowledge", Target: "incident", Of: "1", Text: "looking", Detail: `{"until":null}`}},
	}
	for _, again := range []string{"", "a repetition "} {
		b.promise(batch)
		d1.Answer, d2.Answer = "429 \uFFFD süß", "429 \uFFFD süß"
		same(b, again+"is loaded", b.loaded(), alert.Loaded{
			Cursor: 3, Alerts: []alert.Record{batch.Alerts[3], batch.Alerts[0], batch.Alerts[2]}, Waiting: []alert.Delivery{d1, d2}, LastID: 2,
		})
		trail, _, err := b.Audits(ctx, store.AuditQuery{})
		b.must(err)
		want := batch.Audit[0]
		want.ID = trail[0].ID
		same(b, again+"in the audit trail", trail, []sereno.Audit{want})
	}

	// New versions: one is sent, one grows, an alert is over. A cursor does not
	// go back, and none is none.
	d2.State, d2.SettledAt, d2.Answer = alert.Delivered, at(20), "200"
	d1.Items = append(d1.Items, told(4, "opened/default/0"))
	b.promise(alert.Batch{Alerts: []alert.Record{{ID: 1, Done: true}}, Deliveries: []alert.Delivery{d2, d1}})
	same(b, "later", b.loaded(), alert.Loaded{Cursor: 3, Alerts: []alert.Record{batch.Alerts[3], batch.Alerts[2]}, Waiting: []alert.Delivery{d1}, LastID: 2})
	same(b, "what was sent", b.delivery(2), d2)
	b.promise(alert.Batch{Cursor: 2})
	if l := b.loaded(); l.Cursor != 3 {
		b.Errorf("the cursor went back to %d", l.Cursor)
	}
	_, err := b.Delivery(ctx, 99)
	b.refused(err, sereno.NotFound, "", "99")
	b.sound()
}

// merged moves lines from one delivery to another, twice: each is listed with
// what it was to tell, and tells it once.
func merged(b *rig) {
	b.trouble(4)
	d := []alert.Delivery{{}, message(1, "mail", told(1, "opened/p/0")), message(2, "mail", told(2, "opened/p/0")), message(3, "phone", told(1, "opened/p/0"))}
	b.promise(alert.Batch{Deliveries: d[1:4]})
	into := func(of *alert.Delivery, id alert.DeliveryID) {
		of.State, of.Into, of.SettledAt = alert.Merged, id, at(30)
	}
	into(&d[1], 4)
	into(&d[2], 4)
	digest := message(4, "mail", told(1, "opened/p/0"), told(2, "opened/p/0"), told(3, "opened/p/0"))
	digest.Event = notify.Digest
	batch := alert.Batch{Deliveries: []alert.Delivery{digest, d[1], d[2]}} // in whatever order
	for range 2 {
		b.promise(batch)
	}
	into(&digest, 5)
	later := message(5, "mail", told(1, "opened/p/0"), told(2, "opened/p/0"), told(3, "opened/p/0"), told(4, "opened/p/0"))
	later.Event = notify.Digest
	bare := digest
	bare.Items = nil // those of a version that does not name them stay what they were
	for range 2 {
		b.promise(alert.Batch{Deliveries: []alert.Delivery{bare, later}})
	}
	for _, want := range []*alert.Delivery{&d[1], &d[2], &d[3], &digest, &later} {
		want.Answer = "429 \uFFFD süß"
		same(b, fmt.Sprint("delivery ", want.ID), b.delivery(want.ID), *want)
	}
	list, _, err := b.Deliveries(b.Context(), store.DeliveryQuery{Incident: 1})
	b.must(err)
	same(b, "of an incident", ids(list), []alert.DeliveryID{5, 4, 3, 1})
	same(b, "what waits", ids(b.loaded().Waiting), []alert.DeliveryID{3, 5})
	b.sound()
}

func ids(list []alert.Delivery) (ids []alert.DeliveryID) {
	for _, d := range list {
		ids = append(ids, d.ID)
	}
	return ids
}

// toldTwice writes a batch that tells again what another delivery tells: it goes
// out nevertheless, and is found.
func toldTwice(b *rig) {
	b.trouble(4)
	b.promise(alert.Batch{Cursor: 1, Deliveries: []alert.Delivery{message(1, "mail", told(1, "closed"), told(2, "closed"))}})
	b.sound()
	again := alert.Batch{Cursor: 2, Alerts: []alert.Record{{ID: 1}}, Deliveries: []alert.Delivery{
		message(2, "mail", told(2, "closed"), told(3, "closed")), message(3, "mail", told(1, "closed")),
		message(4, "phone", told(1, "closed")), message(5, "mail", told(1, "reminder/p/0/1")), // elsewhere, or of something else, it is news
	}}
	for range 2 {
		b.promise(again)
		l := b.loaded()
		same(b, "the cursor", l.Cursor, int64(2))
		same(b, "the alerts", len(l.Alerts), 1)
		same(b, "what waits", ids(l.Waiting), []alert.DeliveryID{1, 2, 3, 4, 5})
		same(b, "what is told", l.Waiting[1].Items, again.Deliveries[0].Items)
		b.refused(b.CheckOutbox(b.Context()), sereno.Internal, "", `delivery 2 tells "closed" of incident 2 on mail`, `delivery 3 tells "closed" of incident 1 on mail`)
	}
	// It grows and is settled like any other.
	grown := again.Deliveries[0]
	grown.Items = append(grown.Items, told(4, "closed"))
	grown.State, grown.SettledAt = alert.Delivered, at(9)
	b.promise(alert.Batch{Deliveries: []alert.Delivery{grown}})
	same(b, "what was told", b.delivery(2).Items, grown.Items)
	b.must(b.CheckInvariants(b.Context()))
}

// growing lets a delivery grow while incidents that it tells of are deleted.
func growing(b *rig) {
	devices := b.add(device("a"), device("b"), device("c"))
	for i, d := range devices {
		b.commit(ledger.Entry{Incidents: []sereno.Incident{{ID: sereno.IncidentID(i + 1), Device: d.ID, Check: d.Checks[0].ID, Opened: at(1), Closed: at(2)}}})
	}
	d := message(1, "mail", told(1, "opened/p/0"))
	for i := 2; i <= 3; i++ {
		b.promise(alert.Batch{Deliveries: []alert.Delivery{d}})
		d.Items = append(d.Items, told(sereno.IncidentID(i), "opened/p/0"))
	}
	gone := devices[1]
	_, err := b.RemoveDevice(b.Context(), gone.ID, at(3))
	b.must(err)
	_, err = b.Purge(b.Context(), gone.ID)
	b.must(err)
	b.promise(alert.Batch{Deliveries: []alert.Delivery{d}})
	same(b, "what is told", b.delivery(1).Items, []alert.Item{told(1, "opened/p/0"), told(3, "opened/p/0")})
	d.Items = append(d.Items, told(1, "closed"))
	b.promise(alert.Batch{Deliveries: []alert.Delivery{d}})
	same(b, "what is told", b.delivery(1).Items, []alert.Item{told(1, "opened/p/0"), told(3, "opened/p/0"), told(1, "closed")})
	// A process that begins now knows of no more, and goes on from there.
	d.Items = append(b.delivery(1).Items, told(3, "closed"))
	for range 2 {
		b.promise(alert.Batch{Deliveries: []alert.Delivery{d}})
		same(b, "what is told", b.delivery(1).Items, d.Items)
	}
	// One that tells of nothing but what is deleted is found at a start, and
	// dropped.
	only := message(2, "mail", told(3, "changed/1"))
	b.promise(alert.Batch{Deliveries: []alert.Delivery{only}})
	_, err = b.RemoveDevice(b.Context(), devices[2].ID, at(3))
	b.must(err)
	b.commit(ledger.Entry{Incidents: []sereno.Incident{{ID: 4, Device: devices[0].ID, Check: devices[0].Checks[0].ID, Opened: at(4)}}})
	_, err = b.Purge(b.Context(), devices[2].ID)
	b.must(err)
	same(b, "of what is deleted", len(b.delivery(2).Items), 0)
	only.Items, only.State, only.SettledAt = nil, alert.Dropped, at(5)
	for range 2 {
		b.promise(alert.Batch{Deliveries: []alert.Delivery{only}})
		b.sound()
	}
	b.sound()
}

func deliveries(b *rig) {
	ctx := b.Context()
	b.trouble(30)
	var all []alert.Delivery
	for i := 1; i <= 30; i++ {
		d := message(alert.DeliveryID(i), []string{"mail", "phone", "desk"}[i%3], told(sereno.IncidentID(i), "opened/p/0"), told(sereno.IncidentID(i%10+1), "closed"))
		d.Answer = "ok"
		if d.State = alert.State(i % 6); d.State == alert.Merged {
			d.Into = 1
		}
		if d.State != alert.Waiting {
			d.SettledAt = at(100)
		}
		all = append(all, d)
	}
	b.promise(alert.Batch{Deliveries: all})
	for _, c := range []struct {
		name  string
		query store.DeliveryQuery
		want  func(alert.Delivery) bool
	}{
		{"all", store.DeliveryQuery{}, func(alert.Delivery) bool { return true }},
		{"of a channel", store.DeliveryQuery{Channel: "phone"}, func(d alert.Delivery) bool { return d.Channel == "phone" }},
		{"of none", store.DeliveryQuery{Channel: "pho"}, func(alert.Delivery) bool { return false }},
		{"waiting", store.DeliveryQuery{States: []alert.State{alert.Waiting}}, func(d alert.Delivery) bool { return d.State == alert.Waiting }},
		{
			"refused or expired",
			store.DeliveryQuery{States: []alert.State{alert.RefusedForGood, alert.Expired}},
			func(d alert.Delivery) bool { return d.State == alert.RefusedForGood || d.State == alert.Expired },
		},
		{"of an incident", store.DeliveryQuery{Incident: 7}, func(d alert.Delivery) bool { return d.ID == 7 || d.ID%10 == 6 }},
		{"of an incident on a channel", store.DeliveryQuery{Incident: 7, Channel: "phone"}, func(d alert.Delivery) bool { return (d.ID == 7 || d.ID%10 == 6) && d.Channel == "phone" }},
		{"since", store.DeliveryQuery{From: at(10)}, func(d alert.Delivery) bool { return d.Promised >= at(10) }},
		{"until", store.DeliveryQuery{To: at(10)}, func(d alert.Delivery) bool { return d.Promised < at(10) }},
		{"between", store.DeliveryQuery{From: at(5), To: at(7)}, func(d alert.Delivery) bool { return d.ID == 5 || d.ID == 6 }},
	} {
		for _, oldest := range []bool{false, true} {
			var want []alert.Delivery
			for _, d := range all {
				if c.want(d) {
					want = append(want, d)
				}
			}
			if !oldest {
				slices.Reverse(want)
			}
			q := c.query
			q.Oldest = oldest
			same(b, c.name, pages(b, func(cursor string) ([]alert.Delivery, string, error) {
				q.Cursor, q.Limit = cursor, 4
				return b.Deliveries(ctx, q)
			}, func() {}), want)
		}
	}
	_, _, err := b.Deliveries(ctx, store.DeliveryQuery{Cursor: "1"})
	b.refused(err, sereno.Invalid, "cursor")
}

// pagedDeliveries reads page by page while others are promised and settled: none
// of those that were there at the beginning is missed or comes twice.
func pagedDeliveries(b *rig) {
	const n = 200
	b.trouble(1)
	make := func(from, to int) (list []alert.Delivery) {
		for i := from; i < to; i++ {
			list = append(list, message(alert.DeliveryID(i), "mail", told(1, fmt.Sprint("reminder/p/0/", i))))
		}
		return list
	}
	b.promise(alert.Batch{Deliveries: make(1, n+1)})
	ctx, stop := context.WithCancel(b.Context())
	var writer sync.WaitGroup
	writer.Go(func() {
		for i := n + 1; ctx.Err() == nil; i++ {
			batch := alert.Batch{Deliveries: make(i, i+1)}
			settled := make(i%n+1, i%n+2)[0]
			settled.State, settled.SettledAt = alert.Delivered, at(1000)
			if err := b.Promise(b.Context(), &alert.Batch{Deliveries: append(batch.Deliveries, settled)}); err != nil {
				b.Error(err)
				return
			}
		}
	})
	for range 5 {
		seen := map[alert.DeliveryID]int{}
		for _, d := range pages(b, func(cursor string) ([]alert.Delivery, string, error) {
			return b.Deliveries(b.Context(), store.DeliveryQuery{Cursor: cursor, Limit: 7})
		}, func() {}) {
			if seen[d.ID]++; len(d.Items) != 1 {
				b.Errorf("delivery %d has %d items", d.ID, len(d.Items))
			}
		}
		for id := range alert.DeliveryID(n) {
			if seen[id+1] != 1 {
				b.Errorf("delivery %d comes %d times", id+1, seen[id+1])
			}
		}
	}
	stop()
	writer.Wait()
}

// outboxes lets random batches follow each other, some twice, and compares what
// is stored with a model.
func outboxes(b *rig) {
	ctx := b.Context()
	const incidents = 20
	b.trouble(incidents)
	channels := []string{"mail", "phone"}
	alerts, all := map[sereno.IncidentID]alert.Record{}, map[alert.DeliveryID]alert.Delivery{}
	var last alert.DeliveryID
	var cursor int64
	var audits int
	var now float64
	occasion := 0
	rapid.Check(b.T, func(t *rapid.T) {
		for range rapid.IntRange(1, 6).Draw(t, "batches") {
			now++
			batch := alert.Batch{Cursor: cursor + int64(rapid.IntRange(0, 3).Draw(t, "read"))}
			cursor = batch.Cursor
			for range rapid.IntRange(0, 4).Draw(t, "alerts") {
				r := alert.Record{ID: sereno.IncidentID(rapid.IntRange(1, incidents).Draw(t, "alert")), Done: rapid.Bool().Draw(t, "done"), Doc: fmt.Appendf(nil, `{"n":%g}`, now)}
				batch.Alerts, alerts[r.ID] = append(batch.Alerts, r), r
			}
			for range rapid.IntRange(0, 2).Draw(t, "audits") {
				audits++
				batch.Audit = append(batch.Audit, sereno.Audit{At: at(now), Who: "anna", Action: "comment", Text: fmt.Sprint(audits)})
			}
			changed := map[alert.DeliveryID]bool{}
			var waiting []alert.DeliveryID
			for _, id := range slices.Sorted(maps.Keys(all)) {
				d := all[id]
				if d.State != alert.Waiting {
					continue
				}
				switch rapid.IntRange(0, 5).Draw(t, "fate") {
				case 0:
					d.State, d.SettledAt, d.Answer = alert.Delivered, at(now), "ok"
				case 1:
					d.Tries++
					d.Answer, d.TriedAt, d.Next = "500", at(now), at(now+5)
				case 2:
					occasion++
					d.Items = append(slices.Clone(d.Items), told(sereno.IncidentID(1+occasion%incidents), fmt.Sprint("opened/", occasion)))
				default:
					waiting = append(waiting, id)
					continue
				}
				all[id], changed[id] = d, true
			}
			for range rapid.IntRange(0, 3).Draw(t, "deliveries") {
				last++
				d := message(last, rapid.SampledFrom(channels).Draw(t, "channel"))
				d.Promised, d.Answer = at(now), ""
				for range rapid.IntRange(1, 3).Draw(t, "items") {
					occasion++
					d.Items = append(d.Items, told(sereno.IncidentID(1+occasion%incidents), fmt.Sprint("opened/", occasion)))
				}
				if rapid.Bool().Draw(t, "takes in what waits") {
					for _, id := range waiting {
						m := all[id]
						if m.Channel != d.Channel || m.State != alert.Waiting {
							continue
						}
						d.Items = append(d.Items, m.Items...)
						m.State, m.Into, m.SettledAt = alert.Merged, d.ID, at(now)
						all[id], changed[id] = m, true
					}
				}
				all[d.ID], changed[d.ID] = d, true
			}
			for id := range changed { // in no order
				batch.Deliveries = append(batch.Deliveries, all[id])
			}
			for range rapid.IntRange(1, 2).Draw(t, "times") {
				b.promise(batch)
			}
		}
		want := alert.Loaded{Cursor: cursor, LastID: last}
		for _, id := range slices.Sorted(maps.Keys(alerts)) {
			if !alerts[id].Done {
				want.Alerts = append(want.Alerts, alerts[id])
			}
		}
		var stored []alert.Delivery
		for _, id := range slices.Sorted(maps.Keys(all)) {
			if d := all[id]; d.State == alert.Waiting {
				want.Waiting = append(want.Waiting, d)
			}
			stored = append(stored, all[id])
		}
		same(b, "what a start finds", b.loaded(), want)
		q := store.DeliveryQuery{Oldest: true, Limit: 1000}
		same(b, "all deliveries", pages(b, func(cursor string) ([]alert.Delivery, string, error) {
			q.Cursor = cursor
			return b.Deliveries(ctx, q)
		}, func() {}), stored)
		trail := pages(b, func(cursor string) ([]sereno.Audit, string, error) {
			return b.Audits(ctx, store.AuditQuery{Cursor: cursor, Limit: 1000})
		}, func() {})
		if len(trail) != audits {
			t.Fatalf("the audit trail has %d entries, not %d", len(trail), audits)
		}
	})
	b.loosen(cursor)
	b.sound()
}

// loosen writes as many changes as a cursor has run ahead.
func (b *rig) loosen(cursor int64) {
	b.Helper()
	for i := range cursor {
		b.commit(ledger.Entry{Incidents: []sereno.Incident{{ID: 1, Trouble: sereno.TroubleIsolated, Opened: at(1), Reason: fmt.Sprint(i)}}})
	}
}

// faultyOutboxes are found by the invariants.
func faultyOutboxes(b *rig) {
	b.trouble(2)
	b.sound()
	found := func(words ...string) {
		b.Helper()
		err := b.CheckInvariants(b.Context())
		if err == nil {
			b.Fatalf("not found: %q", words)
		}
		for _, w := range words {
			if !strings.Contains(err.Error(), w) {
				b.Errorf("%q does not mention %q", err, w)
			}
		}
	}
	b.promise(alert.Batch{Cursor: 77})
	found("alerting has taken in 77 changes", "only 2")
	empty := message(1, "mail")
	b.promise(alert.Batch{Deliveries: []alert.Delivery{empty}}) // it may still be filled
	empty.State = alert.Delivered
	test := message(2, "mail")
	test.Event, test.State = notify.Test, alert.Delivered
	b.promise(alert.Batch{Deliveries: []alert.Delivery{empty, test}})
	found("delivery 1 tells of nothing")
	lost := message(3, "mail", told(1, "closed"))
	lost.State = alert.Merged
	b.promise(alert.Batch{Deliveries: []alert.Delivery{lost}})
	found("delivery 3 was merged into none")
	if err := b.CheckInvariants(b.Context()); strings.Contains(err.Error(), "delivery 2") {
		b.Errorf("a test of a channel is taken for a fault: %v", err)
	}
	b.must(b.PutMaintained(b.Context(), []sereno.Maintained{{Device: 9, Begin: at(1), Window: "sunday"}, {Device: 9, Begin: at(2), Window: "sunday"}, {Device: 9, Begin: at(2), Window: "other"}}))
	found("device 9 is under maintenance by one window 2 times at once")
	b.commit(ledger.Entry{Incidents: []sereno.Incident{{ID: 5, Trouble: sereno.TroubleChannel, Subject: "a", Opened: at(1)}, {ID: 6, Trouble: sereno.TroubleChannel, Subject: "b", Opened: at(1)}}})
	if err := b.CheckInvariants(b.Context()); strings.Contains(err.Error(), "vantage point 0 has 2") {
		b.Errorf("trouble of two channels is taken for one: %v", err)
	}
	b.commit(ledger.Entry{Incidents: []sereno.Incident{{ID: 7, Trouble: sereno.TroubleChannel, Subject: "b", Opened: at(1)}}})
	found("vantage point 0 has 2 open incidents of one kind")
}

// forgotten drops what is told of old incidents and of devices that are deleted
// for good, and nothing that somebody is still to hear.
func forgotten(b *rig) {
	ctx := b.Context()
	devices := b.add(device("stays"), device("goes"))
	in := func(id int, d sereno.Device) sereno.Incident {
		return sereno.Incident{ID: sereno.IncidentID(id), Device: d.ID, Check: d.Checks[0].ID, Opened: at(1), Closed: at(10)}
	}
	b.commit(ledger.Entry{Incidents: []sereno.Incident{in(1, devices[0]), in(2, devices[1]), in(3, devices[0]), in(4, devices[0]), in(5, devices[0])}})
	three := alert.Record{ID: 3, Doc: []byte(`{"n":3}`)}
	settled := func(d alert.Delivery) alert.Delivery {
		d.State, d.SettledAt = alert.Delivered, d.Promised.Add(time.Second)
		return d
	}
	b.promise(alert.Batch{
		Cursor: 5,
		Alerts: []alert.Record{{ID: 1, Done: true}, {ID: 2}, three},
		Deliveries: []alert.Delivery{
			settled(message(1, "mail", told(1, "closed"))), settled(message(2, "mail", told(2, "closed"))),
			settled(message(3, "mail", told(2, "opened"), told(3, "closed"))), message(4, "phone", told(4, "closed")), settled(message(50, "mail", told(5, "closed"))),
		},
		Audit: []sereno.Audit{{At: at(1), Who: "anna"}, {At: at(60), Who: "bert"}},
	})
	_, err := b.RemoveDevice(ctx, devices[1].ID, at(20))
	b.must(err)
	b.must(b.PutMaintained(ctx, []sereno.Maintained{{Device: devices[0].ID, Begin: at(1), End: at(2), Window: "w"}, {Device: devices[1].ID, Begin: at(1), Window: "w"}}))
	_, err = b.Purge(ctx, devices[1].ID)
	b.must(err)
	b.sound()
	if left, err := b.OpenMaintained(ctx); err != nil || len(left) != 0 {
		b.Errorf("maintenance of a purged device is left: %s (%v)", text(left), err)
	}
	list, _, err := b.Deliveries(ctx, store.DeliveryQuery{Oldest: true})
	b.must(err)
	same(b, "after the purge", ids(list), []alert.DeliveryID{1, 3, 4, 50})
	same(b, "its line in a message of several", b.delivery(3).Items, []alert.Item{told(3, "closed")})
	same(b, "alerts after the purge", b.loaded().Alerts, []alert.Record{three})
	// What is said of them afterwards is left out.
	b.promise(alert.Batch{Alerts: []alert.Record{{ID: 2, Doc: []byte("{}")}}, Deliveries: []alert.Delivery{settled(message(51, "mail", told(2, "changed/1")))}})
	same(b, "alerts of the purged", b.loaded().Alerts, []alert.Record{three})
	b.sound()

	b.retain(store.Retention{Deliveries: 50 * time.Second, Audit: 50 * time.Second, Incidents: 50 * time.Second}, at(100))
	b.sound()
	list, _, err = b.Deliveries(ctx, store.DeliveryQuery{Oldest: true})
	b.must(err)
	same(b, "of the deliveries are left", ids(list), []alert.DeliveryID{4, 50})
	incidents, _, err := b.Incidents(ctx, store.IncidentQuery{Oldest: true})
	b.must(err)
	var left []sereno.IncidentID
	for _, i := range incidents {
		left = append(left, i.ID)
	}
	same(b, "of the incidents are left", left, []sereno.IncidentID{3, 4, 5}) // an alert, a message that waits, the latest
	trail, _, err := b.Audits(ctx, store.AuditQuery{})
	b.must(err)
	if len(trail) != 1 || trail[0].Who != "bert" {
		b.Errorf("of the audit trail is left %s", text(trail))
	}
	if l := b.loaded(); l.LastID != 51 {
		b.Errorf("the highest identity of a delivery is %d", l.LastID)
	}
}

func audited(b *rig) {
	ctx := b.Context()
	all := []sereno.Audit{
		{At: at(1), Who: "anna", Via: "api", Action: "create", Target: "channel", Of: "mail", Detail: `{"kind":"email"}`},
		{At: at(2), Who: "telegram: anna", Via: "telegram", Action: "acknowledge", Target: "incident", Of: "42", Text: "looking\x00"},
		{At: at(2), Who: "anna", Via: "command", Action: "comment", Target: "incident", Of: "42", Text: "it is the fan"},
		{At: at(3), Who: "anna", Via: "command", Action: "comment", Target: "incident", Of: "4", Text: "it is the fan"},
	}
	for i := range all {
		id, err := b.AddAudit(ctx, all[i])
		b.must(err)
		if i > 0 && id <= all[i-1].ID {
			b.Errorf("the identity %d follows %d", id, all[i-1].ID)
		}
		all[i].ID = id
	}
	all[1].Text = "looking\uFFFD"
	for _, c := range []struct {
		name  string
		query store.AuditQuery
		want  []sereno.Audit
	}{
		{"all", store.AuditQuery{}, []sereno.Audit{all[3], all[2], all[1], all[0]}},
		{"oldest first", store.AuditQuery{Oldest: true}, all},
		{"of an incident", store.AuditQuery{Target: "incident", Of: "42"}, []sereno.Audit{all[2], all[1]}},
		{"of a person", store.AuditQuery{Who: "anna"}, []sereno.Audit{all[3], all[2], all[0]}},
		{"of a kind", store.AuditQuery{Action: "comment"}, []sereno.Audit{all[3], all[2]}},
		{"in a window", store.AuditQuery{From: at(2), To: at(3)}, []sereno.Audit{all[2], all[1]}},
	} {
		same(b, c.name, pages(b, func(cursor string) ([]sereno.Audit, string, error) {
			q := c.query
			q.Cursor, q.Limit = cursor, 1
			return b.Audits(ctx, q)
		}, func() {}), c.want)
	}
	_, _, err := b.Audits(ctx, store.AuditQuery{Cursor: "1.1"})
	b.refused(err, sereno.Invalid, "cursor")
}

func entries(b *rig) {
	ctx := b.Context()
	save := func(e store.Entry, audit ...sereno.Audit) store.Entry {
		b.Helper()
		saved, err := b.SaveEntry(ctx, e, audit...)
		b.must(err)
		return saved
	}
	mail := save(store.Entry{Kind: "channel", Name: "mail", Position: 2, Doc: []byte(`{"host":"süß"}`), Sealed: []byte{0, 255, 7}, Changed: at(1)}, sereno.Audit{At: at(1), Who: "anna", Action: "create"})
	phone := save(store.Entry{Kind: "channel", Name: "phone", Position: 1, Doc: []byte(`{}`), Changed: at(2)})
	policy := save(store.Entry{Kind: "policy", Name: "mail", Doc: []byte(`{}`), Changed: at(3)})
	load := func(kind string, want ...store.Entry) {
		b.Helper()
		got, err := b.Entries(ctx, kind)
		b.must(err)
		same(b, "entries of "+kind, got, want)
	}
	load("channel", phone, mail)
	load("", phone, mail, policy)
	_, err := b.SaveEntry(ctx, store.Entry{Kind: "channel", Name: "mail", Doc: []byte(`{}`)}, sereno.Audit{Who: "mallory"})
	b.refused(err, sereno.Conflict, "name", `"mail"`)
	renamed := phone
	renamed.Name = "mail"
	_, err = b.SaveEntry(ctx, renamed)
	b.refused(err, sereno.Conflict, "name")
	_, err = b.SaveEntry(ctx, store.Entry{ID: 99, Kind: "channel", Name: "x", Doc: []byte(`{}`)})
	b.refused(err, sereno.NotFound, "", "99")
	renamed.Name, renamed.Sealed, renamed.Position = "pager", []byte("s"), 9
	same(b, "replaced", save(renamed), renamed)
	load("channel", mail, renamed)
	b.must(b.DeleteEntry(ctx, "channel", "mail", sereno.Audit{At: at(5), Who: "anna", Action: "delete"}))
	b.refused(b.DeleteEntry(ctx, "channel", "mail", sereno.Audit{Who: "mallory"}), sereno.NotFound, "", `"mail"`)
	load("channel", renamed)
	if again := save(store.Entry{Kind: "channel", Name: "mail", Doc: []byte(`{}`)}); again.ID <= policy.ID {
		b.Errorf("the identity %d was given before", again.ID)
	}
	trail, _, err := b.Audits(ctx, store.AuditQuery{})
	b.must(err)
	if len(trail) != 2 || trail[0].Action != "delete" || trail[1].Action != "create" {
		b.Errorf("the audit trail is %s", text(trail))
	}
}

// links lets many use one link at once.
func links(b *rig) {
	if used, err := b.LinkUsed(b.Context(), "n1"); err != nil || used != 0 {
		b.Errorf("a link that nobody used was used at %s (%v)", used, err)
	}
	var users sync.WaitGroup
	var mutex sync.Mutex
	firsts := 0
	for i := range 8 {
		users.Go(func() {
			first, err := b.UseLink(b.Context(), "n1", at(float64(i+1)))
			if err != nil {
				b.Error(err)
			}
			if first {
				mutex.Lock()
				firsts++
				mutex.Unlock()
			}
		})
	}
	users.Wait()
	if firsts != 1 {
		b.Errorf("a link was used for the first time %d times", firsts)
	}
	if first, err := b.UseLink(b.Context(), "n2", at(1)); !first || err != nil {
		b.Errorf("another link: %t (%v)", first, err)
	}
	if used, err := b.LinkUsed(b.Context(), "n2"); err != nil || used != at(1) {
		b.Errorf("it was used at %s (%v)", used, err)
	}
}

func maintained(b *rig) {
	ctx := b.Context()
	m := func(device int, begin, end float64, window string) sereno.Maintained {
		m := sereno.Maintained{Device: sereno.DeviceID(device), Begin: at(begin), Window: window}
		if end != 0 {
			m.End = at(end)
		}
		return m
	}
	all := []sereno.Maintained{m(1, 0, 10, "a"), m(1, 5, 0, "b"), m(1, 20, 30, "a"), m(2, 3, 0, "a")}
	b.must(b.PutMaintained(ctx, []sereno.Maintained{m(1, 0, 7, "a"), all[1], all[0]})) // the last word counts
	b.must(b.PutMaintained(ctx, []sereno.Maintained{m(1, 20, 0, "a"), all[3]}))
	b.must(b.PutMaintained(ctx, all[2:3]))
	for _, c := range []struct {
		devices  []sereno.DeviceID
		from, to float64
		want     []sereno.Maintained
	}{
		{[]sereno.DeviceID{1}, 0, 100, all[:3]},
		{nil, 0, 100, all},
		{[]sereno.DeviceID{}, 0, 100, nil},
		{[]sereno.DeviceID{2, 7}, 0, 100, all[3:]},
		{[]sereno.DeviceID{1}, 10, 20, all[1:2]},
		{[]sereno.DeviceID{1}, 9.5, 20.5, all[:3]},
		{nil, -9, 0, nil},
	} {
		got, err := b.Maintained(ctx, c.devices, at(c.from), at(c.to))
		b.must(err)
		same(b, fmt.Sprint(c), got, c.want)
	}
	open, err := b.OpenMaintained(ctx)
	b.must(err)
	same(b, "open", open, []sereno.Maintained{all[1], all[3]})
	b.refused(b.PutMaintained(ctx, []sereno.Maintained{m(5, 1, 2, "a"), m(5, 3, 3, "a")}), sereno.Internal, "", "device 5")
	if got, err := b.Maintained(ctx, []sereno.DeviceID{5}, 0, 0); err != nil || got != nil {
		b.Errorf("a part of what was refused is there: %s (%v)", text(got), err)
	}
	b.sound()
}

// siblings asks about incidents by themselves, and about what hangs on them.
func siblings(b *rig) {
	ctx := b.Context()
	devices := b.add(device("sw"), device("sub", "sw"), device("a", "sub"), device("b", "sub"), device("other"))
	in := func(id, d int, opened float64, under sereno.IncidentID) sereno.Incident {
		return sereno.Incident{ID: sereno.IncidentID(id), Device: devices[d].ID, Check: devices[d].Checks[0].ID, Opened: at(opened), Under: under}
	}
	list := []sereno.Incident{in(1, 0, 1, 0), in(2, 1, 2, 1), in(3, 3, 3, 2), in(4, 2, 4, 2), in(5, 4, 5, 0)}
	b.commit(ledger.Entry{Incidents: list})
	got, err := b.IncidentByID(ctx, 3)
	b.must(err)
	same(b, "one", got, list[2])
	_, err = b.IncidentByID(ctx, 99)
	b.refused(err, sereno.NotFound, "", "99")
	some, err := b.IncidentsByID(ctx, []sereno.IncidentID{4, 99, 1, 4})
	b.must(err)
	same(b, "some", some, []sereno.Incident{list[0], list[3]})
	about, err := b.ChangesOf(ctx, []sereno.IncidentID{5, 99, 2})
	b.must(err)
	if len(about) != 2 || about[0].Incident != list[1] || about[1].Device.Name != "other" || about[1].Revision == 0 {
		b.Errorf("some with what they are about: %s", text(about))
	}
	for _, c := range []struct {
		of    sereno.IncidentID
		limit int
		count int
		names []string
	}{{1, 10, 3, []string{"sub", "b", "a"}}, {1, 2, 3, []string{"sub", "b"}}, {2, 10, 2, []string{"b", "a"}}, {3, 10, 0, nil}, {0, 10, 0, nil}, {99, 1, 0, nil}} {
		n, names, err := b.ChildrenOf(ctx, c.of, c.limit)
		b.must(err)
		if n != c.count || !slices.Equal(names, c.names) {
			b.Errorf("on incident %d hang %d: %v", c.of, n, names)
		}
	}
	check := devices[4].Checks[0].ID
	b.commit(ledger.Entry{Incidents: []sereno.Incident{{ID: 5, Device: devices[4].ID, Check: check, Opened: at(5), Closed: at(6)}, in(6, 4, 7, 0)}})
	for _, c := range []struct {
		from, to sereno.Instant
		want     int
	}{{0, 0, 2}, {at(5), at(7), 1}, {at(5), at(7) + 1, 2}, {at(5) + 1, 0, 1}, {at(8), 0, 0}} {
		if n, err := b.CountIncidents(ctx, check, c.from, c.to); err != nil || n != c.want {
			b.Errorf("in [%s, %s) opened %d, not %d (%v)", c.from, c.to, n, c.want, err)
		}
	}
}
