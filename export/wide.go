package export

import (
	"context"
	"fmt"
	"math"
	"time"

	"sereno"
	"sereno/sheet"
)

const (
	minStep = 100 * time.Millisecond
	maxStep = 24 * time.Hour

	// maxColumns is how many addresses one table may have beside each other;
	// spreadsheets end at 16,384 columns.
	maxColumns = 10_000
	// maxCells is how much of a wide table is in memory: 32 MB.
	maxCells = 2 << 20
	// maxSlots is how many of its rows are, of few columns.
	maxSlots = 16 << 10
)

// prepareWide finds the columns: the checks that looked in the window.
func (j *Job) prepareWide(ctx context.Context) error {
	step := time.Duration(math.MaxInt64)
	columns := j.targets[:0]
	for _, t := range j.targets {
		looked, err := j.looked(ctx, &t)
		if err != nil {
			return err
		}
		if !looked {
			continue
		}
		columns = append(columns, t)
		step = min(step, t.interval)
		if len(columns) > maxColumns {
			return &sereno.Error{Kind: sereno.Invalid, Field: "wide", Text: fmt.Sprintf(
				"more than %d checks looked in this window, and a wide table has at most that many columns: choose devices by tag or by device, or leave out wide", maxColumns)}
		}
	}
	j.targets = columns
	if j.Step == 0 {
		j.Step = max(step, minStep)
	}
	j.Expected = clamp(float64(j.To.Sub(j.From)) / float64(j.Step))
	return nil
}

func (j *Job) looked(ctx context.Context, t *target) (bool, error) {
	for _, err := range j.samples.Looks(ctx, t.check, t.from, t.to) {
		return err == nil, err
	}
	return false, ctx.Err()
}

// A slot is what one check saw in one row of a wide table.
type slot struct {
	sum      int64 // of round-trip times, in nanoseconds
	answered int32
	lost     int32
}

// wide writes one row for each step of the window in which anybody looked, and
// one column for each check. A cell is the mean of the answers in the step, or
// "lost" (in JSON null) if there were looks but no answer; it is left out if
// there was no look.
func (j *Job) wide(ctx context.Context, t *sheet.Table) error {
	t.Begin(append([]string{"time"}, j.headings()...)...)
	if len(j.targets) == 0 {
		return nil
	}
	step := sereno.Instant(j.Step / time.Microsecond)
	stretch := max(1, min(int(min(maxSlots, (j.To-j.From)/step+2)), maxCells/len(j.targets)))
	cells := make([]slot, stretch*len(j.targets))
	seen := make([]bool, stretch)
	for begin := j.From - j.From%step; begin < j.To; begin += step * sereno.Instant(stretch) {
		clear(cells)
		clear(seen)
		end := begin + step*sereno.Instant(stretch)
		for c := range j.targets {
			of := &j.targets[c]
			for r, err := range j.samples.Looks(ctx, of.check, max(begin, of.from), min(end, of.to)) {
				if err != nil {
					return err
				}
				i := int((r.At - begin) / step)
				seen[i] = true
				s := &cells[i*len(j.targets)+c]
				if r.Status.Answered() {
					s.sum += int64(r.RTT)
					s.answered++
				} else {
					s.lost++
				}
			}
		}
		for i := range seen {
			if !seen[i] {
				continue
			}
			t.Moment(begin + step*sereno.Instant(i))
			for _, s := range cells[i*len(j.targets):][:len(j.targets)] {
				s.write(t, j.Format)
			}
			if err := t.End(); err != nil {
				return err
			}
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

func (s slot) write(t *sheet.Table, f sheet.Format) {
	switch {
	case s.answered > 0:
		t.Milliseconds(time.Duration(s.sum / int64(s.answered)).Round(time.Microsecond))
	case s.lost == 0:
		t.LeaveOut()
	case f == sheet.CSV:
		t.Word("lost")
	default:
		t.Null()
	}
}

// headings names the columns: by device and address, by the check where a
// device has several, by its id where the same would stand there twice.
func (j *Job) headings() []string {
	checks := map[sereno.DeviceID]int{}
	for _, t := range j.targets {
		checks[t.device]++
	}
	headings := make([]string, len(j.targets))
	count := map[string]int{"time": 1}
	for i, t := range j.targets {
		headings[i] = t.name
		if t.address != t.name {
			headings[i] += " (" + t.address + ")"
		}
		if checks[t.device] > 1 {
			headings[i] += " " + t.how
		}
		count[headings[i]]++
	}
	for i, t := range j.targets {
		if count[headings[i]] > 1 {
			headings[i] += fmt.Sprintf(" #%d", t.check)
		}
	}
	return headings
}
