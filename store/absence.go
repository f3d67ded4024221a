package store

import (
	"context"

	"sereno"
)

// An AbsenceQuery selects absences, or steps of the clock. The zero query
// selects all.
type AbsenceQuery struct {
	From, To sereno.Instant // those that touch [From, To); a To of 0 is no end
	Oldest   bool           // oldest first
	Cursor   string         // the next of the page before, "" for the first page
	Limit    int            // 1 to 1000; 0 for 100
}

// Absences returns one page of absences, newest first unless asked otherwise,
// and the cursor of the next, "" after the last.
func (s *Store) Absences(ctx context.Context, q AbsenceQuery) (items []sereno.Absence, next string, err error) {
	f, err := q.filter("begin_us", "end_us", "end_us > ?")
	if err != nil {
		return nil, "", err
	}
	limit := pageLimit(q.Limit)
	text := `SELECT begin_us, end_us, uncertainty_us, cause, unsure, checks FROM absences` + f.where() +
		" ORDER BY begin_us" + order(q.Oldest) + ", end_us" + order(q.Oldest) + " LIMIT " + f.param(int64(limit+1))
	items, err = all(rows(ctx, s, "list absences", text, f.args, scanAbsence))
	if len(items) > limit {
		items = items[:limit]
		next = formatCursor(int64(items[limit-1].Begin), int64(items[limit-1].End))
	}
	return items, next, err
}

// ClockEvents returns one page of steps of the clock, newest first unless asked
// otherwise, and the cursor of the next, "" after the last.
func (s *Store) ClockEvents(ctx context.Context, q AbsenceQuery) (items []sereno.ClockEvent, next string, err error) {
	f, err := q.filter("at_us", "step_us", "at_us >= ?")
	if err != nil {
		return nil, "", err
	}
	limit := pageLimit(q.Limit)
	text := `SELECT at_us, step_us FROM clock_events` + f.where() + " ORDER BY at_us" + order(q.Oldest) + ", step_us" + order(q.Oldest) + " LIMIT " + f.param(int64(limit+1))
	items, err = all(rows(ctx, s, "list clock events", text, f.args, scanClockEvent))
	if len(items) > limit {
		items = items[:limit]
		next = formatCursor(int64(items[limit-1].At), micros(items[limit-1].Step))
	}
	return items, next, err
}

// filter writes the query for a table with the key (first, second), which
// begins with the moment it begins; since is what touches all after From.
func (q AbsenceQuery) filter(first, second, since string) (*filter, error) {
	f := &filter{}
	if q.Cursor != "" {
		var a, b int64
		if err := parseCursor(q.Cursor, &a, &b); err != nil {
			return nil, err
		}
		f.and("("+first+", "+second+") "+beyond(q.Oldest)+" (?, ?)", a, b)
	}
	if q.From != 0 {
		f.and(since, int64(q.From))
	}
	if q.To != 0 {
		f.and(first+" < ?", int64(q.To))
	}
	return f, nil
}

func scanAbsence(row scanner) (a sereno.Absence, err error) {
	err = row.Scan((*int64)(&a.Begin), (*int64)(&a.End), (*length)(&a.Uncertainty), &a.Cause, &a.Unsure, &a.Checks)
	return a, err
}

func scanClockEvent(row scanner) (c sereno.ClockEvent, err error) {
	err = row.Scan((*int64)(&c.At), (*length)(&c.Step))
	return c, err
}
