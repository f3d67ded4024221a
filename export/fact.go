package export

import (
	"context"
	"slices"

	"sereno"
	"sereno/sheet"
	"sereno/store"
)

// pageSpans is how many spans of one check are read at a time.
const pageSpans = 4096

// manyTargets is of how many targets maintenance is read at a time.
const manyTargets = 1000

// spans writes the spans that touch the window, by device, check and time, each
// with its true begin and end.
func (j *Job) spans(ctx context.Context, t *sheet.Table) error {
	t.Begin("device_id", "device", "address", "check_id", "check", "status", "cause", "begin", "end", "seconds", "uncertainty_seconds", "proof", "reason", "maintenance_seconds")
	var page []sereno.Span
	var exempt map[sereno.DeviceID][]sereno.Maintained
	for i := range j.targets {
		of := &j.targets[i]
		if i%manyTargets == 0 {
			var err error
			if exempt, err = j.maintained(ctx, j.targets[i:min(i+manyTargets, len(j.targets))]); err != nil {
				return err
			}
		}
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
				if err := j.span(t, of, s, exempt[of.device]); err != nil {
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

// maintained reads the maintenance of the devices of some targets, from ever: a
// span is told from its true begin.
func (j *Job) maintained(ctx context.Context, some []target) (map[sereno.DeviceID][]sereno.Maintained, error) {
	ids := make([]sereno.DeviceID, len(some))
	for i, of := range some {
		ids[i] = of.device
	}
	list, err := j.facts.Maintained(ctx, slices.Compact(ids), 0, j.To)
	if err != nil {
		return nil, err
	}
	exempt := map[sereno.DeviceID][]sereno.Maintained{}
	for _, m := range list {
		exempt[m.Device] = append(exempt[m.Device], m)
	}
	return exempt, nil
}

func (j *Job) span(t *sheet.Table, of *target, s sereno.Span, exempt []sereno.Maintained) error {
	end, length := j.lasted(s.Begin, s.End)
	under := sereno.Tally(sereno.Exempt(func(yield func(sereno.Span) bool) { yield(s) }, exempt), s.Begin, s.Begin.Add(length)).Maintenance
	t.Integer(int64(of.device))
	t.Text(of.name)
	t.Text(of.address)
	t.Integer(int64(of.check))
	t.Text(of.how)
	t.Word(s.Status.String())
	t.Word(s.Cause.String())
	t.Moment(s.Begin)
	t.Moment(end)
	t.Seconds(length)
	t.Seconds(s.Uncertainty)
	t.Moment(s.Proof)
	t.Text(s.Reason)
	t.Seconds(under)
	return t.End()
}

// incidents writes the incidents that touch the window, as they were opened.
// Those of the vantage point itself are left out when devices are selected.
func (j *Job) incidents(ctx context.Context, t *sheet.Table) error {
	t.Begin("id", "device_id", "device", "address", "check_id", "check", "vantage_id", "status", "opened", "closed", "seconds", "under", "reason")
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

func (j *Job) incident(t *sheet.Table, of *target, i sereno.Incident) error {
	closed, length := j.lasted(i.Opened, i.Closed)
	t.Integer(int64(i.ID))
	t.IDOrNull(int64(of.device))
	t.TextOrNull(of.name)
	t.TextOrNull(of.address)
	t.IDOrNull(int64(of.check))
	t.TextOrNull(of.how)
	t.Integer(int64(i.Vantage))
	t.Word(i.Trouble.String())
	t.Moment(i.Opened)
	t.Moment(closed)
	t.Seconds(length)
	t.IDOrNull(int64(i.Under))
	t.Text(i.Reason)
	return t.End()
}

// absences writes the absences that touch the window, in order.
func (j *Job) absences(ctx context.Context, t *sheet.Table) error {
	t.Begin("begin", "end", "seconds", "uncertainty_seconds", "cause", "unsure", "checks")
	q := store.AbsenceQuery{From: j.From, To: j.To, Oldest: true, Limit: 1000}
	for {
		page, next, err := j.facts.Absences(ctx, q)
		if err != nil {
			return err
		}
		for _, a := range page {
			t.Moment(a.Begin)
			t.Moment(a.End)
			t.Seconds(a.End.Sub(a.Begin))
			t.Seconds(a.Uncertainty)
			t.Word(a.Cause.String())
			t.Truth(a.Unsure)
			t.Integer(int64(a.Checks))
			if err := t.End(); err != nil {
				return err
			}
		}
		if q.Cursor = next; next == "" {
			return nil
		}
	}
}
