// Package export writes what was recorded (looks, spans, incidents, absences,
// response times) as one table: CSV, JSON or NDJSON. Rows are written as they
// are read, so memory grows with the number of devices, never with that of
// rows.
//
// Whoever reads the answer may be slow, and nothing may wait for him: rows are
// read a bounded page at a time and written only when the reading has ended.
// So no transaction and no block of samples is held while a row is under way.
// What an export tells is nevertheless of one moment: it is fixed when the
// export begins, and what ended later is told as still lasting.
package export

import (
	"context"
	"fmt"
	"io"
	"iter"
	"math"
	"slices"
	"strconv"
	"time"

	"sereno"
	"sereno/sheet"
	"sereno/store"
)

// A Subject is what an export is about.
type Subject uint8

const (
	Looks     Subject = iota // every look, for programs
	Spans                    // every stretch of one status
	Incidents                // every stretch of trouble
	Absences                 // when Sereno itself was not watching
	Responses                // the response-time log, for people
)

var subjects = [...]string{"looks", "spans", "incidents", "absences", "responses"}

func (s Subject) String() string { return subjects[s] }

// ParseSubject reads the name of a Subject.
func ParseSubject(name string) (Subject, error) {
	if i := slices.Index(subjects[:], name); i >= 0 {
		return Subject(i), nil
	}
	return 0, sereno.Errorf(sereno.Invalid, "there is no export %q, only looks, spans, incidents, absences and responses", name)
}

// A Request says what is wanted.
type Request struct {
	Subject  Subject
	Format   sheet.Format
	From, To sereno.Instant // [From, To)
	Now      sereno.Instant // what is later is not known yet
	Device   string         // only the devices that had this name, or the one with this id; "" for all
	Tag      string         // only devices with this tag; "" for all
	Wide     bool           // of Responses: a column for each address
	Step     time.Duration  // of Wide: how long a row is; 0 for the shortest interval of the checks
	Zone     *time.Location // in which times are written; nil: UTC
}

// Facts is what was written down in SQL.
type Facts interface {
	Lives(ctx context.Context, q store.LifeQuery) ([]store.Life, string, error)
	Spans(ctx context.Context, check sereno.CheckID, from, to sereno.Instant) iter.Seq2[sereno.Span, error]
	Incidents(ctx context.Context, q store.IncidentQuery) ([]sereno.Incident, string, error)
	Absences(ctx context.Context, q store.AbsenceQuery) ([]sereno.Absence, string, error)
	Maintained(ctx context.Context, devices []sereno.DeviceID, from, to sereno.Instant) ([]sereno.Maintained, error)
}

// Samples is every look that was kept.
type Samples interface {
	// Looks yields the looks of a check in [from, to), strictly ascending in
	// time, each Up or Down.
	Looks(ctx context.Context, check sereno.CheckID, from, to sereno.Instant) iter.Seq2[sereno.Result, error]
}

// A Job is an export that can be done as asked.
type Job struct {
	// Expected is about how many rows there will be, 0 if that is not known.
	Expected int64

	Request
	facts   Facts
	samples Samples
	targets []target // of the selected devices, by device and check; nil for absences
}

// A target is one check of one device, as little as rows need of it. A hundred
// thousand of them are held while an export runs.
type target struct {
	device   sereno.DeviceID
	check    sereno.CheckID
	interval time.Duration
	name     string
	address  string
	how      string // the check's name
	kind     string
	from, to sereno.Instant // the part of the window in which it can have looked
}

// Prepare finds out whether an export can be done, before the first byte of it
// is written. Mistakes are sereno.Errors, whose Field is the name of the
// setting: "from", "device", "wide" and so on. Without samples, which may be
// nil, there are neither looks nor responses.
func Prepare(ctx context.Context, facts Facts, samples Samples, r Request) (*Job, error) {
	if r.Zone == nil {
		r.Zone = time.UTC
	}
	if err := r.check(); err != nil {
		return nil, err
	}
	r.To = min(r.To, r.Now)
	j := &Job{Request: r, facts: facts, samples: samples}
	if r.Subject == Absences {
		return j, nil
	}
	if err := j.findTargets(ctx); err != nil {
		return nil, err
	}
	if r.Subject == Looks || r.Subject == Responses {
		if samples == nil {
			return nil, sereno.Errorf(sereno.NotFound, "there are no %s: this Sereno keeps no samples (samples are off in its configuration)", r.Subject)
		}
		return j, j.prepareLooks(ctx)
	}
	return j, nil
}

func (r *Request) check() error {
	invalid := func(field, format string, args ...any) error {
		return &sereno.Error{Kind: sereno.Invalid, Field: field, Text: fmt.Sprintf(format, args...)}
	}
	switch {
	case r.From >= r.To:
		return invalid("from", "the window begins at %s, which is not before its end, %s", r.From, r.To)
	case r.From >= r.Now:
		return invalid("from", "the window begins at %s, which is yet to come: it is %s", r.From, r.Now)
	case r.From.Time().Before(r.To.Time().Add(-sereno.MaxWindow)):
		return invalid("from", "a window is at most 100 years long: %s is too long before its end, %s", r.From, r.To)
	case r.Subject == Absences && (r.Device != "" || r.Tag != ""):
		return invalid("device", "absences are those of Sereno itself: leave out device and tag")
	case r.Wide && r.Subject != Responses:
		return invalid("wide", "only responses have a wide form, not %s", r.Subject)
	case r.Step != 0 && !r.Wide:
		return invalid("step", "a step belongs to the wide form of responses: ask for that as well, or leave it out")
	case r.Step != 0 && (r.Step < minStep || r.Step > maxStep):
		return invalid("step", "a row is %s to %s long, not %s", minStep, maxStep, r.Step)
	case r.Step%sereno.GridUnit != 0:
		return invalid("step", "a row is a whole number of milliseconds long, not %s", r.Step)
	}
	return nil
}

// findTargets selects the checks that lived in the window.
func (j *Job) findTargets(ctx context.Context) error {
	q := store.LifeQuery{From: j.From, To: j.To, Name: j.Device, Tag: j.Tag}
	err := j.eachLife(ctx, q)
	if id, bad := strconv.ParseInt(j.Device, 10, 64); err == nil && len(j.targets) == 0 && bad == nil && id > 0 {
		q.Name, q.Device = "", sereno.DeviceID(id)
		err = j.eachLife(ctx, q)
	}
	if err != nil || len(j.targets) > 0 {
		return err
	}
	during := fmt.Sprintf("between %s and %s", j.From, j.To)
	switch {
	case j.Device != "" && j.Tag != "":
		return &sereno.Error{Kind: sereno.NotFound, Field: "device", Text: fmt.Sprintf("no device called %q with the tag %q was watched %s", j.Device, j.Tag, during)}
	case j.Device != "":
		return &sereno.Error{Kind: sereno.NotFound, Field: "device", Text: fmt.Sprintf("no device called %q was watched %s", j.Device, during)}
	case j.Tag != "":
		return &sereno.Error{Kind: sereno.NotFound, Field: "tag", Text: fmt.Sprintf("no device with the tag %q was watched %s", j.Tag, during)}
	}
	return nil // an empty table is the truth
}

func (j *Job) eachLife(ctx context.Context, q store.LifeQuery) error {
	q.Limit = 1000
	for {
		lives, next, err := j.facts.Lives(ctx, q)
		if err != nil {
			return err
		}
		for _, l := range lives {
			end := j.To
			if l.Removed != 0 {
				end = min(end, l.Removed)
			}
			for _, c := range l.Checks {
				j.targets = append(j.targets, target{
					device: l.ID, check: c.ID, interval: c.Policy.Interval, name: l.Name, address: l.Address, how: c.Name, kind: c.Kind,
					from: max(j.From, c.Created), to: end,
				})
			}
		}
		if q.Cursor = next; next == "" {
			return nil
		}
	}
}

// Write writes the whole table to w and returns the number of its rows. When it
// fails, what was written is not the whole.
func (j *Job) Write(ctx context.Context, w io.Writer) (rows int64, err error) {
	t := sheet.New(w, j.Format, j.Zone)
	switch {
	case j.Subject == Looks:
		err = j.looks(ctx, t)
	case j.Subject == Responses && j.Wide:
		err = j.wide(ctx, t)
	case j.Subject == Responses:
		err = j.responses(ctx, t)
	case j.Subject == Spans:
		err = j.spans(ctx, t)
	case j.Subject == Incidents:
		err = j.incidents(ctx, t)
	default:
		err = j.absences(ctx, t)
	}
	if err == nil {
		err = t.Finish()
	}
	return t.Rows(), err
}

// FileName is what the file of an export might be called.
func (j *Job) FileName() string {
	const layout = "20060102T150405Z"
	what := j.Subject.String()
	if j.Wide {
		what += "-wide"
	}
	return fmt.Sprintf("sereno-%s-%s-%s.%s", what, j.From.Time().Format(layout), j.To.Time().Format(layout), j.Format)
}

// lasted is when something ended, as far as that was known when the export
// began, and how long it had lasted by then.
func (j *Job) lasted(begin, end sereno.Instant) (known sereno.Instant, length time.Duration) {
	if end > j.Now {
		end = 0
	}
	until := end
	if end == 0 {
		until = max(begin, j.Now)
	}
	return end, until.Sub(begin)
}

// clamp keeps an estimate within what can be counted.
func clamp(rows float64) int64 { return int64(min(rows, math.MaxInt32*1000)) }
