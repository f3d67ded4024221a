package main

import (
	"errors"
	"time"

	"github.com/spf13/cobra"
)

func newReport() *cobra.Command {
	var period, format, device, tag, zone, output string
	var degraded, unknown, behind, maintenance string
	cmd := &cobra.Command{
		Use:   "report",
		Short: "Write the availability report of a period",
		Long: `Write the availability report of a period, by default of the last month that
is over: how available everything was, the worst devices, every outage, when
Sereno itself was not watching, and how all of it was counted.

html is a page that needs nothing else and prints well; csv has one row for
each device; json has all of it.`,
		Example: `  sereno report --period 2026-10 --zone Europe/Berlin -o october.html
  sereno report --period 2026-W42 --tag site:plant1 --format csv
  sereno report --from 2026-10-01 --to 2026-10-15 --behind exclude -o half.html`,
		Args: cobra.NoArgs,
		RunE: asking(func(cmd *cobra.Command, c *client, _ []string) error {
			query, err := windowQuery(cmd, time.Now())
			if err != nil {
				return err
			}
			if asJSON(cmd) && !cmd.Flags().Changed("format") {
				format = "json"
			}
			for name, value := range map[string]string{
				"period": period, "format": format, "device": device, "tag": tag, "zone": zone,
				"degraded": degraded, "unknown": unknown, "behind": behind, "maintenance": maintenance,
			} {
				if value != "" {
					query.Set(name, value)
				}
			}
			if format == "html" && output == "" && isTerminal(cmd.OutOrStdout()) {
				return errors.New("a page is of little use on a terminal: write it to a file with --output report.html, or choose --format csv or json")
			}
			return c.save(cmd, "/api/report", query, output)
		}),
	}
	f := cmd.Flags()
	f.StringVar(&period, "period", "", "2026, 2026-10, 2026-W42, 2026-10-03, today, yesterday, week, month or year (default: the last month)")
	f.StringVar(&format, "format", "html", "html, csv or json")
	f.StringVar(&device, "device", "", "only this device, by its name or its id")
	f.StringVar(&tag, "tag", "", "only devices that have this tag")
	f.StringVar(&degraded, "degraded", "", "degraded counts as up (default) or down")
	f.StringVar(&unknown, "unknown", "", "time that was not seen: ignore (default), or count it as down")
	f.StringVar(&behind, "behind", "", "down behind a parent counts as down (default), or exclude it")
	f.StringVar(&maintenance, "maintenance", "", "exclude it from coverage (default), or include it")
	addOutputFlags(cmd, &zone, &output)
	addWindowFlags(cmd)
	addServerFlag(cmd)
	return cmd
}
