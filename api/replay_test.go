package api

import (
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	"sereno"
	"sereno/ledger"
)

// replayed is a library whose device has looked up for ten minutes, each
// second, but for five lost looks; its books say so.
func replayed(t *testing.T) (*library, sereno.Device) {
	t.Helper()
	l := newLibrary(t, func(o *Options) {
		o.Replays = o.Book.(Replays)
		o.Watch = &world{now: noon.Add(-50 * time.Minute)}
	})
	d := l.watch(t, "web1", 0)
	check := d.Checks[0].ID
	at := func(s int) sereno.Instant { return d.Created.Add(time.Duration(s) * time.Second) }
	var looks []sereno.Result
	for s := 1; s <= 600; s++ {
		r := sereno.Result{Check: check, At: at(s), Status: sereno.Up, RTT: 2 * time.Millisecond}
		if s >= 300 && s < 305 {
			r.Status, r.RTT = sereno.Down, 0
		}
		looks = append(looks, r)
	}
	before := l.kept.Usage().Kept
	l.kept.Keep(looks)
	for l.kept.Usage().Kept != before+600 {
		time.Sleep(time.Millisecond)
	}
	span := func(status sereno.Status, cause sereno.Cause, begin, end, proof int, uncertainty time.Duration) sereno.Span {
		s := sereno.Span{Check: check, Status: status, Cause: cause, Begin: at(begin), Proof: at(proof), Uncertainty: uncertainty, Reason: "as it was told"}
		if end != 0 {
			s.End = at(end)
		}
		return s
	}
	err := l.Commit(t.Context(), &ledger.Entry{
		Closed: []sereno.Span{
			span(sereno.Unknown, sereno.CauseNew, 0, 1, 0, 0),
			span(sereno.Up, sereno.CauseLook, 1, 300, 1, 0),
			span(sereno.Down, sereno.CauseLook, 300, 305, 302, time.Second),
		},
		Open: []sereno.Span{span(sereno.Up, sereno.CauseLook, 305, 0, 306, time.Second)},
	})
	if err != nil {
		t.Fatal(err)
	}
	return l, d
}

func askReplay(t *testing.T, l *library, query string) (r Replay) {
	t.Helper()
	answer, body, err := l.get(t, "/api/replay?from="+noon.Add(-time.Hour).String()+"&"+query)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatal(err, answer.Status, body)
	}
	var all Replayed
	if err := json.Unmarshal([]byte(body), &all); err != nil || len(all.Items) != 1 {
		t.Fatal(err, body)
	}
	return all.Items[0]
}

func TestReplayShowsWhatWasAndWhatWouldHaveBeen(t *testing.T) {
	l, _ := replayed(t)
	r := askReplay(t, l, "device=web1")
	if !r.Identical || r.Difference != nil || r.Other != nil || r.Recorded.Summary.Outages != 1 || r.Recorded.Alarms != 1 || time.Duration(r.Recorded.Summary.Down) != 5*time.Second {
		t.Errorf("as it was: %+v", r)
	}
	if r.To <= r.From || r.To.Sub(r.From) < 9*time.Minute {
		t.Errorf("exact from %v to %v only", r.From, r.To)
	}
	r = askReplay(t, l, "device=web1&fall=6&rise=1")
	if !r.Identical || r.Other == nil || r.Other.Policy.Fall != 6 || r.Other.Policy.Rise != 1 || r.Other.Summary.Outages != 0 || r.Other.Alarms != 0 || r.Other.Summary.Down != 0 {
		t.Errorf("with more patience: %+v", r)
	}
	r = askReplay(t, l, "device=web1&rtt_above=1ms")
	if o := r.Other; o == nil || o.Summary.Degraded < Seconds(9*time.Minute) || time.Duration(o.Policy.RTTAbove) != time.Millisecond {
		t.Errorf("what is slow: %+v", r)
	}
}

func TestReplayTellsBooksThatTheLooksDoNotGive(t *testing.T) {
	l, d := replayed(t)
	wrong := sereno.Span{Check: d.Checks[0].ID, Status: sereno.Degraded, Begin: d.Created.Add(305 * time.Second), Proof: d.Created.Add(306 * time.Second), Uncertainty: time.Second}
	if err := l.Commit(t.Context(), &ledger.Entry{Open: []sereno.Span{wrong}}); err != nil {
		t.Fatal(err)
	}
	r := askReplay(t, l, "device=web1")
	if r.Identical || r.Difference == nil || r.Difference.Recorded == nil || r.Difference.Recorded.Status != sereno.Degraded || r.Difference.Replayed.Status != sereno.Up {
		t.Errorf("%+v", r)
	}
}

func TestReplayRefusesWhatMakesNoSense(t *testing.T) {
	l, _ := replayed(t)
	for _, c := range []struct{ query, want string }{
		{"device=web1&fall=0", "fall"},
		{"device=web1&fall=101", "fall"},
		{"device=web1&patience=5", "patience"},
		{"device=web1&rtt_above=fast", `rtt_above is a time up to 24h such as 50ms, or 0 for never, not \"fast\"`},
		{"device=web1&rtt_above=-1s", "rtt_above is a time"},
		{"device=web1&loss_above=1", "loss_above is a share from 0 to below 1"},
		{"device=web1&loss_above=NaN", "loss_above is a share from 0 to below 1"},
		{"device=web1&loss_window=1us", "loss_window is a time of at least 100ms"},
		{"device=web1&from=2026-03-01T00:00:00Z&to=2026-02-01T00:00:00Z", "which is not before its end"},
		{"device=web1&from=2020-03-01T00:00:00Z&to=2020-03-02T00:00:00Z", "is kept: ask for a later window"},
		{"device=nobody", `there is no device`},
		{"check=99", "99"},
		{"", "say which device or which check"},
		{"device=web1&check=1", "say which device or which check"},
	} {
		answer, body, err := l.get(t, "/api/replay?"+c.query)
		if err != nil || answer.StatusCode/100 != 4 || !strings.Contains(body, c.want) {
			t.Errorf("%s: %v %s, %s", c.query, err, answer.Status, body)
		}
	}
}

// BenchmarkReplayMonth asks for thirty days of a check that was looked at every
// second and was down for five looks each hour, read from samples on disk.
func BenchmarkReplayMonth(b *testing.B) {
	const days = 30
	l := newLibrary(b, func(o *Options) {
		o.Replays = o.Book.(Replays)
		o.Watch = &world{now: noon}
	})
	added, err := l.AddDevices(b.Context(), []sereno.Device{{
		Name: "web1", Address: "192.0.2.1", Checks: []sereno.Check{{Name: "icmp", Kind: "icmp", Policy: sereno.DefaultPolicy}},
	}}, noon.Add(-days*24*time.Hour))
	if err != nil {
		b.Fatal(err)
	}
	l.kept.Know(added)
	check, born := added[0].Checks[0].ID, added[0].Created
	dice := rand.New(rand.NewPCG(1, 2))
	e := &ledger.Entry{Open: []sereno.Span{{Check: check, Status: sereno.Up, Begin: born.Add(time.Second), Proof: born.Add(time.Second)}}}
	e.Closed = []sereno.Span{{Check: check, Cause: sereno.CauseNew, Begin: born, End: born.Add(time.Second), Proof: born}}
	for hour := range days * 24 {
		var looks []sereno.Result
		from := born.Add(time.Duration(hour) * time.Hour)
		for s := 1; s <= 3600; s++ {
			r := sereno.Result{Check: check, At: from.Add(time.Duration(s) * time.Second), Status: sereno.Up, RTT: time.Duration(15e6 + 2e6*dice.NormFloat64())}
			if s >= 1800 && s < 1805 {
				r.Status, r.RTT = sereno.Down, 0
			}
			looks = append(looks, r)
		}
		l.kept.Keep(looks)
		for hour%24 == 23 && l.kept.Usage().Waiting > 0 {
			time.Sleep(time.Millisecond)
		}
		down, up := from.Add(1800*time.Second), from.Add(1805*time.Second)
		before := e.Open[0]
		before.End = down
		e.Closed = append(e.Closed, before, sereno.Span{Check: check, Status: sereno.Down, Begin: down, End: up, Proof: down.Add(2 * time.Second), Uncertainty: time.Second, Reason: "no reply in 1s"})
		e.Open[0] = sereno.Span{Check: check, Status: sereno.Up, Begin: up, Proof: up.Add(time.Second), Uncertainty: time.Second}
	}
	if err := l.Commit(b.Context(), e); err != nil {
		b.Fatal(err)
	}
	for _, c := range []struct{ name, query string }{{"recorded", ""}, {"another", "&fall=5&rtt_above=20ms"}} {
		b.Run(c.name, func(b *testing.B) {
			r := request("GET", "/api/replay?device=web1&from="+born.String()+c.query, "")
			var all Replayed
			for b.Loop() {
				answer := serve(l.Config.Handler, r)
				if answer.Code != http.StatusOK {
					b.Fatal(answer.Body)
				}
				if err := json.Unmarshal(answer.Body.Bytes(), &all); err != nil {
					b.Fatal(err)
				}
			}
			if one := all.Items[0]; !one.Identical || one.Looks < days*86_400-60 || one.Recorded.Summary.Outages != days*24 {
				b.Fatalf("%d looks, identical %v, %d outages", one.Looks, one.Identical, one.Recorded.Summary.Outages)
			}
			b.ReportMetric(float64(all.Items[0].Looks), "looks")
		})
	}
}
