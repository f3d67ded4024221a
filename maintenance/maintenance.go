// Package maintenance says when a maintenance window is: once, or by a rule
// (RFC 5545) whose wall-clock times stay put across daylight saving.
package maintenance

import (
	"errors"
	"sort"
	"sync/atomic"
	"time"

	"sereno"
	"sereno/match"
)

const (
	// MinLength and MaxLength are how long a window may be. Occurrences that
	// touch are one stretch, which may be no longer either.
	MinLength = time.Minute
	MaxLength = 31 * 24 * time.Hour

	day = 24 * time.Hour

	// horizon is how far ahead an occurrence is looked for, in years.
	horizon = 100
	// ahead is how far a memo reaches at least.
	ahead = 7 * day
	// mostOccurrences is how many are looked at for whether there is a gap
	// between them.
	mostOccurrences = 100_000
)

// A Window is a maintenance window as people write it.
type Window struct {
	Name   string
	Match  string        // which devices, see package match; "" for all
	RRule  string        // RFC 5545, without DTSTART: "FREQ=WEEKLY;BYDAY=SU"; "" for once
	Start  string        // the first begin, by the clock on the wall of Zone: "2026-11-01T02:00"
	Zone   string        // IANA name; "" for UTC
	Length time.Duration // 1 minute to 31 days
	Reason string        // for people
}

// A Calendar is a window ready to be asked. It may be used by many goroutines
// at once.
//
// An occurrence begins when the clock on the wall of the zone shows what the
// rule says. Where clocks are put forward over that time it begins with the
// first moment there is; where they are put back and show it twice, with the
// first. The whole days of its length are days of the calendar, which end at
// the same time on the wall, and the rest is time as it passes: a window of 2 h
// lasts two hours in every night, one of 24 h ends at the same time next day. A
// day that a zone never had (Pacific/Apia, 30 December 2011) has no windows.
//
// Occurrences that overlap or touch are one stretch, and At and Next speak of
// stretches.
type Calendar struct {
	Window
	Devices match.Expression

	zone *time.Location
	rule rule
	memo atomic.Pointer[memo]
}

// A stretch is one occurrence, or several that touch: [begin, end).
type stretch struct{ begin, end sereno.Instant }

// A memo holds the stretches that end after from and begin before to, all of
// them complete. Nothing of it changes.
type memo struct {
	from, to  sereno.Instant
	stretches []stretch
}

// Compile makes a window ready. Errors are sereno.Errors of kind Invalid, all of
// them joined, Field being match, rrule, start, zone or length.
func (w Window) Compile() (*Calendar, error) {
	c := &Calendar{Window: w}
	var mistakes []error
	wrong := func(field string, err error) {
		if err == nil {
			return
		}
		text := err.Error()
		if e, ok := errors.AsType[*sereno.Error](err); ok {
			text = e.Text
		}
		mistakes = append(mistakes, &sereno.Error{Kind: sereno.Invalid, Field: field, Text: text})
	}
	var err error
	c.Devices, err = match.Compile(w.Match)
	wrong("match", err)
	c.zone, err = sereno.LoadZone(w.Zone)
	wrong("zone", err)
	start, err := parseStart(w.Start)
	wrong("start", err)
	c.rule, err = parseRule(w.RRule)
	wrong("rrule", err)
	switch {
	case w.Length == 0:
		wrong("length", sereno.Errorf(sereno.Invalid, "how long the window is must be given: 2h, 90m, 48h"))
	case w.Length < MinLength || w.Length > MaxLength:
		wrong("length", sereno.Errorf(sereno.Invalid, "a window is between 1 minute and 31 days long, not %s", w.Length))
	case w.Length%time.Second != 0:
		wrong("length", sereno.Errorf(sereno.Invalid, "a window is some whole seconds long, not %s", w.Length))
	}
	if mistakes == nil {
		wrong("rrule", c.begin(start))
	}
	if mistakes != nil {
		return nil, errors.Join(mistakes...)
	}
	return c, nil
}

// parseStart reads a time on a wall.
func parseStart(text string) (wall, error) {
	if text == "" {
		return 0, sereno.Errorf(sereno.Invalid, "the first begin must be given, by the clock on the wall: 2026-11-01T02:00")
	}
	for _, layout := range []string{"2006-01-02T15:04", "2006-01-02T15:04:05", "2006-01-02 15:04"} {
		if t, err := time.Parse(layout, text); err == nil {
			if t.Year() < 2000 || t.Year() > 2199 {
				return 0, sereno.Errorf(sereno.Invalid, "the first begin lies between the years 2000 and 2199, not in %d", t.Year())
			}
			return wall(t.Unix()), nil
		}
	}
	if _, err := time.Parse(time.RFC3339, text); err == nil {
		return 0, sereno.Errorf(sereno.Invalid, "%q has an offset: write the time on the wall alone (%s), and which wall as the zone", text, text[:min(16, len(text))])
	}
	return 0, sereno.Errorf(sereno.Invalid, "%q is not a time such as 2026-11-01T02:00", text)
}

// begin settles the rule from its first begin on, and refuses one that never
// occurs or never pauses.
func (c *Calendar) begin(start wall) error {
	c.rule.settle(start, func(at sereno.Instant) wall { return wallAt(c.zone, at) })
	if until := c.rule.until; until < start {
		return sereno.Errorf(sereno.Invalid, "its UNTIL, %s, lies before the first begin, %s", until.date().Format(time.DateOnly), start.date().Format(time.DateOnly))
	}
	var run stretch
	var until sereno.Instant
	looked := 0
	for s := range c.occurrences(start) {
		if looked++; looked == 1 {
			until = s.begin.Add(5 * 366 * day)
		}
		if looked > mostOccurrences || s.begin > until {
			break
		}
		if s.begin > run.end {
			run = s
			continue
		}
		if run.end = s.end; run.end.Sub(run.begin) > MaxLength {
			return sereno.Errorf(sereno.Invalid, "its occurrences leave no gap: from %s on it would be maintenance for more than 31 days; make the window shorter or the rule rarer, or pause the devices",
				run.begin.Time().In(c.zone).Format("2006-01-02 15:04"))
		}
	}
	if looked == 0 {
		return sereno.Errorf(sereno.Invalid, "this rule never occurs between %s and %s", start.date().Format(time.DateOnly), c.rule.end(start).Format(time.DateOnly))
	}
	return nil
}

// At returns the stretch that at lies in: begin of the earliest and end of the
// latest occurrence of it.
func (c *Calendar) At(at sereno.Instant) (begin, end sereno.Instant, in bool) {
	if s, ok := c.first(at); ok && s.begin <= at {
		return s.begin, s.end, true
	}
	return 0, 0, false
}

// Next returns the first stretch that begins after at; ok is false if there is
// none in the hundred years after at.
func (c *Calendar) Next(at sereno.Instant) (begin, end sereno.Instant, ok bool) {
	s, ok := c.first(at)
	if ok && s.begin <= at {
		s, ok = c.first(s.end)
	}
	return s.begin, s.end, ok
}

// first returns the first stretch that ends after at.
func (c *Calendar) first(at sereno.Instant) (stretch, bool) {
	m := c.memo.Load()
	if m == nil || at < m.from || at >= m.to {
		m = c.remember(at)
		c.memo.Store(m)
	}
	i := sort.Search(len(m.stretches), func(i int) bool { return m.stretches[i].end > at })
	if i == len(m.stretches) {
		return stretch{}, false
	}
	return m.stretches[i], true
}

// remember makes a memo from at on. No stretch is longer than MaxLength, so one
// that ends after at has no occurrence that begins more than that before.
func (c *Calendar) remember(at sereno.Instant) *memo {
	m := &memo{from: at}
	var run stretch
	for s := range c.occurrences(wallAt(c.zone, at) - seconds(MaxLength+2*day)) {
		if s.begin <= run.end && run.end != 0 {
			if run.end = s.end; run.end.Sub(max(run.begin, at)) < ahead+2*MaxLength {
				continue
			}
			// A rule that leaves no gap later than Compile looked.
			m.stretches, m.to = append(m.stretches, run), run.end
			return m
		}
		if run.end > at {
			m.stretches = append(m.stretches, run)
			if run.begin > at.Add(ahead) {
				m.to = run.end
				return m
			}
		}
		run = s
	}
	if run.end > at {
		m.stretches = append(m.stretches, run)
	}
	// There is no more in sight. What comes into sight later is far away.
	m.to = at.Add(10 * 366 * day)
	return m
}

// occurrences yields those that begin at from or later, in order, each as it is
// in the zone, until the rule ends or nothing is in sight.
func (c *Calendar) occurrences(from wall) func(yield func(stretch) bool) {
	days, rest := c.Length/day, c.Length%day
	return func(yield func(stretch) bool) {
		begins, ends := zone{Location: c.zone}, zone{Location: c.zone}
		for w := range c.rule.occurrences(from) {
			t, gap := begins.first(w)
			if gap >= day {
				continue // that day never was
			}
			if !c.rule.untilAt.IsZero() && sereno.At(t) > c.rule.untilAt {
				return
			}
			end := t
			if days > 0 {
				end, _ = ends.first(w + seconds(days*day))
			}
			if !yield(stretch{sereno.At(t), sereno.At(end.Add(rest))}) {
				return
			}
		}
	}
}

// Covers reports whether a device of that description is among the window's.
// One that the expression cannot be asked about is not.
func (c *Calendar) Covers(s match.Subject) bool {
	holds, err := c.Devices.Holds(s)
	return err == nil && holds
}
