package api

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"sereno"
	"sereno/ledger"
)

// Replays is what a replay is made from.
type Replays interface {
	// Book gives what was written down of a check that may matter for its
	// looks in a window.
	Book(ctx context.Context, check sereno.CheckID, from, to sereno.Instant) (sereno.Book, error)
	Device(ctx context.Context, id sereno.DeviceID) (sereno.Device, error)
	DeviceByName(ctx context.Context, name string) (sereno.Device, error)
	DeviceOfCheck(ctx context.Context, check sereno.CheckID) (sereno.Device, error)
}

// A Replay is what the looks of one check say when they are judged again.
type Replay struct {
	DeviceID   sereno.DeviceID   `json:"device_id"`
	Device     string            `json:"device"`
	CheckID    sereno.CheckID    `json:"check_id"`
	Check      string            `json:"check"`
	Looks      int               `json:"looks" doc:"How many were judged, with some before and after the window"`
	From       sereno.Instant    `json:"from" format:"date-time" nullable:"true" doc:"From here on the replay is exact: later than asked where looks are not kept any more, or the state was not known; null when nothing can be said"`
	To         sereno.Instant    `json:"to" format:"date-time" nullable:"true" doc:"Until here: earlier than asked where the latest looks left a doubt"`
	Identical  bool              `json:"identical" doc:"Whether the looks give, under the policies that were in force, just what was recorded"`
	Difference *ReplayDifference `json:"difference,omitempty" doc:"The first, if they do not"`
	Recorded   Account           `json:"recorded"`
	Other      *Account          `json:"other,omitempty" doc:"What the other policy would have made of the looks, if one was asked for"`
	Note       string            `json:"note" doc:"What to know about the answer, for a person; empty: nothing"`
}

// A ReplayDifference is a span of one side that the other does not have, or has
// otherwise; none where a side has no more.
type ReplayDifference struct {
	Recorded *Span `json:"recorded,omitempty"`
	Replayed *Span `json:"replayed,omitempty"`
}

// An Account is what came of looks under a policy.
type Account struct {
	Policy  ReplayPolicy `json:"policy" doc:"As it is now, or would be"`
	Summary Summary      `json:"summary"`
	Alarms  int          `json:"alarms" doc:"Incidents that opened, or would have: one while a check flaps, none behind a parent"`
	Spans   []Span       `json:"spans" doc:"The first 1000"`
}

// A ReplayPolicy is the part of a policy that can be another one in a replay.
type ReplayPolicy struct {
	Fall       int     `json:"fall"`
	Rise       int     `json:"rise"`
	RTTAbove   Seconds `json:"rtt_above_seconds"`
	LossAbove  float64 `json:"loss_above"`
	LossWindow Seconds `json:"loss_window_seconds"`
}

// Replayed is the answer: all checks that were asked about.
type Replayed struct {
	Items []Replay `json:"items"`
}

type replayQuery struct {
	Window
	Device     string `query:"device" maxLength:"100" doc:"Its name or id; all of its checks"`
	Check      int64  `query:"check" minimum:"1" doc:"The id of one check"`
	Fall       int    `query:"fall" minimum:"1" maximum:"100" doc:"Looks in a row that were not up, to leave up; without any of these only the recorded policy is replayed"`
	Rise       int    `query:"rise" minimum:"1" maximum:"100" doc:"Looks in a row with an answer, to leave down"`
	RTTAbove   string `query:"rtt_above" doc:"A slower answer is degraded; 0: never" example:"50ms"`
	LossAbove  string `query:"loss_above" doc:"More loss than this share is degraded; 0: never" example:"0.05"`
	LossWindow string `query:"loss_window" doc:"Over which the loss is counted" example:"1m"`
}

func (d *desk) registerReplay() {
	room := make(chan struct{}, 2)
	register(d, huma.Operation{
		OperationID: "replay", Method: http.MethodGet, Path: "/api/replay",
		Summary: "The kept looks of a device judged again, under the recorded policy and under another one; by default of the last 24 hours",
	}, func(ctx context.Context, in *replayQuery) (*answer[Replayed], error) {
		select { // each reads as fast as one processor can
		case room <- struct{}{}:
			defer func() { <-room }()
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		return d.replay(ctx, in)
	})
}

func (d *desk) replay(ctx context.Context, in *replayQuery) (*answer[Replayed], error) {
	if d.Looks == nil {
		return nil, sereno.Errorf(sereno.NotFound, "no looks are kept (samples: {off: true} in the configuration), so there is nothing to replay")
	}
	change, err := in.policy()
	if err != nil {
		return nil, err
	}
	st, err := d.Watch.Statistics(ctx)
	if err != nil {
		return nil, fmt.Errorf("ask the ledger: %w", err)
	}
	from, to, err := in.bounds(d.Now())
	if err != nil {
		return nil, err
	}
	device, err := d.replayDevice(ctx, in)
	if err != nil {
		return nil, err
	}
	out := &answer[Replayed]{}
	for _, c := range device.Checks {
		if in.Check != 0 && c.ID != sereno.CheckID(in.Check) {
			continue
		}
		r, err := d.replayCheck(ctx, c, from, to, st, change)
		if err != nil {
			return nil, fmt.Errorf("replay check %d: %w", c.ID, err)
		}
		r.DeviceID, r.Device = device.ID, device.Name
		out.Body.Items = append(out.Body.Items, r)
	}
	if !slices.ContainsFunc(out.Body.Items, func(r Replay) bool { return r.Looks > 0 }) {
		return nil, sereno.Errorf(sereno.NotFound, "no look at %s between %s and %s is kept: ask for a later window, or let looks be kept for longer (samples: {retention: …})", device.Name, from, to)
	}
	return out, nil
}

func (d *desk) replayDevice(ctx context.Context, in *replayQuery) (sereno.Device, error) {
	switch {
	case (in.Device == "") == (in.Check == 0):
		return sereno.Device{}, &sereno.Error{Kind: sereno.Invalid, Field: "query.device", Text: "say which device or which check: one of them"}
	case in.Check != 0:
		return d.Replays.DeviceOfCheck(ctx, sereno.CheckID(in.Check))
	}
	device, err := d.Replays.DeviceByName(ctx, in.Device)
	if id, e := strconv.ParseInt(in.Device, 10, 64); sereno.KindOf(err) == sereno.NotFound && e == nil && id > 0 {
		return d.Replays.Device(ctx, sereno.DeviceID(id))
	}
	return device, err
}

const (
	// before is how long before the window looks are read, so that the state
	// at its begin is known; and long enough for a policy to find its own.
	replayBefore = 10 * time.Minute
	// replayAfter is how long after its end, so that what the last looks left
	// in doubt is proven.
	replayAfter = time.Minute
	// replayMargin is how long a look may be on its way to where it is kept.
	replayMargin = 5 * time.Second

	replaySpans = 1000
)

func (d *desk) replayCheck(ctx context.Context, c sereno.Check, from, to sereno.Instant, st ledger.Statistics, change func(sereno.Policy) sereno.Policy) (Replay, error) {
	r := Replay{CheckID: c.ID, Check: c.Name}
	p := c.Policy
	other := p
	if change != nil {
		other = change(p)
	}
	many := time.Duration(max(p.Fall, p.Rise, other.Fall, other.Rise) + 2)
	begin := from.Add(-max(replayBefore, 20*p.Interval, 2*p.LossWindow, 2*other.LossWindow))
	judged := sereno.Judged(p, st.Settled.Add(-replayMargin))
	end := min(to.Add(max(replayAfter, many*p.Interval, 2*p.Patience())), judged)
	book, err := d.Replays.Book(ctx, c.ID, begin, max(to, end)+1)
	if err != nil {
		return r, err
	}
	replay := sereno.NewReplay(book, begin, change)
	for look, err := range d.Looks.Looks(ctx, c.ID, begin, end) {
		if err != nil {
			return r, err
		}
		r.Looks++
		replay.Look(&look)
	}
	done := replay.End(from, to, end)
	now := d.Now()
	r.Recorded = account(done.Recorded, done, book, p, now)
	if change != nil {
		o := account(done.Other, done, book, other, now)
		r.Other = &o
	}
	if done.From >= done.Until {
		r.Note = "nothing can be said: there are too few looks, or what they say is still in doubt"
		return r, nil
	}
	r.From, r.To = done.From, done.Until
	recorded, replayed, differ := done.Differ()
	if r.Identical = !differ; differ {
		r.Difference = &ReplayDifference{orSpan(recorded, now), orSpan(replayed, now)}
	}
	switch {
	case differ:
		r.Note = "the kept looks do not give what was recorded: some may not have been kept"
	case change != nil && p.Interval > 5*time.Second:
		r.Note = "the looks are those that were taken: under another policy the check would have been looked at more often at other times"
	case done.From > from:
		r.Note = "exact from " + done.From.String() + " on: before, looks are not kept or the state is not known"
	}
	return r, nil
}

func orSpan(s sereno.Span, now sereno.Instant) *Span {
	if s.Begin == 0 {
		return nil
	}
	doc := spanDocument(s, now)
	return &doc
}

func account(spans []sereno.Span, done sereno.Replayed, book sereno.Book, p sereno.Policy, now sereno.Instant) Account {
	a := Account{
		Policy: ReplayPolicy{Fall: p.Fall, Rise: p.Rise, RTTAbove: Seconds(p.RTTAbove), LossAbove: p.LossAbove, LossWindow: Seconds(p.LossWindow)},
		Spans:  []Span{},
	}
	if done.From >= done.Until {
		a.Summary = summary(sereno.Figures{From: done.Until, To: done.Until}, now)
		return a
	}
	a.Summary = summary(sereno.Tally(slices.Values(spans), done.From, done.Until), now)
	a.Alarms = sereno.Alarms(spans, book.Starts, done.From+1) // what was open then opened before
	for _, s := range spans[:min(len(spans), replaySpans)] {
		a.Spans = append(a.Spans, spanDocument(s, now))
	}
	return a
}

// policy returns what the query makes of a policy; nil if nothing.
func (q *replayQuery) policy() (func(sereno.Policy) sereno.Policy, error) {
	if q.Fall == 0 && q.Rise == 0 && q.RTTAbove == "" && q.LossAbove == "" && q.LossWindow == "" {
		return nil, nil
	}
	wrong := func(field, format string, args ...any) error {
		return &sereno.Error{Kind: sereno.Invalid, Field: "query." + field, Text: fmt.Sprintf(format, args...)}
	}
	var rtt, window time.Duration
	var share float64
	var err error
	if q.RTTAbove != "" && q.RTTAbove != "0" {
		if rtt, err = time.ParseDuration(q.RTTAbove); err != nil || rtt < 0 || rtt > 24*time.Hour {
			return nil, wrong("rtt_above", "rtt_above is a time up to 24h such as 50ms, or 0 for never, not %q", q.RTTAbove)
		}
	}
	if q.LossAbove != "" {
		if share, err = strconv.ParseFloat(q.LossAbove, 64); err != nil || !(share >= 0 && share < 1) {
			return nil, wrong("loss_above", "loss_above is a share from 0 to below 1 such as 0.05, not %q", q.LossAbove)
		}
	}
	if q.LossWindow != "" {
		if window, err = time.ParseDuration(q.LossWindow); err != nil || window < 100*time.Millisecond || window > 1000*24*time.Hour {
			return nil, wrong("loss_window", "loss_window is a time of at least 100ms such as 1m, not %q", q.LossWindow)
		}
	}
	return func(p sereno.Policy) sereno.Policy {
		p.Fall, p.Rise = cmp.Or(q.Fall, p.Fall), cmp.Or(q.Rise, p.Rise)
		if q.RTTAbove != "" {
			p.RTTAbove = rtt
		}
		if q.LossAbove != "" {
			p.LossAbove = share
		}
		p.LossWindow = cmp.Or(window, p.LossWindow)
		return p
	}, nil
}
