package message

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"sereno"
)

// A Value is something that templates can speak of.
type Value struct {
	Name    string
	Example string
	Means   string
	List    bool // {{#name}}…{{/name}} is written once for each
	One     bool // of one incident: in a list each has its own, outside of it the first
}

// Values lists all that templates can speak of, as the manual has it. What is
// empty, 0 or false leaves its section out.
var Values = []Value{
	{Name: "event", Example: "opened", Means: "why the message is sent: opened, reminder, acknowledged, changed, closed, digest, test"},
	{Name: "severity", Example: "critical", Means: "of the worst: critical, high, medium, low"},
	{Name: "count", Example: "37", Means: "how many troubles the message is about"},
	{Name: "many", Example: "true", Means: "it is about more than one"},
	{Name: "noun", Example: "devices", Means: "what they are: devices, checks if there are several of one device, troubles if one is Sereno's own"},
	{Name: "state", Example: "down", Means: "what all of them are: down, degraded, flapping, in trouble if they differ, open if one is Sereno's own"},
	{Name: "group", Example: "plant1, behind core-sw1", Means: "what they share"},
	{Name: "where", Example: "at plant1 (behind core-sw1)", Means: "the same as the end of a sentence"},
	{Name: "began", Example: "03:12:04 CET", Means: "when the first of them began"},
	{Name: "over_count", Example: "5", Means: "how many of them are over"},
	{Name: "all_over", Example: "true", Means: "all of them are"},
	{Name: "incidents", Example: "…", Means: "the troubles, worst first, 20 at most; see the next table", List: true},
	{Name: "more", Example: "17", Means: "how many the list leaves out"},
	{Name: "both", Example: "true", Means: "nobody was told that it began: this message tells the begin and the end"},
	{Name: "again", Example: "3", Means: "how many times it opened in a short time, if above 1"},
	{Name: "again_nth", Example: "3rd", Means: "the same as a word"},
	{Name: "again_in", Example: "20 min", Means: "within which time"},
	{Name: "reminder", Example: "2", Means: "the how-manieth reminder"},
	{Name: "reminders", Example: "3", Means: "of how many"},
	{Name: "last", Example: "true", Means: "no more will follow until it recovers"},
	{Name: "by", Example: "anna", Means: "who acknowledged or resolved it"},
	{Name: "note", Example: "on my way", Means: "what that person wrote"},
	{Name: "was", Example: "degraded", Means: "what the trouble was before it changed; nothing if it is only more severe now"},
	{Name: "late", Example: "7 min", Means: "how late the message is, if it is"},
	{Name: "late_because", Example: "telegram could not be reached", Means: "why it is"},
	{Name: "held", Example: "maintenance sunday", Means: "why it was kept back, if it was"},
	{Name: "channel", Example: "ops-telegram", Means: "the channel that it goes to"},
	{Name: "now", Example: "03:12:14 CET", Means: "when it is sent"},
	{Name: "url", Example: "https://sereno.example/#/incidents/42", Means: "the page of the trouble; empty until there is one"},
	{Name: "acknowledge_url", Example: "https://sereno.example/a/…", Means: "where it is acknowledged, once, after a question"},

	{Name: "id", Example: "42", Means: "the number of the incident", One: true},
	{Name: "name", Example: "core-sw1", Means: "the name of the device", One: true},
	{Name: "address", Example: "192.0.2.7", Means: "its address", One: true},
	{Name: "site", Example: "plant1", Means: "its tag site:…", One: true},
	{Name: "tags", Example: "…", Means: "its tags, each {{.}}", List: true, One: true},
	{Name: "check", Example: "icmp", Means: "the check that found the trouble", One: true},
	{Name: "who", Example: "core-sw1 at plant1", Means: "device, check (unless it is icmp) and site; what own trouble is about", One: true},
	{Name: "level", Example: "critical", Means: "the severity of this one", One: true},
	{Name: "trouble", Example: "down", Means: "down, degraded, flapping; isolated, absent, storage, socket, overload, clock, outbox, policy, channel, peer", One: true},
	{Name: "down", Example: "true", Means: "it is down", One: true},
	{Name: "degraded", Example: "true", Means: "it is degraded", One: true},
	{Name: "flapping", Example: "true", Means: "it is flapping", One: true},
	{Name: "own", Example: "true", Means: "the trouble is Sereno's own", One: true},
	{Name: "isolated", Example: "true", Means: "the machine was cut off from the network", One: true},
	{Name: "absent", Example: "true", Means: "Sereno was not running", One: true},
	{Name: "subject", Example: "ops-mail", Means: "what own trouble is about, such as the name of a channel", One: true},
	{Name: "is", Example: "core-sw1 at plant1 is down", Means: "what is wrong, as a sentence", One: true},
	{Name: "still", Example: "core-sw1 at plant1 is still down", Means: "the same while it lasts", One: true},
	{Name: "had", Example: "core-sw1 at plant1 was down", Means: "the same when it is over", One: true},
	{Name: "back", Example: "core-sw1 at plant1 is back", Means: "that it is over, as a sentence", One: true},
	{Name: "means", Example: "Nothing beyond this machine can be judged.", Means: "what own trouble means for the watch", One: true},
	{Name: "over", Example: "true", Means: "it is over", One: true},
	{Name: "opened", Example: "12:03:04 CET", Means: "when it began", One: true},
	{Name: "closed", Example: "12:06:26 CET", Means: "when it ended", One: true},
	{Name: "from_to", Example: "12:03:04–12:06:26 CET", Means: "both; while it lasts only the begin", One: true},
	{Name: "uncertainty", Example: "1 s", Means: "how much earlier it may have begun", One: true},
	{Name: "length", Example: "3 m 22 s", Means: "how long it lasted, or has lasted", One: true},
	{Name: "reason", Example: "no reply in 1s", Means: "what was seen", One: true},
	{Name: "looks", Example: "✓✓✓✗✗✗", Means: "the last looks, the latest at the right: answered or not", One: true},
	{Name: "lost", Example: "3", Means: "how many looks in a row had no answer at the end", One: true},
	{Name: "behind", Example: "42", Means: "how many devices are unreachable behind it", One: true},
	{Name: "behind_noun", Example: "devices", Means: "device or devices, to go with that number", One: true},
	{Name: "behind_names", Example: "ap-1, ap-2 and 40 more", Means: "some of them", One: true},
	{Name: "often", Example: "true", Means: "it was not the first time this month", One: true},
	{Name: "today", Example: "2", Means: "the how-manieth time today", One: true},
	{Name: "today_nth", Example: "2nd", Means: "the same as a word", One: true},
	{Name: "month", Example: "7", Means: "the how-manieth time this month", One: true},
	{Name: "month_nth", Example: "7th", Means: "the same as a word", One: true},
	{Name: "outage", Example: "outage", Means: "what happened the how-manieth time: outage, or time", One: true},
}

var byName = func() map[string]Value {
	m := make(map[string]Value, len(Values))
	for _, v := range Values {
		m[v.Name] = v
	}
	return m
}()

func known(name string) bool { _, ok := byName[name]; return ok }

func isList(name string) bool { return byName[name].List }

func eachName(yield func(string) bool) {
	for _, v := range Values {
		if !yield(v.Name) {
			return
		}
	}
}

const (
	maxListed = 20 // incidents in a list
	maxBehind = 10 // names of devices behind one
)

// flatten makes plain values of facts, one for each name in Values.
func flatten(f Facts) map[string]any {
	c := calendar{now: f.Now.Time().In(cmp.Or(f.Zone, time.UTC))}
	first := Incident{}
	if len(f.Incidents) > 0 {
		first = f.Incidents[0]
	}
	v := one(first, c)
	count := max(f.Count, len(f.Incidents))
	over := f.Over
	if count == len(f.Incidents) {
		over = 0
		for _, in := range f.Incidents {
			over += one01(in.Closed != 0)
		}
	}
	listed := f.Incidents[:min(len(f.Incidents), maxListed)]
	list := make([]map[string]any, len(listed))
	for i, in := range listed {
		list[i] = one(in, c)
	}
	began := first.Opened
	for _, in := range f.Incidents {
		began = min(began, in.Opened)
	}
	maps.Copy(v, map[string]any{
		"event":           plain(f.Event, 20),
		"severity":        f.Severity.String(),
		"count":           count,
		"many":            count > 1,
		"noun":            noun(f.Incidents),
		"state":           state(f.Incidents),
		"group":           plain(f.Group, maxName),
		"where":           where(plain(f.Group, maxName), plain(first.Site, maxName)),
		"began":           c.at(began),
		"over_count":      over,
		"all_over":        count > 0 && over == count,
		"incidents":       list,
		"more":            count - len(list),
		"both":            f.Both,
		"again":           f.Again,
		"again_nth":       nth(f.Again),
		"again_in":        roughly(f.AgainIn),
		"reminder":        f.Reminder,
		"reminders":       f.Reminders,
		"last":            f.Last,
		"by":              plain(f.By, maxName),
		"note":            plain(f.Note, maxReason),
		"was":             plain(f.Was, 20),
		"late":            "",
		"late_because":    plain(f.LateBecause, maxReason),
		"held":            plain(f.Held, maxReason),
		"channel":         plain(f.Channel, maxName),
		"now":             c.at(f.Now),
		"url":             plain(f.Open, maxURL),
		"acknowledge_url": plain(f.Acknowledge, maxURL),
	})
	if f.Was == first.Trouble.String() { // its severity changed
		v["was"] = ""
	}
	if f.Again < 2 {
		v["again"], v["again_nth"], v["again_in"] = 0, "", ""
	}
	if f.LateBecause != "" && f.Due != 0 && f.Now > f.Due {
		v["late"] = roughly(f.Now.Sub(f.Due))
	}
	return v
}

// one is the values of one incident.
func one(in Incident, c calendar) map[string]any {
	end := in.Closed
	if end == 0 {
		end = max(sereno.At(c.now), in.Opened)
	}
	w := wording(in)
	tags := make([]string, len(in.Tags))
	for i, tag := range in.Tags {
		tags[i] = plain(tag, maxName)
	}
	looks, lost := looks(in.Looks)
	return map[string]any{
		"id":           int64(in.ID),
		"name":         plain(in.Name, maxName),
		"address":      plain(in.Address, maxName),
		"site":         plain(in.Site, maxName),
		"tags":         tags,
		"check":        plain(in.Check, maxName),
		"who":          who(in),
		"level":        in.Severity.String(),
		"trouble":      in.Trouble.String(),
		"down":         in.Trouble == sereno.TroubleDown,
		"degraded":     in.Trouble == sereno.TroubleDegraded,
		"flapping":     in.Trouble == sereno.TroubleFlapping,
		"own":          in.Trouble.Own(),
		"isolated":     in.Trouble == sereno.TroubleIsolated,
		"absent":       in.Trouble == sereno.TroubleAbsent,
		"subject":      plain(in.Subject, maxName),
		"is":           w.is,
		"still":        w.still,
		"had":          w.had,
		"back":         w.back,
		"means":        w.means,
		"over":         in.Closed != 0,
		"opened":       c.at(in.Opened),
		"closed":       c.at(in.Closed),
		"from_to":      c.span(in.Opened, in.Closed),
		"uncertainty":  length(in.Uncertainty),
		"length":       length(end.Sub(in.Opened)),
		"reason":       plain(in.Reason, maxReason),
		"looks":        looks,
		"lost":         lost,
		"behind":       in.Behind,
		"behind_noun":  map[bool]string{true: "device", false: "devices"}[in.Behind == 1],
		"behind_names": behind(in.Behind, in.BehindNames),
		"often":        in.Month > 1,
		"today":        in.Today,
		"today_nth":    nth(in.Today),
		"month":        in.Month,
		"month_nth":    nth(in.Month),
		"outage":       map[bool]string{true: "outage", false: "time"}[in.Trouble == sereno.TroubleDown],
	}
}

func one01(b bool) int {
	if b {
		return 1
	}
	return 0
}

// noun says what incidents are.
func noun(in []Incident) string {
	seen, noun := map[sereno.DeviceID]bool{}, "devices"
	for _, i := range in {
		if i.Trouble.Own() {
			return "troubles"
		}
		if seen[i.Device] {
			noun = "checks"
		}
		seen[i.Device] = true
	}
	return noun
}

// state says what all of them are, as the end of a sentence.
func state(in []Incident) string {
	state := ""
	for _, i := range in {
		switch {
		case i.Trouble.Own():
			return "open"
		case i.Trouble != in[0].Trouble:
			state = "in trouble"
		case state == "":
			state = i.Trouble.String()
		}
	}
	return state
}

// where makes the end of a sentence of what a group shares: "at plant2 (behind
// core-sw1)".
func where(group, site string) string {
	if rest, ok := strings.CutPrefix(group, site); ok && site != "" {
		if rest == "" {
			return "at " + site
		}
		if rest, ok := strings.CutPrefix(rest, ", "); ok {
			return "at " + site + " (" + rest + ")"
		}
	}
	if group == "" || strings.HasPrefix(group, "behind ") {
		return group
	}
	return "(" + group + ")"
}

// looks draws looks, and counts those at the end that had no answer.
func looks(answered []bool) (drawn string, lost int) {
	var b strings.Builder
	for _, a := range answered[max(0, len(answered)-20):] {
		if a {
			b.WriteString("✓")
			lost = 0
		} else {
			b.WriteString("✗")
			lost++
		}
	}
	return b.String(), lost
}

// behind lists some names and says how many are left out.
func behind(count int, names []string) string {
	names = slices.Clone(names[:min(len(names), maxBehind)])
	for i := range names {
		names[i] = plain(names[i], maxName)
	}
	left := max(count, len(names)) - len(names)
	switch {
	case len(names) == 0:
		return ""
	case left > 0:
		return fmt.Sprintf("%s and %d more", strings.Join(names, ", "), left)
	case len(names) == 1:
		return names[0]
	default:
		last := len(names) - 1
		return strings.Join(names[:last], ", ") + " and " + names[last]
	}
}

// nth is a number as a word: "1st", "2nd", "11th".
func nth(n int) string {
	if n <= 0 {
		return ""
	}
	ending := "th"
	if n/10%10 != 1 {
		switch n % 10 {
		case 1:
			ending = "st"
		case 2:
			ending = "nd"
		case 3:
			ending = "rd"
		}
	}
	return fmt.Sprint(n) + ending
}
