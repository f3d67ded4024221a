package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sereno"
	"sereno/api"
)

func newStatus() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show how everything is",
		Long:  "Show how every device is, those in trouble first.\nExit code 0 if none is down, 1 if some are, 2 if no Sereno answers.",
		Args:  cobra.NoArgs,
		RunE: asking(func(cmd *cobra.Command, c *client, _ []string) error {
			watch, err := cmd.Flags().GetBool("watch")
			if err != nil {
				return err
			}
			w := cmd.OutOrStdout()
			switch {
			case watch && isTerminal(w) && !asJSON(cmd):
				return watchStatus(cmd.Context(), c)
			case watch:
				return repeatStatus(cmd.Context(), c, w, asJSON(cmd))
			}
			p, err := readPicture(cmd.Context(), c)
			if err != nil {
				return err
			}
			if err := p.print(w, asJSON(cmd)); err != nil {
				return err
			}
			if p.Statistics.Devices.Down > 0 {
				return errNegative
			}
			return nil
		}),
	}
	cmd.Flags().BoolP("watch", "w", false, "go on showing it until Ctrl-C")
	addServerFlag(cmd)
	return cmd
}

// A picture is how everything is at one moment.
type picture struct {
	Verdict    string         `json:"verdict"`
	Statistics api.Statistics `json:"statistics"`
	Items      []api.Device   `json:"items"` // those in most trouble first
}

func readPicture(ctx context.Context, c *client) (picture, error) {
	var p picture
	if err := c.get(ctx, "/api/statistics", nil, &p.Statistics); err != nil {
		return p, err
	}
	var err error
	if p.Items, err = list[api.Device](ctx, c, "/api/devices", statusFigures(p.Statistics.Devices.Total), 0); err != nil {
		if r, ok := errors.AsType[*refusal](err); ok && r.status == http.StatusServiceUnavailable {
			p.Verdict = p.counts() + cmp.Or(p.unwritten(), " Attention: "+inert(r.text)+".") // nothing may have had to be written yet
			return p, nil
		}
		return p, err
	}
	slices.SortStableFunc(p.Items, func(a, b api.Device) int {
		return cmp.Or(trouble(b)-trouble(a), cmp.Compare(weight(b.Importance), weight(a.Importance)), cmp.Compare(a.Name, b.Name))
	})
	p.Verdict = p.verdict() + p.worked() + p.unwritten()
	return p, nil
}

// counts is the verdict while the store cannot say what the devices are called.
func (p *picture) counts() string {
	n := p.Statistics.Devices
	return fmt.Sprintf("Of %s %s are up, %s down, %s degraded, %s not known; which they are cannot be read just now.",
		counted(n.Total, "device"), grouped(fmt.Sprint(n.Up)), grouped(fmt.Sprint(n.Down)), grouped(fmt.Sprint(n.Degraded)), grouped(fmt.Sprint(n.Unknown)))
}

// unwritten is a second sentence for when storage fails: what is shown is seen,
// but not written down.
func (p *picture) unwritten() string {
	if fault := p.Statistics.Storage.Fault; fault != nil {
		return " Attention: " + inert(*fault) + "."
	}
	const usual = 15 * time.Second
	late := p.Statistics.Now.Sub(p.Statistics.Settled)
	if p.Statistics.Unwritten == 0 || p.Statistics.Settled.IsZero() || late < usual {
		return ""
	}
	return fmt.Sprintf(" Nothing has been written down for %s: the log of sereno serve says why.", sereno.FormatLength(late))
}

// trouble ranks devices for a list: down, degraded, unknown, what has trouble
// while it is worked on, up, paused.
func trouble(d api.Device) int {
	switch {
	case d.Paused:
		return 0
	case d.Status == sereno.Up:
		return 1
	case d.Maintenance != nil:
		return 2
	case d.Status == sereno.Unknown:
		return 3
	case d.Status == sereno.Degraded:
		return 4
	}
	return 5
}

// worked is a second sentence for when devices are under maintenance.
func (p *picture) worked() string {
	n := 0
	for _, d := range p.Items {
		if d.Maintenance != nil {
			n++
		}
	}
	switch n {
	case 0:
		return ""
	case 1:
		return " 1 in maintenance: nobody is told of its trouble."
	}
	return fmt.Sprintf(" %s in maintenance: nobody is told of their trouble.", grouped(fmt.Sprint(n)))
}

func weight(i sereno.Importance) int {
	return map[sereno.Importance]int{sereno.Low: 1, sereno.Medium: 2, sereno.High: 3, sereno.Critical: 4}[i]
}

// verdict is the one sentence that says how it is.
func (p *picture) verdict() string {
	n, now := p.Statistics.Devices, p.Statistics.Now
	switch {
	case p.Statistics.Isolated:
		return "Cut off: nothing can be said about any device until this machine reaches its network again."
	case n.Total == 0:
		return "Nothing is watched yet: sereno devices add NAME ADDRESS."
	}
	all := counted(n.Total, "device")
	if n.Down > 0 {
		are := "are"
		if n.Down == 1 {
			are = "is"
		}
		return fmt.Sprintf("%s of %s %s down: %s.", grouped(fmt.Sprint(n.Down)), all, are, p.named(sereno.Down, now))
	}
	if n.Degraded > 0 {
		return fmt.Sprintf("%s of %s not well: %s.", grouped(fmt.Sprint(n.Degraded)), all, p.named(sereno.Degraded, now))
	}
	if n.Up == n.Total {
		return fmt.Sprintf("All is calm: %s up.", all)
	}
	if n.Up == 0 {
		return fmt.Sprintf("Nothing is known yet about %s.", all)
	}
	return fmt.Sprintf("All is calm: %s of %s up, %s not known.", grouped(fmt.Sprint(n.Up)), all, grouped(fmt.Sprint(n.Unknown)))
}

// named names the first few devices of a status, and since when.
func (p *picture) named(status sereno.Status, now sereno.Instant) string {
	const few = 5
	var names []string
	n := 0
	for _, d := range p.Items {
		if d.Status != status || d.Paused {
			continue
		}
		if n++; n > few {
			continue
		}
		name := inert(d.Name)
		if !d.Since.IsZero() {
			name += " (" + sereno.FormatLength(now.Sub(d.Since)) + ")"
		}
		names = append(names, name)
	}
	if n > few {
		names = append(names, fmt.Sprintf("and %s more", grouped(fmt.Sprint(n-few))))
	}
	return strings.Join(names, ", ")
}

func (p *picture) tone() tone {
	switch n := p.Statistics.Devices; {
	case p.Statistics.Isolated:
		return odd
	case n.Down > 0:
		return bad
	case n.Degraded > 0:
		return warn
	case n.Up == n.Total && n.Total > 0:
		return good
	}
	return plain
}

func (p *picture) print(w io.Writer, json bool) error {
	if json {
		return printJSON(w, p)
	}
	if err := say(w, p.tone().paint(p.Verdict)); err != nil {
		return err
	}
	if len(p.Items) == 0 {
		return nil
	}
	if _, err := fmt.Fprintln(w); err != nil {
		return err
	}
	return p.table(len(p.Items), columns(w)).print(w)
}

// roomForFigures is from how many columns on a status shows uptime too.
const roomForFigures = 130

// table makes a row for at most most devices; width is of the terminal, or 0.
func (p *picture) table(most, width int) *table {
	t := &table{columns: []column{
		{"device", false},
		{"address", false},
		{"status", false},
		{"since", true},
		{"last ms", true},
		{"loss", true},
		{"latest looks", false},
	}}
	shown := (width == 0 || width >= roomForFigures) && slices.ContainsFunc(p.Items, func(d api.Device) bool { return d.Figures != nil })
	if shown {
		t.columns = append(t.columns, column{"24 h", true}, column{"30 d", true})
	}
	t.columns = append(t.columns, column{"reason", false})
	for _, d := range p.Items[:min(most, len(p.Items))] {
		rtt, loss, looks := cell{"–", faint}, cell{"–", faint}, cell{"", faint}
		if i := slices.IndexFunc(d.Checks, func(c api.Check) bool { return c.Recent.Pattern != "" || c.Last.RTT != nil }); i >= 0 {
			c := &d.Checks[i]
			if c.Last.RTT != nil {
				rtt = cell{milliseconds(time.Duration(*c.Last.RTT)), plain}
			}
			if seen := len(c.Recent.Pattern); seen > 0 {
				lost := strings.Count(c.Recent.Pattern, "0")
				loss = cell{percent(uint64(lost), uint64(seen)), plain}
				if lost > 0 {
					loss.tone = warn
				}
				looks = dots(c.Recent.Pattern)
			}
		}
		row := []cell{text(d.Name), text(d.Address), deviceCell(d), since(d, p.Statistics.Now), rtt, loss, looks}
		if shown {
			row = append(row, shareCell(d.Figures["24h"].Uptime), shareCell(d.Figures["30d"].Uptime))
		}
		t.add(append(row, cell{inert(d.Reason), faint})...)
	}
	return t
}

func since(d api.Device, now sereno.Instant) cell {
	if d.Since.IsZero() {
		return cell{"–", faint}
	}
	return cell{sereno.FormatLength(max(0, now.Sub(d.Since))), plain}
}

func deviceCell(d api.Device) cell {
	if d.Maintenance != nil && !d.Paused {
		return cell{d.Status.String() + ", maintenance", faint}
	}
	return statusCell(d.Status, d.Paused)
}

func statusCell(s sereno.Status, paused bool) cell {
	if paused {
		return cell{"paused", faint}
	}
	return cell{s.String(), statusTone(s)}
}

func statusTone(s sereno.Status) tone {
	return [...]tone{sereno.Unknown: odd, sereno.Up: good, sereno.Degraded: warn, sereno.Down: bad}[s]
}

// dots draws the latest 24 looks, newest last: a dot was answered, a cross was
// not.
func dots(pattern string) cell {
	const most = 24
	pattern = pattern[max(0, len(pattern)-most):]
	in := faint
	if strings.Contains(pattern, "0") {
		in = plain
	}
	return cell{strings.NewReplacer("1", "·", "0", "x").Replace(inert(pattern)), in}
}

// repeatStatus prints a picture every few seconds, for whoever reads along.
func repeatStatus(ctx context.Context, c *client, w io.Writer, json bool) error {
	beat := time.NewTicker(watchEvery)
	defer beat.Stop()
	for {
		p, err := readPicture(ctx, c)
		if err != nil {
			return err
		}
		if err := p.print(w, json); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-beat.C:
		}
		if !json {
			if _, err := fmt.Fprintln(w); err != nil {
				return err
			}
		}
	}
}
