package report

import (
	"fmt"
	"html/template"
	"strings"
	"time"
	"unicode/utf8"

	"sereno"
)

// Pictures are SVG in the page. Status is told by place and pattern, colour
// comes on top: down hangs below the line, what was not seen is hatched. They
// are made of numbers and of texts of our own alone, so nothing in them needs
// escaping but what writes says is text.

const (
	trackUp   = 20 // height of the share of each status
	trackDown = 11 // height of the downtime that hangs below
	gap       = 2
	axis      = 14
)

// legend explains the fills of ribbons.
func (r *Report) legend() []legend {
	all := []struct {
		legend
		shown func(c cell) bool
	}{
		{legend{"up", "up"}, func(cell) bool { return true }},
		{legend{"degraded", "degraded"}, func(c cell) bool { return c.degraded > 0 }},
		{legend{"down", "down"}, func(cell) bool { return true }},
		{legend{"behind", "down behind a parent"}, func(c cell) bool { return c.behind > 0 }},
		{legend{"unknown", "not seen"}, func(cell) bool { return true }},
		{legend{"paused", "paused"}, func(c cell) bool { return c.paused > 0 }},
		{legend{"maintenance", "maintenance"}, func(c cell) bool { return c.maintenance > 0 }},
	}
	var sum cell
	for _, c := range r.whole {
		sum.merge(c)
	}
	var list []legend
	for _, l := range all {
		if l.shown(sum) {
			list = append(list, l.legend)
		}
	}
	return list
}

// draw draws a ribbon, width units wide; a detailed one has an axis and says
// the figures of each cell.
func (r *Report) draw(cells ribbon, width float64, detailed bool) template.HTML {
	var b strings.Builder
	height := trackUp + gap + trackDown
	if detailed {
		height += axis
	}
	fmt.Fprintf(&b, `<svg viewBox="0 0 %g %d" role="img" aria-label="%s">`, width, height, r.summary(cells))
	fmt.Fprintf(&b, `<rect class="track" x="0" y="%d" width="%g" height="%d"/>`, trackUp+gap, width, trackDown)
	whole := r.To.Sub(r.From).Seconds()
	place := func(i sereno.Instant) float64 { return width * i.Sub(r.From).Seconds() / whole }
	for i, c := range cells {
		if c.total() == 0 {
			continue
		}
		x, end := place(r.bounds[i]), place(r.bounds[i+1])
		wide := end - x
		if wide > 3 {
			wide -= min(2, wide/5)
		}
		if detailed {
			fmt.Fprintf(&b, `<g><title>%s</title>`, r.tells(i, c))
		}
		c.draw(&b, x, wide, r.bounds[i+1].Sub(r.bounds[i]))
		if detailed {
			b.WriteString("</g>")
		}
	}
	if detailed {
		r.drawAxis(&b, place, width)
	}
	b.WriteString("</svg>")
	return template.HTML(b.String())
}

func (c cell) draw(b *strings.Builder, x, wide float64, lasts time.Duration) {
	rect := func(class string, y, height float64) {
		fmt.Fprintf(b, `<rect class="%s" x="%.2f" y="%.2f" width="%.2f" height="%.2f"/>`, class, x, y, wide, height)
	}
	parts := []struct {
		class   string
		seconds float64
		height  float64
	}{{"up", c.up, 0}, {"degraded", c.degraded, 0}, {"maintenance", c.maintenance, 0}, {"paused", c.paused, 0}, {"unknown", c.unknown, 0}}
	room := float64(trackUp)
	for i := len(parts) - 1; i >= 0; i-- { // up comes last and gets what is left
		p := &parts[i]
		if p.seconds == 0 {
			continue
		}
		p.height = trackUp * p.seconds / c.total()
		if i > 0 {
			p.height = max(p.height, 2) // or it would not be seen
		}
		p.height = min(p.height, room)
		room -= p.height
	}
	y := float64(trackUp)
	for _, p := range parts {
		if p.height > 0 {
			y -= p.height
			rect(p.class, y, p.height)
		}
	}
	if c.down > 0 {
		height := max(3, trackDown*c.depth(max(lasts, time.Duration(c.total())*time.Second)))
		class := "down"
		if c.behind > c.down/2 {
			class = "behind"
		}
		rect(class, trackUp+gap, height)
	}
}

// tells is what one cell says in words.
func (r *Report) tells(i int, c cell) string {
	text := r.cellName(i)
	if seen := c.up + c.degraded + c.down; seen > 0 {
		text += ": up " + percent((c.up+c.degraded)/seen, true)
	} else {
		text += ": not seen"
	}
	if c.down > 0 {
		text += ", down " + seconds(c.down)
	}
	if c.unknown > 0 {
		text += ", not seen " + seconds(c.unknown)
	}
	return text
}

func seconds(s float64) string { return totalLength(sereno.Total{Seconds: int64(s)}) }

func (r *Report) cellName(i int) string {
	t := r.bounds[i].Time().In(r.Zone)
	switch r.step {
	case sereno.Hour:
		return t.Format("2006-01-02 15:04")
	case sereno.Month:
		return t.Format("January 2006")
	case sereno.Year:
		return t.Format("2006")
	case sereno.Week:
		return "week from " + t.Format(time.DateOnly)
	default:
		return t.Format(time.DateOnly)
	}
}

// summary is a ribbon in one sentence, for those who do not see it.
func (r *Report) summary(cells ribbon) string {
	bad, worst := 0, 0
	for i, c := range cells {
		if c.down > 0 {
			bad++
		}
		if c.down > cells[worst].down {
			worst = i
		}
	}
	if bad == 0 {
		return fmt.Sprintf("%s, without any downtime", plural(len(cells), r.step.String()))
	}
	return fmt.Sprintf("downtime in %d of %s, the most in %s: %s", bad, plural(len(cells), r.step.String()), r.cellName(worst), seconds(cells[worst].down))
}

// drawAxis writes about eight names below a ribbon.
func (r *Report) drawAxis(b *strings.Builder, place func(sereno.Instant) float64, width float64) {
	layout := map[sereno.Step]string{
		sereno.Hour: "2 Jan 15:04", sereno.Day: "2 Jan", sereno.Week: "2 Jan", sereno.Month: "Jan 2006", sereno.Year: "2006",
	}[r.step]
	every := max(1, (len(r.bounds)-1+7)/8)
	if r.step == sereno.Day && every > 4 {
		every = 7 * ((every + 6) / 7)
	}
	for i := 0; i < len(r.bounds)-1; i += every {
		if x := place(r.bounds[i]); x < width-60 {
			fmt.Fprintf(b, `<text x="%.1f" y="%d">%s</text>`, x, trackUp+gap+trackDown+axis-3, r.bounds[i].Time().In(r.Zone).Format(layout))
		}
	}
}

var calendarLegend = []legend{
	{"d0", "no downtime"},
	{"d1", "downtime of less than 0.1 %"},
	{"d2", "less than 1 %"},
	{"d3", "1 % and more"},
	{"unknown", "less than half of the day was seen"},
}

// class says how a day is filled.
func (d day) class() string {
	seen := d.up + d.degraded + d.down
	share := d.down / max(seen, 1e-9)
	switch {
	case d.total() == 0:
		return "none"
	case seen < (seen+d.unknown)/2 || seen == 0:
		return "unknown"
	case d.down == 0:
		return "d0"
	case share < 0.001:
		return "d1"
	case share < 0.01:
		return "d2"
	default:
		return "d3"
	}
}

// drawCalendar draws the days: of up to two months as pages of a calendar, with
// words, of a year as a field of weeks.
func (r *Report) drawCalendar() template.HTML {
	if len(r.days) < 4 {
		return ""
	}
	if len(r.days) <= 62 {
		return r.drawMonth()
	}
	return r.drawYear()
}

// weekday counts from Monday, 0.
func weekday(t time.Time) int { return (int(t.Weekday()) + 6) % 7 }

func (r *Report) drawMonth() template.HTML {
	const wide, high, head = 142.0, 30.0, 16.0
	first := weekday(r.days[0].from.Time().In(r.Zone))
	rows := (first + len(r.days) + 6) / 7
	var b strings.Builder
	fmt.Fprintf(&b, `<svg viewBox="0 0 994 %g" role="img" aria-label="%s">`, head+high*float64(rows), r.calendarSummary())
	for i, name := range []string{"Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"} {
		fmt.Fprintf(&b, `<text x="%g" y="11">%s</text>`, 3+wide*float64(i), name)
	}
	for i, d := range r.days {
		at := d.from.Time().In(r.Zone)
		x, y := 1+wide*float64((first+i)%7), head+high*float64((first+i)/7)
		class := d.class()
		fmt.Fprintf(&b, `<g><title>%s</title><rect class="%s" x="%g" y="%g" width="%g" height="%g" rx="2"/>`, r.dayTells(d), class, x, y, wide-4, high-3)
		ink := "in"
		if class == "d3" {
			ink = "on"
		}
		text := at.Format("2")
		if at.Day() == 1 || i == 0 {
			text = at.Format("2 Jan")
		}
		if d.down > 0 {
			text += " · " + seconds(d.down)
		}
		if class == "d1" || class == "d2" || class == "unknown" { // words need a ground
			fmt.Fprintf(&b, `<rect class="ground" x="%g" y="%g" width="%g" height="18" rx="2"/>`, x+3, y+4, 8+6.4*float64(utf8.RuneCountInString(text)))
		}
		fmt.Fprintf(&b, `<text class="%s" x="%g" y="%g">%s</text></g>`, ink, x+6, y+17, text)
	}
	b.WriteString("</svg>")
	return template.HTML(b.String())
}

func (r *Report) drawYear() template.HTML {
	const head, left = 16.0, 30.0
	first := weekday(r.days[0].from.Time().In(r.Zone))
	weeks := (first + len(r.days) + 6) / 7
	size := min(24, (1000-left)/float64(weeks))
	var b strings.Builder
	fmt.Fprintf(&b, `<svg viewBox="0 0 1000 %.1f" role="img" aria-label="%s">`, head+7*size, r.calendarSummary())
	for i, name := range []string{"Mon", "", "Wed", "", "Fri", "", "Sun"} {
		fmt.Fprintf(&b, `<text x="0" y="%.1f">%s</text>`, head+size*(float64(i)+0.7), name)
	}
	for i, d := range r.days {
		at := d.from.Time().In(r.Zone)
		x, y := left+size*float64((first+i)/7), head+size*float64((first+i)%7)
		if at.Day() == 1 && x < 970 {
			fmt.Fprintf(&b, `<text x="%.1f" y="11">%s</text>`, x, at.Format("Jan"))
		}
		fmt.Fprintf(&b, `<rect class="%s" x="%.1f" y="%.1f" width="%.1f" height="%.1f" rx="1.5"><title>%s</title></rect>`, d.class(), x, y, size-2, size-2, r.dayTells(d))
	}
	b.WriteString("</svg>")
	return template.HTML(b.String())
}

func (r *Report) dayTells(d day) string {
	text := d.from.Time().In(r.Zone).Format("Mon 2006-01-02")
	seen := d.up + d.degraded + d.down
	switch {
	case d.total() == 0:
		return text + ": nothing was watched"
	case seen == 0:
		return text + ": not seen"
	case d.down == 0:
		text += ": no downtime"
	default:
		text += ": down " + seconds(d.down) + ", " + plural(d.outages, "outage")
	}
	if d.unknown > 0 {
		text += ", not seen " + seconds(d.unknown)
	}
	return text
}

func (r *Report) calendarSummary() string {
	var bad, unseen int
	for _, d := range r.days {
		switch d.class() {
		case "d1", "d2", "d3":
			bad++
		case "unknown":
			unseen++
		}
	}
	return fmt.Sprintf("%s: %d with downtime, %d of which less than half was seen", plural(len(r.days), "day"), bad, unseen)
}
