package api

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"net/netip"
	"sync"
	"time"

	"sereno"
	"sereno/alert"
	"sereno/ledger"
	"sereno/probe"
	"sereno/store"
)

// memory stands in for the store and the ledger where a test is about what
// they cannot easily be brought to do: fail, hang, or be a hundred thousand.
type memory struct {
	mu      sync.Mutex
	devices []sereno.Device
	fail    error           // what every question is answered with
	hang    <-chan struct{} // Live waits for it, whatever ctx says
}

func (m *memory) Add(_ context.Context, devices []sereno.Device) ([]sereno.Device, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range devices {
		devices[i].ID = sereno.DeviceID(len(m.devices) + 1)
		for k := range devices[i].Checks {
			devices[i].Checks[k].ID = sereno.CheckID(int(devices[i].ID)*100 + k)
		}
		m.devices = append(m.devices, devices[i])
	}
	return devices, m.fail
}

func (m *memory) Replace(_ context.Context, d sereno.Device) (sereno.Device, error) {
	return d, m.fail
}

func (m *memory) Remove(context.Context, sereno.DeviceID) error { return m.fail }

func (m *memory) ChangesOf(context.Context, []sereno.IncidentID) ([]alert.Change, error) {
	return nil, m.fail
}

func (m *memory) Purge(context.Context, sereno.DeviceID) error { return m.fail }

func (m *memory) Tombstones(context.Context, string) ([]store.Tombstone, error) { return nil, m.fail }

func (m *memory) Devices(_ context.Context, q store.DeviceQuery) ([]sereno.Device, string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.devices[:min(q.Limit, len(m.devices))], "", m.fail
}

func (m *memory) Device(_ context.Context, id sereno.DeviceID) (sereno.Device, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return sereno.Device{}, m.fail
	}
	if id < 1 || int(id) > len(m.devices) {
		return sereno.Device{}, sereno.Errorf(sereno.NotFound, "there is no device %d", id)
	}
	return m.devices[id-1], nil
}

func (m *memory) DeviceByName(_ context.Context, name string) (sereno.Device, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, d := range m.devices {
		if d.Name == name {
			return d, m.fail
		}
	}
	return sereno.Device{}, errors.Join(m.fail, sereno.Errorf(sereno.NotFound, "there is no device %q", name))
}

func (m *memory) CountDevices(context.Context) (int, error) { return len(m.devices), m.fail }

func (m *memory) Spans(_ context.Context, _ sereno.CheckID, _, _ sereno.Instant) iter.Seq2[sereno.Span, error] {
	return func(yield func(sereno.Span, error) bool) {
		if m.fail != nil {
			yield(sereno.Span{}, m.fail)
		}
	}
}

func (m *memory) Incidents(context.Context, store.IncidentQuery) ([]sereno.Incident, string, error) {
	return nil, "", m.fail
}

func (m *memory) Maintained(context.Context, []sereno.DeviceID, sereno.Instant, sereno.Instant) ([]sereno.Maintained, error) {
	return nil, m.fail
}

func (m *memory) Absences(context.Context, store.AbsenceQuery) ([]sereno.Absence, string, error) {
	return nil, "", m.fail
}

func (m *memory) Live(_ context.Context, checks []sereno.CheckID) ([]ledger.Live, error) {
	if m.hang != nil {
		<-m.hang
	}
	live := make([]ledger.Live, len(checks))
	for i, id := range checks {
		live[i] = ledger.Live{
			Check: id, Status: sereno.Up, Doubt: sereno.Up, Since: noon, Last: noon.Add(time.Hour),
			RTT: 1234 * time.Microsecond, Looks: 3600, Lost: 1, Recent: 0xffff_ffff_ffff_fff7, Seen: 64,
		}
	}
	return live, m.fail
}

func (m *memory) Statistics(context.Context) (ledger.Statistics, error) {
	return ledger.Statistics{}, m.fail
}

// fakeKind is a kind of check whose only setting is a size.
type fakeKind struct{ probe.Kind }

func (fakeKind) Name() string { return "icmp" }

func (fakeKind) Validate(settings json.RawMessage) error {
	var s struct{ Size int }
	if settings == nil {
		return nil
	}
	if err := json.Unmarshal(settings, &s); err != nil {
		return err
	}
	if s.Size < 0 || s.Size > 1400 {
		return sereno.Errorf(sereno.Invalid, "a size is 0 to 1400 bytes, not %d", s.Size)
	}
	return nil
}

func (fakeKind) Target(sereno.CheckID, netip.Addr, time.Duration, json.RawMessage) (probe.Target, error) {
	return nil, errors.New("nobody looks here")
}

// noon is when tests take place.
var noon = sereno.At(time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC))
