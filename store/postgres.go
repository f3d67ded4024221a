package store

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"

	"sereno"
	"sereno/ledger"
)

// How long a server may be silent. A transaction that writes is given up then,
// since nothing else would notice a server that stands still: it keeps its
// connections open.
var writePatience = time.Minute

// lockPatience is how long a start waits for the one before it, of which the
// server may not know yet that it has ended.
var lockPatience = 10 * time.Second

const (
	// postgresLock is the first half of the advisory lock; the other half is
	// the schema, so that one database may hold several stores.
	postgresLock = 0x5352_4e4f // "SRNO"

	postgresOldest      = 15
	postgresConnections = 10

	connectPatience = 5 * time.Second
	readPatience    = 5 * time.Minute
)

// A postgres is a PostgreSQL database with a store in it.
type postgres struct {
	where  string          // "127.0.0.1:5432/sereno"
	config *pgx.ConnConfig // of the connection that writes
	log    *slog.Logger
	pool   *pgxpool.Pool // of those that read
	months months
}

// openPostgres connects to a database and brings its schema up to date.
//
// The one connection that writes holds an advisory lock as long as it lives. So
// whoever can write has the lock: when the connection breaks and another Sereno
// takes the lock meanwhile, this one cannot write any more, and says why.
func openPostgres(ctx context.Context, url string, version int64, o options, log *slog.Logger) (*Store, error) {
	p, err := newPostgres(url, o, log)
	if err != nil {
		return nil, err
	}
	s := &Store{
		writer:   stdlib.OpenDB(*p.config, stdlib.OptionAfterConnect(p.take), stdlib.OptionShouldPing(alive)),
		reader:   stdlib.OpenDBFromPool(p.pool),
		explain:  p.explain,
		release:  func() error { p.pool.Close(); return nil },
		log:      log,
		postgres: p,
	}
	s.writer.SetMaxOpenConns(1)
	s.writer.SetMaxIdleConns(1)
	s.reader.SetMaxOpenConns(int(p.pool.Config().MaxConns))
	err = p.first(ctx, s.writer)
	if err == nil {
		err = migrate(ctx, goose.DialectPostgres, s.writer, version, log)
	}
	if err == nil && version == latest {
		err = p.months.load(ctx, s.writer)
	}
	if err == nil && version == latest {
		err = s.Tend(ctx, sereno.At(time.Now()))
	}
	if err != nil {
		s.Close()
		return nil, s.failed("open the store at "+p.where, err)
	}
	return s, nil
}

func newPostgres(url string, o options, log *slog.Logger) (*postgres, error) {
	pool, err := pgxpool.ParseConfig(url)
	if err != nil {
		// Not its text: that may repeat a password it did not recognise.
		return nil, sereno.Errorf(sereno.Invalid, "the address of the database cannot be read: write it as postgres://USER:PASSWORD@HOST:5432/DATABASE, with %% escapes for what means something in it (such as %%40 for @)")
	}
	c := pool.ConnConfig
	p := &postgres{where: net.JoinHostPort(c.Host, strconv.Itoa(int(c.Port))) + "/" + c.Database, log: log}
	if c.ConnectTimeout == 0 || c.ConnectTimeout > time.Minute {
		c.ConnectTimeout = connectPatience
	}
	c.DialFunc = (&net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3}}).DialContext
	host, _ := os.Hostname()
	setting := func(c *pgx.ConnConfig, name, value string) {
		if _, given := c.RuntimeParams[name]; !given {
			c.RuntimeParams[name] = value
		}
	}
	// The name says to a person who it is, and to ourselves that it is us.
	c.RuntimeParams["application_name"] = fmt.Sprintf("sereno %s pid %d on %.20s", strings.ToLower(rand.Text()[:8]), os.Getpid(), host)
	setting(c, "timezone", "UTC")
	// The server is to notice soon that this machine has lost its power, since
	// the next start needs the lock.
	setting(c, "tcp_keepalives_idle", "15")
	setting(c, "tcp_keepalives_interval", "5")
	setting(c, "tcp_keepalives_count", "3")
	setting(c, "idle_in_transaction_session_timeout", milliseconds(readPatience))

	p.config = c.Copy()
	setting(p.config, "statement_timeout", milliseconds(writePatience))
	setting(p.config, "lock_timeout", milliseconds(writePatience/2))
	setting(p.config, "work_mem", "16MB") // a handful of rows
	setting(c, "statement_timeout", milliseconds(readPatience))
	c.RuntimeParams["default_transaction_read_only"] = "on"
	// The texts are few and their plans are an index each: to plan a query
	// over all partitions takes longer than to answer it.
	setting(c, "plan_cache_mode", "force_generic_plan")
	c.StatementCacheCapacity = 256
	pool.PingTimeout = connectPatience

	if !strings.Contains(url, "pool_max_conns") {
		pool.MaxConns = int32(max(2, cmp.Or(o.connections, postgresConnections)-1)) //nolint:gosec // 10 to 30
	}
	// It connects when somebody asks.
	p.pool, err = pgxpool.NewWithConfig(context.Background(), pool)
	if err != nil {
		return nil, sereno.Errorf(sereno.Invalid, "the address of the database asks for what cannot be: %v", err)
	}
	return p, nil
}

func milliseconds(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

// first makes the first connection. It waits a little for the lock, and for
// nothing else.
func (p *postgres) first(ctx context.Context, writer *sql.DB) error {
	for deadline, told := time.Now().Add(lockPatience), false; ; {
		err := writer.PingContext(ctx)
		if sereno.KindOf(err) != sereno.Conflict || time.Now().After(deadline) {
			return err
		}
		if !told {
			told = true
			p.log.WarnContext(ctx, "waiting a moment for the database to be let go", "why", err.Error())
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(250 * time.Millisecond):
		}
	}
}

// take makes a new connection the one that writes, or closes it.
func (p *postgres) take(ctx context.Context, conn *pgx.Conn) error {
	err := p.suits(ctx, conn)
	if err == nil {
		err = p.lock(ctx, conn)
	}
	if err != nil {
		conn.Close(ctx)
	}
	return err
}

// suits tells whether a store can be in the database at all.
func (p *postgres) suits(ctx context.Context, conn *pgx.Conn) error {
	var version int
	var readOnly, encoding string
	err := conn.QueryRow(ctx, `SELECT current_setting('server_version_num')::int / 10000, current_setting('transaction_read_only'), current_setting('server_encoding')`).
		Scan(&version, &readOnly, &encoding)
	if err != nil {
		return err
	}
	return p.judge(version, readOnly == "on", encoding)
}

func (p *postgres) judge(version int, readOnly bool, encoding string) error {
	switch {
	case version < postgresOldest:
		return unusable(sereno.Invalid, nil, "the server at %s is PostgreSQL %d, which is too old: Sereno needs %d or newer", p.where, version, postgresOldest)
	case encoding != "UTF8":
		return unusable(sereno.Invalid, nil, "the database at %s keeps texts as %s: make one with ENCODING 'UTF8' for Sereno", p.where, encoding)
	case readOnly:
		return unusable(sereno.Forbidden, nil, "the database at %s is read-only (a standby, or default_transaction_read_only): give the address of the primary", p.where)
	}
	return nil
}

// lock takes the advisory lock for the life of a connection. Who has it already
// may be a connection of our own that broke, of which the server does not know
// yet: that is ended.
func (p *postgres) lock(ctx context.Context, conn *pgx.Conn) error {
	const schema = `hashtext(coalesce(current_schema(), ''))`
	for ended := false; ; {
		var ours bool
		if err := conn.QueryRow(ctx, `SELECT pg_try_advisory_lock($1::int, `+schema+`)`, int32(postgresLock)).Scan(&ours); err != nil || ours {
			return err
		}
		var pid int64
		var name, address string
		err := conn.QueryRow(ctx, `SELECT a.pid, coalesce(a.application_name, ''), coalesce(host(a.client_addr), 'a socket of the server') FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
			WHERE l.locktype = 'advisory' AND l.granted AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
			AND l.classid = $1::bigint::oid AND l.objid = (`+schema+`::bigint & 4294967295)::oid`, int64(postgresLock)).Scan(&pid, &name, &address)
		switch {
		case errors.Is(err, pgx.ErrNoRows):
			continue // let go meanwhile
		case err != nil:
			return err
		case name != p.config.RuntimeParams["application_name"]:
			return unusable(sereno.Conflict, nil, "another sereno (%s, from %s) already uses the database at %s: stop it first, or give this one a database of its own", cmp.Or(strings.TrimPrefix(name, "sereno "), "nameless"), address, p.where)
		case !ended:
			ended = true
			if _, err := conn.Exec(ctx, `SELECT pg_terminate_backend($1::int)`, pid); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// alive asks a connection that was idle whether it still works, and closes it
// if it does not answer; the driver then finds that out. It would ask by itself,
// but wait for ever.
func alive(ctx context.Context, p stdlib.ShouldPingParams) (askAgain bool) {
	if p.IdleDuration < time.Second {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, min(connectPatience, writePatience))
	defer cancel()
	if err := p.Conn.Ping(ctx); err != nil {
		p.Conn.Close(ctx)
		return true
	}
	return false
}

// guard closes a connection that is still in use after a while. The texts of a
// transaction run without a deadline of their own.
func guard(conn *sql.Conn, patience time.Duration) (stop func(), err error) {
	var wire net.Conn
	err = conn.Raw(func(c any) error {
		wire = c.(*stdlib.Conn).Conn().PgConn().Conn()
		return nil
	})
	if err != nil {
		return nil, err
	}
	timer := time.AfterFunc(patience, func() { wire.Close() })
	return func() { timer.Stop() }, nil
}

// An unreachable error says why the database cannot be used now. Its kind says
// whether that may pass by itself (Unavailable) or somebody has to act.
type unreachable struct {
	why   *sereno.Error
	cause error // may be nil
}

func (u unreachable) Error() string { return u.why.Text }

// Unwrap implements the tree of errors: the kind is found first.
func (u unreachable) Unwrap() []error {
	if u.cause == nil {
		return []error{u.why, ErrAway}
	}
	return []error{u.why, ErrAway, u.cause}
}

func unusable(kind sereno.Kind, cause error, format string, args ...any) error {
	return unreachable{&sereno.Error{Kind: kind, Text: fmt.Sprintf(format, args...)}, cause}
}

// explain makes sentences of what PostgreSQL said, and of its silence. See
// https://www.postgresql.org/docs/current/errcodes-appendix.html.
func (p *postgres) explain(err error) error {
	if err == nil || sereno.KindOf(err) != sereno.Internal || errors.Is(err, context.Canceled) {
		return err
	}
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return p.said(e, err)
	}
	if name, ok := errors.AsType[*net.DNSError](err); ok {
		return unusable(sereno.Unavailable, err, "the database at %s cannot be reached, the name %s does not resolve: correct it, or mend the resolver", p.where, name.Name)
	}
	if text, ok := untrusted(err); ok {
		return unusable(sereno.Forbidden, err, "the connection to the database at %s cannot be made safe (%s): correct sslmode and sslrootcert in its address, or the server's certificate", p.where, text)
	}
	_, connecting := errors.AsType[*pgconn.ConnectError](err)
	_, network := errors.AsType[net.Error](err)
	for _, lost := range []error{sql.ErrConnDone, pgconn.ErrConnClosed, net.ErrClosed, context.DeadlineExceeded, driver.ErrBadConn, io.ErrUnexpectedEOF, io.EOF} {
		network = network || errors.Is(err, lost)
	}
	if connecting || network || pgconn.Timeout(err) {
		return unusable(sereno.Unavailable, err, "the database at %s cannot be reached (%s): start PostgreSQL there, or correct the address", p.where, briefly(err))
	}
	return err
}

// stale reports whether an established connection turned out to be broken, and
// lets go of all others that are idle: they will be broken, too.
func (p *postgres) stale(err error) bool {
	if _, connecting := errors.AsType[*pgconn.ConnectError](err); connecting {
		return false
	}
	if err = p.explain(err); !errors.Is(err, ErrAway) || sereno.KindOf(err) != sereno.Unavailable || errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	if e, ok := errors.AsType[*pgconn.PgError](err); ok && e.Code == "57014" { // it took too long; a second time, too
		return false
	}
	p.pool.Reset()
	return true
}

// said explains what the server itself answered.
func (p *postgres) said(e *pgconn.PgError, err error) error {
	switch e.Code {
	case "28P01", "28000": // invalid_password, invalid_authorization_specification
		return unusable(sereno.Forbidden, err, "the database at %s does not let %q in (%s): correct the user and the password, or pg_hba.conf of the server", p.where, p.config.User, e.Message)
	case "3D000": // invalid_catalog_name
		return unusable(sereno.NotFound, err, "there is no database %q on the server at %s: make it (CREATE DATABASE %s), or correct the name", p.config.Database, p.where, pgx.Identifier{p.config.Database}.Sanitize())
	case "3F000": // invalid_schema_name
		return sereno.Errorf(sereno.Invalid, "there is no schema for the tables in the database at %s: make it (CREATE SCHEMA), or correct search_path", p.where)
	case "42501": // insufficient_privilege
		return sereno.Errorf(sereno.Forbidden, "%q may not do this in the database at %s (%s): make it the owner of the database", p.config.User, p.where, e.Message)
	case "25006": // read_only_sql_transaction
		return unusable(sereno.Forbidden, err, "the database at %s is read-only (a standby, or default_transaction_read_only): give the address of the primary", p.where)
	case "53100": // disk_full
		return fmt.Errorf("the database at %s cannot grow, %w: make room there", p.where, ErrFull)
	case "53300": // too_many_connections
		return unusable(sereno.Unavailable, err, "the server at %s has no connection left: raise its max_connections, or lower database_connections here", p.where)
	case "57014": // query_canceled
		return unusable(sereno.Unavailable, err, "the database at %s took too long (%s)", p.where, e.Message)
	case "55P03": // lock_not_available
		return unusable(sereno.Unavailable, err, "the database at %s is held up by another session (%s): look into pg_stat_activity who holds a lock", p.where, e.Message)
	case "57P01", "57P02", "57P03", "57P04", "57P05", "25P03": // shutting down, crashed, starting up, dropped, idle for too long
		return unusable(sereno.Unavailable, err, "the database at %s cannot be used just now (%s)", p.where, e.Message)
	}
	switch e.Code[:2] {
	case "08", "53": // connection exception, insufficient resources
		return unusable(sereno.Unavailable, err, "the database at %s cannot be used just now (%s)", p.where, e.Message)
	case "40": // transaction rollback: deadlock, serialisation
		return unusable(sereno.Unavailable, err, "the database at %s undid a transaction (%s)", p.where, e.Message)
	}
	return err
}

// untrusted says what is wrong with the safety of a connection, if that is why
// it failed.
func untrusted(err error) (string, bool) {
	if e, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return e.Err.Error(), true
	}
	if e, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return e.Error(), true
	}
	if e, ok := errors.AsType[tls.AlertError](err); ok {
		return e.Error(), true
	}
	if e, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return e.Error(), true
	}
	// pgx has no type for it.
	if strings.Contains(err.Error(), "server refused TLS connection") {
		return "the server speaks no TLS", true
	}
	return "", false
}

// briefly is the innermost reason, on one line.
func briefly(err error) string {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		err = op.Err
	}
	if sys, ok := errors.AsType[*os.SyscallError](err); ok {
		err = sys.Err
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) || pgconn.Timeout(err) {
		return "no answer in time"
	}
	if errors.Is(err, net.ErrClosed) {
		return "no answer in time" // the guard closed it
	}
	return strings.Join(strings.Fields(err.Error()), " ")
}

// commit writes an entry: each kind of fact is one statement for all
// its rows, which come as an array for each column.
func (p *postgres) commit(s *Store, tx *sql.Tx, e *ledger.Entry) error {
	if err := p.closeSpans(tx, byCheck(e.Closed)); err != nil {
		return err
	}
	open := lastOf(byCheck(e.Open), func(s sereno.Span) sereno.CheckID { return s.Check })
	if _, err := together(tx, `UPDATE states SET status = u.status, cause = u.cause, begin_us = u.begin_us, proof_us = u.proof_us, uncertainty_us = u.uncertainty_us, reason = u.reason
		FROM `+unnest(stateKinds)+` AS u (`+stateColumns+`) WHERE states.check_id = u.check_id`, open, stateArgs); err != nil {
		return err
	}
	for _, put := range []func(*sql.Tx, *ledger.Entry) error{s.putIncidents, freeIncidents, putAbsences, putClockEvents, putStarts, putPolicies} {
		if err := put(tx, e); err != nil {
			return err
		}
	}
	return nil
}

// kindsOf returns the kinds of columns, as unnest wants them.
func kindsOf(columns []any) string {
	kinds := make([]byte, len(columns))
	for i, c := range columns {
		switch c.(type) {
		case []int64:
			kinds[i] = 'i'
		case []float64:
			kinds[i] = 'f'
		default:
			kinds[i] = 't'
		}
	}
	return string(kinds)
}

const (
	spanKinds  = "iiiiiiit"
	stateKinds = "iiiiiit"
)

func (p *postgres) closeSpans(tx *sql.Tx, spans []sereno.Span) error {
	these := unnest(spanKinds) + ` AS u (` + spanColumns + `)`
	n, err := together(tx, `INSERT INTO spans (`+spanColumns+`) SELECT * FROM `+these+`
		WHERE EXISTS (SELECT 1 FROM states WHERE states.check_id = u.check_id) ON CONFLICT (check_id, end_us) DO NOTHING`, spans, spanArgs)
	if err != nil || n == int64(len(spans)) {
		return err
	}
	// Some were there already, or are of the dead: a repeated one must say
	// what the first said.
	var other sereno.Span
	err = tx.QueryRow(`SELECT u.check_id, u.end_us FROM `+these+` WHERE EXISTS (SELECT 1 FROM states WHERE states.check_id = u.check_id)
		AND NOT EXISTS (SELECT 1 FROM spans s WHERE s.check_id = u.check_id AND s.end_us = u.end_us AND s.begin_us = u.begin_us AND s.status = u.status
			AND s.cause = u.cause AND s.proof_us = u.proof_us AND s.uncertainty_us = u.uncertainty_us AND s.reason = u.reason)
		LIMIT 1`, columns(spans, spanArgs)...).Scan((*int64)(&other.Check), (*int64)(&other.End))
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	return otherSpan(other)
}

// lastOf keeps the last of those neighbours that have one key: a statement may
// not touch a row twice.
func lastOf[T any, K comparable](sorted []T, key func(T) K) []T {
	kept := sorted[:0]
	for i, v := range sorted {
		if i+1 == len(sorted) || key(sorted[i+1]) != key(v) {
			kept = append(kept, v)
		}
	}
	return kept
}

// unnest is a table whose columns are the parameters $1, $2 …, arrays of
// integers (i), numbers (f) or texts (t).
func unnest(kinds string) string {
	var b strings.Builder
	b.WriteString("unnest(")
	for i, kind := range kinds {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "$%d::%s[]", i+1, map[rune]string{'i': "bigint", 'f': "float8", 't': "text"}[kind])
	}
	b.WriteString(")")
	return b.String()
}

// handful is how many rows one statement takes. More bring nothing, and the
// server would spill them to disk before it uses them.
const handful = 10_000

// together runs one text for all rows, a handful at a time, and returns how
// many it touched.
func together[T any](tx *sql.Tx, text string, list []T, args func(T) []any) (touched int64, err error) {
	for part := range slices.Chunk(list, handful) {
		done, err := tx.Exec(text, columns(part, args)...)
		if err != nil {
			return touched, err
		}
		n, err := done.RowsAffected()
		if touched += n; err != nil {
			return touched, err
		}
	}
	return touched, nil
}

// columns turns the arguments of many rows into an array for each column.
func columns[T any](list []T, args func(T) []any) []any {
	var all []any
	for i, row := range list {
		for j, v := range args(row) {
			if i == 0 {
				switch v.(type) {
				case int64:
					all = append(all, make([]int64, 0, len(list)))
				case float64:
					all = append(all, make([]float64, 0, len(list)))
				default:
					all = append(all, make([]string, 0, len(list)))
				}
			}
			switch column := all[j].(type) {
			case []int64:
				all[j] = append(column, v.(int64))
			case []float64:
				all[j] = append(column, v.(float64))
			case []string:
				all[j] = append(column, v.(string))
			}
		}
	}
	return all
}

// restorePostgres makes a store in a database that has none, fills it in one
// transaction and brings it up to date.
func restorePostgres(ctx context.Context, url string, schema int64, fill func(*Draft) error, log *slog.Logger) error {
	s, err := openPostgres(ctx, url, schema, options{}, log)
	if err != nil {
		return err
	}
	defer s.Close()
	if err := s.postgres.fill(ctx, s, schema, fill); err != nil {
		return s.failed("fill the store at "+s.postgres.where, err)
	}
	if err := migrate(ctx, goose.DialectPostgres, s.writer, latest, log); err != nil {
		return s.failed("bring the store at "+s.postgres.where+" up to date", err)
	}
	return s.Tend(ctx, sereno.At(time.Now())) // whole, also for sereno doctor before the first start
}

// fill fills a store in which nothing has ever been.
func (p *postgres) fill(ctx context.Context, s *Store, schema int64, fill func(*Draft) error) error {
	if err := p.months.load(ctx, s.writer); err != nil {
		return err
	}
	return fillIn(ctx, s.writer, schema, func(d *Draft) error {
		if _, err := d.tx.ExecContext(ctx, `SET LOCAL statement_timeout = 0`); err != nil {
			return err
		}
		have, err := schemaOf(ctx, d.tx)
		if err != nil {
			return err
		}
		if have != schema {
			return sereno.Errorf(sereno.Conflict, "the database at %s has a store of schema %d already: give an empty one", p.where, have)
		}
		for _, table := range tablesOf(schema) {
			var used bool
			text := `SELECT EXISTS (SELECT 1 FROM ` + table + `)`
			if table == "sequences" {
				text = `SELECT EXISTS (SELECT 1 FROM sequences WHERE last > 0)`
			}
			if err := d.tx.QueryRowContext(ctx, text).Scan(&used); err != nil {
				return err
			}
			if used {
				return sereno.Errorf(sereno.Conflict, "there is a store in the database at %s already (its table %s is not empty): give an empty one", p.where, table)
			}
		}
		d.months = &p.months
		return fill(d)
	})
}

// putTogether adds rows of one table by one statement.
func (d *Draft) putTogether(t Table, rows []Row) error {
	if at := slices.Index(t.Columns, "end_us"); t.Name == "spans" {
		made, err := d.months.partition(d.tx, func(yield func(sereno.Instant) bool) {
			for _, row := range rows {
				if end, ok := row[at].(int64); ok && !yield(sereno.Instant(end)) {
					return
				}
			}
		})
		if err != nil {
			return err
		}
		d.months.learn(made) // of no use to anybody if the draft fails
	}
	for _, row := range rows { // a column is an array of one kind
		if !slices.EqualFunc(row, rows[0], func(a, b any) bool { return reflect.TypeOf(a) == reflect.TypeOf(b) }) {
			return sereno.Errorf(sereno.Invalid, "a row of %s holds other kinds of values than the one before it, so what is copied is damaged: use another backup", t.Name)
		}
	}
	all := columns(rows, func(r Row) []any { return r })
	_, err := d.tx.Exec(`INSERT INTO `+t.Name+` (`+strings.Join(t.Columns, ", ")+`) SELECT * FROM `+unnest(kindsOf(all)), all...)
	if err != nil {
		return fmt.Errorf("fill %s: %w", t.Name, err)
	}
	return nil
}

// Pool is how busy the connections that read are.
type Pool struct {
	Most, InUse, Idle int
	Waits             int64         // how often somebody found none free
	Waited            time.Duration // for how long in all
}

// Pool returns how busy the connections are. A store in a file has none to
// speak of, and returns the zero Pool.
func (s *Store) Pool() Pool {
	if s.postgres == nil {
		return Pool{}
	}
	is := s.postgres.pool.Stat()
	return Pool{
		Most: int(is.MaxConns()), InUse: int(is.AcquiredConns()), Idle: int(is.IdleConns()),
		Waits: is.EmptyAcquireCount(), Waited: is.EmptyAcquireWaitTime(),
	}
}
