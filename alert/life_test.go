package alert_test

import (
	"bytes"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sereno"
	"sereno/alert"
	"sereno/maintenance"
	"sereno/notify"
)

// A life is a random history. One engine lives through it, and a twin of it is
// made anew from what was kept, at random moments, or loses a batch and does
// the same again.
type life struct {
	t        *rapid.T
	now      sereno.Instant
	plans    []*alert.Plan
	plan     *alert.Plan
	devices  []sereno.Device
	open     map[int]sereno.Incident
	latest   map[sereno.IncidentID]alert.Change
	revision int64
	lastID   sereno.IncidentID

	one, twin   *alert.Engine
	kept, again *drawer
	fates       map[string]string
	vanishing   bool                       // channels go while messages wait for them
	purged      map[sereno.IncidentID]bool // with all that was told of them
	crashes     int
	received    []alert.Delivery // by the far ends, in order
}

func lifeBook() alert.Book {
	return alert.Book{
		Zone: "UTC",
		Channels: []alert.Channel{
			{Name: "ops", Kind: "mute", Fallback: "mail"}, {Name: "mail", Kind: "mute"}, {Name: "log", Kind: "mute", Fallback: "ops", FallbackAfter: time.Minute},
		},
		Policies: []alert.Policy{
			{
				Name: "urgent", Match: `severity == "critical"`, Continue: true, GroupWait: -1,
				Steps: []alert.Step{{Channels: []string{"ops"}, Remind: []time.Duration{5 * time.Minute, 20 * time.Minute}}},
			},
			{
				Name: "down", Match: `status == "down"`,
				Raise: []alert.Raise{{After: 15 * time.Minute, To: sereno.SeverityCritical}},
				Steps: []alert.Step{
					{Channels: []string{"ops", "log"}, Remind: []time.Duration{10 * time.Minute, 30 * time.Minute}},
					{After: 12 * time.Minute, UnlessAcknowledged: true, Channels: []string{"mail"}, Remind: []time.Duration{10 * time.Minute}},
					{After: 20 * time.Minute, Channels: []string{"ops", "mail"}},
				},
			},
			{
				Name: "rest", Quiet: []alert.Quiet{{From: "01:00", To: "02:00", Zone: "UTC", Except: `severity == "critical"`}},
				GroupBy: []string{"device"},
			},
		},
		Windows: []maintenance.Window{{Name: "w", Match: `device == "d3"`, Start: "2026-11-02T00:30", RRule: "FREQ=DAILY", Length: 45 * time.Minute}},
	}
}

func newLife(t *rapid.T) *life {
	l := &life{
		t: t, now: sereno.At(time.Date(2026, 11, 2, 0, 0, 0, 0, time.UTC)), open: map[int]sereno.Incident{}, latest: map[sereno.IncidentID]alert.Change{},
		kept: newDrawer(), again: newDrawer(), fates: map[string]string{},
	}
	book := lifeBook()
	quieter := lifeBook()
	quieter.Silences = []alert.Silence{{Name: "s", Match: `device in ["d1", "d2"]`, Until: l.now.Add(90 * time.Minute)}}
	other := lifeBook()
	other.Policies[2].Name = "others"
	other.Policies[1].Steps = other.Policies[1].Steps[:2]
	nightly := lifeBook()
	nightly.Policies[0].Quiet = []alert.Quiet{{From: "00:10", To: "03:00", Zone: "UTC", Except: `severity == "critical" and device != "d0"`}}
	nightly.Policies[1].Continue = true
	nightly.Policies[1].Quiet = []alert.Quiet{{From: "00:05", To: "02:30", Zone: "UTC", Except: `severity == "critical"`}}
	for _, b := range []alert.Book{book, quieter, other, nightly} {
		p, err := b.Compile([]notify.Kind{mute{}}, notify.Options{})
		if err != nil {
			t.Fatal(err)
		}
		l.plans = append(l.plans, p)
	}
	l.plan = l.plans[0]
	for i := range 40 {
		d := sereno.Device{ID: sereno.DeviceID(i + 1), Name: fmt.Sprintf("d%d", i), Importance: []sereno.Importance{sereno.Critical, sereno.High, sereno.Low}[i%3]}
		if i > 1 {
			d.Parents = []string{"d1"}
		}
		d.Checks = []sereno.Check{{ID: sereno.CheckID(i + 1), Device: d.ID, Name: "icmp", Kind: "icmp"}}
		l.devices = append(l.devices, d)
	}
	l.one = alert.NewEngine(l.kept.load(), l.plan, l.now)
	l.twin = alert.NewEngine(l.again.load(), l.plan, l.now)
	l.keep(l.one, l.kept)
	l.keep(l.twin, l.again)
	return l
}

func (l *life) keep(e *alert.Engine, d *drawer) {
	if b := e.Batch(); b != nil {
		d.keep(b)
	}
}

// do lets both engines do the same, and proves that the same was kept.
func (l *life) do(what string, f func(e *alert.Engine)) {
	f(l.one)
	l.keep(l.one, l.kept)
	switch rapid.IntRange(0, 9).Draw(l.t, "fate of the twin") {
	case 0: // restarted before
		l.twin = alert.NewEngine(l.again.load(), l.plan, l.now)
		l.keep(l.twin, l.again)
		f(l.twin)
	case 1: // its batch is lost, and the same is asked again
		f(l.twin)
		l.twin.Batch()
		l.twin = alert.NewEngine(l.again.load(), l.plan, l.now)
		l.keep(l.twin, l.again)
		f(l.twin)
	default:
		f(l.twin)
	}
	l.keep(l.twin, l.again)
	l.same(what)
}

func (l *life) same(what string) {
	if l.kept.cursor == l.again.cursor && len(l.kept.audit) == len(l.again.audit) && alike(l.kept, l.again) && alike(l.again, l.kept) {
		return
	}
	a, b := show(l.kept), show(l.again)
	only := func(a, b []string) string {
		return strings.Join(slices.DeleteFunc(slices.Clone(a), func(line string) bool { return slices.Contains(b, line) }), "\n")
	}
	l.t.Fatalf("after %s at %s one engine has\n%s\nand its twin\n%s", what, l.now, only(a, b), only(b, a))
}

// alike compares what of a was written since the last time.
func alike(a, b *drawer) bool {
	for id := range a.fresh {
		if x, y := a.records[id], b.records[id]; x.Done != y.Done || !bytes.Equal(x.Doc, y.Doc) {
			return false
		}
	}
	for id := range a.news {
		x, y := a.deliveries[id], b.deliveries[id]
		if !slices.Equal(x.Items, y.Items) {
			return false
		}
		if x.Items, y.Items = nil, nil; !reflect.DeepEqual(x, y) {
			return false
		}
	}
	clear(a.fresh)
	clear(a.news)
	return true
}

// show is what is kept, line by line.
func show(d *drawer) (lines []string) {
	for _, id := range slices.Sorted(maps.Keys(d.deliveries)) {
		lines = append(lines, fmt.Sprintf("%+v", d.deliveries[id]))
	}
	for _, id := range slices.Sorted(maps.Keys(d.records)) {
		lines = append(lines, fmt.Sprintf("%d %v %s", id, d.records[id].Done, d.records[id].Doc))
	}
	return append(lines, fmt.Sprintf("%d audited, cursor %d", len(d.audit), d.cursor))
}

func (l *life) changes() []alert.Change {
	list := slices.Collect(maps.Values(l.latest))
	slices.SortFunc(list, func(a, b alert.Change) int { return int(a.Revision - b.Revision) })
	return list
}

func (l *life) write(i int, in sereno.Incident) {
	l.revision++
	d := &l.devices[i]
	l.latest[in.ID] = alert.Change{Revision: l.revision, Incident: in, Device: d, Check: &d.Checks[0]}
	if delete(l.open, i); in.Closed == 0 {
		l.open[i] = in
	}
}

// happen changes the trouble of a device.
func (l *life) happen() {
	for range rapid.IntRange(1, 3).Draw(l.t, "changes") {
		i := rapid.IntRange(0, 5).Draw(l.t, "device")
		in, is := l.open[i]
		switch word := rapid.SampledFrom([]string{"down", "down", "degraded", "flapping", "under", "alone", "up", "up", "blip"}).Draw(l.t, "what"); {
		case !is:
			l.lastID++
			in = sereno.Incident{ID: l.lastID, Device: l.devices[i].ID, Check: l.devices[i].Checks[0].ID, Opened: l.now.Add(-3 * time.Second)}
			switch word {
			case "degraded":
				in.Trouble = sereno.TroubleDegraded
			case "flapping":
				in.Trouble = sereno.TroubleFlapping
			case "under":
				if over, ok := l.open[1]; ok && i > 1 {
					in.Under = over.ID
				}
			case "blip":
				in.Closed = l.now
			}
		case word == "up" || word == "blip":
			in.Closed = l.now
		case word == "under":
			if over, ok := l.open[1]; ok && i > 1 {
				in.Under = over.ID
			}
		case word == "alone":
			in.Under = 0
		default:
			in.Under = 0
			if in.Trouble.UnmarshalText([]byte(word)) != nil {
				l.t.Fatal(word)
			}
		}
		l.write(i, in)
	}
	l.do("changes", func(e *alert.Engine) { e.Take(l.now, l.changes()) })
	l.send()
}

// burst changes many at once, each of which would be a message.
func (l *life) burst() {
	n := rapid.IntRange(10, len(l.devices)).Draw(l.t, "devices")
	up := rapid.Bool().Draw(l.t, "up")
	for i := 6; i < n; i++ {
		in, is := l.open[i]
		if up != is {
			continue
		}
		if up {
			in.Closed = l.now
		} else {
			l.lastID++
			in = sereno.Incident{
				ID: l.lastID, Device: l.devices[i].ID, Check: l.devices[i].Checks[0].ID, Opened: l.now, Trouble: sereno.TroubleDegraded,
			}
		}
		l.write(i, in)
	}
	l.do("a burst", func(e *alert.Engine) { e.Take(l.now, l.changes()) })
	l.send()
}

func (l *life) order() {
	o := alert.Order{
		Action:   rapid.SampledFrom([]string{"acknowledge", "unacknowledge", "snooze", "unsnooze", "resolve", "comment"}).Draw(l.t, "action"),
		Incident: sereno.IncidentID(rapid.Int64Range(1, int64(l.lastID)+1).Draw(l.t, "incident")), Who: "anna", Text: "words",
	}
	if o.Action == "snooze" || o.Action == "acknowledge" && rapid.Bool().Draw(l.t, "for a while") {
		o.Until = l.now.Add(time.Duration(rapid.IntRange(1, 40).Draw(l.t, "minutes")) * time.Minute)
	}
	if rapid.Bool().Draw(l.t, "of many") {
		var ids []sereno.IncidentID
		for id := max(1, o.Incident-sereno.IncidentID(rapid.IntRange(1, 40).Draw(l.t, "how many"))); id <= o.Incident; id++ {
			ids = append(ids, id)
		}
		o.Who = rapid.SampledFrom([]string{"anna", "ben"}).Draw(l.t, "who")
		l.do(o.Action+" all", func(e *alert.Engine) { _, _ = e.DoAll(l.now, o, ids) })
	} else {
		l.do(o.Action, func(e *alert.Engine) { _ = e.Do(l.now, o) })
	}
	l.send()
}

// pass lets time pass, tick by tick.
func (l *life) pass(to sereno.Instant) {
	for ticks := 0; ; ticks++ {
		next := l.one.Next()
		if next == 0 || next > to {
			l.now = to
			return
		}
		if ticks > 20_000 {
			l.t.Fatalf("at %s a tick is wanted again and again", l.now)
		}
		l.now = max(l.now, next)
		l.do("a tick", func(e *alert.Engine) { e.Tick(l.now) })
		l.send()
	}
}

func (l *life) send() {
	for again := true; again; {
		again = false
		for _, name := range l.plan.Channels() {
			var ready []alert.Delivery
			l.do("a delivery", func(e *alert.Engine) {
				if d, ok := e.Ready(l.now, name); ok {
					ready = append(ready, d)
				}
			})
			if len(ready) == 0 {
				continue
			}
			again = true
			l.receive(ready[0])
		}
	}
}

func (l *life) receive(d alert.Delivery) {
	o := alert.Outcome{At: l.now, Title: "title"}
	switch l.fates[d.Channel] {
	case "fails":
		o.Failure = &notify.Failure{Text: "refused"}
	case "limits":
		o.Failure = &notify.Failure{Text: "429", After: 7 * time.Minute}
	case "hangs":
		o.Failure = &notify.Failure{Text: "no answer", Unsure: true}
	case "refuses":
		o.Failure = &notify.Failure{Class: notify.Refused, Text: "401"}
	}
	if o.Failure == nil || o.Failure.Unsure {
		l.received = append(l.received, d)
	}
	if rapid.IntRange(0, 19).Draw(l.t, "crash under way") == 0 {
		// Both are killed before they hear what came of it.
		l.crashes++
		if o.Failure != nil {
			l.received = append(l.received, d) // it may well have arrived
		}
		for i, kept := range []*drawer{l.kept, l.again} {
			e := alert.NewEngine(kept.load(), l.plan, l.now)
			l.keep(e, kept)
			*[]**alert.Engine{&l.one, &l.twin}[i] = e
		}
		l.same("a crash")
		return
	}
	// The twin is not restarted here: nobody would tell it the outcome.
	for i, e := range []*alert.Engine{l.one, l.twin} {
		e.Tried(l.now, d.ID, o)
		l.keep(e, []*drawer{l.kept, l.again}[i])
	}
	l.same("an outcome")
}

// The same calls give the same, also from an engine that was made anew or that
// lost its last batch; and whatever happens, what people hear is in order,
// complete, and told once.
func TestALife(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := newLife(t)
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			switch rapid.IntRange(0, 12).Draw(t, "step") {
			case 0, 1, 2, 3:
				l.happen()
			case 4, 5, 6, 7:
				l.pass(l.now.Add(rapid.SampledFrom([]time.Duration{time.Second, 4 * time.Second, 10 * time.Second, time.Minute, 6 * time.Minute, 40 * time.Minute}).Draw(t, "pass")))
			case 8:
				l.order()
			case 12:
				l.burst()
			case 9, 10:
				l.fates[rapid.SampledFrom(l.plan.Channels()).Draw(t, "channel")] = rapid.SampledFrom([]string{"", "", "fails", "limits", "hangs", "refuses"}).Draw(t, "fate")
			case 11:
				l.plan = rapid.SampledFrom(l.plans).Draw(t, "plan")
				l.do("another book", func(e *alert.Engine) { e.SetPlan(l.now, l.plan) })
				l.send()
			}
		}
		clear(l.fates)
		for i, in := range l.open {
			in.Closed = l.now
			l.write(i, in)
		}
		l.do("the end", func(e *alert.Engine) { e.Take(l.now, l.changes()) })
		l.send()
		l.pass(l.now.Add(72 * time.Hour))
		l.prove(t)
	})
}

// prove holds what was told in the end against the rules.
func (l *life) prove(t interface{ Errorf(string, ...any) }) {
	type line struct {
		incident sereno.IncidentID
		occasion string
		channel  string
	}
	type ear struct {
		incident sereno.IncidentID
		channel  string
	}
	told := map[line]alert.DeliveryID{}
	for _, d := range l.kept.deliveries {
		switch {
		case d.State == alert.Waiting:
			t.Errorf("delivery %d waits for ever: %+v", d.ID, d)
		case d.State == alert.Merged && l.kept.deliveries[d.Into].ID == 0:
			t.Errorf("delivery %d was merged into nothing", d.ID)
		case d.State == alert.Merged:
			continue
		}
		for _, i := range d.Items {
			x := line{i.Incident, i.Occasion, d.Channel}
			if told[x] != 0 {
				t.Errorf("%v is in delivery %d and %d", x, told[x], d.ID)
			}
			told[x] = d.ID
		}
	}
	for id, r := range l.kept.records {
		if id != 0 && !r.Done {
			t.Errorf("alert %d is not done: %s", id, r.Doc)
		}
	}
	// What the far ends saw, repetitions left out.
	seen := map[string]bool{}
	repeated := 0
	alarmed, ended, taken := map[ear]int{}, map[ear]int{}, map[ear]int{}
	for n, d := range l.received {
		final, known := l.kept.deliveries[d.ID]
		if !known {
			continue // deleted with all that it was about
		}
		if seen[d.Key] {
			if !final.Unsure && final.Tries < 2 {
				repeated++
			}
			continue
		}
		seen[d.Key] = true
		if final.State != alert.Delivered {
			continue // it may have arrived, and nobody knows
		}
		for _, i := range d.Items {
			x := ear{i.Incident, d.Channel}
			switch kind, _, _ := strings.Cut(i.Occasion, "/"); kind {
			case "opened", "reminder":
				if alarmed[x] == 0 {
					alarmed[x] = n + 1
				}
				if ended[x] != 0 && ended[x] < n+1 {
					t.Errorf("%s hears %s of incident %d after its end", d.Channel, i.Occasion, i.Incident)
				}
			case "acknowledged":
				if taken[x] == 0 {
					taken[x] = n + 1
				}
			case "closed":
				if ended[x] != 0 {
					t.Errorf("%s hears of the end of incident %d twice", d.Channel, i.Incident)
				}
				ended[x] = n + 1
			}
		}
	}
	if repeated > 0 {
		t.Errorf("%d messages were repeated without need", repeated)
	}
	refused := map[ear]bool{}
	for _, d := range l.kept.deliveries {
		if d.State == alert.RefusedForGood || d.State == alert.Expired {
			for _, i := range d.Items {
				refused[ear{i.Incident, d.Channel}] = true
			}
		}
	}
	for x, at := range taken {
		if (alarmed[x] == 0 || alarmed[x] > at) && !l.purged[x.incident] {
			t.Errorf("%s hears that somebody takes care of incident %d and has not heard of it\n%s", x.channel, x.incident, l.about(x.incident))
		}
	}
	for x, at := range ended {
		if (alarmed[x] == 0 || alarmed[x] > at) && !l.purged[x.incident] {
			t.Errorf("%s hears of the end of incident %d and never heard of it\n%s", x.channel, x.incident, l.about(x.incident))
		}
	}
	for x := range alarmed {
		if ended[x] == 0 && !refused[x] && !l.vanishing && !l.purged[x.incident] {
			t.Errorf("%s never hears of the end of incident %d\n%s", x.channel, x.incident, l.about(x.incident))
		}
	}
}

// about is what is kept about an incident.
func (l *life) about(in sereno.IncidentID) string {
	lines := slices.DeleteFunc(show(l.kept), func(line string) bool {
		return !strings.Contains(line, fmt.Sprintf("{Incident:%d ", in)) && !strings.Contains(line, fmt.Sprintf(`"ID":%d,`, in))
	})
	return strings.Join(lines, "\n")
}
