package app

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sereno"
	"sereno/config"
)

// serve runs Sereno on a free port of the loopback and returns its address and
// how to stop it.
func serve(t *testing.T, cfg *config.Config, o Options) (url string, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ready, done := make(chan string, 1), make(chan error, 1)
	cfg.Listen = "127.0.0.1:0"
	o.Config, o.Ready = cfg, func(url string) { ready <- url }
	if o.Log == nil {
		o.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	if o.Stdout == nil {
		o.Stdout = io.Discard
	}
	go func() { done <- Run(ctx, o) }()
	select {
	case url = <-ready:
	case err := <-done:
		t.Fatal(err)
	}
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(stop)
	return url, stop
}

// get asks until the answer satisfies, for as long as a slow day may need.
func get[T any](t *testing.T, url string, satisfies func(T) bool) (answer T) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		res, err := http.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		var fresh T
		if err := json.Unmarshal(body, &fresh); err != nil {
			t.Fatalf("%s: %s", err, body)
		}
		if answer = fresh; satisfies(answer) {
			return answer
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s never said what was expected; last: %s", url, body)
		}
	}
}

type list[T any] struct {
	Items []T `json:"items"`
}

type deviceAnswer struct {
	ID     int
	Name   string
	Status sereno.Status
}

func TestAFreshStartShowsSomethingAlive(t *testing.T) {
	cfg := config.Default()
	cfg.Data = t.TempDir()
	var said bytes.Buffer
	url, stop := serve(t, cfg, Options{Version: "test", Stdout: &said})
	got := get(t, url+"/api/devices", func(l list[deviceAnswer]) bool {
		return len(l.Items) > 0 && l.Items[0].Status == sereno.Up
	})
	if got.Items[0].Name != "this-machine" {
		t.Errorf("%+v", got)
	}
	stop()
	if !strings.Contains(said.String(), url) || !strings.Contains(said.String(), "sereno devices add") {
		t.Errorf("the greeting does not say where to look: %s", &said)
	}
}

func TestAStopIsCleanAndARestartGoesOn(t *testing.T) {
	cfg := config.Default()
	cfg.Data = t.TempDir()
	url, stop := serve(t, cfg, Options{})
	up := func(l list[deviceAnswer]) bool { return len(l.Items) > 0 && l.Items[0].Status == sereno.Up }
	before := get(t, url+"/api/devices", up)
	stop()
	url, stop = serve(t, cfg, Options{})
	after := get(t, url+"/api/devices", up)
	if after.Items[0].ID != before.Items[0].ID {
		t.Error("the device changed its id")
	}
	type absence struct{ Cause string }
	if l := get(t, url+"/api/absences", func(list[absence]) bool { return true }); len(l.Items) != 0 {
		t.Errorf("a quick restart was booked as an absence: %+v", l)
	}
	stop()
}

func TestAFileDoesNotTakeOverWhatWasAddedByCommand(t *testing.T) {
	cfg := config.Default()
	cfg.Data = t.TempDir()
	_, stop := serve(t, cfg, Options{}) // adds this machine
	stop()
	again := *cfg
	again.Devices = []sereno.Device{{
		Name: "this-machine", Address: "127.0.0.1", FromFile: true,
		Checks: []sereno.Check{{Name: "icmp", Kind: "icmp", Policy: sereno.DefaultPolicy}},
	}}
	err := Run(t.Context(), Options{Config: &again, Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Stdout: io.Discard})
	want := `the configuration file: there is a device "this-machine" already: choose another name, ` +
		`or first remove the other, which was added by command (sereno devices remove)`
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

func TestAStartWithoutTheFileKeepsItsDevices(t *testing.T) {
	cfg := config.Default()
	cfg.Data = t.TempDir()
	with := *cfg
	with.File, with.Devices = "sereno.yaml", thisMachine()[:1]
	with.Devices[0].FromFile = true
	_, stop := serve(t, &with, Options{})
	stop()
	count := func(cfg config.Config) int {
		url, stop := serve(t, &cfg, Options{})
		defer stop()
		answer := get(t, url+"/api/devices", func(struct{ Items []any }) bool { return true })
		return len(answer.Items)
	}
	if n := count(*cfg); n != 1 {
		t.Errorf("%d devices after a start without the file, want the one that it had", n)
	}
	without := with
	without.Devices = nil
	if n := count(without); n != 0 {
		t.Errorf("%d devices after a start with a file that has none", n)
	}
}

func TestALostSignOfLifeDoesNotTakeBackWhatWasSeen(t *testing.T) {
	cfg := config.Default()
	cfg.Data = t.TempDir()
	device := func(name, address string) sereno.Device {
		return sereno.Device{Name: name, Address: address, FromFile: true, Checks: []sereno.Check{{Name: "icmp", Kind: "icmp", Policy: sereno.DefaultPolicy}}}
	}
	cfg.Devices = []sereno.Device{device("a", "127.0.0.1")}
	reload := make(chan struct{})
	next := make(chan *config.Config, 1)
	o := Options{Reload: reload, Load: func() (*config.Config, error) { return <-next, nil }}
	url, stop := serve(t, cfg, o)
	up := func(l list[deviceAnswer]) bool { return l.Items[0].Status == sereno.Up }
	get(t, url+"/api/devices", up)
	time.Sleep(3 * time.Second)
	changed := *cfg
	changed.Devices = append(changed.Devices, device("b", "127.0.0.2"))
	next <- &changed
	reload <- struct{}{}
	get(t, url+"/api/devices", func(l list[deviceAnswer]) bool { return len(l.Items) == 2 && l.Items[1].Status == sereno.Up })
	stop()
	if err := os.Remove(filepath.Join(cfg.Data, "alive")); err != nil {
		t.Fatal(err)
	}
	url, stop = serve(t, &changed, o)
	defer stop()
	get(t, url+"/api/devices", up)
	type span struct {
		Status  sereno.Status
		Reason  string
		Seconds float64
	}
	h := get(t, url+"/api/devices/1/history", func(h struct{ Spans []span }) bool { return len(h.Spans) > 0 })
	for _, s := range h.Spans {
		if s.Status == sereno.Up {
			if s.Seconds < 2 {
				t.Errorf("what was seen for 3 s and more: %+v", h.Spans)
			}
			return
		}
	}
	t.Errorf("never up: %+v", h.Spans)
}

func TestReloadTakesOverTheFileWithoutTouchingTheRest(t *testing.T) {
	cfg := config.Default()
	cfg.Data = t.TempDir()
	device := func(name, address string) sereno.Device {
		return sereno.Device{Name: name, Address: address, FromFile: true, Checks: []sereno.Check{{Name: "icmp", Kind: "icmp", Policy: sereno.DefaultPolicy}}}
	}
	cfg.Devices = []sereno.Device{device("a", "127.0.0.1"), device("b", "127.0.0.2")}
	reload := make(chan struct{})
	next := make(chan *config.Config, 1)
	url, _ := serve(t, cfg, Options{Reload: reload, Load: func() (*config.Config, error) { return <-next, nil }})
	allUp := func(n int) func(l list[deviceAnswer]) bool {
		return func(l list[deviceAnswer]) bool {
			for _, d := range l.Items {
				if d.Status != sereno.Up {
					return false
				}
			}
			return len(l.Items) == n
		}
	}
	before := get(t, url+"/api/devices", allUp(2))
	changed := *cfg
	changed.Devices = []sereno.Device{device("a", "127.0.0.1"), device("c", "127.0.0.3"), device("name", "localhost")}
	next <- &changed
	reload <- struct{}{}
	after := get(t, url+"/api/devices", func(l list[deviceAnswer]) bool { return allUp(3)(l) && l.Items[1].Name == "c" })
	if before.Items[0] != after.Items[0] {
		t.Errorf("a device that did not change: %+v became %+v", before.Items[0], after.Items[0])
	}
}

func TestACheckThatCannotBeLookedAtSaysWhy(t *testing.T) {
	cfg := config.Default()
	cfg.Data = t.TempDir()
	cfg.Devices = []sereno.Device{{Name: "a", Address: "no-such-name.invalid", FromFile: true, Checks: []sereno.Check{{Name: "icmp", Kind: "icmp", Policy: sereno.DefaultPolicy}}}}
	url, _ := serve(t, cfg, Options{})
	type device struct {
		Status sereno.Status
		Reason string
	}
	get(t, url+"/api/devices", func(l list[device]) bool {
		return len(l.Items) == 1 && l.Items[0].Status == sereno.Unknown && strings.Contains(l.Items[0].Reason, "name")
	})
}
