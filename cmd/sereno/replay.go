package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sereno"
	"sereno/api"
)

func newReplay() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "replay",
		Short: "Judge kept looks again, under another policy",
		Long: `Judge the kept looks of a device again, as they were and under another policy,
and show side by side what was recorded and what would have been.

  sereno replay --device web1 --from 30d --policy fall=5,rise=1,rtt_above=50ms
  sereno replay --all --from 7d        prove the books of all devices

Policy keys: fall, rise (looks in a row), rtt_above (50ms; 0 for never),
loss_above (2% or 0.02; 0 for never), loss_window (1m). Interval and timeout
cannot be others: looks were taken by them.

Exit code 1: the looks do not give what was recorded.`,
		Args: cobra.NoArgs,
		RunE: asking(runReplay),
	}
	cmd.Flags().String("device", "", "whose looks, by its name or its id")
	cmd.Flags().Bool("all", false, "those of all devices")
	cmd.Flags().String("policy", "", "what to change in the policy, such as fall=5,rise=1,rtt_above=50ms")
	addWindowFlags(cmd)
	addServerFlag(cmd)
	return cmd
}

func runReplay(cmd *cobra.Command, c *client, _ []string) error {
	query, err := windowQuery(cmd, time.Now())
	if err != nil {
		return err
	}
	device, err := cmd.Flags().GetString("device")
	if err != nil {
		return err
	}
	every, err := cmd.Flags().GetBool("all")
	if err != nil {
		return err
	}
	policy, err := cmd.Flags().GetString("policy")
	if err != nil {
		return err
	}
	if (device == "") == !every {
		return fmt.Errorf("say which device with --device, or --all (see %s --help)", cmd.CommandPath())
	}
	if err := policyQuery(policy, query); err != nil {
		return fmt.Errorf("--policy: %w", err)
	}
	c.http.Timeout = 10 * time.Minute // 30 days at 1 s take about a second, and others may be before us
	var items []api.Replay
	if every {
		items, err = replayAll(cmd.Context(), c, query)
	} else {
		items, err = replayOne(cmd.Context(), c, device, query)
	}
	if err != nil {
		return err
	}
	if asJSON(cmd) {
		err = printJSON(cmd.OutOrStdout(), api.Replayed{Items: items})
	} else {
		err = printReplay(cmd.OutOrStdout(), items)
	}
	if err == nil && slices.ContainsFunc(items, func(r api.Replay) bool { return r.Difference != nil }) {
		return errNegative
	}
	return err
}

func replayOne(ctx context.Context, c *client, device string, query url.Values) ([]api.Replay, error) {
	query.Set("device", device)
	var answer api.Replayed
	err := c.get(ctx, "/api/replay", query, &answer)
	return answer.Items, err
}

// replayAll asks about one device after the other. One of which no looks are
// kept is left out, unless there is no other.
func replayAll(ctx context.Context, c *client, query url.Values) ([]api.Replay, error) {
	if query.Get("to") == "" { // the same window for all
		query.Set("to", sereno.At(time.Now()).String())
	}
	devices, err := list[api.Device](ctx, c, "/api/devices", nil, 0)
	if err != nil {
		return nil, err
	}
	items := []api.Replay{}
	var none error
	for _, d := range devices {
		found, err := replayOne(ctx, c, strconv.FormatInt(int64(d.ID), 10), query)
		if isNotFound(err) {
			none = err
			continue
		}
		if err != nil {
			return nil, err
		}
		items = append(items, found...)
	}
	if len(items) == 0 && none != nil {
		return nil, none
	}
	return items, nil
}

func isNotFound(err error) bool {
	r, ok := errors.AsType[*refusal](err)
	return ok && r.status == 404
}

// policyQuery turns "fall=5,rtt_above=50ms" into the API's.
func policyQuery(typed string, query url.Values) error {
	if typed == "" {
		return nil
	}
	for part := range strings.SplitSeq(typed, ",") {
		key, value, ok := strings.Cut(strings.TrimSpace(part), "=")
		if !ok || value == "" {
			return fmt.Errorf("%q is not KEY=VALUE, such as fall=5", part)
		}
		if query.Get(key) != "" {
			return fmt.Errorf("%s is given twice", key)
		}
		switch key {
		case "fall", "rise":
			if n, err := strconv.Atoi(value); err != nil || n < 1 || n > 100 {
				return fmt.Errorf("%s is a number of looks from 1 to 100, not %q", key, value)
			}
		case "rtt_above", "loss_window":
			if d, err := time.ParseDuration(value); value != "0" && err != nil || d < 0 {
				return fmt.Errorf("%s is a length of time such as 50ms or 1m, not %q", key, value)
			}
		case "loss_above":
			number, percent := strings.CutSuffix(value, "%")
			share, err := strconv.ParseFloat(number, 64)
			if percent {
				share /= 100
			}
			if err != nil || !(share >= 0 && share < 1) {
				return fmt.Errorf("loss_above is a share below 100%% such as 2%% or 0.02, not %q", value)
			}
			value = strconv.FormatFloat(share, 'g', -1, 64)
		case "interval", "timeout":
			return fmt.Errorf("%s cannot be another: looks were taken by it", key)
		default:
			return fmt.Errorf("there is no %q in a policy; there are fall, rise, rtt_above, loss_above, loss_window", key)
		}
		query.Set(key, value)
	}
	return nil
}

func printReplay(w io.Writer, items []api.Replay) error {
	t := &table{columns: []column{{"device", false}, {"policy", false}, {"outages", true}, {"downtime", true}, {"degraded", true}, {"unknown", true}, {"uptime", true}, {"alarms", true}, {"", false}}}
	row := func(name, policy string, a api.Account, verdict cell) {
		long := func(d api.Seconds) cell { return cell{sereno.FormatLength(time.Duration(d)), plain} }
		uptime := "–"
		if a.Summary.Uptime != nil {
			uptime = share(*a.Summary.Uptime)
		}
		t.add(text(name), cell{policy, faint}, text(strconv.Itoa(a.Summary.Outages)), long(a.Summary.Down), long(a.Summary.Degraded), long(a.Summary.Unknown), text(uptime), text(strconv.Itoa(a.Alarms)), verdict)
	}
	identical, differ := 0, 0
	for _, r := range items {
		name := r.Device
		if r.Check != "icmp" {
			name += "/" + r.Check
		}
		verdict := cell{"identical", faint}
		switch {
		case r.From.IsZero():
			verdict = cell{"not known", faint}
		case r.Difference != nil:
			verdict = cell{"differs", bold}
			differ++
		default:
			identical++
		}
		row(name, "recorded: "+policyText(r.Recorded.Policy), r.Recorded, verdict)
		if r.Other != nil {
			row("", "replayed: "+policyText(r.Other.Policy), *r.Other, cell{"", plain})
		}
	}
	if err := t.print(w); err != nil {
		return err
	}
	for _, r := range items {
		if r.Difference != nil {
			if err := say(w, fmt.Sprintf("\n%s: recorded %s, the looks say %s", r.Device, spanText(r.Difference.Recorded), spanText(r.Difference.Replayed))); err != nil {
				return err
			}
		}
	}
	if len(items) == 1 {
		r := items[0]
		if r.From.IsZero() {
			return say(w, "\n"+r.Note)
		}
		s := fmt.Sprintf("\n%d looks, exact from %s to %s", r.Looks, moment(r.From), moment(r.To))
		if r.Note != "" {
			s += "\n" + r.Note
		}
		return say(w, s)
	}
	return say(w, fmt.Sprintf("\n%d identical to what was recorded, %d differ, %d not known", identical, differ, len(items)-identical-differ))
}

func spanText(s *api.Span) string {
	if s == nil {
		return "nothing more"
	}
	return fmt.Sprintf("%s from %s to %s", s.Status, s.Begin, s.End)
}

func policyText(p api.ReplayPolicy) string {
	s := fmt.Sprintf("fall %d, rise %d", p.Fall, p.Rise)
	if p.RTTAbove > 0 {
		s += ", above " + time.Duration(p.RTTAbove).String()
	}
	if p.LossAbove > 0 {
		s += fmt.Sprintf(", loss above %g %% over %s", 100*p.LossAbove, time.Duration(p.LossWindow))
	}
	return s
}
