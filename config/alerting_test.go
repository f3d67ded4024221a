package config

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"sereno"
	"sereno/alert"
	"sereno/maintenance"
	"sereno/notify"
)

// caller is a kind of channel with settings of every shape.
type caller struct{ name string }

func (c caller) Name() string                             { return c.name }
func (caller) Secrets() []string                          { return []string{"token"} }
func (caller) Send(context.Context, notify.Message) error { return nil }

func (c caller) Open(settings json.RawMessage, o notify.Options) (notify.Channel, error) {
	var s struct {
		Token   string            `json:"token"`
		Chat    string            `json:"chat"`
		To      []string          `json:"to"`
		Headers map[string]string `json:"headers"`
		Tries   int               `json:"tries"`
		Silent  bool              `json:"silent"`
	}
	err := notify.Decode(settings, &s)
	if s.Token == "" && err == nil {
		err = notify.Wrong("token", "it is missing")
	}
	if c.name == "program" && !o.Commands {
		err = errors.Join(err, notify.Wrong("", "programs are not run"))
	}
	return c, err
}

var callers = []notify.Kind{caller{"caller"}, caller{"program"}}

func TestAlerting(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(secret, []byte("from a file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("CHANNEL_TOKEN", "from the environment")
	c, err := Parse("f", []byte(`
url: https://sereno.example
zone: Europe/Berlin
channels:
  - name: ops
    caller:
      token: "${file:`+secret+`}"
      chat: "-1001234"
      to: [a, "b ${env:CHANNEL_TOKEN}"]
      headers: {X-Key: "${env:CHANNEL_TOKEN}"}
      tries: 3
      silent: true
    fallback: other
    fallback_after: 5m
    give_up: 2d
    templates: {opened: {title: "{{name}} is in trouble"}}
  - {name: other, program: {token: x}}
policies:
  - name: night
    match: 'severity == "low"'
    continue: true
    severity: high
    raise: [{after: 30m, to: critical}]
    group_wait: 0s
    group_by: []
    settle: 1m
    quiet: [{from: "22:00", to: "07:00", days: [mon, tue], zone: America/New_York, except: 'severity == "critical"'}]
    steps:
      - {after: 0s, channels: [ops], remind: [10m, 1h]}
      - {after: 15m, unless: acknowledged, channels: all}
  - name: default
maintenance:
  - {name: sunday, match: 'site == "plant1"', rrule: "FREQ=WEEKLY;BYDAY=SU", start: "2026-11-01T02:00", zone: Europe/Berlin, length: 2h, reason: updates}
silences:
  - {name: works, match: 'device == "a"', from: 2026-12-24T18:00, until: 2026-12-24T20:00:00Z, reason: cables}
templates: {closed: {text: "{{name}}\n"}}
`), nil, callers)
	if err != nil {
		t.Fatal(err)
	}
	want := alert.Book{
		URL: "https://sereno.example", Zone: "Europe/Berlin",
		Channels: []alert.Channel{
			{
				Name: "ops", Kind: "caller", Fallback: "other", FallbackAfter: 5 * time.Minute, GiveUp: 48 * time.Hour, FromFile: true,
				Settings:  json.RawMessage(`{"chat":"-1001234","headers":{"X-Key":"from the environment"},"silent":true,"to":["a","b from the environment"],"token":"from a file","tries":3}`),
				Hidden:    []string{"token", "to", "headers"},
				Templates: map[string]alert.Template{"opened": {Title: "{{name}} is in trouble"}},
			},
			{Name: "other", Kind: "program", Settings: json.RawMessage(`{"token":"x"}`), FromFile: true},
		},
		Policies: []alert.Policy{
			{
				Name: "night", Match: `severity == "low"`, Continue: true, Severity: sereno.SeverityHigh,
				Raise: []alert.Raise{{After: 30 * time.Minute, To: sereno.SeverityCritical}}, GroupWait: -1, GroupBy: []string{}, Settle: time.Minute,
				Quiet: []alert.Quiet{{From: "22:00", To: "07:00", Days: []string{"mon", "tue"}, Zone: "America/New_York", Except: `severity == "critical"`}},
				Steps: []alert.Step{
					{Channels: []string{"ops"}, Remind: []time.Duration{10 * time.Minute, time.Hour}},
					{After: 15 * time.Minute, UnlessAcknowledged: true},
				},
				FromFile: true,
			},
			{Name: "default", FromFile: true},
		},
		Windows: []maintenance.Window{{
			Name: "sunday", Match: `site == "plant1"`, RRule: "FREQ=WEEKLY;BYDAY=SU", Start: "2026-11-01T02:00", Zone: "Europe/Berlin", Length: 2 * time.Hour, Reason: "updates",
		}},
		Silences: []alert.Silence{{
			Name: "works", Match: `device == "a"`, Reason: "cables", FromFile: true,
			From: instant(t, "2026-12-24T17:00:00Z"), Until: instant(t, "2026-12-24T20:00:00Z"),
		}},
		Templates: map[string]alert.Template{"closed": {Text: "{{name}}\n"}},
	}
	if !reflect.DeepEqual(c.Alerting, want) {
		t.Errorf("got\n%+v\nwant\n%+v", c.Alerting, want)
	}
	if len(c.Warnings) > 0 {
		t.Errorf("there is nothing to warn of: %v", c.Warnings)
	}
}

func instant(t *testing.T, s string) sereno.Instant {
	t.Helper()
	var i sereno.Instant
	if err := i.UnmarshalText([]byte(s)); err != nil {
		t.Fatal(err)
	}
	return i
}

func TestMistakesOfAlerting(t *testing.T) {
	const ops = "channels: [{name: ops, caller: {token: x}}]\n"
	for _, story := range []struct{ name, text, want string }{
		{"no kind", "channels:\n- name: ops\n", `f:2: a channel needs its kind with its settings, such as ntfy: {topic: alerts}; there are caller, program`},
		{"a mistyped kind", "channels:\n- name: ops\n  callr: {token: x}\n", `f:3: there is no key "callr" in a channel; did you mean "caller"?`},
		{"two kinds", "channels:\n- name: ops\n  caller: {token: x}\n  program: {token: x}\n", `f:2: a channel is of one kind, not both caller and program: make two of it`},
		{"settings that are none", "channels:\n- name: ops\n  caller: x\n", `f:3: caller is a mapping of its settings, not "x"`},
		{"a setting without a value", "channels:\n- name: ops\n  caller:\n    token: x\n    chat:\n", `f:5: chat has no value; give it one or leave it out`},
		{"a setting that there is not", "channels:\n- name: ops\n  caller:\n    token: x\n    chatt: y\n", `f:5: caller: there is no setting "chatt"; did you mean "chat"?`},
		{"a setting of another shape", "channels:\n- name: ops\n  caller:\n    token: x\n    to: y\n", `f:5: caller: to is a list of which each is a text (in quotes), not a text`},
		{"a setting that is missing", "channels:\n- name: ops\n  caller: {chat: x}\n", `f:2: caller: token is missing`},
		{
			"a variable and a file that are missing, deep inside",
			"channels:\n- name: ops\n  caller:\n    token: ${file:/no/such}\n    headers:\n      A: b\n      C: ${env:NOT_SET_AT_ALL}\n",
			"f:4: token: ${file:/no/such} cannot be read: open /no/such: no such file or directory\n" +
				"f:7: C: the environment has no variable NOT_SET_AT_ALL, which ${env:NOT_SET_AT_ALL} asks for",
		},
		{"an alias inside of itself", "channels:\n- name: ops\n  caller: &c {token: x, headers: *c}\n", `f:3: the settings of caller cannot be read`},
		{"aliases without end", "channels:\n- name: ops\n  caller: {a: &a [x, x, x, x, x, x, x, x, x], b: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a], c: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b], d: &d [*c, *c, *c, *c, *c, *c, *c, *c, *c], e: &e [*d, *d, *d, *d, *d, *d, *d, *d, *d], f: &f [*e, *e, *e, *e, *e, *e, *e, *e, *e], g: [*f, *f, *f, *f, *f, *f, *f, *f, *f]}\n", `f:3: the settings of caller cannot be read`},
		{"a key given twice among settings", "channels:\n- name: ops\n  caller:\n    token: x\n    token: y\n", `f:5: "token" is given twice in caller; the first is on line 4`},
		{"no name", "channels:\n- caller: {token: x}\n", `f:2: a channel needs a name`},
		{"names are given once", ops + "policies:\n- name: a\n  match: own\n- name: a\n", `f:5: there is another policy with the name "a"`},
		{
			"a policy that names no channel", ops + "policies:\n- name: a\n  steps:\n  - after: 0s\n    channels:\n    - ops\n    - opss\n",
			`f:8: there is no channel "opss", only ops; did you mean "ops"?`,
		},
		{
			"a channel whose name is mistyped is not told again where it is used",
			"channels:\n- nam: ops\n  caller: {token: x}\npolicies:\n- name: a\n  steps: [{channels: [ops]}]\n",
			`f:2: there is no key "nam" in a channel; did you mean "name"?`,
		},
		{"a step for nobody", ops + "policies:\n- {name: a, steps: [{channels: []}]}\n", `f:3: a step tells at least one channel; write all, or leave channels out, for every channel there is`},
		{"steps for nobody", ops + "policies:\n- name: a\n  steps: []\n", `f:4: a policy without steps tells nobody; leave steps out for the usual one`},
		{"channels that are a word", ops + "policies:\n- {name: a, steps: [{channels: ops}]}\n", `f:3: channels is a list of their names such as [ops-mail], or all, not "ops"`},
		{"unless what", ops + "policies:\n- {name: a, steps: [{unless: asleep}]}\n", `f:3: unless can be acknowledged, not "asleep"`},
		{"a severity that there is not", ops + "policies:\n- {name: a, severity: vital}\n", `f:3: severity is critical, high, medium or low, not "vital"`},
		{"a raise that says half", ops + "policies:\n- {name: a, raise: [{to: high}, {after: 5m}]}\n", "f:3: an item of raise needs after\nf:3: an item of raise needs to"},
		{"an expression with a mistake", ops + "policies:\n- name: a\n  match: severty == \"high\"\n", `f:4: unknown name severty, at character 1 of "severty == \"high\""`},
		{"settle is not nothing", ops + "policies:\n- {name: a, settle: 0s}\n", `f:3: settle is a length of time above zero; leave it out for the usual one`},
		{"group_wait is not below nothing", ops + "policies:\n- {name: a, group_wait: -5s}\n", `f:3: group_wait is a length of time, or 0s to gather nothing, not "-5s"`},
		{"a window without a length", "maintenance:\n- name: a\n  start: 2026-11-01T02:00\n", ""},
		{"a silence without an end", "silences:\n- {name: a, match: own}\n", `f:2: a silence needs an end`},
		{"a silence until some time", "silences:\n- {name: a, match: own, until: tomorrow}\n", `f:2: until: "tomorrow" is no time such as 2026-12-24T18:00, or 2026-12-24T17:00:00Z`},
		{"a template for what never happens", "templates:\n  open: {title: x}\n", `f:2: there is no key "open" in templates; there are opened, reminder, acknowledged, changed, closed, digest, test`},
		{"a zone that there is not", "zone: Europe/Berlinn\n" + ops, ""},
		{"an address that is none", "url: sereno.example\n" + ops, `f:1: "sereno.example" is not the address of a page such as https://sereno.example.org`},
		{
			"all at once", "channels:\n- {name: a, caller: {token: 5}, fallback: b}\n- {name: a, caller: {token: x}, fallback_after: soon}\npolicies: x\nmaintenance:\n- nothing\nsilences:\n- {name: s, match: 'device =', until: 2026-01-01}\n",
			`f:2: caller: token is a text (in quotes), not a number
f:2: there is no channel "b", only a; did you mean "a"?
f:3: fallback_after: "soon" is no length of time such as 500ms, 10s, 5m or 30d
f:3: there is another channel with the name "a"
f:4: policies is a list, not "x"; write [a, b], or each on a line of its own after a hyphen
f:6: a maintenance window is a mapping of keys to values, not "nothing"
f:8: unexpected token Operator("="), at character 8 of "device ="`,
		},
	} {
		t.Run(story.name, func(t *testing.T) {
			_, err := Parse("f", []byte(story.text), nil, callers)
			if err == nil {
				t.Fatal("no mistake was found")
			}
			if story.want == "" {
				if n := strings.Count(err.Error(), "\n"); n != 0 || !strings.HasPrefix(err.Error(), "f:") {
					t.Errorf("one mistake gives\n%s", err)
				}
				t.Log(err)
			} else if err.Error() != story.want {
				t.Errorf("got\n%s\nwant\n%s", err, story.want)
			}
		})
	}
}

func TestWarnings(t *testing.T) {
	c, err := Parse("f", []byte("channels:\n- {name: ops, caller: {token: x}}\npolicies:\n- {name: all}\n- name: never\n  match: own\n"), nil, callers)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Warnings) != 1 || c.Warnings[0].String() != `f:5: policy "never" is never asked: "all" before it takes everything and does not say continue` {
		t.Errorf("got %v", c.Warnings)
	}
}

// A window of the file is by the file's clock, unless it says another.
func TestTheZoneOfTheFile(t *testing.T) {
	const window = "maintenance: [{name: a, start: 2026-11-01T02:00, length: 1h}, {name: b, start: 2026-11-01T02:00, length: 1h, zone: UTC}]\n"
	for text, want := range map[string]string{window: "", window + "zone: Asia/Tokyo\n": "Asia/Tokyo"} {
		c, err := Parse("f", []byte(text), nil, callers)
		if err != nil {
			t.Fatal(err)
		}
		if got := c.Alerting.Windows; got[0].Zone != want || got[1].Zone != "UTC" {
			t.Errorf("got %+v", got)
		}
	}
}
