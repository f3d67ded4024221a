package store_test

import (
	"database/sql"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sereno"
	"sereno/ledger"
	"sereno/store"
)

// TestAReadingThatLiesIsFound plants one fault at a time in a store with a few
// readings.
func TestAReadingThatLiesIsFound(t *testing.T) {
	for _, plant := range []string{
		"UPDATE meters SET up_us = up_us + 1 WHERE at_us = (SELECT max(at_us) FROM meters)",
		"UPDATE meters SET outages = outages + 1 WHERE at_us = (SELECT min(at_us) FROM meters)",
		"UPDATE meters SET ailing = 1 - ailing WHERE at_us = (SELECT max(at_us) FROM meters)",
		"UPDATE spans SET end_us = end_us - 1, begin_us = begin_us - 1 WHERE status = 3",
		"INSERT INTO meters SELECT check_id, at_us + 36000000000, up_us, degraded_us, down_us, behind_us, unknown_us, paused_us, outages, ailing FROM meters ORDER BY at_us DESC LIMIT 1",
	} {
		path := filepath.Join(t.TempDir(), "sereno.db")
		s := open(t, path)
		check := add(t, s, "a").Checks[0].ID
		e := ledger.Entry{}
		at := sereno.Instant(1e15)
		for i := range 50 {
			end := at.Add(100 * time.Minute)
			e.Closed = append(e.Closed, sereno.Span{Check: check, Status: sereno.Status(i % 2 * 3), Begin: at, End: end, Proof: at})
			at = end
		}
		e.Open = []sereno.Span{{Check: check, Status: sereno.Up, Begin: at, Proof: at}}
		if err := s.Commit(t.Context(), &e); err != nil {
			t.Fatal(err)
		}
		if err := s.ReadMeters(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := s.CheckMeters(t.Context()); err != nil {
			t.Fatal(err)
		}
		db, err := sql.Open("sqlite", "file:"+path)
		if err != nil {
			t.Fatal(err)
		}
		changed, err := db.Exec(plant)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := changed.RowsAffected(); n == 0 || err != nil {
			t.Fatalf("%s changes nothing (%v)", plant, err)
		}
		db.Close()
		if err := s.CheckMeters(t.Context()); sereno.KindOf(err) != sereno.Internal || err == nil || !strings.Contains(err.Error(), "check 1 at ") {
			t.Errorf("%s: %v", plant, err)
		}
		closeStore(t, s)
	}
}

// TestWhatIsCutOffCountsNoMore: spans go slowly after a cut, and those that are
// still there say nothing any more.
func TestWhatIsCutOffCountsNoMore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sereno.db")
	s := open(t, path)
	defer closeStore(t, s)
	check := add(t, s, "a").Checks[0].ID
	begin := sereno.Instant(1e15)
	var e ledger.Entry
	for i, status := range []sereno.Status{sereno.Down, sereno.Up, sereno.Down, sereno.Unknown, sereno.Down} {
		span := sereno.Span{Check: check, Status: status, Begin: begin.Add(time.Duration(i) * time.Hour), End: begin.Add(time.Duration(i+1) * time.Hour)}
		if i == 4 {
			span.End = 0
			e.Open = append(e.Open, span)
			break
		}
		e.Closed = append(e.Closed, span)
	}
	if err := s.Commit(t.Context(), &e); err != nil {
		t.Fatal(err)
	}
	cut, to := begin.Add(3*time.Hour+30*time.Minute), begin.Add(6*time.Hour)
	db, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec("INSERT INTO cuts VALUES ('spans', $1)", int64(cut)); err != nil {
		t.Fatal(err)
	}
	for _, from := range []sereno.Instant{begin, begin.Add(90 * time.Minute), begin.Add(150 * time.Minute), cut} {
		got, err := s.Tallies(t.Context(), []sereno.CheckID{check}, []store.Window{{From: from, To: to}})
		if err != nil {
			t.Fatal(err)
		}
		if f := got[0][0]; f.Outages != 1 || f.Down != 2*time.Hour {
			t.Errorf("from %v: %d outages of %v", from.Sub(begin), f.Outages, f.Down)
		}
	}
}
