package lab

import (
	"testing"
	"time"
)

// watch asks two hosts in turn, the second half a second after the first.
func watch(t *testing.T, s Script, seconds int) *truth {
	t.Helper()
	w, truth := build(t, s), new(truth)
	for n := range seconds {
		for i, a := range []string{"10.0.0.1", "10.0.0.2"} {
			at := time.Duration(n)*time.Second + time.Duration(i)*time.Second/2
			truth.note(addr(a), at, w.decide(addr(a), truth.asked.next(addr(a)), at))
		}
	}
	return truth
}

func TestGaps(t *testing.T) {
	truth := watch(t, Script{Outages: []Outage{
		{Prefix: prefix("10.0.0.0/24"), From: 2200 * time.Millisecond, To: 4200 * time.Millisecond},
		{Prefix: prefix("10.0.0.1/32"), From: 7 * time.Second},
	}}, 9)
	want := []gap{
		{addr("10.0.0.2"), 2500 * time.Millisecond, 4500 * time.Millisecond},
		{addr("10.0.0.1"), 3 * time.Second, 5 * time.Second},
		{addr("10.0.0.1"), 7 * time.Second, 0},
	}
	if len(truth.gaps) != len(want) {
		t.Fatalf("got %+v", truth.gaps)
	}
	for i, g := range truth.gaps {
		if g != want[i] {
			t.Errorf("got %+v, want %+v", g, want[i])
		}
	}
}

func TestLossIsNoGap(t *testing.T) {
	lossy := Script{Rules: []Rule{{prefix("10.0.0.0/8"), Behaviour{Loss: 0.5}}}}
	if truth := watch(t, lossy, 50); len(truth.gaps) != 0 || truth.counts.Lost == 0 {
		t.Errorf("%d lost, gaps %+v", truth.counts.Lost, truth.gaps)
	}
}

func TestAGapEndsWithAReplyThatCanBeBelieved(t *testing.T) {
	for name, b := range map[string]Behaviour{
		"lost":    {Loss: 1},
		"garbled": {Garbled: 1},
		"strange": {Strange: 1, Source: addr("10.0.0.9")},
		"forged":  {Forged: 1, Ignore: true},
		"refused": {Error: Error{Share: 1}},
	} {
		truth := watch(t, Script{
			Rules:   []Rule{{prefix("10.0.0.1/32"), b}},
			Outages: []Outage{{Prefix: prefix("10.0.0.1/32"), From: time.Second, To: 2 * time.Second}},
		}, 5)
		if len(truth.gaps) != 1 || truth.gaps[0].answered != 0 {
			t.Errorf("%s: got %+v", name, truth.gaps)
		}
	}
}

func TestEachRequestHasOneEnding(t *testing.T) {
	truth := watch(t, Script{
		Rules: []Rule{
			{prefix("10.0.0.1/32"), Behaviour{Loss: 0.2, Duplicate: 0.2, Garbled: 0.2, Forged: 0.2, Error: Error{Share: 0.2}, Held: Held{0.2, 1}, Strange: 0.2, Source: addr("10.0.0.9")}},
			{prefix("10.0.0.2/32"), Behaviour{Ignore: true}},
		},
		Outages: []Outage{{Prefix: prefix("10.0.0.0/24"), From: 50 * time.Second, To: 100 * time.Second}},
	}, 200)
	c := truth.counts
	if c.Requests != 400 || c.Answered+c.Lost+c.Silenced+c.Ignored+c.Refused != c.Requests {
		t.Errorf("do not sum up: %+v", c)
	}
	if c.Silenced != 100 || c.Ignored != 150 {
		t.Errorf("100 were silenced and 150 ignored, counted %+v", c)
	}
	for _, n := range []uint64{c.Answered, c.Lost, c.Refused, c.Held, c.Duplicated, c.Garbled, c.Strange, c.Forged} {
		if n == 0 {
			t.Errorf("something never happened: %+v", c)
		}
	}
}

func TestTally(t *testing.T) {
	var asked tally
	for _, a := range []string{"10.0.0.255", "10.0.1.0", "fd00:5e7e::ff", "fd00:5e7e::1:0"} {
		for want := range uint64(3) {
			if got := asked.next(addr(a)); got != want {
				t.Errorf("%s: got %d, want %d", a, got, want)
			}
		}
		if got := asked.of(addr(a)); got != 3 {
			t.Errorf("%s was asked %d times, not 3", a, got)
		}
	}
	if got := asked.of(addr("10.0.0.1")); got != 0 {
		t.Errorf("never asked, but counted %d", got)
	}
}
