package main

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"sereno"
	"sereno/api"
)

// ask runs a command against a server that answers as handle says.
func ask(t *testing.T, handle http.HandlerFunc, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	server := httptest.NewServer(handle)
	defer server.Close()
	var out, errs bytes.Buffer
	root := newRoot(strings.NewReader(""), &out, &errs)
	root.SetArgs(append(args, "--server", server.URL))
	err = root.ExecuteContext(t.Context())
	return out.String(), errs.String(), err
}

func TestVerdict(t *testing.T) {
	now := sereno.At(time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC))
	device := func(name string, status sereno.Status, ago time.Duration) api.Device {
		return api.Device{Name: name, Status: status, Since: now.Add(-ago)}
	}
	for _, story := range []struct {
		picture picture
		want    string
	}{
		{picture{}, "Nothing is watched yet: sereno devices add NAME ADDRESS."},
		{picture{Statistics: api.Statistics{Devices: api.Count{Total: 1, Up: 1}}}, "All is calm: 1 device up."},
		{picture{Statistics: api.Statistics{Devices: api.Count{Total: 1212, Up: 1212}}}, "All is calm: 1,212 devices up."},
		{picture{Statistics: api.Statistics{Devices: api.Count{Total: 3, Unknown: 3}}}, "Nothing is known yet about 3 devices."},
		{picture{Statistics: api.Statistics{Devices: api.Count{Total: 3, Up: 2, Unknown: 1}}}, "All is calm: 2 of 3 devices up, 1 not known."},
		{
			picture{
				Statistics: api.Statistics{Now: now, Devices: api.Count{Total: 212, Up: 210, Down: 2}},
				Items:      []api.Device{device("core-sw1", sereno.Down, 202*time.Second), device("printer-2", sereno.Down, 5*time.Second), device("x", sereno.Up, 0)},
			},
			"2 of 212 devices are down: core-sw1 (3 m 22 s), printer-2 (5.0 s).",
		},
		{
			picture{
				Statistics: api.Statistics{Now: now, Devices: api.Count{Total: 2, Up: 1, Degraded: 1}},
				Items:      []api.Device{device("slow\x1b[0m", sereno.Degraded, time.Minute)},
			},
			`1 of 2 devices not well: slow\x1b[0m (1 m 00 s).`,
		},
		{picture{Statistics: api.Statistics{Isolated: true, Devices: api.Count{Total: 1}}}, "Cut off: nothing can be said about any device until this machine reaches its network again."},
	} {
		if got := story.picture.verdict(); got != story.want {
			t.Errorf("got  %s\nwant %s", got, story.want)
		}
	}
}

// What is worked on comes after what is not, however badly it is, and nobody
// takes it for something else.
func TestStatusOfWhatIsWorkedOn(t *testing.T) {
	const window = `"maintenance":{"window":"sunday","until":"2026-11-21T14:00:00Z"}`
	items := []string{
		`{"name":"oven","address":"10.0.0.1","status":"down","since":"2026-11-21T11:00:00Z","importance":"critical",` + window + `}`,
		`{"name":"lamp","address":"10.0.0.2","status":"unknown","maintenance":null}`,
		`{"name":"press","address":"10.0.0.3","status":"up","paused":true,` + window + `}`,
		`{"name":"belt","address":"10.0.0.4","status":"up",` + window + `}`,
		`{"name":"door","address":"10.0.0.5","status":"down","since":"2026-11-21T11:59:00Z","importance":"low"}`,
	}
	out, _, err := ask(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/api/statistics" {
			fmt.Fprint(w, `{"now":"2026-11-21T12:00:00Z","devices":{"total":5,"up":2,"down":2,"unknown":1}}`)
			return
		}
		fmt.Fprintf(w, `{"items":[%s],"next_cursor":null}`, strings.Join(items, ","))
	}, "status")
	if !errors.Is(err, errNegative) {
		t.Errorf("something is down: got %v", err)
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if want := "2 of 5 devices are down: door (1 m 00 s), oven (1 h 00 m). 3 in maintenance: nobody is told of their trouble."; lines[0] != want {
		t.Errorf("got  %s\nwant %s", lines[0], want)
	}
	for i, want := range []string{"door 10.0.0.5 down 1 m", "lamp 10.0.0.2 unknown –", "oven 10.0.0.1 down, maintenance 1 h", "belt 10.0.0.4 up, maintenance –", "press 10.0.0.3 paused –"} {
		if got := strings.Join(strings.Fields(lines[3+i]), " "); !strings.HasPrefix(got, want) {
			t.Errorf("line %d is %q, not %q", i, got, want)
		}
	}
}

func TestStatusTellsThatNothingIsWritten(t *testing.T) {
	for _, story := range []struct {
		name, settled string
		unwritten     int
		want          string
	}{
		{"all is written", "2026-11-21T11:59:58Z", 0, "All is calm: 1 device up.\n"},
		{"rows on their way", "2026-11-21T11:59:58Z", 7, "All is calm: 1 device up.\n"},
		{"storage fails", "2026-11-21T11:59:09Z", 7, "All is calm: 1 device up. Nothing has been written down for 51 s: the log of sereno serve says why.\n"},
	} {
		t.Run(story.name, func(t *testing.T) {
			out, _, err := ask(t, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/api/statistics" {
					fmt.Fprintf(w, `{"now":"2026-11-21T12:00:00Z","settled":%q,"unwritten":%d,"devices":{"total":1,"up":1}}`, story.settled, story.unwritten)
					return
				}
				fmt.Fprint(w, `{"items":[],"next_cursor":null}`)
			}, "status")
			if err != nil || out != story.want {
				t.Errorf("got %q (%v), want %q", out, err, story.want)
			}
		})
	}
}

const evil = `{"id":7,"name":"evil\u001b[2J","address":"10.0.0.7","status":"down","since":"2026-11-21T11:59:00.000000Z","reason":"no reply\r\nAll is calm","checks":[{"id":9,"name":"icmp","kind":"icmp","recent":{"looks":4,"lost":3,"pattern":"1000"},"last":{"rtt_seconds":0.0123}}]}`

func TestStatus(t *testing.T) {
	handle := func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/api/statistics":
			fmt.Fprint(w, `{"now":"2026-11-21T12:00:00Z","devices":{"total":2,"up":1,"down":1}}`)
		case r.URL.Query().Get("cursor") == "":
			fmt.Fprint(w, `{"items":[{"id":1,"name":"calm","address":"10.0.0.1","status":"up","since":"2026-11-21T11:00:00Z"}],"next_cursor":"c"}`)
		default:
			fmt.Fprintf(w, `{"items":[%s],"next_cursor":null}`, evil)
		}
	}
	out, _, err := ask(t, handle, "status")
	if !errors.Is(err, errNegative) {
		t.Errorf("something is down: got %v", err)
	}
	want := `1 of 2 devices is down: evil\x1b[2J (1 m 00 s).

device        address   status   since  last ms    loss  latest looks  reason
evil\x1b[2J   10.0.0.7  down    1 m 00 s     12.3  75.0 %  ·xxx          no reply\x0d\x0aAll is calm
`
	squeeze := func(s string) string { return strings.Join(strings.Fields(s), " ") }
	if !strings.HasPrefix(squeeze(out), squeeze(want)) {
		t.Errorf("got\n%s\nwant it to begin with\n%s", out, want)
	}
	if !strings.Contains(squeeze(out), "calm 10.0.0.1 up 1 h 00 m") {
		t.Errorf("the second page is missing:\n%s", out)
	}
	out, _, _ = ask(t, handle, "status", "--json")
	if strings.Count(out, "\n") != 1 || !strings.HasPrefix(out, `{"verdict":"1 of 2 devices is down`) || strings.Contains(out, "\x1b") {
		t.Errorf("got %s", out)
	}
}

func TestRefusals(t *testing.T) {
	problem := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(status)
			fmt.Fprint(w, body)
		}
	}
	for _, story := range []struct {
		name   string
		handle http.HandlerFunc
		stderr string // of a negative answer
		err    string // of a failure
	}{
		{"refused", problem(409, `{"title":"Conflict","detail":"name: \"a\" is taken"}`), "sereno: name: \"a\" is taken\n", ""},
		{"refused for many reasons", problem(422, `{"detail":"x","errors":[{"location":"body.name","message":"too long"},{"message":"also\u001b[2J"}]}`), "", "name: too long\nalso\x1b[2J"},
		{"refused without a word", problem(403, ``), "sereno: the server answers 403 Forbidden\n", ""},
		{"its own error", problem(500, `{"detail":"the log says more"}`), "", "the log says more"},
		{"an answer that breaks off", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "", "broke off its answer; its log says why"},
		{"another program", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "<html>") }, "", "does not answer as Sereno does"},
	} {
		t.Run(story.name, func(t *testing.T) {
			_, stderr, err := ask(t, story.handle, "devices", "add", "a", "127.0.0.1")
			if stderr != story.stderr {
				t.Errorf("stderr %q, want %q", stderr, story.stderr)
			}
			if story.err == "" && !errors.Is(err, errNegative) || story.err != "" && (err == nil || !strings.Contains(err.Error(), story.err)) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestWhatWasAskedWronglyIsNamedByItsFlag(t *testing.T) {
	for _, story := range []struct {
		location, want string
		command        []string
	}{
		{"query.step", "--by: too long", []string{"uptime"}},
		{"query.step", "--step: too long", []string{"export", "looks"}},
		{"query.step_seconds", "--step: too long", []string{"export", "looks"}},
		{"query.limit", "--worst: too long", []string{"uptime"}},
		{"query.from", "--from: too long", []string{"replay", "--device", "a"}},
		{"query.loss_window", "--policy: too long", []string{"replay", "--device", "a"}},
		{"query.zone", "--zone: too long", []string{"report"}},
		{"", "too long", []string{"report"}},
	} {
		handle := func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusUnprocessableEntity)
			detail := strings.TrimPrefix(story.location+": too long", ": ")
			fmt.Fprintf(w, `{"detail":%q,"errors":[{"location":%q,"message":"too long"}]}`, detail, story.location)
		}
		_, stderr, err := ask(t, handle, story.command...)
		if err == nil || errors.Is(err, errNegative) || err.Error() != story.want || stderr != "" {
			t.Errorf("%v, %s: got %v and %q, want %s", story.command, story.location, err, stderr, story.want)
		}
	}
}

func TestHistoryReadsAllPagesOfOneWindow(t *testing.T) {
	span := func(begin, end string) string {
		return fmt.Sprintf(`{"check_id":9,"status":"up","cause":"look","begin":%q,"end":%s,"seconds":60,"uncertainty_seconds":1,"reason":""}`, begin, end)
	}
	const summary = `"summary":{"from":"2026-11-20T12:00:00Z","to":"2026-11-21T12:00:00Z","window_seconds":86400,"up_seconds":120,"down_seconds":0,"unknown_seconds":86280,"uptime":1,"uptime_numerator_seconds":120,"uptime_denominator_seconds":120,"coverage":0.00138888,"outages":0}`
	var windows []string
	out, _, err := ask(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/api/devices":
			fmt.Fprintf(w, `{"items":[%s]}`, evil)
		case r.URL.Query().Get("cursor") == "":
			fmt.Fprintf(w, `{"device_id":7,"spans":[%s],"next_cursor":"p2",%s}`, span("2026-11-21T11:58:00Z", `"2026-11-21T11:59:00Z"`), summary)
		default:
			windows = append(windows, r.URL.Query().Get("from")+" "+r.URL.Query().Get("to"))
			fmt.Fprintf(w, `{"device_id":7,"spans":[%s],"next_cursor":null,%s}`, span("2026-11-21T11:59:00Z", "null"), summary)
		}
	}, "history", "evil", "--from", "24h")
	if err != nil {
		t.Fatal(err)
	}
	if len(windows) != 1 || windows[0] != "2026-11-20T12:00:00.000000Z 2026-11-21T12:00:00.000000Z" {
		t.Errorf("the second page was asked for %q", windows)
	}
	for _, want := range []string{"1 m 00 s  ± 1.0 s  up", "now", "uptime    100 % = 2 m 00 s of 2 m 00 s seen", "coverage  0.139 % = 2 m 00 s of 1 d 00 h", "time      up 2 m 00 s, unknown 23 h 58 m", "outages   0"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing in\n%s", want, out)
		}
	}
}

func TestFlagsBeatEnvironmentBeatsFile(t *testing.T) {
	path := t.TempDir() + "/sereno.yaml"
	write(t, path, "listen: 127.0.0.1:1\ndata: file\nmax_pps: 1\n")
	flags := newServe().Flags()
	if err := flags.Parse([]string{"--listen", "127.0.0.1:3"}); err != nil {
		t.Fatal(err)
	}
	c, err := wanted(path, []string{"SERENO_LISTEN=127.0.0.1:2", "SERENO_DATA=environment"}, flags)
	if err != nil {
		t.Fatal(err)
	}
	if c.Listen != "127.0.0.1:3" || c.Data != "environment" || c.MaxPPS != 1 {
		t.Errorf("got listen %s, data %s, max_pps %d", c.Listen, c.Data, c.MaxPPS)
	}
	if err := flags.Parse([]string{"--max-pps", "-1"}); err != nil {
		t.Fatal(err)
	}
	if _, err := wanted(path, nil, flags); err == nil || err.Error() != "--max-pps: max_pps is a number of packets a second, or 0 for no limit, not -1" {
		t.Errorf("got %v", err)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
