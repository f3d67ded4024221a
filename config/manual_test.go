package config

import (
	"log/slog"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"sereno"
	"sereno/alert"
	"sereno/match"
	"sereno/notify"
	"sereno/notify/all"
	"sereno/probe"
)

var (
	fences    = regexp.MustCompile("(?s)### ([^\n]*)\n.*?```yaml\n(.*?)```")
	variables = regexp.MustCompile(`\$\{env:([A-Z_]+)\}`)
)

// promises are what the manual says that comes of some devices that are down.
var promises = map[string][]struct {
	device  sereno.Device
	at      string
	outcome string
}{
	"1": {{sereno.Device{Name: "a"}, "2026-11-20T12:00:00Z", "12:00 phone, 12:10, 12:30, 13:00"}},
	"2": {{sereno.Device{Name: "a"}, "2026-11-20T12:00:00Z", "12:00 anna, 12:10; 12:15 team unless acknowledged, 12:45; 13:00 boss unless acknowledged"}},
	"3": {
		{sereno.Device{Name: "a"}, "2026-11-19T22:00:00Z", "06:00 ops, 06:10, 06:30, 07:00"}, // 23:00 on a Thursday in Berlin
		{sereno.Device{Name: "a", Importance: sereno.Critical}, "2026-11-19T22:00:00Z", "22:00 ops, 22:10, 22:30, 23:00"},
		{sereno.Device{Name: "a"}, "2026-11-21T12:00:00Z", "06:00 ops, 06:10, 06:30, 07:00"}, // Saturday noon
	},
	"4": {
		{sereno.Device{Name: "a", Tags: []string{"site:south"}}, "2026-11-20T12:00:00Z", "12:00 south"},
		{sereno.Device{Name: "a"}, "2026-11-20T12:00:00Z", "12:00 head-office"},
	},
	"5": {
		{sereno.Device{Name: "a", Importance: sereno.Critical}, "2026-11-20T12:00:00Z", "12:00 on-call; 12:00 chat, 12:10, 12:30, 13:00"},
		{sereno.Device{Name: "a"}, "2026-11-20T12:00:00Z", "12:00 chat, 12:10, 12:30, 13:00"},
	},
	"6":  {{sereno.Device{Name: "printer-2"}, "2026-11-20T12:00:00Z", "12:10 desk; 16:00 ops unless acknowledged"}},
	"8":  {{sereno.Device{Name: "a", Tags: []string{"radio"}}, "2026-11-20T12:00:00Z", "12:05 ops, 13:05"}},
	"9":  {{sereno.Device{Name: "a", Tags: []string{"lab"}}, "2026-11-20T12:00:00Z", ""}},
	"10": {{sereno.Device{Name: "ap-hall"}, "2026-11-20T12:00:00Z", "12:00 mend; 12:02 ops, 12:32"}},
}

// outcome is who is told, when, and reminded when.
func outcome(plan *alert.Plan, d sereno.Device, at string) string {
	begin, err := time.Parse(time.RFC3339, at)
	if err != nil {
		return err.Error()
	}
	clock := func(i sereno.Instant) string { return i.Time().Format("15:04") }
	s := match.Of(&d, &sereno.Check{Name: "icmp", Kind: "icmp"})
	s.Status, s.Severity = "down", sereno.SeverityOf(d.Importance, sereno.TroubleDown).String()
	var steps []string
	for _, p := range plan.Explain(s, &d, sereno.At(begin)).Policies {
		for _, step := range p.Steps {
			if !p.Applies {
				continue
			}
			parts := []string{clock(step.At) + " " + strings.Join(step.Channels, "+")}
			if step.UnlessAcknowledged {
				parts[0] += " unless acknowledged"
			}
			for _, r := range step.Remind {
				parts = append(parts, clock(r))
			}
			steps = append(steps, strings.Join(parts, ", "))
		}
	}
	return strings.Join(steps, "; ")
}

// Every situation of the manual is a file without mistakes, and what it promises
// comes of it.
func TestThePoliciesOfTheManual(t *testing.T) {
	page, err := os.ReadFile("../docs/policies.md")
	if err != nil {
		t.Fatal(err)
	}
	found := fences.FindAllStringSubmatch(string(page), -1)
	if len(found) != 10 || strings.Count(string(page), "```yaml") != len(found) {
		t.Errorf("there are %d situations", len(found))
	}
	for _, m := range found {
		t.Run(m[1], func(t *testing.T) {
			for _, v := range variables.FindAllStringSubmatch(m[2], -1) {
				value := "abcdefghijklmnopqrstuvwxyz012345"
				switch {
				case strings.HasSuffix(v[1], "_URL"):
					value = "https://" + strings.ToLower(strings.TrimSuffix(v[1], "_URL")) + ".example/hook"
				case v[1] == "TELEGRAM_TOKEN":
					value = "123456:abcdefghijklmnopqrstuvwxyz012345678"
				}
				t.Setenv(v[1], value)
			}
			c, err := Parse(m[1], []byte(m[2]), kinds, all.Kinds())
			if err != nil {
				t.Fatal(err)
			}
			if len(c.Alerting.Channels) == 0 || len(c.Warnings) > 0 {
				t.Errorf("%d channels, warned of %v", len(c.Alerting.Channels), c.Warnings)
			}
			number, _, _ := strings.Cut(m[1], ".")
			plan, err := c.Alerting.Compile(all.Kinds(), notify.Options{Commands: true, Log: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range promises[number] {
				if got := outcome(plan, want.device, want.at); got != want.outcome {
					t.Errorf("%s at %s\n  gives %s\n  want  %s", want.device.Name, want.at, got, want.outcome)
				}
			}
		})
	}
}

func TestTheExampleOfTheManual(t *testing.T) {
	c, err := Load("../docs/example.yaml", []probe.Kind{echo{}}, all.Kinds())
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Warnings) > 0 || len(c.Alerting.Channels) != 1 || c.Alerting.Channels[0].Kind != "dashboard" {
		t.Errorf("it reaches %+v, warned of %v", c.Alerting.Channels, c.Warnings)
	}
}
