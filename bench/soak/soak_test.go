//go:build soak

// Package soak keeps the long promises: the real program, in a network whose
// truth is known, through outages, cuts, stalls and kills. It needs root, and
// prints the figures it saw.
package soak

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"sereno"
	"sereno/bench"
	"sereno/lab"
	"sereno/store"
)

var binary string

func TestMain(m *testing.M) {
	if code, did := ownMounts(); did {
		os.Exit(code)
	}
	dir, err := os.MkdirTemp("", "soak")
	if err != nil {
		panic(err)
	}
	binary = filepath.Join(dir, "sereno")
	if given := os.Getenv("SERENO_SOAK_BINARY"); given != "" {
		binary = given
	} else {
		build := exec.Command("go", "build", "-o", binary, "sereno/cmd/sereno")
		build.Stderr = os.Stderr
		if err := build.Run(); err != nil {
			panic(err)
		}
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// A watch is one Sereno in a lab.
type watch struct {
	*bench.Server
	t    *testing.T
	lab  *lab.Net
	ask  *http.Client
	data string
	conf string
	url  string // of PostgreSQL; "" for SQLite
}

const gateway = "10.255.255.254"

// host is the i-th watched address of the lab.
func host(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, byte(1 + i>>16), byte(i >> 8), byte(i)})
}

// hosts is a configuration that watches n hosts, once a second.
func hosts(n int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "witnesses: [%s]\ndevices:\n", gateway)
	for i := range n {
		fmt.Fprintf(&b, "  - {name: h%d, address: %s}\n", i, host(i))
	}
	return b.String()
}

func newWatch(t *testing.T, conf string) *watch {
	w := newLab(t, conf, t.TempDir())
	w.start()
	return w
}

// newLab is a network without a Sereno yet, whose data will be in a folder.
func newLab(t *testing.T, conf, data string) *watch {
	w := &watch{t: t, lab: lab.New(t, lab.Script{}), data: data, conf: conf}
	w.ask = &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DialContext: func(ctx context.Context, network, addr string) (conn net.Conn, err error) {
			if e := w.lab.Do(func() error { conn, err = new(net.Dialer).DialContext(ctx, network, addr); return nil }); e != nil {
				return nil, e
			}
			return conn, err
		},
	}}
	return w
}

// start runs the program and returns when it answers.
func (w *watch) start() {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	s, err := bench.Start(ctx, binary, w.data, w.conf, w.lab.Command, w.ask)
	if err != nil {
		w.t.Fatal(err)
	}
	w.Server = s
	w.t.Cleanup(s.Kill)
}

func (w *watch) statistics() bench.Statistics {
	w.t.Helper()
	st, err := w.Statistics(w.t.Context(), w.ask)
	if err != nil {
		w.t.Fatal(err)
	}
	return st
}

// until waits for something, for at most as long as it may take.
func (w *watch) until(atMost time.Duration, what string, ok func(bench.Statistics) bool) time.Duration {
	w.t.Helper()
	began := time.Now()
	for {
		st := w.statistics()
		if ok(st) {
			return time.Since(began)
		}
		if time.Since(began) > atMost {
			w.t.Fatalf("not within %v: %s; %+v", atMost, what, st)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (w *watch) allUp() {
	w.until(30*time.Second, "all up", func(s bench.Statistics) bool { return s.Devices.Up == s.Devices.Total })
}

type incident struct {
	ID       int
	DeviceID int `json:"device_id"`
	Status   string
	Opened   time.Time
	Closed   *time.Time
	Reason   string
	Under    *int
}

func (w *watch) incidents() []incident { return list[incident](w, "/api/incidents") }

// names returns the names of all devices by their ids.
func (w *watch) names() map[int]string {
	w.t.Helper()
	names := map[int]string{}
	for _, d := range list[struct {
		ID   int
		Name string
	}](w, "/api/devices") {
		names[d.ID] = d.Name
	}
	return names
}

// list reads all pages of a list.
func list[T any](w *watch, path string) (all []T) {
	w.t.Helper()
	next := ""
	for {
		var page struct {
			Items      []T
			NextCursor *string `json:"next_cursor"`
		}
		if err := w.Get(w.t.Context(), w.ask, path+"?limit=1000"+next, &page); err != nil {
			w.t.Fatal(err)
		}
		all = append(all, page.Items...)
		if page.NextCursor == nil {
			return all
		}
		next = "&cursor=" + *page.NextCursor
	}
}

// book stops the program, opens its store and checks that the spans tile.
func (w *watch) book() *store.Store {
	w.t.Helper()
	if err := w.Stop(); err != nil {
		w.t.Fatal(err)
	}
	s, err := store.Open(w.t.Context(), w.facts(), slog.New(slog.DiscardHandler))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { s.Close() })
	if err := s.CheckInvariants(w.t.Context()); err != nil {
		w.t.Error(err)
	}
	return s
}

// facts is where the store is.
func (w *watch) facts() string {
	if w.url != "" {
		return w.url
	}
	return "sqlite:" + filepath.Join(w.data, "sereno.db")
}

func (w *watch) spans(s *store.Store) map[string][]sereno.Span {
	w.t.Helper()
	all := map[string][]sereno.Span{}
	for d, err := range s.AllDevices(w.t.Context()) {
		if err != nil {
			w.t.Fatal(err)
		}
		for span, err := range s.Spans(w.t.Context(), d.Checks[0].ID, 0, 1<<62) {
			if err != nil {
				w.t.Fatal(err)
			}
			all[d.Name] = append(all[d.Name], span)
		}
	}
	return all
}

func quantile(d []time.Duration, q float64) time.Duration {
	if len(d) == 0 {
		return 0
	}
	d = slices.Sorted(slices.Values(d))
	return d[min(int(q*float64(len(d))), len(d)-1)].Round(time.Millisecond)
}

// A lab host goes silent, 10,000 devices at 1 s: its incident is committed
// within fall × interval + timeout + 200 ms (p99 of 200 outages); the span
// begins and ends within one interval of the truth.
func TestOutagesAreBookedInTime(t *testing.T) {
	const n, outages = 10_000, 200
	w := newWatch(t, hosts(n))
	w.allUp()
	time.Sleep(5 * time.Second)

	type outage struct{ from, to, seen time.Time }
	truth := map[string]*outage{}
	var order []int
	for _, i := range rand.Perm(n)[:outages] {
		order = append(order, i)
	}
	seen, names := 0, w.names()
	poll := func() {
		var page struct{ Items []incident }
		if err := w.Get(t.Context(), w.ask, "/api/incidents?limit=100", &page); err != nil {
			t.Fatal(err)
		}
		now := time.Now()
		for _, in := range page.Items {
			if o := truth[names[in.DeviceID]]; o != nil && o.seen.IsZero() {
				o.seen = now
				seen++
			}
		}
	}
	begun, ended := 0, 0
	start := time.Now()
	for ended < outages || seen < outages {
		at := time.Since(start)
		if at > 3*time.Minute {
			break
		}
		if begun < outages && at > time.Duration(begun)*300*time.Millisecond {
			i := order[begun]
			truth[fmt.Sprintf("h%d", i)] = &outage{from: w.lab.Silence(netip.PrefixFrom(host(i), 32))}
			begun++
		}
		if ended < begun {
			i := order[ended]
			if o := truth[fmt.Sprintf("h%d", i)]; time.Since(o.from) > 8*time.Second {
				o.to = w.lab.Restore(netip.PrefixFrom(host(i), 32))
				ended++
			}
		}
		poll()
		time.Sleep(10 * time.Millisecond)
	}
	time.Sleep(5 * time.Second)
	spans := w.spans(w.book())

	var late, begin, end []time.Duration
	for name, o := range truth {
		if o.seen.IsZero() {
			t.Errorf("%s: no incident", name)
			continue
		}
		late = append(late, o.seen.Sub(o.from))
		downs := 0
		for _, s := range spans[name] {
			if s.Status == sereno.Down {
				downs++
				begin = append(begin, s.Begin.Time().Sub(o.from))
				end = append(end, s.End.Time().Sub(o.to))
			}
		}
		if downs != 1 {
			t.Errorf("%s: %d outages booked of 1", name, downs)
		}
	}
	others := 0
	for name, all := range spans {
		for _, s := range all {
			if truth[name] == nil && s.Status == sereno.Down {
				others++
			}
		}
	}
	t.Logf("%d outages among %d devices: committed p50 %v, p99 %v, most %v after the silence began (promise: 4.2 s); begin %v to %v, end %v to %v from the truth; false Down: %d",
		len(late), n, quantile(late, 0.5), quantile(late, 0.99), quantile(late, 1), quantile(begin, 0), quantile(begin, 1), quantile(end, 0), quantile(end, 1), others)
	if others > 0 || quantile(late, 0.99) > 4200*time.Millisecond {
		t.Error("promise not kept")
	}
	for _, d := range append(begin, end...) {
		if d < -100*time.Millisecond || d > 1005*time.Millisecond {
			t.Errorf("off by %v", d)
		}
	}
}

// 10,000 hosts go silent in the same second, then return: every span right,
// all committed within 5 s, probing never late because of it.
func TestAllHostsGoSilentAtOnce(t *testing.T) {
	const n = 10_000
	w := newWatch(t, hosts(n))
	w.allUp()
	time.Sleep(3 * time.Second)
	all := netip.MustParsePrefix("10.1.0.0/16")
	from := w.lab.Silence(all)
	w.until(20*time.Second, "all down", func(s bench.Statistics) bool { return s.Devices.Down == n })
	down := time.Since(from)
	for len(w.incidents()) < n {
		if time.Since(from) > 30*time.Second {
			t.Fatalf("%d incidents", len(w.incidents()))
		}
	}
	committed := time.Since(from)
	time.Sleep(max(0, 15*time.Second-time.Since(from)))
	to := w.lab.Restore(all)
	w.until(20*time.Second, "all up", func(s bench.Statistics) bool { return s.Devices.Up == n })
	up := time.Since(to)
	within, err := w.Metric(t.Context(), w.ask, `sereno_look_lateness_seconds_bucket{le="0.05"}`)
	if err != nil {
		t.Fatal(err)
	}
	count, _ := w.Metric(t.Context(), w.ask, `sereno_look_lateness_seconds_count`)
	time.Sleep(3 * time.Second)
	wrong := 0
	for name, spans := range w.spans(w.book()) {
		var downs []sereno.Span
		for _, s := range spans {
			if s.Status == sereno.Down {
				downs = append(downs, s)
			}
		}
		if len(downs) != 1 {
			t.Fatalf("%s: %+v", name, spans)
		}
		b, e := downs[0].Begin.Time().Sub(from), downs[0].End.Time().Sub(to)
		if b < -100*time.Millisecond || b > 1005*time.Millisecond || e < -100*time.Millisecond || e > 1005*time.Millisecond {
			wrong++
		}
	}
	t.Logf("%d hosts silent at once: all Down known after %v, all committed after %v (provable after 4 s at the latest; promise: 5 s later); back after %v; %d spans wrong; looks within 50 ms of their time: %.4f %%",
		n, down.Round(time.Millisecond), committed.Round(time.Millisecond), up.Round(time.Millisecond), wrong, 100*within/count)
	if wrong > 0 || committed > 9*time.Second || within < 0.99*count {
		t.Error("promise not kept")
	}
}

// The uplink of the vantage point is cut, by link, by route, and by silence of
// the gateway and all targets: one "isolated" incident, no device's, Unknown
// spans.
func TestACutUplinkIsNobodysOutage(t *testing.T) {
	const n = 1000
	everything := netip.MustParsePrefix("10.0.0.0/8")
	for _, cut := range []struct {
		how       string
		cut, mend func(w *watch) error
	}{
		{"silence", func(w *watch) error { w.lab.Silence(everything); return nil }, func(w *watch) error { w.lab.Restore(everything); return nil }},
		{"link", func(w *watch) error { return w.uplink().CutLink() }, func(w *watch) error { return w.uplink().Mend() }},
		{"routes", func(w *watch) error { return w.uplink().CutRoutes() }, func(w *watch) error { return w.uplink().Mend() }},
	} {
		t.Run(cut.how, func(t *testing.T) {
			w := newWatch(t, hosts(n))
			w.allUp()
			time.Sleep(2 * time.Second)
			for round := range 3 {
				time.Sleep(time.Duration(rand.IntN(1000)) * time.Millisecond)
				if err := cut.cut(w); err != nil {
					t.Fatal(err)
				}
				w.until(20*time.Second, "isolated", func(s bench.Statistics) bool { return s.Isolated && s.Devices.Unknown == n })
				time.Sleep(8 * time.Second)
				if err := cut.mend(w); err != nil {
					t.Fatal(err)
				}
				w.until(20*time.Second, "all up", func(s bench.Statistics) bool { return !s.Isolated && s.Devices.Up == n })
				if in := w.incidents(); len(in) != round+1 || slices.ContainsFunc(in, func(i incident) bool { return i.Status != "isolated" }) {
					t.Fatalf("after %d cuts: %+v", round+1, in)
				}
			}
			for name, spans := range w.spans(w.book()) {
				for _, s := range spans {
					if s.Status == sereno.Down {
						t.Fatalf("%s was Down: %+v", name, spans)
					}
				}
			}
			t.Log("3 cuts: 3 incidents, all of them isolated; no device was Down")
		})
	}
}

var uplinks = map[*watch]*lab.Uplink{}

func (w *watch) uplink() *lab.Uplink {
	if uplinks[w] == nil {
		uplinks[w] = w.lab.Uplink("lab0")
	}
	return uplinks[w]
}

// A parent and its 100 children are lost at once, again and again at other
// moments of their grids: one incident with 100 below it each time. (A third
// loss within ten minutes would be flapping.)
func TestAParentTakesItsChildrenAlong(t *testing.T) {
	for range 3 {
		t.Run("twice", loseAParentTwice)
	}
}

func loseAParentTwice(t *testing.T) {
	const children = 100
	var b strings.Builder
	fmt.Fprintf(&b, "witnesses: [%s]\ndevices:\n  - {name: switch, address: 10.2.0.1}\n", gateway)
	for i := range children {
		fmt.Fprintf(&b, "  - {name: c%d, address: 10.2.1.%d, parents: [switch]}\n", i, i)
	}
	w := newWatch(t, b.String())
	w.allUp()
	behind := netip.MustParsePrefix("10.2.0.0/16")
	for round := range 2 {
		time.Sleep(time.Duration(3000+rand.IntN(1000)) * time.Millisecond)
		w.lab.Silence(behind)
		w.until(20*time.Second, "all down", func(s bench.Statistics) bool { return s.Devices.Down == children+1 })
		time.Sleep(4 * time.Second)
		w.lab.Restore(behind)
		w.until(20*time.Second, "all up", func(s bench.Statistics) bool { return s.Devices.Up == children+1 })
		time.Sleep(time.Second)
		all := w.incidents()
		top, below := 0, 0
		for _, in := range all {
			if in.Under == nil {
				top++
			} else {
				below++
			}
		}
		if top != round+1 || below != children*(round+1) {
			t.Fatalf("after %d losses: %d incidents of their own, %d below", round+1, top, below)
		}
	}
	w.book()
	t.Log("2 losses: 2 incidents with 100 below each")
}

// SIGSTOP for 5 s, then SIGCONT, 10,000 devices: no Down, one absence
// "stalled".
func TestAStallIsNobodysOutage(t *testing.T) {
	const n = 10_000
	w := newWatch(t, hosts(n))
	w.allUp()
	for range 3 {
		time.Sleep(4 * time.Second)
		if err := w.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		if err := w.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		w.until(20*time.Second, "all up", func(s bench.Statistics) bool { return s.Devices.Up == n })
	}
	if in := w.incidents(); len(in) != 0 {
		t.Errorf("%d incidents: %+v", len(in), in[0])
	}
	s := w.book()
	absences, _, err := s.Absences(t.Context(), store.AbsenceQuery{})
	if err != nil || len(absences) != 3 {
		t.Errorf("%v %+v", err, absences)
	}
	for _, a := range absences {
		if a.Cause != sereno.Stall || a.End.Sub(a.Begin) < 4500*time.Millisecond || a.End.Sub(a.Begin) > 6*time.Second {
			t.Errorf("%+v", a)
		}
	}
	for name, spans := range w.spans(s) {
		for _, span := range spans {
			if span.Status == sereno.Down {
				t.Fatalf("%s was Down: %+v", name, spans)
			}
		}
	}
	t.Log("3 stalls of 5 s with 10,000 devices: 3 absences stalled, no Down")
}

// kill -9 at 100 random moments under load: the spans of every check tile its
// life, no committed incident is lost, an absence with cause crash each time,
// back within 3 s.
func TestKilledAHundredTimes(t *testing.T) {
	const n, kills = 5000, 100
	w := newWatch(t, hosts(n))
	type death struct{ from, to time.Time }
	var deaths []death
	known := map[int]incident{}
	var back []time.Duration
	for range kills {
		// Load: outages come and go while it runs.
		silent := netip.PrefixFrom(host(rand.IntN(n)&^15), 28)
		w.lab.Silence(silent)
		life := time.Duration(rand.IntN(6000)) * time.Millisecond
		for end := time.Now().Add(life); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
			var page struct{ Items []incident }
			if err := w.Get(t.Context(), w.ask, "/api/incidents?limit=100", &page); err != nil {
				t.Fatal(err)
			}
			for _, in := range page.Items {
				known[in.ID] = in
			}
		}
		w.lab.Restore(silent)
		from := time.Now()
		w.Kill()
		w.ask.CloseIdleConnections()
		began := time.Now()
		w.start()
		w.until(30*time.Second, "looks", func(s bench.Statistics) bool { return s.Taken() > 0 })
		back = append(back, time.Since(began))
		deaths = append(deaths, death{from, time.Now()})
	}
	w.allUp()
	after := map[int]incident{}
	for _, in := range w.incidents() {
		after[in.ID] = in
	}
	for id, in := range known {
		if got, ok := after[id]; !ok || !got.Opened.Equal(in.Opened) {
			t.Errorf("incident %d was committed and is lost: %+v", id, in)
		}
	}
	s := w.book()
	var absences []sereno.Absence
	for cursor := ""; ; {
		page, next, err := s.Absences(t.Context(), store.AbsenceQuery{Limit: 1000, Cursor: cursor})
		if err != nil {
			t.Fatal(err)
		}
		absences = append(absences, page...)
		if cursor = next; next == "" {
			break
		}
	}
	unbooked := 0
	for _, d := range deaths {
		if !slices.ContainsFunc(absences, func(a sereno.Absence) bool {
			return a.Cause == sereno.Crash && !a.Begin.Time().After(d.from) && a.End.Time().After(d.from)
		}) {
			unbooked++
		}
	}
	t.Logf("%d kills under load, %d devices: back (first look) p50 %v, most %v; %d absences; %d deaths without one; %d incidents known, none lost",
		kills, n, quantile(back, 0.5), quantile(back, 1), len(absences), unbooked, len(known))
	if unbooked > 0 || quantile(back, 1) > 3*time.Second {
		t.Error("promise not kept")
	}
}
