package export

import (
	"context"

	"sereno"
	"sereno/store"
)

// pageSpans is how many spans of one check are read at a time.
const pageSpans = 4096

// spans writes the spans that touch the window, by device, check and time, each
// with its true begin and end.
func (j *Job) spans(ctx context.Context, t *table) error {
	t.begin("device_id", "device", "address", "check_id", "check", "status", "cause", "begin", "end", "seconds", "uncertainty_seconds", "proof", "reason")
	var page []sereno.Span
	for i := range j.targets {
		of := &j.targets[i]
		// The spans of a check tile its life: the next page begins where the
		// last one ended.
		for from, more := j.From, true; more; {
			page, more = page[:0], false
			for s, err := range j.facts.Spans(ctx, of.check, from, j.To) {
				if err != nil {
					return err
				}
				if page = append(page, s); len(page) == pageSpans {
					more = s.End != 0 && s.End < j.To
					break
				}
			}
			for _, s := range page {
				if err := j.span(t, of, s); err != nil {
					return err
				}
			}
			if more {
				from = page[len(page)-1].End
			}
		}
	}
	return ctx.Err()
}

func (j *Job) span(t *table, of *target, s sereno.Span) error {
	end, length := j.lasted(s.Begin, s.End)
	t.integer(int64(of.device))
	t.text(of.name)
	t.text(of.address)
	t.integer(int64(of.check))
	t.text(of.how)
	t.word(s.Status.String())
	t.word(s.Cause.String())
	t.moment(s.Begin)
	t.moment(end)
	t.seconds(length)
	t.seconds(s.Uncertainty)
	t.moment(s.Proof)
	t.text(s.Reason)
	return t.end()
}

// incidents writes the incidents that touch the window, as they were opened.
// Those of the vantage point itself are left out when devices are selected.
func (j *Job) incidents(ctx context.Context, t *table) error {
	t.begin("id", "device_id", "device", "address", "check_id", "check", "vantage_id", "status", "opened", "closed", "seconds", "under", "reason")
	of := make(map[sereno.CheckID]*target, len(j.targets))
	for i := range j.targets {
		of[j.targets[i].check] = &j.targets[i]
	}
	q := store.IncidentQuery{From: j.From, To: j.To, Oldest: true, Limit: 1000}
	if n := len(j.targets); n > 0 && j.Device != "" && j.targets[0].device == j.targets[n-1].device {
		q.Device = j.targets[0].device
	}
	for {
		page, next, err := j.facts.Incidents(ctx, q)
		if err != nil {
			return err
		}
		for _, i := range page {
			who := of[i.Check]
			if who == nil {
				if j.Device != "" || j.Tag != "" {
					continue
				}
				who = &target{device: i.Device, check: i.Check}
			}
			if err := j.incident(t, who, i); err != nil {
				return err
			}
		}
		if q.Cursor = next; next == "" {
			return nil
		}
	}
}

func (j *Job) incident(t *table, of *target, i sereno.Incident) error {
	closed, length := j.lasted(i.Opened, i.Closed)
	t.integer(int64(i.ID))
	t.idOrNull(int64(of.device))
	t.textOrNull(of.name)
	t.textOrNull(of.address)
	t.idOrNull(int64(of.check))
	t.textOrNull(of.how)
	t.integer(int64(i.Vantage))
	t.word(i.Trouble.String())
	t.moment(i.Opened)
	t.moment(closed)
	t.seconds(length)
	t.idOrNull(int64(i.Under))
	t.text(i.Reason)
	return t.end()
}

// absences writes the absences that touch the window, in order.
func (j *Job) absences(ctx context.Context, t *table) error {
	t.begin("begin", "end", "seconds", "uncertainty_seconds", "cause", "unsure", "checks")
	q := store.AbsenceQuery{From: j.From, To: j.To, Oldest: true, Limit: 1000}
	for {
		page, next, err := j.facts.Absences(ctx, q)
		if err != nil {
			return err
		}
		for _, a := range page {
			t.moment(a.Begin)
			t.moment(a.End)
			t.seconds(a.End.Sub(a.Begin))
			t.seconds(a.Uncertainty)
			t.word(a.Cause.String())
			t.truth(a.Unsure)
			t.integer(int64(a.Checks))
			if err := t.end(); err != nil {
				return err
			}
		}
		if q.Cursor = next; next == "" {
			return nil
		}
	}
}
