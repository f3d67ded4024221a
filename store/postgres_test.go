package store_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sereno"
	"sereno/alert"
	"sereno/ledger"
	"sereno/notify"
	"sereno/store"
	"sereno/store/postgrestest"
	"sereno/store/storetest"
)

func TestPostgreSQL(t *testing.T) {
	storetest.Run(t, func(t *testing.T) *store.Store { return openURL(t, postgrestest.Database(t)) })
}

func openURL(tb testing.TB, url string) *store.Store {
	tb.Helper()
	s, err := tryURL(url)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func tryURL(url string) (*store.Store, error) {
	return store.Open(context.Background(), url, slog.New(slog.DiscardHandler))
}

// TestBothEnginesHaveTheSameTables, column by column: what one writes down the
// other can take.
func TestBothEnginesHaveTheSameTables(t *testing.T) {
	shape := func(url string) (text string) {
		s := openURL(t, url)
		defer s.Close()
		err := s.Dump(t.Context(), func(version int64) error {
			text += fmt.Sprintln("schema", version)
			return nil
		}, func(table store.Table, _ iter.Seq2[store.Row, error]) error {
			text += fmt.Sprintln(table.Name, table.Columns)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	file, server := shape("sqlite:"+filepath.Join(t.TempDir(), "sereno.db")), shape(postgrestest.Database(t))
	if file != server {
		t.Errorf("SQLite has\n%s\nPostgreSQL has\n%s", file, server)
	}
}

func TestOneDatabaseOneSereno(t *testing.T) {
	defer store.Patience(time.Minute, 100*time.Millisecond)()
	url := postgrestest.Database(t)
	first := openURL(t, url)
	_, err := tryURL(url)
	refused(t, err, sereno.Conflict, "another sereno (", fmt.Sprintf("pid %d", os.Getpid()), "from 127.0.0.1", "stop it first")
	if strings.Contains(err.Error(), postgrestest.Password) {
		t.Error("the password is told")
	}
	add(t, first, "still works")
	closeStore(t, first)
	closeStore(t, openURL(t, url))
}

// TestAStoreThatLostItsDatabase: when another Sereno took the database over
// while the connection was broken, the first one writes no more.
func TestAStoreThatLostItsDatabase(t *testing.T) {
	defer store.Patience(time.Minute, time.Second)()
	server := postgrestest.Start(t)
	url := server.Database(t)
	first := openURL(t, url)
	defer first.Close()
	add(t, first, "before")
	server.Exec(t, "postgres", `SELECT pg_terminate_backend(l.pid) FROM pg_locks l WHERE l.locktype = 'advisory'`)
	second := openURL(t, url)
	e := ledger.Entry{Absences: []sereno.Absence{{Begin: 1, End: 2}}}
	err := first.Commit(t.Context(), &e)
	if sereno.KindOf(err) == sereno.Unavailable { // now it knows that the connection is broken
		err = first.Commit(t.Context(), &e)
	}
	refused(t, err, sereno.Conflict, "another sereno (")
	if !errors.Is(err, store.ErrAway) {
		t.Errorf("%v is not ErrAway: the entry would be lost", err)
	}
	add(t, second, "after")
	closeStore(t, second)
	add(t, first, "back")
}

func TestDatabasesThatCannotBeUsed(t *testing.T) {
	defer store.Patience(time.Minute, 0)()
	server := postgrestest.Start(t, "max_connections=6", "superuser_reserved_connections=0", "reserved_connections=0")
	good := server.Database(t)
	changed := func(change func(*url.URL)) string {
		u, err := url.Parse(good)
		must(t, err)
		change(u)
		return u.String()
	}
	name := strings.TrimPrefix(changed(func(u *url.URL) { u.Host, u.User = "", nil }), "postgres:///")
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	nobody := closed.Addr().String()
	closed.Close()
	server.Exec(t, "postgres", `CREATE DATABASE bytes ENCODING 'SQL_ASCII' LOCALE_PROVIDER libc LOCALE 'C' TEMPLATE template0`,
		`CREATE DATABASE standby TEMPLATE template0`, `ALTER DATABASE standby SET default_transaction_read_only = on`,
		`CREATE ROLE guest LOGIN PASSWORD 'guest'`)
	newer := server.Database(t)
	closeStore(t, openURL(t, newer))
	server.Exec(t, strings.TrimPrefix(newer[strings.LastIndexByte(newer, '/'):], "/"), `INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, true)`)

	for _, c := range []struct {
		name  string
		url   string
		kind  sereno.Kind
		words []string
	}{
		{"a wrong password", changed(func(u *url.URL) { u.User = url.UserPassword(postgrestest.User, "wrong") }), sereno.Forbidden, []string{`does not let "sereno" in`, "correct the user and the password"}},
		{"an unknown user", changed(func(u *url.URL) { u.User = url.UserPassword("nobody", "x") }), sereno.Forbidden, []string{`does not let "nobody" in`}},
		{"an unknown database", changed(func(u *url.URL) { u.Path = "/nothing" }), sereno.NotFound, []string{`there is no database "nothing"`, `CREATE DATABASE "nothing"`}},
		{"nobody there", changed(func(u *url.URL) { u.Host = nobody }), sereno.Unavailable, []string{nobody, "connection refused", "start PostgreSQL"}},
		{"an unknown host", changed(func(u *url.URL) { u.Host = "db.invalid" }), sereno.Unavailable, []string{"db.invalid", "does not resolve"}},
		{"no TLS", changed(func(u *url.URL) { u.RawQuery = "sslmode=require" }), sereno.Forbidden, []string{"the server speaks no TLS", "sslmode"}},
		{"another encoding", changed(func(u *url.URL) { u.Path = "/bytes" }), sereno.Invalid, []string{"SQL_ASCII", "ENCODING 'UTF8'"}},
		{"read-only", changed(func(u *url.URL) { u.Path = "/standby" }), sereno.Forbidden, []string{"is read-only", "primary"}},
		{"no rights", changed(func(u *url.URL) { u.User = url.UserPassword("guest", "guest") }), sereno.Forbidden, []string{`"guest" may not`, name, "owner"}},
		{"a newer schema", newer, sereno.Invalid, []string{"a newer Sereno (schema 9999"}},
		{"a port that is none", "postgres://sereno:topsecret@127.0.0.1:port/db", sereno.Invalid, []string{"postgres://USER:PASSWORD@HOST:5432/DATABASE"}},
		{"an option that is none", good + "?sslmode=perhaps", sereno.Invalid, []string{"cannot be read"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := tryURL(c.url)
			if err == nil {
				s.Close()
			}
			refused(t, err, c.kind, c.words...)
			for _, secret := range []string{postgrestest.Password, url.PathEscape(postgrestest.Password), "wrong", "topsecret"} {
				if secret != c.name && strings.Contains(err.Error(), secret) {
					t.Errorf("%q tells the password", err)
				}
			}
			if away := errors.Is(err, store.ErrAway); c.kind == sereno.Unavailable && !away {
				t.Errorf("%v is not ErrAway", err)
			}
		})
	}
	t.Run("no connections left", func(t *testing.T) {
		s := openURL(t, good)
		defer s.Close()
		add(t, s, "to be read")
		for range 10 { // more than there are
			next, stop := iter.Pull2(s.AllDevices(t.Context()))
			defer stop()
			next()
		}
		_, err := tryURL(newer)
		refused(t, err, sereno.Unavailable, "no connection left", "max_connections", "database_connections")
	})
	for _, c := range []struct {
		version  int
		readOnly bool
		want     string
	}{{14, false, "PostgreSQL 14, which is too old: Sereno needs 15 or newer"}, {18, true, "is read-only"}, {15, false, ""}} {
		if err := store.JudgeServer(c.version, c.readOnly, "UTF8"); (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("PostgreSQL %d, read-only %t: %v, want %q", c.version, c.readOnly, err, c.want)
		}
	}
}

// TestPostgreSQLAway mistreats a server between commits that must come through
// sooner or later, each once.
func TestPostgreSQLAway(t *testing.T) {
	defer store.Patience(500*time.Millisecond, time.Second)()
	server := postgrestest.Start(t)
	s := openURL(t, server.Database(t))
	defer s.Close()
	d := add(t, s, "watched")
	h := &history{check: d.Checks[0].ID, begin: d.Checks[0].Created}
	commit := func(e *ledger.Entry) error { return s.Commit(t.Context(), e) }
	away := func(e *ledger.Entry, when string) {
		t.Helper()
		err := commit(e)
		if !errors.Is(err, store.ErrAway) || sereno.KindOf(err) != sereno.Unavailable {
			t.Errorf("%s: %v is not ErrAway", when, err)
		}
		if _, err := s.CountDevices(ctxFor(t, 5*time.Second)); !errors.Is(err, store.ErrAway) {
			t.Errorf("%s: reading gives %v, not ErrAway", when, err)
		}
	}
	again := func(e *ledger.Entry) {
		t.Helper()
		for try := 0; ; try++ { // connections that broke are found out one by one
			if err := commit(e); err == nil {
				break
			} else if !errors.Is(err, store.ErrAway) || try > 20 {
				t.Fatal(err)
			}
			time.Sleep(50 * time.Millisecond)
		}
		if n := count(t, s, h.check); n != h.n {
			t.Errorf("%d spans are stored of %d", n, h.n)
		}
		must(t, s.CheckInvariants(t.Context()))
	}
	e := h.next(3)
	must(t, commit(&e))
	for name, end := range map[string]func(){"killed": server.Kill, "stopped": server.Stop} {
		end()
		e = h.next(3)
		away(&e, name)
		server.Start(t)
		again(&e)
	}
	server.Pause(t)
	e = h.next(3)
	away(&e, "standing still")
	server.Resume(t)
	again(&e)

	server.Exec(t, "postgres", `ALTER SYSTEM SET default_transaction_read_only = on`, `SELECT pg_reload_conf()`,
		`SELECT pg_terminate_backend(l.pid) FROM pg_locks l WHERE l.locktype = 'advisory'`)
	e = h.next(3)
	if err := commit(&e); !errors.Is(err, store.ErrAway) {
		t.Errorf("read-only: %v", err)
	}
	server.Stop()
	server.Set(t, "default_transaction_read_only=off")
	server.Start(t)
	again(&e)
}

func ctxFor(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// TestALostAnswer cuts the connection when the server has been told to commit,
// and before its answer arrives: asked again, the same entry changes nothing.
func TestALostAnswer(t *testing.T) {
	address, err := url.Parse(postgrestest.Database(t))
	must(t, err)
	var cut atomic.Bool
	address.Host = between(t, address.Host, &cut)
	s := openURL(t, address.String())
	defer s.Close()
	d := add(t, s, "watched")
	h := &history{check: d.Checks[0].ID, begin: d.Checks[0].Created}
	must(t, s.Tend(t.Context(), h.begin)) // a partition is made by a commit of its own
	for range 5 {
		e := h.next(10)
		e.Incidents = []sereno.Incident{{ID: sereno.IncidentID(h.n), Device: d.ID, Check: h.check, Opened: 1e15, Closed: 1e15 + 1}}
		cut.Store(true)
		if err := s.Commit(t.Context(), &e); !errors.Is(err, store.ErrAway) {
			t.Fatalf("the answer was lost, and the commit says %v", err)
		}
		if n := count(t, s, h.check); n != h.n {
			t.Fatalf("%d spans are stored of %d: the cut came too early to prove anything", n, h.n)
		}
		must(t, s.Commit(t.Context(), &e))
		if n := count(t, s, h.check); n != h.n {
			t.Errorf("%d spans are stored of %d", n, h.n)
		}
		must(t, s.CheckInvariants(t.Context()))
	}
}

// TestALostAnswerToAPromise does the same to the outbox.
func TestALostAnswerToAPromise(t *testing.T) {
	address, err := url.Parse(postgrestest.Database(t))
	must(t, err)
	var cut atomic.Bool
	address.Host = between(t, address.Host, &cut)
	s := openURL(t, address.String())
	defer s.Close()
	var e ledger.Entry
	for i := range 6 {
		e.Incidents = append(e.Incidents, sereno.Incident{ID: sereno.IncidentID(i + 1), Vantage: sereno.VantageID(i), Trouble: sereno.TroubleIsolated, Opened: 1e15})
	}
	must(t, s.Commit(t.Context(), &e))
	var before alert.DeliveryID
	for i := range 5 {
		id := alert.DeliveryID(i + 1)
		tells := []alert.Item{{Incident: sereno.IncidentID(i + 1), Occasion: "opened"}}
		b := alert.Batch{
			Cursor: int64(i + 1), Alerts: []alert.Record{{ID: sereno.IncidentID(i + 1), Doc: []byte(`{}`)}},
			Deliveries: []alert.Delivery{{ID: id, Channel: "mail", Event: notify.Opened, Items: tells}},
			Audit:      []sereno.Audit{{At: sereno.Instant(i + 1), Who: "anna", Action: "comment", Text: "once"}},
		}
		if before != 0 { // the one before travels on in this one
			was, err := s.Delivery(t.Context(), before)
			must(t, err)
			was.State, was.Into, was.SettledAt = alert.Merged, id, 2e15
			b.Deliveries[0].Items = append(b.Deliveries[0].Items, was.Items...)
			b.Deliveries = append(b.Deliveries, was)
		}
		before = id
		cut.Store(true)
		if err := s.Promise(t.Context(), &b); !errors.Is(err, store.ErrAway) {
			t.Fatalf("the answer was lost, and the promise says %v", err)
		}
		first, err := s.LoadAlerts(t.Context())
		must(t, err)
		if first.Cursor != int64(i+1) || len(first.Alerts) != i+1 || len(first.Waiting) != 1 || len(first.Waiting[0].Items) != i+1 {
			t.Fatalf("stored is %+v: the cut came too early to prove anything", first)
		}
		must(t, s.Promise(t.Context(), &b))
		again, err := s.LoadAlerts(t.Context())
		must(t, err)
		if !reflect.DeepEqual(again, first) {
			t.Errorf("stored was\n%+v\nand is\n%+v", first, again)
		}
		if trail, _, err := s.Audits(t.Context(), store.AuditQuery{}); err != nil || len(trail) != i+1 {
			t.Errorf("the audit trail has %d entries after %d (%v)", len(trail), i+1, err)
		}
		must(t, s.CheckInvariants(t.Context()))
	}
}

// between is a wire to a server. When cut is set it passes the next commit on
// and then breaks, without its answer.
func between(t *testing.T, server string, cut *atomic.Bool) (address string) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			client, err := ln.Accept()
			if err != nil {
				return
			}
			to, err := net.Dial("tcp", server)
			if err != nil {
				client.Close()
				continue
			}
			var deaf atomic.Bool
			go func() {
				defer client.Close()
				defer to.Close()
				buffer := make([]byte, 1<<16)
				for {
					n, err := client.Read(buffer)
					if err != nil {
						return
					}
					if bytes.Contains(buffer[:n], []byte("commit\x00")) && cut.CompareAndSwap(true, false) {
						deaf.Store(true)
					}
					if _, err := to.Write(buffer[:n]); err != nil {
						return
					}
				}
			}()
			go func() {
				defer client.Close()
				buffer := make([]byte, 1<<16)
				for {
					n, err := to.Read(buffer)
					if err != nil || deaf.Load() { // the answer is there, so it is done
						return
					}
					if _, err := client.Write(buffer[:n]); err != nil {
						return
					}
				}
			}()
		}
	}()
	return ln.Addr().String()
}

// TestAHalfFinishedMigration kills the server while a step is under way.
func TestAHalfFinishedMigration(t *testing.T) {
	defer store.Patience(time.Minute, time.Second)()
	server := postgrestest.Start(t)
	address := server.Database(t)
	name := address[strings.LastIndexByte(address, '/')+1:]
	enough := errors.New("no more than the tables")
	if err := store.Restore(t.Context(), address, 1, func(*store.Draft) error { return enough }, slog.New(slog.DiscardHandler)); !errors.Is(err, enough) {
		t.Fatal(err)
	}
	if v := server.Query(t, name, `SELECT max(version_id)::text FROM goose_db_version`); v != "1" {
		t.Fatalf("the schema is %s, not 1", v)
	}
	release := server.Hold(t, name, `LOCK TABLE checks IN ACCESS EXCLUSIVE MODE`) // the second step reads it
	opened := make(chan error, 1)
	go func() {
		s, err := tryURL(address)
		if err == nil {
			s.Close()
		}
		opened <- err
	}()
	for server.Query(t, name, `SELECT count(*)::text FROM pg_stat_activity WHERE wait_event_type = 'Lock'`) == "0" {
		time.Sleep(10 * time.Millisecond)
	}
	server.Kill()
	release()
	if err := <-opened; !errors.Is(err, store.ErrAway) {
		t.Errorf("killed within a step: %v", err)
	}
	server.Start(t)
	if n := server.Query(t, name, `SELECT count(*)::text FROM pg_class WHERE relname = 'policies'`); n != "0" {
		t.Error("half a step is there")
	}
	s := openURL(t, address)
	defer s.Close()
	if v, err := s.Schema(t.Context()); err != nil || v != store.LatestSchema() {
		t.Errorf("the schema is %d (%v), not %d", v, err, store.LatestSchema())
	}
	add(t, s, "works")
}

func TestMonths(t *testing.T) {
	address := postgrestest.Database(t)
	s := openURL(t, address)
	defer s.Close()
	now := sereno.At(time.Now())
	tables := func() (list []string) {
		t.Helper()
		found, err := s.Partitions(t.Context())
		must(t, err)
		for i, p := range found {
			if p.Table != fmt.Sprintf("spans_%s", p.From.Time().Format("2006_01")) || p.To.Time() != p.From.Time().AddDate(0, 1, 0) || i > 0 && found[i-1].To > p.From {
				t.Errorf("partition %s is for [%s, %s)", p.Table, p.From, p.To)
			}
			list = append(list, strings.TrimPrefix(p.Table, "spans_"))
		}
		return list
	}
	month := func(n int) string {
		at := now.Time()
		return time.Date(at.Year(), at.Month()+time.Month(n), 1, 0, 0, 0, 0, time.UTC).Format("2006_01")
	}
	ahead := []string{month(0), month(1), month(2), month(3)}
	if got := tables(); !slices.Equal(got, ahead) {
		t.Fatalf("a new store has the months %v, not %v", got, ahead)
	}
	must(t, s.Tend(t.Context(), sereno.At(now.Time().AddDate(0, 1, 0))))
	if got := tables(); !slices.Contains(got, month(4)) {
		t.Errorf("a month later there are %v", got)
	}

	// Spans of long ago and of another age find their place, on both sides of
	// a month's end.
	d := add(t, s, "old") // lives since 2001-09-09
	begin, turn := d.Checks[0].Created, sereno.At(time.Date(2001, 10, 1, 0, 0, 0, 0, time.UTC))
	far := sereno.At(time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC))
	e := ledger.Entry{Open: []sereno.Span{{Check: d.Checks[0].ID, Status: sereno.Up, Begin: far, Proof: far}}}
	for _, end := range []sereno.Instant{begin + 1, turn - 1, turn, turn + 1, far} {
		e.Closed = append(e.Closed, sereno.Span{Check: d.Checks[0].ID, Status: sereno.Up, Begin: begin, End: end, Proof: begin})
		begin = end
	}
	must(t, s.Commit(t.Context(), &e))
	must(t, s.CheckInvariants(t.Context()))
	if got := tables(); !slices.Equal(got[:2], []string{"2001_09", "2001_10"}) || got[len(got)-1] != "9999_12" {
		t.Errorf("the months are %v", got)
	}
	drain := func(want int) {
		t.Helper()
		n := 0
		for _, err := range s.Spans(t.Context(), d.Checks[0].ID, 0, far+1) {
			must(t, err)
			n++
		}
		if n != want {
			t.Errorf("%d spans, not %d", n, want)
		}
	}
	drain(6)

	// What ended before is dropped, a month at a time.
	dropped, err := s.DropBefore(t.Context(), turn+1)
	must(t, err)
	if len(dropped) != 1 || dropped[0].Table != "spans_2001_09" || dropped[0].To != turn {
		t.Errorf("dropped %v", dropped)
	}
	drain(4)

	// Dropping that was given up halfway is finished the next time.
	db, err := sql.Open("pgx", address)
	must(t, err)
	defer db.Close()
	reading, err := db.BeginTx(t.Context(), nil)
	must(t, err)
	_, err = reading.Exec(`SELECT count(*) FROM spans`)
	must(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	november := sereno.At(time.Date(2001, 11, 1, 0, 0, 0, 0, time.UTC))
	if _, err := s.DropBefore(ctx, november); err == nil {
		t.Error("a partition was dropped while somebody read it")
	}
	must(t, reading.Rollback())
	_, err = s.DropBefore(t.Context(), november)
	must(t, err)
	if got := tables(); got[0] != month(0) {
		t.Errorf("the months are %v", got)
	}
	drain(2)
	// And if it comes again, it has its place again.
	again := ledger.Entry{Closed: []sereno.Span{{Check: d.Checks[0].ID, Status: sereno.Up, Begin: turn - 5, End: turn, Proof: turn - 5}}}
	must(t, s.Commit(t.Context(), &again))
	drain(3)
}

// TestNoRoomForAMonth says so, once, and that it is over.
func TestNoRoomForAMonth(t *testing.T) {
	server := postgrestest.Start(t)
	address := server.Database(t)
	name := address[strings.LastIndexByte(address, '/')+1:]
	s := openURL(t, address)
	defer s.Close()
	// A table of somebody else's stands in the way of a month to come.
	later := sereno.At(time.Now().AddDate(0, 1, 0))
	table := "spans_" + later.Time().AddDate(0, 0, 1-later.Time().Day()).AddDate(0, 3, 0).Format("2006_01")
	server.Exec(t, name, `CREATE TABLE `+table+` (something TEXT)`)
	err := s.Tend(t.Context(), later)
	if err == nil || !strings.Contains(err.Error(), table) {
		t.Errorf("%v does not mention %s", err, table)
	}
	server.Exec(t, name, `DROP TABLE `+table)
	must(t, s.Tend(t.Context(), later))
}
