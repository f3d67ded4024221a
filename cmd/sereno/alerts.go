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

func newAlerts() *cobra.Command {
	var open bool
	var channel string
	var states []string
	var incident int64
	var most int
	cmd := &cobra.Command{
		Use:   "alerts [ID]",
		Short: "Show what is open, what was promised to whom, and what was delivered",
		Long: `Show what is open, what was promised to whom, and what was delivered.

  sereno alerts                 what is open, and the latest messages
  sereno alerts --open          what is open, and the messages that wait
  sereno alerts --incident 42   the messages about one incident
  sereno alerts 1234            all that is known of one message`,
		Args: between(0, 1, "say one message by its number, or none for a list"),
		RunE: asking(func(cmd *cobra.Command, c *client, args []string) error {
			w := cmd.OutOrStdout()
			if len(args) == 1 {
				id, err := strconv.ParseInt(args[0], 10, 64)
				if err != nil || id < 1 {
					return fmt.Errorf("%q is no number of a message; sereno alerts shows them", args[0])
				}
				var doc api.Alert
				if err := c.get(cmd.Context(), fmt.Sprintf("/api/alerts/%d", id), nil, &doc); err != nil {
					return err
				}
				if asJSON(cmd) {
					return printJSON(w, doc)
				}
				return printAlert(w, doc)
			}
			query, err := windowQuery(cmd, time.Now())
			if err != nil {
				return err
			}
			if open {
				query.Set("open", "true")
			}
			if channel != "" {
				query.Set("channel", channel)
			}
			if len(states) > 0 {
				query.Set("state", strings.Join(states, ","))
			}
			if incident != 0 {
				query.Set("incident_id", fmt.Sprint(incident))
			}
			list, err := list[api.Alert](cmd.Context(), c, "/api/alerts", query, most)
			if err != nil {
				return err
			}
			if asJSON(cmd) {
				return printJSON(w, api.Page[api.Alert]{Items: list})
			}
			// What is open belongs to the question "how is it", not to one about some
			// messages.
			if channel == "" && len(states) == 0 && incident == 0 && query.Get("from") == "" {
				if err := printOpen(cmd, c); err != nil {
					return err
				}
				if err := say(w, ""); err != nil {
					return err
				}
			}
			return printAlerts(w, list, open)
		}),
	}
	f := cmd.Flags()
	f.BoolVar(&open, "open", false, "only messages that wait")
	f.StringVar(&channel, "channel", "", "only messages to this channel")
	f.StringSliceVar(&states, "state", nil, "only messages in these states: waiting, delivered, refused, expired, merged, dropped")
	f.Int64Var(&incident, "incident", 0, "only messages about this incident")
	f.IntVarP(&most, "limit", "n", 20, "how many at most; 0 for all")
	addWindowFlags(cmd)
	addServerFlag(cmd)
	return cmd
}

// printOpen shows the trouble that lasts.
func printOpen(cmd *cobra.Command, c *client) error {
	const most = 100
	open, err := list[api.Incident](cmd.Context(), c, "/api/incidents", url.Values{"open": {"true"}}, most)
	if err != nil {
		return err
	}
	w := cmd.OutOrStdout()
	var statistics api.Statistics
	if err := c.get(cmd.Context(), "/api/statistics", nil, &statistics); err != nil {
		return err
	}
	if fault := statistics.Storage.Fault; fault != nil { // what is wrong may not be written, and so not be among them
		if err := say(w, "Attention: "+inert(*fault)+"."); err != nil {
			return err
		}
	} else if len(open) == 0 {
		return say(w, "nothing is wrong")
	}
	if len(open) == 0 {
		return say(w, "no trouble is written down")
	}
	names := map[sereno.DeviceID]string{}
	t := &table{columns: []column{{"incident", true}, {"since", false}, {"for", true}, {"severity", false}, {"trouble", false}, {"told", false}, {"next", false}}}
	for _, i := range open {
		var device *api.IncidentDevice
		if i.DeviceID != nil {
			device = &api.IncidentDevice{}
			if device.Name, err = c.deviceName(cmd, names, *i.DeviceID); err != nil {
				return err
			}
		}
		told := ""
		if i.Alert != nil {
			told = strings.Join(i.Alert.Told, ", ")
		}
		t.add(cell{fmt.Sprint(i.ID), faint}, cell{moment(i.Opened), plain}, cell{sereno.FormatLength(time.Duration(i.Seconds)), plain},
			severe(i.Severity), text(about(i, device)), text(told), cell{inert(standing(i)), faint})
	}
	if err := t.print(w); err != nil {
		return err
	}
	if len(open) == most {
		if err := say(w, fmt.Sprintf("… the latest %d; sereno incidents --open -n 0 shows all", most)); err != nil {
			return err
		}
	}
	return nil
}

// severe is a severity with its tone.
func severe(s sereno.Severity) cell {
	switch s {
	case sereno.SeverityCritical, sereno.SeverityHigh:
		return cell{s.String(), bad}
	case sereno.SeverityMedium:
		return cell{s.String(), warn}
	default:
		return cell{s.String(), plain}
	}
}

// standing says what comes of trouble that lasts, or why nothing does.
func standing(i api.Incident) string {
	switch {
	case i.Acknowledged != nil:
		s := "acknowledged by " + i.Acknowledged.By
		if !i.Acknowledged.Until.IsZero() {
			s += " until " + moment(i.Acknowledged.Until)
		}
		return s
	case i.Alert == nil:
		if i.Under != nil {
			return fmt.Sprintf("behind incident %d", *i.Under)
		}
		return ""
	case i.Alert.Snoozed != nil:
		return "snoozed until " + moment(i.Alert.Snoozed.Until)
	case i.Alert.Held != "":
		s := i.Alert.Held
		if !i.Alert.Until.IsZero() {
			s += " until " + moment(i.Alert.Until)
		}
		return s
	case len(i.Alert.Next) > 0:
		return coming(i.Alert.Next[0])
	case len(i.Alert.Told) == 0 && len(i.Alert.Pending) == 0 && len(i.Alert.Policies) == 0:
		return "no policy tells anybody of it"
	case len(i.Alert.Pending) > 0:
		return "waits for " + strings.Join(i.Alert.Pending, ", ")
	default:
		return "nothing more until it is over"
	}
}

// coming says what will be sent.
func coming(n api.Coming) string {
	to := strings.Join(n.Channels, ", ")
	if n.Reminder > 0 {
		return fmt.Sprintf("reminder %d of %d at %s to %s", n.Reminder, n.Of, moment(n.At), to)
	}
	return fmt.Sprintf("step %d at %s to %s", n.Step+1, moment(n.At), to)
}

func printAlerts(w io.Writer, list []api.Alert, open bool) error {
	if len(list) == 0 {
		if open {
			return say(w, "no message waits")
		}
		return say(w, "no messages were promised")
	}
	t := &table{columns: []column{{"message", true}, {"promised", false}, {"state", false}, {"event", false}, {"channel", false}, {"about", false}, {"tries", true}, {"late", true}, {"", false}}}
	for _, a := range list {
		late := ""
		if a.Late >= api.Seconds(time.Minute) {
			late = sereno.FormatLength(time.Duration(a.Late))
		}
		t.add(cell{fmt.Sprint(a.ID), faint}, cell{moment(a.Promised), plain}, stateOf(a), text(occasion(a)), text(toward(a)), text(subjects(a)),
			cell{fmt.Sprint(a.Tries), plain}, cell{late, warn}, cell{inert(outcome(a)), faint})
	}
	return t.print(w)
}

// stateOf is how far a message has come, with its tone.
func stateOf(a api.Alert) cell {
	switch name := a.State.String(); name {
	case "delivered":
		return cell{name, good}
	case "refused", "expired":
		return cell{name, bad}
	case "waiting":
		return cell{name, warn}
	default:
		return cell{name, faint}
	}
}

func occasion(a api.Alert) string {
	switch {
	case a.Last:
		return "last reminder"
	case a.Reminder > 0:
		return fmt.Sprintf("reminder %d", a.Reminder)
	default:
		return string(a.Event)
	}
}

func toward(a api.Alert) string {
	if a.For != "" {
		return fmt.Sprintf("%s (for %s)", a.Channel, a.For)
	}
	return a.Channel
}

// subjects names some of what a message is about.
func subjects(a api.Alert) string {
	const most = 3
	var names []string
	for _, i := range a.Incidents[:min(len(a.Incidents), most)] {
		names = append(names, subject(i))
	}
	if left := a.Count - len(names); left > 0 && len(names) > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(names, ", "), left)
	}
	return strings.Join(names, ", ")
}

func subject(i api.AlertIncident) string {
	switch {
	case i.Device != nil:
		return *i.Device
	case i.Subject != "":
		return i.Status.String() + " " + i.Subject
	case i.Status.Own():
		return i.Status.String()
	default:
		return fmt.Sprintf("incident %d", i.ID)
	}
}

// outcome says what came of a message, or what is waited for.
func outcome(a api.Alert) string {
	switch a.State.String() {
	case "waiting":
		if a.Tries > 0 {
			return fmt.Sprintf("next try %s; %s", moment(a.Next), a.Answer)
		}
		s := "due " + moment(a.Due)
		if a.Held != "" {
			s += ", " + a.Held
		}
		return s
	case "merged":
		if a.MergedTo != nil {
			return fmt.Sprintf("told by message %d", *a.MergedTo)
		}
		return ""
	default:
		return a.Answer
	}
}

// printAlert shows all that is known of one message.
func printAlert(w io.Writer, a api.Alert) error {
	lines := [][2]string{
		{"message", fmt.Sprintf("%d, %s to %s", a.ID, occasion(a), toward(a))},
		{"state", a.State.String()},
		{"title", a.Title},
		{"policy", ""},
		{"group", a.Group},
		{"promised", moment(a.Promised)},
		{"due", moment(a.Due)},
		{"held", a.Held},
		{"tries", ""},
		{"answer", a.Answer},
		{"next try", ""},
		{"delivered", ""},
		{"settled", ""},
		{"merged", ""},
		{"by", a.By},
		{"note", a.Note},
		{"key", a.Key},
	}
	set := func(name, value string) {
		for i := range lines {
			if lines[i][0] == name {
				lines[i][1] = value
			}
		}
	}
	if a.Policy != "" {
		set("policy", fmt.Sprintf("%s, step %d", a.Policy, a.Step+1))
	}
	if a.Tries > 0 {
		tries := fmt.Sprintf("%d, the last %s", a.Tries, moment(a.Tried))
		if a.Unsure {
			tries += ", which may have arrived although no answer came"
		}
		set("tries", tries)
	}
	switch {
	case a.Delivered != nil:
		late := ""
		if a.Late >= api.Seconds(time.Minute) {
			late = ", " + sereno.FormatLength(time.Duration(a.Late)) + " late"
		}
		set("delivered", moment(*a.Delivered)+late)
	case !a.Settled.IsZero():
		set("settled", moment(a.Settled))
	default:
		set("next try", moment(a.Next))
	}
	if a.MergedTo != nil {
		set("merged", fmt.Sprintf("into message %d", *a.MergedTo))
	}
	for _, l := range lines {
		if l[1] == "" {
			continue
		}
		if err := say(w, fmt.Sprintf("%-10s %s", l[0], inert(l[1]))); err != nil {
			return err
		}
	}
	if len(a.Incidents) == 0 {
		return nil
	}
	t := &table{columns: []column{{"incident", true}, {"about", false}, {"trouble", false}, {"opened", false}, {"closed", false}, {"told as", false}}}
	for _, i := range a.Incidents {
		closed := moment(i.Closed)
		if i.Closed.IsZero() && !i.Opened.IsZero() {
			closed = "still open"
		}
		t.add(cell{fmt.Sprint(i.ID), faint}, text(subject(i)), text(i.Status.String()), cell{moment(i.Opened), plain}, cell{closed, plain}, cell{inert(strings.Join(i.Occasion, ", ")), faint})
	}
	if err := say(w, ""); err != nil {
		return err
	}
	if err := t.print(w); err != nil {
		return err
	}
	if left := a.Count - len(a.Incidents); left > 0 {
		return say(w, fmt.Sprintf("… and %d more", left))
	}
	return nil
}

func newAudit() *cobra.Command {
	var target, of, who, action string
	var most int
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "List what people did, latest first",
		Args:  cobra.NoArgs,
		RunE: asking(func(cmd *cobra.Command, c *client, _ []string) error {
			query, err := windowQuery(cmd, time.Now())
			if err != nil {
				return err
			}
			for name, value := range map[string]string{"target": target, "of": of, "who": who, "action": action} {
				if value != "" {
					query.Set(name, value)
				}
			}
			entries, err := list[api.AuditEntry](cmd.Context(), c, "/api/audit", query, most)
			if err != nil {
				return err
			}
			w := cmd.OutOrStdout()
			if asJSON(cmd) {
				return printJSON(w, api.Page[api.AuditEntry]{Items: entries})
			}
			if len(entries) == 0 {
				return say(w, "nobody did anything that is written down")
			}
			return auditTable(entries).print(w)
		}),
	}
	f := cmd.Flags()
	f.StringVar(&target, "target", "", "only what was done to one: incident, channel, policy, maintenance, silence, device")
	f.StringVar(&of, "of", "", "only to this one of them: the number of an incident, the name of a channel")
	f.StringVar(&who, "who", "", "only by this one, exactly as it is written")
	f.StringVar(&action, "action", "", "only this: acknowledge, snooze, create, …")
	f.IntVarP(&most, "limit", "n", 100, "how many at most; 0 for all")
	addWindowFlags(cmd)
	addServerFlag(cmd)
	return cmd
}

func auditTable(entries []api.AuditEntry) *table {
	t := &table{columns: []column{{"at", false}, {"who", false}, {"via", false}, {"action", false}, {"what", false}, {"why", false}}}
	for _, e := range entries {
		t.add(cell{moment(e.At), plain}, text(e.Who), cell{inert(e.Via), faint}, text(e.Action), text(strings.TrimSpace(e.Target+" "+e.Of)), text(e.Text))
	}
	return t
}

func newIncidentsShow() *cobra.Command {
	return &cobra.Command{
		Use:   "show ID",
		Short: "Show an incident: who was told, what people did, what comes next",
		Args:  between(1, 1, "say one incident by its number"),
		RunE: asking(func(cmd *cobra.Command, c *client, args []string) error {
			id, err := incidentID(args[0])
			if err != nil {
				return err
			}
			var doc api.IncidentDetail
			if err := c.get(cmd.Context(), fmt.Sprintf("/api/incidents/%d", id), nil, &doc); err != nil {
				return err
			}
			w := cmd.OutOrStdout()
			if asJSON(cmd) {
				return printJSON(w, doc)
			}
			return printIncident(w, doc)
		}),
	}
}

// printIncident shows all that is known of one incident.
func printIncident(w io.Writer, doc api.IncidentDetail) error {
	lines := [][2]string{
		{"incident", fmt.Sprintf("%d, %s", doc.ID, about(doc.Incident, doc.Device))},
		{"severity", doc.Severity.String()},
		{"opened", moment(doc.Opened)},
		{"closed", "still open"},
		{"length", sereno.FormatLength(time.Duration(doc.Seconds))},
		{"reason", doc.Reason},
	}
	if !doc.Closed.IsZero() {
		lines[3][1] = moment(doc.Closed)
	}
	if doc.Device != nil {
		lines = append(lines, [2]string{"address", doc.Device.Address})
	}
	if doc.Under != nil {
		lines = append(lines, [2]string{"behind", fmt.Sprintf("incident %d", *doc.Under)})
	}
	if doc.Behind > 0 {
		names := strings.Join(doc.BehindNames[:min(len(doc.BehindNames), 10)], ", ")
		lines = append(lines, [2]string{"carries", fmt.Sprintf("%s behind it: %s", counted(doc.Behind, "device"), names)})
	}
	if k := doc.Acknowledged; k != nil {
		said := fmt.Sprintf("by %s, %s", k.By, moment(k.At))
		if !k.Until.IsZero() {
			said += ", until " + moment(k.Until)
		}
		if k.Note != "" {
			said += ": " + k.Note
		}
		lines = append(lines, [2]string{"acknowledged", said})
	}
	if a := doc.Alert; a != nil {
		lines = append(lines, [2]string{"policies", strings.Join(a.Policies, ", ")}, [2]string{"told", strings.Join(a.Told, ", ")})
		if a.Again > 1 {
			lines = append(lines, [2]string{"again", fmt.Sprintf("opened %d times, first as incident %d", a.Again, a.Thread)})
		}
		if doc.Closed.IsZero() {
			lines = append(lines, [2]string{"now", standing(doc.Incident)})
		}
		for i, n := range a.Next {
			lines = append(lines, [2]string{[]string{"next", ""}[min(i, 1)], coming(n)})
		}
	}
	for _, l := range lines {
		if l[1] == "" {
			continue
		}
		if err := say(w, fmt.Sprintf("%-12s %s", l[0], inert(l[1]))); err != nil {
			return err
		}
	}
	if len(doc.Alerts) > 0 {
		if err := say(w, ""); err != nil {
			return err
		}
		if err := printAlerts(w, doc.Alerts, false); err != nil {
			return err
		}
	}
	if len(doc.Timeline) > 0 {
		if err := say(w, ""); err != nil {
			return err
		}
		return auditTable(doc.Timeline).print(w)
	}
	return nil
}
