package api

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"sereno"
	"sereno/ledger"
	"sereno/probe"
	"sereno/store"
)

// A world is the API over a real store. Its clock stands at now; what the
// ledger would know of checks is in live.
type world struct {
	*store.Store
	http.Handler
	t    testing.TB
	now  sereno.Instant
	live map[sereno.CheckID]ledger.Live

	options Options // that it was made from
}

func newWorld(t testing.TB) *world {
	t.Helper()
	s, err := store.Open(context.Background(), "sqlite:"+filepath.Join(t.TempDir(), "sereno.db"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	w := &world{Store: s, t: t, now: noon, live: map[sereno.CheckID]ledger.Live{}}
	w.options = Options{
		Plan: w, Facts: s, Watch: w, Figures: s, Kinds: []probe.Kind{fakeKind{}}, Version: "test",
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Now: func() sereno.Instant { return w.now },
	}
	w.Handler = New(w.options)
	return w
}

func (w *world) Add(ctx context.Context, devices []sereno.Device) ([]sereno.Device, error) {
	return w.AddDevices(ctx, devices, w.now)
}

func (w *world) Replace(ctx context.Context, d sereno.Device) (sereno.Device, error) {
	_, d, err := w.ReplaceDevice(ctx, d, w.now)
	return d, err
}

func (w *world) Remove(ctx context.Context, id sereno.DeviceID) error {
	_, err := w.RemoveDevice(ctx, id, w.now)
	return err
}

func (w *world) Purge(ctx context.Context, id sereno.DeviceID) error {
	_, err := w.Store.Purge(ctx, id)
	return err
}

func (w *world) Live(_ context.Context, checks []sereno.CheckID) (live []ledger.Live, err error) {
	for _, id := range checks {
		if l, ok := w.live[id]; ok {
			live = append(live, l)
		}
	}
	return live, nil
}

func (w *world) Statistics(context.Context) (ledger.Statistics, error) {
	return ledger.Statistics{
		Since: noon.Add(-time.Hour), Now: w.now, Settled: w.now,
		Checks: map[sereno.Status]int{sereno.Up: 3, sereno.Down: 1}, Devices: map[sereno.Status]int{sereno.Unknown: 2},
		Looks: map[string]ledger.Outcomes{"icmp": {Answered: 10, Lost: 2, Faults: 1}}, Incidents: 1,
	}, nil
}

// do sends a request, requires the code of the answer, and reads it into to.
func (w *world) do(code int, method, path, body string, to any) http.Header {
	w.t.Helper()
	answer := serve(w, request(method, path, body))
	if answer.Code != code {
		w.t.Fatalf("%s %s: %d, want %d: %s", method, path, answer.Code, code, answer.Body)
	}
	if to != nil {
		if err := json.Unmarshal(answer.Body.Bytes(), to); err != nil {
			w.t.Fatalf("%s %s: %v: %s", method, path, err, answer.Body)
		}
	}
	return answer.Header()
}

func TestADeviceLivesItsLife(t *testing.T) {
	w := newWorld(t)
	var added, got Device
	header := w.do(201, "POST", "/api/devices", `{"name":"core-sw1","address":"10.0.0.1","importance":"critical","tags":["site:plant1","rack:3"]}`, &added)
	if want := fmt.Sprintf("/api/devices/%d", added.ID); header.Get("Location") != want {
		t.Errorf("Location %q, want %q", header.Get("Location"), want)
	}
	path := header.Get("Location")
	w.do(200, "GET", path, "", &got)
	if !reflect.DeepEqual(got, added) {
		t.Errorf("GET gives %+v, POST gave %+v", got, added)
	}
	if got.Status != sereno.Unknown || got.Cause != sereno.CauseNew || got.Since != noon || got.Created != noon || got.Importance != sereno.Critical {
		t.Errorf("a new device: %+v", got)
	}
	if len(got.Checks) != 1 {
		t.Fatalf("checks: %+v", got.Checks)
	}
	c := got.Checks[0]
	if c.ID == 0 || c.Name != "icmp" || c.Kind != "icmp" || time.Duration(c.Interval) != time.Second || time.Duration(c.Timeout) != time.Second ||
		c.Fall != 3 || c.Rise != 2 || time.Duration(c.LossWindow) != time.Minute {
		t.Errorf("the check that was left out: %+v", c)
	}

	w.do(201, "POST", "/api/devices", `{"name":"printer","address":"printer.example","parents":["core-sw1"]}`, nil)
	w.do(422, "PUT", path, `{"name":"core","address":"10.0.0.1","parents":["printer"]}`, nil) // a circle

	w.now = noon.Add(time.Hour)
	var changed Device
	w.do(200, "PUT", path, `{"name":"core","address":"10.0.0.2","checks":[{"kind":"icmp","interval_seconds":0.5},{"kind":"icmp","name":"slow","interval_seconds":60,"timeout_seconds":5.25}]}`, &changed)
	if changed.ID != added.ID || changed.Created != noon || changed.Checks[0].ID != c.ID || changed.Checks[1].ID == c.ID {
		t.Errorf("identities changed: %+v", changed)
	}
	if changed.Name != "core" || changed.Importance != sereno.Medium || len(changed.Tags) != 0 {
		t.Errorf("what is left out gets its default: %+v", changed)
	}
	if time.Duration(changed.Checks[0].Timeout) != 500*time.Millisecond || time.Duration(changed.Checks[1].Timeout) != 5250*time.Millisecond {
		t.Errorf("timeouts: %+v", changed.Checks)
	}
	var child Page[Device]
	w.do(200, "GET", "/api/devices?name=printer", "", &child)
	if len(child.Items) != 1 || !slices.Equal(child.Items[0].Parents, []string{"core"}) {
		t.Errorf("the child did not follow the new name: %+v", child.Items)
	}

	w.do(204, "DELETE", path, "", nil)
	w.do(404, "GET", path, "", nil)
	w.do(404, "GET", path+"/history", "", nil)
	w.do(404, "PUT", path, `{"name":"core","address":"10.0.0.2"}`, nil)
	w.do(404, "DELETE", path, "", nil)
}

func TestADocumentThatWasReadMayBeSentBack(t *testing.T) {
	w := newWorld(t)
	var list Page[Device]
	w.do(201, "POST", "/api/devices", `{"items":[
		{"name":"a","address":"10.0.0.1","tags":["x"],"paused":true},
		{"name":"b","address":"::1","parents":["a"],"importance":"low","checks":[{"kind":"icmp","name":"far","interval_seconds":10,"timeout_seconds":2,"fall":5,"rise":1,"rtt_above_seconds":0.05,"loss_above":0.05,"loss_window_seconds":60,"settings":{"size":1000}}]}]}`, &list)
	for _, d := range list.Items {
		w.live[d.Checks[0].ID] = ledger.Live{Check: d.Checks[0].ID, Status: sereno.Up, Since: noon, Last: noon, RTT: time.Millisecond, Recent: 1, Seen: 1, Looks: 1}
		path := fmt.Sprintf("/api/devices/%d", d.ID)
		before := serve(w, request("GET", path, "")).Body.String()
		after := serve(w, request("PUT", path, before))
		if after.Code != 200 || after.Body.String() != before {
			t.Errorf("sent %s\ngot %d %s", before, after.Code, after.Body)
		}
	}
}

func TestAddingIsAllOrNothing(t *testing.T) {
	w := newWorld(t)
	w.do(201, "POST", "/api/devices", `{"name":"there","address":"10.0.0.9"}`, nil)
	tests := []struct {
		body, location string
		code           int
	}{
		{`{"items":[{"name":"a","address":"10.0.0.1"},{"name":"there","address":"10.0.0.2"}]}`, "body.items[1].name", 409},
		{`{"name":"there","address":"10.0.0.2"}`, "body.name", 409},
		{`{"items":[{"name":"a","address":"10.0.0.1"},{"name":"b","address":"10.0.0.2","parents":["nobody"]}]}`, "body.items[1].parents[0]", 422},
	}
	for _, test := range tests {
		answer := serve(w, request("POST", "/api/devices", test.body))
		if _, locations := problemOf(t, answer.Body.Bytes()); answer.Code != test.code || !slices.Equal(locations, []string{test.location}) {
			t.Errorf("%s: %d %s", test.body, answer.Code, answer.Body)
		}
	}
	if n, err := w.CountDevices(t.Context()); n != 1 || err != nil {
		t.Errorf("there are %d devices (%v)", n, err)
	}
}

func TestPagesCoverAListThatChanges(t *testing.T) {
	w := newWorld(t)
	var items []string
	for i := range 250 {
		items = append(items, fmt.Sprintf(`{"name":"d%03d","address":"10.0.1.%d","tags":["t%d"]}`, i, i%250, i%2))
	}
	var added Page[Device]
	header := w.do(201, "POST", "/api/devices", `{"items":[`+strings.Join(items, ",")+`]}`, &added)
	if len(added.Items) != 250 || header["Location"] != nil {
		t.Fatalf("added %d at %q", len(added.Items), header["Location"])
	}
	var names []string
	path := "/api/devices"
	for sizes := []int{100, 100, 49}; ; sizes = sizes[1:] {
		var p Page[Device]
		w.do(200, "GET", path, "", &p)
		if len(p.Items) != sizes[0] {
			t.Fatalf("%s: %d items, want %d", path, len(p.Items), sizes[0])
		}
		for _, d := range p.Items {
			names = append(names, d.Name)
		}
		if p.NextCursor == nil {
			break
		}
		if len(sizes) == 3 { // one that was seen goes, and one that was not
			w.do(204, "DELETE", fmt.Sprintf("/api/devices/%d", added.Items[50].ID), "", nil)
			w.do(204, "DELETE", fmt.Sprintf("/api/devices/%d", added.Items[249].ID), "", nil)
		}
		path = "/api/devices?cursor=" + *p.NextCursor
	}
	for i, name := range names {
		if want := fmt.Sprintf("d%03d", i); name != want {
			t.Fatalf("item %d is %s, want %s", i, name, want)
		}
	}

	var p Page[Device]
	w.do(200, "GET", "/api/devices?limit=1000&tag=t1&search=d00", "", &p)
	if len(p.Items) != 5 || p.NextCursor != nil {
		t.Errorf("a search: %d items", len(p.Items))
	}
	w.do(200, "GET", "/api/devices?status=unknown&limit=1000", "", &p)
	if len(p.Items) != 248 {
		t.Errorf("of unknown status: %d items", len(p.Items))
	}
	w.do(200, "GET", "/api/devices?status=down", "", &p)
	if len(p.Items) != 0 {
		t.Errorf("of status down: %d items", len(p.Items))
	}
	w.do(200, "GET", "/api/devices?name=nobody", "", &p)
	if len(p.Items) != 0 {
		t.Errorf("a name nobody has: %+v", p.Items)
	}
}

func TestBadQueriesAreRefusedWithTheirPlace(t *testing.T) {
	w := newWorld(t)
	w.do(201, "POST", "/api/devices", `{"name":"a","address":"10.0.0.1"}`, nil)
	tests := []struct {
		path     string
		code     int
		location string
	}{
		{"/api/devices?limit=0", 422, "query.limit"},
		{"/api/devices?limit=1001", 422, "query.limit"},
		{"/api/devices?limit=ten", 422, "query.limit"},
		{"/api/devices?cursor=%00", 422, "query.cursor"},
		{"/api/devices?status=fine", 422, "query.status"},
		{"/api/devices?name=a&tag=b", 422, "query.name"},
		{"/api/devices?colour=red", 422, "query.colour"},
		{"/api/devices/0", 422, "path.id"},
		{"/api/devices/one", 422, "path.id"},
		{"/api/devices/99", 404, ""},
		{"/api/devices/1/history?from=yesterday", 422, "query.from"},
		{"/api/devices/1/history?from=2026-11-21T12:00:00Z&to=2026-11-21T11:00:00Z", 422, "query.from"},
		{"/api/devices/1/history?from=2027-01-01T00:00:00Z", 422, "query.from"},
		{"/api/devices/1/history?from=0001-01-01T00:00:00Z", 422, "query.from"},
		{"/api/devices/1/history?cursor=7", 422, "query.cursor"},
		{"/api/devices/1/history?form=2026-11-21T11:00:00Z", 422, "query.form"},
		{"/api/devices/1/history?check_id=99", 404, ""},
		{"/api/incidents?cursor=x-y", 422, "query.cursor"},
		{"/api/incidents?open=perhaps", 422, "query.open"},
		{"/api/absences?to=1", 422, "query.to"},
		{"/api/absences?cursor=x-y", 422, "query.cursor"},
	}
	for _, test := range tests {
		answer := serve(w, request("GET", test.path, ""))
		detail, locations := problemOf(t, answer.Body.Bytes())
		if answer.Code != test.code || detail == "" || test.location != "" && !slices.Contains(locations, test.location) {
			t.Errorf("%s: %d %s", test.path, answer.Code, answer.Body)
		}
	}
}

// at is a moment that many seconds after noon.
func at(seconds int) sereno.Instant { return noon.Add(time.Duration(seconds) * time.Second) }

func TestHistoryIsExact(t *testing.T) {
	w := newWorld(t)
	var d Device
	w.do(201, "POST", "/api/devices", `{"name":"a","address":"10.0.0.1"}`, &d)
	check := d.Checks[0].ID
	tick := noon + 1 // one microsecond after noon
	if err := w.Commit(t.Context(), &ledger.Entry{
		Closed: []sereno.Span{
			{Check: check, Cause: sereno.CauseNew, Begin: noon, End: tick, Proof: noon},
			{Check: check, Status: sereno.Up, Begin: tick, End: at(100), Proof: tick},
			{Check: check, Status: sereno.Down, Begin: at(100), End: at(160), Proof: at(102), Uncertainty: time.Second, Reason: "no reply in 1s"},
			{Check: check, Status: sereno.Degraded, Begin: at(160), End: at(170), Proof: at(162)},
			{Check: check, Cause: sereno.CausePaused, Begin: at(170), End: at(200), Proof: at(170), Reason: "paused"},
			{Check: check, Status: sereno.Up, Begin: at(200), End: at(300), Proof: at(200)},
			{Check: check, Status: sereno.Down, Begin: at(300), End: at(320), Proof: at(302)},
		},
		Open: []sereno.Span{{Check: check, Status: sereno.Up, Begin: at(320), Proof: at(321)}},
	}); err != nil {
		t.Fatal(err)
	}
	w.now = at(1000)
	path := fmt.Sprintf("/api/devices/%d/history", d.ID)

	answer := serve(w, request("GET", path+"?from=2026-11-21T12:00:00Z", "")).Body.String()
	for _, want := range []string{
		`"window_seconds":1000,"up_seconds":879.999999,"degraded_seconds":10,"down_seconds":80,"unknown_seconds":0.000001,"maintenance_seconds":0,"paused_seconds":30`,
		`"uptime_numerator_seconds":889.999999,"uptime_denominator_seconds":969.999999`,
		`"outages":2,"longest_outage_seconds":60,"last_outage":"2026-11-21T12:05:00.000000Z","mtbf_seconds":444.999999,"mttr_seconds":40`,
		`"from":"2026-11-21T12:00:00.000000Z","to":"2026-11-21T12:16:40.000000Z"`,
		`"status":"down","cause":"look","begin":"2026-11-21T12:01:40.000000Z","end":"2026-11-21T12:02:40.000000Z","seconds":60,"uncertainty_seconds":1,"reason":"no reply in 1s"`,
		`"status":"up","cause":"look","begin":"2026-11-21T12:05:20.000000Z","end":null,"seconds":680,`,
		`"next_cursor":null`,
	} {
		if !strings.Contains(answer, want) {
			t.Errorf("the answer has no %s:\n%s", want, answer)
		}
	}

	// A window in the middle: figures of the window, spans with their true ends.
	var h History
	w.do(200, "GET", path+"?from=2026-11-21T12:01:50Z&to=2026-11-21T12:03:00Z", "", &h)
	if len(h.Spans) != 3 || h.Spans[0].Begin != at(100) || h.Spans[2].End != at(200) {
		t.Errorf("spans that touch the window: %+v", h.Spans)
	}
	s := h.Summary
	if s.Window != seconds(70) || s.Down != seconds(50) || s.Degraded != seconds(10) || s.Paused != seconds(10) || s.Unknown != 0 {
		t.Errorf("figures of the window: %+v", s)
	}
	if *s.Uptime != 10.0/60 || *s.Coverage != 1 || s.Outages != 1 || s.Longest != seconds(50) {
		t.Errorf("figures of the window: %+v", s)
	}

	// Nothing was seen before there was anything.
	w.do(200, "GET", path+"?from=2026-11-20T12:00:00Z&to=2026-11-21T12:00:00Z", "", &h)
	if len(h.Spans) != 0 || h.Summary.Uptime != nil || *h.Summary.Coverage != 0 || h.Summary.Unknown != seconds(86400) || h.Summary.MTBF != nil || h.Summary.LastOutage != 0 {
		t.Errorf("before its life: %+v", h)
	}

	// What lies ahead is not counted, and 24 hours are the default.
	w.do(200, "GET", path+"?to=2030-01-01T00:00:00Z", "", &h)
	if h.Summary.To != w.now || h.Summary.From != w.now.Add(-24*time.Hour) {
		t.Errorf("window %s to %s", h.Summary.From, h.Summary.To)
	}

	// Pages show every span once, and the figures of all of them.
	var begins []sereno.Instant
	for next := path + "?limit=3"; ; {
		var h History
		w.do(200, "GET", next, "", &h)
		for _, s := range h.Spans {
			begins = append(begins, s.Begin)
		}
		if h.Summary.Outages != 2 {
			t.Errorf("figures of a page: %+v", h.Summary)
		}
		if h.NextCursor == nil {
			break
		}
		next = path + "?limit=3&cursor=" + *h.NextCursor
	}
	if want := []sereno.Instant{noon, tick, at(100), at(160), at(170), at(200), at(300), at(320)}; !slices.Equal(begins, want) {
		t.Errorf("pages begin at %v, want %v", begins, want)
	}
}

func seconds(n int) Seconds { return Seconds(n) * Seconds(time.Second) }

func TestHistoryOfSeveralChecksIsTheDevices(t *testing.T) {
	w := newWorld(t)
	var d Device
	w.do(201, "POST", "/api/devices", `{"name":"a","address":"10.0.0.1","checks":[{"kind":"icmp"},{"kind":"icmp","name":"second"}]}`, &d)
	first, second := d.Checks[0].ID, d.Checks[1].ID
	if err := w.Commit(t.Context(), &ledger.Entry{
		Closed: []sereno.Span{
			{Check: first, Cause: sereno.CauseNew, Begin: noon, End: at(10), Proof: noon},
			{Check: second, Cause: sereno.CauseNew, Begin: noon, End: at(10), Proof: noon},
			{Check: first, Status: sereno.Up, Begin: at(10), End: at(50), Proof: at(10)},
			{Check: second, Status: sereno.Up, Begin: at(10), End: at(60), Proof: at(10)},
		},
		Open: []sereno.Span{
			{Check: first, Status: sereno.Down, Begin: at(50), Proof: at(52)},
			{Check: second, Status: sereno.Down, Begin: at(60), Proof: at(62)},
		},
	}); err != nil {
		t.Fatal(err)
	}
	w.now = at(100)
	path := fmt.Sprintf("/api/devices/%d/history?from=2026-11-21T12:00:00Z", d.ID)
	var h History
	w.do(200, "GET", path, "", &h)
	if s := h.Summary; s.Unknown != seconds(10) || s.Up+s.Degraded+s.Down != seconds(90) || s.Down < seconds(40) || len(h.Spans) != 6 {
		t.Errorf("the device: %+v", h)
	}
	w.do(200, "GET", path+"&check_id="+strconv.Itoa(int(second)), "", &h)
	if s := h.Summary; s.Up != seconds(50) || s.Down != seconds(40) || len(h.Spans) != 3 {
		t.Errorf("one check: %+v", h)
	}
}

func TestADeviceIsAsItsChecksAre(t *testing.T) {
	w := newWorld(t)
	var d Device
	w.do(201, "POST", "/api/devices", `{"name":"a","address":"10.0.0.1"}`, &d)
	w.live[d.Checks[0].ID] = ledger.Live{
		Check: d.Checks[0].ID, Status: sereno.Down, Since: at(5), Reason: "no reply in 1s", Doubt: sereno.Up,
		Last: at(20), RTT: 1500 * time.Microsecond, Looks: 20, Lost: 14, Recent: 0b1_0000, Seen: 6,
	}
	answer := serve(w, request("GET", fmt.Sprintf("/api/devices/%d", d.ID), "")).Body.String()
	for _, want := range []string{
		`"from_file":false,"created":"2026-11-21T12:00:00.000000Z","status":"down","since":"2026-11-21T12:00:05.000000Z","reason":"no reply in 1s","cause":"look","checks":[`,
		`"interval_seconds":1,"timeout_seconds":1,"fall":3,"rise":2,"rtt_above_seconds":0,"loss_above":0,"loss_window_seconds":60,"settings":null,`,
		`"doubt":"up","last":{"at":"2026-11-21T12:00:20.000000Z","rtt_seconds":0.0015},"recent":{"looks":20,"lost":14,"pattern":"010000"}`,
		`"tags":[],"parents":[]`,
	} {
		if !strings.Contains(answer, want) {
			t.Errorf("the answer has no %s:\n%s", want, answer)
		}
	}
}

func TestIncidentsAndAbsencesAreListedLatestFirst(t *testing.T) {
	w := newWorld(t)
	var d Device
	w.do(201, "POST", "/api/devices", `{"name":"a","address":"10.0.0.1"}`, &d)
	check := d.Checks[0].ID
	if err := w.Commit(t.Context(), &ledger.Entry{
		Incidents: []sereno.Incident{
			{ID: 1, Device: d.ID, Check: check, Trouble: sereno.TroubleDegraded, Opened: at(10), Closed: at(20), Reason: "slow"},
			{ID: 2, Trouble: sereno.TroubleIsolated, Opened: at(30), Closed: at(40), Reason: "no witness answers"},
			{ID: 3, Device: d.ID, Check: check, Trouble: sereno.TroubleDown, Opened: at(50), Reason: "no reply in 1s", Under: 2},
		},
		Absences: []sereno.Absence{{Begin: at(60), End: at(70), Uncertainty: 5 * time.Second, Cause: sereno.PowerLoss, Unsure: true, Checks: 212}},
	}); err != nil {
		t.Fatal(err)
	}
	w.now = at(100)
	answer := serve(w, request("GET", "/api/incidents", "")).Body.String()
	want := fmt.Sprintf(`{"items":[`+
		`{"id":3,"device_id":%[1]d,"check_id":%[2]d,"vantage_id":0,"status":"down","subject":"","severity":"medium","opened":"2026-11-21T12:00:50.000000Z","closed":null,"seconds":50,"reason":"no reply in 1s","under":2},`+
		`{"id":2,"device_id":null,"check_id":null,"vantage_id":0,"status":"isolated","subject":"","severity":"high","opened":"2026-11-21T12:00:30.000000Z","closed":"2026-11-21T12:00:40.000000Z","seconds":10,"reason":"no witness answers","under":null},`+
		`{"id":1,"device_id":%[1]d,"check_id":%[2]d,"vantage_id":0,"status":"degraded","subject":"","severity":"low","opened":"2026-11-21T12:00:10.000000Z","closed":"2026-11-21T12:00:20.000000Z","seconds":10,"reason":"slow","under":null}`+
		`],"next_cursor":null}`+"\n", d.ID, check)
	if answer != want {
		t.Errorf("incidents\n%s, want\n%s", answer, want)
	}
	ids := func(query string) (ids []sereno.IncidentID) {
		var p Page[Incident]
		w.do(200, "GET", "/api/incidents"+query, "", &p)
		for _, i := range p.Items {
			ids = append(ids, i.ID)
		}
		return ids
	}
	for _, test := range []struct {
		query string
		ids   []sereno.IncidentID
	}{
		{"?open=true", []sereno.IncidentID{3}},
		{"?under=2", []sereno.IncidentID{3}},
		{fmt.Sprintf("?device_id=%d", d.ID), []sereno.IncidentID{3, 1}},
		{"?from=2026-11-21T12:00:15Z&to=2026-11-21T12:00:35Z", []sereno.IncidentID{2, 1}},
		{"?limit=1", []sereno.IncidentID{3}},
	} {
		if got := ids(test.query); !slices.Equal(got, test.ids) {
			t.Errorf("incidents%s: %v, want %v", test.query, got, test.ids)
		}
	}

	answer = serve(w, request("GET", "/api/absences", "")).Body.String()
	want = `{"items":[{"begin":"2026-11-21T12:01:00.000000Z","end":"2026-11-21T12:01:10.000000Z","seconds":10,"uncertainty_seconds":5,"cause":"power_loss","unsure":true,"checks":212}],"next_cursor":null}` + "\n"
	if answer != want {
		t.Errorf("absences\n%s, want\n%s", answer, want)
	}
}

func TestStatistics(t *testing.T) {
	w := newWorld(t)
	answer := serve(w, request("GET", "/api/statistics", "")).Body.String()
	want := `{"version":"test","now":"2026-11-21T12:00:00.000000Z","since":"2026-11-21T11:00:00.000000Z","seconds":3600,"settled":"2026-11-21T12:00:00.000000Z",` +
		`"devices":{"total":2,"up":0,"degraded":0,"down":0,"unknown":2},"checks":{"total":4,"up":3,"degraded":0,"down":1,"unknown":0},` +
		`"looks":{"icmp":{"answered":10,"lost":2,"faults":1}},"incidents_open":1,"isolated":false,"clock_pending":false,"queue_length":0,"unwritten":0,"refused":0,"disk_bytes":{},"storage":{"status":"ok","fault":null,"since":null,"waiting_entries":0,"waiting_bytes":0,"reserve_bytes":0}}` + "\n"
	if answer != want {
		t.Errorf("%s, want\n%s", answer, want)
	}
}

func TestWhatTheFileManagesIsForbidden(t *testing.T) {
	m := &memory{fail: sereno.Errorf(sereno.Forbidden, "a is managed by the configuration file: change it there")}
	h := New(Options{Plan: m, Facts: &memory{}, Watch: m, Kinds: []probe.Kind{fakeKind{}}, Now: func() sereno.Instant { return noon }})
	for _, r := range []*http.Request{request("PUT", "/api/devices/1", `{"name":"a","address":"10.0.0.1"}`), request("DELETE", "/api/devices/1", "")} {
		if answer := serve(h, r); answer.Code != 403 || !strings.Contains(answer.Body.String(), "change it there") {
			t.Errorf("%s: %d %s", r.Method, answer.Code, answer.Body)
		}
	}
}

func TestHostileTextIsKeptAsItIs(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{`<script>alert(1)</script>`, `'; DROP TABLE devices; --`, "naïve ☃ 名前", `%s%n\" ../..`, "=cmd|' /C calc'!A0"} {
		body, err := json.Marshal(map[string]any{"name": name, "address": "10.0.0.1", "tags": []string{name}})
		if err != nil {
			t.Fatal(err)
		}
		var d Device
		header := w.do(201, "POST", "/api/devices", string(body), &d)
		if d.Name != name || !slices.Equal(d.Tags, []string{name}) || header.Get("Content-Type") != "application/json" {
			t.Errorf("%q came back as %q, %q (%s)", name, d.Name, d.Tags, header.Get("Content-Type"))
		}
	}
}

func TestTheDescriptionIsServedToMany(t *testing.T) {
	w := newWorld(t)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			var doc struct {
				OpenAPI string
				Paths   map[string]map[string]any
			}
			answer := serve(w, request("GET", "/openapi.json", ""))
			if err := json.Unmarshal(answer.Body.Bytes(), &doc); err != nil || doc.OpenAPI != "3.1.0" {
				t.Errorf("%v: OpenAPI %q", err, doc.OpenAPI)
			}
			for path, methods := range map[string][]string{
				"/health": {"get"}, "/api/devices": {"get", "post"}, "/api/devices/{id}": {"get", "put", "delete"},
				"/api/devices/{id}/history": {"get"}, "/api/incidents": {"get"}, "/api/absences": {"get"}, "/api/statistics": {"get"},
			} {
				for _, method := range methods {
					if doc.Paths[path][method] == nil {
						t.Errorf("%s %s is not described", method, path)
					}
				}
			}
		})
	}
	wg.Wait()
}
