package alert_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"sereno"
	"sereno/alert"
	"sereno/ledger"
	"sereno/store"
)

// told are stories from a real store.
type told struct{ *store.Store }

func (s told) Incidents(ctx context.Context, ids []sereno.IncidentID) ([]alert.Change, error) {
	return s.ChangesOf(ctx, ids)
}

func (s told) Behind(ctx context.Context, id sereno.IncidentID, limit int) (int, []string, error) {
	return s.ChildrenOf(ctx, id, limit)
}

func (s told) Count(ctx context.Context, check sereno.CheckID, from, to sereno.Instant) (int, error) {
	return s.CountIncidents(ctx, check, from, to)
}

func (told) Uncertainty(context.Context, sereno.CheckID, sereno.Instant) (time.Duration, error) {
	return 0, nil
}

func (told) Looks(context.Context, sereno.CheckID, sereno.Instant, int) ([]bool, error) {
	return nil, nil
}

func openStore(t *testing.T, path string) *store.Store {
	t.Helper()
	s, err := store.Open(context.Background(), "sqlite:"+path, slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// addDevices takes in so many of a test's devices, whose identities are 1, 2, 3 …
func addDevices(t *testing.T, s *store.Store, n int) {
	t.Helper()
	var list []sereno.Device
	for i := 1; i <= n; i++ {
		d := device(i)
		d.ID, d.Checks[0].ID, d.Checks[0].Policy = 0, 0, sereno.DefaultPolicy
		list = append(list, *d)
	}
	added, err := s.AddDevices(context.Background(), list, now())
	if err != nil {
		t.Fatal(err)
	}
	for i, d := range added {
		if d.ID != sereno.DeviceID(i+1) || d.Checks[0].ID != sereno.CheckID(i+1) {
			t.Fatalf("device %d has the id %d", i+1, d.ID)
		}
	}
}

// everything reads all that a store has of messages.
func everything(t *testing.T, s *store.Store) (deliveries []alert.Delivery, incidents []sereno.IncidentID) {
	t.Helper()
	q := store.DeliveryQuery{Limit: 1000}
	for {
		page, next, err := s.Deliveries(context.Background(), q)
		if err != nil {
			t.Fatal(err)
		}
		deliveries = append(deliveries, page...)
		if q.Cursor = next; next == "" {
			break
		}
	}
	iq := store.IncidentQuery{Limit: 1000}
	for {
		page, next, err := s.Incidents(context.Background(), iq)
		if err != nil {
			t.Fatal(err)
		}
		for _, in := range page {
			incidents = append(incidents, in.ID)
		}
		if iq.Cursor = next; next == "" {
			return deliveries, incidents
		}
	}
}

// inStore puts the real store into an office.
func inStore(t *testing.T, o *office) {
	s := openStore(t, filepath.Join(t.TempDir(), "sereno.db"))
	addDevices(t, s, hourly)
	o.options.Outbox, o.options.Stories = s, told{s}
	o.put = func(in sereno.Incident) {
		if err := s.Commit(context.Background(), &ledger.Entry{Incidents: []sereno.Incident{in}}); err != nil {
			t.Error(err)
		}
		o.desk.Poke()
	}
	o.written = func() ([]alert.Delivery, []sereno.IncidentID) { return everything(t, s) }
	o.close = func() {
		if err := s.CheckInvariants(context.Background()); err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestAChannelThatFailsForAnHourInTheRealStore(t *testing.T) {
	if testing.Short() {
		t.Skip("writes thousands of transactions to a real disk")
	}
	quiet := hour(t, nil, inStore)
	times := hour(t, fates["asks for 30 s"], inStore)
	if !slices.Equal(quiet, times) {
		t.Errorf("the healthy channel took %d messages in other moments than the %d without the other one", len(times), len(quiet))
	}
}
