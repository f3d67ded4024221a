package message

import (
	"fmt"
	"strings"
	"time"

	"sereno"
)

// A calendar writes times as a person who reads now would.
type calendar struct{ now time.Time }

// at writes a moment: "03:12:04 CET", with its day if that is not today's.
func (c calendar) at(i sereno.Instant) string {
	if i == 0 {
		return ""
	}
	t := i.Time().In(c.now.Location())
	return c.day(t) + t.Format("15:04:05 MST")
}

// span writes a stretch: "12:03:04–12:06:26 CET". Both ends name their zone
// where the clocks were changed in between, and their day where it is not the
// same. One that lasts has no end.
func (c calendar) span(begin, end sereno.Instant) string {
	if begin == 0 || end == 0 {
		return c.at(begin)
	}
	b, e := begin.Time().In(c.now.Location()), end.Time().In(c.now.Location())
	from := c.day(b) + b.Format("15:04:05")
	if b.Format("MST") != e.Format("MST") {
		from += b.Format(" MST")
	}
	to := e.Format("15:04:05 MST")
	if b.Format(time.DateOnly) != e.Format(time.DateOnly) {
		day := "Mon 2 Jan "
		if b.Year() != e.Year() {
			day = "Mon 2 Jan 2006 "
		}
		return from + " – " + e.Format(day) + to
	}
	return from + "–" + to
}

// day is nothing for today, and else "Fri 20 Nov " with the year if it is
// another one.
func (c calendar) day(t time.Time) string {
	switch {
	case t.Format(time.DateOnly) == c.now.Format(time.DateOnly):
		return ""
	case t.Year() == c.now.Year():
		return t.Format("Mon 2 Jan ")
	default:
		return t.Format("Mon 2 Jan 2006 ")
	}
}

// length writes a length of time: "8 s", "3 m 22 s". Nothing is "".
func length(d time.Duration) string {
	if d <= 0 {
		return ""
	}
	return strings.Replace(sereno.FormatLength(d), ".0 s", " s", 1)
}

// roughly writes a length of time in one unit: "20 min".
func roughly(d time.Duration) string {
	switch {
	case d <= 0:
		return ""
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s", max(1, d.Round(time.Second)/time.Second))
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", d.Round(time.Minute)/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", d.Round(time.Hour)/time.Hour)
	default:
		return fmt.Sprintf("%d days", d/(24*time.Hour))
	}
}
