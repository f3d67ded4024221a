package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"sereno"
)

// monthsAhead is for how many months after this one there are partitions.
const monthsAhead = 3

// tendEvery is how often Run looks whether a month is missing. Once a day would
// do; after a failure it should not take one.
const tendEvery = time.Hour

// A Partition holds the spans that end in [From, To), a month of UTC.
type Partition struct {
	Table    string
	From, To sereno.Instant
	Bytes    int64 // with its indexes
}

// Partitions returns the partitions of the spans by time. SQLite has none.
func (s *Store) Partitions(ctx context.Context) (list []Partition, err error) {
	if s.postgres == nil {
		return nil, nil
	}
	err = s.read(ctx, "list partitions", func(tx *sql.Tx) error {
		list, err = partitions(ctx, tx)
		return err
	})
	return list, err
}

// A querier is a connection or a transaction.
type querier interface {
	QueryContext(ctx context.Context, text string, args ...any) (*sql.Rows, error)
}

func partitions(ctx context.Context, q querier) (list []Partition, err error) {
	answer, err := q.QueryContext(ctx, `SELECT c.relname, pg_get_expr(c.relpartbound, c.oid), pg_total_relation_size(c.oid)
		FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
		WHERE i.inhparent = 'spans'::regclass AND NOT i.inhdetachpending`)
	if err != nil {
		return nil, err
	}
	defer answer.Close()
	for answer.Next() {
		var p Partition
		var bound string
		if err := answer.Scan(&p.Table, &bound, &p.Bytes); err != nil {
			return nil, err
		}
		if p.From, p.To, err = parseBound(bound); err != nil {
			return nil, fmt.Errorf("partition %s: %w", p.Table, err)
		}
		list = append(list, p)
	}
	slices.SortFunc(list, func(a, b Partition) int { return int(min(1, max(-1, a.From-b.From))) })
	return list, answer.Err()
}

var bounds = regexp.MustCompile(`^FOR VALUES FROM \('?(-?\d+)'?\) TO \('?(-?\d+)'?\)$`)

func parseBound(text string) (from, to sereno.Instant, err error) {
	found := bounds.FindStringSubmatch(text)
	if found == nil {
		return 0, 0, fmt.Errorf("%q is no range of time", text)
	}
	a, err := strconv.ParseInt(found[1], 10, 64)
	if err != nil {
		return 0, 0, err
	}
	b, err := strconv.ParseInt(found[2], 10, 64)
	return sereno.Instant(a), sereno.Instant(b), err
}

// A month is the number of months since the year 0.
type month int

func monthOf(at sereno.Instant) month {
	t := at.Time().UTC()
	return month(t.Year()*12 + int(t.Month()) - 1)
}

func (m month) begin() sereno.Instant {
	return sereno.At(time.Date(int(m)/12, time.Month(int(m)%12+1), 1, 0, 0, 0, 0, time.UTC))
}

func (m month) table() string { return fmt.Sprintf("spans_%04d_%02d", int(m)/12, int(m)%12+1) }

// months are those that have a partition, as far as this process knows.
type months struct {
	mutex sync.Mutex
	known map[month]bool
}

// load reads which there are.
func (m *months) load(ctx context.Context, q querier) error {
	list, err := partitions(ctx, q)
	if err != nil {
		return err
	}
	m.mutex.Lock()
	defer m.mutex.Unlock()
	m.known = make(map[month]bool, len(list))
	for _, p := range list {
		for at := monthOf(p.From); at.begin() < p.To; at++ {
			m.known[at] = true
		}
	}
	return nil
}

// missing returns those of some moments that have none, each once.
func (m *months) missing(ends iter.Seq[sereno.Instant]) (list []month) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	for end := range ends {
		if at := monthOf(end); !m.known[at] && !slices.Contains(list, at) {
			list = append(list, at)
		}
	}
	return list
}

func (m *months) learn(list []month) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	for _, at := range list {
		m.known[at] = true
	}
}

// partition makes the partitions for spans that end at some moments; made is to
// be learned once that is committed.
//
// A table is made first and attached then, which disturbs neither readers nor
// writers of the others.
func (m *months) partition(tx *sql.Tx, ends iter.Seq[sereno.Instant]) (made []month, err error) {
	made = m.missing(ends)
	for _, at := range made {
		var leaving bool // being detached when something broke off
		err := tx.QueryRow(`SELECT inhdetachpending FROM pg_inherits WHERE inhparent = 'spans'::regclass AND inhrelid = to_regclass($1)`, at.table()).Scan(&leaving)
		if err == nil && !leaving {
			continue
		}
		if err == nil {
			_, err = tx.Exec(`ALTER TABLE spans DETACH PARTITION ` + at.table() + ` FINALIZE`)
		}
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return nil, err
		}
		for _, text := range []string{
			fmt.Sprintf(`CREATE TABLE IF NOT EXISTS %s (LIKE spans INCLUDING ALL)`, at.table()),
			fmt.Sprintf(`ALTER TABLE spans ATTACH PARTITION %s FOR VALUES FROM (%d) TO (%d)`, at.table(), at.begin(), (at + 1).begin()),
		} {
			if _, err := tx.Exec(text); err != nil {
				return nil, fmt.Errorf("make the partition %s: %w", at.table(), err)
			}
		}
	}
	return made, nil
}

// Tend makes the partitions of this month and the next three. The error is what
// stands against it; without them the first span of a new month makes its own,
// if it can.
func (s *Store) Tend(ctx context.Context, now sereno.Instant) error {
	p := s.postgres
	if p == nil {
		return nil
	}
	ahead := func(yield func(sereno.Instant) bool) {
		for m := monthOf(now); m <= monthOf(now)+monthsAhead; m++ {
			if !yield(m.begin()) {
				return
			}
		}
	}
	if len(p.months.missing(ahead)) == 0 {
		return nil
	}
	return s.writeSpans(ctx, "make partitions", ahead, func(*sql.Tx) error { return nil })
}

// Run tends the store until ctx ends. Failed is told of each failure, and of
// the first success after it with nil.
func (s *Store) Run(ctx context.Context, now func() sereno.Instant, failed func(error)) error {
	if s.postgres == nil {
		<-ctx.Done()
		return nil
	}
	bad := false
	for {
		err := s.Tend(ctx, now())
		if ctx.Err() != nil {
			return nil
		}
		if err != nil || bad {
			failed(err)
		}
		bad = err != nil
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(tendEvery):
		}
	}
}

// DropBefore drops the partitions whose spans all ended before an instant, and
// returns which. Readers and writers are not held up: it waits for those that
// use one. What was begun and not finished, by a crash, is finished.
//
// Elsewhere than in PostgreSQL it does nothing.
func (s *Store) DropBefore(ctx context.Context, before sereno.Instant) (dropped []Partition, err error) {
	p := s.postgres
	if p == nil {
		return nil, nil
	}
	list, err := s.Partitions(ctx)
	if err != nil {
		return nil, err
	}
	// A connection of its own: the one that writes must not wait with it.
	config := p.config.Copy()
	config.RuntimeParams["statement_timeout"] = "0"
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil, s.failed("drop partitions", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if err := p.finish(ctx, conn, before); err != nil {
		return nil, s.failed("drop partitions", err)
	}
	for _, old := range list {
		if old.To > before {
			break
		}
		table := pgx.Identifier{old.Table}.Sanitize()
		p.months.forget(old) // whatever becomes of it
		if _, err := conn.Exec(ctx, `ALTER TABLE spans DETACH PARTITION `+table+` CONCURRENTLY`); err != nil {
			return dropped, s.failed("detach the partition "+old.Table, err)
		}
		if _, err := conn.Exec(ctx, `DROP TABLE `+table); err != nil {
			return dropped, s.failed("drop the partition "+old.Table, err)
		}
		dropped = append(dropped, old)
	}
	return dropped, nil
}

func (m *months) forget(p Partition) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	for at := monthOf(p.From); at.begin() < p.To; at++ {
		delete(m.known, at)
	}
}

// finish ends what a crash left: a partition that was being detached, and one
// that was detached but not dropped.
func (p *postgres) finish(ctx context.Context, conn *pgx.Conn, before sereno.Instant) error {
	var pending string
	err := conn.QueryRow(ctx, `SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
		WHERE i.inhparent = 'spans'::regclass AND i.inhdetachpending`).Scan(&pending)
	if err == nil {
		_, err = conn.Exec(ctx, `ALTER TABLE spans DETACH PARTITION `+pgx.Identifier{pending}.Sanitize()+` FINALIZE`)
	}
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return err
	}
	answer, err := conn.Query(ctx, `SELECT c.relname FROM pg_class c WHERE c.relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = 'spans'::regclass)
		AND c.relkind = 'r' AND c.relname ~ '^spans_[0-9]{4,}_[0-9]{2}$' AND NOT c.relispartition`)
	if err != nil {
		return err
	}
	left, err := pgx.CollectRows(answer, pgx.RowTo[string])
	if err != nil {
		return err
	}
	for _, table := range left {
		var year, number int
		if _, err := fmt.Sscanf(table, "spans_%d_%d", &year, &number); err != nil {
			return err
		}
		if m := month(year*12 + number - 1); (m + 1).begin() > before {
			continue
		}
		if _, err := conn.Exec(ctx, `DROP TABLE `+pgx.Identifier{table}.Sanitize()); err != nil {
			return err
		}
	}
	return nil
}
