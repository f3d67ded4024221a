package alert_test

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"sereno"
	"sereno/alert"
	"sereno/ledger"
	"sereno/notify"
	"sereno/store"
)

// A voyage is a random history whose engine writes to a real store, and which is
// killed now and then: before a batch is written, after it is and before that is
// known, and while a message is under way.
type voyage struct {
	*life
	t      *testing.T
	dice   *rand.Rand
	store  *store.Store
	engine *alert.Engine
	gone   map[int]bool // devices that were removed
}

func newVoyage(t *testing.T, seed uint64, s *store.Store) *voyage {
	v := &voyage{
		life: &life{
			now: now(), open: map[int]sereno.Incident{}, kept: newDrawer(), fates: map[string]string{}, purged: map[sereno.IncidentID]bool{},
		},
		t: t, dice: rand.New(rand.NewPCG(seed, 1)), store: s, gone: map[int]bool{},
	}
	book := lifeBook()
	other := lifeBook()
	other.Channels = append(other.Channels[:2:2], alert.Channel{Name: "new", Kind: "mute", Fallback: "mail", GiveUp: time.Hour})
	other.Policies[1].Steps = []alert.Step{{Channels: []string{"new", "ops"}, Remind: []time.Duration{7 * time.Minute}}}
	none := alert.Book{}
	calm := lifeBook()
	calm.Policies[1].Continue = true
	calm.Policies[1].Quiet = []alert.Quiet{{From: "00:05", To: "02:30", Zone: "UTC", Except: `severity == "critical"`}}
	fixed := seed%2 == 0
	if fixed { // channels come and stay
		book.Channels = append(book.Channels, other.Channels[2])
		calm.Channels, other.Channels, none = book.Channels, book.Channels, book
	}
	v.vanishing = !fixed
	for _, b := range []alert.Book{book, other, none, calm} {
		p, err := b.Compile([]notify.Kind{mute{}}, notify.Options{})
		v.must(err)
		v.plans = append(v.plans, p)
	}
	v.plan = v.plans[0]
	addDevices(t, s, 40)
	v.start()
	return v
}

func (v *voyage) must(err error) {
	v.t.Helper()
	if err != nil {
		v.t.Fatal(err)
	}
}

// start is what a process does when it begins.
func (v *voyage) start() {
	l, err := v.store.LoadAlerts(context.Background())
	v.must(err)
	v.engine = alert.NewEngine(l, v.plan, v.now)
	if b := v.engine.Batch(); b != nil {
		v.must(v.store.Promise(context.Background(), b))
	}
	v.read(l.Cursor)
}

func (v *voyage) read(after int64) {
	changes, err := v.store.Changes(context.Background(), after, 1000)
	v.must(err)
	if len(changes) > 0 {
		v.revision = changes[len(changes)-1].Revision
		v.engine.Take(v.now, changes)
		if b := v.engine.Batch(); b != nil {
			v.must(v.store.Promise(context.Background(), b))
		}
	}
}

// commit writes what was decided, and reports whether the process lived on.
func (v *voyage) commit() bool {
	b := v.engine.Batch()
	if b == nil {
		return true
	}
	switch v.dice.IntN(25) {
	case 0:
		v.start()
		return false
	case 1:
		v.must(v.store.Promise(context.Background(), b))
		v.start()
		return false
	case 2:
		v.must(v.store.Promise(context.Background(), b))
	}
	v.must(v.store.Promise(context.Background(), b))
	return true
}

func (v *voyage) write(list ...sereno.Incident) {
	v.must(v.store.Commit(context.Background(), &ledger.Entry{Incidents: list}))
	changes, err := v.store.Changes(context.Background(), v.revision, 1000)
	v.must(err)
	if len(changes) == 0 {
		return // nothing was new
	}
	v.revision = changes[len(changes)-1].Revision
	v.engine.Take(v.now, changes)
	if v.commit() {
		v.send()
	}
}

func (v *voyage) happen() {
	var list []sereno.Incident
	n := 1 + v.dice.IntN(3)
	if v.dice.IntN(6) == 0 {
		n = 30
	}
	for range n {
		i := v.dice.IntN(40)
		if v.gone[i] {
			continue
		}
		in, is := v.open[i]
		switch {
		case !is:
			v.lastID++
			in = sereno.Incident{ID: v.lastID, Device: sereno.DeviceID(i + 1), Check: sereno.CheckID(i + 1), Opened: v.now.Add(-3 * time.Second)}
			if over, ok := v.open[1]; ok && i > 1 && v.dice.IntN(4) == 0 {
				in.Under = over.ID
			}
		case v.dice.IntN(3) > 0:
			in.Closed = v.now
		case v.dice.IntN(2) == 0:
			in.Under = 0
		default:
			in.Trouble = []sereno.Trouble{sereno.TroubleDown, sereno.TroubleDegraded, sereno.TroubleFlapping}[v.dice.IntN(3)]
		}
		v.keepOpen(i, in)
		list = append(list, in)
	}
	if len(list) > 0 {
		v.write(list...)
	}
}

func (v *voyage) keepOpen(i int, in sereno.Incident) {
	if delete(v.open, i); in.Closed == 0 {
		v.open[i] = in
	}
}

// amend changes an incident that is over.
func (v *voyage) amend() {
	if v.lastID == 0 {
		return
	}
	in, err := v.store.IncidentByID(context.Background(), sereno.IncidentID(1+v.dice.IntN(int(v.lastID))))
	if err != nil || in.Closed == 0 {
		return
	}
	in.Reason = "amended"
	v.write(in)
}

// remove takes a device away, and perhaps all that is remembered of it.
func (v *voyage) remove() {
	i := 2 + v.dice.IntN(38)
	if v.gone[i] {
		return
	}
	v.gone[i] = true
	_, err := v.store.RemoveDevice(context.Background(), sereno.DeviceID(i+1), v.now)
	v.must(err)
	delete(v.open, i)
	if v.dice.IntN(2) == 0 {
		v.read(v.revision)
	}
	if v.dice.IntN(2) == 0 {
		return
	}
	for id := sereno.IncidentID(1); id <= v.lastID; id++ {
		if in, err := v.store.IncidentByID(context.Background(), id); err == nil && in.Device == sereno.DeviceID(i+1) {
			v.purged[id] = true
		}
	}
	_, err = v.store.Purge(context.Background(), sereno.DeviceID(i+1))
	v.must(err)
}

func (v *voyage) send() {
	for again := true; again; {
		again = false
		for _, name := range v.plan.Channels() {
			d, ok := v.engine.Ready(v.now, name)
			if !v.commit() {
				again = true
				break
			}
			if !ok {
				continue
			}
			again = true
			if !v.receive(d) {
				break
			}
		}
	}
}

func (v *voyage) receive(d alert.Delivery) bool {
	o := alert.Outcome{At: v.now, Title: "title"}
	switch v.fates[d.Channel] {
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
		v.received = append(v.received, d)
	}
	if v.dice.IntN(25) == 0 {
		v.start()
		return false
	}
	v.engine.Tried(v.now, d.ID, o)
	return v.commit()
}

func (v *voyage) pass(to sereno.Instant) {
	for ticks := 0; ; ticks++ {
		next := v.engine.Next()
		if next == 0 || next > to {
			v.now = to
			return
		}
		if ticks > 20_000 {
			v.t.Fatalf("at %s a tick is wanted again and again", v.now)
		}
		v.now = max(v.now, next)
		v.engine.Tick(v.now)
		if v.commit() {
			v.send()
		}
	}
}

func (v *voyage) live(steps int) {
	lengths := []time.Duration{time.Second, 10 * time.Second, time.Minute, 6 * time.Minute, 40 * time.Minute, 8 * time.Hour}
	for range steps {
		switch v.dice.IntN(16) {
		case 0, 1, 2, 3, 4:
			v.happen()
		case 5:
			v.amend()
		case 6:
			if v.dice.IntN(3) == 0 {
				v.remove()
			}
		case 7, 8:
			v.fates[[]string{"ops", "mail", "log", "new"}[v.dice.IntN(4)]] = []string{"", "", "fails", "limits", "hangs", "refuses"}[v.dice.IntN(6)]
		case 9:
			v.plan = v.plans[v.dice.IntN(len(v.plans))]
			v.engine.SetPlan(v.now, v.plan)
			if v.commit() {
				v.send()
			}
		case 10: // away, and so is the clock; or asleep
			v.now = v.now.Add(lengths[v.dice.IntN(len(lengths))])
			lives := true
			if v.dice.IntN(2) == 0 {
				v.start()
			} else {
				v.engine.Tick(v.now)
				lives = v.commit()
			}
			if lives {
				v.send()
			}
		case 11:
			if v.lastID > 0 {
				o := alert.Order{Action: []string{"acknowledge", "snooze", "resolve"}[v.dice.IntN(3)], Incident: sereno.IncidentID(1 + v.dice.IntN(int(v.lastID))), Who: "anna"}
				if o.Action == "snooze" {
					o.Until = v.now.Add(9 * time.Minute)
				}
				_ = v.engine.Do(v.now, o)
				if v.commit() {
					v.send()
				}
			}
		default:
			v.pass(v.now.Add(lengths[v.dice.IntN(len(lengths)-1)]))
		}
	}
	clear(v.fates)
	v.plan = v.plans[1]
	v.engine.SetPlan(v.now, v.plan)
	if v.commit() {
		v.send()
	}
	v.plan = v.plans[0]
	v.engine.SetPlan(v.now, v.plan)
	if v.commit() {
		v.send()
	}
	var ends []sereno.Incident
	for i, in := range v.open {
		in.Closed = v.now
		v.keepOpen(i, in)
		ends = append(ends, in)
	}
	if len(ends) > 0 {
		v.write(ends...)
	}
	v.read(v.revision)
	v.send()
	v.pass(v.now.Add(72 * time.Hour))
}

// lives is how many there are: SERENO_LIVES.
func lives() int {
	if n, err := strconv.Atoi(os.Getenv("SERENO_LIVES")); err == nil {
		return n
	}
	return 8
}

// Whatever happens, and whenever it is killed: what the store says in the end
// is what people heard, in order, complete and once.
func TestALifeInTheRealStore(t *testing.T) {
	if testing.Short() {
		t.Skip("writes thousands of transactions to a real disk")
	}
	for seed := range uint64(lives()) {
		s := openStore(t, filepath.Join(t.TempDir(), "sereno.db"))
		v := newVoyage(t, seed, s)
		v.live(60)
		v.must(s.CheckInvariants(t.Context()))
		v.must(s.CheckOutbox(t.Context()))
		list, _ := everything(t, s)
		for _, d := range list {
			v.kept.deliveries[d.ID] = d
		}
		l, err := s.LoadAlerts(t.Context())
		v.must(err)
		for _, r := range l.Alerts {
			v.kept.records[r.ID] = r
		}
		if n := len(v.engine.Alerts()); n > 0 {
			t.Errorf("%d alerts are open in the end: %+v", n, v.engine.Alerts())
		}
		v.prove(t)
		v.must(s.Close())
		if t.Failed() {
			t.Fatalf("in the life of the seed %d", seed)
		}
	}
}
