package main

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sereno"
	"sereno/api"
)

func newMaintenance() *cobra.Command {
	cmd := &cobra.Command{
		Use: "maintenance", Short: "When devices are worked on, and nobody is told of their trouble", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	addServerFlag(cmd)
	cmd.AddCommand(newMaintenanceList(), newMaintenanceAdd(), newMaintenanceRemove())
	return cmd
}

func newMaintenanceList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the maintenance windows and when they are next, by their own clock and by yours", Args: cobra.NoArgs,
		RunE: asking(func(cmd *cobra.Command, c *client, _ []string) error {
			windows, err := list[api.MaintenanceWindow](cmd.Context(), c, "/api/maintenance", nil, 0)
			if err != nil {
				return err
			}
			w := cmd.OutOrStdout()
			if asJSON(cmd) {
				return printJSON(w, api.Page[api.MaintenanceWindow]{Items: windows})
			}
			if len(windows) == 0 {
				return say(w, "there is no maintenance window")
			}
			t := &table{columns: []column{{"window", false}, {"devices", false}, {"when", false}, {"by its clock", false}, {"by your clock", false}, {"managed by", false}, {"reason", false}}}
			for _, win := range windows {
				match := win.Match
				if match == "" {
					match = "all"
				}
				first := []cell{text(win.Name), text(match)}
				last := []cell{{managedBy(win.Managed), faint}, text(win.Reason)}
				rows := occurrences(win)
				for i, row := range rows {
					if i > 0 {
						first, last = []cell{{}, {}}, []cell{{}, {}}
					}
					t.add(append(append(append([]cell{}, first...), row...), last...)...)
				}
			}
			return t.print(w)
		}),
	}
}

// occurrences are the rows of a window: now, and next, by both clocks.
func occurrences(win api.MaintenanceWindow) (rows [][]cell) {
	zone, err := sereno.LoadZone(win.Zone)
	if err != nil {
		zone = time.UTC
	}
	both := func(when cell, o api.Occurrence) {
		rows = append(rows, []cell{when, {stretch(o, zone), plain}, {stretch(o, time.Local), plain}})
	}
	if win.Aside != "" {
		return [][]cell{{{"aside: " + inert(win.Aside), bad}, {}, {}}}
	}
	if win.Now != nil {
		both(cell{"now", warn}, *win.Now)
	}
	for _, o := range win.Next {
		both(cell{"next", faint}, o)
	}
	if len(rows) == 0 {
		rows = append(rows, []cell{{"over", faint}, {}, {}})
	}
	return rows
}

// stretch writes when something begins and ends: "Sun 2026-11-01 02:00–04:00
// CET".
func stretch(o api.Occurrence, zone *time.Location) string {
	begin, end := o.Begin.Time().In(zone), o.End.Time().In(zone)
	layout := "15:04"
	if begin.Format(time.DateOnly) != end.Format(time.DateOnly) {
		layout = "Mon 2006-01-02 15:04"
	}
	from := "Mon 2006-01-02 15:04"
	if begin.Format("MST") != end.Format("MST") { // clocks are changed in it
		from += " MST"
	}
	return begin.Format(from) + "–" + end.Format(layout+" MST")
}

func newMaintenanceAdd() *cobra.Command {
	var match, rrule, start, zone, reason string
	var duration length
	cmd := &cobra.Command{
		Use:   "add NAME",
		Short: "Make a maintenance window",
		Long: `Make a maintenance window: once, or by a rule (RFC 5545). Its times are those of
the clock on the wall of its zone, across daylight saving.`,
		Example: `  sereno maintenance add switch-swap --match 'device == "core-sw1"' --length 30m
  sereno maintenance add sunday --match 'site == "plant1"' --start 2026-11-01T02:00 --length 2h \
    --rrule 'FREQ=WEEKLY;BYDAY=SU' --zone Europe/Berlin --reason updates`,
		Args: between(1, 1, "say the name of the window"),
		RunE: asking(func(cmd *cobra.Command, c *client, args []string) error {
			if !cmd.Flags().Changed("length") {
				return fmt.Errorf("say how long it is, such as --length 2h (see %s --help)", cmd.CommandPath())
			}
			if zone == "" {
				zone = localZone()
			}
			if ahead, err := time.ParseDuration(start); start == "" || err == nil && ahead >= 0 {
				in, err := sereno.LoadZone(zone)
				if err != nil {
					return fmt.Errorf("--zone: %w", err)
				}
				start = time.Now().Add(ahead).In(in).Format("2006-01-02T15:04:05")
			}
			wanted := map[string]any{
				"name": args[0], "match": match, "rrule": rrule, "start": start, "zone": zone, "length_seconds": time.Duration(duration).Seconds(), "reason": reason,
			}
			var made api.MaintenanceWindow
			if err := c.do(cmd.Context(), http.MethodPost, "/api/maintenance", nil, wanted, &made); err != nil {
				return err
			}
			w := cmd.OutOrStdout()
			if asJSON(cmd) {
				return printJSON(w, made)
			}
			in, err := sereno.LoadZone(made.Zone)
			if err != nil {
				in = time.UTC
			}
			when := "it never comes again"
			switch {
			case made.Now != nil:
				when = "it is now: " + stretch(*made.Now, in)
			case len(made.Next) > 0:
				when = "it is next " + stretch(made.Next[0], in)
			}
			return say(w, inert(made.Name)+": "+when)
		}),
	}
	f := cmd.Flags()
	f.StringVar(&match, "match", "", `which devices, such as 'site == "plant1"' (default all)`)
	f.StringVar(&start, "start", "", "the first begin, such as 2026-11-01T02:00, or a length from now such as 1h (default now)")
	f.Var(&duration, "length", "how long, such as 2h")
	f.StringVar(&rrule, "rrule", "", "when it is again, such as FREQ=WEEKLY;BYDAY=SU (default once)")
	f.StringVar(&zone, "zone", "", "such as Europe/Berlin (default this machine's)")
	f.StringVar(&reason, "reason", "", "for people")
	return cmd
}

// localZone is the name of this machine's time zone, UTC if it has none.
func localZone() string {
	if name := strings.TrimPrefix(os.Getenv("TZ"), ":"); name != "" {
		if _, err := sereno.LoadZone(name); err == nil {
			return name
		}
	}
	if path, err := filepath.EvalSymlinks("/etc/localtime"); err == nil {
		if _, name, ok := strings.Cut(path, "zoneinfo/"); ok {
			if _, err := sereno.LoadZone(name); err == nil {
				return name
			}
		}
	}
	return "UTC"
}

func newMaintenanceRemove() *cobra.Command {
	return &cobra.Command{
		Use: "remove NAME", Aliases: []string{"rm"}, Short: "Remove a maintenance window", Args: between(1, 1, "say which window, by its name"),
		Long: "Remove a maintenance window. What was under maintenance stays written down as that.",
		RunE: asking(func(cmd *cobra.Command, c *client, args []string) error {
			if err := c.do(cmd.Context(), http.MethodDelete, "/api/maintenance/"+url.PathEscape(args[0]), nil, nil, nil); err != nil {
				return err
			}
			if asJSON(cmd) {
				return printJSON(cmd.OutOrStdout(), map[string]string{"removed": args[0]})
			}
			return say(cmd.OutOrStdout(), inert(args[0])+" is removed; what was under maintenance stays written down as that")
		}),
	}
}
