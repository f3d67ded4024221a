package api

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"sereno"
)

// A History is what happened to a device in a window of time.
type History struct {
	DeviceID   sereno.DeviceID `json:"device_id"`
	Spans      []Span          `json:"spans" doc:"Spans of the device's checks that touch the window, by begin and check"`
	NextCursor *string         `json:"next_cursor" doc:"Send it as cursor, with the same from and to, to get the next page"`
	Summary    Summary         `json:"summary" doc:"Figures of the whole window, on every page"`

	Maintenance []Maintained `json:"maintenance" doc:"Stretches of maintenance that touch the window, by begin, on every page. The figures leave them out; the spans are what was seen"`
}

// A Maintained is a stretch of maintenance. Begin and end are the true ones, also
// where they lie outside of the window.
type Maintained struct {
	Window  string         `json:"window" doc:"The name of the maintenance window"`
	Begin   sereno.Instant `json:"begin" format:"date-time"`
	End     sereno.Instant `json:"end" format:"date-time" nullable:"true" doc:"null while it lasts"`
	Seconds Seconds        `json:"seconds" doc:"Its whole length; until now, while it lasts"`
}

// A Span is one stretch of one status of one check. Begin and end are the true
// ones, also where they lie outside of the window.
type Span struct {
	CheckID     sereno.CheckID `json:"check_id"`
	Status      sereno.Status  `json:"status" enum:"up,degraded,down,unknown"`
	Cause       sereno.Cause   `json:"cause"`
	Begin       sereno.Instant `json:"begin" format:"date-time" doc:"The first of the looks that proved the status"`
	End         sereno.Instant `json:"end" format:"date-time" nullable:"true" doc:"null while it lasts"`
	Seconds     Seconds        `json:"seconds" doc:"Its whole length; until now, while it lasts"`
	Uncertainty Seconds        `json:"uncertainty_seconds" doc:"The true begin may be this much earlier"`
	Reason      string         `json:"reason"`
}

// A Summary is the figures of a window [from, to). Its six sums add up to the
// window exactly.
type Summary struct {
	From        sereno.Instant `json:"from" format:"date-time"`
	To          sereno.Instant `json:"to" format:"date-time"`
	Window      Seconds        `json:"window_seconds"`
	Up          Seconds        `json:"up_seconds"`
	Degraded    Seconds        `json:"degraded_seconds"`
	Down        Seconds        `json:"down_seconds"`
	Unknown     Seconds        `json:"unknown_seconds"`
	Maintenance Seconds        `json:"maintenance_seconds"`
	Paused      Seconds        `json:"paused_seconds"`
	Behind      Seconds        `json:"behind_parent_seconds" doc:"The part of down that was spent behind a parent"`

	Uptime      *float64       `json:"uptime" nullable:"true" doc:"Numerator by denominator; null when nothing was seen"`
	Numerator   Seconds        `json:"uptime_numerator_seconds" doc:"Up and degraded, unless it is counted otherwise"`
	Denominator Seconds        `json:"uptime_denominator_seconds" doc:"The numerator and the downtime"`
	Downtime    Seconds        `json:"downtime_seconds" doc:"What counts against uptime: down, unless it is counted otherwise"`
	Coverage    *float64       `json:"coverage" nullable:"true" doc:"Share of the window, without maintenance and pauses, in which the status was known; null when none is left"`
	Outages     int            `json:"outages" doc:"That touch the window; one lasts until an answer is proven"`
	Longest     Seconds        `json:"longest_outage_seconds" doc:"Downtime of the longest, inside the window"`
	LastOutage  sereno.Instant `json:"last_outage" format:"date-time" nullable:"true" doc:"When the last outage began"`
	Current     *Outage        `json:"current_outage,omitempty" doc:"Only if it is down and the window ends now"`
	MTBF        *Seconds       `json:"mtbf_seconds" nullable:"true" doc:"Mean time between failures: the numerator by outages"`
	MTTR        *Seconds       `json:"mttr_seconds" nullable:"true" doc:"Mean time to recovery: downtime by outages"`
}

// An Outage is one that goes on.
type Outage struct {
	Since   sereno.Instant `json:"since" format:"date-time"`
	Seconds Seconds        `json:"seconds" doc:"How long it has lasted"`
}

type historyQuery struct {
	DevicePath
	Window
	Paging
	CheckID int64 `query:"check_id" minimum:"1" doc:"Only this check of the device"`
}

func (d *desk) registerHistory() {
	register(d, huma.Operation{
		OperationID: "getHistory", Method: http.MethodGet, Path: "/api/devices/{id}/history",
		Summary: "Spans and figures of a device; by default of the last 24 hours",
	}, d.history)
}

func (d *desk) history(ctx context.Context, in *historyQuery) (*answer[History], error) {
	now := d.Now()
	from, to, err := in.bounds(now)
	if err != nil {
		return nil, err
	}
	device, err := d.Facts.Device(ctx, sereno.DeviceID(in.ID))
	if err != nil {
		return nil, fmt.Errorf("get device %d: %w", in.ID, err)
	}
	checks := device.Checks
	if in.CheckID != 0 {
		i := slices.IndexFunc(checks, func(c sereno.Check) bool { return c.ID == sereno.CheckID(in.CheckID) })
		if i < 0 {
			return nil, sereno.Errorf(sereno.NotFound, "device %d has no check %d", in.ID, in.CheckID)
		}
		checks = checks[i : i+1]
	}
	tracks := make([][]sereno.Span, len(checks))
	echo := make([]bool, len(checks))
	for i, c := range checks {
		echo[i] = isEcho(c)
		for s, err := range d.Facts.Spans(ctx, c.ID, from, to) {
			if err != nil {
				return nil, fmt.Errorf("get spans of check %d: %w", c.ID, err)
			}
			tracks[i] = append(tracks[i], s)
		}
	}
	spans, cursor, err := in.cut(slices.Concat(tracks...))
	if err != nil {
		return nil, err
	}
	exempt, err := d.maintained(ctx, []sereno.Device{device}, from, to)
	if err != nil {
		return nil, err
	}
	stretches := exempt[device.ID]
	figures := sereno.Tally(sereno.Exempt(slices.Values(sereno.MergeSpans(tracks, echo, from, to)), stretches), from, to)
	h := History{DeviceID: device.ID, NextCursor: orNull(cursor), Summary: summary(figures, now), Spans: make([]Span, len(spans))}
	for i, s := range spans {
		h.Spans[i] = spanDocument(s, now)
	}
	slices.SortStableFunc(stretches, func(a, b sereno.Maintained) int { return cmp.Compare(a.Begin, b.Begin) })
	h.Maintenance = make([]Maintained, len(stretches))
	for i, m := range stretches {
		h.Maintenance[i] = Maintained{Window: m.Window, Begin: m.Begin, End: m.End, Seconds: length(m.Begin, m.End, now)}
	}
	return &answer[History]{h}, nil
}

// maxYears is how long the window of a history may be: its figures are lengths
// of time, which end at 292 years.
const maxYears = 100

// bounds fills in the last 24 hours. What lies ahead is left out: it is not
// known how long an open span will last.
func (w Window) bounds(now sereno.Instant) (from, to sereno.Instant, err error) {
	from, to = w.From.Instant, w.To.Instant
	if to.IsZero() || to > now {
		to = now
	}
	if from.IsZero() {
		from = to.Add(-24 * time.Hour)
	}
	if from >= to {
		return 0, 0, &sereno.Error{Kind: sereno.Invalid, Field: "query.from", Text: fmt.Sprintf("the window begins at %s, which is not before its end, %s", from, to)}
	}
	if from.Time().Before(to.Time().AddDate(-maxYears, 0, 0)) {
		return 0, 0, &sereno.Error{Kind: sereno.Invalid, Field: "query.from", Text: fmt.Sprintf("a window is at most %d years long: %s is too long before its end, %s", maxYears, from, to)}
	}
	return from, to, nil
}

// cut brings spans into the order of pages and returns the page that was asked
// for, and the cursor of the next: the place of the last span of this one.
func (p Paging) cut(spans []sereno.Span) (cut []sereno.Span, cursor string, err error) {
	order := func(a, b sereno.Span) int {
		return cmp.Or(cmp.Compare(a.Begin, b.Begin), cmp.Compare(a.Check, b.Check))
	}
	slices.SortFunc(spans, order)
	if p.Cursor != "" {
		var last sereno.Span
		if n, err := fmt.Sscanf(p.Cursor, "%d-%d", &last.Begin, &last.Check); n != 2 || err != nil {
			return nil, "", &sereno.Error{Kind: sereno.Invalid, Field: "cursor", Text: "this is no cursor of this list: use its next_cursor, or none to begin"}
		}
		next, found := slices.BinarySearchFunc(spans, last, order)
		if found {
			next++
		}
		spans = spans[next:]
	}
	if len(spans) > p.Limit {
		spans = spans[:p.Limit]
		last := spans[p.Limit-1]
		cursor = fmt.Sprintf("%d-%d", last.Begin, last.Check)
	}
	return spans, cursor, nil
}

func spanDocument(s sereno.Span, now sereno.Instant) Span {
	return Span{
		CheckID: s.Check, Status: s.Status, Cause: s.Cause, Begin: s.Begin, End: s.End,
		Seconds: length(s.Begin, s.End, now), Uncertainty: Seconds(s.Uncertainty), Reason: s.Reason,
	}
}

// length is how long something lasted, or has lasted until now.
func length(begin, end, now sereno.Instant) Seconds {
	if end.IsZero() {
		end = max(begin, now)
	}
	return Seconds(end.Sub(begin))
}

func summary(f sereno.Figures, now sereno.Instant) Summary {
	up, of := f.Counted()
	s := Summary{
		From: f.From, To: f.To, Window: Seconds(f.Window()),
		Up: Seconds(f.Up), Degraded: Seconds(f.Degraded), Down: Seconds(f.Down),
		Unknown: Seconds(f.Unknown), Maintenance: Seconds(f.Maintenance), Paused: Seconds(f.Paused), Behind: Seconds(f.Behind),
		Numerator: Seconds(up), Denominator: Seconds(of), Downtime: Seconds(f.Downtime()),
		Outages: f.Outages, Longest: Seconds(f.Longest), LastOutage: f.LastOutage,
	}
	if f.Ongoing && f.To == now {
		s.Current = &Outage{Since: f.LastOutage, Seconds: Seconds(now.Sub(f.LastOutage))}
	}
	if uptime, ok := f.Uptime(); ok {
		s.Uptime = &uptime
	}
	if coverage, ok := f.Coverage(); ok {
		s.Coverage = &coverage
	}
	if mtbf, mttr, ok := f.Means(); ok {
		s.MTBF, s.MTTR = (*Seconds)(&mtbf), (*Seconds)(&mttr)
	}
	return s
}
