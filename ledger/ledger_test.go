package ledger

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sereno"
)

func sec(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// silent makes hosts silent from begin to end, in seconds.
func (w *world) silent(begin, end float64, hosts ...string) {
	before := w.alive
	w.alive = func(host string, at sereno.Instant) sereno.Status {
		if t := at.Sub(w.begin); t >= sec(begin) && t < sec(end) {
			for _, h := range hosts {
				if h == host || h == "*" {
					return sereno.Down
				}
			}
		}
		return before(host, at)
	}
}

// drawPolling moves every device and witness to a random place on its grid, by
// giving its check a random id.
func drawPolling(t *rapid.T, devices []sereno.Device) []sereno.Device {
	ids := rapid.SliceOfNDistinct(rapid.Int64Range(1, 1<<40), len(devices), len(devices), rapid.ID[int64]).Draw(t, "ids")
	for i := range devices {
		if devices[i].Checks == nil {
			devices[i].Checks = []sereno.Check{{Policy: sereno.DefaultPolicy}}
		}
		devices[i].Checks[0].ID = sereno.CheckID(ids[i])
	}
	return devices
}

func TestAnOutageIsBookedWhenItWas(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t, drawPolling(t, []sereno.Device{{Name: "a"}, {Name: "b"}}), "gw")
		begin := rapid.Float64Range(20, 21).Draw(t, "begin")
		end := begin + rapid.Float64Range(4, 30).Draw(t, "length")
		w.silent(begin, end, "a")
		w.pass(sec(end + 10))
		a := w.l.devices[1].checks[0].id
		spans := w.spans(a)
		if w.ever(a) != "unknown up down up" {
			t.Fatal(w.tell(a))
		}
		down := spans[2]
		if late := down.Begin.Sub(w.begin) - sec(begin); late < 0 || late > time.Second {
			t.Errorf("begins %v after the truth", late)
		}
		if late := down.End.Sub(w.begin) - sec(end); late < 0 || late > time.Second {
			t.Errorf("ends %v after the truth", late)
		}
		if down.Uncertainty != time.Second {
			t.Errorf("uncertainty %v", down.Uncertainty)
		}
		incidents := w.all(sereno.TroubleDown)
		if len(incidents) != 1 || incidents[0].Opened != down.Begin || incidents[0].Closed != down.End || incidents[0].Reason != "no reply in 1s" {
			t.Fatalf("%+v", incidents)
		}
		if took := w.committed[1].Sub(w.begin) - sec(begin); took > 3*time.Second+time.Second+200*time.Millisecond {
			t.Errorf("committed %v after the silence began", took)
		}
		if w.ever(w.l.devices[2].checks[0].id) != "unknown up" {
			t.Error("the other device was touched")
		}
	})
}

func TestIsolationBooksNobodysOutage(t *testing.T) {
	for _, cut := range []struct {
		how  string
		what sereno.Status
	}{{"gateway and all targets silent", sereno.Down}, {"route gone", sereno.Unknown}} {
		t.Run(cut.how, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				devices := []sereno.Device{{Name: "lo"}, {Name: "slow", Checks: []sereno.Check{{Policy: sereno.Policy{Interval: 30 * time.Second, Timeout: time.Second, Fall: 3, Rise: 2}}}}, {Name: "dead"}}
				for i := range 20 {
					d := sereno.Device{Name: fmt.Sprint("host", i)}
					if i%4 == 0 {
						d.Checks = []sereno.Check{{Policy: sereno.DefaultPolicy}}
						d.Checks[0].Policy.Fall = rapid.IntRange(1, 3).Draw(t, "fall")
					}
					devices = append(devices, d)
				}
				w := newWorld(t, drawPolling(t, devices), "gw1", "gw2")
				w.silent(0, 1000, "dead")
				begin := rapid.Float64Range(40, 42).Draw(t, "begin")
				end := begin + rapid.Float64Range(6, 60).Draw(t, "length")
				before := w.alive
				w.alive = func(host string, at sereno.Instant) sereno.Status {
					if s := at.Sub(w.begin); host != "lo" && s >= sec(begin) && s < sec(end) {
						return cut.what
					}
					return before(host, at)
				}
				w.pass(sec(end + 70))

				if in := w.all(sereno.TroubleIsolated); len(in) != 1 || in[0].Closed == 0 {
					t.Fatalf("isolated incidents: %+v", in)
				} else if opened, closed := in[0].Opened.Sub(w.begin), in[0].Closed.Sub(w.begin); opened < sec(begin) || opened > sec(begin+1.01) || closed < sec(end) || closed > sec(end+1.01) {
					t.Errorf("isolated from %v to %v, cut from %v to %v", opened, closed, sec(begin), sec(end))
				}
				for _, in := range w.all(sereno.TroubleDown) {
					if w.l.devices[in.Device].name != "dead" {
						t.Fatalf("%s was declared down: %+v", w.l.devices[in.Device].name, in)
					}
				}
				for _, d := range w.l.devices {
					ever, want := w.ever(d.checks[0].id), "unknown up unknown up"
					switch d.name {
					case "lo":
						want = "unknown up"
					case "slow":
						if ever == "unknown up" { // it was not due while cut off
							continue
						}
					case "dead":
						want = "unknown down unknown down"
					}
					if ever != want {
						t.Errorf("%s: %s", d.name, w.tell(d.checks[0].id))
					}
				}
			})
		})
	}
}

func TestAWitnessThatNeverAnsweredSaysNothing(t *testing.T) {
	w := newWorld(t, []sereno.Device{{Name: "a"}}, "gw")
	w.l.witnesses[-1].Trusted = false
	w.l.testify()
	w.silent(0, 100, "gw")
	w.silent(20, 30, "a")
	w.pass(sec(40))
	if len(w.all(sereno.TroubleDown)) != 1 || len(w.all(sereno.TroubleIsolated)) != 0 {
		t.Errorf("%+v", w.incidents)
	}
}

func TestParentAndChildrenLostAtOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		devices := []sereno.Device{{Name: "switch"}}
		if slow := rapid.SampledFrom([]int{1, 2, 10, 60}).Draw(t, "the parent's interval"); slow > 1 {
			p := sereno.DefaultPolicy
			p.Interval = time.Duration(slow) * time.Second
			devices[0].Checks = []sereno.Check{{Policy: p}}
		}
		n := rapid.IntRange(1, 100).Draw(t, "children")
		for i := range n {
			devices = append(devices, sereno.Device{Name: fmt.Sprint("child", i), Parents: []string{"switch"}})
		}
		devices = append(devices, sereno.Device{Name: "other"})
		w := newWorld(t, drawPolling(t, devices), "gw")
		var all []string
		for _, d := range devices[:n+1] {
			all = append(all, d.Name)
		}
		begin := rapid.Float64Range(80, 82).Draw(t, "begin")
		w.silent(begin, begin+30, all...)
		w.pass(sec(begin + 110))

		down := w.all(sereno.TroubleDown)
		if len(down) != n+1 {
			t.Fatalf("%d incidents of %d", len(down), n+1)
		}
		var top sereno.Incident
		for _, in := range down {
			if in.Device == 1 {
				top = in
			}
		}
		for _, in := range down {
			if in.Device != 1 && (in.Under != top.ID || in.Reason != "unreachable behind switch") {
				t.Fatalf("not below the switch's: %+v", in)
			}
			if in.Closed == 0 {
				t.Errorf("still open: %+v", in)
			}
		}
		for _, d := range w.l.devices {
			if d.name == "other" || d.id == 1 {
				continue
			}
			spans := w.spans(d.checks[0].id)
			if w.ever(d.checks[0].id) != "unknown up down up" || spans[2].Cause != sereno.CauseBehindParent {
				t.Fatal(w.tell(d.checks[0].id))
			}
		}
	})
}

func TestAChildAloneIsItsOwnOutage(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t, drawPolling(t, []sereno.Device{{Name: "switch"}, {Name: "child", Parents: []string{"switch"}}}), "gw")
		w.silent(20, 40, "child")
		w.pass(sec(50))
		down := w.all(sereno.TroubleDown)
		if len(down) != 1 || down[0].Under != 0 {
			t.Fatalf("%+v", down)
		}
		if took := w.committed[down[0].ID].Sub(w.begin); took > sec(24.2) {
			t.Errorf("held until %v", took)
		}
	})
}

func TestAChildThatStaysDownWhenItsParentIsBack(t *testing.T) {
	w := newWorld(t, []sereno.Device{{Name: "switch"}, {Name: "child", Parents: []string{"switch"}}}, "gw")
	w.silent(20, 40, "switch", "child")
	w.silent(40, 100, "child")
	w.pass(sec(60))
	child := w.l.devices[2].checks[0]
	in := child.trouble.Incident
	if in.Under != 0 || in.Closed != 0 || in.Reason != "no reply in 1s" {
		t.Errorf("%+v", in)
	}
	spans := w.spans(child.id)
	if n := len(spans); n != 4 || spans[2].Cause != sereno.CauseBehindParent || spans[3].Cause != sereno.CauseLook || spans[3].Status != sereno.Down {
		t.Error(w.tell(child.id))
	}
}

func TestAnAbsenceCostsNobodyASecond(t *testing.T) {
	w := newWorld(t, []sereno.Device{{Name: "a"}, {Name: "b"}})
	w.pass(sec(20))
	w.events = nil // the process does not run …
	w.now = w.begin.Add(sec(50))
	w.found = []sereno.Absence{{Begin: w.begin.Add(sec(20)), End: w.now, Cause: sereno.Stall}}
	for id, h := range w.hosts {
		w.grid(id, h.policy.Interval)
	}
	w.tick()
	w.pass(sec(60))
	for _, d := range w.l.devices {
		spans := w.spans(d.checks[0].id)
		if w.ever(d.checks[0].id) != "unknown up unknown up" || spans[2].Cause != sereno.CauseAbsence {
			t.Error(w.tell(d.checks[0].id))
		}
		f := sereno.Tally(func(yield func(sereno.Span) bool) {
			for _, s := range spans {
				if !yield(s) {
					return
				}
			}
		}, w.begin, w.now)
		if f.Down != 0 || f.Unknown < sec(28) || f.Up+f.Unknown != f.Window() {
			t.Errorf("%+v", f)
		}
	}
}

func TestFlappingIsOneIncident(t *testing.T) {
	w := newWorld(t, []sereno.Device{{Name: "a"}})
	for i := range 10 {
		w.silent(float64(20+20*i), float64(30+20*i), "a")
	}
	w.pass(20 * time.Minute)
	if in := w.all(sereno.TroubleFlapping); len(in) != 1 || in[0].Closed == 0 {
		t.Errorf("%+v", in)
	}
	if n := len(w.spans(w.l.devices[1].checks[0].id)); n != 22 {
		t.Errorf("%d spans: flapping hid outages", n)
	}
}

// Whatever happens, the recorded spans tile the life of the check, sum to it
// exactly, and are what a replay of its looks gives.
func TestReplayGivesWhatWasRecorded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := sereno.Policy{
			Interval: rapid.SampledFrom([]time.Duration{sec(0.5), sec(1), sec(7), sec(60)}).Draw(t, "interval"),
			Fall:     rapid.IntRange(1, 5).Draw(t, "fall"), Rise: rapid.IntRange(1, 4).Draw(t, "rise"),
		}
		p.Timeout = min(p.Interval, time.Second)
		w := newWorld(t, []sereno.Device{{Name: "lo", Checks: []sereno.Check{{Policy: p}}}})
		// A random course of 1 to 60 s stretches.
		var until []sereno.Instant
		var status []sereno.Status
		for at := w.begin; at < w.begin.Add(10*time.Minute); {
			at = at.Add(sec(float64(rapid.IntRange(1, 60).Draw(t, "stretch"))))
			until = append(until, at)
			status = append(status, rapid.SampledFrom([]sereno.Status{sereno.Up, sereno.Up, sereno.Degraded, sereno.Down, sereno.Unknown}).Draw(t, "status"))
		}
		w.alive = func(_ string, at sereno.Instant) sereno.Status {
			for i, end := range until {
				if at < end {
					return status[i]
				}
			}
			return sereno.Up
		}
		w.pass(10 * time.Minute)
		id := w.l.devices[1].checks[0].id
		recorded := w.spans(id)

		var s sereno.State
		s.Since = w.begin
		replayed := []sereno.Span{{Begin: w.begin, Status: sereno.Unknown}}
		note := func(next sereno.State, c sereno.Change) {
			if s = next; c.IsZero() {
				return
			}
			last := &replayed[len(replayed)-1]
			if c.Begin == last.Begin {
				*last = sereno.Span{Begin: c.Begin, Status: c.To}
				return
			}
			last.End = c.Begin
			replayed = append(replayed, sereno.Span{Begin: c.Begin, Status: c.To})
		}
		for _, r := range w.looks[id] {
			note(s.Lapse(p, r.At))
			note(s.Next(p, r))
		}
		note(s.Lapse(p, w.now.Add(-p.Timeout-time.Second)))
		if len(recorded) != len(replayed) {
			t.Fatalf("recorded %s\nreplayed %+v", w.tell(id), replayed)
		}
		for i, r := range replayed {
			if g := recorded[i]; g.Begin != r.Begin || g.End != r.End || g.Status != r.Status {
				t.Fatalf("span %d: recorded %+v, replayed %+v", i, g, r)
			}
		}
		f := sereno.Tally(func(yield func(sereno.Span) bool) {
			for _, s := range recorded {
				if !yield(s) {
					return
				}
			}
		}, w.begin, w.now)
		if f.Up+f.Degraded+f.Down+f.Unknown+f.Maintenance+f.Paused != f.Window() {
			t.Fatalf("%+v do not sum to the window", f)
		}
	})
}

func TestUpBeforeTheRouter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t, drawPolling(t, []sereno.Device{{Name: "lo"}, {Name: "a"}, {Name: "b"}}), "gw")
		w.l.witnesses[-1].Trusted = false // found by itself, and this process has never heard it
		w.l.testify()
		w.silent(0, 40, "gw", "a", "b")
		w.silent(40, 50, "b")
		w.pass(sec(70))
		if in := w.all(sereno.TroubleIsolated); len(in) != 1 || in[0].Closed == 0 {
			t.Fatalf("isolated: %+v", in)
		}
		for _, in := range w.all(sereno.TroubleDown) {
			if w.l.devices[in.Device].name != "b" || in.Opened.Sub(w.begin) < sec(40) {
				t.Fatalf("%s was declared down while nothing could be seen: %+v", w.l.devices[in.Device].name, in)
			}
		}
	})
}

func TestAMuteGatewayHidesNothingForLong(t *testing.T) {
	w := newWorld(t, []sereno.Device{{Name: "a"}, {Name: "b"}}, "gw")
	w.l.witnesses[-1].Trusted = false
	w.l.testify()
	w.silent(0, 1000, "gw", "b")
	w.silent(0, 20, "a")
	w.pass(sec(60))
	if in := w.all(sereno.TroubleDown); len(in) != 1 || w.l.devices[in[0].Device].name != "b" {
		t.Errorf("%+v", w.incidents)
	}
	if in := w.all(sereno.TroubleIsolated); len(in) != 1 || in[0].Closed == 0 {
		t.Errorf("%+v", in)
	}
}
