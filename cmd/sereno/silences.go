package main

import (
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"sereno"
	"sereno/api"
)

func newSilences() *cobra.Command {
	cmd := &cobra.Command{
		Use: "silences", Aliases: []string{"silence"}, Short: "Which trouble nobody is told of, for a while", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	addServerFlag(cmd)
	cmd.AddCommand(newSilencesList(), newSilencesAdd(), newSilencesRemove())
	return cmd
}

func newSilencesList() *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use: "list", Short: "List the silences that are not over", Args: cobra.NoArgs,
		RunE: asking(func(cmd *cobra.Command, c *client, _ []string) error {
			silences, err := list[api.Silence](cmd.Context(), c, "/api/silences", nil, 0)
			if err != nil {
				return err
			}
			shown := []api.Silence{}
			for _, s := range silences {
				if all || s.State != "over" {
					shown = append(shown, s)
				}
			}
			w := cmd.OutOrStdout()
			if asJSON(cmd) {
				return printJSON(w, api.Page[api.Silence]{Items: shown})
			}
			if len(shown) == 0 {
				line := "there is no silence"
				if len(silences) > 0 {
					line += fmt.Sprintf(" that is not over; --all shows %s", counted(len(silences), "more"))
				}
				return say(w, line)
			}
			t := &table{columns: []column{{"silence", false}, {"match", false}, {"", false}, {"from", false}, {"until", false}, {"by", false}, {"managed by", false}, {"reason", false}}}
			for _, s := range shown {
				state := cell{s.State, faint}
				switch {
				case s.Aside != "":
					state = cell{"aside: " + inert(s.Aside), bad}
				case s.State == "active":
					state.tone = warn
				}
				t.add(text(s.Name), text(s.Match), state, cell{moment(s.From), plain}, cell{moment(s.Until), plain}, text(s.By), cell{managedBy(s.Managed), faint}, text(s.Reason))
			}
			return t.print(w)
		}),
	}
	cmd.Flags().BoolVar(&all, "all", false, "also those that are over")
	return cmd
}

func newSilencesAdd() *cobra.Command {
	var name, from, until, reason string
	var duration length
	cmd := &cobra.Command{
		Use:   "add MATCH",
		Short: "Keep trouble from being told, for a while",
		Long: `Keep trouble from being told, for a while. It is recorded as ever. What still lasts
when the silence ends is told then.`,
		Example: `  sereno silences add 'device == "printer-2"' --for 2h --reason "toner"
  sereno silences add 'site == "plant1" and severity != "critical"' --until 2026-11-22T08:00`,
		Args: between(1, 1, `say which trouble, such as 'device == "printer-2"'`),
		RunE: asking(func(cmd *cobra.Command, c *client, args []string) error {
			wanted := map[string]any{"match": args[0], "reason": reason}
			if name != "" {
				wanted["name"] = name
			}
			now := time.Now()
			for flag, value := range map[string]string{"from": from, "until": until} {
				if value == "" {
					continue
				}
				at, err := parseAhead(value, now)
				if err != nil {
					return fmt.Errorf("--%s: %w", flag, err)
				}
				wanted[flag] = sereno.At(at)
			}
			switch {
			case until == "" && duration == 0:
				return fmt.Errorf("say for how long, such as --for 2h, or --until 2026-11-22T08:00 (see %s --help)", cmd.CommandPath())
			case until != "" && duration != 0:
				return fmt.Errorf("--for and --until both say when it ends; give one of them")
			case until == "":
				wanted["for_seconds"] = time.Duration(duration).Seconds()
			}
			var made api.Silence
			if err := c.do(cmd.Context(), http.MethodPost, "/api/silences", nil, wanted, &made); err != nil {
				return err
			}
			w := cmd.OutOrStdout()
			if asJSON(cmd) {
				return printJSON(w, made)
			}
			return say(w, fmt.Sprintf("%s: nobody is told of %s until %s", inert(made.Name), inert(made.Match), moment(made.Until)))
		}),
	}
	f := cmd.Flags()
	f.Var(&duration, "for", "how long, such as 2h")
	f.StringVar(&until, "until", "", "its end, such as 2026-11-22T08:00, instead of --for")
	f.StringVar(&from, "from", "", "its begin, such as 2026-11-22T02:00 or a length from now (default now)")
	f.StringVar(&reason, "reason", "", "why, for people")
	f.StringVar(&name, "name", "", "what it is called (default: silence- and a number)")
	return cmd
}

func newSilencesRemove() *cobra.Command {
	return &cobra.Command{
		Use: "remove NAME", Aliases: []string{"rm"}, Short: "End a silence", Args: between(1, 1, "say which silence, by its name"),
		Long: "End a silence. What still lasts of what it kept back is told now.",
		RunE: asking(func(cmd *cobra.Command, c *client, args []string) error {
			if err := c.do(cmd.Context(), http.MethodDelete, "/api/silences/"+url.PathEscape(args[0]), nil, nil, nil); err != nil {
				return err
			}
			if asJSON(cmd) {
				return printJSON(cmd.OutOrStdout(), map[string]string{"removed": args[0]})
			}
			return say(cmd.OutOrStdout(), inert(args[0])+" is removed; what it kept back and still lasts is told now")
		}),
	}
}
