package alert

import (
	"encoding/json"
	"fmt"
	"slices"
	"sort"
	"time"

	"sereno"
	"sereno/match"
)

// A thread is one trouble with all its returns: what was done about it and who
// knows. Its exported fields are what is kept of it.
type thread struct {
	Version  int               `json:"v"`
	ID       sereno.IncidentID `json:"id"` // of its first incident
	Incident sereno.Incident   `json:"incident"`
	Whom     *whom             `json:"whom,omitempty"` // nil for Sereno's own trouble
	Gone     bool              `json:"gone,omitempty"` // it is no longer watched
	Again    int               `json:"again"`          // how many times it opened
	First    sereno.Instant    `json:"first"`          // when its first incident opened
	Ended    sereno.Instant    `json:"ended"`          // when its end was taken in; 0 while it lasts
	Round    int               `json:"round,omitempty"`
	Restored bool              `json:"restored,omitempty"` // from a backup: whether it lasts is not known

	Acknowledged *Acknowledged `json:"acknowledged,omitempty"`
	Announced    *Acknowledged `json:"announced,omitempty"` // the latest acknowledgement that was told; At: when it was taken back, if it was
	Snoozed      *Snoozed      `json:"snoozed,omitempty"`
	Resolved     string        `json:"resolved,omitempty"`
	Changes      int           `json:"changes,omitempty"` // messages of each sort so far
	Acknowledges int           `json:"acknowledges,omitempty"`
	Snoozes      int           `json:"snoozes,omitempty"`

	Courses []*course  `json:"courses,omitempty"`
	Ears    []*ear     `json:"ears,omitempty"` // who knows of the latest incident, by channel
	Past    []*episode `json:"past,omitempty"` // earlier incidents about which messages wait

	subject match.Subject
	waiting []*parcel // by ID
	wake    sereno.Instant
	changed bool
}

const threadVersion = 1

// whom is what is known of the device and the check.
type whom struct {
	Device     sereno.DeviceID   `json:"device"`
	Name       string            `json:"name"`
	Address    string            `json:"address,omitempty"`
	Importance sereno.Importance `json:"importance"`
	Tags       []string          `json:"tags,omitempty"`
	Parents    []string          `json:"parents,omitempty"`
	CheckID    sereno.CheckID    `json:"check_id"`
	Check      string            `json:"check,omitempty"`
	Kind       string            `json:"kind,omitempty"`
}

// An episode is an earlier incident of a thread, and who knows of it.
type episode struct {
	Incident sereno.IncidentID `json:"incident"`
	Ears     []*ear            `json:"ears,omitempty"`
	Groups   map[string]string `json:"groups,omitempty"` // in which it was told, by policy
}

// An ear is what a channel was told, or is to be told, of one incident.
type ear struct {
	Channel string   `json:"channel"`
	Policy  string   `json:"policy"`        // by which it was told first
	For     string   `json:"for,omitempty"` // the channel that it stands in for
	Told    bool     `json:"told,omitempty"`
	Said    []string `json:"said"` // occasions that were promised
}

// A course is how far a policy has come with a trouble.
type course struct {
	Policy   string          `json:"policy"`
	Base     sereno.Instant  `json:"base"` // from which its steps count; 0: not begun
	Begun    sereno.Instant  `json:"begun"`
	Group    string          `json:"group,omitempty"`
	Text     string          `json:"text,omitempty"` // of the group, for a person
	Severity sereno.Severity `json:"severity,omitempty"`
	Raised   int             `json:"raised,omitempty"` // how many raises are done
	HeldFrom sereno.Instant  `json:"held_from"`        // the first thing that fell due while it was kept back; 0
	HeldWhy  string          `json:"held_why,omitempty"`
	HeldAll  bool            `json:"held_all,omitempty"` // by more than an acknowledgement
	Held     string          `json:"held,omitempty"`     // why the next message comes late
	Over     bool            `json:"over,omitempty"`     // the policy no longer speaks of this trouble
	Paces    []pace          `json:"paces,omitempty"`    // of its steps
}

// A pace is how far one step has come.
type pace struct {
	Fired    sereno.Instant `json:"fired"` // its moment; 0: not yet
	Shift    time.Duration  `json:"shift,omitempty"`
	Reminded int            `json:"reminded,omitempty"` // up to which reminder
}

// occasion names something that is told once.
func (t *thread) occasion(kind, policy string, step, n int) string {
	name := fmt.Sprintf("%s/%s/%d", kind, policy, step)
	if n > 0 {
		name = fmt.Sprintf("%s/%d", name, n)
	}
	if t.Round > 0 {
		name = fmt.Sprintf("%s+%d", name, t.Round+1)
	}
	return name
}

// learn notes whom the trouble is about.
func (t *thread) learn(c *Change) {
	if c.Device != nil {
		d := c.Device
		t.Whom = &whom{Device: d.ID, Name: d.Name, Address: d.Address, Importance: d.Importance, Tags: d.Tags, Parents: d.Parents}
		if c.Check != nil {
			t.Whom.CheckID, t.Whom.Check, t.Whom.Kind = c.Check.ID, c.Check.Name, c.Check.Kind
		}
	}
	t.Gone = t.Gone || c.Removed
}

// describe makes the subject that policies are asked about.
func (t *thread) describe() {
	var importance sereno.Importance
	t.subject = match.Of(t.device(), t.check())
	if t.Whom != nil {
		importance = t.Whom.Importance
	}
	t.subject.Status = t.Incident.Trouble.String()
	t.subject.Severity = sereno.SeverityOf(importance, t.Incident.Trouble).String()
	t.subject.Own, t.subject.About = t.Incident.Trouble.Own(), t.Incident.Subject
}

func (t *thread) severity() sereno.Severity {
	var importance sereno.Importance
	if t.Whom != nil {
		importance = t.Whom.Importance
	}
	return sereno.SeverityOf(importance, t.Incident.Trouble)
}

func (t *thread) device() *sereno.Device {
	w := t.Whom
	if w == nil {
		return nil
	}
	return &sereno.Device{ID: w.Device, Name: w.Name, Address: w.Address, Importance: w.Importance, Tags: w.Tags, Parents: w.Parents}
}

func (t *thread) check() *sereno.Check {
	w := t.Whom
	if w == nil || w.CheckID == 0 {
		return nil
	}
	return &sereno.Check{ID: w.CheckID, Device: w.Device, Name: w.Check, Kind: w.Kind}
}

func (t *thread) course(policy string) *course {
	for _, c := range t.Courses {
		if c.Policy == policy {
			return c
		}
	}
	return nil
}

// groupBy returns the group in which an incident is told by a policy.
func (t *thread) groupBy(in sereno.IncidentID, policy string) string {
	for _, p := range t.Past {
		if p.Incident == in {
			return p.Groups[policy]
		}
	}
	if c := t.course(policy); c != nil {
		return c.Group
	}
	return ""
}

// ears returns who knows of one incident of the thread.
func (t *thread) ears(in sereno.IncidentID) *[]*ear {
	if in == t.Incident.ID {
		return &t.Ears
	}
	for _, p := range t.Past {
		if p.Incident == in {
			return &p.Ears
		}
	}
	return nil
}

func (t *thread) ear(in sereno.IncidentID, channel string) *ear {
	list := t.ears(in)
	if list == nil {
		return nil
	}
	for _, one := range *list {
		if one.Channel == channel {
			return one
		}
	}
	return nil
}

// hear returns the ear of a channel, which is made if there is none.
func (t *thread) hear(in sereno.IncidentID, channel string) *ear {
	if one := t.ear(in, channel); one != nil {
		return one
	}
	one := &ear{Channel: channel}
	if list := t.ears(in); list != nil {
		i, _ := slices.BinarySearchFunc(*list, channel, func(e *ear, name string) int { return compare(e.Channel, name) })
		*list = slices.Insert(*list, i, one)
	}
	return one
}

func compare(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// knows reports whether a channel was told of an incident, or will be.
func (t *thread) knows(in sereno.IncidentID, channel string) bool {
	one := t.ear(in, channel)
	return one != nil && one.Told || t.waits(in, channel)
}

// known reports whether any channel knows of the latest incident, or is still to
// be told of it.
func (t *thread) known() bool {
	for _, one := range t.Ears {
		if t.knows(t.Incident.ID, one.Channel) {
			return true
		}
	}
	return false
}

// waits reports whether a channel is still to be told of an incident.
func (t *thread) waits(in sereno.IncidentID, channel string) bool {
	for _, p := range t.waiting {
		if p.Channel == channel && p.tells(in) {
			return true
		}
	}
	return false
}

// key is what the incidents of a thread have in common.
func key(in *sereno.Incident) threadKey {
	if in.Check != 0 {
		return threadKey{check: in.Check}
	}
	return threadKey{vantage: in.Vantage, trouble: in.Trouble, subject: in.Subject}
}

type threadKey struct {
	check   sereno.CheckID
	vantage sereno.VantageID
	trouble sereno.Trouble
	subject string
}

func (t *thread) record(done bool) Record {
	doc, err := json.Marshal(t)
	if err != nil {
		panic(err) // plain data
	}
	return Record{ID: t.ID, Done: done, Doc: doc}
}

// reset lets a course begin anew.
func (c *course) reset() {
	*c = course{Policy: c.Policy, Over: c.Over, Group: c.Group}
}

// due returns when a step, or its next reminder, is due; ok is false if nothing
// comes of it any more.
func (c *course) due(pol *policy, i int) (at sereno.Instant, reminder int, ok bool) {
	p, s := &c.Paces[i], &pol.Steps[i]
	if p.Fired == 0 {
		return c.Base.Add(s.After + p.Shift), 0, true
	}
	if p.Reminded < len(s.Remind) {
		return p.Fired.Add(s.Remind[p.Reminded] + p.Shift), p.Reminded + 1, true
	}
	return 0, 0, false
}

// release goes on after a pause: what fell due in it first comes now, and what
// follows keeps its distance. Steps that an acknowledgement does not stop went on.
func (c *course) release(pol *policy, now sereno.Instant) {
	by := now.Sub(c.HeldFrom)
	for i := range c.Paces {
		if c.Paces[i].Fired != 0 || c.HeldAll || pol.Steps[i].UnlessAcknowledged {
			c.Paces[i].Shift += by
		}
	}
	c.HeldFrom, c.HeldAll, c.Held, c.HeldWhy = 0, false, c.HeldWhy, ""
}

// spans are numbers, as stretches [first, last] in order.
type spans [][2]sereno.IncidentID

// mostSpans bounds them: what lies between the lowest is taken for seen.
const mostSpans = 1000

func (s spans) find(id sereno.IncidentID) (int, bool) {
	i := sort.Search(len(s), func(i int) bool { return s[i][1] >= id })
	return i, i < len(s) && s[i][0] <= id
}

func (s spans) has(id sereno.IncidentID) bool {
	_, in := s.find(id)
	return in
}

// add reports whether id is new.
func (s *spans) add(id sereno.IncidentID) bool {
	i, in := s.find(id)
	if in {
		return false
	}
	list := slices.Insert(*s, i, [2]sereno.IncidentID{id, id})
	if i+1 < len(list) && list[i+1][0] == id+1 {
		list[i][1] = list[i+1][1]
		list = slices.Delete(list, i+1, i+2)
	}
	if i > 0 && list[i-1][1] == id-1 {
		list[i-1][1] = list[i][1]
		list = slices.Delete(list, i, i+1)
	}
	if len(list) > mostSpans {
		list[1][0] = list[0][0]
		list = list[1:]
	}
	*s = list
	return true
}
