package main

import (
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sereno"
	"sereno/api"
)

func newPolicies() *cobra.Command {
	cmd := &cobra.Command{
		Use: "policies", Aliases: []string{"policy"}, Short: "Who is told of what, when", Args: cobra.NoArgs,
		Long: "Who is told of what, when. Policies are made in the configuration file or by the API.",
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	addServerFlag(cmd)
	cmd.AddCommand(newPoliciesList(), newPoliciesExplain())
	return cmd
}

func newPoliciesList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the policies in the order in which they are asked", Args: cobra.NoArgs,
		RunE: asking(func(cmd *cobra.Command, c *client, _ []string) error {
			policies, err := list[api.AlertPolicy](cmd.Context(), c, "/api/policies", nil, 0)
			if err != nil {
				return err
			}
			w := cmd.OutOrStdout()
			if asJSON(cmd) {
				return printJSON(w, api.Page[api.AlertPolicy]{Items: policies})
			}
			if len(policies) == 0 {
				return say(w, "there is no policy: every channel is told of everything at once, with reminders after 10, 30 and 60 minutes")
			}
			t := &table{columns: []column{{"", true}, {"policy", false}, {"match", false}, {"steps", false}, {"then", false}, {"managed by", false}, {"", false}}}
			for _, p := range policies {
				match, then := p.Match, "stop"
				if match == "" {
					match = "everything"
				}
				if p.Continue {
					then = "go on"
				}
				note := cell{inert(p.Aside), bad}
				if p.Aside != "" {
					note.text = "aside: " + note.text
				}
				t.add(cell{fmt.Sprint(p.Position), faint}, text(p.Name), text(match), text(stepsLine(p.Steps)), cell{then, faint}, cell{managedBy(p.Managed), faint}, note)
			}
			return t.print(w)
		}),
	}
}

// stepsLine writes steps in a line: "at once: ops; after 15m: mail unless
// acknowledged".
func stepsLine(steps []api.AlertStep) string {
	if steps == nil {
		return "at once: all"
	}
	var parts []string
	for _, s := range steps {
		channels := "all"
		if s.Channels != nil {
			channels = strings.Join(s.Channels, ", ")
		}
		part := "at once: " + channels
		if s.After > 0 {
			part = "after " + short(time.Duration(s.After)) + ": " + channels
		}
		if s.Unless != "" {
			part += " unless " + s.Unless
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, "; ")
}

// short writes a length of time as it is written in files: "15m", "1h30m".
func short(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

func newPoliciesExplain() *cobra.Command {
	var device, check, status, severity, about, at string
	cmd := &cobra.Command{
		Use:   "explain",
		Short: "Say who would be told of a trouble, and when",
		Long: `Say who would be told of a trouble, by which policy, in which steps, by the
clock; why the other policies stay silent; and what keeps it back: a maintenance
window, a silence, quiet hours.`,
		Example: `  sereno policies explain --device core-sw1
  sereno policies explain --device printer-2 --status degraded --at 2026-11-22T03:00
  sereno policies explain --status channel --about ops-telegram`,
		Args: cobra.NoArgs,
		RunE: asking(func(cmd *cobra.Command, c *client, _ []string) error {
			query := url.Values{}
			for name, value := range map[string]string{"device": device, "check": check, "status": status, "severity": severity, "about": about} {
				if value != "" {
					query.Set(name, value)
				}
			}
			if at != "" {
				when, err := parseAhead(at, time.Now())
				if err != nil {
					return fmt.Errorf("--at: %w", err)
				}
				query.Set("at", sereno.At(when).String())
			}
			var e api.Explanation
			if err := c.get(cmd.Context(), "/api/policies/explain", query, &e); err != nil {
				return err
			}
			if asJSON(cmd) {
				return printJSON(cmd.OutOrStdout(), e)
			}
			return printExplanation(cmd.OutOrStdout(), e)
		}),
	}
	f := cmd.Flags()
	f.StringVar(&device, "device", "", "which device, by its name or its id; left out for trouble of Sereno's own")
	f.StringVar(&check, "check", "", "which of its checks (default the first)")
	f.StringVar(&status, "status", "", "the trouble: down (default), degraded, flapping; of Sereno's own: isolated, storage, channel …")
	f.StringVar(&severity, "severity", "", "critical, high, medium or low (default: what follows from device and trouble)")
	f.StringVar(&about, "about", "", "what trouble of Sereno's own is about, such as the name of a channel")
	f.StringVar(&at, "at", "", "when it begins: a time such as 2026-11-22T03:00, or a length from now such as 2h (default now)")
	return cmd
}

// printExplanation writes a plan for a person.
func printExplanation(w io.Writer, e api.Explanation) error {
	zone := time.Local
	if e.Zone != "" && e.Zone != "Local" {
		if loc, err := sereno.LoadZone(e.Zone); err == nil {
			zone = loc
		}
	}
	clock := func(at, about sereno.Instant) string { return clockIn(at, about, zone) }
	what := "Sereno itself: " + e.Status
	if e.Device != "" {
		what = e.Device + " is " + e.Status
		if e.Status == "flapping" {
			what = e.Device + " flaps"
		}
		if e.Check != "" {
			what += " (" + e.Check + ")"
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s, severity %s, from %s\n", bold.paint(inert(what)), e.Severity, e.At.Time().In(zone).Format("Mon 2006-01-02 15:04:05 MST"))
	if e.Held != "" {
		fmt.Fprintf(&b, "%s until %s: nobody is told before, and then only if it still lasts\n", warn.paint(inert(e.Held)), clock(e.HeldUntil, e.At))
	}
	if !e.Told {
		why := "no policy applies"
		if slices.ContainsFunc(e.Policies, func(p api.ExplainedPolicy) bool { return p.Applies }) {
			why = "no step that applies has a channel"
		}
		fmt.Fprintf(&b, "%s\n", bad.paint("nobody would be told: "+why))
	}
	for _, p := range e.Policies {
		b.WriteByte('\n')
		if !p.Applies {
			fmt.Fprintf(&b, "%s: no, %s\n", inert(p.Policy), faint.paint(inert(p.Why)))
			continue
		}
		fmt.Fprintf(&b, "%s: %s", bold.paint(inert(p.Policy)), good.paint("yes"))
		if p.Severity != e.Severity && p.Severity != sereno.SeverityNone {
			fmt.Fprintf(&b, ", as %s", p.Severity)
		}
		if p.Why != "" {
			fmt.Fprintf(&b, ", %s", inert(p.Why))
		}
		b.WriteByte('\n')
		if p.Group != "" {
			fmt.Fprintf(&b, "  in one message with others of %s\n", inert(p.Group))
		}
		if !p.Quiet.IsZero() {
			fmt.Fprintf(&b, "  quiet hours until %s\n", clock(p.Quiet, e.At))
		}
		printSteps(&b, p, e.At, clock)
		for _, r := range p.Raise {
			fmt.Fprintf(&b, "  after %s it becomes %s\n", short(time.Duration(r.After)), r.To)
		}
	}
	_, err := io.WriteString(colored(w), b.String())
	return err
}

func printSteps(b *strings.Builder, p api.ExplainedPolicy, from sereno.Instant, clock func(at, about sereno.Instant) string) {
	times := make([]string, len(p.Steps))
	for i, s := range p.Steps {
		times[i] = clock(s.At, from)
	}
	wide := 0
	for _, s := range times {
		wide = max(wide, breadth(s))
	}
	for i, s := range p.Steps {
		channels := "nobody"
		if len(s.Channels) > 0 {
			channels = strings.Join(s.Channels, ", ")
		}
		fmt.Fprintf(b, "  %s%s  %s", times[i], strings.Repeat(" ", wide-breadth(times[i])), inert(channels))
		if s.Unless != "" {
			fmt.Fprintf(b, ", unless %s before", s.Unless)
		}
		b.WriteByte('\n')
		if len(s.Remind) > 0 && len(s.Channels) > 0 {
			var reminders []string
			for _, at := range s.Remind {
				reminders = append(reminders, clock(at, s.At))
			}
			fmt.Fprintf(b, "  %s  reminders %s, no more after that\n", strings.Repeat(" ", wide), strings.Join(reminders, ", "))
		}
	}
}

// clockIn writes a time of the day, with its date if that is another than that
// of what it is about.
func clockIn(at, about sereno.Instant, zone *time.Location) string {
	if at.IsZero() {
		return "some day"
	}
	t, day := at.Time().In(zone), about.Time().In(zone)
	layout := "15:04:05"
	if t.Format(time.DateOnly) != day.Format(time.DateOnly) {
		layout = "Mon 2006-01-02 15:04:05"
	}
	if _, was := day.Zone(); true {
		if _, is := t.Zone(); is != was { // clocks were changed in between
			layout += " MST"
		}
	}
	return t.Format(layout)
}

// parseAhead reads a time, a local day or minute, or a length from now.
func parseAhead(s string, now time.Time) (time.Time, error) {
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		return now.Add(d), nil
	}
	if days, ok := strings.CutSuffix(s, "d"); ok {
		var n int
		if _, err := fmt.Sscanf(days+"|", "%d|", &n); err == nil && n >= 0 && n <= 100_000 {
			return now.AddDate(0, 0, n), nil
		}
	}
	if t, err := parseMoment(s, now); err == nil {
		return t, nil
	}
	return time.Time{}, fmt.Errorf("%q is neither a time such as 2026-11-21T20:00 nor a length from now such as 2h or 7d", s)
}
