package alert_test

import (
	"fmt"
	"testing"
	"time"

	"sereno"
	"sereno/alert"
	"sereno/notify"
)

// A flood is an engine with much to do, whose channels take everything.
type flood struct {
	*alert.Engine
	now  sereno.Instant
	sent map[string][]alert.Delivery
}

func newFlood(tb testing.TB, b alert.Book) *flood {
	tb.Helper()
	p, err := b.Compile([]notify.Kind{mute{}}, notify.Options{})
	if err != nil {
		tb.Fatal(err)
	}
	now := sereno.At(time.Date(2026, 11, 2, 0, 0, 0, 0, time.UTC))
	return &flood{alert.NewEngine(alert.Loaded{}, p, now), now, map[string][]alert.Delivery{}}
}

// run lets time pass.
func (f *flood) run(to sereno.Instant) {
	for {
		for _, h := range f.Health() {
			for {
				d, ok := f.Ready(f.now, h.Channel)
				if !ok {
					break
				}
				f.sent[h.Channel] = append(f.sent[h.Channel], d)
				f.Tried(f.now, d.ID, alert.Outcome{At: f.now})
			}
		}
		f.Batch()
		next := f.Next()
		if next == 0 || next > to {
			f.now = to
			return
		}
		f.now = max(f.now, next)
		f.Tick(f.now)
	}
}

// fleet makes changes that open incidents of devices; site gives each its site.
func fleet(n int, at sereno.Instant, site func(i int) string) []alert.Change {
	changes := make([]alert.Change, n)
	for i := range changes {
		d := &sereno.Device{ID: sereno.DeviceID(i + 1), Name: fmt.Sprintf("d%d", i), Tags: []string{"site:" + site(i)}}
		d.Checks = []sereno.Check{{ID: sereno.CheckID(i + 1), Device: d.ID, Name: "icmp", Kind: "icmp"}}
		changes[i] = alert.Change{
			Revision: int64(i) + 1, Device: d, Check: &d.Checks[0],
			Incident: sereno.Incident{ID: sereno.IncidentID(i + 1), Device: d.ID, Check: d.Checks[0].ID, Opened: at},
		}
	}
	return changes
}

func unrelated(i int) string { return fmt.Sprintf("site%d", i) }

func two() alert.Book {
	return alert.Book{Channels: []alert.Channel{{Name: "ops", Kind: "mute"}, {Name: "mail", Kind: "mute"}}}
}

func TestTenThousandUnrelatedDevicesInAMinuteAreTenMessagesAtMost(t *testing.T) {
	f := newFlood(t, two())
	begin := f.now
	changes := fleet(10_000, begin, unrelated)
	for i := range 600 { // ten times a second
		f.run(begin.Add(time.Duration(i) * 100 * time.Millisecond))
		part := changes[len(changes)*i/600 : len(changes)*(i+1)/600]
		for j := range part {
			part[j].Incident.Opened = f.now
		}
		f.Take(f.now, part)
	}
	f.run(begin.Add(10*time.Minute - time.Second))
	for name, sent := range f.sent {
		told := map[sereno.IncidentID]int{}
		for _, d := range sent {
			for _, id := range d.Incidents() {
				told[id]++
			}
		}
		if len(sent) > 10 {
			t.Errorf("%s had %d messages", name, len(sent))
		}
		if len(told) != len(changes) {
			t.Errorf("%s was told of %d incidents", name, len(told))
		}
		for id, n := range told {
			if n != 1 {
				t.Errorf("%s was told of incident %d in %d messages", name, id, n)
			}
		}
		t.Logf("%s: %d messages in ten minutes", name, len(sent))
	}
	if len(f.Alerts()) != len(changes) {
		t.Errorf("%d alerts are open", len(f.Alerts()))
	}
	// Their reminders come together too, and so does their end.
	f.run(begin.Add(30 * time.Minute))
	for i := range changes {
		changes[i].Revision += 10_000
		changes[i].Incident.Closed = f.now
	}
	f.Take(f.now, changes)
	f.run(begin.Add(time.Hour))
	for name, sent := range f.sent {
		if len(sent) > 10 {
			t.Errorf("%s had %d messages in all", name, len(sent))
		}
		t.Logf("%s: %d messages in an hour", name, len(sent))
	}
	if len(f.Alerts()) > 0 {
		t.Errorf("%d alerts are left", len(f.Alerts()))
	}
}

func TestThousandsBehindOneSwitchAreOneAlarmAndOneRecovery(t *testing.T) {
	f := newFlood(t, two())
	begin := f.now
	const n = 2800
	changes := fleet(n+1, begin, func(int) string { return "plant1" })
	for i := range changes {
		if i > 0 {
			changes[i].Device.Parents = []string{"d0"}
		}
	}
	// Some are seen before the switch, some after it, and all are put under it.
	var first, second []alert.Change
	revision := int64(0)
	add := func(list []alert.Change, c alert.Change) []alert.Change {
		revision++
		c.Revision = revision
		return append(list, c)
	}
	for _, c := range changes[1 : n/2] {
		first = add(first, c)
	}
	second = add(second, changes[0])
	for _, c := range changes[1:] {
		c.Incident.Under = changes[0].Incident.ID
		second = add(second, c)
	}
	f.Take(f.now, first)
	f.run(begin.Add(2 * time.Second))
	f.Take(f.now, second)
	f.run(begin.Add(5 * time.Minute))
	var third []alert.Change
	for i, c := range second {
		c.Incident.Closed = f.now
		if i == 0 {
			c.Incident.Closed--
		}
		third = add(third, c)
	}
	f.Take(f.now, third)
	f.run(begin.Add(time.Hour))
	for name, sent := range f.sent {
		if len(sent) != 2 || sent[0].Event != notify.Opened || sent[1].Event != notify.Closed || len(sent[0].Incidents()) != 1 || len(sent[1].Incidents()) != 1 {
			t.Errorf("%s had %d messages: %v", name, len(sent), sent)
		}
	}
	if len(f.sent) != 2 {
		t.Errorf("%d channels were told", len(f.sent))
	}
}

// What fits in one group is one message, however much it is.
func TestAWholeSiteIsOneMessage(t *testing.T) {
	f := newFlood(t, two())
	f.Take(f.now, fleet(5000, f.now, func(int) string { return "plant1" }))
	f.run(f.now.Add(time.Minute))
	for name, sent := range f.sent {
		if len(sent) != 1 || len(sent[0].Incidents()) != 5000 || sent[0].Group != "plant1" {
			t.Errorf("%s had %d messages", name, len(sent))
		}
	}
}

func three() alert.Book {
	b := two()
	b.Policies = []alert.Policy{
		{Name: "core", Match: `"core" in tags or severity == "critical"`},
		{Name: "plant", Match: `site startsWith "plant" and status == "down"`, Continue: true},
		{Name: "rest", Match: `severity in ["high", "medium", "low"]`},
	}
	return b
}

// BenchmarkTake takes in 100,000 new incidents at once, with 3 policies and 2
// channels, and makes the batch of it.
func BenchmarkTake(b *testing.B) {
	now := sereno.At(time.Date(2026, 11, 2, 0, 0, 0, 0, time.UTC))
	changes := fleet(100_000, now, unrelated)
	for b.Loop() {
		b.StopTimer()
		f := newFlood(b, three())
		b.StartTimer()
		f.Take(f.now, changes)
		batch := f.Batch()
		b.ReportMetric(float64(batch.Len()), "rows")
	}
}

// BenchmarkIdle asks 100,000 open alerts whether anything is due.
func BenchmarkIdle(b *testing.B) {
	f := newFlood(b, three())
	f.Take(f.now, fleet(100_000, f.now, unrelated))
	f.run(f.now.Add(5 * time.Minute))
	for b.Loop() {
		f.now++
		f.Tick(f.now)
		if _, ok := f.Ready(f.now, "ops"); ok || f.Next() == 0 {
			b.Fatal("something is due")
		}
	}
}

// Of a storm that another book brings, every alert goes by that book.
func TestAnotherBookInAStorm(t *testing.T) {
	begin := sereno.At(time.Date(2026, 11, 2, 0, 0, 0, 0, time.UTC))
	book := two()
	book.Policies = []alert.Policy{{Name: "p", Steps: []alert.Step{{}, {After: 5 * time.Minute}, {After: 6 * time.Minute}}}}
	book.Silences = []alert.Silence{{Name: "s", Match: `site in ["site0", "site1", "site2", "site3", "site4", "site5"]`, Until: begin.Add(time.Hour)}}
	f := newFlood(t, book)
	changes := fleet(25, begin, unrelated)
	f.Take(f.now, changes)
	for i := range changes[18:] { // some are over already
		changes[18+i].Revision += 100
		changes[18+i].Incident.Closed = begin.Add(time.Second)
	}
	f.Take(f.now, changes[18:])
	book.Silences = nil
	book.Policies = []alert.Policy{{Name: "p", Steps: []alert.Step{{}, {After: 5 * time.Minute}}}}
	p, err := book.Compile([]notify.Kind{mute{}}, notify.Options{})
	if err != nil {
		t.Fatal(err)
	}
	f.SetPlan(f.now, p)
	f.run(begin.Add(20 * time.Minute))
	for name, sent := range f.sent {
		alarms := map[sereno.IncidentID]int{}
		for _, d := range sent {
			for _, i := range d.Items {
				alarms[i.Incident]++
			}
		}
		for i := range changes {
			if n := alarms[changes[i].Incident.ID]; n != 2 {
				t.Errorf("%s is told %d things of %s", name, n, changes[i].Device.Name)
			}
		}
	}
}

// What is open is not written anew because a process begins, or the book is read
// again.
func TestAStartWritesNothingThatIsNotNew(t *testing.T) {
	f := newFlood(t, two())
	d := newDrawer()
	keep := func() {
		if b := f.Batch(); b != nil {
			d.keep(b)
		}
	}
	f.Take(f.now, fleet(30, f.now, unrelated))
	keep()
	p, err := two().Compile([]notify.Kind{mute{}}, notify.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		f.now = f.now.Add(time.Second)
		f.Engine = alert.NewEngine(d.load(), p, f.now)
		if b := f.Batch(); b != nil {
			t.Errorf("a start writes %d alerts and %d deliveries", len(b.Alerts), len(b.Deliveries))
		}
		f.SetPlan(f.now, p)
		if b := f.Batch(); b != nil && len(b.Alerts) > 1 { // how the channels do may be
			t.Errorf("the same book again writes %d alerts and %d deliveries", len(b.Alerts), len(b.Deliveries))
		}
	}
}
