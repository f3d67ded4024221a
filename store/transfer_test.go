package store_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"sereno"
	"sereno/alert"
	"sereno/ledger"
	"sereno/notify"
	"sereno/store"
	"sereno/store/postgrestest"
)

// TestThereAndBack moves a store from SQLite to PostgreSQL and back again.
func TestThereAndBack(t *testing.T) {
	file, server, home := "sqlite:"+filepath.Join(t.TempDir(), "sereno.db"), postgrestest.Database(t), "sqlite:"+filepath.Join(t.TempDir(), "home.db")
	s := openURL(t, file)
	d := add(t, s, "first")
	h := &history{check: d.Checks[0].ID, begin: d.Checks[0].Created}
	for range 5 {
		e := h.next(4999)
		e.Absences = []sereno.Absence{{Begin: sereno.Instant(h.n), End: sereno.Instant(h.n + 1), Unsure: true}}
		e.Incidents = []sereno.Incident{{ID: sereno.IncidentID(h.n), Device: d.ID, Check: h.check, Opened: 5, Closed: 6, Reason: "ünïcode 'quoted' \\ 😀"}}
		e.Clock = []sereno.ClockEvent{{At: sereno.Instant(h.n), Step: time.Second}}
		must(t, s.Commit(t.Context(), &e))
	}
	add(t, s, "second")
	// What waits to be sent is to be sent from the new place.
	outbox := alert.Batch{
		Cursor: 2, Alerts: []alert.Record{{ID: 4999, Doc: []byte(`{"n":1}`)}},
		Deliveries: []alert.Delivery{{ID: 7, Channel: "mail", Event: notify.Opened, Items: []alert.Item{{Incident: 4999, Occasion: "opened"}}, Title: "ünïcode \\ 😀"}},
		Audit:      []sereno.Audit{{At: 1, Who: "anna"}},
	}
	must(t, s.Promise(t.Context(), &outbox))
	_, err := s.SaveEntry(t.Context(), store.Entry{Kind: "channel", Name: "mail", Doc: []byte("{}"), Sealed: []byte{0, 255}})
	must(t, err)
	_, err = s.UseLink(t.Context(), "once", 1)
	must(t, err)
	must(t, s.PutMaintained(t.Context(), []sereno.Maintained{{Device: 1, Begin: 1, Window: "w"}}))
	want, err := s.Sums(t.Context())
	must(t, err)
	waits, err := s.LoadAlerts(t.Context())
	must(t, err)

	move := func(to string) {
		t.Helper()
		spans := int64(0)
		sums, err := s.Transfer(t.Context(), to, func(table string, rows int64, done bool) {
			if table == "spans" && (rows < spans || done && rows != int64(h.n)) {
				t.Errorf("%d rows of spans after %d, finished: %t", rows, spans, done)
			}
			if table == "spans" {
				spans = rows
			}
		}, slog.New(slog.DiscardHandler))
		must(t, err)
		closeStore(t, s)
		s = openURL(t, to)
		got, err := s.Sums(t.Context())
		must(t, err)
		if !slices.Equal(got, want) || !slices.Equal(sums, want) {
			t.Errorf("at %s the sums are\n%v, told as\n%v, not\n%v", store.Redact(to), got, sums, want)
		}
		must(t, s.CheckInvariants(t.Context()))
		l, err := s.LoadAlerts(t.Context())
		must(t, err)
		if !reflect.DeepEqual(l, waits) || l.Cursor != 2 || len(l.Waiting) != 1 {
			t.Errorf("at %s waits %+v, not %+v", store.Redact(to), l, waits)
		}
	}
	move(server)
	move(home)
	if next := add(t, s, "third"); next.ID != 3 {
		t.Errorf("the third device has the identity %d", next.ID)
	}
	defer s.Close()
	for _, taken := range []string{file, server} {
		_, err := s.Transfer(t.Context(), taken, func(string, int64, bool) {}, slog.New(slog.DiscardHandler))
		refused(t, err, sereno.Conflict)
	}
}

// TestATransferThatBreaksOff leaves nothing, and is begun anew.
func TestATransferThatBreaksOff(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "sereno.db"))
	defer s.Close()
	d := add(t, s, "first")
	h := &history{check: d.Checks[0].ID, begin: d.Checks[0].Created}
	e := h.next(30_000)
	must(t, s.Commit(t.Context(), &ledger.Entry{Closed: e.Closed, Open: e.Open}))
	for i, to := range []string{postgrestest.Database(t), "sqlite:" + filepath.Join(t.TempDir(), "copy.db")} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			_, err := s.Transfer(ctx, to, func(table string, rows int64, _ bool) {
				if table == "spans" && rows > 0 {
					cancel()
				}
			}, slog.New(slog.DiscardHandler))
			if !errors.Is(err, context.Canceled) {
				t.Fatalf("given up, and it says %v", err)
			}
			sums, err := s.Transfer(t.Context(), to, func(string, int64, bool) {}, slog.New(slog.DiscardHandler))
			must(t, err)
			want, err := s.Sums(t.Context())
			must(t, err)
			if !slices.Equal(sums, want) {
				t.Errorf("the sums are %v, not %v", sums, want)
			}
		})
	}
}
