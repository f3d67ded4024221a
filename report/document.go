package report

import (
	"encoding/json"
	"io"
	"strconv"
	"time"

	"sereno"
	"sereno/sheet"
)

// CSV writes one row for each device: its figures, the worst first. Lengths of
// time are seconds, shares 0 to 1.
func (r *Report) CSV(w io.Writer) error {
	t := sheet.New(w, sheet.CSV, r.Zone)
	t.Begin("device_id", "device", "address", "from", "to", "uptime", "uptime_if_unseen_were_down", "coverage",
		"up_seconds", "degraded_seconds", "down_seconds", "unknown_seconds", "maintenance_seconds", "paused_seconds", "behind_parent_seconds",
		"uptime_numerator_seconds", "uptime_denominator_seconds", "downtime_seconds",
		"outages", "longest_outage_seconds", "last_outage", "mtbf_seconds", "mttr_seconds")
	for _, d := range r.Devices {
		f := d.Figures
		t.Integer(int64(d.ID))
		t.Text(d.Name)
		t.Text(d.Address)
		t.Moment(f.From)
		t.Moment(f.To)
		for _, s := range []*float64{known(f.Uptime()), known(ifUnseenWereDown(f)), known(f.Coverage())} {
			if s == nil {
				t.Null()
			} else {
				t.Number(*s)
			}
		}
		up, of := f.Counted()
		for _, length := range []time.Duration{f.Up, f.Degraded, f.Down, f.Unknown, f.Maintenance, f.Paused, f.Behind, up, of, f.Downtime()} {
			t.Seconds(length)
		}
		t.Integer(int64(f.Outages))
		t.Seconds(f.Longest)
		t.Moment(f.LastOutage)
		if between, recovery, ok := f.Means(); ok {
			t.Seconds(between)
			t.Seconds(recovery)
		} else {
			t.Null()
			t.Null()
		}
		if err := t.End(); err != nil {
			return err
		}
	}
	return t.Finish()
}

// known makes a share that is not known a null.
func known(share float64, ok bool) *float64 {
	if !ok {
		return nil
	}
	return &share
}

// JSON writes the whole report as one document.
func (r *Report) JSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	return e.Encode(r.document())
}

type (
	document struct {
		Title       string         `json:"title"`
		From        sereno.Instant `json:"from"`
		To          sereno.Instant `json:"to"`
		Until       sereno.Instant `json:"until"` // the end of what is told
		Unfinished  bool           `json:"unfinished"`
		Zone        string         `json:"zone"`
		Made        sereno.Instant `json:"made"`
		Version     string         `json:"version"`
		Device      string         `json:"device,omitempty"`
		Tag         string         `json:"tag,omitempty"`
		How         []string       `json:"how_counted"`
		Verdict     []string       `json:"verdict"`
		Total       mean           `json:"total"`
		Together    figures        `json:"all_up_at_once"`
		Sites       []site         `json:"sites"`
		Devices     []device       `json:"devices"`
		OutageCount int            `json:"outage_count"`
		Outages     []outage       `json:"outages"`
		AwayCount   int            `json:"absence_count"`
		Absences    []absence      `json:"absences"`
		Isolations  []isolation    `json:"isolations"`
	}
	mean struct {
		Devices     int      `json:"devices"`
		Uptime      *float64 `json:"uptime"`
		Coverage    *float64 `json:"coverage"`
		Numerator   total    `json:"uptime_numerator_seconds"`
		Denominator total    `json:"uptime_denominator_seconds"`
		Seen        total    `json:"seen_seconds"`
		Watchable   total    `json:"watchable_seconds"`
		Downtime    total    `json:"downtime_seconds"`
		Outages     int      `json:"outages"`
	}
	site struct {
		Name string `json:"site"`
		mean
	}
	device struct {
		ID      sereno.DeviceID `json:"device_id"`
		Name    string          `json:"device"`
		Address string          `json:"address"`
		Tags    []string        `json:"tags"`
		Created sereno.Instant  `json:"created"`
		Removed sereno.Instant  `json:"removed"`
		Figures figures         `json:"figures"`
	}
	figures struct {
		From        sereno.Instant `json:"from"`
		To          sereno.Instant `json:"to"`
		Window      lasting        `json:"window_seconds"`
		Up          lasting        `json:"up_seconds"`
		Degraded    lasting        `json:"degraded_seconds"`
		Down        lasting        `json:"down_seconds"`
		Unknown     lasting        `json:"unknown_seconds"`
		Maintenance lasting        `json:"maintenance_seconds"`
		Paused      lasting        `json:"paused_seconds"`
		Behind      lasting        `json:"behind_parent_seconds"`
		Uptime      *float64       `json:"uptime"`
		Lowest      *float64       `json:"uptime_if_unseen_were_down"`
		Numerator   lasting        `json:"uptime_numerator_seconds"`
		Denominator lasting        `json:"uptime_denominator_seconds"`
		Coverage    *float64       `json:"coverage"`
		Downtime    lasting        `json:"downtime_seconds"`
		Outages     int            `json:"outages"`
		Longest     lasting        `json:"longest_outage_seconds"`
		LastOutage  sereno.Instant `json:"last_outage"`
		MTBF        *lasting       `json:"mtbf_seconds"`
		MTTR        *lasting       `json:"mttr_seconds"`
	}
	outage struct {
		Device      sereno.DeviceID `json:"device_id"`
		Name        string          `json:"device"`
		Begin       sereno.Instant  `json:"begin"`
		End         sereno.Instant  `json:"end"`
		Down        lasting         `json:"downtime_seconds"` // inside the period
		Uncertainty lasting         `json:"uncertainty_seconds"`
		Cause       sereno.Cause    `json:"cause"`
		Reason      string          `json:"reason"`
	}
	absence struct {
		Begin       sereno.Instant      `json:"begin"`
		End         sereno.Instant      `json:"end"`
		Seconds     lasting             `json:"seconds"`
		Uncertainty lasting             `json:"uncertainty_seconds"`
		Cause       sereno.AbsenceCause `json:"cause"`
		Unsure      bool                `json:"unsure"`
		Checks      int                 `json:"checks"`
	}
	isolation struct {
		ID     sereno.IncidentID `json:"incident_id"`
		Opened sereno.Instant    `json:"opened"`
		Closed sereno.Instant    `json:"closed"`
		Reason string            `json:"reason"`
	}
)

// A lasting is a length of time as a number of seconds, exactly.
type lasting time.Duration

func (l lasting) MarshalJSON() ([]byte, error) {
	return sheet.AppendSeconds(nil, time.Duration(l)), nil
}

// A total is likewise time of many devices.
type total sereno.Total

func (t total) MarshalJSON() ([]byte, error) {
	return append(strconv.AppendInt(nil, t.Seconds, 10), decimals(t.Micros)...), nil
}

func decimals(micros int64) string {
	if micros == 0 {
		return ""
	}
	return string(sheet.AppendSeconds(nil, time.Duration(micros)*time.Microsecond)[1:]) // without its 0
}

func (r *Report) document() document {
	d := document{
		Title: r.Title(), From: r.From, To: r.To, Until: r.Until, Unfinished: r.Unfinished(), Zone: r.Zone.String(), Made: r.Now, Version: r.Version,
		Device: r.Device, Tag: r.Tag, How: r.how(), Verdict: r.verdict(), Total: meanOf(&r.Total), Together: figuresOf(r.Together),
		Sites: []site{}, Devices: []device{}, OutageCount: r.OutageCount, Outages: []outage{},
		AwayCount: r.AbsenceCount, Absences: []absence{}, Isolations: []isolation{},
	}
	for _, g := range r.Sites {
		d.Sites = append(d.Sites, site{g.Name, meanOf(&g.Total)})
	}
	for _, v := range r.Devices {
		tags := v.Tags
		if tags == nil {
			tags = []string{}
		}
		d.Devices = append(d.Devices, device{v.ID, v.Name, v.Address, tags, v.Created, v.Removed, figuresOf(v.Figures)})
	}
	for _, o := range r.Outages {
		d.Outages = append(d.Outages, outage{o.Device.ID, o.Device.Name, o.Begin, o.End, lasting(o.Down), lasting(o.Uncertainty), o.Cause, o.Reason})
	}
	for _, a := range r.Absences {
		d.Absences = append(d.Absences, absence{a.Begin, a.End, lasting(a.End.Sub(a.Begin)), lasting(a.Uncertainty), a.Cause, a.Unsure, a.Checks})
	}
	for _, i := range r.Isolations {
		d.Isolations = append(d.Isolations, isolation{i.ID, i.Opened, i.Closed, i.Reason})
	}
	return d
}

func meanOf(m *sereno.Mean) mean {
	return mean{
		Devices: m.Devices, Uptime: known(m.Uptime()), Coverage: known(m.Coverage()), Numerator: total(m.Up), Denominator: total(m.Of),
		Seen: total(m.Seen), Watchable: total(m.Watchable), Downtime: total(m.Downtime), Outages: m.Outages,
	}
}

func figuresOf(f sereno.Figures) figures {
	up, of := f.Counted()
	g := figures{
		From: f.From, To: f.To, Window: lasting(f.Window()),
		Up: lasting(f.Up), Degraded: lasting(f.Degraded), Down: lasting(f.Down), Unknown: lasting(f.Unknown),
		Maintenance: lasting(f.Maintenance), Paused: lasting(f.Paused), Behind: lasting(f.Behind),
		Uptime: known(f.Uptime()), Lowest: known(ifUnseenWereDown(f)), Numerator: lasting(up), Denominator: lasting(of), Coverage: known(f.Coverage()),
		Downtime: lasting(f.Downtime()), Outages: f.Outages, Longest: lasting(f.Longest), LastOutage: f.LastOutage,
	}
	if between, recovery, ok := f.Means(); ok {
		g.MTBF, g.MTTR = (*lasting)(&between), (*lasting)(&recovery)
	}
	return g
}
