package alert_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"sereno"
	"sereno/alert"
	"sereno/notify"
)

// memory is an outbox without a disk. It keeps the promises of alert.Outbox, and
// fails a test that asks for what they exclude.
type memory struct {
	tb testing.TB

	mu         sync.Mutex
	revision   int64
	incidents  map[sereno.IncidentID]alert.Change
	cursor     int64
	alerts     map[sereno.IncidentID]alert.Record
	deliveries map[alert.DeliveryID]alert.Delivery
	items      map[string]alert.DeliveryID // who tells an item of a channel
	audit      []sereno.Audit
	last       alert.DeliveryID
	broken     func() error // asked before anything is done; nil: it works
	lost       func() error // asked when it is done: the answer; nil: that it is
	desk       *alert.Desk
}

func newMemory(tb testing.TB) *memory {
	return &memory{
		tb: tb, incidents: map[sereno.IncidentID]alert.Change{}, alerts: map[sereno.IncidentID]alert.Record{},
		deliveries: map[alert.DeliveryID]alert.Delivery{}, items: map[string]alert.DeliveryID{},
	}
}

// put commits a version of an incident, and pokes.
func (m *memory) put(in sereno.Incident, d *sereno.Device) {
	m.mu.Lock()
	m.revision++
	c := alert.Change{Revision: m.revision, Incident: in, Device: d}
	if d != nil {
		c.Check = &d.Checks[0]
	}
	m.incidents[in.ID] = c
	desk := m.desk
	m.mu.Unlock()
	if desk != nil {
		desk.Poke()
	}
}

func (m *memory) fails() error {
	m.mu.Lock()
	broken := m.broken
	m.mu.Unlock()
	if broken == nil {
		return nil
	}
	return broken()
}

// breaks makes every question fail, or hang, from now on; nil mends it.
func (m *memory) breaks(f func() error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.broken = f
}

func (m *memory) LoadAlerts(context.Context) (l alert.Loaded, err error) {
	if err := m.fails(); err != nil {
		return l, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	l.Cursor, l.LastID = m.cursor, m.last
	for _, r := range m.alerts {
		if !r.Done {
			l.Alerts = append(l.Alerts, r)
		}
	}
	for _, d := range m.deliveries {
		if d.State == alert.Waiting {
			l.Waiting = append(l.Waiting, d)
		}
	}
	slices.SortFunc(l.Alerts, func(a, b alert.Record) int { return int(a.ID - b.ID) })
	slices.SortFunc(l.Waiting, func(a, b alert.Delivery) int { return int(a.ID - b.ID) })
	return l, nil
}

func (m *memory) Changes(_ context.Context, after int64, limit int) (changes []alert.Change, err error) {
	if err := m.fails(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.incidents {
		if c.Revision > after {
			changes = append(changes, c)
		}
	}
	slices.SortFunc(changes, func(a, b alert.Change) int { return int(a.Revision - b.Revision) })
	return changes[:min(limit, len(changes))], nil
}

func (m *memory) Promise(_ context.Context, b *alert.Batch) error {
	if err := m.fails(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.cursor = max(m.cursor, b.Cursor)
	for _, r := range b.Alerts {
		m.alerts[r.ID] = r
	}
	deliveries := slices.SortedStableFunc(slices.Values(b.Deliveries), func(a, b alert.Delivery) int { return int(a.ID - b.ID) })
	grown := map[alert.DeliveryID]int{}
	for _, d := range deliveries {
		if old, ok := m.deliveries[d.ID]; ok && old.State != alert.Waiting && old.State != d.State {
			m.tb.Errorf("delivery %d was %v and is to be %v", d.ID, old.State, d.State)
		}
		m.last = max(m.last, d.ID)
		had := m.deliveries[d.ID].Items // they only grow, at the end
		grown[d.ID] = len(had)
		if len(d.Items) < len(had) {
			d.Items = had
		} else {
			d.Items = append(slices.Clip(had), d.Items[len(had):]...)
		}
		m.deliveries[d.ID] = d
		if d.State == alert.Merged {
			for _, i := range had {
				if key := m.key(d.Channel, i); m.items[key] == d.ID {
					delete(m.items, key)
				}
			}
		}
	}
	for _, d := range deliveries {
		if d.State == alert.Merged {
			continue
		}
		for _, i := range m.deliveries[d.ID].Items[grown[d.ID]:] {
			key := m.key(d.Channel, i)
			if of, ok := m.items[key]; ok && of != d.ID {
				m.tb.Errorf("%s is told by delivery %d already, and by %d", key, of, d.ID)
			}
			m.items[key] = d.ID
		}
	}
	m.audit = append(m.audit, b.Audit...)
	if m.lost != nil {
		return m.lost()
	}
	return nil
}

func (m *memory) key(channel string, i alert.Item) string {
	return fmt.Sprintf("%s %d %s", channel, i.Incident, i.Occasion)
}

// Of what there is to tell the tests need no more than the incidents.

func (m *memory) Incidents(_ context.Context, ids []sereno.IncidentID) (list []alert.Change, err error) {
	if err := m.fails(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, id := range ids {
		if c, ok := m.incidents[id]; ok {
			list = append(list, c)
		}
	}
	return list, nil
}

func (m *memory) Delivery(_ context.Context, id alert.DeliveryID) (d alert.Delivery, err error) {
	if err := m.fails(); err != nil {
		return d, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	d, ok := m.deliveries[id]
	if !ok {
		err = sereno.Errorf(sereno.NotFound, "there is no delivery %d", id)
	}
	return d, err
}

func (m *memory) Behind(context.Context, sereno.IncidentID, int) (int, []string, error) {
	return 0, nil, nil
}

func (m *memory) Count(context.Context, sereno.CheckID, sereno.Instant, sereno.Instant) (int, error) {
	return 1, nil
}

func (m *memory) Uncertainty(context.Context, sereno.CheckID, sereno.Instant) (time.Duration, error) {
	return time.Second, nil
}

func (m *memory) Looks(context.Context, sereno.CheckID, sereno.Instant, int) ([]bool, error) {
	return []bool{true, true, false, false, false}, nil
}

// written is all that is written down, in the end.
func (m *memory) written() (deliveries []alert.Delivery, incidents []sereno.IncidentID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Collect(maps.Values(m.deliveries)), slices.Collect(maps.Keys(m.incidents))
}

// audits counts the entries of the audit trail.
func (m *memory) audits() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.audit)
}

// states counts deliveries of a channel by how far they have come.
func (m *memory) states(channel string) map[alert.State]int {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := map[alert.State]int{}
	for _, d := range m.deliveries {
		if d.Channel == channel {
			n[d.State]++
		}
	}
	return n
}

// A far is the far end of a channel: it does what a test wants, and remembers
// what it took.
type far struct {
	mu    sync.Mutex
	does  func(ctx context.Context, m notify.Message) error // nil: takes everything
	took  []arrival
	tried []arrival
	now   int // sends under way
	most  int // at once
}

// An arrival is a message and when it came.
type arrival struct {
	at time.Time
	notify.Message
}

func (f *far) Send(ctx context.Context, m notify.Message) error {
	f.mu.Lock()
	does := f.does
	f.tried = append(f.tried, arrival{time.Now(), m})
	f.now++
	f.most = max(f.most, f.now)
	f.mu.Unlock()
	defer func() { f.mu.Lock(); f.now--; f.mu.Unlock() }()
	if does != nil {
		if err := does(ctx, m); err != nil {
			return err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.took = append(f.took, arrival{time.Now(), m})
	return nil
}

func (f *far) will(does func(context.Context, notify.Message) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.does = does
}

func (f *far) arrivals() []arrival {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.took)
}

func (f *far) attempts() []arrival {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.tried)
}

// A talker is a far end through which people answer.
type talker struct {
	*far
	hear chan notify.Answer
	said chan string
}

func (l talker) Listen(ctx context.Context, answer func(context.Context, notify.Answer) (string, bool)) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case a := <-l.hear:
			reply, done := answer(ctx, a)
			l.said <- fmt.Sprintf("%v: %s", done, reply)
		}
	}
}

// hands is a kind of channel whose settings name a far end of a test.
type hands map[string]notify.Channel

func (hands) Name() string      { return "far" }
func (hands) Secrets() []string { return nil }

func (h hands) Open(settings json.RawMessage, _ notify.Options) (notify.Channel, error) {
	var name string
	if err := json.Unmarshal(settings, &name); err != nil {
		return nil, err
	}
	f, ok := h[name]
	if !ok {
		return nil, sereno.Errorf(sereno.Invalid, "there is no far end %q", name)
	}
	return f, nil
}
