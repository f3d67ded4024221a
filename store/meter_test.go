package store_test

import (
	"database/sql"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sereno"
	"sereno/ledger"
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
