package store

import (
	"context"
	"database/sql"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"sereno"
)

// A Window is a stretch of time, [From, To).
type Window struct{ From, To sereno.Instant }

// NotUp yields what figures of living checks are made from: their spans that
// are not Up and touch [from, to), by ascending check and in order, without
// proof, uncertainty and reason. With sereno.Tile they are all spans. It is read
// from an index that holds no others, so a year costs what went wrong in it.
func (s *Store) NotUp(ctx context.Context, checks []sereno.CheckID, from, to sereno.Instant) iter.Seq2[sereno.Span, error] {
	return func(yield func(sereno.Span, error) bool) {
		for these := range slices.Chunk(ascending(checks), batch) {
			f := &filter{}
			begin, end := f.param(int64(from)), f.param(int64(to))
			// (c.id, because SQLite knows that it comes in order.)
			text := fmt.Sprintf(`SELECT c.id, s.status, s.cause, s.begin_us, s.end_us
				FROM checks c CROSS JOIN spans s
				WHERE %[1]s AND s.check_id = c.id AND s.end_us > %[2]s AND s.begin_us < %[3]s AND s.status <> 1
				UNION ALL SELECT c.id, s.status, s.cause, s.begin_us, %[4]d FROM checks c CROSS JOIN states s
				WHERE %[1]s AND s.check_id = c.id AND s.begin_us < %[3]s AND s.status <> 1
				ORDER BY 1, 5`, f.among("c.id", these), begin, end, endless)
			for span, err := range rows(ctx, s, "load spans that are not up", text, f.args, scanStretch) {
				if err == nil {
					for these[0] < span.Check {
						these = these[1:]
					}
					if these[0] != span.Check {
						continue // a stranger among them
					}
				}
				if !yield(span, err) || err != nil {
					return
				}
			}
		}
	}
}

// batch is how many checks one query is about.
const batch = 1000

func ascending(checks []sereno.CheckID) []sereno.CheckID {
	if slices.IsSorted(checks) {
		return checks
	}
	return slices.Sorted(slices.Values(checks))
}

// among returns the condition that id is one of checks, which ascend. If they
// lie close together it is a range, which may hold others too: a list of a
// thousand takes longer to parse than to answer. A list is filled up to a power
// of two with its last member, so that there are few texts.
func (f *filter) among(id string, checks []sereno.CheckID) string {
	first, last := checks[0], checks[len(checks)-1]
	if first == last {
		return fmt.Sprintf("%s = %s", id, f.param(int64(first))) // PostgreSQL keeps the plan
	}
	if last-first < 2*sereno.CheckID(len(checks)) {
		return fmt.Sprintf("%s BETWEEN %s AND %s", id, f.param(int64(first)), f.param(int64(last)))
	}
	n := 1
	for n < len(checks) {
		n *= 2
	}
	var list strings.Builder
	for i := range n {
		if i > 0 {
			list.WriteByte(',')
		}
		list.WriteString(f.param(int64(checks[min(i, len(checks)-1)])))
	}
	return fmt.Sprintf("%s IN (%s)", id, &list)
}

func scanStretch(row scanner) (s sereno.Span, err error) {
	err = row.Scan((*int64)(&s.Check), &s.Status, &s.Cause, (*int64)(&s.Begin), (*int64)(&s.End))
	if s.End == endless {
		s.End = 0
	}
	return s, err
}

const meterColumns = `up_us, degraded_us, down_us, behind_us, unknown_us, paused_us, outages, ailing`

func scanMeter(row scanner) (m sereno.Meter, err error) {
	err = row.Scan((*int64)(&m.Check), (*int64)(&m.At), (*length)(&m.Up), (*length)(&m.Degraded), (*length)(&m.Down), (*length)(&m.Behind),
		(*length)(&m.Unknown), (*length)(&m.Paused), &m.Outages, &m.Ailing)
	return m, err
}

// ReadMeters takes the meter readings that are due: see sereno.Readings. It may
// be called at any time and by many, and catches up from wherever it is, in small transactions. Only spans
// that are closed are read, so a reading never has to be changed.
func (s *Store) ReadMeters(ctx context.Context) error {
	s.keeping.Lock()
	defer s.keeping.Unlock()
	return s.readMeters(ctx)
}

func (s *Store) readMeters(ctx context.Context) error {
	const (
		checks = 500  // of one question
		enough = 2000 // readings of one transaction
		hour   = int64(sereno.MeterHour / time.Microsecond)
	)
	var readings []sereno.Meter
	write := func() error {
		err := s.write(ctx, "write meter readings", func(tx *sql.Tx) error {
			return each(tx, `INSERT INTO meters (check_id, at_us, `+meterColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
				ON CONFLICT (check_id, at_us) DO NOTHING`, readings, meterArgs)
		})
		readings = readings[:0]
		return err
	}
	for after := sereno.CheckID(0); ; {
		due, err := all(rows(ctx, s, "find meters that are due", fmt.Sprintf(`SELECT s.check_id, coalesce(m.at_us, 0), coalesce(m.up_us, 0), coalesce(m.degraded_us, 0),
				coalesce(m.down_us, 0), coalesce(m.behind_us, 0), coalesce(m.unknown_us, 0), coalesce(m.paused_us, 0), coalesce(m.outages, 0), coalesce(m.ailing, 0)
			FROM states s JOIN checks c ON c.id = s.check_id
			LEFT JOIN meters m ON m.check_id = s.check_id AND m.at_us = (SELECT max(x.at_us) FROM meters x WHERE x.check_id = s.check_id)
			WHERE s.check_id > $1 AND s.begin_us - s.begin_us %% %[1]d > coalesce(m.at_us, c.created_us)
			AND (SELECT count(*) FROM (SELECT 1 FROM spans x WHERE x.check_id = s.check_id AND x.end_us > coalesce(m.at_us, 0) LIMIT %[2]d) few) >= %[2]d
			ORDER BY s.check_id LIMIT %[3]d`, hour, sereno.MeterSpans, checks), []any{int64(after)}, scanMeter))
		if err != nil {
			return err
		}
		for _, last := range due {
			after = last.Check
			spans, err := all(s.stretches(ctx, last.Check, last.At))
			if err != nil {
				return err
			}
			readings = slices.AppendSeq(readings, sereno.Readings(last, slices.Values(spans)))
			if len(readings) >= enough {
				if err := write(); err != nil {
					return err
				}
			}
		}
		if len(due) < checks {
			break
		}
	}
	if len(readings) == 0 {
		return nil
	}
	return write()
}

// stretches yields the closed spans of a check that end after a moment, in
// order.
func (s *Store) stretches(ctx context.Context, check sereno.CheckID, after sereno.Instant) iter.Seq2[sereno.Span, error] {
	return rows(ctx, s, "load spans of a meter", `SELECT check_id, status, cause, begin_us, end_us FROM spans
		WHERE check_id = $1 AND end_us > $2 ORDER BY end_us`, []any{int64(check), int64(after)}, scanStretch)
}

func meterArgs(m sereno.Meter) []any {
	return []any{
		int64(m.Check), int64(m.At), micros(m.Up), micros(m.Degraded), micros(m.Down), micros(m.Behind), micros(m.Unknown), micros(m.Paused),
		int64(m.Outages), flag(m.Ailing),
	}
}

// Tallies returns the figures of checks over windows, by check and window as
// they were given, in a time that does not grow with the windows: from meter
// readings and the spans since. What a meter does not know is left out: see
// sereno.Meter. Without any reading it gives the same, more slowly.
func (s *Store) Tallies(ctx context.Context, checks []sereno.CheckID, windows []Window) (figures [][]sereno.Figures, err error) {
	// One transaction: a change that begins in the past, or a cut, would be in
	// one end of a window and not in the other.
	err = s.read(ctx, "read meters", func(tx *sql.Tx) error {
		figures, err = tallies(ctx, tx, checks, windows)
		return err
	})
	return figures, err
}

func tallies(ctx context.Context, tx *sql.Tx, checks []sereno.CheckID, windows []Window) ([][]sereno.Figures, error) {
	var kept sereno.Instant
	if err := tx.QueryRowContext(ctx, `SELECT `+selectCut).Scan((*int64)(&kept)); err != nil {
		return nil, err
	}
	// What was before the cut is not known, so it is outside.
	known := func(w Window) Window { return Window{max(w.From, kept), max(w.To, kept)} }
	var moments []sereno.Instant
	for _, w := range windows {
		moments = append(moments, known(w).From, known(w).To)
	}
	slices.Sort(moments)
	moments = slices.Compact(moments)
	read := make([]map[sereno.CheckID]position, len(moments))
	for i, at := range moments {
		var err error
		if read[i], err = positions(ctx, tx, checks, at); err != nil {
			return nil, err
		}
	}
	of := func(at sereno.Instant, check sereno.CheckID) position {
		i, _ := slices.BinarySearch(moments, at)
		return read[i][check]
	}
	figures := make([][]sereno.Figures, len(checks))
	for i, check := range checks {
		figures[i] = make([]sereno.Figures, len(windows))
		for k, w := range windows {
			part := known(w)
			begin, end := of(part.From, check), of(part.To, check)
			begin.meter.At, end.meter.At = w.From, w.To
			resumed := begin.status == sereno.Down
			if begin.meter.Ailing && begin.status == sereno.Unknown {
				var err error
				if resumed, err = resumes(ctx, tx, check, part); err != nil {
					return nil, err
				}
			}
			figures[i][k] = end.meter.Since(begin.meter, resumed && part.From < part.To)
		}
	}
	return figures, nil
}

// A position is the reading of a check at a moment, and its status from then on.
type position struct {
	meter  sereno.Meter
	status sereno.Status
}

// positions reads the meters of checks at a moment. A check that was not there
// yet is left out.
func positions(ctx context.Context, tx *sql.Tx, checks []sereno.CheckID, at sereno.Instant) (map[sereno.CheckID]position, error) {
	found := make(map[sereno.CheckID]position, len(checks))
	for these := range slices.Chunk(ascending(checks), batch) {
		f := &filter{}
		moment := f.param(int64(at))
		among := f.among("c.id", these)
		last, err := query(ctx, tx, fmt.Sprintf(`SELECT m.check_id, m.at_us, `+meterColumns+`
			FROM checks c CROSS JOIN meters m
			WHERE %[2]s AND m.check_id = c.id AND m.at_us = (SELECT max(x.at_us) FROM meters x WHERE x.check_id = c.id AND x.at_us <= %[1]s)`, moment, among), f.args, scanMeter)
		if err != nil {
			return nil, err
		}
		for _, m := range last {
			found[m.Check] = position{meter: m}
		}
		since, err := query(ctx, tx, fmt.Sprintf(`SELECT c.id, s.status, s.cause, s.begin_us, s.end_us
			FROM checks c CROSS JOIN spans s
			WHERE %[2]s AND s.check_id = c.id AND s.begin_us <= %[1]s
			AND s.end_us > coalesce((SELECT max(x.at_us) FROM meters x WHERE x.check_id = c.id AND x.at_us <= %[1]s), 0)
			AND s.end_us <= coalesce((SELECT min(y.end_us) FROM spans y WHERE y.check_id = c.id AND y.end_us > %[1]s), %[3]d)
			UNION ALL SELECT c.id, s.status, s.cause, s.begin_us, %[3]d FROM checks c CROSS JOIN states s WHERE %[2]s AND s.check_id = c.id AND s.begin_us <= %[1]s
			ORDER BY 1, 5`, moment, among, endless), f.args, scanStretch)
		if err != nil {
			return nil, err
		}
		for i := 0; i < len(since); {
			n := i + 1
			for n < len(since) && since[n].Check == since[i].Check {
				n++
			}
			p := found[since[i].Check]
			p.meter = p.meter.Read(slices.Values(since[i:n]), at)
			p.meter.Check = since[i].Check
			if last := since[n-1]; last.End == 0 || last.End > at {
				p.status = last.Status
			}
			found[p.meter.Check] = p
			i = n
		}
	}
	return found, nil
}

// query collects one answer within a transaction.
func query[T any](ctx context.Context, tx *sql.Tx, text string, args []any, scan func(scanner) (T, error)) ([]T, error) {
	answer, err := tx.QueryContext(ctx, text, args...)
	if err != nil {
		return nil, err
	}
	defer answer.Close()
	var list []T
	for answer.Next() {
		row, err := scan(answer)
		if err != nil {
			return nil, err
		}
		list = append(list, row)
	}
	return list, answer.Err()
}

// resumes reports whether a check that is not known at the beginning of a
// window is Down when it is next seen in it.
func resumes(ctx context.Context, tx *sql.Tx, check sereno.CheckID, w Window) (bool, error) {
	next, err := query(ctx, tx, fmt.Sprintf(`SELECT check_id, status, cause, begin_us, end_us FROM spans
		WHERE check_id = $1 AND end_us > $2 AND begin_us < $3 AND status <> 0
		UNION ALL SELECT check_id, status, cause, begin_us, %d FROM states WHERE check_id = $1 AND begin_us < $3 AND status <> 0
		ORDER BY 5 LIMIT 1`, endless), []any{int64(check), int64(w.From), int64(w.To)}, scanStretch)
	return len(next) == 1 && next[0].Status == sereno.Down, err
}

// CheckMeters proves that every meter reading says what the spans say, to the
// microsecond. The error is of the kind Internal and names the first few that
// do not. It reads every span.
func (s *Store) CheckMeters(ctx context.Context) error {
	cut, err := s.KeptFrom(ctx)
	if err != nil {
		return err
	}
	const few = 5
	var wrong []string
	var kept []sereno.Meter
	compare := func() error {
		if len(kept) == 0 || len(wrong) > few {
			return nil
		}
		spans, err := all(s.stretches(ctx, kept[0].Check, 0))
		if err != nil {
			return err
		}
		born, err := s.created(ctx, kept[0].Check)
		if err != nil {
			return err
		}
		wrong = append(wrong, contradictions(kept, spans, born, cut)...)
		kept = kept[:0]
		return nil
	}
	for m, err := range rows(ctx, s, "load meter readings", `SELECT check_id, at_us, `+meterColumns+` FROM meters ORDER BY check_id, at_us`, nil, scanMeter) {
		if err != nil {
			return err
		}
		if len(kept) > 0 && kept[0].Check != m.Check {
			if err := compare(); err != nil {
				return err
			}
		}
		kept = append(kept, m)
	}
	if err := compare(); err != nil {
		return err
	}
	if len(wrong) == 0 {
		return nil
	}
	if len(wrong) > few {
		wrong = append(wrong[:few], "and more")
	}
	return sereno.Errorf(sereno.Internal, "the meters contradict the ledger: %s", strings.Join(wrong, "; "))
}

// contradictions compares the readings of a check with its closed spans. Where
// old spans were dropped, the first reading after that is believed.
func contradictions(kept []sereno.Meter, spans []sereno.Span, born, cut sereno.Instant) (wrong []string) {
	if len(spans) == 0 {
		return nil
	}
	now := sereno.Meter{Check: kept[0].Check}
	if first := spans[0].Begin; first != born {
		for len(kept) > 0 && kept[0].At < first {
			kept = kept[1:]
		}
		if len(kept) == 0 {
			return nil
		}
		now = kept[0]
	}
	for _, span := range spans {
		one := slices.Values([]sereno.Span{span})
		for len(kept) > 0 && kept[0].At <= span.End {
			if now = now.Read(one, kept[0].At); now != kept[0] {
				wrong = append(wrong, fmt.Sprintf("the reading of check %d at %s is %v up, %v down, %d outages and by its spans %v up, %v down, %d outages",
					now.Check, now.At, kept[0].Up, kept[0].Down, kept[0].Outages, now.Up, now.Down, now.Outages))
			}
			kept = kept[1:]
		}
		if span.End > now.At {
			now = now.Read(one, span.End)
		}
	}
	for _, m := range kept {
		if m.At == cut {
			continue // it was read in a span that is open still
		}
		wrong = append(wrong, fmt.Sprintf("the reading of check %d at %s is of a time that is not written down yet", m.Check, m.At))
	}
	return wrong
}

func (s *Store) created(ctx context.Context, check sereno.CheckID) (at sereno.Instant, err error) {
	err = s.read(ctx, "read when a check was made", func(tx *sql.Tx) error {
		return tx.QueryRowContext(ctx, `SELECT coalesce(max(created_us), 0) FROM checks WHERE id = $1`, int64(check)).Scan((*int64)(&at))
	})
	return at, err
}

// DeviceOfCheck returns the living device that a living check belongs to, or
// an error of the kind NotFound.
func (s *Store) DeviceOfCheck(ctx context.Context, check sereno.CheckID) (sereno.Device, error) {
	var d sereno.Device
	err := s.read(ctx, "read the device of a check", func(tx *sql.Tx) error {
		of, err := query(ctx, tx, `SELECT device_id FROM checks WHERE id = $1 AND deleted_us = 0`, []any{int64(check)}, func(row scanner) (id sereno.DeviceID, err error) {
			err = row.Scan((*int64)(&id))
			return id, err
		})
		if err == nil && len(of) == 0 {
			err = sereno.Errorf(sereno.NotFound, "there is no check with the id %d", check)
		}
		if err == nil {
			d, err = readDevice(ctx, tx, of[0])
		}
		return err
	})
	return d, err
}
