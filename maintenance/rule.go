package maintenance

import (
	"fmt"
	"iter"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"sereno"
)

type frequency uint8

const (
	once frequency = iota
	yearly
	monthly
	weekly
	daily
	hourly
	minutely
)

var frequencies = map[string]frequency{"YEARLY": yearly, "MONTHLY": monthly, "WEEKLY": weekly, "DAILY": daily, "HOURLY": hourly, "MINUTELY": minutely}

var weekdays = map[string]time.Weekday{
	"MO": time.Monday, "TU": time.Tuesday, "WE": time.Wednesday, "TH": time.Thursday, "FR": time.Friday, "SA": time.Saturday, "SU": time.Sunday,
}

const (
	maxRule     = 500     // characters of a rule
	maxInterval = 100_000 // of its frequency
	maxCount    = 10_000
	// maxSteps is how many periods are looked at for the next occurrence. A day,
	// or an hour, that does not fit is one step; what fits at all comes long
	// before.
	maxSteps = 500_000
)

// A weekday of a rule: every one, or the nth of its month or year, from its end
// if n < 0.
type weekday struct {
	n   int
	day time.Weekday
}

// A rule is a recurrence rule of RFC 5545 on a wall without a zone. It is
// evaluated period by period (years of a YEARLY rule …), each by itself, so any
// of them is as quick to reach as the first.
type rule struct {
	frequency frequency
	interval  wall
	weekStart time.Weekday
	count     int
	until     wall           // the last moment an occurrence may begin at
	untilAt   sereno.Instant // the same, of an UNTIL in UTC; 0 if it is not
	untilSet  bool

	months, monthDays, yearDays, weeks []int
	weekdays                           []weekday
	hours, minutes, seconds            []int
	positions                          []int

	start wall
	times []wall // of a day that fits: all hours × minutes × seconds
}

// parseRule reads a rule; "" is once.
func parseRule(text string) (rule, error) {
	r := rule{interval: 1, weekStart: time.Monday, until: math.MaxInt64}
	text = strings.ToUpper(strings.TrimSpace(text))
	if text == "" {
		return r, nil
	}
	wrong := func(format string, args ...any) (rule, error) {
		return rule{}, sereno.Errorf(sereno.Invalid, format, args...)
	}
	if len(text) > maxRule {
		return wrong("a rule has at most %d characters, not %d", maxRule, len(text))
	}
	if strings.Contains(text, "DTSTART") {
		return wrong("DTSTART has no place in the rule: write the first begin as start, and where its clock hangs as zone")
	}
	if strings.Contains(text, "TZID") {
		return wrong("TZID has no place in the rule: write it as zone")
	}
	seen := map[string]bool{}
	for part := range strings.SplitSeq(strings.TrimPrefix(text, "RRULE:"), ";") {
		name, value, ok := strings.Cut(part, "=")
		if !ok || value == "" {
			return wrong("%q is no part of a rule: parts are NAME=value with a semicolon between them, as in FREQ=WEEKLY;BYDAY=SU", part)
		}
		if seen[name] {
			return wrong("%s is there twice", name)
		}
		seen[name] = true
		if err := r.part(name, value); err != nil {
			return rule{}, err
		}
	}
	return r, r.check(seen)
}

// part reads one part of a rule.
func (r *rule) part(name, value string) (err error) {
	switch name {
	case "FREQ":
		f, ok := frequencies[value]
		if value == "SECONDLY" {
			return sereno.Errorf(sereno.Invalid, "a window that begins every second never ends: take FREQ=MINUTELY or something rarer")
		}
		if !ok {
			return sereno.Errorf(sereno.Invalid, "FREQ=%s: there are YEARLY, MONTHLY, WEEKLY, DAILY, HOURLY and MINUTELY", value)
		}
		r.frequency = f
	case "INTERVAL":
		n, err := number(name, value, 1, maxInterval)
		r.interval = wall(n)
		return err
	case "COUNT":
		if r.count, err = number(name, value, 1, maxCount); err != nil {
			return sereno.Errorf(sereno.Invalid, "COUNT is from 1 to %d, not %s; a rule that goes on longer has an UNTIL, or no end", maxCount, value)
		}
	case "UNTIL":
		return r.readUntil(value)
	case "WKST":
		d, ok := weekdays[value]
		if !ok {
			return sereno.Errorf(sereno.Invalid, "WKST=%s: the days are MO, TU, WE, TH, FR, SA and SU", value)
		}
		r.weekStart = d
	case "BYDAY":
		r.weekdays, err = readWeekdays(value)
	case "BYMONTH":
		r.months, err = numbers(name, value, 1, 12, false)
	case "BYMONTHDAY":
		r.monthDays, err = numbers(name, value, 1, 31, true)
	case "BYYEARDAY":
		r.yearDays, err = numbers(name, value, 1, 366, true)
	case "BYWEEKNO":
		r.weeks, err = numbers(name, value, 1, 53, true)
	case "BYHOUR":
		r.hours, err = numbers(name, value, 0, 23, false)
	case "BYMINUTE":
		r.minutes, err = numbers(name, value, 0, 59, false)
	case "BYSECOND":
		r.seconds, err = numbers(name, value, 0, 59, false)
	case "BYSETPOS":
		r.positions, err = numbers(name, value, 1, 366, true)
	default:
		return sereno.Errorf(sereno.Invalid, "a rule has no part %s: there are FREQ, INTERVAL, COUNT, UNTIL, WKST, BYMONTH, BYWEEKNO, BYYEARDAY, BYMONTHDAY, BYDAY, BYHOUR, BYMINUTE, BYSECOND and BYSETPOS", name)
	}
	return err
}

// check refuses what RFC 5545 gives no meaning to, or several.
func (r *rule) check(seen map[string]bool) error {
	ordinal := slices.ContainsFunc(r.weekdays, func(d weekday) bool { return d.n != 0 })
	f := r.frequency
	var text string
	switch {
	case f == once:
		text = "a rule needs FREQ, as in FREQ=WEEKLY;BYDAY=SU; without a rule the window is once"
	case seen["COUNT"] && seen["UNTIL"]:
		text = "a rule ends by COUNT or by UNTIL, not by both"
	case r.weeks != nil && f != yearly:
		text = "BYWEEKNO goes with FREQ=YEARLY alone"
	case r.weeks != nil && r.weekdays == nil:
		text = "BYWEEKNO needs BYDAY, to say which days of the week"
	case r.yearDays != nil && (f == monthly || f == weekly || f == daily):
		text = "BYYEARDAY does not go with FREQ=MONTHLY, WEEKLY or DAILY"
	case r.monthDays != nil && f == weekly:
		text = "BYMONTHDAY does not go with FREQ=WEEKLY"
	case ordinal && f != monthly && f != yearly:
		text = "a numbered day such as 2MO goes with FREQ=MONTHLY or YEARLY alone"
	case ordinal && r.weeks != nil:
		text = "a numbered day such as 2MO does not go with BYWEEKNO"
	case r.positions != nil && f >= hourly:
		text = "BYSETPOS goes with FREQ=DAILY or something rarer"
	case r.positions != nil && !slices.ContainsFunc([]string{"BYMONTH", "BYWEEKNO", "BYYEARDAY", "BYMONTHDAY", "BYDAY", "BYHOUR", "BYMINUTE", "BYSECOND"}, func(s string) bool { return seen[s] }):
		text = "BYSETPOS chooses from what another BY part gives: add one, such as BYDAY"
	default:
		return nil
	}
	return sereno.Errorf(sereno.Invalid, "%s", text)
}

func (r *rule) readUntil(value string) error {
	r.untilSet = true
	if t, err := time.Parse("20060102T150405Z", value); err == nil && t.Year() >= 1970 {
		r.untilAt = sereno.At(t)
		return nil
	}
	if t, err := time.Parse("20060102T150405", value); err == nil && t.Year() >= 1970 {
		r.until = wall(t.Unix())
		return nil
	}
	if t, err := time.Parse("20060102", value); err == nil && t.Year() >= 1970 {
		r.until = wall(t.Unix()) + wallDay - 1 // that day is one of them
		return nil
	}
	return sereno.Errorf(sereno.Invalid, "UNTIL=%s is no time: write 20261231 for all of that day, 20261231T235900 by the clock on the wall, or 20261231T225900Z in UTC", value)
}

func number(name, text string, from, to int) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n < from || n > to {
		return 0, sereno.Errorf(sereno.Invalid, "%s is from %d to %d, not %s", name, from, to, text)
	}
	return n, nil
}

// numbers reads a list, and returns it sorted, each once. With fromEnd they may
// count from the end: −1 is the last.
func numbers(name, text string, from, to int, fromEnd bool) ([]int, error) {
	var list []int
	for item := range strings.SplitSeq(text, ",") {
		n, err := strconv.Atoi(item)
		if fromEnd && err == nil && -to <= n && n <= -from || err == nil && from <= n && n <= to {
			list = append(list, n)
			continue
		}
		also := ""
		if fromEnd {
			also = fmt.Sprintf(", or from -%d to -%d counted from the end", to, from)
		}
		return nil, sereno.Errorf(sereno.Invalid, "%s is a list of numbers from %d to %d%s, not %s", name, from, to, also, text)
	}
	slices.Sort(list)
	return slices.Compact(list), nil
}

func readWeekdays(text string) ([]weekday, error) {
	var list []weekday
	for item := range strings.SplitSeq(text, ",") {
		digits := item[:max(0, len(item)-2)]
		d, ok := weekdays[item[len(digits):]]
		n := 0
		if ok && digits != "" {
			var err error
			n, err = strconv.Atoi(digits)
			ok = err == nil && n != 0 && -53 <= n && n <= 53
		}
		if !ok {
			return nil, sereno.Errorf(sereno.Invalid, "BYDAY is a list of MO, TU, WE, TH, FR, SA and SU, numbered if need be (1MO is the first Monday, -1SU the last Sunday), not %s", text)
		}
		list = append(list, weekday{n, d})
	}
	return list, nil
}

// settle makes the rule begin at start, from which it takes what it does not
// say itself, and turns a COUNT into the moment of its last occurrence.
func (r *rule) settle(start wall, wallAt func(sereno.Instant) wall) {
	r.start = start
	t := start.date()
	if r.weeks == nil && r.yearDays == nil && r.monthDays == nil && r.weekdays == nil {
		switch r.frequency {
		case yearly:
			if r.months == nil {
				r.months = []int{int(t.Month())}
			}
			r.monthDays = []int{t.Day()}
		case monthly:
			r.monthDays = []int{t.Day()}
		case weekly:
			r.weekdays = []weekday{{day: t.Weekday()}}
		}
	}
	if r.hours == nil && r.frequency < hourly {
		r.hours = []int{t.Hour()}
	}
	if r.minutes == nil && r.frequency < minutely {
		r.minutes = []int{t.Minute()}
	}
	if r.seconds == nil {
		r.seconds = []int{t.Second()}
	}
	r.times = nil
	if r.frequency < hourly {
		for _, h := range r.hours {
			for _, m := range r.minutes {
				for _, s := range r.seconds {
					r.times = append(r.times, wall(h)*wallHour+wall(m)*wallMinute+wall(s))
				}
			}
		}
	}
	if !r.untilAt.IsZero() {
		// Where the wall is put back it shows less than it did: a day more is
		// looked at, and each occurrence then compared with the moment itself.
		r.until = wallAt(r.untilAt) + wallDay
	}
	if r.count > 0 {
		n := 0
		for w := range r.occurrences(start) {
			if n++; n == r.count {
				r.until = w
				break
			}
		}
	}
}

// end returns how far an occurrence is looked for from a wall on.
func (r *rule) end(from wall) time.Time {
	far := from.date().AddDate(horizon, 0, 0)
	if r.until < wall(far.Unix()) {
		return r.until.date()
	}
	return far
}

// occurrences yields what begins at from or later, ascending. It ends with the
// rule, or when nothing is in sight.
func (r *rule) occurrences(from wall) iter.Seq[wall] {
	return func(yield func(wall) bool) {
		from = max(from, r.start)
		if r.frequency == once {
			if from <= r.start {
				yield(r.start)
			}
			return
		}
		sight := wall(from.date().AddDate(horizon, 0, 0).Unix())
		var found []wall
		steps := 0
		for k := r.index(from); steps < maxSteps; steps++ {
			begin := r.period(k)
			if begin > r.until || begin > sight {
				return
			}
			k, found = r.expand(k, begin, found[:0])
			for _, w := range found {
				if w < from {
					continue
				}
				if w > r.until || !yield(w) {
					return
				}
				steps = 0
				sight = max(sight, wall(w.date().AddDate(horizon, 0, 0).Unix()))
			}
		}
	}
}

// index returns the number of the period that a wall lies in or follows, the
// one of the start being 0.
func (r *rule) index(w wall) wall {
	a, b := r.start.date(), w.date()
	var units wall
	switch r.frequency {
	case yearly:
		units = wall(b.Year() - a.Year())
	case monthly:
		units = wall((b.Year()-a.Year())*12 + int(b.Month()-a.Month()))
	case weekly:
		units = floorDiv(w.days()-r.week(r.start), 7)
	case daily:
		units = w.days() - r.start.days()
	case hourly:
		units = floorDiv(w, wallHour) - floorDiv(r.start, wallHour)
	default:
		units = floorDiv(w, wallMinute) - floorDiv(r.start, wallMinute)
	}
	return max(0, units/r.interval)
}

// week returns the first day of the week of a wall.
func (r *rule) week(w wall) wall {
	return w.days() - wall((int(w.date().Weekday())-int(r.weekStart)+7)%7)
}

// period returns when the period of a number begins.
func (r *rule) period(k wall) wall {
	units := k * r.interval
	t := r.start.date()
	switch r.frequency {
	case yearly:
		return wall(time.Date(t.Year()+int(units), 1, 1, 0, 0, 0, 0, time.UTC).Unix())
	case monthly:
		return wall(time.Date(t.Year(), t.Month()+time.Month(units), 1, 0, 0, 0, 0, time.UTC).Unix())
	case weekly:
		return (r.week(r.start) + 7*units) * wallDay
	case daily:
		return (r.start.days() + units) * wallDay
	case hourly:
		return (floorDiv(r.start, wallHour) + units) * wallHour
	default:
		return (floorDiv(r.start, wallMinute) + units) * wallMinute
	}
}

// expand appends the occurrences of a period and returns the number of the next
// one that may have any.
func (r *rule) expand(k, begin wall, to []wall) (wall, []wall) {
	first := begin.days()
	t := begin.date()
	days := wall(1)
	switch r.frequency {
	case yearly:
		days = wall(time.Date(t.Year()+1, 1, 1, 0, 0, 0, 0, time.UTC).Unix())/wallDay - first
	case monthly:
		days = wall(time.Date(t.Year(), t.Month()+1, 1, 0, 0, 0, 0, time.UTC).Unix())/wallDay - first
	case weekly:
		days = 7
	case hourly, minutely:
		return r.expandTimes(k, begin, to)
	}
	for d := first; d < first+days; d++ {
		if !r.fits(d) {
			continue
		}
		for _, at := range r.times {
			to = append(to, d*wallDay+at)
		}
	}
	if r.positions != nil {
		to = choose(to, r.positions)
	}
	return k + 1, to
}

// expandTimes is expand for hours and minutes: a day or an hour that does not
// fit is passed over as a whole.
func (r *rule) expandTimes(k, begin wall, to []wall) (wall, []wall) {
	skip := func(next wall) wall {
		unit := wallHour
		if r.frequency == minutely {
			unit = wallMinute
		}
		step := unit * r.interval
		return k + max(1, (next-begin+step-1)/step)
	}
	t := begin.date()
	switch {
	case !r.fits(begin.days()):
		return skip((begin.days() + 1) * wallDay), to
	case r.hours != nil && !slices.Contains(r.hours, t.Hour()):
		return skip((floorDiv(begin, wallHour) + 1) * wallHour), to
	}
	minutes := r.minutes
	if r.frequency == minutely {
		if minutes != nil && !slices.Contains(minutes, t.Minute()) {
			return k + 1, to
		}
		minutes = []int{0}
	}
	for _, m := range minutes {
		for _, s := range r.seconds {
			to = append(to, begin+wall(m)*wallMinute+wall(s))
		}
	}
	return k + 1, to
}

// choose keeps the nth of a sorted list, counted from its end if n < 0.
func choose(list []wall, positions []int) []wall {
	var chosen []wall
	for _, n := range positions {
		if n < 0 {
			n += len(list) + 1
		}
		if 1 <= n && n <= len(list) {
			chosen = append(chosen, list[n-1])
		}
	}
	slices.Sort(chosen)
	return slices.Compact(chosen)
}

// fits reports whether a day (from 1970-01-01) is one of the rule's.
func (r *rule) fits(d wall) bool {
	t := (d * wallDay).date()
	if r.months != nil && !slices.Contains(r.months, int(t.Month())) {
		return false
	}
	y, m, _ := t.Date()
	inMonth := time.Date(y, m+1, 0, 0, 0, 0, 0, time.UTC).Day()
	if r.monthDays != nil && !among(r.monthDays, t.Day(), inMonth) {
		return false
	}
	inYear := time.Date(y, 12, 31, 0, 0, 0, 0, time.UTC).YearDay()
	if r.yearDays != nil && !among(r.yearDays, t.YearDay(), inYear) {
		return false
	}
	if r.weeks != nil {
		if n, of := r.weekOf(d); !among(r.weeks, n, of) {
			return false
		}
	}
	if r.weekdays == nil {
		return true
	}
	at, of := t.Day(), inMonth
	if r.frequency == yearly && r.months == nil {
		at, of = t.YearDay(), inYear
	}
	return slices.ContainsFunc(r.weekdays, func(w weekday) bool {
		return w.day == t.Weekday() && (w.n == 0 || w.n == (at-1)/7+1 || -w.n == (of-at)/7+1)
	})
}

// among reports whether the nth of so many is in a list in which −1 is the last.
func among(list []int, n, of int) bool {
	return slices.Contains(list, n) || slices.Contains(list, n-of-1)
}

// weekOf returns the number of the week that a day lies in and how many its year
// has: week 1 is the first with four days in the year, as in ISO 8601, but
// weeks begin on WKST.
func (r *rule) weekOf(d wall) (n, of int) {
	begin := r.week(d * wallDay)
	year := ((begin + 3) * wallDay).date().Year()
	first := func(year int) wall { return r.week(wall(time.Date(year, 1, 4, 0, 0, 0, 0, time.UTC).Unix())) }
	one := first(year)
	return int(begin-one)/7 + 1, int(first(year+1)-one) / 7
}
