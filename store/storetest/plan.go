package storetest

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"sereno"
	"sereno/ledger"
	"sereno/store"
)

func added(b *rig) {
	ctx := b.Context()
	full := sereno.Device{
		Name: "core-sw1", Address: "2001:db8::1", Importance: sereno.Critical, Tags: []string{"site:plant1", "a\"b%_\\", "rack:3", "rack:3"}, FromFile: true,
		Checks: []sereno.Check{
			{Name: "slow", Kind: "icmp", Settings: json.RawMessage(`{"size":1400}`), Policy: sereno.Policy{
				Interval: 10 * time.Second, Timeout: 1500 * time.Millisecond, Fall: 5, Rise: 7, RTTAbove: 50*time.Millisecond + 1999*time.Nanosecond, LossAbove: 0.05, LossWindow: time.Minute,
			}},
			icmp(),
		},
	}
	paused := device("printer")
	paused.Paused = true
	got := b.add(full, paused)

	want := full
	want.ID, want.Created = got[0].ID, t0
	want.Tags = []string{"a\"b%_\\", "rack:3", "site:plant1"}
	want.Checks = slices.Clone(full.Checks)
	want.Checks[0].Policy.RTTAbove = 50*time.Millisecond + time.Microsecond
	for i := range want.Checks {
		c := &want.Checks[i]
		c.ID, c.Device, c.Created = got[0].Checks[i].ID, got[0].ID, t0
	}
	same(b, "the answer", got[0], want)
	if got[0].ID == 0 || got[1].ID <= got[0].ID || got[0].Checks[0].ID == 0 || got[0].Checks[1].ID <= got[0].Checks[0].ID {
		b.Fatalf("identities do not ascend: %s", text(got))
	}
	if full.ID != 0 || len(full.Tags) != 4 || full.Checks[0].ID != 0 {
		b.Fatalf("the caller's device was changed: %s", text(full))
	}

	byID, err := b.Device(ctx, got[0].ID)
	b.must(err)
	same(b, "by id", byID, want)
	byName, err := b.DeviceByName(ctx, "core-sw1")
	b.must(err)
	same(b, "by name", byName, want)
	same(b, "all", collect(b, b.AllDevices(ctx)), got)
	if n, err := b.CountDevices(ctx); err != nil || n != 2 {
		b.Fatalf("there are %d devices (%v), not 2", n, err)
	}

	open := collect(b, b.OpenSpans(ctx))
	first := func(c sereno.Check, cause sereno.Cause, reason string) sereno.Span {
		return sereno.Span{Check: c.ID, Cause: cause, Begin: t0, Proof: t0, Reason: reason}
	}
	same(b, "open spans", open, []sereno.Span{
		first(got[0].Checks[0], sereno.CauseNew, ""), first(got[0].Checks[1], sereno.CauseNew, ""), first(got[1].Checks[0], sereno.CausePaused, "paused"),
	})
	b.sound()

	_, err = b.Device(ctx, 999)
	b.refused(err, sereno.NotFound, "", "999")
	_, err = b.DeviceByName(ctx, "CORE-SW1")
	b.refused(err, sereno.NotFound, "", "CORE-SW1")
}

func allOrNone(b *rig) {
	ctx := b.Context()
	b.add(device("a"))
	_, err := b.AddDevices(ctx, []sereno.Device{device("b"), device("c"), device("a")}, t0)
	b.refused(err, sereno.Conflict, "devices[2].name", `"a"`)
	_, err = b.AddDevices(ctx, []sereno.Device{device("b"), device("b")}, t0)
	b.refused(err, sereno.Conflict, "devices[1].name", `"b"`)
	_, err = b.AddDevices(ctx, []sereno.Device{device("b"), device("c", "nobody")}, t0)
	b.refused(err, sereno.Invalid, "devices[1].parents", `"nobody"`)
	_, err = b.AddDevices(ctx, []sereno.Device{device("b", "d"), device("c", "b"), device("d", "c")}, t0)
	b.refused(err, sereno.Invalid, "parents", "b → d → c → b")
	_, err = b.AddDevices(ctx, []sereno.Device{device("b", "b")}, t0)
	b.refused(err, sereno.Invalid, "parents", "b → b")
	twice := device("b")
	twice.Checks = append(twice.Checks, icmp())
	_, err = b.AddDevices(ctx, []sereno.Device{twice}, t0)
	b.refused(err, sereno.Conflict, "devices[0].checks[1].name", `"icmp"`)
	same(b, "what is there", names(collect(b, b.AllDevices(ctx))), []string{"a"})

	none, err := b.AddDevices(ctx, nil, t0)
	if err != nil || len(none) != 0 {
		b.Fatalf("adding none gives %v, %v", none, err)
	}
	b.sound()
}

func parents(b *rig) {
	ctx := b.Context()
	b.add(device("router"))
	got := b.add(device("child", "router", "sw", "router"), device("sw", "router"))
	same(b, "parents", got[0].Parents, []string{"router", "sw"})

	router, err := b.DeviceByName(ctx, "router")
	b.must(err)
	router.Name = "gateway"
	old, renamed, err := b.ReplaceDevice(ctx, router, at(1))
	b.must(err)
	if old.Name != "router" || renamed.Name != "gateway" || renamed.ID != old.ID {
		b.Fatalf("%s became %s", text(old), text(renamed))
	}
	child, err := b.DeviceByName(ctx, "child")
	b.must(err)
	same(b, "parents after the name changed", child.Parents, []string{"gateway", "sw"})

	renamed.Parents = []string{"child"}
	_, _, err = b.ReplaceDevice(ctx, renamed, at(2))
	b.refused(err, sereno.Invalid, "parents", "child → gateway → child")
	renamed.Parents = []string{"nobody"}
	_, _, err = b.ReplaceDevice(ctx, renamed, at(2))
	b.refused(err, sereno.Invalid, "parents", `"nobody"`)

	_, err = b.RemoveDevice(ctx, renamed.ID, at(3))
	b.must(err)
	child, err = b.DeviceByName(ctx, "child")
	b.must(err)
	same(b, "parents after one was removed", child.Parents, []string{"sw"})
	b.add(device("gateway"))
	child, err = b.DeviceByName(ctx, "child")
	b.must(err)
	same(b, "parents after another took its name", child.Parents, []string{"sw"})
}

func replaced(b *rig) {
	ctx := b.Context()
	b.add(device("taken"))
	d := device("web")
	d.Checks = append(d.Checks, sereno.Check{Name: "https", Kind: "http", Policy: sereno.DefaultPolicy}, sereno.Check{Name: "port", Kind: "tcp", Policy: sereno.DefaultPolicy})
	was := b.add(d)[0]
	b.commit(ledger.Entry{Incidents: []sereno.Incident{
		{ID: 1, Device: was.ID, Check: was.Checks[1].ID, Opened: at(2), Reason: "refused"},
		{ID: 2, Device: was.ID, Check: was.Checks[0].ID, Opened: at(2), Reason: "silent"},
		{ID: 3, Device: was.ID, Check: was.Checks[2].ID, Opened: at(20), Reason: "judged ahead"},
	}})

	next := was
	next.Address, next.Tags, next.Importance = "web.example", []string{"dmz"}, sereno.High
	tuned := was.Checks[0]
	tuned.Policy.Fall = 9
	next.Checks = []sereno.Check{
		{Name: "https", Kind: "tcp", Policy: sereno.DefaultPolicy}, // the name stays, the kind does not
		tuned,
	}
	old, now, err := b.ReplaceDevice(ctx, next, at(10))
	b.must(err)
	same(b, "the old one", old, was)
	if now.ID != was.ID || now.Created != was.Created || now.Address != "web.example" || now.Importance != sereno.High {
		b.Fatalf("the new one: %s", text(now))
	}
	if len(now.Checks) != 2 || now.Checks[0].ID != was.Checks[0].ID || now.Checks[0].Created != t0 || now.Checks[0].Policy.Fall != 9 {
		b.Fatalf("the kept check: %s", text(now.Checks))
	}
	if now.Checks[1].ID <= was.Checks[2].ID || now.Checks[1].Created != at(10) || now.Checks[1].Kind != "tcp" {
		b.Fatalf("the new check: %s", text(now.Checks))
	}
	read, err := b.Device(ctx, was.ID)
	b.must(err)
	same(b, "what is stored", read, now)

	ended := sereno.Span{Check: was.Checks[1].ID, Cause: sereno.CauseNew, Begin: t0, End: at(10), Proof: t0}
	same(b, "the life of the ended check", collect(b, b.Spans(ctx, was.Checks[1].ID, t0, at(99))), []sereno.Span{ended})
	ghosts, _, err := b.Incidents(ctx, store.IncidentQuery{})
	b.must(err)
	same(b, "the ends of incidents", []sereno.Instant{ghosts[2].Closed, ghosts[1].Closed, ghosts[0].Closed}, []sereno.Instant{at(10), 0, at(20)})
	b.sound()

	again, now2, err := b.ReplaceDevice(ctx, now, at(11))
	b.must(err)
	same(b, "replaced by itself", now2, again)

	now.Name = "taken"
	_, _, err = b.ReplaceDevice(ctx, now, at(12))
	b.refused(err, sereno.Conflict, "name", `"taken"`)
	now.Name, now.ID = "web", 999
	_, _, err = b.ReplaceDevice(ctx, now, at(12))
	b.refused(err, sereno.NotFound, "", "999")

	now.ID, now.Paused = was.ID, true
	now.Checks = append(now.Checks, sereno.Check{Name: "late", Kind: "tcp", Policy: sereno.DefaultPolicy})
	_, now, err = b.ReplaceDevice(ctx, now, at(13))
	b.must(err)
	late := collect(b, b.Spans(ctx, now.Checks[2].ID, t0, at(99)))
	if len(late) != 1 || late[0].Cause != sereno.CausePaused || late[0].Begin != at(13) {
		b.Fatalf("a new check of a paused device begins as %s", text(late))
	}
	b.sound()
}

func removed(b *rig) {
	ctx := b.Context()
	d := b.add(device("a"))[0]
	check := d.Checks[0].ID
	b.commit(ledger.Entry{
		Closed:    []sereno.Span{{Check: check, Cause: sereno.CauseNew, Begin: t0, End: at(1), Proof: t0}},
		Open:      []sereno.Span{{Check: check, Status: sereno.Down, Begin: at(1), Proof: at(3), Reason: "no reply in 1s"}},
		Incidents: []sereno.Incident{{ID: 1, Device: d.ID, Check: check, Opened: at(1)}},
	})
	gone, err := b.RemoveDevice(ctx, d.ID, at(9))
	b.must(err)
	same(b, "what was removed", gone, d)
	_, err = b.RemoveDevice(ctx, d.ID, at(10))
	b.refused(err, sereno.NotFound, "")
	_, err = b.Device(ctx, d.ID)
	b.refused(err, sereno.NotFound, "")
	if n, err := b.CountDevices(ctx); n != 0 || err != nil {
		b.Fatalf("%d devices live (%v)", n, err)
	}
	if open := collect(b, b.OpenSpans(ctx)); len(open) != 0 {
		b.Fatalf("spans are open: %s", text(open))
	}

	spans := collect(b, b.Spans(ctx, check, t0, at(99)))
	if len(spans) != 2 || spans[1].End != at(9) || spans[1].Status != sereno.Down || spans[1].Reason != "no reply in 1s" {
		b.Fatalf("its history is %s", text(spans))
	}
	if open, err := b.OpenIncidents(ctx); err != nil || len(open) != 0 {
		b.Fatalf("incidents are open: %s (%v)", text(open), err)
	}
	again := b.add(device("a"))[0]
	if again.ID == d.ID || again.Checks[0].ID == check {
		b.Fatalf("an identity came back: %s", text(again))
	}
	b.sound()

	brief, err := b.AddDevices(ctx, []sereno.Device{device("brief")}, at(20))
	b.must(err)
	_, err = b.RemoveDevice(ctx, brief[0].ID, at(20))
	b.must(err)
	if spans := collect(b, b.Spans(ctx, brief[0].Checks[0].ID, t0, at(99))); len(spans) != 0 {
		b.Fatalf("a life of no length has %s", text(spans))
	}
	b.sound()
}

func applied(b *rig) {
	ctx := b.Context()
	b.add(device("by hand"))
	first, err := b.ApplyFile(ctx, []sereno.Device{device("c", "a"), device("a"), device("b", "a", "by hand")}, t0)
	b.must(err)
	same(b, "added", names(first.Added), []string{"c", "a", "b"})
	if len(first.Removed)+len(first.Changed) != 0 || !first.Added[0].FromFile {
		b.Fatalf("the first time: %s", text(first))
	}
	a := first.Added[1]

	again, err := b.ApplyFile(ctx, []sereno.Device{device("a"), device("b", "by hand", "a"), device("c", "a")}, at(1))
	b.must(err)
	if len(again.Added)+len(again.Removed)+len(again.Changed) != 0 {
		b.Fatalf("the same file again changed %s", text(again))
	}

	hand, err := b.DeviceByName(ctx, "by hand")
	b.must(err)
	hand.Name = "by hand 2"
	hand.Parents = []string{"c"}
	_, hand, err = b.ReplaceDevice(ctx, hand, at(2))
	b.must(err)

	changed := device("a", "new")
	changed.Address = "192.0.2.77"
	second, err := b.ApplyFile(ctx, []sereno.Device{changed, device("new"), device("b", "a")}, at(3))
	b.must(err)
	same(b, "added", names(second.Added), []string{"new"})
	same(b, "removed", names(second.Removed), []string{"c"})
	if len(second.Changed) != 3 {
		b.Fatalf("changed: %s", text(second.Changed))
	}
	same(b, "what lost a parent", second.Changed[0], store.Changed{Old: hand, New: func() sereno.Device { d := hand; d.Parents = nil; return d }()})
	for _, c := range second.Changed[1:] {
		if c.Old.ID != c.New.ID || c.Old.Checks[0].ID != c.New.Checks[0].ID {
			b.Fatalf("an identity changed: %s", text(c))
		}
	}
	now, err := b.Device(ctx, a.ID)
	b.must(err)
	if now.Address != "192.0.2.77" || !slices.Equal(now.Parents, []string{"new"}) || now.Checks[0].ID != a.Checks[0].ID {
		b.Fatalf("a is now %s", text(now))
	}
	want := sortedByID([]sereno.Device{second.Changed[0].New, second.Changed[1].New, second.Changed[2].New, second.Added[0]})
	same(b, "what is stored", collect(b, b.AllDevices(ctx)), want)
	same(b, "what it says is stored", second.Living, want)
	b.sound()

	third, err := b.ApplyFile(ctx, nil, at(4))
	b.must(err)
	if len(third.Removed) != 3 {
		b.Fatalf("an empty file removes %s", text(third))
	}
	same(b, "what it says is left", third.Living, collect(b, b.AllDevices(ctx)))
	same(b, "what is left", names(collect(b, b.AllDevices(ctx))), []string{"by hand 2"})
	b.sound()

	// Taken out of the file while Sereno was not running.
	fourth, err := b.ApplyFile(ctx, []sereno.Device{device("down"), device("never seen")}, at(5))
	b.must(err)
	down, never := fourth.Added[0].Checks[0].ID, fourth.Added[1].Checks[0].ID
	b.commit(ledger.Entry{
		Closed: []sereno.Span{{Check: down, Status: sereno.Unknown, Cause: sereno.CauseNew, Begin: at(5), End: at(6), Proof: at(5)}},
		Open:   []sereno.Span{{Check: down, Status: sereno.Down, Begin: at(6), Proof: at(8), Reason: "no reply in 1s"}},
	})
	_, err = b.TakeUpFile(ctx, nil, at(10), at(50))
	b.must(err)
	same(b, "a device that was down", collect(b, b.Spans(ctx, down, at(6), at(99))), []sereno.Span{
		{Check: down, Status: sereno.Down, Begin: at(6), End: at(10), Proof: at(8), Reason: "no reply in 1s"},
		{Check: down, Status: sereno.Unknown, Cause: sereno.CauseAbsence, Begin: at(10), End: at(50), Proof: at(10), Reason: "Sereno was not watching"},
	})
	same(b, "one that was never seen", collect(b, b.Spans(ctx, never, at(5), at(99))), []sereno.Span{
		{Check: never, Status: sereno.Unknown, Cause: sereno.CauseNew, Begin: at(5), End: at(50), Proof: at(5)},
	})
	b.sound()
}

func appliedBadly(b *rig) {
	ctx := b.Context()
	b.add(device("by hand"))
	_, err := b.ApplyFile(ctx, []sereno.Device{device("a"), device("b", "a")}, t0)
	b.must(err)
	hand, err := b.DeviceByName(ctx, "by hand")
	b.must(err)
	hand.Parents = []string{"b"}
	_, _, err = b.ReplaceDevice(ctx, hand, t0)
	b.must(err)
	before := collect(b, b.AllDevices(ctx))

	for _, c := range []struct {
		file  []sereno.Device
		kind  sereno.Kind
		field string
		word  string
	}{
		{[]sereno.Device{device("x"), device("by hand")}, sereno.Conflict, "devices[1].name", `"by hand"`},
		{[]sereno.Device{device("x"), device("x")}, sereno.Conflict, "devices[1].name", `"x"`},
		{[]sereno.Device{device("x", "nobody")}, sereno.Invalid, "devices[0].parents", `"nobody"`},
		{[]sereno.Device{device("x"), device("b", "a")}, sereno.Invalid, "devices[1].parents", `"a"`}, // gone with this file
		{[]sereno.Device{device("x", "y"), device("y", "x")}, sereno.Invalid, "parents", "x → y → x"},
		{[]sereno.Device{device("a", "by hand"), device("b", "a")}, sereno.Invalid, "parents", "a → by hand → b → a"},
	} {
		_, err := b.ApplyFile(ctx, c.file, at(1))
		b.refused(err, c.kind, c.field, c.word)
		same(b, "the plan after "+c.word, collect(b, b.AllDevices(ctx)), before)
	}
	b.sound()
}

func selected(b *rig) {
	ctx := b.Context()
	with := func(name, address string, tags ...string) sereno.Device {
		d := device(name)
		d.Address, d.Tags = address, tags
		return d
	}
	pair := with("pair", "192.0.2.40")
	pair.Checks = append(pair.Checks, sereno.Check{Name: "ssh", Kind: "tcp", Policy: sereno.DefaultPolicy})
	all := b.add(
		with("Ünïcode-Drucker", "192.0.2.10", "floor:1"),
		with("100%", "192.0.2.11", "floor:10"),
		with("snake_case", "Gate.Example", `qu"ote`, "Floor:1"),
		with(`back\slash`, "2001:db8::11"),
		pair,
	)
	names := func(q store.DeviceQuery) []string {
		b.Helper()
		items, next, err := b.Devices(ctx, q)
		b.must(err)
		if next != "" {
			b.Fatalf("%+v has a second page", q)
		}
		return names(items)
	}
	for _, c := range []struct {
		query store.DeviceQuery
		want  []string
	}{
		{store.DeviceQuery{Search: "DRUCK"}, []string{"Ünïcode-Drucker"}},
		{store.DeviceQuery{Search: "üNÏ"}, []string{"Ünïcode-Drucker"}},
		{store.DeviceQuery{Search: "%"}, []string{"100%"}},
		{store.DeviceQuery{Search: "_"}, []string{"snake_case"}},
		{store.DeviceQuery{Search: `\`}, []string{`back\slash`}},
		{store.DeviceQuery{Search: "gate.ex"}, []string{"snake_case"}},
		{store.DeviceQuery{Search: "192.0.2.1"}, []string{"Ünïcode-Drucker", "100%"}},
		{store.DeviceQuery{Search: "floor:10"}, []string{"100%"}},
		{store.DeviceQuery{Search: "nothing"}, nil},
		{store.DeviceQuery{Tag: "floor:1"}, []string{"Ünïcode-Drucker"}},
		{store.DeviceQuery{Tag: "Floor:1"}, []string{"snake_case"}},
		{store.DeviceQuery{Tag: `qu"ote`}, []string{"snake_case"}},
		{store.DeviceQuery{Tag: "floor"}, nil},
		{store.DeviceQuery{Tag: "floor:1", Search: "100"}, nil},
	} {
		same(b, fmt.Sprintf("%+v", c.query), names(c.query), c.want)
	}

	set := func(device, check int, status sereno.Status) {
		b.commit(ledger.Entry{Open: []sereno.Span{{Check: all[device].Checks[check].ID, Status: status, Begin: t0, Proof: t0}}})
	}
	by := func(s sereno.Status) []string { return names(store.DeviceQuery{Status: &s}) }
	set(0, 0, sereno.Up)
	set(1, 0, sereno.Down)
	set(2, 0, sereno.Degraded)
	set(4, 0, sereno.Down)
	same(b, "up", by(sereno.Up), []string{"Ünïcode-Drucker"})
	same(b, "down", by(sereno.Down), []string{"100%", "pair"})
	same(b, "degraded", by(sereno.Degraded), []string{"snake_case"})
	same(b, "unknown", by(sereno.Unknown), []string{`back\slash`})
	set(4, 1, sereno.Up)
	same(b, "degraded with one of two down", by(sereno.Degraded), []string{"snake_case", "pair"})
	set(4, 0, sereno.Unknown)
	same(b, "up as far as known", by(sereno.Up), []string{"Ünïcode-Drucker", "pair"})
}

func paged(b *rig) {
	ctx := b.Context()
	var devices []sereno.Device
	for i := range 25 {
		devices = append(devices, device(number("d", i)))
	}
	all := b.add(devices...)
	want := names(all)

	got := pages(b, func(cursor string) ([]sereno.Device, string, error) {
		return b.Devices(ctx, store.DeviceQuery{Cursor: cursor, Limit: 5})
	}, func() {})
	same(b, "in pages of five", names(got), want)
	got, next, err := b.Devices(ctx, store.DeviceQuery{Limit: 25})
	b.must(err)
	if len(got) != 25 || next != "" {
		b.Fatalf("a page that holds just all has %d and goes on at %q", len(got), next)
	}

	// While someone reads on, devices before and behind come and go.
	n := 0
	got = pages(b, func(cursor string) ([]sereno.Device, string, error) {
		return b.Devices(ctx, store.DeviceQuery{Cursor: cursor, Limit: 4})
	}, func() {
		n++
		if n <= 5 {
			_, err := b.RemoveDevice(ctx, all[n-1].ID, at(float64(n)))
			b.must(err)
			b.add(device(number("new", n)))
		}
	})
	same(b, "while it changes", names(got)[:25], want)
	same(b, "what came meanwhile", names(got)[25:], []string{"new-001", "new-002", "new-003", "new-004", "new-005"})
}

func identities(b *rig) {
	ctx := b.Context()
	seen := map[sereno.DeviceID]bool{}
	checks := map[sereno.CheckID]bool{}
	for i := range 20 {
		d := b.add(device("same"))[0]
		if seen[d.ID] || checks[d.Checks[0].ID] {
			b.Fatalf("round %d: an identity came back: %s", i, text(d))
		}
		seen[d.ID], checks[d.Checks[0].ID] = true, true
		_, err := b.AddDevices(ctx, []sereno.Device{device("x"), device("same")}, t0)
		b.refused(err, sereno.Conflict, "devices[1].name")
		_, err = b.RemoveDevice(ctx, d.ID, at(1))
		b.must(err)
	}
}
