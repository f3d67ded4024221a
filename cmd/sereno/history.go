package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sereno"
	"sereno/api"
)

func newHistory() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "history DEVICE",
		Short: "Show what happened to a device, and its figures",
		Long:  "Show the spans of a device, by its name or its id, and the figures of the window: by default the last 24 hours.",
		Args:  between(1, 1, "say which device, by its name or its id"),
		RunE: asking(func(cmd *cobra.Command, c *client, args []string) error {
			query, err := windowQuery(cmd, time.Now())
			if err != nil {
				return err
			}
			d, err := c.device(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			h, err := readHistory(cmd.Context(), c, d.ID, query)
			if err != nil {
				return err
			}
			if asJSON(cmd) {
				return printJSON(cmd.OutOrStdout(), h)
			}
			return printHistory(cmd.OutOrStdout(), d, h)
		}),
	}
	addWindowFlags(cmd)
	addServerFlag(cmd)
	return cmd
}

// readHistory reads all pages of a history. The window is fixed by the first,
// so that all speak of the same.
func readHistory(ctx context.Context, c *client, id sereno.DeviceID, query url.Values) (api.History, error) {
	var h api.History
	query.Set("limit", "1000")
	if err := c.get(ctx, devicePath(id)+"/history", query, &h); err != nil {
		return h, err
	}
	query.Set("from", h.Summary.From.String())
	query.Set("to", h.Summary.To.String())
	for h.NextCursor != nil && *h.NextCursor != "" {
		query.Set("cursor", *h.NextCursor)
		var more api.History
		if err := c.get(ctx, devicePath(id)+"/history", query, &more); err != nil {
			return h, err
		}
		h.Spans, h.NextCursor = append(h.Spans, more.Spans...), more.NextCursor
	}
	return h, nil
}

func printHistory(w io.Writer, d api.Device, h api.History) error {
	t := &table{columns: []column{{"begin", false}, {"end", false}, {"length", true}, {"", false}, {"status", false}}}
	names := make(map[sereno.CheckID]string, len(d.Checks))
	for _, c := range d.Checks {
		names[c.ID] = c.Name
	}
	if len(names) > 1 {
		t.columns = append(t.columns, column{"check", false})
	}
	t.columns = append(t.columns, column{"reason", false})
	for _, s := range h.Spans {
		end := moment(s.End)
		if s.End.IsZero() {
			end = "now"
		}
		row := []cell{
			{moment(s.Begin), plain},
			{end, plain},
			{sereno.FormatLength(time.Duration(s.Seconds)), plain},
			{doubt(s.Uncertainty), faint},
			statusCell(s.Status, s.Cause == sereno.CausePaused),
		}
		if len(names) > 1 {
			row = append(row, text(names[s.CheckID]))
		}
		t.add(append(row, cell{inert(s.Reason), faint})...)
	}
	if len(h.Spans) == 0 {
		if _, err := fmt.Fprintln(w, "nothing is known of this window"); err != nil {
			return err
		}
	} else if err := t.print(w); err != nil {
		return err
	}
	return say(w, "\n"+maintenanceLines(h.Maintenance)+figures(h.Summary))
}

// maintenanceLines are the stretches of maintenance in a window, the
// first few of them.
func maintenanceLines(list []api.Maintained) string {
	const most = 5
	var b strings.Builder
	for _, m := range list[:min(most, len(list))] {
		end := "and it lasts"
		if !m.End.IsZero() {
			end = "to " + moment(m.End)
		}
		fmt.Fprintf(&b, "under maintenance from %s %s (%s, %s)\n", moment(m.Begin), end, inert(m.Window), long(m.Seconds))
	}
	if left := len(list) - most; left > 0 {
		fmt.Fprintf(&b, "and %s more\n", counted(left, "time"))
	}
	if len(list) > 0 {
		b.WriteString("\n")
	}
	return b.String()
}

// doubt is the uncertainty of when a span began.
func doubt(u api.Seconds) string {
	if u <= 0 {
		return ""
	}
	return "± " + sereno.FormatLength(time.Duration(u))
}

func long(d api.Seconds) string { return sereno.FormatLength(time.Duration(d)) }

// figures are the numbers of a window.
func figures(s api.Summary) string {
	return fmt.Sprintf("from %s to %s (%s)\n", moment(s.From), moment(s.To), long(s.Window)) + figureLines(s)
}

// figureLines are the numbers of a window, each with what it was made from.
func figureLines(s api.Summary) string {
	var b strings.Builder
	if s.Uptime == nil {
		b.WriteString("uptime    not known: nothing was seen in this window\n")
	} else {
		how := "seen"
		if s.Denominator != s.Up+s.Degraded+s.Down {
			how = "counted"
		}
		fmt.Fprintf(&b, "uptime    %s = %s of %s %s\n", bold.paint(share(*s.Uptime)), long(s.Numerator), long(s.Denominator), how)
	}
	if s.Coverage == nil {
		b.WriteString("coverage  not known: the whole window is paused or in maintenance\n")
	} else {
		seen, of := s.Up+s.Degraded+s.Down, s.Window-s.Maintenance-s.Paused
		if s.Maintenance > 0 && math.Abs(*s.Coverage*float64(of)-float64(seen)) > float64(time.Microsecond) {
			of += s.Maintenance // it is wanted that way
		}
		fmt.Fprintf(&b, "coverage  %s = %s of %s\n", share(*s.Coverage), long(seen), long(of))
	}
	var parts []string
	for _, p := range []struct {
		name string
		d    api.Seconds
	}{{"up", s.Up}, {"degraded", s.Degraded}, {"down", s.Down}, {"unknown", s.Unknown}, {"maintenance", s.Maintenance}, {"paused", s.Paused}} {
		if p.d > 0 {
			parts = append(parts, p.name+" "+long(p.d))
		}
	}
	fmt.Fprintf(&b, "time      %s\n", strings.Join(parts, ", "))
	fmt.Fprintf(&b, "outages   %d", s.Outages)
	if s.Outages > 0 {
		fmt.Fprintf(&b, ", the longest %s, the last at %s", long(s.Longest), moment(s.LastOutage))
	}
	if s.Current != nil {
		fmt.Fprintf(&b, "\nnow       %s for %s", bad.paint("down"), clockLength(time.Duration(s.Current.Seconds)))
	}
	if s.MTBF != nil && s.MTTR != nil {
		fmt.Fprintf(&b, "\nbetween   %s up between outages, %s until it was up again (means)", long(*s.MTBF), long(*s.MTTR))
	}
	return b.String()
}

// share writes a part of a whole so that only all of it reads 100 %, and only
// nothing 0 %.
func share(f float64) string {
	switch {
	case f > 0.99999 && f < 1:
		return ">99.999 %"
	case f > 0 && f < 0.00001:
		return "<0.001 %"
	}
	return strings.TrimSuffix(strings.TrimRight(fmt.Sprintf("%.3f", 100*f), "0"), ".") + " %"
}
