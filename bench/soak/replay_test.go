//go:build soak

package soak

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"sereno"
	"sereno/api"
	"sereno/lab"
)

// A hundred devices with jitter, loss and outages, watched under four policies
// through cuts of the uplink, stalls, kills and restarts: the looks that were
// kept give what was recorded, to the microsecond. SERENO_SOAK_REPLAY is how
// many seconds it goes on.
func TestAReplayGivesTheBooks(t *testing.T) {
	const n = 100
	var b strings.Builder
	fmt.Fprintf(&b, "witnesses: [%s]\ndevices:\n", gateway)
	policies := []string{"", "fall: 1, rise: 1", "rtt_above: 20ms", "loss_above: 5%, loss_window: 20s", "interval: 200ms, timeout: 200ms, rtt_above: 15ms"}
	for i := range n {
		parent := ""
		if i%10 != 0 {
			parent = fmt.Sprintf(", parents: [h%d]", i/10*10)
		}
		fmt.Fprintf(&b, "  - {name: h%d, address: %s%s, checks: [icmp: {%s}]}\n", i, host(i), parent, policies[i%len(policies)])
	}
	w := newWatch(t, b.String())
	if err := w.lab.Set(
		lab.Rule{Prefix: netip.PrefixFrom(netip.MustParseAddr(gateway), 32)},
		lab.Rule{Prefix: netip.MustParsePrefix("10.0.0.0/8"), Behaviour: lab.Behaviour{Delay: lab.Normal(15*time.Millisecond, 3*time.Millisecond), Loss: 0.01}},
	); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	down := map[int]time.Time{}
	outages, kills, stops, stalls, cuts := 0, 0, 0, 0, 0
	length := time.Duration(number("SERENO_SOAK_REPLAY", 600)) * time.Second
	event := time.Now().Add(20 * time.Second)
	for time.Since(began) < length {
		if i := rand.IntN(n); down[i].IsZero() {
			w.lab.Silence(netip.PrefixFrom(host(i), 32))
			down[i] = time.Now().Add(time.Duration(rand.IntN(12_000)) * time.Millisecond)
			outages++
		}
		for i, until := range down {
			if time.Now().After(until) {
				w.lab.Restore(netip.PrefixFrom(host(i), 32))
				delete(down, i)
			}
		}
		time.Sleep(time.Duration(rand.IntN(1000)) * time.Millisecond)
		if time.Now().Before(event) {
			continue
		}
		event = time.Now().Add(time.Duration(15+rand.IntN(20)) * time.Second)
		switch rand.IntN(4) {
		case 0:
			w.Kill()
			time.Sleep(time.Duration(rand.IntN(4000)) * time.Millisecond)
			w.start()
			kills++
		case 1:
			if err := w.Stop(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Duration(rand.IntN(9000)) * time.Millisecond)
			w.start()
			stops++
		case 2:
			w.Signal(syscall.SIGSTOP)
			time.Sleep(time.Duration(2000+rand.IntN(6000)) * time.Millisecond)
			w.Signal(syscall.SIGCONT)
			stalls++
		case 3:
			all := netip.MustParsePrefix("10.0.0.0/8")
			w.lab.Silence(all)
			time.Sleep(time.Duration(5000+rand.IntN(10_000)) * time.Millisecond)
			w.lab.Restore(all)
			cuts++
		}
	}
	time.Sleep(15 * time.Second)
	looks, spans, identical := 0, 0, 0
	for i := range n {
		var answer api.Replayed
		path := fmt.Sprintf("/api/replay?device=h%d&fall=5&from=%s", i, sereno.At(began))
		if err := w.Get(t.Context(), w.ask, path, &answer); err != nil {
			t.Fatal(err)
		}
		for _, r := range answer.Items {
			looks, spans = looks+r.Looks, spans+len(r.Recorded.Spans)
			if seen := time.Duration(r.Recorded.Summary.Window); !r.Identical || seen < length*9/10 {
				difference, _ := json.Marshal(r.Difference)
				t.Errorf("h%d, check %d (%s): exact for %v: %s", i, r.CheckID, policies[i%len(policies)], seen, difference)
				continue
			}
			identical++
		}
	}
	t.Logf("%v: %d outages of %d devices, %d cuts, %d kills, %d stops, %d stalls; %d looks, %d spans: %d of %d devices identical", length, outages, n, cuts, kills, stops, stalls, looks, spans, identical, n)
	if spans < 2*n {
		t.Errorf("%d spans: nothing happened", spans)
	}
}
