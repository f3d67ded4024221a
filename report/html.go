package report

import (
	"cmp"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"sereno"
)

//go:embed style.css
var style string

//go:embed report.gohtml
var source string

var pageTemplate = template.Must(template.New("report").Parse(source))

// StyleHash names the style of the page in a Content-Security-Policy, so that a
// server needs to allow nothing else: 'sha256-…'.
func StyleHash() string {
	sum := sha256.Sum256([]byte(style))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

const (
	// shownOutages is how many outages the page lists, shownDevices how many
	// devices: more is for programs.
	shownOutages = 2000
	shownDevices = 10_000
)

// HTML writes the report as one page that needs nothing else: no script, no
// font, no picture. It can be printed.
func (r *Report) HTML(w io.Writer) error { return pageTemplate.Execute(w, r.page()) }

// A page is what the template shows. What is not template.HTML is made inert
// by it.
type page struct {
	Style                  template.CSS
	Version, Scope, Title  string
	Window, Made           string
	Unfinished, Bad        bool
	Verdict, How           []string
	Keys                   []key
	Devices, RibbonNote    string
	Whole, Calendar        template.HTML
	Legend, CalendarLegend []legend
	SitesNote, WorstNote   string
	OutagesNote, OwnNote   string
	EveryNote              string
	Sites, Worst, Every    []line
	Outages                []outageLine
	Own                    []ownLine
}

type key struct{ Name, Value, Note string }

type legend struct{ Class, Word string }

// A line is the figures of a device or a group.
type line struct {
	Name, Address, Note                                  string
	Ribbon                                               template.HTML
	Uptime, Worst, Coverage, Downtime, Degraded, Outages string
	Longest, MTTR, MTBF                                  string
}

type stretch struct {
	Begin, BeginISO, End, EndISO string
	Length, Doubt                string
}

type outageLine struct {
	stretch
	Device, Reason string
}

type ownLine struct {
	stretch
	What, Checks string
	at           sereno.Instant
}

func (r *Report) page() *page {
	p := &page{
		Style: template.CSS(style), Version: cmp.Or(r.Version, "?"), Title: r.Title(), Scope: r.scope(),
		Window: r.window(), Made: r.moment(r.Now),
		Unfinished: r.Unfinished(), Bad: r.OutageCount > 0,
		Verdict: r.verdict(), How: r.how(), Keys: r.keys(), Devices: r.all(),
		RibbonNote: fmt.Sprintf("Each column is one %s. Above: the share of the time in each status. "+
			"Below, hanging down: downtime, on a scale on which seconds are visible beside days.", r.step),
		Whole: r.draw(r.whole, 1000, true), Legend: r.legend(), Calendar: r.drawCalendar(), CalendarLegend: calendarLegend,
	}
	p.fillGroups()
	r.fillSites(p)
	r.fillDevices(p)
	r.fillOutages(p)
	r.fillOwn(p)
	return p
}

func (p *page) fillGroups() {
	p.SitesNote = "Means over the devices of each tag that begins with site:, weighted by the time in which they were seen."
	p.WorstNote = "By uptime, the lowest first."
}

func (r *Report) fillSites(p *page) {
	sites := r.Sites
	if len(sites) > shownSites {
		sites = slices.SortedFunc(slices.Values(sites), func(a, b Group) int {
			ua, _ := a.Total.Uptime()
			ub, _ := b.Total.Uptime()
			return cmp.Or(cmp.Compare(ua, ub), cmp.Compare(a.Name, b.Name))
		})[:shownSites]
		p.SitesNote += fmt.Sprintf(" These are the %d worst of %s.", shownSites, grouped(len(r.Sites)))
	}
	for _, g := range sites {
		p.Sites = append(p.Sites, line{
			Name: g.Name, Note: plural(g.Total.Devices, "device"), Ribbon: r.draw(g.ribbon, 320, false),
			Uptime: percent(g.Total.Uptime()), Coverage: percent(g.Total.Coverage()), Downtime: totalLength(g.Total.Downtime),
			Outages: grouped(g.Total.Outages),
		})
	}
}

func (r *Report) fillDevices(p *page) {
	for i, d := range r.Worst() {
		l := r.line(d)
		l.Ribbon = r.draw(r.worst[i], 320, false)
		p.Worst = append(p.Worst, l)
	}
	if n := len(p.Worst); n == shownWorst {
		p.WorstNote = fmt.Sprintf("The %d lowest uptimes. All devices stand at the end.", n)
	}
	devices := r.Devices[:min(len(r.Devices), shownDevices)]
	for _, d := range devices {
		p.Every = append(p.Every, r.line(d))
	}
	p.EveryNote = "The lowest uptime first."
	if left := len(r.Devices) - len(devices); left > 0 {
		p.EveryNote += fmt.Sprintf(" %s more are left out here; the report as CSV has all.", grouped(left))
	}
}

func (r *Report) line(d Device) line {
	f := d.Figures
	l := line{
		Name: d.Name, Uptime: percent(f.Uptime()), Worst: percent(ifUnseenWereDown(f)), Coverage: percent(f.Coverage()),
		Downtime: length(f.Downtime()), Degraded: length(f.Degraded), Outages: grouped(f.Outages), Longest: length(f.Longest), MTTR: "–", MTBF: "–",
	}
	if d.Address != d.Name {
		l.Address = d.Address
	}
	if between, recovery, ok := f.Means(); ok {
		l.MTBF, l.MTTR = length(between), length(recovery)
	}
	var notes []string
	if d.Created > r.From {
		notes = append(notes, "watched since "+r.moment(d.Created))
	}
	if d.Removed != 0 && d.Removed < r.Until {
		notes = append(notes, "removed "+r.moment(d.Removed))
	}
	if f.Maintenance > 0 {
		notes = append(notes, "under maintenance for "+length(f.Maintenance))
	}
	if f.Paused > 0 {
		notes = append(notes, "paused for "+length(f.Paused))
	}
	if f.Behind > 0 {
		notes = append(notes, length(f.Behind)+" of its time down behind a parent")
	}
	l.Note = strings.Join(notes, ", ")
	return l
}

// ifUnseenWereDown is the lowest that the uptime can have been.
func ifUnseenWereDown(f sereno.Figures) (share float64, ok bool) {
	f.Counting.UnknownIsDown = true
	return f.Uptime()
}

func (r *Report) fillOutages(p *page) {
	outages := r.Outages
	p.OutagesNote = "By begin. Times are those of " + r.Zone.String() + "; the length is the downtime inside the period, and ± how far it may be from the truth."
	if len(outages) > shownOutages {
		outages = slices.SortedFunc(slices.Values(outages), func(a, b Outage) int { return cmp.Compare(b.Down, a.Down) })[:shownOutages]
		slices.SortFunc(outages, func(a, b Outage) int { return cmp.Compare(a.Begin, b.Begin) })
		p.OutagesNote += fmt.Sprintf(" These are the %s longest of %s: the rest is in the report as JSON, and in the export of spans.", grouped(shownOutages), grouped(r.OutageCount))
	}
	for _, o := range outages {
		l := outageLine{stretch: r.stretch(o.Begin, o.End, o.Down, o.Uncertainty), Device: o.Device.Name, Reason: o.Reason}
		if o.End == 0 && r.Until == r.Now {
			l.End = "still down"
		} else if o.End == 0 {
			l.End = "not in this period"
		}
		p.Outages = append(p.Outages, l)
	}
}

func (r *Report) fillOwn(p *page) {
	for _, a := range r.Absences {
		checks := "–"
		if a.Checks > 0 {
			checks = grouped(a.Checks)
		}
		l := ownLine{stretch: r.stretch(a.Begin, a.End, a.End.Sub(a.Begin), a.Uncertainty), What: "absent: " + a.Cause.Sentence(), Checks: checks, at: a.Begin}
		if a.Unsure {
			l.What += "; the clock could not be trusted"
		}
		p.Own = append(p.Own, l)
	}
	for _, i := range r.Isolations {
		end := i.Closed
		if end == 0 || end > r.Until {
			end = r.Until
		}
		l := ownLine{stretch: r.stretch(i.Opened, i.Closed, end.Sub(i.Opened), 0), What: "cut off: " + i.Reason, Checks: "–", at: i.Opened}
		if i.Closed == 0 {
			l.End = "still cut off"
		}
		p.Own = append(p.Own, l)
	}
	slices.SortStableFunc(p.Own, func(a, b ownLine) int { return cmp.Compare(a.at, b.at) })
	p.OwnNote = "No device loses uptime by it: what was not seen is not counted, and lowers what was seen."
	if left := r.AbsenceCount - len(r.Absences); left > 0 {
		p.OwnNote += fmt.Sprintf(" %s more absences are left out; sereno export absences has all.", grouped(left))
	}
}

func (r *Report) stretch(begin, end sereno.Instant, took, doubt time.Duration) stretch {
	s := stretch{Begin: r.moment(begin), BeginISO: r.iso(begin), Length: length(took), Doubt: "–"}
	if end != 0 {
		s.End, s.EndISO = r.moment(end), r.iso(end)
	}
	if doubt > 0 {
		s.Doubt = length(doubt)
	}
	return s
}

// Title names the period as a person would.
func (r *Report) Title() string {
	from, to := r.From.Time().In(r.Zone), r.To.Time().In(r.Zone)
	y, m, d := from.Date()
	is := func(step sereno.Step) bool {
		bounds, err := step.Bounds(r.From, r.To, r.Zone, 2)
		before, e := step.Bounds(r.From-1, r.To, r.Zone, 3)
		after, e2 := step.Bounds(r.From, r.To+1, r.Zone, 3)
		return err == nil && e == nil && e2 == nil && len(bounds) == 2 && len(before) == 3 && len(after) == 3
	}
	switch {
	case is(sereno.Year):
		return strconv.Itoa(y)
	case is(sereno.Month):
		return fmt.Sprintf("%s %d", m, y)
	case is(sereno.Week):
		year, week := from.ISOWeek()
		return fmt.Sprintf("Week %d of %d", week, year)
	case is(sereno.Day):
		return fmt.Sprintf("%d %s %d", d, m, y)
	}
	const minute = "2006-01-02 15:04"
	return from.Format(minute) + " to " + to.Format(minute)
}

// FileName is what the file of the report might be called, without what says
// its format.
func (r *Report) FileName() string {
	const layout = "2006-01-02T1504"
	from, to := r.From.Time().In(r.Zone), r.To.Time().In(r.Zone)
	if wholeDays(from, to) {
		return "sereno-report-" + from.Format(time.DateOnly) + "-" + to.AddDate(0, 0, -1).Format(time.DateOnly)
	}
	return "sereno-report-" + from.Format(layout) + "-" + to.Format(layout)
}

func (r *Report) scope() string {
	switch {
	case r.Device != "" && len(r.Devices) > 0:
		return r.Devices[0].Name
	case r.Tag != "":
		return r.Tag
	}
	return ""
}

// verdict says the whole in a few sentences.
func (r *Report) verdict() (sentences []string) {
	say := func(format string, args ...any) { sentences = append(sentences, fmt.Sprintf(format, args...)) }
	n := r.Total.Devices
	who, were := plural(n, "device"), "were"
	if n == 1 {
		who, were = r.Devices[0].Name, "was"
	}
	up, ok := r.Total.Uptime()
	switch {
	case n == 0:
		return []string{"No device was watched in this period."}
	case !ok:
		say("Nothing was seen of %s.", who)
	default:
		say("%s %s up %s of the time in which %s seen.", who, were, percent(up, ok), map[bool]string{true: "it was", false: "they were"}[n == 1])
	}
	switch troubled := r.troubled(); {
	case r.OutageCount == 0 && ok:
		say("No outage was seen.")
	case n == 1:
		say("It had %s, %s of downtime in all.", plural(r.OutageCount, "outage"), totalLength(r.Total.Downtime))
	case r.OutageCount > 0:
		say("%s of them had %s, %s of downtime in all.", grouped(troubled), plural(r.OutageCount, "outage"), totalLength(r.Total.Downtime))
	}
	if seen, ok := r.Total.Coverage(); ok && seen < 1 {
		say("%s of the time was seen.", percent(seen, ok))
	}
	if r.AbsenceCount > 0 {
		away := time.Duration(0)
		for _, a := range r.Absences {
			away += min(a.End, r.Until).Sub(max(a.Begin, r.From))
		}
		say("Sereno itself was away %s, %s in all.", times(r.AbsenceCount), length(away))
	}
	return sentences
}

// troubled is how many devices had an outage.
func (r *Report) troubled() (n int) {
	for _, d := range r.Devices {
		if d.Figures.Outages > 0 {
			n++
		}
	}
	return n
}

func (r *Report) keys() []key {
	uptime := key{Name: "uptime", Value: percent(r.Total.Uptime()), Note: "mean over the devices"}
	if len(r.Devices) == 1 {
		uptime.Note = "of the time seen"
	}
	lowest, ok := r.lowest()
	if seen, known := r.Total.Coverage(); known && ok && seen < 0.99 {
		uptime.Note = "at least " + percent(lowest, ok) + ", if all unseen were down"
	}
	together := key{Name: "any down", Value: length(r.Together.Downtime()), Note: "with one down at least"}
	if up := r.Together.Up + r.Together.Degraded; up > 0 && len(r.Devices) > 1 {
		together.Note += "; all were seen up at once for " + length(up)
	}
	outages := key{Name: "outages", Value: grouped(r.OutageCount), Note: "of " + plural(r.troubled(), "device")}
	downtime := key{Name: "downtime", Value: totalLength(r.Total.Downtime), Note: "of all devices in sum"}
	seen := key{Name: "seen", Value: percent(r.Total.Coverage()), Note: "of the time that was to be watched"}
	devices := key{Name: "devices", Value: grouped(len(r.Devices)), Note: "watched in the period"}
	return []key{uptime, together, outages, downtime, seen, devices}
}

// lowest is what the mean uptime was if all that was not seen was down.
func (r *Report) lowest() (float64, bool) {
	var m sereno.Mean
	for _, d := range r.Devices {
		f := d.Figures
		f.Counting.UnknownIsDown = true
		m.Add(f)
	}
	return m.Uptime()
}

// how says how it was counted.
func (r *Report) how() []string {
	c := r.Counting
	pick := func(b bool, yes, no string) string {
		if b {
			return yes
		}
		return no
	}
	until := ""
	if r.Unfinished() {
		until = " It is not over: all figures end with " + r.moment(r.Until) + "."
	}
	return []string{
		fmt.Sprintf("The period is [%s, %s), with days of the zone %s.%s", r.iso(r.From), r.iso(r.To), r.Zone, until),
		"Uptime is the time up by the time up and down, in microseconds, from spans that tile every device's life.",
		pick(c.DegradedIsDown, "Degraded counts as down.", "Degraded counts as up: there were answers, slow ones or with losses."),
		pick(c.UnknownIsDown, "What was not seen counts as down.", "What was not seen is left out of uptime: it is never a failure, and never a recovery. It lowers what was seen."),
		pick(c.BehindIsNotDowntime, "Down behind a parent that was down itself is left out.", "Down behind a parent that was down itself is down as well."),
		pick(c.MaintenanceIsSeen, "Pauses are left out; maintenance is not.", "Pauses and maintenance are left out."),
		"An outage begins with the first of the looks that proved it, and ends with the first of the answers that proved its end.",
		"A device counts from when it was first watched until it was removed. Means are weighted by the time that counts of each.",
	}
}

// window names the period by its days, the last included, where it has whole
// days.
func (r *Report) window() string {
	from, to := r.From.Time().In(r.Zone), r.To.Time().In(r.Zone)
	layout := "2 January 2006 15:04"
	if wholeDays(from, to) {
		layout, to = "2 January 2006", to.AddDate(0, 0, -1)
	}
	if begin, end := from.Format(layout), to.Format(layout); begin != end {
		return fmt.Sprintf("%s to %s (%s)", begin, end, r.Zone)
	}
	return fmt.Sprintf("%s (%s)", from.Format(layout), r.Zone)
}

// all names all devices of the report together.
func (r *Report) all() string {
	if len(r.Devices) == 1 {
		return r.Devices[0].Name
	}
	return "All " + plural(len(r.Devices), "device")
}

func wholeDays(from, to time.Time) bool {
	return from.Format(time.TimeOnly) == "00:00:00" && to.Format(time.TimeOnly) == "00:00:00"
}

func (r *Report) moment(i sereno.Instant) string { return i.Time().In(r.Zone).Format(time.DateTime) }

func (r *Report) iso(i sereno.Instant) string { return i.Time().In(r.Zone).Format(time.RFC3339) }

// percent writes a share, rounded down: only all of it reads 100 %.
func percent(share float64, ok bool) string {
	switch {
	case !ok:
		return "–"
	case share >= 1:
		return "100 %"
	case share <= 0:
		return "0 %"
	}
	// A share such as 0.99873 may lie a last bit below what it stands for.
	return fmt.Sprintf("%.3f %%", min(99.999, math.Floor(share*1e5*(1+1e-13))/1e3))
}

// length writes a length of time; none at all is 0.
func length(d time.Duration) string {
	if d == 0 {
		return "0"
	}
	return sereno.FormatLength(d)
}

// totalLength writes time of many devices.
func totalLength(t sereno.Total) string {
	if t.Seconds < 100*365*24*3600 {
		return length(time.Duration(t.Seconds)*time.Second + time.Duration(t.Micros)*time.Microsecond)
	}
	return fmt.Sprintf("%d years", t.Seconds/(365*24*3600))
}

func plural(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return grouped(n) + " " + thing + "s"
}

func times(n int) string {
	switch n {
	case 1:
		return "once"
	case 2:
		return "twice"
	}
	return grouped(n) + " times"
}

// grouped writes a number as 1,234,567.
func grouped(n int) string {
	digits := strconv.Itoa(n)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}
