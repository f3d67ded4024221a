package store_test

import (
	"database/sql"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"sereno"
	"sereno/alert"
	"sereno/ledger"
	"sereno/notify"
	"sereno/store/postgrestest"
)

// TestViews reads what is there for people who read the database themselves.
func TestViews(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "sereno.db")
		views(t, "sqlite:"+path, "sqlite", "file:"+path)
	})
	t.Run("postgres", func(t *testing.T) {
		url := postgrestest.Database(t)
		views(t, url, "pgx", url)
	})
}

func views(t *testing.T, url, driver, dsn string) {
	s := openURL(t, url)
	defer s.Close()
	db, err := sql.Open(driver, dsn)
	must(t, err)
	defer db.Close()
	icmp := sereno.Check{Name: "icmp", Kind: "icmp", Policy: sereno.DefaultPolicy}
	now := sereno.At(time.Now()) // the open spans of a view last until then
	ago := func(d time.Duration) sereno.Instant { return now.Add(-d).Grid() }
	added, err := s.AddDevices(t.Context(), []sereno.Device{
		{Name: "sw", Address: "192.0.2.1", Importance: sereno.Critical, Checks: []sereno.Check{icmp, {Name: "second", Kind: "icmp", Policy: sereno.DefaultPolicy}}},
		{Name: "gone", Address: "192.0.2.2", Checks: []sereno.Check{icmp}},
		{Name: "quiet", Address: "192.0.2.3", Checks: []sereno.Check{icmp}},
	}, ago(3*time.Hour))
	must(t, err)
	first, second := added[0].Checks[0].ID, added[0].Checks[1].ID
	must(t, s.Commit(t.Context(), &ledger.Entry{
		Closed: []sereno.Span{
			{Check: first, Cause: sereno.CauseNew, Begin: ago(3 * time.Hour), End: ago(2 * time.Hour), Proof: ago(3 * time.Hour)},
			{Check: first, Status: sereno.Down, Begin: ago(2 * time.Hour), End: ago(time.Hour), Proof: ago(2 * time.Hour), Uncertainty: 1500 * time.Millisecond, Reason: "no reply in 1s"},
		},
		Open: []sereno.Span{
			{Check: first, Status: sereno.Up, Begin: ago(time.Hour), Proof: ago(time.Hour)},
			{Check: second, Status: sereno.Down, Cause: sereno.CauseBehindParent, Begin: ago(3 * time.Hour), Proof: ago(3 * time.Hour)},
		},
		Incidents: []sereno.Incident{
			{ID: 1, Device: added[0].ID, Check: second, Opened: ago(3 * time.Hour)},
			{ID: 2, Trouble: sereno.TroubleChannel, Subject: "phone", Opened: ago(3 * time.Hour), Reason: "it answers 500"},
		},
	}))
	first1, second2 := alert.Item{Incident: 1, Occasion: "opened"}, alert.Item{Incident: 2, Occasion: "opened"}
	must(t, s.Promise(t.Context(), &alert.Batch{Deliveries: []alert.Delivery{
		{ID: 1, Channel: "mail", Event: notify.Opened, Items: []alert.Item{first1}, State: alert.Merged, Into: 2, Promised: ago(3 * time.Hour), SettledAt: ago(2 * time.Hour)},
		{ID: 2, Channel: "mail", Event: notify.Digest, Items: []alert.Item{first1, second2, {Incident: 2, Occasion: "closed"}}, Promised: ago(2 * time.Hour)},
		{ID: 3, Channel: "mail", Event: notify.Test, State: alert.Delivered, Promised: ago(time.Hour), SettledAt: ago(time.Hour)},
	}}))
	_, err = s.RemoveDevice(t.Context(), added[1].ID, ago(time.Hour))
	must(t, err)

	for _, c := range []struct {
		query string
		want  [][]any
	}{
		{
			`SELECT device, address, check_name, kind, status, cause, round(downtime_seconds), round(seconds), reason, uncertainty_seconds FROM ip_ping_status ORDER BY check_id, begin_us`,
			[][]any{
				{"sw", "192.0.2.1", "icmp", "icmp", "unknown", "new", 0, 3600, "", 0},
				{"sw", "192.0.2.1", "icmp", "icmp", "down", "look", 3600, 3600, "no reply in 1s", 1.5},
				{"sw", "192.0.2.1", "icmp", "icmp", "up", "look", 0, 3600, "", 0},
				{"sw", "192.0.2.1", "second", "icmp", "down", "behind_parent", 10800, 10800, "", 0},
				{"gone", "192.0.2.2", "icmp", "icmp", "unknown", "new", 0, 7200, "", 0},
				{"quiet", "192.0.2.3", "icmp", "icmp", "unknown", "new", 0, 10800, "", 0},
			},
		},
		{
			`SELECT device, status, round(seconds), reason, paused FROM live_ping_status ORDER BY device_id`,
			[][]any{{"sw", "up", 3600, "", 0}, {"quiet", "unknown", 10800, "", 0}},
		},
		{
			`SELECT device, importance, tags, status, checks, checks_up, checks_degraded, checks_down, checks_unknown, open_incidents FROM device_current_status ORDER BY device_id`,
			[][]any{{"sw", "critical", "[]", "degraded", 2, 1, 0, 1, 0, 1}, {"quiet", "medium", "[]", "unknown", 1, 0, 0, 0, 1, 0}},
		},
		{
			`SELECT device, looks, lost, lost_percent, rtt_min_ms, rtt_avg_ms, outages, round(downtime_seconds) FROM device_statistics ORDER BY device_id`,
			[][]any{{"sw", 0, 0, nil, nil, nil, 2, 14400}, {"quiet", 0, 0, nil, nil, nil, 0, 0}},
		},
		{`SELECT device, address, check_name, measure, expected, seen, score, since, reason FROM active_anomalies`, nil},
		{
			`SELECT delivery, channel, event, step, state, merged_into, incident, occasions, device, check_name, trouble, subject, reason FROM alert_deliveries ORDER BY delivery, incident`,
			[][]any{
				{1, "mail", "opened", 1, "merged", 2, 1, "opened", "sw", "second", "down", nil, ""},
				{2, "mail", "digest", 1, "waiting", nil, 1, "opened", "sw", "second", "down", nil, ""},
				{2, "mail", "digest", 1, "waiting", nil, 2, "closed, opened", nil, nil, "channel", "phone", "it answers 500"},
				{3, "mail", "test", 1, "delivered", nil, nil, nil, nil, nil, nil, nil, nil},
			},
		},
	} {
		if got, want := answer(t, db, c.query), plainly(c.want); got != want {
			t.Errorf("%s:\n%s\nwant\n%s", c.query, got, want)
		}
	}
	if _, err := db.Exec(`INSERT INTO days (check_id, day, looks, lost, rtt_min_us, rtt_avg_us, rtt_p50_us, rtt_p95_us, rtt_p99_us, rtt_max_us)
		VALUES ($1, 20000, 10, 1, 1000, 3000, 2000, 2000, 2000, 5000), ($2, 20000, 10, 10, 0, 0, 0, 0, 0, 0)`, int64(first), int64(second)); err != nil {
		t.Fatal(err)
	}
	got := answer(t, db, `SELECT looks, lost, lost_percent, rtt_min_ms, rtt_avg_ms, rtt_max_ms FROM device_statistics WHERE device = 'sw'`)
	if want := plainly([][]any{{20, 11, 55, 1, 3, 5}}); got != want {
		t.Errorf("with looks:\n%s\nwant\n%s", got, want)
	}
	// Moments that a person can read, to the millisecond on both engines.
	text := "begin_at"
	if driver == "pgx" {
		text = `to_char(begin_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`
	}
	for _, from := range []string{`ip_ping_status WHERE device = 'sw' AND status = 'up'`, `alert_deliveries WHERE delivery = 3`} {
		column := text
		if strings.HasPrefix(from, "alert") {
			column = strings.ReplaceAll(text, "begin_at", "promised_at")
		}
		got = answer(t, db, `SELECT `+column+` FROM `+from)
		if want := ago(time.Hour).Time().Format("2006-01-02T15:04:05.000Z"); got != want+"\n" {
			t.Errorf("an hour ago is %s in %s, not %s", got, from, want)
		}
	}
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// answer is what a query gives, a line each row.
func answer(t *testing.T, db *sql.DB, query string) string {
	t.Helper()
	found, err := db.Query(query)
	must(t, err)
	defer found.Close()
	columns, err := found.Columns()
	must(t, err)
	var list [][]any
	for found.Next() {
		row, into := make([]any, len(columns)), make([]any, len(columns))
		for i := range row {
			into[i] = &row[i]
		}
		must(t, found.Scan(into...))
		list = append(list, row)
	}
	must(t, found.Err())
	return plainly(list)
}

// plainly writes rows so that 1, 1.0 and "1" are alike.
func plainly(rows [][]any) string {
	var b strings.Builder
	for _, row := range rows {
		for i, v := range row {
			if i > 0 {
				b.WriteString(" | ")
			}
			text := fmt.Sprint(v)
			if bytes, ok := v.([]byte); ok {
				text = string(bytes)
			}
			if n, err := strconv.ParseFloat(text, 64); err == nil {
				text = strconv.FormatFloat(n, 'g', -1, 64)
			}
			b.WriteString(text)
		}
		b.WriteString("\n")
	}
	return b.String()
}
