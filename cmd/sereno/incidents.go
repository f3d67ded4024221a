package main

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"sereno"
	"sereno/api"
)

func newIncidents() *cobra.Command {
	var open bool
	var most int
	cmd := &cobra.Command{
		Use:   "incidents [DEVICE]",
		Short: "List stretches of trouble, latest first",
		Args:  between(0, 1, "say one device, or none for all"),
		RunE: asking(func(cmd *cobra.Command, c *client, args []string) error {
			query, err := windowQuery(cmd, time.Now())
			if err != nil {
				return err
			}
			names := map[sereno.DeviceID]string{}
			if len(args) == 1 {
				d, err := c.device(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				query.Set("device_id", fmt.Sprint(d.ID))
				names[d.ID] = d.Name
			}
			if open {
				query.Set("open", "true")
			}
			incidents, err := list[api.Incident](cmd.Context(), c, "/api/incidents", query, most)
			if err != nil {
				return err
			}
			w := cmd.OutOrStdout()
			if asJSON(cmd) {
				return printJSON(w, api.Page[api.Incident]{Items: incidents})
			}
			if len(incidents) == 0 {
				_, err := fmt.Fprintln(w, "no incidents were written down")
				return err
			}
			t := &table{columns: []column{{"id", true}, {"opened", false}, {"closed", false}, {"length", true}, {"severity", false}, {"trouble", false}, {"device", false}, {"under", true}, {"reason", false}}}
			for _, i := range incidents {
				closed := cell{moment(i.Closed), plain}
				if i.Closed.IsZero() {
					closed = cell{"still open", bad}
				}
				who, under := "Sereno itself", ""
				switch {
				case i.Status == sereno.TroubleIsolated:
					who = "this vantage point"
				case i.Subject != "":
					who = i.Subject
				}
				if i.DeviceID != nil {
					if who, err = c.deviceName(cmd, names, *i.DeviceID); err != nil {
						return err
					}
				}
				if i.Under != nil {
					under = fmt.Sprint(*i.Under)
				}
				t.add(cell{fmt.Sprint(i.ID), faint}, cell{moment(i.Opened), plain}, closed, cell{sereno.FormatLength(time.Duration(i.Seconds)), plain},
					severe(i.Severity), text(i.Status.String()), text(who), cell{under, faint}, cell{inert(i.Reason), faint})
			}
			return t.print(w)
		}),
	}
	cmd.Flags().BoolVar(&open, "open", false, "only those that last")
	cmd.Flags().IntVarP(&most, "limit", "n", 100, "how many at most; 0 for all")
	addWindowFlags(cmd)
	addServerFlag(cmd)
	cmd.AddCommand(newIncidentsShow())
	return cmd
}

// deviceName asks for the name of a device once. One that is no longer watched
// has its number.
func (c *client) deviceName(cmd *cobra.Command, known map[sereno.DeviceID]string, id sereno.DeviceID) (string, error) {
	if name, ok := known[id]; ok {
		return name, nil
	}
	var d api.Device
	err := c.get(cmd.Context(), devicePath(id), nil, &d)
	if r, ok := errors.AsType[*refusal](err); ok && r.status == http.StatusNotFound {
		d.Name, err = fmt.Sprintf("device %d (removed)", id), nil
	}
	known[id] = d.Name
	return d.Name, err
}
