package alert

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"sereno"
	"sereno/match"
)

// A policy is a Policy that is ready, with what it leaves open filled in.
type policy struct {
	Policy
	match match.Expression
	quiet []quiet
}

// mostReminders and mostSteps bound what one trouble can say.
const (
	mostSteps     = 20
	mostReminders = 50
	mostAfter     = 30 * 24 * time.Hour
)

func (p *Plan) compile(m *mistakes, field string, from Policy) *policy {
	pol := &policy{Policy: from}
	var err error
	pol.match, err = match.Compile(from.Match)
	m.under(field+".match", err)
	switch from.GroupWait {
	case 0:
		pol.GroupWait = DefaultGroupWait
	case -1:
		pol.GroupWait = 0
	default:
		m.between(field+".group_wait", "group_wait", from.GroupWait, 0, time.Hour)
	}
	if from.Settle == 0 {
		pol.Settle = DefaultSettle
	}
	m.between(field+".settle", "settle", pol.Settle, 0, 24*time.Hour)
	if from.GroupBy == nil {
		pol.GroupBy = []string{"site", "parent", "status"}
	}
	for i, key := range pol.GroupBy {
		if label, ok := strings.CutPrefix(key, "label."); ok && label != "" || slices.Contains(groupKeys, key) {
			continue
		}
		m.add(fmt.Sprintf("%s.group_by[%d]", field, i), "%q is nothing to group by; there are %s and label.NAME%s",
			key, strings.Join(groupKeys, ", "), sereno.DidYouMean(key, slices.Values(groupKeys)))
	}
	m.raises(field, from.Raise)
	m.steps(p, field, from.Steps)
	if from.Steps == nil {
		pol.Steps = []Step{usualStep}
	}
	for i, q := range from.Quiet {
		pol.quiet = append(pol.quiet, m.quiet(fmt.Sprintf("%s.quiet[%d]", field, i), q, p.zone))
	}
	return pol
}

var groupKeys = []string{"site", "parent", "status", "kind", "device", "severity"}

func (m *mistakes) raises(field string, list []Raise) {
	for i, r := range list {
		at := fmt.Sprintf("%s.raise[%d]", field, i)
		m.between(at+".after", "after", r.After, time.Second, mostAfter)
		if r.To == sereno.SeverityNone || r.To > sereno.SeverityCritical {
			m.add(at+".to", "say what it is raised to: low, medium, high or critical")
		}
		if i > 0 && (r.After <= list[i-1].After || r.To <= list[i-1].To) {
			m.add(at, "each raise comes later than the one before, and to more")
		}
	}
}

func (m *mistakes) steps(p *Plan, field string, list []Step) {
	if list != nil && len(list) == 0 {
		m.add(field+".steps", "a policy without steps tells nobody; leave steps out for the usual one")
	}
	if len(list) > mostSteps {
		m.add(field+".steps", "a policy has at most %d steps", mostSteps)
	}
	for i, s := range list {
		at := fmt.Sprintf("%s.steps[%d]", field, i)
		m.between(at+".after", "after", s.After, 0, mostAfter)
		if i > 0 && s.After < list[i-1].After {
			m.add(at+".after", "steps come in the order of their times: %s is before %s", s.After, list[i-1].After)
		}
		for j, name := range s.Channels {
			place := fmt.Sprintf("%s.channels[%d]", at, j)
			p.knows(m, place, name)
			if slices.Contains(s.Channels[:j], name) {
				m.add(place, "%q is in this step already", name)
			}
		}
		if len(s.Remind) > mostReminders {
			m.add(at+".remind", "a step has at most %d reminders", mostReminders)
		}
		for j, after := range s.Remind {
			place := fmt.Sprintf("%s.remind[%d]", at, j)
			m.between(place, "a reminder", after, time.Second, mostAfter)
			if j > 0 && after <= s.Remind[j-1] {
				m.add(place, "reminders count from their step, and each comes later than the one before: %s is not after %s", after, s.Remind[j-1])
			}
		}
	}
}

// severity is that of a trouble by this policy, before it is raised.
func (pol *policy) severity(own sereno.Severity) sereno.Severity {
	if pol.Severity != sereno.SeverityNone {
		return pol.Severity
	}
	return own
}

// group returns what decides with whom a trouble shares a message, and what that
// is for a person.
func (pol *policy) group(s *match.Subject) (key, text string) {
	var values, words []string
	for _, by := range pol.GroupBy {
		var value, word string
		switch by {
		case "site":
			value = s.Site
			word = value
		case "parent":
			value = strings.Join(s.Parents, " or ")
			if word = value; word != "" {
				word = "behind " + word
			}
		case "status":
			value = s.Status // every message says it anyway
		case "kind":
			value = s.Kind
			word = value
		case "device":
			value = s.Device
			word = value
		case "severity":
			value = s.Severity
			word = value
		default:
			label := strings.TrimPrefix(by, "label.")
			value = s.Label[label]
			if word = value; word != "" {
				word = label + " " + word
			}
		}
		values = append(values, value)
		if word != "" {
			words = append(words, word)
		}
	}
	return strings.Join(values, "\x00"), strings.Join(words, ", ")
}

// quietUntil returns when a message that is due at a time may be sent: at that
// time, or when the quiet hours that it lies in are over.
func (pol *policy) quietUntil(s *match.Subject, severity sereno.Severity, at sereno.Instant) sereno.Instant {
	if len(pol.quiet) == 0 {
		return at
	}
	judged := *s
	judged.Severity = severity.String()
	begin := at
	for range 2 * len(pol.quiet) { // one may end in another
		before := at
		for i := range pol.quiet {
			at = pol.quiet[i].until(&judged, at)
		}
		if at == before || at.Sub(begin) > 7*24*time.Hour {
			break
		}
	}
	return at
}

// A quiet is a Quiet that is ready.
type quiet struct {
	from, to int // minutes of the day; to ≤ from: of the next
	days     [7]bool
	zone     *time.Location
	except   match.Expression
	excepts  bool
}

var weekdays = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

func (m *mistakes) quiet(field string, from Quiet, zone *time.Location) quiet {
	q := quiet{zone: zone, excepts: strings.TrimSpace(from.Except) != ""}
	var err error
	if from.Zone != "" {
		if q.zone, err = sereno.LoadZone(from.Zone); err != nil {
			m.under(field+".zone", err)
		}
	}
	q.from, q.to = m.wall(field+".from", from.From), m.wall(field+".to", from.To)
	for i, day := range from.Days {
		d := slices.Index(weekdays, day)
		if d < 0 {
			m.add(fmt.Sprintf("%s.days[%d]", field, i), "%q is no day; there are mon, tue, wed, thu, fri, sat, sun", day)
			continue
		}
		q.days[d] = true
	}
	if len(from.Days) == 0 {
		q.days = [7]bool{true, true, true, true, true, true, true}
	}
	q.except, err = match.Compile(from.Except)
	m.under(field+".except", err)
	return q
}

// wall reads a time of the day, as minutes.
func (m *mistakes) wall(field, text string) int {
	t, err := time.Parse("15:04", text)
	if err != nil || len(text) != 5 {
		m.add(field, "%q is not a time of the day such as 22:00", text)
		return 0
	}
	return 60*t.Hour() + t.Minute()
}

// until returns the end of the quiet hours that at lies in, or at. Their begin
// and end are what the clock on the wall shows, so that they are an hour longer
// or shorter in the nights in which it is changed.
func (q *quiet) until(s *match.Subject, at sereno.Instant) sereno.Instant {
	local := at.Time().In(q.zone)
	year, month, day := local.Date()
	for _, back := range []int{0, 1} {
		begins := time.Date(year, month, day-back, q.from/60, q.from%60, 0, 0, q.zone)
		if !q.days[time.Date(year, month, day-back, 12, 0, 0, 0, q.zone).Weekday()] {
			continue
		}
		over := 0
		if q.to <= q.from {
			over = 1
		}
		ends := time.Date(year, month, day-back+over, q.to/60, q.to%60, 0, 0, q.zone)
		if at < sereno.At(begins) || at >= sereno.At(ends) {
			continue
		}
		if q.excepts {
			if holds, err := q.except.Holds(*s); err == nil && holds {
				return at
			}
		}
		return sereno.At(ends)
	}
	return at
}
