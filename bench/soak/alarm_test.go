//go:build soak

package soak

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"sereno/bench"
)

// A heard message is one that a webhook brought.
type heard struct {
	At       time.Time `json:"-"`
	Channel  string    `json:"-"`
	Event    string
	Delivery string
	Title    string
	Text     string
	Count    int
	Incident *struct{ ID int }
}

// An ear is where the webhooks of a lab go: /NAME is the channel.
type ear struct {
	url string

	mu  sync.Mutex
	all []heard
}

// listen opens an ear in the network of the lab.
func (w *watch) listen() *ear {
	w.t.Helper()
	var ln net.Listener
	var err error
	if e := w.lab.Do(func() error { ln, err = net.Listen("tcp", "127.0.0.1:0"); return err }); e != nil {
		w.t.Fatal(e)
	}
	e := &ear{url: "http://" + ln.Addr().String()}
	server := &http.Server{Handler: http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		h := heard{At: time.Now(), Channel: strings.TrimPrefix(r.URL.Path, "/")}
		body, err := io.ReadAll(r.Body)
		if err == nil {
			err = json.Unmarshal(body, &h)
		}
		if err != nil {
			w.t.Errorf("a webhook brought %q: %v", body, err)
		}
		e.mu.Lock()
		defer e.mu.Unlock()
		e.all = append(e.all, h)
	})}
	go server.Serve(ln)
	w.t.Cleanup(func() { server.Close() })
	return e
}

// heard returns what came by a channel so far.
func (e *ear) heard(channel string) (list []heard) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, h := range e.all {
		if h.Channel == channel {
			list = append(list, h)
		}
	}
	return list
}

func (e *ear) channels() string {
	return fmt.Sprintf("channels:\n  - {name: a, webhook: {url: %s/a}}\n  - {name: b, webhook: {url: %s/b}}\n", e.url, e.url)
}

// tell prints what came by a channel.
func tell(t *testing.T, list []heard) {
	t.Helper()
	for _, h := range list {
		t.Logf("%s %s %s: %s", h.At.Format(time.TimeOnly), h.Channel, h.Event, h.Title)
	}
}

// A switch with 2,800 devices behind it dies and returns: one alarm and one
// recovery for each channel.
func TestOneSwitchIsOneAlarm(t *testing.T) {
	const n = 2800
	w := newLab(t, "", t.TempDir())
	e := w.listen()
	var b strings.Builder
	fmt.Fprintf(&b, "%switnesses: [%s]\ndevices:\n  - {name: switch, address: %s}\n", e.channels(), gateway, host(0))
	for i := 1; i <= n; i++ {
		fmt.Fprintf(&b, "  - {name: h%d, address: %s, parents: [switch]}\n", i, host(i))
	}
	w.conf = b.String()
	w.start()
	w.allUp()
	behind := netip.MustParsePrefix("10.1.0.0/16")
	w.lab.Silence(behind)
	w.until(20*time.Second, "all down", func(s bench.Statistics) bool { return s.Devices.Down == n+1 })
	time.Sleep(25 * time.Second)
	w.lab.Restore(behind)
	w.allUp()
	time.Sleep(25 * time.Second)
	for _, channel := range []string{"a", "b"} {
		got := e.heard(channel)
		tell(t, got)
		if len(got) != 2 || got[0].Event != "opened" || got[1].Event != "closed" || !strings.Contains(got[0].Text, fmt.Sprint(n)) {
			t.Errorf("%d messages by %s, not an alarm with %d behind it, and a recovery", len(got), channel, n)
		}
	}
	if in := w.incidents(); len(in) != n+1 {
		t.Errorf("%d incidents, not %d", len(in), n+1)
	}
	w.book().Close()
}

// Ten thousand unrelated devices die within a minute: at most ten messages by
// each channel in the first ten minutes, and every incident is recorded and
// accounted for. SERENO_SOAK_STORM is how many die.
func TestAStormIsFewMessages(t *testing.T) {
	n := number("SERENO_SOAK_STORM", 10_000)
	w := newLab(t, "", t.TempDir())
	e := w.listen()
	w.conf = e.channels() + hosts(n)
	w.start()
	w.allUp()
	order := rand.Perm(n)
	began := time.Now()
	for i, h := range order {
		time.Sleep(time.Until(began.Add(time.Duration(i) * time.Minute / time.Duration(n))))
		w.lab.Silence(netip.PrefixFrom(host(h), 32))
	}
	w.until(30*time.Second, "all down", func(s bench.Statistics) bool { return s.Devices.Down == n })
	time.Sleep(time.Until(began.Add(10 * time.Minute)))
	for _, channel := range []string{"a", "b"} {
		got := e.heard(channel)
		tell(t, got)
		t.Logf("%d devices died within a minute: %d messages by %s in ten", n, len(got), channel)
		if len(got) == 0 || len(got) > 10 {
			t.Errorf("%d messages by %s, not 1 to 10", len(got), channel)
		}
	}
	recorded := 0
	for _, in := range w.incidents() {
		if in.DeviceID != 0 { // else it is Sereno's own, such as a clock that is not synchronised
			recorded++
		}
	}
	if recorded != n {
		t.Errorf("%d incidents, not %d", recorded, n)
	}
	told := map[string]int{}
	for _, d := range list[struct {
		Channel, State, Event string
		Count                 int
		Incidents             []struct{ Device *string }
	}](w, "/api/alerts") {
		if d.State == "delivered" && d.Event != "reminder" && d.Incidents[0].Device != nil {
			told[d.Channel] += d.Count
		}
	}
	for _, channel := range []string{"a", "b"} {
		if told[channel] != n {
			t.Errorf("%d of %d incidents are accounted for on %s", told[channel], n, channel)
		}
	}
	for h := range n {
		w.lab.Restore(netip.PrefixFrom(host(h), 32))
	}
	w.allUp()
	time.Sleep(time.Minute + 20*time.Second)
	for _, channel := range []string{"a", "b"} {
		got := e.heard(channel)
		tell(t, got)
		t.Logf("and %d by %s with the end of all", len(got), channel)
	}
	w.book().Close()
}
