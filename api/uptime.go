package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"sereno"
	"sereno/store"
)

// Figures is what figures are made from.
type Figures interface {
	// NotUp yields the spans of living checks that are not Up and touch the
	// window, by ascending check and in order.
	NotUp(ctx context.Context, checks []sereno.CheckID, from, to sereno.Instant) iter.Seq2[sereno.Span, error]
	// Tallies returns the figures of checks over windows without what a
	// sereno.Meter does not know, as quickly for long windows as for short.
	Tallies(ctx context.Context, checks []sereno.CheckID, windows []store.Window) ([][]sereno.Figures, error)
	DeviceOfCheck(ctx context.Context, check sereno.CheckID) (sereno.Device, error)
	// KeptFrom returns from when on all spans are there, 0 if they all are.
	KeptFrom(ctx context.Context) (sereno.Instant, error)
}

// An Uptime is the figures of a device, of one of its checks, or of a group.
type Uptime struct {
	Of       Scope    `json:"of"`
	Counting Counting `json:"counting"`
	Zone     string   `json:"zone" doc:"In which calendar periods and steps are meant"`
	Figures  Summary  `json:"figures" doc:"Of the device or the check. A group is as if it were one device, which is up while all of them are: it is down while one is, else unknown while one is, else degraded while one is. The paused are left out"`
	Mean     *Mean    `json:"mean,omitempty" doc:"Only of a group: of its devices, weighted by the time that counts"`
	Worst    []Worst  `json:"worst" doc:"Of a group: its devices that had downtime, those with the lowest uptime first, at most limit"`
	Series   []Bucket `json:"series" doc:"The same by calendar steps, if step is given; the first and the last may be parts of a step"`
}

// A Scope says whose figures they are: one device, one check, a tag, or all.
type Scope struct {
	DeviceID sereno.DeviceID `json:"device_id,omitempty"`
	Device   string          `json:"device,omitempty" doc:"Its name"`
	CheckID  sereno.CheckID  `json:"check_id,omitempty"`
	Tag      string          `json:"tag,omitempty"`
	Devices  int             `json:"devices" doc:"How many there are"`
}

// A Counting says how time was counted: see docs/figures.md.
type Counting struct {
	Degraded    string `json:"degraded" query:"degraded" enum:"up,down" default:"up" doc:"What degraded counts as"`
	Unknown     string `json:"unknown" query:"unknown" enum:"ignore,down" default:"ignore" doc:"Whether time that was not seen is left out, or counts as down"`
	Maintenance string `json:"maintenance" query:"maintenance" enum:"exclude,include" default:"exclude" doc:"Whether coverage is a share of the window without maintenance, or with it"`
	Behind      string `json:"behind" query:"behind" enum:"down,exclude" default:"down" doc:"Whether down behind a parent counts as down, or is left out"`
}

func (c Counting) counting() sereno.Counting {
	return sereno.Counting{
		DegradedIsDown: c.Degraded == "down", UnknownIsDown: c.Unknown == "down",
		MaintenanceIsSeen: c.Maintenance == "include", BehindIsNotDowntime: c.Behind == "exclude",
	}
}

// A Mean is the figures of many devices. Its sums are device-seconds: an hour
// of ten devices is 36,000.
type Mean struct {
	Devices     int      `json:"devices"`
	Uptime      *float64 `json:"uptime" nullable:"true" doc:"Numerator by denominator; null when nothing was seen"`
	Numerator   Total    `json:"uptime_numerator_seconds"`
	Denominator Total    `json:"uptime_denominator_seconds"`
	Coverage    *float64 `json:"coverage" nullable:"true" doc:"Share of the windows of all, without maintenance and pauses, in which the status was known"`
	Downtime    Total    `json:"downtime_seconds"`
	Outages     int      `json:"outages"`
	MTBF        *Total   `json:"mtbf_seconds" nullable:"true" doc:"Mean time between failures of one device"`
	MTTR        *Total   `json:"mttr_seconds" nullable:"true" doc:"Mean time to recovery"`
}

// A Worst is a device that had downtime.
type Worst struct {
	DeviceID sereno.DeviceID `json:"device_id"`
	Device   string          `json:"device"`
	Share
	Longest Seconds `json:"longest_outage_seconds"`
}

// A Bucket is one step of a series.
type Bucket struct {
	Figures Summary `json:"figures"`
	Mean    *Mean   `json:"mean,omitempty"`
}

// A Share is the short form of figures.
type Share struct {
	Uptime      *float64 `json:"uptime" nullable:"true" doc:"Numerator by denominator; null when nothing was seen"`
	Numerator   Seconds  `json:"uptime_numerator_seconds"`
	Denominator Seconds  `json:"uptime_denominator_seconds"`
	Coverage    *float64 `json:"coverage" nullable:"true"`
	Downtime    Seconds  `json:"downtime_seconds"`
	Outages     int      `json:"outages"`
}

type uptimeQuery struct {
	Window
	Counting
	Device string `query:"device" maxLength:"100" doc:"Its name or id"`
	Check  int64  `query:"check" minimum:"1" doc:"The id of one check"`
	Tag    string `query:"tag" maxLength:"100" doc:"All devices with this tag"`
	Site   string `query:"site" maxLength:"95" doc:"All devices of this site: short for tag=site:NAME"`
	Length string `query:"window" maxLength:"20" doc:"A length of time before now, such as 24h, 7d, 4w or 365d; without any window: 30d" example:"30d"`
	Period string `query:"period" maxLength:"20" doc:"A calendar period: 2026, 2026-10, 2026-W42, 2026-10-03, today, yesterday, week, month or year" example:"2026-10"`
	Zone   string `query:"zone" maxLength:"100" doc:"In which period and step are meant: an IANA name; without one UTC" example:"Europe/Berlin"`
	Step   string `query:"step" enum:"hour,day,week,month,year" doc:"Also a series of calendar steps, at most 1000"`
	Limit  int    `query:"limit" minimum:"0" maximum:"1000" default:"10" doc:"How many of the worst devices of a group at most"`
}

func (d *desk) registerUptime() {
	if d.Figures == nil {
		return
	}
	register(d, huma.Operation{
		OperationID: "getUptime", Method: http.MethodGet, Path: "/api/uptime",
		Summary: "Figures of a device, a check, a tag, a site or all; by default of the last 30 days",
	}, d.uptime)
}

const (
	// maxSteps is how many windows a series may have.
	maxSteps = 1000
	// usual is the window of a question that names none.
	usual = 30 * 24 * time.Hour
	// crowd is how many devices of a group are in memory at once.
	crowd = 1000
)

func (d *desk) uptime(ctx context.Context, in *uptimeQuery) (*answer[Uptime], error) {
	now := d.Now()
	zone, err := sereno.LoadZone(in.Zone)
	if err != nil {
		return nil, in.blame("query.zone", err)
	}
	from, to, err := in.bounds(zone, now)
	if err != nil {
		return nil, err
	}
	bounds := []sereno.Instant{from, to}
	if in.Step != "" {
		var step sereno.Step
		if err := step.UnmarshalText([]byte(in.Step)); err != nil {
			return nil, err
		}
		if bounds, err = step.Bounds(from, to, zone, maxSteps); err != nil {
			return nil, in.blame("query.step", err)
		}
	}
	scope, some, err := d.scope(ctx, in)
	if err != nil {
		return nil, err
	}
	c := in.counting()
	u := Uptime{Counting: in.Counting, Zone: zone.String(), Worst: []Worst{}, Series: []Bucket{}}
	whole, steps := sereno.Mean{}, make([]sereno.Mean, len(bounds)-1)
	sweep := sereno.NewSweep(from, to)
	var spans []sereno.Span // of the one, or of all together
	for devices, err := range some {
		if err != nil {
			return nil, err
		}
		tracks, err := d.tracks(ctx, devices, nil, from, to)
		if err != nil {
			return nil, err
		}
		for i, device := range devices {
			scope.Devices++
			spans = tracks[i]
			if scope.one() {
				break
			}
			f := c.Tally(slices.Values(spans), from, to)
			whole.Add(f)
			sweep.Add(spans)
			u.worst(device, f, in.Limit)
			if in.Step != "" {
				for i, f := range c.Series(spans, bounds) {
					steps[i].Add(f)
				}
			}
		}
	}
	switch {
	case scope.Devices == 0 && scope.Tag != "":
		return nil, sereno.Errorf(sereno.NotFound, "no device has the tag %q", scope.Tag)
	case scope.Devices == 0:
		return nil, sereno.Errorf(sereno.NotFound, "nothing is watched yet, so there are no figures")
	case !scope.one():
		spans = sweep.Spans()
		u.Mean = meanDocument(&whole)
	}
	u.Of = scope
	u.Figures = summary(c.Tally(slices.Values(spans), from, to), now)
	if in.Step != "" {
		for i, f := range c.Series(spans, bounds) {
			b := Bucket{Figures: summary(f, now)}
			if !scope.one() {
				b.Mean = meanDocument(&steps[i])
			}
			u.Series = append(u.Series, b)
		}
	}
	return &answer[Uptime]{u}, nil
}

// bounds returns the window that was asked for. What lies ahead is left out.
func (q *uptimeQuery) bounds(zone *time.Location, now sereno.Instant) (from, to sereno.Instant, err error) {
	fixed := !q.From.IsZero() || !q.To.IsZero()
	switch {
	case q.Length != "" && q.Period != "", q.Length != "" && fixed, q.Period != "" && fixed:
		return 0, 0, sereno.Errorf(sereno.Invalid, "say one of window, period, and from and to")
	case q.Period != "":
		if from, to, err = sereno.ParsePeriod(q.Period, zone, now); err != nil {
			return 0, 0, q.blame("query.period", err)
		}
		if to = min(to, now); from == to {
			return 0, 0, &sereno.Error{Kind: sereno.Invalid, Field: "query.period", Text: "the period " + q.Period + " begins just now"}
		}
		return from, to, nil
	case fixed:
		return q.Window.bounds(now)
	}
	length := usual
	if q.Length != "" {
		if length, err = sereno.ParseWindow(q.Length); err != nil {
			return 0, 0, q.blame("query.window", err)
		}
	}
	return now.Add(-length), now, nil
}

// blame names the field of the question that a mistake is about.
func (q *uptimeQuery) blame(field string, err error) error {
	return &sereno.Error{Kind: sereno.Invalid, Field: field, Text: err.Error()}
}

func (s Scope) one() bool { return s.Device != "" }

// scope finds the devices that are asked for, in crowds. Of one check its
// device has that check alone.
func (d *desk) scope(ctx context.Context, q *uptimeQuery) (Scope, iter.Seq2[[]sereno.Device, error], error) {
	named := 0
	for _, is := range []bool{q.Device != "", q.Check != 0, q.Tag != "", q.Site != ""} {
		if is {
			named++
		}
	}
	if named > 1 {
		return Scope{}, nil, sereno.Errorf(sereno.Invalid, "say one of device, check, tag and site, or none for all")
	}
	var device sereno.Device
	var err error
	switch {
	case q.Device != "":
		device, err = d.find(ctx, q.Device)
	case q.Check != 0:
		device, err = d.Figures.DeviceOfCheck(ctx, sereno.CheckID(q.Check))
		device.Checks = slices.DeleteFunc(device.Checks, func(c sereno.Check) bool { return c.ID != sereno.CheckID(q.Check) })
	default:
		tag := q.Tag
		if q.Site != "" {
			tag = "site:" + q.Site
		}
		return Scope{Tag: tag}, d.crowds(ctx, store.DeviceQuery{Tag: tag, Limit: crowd}), nil
	}
	if err != nil {
		return Scope{}, nil, err
	}
	one := func(yield func([]sereno.Device, error) bool) { yield([]sereno.Device{device}, nil) }
	return Scope{DeviceID: device.ID, Device: device.Name, CheckID: sereno.CheckID(q.Check)}, one, nil
}

// find returns the device of a name or, if there is none, of an id.
func (d *desk) find(ctx context.Context, name string) (sereno.Device, error) {
	device, err := d.Facts.DeviceByName(ctx, name)
	if sereno.KindOf(err) != sereno.NotFound {
		return device, err
	}
	if id, e := strconv.ParseInt(name, 10, 64); e == nil && id > 0 {
		if device, e := d.Facts.Device(ctx, sereno.DeviceID(id)); sereno.KindOf(e) != sereno.NotFound {
			return device, e
		}
	}
	return device, err
}

func (d *desk) crowds(ctx context.Context, q store.DeviceQuery) iter.Seq2[[]sereno.Device, error] {
	return func(yield func([]sereno.Device, error) bool) {
		for {
			devices, next, err := d.Facts.Devices(ctx, q)
			if !yield(devices, err) || err != nil || next == "" {
				return
			}
			q.Cursor = next
		}
	}
}

// tracks returns the spans of each device, from when it was made, as far as
// they touch the window. Those of many are read by several at once. exempt is
// the maintenance of the devices in the window; nil: it is read too.
func (d *desk) tracks(ctx context.Context, devices []sereno.Device, exempt maintainedOf, from, to sereno.Instant) ([][]sereno.Span, error) {
	const apart = 300 // devices that one reads
	tracks := make([][]sereno.Span, len(devices))
	errs := make([]error, (len(devices)+apart-1)/apart)
	var readers sync.WaitGroup
	for i := range errs {
		readers.Go(func() {
			begin, end := i*apart, min((i+1)*apart, len(devices))
			errs[i] = d.track(ctx, devices[begin:end], exempt, from, to, tracks[begin:end])
		})
	}
	readers.Wait()
	return tracks, errors.Join(errs...)
}

func (d *desk) track(ctx context.Context, devices []sereno.Device, exempt maintainedOf, from, to sereno.Instant, tracks [][]sereno.Span) error {
	notUp := make(map[sereno.CheckID][]sereno.Span)
	for s, err := range d.Figures.NotUp(ctx, checksOf(devices), from, to) {
		if err != nil {
			return fmt.Errorf("get what was not up: %w", err)
		}
		notUp[s.Check] = append(notUp[s.Check], s)
	}
	// Asked afterwards, so that nothing was dropped that it does not tell.
	kept, err := d.Figures.KeptFrom(ctx)
	if err != nil {
		return fmt.Errorf("get from when spans are kept: %w", err)
	}
	if kept > from { // what was dropped was not up
		from = min(kept, to)
		for check, spans := range notUp {
			spans = slices.DeleteFunc(spans, func(s sereno.Span) bool { return s.End != 0 && s.End <= from })
			for i := range spans {
				spans[i].Begin = max(spans[i].Begin, from)
			}
			notUp[check] = spans
		}
	}
	if exempt == nil {
		if exempt, err = d.maintained(ctx, devices, from, to); err != nil {
			return err
		}
	}
	for i, device := range devices {
		checks := make([][]sereno.Span, len(device.Checks))
		echo := make([]bool, len(device.Checks))
		born := to
		for k, c := range device.Checks {
			echo[k] = isEcho(c)
			born = min(born, c.Created)
			checks[k] = slices.AppendSeq(make([]sereno.Span, 0, 2*len(notUp[c.ID])+1), sereno.Tile(slices.Values(notUp[c.ID]), c.ID, max(from, c.Created), to))
		}
		tracks[i] = sereno.MergeSpans(checks, echo, max(from, born), to)
		if stretches := exempt[device.ID]; len(stretches) > 0 {
			tracks[i] = slices.Collect(sereno.Exempt(slices.Values(tracks[i]), stretches))
		}
	}
	return nil
}

// maintainedOf is the maintenance of devices, by begin.
type maintainedOf map[sereno.DeviceID][]sereno.Maintained

// maintained returns the maintenance of devices that touches [from, to).
func (d *desk) maintained(ctx context.Context, devices []sereno.Device, from, to sereno.Instant) (maintainedOf, error) {
	ids := make([]sereno.DeviceID, len(devices))
	for i, device := range devices {
		ids[i] = device.ID
	}
	list, err := d.Facts.Maintained(ctx, ids, from, to)
	if err != nil {
		return nil, fmt.Errorf("get maintenance: %w", err)
	}
	of := maintainedOf{}
	for _, m := range list {
		of[m.Device] = append(of[m.Device], m)
	}
	return of, nil
}

func checksOf(devices []sereno.Device) (ids []sereno.CheckID) {
	for _, device := range devices {
		for _, c := range device.Checks {
			ids = append(ids, c.ID)
		}
	}
	return ids
}

// worst keeps the devices with the lowest uptime, at most limit of them.
func (u *Uptime) worst(device sereno.Device, f sereno.Figures, limit int) {
	if f.Downtime() == 0 || limit == 0 {
		return
	}
	w := Worst{DeviceID: device.ID, Device: device.Name, Share: share(f), Longest: Seconds(f.Longest)}
	order := func(a, b Worst) int {
		return cmp.Or(cmp.Compare(*a.Uptime, *b.Uptime), cmp.Compare(b.Downtime, a.Downtime), cmp.Compare(a.DeviceID, b.DeviceID))
	}
	at, _ := slices.BinarySearchFunc(u.Worst, w, order)
	if at < limit {
		u.Worst = slices.Insert(u.Worst, at, w)
		u.Worst = u.Worst[:min(limit, len(u.Worst))]
	}
}

func meanDocument(m *sereno.Mean) *Mean {
	doc := &Mean{Devices: m.Devices, Numerator: Total(m.Up), Denominator: Total(m.Of), Downtime: Total(m.Downtime), Outages: m.Outages}
	if uptime, ok := m.Uptime(); ok {
		doc.Uptime = &uptime
	}
	if coverage, ok := m.Coverage(); ok {
		doc.Coverage = &coverage
	}
	if m.Outages > 0 {
		mtbf, mttr := Total(m.Up.Mean(m.Outages)), Total(m.Downtime.Mean(m.Outages))
		doc.MTBF, doc.MTTR = &mtbf, &mttr
	}
	return doc
}

func share(f sereno.Figures) Share {
	up, of := f.Counted()
	s := Share{Numerator: Seconds(up), Denominator: Seconds(of), Downtime: Seconds(f.Downtime()), Outages: f.Outages}
	if uptime, ok := f.Uptime(); ok {
		s.Uptime = &uptime
	}
	if coverage, ok := f.Coverage(); ok {
		s.Coverage = &coverage
	}
	return s
}

// usualShares are the windows that the answer about one device holds.
const usualShares = "24h,7d,30d,90d,365d"

// maxShares is how many windows an answer about devices may hold.
const maxShares = 10

// addShares gives documents of devices the figures of windows, such as
// "24h,7d", until now.
func (d *desk) addShares(ctx context.Context, documents []Device, devices []sereno.Device, names string) error {
	if names == "" || len(devices) == 0 || d.Figures == nil {
		return nil
	}
	now := d.Now()
	list := strings.Split(names, ",")
	if len(list) > maxShares {
		return &sereno.Error{Kind: sereno.Invalid, Field: "query.figures", Text: fmt.Sprintf("at most %d windows, not %d", maxShares, len(list))}
	}
	windows := make([]store.Window, len(list))
	begin := now
	for i, name := range list {
		length, err := sereno.ParseWindow(name)
		if err != nil {
			return &sereno.Error{Kind: sereno.Invalid, Field: "query.figures", Text: err.Error()}
		}
		windows[i] = store.Window{From: now.Add(-length), To: now}
		begin = min(begin, windows[i].From)
	}
	figures, err := d.figures(ctx, devices, windows, begin)
	if err != nil {
		return err
	}
	for i := range documents {
		documents[i].Figures = make(map[string]Share, len(list))
		for k, name := range list {
			documents[i].Figures[name] = share(figures[i][k])
		}
	}
	return nil
}

// figures returns the figures of devices over windows, the first of which
// begins at begin and all of which end together: by the spans of all that was
// not up or, where that is much, by the meters. These know nothing of
// maintenance: of devices that had any the spans are read.
func (d *desk) figures(ctx context.Context, devices []sereno.Device, windows []store.Window, begin sereno.Instant) ([][]sereno.Figures, error) {
	// The spans of a few devices over a year are read sooner than their
	// meters; so are those of many over a month.
	const much = 1000 * 31 * 24 * time.Hour
	alone := !slices.ContainsFunc(devices, func(d sereno.Device) bool { return len(d.Checks) != 1 })
	if alone && windows[0].To.Sub(begin) > much/time.Duration(len(devices)) {
		return d.metered(ctx, devices, windows, begin)
	}
	return d.tallied(ctx, devices, nil, windows, begin)
}

// metered returns figures by the meters, as far as they go.
func (d *desk) metered(ctx context.Context, devices []sereno.Device, windows []store.Window, begin sereno.Instant) ([][]sereno.Figures, error) {
	exempt, err := d.maintained(ctx, devices, begin, windows[0].To)
	if err != nil {
		return nil, err
	}
	var some []sereno.Device
	var at []int
	plain := devices
	if len(exempt) > 0 {
		plain = nil
		for i, device := range devices {
			if len(exempt[device.ID]) > 0 {
				some, at = append(some, device), append(at, i)
			} else {
				plain = append(plain, device)
			}
		}
	}
	figures, err := d.Figures.Tallies(ctx, checksOf(plain), windows)
	if err != nil {
		return nil, fmt.Errorf("read meters: %w", err)
	}
	if len(some) == 0 {
		return figures, nil
	}
	own, err := d.tallied(ctx, some, exempt, windows, begin)
	if err != nil {
		return nil, err
	}
	for k, i := range at { // ascending, so each finds its place
		figures = slices.Insert(figures, i, own[k])
	}
	return figures, nil
}

// tallied returns figures by the spans; exempt is as tracks has it.
func (d *desk) tallied(ctx context.Context, devices []sereno.Device, exempt maintainedOf, windows []store.Window, begin sereno.Instant) ([][]sereno.Figures, error) {
	tracks, err := d.tracks(ctx, devices, exempt, begin, windows[0].To)
	if err != nil {
		return nil, err
	}
	figures := make([][]sereno.Figures, len(devices))
	for i, spans := range tracks {
		for _, w := range windows {
			figures[i] = append(figures[i], sereno.Tally(slices.Values(spans), w.From, w.To))
		}
	}
	return figures, nil
}

// A Total is a length of time added up over many devices, in JSON a number of
// seconds, exact to the microsecond.
type Total sereno.Total

// MarshalJSON writes as many decimals as there are, at most six.
func (t Total) MarshalJSON() ([]byte, error) {
	out := strconv.AppendInt(nil, t.Seconds, 10)
	if t.Micros == 0 {
		return out, nil
	}
	return fmt.Appendf(out, ".%s", strings.TrimRight(fmt.Sprintf("%06d", t.Micros), "0")), nil
}

// UnmarshalJSON reads what MarshalJSON writes.
func (t *Total) UnmarshalJSON(text []byte) error {
	whole, part, _ := strings.Cut(string(text), ".")
	seconds, err := strconv.ParseInt(whole, 10, 64)
	micros, e := strconv.ParseInt((part + "000000")[:6], 10, 64)
	if err != nil || e != nil || seconds < 0 {
		return sereno.Errorf(sereno.Invalid, "%.40s is no length of time in seconds", text)
	}
	*t = Total{seconds, micros}
	return nil
}

// Schema describes a Total in OpenAPI.
func (Total) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeNumber, Format: "double"}
}
