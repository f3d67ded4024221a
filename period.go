package sereno

import (
	"strconv"
	"strings"
	"time"
)

// A Step is a calendar step.
type Step uint8

const (
	Hour Step = iota + 1
	Day
	Week // begins on Monday (ISO 8601)
	Month
	Year
)

var stepNames = [...]string{Hour: "hour", Day: "day", Week: "week", Month: "month", Year: "year"}

func (s Step) String() string { return stepNames[s] }

// MarshalText gives the lower-case name.
func (s Step) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads the lower-case name.
func (s *Step) UnmarshalText(text []byte) error {
	for i, name := range stepNames {
		if i > 0 && name == string(text) {
			*s = Step(i)
			return nil
		}
	}
	return Errorf(Invalid, "%q is no step: there are hour, day, week, month and year", text)
}

// floor returns the beginning of the step that t lies in, in t's zone.
func (s Step) floor(t time.Time) time.Time {
	y, m, d := t.Date()
	switch s {
	case Hour:
		// An hour that is there twice, when clocks go back, is two hours.
		return t.Add(-time.Duration(t.Minute())*time.Minute - time.Duration(t.Second())*time.Second - time.Duration(t.Nanosecond()))
	case Week:
		return date(y, m, d-(int(t.Weekday())+6)%7, t.Location())
	case Month:
		return date(y, m, 1, t.Location())
	case Year:
		return date(y, time.January, 1, t.Location())
	default:
		return date(y, m, d, t.Location())
	}
}

// next returns the beginning of the step after the one that begins at t.
func (s Step) next(t time.Time) time.Time {
	y, m, d := t.Date()
	switch s {
	case Hour:
		return s.floor(t.Add(time.Hour))
	case Week:
		return date(y, m, d+7, t.Location())
	case Month:
		return date(y, m+1, 1, t.Location())
	case Year:
		return date(y+1, time.January, 1, t.Location())
	default:
		return date(y, m, d+1, t.Location())
	}
}

// date returns when a day begins. Where clocks are put forward at midnight
// there is no midnight; the day begins with the first moment that it has.
func date(y int, m time.Month, d int, zone *time.Location) time.Time {
	t := time.Date(y, m, d, 0, 0, 0, 0, zone)
	noon := time.Date(y, m, d, 12, 0, 0, 0, zone)
	if t.Day() != noon.Day() {
		_, t = t.ZoneBounds()
		return t
	}
	// Where they are put back at or after midnight, it may be there twice.
	if start, _ := t.ZoneBounds(); !start.IsZero() {
		_, before := start.Add(-time.Nanosecond).Zone()
		_, after := t.Zone()
		earlier := t.Add(-time.Duration(before-after) * time.Second)
		if earlier.Before(start) && earlier.Day() == t.Day() && earlier.Month() == t.Month() {
			return earlier
		}
	}
	return t
}

// Bounds returns the calendar steps of a zone in [from, to): from, every
// beginning of a step between, and to. The first and the last window may be
// parts of a step. More than most windows are a mistake of the kind Invalid.
func (s Step) Bounds(from, to Instant, zone *time.Location, most int) ([]Instant, error) {
	bounds := []Instant{from}
	for t := s.next(s.floor(from.Time().In(zone))); At(t) < to; t = s.next(t) {
		if len(bounds) >= most {
			return nil, Errorf(Invalid, "there are more than %d windows of one %s between %s and %s: take a longer step or a shorter window", most, s, from, to)
		}
		bounds = append(bounds, At(t))
	}
	return append(bounds, to), nil
}

// LoadZone returns the zone of an IANA name such as Europe/Berlin; "" is UTC.
func LoadZone(name string) (*time.Location, error) {
	if name == "" || name == "UTC" {
		return time.UTC, nil
	}
	zone, err := time.LoadLocation(name)
	if err != nil || name == "Local" {
		return nil, Errorf(Invalid, "%q is no time zone: use a name such as Europe/Berlin, America/New_York or UTC", name)
	}
	return zone, nil
}

// MaxWindow is how long a window may be, in years of 366 days: figures are
// lengths of time, which end at 292 years.
const MaxWindow = 100 * 366 * 24 * time.Hour

// ParseWindow reads a length of time back from now: "90m", "24h", "7d", "4w".
func ParseWindow(text string) (time.Duration, error) {
	units := map[byte]time.Duration{'m': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour, 'w': 7 * 24 * time.Hour}
	if n := len(text); n > 1 && units[text[n-1]] > 0 {
		unit := units[text[n-1]]
		count, err := strconv.ParseInt(text[:n-1], 10, 64)
		if err == nil && count > 0 && text[0] != '+' {
			if count > int64(MaxWindow/unit) {
				return 0, Errorf(Invalid, "a window of %s is too long: at most 100 years", text)
			}
			return time.Duration(count) * unit, nil
		}
	}
	return 0, Errorf(Invalid, "%q is no length of time: write 24h, 7d, 4w or 365d", text)
}

// ParsePeriod reads the name of a calendar period and returns [from, to) of it
// in a zone: "2026", "2026-10", "2026-W42" (ISO 8601), "2026-10-03", or
// relative to now "today", "yesterday", "week", "month" and "year", which are
// the current ones. A period that has begun may end after now.
func ParsePeriod(name string, zone *time.Location, now Instant) (from, to Instant, err error) {
	begin, step, ok := parsePeriod(name, now.Time().In(zone))
	if !ok {
		return 0, 0, Errorf(Invalid, "%q is no period: write 2026, 2026-10, 2026-W42, 2026-10-03, today, yesterday, week, month or year", name)
	}
	from, to = At(begin), At(step.next(begin))
	if from > now {
		return 0, 0, Errorf(Invalid, "the period %s lies in the future: it begins at %s", name, from)
	}
	return from, to, nil
}

func parsePeriod(name string, now time.Time) (begin time.Time, step Step, ok bool) {
	zone := now.Location()
	switch name {
	case "today":
		return Day.floor(now), Day, true
	case "yesterday":
		y, m, d := now.Date()
		return date(y, m, d-1, zone), Day, true
	case "week":
		return Week.floor(now), Week, true
	case "month":
		return Month.floor(now), Month, true
	case "year":
		return Year.floor(now), Year, true
	}
	if year, week, found := strings.Cut(name, "-W"); found {
		return isoWeek(year, week, zone)
	}
	for layout, step := range map[string]Step{"2006": Year, "2006-01": Month, time.DateOnly: Day} {
		if t, err := time.Parse(layout, name); err == nil && t.Year() >= 1970 {
			return date(t.Year(), t.Month(), t.Day(), zone), step, true
		}
	}
	return time.Time{}, 0, false
}

// isoWeek returns the Monday of a week: week 1 is the one with 4 January.
func isoWeek(year, week string, zone *time.Location) (time.Time, Step, bool) {
	fourth, err := time.Parse("2006-01-02", year+"-01-04")
	n, e := strconv.Atoi(week)
	if err != nil || e != nil || len(week) != 2 || n < 1 || n > 53 || fourth.Year() < 1970 {
		return time.Time{}, 0, false
	}
	monday := Week.floor(fourth).AddDate(0, 0, 7*(n-1))
	if y, _ := monday.ISOWeek(); y != fourth.Year() {
		return time.Time{}, 0, false // a year with 52 weeks
	}
	return date(monday.Year(), monday.Month(), monday.Day(), zone), Week, true
}
