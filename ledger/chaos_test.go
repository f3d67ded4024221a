package ledger

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sereno"
)

// Whatever happens to hosts, plan and process, in any order: spans tile, a
// check has one open incident at most, what is counted is what there is,
// nobody is Down who answered, and in the end all is well but what is dead,
// which has an outage of its own.
func TestWhateverHappensTheBooksAgree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		devices := []sereno.Device{
			{Name: "s1"},
			{Name: "s2"},
			{Name: "c1", Parents: []string{"s1"}},
			{Name: "c2", Parents: []string{"s1", "s2"}},
			{Name: "g1", Parents: []string{"c1"}},
			{Name: "steady"},
		}
		for i := range devices {
			p := sereno.DefaultPolicy
			p.Interval = rapid.SampledFrom([]time.Duration{sec(0.5), sec(1), sec(1), sec(3), sec(10)}).Draw(t, "interval")
			p.Timeout = min(p.Interval, time.Second)
			p.Fall = rapid.IntRange(1, 3).Draw(t, "fall")
			devices[i].Checks = []sereno.Check{{Policy: p}}
		}
		w := newWorld(t, drawPolling(t, devices), "gw")
		ids := map[string]sereno.CheckID{}
		for _, d := range devices {
			ids[d.Name] = d.Checks[0].ID
		}
		dead := devices[rapid.IntRange(0, 5).Draw(t, "dead")].Name // from then on; "steady" is not
		if dead != "steady" {
			w.silent(float64(rapid.IntRange(5, 100).Draw(t, "since")), 10_000, dead)
		}
		at := 0.0
		for range rapid.IntRange(1, 12).Draw(t, "events") {
			at += float64(rapid.IntRange(1, 200).Draw(t, "tenths")) / 10
			w.pass(max(sec(at), w.now.Sub(w.begin)))
			at = w.now.Sub(w.begin).Seconds()
			length := float64(rapid.IntRange(1, 300).Draw(t, "length")) / 10
			i := rapid.IntRange(0, 4).Draw(t, "device")
			from := at + 0.0005 // never the moment of a look, which was taken already
			switch rapid.SampledFrom([]string{"silence", "silence", "family", "cut", "absence", "pause", "parents", "restart", "crash"}).Draw(t, "what") {
			case "silence":
				w.silent(from, at+length, devices[i].Name)
			case "family":
				w.silent(from, at+length, "s1", "s2", "c1", "c2", "g1")
			case "cut":
				w.silent(from, at+length, "*")
			case "absence":
				w.absent(sec(at+length), sereno.Suspended)
				w.looks = map[sereno.CheckID][]sereno.Result{}
			case "restart":
				w.l.review(true)
				w.commit()
				w.now = w.now.Add(2 * time.Second)
				w.restarted(devices, "gw")
			case "crash":
				w.found = []sereno.Absence{{Begin: w.now, End: w.now.Add(sec(length)), Cause: sereno.Crash}}
				w.now = w.now.Add(sec(length))
				w.restarted(devices, "gw")
			case "pause":
				devices[i].Paused = !devices[i].Paused
				w.place(devices[i])
			case "parents":
				devices[2].Parents = slices.Clone(rapid.SampledFrom([][]string{nil, {"s1"}, {"s2"}, {"s1", "s2"}}).Draw(t, "parents"))
				w.place(devices[2])
			}
		}
		for i := range devices {
			if devices[i].Paused {
				devices[i].Paused = false
				w.place(devices[i])
			}
		}
		w.pass(max(w.now.Sub(w.begin), 100*time.Second) + 100*time.Second)

		open := map[sereno.CheckID]int{}
		for _, in := range w.incidents {
			if in.Closed == 0 {
				open[in.Check]++
				if in.Trouble != sereno.TroubleFlapping && in.Check != ids[dead] {
					t.Errorf("all answers, and yet: %+v", in)
				}
			} else if in.Closed < in.Opened {
				t.Errorf("closed before it opened: %+v", in)
			}
			if in.Under != 0 && w.incidents[in.Under].ID == 0 {
				t.Errorf("under one that is not there: %+v", in)
			}
		}
		n := 0
		for check, many := range open {
			if n += many; many > 1 {
				t.Errorf("check %d has %d open incidents", check, many)
			}
		}
		if n != w.l.incidents {
			t.Errorf("%d open incidents, counted %d", n, w.l.incidents)
		}
		ups, doubted := 0, 0
		for _, c := range w.l.checks {
			if c.state.Status == sereno.Up {
				ups++
			}
			if c.doubted {
				doubted++
			}
			want := sereno.Up
			if in := w.incidents[w.caseOf(c)]; c.dev.name == dead && dead != "steady" {
				if want = sereno.Down; in.Closed != 0 || in.Under != 0 || in.ID == 0 {
					t.Errorf("%s is dead, and yet: %+v, %s", dead, in, w.tell(c.id))
				}
			}
			if c.state.Status != want || c.open.Status != want || c.state.Since != c.open.Begin {
				t.Errorf("%s is %v since %v: %s", c.dev.name, c.state.Status, c.state.Since, w.tell(c.id))
			}
		}
		if ups != w.l.ups || doubted != w.l.doubted {
			t.Errorf("counted %d up, %d doubted; there are %d, %d", w.l.ups, w.l.doubted, ups, doubted)
		}
		for name, id := range ids {
			for _, s := range w.spans(id) {
				if s.Status == sereno.Down && w.alive(name, s.Begin) != sereno.Down {
					t.Errorf("%s was down at %v: %s", name, s.Begin, w.tell(id))
				}
				if s.Status == sereno.Up && s.Begin > w.begin && w.alive(name, s.Begin) != sereno.Up {
					t.Errorf("%s was up at %v: %s", name, s.Begin, w.tell(id))
				}
			}
		}
		if t.Failed() {
			t.Log(fmt.Sprint(w.incidents))
		}
	})
}

func (w *world) caseOf(c *watch) sereno.IncidentID {
	if c.trouble == nil {
		return 0
	}
	return c.trouble.Incident.ID
}
