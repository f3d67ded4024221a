package alert_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sereno"
	"sereno/alert"
	"sereno/notify"
)

// An office is a desk at work, in a test whose time is fake.
type office struct {
	t       *testing.T
	memory  *memory
	written func() ([]alert.Delivery, []sereno.IncidentID)
	put     func(sereno.Incident) // commits a version of an incident
	fars    hands
	book    alert.Book
	options alert.DeskOptions
	desk    *alert.Desk
	stop    func() // and wait until it has ended
	close   func() // the outbox, after that

	mu    sync.Mutex
	owned []string // what was told of alerting itself
}

// newOffice makes an office whose book has a channel for each far end, in the
// order of names, and no policy but the built-in one, without gathering.
func newOffice(t *testing.T, names ...string) *office {
	o := &office{t: t, memory: newMemory(t), fars: hands{}}
	o.written, o.close = o.memory.written, func() {}
	o.put = func(in sereno.Incident) { o.memory.put(in, device(int(in.Device))) }
	for _, name := range names {
		o.fars[name] = &far{}
		o.book.Channels = append(o.book.Channels, alert.Channel{Name: name, Kind: "far", Settings: json.RawMessage(fmt.Sprintf("%q", name))})
	}
	o.book.Policies = []alert.Policy{{Name: "all", GroupWait: -1, GroupBy: []string{"device"}}}
	o.book.Zone = "UTC"
	return o
}

func (o *office) far(name string) *far {
	if l, ok := o.fars[name].(talker); ok {
		return l.far
	}
	return o.fars[name].(*far)
}

func (o *office) plan() *alert.Plan {
	o.t.Helper()
	p, err := o.book.Compile([]notify.Kind{o.fars}, notify.Options{})
	if err != nil {
		o.t.Fatal(err)
	}
	return p
}

// open begins the work, and goes on with what an earlier desk left.
func (o *office) open() {
	o.t.Helper()
	options := o.options
	options.Plan, options.Now = o.plan(), now
	if options.Outbox == nil {
		options.Outbox, options.Stories = o.memory, o.memory
	}
	options.Own = func(_ context.Context, at sereno.Instant, f alert.Fault) error {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.owned = append(o.owned, fmt.Sprintf("%s %s: %s", f.Trouble, f.Subject, f.Reason))
		return nil
	}
	o.desk = alert.NewDesk(options)
	o.memory.mu.Lock()
	o.memory.desk = o.desk
	o.memory.mu.Unlock()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := o.desk.Run(ctx); err != nil {
			o.t.Error(err)
		}
	}()
	o.stop = sync.OnceFunc(func() { cancel(); <-ended })
}

func (o *office) told() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.owned)
}

func now() sereno.Instant { return sereno.At(time.Now()) }

// device is the i-th of a test.
func device(i int) *sereno.Device {
	id := sereno.DeviceID(i)
	return &sereno.Device{
		ID: id, Name: fmt.Sprintf("host-%d", i), Address: "192.0.2.1", Importance: sereno.High,
		Checks: []sereno.Check{{ID: sereno.CheckID(i), Device: id, Name: "icmp", Kind: "icmp"}},
	}
}

// down opens the i-th incident, up closes it.
func (o *office) down(i int) sereno.Incident {
	in := sereno.Incident{ID: sereno.IncidentID(i), Device: sereno.DeviceID(i), Check: sereno.CheckID(i), Trouble: sereno.TroubleDown, Opened: now(), Reason: "no reply in 1s"}
	o.put(in)
	return in
}

func (o *office) up(in sereno.Incident) {
	in.Closed = now()
	o.put(in)
}

// events are what messages say, in order: "opened 1".
func events(list []arrival) (words []string) {
	for _, a := range list {
		var word strings.Builder
		word.WriteString(string(a.Event))
		for _, in := range a.Incidents {
			fmt.Fprintf(&word, " %d", in.ID)
		}
		words = append(words, word.String())
	}
	return words
}

func TestOnlyWhatIsCommittedIsSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, "a", "b")
		o.open()
		defer o.stop()
		synctest.Wait()
		o.memory.breaks(func() error { return errors.New("the disk is full") })
		in := o.down(1)
		time.Sleep(29 * time.Second)
		for _, name := range []string{"a", "b"} {
			if got := events(o.far(name).attempts()); len(got) != 0 {
				t.Fatalf("%s was sent %v, and nothing was on disk", name, got)
			}
		}
		time.Sleep(4 * time.Minute)
		for _, name := range []string{"a", "b"} {
			got := o.far(name).attempts()
			if len(got) != 1 || got[0].Event != notify.Opened || got[0].Incident.Status != sereno.TroubleStorage || got[0].Incident.ID != 0 {
				t.Fatalf("%s was sent %v, and was to hear once that nothing can be stored", name, events(got))
			}
			if after := got[0].at.Sub(in.Opened.Time()); after < 30*time.Second || after > 36*time.Second {
				t.Errorf("%s heard of it after %v", name, after)
			}
		}
		if o.desk.Stuck() == "" {
			t.Error("nothing goes out, and the desk says that all is well")
		}
		o.memory.breaks(nil)
		time.Sleep(10 * time.Second)
		o.up(in)
		time.Sleep(10 * time.Second)
		for _, name := range []string{"a", "b"} {
			got := slices.DeleteFunc(o.far(name).arrivals(), func(a arrival) bool { return a.Incident.ID == 0 })
			if !slices.Equal(events(got), []string{"opened 1", "closed 1"}) {
				t.Errorf("%s took %v", name, events(got))
			}
			if !strings.Contains(got[0].Text, "late: messages could not be stored") {
				t.Errorf("a late message does not say why:\n%s", got[0].Text)
			}
			over := o.far(name).arrivals()[1]
			if n := len(o.far(name).arrivals()); n != 4 || !slices.ContainsFunc(o.far(name).arrivals(), func(a arrival) bool { return a.Incident.ID == 0 && a.Event == notify.Closed }) {
				t.Errorf("%s does not hear that things can be stored again: %v", name, over)
			}
		}
		if o.desk.Stuck() != "" {
			t.Errorf("all goes out, and the desk says %q", o.desk.Stuck())
		}
	})
}

func TestWhatIsNotEvenWrittenDownIsAnEmergencyToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, "a")
		var since atomic.Int64
		o.options.Unwritten = func() sereno.Instant { return sereno.Instant(since.Load()) }
		o.open()
		defer o.stop()
		time.Sleep(time.Minute)
		broke := now()
		since.Store(int64(broke)) // the outbox can be read, but nothing new gets there
		time.Sleep(29 * time.Second)
		if got := o.far("a").attempts(); len(got) != 0 {
			t.Fatalf("sent %v, and storage may be back in a second", events(got))
		}
		time.Sleep(5 * time.Minute)
		got := o.far("a").attempts()
		if len(got) != 1 || got[0].Event != notify.Opened || got[0].Incident.Status != sereno.TroubleStorage {
			t.Fatalf("sent %v, and was to hear once that nothing can be stored", events(got))
		}
		if after := got[0].at.Sub(broke.Time()); after > 45*time.Second {
			t.Errorf("heard of it after %v", after)
		}
		since.Store(0)
		time.Sleep(15 * time.Second)
		got = o.far("a").attempts()
		if len(got) != 2 || got[1].Event != notify.Closed {
			t.Errorf("sent %v, and was to hear that things can be stored again", events(got))
		}
	})
}

func TestAnOutboxThatFailsNowAndThenLosesNothingAndRepeatsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, "a", "b")
		dice := rand.New(rand.NewPCG(1, 2))
		var mu sync.Mutex
		unlucky := func(often int, err error) func() error {
			return func() error {
				mu.Lock()
				defer mu.Unlock()
				if dice.IntN(often) == 0 {
					return err
				}
				return nil
			}
		}
		o.memory.broken = unlucky(3, errors.New("the database cannot be reached"))
		o.memory.lost = unlucky(3, errors.New("the connection broke before the answer came"))
		o.open()
		defer o.stop()
		for i := 1; i <= 300; i++ {
			in := o.down(i)
			time.Sleep(time.Duration(i*i%20_000) * time.Millisecond)
			o.up(in)
		}
		time.Sleep(time.Hour)
		o.allTold("a")
		o.allTold("b")
	})
}

// fates are how a far end can fail.
var fates = map[string]func(ctx context.Context, m notify.Message) error{
	"asks for 30 s": func(context.Context, notify.Message) error {
		return &notify.Failure{After: 30 * time.Second, Text: "429 Too Many Requests"}
	},
	"fails": func(context.Context, notify.Message) error {
		return &notify.Failure{Text: "500 Internal Server Error"}
	},
	"hangs": func(ctx context.Context, _ notify.Message) error {
		<-ctx.Done()
		return &notify.Failure{Unsure: true, Text: "no answer in time"}
	},
	"refuses connections": func(context.Context, notify.Message) error {
		return &notify.Failure{Text: "connection refused"}
	},
	"answers garbage": func(context.Context, notify.Message) error {
		return errors.New("malformed HTTP response")
	},
	"panics": func(context.Context, notify.Message) error { panic("a mistake") },
}

func TestAChannelThatFailsForAnHourLosesNothingAndDelaysNoOther(t *testing.T) {
	quiet := hour(t, nil, nil)
	for name, fate := range fates {
		if testing.Short() && name != "hangs" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			times := hour(t, fate, nil)
			if len(times) != len(quiet) {
				t.Fatalf("the healthy channel took %d messages, and %d without the other one", len(times), len(quiet))
			}
			for i := range times {
				if times[i] != quiet[i] {
					t.Fatalf("message %d came at %v on the healthy channel, and at %v without the other one", i, times[i], quiet[i])
				}
			}
		})
	}
}

const hourly = 500 // incidents in an hour

// hour opens and closes incidents for an hour in which one channel fails, proves
// what that one took in the end, and returns when a healthy one took what.
func hour(t *testing.T, fate func(context.Context, notify.Message) error, prepare func(*testing.T, *office)) (times []string) {
	synctest.Test(t, func(t *testing.T) {
		names := []string{"healthy"}
		if fate != nil {
			names = append(names, "bad")
		}
		o := newOffice(t, names...)
		if prepare != nil {
			prepare(t, o)
		}
		if fate != nil {
			o.far("bad").will(fate)
		}
		o.open()
		defer o.close()
		defer o.stop()
		begin := time.Now()
		open := map[int]sereno.Incident{}
		for i := 1; i <= hourly; i++ {
			time.Sleep(time.Hour / hourly)
			open[i] = o.down(i)
			if in, ok := open[i-20]; ok { // lasts 20 × 7.2 s
				o.up(in)
				delete(open, i-20)
			}
		}
		if fate != nil {
			o.far("bad").will(nil)
		}
		for i := hourly - 20; i <= hourly; i++ {
			time.Sleep(time.Second)
			if in, ok := open[i]; ok {
				o.up(in)
			}
		}
		time.Sleep(20 * time.Minute)
		for _, name := range names {
			o.allTold(name)
		}
		if n := len(o.far("healthy").arrivals()); n < hourly {
			t.Errorf("%d messages came in an hour: nothing was proven", n)
		}
		if fate != nil {
			t.Logf("%d tries and %d messages on the bad channel", len(o.far("bad").attempts()), len(o.far("bad").arrivals()))
		}
		for _, a := range o.far("healthy").arrivals() {
			times = append(times, fmt.Sprintf("%v %s", a.at.Sub(begin), events([]arrival{a})))
		}
	})
	return times
}

// allTold proves that a channel took the begin and the end of every incident,
// each once, the begin not after the end.
func (o *office) allTold(name string) {
	o.t.Helper()
	took := o.far(name).arrivals()
	at := map[string]int{} // the place of a key among what was taken
	for i, a := range took {
		if j, ok := at[a.Key]; ok {
			o.t.Errorf("%s took %s twice: as message %d and %d", name, a.Key, j, i)
		}
		at[a.Key] = i
	}
	deliveries, incidents := o.written()
	allCarried(o.t, name, deliveries, incidents, at)
	if most := o.far(name).most; most > 1 {
		o.t.Errorf("%s had %d messages at once", name, most)
	}
}

// allCarried proves of the deliveries of a channel that the begin and the end of
// each incident were in messages which it took. at is the place of each key
// among those.
func allCarried(t *testing.T, name string, deliveries []alert.Delivery, incidents []sereno.IncidentID, at map[string]int) {
	t.Helper()
	place := map[string]int{}
	for _, d := range deliveries {
		if d.Channel != name {
			continue
		}
		if d.State != alert.Delivered && d.State != alert.Merged {
			t.Errorf("%s: delivery %d (%s) is %s in the end: %s", name, d.ID, d.Event, d.State, d.Answer)
		}
		if d.State != alert.Delivered {
			continue
		}
		i, ok := at[d.Key]
		if !ok {
			t.Errorf("%s: delivery %d (%s) is delivered, and was never taken", name, d.ID, d.Event)
		}
		for _, item := range d.Items {
			what, _, _ := strings.Cut(item.Occasion, "/")
			place[fmt.Sprintf("%s %d", what, item.Incident)] = i
		}
	}
	for _, id := range incidents {
		begin, told := place[fmt.Sprintf("opened %d", id)]
		end, over := place[fmt.Sprintf("closed %d", id)]
		if !told || !over || begin > end {
			t.Errorf("%s: the begin of incident %d is told in message %d (%v), its end in %d (%v)", name, id, begin, told, end, over)
		}
	}
}

func TestAStopWaitsForATryAndAnotherIsRepeatedWithItsKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, "a")
		slow := 3 * time.Second
		o.far("a").will(func(ctx context.Context, _ notify.Message) error {
			select {
			case <-time.After(slow):
				return nil
			case <-ctx.Done():
				return &notify.Failure{Unsure: true, Text: "given up"}
			}
		})
		o.open()
		o.down(1)
		time.Sleep(time.Second)
		o.stop()
		if got := events(o.far("a").arrivals()); !slices.Equal(got, []string{"opened 1"}) {
			t.Fatalf("a try that takes 3 s was not waited for: %v", got)
		}
		if n := o.memory.states("a")[alert.Waiting]; n != 0 {
			t.Errorf("%d messages wait, and the one was taken", n)
		}

		slow = time.Hour
		o.open()
		o.down(2)
		time.Sleep(time.Second)
		began := time.Now()
		o.stop()
		if took := time.Since(began); took > 2*5*time.Second {
			t.Errorf("the end took %v", took)
		}
		slow = 0
		o.open()
		defer o.stop()
		time.Sleep(10 * time.Minute)
		tried := slices.DeleteFunc(o.far("a").attempts(), func(a arrival) bool { return a.Event != notify.Opened || a.Incident.ID != 2 })
		if len(tried) < 2 {
			t.Fatalf("it was tried %d times", len(tried))
		}
		for _, a := range tried {
			if a.Key != tried[0].Key {
				t.Errorf("it was tried as %s and as %s", tried[0].Key, a.Key)
			}
		}
		if n := o.memory.states("a")[alert.Waiting]; n != 0 {
			t.Errorf("%d messages wait", n)
		}
	})
}

func TestALateMessageSaysWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, "a")
		o.book.Policies[0].Steps = []alert.Step{{}}
		o.far("a").will(fates["refuses connections"])
		o.open()
		defer o.stop()
		o.down(1)
		o.down(2)
		time.Sleep(7 * time.Minute)
		o.far("a").will(nil)
		time.Sleep(6 * time.Minute)
		took := o.far("a").arrivals()
		if len(took) != 2 {
			t.Fatalf("took %v", events(took))
		}
		for _, a := range took {
			if !strings.Contains(a.Text, "late:") || !strings.Contains(a.Text, "connection refused") {
				t.Errorf("a message that comes minutes late says:\n%s", a.Text)
			}
		}
	})
}

func TestChannelsThatFailAreFaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, "good", "bad", "no")
		o.book.Policies[0].Steps = []alert.Step{{}}
		o.far("bad").will(fates["fails"])
		o.far("no").will(func(context.Context, notify.Message) error { return notify.Refuse("401 Unauthorized") })
		o.open()
		defer o.stop()
		o.down(1)
		time.Sleep(time.Minute)
		if got := o.told(); len(got) != 1 || !strings.HasPrefix(got[0], "channel no: ") || !strings.Contains(got[0], "401") {
			t.Errorf("after a minute: %q", got)
		}
		time.Sleep(4 * time.Minute)
		if got := o.told(); len(got) != 2 || !strings.HasPrefix(got[1], "channel bad: ") || !strings.Contains(got[1], "500") {
			t.Errorf("after five minutes: %q", got)
		}
		o.far("bad").will(nil)
		if answer, err := o.desk.Test(t.Context(), "no", "anna", "api"); answer != "401 Unauthorized" || err == nil {
			t.Errorf("a test says %q, %v", answer, err)
		}
		o.far("no").will(nil)
		if answer, err := o.desk.Test(t.Context(), "no", "anna", "api"); err != nil {
			t.Errorf("a test says %q, %v", answer, err)
		}
		time.Sleep(6 * time.Minute)
		if got := o.told(); !slices.Contains(got, "channel bad: ") || !slices.Contains(got, "channel no: ") || len(got) != 4 {
			t.Errorf("in the end: %q", got)
		}
		o.memory.mu.Lock()
		defer o.memory.mu.Unlock()
		if n := len(o.memory.audit); n != 2 || o.memory.audit[0].Who != "anna" || o.memory.audit[0].Of != "no" {
			t.Errorf("the audit trail has %+v", o.memory.audit)
		}
	})
}

func TestAnAnswerIsAnOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, "a")
		l := talker{o.far("a"), make(chan notify.Answer), make(chan string)}
		o.fars["a"] = l
		o.open()
		defer o.stop()
		o.down(1)
		time.Sleep(time.Minute)
		l.hear <- notify.Answer{Action: "acknowledge", Incident: 1, Who: "telegram: anna"}
		if said := <-l.said; !strings.HasPrefix(said, "true: Acknowledged") {
			t.Errorf("anna hears %q", said)
		}
		l.hear <- notify.Answer{Action: "acknowledge", Incident: 99, Who: "telegram: anna"}
		if said := <-l.said; !strings.HasPrefix(said, "false: ") || !strings.Contains(said, "99") {
			t.Errorf("anna hears %q", said)
		}
		a, err := o.desk.Alert(t.Context(), 1)
		if err != nil || a.Acknowledged == nil || a.Acknowledged.By != "telegram: anna" || a.Acknowledged.Via != "far" {
			t.Fatalf("the alert is %+v, %v", a, err)
		}
		time.Sleep(2 * time.Hour)
		if got := events(o.far("a").arrivals()); slices.Contains(got, "reminder 1") {
			t.Errorf("there were reminders: %v", got)
		}
		o.memory.mu.Lock()
		defer o.memory.mu.Unlock()
		if len(o.memory.audit) != 1 || o.memory.audit[0].Action != "acknowledge" {
			t.Errorf("the audit trail has %+v", o.memory.audit)
		}
	})
}

func TestAnotherBook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, "a", "b")
		o.far("b").will(fates["fails"])
		o.open()
		defer o.stop()
		in := o.down(1)
		time.Sleep(time.Minute)
		o.book.Channels = o.book.Channels[:1]
		o.fars["c"] = &far{}
		o.book.Channels = append(o.book.Channels, alert.Channel{Name: "c", Kind: "far", Settings: json.RawMessage(`"c"`)})
		if err := o.desk.SetBook(t.Context(), o.plan()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		o.up(in)
		o.down(2)
		time.Sleep(time.Minute)
		if got := o.memory.states("b"); got[alert.Waiting] != 0 || got[alert.Dropped] == 0 {
			t.Errorf("what waited for the channel that is gone: %v", got)
		}
		if got := events(o.far("a").arrivals()); !slices.Equal(got, []string{"opened 1", "closed 1", "opened 2"}) {
			t.Errorf("a took %v", got)
		}
		if got := events(o.far("c").arrivals()); !slices.Contains(got, "opened 2") {
			t.Errorf("the new channel took %v", got)
		}
	})
}

func TestAPolicyThatTellsNobodyIsAFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, "a")
		o.book.Policies = append(o.book.Policies, alert.Policy{Name: "never"})
		o.open()
		defer o.stop()
		time.Sleep(time.Minute)
		if got := o.told(); len(got) != 1 || !strings.HasPrefix(got[0], "policy ") || !strings.Contains(got[0], "never") {
			t.Errorf("%q", got)
		}
		o.book.Policies = o.book.Policies[:1]
		if err := o.desk.SetBook(t.Context(), o.plan()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if got := o.told(); len(got) != 2 || got[1] != "policy : " {
			t.Errorf("%q", got)
		}
	})
}

func TestTenThousandUnrelatedDevicesThatDieInAMinute(t *testing.T) {
	const n = 10_000
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, "a", "b")
		o.book.Policies = nil // the built-in one
		o.open()
		defer o.stop()
		time.Sleep(time.Second)
		began := time.Now()
		var all []sereno.Incident
		for i := 1; i <= n; i++ {
			in := sereno.Incident{ID: sereno.IncidentID(i), Device: sereno.DeviceID(i), Check: sereno.CheckID(i), Opened: now(), Reason: "no reply in 1s"}
			d := device(i)
			d.Tags = []string{fmt.Sprintf("site:plant%d", i)}
			o.memory.put(in, d)
			all = append(all, in)
			if i%100 == 0 {
				time.Sleep(time.Minute / (n / 100))
			}
		}
		time.Sleep(time.Until(began.Add(10*time.Minute - time.Second)))
		for _, name := range []string{"a", "b"} {
			if got := o.far(name).arrivals(); len(got) > 10 || len(got) < 1 {
				t.Errorf("%s took %d messages in ten minutes", name, len(got))
			}
			told := map[sereno.IncidentID]bool{}
			for _, d := range o.memory.deliveries {
				if d.Channel == name && d.State == alert.Delivered {
					for _, i := range d.Items {
						told[i.Incident] = true
					}
				}
			}
			if len(told) != n {
				t.Errorf("%s: %d of %d are told", name, len(told), n)
			}
		}
		for _, in := range all {
			in.Closed = now()
			o.memory.put(in, device(int(in.Device)))
		}
		time.Sleep(10 * time.Minute)
		o.allTold("a")
		o.allTold("b")
	})
}

func TestAWishIsOnDiskWhenItIsGranted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, "a")
		o.memory.breaks(func() error { return errors.New("the database cannot be reached") })
		o.open()
		defer o.stop()
		if _, err := o.desk.Alerts(t.Context()); sereno.KindOf(err) != sereno.Unavailable {
			t.Errorf("before the store was read: %v", err)
		}
		o.memory.breaks(nil)
		o.down(1)
		time.Sleep(time.Minute)

		o.memory.breaks(func() error { return errors.New("the database cannot be reached") })
		short, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		wish := alert.Order{Action: "acknowledge", Incident: 1, Who: "anna", Via: "api", Text: "on my way"}
		if err := o.desk.Do(short, wish); sereno.KindOf(err) != sereno.Unavailable {
			t.Errorf("while the store is away: %v", err)
		}
		if n := o.memory.audits(); n != 0 {
			t.Errorf("%d entries in the audit trail of a store that is away", n)
		}
		o.memory.breaks(nil)
		time.Sleep(time.Minute)
		if n := o.memory.audits(); n != 1 {
			t.Errorf("%d entries in the audit trail", n)
		}
		wish.Action = "unacknowledge"
		if err := o.desk.Do(t.Context(), wish); err != nil {
			t.Error(err)
		}
		if n := o.memory.audits(); n != 2 {
			t.Errorf("%d entries in the audit trail, and the wish was granted", n)
		}
		if err := o.desk.Do(t.Context(), alert.Order{Action: "acknowledge", Incident: 9, Who: "anna"}); sereno.KindOf(err) != sereno.NotFound {
			t.Errorf("an incident that there is not: %v", err)
		}
		o.stop()
		if err := o.desk.Do(t.Context(), wish); sereno.KindOf(err) != sereno.Unavailable {
			t.Errorf("after the end: %v", err)
		}
	})
}

func TestWhatWaitedWhileSerenoWasOffSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, "a")
		o.book.Policies[0].GroupWait = 10 * time.Second
		o.open()
		o.down(1)
		time.Sleep(time.Second)
		o.stop()
		time.Sleep(10 * time.Minute)
		o.open()
		defer o.stop()
		time.Sleep(time.Second)
		took := o.far("a").arrivals()
		if len(took) == 0 || !strings.Contains(took[0].Text, "late: Sereno was not running") {
			t.Errorf("took %v:\n%s", events(took), took[0].Text)
		}
	})
}

// TestAnAnswerToAMessageOfMany: it is for all that the message tells of and that
// is still open, in one batch, and everybody hears of it once.
func TestAnAnswerToAMessageOfMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const many = 37
		o := newOffice(t, "a", "b")
		o.book.URL = "https://sereno.example"
		o.book.Policies = []alert.Policy{{Name: "all", GroupBy: []string{"status"}}}
		var making sync.Mutex
		var made []string
		o.options.Links = func(base string, id sereno.IncidentID, delivery alert.DeliveryID, all bool, _ sereno.Instant) (string, string) {
			making.Lock()
			defer making.Unlock()
			made = append(made, fmt.Sprint(id, delivery, all))
			return base + "/open", base + "/acknowledge"
		}
		l := talker{o.far("a"), make(chan notify.Answer), make(chan string)}
		o.fars["a"] = l
		o.open()
		defer o.stop()
		var troubles []sereno.Incident
		for i := range many {
			troubles = append(troubles, o.down(i+1))
		}
		time.Sleep(time.Minute)
		got := o.far("a").arrivals()
		making.Lock()
		links := slices.Clone(made)
		making.Unlock()
		if len(got) != 1 || got[0].Count != many || !got[0].Buttons || got[0].Acknowledge == "" || len(links) == 0 || !strings.HasSuffix(links[0], "true") {
			t.Fatalf("a hears %d messages, the first %+v; the links are for %v", len(got), got[0].Message, links)
		}
		key := got[0].Key
		o.up(troubles[1])
		time.Sleep(time.Minute)
		press := func(action, key, want string) {
			t.Helper()
			l.hear <- notify.Answer{Action: action, Key: key, For: time.Hour, Who: "telegram: anna"}
			if said := <-l.said; said != want {
				t.Errorf("%s: anna hears %q, and not %q", action, said, want)
			}
			time.Sleep(10 * time.Second)
		}
		press("acknowledge", key, "true: Acknowledged, 36 of 37: no more reminders. For the others there was nothing to do.")
		for _, name := range []string{"a", "b"} {
			last := o.far(name).arrivals()
			if m := last[len(last)-1]; m.Event != notify.Acknowledged || m.Count != many-1 || m.Buttons || m.Acknowledge != "" || len(last) != 3 {
				t.Errorf("%s hears %v, at last of %d", name, events(last), m.Count)
			}
		}
		if n := o.memory.audits(); n != many-1 {
			t.Errorf("the audit trail has %d entries", n)
		}
		press("acknowledge", key, "true: Acknowledged, 36 of 37: no more reminders. For the others there was nothing to do.")
		press("snooze", key, "true: Snoozed, 36 of 37 until "+time.Now().Add(time.Hour).UTC().Format("15:04")+". For the others there was nothing to do.")
		press("unacknowledge", key, "true: No longer acknowledged, 36 of 37: reminders go on. For the others there was nothing to do.")
		if got := o.far("a").arrivals(); len(got) != 3 {
			t.Errorf("a hears %v", events(got))
		}
		// A key is that of one message: numbers come again after a restored backup.
		const unknown = "false: what this message told of is no longer known"
		press("acknowledge", strings.Replace(key, "-", "-1", 1), unknown)
		press("acknowledge", "9"+key, unknown)
		press("acknowledge", "x", unknown)
		o.memory.breaks(func() error { return errors.New("the disk is gone") })
		press("acknowledge", key, "false: the storage does not answer; press again in a minute")
		o.memory.breaks(nil)
		time.Sleep(time.Minute)
		for i, in := range troubles {
			if i != 1 {
				o.up(in)
			}
		}
		time.Sleep(time.Minute)
		press("acknowledge", key, "false: there is nothing to acknowledge any more: all of it is over, or acknowledged")
	})
}

// A message about nothing but what was deleted while nobody ran is dropped.
func TestAMessageAboutWhatIsGoneForGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, "a")
		o.memory.deliveries[7] = alert.Delivery{ID: 7, Key: "7-x", Channel: "a", Event: notify.Opened, Promised: now(), Due: now()}
		o.memory.last = 7
		o.open()
		defer o.stop()
		time.Sleep(time.Minute)
		if got := o.far("a").arrivals(); len(got) != 0 {
			t.Errorf("told: %+v", got)
		}
		list, _ := o.memory.written()
		if len(list) != 1 || list[0].State != alert.Dropped || list[0].Answer == "" || list[0].SettledAt == 0 {
			t.Errorf("it is %+v", list)
		}
	})
}
