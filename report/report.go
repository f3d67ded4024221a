// Package report makes the availability report of a period: a page for people,
// a table for spreadsheets, a document for programs. All three tell the same
// figures, and how they were counted.
package report

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
	"time"

	"sereno"
	"sereno/store"
)

// Facts is what was written down in SQL.
type Facts interface {
	Lives(ctx context.Context, q store.LifeQuery) ([]store.Life, string, error)
	Spans(ctx context.Context, check sereno.CheckID, from, to sereno.Instant) iter.Seq2[sereno.Span, error]
	Incidents(ctx context.Context, q store.IncidentQuery) ([]sereno.Incident, string, error)
	Absences(ctx context.Context, q store.AbsenceQuery) ([]sereno.Absence, string, error)
	Maintained(ctx context.Context, devices []sereno.DeviceID, from, to sereno.Instant) ([]sereno.Maintained, error)
}

// A Request says which report is wanted.
type Request struct {
	From, To sereno.Instant // [From, To); what lies after Now is left out
	Now      sereno.Instant
	Zone     *time.Location // of days and of the times that are written; nil: UTC
	Device   string         // only the devices that had this name, or the one with this id; "" for all
	Tag      string         // only devices with this tag; "" for all
	Counting sereno.Counting
	Version  string // of the program
}

// A Report is an availability report.
type Report struct {
	Request
	Until sereno.Instant // the end of what is told: To, or Now if that is earlier

	Total    sereno.Mean    // over all devices
	Together sereno.Figures // of all as if they were one: Up while all were
	Sites    []Group        // by tags that begin with "site:", by name
	Devices  []Device       // the worst first

	Outages      []Outage // in order of their begin; the longest, if there are more than MaxOutages
	OutageCount  int      // all of them
	Absences     []sereno.Absence
	AbsenceCount int
	Isolations   []sereno.Incident // those of this vantage point, in order

	bounds []sereno.Instant // of the cells of ribbons
	step   sereno.Step      // how long a cell is
	whole  ribbon
	worst  []ribbon // of the first of Devices
	days   []day
}

// A Group is the devices that have one tag in common.
type Group struct {
	Name  string // of the tag
	Total sereno.Mean

	ribbon ribbon
}

// A Device is one device and its figures.
type Device struct {
	store.Life
	Figures sereno.Figures // of the part of the period in which it was watched
}

// An Outage is one stretch of downtime of a device.
type Outage struct {
	Device *Device
	sereno.Outage

	id sereno.DeviceID // until devices have their places
}

const (
	// MaxOutages is how many outages a report holds; there are exports for
	// more.
	MaxOutages = 100_000
	// maxAbsences is likewise how many absences, and isolations, it lists.
	maxAbsences = 10_000
	// shownWorst is how many devices have a ribbon of their own.
	shownWorst = 20
	// shownSites is how many groups have one.
	shownSites = 40
)

// Make reads what was recorded and makes the report. Mistakes are
// sereno.Errors, whose Field is the name of the setting.
func Make(ctx context.Context, facts Facts, r Request) (*Report, error) {
	if r.Zone == nil {
		r.Zone = time.UTC
	}
	if err := r.check(); err != nil {
		return nil, err
	}
	m := &maker{Report: &Report{Request: r, Until: min(r.To, r.Now)}, facts: facts}
	if err := m.divide(); err != nil {
		return nil, err
	}
	if err := m.addDevices(ctx); err != nil {
		return nil, err
	}
	m.finish()
	if err := m.drawWorst(ctx); err != nil {
		return nil, err
	}
	return m.Report, m.addOwn(ctx)
}

func (r *Request) check() error {
	var text string
	switch {
	case r.From >= r.To:
		text = fmt.Sprintf("the period begins at %s, which is not before its end, %s", r.From, r.To)
	case r.From >= r.Now:
		text = fmt.Sprintf("the period begins at %s, which is yet to come: it is %s", r.From, r.Now)
	case r.From.Time().Before(r.To.Time().Add(-sereno.MaxWindow)):
		text = fmt.Sprintf("a period is at most 100 years long: %s is too long before its end, %s", r.From, r.To)
	default:
		return nil
	}
	return &sereno.Error{Kind: sereno.Invalid, Field: "from", Text: text}
}

// A maker is a report in the making.
type maker struct {
	*Report
	facts Facts
	sites map[string]*Group
	sweep *sereno.Sweep

	exempt map[sereno.DeviceID][]sereno.Maintained // of the devices at hand
}

// divide chooses how long the cells of ribbons are: about as many as can be
// told apart on paper.
func (m *maker) divide() (err error) {
	const day = 24 * time.Hour
	switch length := m.Until.Sub(m.From); {
	case length <= 3*day:
		m.step = sereno.Hour
	case length <= 100*day:
		m.step = sereno.Day
	case length <= 2*366*day:
		m.step = sereno.Week
	case length <= 10*366*day:
		m.step = sereno.Month
	default:
		m.step = sereno.Year
	}
	m.bounds, err = m.step.Bounds(m.From, m.Until, m.Zone, 200)
	if err != nil {
		return err
	}
	m.whole = newRibbon(len(m.bounds) - 1)
	m.sites = map[string]*Group{}
	m.sweep = sereno.NewSweep(m.From, m.Until)
	return m.calendar()
}

// addDevices takes in every device that was watched in the period.
func (m *maker) addDevices(ctx context.Context) error {
	q := store.LifeQuery{From: m.From, To: m.Until, Name: m.Device, Tag: m.Tag}
	err := m.eachLife(ctx, q)
	if id, bad := strconv.ParseInt(m.Device, 10, 64); err == nil && len(m.Devices) == 0 && bad == nil && id > 0 {
		q.Name, q.Device = "", sereno.DeviceID(id)
		err = m.eachLife(ctx, q)
	}
	if err != nil || len(m.Devices) > 0 || m.Device == "" && m.Tag == "" {
		return err
	}
	field, what := "device", fmt.Sprintf("device called %q", m.Device)
	if m.Device == "" {
		field, what = "tag", fmt.Sprintf("device with the tag %q", m.Tag)
	}
	return &sereno.Error{Kind: sereno.NotFound, Field: field, Text: fmt.Sprintf("no %s was watched between %s and %s", what, m.From, m.Until)}
}

func (m *maker) eachLife(ctx context.Context, q store.LifeQuery) error {
	for q.Limit = 1000; ; {
		lives, next, err := m.facts.Lives(ctx, q)
		if err != nil {
			return err
		}
		if err := m.readMaintenance(ctx, lives); err != nil {
			return err
		}
		for _, l := range lives {
			if err := m.addDevice(ctx, l); err != nil {
				return err
			}
		}
		if q.Cursor = next; next == "" {
			return nil
		}
	}
}

func (m *maker) addDevice(ctx context.Context, l store.Life) error {
	spans, err := m.spans(ctx, l)
	if err != nil {
		return err
	}
	d := Device{Life: l, Figures: m.Counting.Tally(slices.Values(spans), m.lived(l), m.ended(l))}
	m.Total.Add(d.Figures)
	m.sweep.Add(spans)
	own := newRibbon(len(m.bounds) - 1)
	own.add(m.Counting.Series(spans, m.bounds))
	m.whole.merge(own)
	for _, tag := range l.Tags {
		if name, ok := strings.CutPrefix(tag, "site:"); ok {
			g := m.sites[name]
			if g == nil {
				g = &Group{Name: name, ribbon: newRibbon(len(m.bounds) - 1)}
				m.sites[name] = g
			}
			g.Total.Add(d.Figures)
			g.ribbon.merge(own)
		}
	}
	m.mark(spans)
	for o := range m.Counting.Outages(slices.Values(spans), d.Figures.From, d.Figures.To) {
		m.Outages = append(m.Outages, Outage{Outage: o, id: l.ID})
		m.OutageCount++
	}
	if len(m.Outages) >= 2*MaxOutages {
		m.keepLongest()
	}
	m.Devices = append(m.Devices, d)
	return nil
}

// lived and ended bound the part of the period in which a device was watched.
func (m *maker) lived(l store.Life) sereno.Instant { return max(m.From, min(l.Created, m.Until)) }

func (m *maker) ended(l store.Life) sereno.Instant {
	if l.Removed == 0 {
		return m.Until
	}
	return max(m.lived(l), min(l.Removed, m.Until))
}

// spans reads the spans of a device, made from those of its checks.
func (m *maker) spans(ctx context.Context, l store.Life) ([]sereno.Span, error) {
	from, to := m.lived(l), m.ended(l)
	tracks, echo := make([][]sereno.Span, len(l.Checks)), make([]bool, len(l.Checks))
	for i, c := range l.Checks {
		echo[i] = c.Kind == "icmp"
		for s, err := range m.facts.Spans(ctx, c.ID, from, to) {
			if err != nil {
				return nil, err
			}
			tracks[i] = append(tracks[i], s)
		}
	}
	spans := sereno.MergeSpans(tracks, echo, from, to)
	if exempt := m.exempt[l.ID]; len(exempt) > 0 {
		spans = slices.Collect(sereno.Exempt(slices.Values(spans), exempt))
	}
	return spans, nil
}

// readMaintenance reads the maintenance of some devices.
func (m *maker) readMaintenance(ctx context.Context, lives []store.Life) error {
	ids := make([]sereno.DeviceID, len(lives))
	for i, l := range lives {
		ids[i] = l.ID
	}
	list, err := m.facts.Maintained(ctx, ids, m.From, m.Until)
	if err != nil {
		return err
	}
	m.exempt = map[sereno.DeviceID][]sereno.Maintained{}
	for _, s := range list {
		m.exempt[s.Device] = append(m.exempt[s.Device], s)
	}
	return nil
}

// keepLongest forgets the shortest outages beyond MaxOutages.
func (m *maker) keepLongest() {
	if len(m.Outages) <= MaxOutages {
		return
	}
	slices.SortFunc(m.Outages, func(a, b Outage) int { return cmp.Compare(b.Down, a.Down) })
	m.Outages = slices.Clip(m.Outages[:MaxOutages])
}

// finish brings everything into its order.
func (m *maker) finish() {
	m.Together = m.Counting.Tally(slices.Values(m.sweep.Spans()), m.From, m.Until)
	slices.SortFunc(m.Devices, worse)
	at := make(map[sereno.DeviceID]*Device, len(m.Devices))
	for i := range m.Devices {
		at[m.Devices[i].ID] = &m.Devices[i]
	}
	m.keepLongest()
	for i := range m.Outages {
		m.Outages[i].Device = at[m.Outages[i].id]
	}
	slices.SortFunc(m.Outages, func(a, b Outage) int {
		return cmp.Or(cmp.Compare(a.Begin, b.Begin), cmp.Compare(a.Device.ID, b.Device.ID))
	})
	for _, g := range m.sites {
		m.Sites = append(m.Sites, *g)
	}
	slices.SortFunc(m.Sites, func(a, b Group) int { return cmp.Compare(a.Name, b.Name) })
}

// worse orders devices: the lowest uptime first, then the most downtime, the
// lowest coverage, the name. Those of which nothing is known come last.
func worse(a, b Device) int {
	share := func(d Device) float64 {
		if up, ok := d.Figures.Uptime(); ok {
			return up
		}
		return 2
	}
	return cmp.Or(
		cmp.Compare(share(a), share(b)),
		cmp.Compare(b.Figures.Downtime(), a.Figures.Downtime()),
		cmp.Compare(a.Figures.Seen(), b.Figures.Seen()),
		cmp.Compare(a.Name, b.Name),
		cmp.Compare(a.ID, b.ID),
	)
}

// Worst returns the devices with the lowest uptime, those without any downtime
// left out.
func (r *Report) Worst() []Device {
	n := 0
	for n < len(r.Devices) && n < shownWorst && r.Devices[n].Figures.Downtime() > 0 {
		n++
	}
	return r.Devices[:n]
}

// drawWorst reads the spans of the worst devices again: which these are is
// known only now, and ribbons of all would take much memory.
func (m *maker) drawWorst(ctx context.Context) error {
	worst := m.Worst()
	lives := make([]store.Life, len(worst))
	for i, d := range worst {
		lives[i] = d.Life
	}
	if err := m.readMaintenance(ctx, lives); err != nil {
		return err
	}
	for _, d := range worst {
		spans, err := m.spans(ctx, d.Life)
		if err != nil {
			return err
		}
		own := newRibbon(len(m.bounds) - 1)
		own.add(m.Counting.Series(spans, m.bounds))
		m.worst = append(m.worst, own)
	}
	return nil
}

// addOwn takes in what the program says of itself.
func (m *maker) addOwn(ctx context.Context) error {
	for q := (store.AbsenceQuery{From: m.From, To: m.Until, Oldest: true, Limit: 1000}); ; {
		page, next, err := m.facts.Absences(ctx, q)
		if err != nil {
			return err
		}
		m.AbsenceCount += len(page)
		if room := maxAbsences - len(m.Absences); room > 0 {
			m.Absences = append(m.Absences, page[:min(room, len(page))]...)
		}
		if q.Cursor = next; next == "" {
			break
		}
	}
	for q := (store.IncidentQuery{From: m.From, To: m.Until, Oldest: true, Limit: 1000, Own: true}); ; {
		page, next, err := m.facts.Incidents(ctx, q)
		if err != nil {
			return err
		}
		m.Isolations = append(m.Isolations, page...)
		if q.Cursor = next; next == "" || len(m.Isolations) >= maxAbsences {
			return nil
		}
	}
}

// Unfinished reports whether the period was not over when the report was made.
func (r *Report) Unfinished() bool { return r.Until < r.To }
