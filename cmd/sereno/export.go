package main

import (
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

func newExport() *cobra.Command {
	var format, device, tag, zone, output string
	var wide bool
	var step length
	cmd := &cobra.Command{
		Use:   "export looks|spans|incidents|absences|responses",
		Short: "Write what was recorded as CSV, JSON or NDJSON",
		Long: `Write what was recorded in a window, by default of the last 24 hours:

  looks       every look: when, which check, up or down, round-trip time
  spans       every stretch of one status of every check
  incidents   every stretch of trouble
  absences    when Sereno itself was not watching
  responses   the response-time log: when, which address, how long it took;
              --wide: one row for each moment, one column for each address

Removed devices are among them, as long as their history is kept. An export
that is cut off ends with 2, and leaves no file behind.`,
		Example: `  sereno export responses --wide --from 2026-10-01 --to 2026-11-01 -o october.csv
  sereno export spans --tag site:plant1 --from 365d --format ndjson | jq .
  sereno export looks --device core-sw1 --zone Europe/Berlin`,
		Args:      between(1, 1, "say what to export: looks, spans, incidents, absences or responses"),
		ValidArgs: []string{"looks", "spans", "incidents", "absences", "responses"},
		RunE: asking(func(cmd *cobra.Command, c *client, args []string) error {
			query, err := windowQuery(cmd, time.Now())
			if err != nil {
				return err
			}
			if asJSON(cmd) && !cmd.Flags().Changed("format") {
				format = "json"
			}
			for name, value := range map[string]string{"format": format, "device": device, "tag": tag, "zone": zone} {
				if value != "" {
					query.Set(name, value)
				}
			}
			if wide {
				query.Set("wide", "true")
			}
			if cmd.Flags().Changed("step") {
				query.Set("step_seconds", fmt.Sprint(time.Duration(step).Seconds()))
			}
			what := strings.ToLower(args[0])
			switch what {
			case "looks", "spans", "incidents", "absences", "responses":
			default:
				return fmt.Errorf("there is no export %q, only looks, spans, incidents, absences and responses", args[0])
			}
			return c.save(cmd, "/api/export/"+url.PathEscape(what), query, output)
		}),
	}
	f := cmd.Flags()
	f.StringVar(&format, "format", "csv", "csv, json or ndjson")
	f.StringVar(&device, "device", "", "only this device, by its name or its id")
	f.StringVar(&tag, "tag", "", "only devices that have this tag")
	f.BoolVar(&wide, "wide", false, "of responses: one column for each address")
	f.Var(&step, "step", "of --wide: how long a row is (default: the shortest interval of the checks)")
	addOutputFlags(cmd, &zone, &output)
	addWindowFlags(cmd)
	addServerFlag(cmd)
	return cmd
}

// addOutputFlags gives a command that writes a file --zone and --output.
func addOutputFlags(cmd *cobra.Command, zone, output *string) {
	cmd.Flags().StringVar(zone, "zone", "", "zone of the times that are written, such as Europe/Berlin (default: UTC)")
	cmd.Flags().StringVarP(output, "output", "o", "", "write to this file, which is there only when it is whole (default: standard output)")
}
