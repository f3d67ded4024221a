package alert_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"sereno"
	"sereno/alert"
	"sereno/maintenance"
	"sereno/match"
	"sereno/notify"
)

// A strict is a kind of channel that has a setting.
type strict struct{}

func (strict) Name() string      { return "strict" }
func (strict) Secrets() []string { return nil }

func (strict) Open(settings json.RawMessage, _ notify.Options) (notify.Channel, error) {
	if len(settings) == 0 {
		return nil, &sereno.Error{Kind: sereno.Invalid, Field: "token", Text: "a token is needed"}
	}
	return nil, nil
}

var kinds = []notify.Kind{mute{}, strict{}}

// mistakesOf returns every mistake of a book as "field: text", sorted.
func mistakesOf(err error) (list []string) {
	switch e := err.(type) { //nolint:errorlint // the tree is walked here
	case nil:
	case interface{ Unwrap() []error }:
		for _, one := range e.Unwrap() {
			list = append(list, mistakesOf(one)...)
		}
	default:
		if sereno.KindOf(err) != sereno.Invalid {
			return []string{"not Invalid: " + err.Error()}
		}
		list = append(list, err.Error())
	}
	slices.Sort(list)
	return list
}

func TestEveryMistakeOfABookHasItsPlaceAndASentence(t *testing.T) {
	ops := alert.Channel{Name: "ops", Kind: "mute"}
	with := func(p alert.Policy) alert.Book {
		p.Name = "p"
		return alert.Book{Channels: []alert.Channel{ops, {Name: "mail", Kind: "mute"}}, Policies: []alert.Policy{p}}
	}
	step := func(s ...alert.Step) alert.Book { return with(alert.Policy{Steps: s}) }
	quiet := func(q alert.Quiet) alert.Book { return with(alert.Policy{Quiet: []alert.Quiet{q}}) }
	hours := func(list ...int) (d []time.Duration) {
		for _, h := range list {
			d = append(d, time.Duration(h)*time.Hour)
		}
		return d
	}
	for _, test := range []struct {
		rule string
		book alert.Book
		want []string // how each mistake begins
	}{
		{"an empty book is the usual one", alert.Book{}, nil},
		{
			"a channel needs a name, once, and a kind that there is",
			alert.Book{Channels: []alert.Channel{{Kind: "mute"}, ops, ops, {Name: "x", Kind: "stritc"}}},
			[]string{"channels[0].name: a channel needs a name", `channels[2].name: there is another channel with the name "ops"`, `channels[3]: "stritc" is no kind of channel; there are mute, strict; did you mean "strict"?`},
		},
		{
			"mistakes of a kind's settings are the channel's",
			alert.Book{Channels: []alert.Channel{ops, {Name: "s", Kind: "strict"}}},
			[]string{"channels[1].token: a token is needed"},
		},
		{
			"a fallback is a channel",
			alert.Book{Channels: []alert.Channel{{Name: "ops", Kind: "mute", Fallback: "mial"}, {Name: "mail", Kind: "mute"}}},
			[]string{`channels[0].fallback: there is no channel "mial", only ops, mail; did you mean "mail"?`},
		},
		{
			"fallbacks do not go round in a circle",
			alert.Book{Channels: []alert.Channel{{Name: "a", Kind: "mute", Fallback: "b"}, {Name: "b", Kind: "mute", Fallback: "c"}, {Name: "c", Kind: "mute", Fallback: "b"}}},
			[]string{"channels[1].fallback: fallbacks go round in a circle: b → c → b"},
		},
		{
			"nor to themselves",
			alert.Book{Channels: []alert.Channel{{Name: "a", Kind: "mute", Fallback: "a"}}},
			[]string{"channels[0].fallback: fallbacks go round in a circle: a → a"},
		},
		{
			"times of a channel are not negative",
			alert.Book{Channels: []alert.Channel{{Name: "a", Kind: "mute", FallbackAfter: -time.Second, GiveUp: 1000 * time.Hour}}},
			[]string{"channels[0].fallback_after: fallback_after cannot be negative", "channels[0].give_up: give_up is between 0s and 720h0m0s, not 1000h0m0s"},
		},
		{
			"templates parse",
			alert.Book{
				Channels:  []alert.Channel{{Name: "a", Kind: "mute", Templates: map[string]alert.Template{"closed": {Title: "{{#x}}"}}}},
				Templates: map[string]alert.Template{"opend": {Title: "x"}},
			},
			[]string{"channels[0].templates.closed.title: ", `templates.opend: there is no event "opend"`},
		},
		{"an expression compiles", with(alert.Policy{Match: "sevrity == 'x'"}), []string{"policies[0].match: "}},
		{
			"names of policies are given once",
			alert.Book{Policies: []alert.Policy{{Name: "a"}, {Name: "a"}}},
			[]string{`policies[1].name: there is another policy with the name "a"`},
		},
		{"a step tells channels that there are, each once", step(alert.Step{}, alert.Step{Channels: []string{"ops", "opps", "ops"}}), []string{
			`policies[0].steps[1].channels[1]: there is no channel "opps", only ops, mail; did you mean "ops"?`, `policies[0].steps[1].channels[2]: "ops" is in this step already`,
		}},
		{"steps ascend", step(alert.Step{After: time.Hour}, alert.Step{After: time.Minute}, alert.Step{After: -time.Minute}), []string{
			"policies[0].steps[1].after: steps come in the order of their times", "policies[0].steps[2].after: after cannot be negative", "policies[0].steps[2].after: steps come in the order of their times",
		}},
		{"no steps are not an empty list of them", with(alert.Policy{Steps: []alert.Step{}}), []string{"policies[0].steps: a policy without steps tells nobody"}},
		{"reminders ascend", step(alert.Step{Remind: hours(1, 1, 0)}), []string{
			"policies[0].steps[0].remind[1]: reminders count from their step, and each comes later than the one before", "policies[0].steps[0].remind[2]: a reminder is between 1s and 720h0m0s", "policies[0].steps[0].remind[2]: reminders count from their step",
		}},
		{"raises ascend", with(alert.Policy{Raise: []alert.Raise{{time.Hour, sereno.SeverityHigh}, {2 * time.Hour, sereno.SeverityLow}, {time.Hour, 0}}}), []string{
			"policies[0].raise[1]: each raise comes later", "policies[0].raise[2].to: say what it is raised to", "policies[0].raise[2]: each raise comes later",
		}},
		{"times of a policy make sense", with(alert.Policy{GroupWait: -2, Settle: 100 * time.Hour}), []string{
			"policies[0].group_wait: group_wait cannot be negative", "policies[0].settle: settle is between 0s and 24h0m0s, not 100h0m0s",
		}},
		{"group_by names what there is", with(alert.Policy{GroupBy: []string{"site", "sit", "label.rack", "label."}}), []string{
			`policies[0].group_by[1]: "sit" is nothing to group by; there are site, parent, status, kind, device, severity and label.NAME; did you mean "site"?`, `policies[0].group_by[3]: "label." is nothing to group by`,
		}},
		{"quiet hours parse", quiet(alert.Quiet{From: "22", To: "7:00", Days: []string{"mon", "Tuesday"}, Zone: "Europe/Belin", Except: "severity ="}), []string{
			`policies[0].quiet[0].days[1]: "Tuesday" is no day`, "policies[0].quiet[0].except: ", `policies[0].quiet[0].from: "22" is not a time of the day such as 22:00`, `policies[0].quiet[0].to: "7:00" is not`, `policies[0].quiet[0].zone: "Europe/Belin" is no time zone`,
		}},
		{"a zone is one", alert.Book{Zone: "CEST"}, []string{`zone: "CEST" is no time zone`}},
		{"an address is one", alert.Book{URL: "sereno.example.org/"}, []string{`url: "sereno.example.org/" is not the address`}},
		{"and has no slash at its end", alert.Book{URL: "https://sereno.example.org/"}, []string{`url: "https://sereno.example.org/" ends with a slash`}},
		{
			"a window is one, and its name is its own",
			alert.Book{Windows: []maintenance.Window{{Name: "w", Start: "2026-11-01T02:00", Length: time.Hour}, {Name: "w", Start: "tomorrow", Length: time.Hour}}},
			[]string{`maintenance[1].name: there is another maintenance window with the name "w"`, `maintenance[1].start: "tomorrow" is not a time`},
		},
		{
			"a silence says what and until when",
			alert.Book{Silences: []alert.Silence{{Name: "a", Until: 5}, {Name: "b", Match: "true"}, {Name: "b", Match: "tru", From: 7, Until: 6}}},
			[]string{"silences[0].match: a silence says what it is about", "silences[1].until: a silence needs an end", "silences[2].match: ", `silences[2].name: there is another silence with the name "b"`, "silences[2].until: it would end before it begins"},
		},
	} {
		_, err := test.book.Compile(kinds, notify.Options{})
		got := mistakesOf(err)
		fits := len(got) == len(test.want)
		for i := range test.want {
			fits = fits && strings.HasPrefix(got[i], test.want[i])
		}
		if !fits {
			t.Errorf("%s\ngot\n  %s\nwant\n  %s", test.rule, strings.Join(got, "\n  "), strings.Join(test.want, "\n  "))
		}
	}
}

func TestWhatIsAllowedAndSurelyNotMeantIsAWarning(t *testing.T) {
	p, err := alert.Book{
		Channels: []alert.Channel{{Name: "ops", Kind: "mute"}},
		Policies: []alert.Policy{
			{Name: "log", Continue: true},
			{Name: "mute", Match: `"lab" in tags`, Steps: []alert.Step{{Channels: []string{}}}},
			{Name: "all"},
			{Name: "late", Match: `status == "down"`},
		},
	}.Compile(kinds, notify.Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		`policy "mute" has nobody to tell: none of its steps has a channel`,
		`policy "late" is never asked: "all" before it takes everything and does not say continue`,
	}
	if !slices.Equal(p.Warnings, want) {
		t.Errorf("%q", p.Warnings)
	}
}

func TestAPolicyThatMatchesNobodyIsNamed(t *testing.T) {
	p, err := alert.Book{
		Channels: []alert.Channel{{Name: "ops", Kind: "mute"}},
		Policies: []alert.Policy{
			{Name: "typo", Match: `site == "palnt1"`},
			{Name: "plant", Match: `site == "plant1" and status == "degraded"`},
			{Name: "own", Match: `own and status == "storage"`},
			{Name: "never", Match: `severity == "low" and importance == "critical"`},
		},
	}.Compile(kinds, notify.Options{})
	if err != nil {
		t.Fatal(err)
	}
	d := sereno.Device{Name: "a", Tags: []string{"site:plant1"}, Checks: []sereno.Check{{Name: "icmp", Kind: "icmp"}}}
	got := p.Unmatched(slices.Values([]sereno.Device{d}))
	if len(got) != 2 || !strings.HasPrefix(got[0], `policy "typo" matches nobody: `) || !strings.HasPrefix(got[1], `policy "never" matches nobody: `) {
		t.Errorf("%q", got)
	}
}

// What is explained is what the engine does.
func TestAnExplanationComesTrue(t *testing.T) {
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	b := lifeBook()
	b.Policies = []alert.Policy{
		{Name: "lab", Match: `"lab" in tags`},
		{Name: "log", Match: `site == "plant1"`, Continue: true, Severity: sereno.SeverityLow, Steps: []alert.Step{{Channels: []string{"log"}}}},
		{
			Name: "day", Quiet: []alert.Quiet{{From: "22:00", To: "06:30", Zone: "Europe/Berlin"}},
			Steps: []alert.Step{
				{Channels: []string{"ops"}, Remind: []time.Duration{10 * time.Minute, time.Hour}},
				{After: 20 * time.Minute, UnlessAcknowledged: true, Channels: []string{"mail"}},
			},
		},
		{Name: "rest"},
	}
	b.Windows = []maintenance.Window{{Name: "night", Match: `site == "plant1"`, Start: "2026-10-25T02:00", Zone: "Europe/Berlin", Length: 2 * time.Hour}}
	p, err := b.Compile(kinds, notify.Options{})
	if err != nil {
		t.Fatal(err)
	}
	d := sereno.Device{ID: 1, Name: "a", Importance: sereno.High, Tags: []string{"site:plant1"}, Checks: []sereno.Check{{ID: 1, Name: "icmp", Kind: "icmp"}}}
	for _, clock := range []string{"2026-10-24 12:00:00", "2026-10-24 21:50:00", "2026-10-24 23:00:00", "2026-10-25 02:30:00"} {
		at, err := time.ParseInLocation(time.DateTime, clock, zone)
		if err != nil {
			t.Fatal(err)
		}
		now := sereno.At(at)
		s := match.Of(&d, &d.Checks[0])
		s.Status = "down"
		x := p.Explain(s, &d, now)
		if x.Severity != sereno.SeverityHigh || len(x.Policies) != 4 {
			t.Fatalf("%+v", x)
		}
		var applies []string
		told := map[string][]sereno.Instant{} // by channel
		for _, one := range x.Policies {
			if !one.Applies {
				if one.Why == "" {
					t.Errorf("nothing says why %s does not apply", one.Policy)
				}
				continue
			}
			applies = append(applies, one.Policy)
			for _, step := range one.Steps {
				for _, c := range step.Channels {
					first := step.At
					if step.After == 0 && one.Quiet == 0 {
						first = first.Add(one.Wait)
					}
					told[c] = append(append(told[c], first), step.Remind...)
				}
			}
		}
		if !slices.Equal(applies, []string{"log", "day"}) {
			t.Errorf("%s: %q apply", clock, applies)
		}
		if in := clock == "2026-10-25 02:30:00"; in != (x.Held == "maintenance night") {
			t.Errorf("%s: held by %q", clock, x.Held)
		}
		f := &flood{alert.NewEngine(alert.Loaded{}, p, now), now, map[string][]alert.Delivery{}}
		f.Take(now, []alert.Change{{Revision: 1, Device: &d, Check: &d.Checks[0], Incident: sereno.Incident{ID: 1, Device: 1, Check: 1, Opened: now}}})
		f.run(now.Add(24 * time.Hour))
		for c, want := range told {
			want = slices.Compact(slices.Sorted(slices.Values(want)))
			var got []sereno.Instant
			for _, d := range f.sent[c] {
				got = append(got, d.Due)
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s: %s is told at %v, and it was explained as %v", clock, c, got, want)
			}
		}
		if len(f.sent) != len(told) {
			t.Errorf("%s: %d channels were told, and %d explained", clock, len(f.sent), len(told))
		}
	}
}

func TestWhoHearsOfTroubleOfAChannel(t *testing.T) {
	p, err := alert.Book{
		Channels: []alert.Channel{{Name: "ops", Kind: "mute"}, {Name: "mail", Kind: "mute"}, {Name: "sms", Kind: "mute"}},
		Policies: []alert.Policy{{Name: "p", Steps: []alert.Step{{Channels: []string{"ops"}}}}},
	}.Compile(kinds, notify.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		s    match.Subject
		want []string
	}{
		{match.Subject{Own: true, Status: "storage", Severity: "critical"}, []string{"ops"}},
		{match.Subject{Own: true, Status: "channel", About: "mail"}, []string{"ops"}},
		{match.Subject{Own: true, Status: "channel", About: "ops"}, []string{"mail", "sms"}},
	} {
		if got := p.Reach(test.s); !slices.Equal(got, test.want) {
			t.Errorf("%s %s reaches %q", test.s.Status, test.s.About, got)
		}
	}
}
