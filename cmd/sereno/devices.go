package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sereno"
	"sereno/api"
)

func newDevices() *cobra.Command {
	cmd := &cobra.Command{
		Use: "devices", Aliases: []string{"device"}, Short: "Say what is watched", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	addServerFlag(cmd)
	cmd.AddCommand(newDevicesAdd(), newDevicesList(), newDevicesShow(), newDevicesRemove(), newDevicesRemoved(), newDevicesPurge())
	return cmd
}

// A newDevice is what the API is sent. What is left out gets its default there.
type newDevice struct {
	Name       string     `json:"name"`
	Address    string     `json:"address"`
	Importance string     `json:"importance,omitempty"`
	Tags       []string   `json:"tags,omitempty"`
	Parents    []string   `json:"parents,omitempty"`
	Checks     []newCheck `json:"checks,omitempty"`
}

type newCheck struct {
	Kind     string   `json:"kind"`
	Interval *float64 `json:"interval_seconds,omitempty"`
	Timeout  *float64 `json:"timeout_seconds,omitempty"`
	Fall     *int     `json:"fall,omitempty"`
	Rise     *int     `json:"rise,omitempty"`
}

func newDevicesAdd() *cobra.Command {
	var d newDevice
	var interval, timeout length
	var fall, rise int
	cmd := &cobra.Command{
		Use:   "add NAME [ADDRESS]",
		Short: "Watch one more device",
		Long:  "Watch one more device. Without ADDRESS its name is its address.",
		Example: `  sereno devices add core-sw1 192.0.2.1 --importance critical --tag rack:3
  sereno devices add printer-2 192.0.2.12 --parent core-sw1 --interval 10s
  sereno devices add www.example.com`,
		Args: between(1, 2, "say the name of the new device, and its address"),
		RunE: asking(func(cmd *cobra.Command, c *client, args []string) error {
			d.Name, d.Address = args[0], args[len(args)-1]
			var check newCheck
			flags := cmd.Flags()
			if flags.Changed("interval") {
				check.Interval = seconds(time.Duration(interval))
			}
			if flags.Changed("timeout") {
				check.Timeout = seconds(time.Duration(timeout))
			} else if flags.Changed("interval") && time.Duration(interval) < sereno.DefaultPolicy.Timeout {
				check.Timeout = check.Interval
			}
			if flags.Changed("fall") {
				check.Fall = &fall
			}
			if flags.Changed("rise") {
				check.Rise = &rise
			}
			if check != (newCheck{}) {
				check.Kind = "icmp"
				d.Checks = []newCheck{check}
			}
			var added api.Device
			if err := c.do(cmd.Context(), http.MethodPost, "/api/devices", nil, d, &added); err != nil {
				return err
			}
			if asJSON(cmd) {
				return printJSON(cmd.OutOrStdout(), added)
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s (%s) is watched; sereno status shows it\n", inert(added.Name), inert(added.Address))
			return err
		}),
	}
	f := cmd.Flags()
	f.StringVar(&d.Importance, "importance", "", "critical, high, medium (default) or low")
	f.StringArrayVar(&d.Tags, "tag", nil, "such as rack:3; may be given again")
	f.StringArrayVar(&d.Parents, "parent", nil, "a device that it hangs on; may be given again")
	f.Var(&interval, "interval", "between looks, 100ms to 24h (default 1s)")
	f.Var(&timeout, "timeout", "how long an answer may take (default 1s)")
	f.IntVar(&fall, "fall", 0, "looks in a row without an answer that prove it is down (default 3)")
	f.IntVar(&rise, "rise", 0, "looks in a row with an answer that prove it is up again (default 2)")
	return cmd
}

func newDevicesList() *cobra.Command {
	var search, tag, status string
	cmd := &cobra.Command{
		Use: "list", Short: "List what is watched", Args: cobra.NoArgs,
		RunE: asking(func(cmd *cobra.Command, c *client, _ []string) error {
			query := url.Values{}
			for name, value := range map[string]string{"search": search, "tag": tag, "status": status} {
				if value != "" {
					query.Set(name, value)
				}
			}
			devices, err := list[api.Device](cmd.Context(), c, "/api/devices", query, 0)
			if err != nil {
				return err
			}
			if asJSON(cmd) {
				return printJSON(cmd.OutOrStdout(), api.Page[api.Device]{Items: devices})
			}
			if len(devices) == 0 {
				_, err := fmt.Fprintln(cmd.OutOrStdout(), "there is no such device")
				return err
			}
			t := &table{columns: []column{{"id", true}, {"device", false}, {"address", false}, {"status", false}, {"importance", false}, {"parents", false}, {"tags", false}, {"managed by", false}}}
			for _, d := range devices {
				t.add(cell{fmt.Sprint(d.ID), faint}, text(d.Name), text(d.Address), deviceCell(d), text(d.Importance.String()),
					text(strings.Join(d.Parents, ", ")), text(strings.Join(d.Tags, ", ")), cell{managed(d), faint})
			}
			return t.print(cmd.OutOrStdout())
		}),
	}
	cmd.Flags().StringVar(&search, "search", "", "a part of the name or the address")
	cmd.Flags().StringVar(&tag, "tag", "", "has this tag")
	cmd.Flags().StringVar(&status, "status", "", "up, degraded, down or unknown")
	return cmd
}

func managed(d api.Device) string {
	if d.FromFile {
		return "file"
	}
	return "api"
}

func newDevicesShow() *cobra.Command {
	return &cobra.Command{
		Use: "show NAME", Short: "Show all about one device", Args: between(1, 1, "say which device, by its name or its id"),
		Long: "Show all about one device, by its name or its id.",
		RunE: asking(func(cmd *cobra.Command, c *client, args []string) error {
			d, err := c.device(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			// By its id it comes with its figures.
			if err := c.get(cmd.Context(), devicePath(d.ID), nil, &d); err != nil {
				return err
			}
			if asJSON(cmd) {
				return printJSON(cmd.OutOrStdout(), d)
			}
			return printDevice(cmd.OutOrStdout(), d)
		}),
	}
}

func printDevice(w io.Writer, d api.Device) error {
	t := &table{columns: []column{{inert(d.Name), false}, {"", false}}}
	row := func(name, value string) {
		if value != "" {
			t.add(cell{name, faint}, text(value))
		}
	}
	row("id", fmt.Sprint(d.ID))
	row("address", d.Address)
	t.add(cell{"status", faint}, deviceCell(d))
	row("since", moment(d.Since))
	row("reason", d.Reason)
	if m := d.Maintenance; m != nil {
		row("maintenance", fmt.Sprintf("%s, until %s", m.Window, moment(m.Until)))
	}
	row("importance", d.Importance.String())
	row("tags", strings.Join(d.Tags, ", "))
	row("parents", strings.Join(d.Parents, ", "))
	row("managed by", managed(d))
	row("watched since", moment(d.Created))
	if err := t.print(w); err != nil {
		return err
	}
	if figures := deviceFigures(d); len(figures.rows) > 0 {
		if _, err := fmt.Fprintln(w); err != nil {
			return err
		}
		if err := figures.print(w); err != nil {
			return err
		}
	}
	for _, c := range d.Checks {
		if _, err := fmt.Fprintf(colored(w), "\ncheck %s: %s every %s, timeout %s, fall %d, rise %d\n", inert(c.Name), statusTone(c.Status).paint(c.Status.String()),
			time.Duration(c.Interval), time.Duration(c.Timeout), c.Fall, c.Rise); err != nil {
			return err
		}
		if c.RTTAbove > 0 || c.LossAbove > 0 {
			var limits []string
			if c.RTTAbove > 0 {
				limits = append(limits, fmt.Sprintf("slower than %s", time.Duration(c.RTTAbove)))
			}
			if c.LossAbove > 0 {
				limits = append(limits, fmt.Sprintf("more than %g %% lost over %s", 100*c.LossAbove, time.Duration(c.LossWindow)))
			}
			if _, err := fmt.Fprintf(w, "  degraded when %s\n", strings.Join(limits, ", or ")); err != nil {
				return err
			}
		}
		if c.Recent.Pattern != "" {
			if _, err := fmt.Fprintf(colored(w), "  latest looks %s (newest last, x was lost); %s of %s lost\n", dots(c.Recent.Pattern).text,
				grouped(fmt.Sprint(c.Recent.Lost)), counted(int(c.Recent.Looks), "look")); err != nil {
				return err
			}
		}
	}
	return nil
}

func newDevicesRemove() *cobra.Command {
	return &cobra.Command{
		Use: "remove NAME…", Aliases: []string{"rm"}, Short: "Watch devices no longer", Args: atLeast(1, "say which devices, by their names or ids"),
		Long: "Watch devices no longer, by their names or ids. Either all of them are found, or none is removed.",
		RunE: asking(func(cmd *cobra.Command, c *client, args []string) error {
			var gone []api.Device
			var missing []error
			for _, name := range args {
				d, err := c.device(cmd.Context(), name)
				if r, ok := errors.AsType[*refusal](err); ok && r.status == http.StatusNotFound {
					missing = append(missing, err)
				} else if err != nil {
					return err
				}
				if !slices.ContainsFunc(gone, func(o api.Device) bool { return o.ID == d.ID }) {
					gone = append(gone, d)
				}
			}
			if len(missing) > 0 {
				return &refusal{http.StatusNotFound, errors.Join(missing...).Error()}
			}
			for _, d := range gone {
				if err := c.do(cmd.Context(), http.MethodDelete, devicePath(d.ID), nil, nil, nil); err != nil {
					return err
				}
				if !asJSON(cmd) {
					if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%s is no longer watched; its history stays (sereno devices purge deletes it)\n", inert(d.Name)); err != nil {
						return err
					}
				}
			}
			if asJSON(cmd) {
				return printJSON(cmd.OutOrStdout(), api.Page[api.Device]{Items: gone})
			}
			return nil
		}),
	}
}
