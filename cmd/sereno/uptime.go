package main

import (
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sereno"
	"sereno/api"
)

func newUptime() *cobra.Command {
	var tag, site, window, period, zone, by string
	var degraded, unknown, behind, maintenance string
	var check int64
	var worst int
	cmd := &cobra.Command{
		Use:   "uptime [DEVICE]",
		Short: "Show uptime, coverage and outages",
		Long: `Show the figures of a device, by its name or its id, of a check, a tag or a
site, or of all: by default of the last 30 days. A group has two figures: the
mean of its devices, and the time in which all of them were up.`,
		Example: `  sereno uptime core-sw1
  sereno uptime core-sw1 --window 365d --by month --zone Europe/Berlin
  sereno uptime --site plant1 --period 2026-10 --zone Europe/Berlin
  sereno uptime --tag rack:3 --from 2026-11-01 --unknown down`,
		Args: between(0, 1, "say one device, by its name or its id, or none for all"),
		RunE: asking(func(cmd *cobra.Command, c *client, args []string) error {
			query, err := windowQuery(cmd, time.Now())
			if err != nil {
				return err
			}
			for name, value := range map[string]string{
				"tag": tag, "site": site, "window": window, "period": period, "zone": zone, "step": by,
				"degraded": degraded, "unknown": unknown, "behind": behind, "maintenance": maintenance,
			} {
				if value != "" {
					query.Set(name, value)
				}
			}
			if len(args) == 1 {
				query.Set("device", args[0])
			}
			if cmd.Flags().Changed("check") {
				query.Set("check", strconv.FormatInt(check, 10))
			}
			query.Set("limit", strconv.Itoa(worst))
			var u api.Uptime
			if err := c.get(cmd.Context(), "/api/uptime", query, &u); err != nil {
				return err
			}
			if asJSON(cmd) {
				return printJSON(cmd.OutOrStdout(), u)
			}
			return printUptime(cmd.OutOrStdout(), u, by)
		}),
	}
	f := cmd.Flags()
	f.StringVar(&tag, "tag", "", "all devices with this tag")
	f.StringVar(&site, "site", "", "all devices of this site: short for --tag site:NAME")
	f.Int64Var(&check, "check", 0, "one check, by its id")
	f.StringVar(&window, "window", "", "a length before now: 24h, 7d, 4w, 365d (default 30d)")
	f.StringVar(&period, "period", "", "2026, 2026-10, 2026-W42, 2026-10-03, today, yesterday, week, month or year")
	addWindowFlags(cmd)
	f.StringVar(&zone, "zone", "", "time zone of --period and --by, such as Europe/Berlin (default: UTC)")
	f.StringVar(&by, "by", "", "also by hour, day, week, month or year")
	f.StringVar(&degraded, "degraded", "", "degraded counts as up (default) or down")
	f.StringVar(&unknown, "unknown", "", "time that was not seen: ignore (default), or count it as down")
	f.StringVar(&behind, "behind", "", "down behind a parent counts as down (default), or exclude it")
	f.StringVar(&maintenance, "maintenance", "", "exclude it from coverage (default), or include it")
	f.IntVar(&worst, "worst", 10, "how many of the worst devices of a group to show")
	addServerFlag(cmd)
	return cmd
}

func printUptime(w io.Writer, u api.Uptime, by string) error {
	zone, err := sereno.LoadZone(u.Zone)
	if err != nil {
		zone = time.UTC
	}
	s := u.Figures
	var b strings.Builder
	fmt.Fprintf(&b, "%s, from %s to %s (%s)\n", bold.paint(inert(whose(u.Of))), inZone(s.From, zone), inZone(s.To, zone), sereno.FormatLength(time.Duration(s.Window)))
	if how := unusual(u.Counting); how != "" {
		fmt.Fprintf(&b, "counted   %s\n", how)
	}
	if u.Mean != nil {
		b.WriteString(meanLines(u.Mean))
		b.WriteString("\nas if they were one, up while all are:\n")
	}
	b.WriteString(figureLines(s))
	if err := say(w, b.String()); err != nil {
		return err
	}
	for _, t := range []*table{worstTable(u.Worst), seriesTable(u.Series, by, zone)} {
		if len(t.rows) == 0 {
			continue
		}
		if _, err := fmt.Fprintln(w); err != nil {
			return err
		}
		if err := t.print(w); err != nil {
			return err
		}
	}
	return nil
}

// whose says of what the figures are.
func whose(of api.Scope) string {
	switch {
	case of.CheckID != 0:
		return fmt.Sprintf("%s, check %d", of.Device, of.CheckID)
	case of.Device != "":
		return of.Device
	case of.Tag != "":
		return fmt.Sprintf("%s (%s)", of.Tag, counted(of.Devices, "device"))
	default:
		return counted(of.Devices, "device")
	}
}

// unusual says how it was counted, unless that is as usual.
func unusual(c api.Counting) string {
	var how []string
	if c.Degraded == "down" {
		how = append(how, "degraded as down")
	}
	if c.Unknown == "down" {
		how = append(how, "what was not seen as down")
	}
	if c.Behind == "exclude" {
		how = append(how, "without the time behind a parent")
	}
	if c.Maintenance == "include" {
		how = append(how, "coverage with maintenance")
	}
	return strings.Join(how, ", ")
}

func meanLines(m *api.Mean) string {
	var b strings.Builder
	if m.Uptime == nil {
		b.WriteString("uptime    not known: nothing was seen in this window\n")
	} else {
		fmt.Fprintf(&b, "uptime    %s = %s of %s seen (mean of all)\n", bold.paint(share(*m.Uptime)), total(m.Numerator), total(m.Denominator))
	}
	if m.Coverage != nil {
		fmt.Fprintf(&b, "coverage  %s\n", share(*m.Coverage))
	}
	fmt.Fprintf(&b, "outages   %s", grouped(strconv.Itoa(m.Outages)))
	if m.Outages > 0 {
		fmt.Fprintf(&b, ", %s down", total(m.Downtime))
	}
	if m.MTBF != nil && m.MTTR != nil {
		fmt.Fprintf(&b, "\nbetween   %s up between outages of a device, %s until it was up again (means)", total(*m.MTBF), total(*m.MTTR))
	}
	b.WriteByte('\n')
	return b.String()
}

// total writes the time of many devices.
func total(t api.Total) string {
	const most = 100 * 365 * 24 * 3600
	if t.Seconds < most {
		return sereno.FormatLength(time.Duration(t.Seconds)*time.Second + time.Duration(t.Micros)*time.Microsecond)
	}
	return grouped(strconv.FormatInt(t.Seconds/86400, 10)) + " d"
}

func worstTable(worst []api.Worst) *table {
	t := &table{columns: []column{{"the worst", false}, {"uptime", true}, {"down", true}, {"outages", true}, {"longest", true}, {"coverage", true}}}
	for _, d := range worst {
		t.add(text(d.Device), shareCell(d.Uptime), cell{sereno.FormatLength(time.Duration(d.Downtime)), plain}, cell{grouped(strconv.Itoa(d.Outages)), plain},
			cell{sereno.FormatLength(time.Duration(d.Longest)), plain}, shareCell(d.Coverage))
	}
	return t
}

func seriesTable(series []api.Bucket, by string, zone *time.Location) *table {
	t := &table{columns: []column{{by + " from", false}, {"uptime", true}, {"down", true}, {"outages", true}, {"longest", true}, {"coverage", true}}}
	group := len(series) > 0 && series[0].Mean != nil
	if group {
		t.columns[1].head = "all up"
		t.columns = append(t.columns, column{"mean", true})
	}
	for _, s := range series {
		row := []cell{
			{inZone(s.Figures.From, zone), plain},
			shareCell(s.Figures.Uptime),
			downCell(s.Figures.Downtime),
			{grouped(strconv.Itoa(s.Figures.Outages)), plain},
			downCell(s.Figures.Longest),
			shareCell(s.Figures.Coverage),
		}
		if group {
			row = append(row, shareCell(s.Mean.Uptime))
		}
		t.add(row...)
	}
	return t
}

func downCell(d api.Seconds) cell {
	if d == 0 {
		return cell{"–", faint}
	}
	return cell{sereno.FormatLength(time.Duration(d)), warn}
}

// shareCell is a share, faint where all is well or nothing is known.
func shareCell(s *float64) cell {
	switch {
	case s == nil:
		return cell{"–", faint}
	case *s == 1:
		return cell{share(*s), faint}
	default:
		return cell{share(*s), plain}
	}
}

func inZone(i sereno.Instant, zone *time.Location) string {
	return i.Time().In(zone).Format("2006-01-02 15:04 MST")
}

// clockLength writes how long something has lasted as it is written on a wall:
// "0 days 00:03:22".
func clockLength(d time.Duration) string {
	return fmt.Sprintf("%d days %02d:%02d:%02d", d/(24*time.Hour), d%(24*time.Hour)/time.Hour, d%time.Hour/time.Minute, d%time.Minute/time.Second)
}

// deviceFigures are the figures inside a device, by window.
func deviceFigures(d api.Device) *table {
	t := &table{columns: []column{{"window", false}, {"uptime", true}, {"down", true}, {"outages", true}, {"coverage", true}}}
	for _, name := range []string{"24h", "7d", "30d", "90d", "365d"} {
		if f, ok := d.Figures[name]; ok {
			t.add(text(name), shareCell(f.Uptime), downCell(f.Downtime), cell{grouped(strconv.Itoa(f.Outages)), plain}, shareCell(f.Coverage))
		}
	}
	return t
}

// statusFigures is what a status asks of a list of devices: nothing of so many
// that it would make their figures every two seconds.
func statusFigures(devices int) url.Values {
	const most = 5000
	if devices > most {
		return nil
	}
	return url.Values{"figures": {"24h,30d"}}
}
