package export

import (
	"context"
	"time"

	"sereno"
	"sereno/sheet"
)

// prepareLooks estimates how many looks there are, and finds out whether they
// can be read just now.
func (j *Job) prepareLooks(ctx context.Context) error {
	looks := 0.0
	for _, t := range j.targets {
		if t.to > t.from && t.interval > 0 {
			looks += float64(t.to.Sub(t.from)) / float64(t.interval)
		}
	}
	if j.Expected = clamp(looks); len(j.targets) > 0 {
		first := j.targets[0]
		for _, err := range j.samples.Looks(ctx, first.check, first.from, first.from+1) {
			if err != nil {
				return err
			}
		}
	}
	if j.Wide {
		return j.prepareWide(ctx)
	}
	return nil
}

// looks writes every look, by device and time.
func (j *Job) looks(ctx context.Context, t *sheet.Table) error {
	t.Begin("time", "device_id", "device", "check_id", "check", "kind", "vantage_id", "status", "rtt_ms")
	return j.eachLook(ctx, func(of *target, r *sereno.Result) error {
		t.Moment(r.At)
		t.Integer(int64(of.device))
		t.Text(of.name)
		t.Integer(int64(of.check))
		t.Text(of.how)
		t.Word(of.kind)
		t.Integer(int64(r.Vantage))
		t.Word(r.Status.String())
		if r.Status.Answered() {
			t.Milliseconds(r.RTT)
		} else {
			t.Null()
		}
		return t.End()
	})
}

// responses writes the log of response times, by device and time. Its times
// are to the microsecond, about as finely as they are measured.
func (j *Job) responses(ctx context.Context, t *sheet.Table) error {
	t.Begin("time", "device", "address", "check", "rtt_ms", "status")
	return j.eachLook(ctx, func(of *target, r *sereno.Result) error {
		t.Moment(r.At)
		t.Text(of.name)
		t.Text(of.address)
		t.Text(of.how)
		if r.Status.Answered() {
			t.Milliseconds(r.RTT.Round(time.Microsecond))
		} else {
			t.Null()
		}
		t.Word(r.Status.String())
		return t.End()
	})
}

// eachLook yields the looks of one device after the other, those of all its
// checks in the order of time.
func (j *Job) eachLook(ctx context.Context, yield func(*target, *sereno.Result) error) error {
	var readers []reader // their pages are used again
	for first := 0; first < len(j.targets); {
		end := first + 1
		for end < len(j.targets) && j.targets[end].device == j.targets[first].device {
			end++
		}
		for len(readers) < end-first {
			readers = append(readers, reader{})
		}
		checks := readers[:end-first]
		for i := range checks {
			of := &j.targets[first+i]
			checks[i] = reader{of: of, next: of.from, samples: j.samples, page: checks[i].page[:0]}
		}
		if err := merge(ctx, checks, yield); err != nil {
			return err
		}
		first = end
	}
	return nil
}

func merge(ctx context.Context, checks []reader, yield func(*target, *sereno.Result) error) error {
	for {
		var earliest *reader
		for i := range checks {
			r := &checks[i]
			if r.at == len(r.page) {
				if err := r.read(ctx); err != nil {
					return err
				}
			}
			if r.at < len(r.page) && (earliest == nil || r.page[r.at].At < earliest.page[earliest.at].At) {
				earliest = r
			}
		}
		if earliest == nil {
			return ctx.Err()
		}
		if err := yield(earliest.of, &earliest.page[earliest.at]); err != nil {
			return err
		}
		earliest.at++
	}
}

// pageLooks is how many looks of one check are read at a time: 0.8 MB, a few
// milliseconds.
const pageLooks = 16 << 10

// A reader reads the looks of one check page by page.
type reader struct {
	of      *target
	samples Samples
	next    sereno.Instant // where to go on
	page    []sereno.Result
	at      int // where in page its user is
}

// read gets the next page, which is empty after the last.
func (r *reader) read(ctx context.Context) error {
	r.page, r.at = r.page[:0], 0
	if r.next >= r.of.to {
		return nil
	}
	for look, err := range r.samples.Looks(ctx, r.of.check, r.next, r.of.to) {
		if err != nil {
			return err
		}
		r.page = append(r.page, look)
		if len(r.page) == pageLooks {
			r.next = look.At + 1
			return nil
		}
	}
	r.next = r.of.to
	return ctx.Err()
}
