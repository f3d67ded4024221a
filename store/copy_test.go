package store_test

import (
	"database/sql"
	"errors"
	"io/fs"
	"iter"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"sereno"
	"sereno/ledger"
	"sereno/store"
	"sereno/store/postgrestest"
)

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// lived returns the path of a store with devices, spans and incidents.
func lived(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sereno.db")
	s := open(t, path)
	defer closeStore(t, s)
	add(t, s, "a \"quoted\"\nname")
	check := add(t, s, "b").Checks[0].ID
	h := &history{check: check, begin: 1e15}
	e := h.next(5000)
	e.Incidents = []sereno.Incident{{ID: 1, Device: 2, Check: check, Opened: 1e15, Reason: "no reply – süß"}}
	e.Absences = []sereno.Absence{{Begin: 1, End: 2, Cause: sereno.Crash}}
	if err := s.Commit(t.Context(), &e); err != nil {
		t.Fatal(err)
	}
	return path
}

// copyOf restores what from holds at path, put by put, each of at most so many
// rows.
func copyOf(t *testing.T, from *store.Store, path string, most int) error {
	t.Helper()
	var tables []store.Table
	rows := map[string][]store.Row{}
	var schema int64
	err := from.Dump(t.Context(), func(v int64) error { schema = v; return nil }, func(table store.Table, each iter.Seq2[store.Row, error]) error {
		tables = append(tables, table)
		for row, err := range each {
			if err != nil {
				return err
			}
			rows[table.Name] = append(rows[table.Name], slices.Clone(row))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return store.Restore(t.Context(), "sqlite:"+path, schema, func(d *store.Draft) error {
		for _, table := range tables {
			if err := d.Put(t.Context(), table, nil); err != nil {
				return err
			}
			for part := range slices.Chunk(rows[table.Name], most) {
				if err := d.Put(t.Context(), table, part); err != nil {
					return err
				}
			}
		}
		return nil
	}, quiet())
}

func sumsOf(t *testing.T, s *store.Store) []store.Sum {
	t.Helper()
	sums, err := s.Sums(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return sums
}

func TestACopyHoldsTheSame(t *testing.T) {
	from := open(t, lived(t))
	defer closeStore(t, from)
	path := filepath.Join(t.TempDir(), "new", "sereno.db")
	if err := copyOf(t, from, path, 777); err != nil {
		t.Fatal(err)
	}
	to := open(t, path)
	defer closeStore(t, to)
	if got, want := sumsOf(t, to), sumsOf(t, from); !slices.Equal(got, want) {
		t.Errorf("the copy is\n%v\nof\n%v", got, want)
	}
	if err := to.CheckInvariants(t.Context()); err != nil {
		t.Error(err)
	}
	if d := add(t, to, "c"); d.ID != 3 {
		t.Errorf("the copy gives a new device the identity %d", d.ID)
	}
	if err := copyOf(t, from, path, 777); sereno.KindOf(err) != sereno.Conflict {
		t.Errorf("a store that is there already gives %v", err)
	}
}

func TestAFailedCopyLeavesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sereno.db")
	fault := errors.New("the source is gone")
	err := store.Restore(t.Context(), "sqlite:"+path, store.LatestSchema(), func(d *store.Draft) error {
		if err := d.Put(t.Context(), store.Table{Name: "starts", Columns: []string{"at_us", "settled_us", "version"}}, []store.Row{{int64(1), int64(1), "v"}}); err != nil {
			return err
		}
		return fault
	}, quiet())
	if !errors.Is(err, fault) {
		t.Errorf("the error is %v", err)
	}
	if left, err := filepath.Glob(path + "*"); err != nil || !slices.Equal(left, []string{path + ".lock"}) {
		t.Errorf("left are %v, %v", left, err)
	}
	for schema, table := range map[int64]store.Table{
		store.LatestSchema():     {Name: "goose_db_version", Columns: []string{"id"}},
		1:                        {Name: "starts", Columns: []string{"at_us", "settled_us", "version"}},
		2:                        {Name: "starts", Columns: []string{"at_us", "settled_us"}},
		store.LatestSchema() + 1: {Name: "starts", Columns: []string{"at_us", "settled_us", "version"}},
	} {
		err := store.Restore(t.Context(), "sqlite:"+path, schema, func(d *store.Draft) error { return d.Put(t.Context(), table, nil) }, quiet())
		if sereno.KindOf(err) != sereno.Invalid {
			t.Errorf("%v in schema %d gives %v", table, schema, err)
		}
	}
}

// A table that no copy would hold would be missed too late.
func TestEveryTableIsCopied(t *testing.T) {
	path := lived(t)
	s := open(t, path)
	var copied []string
	for _, sum := range sumsOf(t, s) {
		copied = append(copied, sum.Table)
	}
	closeStore(t, s)
	db, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	answer, err := db.Query(`SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%' AND name <> 'goose_db_version'`)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Close()
	for answer.Next() {
		var name string
		if err := answer.Scan(&name); err != nil {
			t.Fatal(err)
		}
		if !slices.Contains(copied, name) {
			t.Errorf("the table %s is in no copy", name)
		}
	}
	if err := answer.Err(); err != nil {
		t.Error(err)
	}
}

func TestASumDoesNotDependOnTheOrder(t *testing.T) {
	table := store.Table{Name: "t", Columns: []string{"a", "b"}}
	row := rapid.Custom(func(t *rapid.T) store.Row {
		return store.Row{rapid.Int64().Draw(t, "a"), rapid.String().Draw(t, "b")}
	})
	sum := func(rows []store.Row) store.Sum {
		s := store.Summer{Table: table}
		for _, r := range rows {
			s.Add(r)
		}
		return s.Sum()
	}
	rapid.Check(t, func(t *rapid.T) {
		rows := rapid.SliceOfN(row, 1, 20).Draw(t, "rows")
		if other := rapid.Permutation(rows).Draw(t, "other order"); sum(rows) != sum(other) {
			t.Fatalf("%v and %v differ", sum(rows), sum(other))
		}
		changed := slices.Clone(rows)
		i := rapid.IntRange(0, len(rows)-1).Draw(t, "changed")
		changed[i] = store.Row{rows[i][0].(int64) + 1, rows[i][1]}
		if sum(rows) == sum(changed) {
			t.Fatalf("another value has the same sum")
		}
	})
}

func TestOpenAsItIsMakesNothing(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "none")
	_, err := store.OpenAsItIs(t.Context(), "sqlite:"+filepath.Join(folder, "sereno.db"), quiet())
	refused(t, err, sereno.NotFound, "there is no store")
	if _, err := os.Lstat(folder); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the folder was made (%v)", err)
	}
}

// What was written by the first release is copied as it is, and brought up to
// date in its new place.
func TestACopyOfAnOlderSchema(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sereno.db")
	device := store.Table{Name: "sequences", Columns: []string{"last", "name"}}
	err := store.Restore(t.Context(), "sqlite:"+path, 1, func(d *store.Draft) error {
		return d.Put(t.Context(), device, []store.Row{{int64(41), "devices"}, {int64(41), "checks"}})
	}, quiet())
	if err != nil {
		t.Fatal(err)
	}
	s := open(t, path)
	defer closeStore(t, s)
	if d := add(t, s, "a"); d.ID != 42 {
		t.Errorf("the next device is %d", d.ID)
	}
	if v, err := s.Schema(t.Context()); err != nil || v != store.LatestSchema() {
		t.Errorf("the schema is %d, %v", v, err)
	}
}

// A store of the second release, with trouble under way: what was open before
// there were revisions comes as a change only when it changes.
func TestTheSecondSchemaWithOpenIncidents(t *testing.T) {
	for _, url := range []string{"sqlite:" + filepath.Join(t.TempDir(), "sereno.db"), postgrestest.Database(t)} {
		put := func(d *store.Draft, name string, columns []string, rows ...store.Row) error {
			return d.Put(t.Context(), store.Table{Name: name, Columns: columns}, rows)
		}
		must(t, store.Restore(t.Context(), url, 2, func(d *store.Draft) error {
			return errors.Join(
				put(d, "sequences", []string{"last", "name"}, store.Row{int64(1), "devices"}, store.Row{int64(1), "checks"}),
				put(d, "devices", []string{"address", "created_us", "deleted_us", "from_file", "id", "importance", "name", "paused", "search", "tags"},
					store.Row{"192.0.2.1", int64(1e15), int64(0), int64(0), int64(1), int64(2), "sw", int64(0), "sw", `["site:plant1"]`}),
				put(d, "checks", []string{"created_us", "deleted_us", "device_id", "fall", "id", "interval_us", "kind", "loss_above", "loss_window_us", "name", "rise", "rtt_above_us", "settings", "timeout_us"},
					store.Row{int64(1e15), int64(0), int64(1), int64(3), int64(1), int64(1e7), "icmp", 0.5, int64(1e8), "icmp", int64(2), int64(0), "", int64(1e6)}),
				put(d, "states", []string{"begin_us", "cause", "check_id", "proof_us", "reason", "status", "uncertainty_us"},
					store.Row{int64(1e15), int64(0), int64(1), int64(1e15), "no reply in 1s", int64(3), int64(0)}),
				put(d, "incidents", []string{"check_id", "closed_us", "device_id", "id", "opened_us", "reason", "trouble", "under_id", "vantage_id"},
					store.Row{int64(1), int64(0), int64(1), int64(8), int64(1e15), "no reply in 1s", int64(0), int64(0), int64(0)},
					store.Row{int64(0), int64(0), int64(0), int64(9), int64(1e15), "cut off", int64(3), int64(0), int64(0)}),
			)
		}, quiet()))
		s := openURL(t, url)
		defer closeStore(t, s)
		if v, err := s.Schema(t.Context()); err != nil || v != store.LatestSchema() {
			t.Errorf("the schema is %d, %v", v, err)
		}
		must(t, s.CheckInvariants(t.Context()))
		open, err := s.OpenIncidents(t.Context())
		must(t, err)
		if len(open) != 2 || open[0].Reason != "no reply in 1s" || open[1].Trouble != sereno.TroubleIsolated || open[1].Subject != "" {
			t.Fatalf("open are %+v", open)
		}
		l, err := s.LoadAlerts(t.Context())
		must(t, err)
		if l.Cursor != 0 || l.Restored != 0 || len(l.Alerts)+len(l.Waiting) != 0 {
			t.Errorf("its outbox holds %+v", l)
		}
		if news, err := s.Changes(t.Context(), 0, 10); err != nil || len(news) != 0 {
			t.Errorf("it tells of %+v (%v)", news, err)
		}
		open[0].Closed = 2e15
		must(t, s.Commit(t.Context(), &ledger.Entry{Incidents: open}))
		news, err := s.Changes(t.Context(), 0, 10)
		must(t, err)
		if len(news) != 1 || news[0].Incident != open[0] || news[0].Device == nil || news[0].Device.Name != "sw" || news[0].Check == nil {
			t.Errorf("it closed, and the changes are %+v", news)
		}
	}
}

// What a damaged backup says may be of any kind, and is met before the damage
// is proven.
func TestARowOfOtherKindsIsRefused(t *testing.T) {
	for _, url := range []string{"sqlite:" + filepath.Join(t.TempDir(), "sereno.db"), postgrestest.Database(t)} {
		table := store.Table{Name: "starts", Columns: []string{"at_us", "settled_us", "version"}}
		err := store.Restore(t.Context(), url, store.LatestSchema(), func(d *store.Draft) error {
			return d.Put(t.Context(), table, []store.Row{{int64(1), int64(1), "1"}, {int64(2), 1.5, "1"}})
		}, slog.New(slog.DiscardHandler))
		if err == nil {
			t.Errorf("%.8s takes it", url)
		}
	}
}
