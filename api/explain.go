package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"sereno"
	"sereno/alert"
	"sereno/match"
	"sereno/notify"
)

// Senders is what sends messages.
type Senders interface {
	// Test sends a test message over a channel and returns what the far end said:
	// with a *notify.Failure if it did not take it. An unknown channel is NotFound.
	Test(ctx context.Context, channel, who, via string) (answer string, err error)
	Health(ctx context.Context) ([]alert.ChannelHealth, error)
}

// ChannelTest is what came of a test message.
type ChannelTest struct {
	Channel string  `json:"channel"`
	Taken   bool    `json:"taken" doc:"The far end took it"`
	Answer  string  `json:"answer" doc:"What the far end said, or why it could not be reached"`
	Seconds Seconds `json:"seconds" doc:"How long it took"`
}

func (d *desk) registerExplain() {
	register(d, huma.Operation{
		OperationID: "testChannel", Method: http.MethodPost, Path: "/api/channels/{name}/test", Summary: "Send a test message, and say exactly what the far end answered",
	}, d.testChannel)
	register(d, huma.Operation{
		OperationID: "explainPolicies", Method: http.MethodGet, Path: "/api/policies/explain",
		Summary: "Who would be told of a trouble, by which policy, when; and why not by the others",
	}, d.explainPolicies)
}

func (d *desk) testChannel(ctx context.Context, in *struct {
	Asker
	RuleName
},
) (*answer[ChannelTest], error) {
	begun := time.Now()
	said, err := d.Senders.Test(ctx, in.Name, in.author.Who, in.author.Via)
	doc := ChannelTest{Channel: in.Name, Taken: err == nil, Answer: said}
	if failure, ok := errors.AsType[*notify.Failure](err); ok {
		doc.Answer = failure.Text
	} else if err != nil {
		return nil, fmt.Errorf("test channel %s: %w", in.Name, err)
	}
	doc.Seconds = Seconds(time.Since(begun).Round(time.Millisecond))
	return &answer[ChannelTest]{doc}, nil
}

// channelHealth reads how it is with all channels, by their names. While the desk
// cannot say there is nothing.
func (d *desk) channelHealth(ctx context.Context) map[string]*ChannelHealth {
	if d.Senders == nil {
		return nil
	}
	list, err := d.Senders.Health(ctx)
	if err != nil {
		d.Log.Warn("how the channels are cannot be told", "err", err)
		return nil
	}
	all := map[string]*ChannelHealth{}
	for _, h := range list {
		doc := &ChannelHealth{
			Status: "ok", Waiting: h.Waiting, Later: h.Later, OldestDue: h.Oldest, Failing: h.Failing,
			Answer: h.Answer, Hold: h.Hold, Delivered: h.Delivered, Storm: h.Storm,
		}
		switch {
		case h.Refusing:
			doc.Status = "refusing"
		case !h.Failing.IsZero():
			doc.Status = "failing"
		case h.Delivered.IsZero():
			doc.Status = "unused"
		}
		all[h.Channel] = doc
	}
	return all
}

// An Explanation says what would come of a trouble.
type Explanation struct {
	At        sereno.Instant    `json:"at" format:"date-time" doc:"When the trouble would be taken in"`
	Zone      string            `json:"zone" doc:"In which messages write their times"`
	Device    string            `json:"device" doc:"Empty for trouble of Sereno's own"`
	Check     string            `json:"check"`
	Status    string            `json:"status"`
	Severity  sereno.Severity   `json:"severity" enum:"critical,high,medium,low"`
	Held      string            `json:"held" doc:"Why nobody would be told at that time, such as maintenance sunday; empty if somebody would"`
	HeldUntil sereno.Instant    `json:"held_until" format:"date-time" nullable:"true"`
	Told      bool              `json:"told" doc:"Somebody would be told, now or later"`
	Policies  []ExplainedPolicy `json:"policies" doc:"All there are, in the order in which they are asked"`
}

// An ExplainedPolicy is one policy's part in an Explanation.
type ExplainedPolicy struct {
	Policy   string          `json:"policy"`
	Applies  bool            `json:"applies"`
	Why      string          `json:"why" doc:"Why it does not apply, or that it ends the search"`
	Severity sereno.Severity `json:"severity" enum:",critical,high,medium,low" doc:"By this policy"`
	Raise    []AlertRaise    `json:"raise"`
	Group    string          `json:"group" doc:"With whom it would share a message"`
	Quiet    sereno.Instant  `json:"quiet_until" format:"date-time" nullable:"true" doc:"Messages wait until then"`
	Steps    []ExplainedStep `json:"steps"`
}

// An ExplainedStep is one wave of messages.
type ExplainedStep struct {
	At       sereno.Instant   `json:"at" format:"date-time" doc:"When it would be sent"`
	After    Seconds          `json:"after_seconds"`
	Unless   string           `json:"unless" enum:",acknowledged"`
	Channels []string         `json:"channels"`
	Remind   []sereno.Instant `json:"remind" doc:"When reminders would be sent"`
}

type explainQuery struct {
	Device   string `query:"device" maxLength:"100" doc:"Its name, or its id; left out: trouble of Sereno's own"`
	Check    string `query:"check" maxLength:"100" doc:"The name of one of its checks; left out: the first"`
	Status   string `query:"status" default:"down" doc:"The trouble: down, degraded, flapping; of Sereno's own: isolated, storage, channel …"`
	Severity string `query:"severity" enum:",critical,high,medium,low" doc:"Left out: what follows from the device's importance and the trouble"`
	About    string `query:"about" maxLength:"100" doc:"What trouble of Sereno's own is about, such as the name of a channel"`
	At       moment `query:"at" doc:"When it begins; left out: now"`
}

func (d *desk) explainPolicies(ctx context.Context, in *explainQuery) (*answer[Explanation], error) {
	wrong := func(field, format string, args ...any) error {
		return &sereno.Error{Kind: sereno.Invalid, Field: "query." + field, Text: fmt.Sprintf(format, args...)}
	}
	var trouble sereno.Trouble
	if err := trouble.UnmarshalText([]byte(in.Status)); err != nil {
		return nil, wrong("status", "%s", err)
	}
	var device *sereno.Device
	var check *sereno.Check
	switch {
	case in.Device == "" && !trouble.Own():
		return nil, wrong("device", "say which device is %s", trouble)
	case in.Device != "" && trouble.Own():
		return nil, wrong("device", "%s is trouble of Sereno's own: leave out the device", trouble)
	case in.Device != "":
		found, err := d.byNameOrID(ctx, in.Device)
		if err != nil {
			return nil, err
		}
		device = &found
		for i, c := range found.Checks {
			if c.Name == in.Check || in.Check == "" && i == 0 {
				check = &found.Checks[i]
			}
		}
		if check == nil && in.Check != "" {
			return nil, wrong("check", "%s has no check called %q", found.Name, in.Check)
		}
	}
	s := match.Of(device, check)
	s.Status, s.Own, s.About = trouble.String(), trouble.Own(), in.About
	importance := sereno.Medium
	if device != nil {
		importance = device.Importance
	}
	own := sereno.SeverityOf(importance, trouble)
	if in.Severity != "" {
		own = severity(in.Severity)
	}
	s.Severity = own.String()
	at := in.At.Instant
	if at.IsZero() {
		at = d.Now()
	}
	plan := d.Rulebook.Plan()
	e := plan.Explain(s, device, at)
	doc := Explanation{
		At: at, Zone: plan.Zone().String(), Device: s.Device, Check: s.Check, Status: s.Status, Severity: own,
		Held: e.Held, HeldUntil: e.Until, Policies: []ExplainedPolicy{},
	}
	for _, p := range e.Policies {
		explained := explainedPolicy(p)
		for _, step := range explained.Steps {
			doc.Told = doc.Told || explained.Applies && len(step.Channels) > 0
		}
		doc.Policies = append(doc.Policies, explained)
	}
	return &answer[Explanation]{doc}, nil
}

func explainedPolicy(p alert.Explained) ExplainedPolicy {
	doc := ExplainedPolicy{
		Policy: p.Policy, Applies: p.Applies, Why: p.Why, Severity: p.Severity, Group: p.Group, Quiet: p.Quiet,
		Raise: []AlertRaise{}, Steps: []ExplainedStep{},
	}
	for _, r := range p.Raise {
		doc.Raise = append(doc.Raise, AlertRaise{Seconds(r.After), r.To.String()})
	}
	for _, s := range p.Steps {
		step := ExplainedStep{At: s.At, After: Seconds(s.After), Channels: orEmpty(s.Channels), Remind: s.Remind}
		if s.UnlessAcknowledged {
			step.Unless = "acknowledged"
		}
		if step.Remind == nil {
			step.Remind = []sereno.Instant{}
		}
		doc.Steps = append(doc.Steps, step)
	}
	return doc
}

// byNameOrID finds the one device of a name or, if there is none, of an id.
func (d *desk) byNameOrID(ctx context.Context, name string) (sereno.Device, error) {
	found, err := d.named(ctx, name)
	if err != nil {
		return sereno.Device{}, err
	}
	if len(found) == 1 {
		return found[0], nil
	}
	if id, err := strconv.ParseInt(name, 10, 64); err == nil && id > 0 {
		return d.Facts.Device(ctx, sereno.DeviceID(id))
	}
	return sereno.Device{}, sereno.Errorf(sereno.NotFound, "there is no device called %.100q", name)
}
