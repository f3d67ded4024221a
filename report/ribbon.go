package report

import (
	"math"
	"time"

	"sereno"
)

// A ribbon is what the status was, cell by cell, of one device or of many. It
// is for drawing: whole figures are elsewhere.
type ribbon []cell

// A cell is seconds of each status, summed over devices.
type cell struct {
	up, degraded, down, behind, unknown, paused, maintenance float64
	outages                                                  int
}

func newRibbon(cells int) ribbon { return make(ribbon, cells) }

func (r ribbon) add(series []sereno.Figures) {
	for i, f := range series {
		r[i].add(f)
	}
}

func (c *cell) add(f sereno.Figures) {
	c.up += f.Up.Seconds()
	c.degraded += f.Degraded.Seconds()
	c.down += f.Down.Seconds()
	c.behind += f.Behind.Seconds()
	c.unknown += (f.Unknown - f.Outside).Seconds()
	c.paused += f.Paused.Seconds()
	c.maintenance += f.Maintenance.Seconds()
	c.outages += f.Outages
}

func (r ribbon) merge(o ribbon) {
	for i, c := range o {
		r[i].merge(c)
	}
}

func (c *cell) merge(o cell) {
	c.up += o.up
	c.degraded += o.degraded
	c.down += o.down
	c.behind += o.behind
	c.unknown += o.unknown
	c.paused += o.paused
	c.maintenance += o.maintenance
	c.outages += o.outages
}

func (c cell) total() float64 {
	return c.up + c.degraded + c.down + c.unknown + c.paused + c.maintenance
}

// depth is how far down the outages of a cell are drawn, 0 to 1: on a scale
// that makes a few seconds visible beside days.
func (c cell) depth(longest time.Duration) float64 {
	if c.down <= 0 {
		return 0
	}
	return min(1, math.Log10(1+c.down)/math.Log10(1+longest.Seconds()))
}

// A day of the calendar.
type day struct {
	from sereno.Instant
	cell
}

// maxDays is how many days a calendar has.
const maxDays = 400

// calendar divides the period into days, if these are few enough to be looked
// at.
func (m *maker) calendar() error {
	if m.step != sereno.Day && m.step != sereno.Week || m.Until.Sub(m.From) > maxDays*24*time.Hour {
		return nil
	}
	bounds, err := sereno.Day.Bounds(m.From, m.Until, m.Zone, maxDays+2)
	if err != nil {
		return err
	}
	m.days = make([]day, len(bounds)-1)
	for i := range m.days {
		m.days[i].from = bounds[i]
	}
	return nil
}

// mark adds spans to the days of the calendar.
func (m *maker) mark(spans []sereno.Span) {
	if len(m.days) == 0 {
		return
	}
	bounds := make([]sereno.Instant, len(m.days)+1)
	for i, d := range m.days {
		bounds[i] = d.from
	}
	bounds[len(m.days)] = m.Until
	for i, f := range m.Counting.Series(spans, bounds) {
		m.days[i].add(f)
	}
}
