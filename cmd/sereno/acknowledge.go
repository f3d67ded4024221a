package main

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/user"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sereno/api"
)

func newAck() *cobra.Command {
	var span string
	cmd := newWish("ack ID…", "acknowledge", "Take care of incidents: no more reminders, no escalation")
	cmd.Aliases = []string{"acknowledge"}
	cmd.Flags().StringVar(&span, "for", "", "how long that holds, such as 2h or 1d (default: until it is over)")
	return wishing(cmd, "acknowledge", atLeast(1, "say which incidents; sereno alerts --open shows them"), func(args []string, wish *api.Wish) ([]string, error) {
		var err error
		if span != "" {
			if wish.For, err = parseSpan(span); err != nil {
				err = fmt.Errorf("--for: %w", err)
			}
		}
		return args, err
	})
}

func newUnack() *cobra.Command {
	cmd := newWish("unack ID…", "unacknowledge", "Take an acknowledgement back: reminders go on")
	cmd.Aliases = []string{"unacknowledge"}
	return wishing(cmd, "unacknowledge", atLeast(1, "say which incidents; sereno alerts --open shows them"), theseIncidents)
}

func newSnooze() *cobra.Command {
	cmd := newWish("snooze ID TIME", "snooze", "Hear nothing of an incident for a time such as 1h; if it lasts then, its next reminder comes at once")
	return wishing(cmd, "snooze", between(2, 2, "say an incident and for how long, such as: sereno snooze 42 1h"), func(args []string, wish *api.Wish) (_ []string, err error) {
		wish.For, err = parseSpan(args[1])
		return args[:1], err
	})
}

func newUnsnooze() *cobra.Command {
	return wishing(newWish("unsnooze ID…", "unsnooze", "Take a snooze back"), "unsnooze", atLeast(1, "say which incidents"), theseIncidents)
}

func newResolve() *cobra.Command {
	cmd := newWish("resolve ID…", "resolve", "Close incidents that cannot close themselves")
	cmd.Long = "Close incidents that cannot close themselves, such as trouble of a check of which\nnothing is known any more. One of a check that is down closes with its first answer."
	return wishing(cmd, "resolve", atLeast(1, "say which incidents"), theseIncidents)
}

func newComment() *cobra.Command {
	cmd := newWish("comment ID TEXT…", "comment", "Write down what is known of an incident")
	return wishing(cmd, "comment", atLeast(2, "say an incident and what is known of it, such as: sereno comment 42 the fibre was cut"), func(args []string, wish *api.Wish) ([]string, error) {
		wish.Comment = strings.Join(args[1:], " ")
		return args[:1], nil
	})
}

func theseIncidents(args []string, _ *api.Wish) ([]string, error) { return args, nil }

// newWish makes a command that does something about incidents.
func newWish(use, action, short string) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short}
	if action != "comment" {
		cmd.Flags().StringP("comment", "m", "", "why")
	}
	cmd.Flags().String("by", login(), "whose wish it is, as others know you")
	addServerFlag(cmd)
	return cmd
}

// wishing lets a command do what it says about the incidents that read returns.
func wishing(cmd *cobra.Command, action string, args cobra.PositionalArgs, read func(args []string, wish *api.Wish) ([]string, error)) *cobra.Command {
	cmd.Args = args
	cmd.RunE = asking(func(cmd *cobra.Command, c *client, args []string) error {
		wish := api.Wish{}
		wish.By, _ = cmd.Flags().GetString("by")
		if cmd.Flags().Lookup("comment") != nil {
			wish.Comment, _ = cmd.Flags().GetString("comment")
		}
		named, err := read(args, &wish)
		if err != nil {
			return err
		}
		ids := make([]int64, len(named))
		for i, text := range named {
			if ids[i], err = incidentID(text); err != nil {
				return err
			}
		}
		failed := false
		for _, id := range ids {
			var doc api.IncidentDetail
			err := c.do(cmd.Context(), http.MethodPost, fmt.Sprintf("/api/incidents/%d/%s", id, action), nil, wish, &doc)
			if r, ok := errors.AsType[*refusal](err); ok && len(ids) > 1 && (r.status == http.StatusNotFound || r.status == http.StatusConflict) {
				fmt.Fprintf(cmd.ErrOrStderr(), "sereno: %s\n", inertLines(r.text)) // and go on with the others
				failed = true
				continue
			}
			if err != nil {
				return err
			}
			if asJSON(cmd) {
				err = printJSON(cmd.OutOrStdout(), doc)
			} else {
				err = say(cmd.OutOrStdout(), inert(done(action, doc)))
			}
			if err != nil {
				return err
			}
		}
		if failed {
			return errNegative
		}
		return nil
	})
	return cmd
}

// done says what came of a wish.
func done(action string, doc api.IncidentDetail) string {
	what := fmt.Sprintf("%d: %s", doc.ID, about(doc.Incident, doc.Device))
	switch action {
	case "acknowledge":
		what += " is acknowledged"
		if a := doc.Acknowledged; a != nil && !a.Until.IsZero() {
			what += " until " + moment(a.Until)
		}
	case "unacknowledge":
		what += " is not acknowledged any more"
	case "snooze":
		what += " is snoozed"
		if doc.Alert != nil && doc.Alert.Snoozed != nil {
			what += " until " + moment(doc.Alert.Snoozed.Until)
		}
	case "unsnooze":
		what += " is not snoozed any more"
	case "resolve":
		what += " is resolved"
	default:
		what += ": noted"
	}
	return what
}

// about names what an incident is about: "core-sw1 (down)".
func about(i api.Incident, d *api.IncidentDevice) string {
	switch {
	case d != nil:
		return fmt.Sprintf("%s (%s)", d.Name, i.Status)
	case i.DeviceID != nil:
		return fmt.Sprintf("device %d (%s)", *i.DeviceID, i.Status)
	case i.Subject != "":
		return fmt.Sprintf("Sereno itself (%s %s)", i.Status, i.Subject)
	default:
		return fmt.Sprintf("Sereno itself (%s)", i.Status)
	}
}

// incidentID reads the number of an incident.
func incidentID(s string) (int64, error) {
	id, err := strconv.ParseInt(strings.TrimPrefix(s, "#"), 10, 64)
	if err != nil || id < 1 {
		return 0, fmt.Errorf("%q is no number of an incident such as 42; sereno alerts --open shows them", s)
	}
	return id, nil
}

// parseSpan reads how long something is to hold: "90s", "2h", "1d".
func parseSpan(s string) (api.Seconds, error) {
	d, err := time.ParseDuration(s)
	if days, ok := strings.CutSuffix(s, "d"); ok && err != nil {
		var n float64
		if n, err = strconv.ParseFloat(days, 64); err == nil && n <= 100_000 {
			d = time.Duration(n * float64(24*time.Hour))
		}
	}
	if err != nil || d <= 0 {
		return 0, fmt.Errorf("%q is no length of time such as 30m, 2h or 1d", s)
	}
	return api.Seconds(d), nil
}

// login is the name of the person at the keyboard, as far as the system knows.
func login() string {
	if who := os.Getenv("SUDO_USER"); who != "" {
		return who
	}
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return ""
}
