package api

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sereno"
	"sereno/alert"
	"sereno/ledger"
	"sereno/notify"
	"sereno/probe"
)

// An office is the API over a real store and a real engine, which goes on only
// when turn is called. Every channel takes what it gets, but for those in deaf.
type office struct {
	*world
	mu     sync.Mutex // over engine and wishes
	engine *alert.Engine
	plan   *alert.Plan
	cursor int64
	deaf   map[string]string
	signer keyed
	fail   error                      // what every wish comes back with
	wishes []alert.Order              // that were carried out
	lasts  map[sereno.IncidentID]bool // cannot be resolved
}

type quietKind struct{}

func (quietKind) Name() string      { return "quiet" }
func (quietKind) Secrets() []string { return nil }
func (quietKind) Open(json.RawMessage, notify.Options) (notify.Channel, error) {
	return quietChannel{}, nil
}

type quietChannel struct{}

func (quietChannel) Send(context.Context, notify.Message) error { return nil }

type keyed string

func (k keyed) Sign(purpose string, message []byte) ([]byte, error) {
	h := hmac.New(sha256.New, []byte(string(k)+purpose))
	h.Write(message)
	return h.Sum(nil), nil
}

func (k keyed) Verify(purpose string, message, signed []byte) bool {
	own, _ := k.Sign(purpose, message)
	return hmac.Equal(own, signed)
}

// newOffice watches core-sw1 at plant1, and ap-1 to ap-3, which tell in groups.
func newOffice(t *testing.T) *office {
	t.Helper()
	o := &office{world: newWorld(t), deaf: map[string]string{}, signer: "key", lasts: map[sereno.IncidentID]bool{}}
	book := alert.Book{
		URL: "https://sereno.example", Zone: "Europe/Berlin",
		Channels: []alert.Channel{{Name: "hook", Kind: "quiet"}, {Name: "mail", Kind: "quiet"}},
		Policies: []alert.Policy{{
			Name: "default", GroupWait: 2 * time.Second, GroupBy: []string{"status"},
			Steps: []alert.Step{{Channels: []string{"hook"}, Remind: []time.Duration{10 * time.Minute, 30 * time.Minute}}, {After: 15 * time.Minute, UnlessAcknowledged: true, Channels: []string{"mail"}}},
		}},
	}
	var err error
	if o.plan, err = book.Compile([]notify.Kind{quietKind{}}, notify.Options{}); err != nil {
		t.Fatal(err)
	}
	loaded, err := o.LoadAlerts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	o.engine = alert.NewEngine(loaded, o.plan, o.now)
	o.Handler = New(Options{
		Plan: o, Facts: o.Store, Watch: o, Figures: o.Store, Kinds: []probe.Kind{fakeKind{}}, Version: "test",
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Now: func() sereno.Instant { return o.now },
		Alerts: o, Told: o.Store, Signer: o.signer,
		Resolve: func(_ context.Context, id sereno.IncidentID) error {
			if o.lasts[id] {
				return sereno.Errorf(sereno.Conflict, "incident %d lasts", id)
			}
			o.close(id)
			return nil
		},
	})
	for i, name := range []string{"core-sw1", "ap-1", "ap-2", "ap-3"} {
		doc := fmt.Sprintf(`{"name":%q,"address":"10.0.0.%d"}`, name, i+1)
		if i == 0 {
			doc = `{"name":"core-sw1","address":"10.0.0.1","importance":"critical","tags":["site:plant1"]}`
		}
		o.do(201, "POST", "/api/devices", doc, nil)
	}
	return o
}

func (o *office) Plan() *alert.Plan { return o.plan }

func (o *office) Alert(_ context.Context, id sereno.IncidentID) (alert.Alert, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if a, ok := o.engine.Alert(id); ok {
		return a, o.fail
	}
	return alert.Alert{}, cmp.Or(o.fail, sereno.Errorf(sereno.NotFound, "no alert speaks of it"))
}

func (o *office) Do(ctx context.Context, order alert.Order) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.fail != nil {
		return o.fail
	}
	if err := o.engine.Do(o.now, order); err != nil {
		return err
	}
	o.wishes = append(o.wishes, order)
	return o.Promise(ctx, o.engine.Batch())
}

func (o *office) DoAll(ctx context.Context, order alert.Order, ids []sereno.IncidentID) ([]sereno.IncidentID, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.fail != nil {
		return nil, o.fail
	}
	done, err := o.engine.DoAll(o.now, order, ids)
	if err != nil {
		return nil, err
	}
	for _, order.Incident = range done {
		o.wishes = append(o.wishes, order)
	}
	return done, o.Promise(ctx, o.engine.Batch())
}

func (o *office) AlertsOf(_ context.Context, ids []sereno.IncidentID) (map[sereno.IncidentID]alert.Alert, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	all := map[sereno.IncidentID]alert.Alert{}
	for _, id := range ids {
		if a, ok := o.engine.Alert(id); ok {
			all[id] = a
		}
	}
	return all, o.fail
}

// turn lets a time pass, and everything happen that is due then.
func (o *office) turn(after time.Duration) {
	o.t.Helper()
	o.now = o.now.Add(after)
	ctx := o.t.Context()
	promise := func() {
		if b := o.engine.Batch(); b != nil {
			if err := o.Promise(ctx, b); err != nil {
				o.t.Fatal(err)
			}
		}
	}
	changes, err := o.Changes(ctx, o.cursor, 1000)
	if err != nil {
		o.t.Fatal(err)
	}
	if len(changes) > 0 {
		o.cursor = changes[len(changes)-1].Revision
		o.engine.Take(o.now, changes)
	}
	o.engine.Tick(o.now)
	promise()
	for _, channel := range o.plan.Channels() {
		for {
			d, ok := o.engine.Ready(o.now, channel)
			if !ok {
				break
			}
			promise()
			out := alert.Outcome{At: o.now, Title: "title of " + string(d.Event)}
			if why := o.deaf[channel]; why != "" {
				out.Failure = &notify.Failure{Text: why}
			}
			o.engine.Tried(o.now, d.ID, out)
			promise()
		}
	}
}

// down opens an incident of a device, with the id of the device.
func (o *office) down(devices ...sereno.DeviceID) {
	o.t.Helper()
	var e ledger.Entry
	for _, id := range devices {
		d, err := o.Device(o.t.Context(), id)
		if err != nil {
			o.t.Fatal(err)
		}
		e.Incidents = append(e.Incidents, sereno.Incident{
			ID: sereno.IncidentID(id), Device: id, Check: d.Checks[0].ID, Opened: o.now, Reason: "no reply in 1s",
		})
	}
	if err := o.Commit(o.t.Context(), &e); err != nil {
		o.t.Fatal(err)
	}
}

func (o *office) close(ids ...sereno.IncidentID) {
	o.t.Helper()
	var e ledger.Entry
	for _, id := range ids {
		in, err := o.IncidentByID(o.t.Context(), id)
		if err != nil {
			o.t.Fatal(err)
		}
		in.Closed = o.now
		e.Incidents = append(e.Incidents, in)
	}
	if err := o.Commit(o.t.Context(), &e); err != nil {
		o.t.Fatal(err)
	}
}

// refused sends a request that must not be granted, and returns why.
func (o *office) refused(code int, method, path, body string) string {
	o.t.Helper()
	var problem struct{ Detail string }
	o.do(code, method, path, body, &problem)
	return problem.Detail
}

func TestAnIncidentAndWhatPeopleDoAboutIt(t *testing.T) {
	o := newOffice(t)
	o.down(1)
	o.turn(time.Second)
	var d IncidentDetail
	o.do(200, "GET", "/api/incidents/1", "", &d)
	if d.Severity != sereno.SeverityCritical || d.Device.Name != "core-sw1" || *d.Check != "icmp" || d.Acknowledged != nil || len(d.Timeline) != 0 {
		t.Fatalf("at first: %+v", d)
	}
	if len(d.Alerts) != 1 || d.Alerts[0].State != alert.Waiting || d.Alerts[0].Channel != "hook" || d.Alerts[0].Tries != 0 || d.Alerts[0].Delivered != nil {
		t.Fatalf("what is promised: %+v", d.Alerts)
	}
	o.turn(2 * time.Second)
	o.do(200, "GET", "/api/incidents/1", "", &d)
	sent := d.Alerts[0]
	if sent.State != alert.Delivered || sent.Tries != 1 || *sent.Delivered != o.now || sent.Title != "title of opened" || sent.Count != 1 ||
		*sent.Incidents[0].Device != "core-sw1" || !slices.Equal(sent.Incidents[0].Occasion, []string{"opened/default/0"}) {
		t.Fatalf("what was delivered: %+v", sent)
	}
	if a := d.Alert; !slices.Equal(a.Told, []string{"hook"}) || len(a.Pending) != 0 || a.Held != "" || len(a.Next) != 3 || a.Next[0].Reminder != 1 || a.Next[0].Of != 2 || !slices.Equal(a.Next[1].Channels, []string{"mail"}) {
		t.Fatalf("what comes: %+v", a)
	}

	until := o.now.Add(2 * time.Hour)
	d = IncidentDetail{}
	o.do(200, "POST", "/api/incidents/1/acknowledge", `{"comment":"  on my way ","by":"anna","for_seconds":7200}`, &d)
	want := &Acknowledged{By: "anna (192.0.2.1)", Via: "api", Note: "on my way", At: o.now, Until: until}
	if !reflect.DeepEqual(d.Acknowledged, want) {
		t.Fatalf("acknowledged: %+v, want %+v", d.Acknowledged, want)
	}
	if len(d.Timeline) != 1 || d.Timeline[0].Who != want.By || d.Timeline[0].Action != "acknowledge" || d.Timeline[0].Text != "on my way" || d.Timeline[0].At != o.now {
		t.Fatalf("the timeline: %+v", d.Timeline)
	}
	var list Page[Incident]
	o.do(200, "GET", "/api/incidents?open=true", "", &list)
	if len(list.Items) != 1 || !reflect.DeepEqual(list.Items[0].Acknowledged, want) || list.Items[0].Alert == nil {
		t.Fatalf("in the list: %+v", list.Items)
	}

	for _, action := range []string{"unacknowledge", "snooze", "unsnooze", "comment"} {
		body := cmp.Or(map[string]string{"snooze": `{"until":"2026-11-21T20:00:00Z"}`, "comment": `{"comment":"the fibre was cut"}`}[action], "{}")
		d = IncidentDetail{}
		o.do(200, "POST", "/api/incidents/1/"+action, body, &d)
		if d.Acknowledged != nil {
			t.Errorf("after %s it is acknowledged", action)
		}
		if snoozed := d.Alert.Snoozed != nil; snoozed != (action == "snooze") {
			t.Errorf("after %s: snoozed %t", action, snoozed)
		}
	}
	if got := len(d.Timeline); got != 5 || d.Timeline[4].Who != "192.0.2.1" || d.Timeline[4].Text != "the fibre was cut" {
		t.Errorf("the timeline: %+v", d.Timeline)
	}

	o.lasts[1] = true
	if said := o.refused(409, "POST", "/api/incidents/1/resolve", "{}"); said != "incident 1 lasts" {
		t.Errorf("resolve: %s", said)
	}
	o.close(1)
	o.turn(5 * time.Second)
	d = IncidentDetail{}
	o.do(200, "GET", "/api/incidents/1", "", &d)
	if last := d.Alerts[len(d.Alerts)-1]; last.Event != notify.Closed || d.Closed.IsZero() {
		t.Errorf("at the end: %+v", last)
	}
	if said := o.refused(409, "POST", "/api/incidents/1/acknowledge", "{}"); !strings.HasPrefix(said, "incident 1 is over since Sat 21 Nov 2026 ") {
		t.Errorf("acknowledge: %s", said)
	}
	o.do(200, "POST", "/api/incidents/1/comment", `{"comment":"it was the fibre"}`, &d)
	if got := len(d.Timeline); got != 6 {
		t.Errorf("what is known afterwards can be noted: %+v", d.Timeline)
	}
}

func TestResolve(t *testing.T) {
	o := newOffice(t)
	o.down(2)
	o.turn(time.Second)
	o.turn(2 * time.Second)
	var d IncidentDetail
	o.do(200, "POST", "/api/incidents/2/resolve", `{"comment":"it was unplugged","by":"anna"}`, &d)
	if d.Closed != o.now || len(d.Timeline) != 1 || d.Timeline[0].Action != "resolve" || d.Timeline[0].Text != "it was unplugged" {
		t.Errorf("got %+v", d)
	}
	o.turn(5 * time.Second)
	o.do(200, "GET", "/api/incidents/2", "", &d)
	var told []string
	for _, a := range d.Alerts {
		told = append(told, fmt.Sprintf("%s %s %s", a.Event, a.State, a.By))
	}
	if want := []string{"opened delivered ", "closed delivered anna (192.0.2.1)"}; !slices.Equal(told, want) {
		t.Errorf("told %q, want %q", told, want)
	}

	// What nobody was told of is resolved and noted, too.
	if err := o.Commit(t.Context(), &ledger.Entry{Incidents: []sereno.Incident{{ID: 9, Trouble: sereno.TroubleChannel, Subject: "gone", Opened: o.now}}}); err != nil {
		t.Fatal(err)
	}
	d = IncidentDetail{}
	o.do(200, "POST", "/api/incidents/9/resolve", "{}", &d)
	if d.Closed != o.now || d.Subject != "gone" || d.Device != nil || len(d.Timeline) != 1 || d.Severity != sereno.SeverityHigh {
		t.Errorf("got %+v", d)
	}
}

func TestWishesThatMakeNoSense(t *testing.T) {
	o := newOffice(t)
	o.down(1)
	o.turn(3 * time.Second)
	for _, c := range []struct {
		action, body string
		code         int
		want         string
	}{
		{"snooze", `{}`, 422, "until: say how long, with until or for_seconds"},
		{"snooze", `{"for_seconds":-5}`, 422, "for_seconds: a time from now is longer than nothing"},
		{"snooze", `{"for_seconds":40000000}`, 422, "for_seconds: a year is the longest; what is to be ignored for ever is not to be watched"},
		{"snooze", `{"for_seconds":1e9}`, 422, "for_seconds: a year is the longest; what is to be ignored for ever is not to be watched"},
		{"snooze", `{"until":"2020-01-01T00:00:00Z"}`, 422, "until: 2020-01-01T00:00:00.000000Z is past"},
		{"snooze", `{"until":"2026-11-22T00:00:00Z","for_seconds":5}`, 422, "for_seconds: say either until or for_seconds"},
		{"snooze", `{"until":"soon"}`, 422, `until: expected string to be RFC 3339 date-time`},
		{"resolve", `{"for_seconds":5}`, 422, "for_seconds: only snooze and acknowledge have an end"},
		{"comment", `{"comment":"  "}`, 422, "comment: say what there is to say"},
		{"comment", `{"comment":"` + strings.Repeat("x", 1001) + `"}`, 422, "comment: expected length <= 1000"},
		{"acknowledge", `{"coment":"x"}`, 422, "coment: unexpected property"},
		{"acknowledge", `[]`, 422, ""},
		{"unacknowledge", `{}`, 409, "incident 1 is not acknowledged"},
		{"unsnooze", `{}`, 409, "incident 1 is not snoozed"},
		{"forget", `{}`, 404, "there is nothing at this address; the list is at /"},
	} {
		if got := o.refused(c.code, "POST", "/api/incidents/1/"+c.action, c.body); c.want != "" && !strings.HasPrefix(got, c.want) {
			t.Errorf("%s %s: %s, want %s", c.action, c.body, got, c.want)
		}
	}
	for _, action := range actions {
		body := cmp.Or(map[string]string{"snooze": `{"for_seconds":60}`, "comment": `{"comment":"x"}`}[action.name], "{}")
		if got := o.refused(404, "POST", "/api/incidents/77/"+action.name, body); got != "there is no incident 77" {
			t.Errorf("%s: %s", action.name, got)
		}
	}
	none := request("POST", "/api/incidents/1/snooze", "")
	none.Header.Set("Content-Type", "application/json")
	if answer := serve(o, none); answer.Code != 422 || !strings.Contains(answer.Body.String(), "say how long") {
		t.Errorf("a wish without a body: %d %s", answer.Code, answer.Body)
	}
	o.refused(404, "GET", "/api/incidents/77", "")
	o.refused(404, "GET", "/api/alerts/77", "")
	o.refused(404, "POST", "/api/alerts/77/acknowledge", "{}")
	o.refused(422, "GET", "/api/incidents/0", "")
	o.refused(422, "GET", "/api/alerts?state=delivered,lost", "")
	o.refused(422, "GET", "/api/alerts?open=true&state=delivered", "")
	o.refused(422, "GET", "/api/alerts?cursor=x", "")
	if len(o.wishes) != 0 {
		t.Errorf("carried out: %+v", o.wishes)
	}
	o.fail = sereno.Errorf(sereno.Unavailable, "what was promised is still being read")
	if got := o.refused(503, "POST", "/api/incidents/1/acknowledge", "{}"); got != "what was promised is still being read" {
		t.Errorf("too early: %s", got)
	}
	o.do(200, "GET", "/api/incidents/1", "", nil) // what is written down can be read
	o.do(200, "GET", "/api/incidents?open=true", "", nil)
}

func TestADeliveryIsAcknowledged(t *testing.T) {
	o := newOffice(t)
	o.down(2, 3, 4)
	o.turn(3 * time.Second)
	var list Page[Alert]
	o.do(200, "GET", "/api/alerts", "", &list)
	if len(list.Items) != 1 || list.Items[0].Count != 3 || len(list.Items[0].Incidents) != 3 {
		t.Fatalf("promised: %+v", list.Items)
	}
	o.close(3)
	o.turn(time.Second)
	path := fmt.Sprintf("/api/alerts/%d/acknowledge", list.Items[0].ID)
	var done Acknowledgement
	o.do(200, "POST", path, `{"comment":"power cut"}`, &done)
	if want := (Acknowledgement{[]sereno.IncidentID{2, 4}, []sereno.IncidentID{3}}); !reflect.DeepEqual(done, want) {
		t.Errorf("got %+v, want %+v", done, want)
	}
	var d IncidentDetail
	o.do(200, "GET", "/api/incidents/4", "", &d)
	if d.Acknowledged == nil || d.Acknowledged.Note != "power cut" {
		t.Errorf("got %+v", d.Acknowledged)
	}
	o.close(2, 4)
	o.turn(time.Second)
	if got := o.refused(409, "POST", path, "{}"); got != "there is nothing to acknowledge any more: all of it is over, or acknowledged" {
		t.Errorf("got %s", got)
	}
	o.fail = errors.New("broken")
	o.refused(500, "POST", path, "{}")
}

func TestAlertsAreListed(t *testing.T) {
	o := newOffice(t)
	o.deaf["mail"] = "535 wrong password"
	for id := range sereno.DeviceID(4) {
		o.down(id + 1)
		o.turn(3 * time.Second)
		o.turn(16 * time.Minute)
	}
	ids := func(query string) (ids []alert.DeliveryID) {
		for cursor := ""; ; {
			var list Page[Alert]
			o.do(200, "GET", "/api/alerts?limit=2"+query+cursor, "", &list)
			for _, a := range list.Items {
				ids = append(ids, a.ID)
			}
			if list.NextCursor == nil {
				return ids
			}
			cursor = "&cursor=" + *list.NextCursor
		}
	}
	all := ids("")
	if len(all) < 8 || !slices.IsSortedFunc(all, func(a, b alert.DeliveryID) int { return int(b - a) }) {
		t.Fatalf("all: %v", all)
	}
	for _, c := range []struct {
		query string
		holds func(Alert) bool
	}{
		{"&open=true", func(a Alert) bool { return a.State == alert.Waiting }},
		{"&state=waiting", func(a Alert) bool { return a.State == alert.Waiting }},
		{"&state=delivered,merged", func(a Alert) bool { return a.State == alert.Delivered || a.State == alert.Merged }},
		{"&channel=mail", func(a Alert) bool { return a.Channel == "mail" }},
		{"&incident_id=2", func(a Alert) bool {
			return slices.ContainsFunc(a.Incidents, func(i AlertIncident) bool { return i.ID == 2 })
		}},
		{"&from=" + noon.Add(20*time.Minute).String(), func(a Alert) bool { return a.Promised >= noon.Add(20*time.Minute) }},
		{"&to=" + noon.Add(20*time.Minute).String(), func(a Alert) bool { return a.Promised < noon.Add(20*time.Minute) }},
	} {
		var want []alert.DeliveryID
		for _, id := range all {
			var a Alert
			o.do(200, "GET", fmt.Sprintf("/api/alerts/%d", id), "", &a)
			if c.holds(a) {
				want = append(want, id)
			}
		}
		if got := ids(c.query); !slices.Equal(got, want) || len(want) == 0 || len(want) == len(all) {
			t.Errorf("%s: got %v, want %v of %v", c.query, got, want, all)
		}
	}
	var list Page[Alert]
	o.do(200, "GET", "/api/alerts?channel=mail&open=true", "", &list)
	if a := list.Items[len(list.Items)-1]; a.Answer != "535 wrong password" || a.Tries == 0 || a.Next.IsZero() || a.Delivered != nil || time.Duration(a.Late) <= 0 {
		t.Errorf("one that is not taken: %+v", a)
	}
}

func TestTheAuditTrailIsListed(t *testing.T) {
	o := newOffice(t)
	o.down(1, 2)
	o.turn(3 * time.Second)
	o.do(200, "POST", "/api/incidents/1/acknowledge", `{"by":"anna"}`, nil)
	o.now = o.now.Add(time.Minute)
	o.do(200, "POST", "/api/incidents/2/snooze", `{"for_seconds":60,"by":"ben"}`, nil)
	o.do(200, "POST", "/api/incidents/2/comment", `{"comment":"c"}`, nil)
	list := func(query string) string {
		var p Page[AuditEntry]
		o.do(200, "GET", "/api/audit"+query, "", &p)
		var b strings.Builder
		for _, e := range p.Items {
			fmt.Fprintf(&b, "%s %s %s; ", e.Action, e.Target, e.Of)
			if e.Action == "snooze" != (string(e.Detail) != "null") {
				t.Errorf("%s has the detail %s", e.Action, e.Detail)
			}
		}
		return b.String()
	}
	for query, want := range map[string]string{
		"":                             "comment incident 2; snooze incident 2; acknowledge incident 1; ",
		"?limit=1":                     "comment incident 2; ",
		"?target=incident&of=1":        "acknowledge incident 1; ",
		"?action=snooze":               "snooze incident 2; ",
		"?who=" + "anna%20(192.0.2.1)": "acknowledge incident 1; ",
		"?who=anna":                    "",
		"?from=" + o.now.String():      "comment incident 2; snooze incident 2; ",
		"?to=" + o.now.String():        "acknowledge incident 1; ",
		"?target=channel":              "",
	} {
		if got := list(query); got != want {
			t.Errorf("%s: got %s, want %s", query, got, want)
		}
	}
}

func TestWithoutAlertsThereIsNothingToAsk(t *testing.T) {
	w := newWorld(t)
	for _, path := range []string{"/api/alerts", "/api/audit", "/api/incidents/1", "/a/x"} {
		if answer := serve(w, request(http.MethodGet, path, "")); answer.Code != 404 {
			t.Errorf("%s: %d", path, answer.Code)
		}
	}
}
