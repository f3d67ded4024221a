package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sereno"
	"sereno/api"
)

func newAbsences() *cobra.Command {
	var most int
	cmd := &cobra.Command{
		Use:   "absences",
		Short: "List when Sereno itself was not watching, latest first",
		Args:  cobra.NoArgs,
		RunE: asking(func(cmd *cobra.Command, c *client, _ []string) error {
			query, err := windowQuery(cmd, time.Now())
			if err != nil {
				return err
			}
			absences, err := list[api.Absence](cmd.Context(), c, "/api/absences", query, most)
			if err != nil {
				return err
			}
			w := cmd.OutOrStdout()
			if asJSON(cmd) {
				return printJSON(w, api.Page[api.Absence]{Items: absences})
			}
			if len(absences) == 0 {
				_, err := fmt.Fprintln(w, "no absences: it was on duty all the time")
				return err
			}
			t := &table{columns: []column{{"from", false}, {"to", false}, {"length", true}, {"", false}, {"cause", false}, {"not seen", true}, {"", false}}}
			for _, a := range absences {
				note := ""
				if a.Unsure {
					note = "the clock could not be trusted"
				}
				t.add(cell{moment(a.Begin), plain}, cell{moment(a.End), plain}, cell{sereno.FormatLength(time.Duration(a.Seconds)), plain},
					cell{doubt(a.Uncertainty), faint}, text(strings.ReplaceAll(a.Cause.String(), "_", " ")), cell{counted(a.Checks, "check"), plain}, cell{note, warn})
			}
			return t.print(w)
		}),
	}
	cmd.Flags().IntVarP(&most, "limit", "n", 100, "how many at most; 0 for all")
	addWindowFlags(cmd)
	addServerFlag(cmd)
	return cmd
}
