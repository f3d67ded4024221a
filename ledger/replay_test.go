package ledger

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sereno"
)

// book gives what was written down of a check.
func (w *world) book(id sereno.CheckID) sereno.Book {
	b := sereno.Book{Check: id, Spans: w.spans(id), Policies: w.policies[id], Starts: w.starts, Absences: slices.Clone(w.absences)}
	slices.SortStableFunc(b.Absences, func(x, y sereno.Absence) int { return cmp.Compare(x.Begin, y.Begin) })
	b.Isolations = w.all(sereno.TroubleIsolated)
	return b
}

// stored gives what samples keep of the looks of a check from a moment on.
func (w *world) stored(id sereno.CheckID, from sereno.Instant) (looks []sereno.Result) {
	for _, r := range w.kept[id] {
		if r.Status == sereno.Unknown || r.At < from {
			continue
		}
		s := sereno.Result{Check: id, At: sereno.Instant(r.At.Time().UnixMilli()) * 1000, Status: sereno.Down}
		if r.Status.Answered() {
			s.Status, s.RTT = sereno.Up, sereno.RTTOf(sereno.StoredRTT(r.RTT))
		}
		looks = append(looks, s)
	}
	return looks
}

// replay folds the stored looks again.
func (w *world) replay(id sereno.CheckID, from sereno.Instant, change func(sereno.Policy) sereno.Policy) sereno.Replayed {
	policies := w.policies[id]
	judged := sereno.Judged(policies[len(policies)-1].Policy, w.now.Add(-2200*time.Millisecond)) // a proof may wait that long
	r := sereno.NewReplay(w.book(id), from, change)
	for _, look := range w.stored(id, from) {
		if look.At < judged {
			r.Look(&look)
		}
	}
	return r.End(from, w.now, judged)
}

func tellSpans(begin sereno.Instant, spans []sereno.Span) string {
	var b strings.Builder
	for _, s := range spans {
		fmt.Fprintf(&b, "\n  %v %v (%v) proof %v ± %v", s.Begin.Sub(begin), s.Status, s.Cause, s.Proof.Sub(begin), s.Uncertainty)
	}
	return b.String()
}

// identical fails unless the replay of a check under its own policies gives
// what was recorded, over most of the time from which looks are at hand.
func (w *world) identical(name string, id sereno.CheckID, from sereno.Instant) sereno.Replayed {
	w.t.Helper()
	done := w.replay(id, from, nil)
	if a, b, differ := done.Differ(); differ {
		var looks strings.Builder
		for _, r := range w.kept[id] {
			if r.At > min(a.Begin, b.Begin).Add(-20*time.Second) && r.At < max(a.Begin, b.Begin).Add(20*time.Second) {
				fmt.Fprintf(&looks, " %v:%v", r.At.Sub(w.begin), r.Status)
			}
		}
		w.t.Fatalf("%s: recorded %+v\nreplayed %+v\nrecorded:%s\nreplayed:%s\nlooks:%s\nstarts %+v\nabsences %+v\npolicies %+v\nisolations %+v\nbegin %d", name, a, b,
			tellSpans(w.begin, done.Recorded), tellSpans(w.begin, done.Same), looks.String(), w.starts, w.absences, w.policies[id], w.all(sereno.TroubleIsolated), w.begin)
	}
	return done
}

// alarms fails unless the spans of a check that hangs on nothing tell as many
// alarms as it had incidents. One that was paused is left out: a proof that
// waited for its verdict then opens no incident.
func (w *world) alarms(id sereno.CheckID) {
	w.t.Helper()
	if slices.ContainsFunc(w.spans(id), func(s sereno.Span) bool { return s.Cause == sereno.CausePaused }) {
		return
	}
	opened := 0
	for _, in := range w.incidents {
		if in.Check == id {
			opened++
		}
	}
	if n := sereno.Alarms(w.spans(id), w.starts, w.begin); n != opened {
		w.t.Fatalf("%d alarms and %d incidents: %s", n, opened, w.tell(id))
	}
}

// Whatever happens to hosts, plan, storage and process: the looks that were
// kept, as samples keep them, give under the policies that were in force the
// spans that were recorded.
func TestAReplayOfWhatWasKeptIsWhatWasRecorded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		devices := []sereno.Device{
			{Name: "s1"},
			{Name: "s2"},
			{Name: "c1", Parents: []string{"s1"}},
			{Name: "c2", Parents: []string{"s1", "s2"}},
			{Name: "g1", Parents: []string{"c1"}},
		}
		for i := range devices {
			devices[i].Checks = []sereno.Check{{Policy: drawPolicy(t)}}
		}
		w := newWorld(t, drawPolling(t, devices), "gw")
		noise := rapid.Uint64().Draw(t, "noise")
		chance := func(host string, at sereno.Instant, of uint64) uint64 {
			h := noise ^ uint64(at)*0x9e3779b97f4a7c15 ^ uint64(host[0])<<20 ^ uint64(host[1])<<40
			h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
			h = (h ^ h>>27) * 0x94d049bb133111eb
			return (h ^ h>>31) % of
		}
		w.rtt = func(host string, at sereno.Instant) time.Duration {
			return time.Microsecond + time.Duration(chance(host, at, 13))*10*time.Millisecond + time.Duration(chance(host, at, 977))
		}
		lossy := rapid.Uint64Range(0, 3).Draw(t, "tenths lost")
		w.alive = func(host string, at sereno.Instant) sereno.Status {
			if host != "gw" && chance(host, at+1, 10) < lossy {
				return sereno.Down
			}
			return sereno.Up
		}
		for range rapid.IntRange(1, 14).Draw(t, "events") {
			w.pass(w.now.Sub(w.begin) + time.Duration(rapid.IntRange(1, 200).Draw(t, "tenths"))*100*time.Millisecond)
			at := w.now.Sub(w.begin).Seconds()
			length := float64(rapid.IntRange(1, 300).Draw(t, "length")) / 10
			i := rapid.IntRange(0, 4).Draw(t, "device")
			from := at + 0.0005 // never the moment of a look, which was taken already
			switch rapid.SampledFrom([]string{"silence", "silence", "family", "cut", "route", "absence", "pause", "parents", "policy", "restart", "crash", "stuck"}).Draw(t, "what") {
			case "silence":
				w.silent(from, at+length, devices[i].Name)
			case "family":
				w.silent(from, at+length, "s1", "s2", "c1", "c2", "g1")
			case "cut":
				w.silent(from, at+length, "*")
			case "route":
				w.noRoute(from, at+length)
			case "absence":
				w.absent(sec(at+length), sereno.Suspended)
			case "restart":
				w.l.review(true)
				w.commit()
				held := len(w.l.held) > 0
				settled := w.now
				if held {
					settled = w.now.Add(-3 * time.Second)
				}
				w.now = w.now.Add(2 * time.Second)
				w.restartedAs(devices, settled, "gw")
			case "crash", "stuck":
				settled := w.now.Add(-time.Duration(rapid.IntRange(0, 50).Draw(t, "since the mark")) * 100 * time.Millisecond)
				if len(w.l.held) > 0 {
					settled = w.now.Add(-4 * time.Second)
				}
				settled = max(settled, w.l.since)
				if rapid.Bool().Draw(t, "storage fails first") {
					w.stuck, settled = true, min(settled, w.now)
					w.pass(w.now.Sub(w.begin) + time.Duration(rapid.IntRange(1, 50).Draw(t, "stuck for"))*100*time.Millisecond)
				}
				if len(w.l.held) > 0 {
					settled = min(settled, w.now.Add(-4*time.Second))
				}
				for _, d := range devices { // the latest looks were not written any more
					id := d.Checks[0].ID
					looks := w.kept[id]
					for n := rapid.IntRange(0, 3).Draw(t, "unwritten"); n > 0 && len(looks) > 0 && looks[len(looks)-1].At > settled; n-- {
						looks = looks[:len(looks)-1]
					}
					w.kept[id] = looks
				}
				mark := max(settled, w.now.Add(-5*time.Second)) // a start goes on from what is on disk
				for _, a := range w.absences {
					mark = max(mark, a.End)
				}
				for _, s := range w.open {
					mark = max(mark, s.Proof)
				}
				w.killed(devices, mark, settled, sec(length))
			case "pause":
				devices[i].Paused = !devices[i].Paused
				w.place(devices[i])
			case "policy":
				p := drawPolicy(t)
				devices[i].Checks[0].Policy = p
				w.place(devices[i])
			case "parents":
				devices[2].Parents = slices.Clone(rapid.SampledFrom([][]string{nil, {"s1"}, {"s2"}, {"s1", "s2"}}).Draw(t, "parents"))
				w.place(devices[2])
			}
		}
		w.pass(w.now.Sub(w.begin) + 20*time.Second)
		late := w.begin.Add(sec(float64(rapid.IntRange(0, 100).Draw(t, "looks from"))))
		for _, d := range devices {
			id := d.Checks[0].ID
			w.identical(d.Name, id, w.begin)
			w.identical(d.Name+", later", id, late)
			if d.Parents == nil && d.Name[0] == 's' {
				w.alarms(id)
			}
		}
	})
}

// noRoute leaves this machine without a route from one time to another.
func (w *world) noRoute(from, to float64) {
	before := w.alive
	w.alive = func(host string, when sereno.Instant) sereno.Status {
		if t := when.Sub(w.begin); t >= sec(from) && t < sec(to) {
			return sereno.Unknown
		}
		return before(host, when)
	}
}

// killed ends the process now, and starts it again after a while.
func (w *world) killed(devices []sereno.Device, mark, settled sereno.Instant, off time.Duration) {
	w.found = []sereno.Absence{{Begin: mark, End: w.now.Add(off), Cause: sereno.Crash}}
	w.now = w.now.Add(off)
	w.stuck = false
	w.restartedAs(devices, settled, "gw")
}

// Histories that a replay once told otherwise.
func TestAReplayOfHardHistories(t *testing.T) {
	quick := sereno.Policy{Interval: sec(0.5), Timeout: sec(0.5), Fall: 1, Rise: 1, LossWindow: sec(5)}
	with := func(change func(p *sereno.Policy)) sereno.Policy {
		p := quick
		change(&p)
		return p
	}
	slow := with(func(p *sereno.Policy) { p.Interval, p.Timeout = sec(10), sec(1) })
	for _, h := range []struct {
		name   string
		policy sereno.Policy
		live   func(w *world, d []sereno.Device)
	}{
		{"silence was taken back long before nothing was seen for too long", quick, func(w *world, d []sereno.Device) {
			w.silent(0.6, 10, "*")
			w.silent(7.6, 13, "a")
			w.pass(sec(8))
			w.stuck = true // so the book does not say that it saw again
			w.pass(sec(12.9))
			w.killed(d, w.begin.Add(sec(8)), w.begin.Add(sec(8)), sec(0.1))
		}},
		{"looks from after an isolation whose end was not written", with(func(p *sereno.Policy) { p.Fall = 3 }), func(w *world, d []sereno.Device) {
			w.silent(2.4, 22, "a")
			w.silent(3, 20, "*")
			w.pass(sec(18))
			w.stuck = true
			w.pass(sec(23.9))
			w.killed(d, w.begin.Add(sec(18)), w.begin.Add(sec(18)), sec(0.2))
		}},
		{"a degradation was proven before the silence that it began with was taken back", with(func(p *sereno.Policy) {
			p.Interval, p.Timeout, p.Fall, p.RTTAbove = sec(3), sec(1), 3, 90*time.Millisecond
		}), func(w *world, d []sereno.Device) {
			w.rtt = func(_ string, at sereno.Instant) time.Duration {
				if t := at.Sub(w.begin); t > sec(9) && t < sec(12) {
					return 100 * time.Millisecond
				}
				return time.Millisecond
			}
			w.silent(13, 15, "a")
			w.pass(sec(14.4))
			d[0].Checks[0].Policy = quick
			w.place(d[0])
			w.silent(15.8, 17.2, "*")
		}},
		{"a short absence while silence was not yet taken back", with(func(p *sereno.Policy) {
			p.Interval, p.Timeout, p.Fall, p.RTTAbove = sec(3), sec(1), 3, 90*time.Millisecond
		}), func(w *world, _ []sereno.Device) {
			w.rtt = func(_ string, at sereno.Instant) time.Duration {
				if t := at.Sub(w.begin); t > sec(62) && t < sec(66) {
					return 100 * time.Millisecond
				}
				return time.Millisecond
			}
			w.silent(66, 69, "a")
			w.pass(sec(68.9))
			w.absent(sec(69.8), sereno.Suspended)
			w.silent(69.9, 79, "*")
		}},
		{"loss from before a proof that was taken back counts no more", with(func(p *sereno.Policy) { p.Rise, p.LossAbove = 2, 0.1 }), func(w *world, _ []sereno.Device) {
			w.silent(1.2, 2, "*")
		}},
		{"two starts, and between them nothing was seen", quick, func(w *world, d []sereno.Device) {
			w.noRoute(1.1, 12.2)
			w.pass(sec(1.1))
			w.now = w.begin.Add(sec(3.1))
			w.restartedAs(d, w.begin.Add(sec(1.1)), "gw")
			w.pass(sec(12.1))
			w.restartedAs(d, w.begin.Add(sec(10.1)), "gw")
		}},
		{"nothing seen under the policy that came after a start", slow, func(w *world, d []sereno.Device) {
			w.noRoute(10, 14)
			w.pass(sec(10.5))
			w.restartedAs(d, w.begin.Add(sec(10.4)), "gw")
			w.pass(sec(10.6))
			d[0].Checks[0].Policy = quick
			w.place(d[0])
		}},
		{"an absence was found by the start, and one was written before it", quick, func(w *world, d []sereno.Device) {
			w.pass(sec(5))
			w.absent(sec(9), sereno.Suspended)
			w.pass(sec(9.3))
			w.killed(d, w.now, w.now.Add(-sec(0.1)), sec(3))
			w.pass(sec(20))
			id := d[0].Checks[0].ID
			w.kept[id] = w.kept[id][:len(w.kept[id])-1]
			w.killed(d, w.now, w.now.Add(-sec(1)), sec(3))
		}},
	} {
		t.Run(h.name, func(t *testing.T) {
			for phase := range sereno.CheckID(20) { // looks are due at other times for each
				d := []sereno.Device{{Name: "a", Checks: []sereno.Check{{ID: 100 + phase, Policy: h.policy}}}}
				w := newWorld(t, d, "gw")
				h.live(w, d)
				w.pass(w.now.Sub(w.begin) + sec(40))
				done := w.identical(h.name, 100+phase, w.begin)
				if done.From >= done.Until {
					t.Fatal("nothing was said")
				}
			}
		})
	}
}

func drawPolicy(t *rapid.T) sereno.Policy {
	p := sereno.DefaultPolicy
	p.Interval = rapid.SampledFrom([]time.Duration{sec(0.5), sec(1), sec(1), sec(3), sec(10)}).Draw(t, "interval")
	p.Timeout = min(p.Interval, time.Second)
	p.Fall, p.Rise = rapid.IntRange(1, 3).Draw(t, "fall"), rapid.IntRange(1, 3).Draw(t, "rise")
	p.RTTAbove = rapid.SampledFrom([]time.Duration{0, 0, 90 * time.Millisecond, 110 * time.Millisecond}).Draw(t, "rtt_above")
	p.LossAbove = rapid.SampledFrom([]float64{0, 0, 0.1, 0.3}).Draw(t, "loss_above")
	p.LossWindow = rapid.SampledFrom([]time.Duration{5 * time.Second, 20 * time.Second}).Draw(t, "loss_window")
	return p
}

// A day of twenty devices at a look a second, with outages, bursts of loss, a
// lost uplink and a restart: the books of each are what its looks give; more
// patience never sees more outages.
func TestAReplayOfADay(t *testing.T) {
	if testing.Short() {
		t.Skip("a day takes some seconds")
	}
	var devices []sereno.Device
	for i := range 20 {
		p := sereno.DefaultPolicy
		switch i % 4 {
		case 1:
			p.Fall, p.Rise = 1, 1
		case 2:
			p.RTTAbove = 18 * time.Millisecond
		case 3:
			p.LossAbove, p.LossWindow = 0.05, time.Minute
		}
		d := sereno.Device{Name: fmt.Sprintf("h%d", i), Checks: []sereno.Check{{ID: sereno.CheckID(1000 + 7*i), Policy: p}}}
		if i%5 != 0 {
			d.Parents = []string{fmt.Sprintf("h%d", i/5*5)}
		}
		devices = append(devices, d)
	}
	w := newWorld(t, devices, "gw")
	dice := rand.New(rand.NewPCG(1, 2))
	w.rtt = func(string, sereno.Instant) time.Duration {
		return time.Duration(15e6 + 2e6*dice.NormFloat64())
	}
	type stretch struct {
		from, to sereno.Instant
		lost     float64
	}
	course := map[string][]stretch{}
	for _, d := range devices {
		for at := 60.0; at < 86_400; at += 600 + 6000*dice.Float64() {
			length := 1 + 30*dice.ExpFloat64()
			lost := 1.0
			if dice.IntN(3) == 0 {
				length, lost = 10*length, 0.2
			}
			course[d.Name] = append(course[d.Name], stretch{w.begin.Add(sec(at)), w.begin.Add(sec(at + length)), lost})
		}
	}
	cut := stretch{from: w.begin.Add(5 * time.Hour), to: w.begin.Add(5*time.Hour + 3*time.Minute)}
	w.alive = func(host string, at sereno.Instant) sereno.Status {
		if at >= cut.from && at < cut.to {
			return sereno.Down
		}
		for len(course[host]) > 0 && course[host][0].to.Add(time.Minute) < at {
			course[host] = course[host][1:]
		}
		if s := course[host]; len(s) > 0 && at >= s[0].from && at < s[0].to && dice.Float64() < s[0].lost {
			return sereno.Down
		}
		return sereno.Up
	}
	w.pass(9 * time.Hour)
	w.absent(9*time.Hour+20*time.Minute, sereno.Suspended)
	w.pass(15 * time.Hour)
	w.l.review(true)
	w.commit()
	settled := w.now.Add(-3 * time.Second)
	w.now = w.now.Add(2 * time.Second)
	w.restartedAs(devices, settled, "gw")
	w.pass(24 * time.Hour)

	outages, patient, looks := 0, 0, 0
	for _, d := range devices {
		id := d.Checks[0].ID
		done := w.identical(d.Name, id, w.begin)
		if seen := done.Until.Sub(done.From); seen < 24*time.Hour-time.Minute {
			t.Errorf("%s: exact for %v only", d.Name, seen)
		}
		other := w.replay(id, w.begin, func(p sereno.Policy) sereno.Policy { p.Fall = 10; return p })
		a := sereno.Tally(slices.Values(other.Same), other.From, other.Until)
		b := sereno.Tally(slices.Values(other.Other), other.From, other.Until)
		if b.Outages > a.Outages || a.Window() != b.Window() {
			t.Errorf("%s: %d outages, and %d with more patience", d.Name, a.Outages, b.Outages)
		}
		outages, patient, looks = outages+a.Outages, patient+b.Outages, looks+len(w.kept[id])
	}
	if outages < 200 || patient < 100 || patient >= outages {
		t.Errorf("%d outages, %d with more patience: no such day", outages, patient)
	}
	t.Logf("%d looks, %d outages, %d with more patience", looks, outages, patient)
}

func TestWhatAStartFindsOutIsNotProvenBeforeIt(t *testing.T) {
	d := []sereno.Device{{Name: "a"}}
	w := newWorld(t, d, "gw")
	w.pass(sec(20))
	w.killed(d, w.now, w.now.Add(-sec(1)), sec(30))
	s := w.open[d[0].Checks[0].ID]
	if s.Cause != sereno.CauseAbsence || s.Begin >= w.begin.Add(sec(22)) || s.Proof != w.begin.Add(sec(50)) {
		t.Errorf("%v %v, proof %v", s.Begin.Sub(w.begin), s.Cause, s.Proof.Sub(w.begin))
	}
}
