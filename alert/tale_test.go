package alert_test

import (
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"sereno"
	"sereno/alert"
	"sereno/maintenance"
	"sereno/notify"
)

var rewrite = flag.Bool("rewrite", false, "write what the tales in testdata tell now; read the difference before you keep it")

// A drawer is an outbox in memory: what is kept of an engine.
type drawer struct {
	cursor     int64
	last       alert.DeliveryID
	records    map[sereno.IncidentID]alert.Record
	deliveries map[alert.DeliveryID]alert.Delivery
	audit      []sereno.Audit

	fresh map[sereno.IncidentID]bool // records and deliveries that were written of late
	news  map[alert.DeliveryID]bool
}

func newDrawer() *drawer {
	return &drawer{records: map[sereno.IncidentID]alert.Record{}, deliveries: map[alert.DeliveryID]alert.Delivery{}, fresh: map[sereno.IncidentID]bool{}, news: map[alert.DeliveryID]bool{}}
}

func (d *drawer) keep(b *alert.Batch) {
	d.cursor = max(d.cursor, b.Cursor)
	for _, r := range b.Alerts {
		d.records[r.ID], d.fresh[r.ID] = r, true
	}
	for _, one := range b.Deliveries {
		one.Items = slices.Clone(one.Items)
		d.deliveries[one.ID], d.news[one.ID] = one, true
		d.last = max(d.last, one.ID)
	}
	d.audit = append(d.audit, b.Audit...)
}

func (d *drawer) load() alert.Loaded {
	l := alert.Loaded{Cursor: d.cursor, LastID: d.last}
	for _, id := range slices.Sorted(maps.Keys(d.records)) {
		if !d.records[id].Done {
			l.Alerts = append(l.Alerts, d.records[id])
		}
	}
	for _, id := range slices.Sorted(maps.Keys(d.deliveries)) {
		if d.deliveries[id].State == alert.Waiting {
			l.Waiting = append(l.Waiting, d.deliveries[id])
		}
	}
	return l
}

// A mute is a kind of channel that is never really sent by.
type mute struct{}

func (mute) Name() string                                                 { return "mute" }
func (mute) Secrets() []string                                            { return nil }
func (mute) Open(json.RawMessage, notify.Options) (notify.Channel, error) { return nil, nil }

// A tale is a night, told line by line: what is set up, what happens when, and
// which messages come of it.
type tale struct {
	t        *testing.T
	forgets  bool // the engine is made anew from what was kept after each batch
	zone     *time.Location
	now      sereno.Instant
	book     alert.Book
	devices  map[string]*sereno.Device
	names    map[sereno.IncidentID]string
	open     map[string]*sereno.Incident
	latest   map[sereno.IncidentID]alert.Change
	revision int64
	lastID   sereno.IncidentID

	started bool
	drawer  *drawer
	engine  *alert.Engine // nil: switched off
	fates   map[string]string
	flights []flight
	told    []string
}

// A flight is a message under way.
type flight struct {
	lands   sereno.Instant
	d       alert.Delivery
	outcome alert.Outcome
}

func newTale(t *testing.T, forgets bool) *tale {
	return &tale{
		t: t, forgets: forgets, zone: time.UTC, now: sereno.At(time.Date(2026, 11, 2, 0, 0, 0, 0, time.UTC)), devices: map[string]*sereno.Device{},
		names: map[sereno.IncidentID]string{}, open: map[string]*sereno.Incident{}, latest: map[sereno.IncidentID]alert.Change{},
		drawer: newDrawer(), fates: map[string]string{},
	}
}

func (s *tale) plan() *alert.Plan {
	s.t.Helper()
	p, err := s.book.Compile([]notify.Kind{mute{}}, notify.Options{})
	if err != nil {
		s.t.Fatalf("the book of the tale: %v", err)
	}
	return p
}

func (s *tale) start() {
	s.engine = alert.NewEngine(s.drawer.load(), s.plan(), s.now)
	s.commit()
	s.engine.Take(s.now, s.news())
	s.commit()
}

func (s *tale) news() []alert.Change {
	var list []alert.Change
	for _, c := range s.latest {
		list = append(list, c)
	}
	slices.SortFunc(list, func(a, b alert.Change) int { return cmp.Compare(a.Revision, b.Revision) })
	return list
}

func (s *tale) commit() {
	b := s.engine.Batch()
	if b == nil {
		return
	}
	s.drawer.keep(b)
	if s.forgets && len(s.flights) == 0 {
		s.engine = alert.NewEngine(s.drawer.load(), s.plan(), s.now)
		if b := s.engine.Batch(); b != nil {
			s.drawer.keep(b)
		}
	}
}

// advance lets time pass, and everything happen that is due by then.
func (s *tale) advance(to sereno.Instant) {
	for {
		s.send()
		next := to
		if s.engine != nil {
			if at := s.engine.Next(); at != 0 {
				next = min(next, max(at, s.now))
			}
		}
		for _, f := range s.flights {
			next = min(next, f.lands)
		}
		if next >= to {
			s.now = to
			s.land()
			if s.engine != nil {
				s.engine.Tick(s.now)
				s.commit()
				s.send()
			}
			return
		}
		if next == s.now && s.stuck() {
			s.t.Fatalf("at %s the engine wants a tick at once, again and again", s.now)
		}
		s.now = next
		s.land()
		if s.engine != nil {
			s.engine.Tick(s.now)
			s.commit()
		}
	}
}

// stuck reports whether nothing comes of a tick.
func (s *tale) stuck() bool {
	s.engine.Tick(s.now)
	b := s.engine.Batch()
	if b != nil {
		s.drawer.keep(b)
		return false
	}
	for _, c := range s.book.Channels {
		if len(s.flights) > 0 {
			return false
		}
		if d, ok := s.engine.Ready(s.now, c.Name); ok {
			s.fly(d)
			return false
		}
	}
	return true
}

func (s *tale) land() {
	for i := 0; i < len(s.flights); i++ {
		if f := s.flights[i]; f.lands <= s.now {
			s.flights = slices.Delete(s.flights, i, i+1)
			i--
			f.outcome.At = s.now
			s.tell(f)
			if s.engine != nil {
				s.engine.Tried(s.now, f.d.ID, f.outcome)
				s.commit()
			}
		}
	}
}

func (s *tale) send() {
	if s.engine == nil {
		return
	}
	for again := true; again; {
		again = false
		for _, c := range s.book.Channels {
			d, ok := s.engine.Ready(s.now, c.Name)
			b := s.engine.Batch()
			if b != nil {
				s.drawer.keep(b)
			}
			if !ok {
				continue
			}
			again = true
			s.fly(d)
			s.land()
		}
	}
}

func (s *tale) fly(d alert.Delivery) {
	f := flight{lands: s.now, d: d, outcome: alert.Outcome{Title: string(d.Event)}}
	fate, rest, _ := strings.Cut(s.fates[d.Channel], " ")
	switch fate {
	case "fails":
		f.outcome.Failure = &notify.Failure{Text: "connection refused"}
	case "refuses":
		f.outcome.Failure = &notify.Failure{Class: notify.Refused, Text: "401"}
	case "limits":
		after, err := time.ParseDuration(rest)
		s.must(err)
		f.outcome.Failure = &notify.Failure{Text: "429", After: after}
	case "hangs":
		f.lands = s.now.Add(10 * time.Second)
		f.outcome.Failure = &notify.Failure{Text: "no answer", Unsure: true}
	case "chokes": // on one device
		for _, id := range d.Incidents() {
			if s.names[id] == rest {
				f.outcome.Failure = &notify.Failure{Text: "500"}
			}
		}
	}
	s.flights = append(s.flights, f)
}

func (s *tale) stamp(at sereno.Instant) string {
	if s.zone == time.UTC {
		days := int(at.Time().Sub(time.Date(2026, 11, 2, 0, 0, 0, 0, time.UTC)) / (24 * time.Hour))
		if days > 0 {
			return fmt.Sprintf("+%dd %s", days, at.Time().Format("15:04:05"))
		}
		return at.Time().Format("15:04:05")
	}
	return at.Time().In(s.zone).Format("Mon 15:04:05 MST")
}

// tell writes down what a channel was told.
func (s *tale) tell(f flight) {
	d := f.d
	verb := ""
	switch x := f.outcome.Failure; {
	case x == nil:
	case x.Class == notify.Refused:
		verb = "REFUSES "
	case x.Unsure:
		verb = "PERHAPS "
	default:
		return
	}
	var names []string
	over := map[sereno.IncidentID]bool{}
	for _, i := range d.Items {
		if i.Occasion == "closed" {
			over[i.Incident] = true
		}
	}
	worst, again := sereno.SeverityNone, 0
	var againIn time.Duration
	for _, id := range d.Incidents() {
		name := s.names[id]
		if over[id] && d.Event != notify.Closed {
			name += "(over)"
		}
		names = append(names, name)
		if a, ok := s.engine.Alert(id); ok {
			worst = max(worst, a.SeverityIn(d.Policy))
			if a.Again > 1 {
				again, againIn = a.Again, a.AgainIn
			}
		} else {
			s.t.Errorf("no alert is known of incident %d, which is being told", id)
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	if len(names) > 6 {
		names = []string{fmt.Sprintf("%d devices", len(d.Incidents()))}
	}
	line := fmt.Sprintf("%s %s %s%s %s", s.stamp(s.now), d.Channel, verb, d.Event, strings.Join(names, " "))
	fact := func(holds bool, format string, args ...any) {
		if holds {
			line += ", " + fmt.Sprintf(format, args...)
		}
	}
	fact(worst != sereno.SeverityMedium, "%s", worst)
	fact(d.Group != "" && len(d.Incidents()) > 1, "at %s", d.Group)
	fact(again > 1, "time %d in %s", again, sereno.FormatLength(againIn))
	fact(d.Event == notify.Changed, "was %s", d.Was)
	fact(d.Step > 0, "step %d", d.Step+1)
	fact(d.Reminder > 0, "reminder %d", d.Reminder)
	fact(d.Last, "the last")
	fact(d.By != "", "by %s", d.By)
	fact(d.Note != "", "%q", d.Note)
	fact(d.Held != "", "held by %s", d.Held)
	fact(d.For != "", "for %s", d.For)
	fact(s.now.Sub(d.Due) >= time.Second && f.lands == f.d.TriedAt, "%s late", sereno.FormatLength(s.now.Sub(d.Due)))
	s.told = append(s.told, line)
}

func (s *tale) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

var clockWord = regexp.MustCompile(`^(?:(\d{4}-\d\d-\d\d) )?(\d\d:\d\d:\d\d)(?: ([A-Z]{3,4}))? (.*)$`)

// line does what one line of a tale says.
func (s *tale) line(text string) {
	s.t.Helper()
	m := clockWord.FindStringSubmatch(text)
	if m == nil {
		s.setUp(text)
		return
	}
	if !s.started {
		s.started = true
		if m[1] != "" {
			s.now = 0
			s.now = s.at(m[1], m[2], m[3])
		}
		s.start()
	}
	s.advance(s.at(m[1], m[2], m[3]))
	s.event(m[4])
	if s.engine != nil {
		s.engine.Tick(s.now)
		s.commit()
		s.send()
	}
}

// at reads a time on the wall: the next one from now on, or that of a day.
func (s *tale) at(date, clock, zone string) sereno.Instant {
	s.t.Helper()
	given := date != ""
	if !given {
		date = s.now.Time().In(s.zone).Format(time.DateOnly)
	}
	day, err := time.ParseInLocation(time.DateTime, date+" "+clock, s.zone)
	s.must(err)
	var found []sereno.Instant
	for _, plus := range []int{0, 1} {
		base := time.Date(day.Year(), day.Month(), day.Day()+plus, day.Hour(), day.Minute(), day.Second(), 0, s.zone)
		for _, shift := range []time.Duration{0, -time.Hour, time.Hour} {
			t := base.Add(shift)
			name, _ := t.Zone()
			if t.Format("15:04:05") == clock && (zone == "" || zone == name) && sereno.At(t) >= s.now {
				found = append(found, sereno.At(t))
			}
		}
		if given {
			break
		}
	}
	if len(found) == 0 {
		s.t.Fatalf("%s %s %s lies before %s", date, clock, zone, s.stamp(s.now))
	}
	return slices.Min(found)
}

// words splits a line at spaces, quotes kept together: key="a b" is one word.
func words(text string) []string {
	var list []string
	quoted, word := false, strings.Builder{}
	for _, r := range text {
		switch {
		case r == '"':
			quoted = !quoted
		case r == ' ' && !quoted:
			if word.Len() > 0 {
				list = append(list, word.String())
				word.Reset()
			}
		default:
			word.WriteRune(r)
		}
	}
	if word.Len() > 0 {
		list = append(list, word.String())
	}
	return list
}

func options(list []string) map[string]string {
	o := map[string]string{}
	for _, w := range list {
		k, v, _ := strings.Cut(w, "=")
		o[k] = v
	}
	return o
}

func (s *tale) duration(text string) time.Duration {
	s.t.Helper()
	if text == "" {
		return 0
	}
	d, err := time.ParseDuration(text)
	s.must(err)
	return d
}

func (s *tale) setUp(text string) {
	s.t.Helper()
	w := words(strings.TrimSpace(text))
	o := options(w[1:])
	var policy *alert.Policy
	if n := len(s.book.Policies); n > 0 {
		policy = &s.book.Policies[n-1]
	}
	switch w[0] {
	case "zone":
		var err error
		s.zone, err = sereno.LoadZone(w[1])
		s.must(err)
	case "channel":
		s.book.Channels = append(s.book.Channels, alert.Channel{
			Name: w[1], Kind: "mute", Fallback: o["fallback"], FallbackAfter: s.duration(o["after"]), GiveUp: s.duration(o["give_up"]),
		})
	case "device":
		s.device(w)
	case "policy":
		p := alert.Policy{Name: w[1], Match: o["match"], GroupWait: s.duration(o["wait"]), Settle: s.duration(o["settle"])}
		_, p.Continue = o["continue"]
		if o["severity"] != "" {
			s.must(p.Severity.UnmarshalText([]byte(o["severity"])))
		}
		if o["group"] != "" {
			p.GroupBy = strings.Split(o["group"], ",")
		}
		s.book.Policies = append(s.book.Policies, p)
	case "step":
		step := alert.Step{After: s.duration(w[1])}
		if c := o["to"]; c != "" {
			step.Channels = strings.Split(c, ",")
		}
		_, step.UnlessAcknowledged = o["unless"]
		for part := range strings.SplitSeq(o["remind"], ",") {
			if part != "" {
				step.Remind = append(step.Remind, s.duration(part))
			}
		}
		policy.Steps = append(policy.Steps, step)
	case "raise":
		r := alert.Raise{After: s.duration(w[1])}
		s.must(r.To.UnmarshalText([]byte(w[2])))
		policy.Raise = append(policy.Raise, r)
	case "quiet":
		from, to, _ := strings.Cut(w[1], "-")
		q := alert.Quiet{From: from, To: to, Zone: cmp.Or(o["zone"], s.zone.String()), Except: o["except"]}
		if o["days"] != "" {
			q.Days = strings.Split(o["days"], ",")
		}
		policy.Quiet = append(policy.Quiet, q)
	case "window":
		s.book.Windows = append(s.book.Windows, maintenance.Window{
			Name: w[1], Match: o["match"], RRule: o["rrule"], Start: o["start"], Zone: s.zone.String(), Length: s.duration(o["length"]),
		})
	default:
		s.t.Fatalf("%q is nothing that a tale can set up", text)
	}
}

func (s *tale) device(w []string) {
	o := options(w[2:])
	d := &sereno.Device{ID: sereno.DeviceID(len(s.devices) + 1), Name: w[1], Address: "192.0.2.1"}
	if o["importance"] != "" {
		s.must(d.Importance.UnmarshalText([]byte(o["importance"])))
	}
	if o["tags"] != "" {
		d.Tags = strings.Split(o["tags"], ",")
	}
	if o["parents"] != "" {
		d.Parents = strings.Split(o["parents"], ",")
	}
	d.Checks = []sereno.Check{{ID: sereno.CheckID(d.ID), Device: d.ID, Name: "icmp", Kind: "icmp"}}
	s.devices[d.Name] = d
}

// change writes an incident's next version down.
func (s *tale) change(in sereno.Incident, name string, removed bool) {
	s.revision++
	c := alert.Change{Revision: s.revision, Incident: in, Removed: removed}
	if d := s.devices[name]; d != nil {
		c.Device, c.Check = d, &d.Checks[0]
	}
	s.latest[in.ID] = c
	s.names[in.ID] = name
	if in.Closed == 0 {
		s.open[name] = &in
	} else {
		delete(s.open, name)
	}
	if s.engine != nil {
		s.engine.Take(s.now, s.news())
		s.commit()
	}
}

func (s *tale) incident(name string, trouble sereno.Trouble) sereno.Incident {
	if in := s.open[name]; in != nil {
		return *in
	}
	s.lastID++
	in := sereno.Incident{ID: s.lastID, Trouble: trouble, Opened: s.now}
	if d := s.devices[name]; d != nil {
		in.Device, in.Check = d.ID, d.Checks[0].ID
	} else if _, subject, ok := strings.Cut(name, ":"); ok {
		in.Subject = subject
	}
	return in
}

// event does what happens at a time.
func (s *tale) event(text string) {
	s.t.Helper()
	w := words(text)
	switch {
	case w[0] == "-":
		return // only time passes
	case w[0] == "sereno":
		s.sereno(w[1:])
		return
	case slices.Contains([]string{"works", "fails", "refuses", "hangs", "limits", "chokes"}, w[1]):
		s.fates[w[0]] = strings.Join(w[1:], " ")
		return
	case slices.Contains([]string{"acknowledges", "unacknowledges", "snoozes", "unsnoozes", "resolves", "comments"}, w[1]):
		s.order(w)
		return
	}
	for _, name := range s.many(w[0]) {
		s.trouble(name, w[1], w[2:])
	}
}

// many is "p1", "p2" … for "p[1-30]".
func (s *tale) many(word string) []string {
	prefix, rest, ok := strings.Cut(word, "[")
	if !ok {
		return []string{word}
	}
	from, to, _ := strings.Cut(strings.TrimSuffix(rest, "]"), "-")
	a, err := strconv.Atoi(from)
	s.must(err)
	b, err := strconv.Atoi(to)
	s.must(err)
	var names []string
	for i := a; i <= b; i++ {
		names = append(names, prefix+strconv.Itoa(i))
	}
	return names
}

func (s *tale) trouble(name, word string, rest []string) {
	s.t.Helper()
	own, _, _ := strings.Cut(name, ":")
	var trouble sereno.Trouble
	isOwn := trouble.UnmarshalText([]byte(own)) == nil && trouble.Own()
	if s.devices[name] == nil && !isOwn {
		s.device([]string{"device", name})
	}
	switch word {
	case "up", "mended":
		in := s.incident(name, trouble)
		in.Closed = s.now
		s.change(in, name, false)
	case "removed":
		in := s.incident(name, trouble)
		in.Closed = s.now
		s.change(in, name, true)
	case "blips":
		in := s.incident(name, trouble)
		in.Opened, in.Closed = s.now.Add(-s.duration(rest[0])), s.now
		s.change(in, name, false)
	case "alone":
		in := s.incident(name, trouble)
		in.Under = 0
		s.change(in, name, false)
	case "breaks":
		s.change(s.incident(name, trouble), name, false)
	default:
		in := s.incident(name, trouble)
		s.must(in.Trouble.UnmarshalText([]byte(word)))
		if len(rest) > 1 && rest[0] == "under" {
			in.Under = s.open[rest[1]].ID
		}
		s.change(in, name, false)
	}
}

func (s *tale) order(w []string) {
	s.t.Helper()
	o := alert.Order{Action: strings.TrimSuffix(w[1], "s"), Who: w[0], Via: "api"}
	names := s.many(w[2])
	latest := map[string]sereno.IncidentID{}
	for id, n := range s.names {
		latest[n] = max(latest[n], id)
	}
	o.Incident = latest[names[0]]
	for i := 3; i < len(w); i++ {
		if w[i] == "for" {
			i++
			o.Until = s.now.Add(s.duration(w[i]))
			continue
		}
		o.Text = w[i]
	}
	do := func() error { return s.engine.Do(s.now, o) }
	if len(names) > 1 { // all that one message told of
		do = func() error {
			ids := make([]sereno.IncidentID, len(names))
			for i, name := range names {
				ids[i] = latest[name]
			}
			done, err := s.engine.DoAll(s.now, o, ids)
			if err == nil && len(done) < len(ids) {
				err = fmt.Errorf("%d of %d", len(done), len(ids))
			}
			return err
		}
	}
	if err := do(); err != nil {
		s.told = append(s.told, fmt.Sprintf("%s %s hears: %v", s.stamp(s.now), w[0], err))
	}
	s.commit()
}

// sereno is what happens to Sereno itself.
func (s *tale) sereno(w []string) {
	s.t.Helper()
	set := func() {
		if s.engine != nil {
			s.engine.SetPlan(s.now, s.plan())
			s.commit()
		}
	}
	switch w[0] {
	case "off": // killed
		s.engine, s.flights = nil, nil
	case "on":
		s.start()
	case "restarts":
		s.engine, s.flights = nil, nil
		s.start()
	case "restored": // from a backup that was made just before
		s.flights = nil
		for id, d := range s.drawer.deliveries {
			if d.State == alert.Waiting {
				d.State = alert.Dropped
				s.drawer.deliveries[id] = d
			}
		}
		l := s.drawer.load()
		l.Restored = s.now
		s.engine = alert.NewEngine(l, s.plan(), s.now)
		s.commit()
	case "sets":
		s.setUp(strings.Join(w[1:], " "))
		set()
	case "silences":
		o := options(w[2:])
		s.book.Silences = append(s.book.Silences, alert.Silence{Name: w[1], Match: o["match"], Until: s.now.Add(s.duration(o["for"]))})
		set()
	case "unsilences":
		s.book.Silences = slices.DeleteFunc(s.book.Silences, func(one alert.Silence) bool { return one.Name == w[1] })
		set()
	case "loses": // a channel
		s.book.Channels = slices.DeleteFunc(s.book.Channels, func(c alert.Channel) bool { return c.Name == w[1] })
		set()
	case "renames": // a policy
		for i := range s.book.Policies {
			if s.book.Policies[i].Name == w[1] {
				s.book.Policies[i].Name = w[2]
			}
		}
		set()
	default:
		s.t.Fatalf("sereno cannot %s", w[0])
	}
}

// play plays a script and returns what was told.
func play(t *testing.T, script string, forgets bool) (transcript string) {
	t.Helper()
	s := newTale(t, forgets)
	for line := range strings.Lines(script) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			s.line(line)
		}
	}
	if len(s.told) == 0 {
		return "nothing\n"
	}
	return strings.Join(s.told, "\n") + "\n"
}

// Each tale is a file, or a part of one: a rule after ==, the script, and after
// --- the transcript of all messages. It is told twice, once by an engine that
// lives through it and once by one that is made anew after each batch.
func TestTales(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no tales", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var written strings.Builder
		parts := strings.Split(string(text), "\n== ")
		written.WriteString(parts[0])
		if !strings.HasPrefix(parts[0], "#") {
			t.Errorf("%s begins with words for a reader", file)
		}
		for _, part := range parts[1:] {
			rule, rest, _ := strings.Cut(part, "\n")
			script, want, _ := strings.Cut(rest, "\n---\n")
			got := ""
			t.Run(rule, func(t *testing.T) {
				got = play(t, script, false)
				if strings.TrimSpace(got) != strings.TrimSpace(want) && !*rewrite {
					t.Errorf("%s\ntold\n%s\nand not\n%s", rule, got, want)
				}
				if again := play(t, script, true); again != got {
					t.Errorf("%s\nan engine made anew after each batch told\n%s\nand not\n%s", rule, again, got)
				}
			})
			if got == "" { // it was not asked for
				got = want
			}
			fmt.Fprintf(&written, "\n== %s\n%s\n---\n%s", rule, script, got)
		}
		if *rewrite && written.String() != string(text) {
			if err := os.WriteFile(file, []byte(written.String()), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}
