package lab

import (
	"math"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// letters of a story: a reply that can be believed, a lost request, silence, a
// black hole, a refusal; a garbled and a strange reply; upper case if a forger
// answers as well.
func letter(f fate) string {
	s := map[ending]string{answered: "a", lost: "l", silenced: "s", ignored: "i", refused: "r"}[f.ending]
	switch {
	case f.garbled:
		s = "g"
	case f.strange:
		s = "x"
	}
	if f.forged {
		return strings.ToUpper(s)
	}
	return s
}

// tell asks a host once a second, from second 0 on.
func tell(w *world, a netip.Addr, seconds int) string {
	var story strings.Builder
	for n := range seconds {
		story.WriteString(letter(w.decide(a, uint64(n), time.Duration(n)*time.Second)))
	}
	return story.String()
}

func build(t *testing.T, s Script) *world {
	t.Helper()
	w, err := newWorld(s)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func TestStories(t *testing.T) {
	all4 := prefix("0.0.0.0/0")
	second := func(n int) time.Duration { return time.Duration(n) * time.Second }
	for _, s := range []struct {
		name   string
		script Script
		host   string
		want   string // one look a second
	}{
		{"nothing said: all answer", Script{}, "10.0.0.1", "aaaaaa"},
		{"IPv6 as well", Script{}, "fd00:5e7e::1", "aaaaaa"},
		{
			"a black hole",
			Script{Rules: []Rule{{all4, Behaviour{Ignore: true}}}},
			"10.0.0.1", "iiiiii",
		},
		{
			"the most specific rule counts, alone",
			Script{Rules: []Rule{{prefix("10.0.0.0/24"), Behaviour{}}, {all4, Behaviour{Ignore: true}}}},
			"10.0.0.1", "aaaaaa",
		},
		{
			"a rule for IPv4 says nothing about IPv6",
			Script{Rules: []Rule{{all4, Behaviour{Ignore: true}}}},
			"fd00:5e7e::1", "aaaaaa",
		},
		{
			"an outage lasts from its first to before its last moment",
			Script{Outages: []Outage{{Prefix: prefix("10.0.0.0/24"), From: second(2), To: second(4)}}},
			"10.0.0.1", "aassaa",
		},
		{
			"an outage without an end",
			Script{Outages: []Outage{{Prefix: prefix("10.0.0.1/32"), From: second(3)}}},
			"10.0.0.1", "aaasss",
		},
		{
			"an outage of others",
			Script{Outages: []Outage{{Prefix: prefix("10.0.0.0/31"), From: second(3)}}},
			"10.0.0.2", "aaaaaa",
		},
		{
			"two outages of different size overlap",
			Script{Outages: []Outage{
				{Prefix: prefix("10.0.0.0/8"), From: second(1), To: second(3)},
				{Prefix: prefix("10.0.0.1/32"), From: second(2), To: second(5)},
			}},
			"10.0.0.1", "assssa",
		},
		{
			"an outage with a rule of its own for the host",
			Script{
				Rules:   []Rule{{prefix("10.0.0.1/32"), Behaviour{Duplicate: 1}}},
				Outages: []Outage{{Prefix: prefix("10.0.0.0/8"), From: second(1), To: second(3)}},
			},
			"10.0.0.1", "assaaa",
		},
		{
			"a router speaks for the silent",
			Script{Outages: []Outage{{Prefix: prefix("10.0.0.1/32"), From: second(2), To: second(4), Error: Error{Share: 1}}}},
			"10.0.0.1", "aarraa",
		},
		{
			"silent when the parent is",
			Script{
				Behind:  []Behind{{prefix("10.0.7.0/24"), addr("10.0.7.1")}},
				Outages: []Outage{{Prefix: prefix("10.0.7.1/32"), From: second(2), To: second(4)}},
			},
			"10.0.7.9", "aassaa",
		},
		{
			"the parent of a parent counts",
			Script{
				Behind:  []Behind{{prefix("10.0.7.0/24"), addr("10.0.7.1")}, {prefix("10.0.7.1/32"), addr("10.255.0.1")}},
				Outages: []Outage{{Prefix: prefix("10.255.0.1/32"), From: second(1), To: second(2)}},
			},
			"10.0.7.9", "asaaaa",
		},
		{
			"all parents count, not the nearest alone",
			Script{
				Behind:  []Behind{{prefix("10.0.7.0/24"), addr("10.0.7.1")}, {prefix("10.0.0.0/16"), addr("10.255.0.1")}},
				Outages: []Outage{{Prefix: prefix("10.255.0.1/32"), From: second(1), To: second(2)}},
			},
			"10.0.7.9", "asaaaa",
		},
		{
			"a child's outage is not the parent's",
			Script{
				Behind:  []Behind{{prefix("10.0.7.0/24"), addr("10.0.7.1")}},
				Outages: []Outage{{Prefix: prefix("10.0.7.9/32"), From: second(2)}},
			},
			"10.0.7.1", "aaaaaa",
		},
		{
			"a parent that ignores us still forwards",
			Script{
				Behind: []Behind{{prefix("10.0.7.0/24"), addr("10.0.7.1")}},
				Rules:  []Rule{{prefix("10.0.7.1/32"), Behaviour{Ignore: true}}},
			},
			"10.0.7.9", "aaaaaa",
		},
		{"all lost", Script{Rules: []Rule{{all4, Behaviour{Loss: 1}}}}, "10.0.0.1", "llllll"},
		{"all garbled", Script{Rules: []Rule{{all4, Behaviour{Garbled: 1}}}}, "10.0.0.1", "gggggg"},
		{"all strange", Script{Rules: []Rule{{all4, Behaviour{Strange: 1, Source: addr("10.9.9.9")}}}}, "10.0.0.1", "xxxxxx"},
		{
			"a forger does not stop when the host does",
			Script{
				Rules:   []Rule{{all4, Behaviour{Forged: 1}}},
				Outages: []Outage{{Prefix: all4, From: second(2), To: second(4)}},
			},
			"10.0.0.1", "AASSAA",
		},
	} {
		t.Run(s.name, func(t *testing.T) {
			if got := tell(build(t, s.script), addr(s.host), len(s.want)); got != s.want {
				t.Errorf("got %s, want %s", got, s.want)
			}
		})
	}
}

func TestLiveOutages(t *testing.T) {
	w := build(t, Script{})
	host := prefix("10.0.0.1/32")
	w.add(&Outage{Prefix: host, From: 2 * time.Second})
	if got := tell(w, host.Addr(), 6); got != "aassss" {
		t.Errorf("silenced: got %s", got)
	}
	if w.restore(prefix("10.0.0.0/24"), 4*time.Second) {
		t.Error("another prefix was restored")
	}
	if !w.restore(host, 4*time.Second) || w.restore(host, 5*time.Second) {
		t.Error("an outage is restored once")
	}
	w.add(&Outage{Prefix: host, From: 5 * time.Second})
	if got := letter(w.decide(host.Addr(), 9, 5*time.Second)); got != "s" {
		t.Errorf("silenced again: got %s", got)
	}
	if len(w.outages) != 2 || w.outages[0].To != 4*time.Second || w.outages[1].To != 0 {
		t.Errorf("history: %+v, %+v", w.outages[0], w.outages[1])
	}
}

func TestRestoreKeepsWhatIsPlanned(t *testing.T) {
	host := prefix("10.0.0.1/32")
	w := build(t, Script{Outages: []Outage{{Prefix: host, From: 4 * time.Second, To: 5 * time.Second}}})
	w.add(&Outage{Prefix: host, From: time.Second})
	w.restore(host, 2*time.Second)
	if got := tell(w, host.Addr(), 6); got != "aaaasa" {
		t.Errorf("got %s", got)
	}
}

func TestSameSeedSameFate(t *testing.T) {
	s := Script{Seed: 42, Rules: []Rule{{prefix("10.0.0.0/8"), Behaviour{
		Delay: Normal(10*time.Millisecond, 3*time.Millisecond), Loss: 0.3, Burst: Burst{0.1, 5}, Held: Held{0.2, time.Second},
		Duplicate: 0.2, Garbled: 0.2, Forged: 0.2, Error: Error{Share: 0.2},
	}}}}
	one, same := build(t, s), build(t, s)
	s.Seed++
	other := build(t, s)
	differ := 0
	for n := range uint64(1000) {
		a := addr("10.1.2.3")
		if one.decide(a, n, 0) != same.decide(a, n, time.Duration(n)) {
			t.Fatalf("request %d had two fates", n)
		}
		if one.decide(a, n, 0) != other.decide(a, n, 0) {
			differ++
		}
	}
	if differ == 0 {
		t.Error("another seed made no difference")
	}
}

// TestShares asks 1,000 hosts 100 times each. The fates are fixed by the seed;
// the bounds are five standard deviations, so they hold for any good dice.
func TestShares(t *testing.T) {
	const share, requests = 0.1, 100_000
	router := addr("10.255.255.254")
	for name, c := range map[string]struct {
		behaviour Behaviour
		counted   func(fate) bool
	}{
		"loss":      {Behaviour{Loss: share}, func(f fate) bool { return f.ending == lost }},
		"burst":     {Behaviour{Burst: Burst{share, 4}}, func(f fate) bool { return f.ending == lost }},
		"held":      {Behaviour{Held: Held{share, time.Second}}, func(f fate) bool { return f.held && f.after == time.Second }},
		"duplicate": {Behaviour{Duplicate: share}, func(f fate) bool { return f.doubled }},
		"garbled":   {Behaviour{Garbled: share}, func(f fate) bool { return f.garbled }},
		"strange":   {Behaviour{Strange: share, Source: router}, func(f fate) bool { return f.strange && f.source == router }},
		"forged":    {Behaviour{Forged: share}, func(f fate) bool { return f.forged && f.ending == answered }},
		"error":     {Behaviour{Error: Error{Share: share, From: router}}, func(f fate) bool { return f.ending == refused && f.refusal.From == router }},
	} {
		t.Run(name, func(t *testing.T) {
			w := build(t, Script{Rules: []Rule{{prefix("10.0.0.0/8"), c.behaviour}}})
			hits := 0
			a := addr("10.0.0.0")
			for range 1000 {
				a = a.Next()
				for n := range uint64(100) {
					if c.counted(w.decide(a, n, 0)) {
						hits++
					}
				}
			}
			deviation := math.Sqrt(requests * share * (1 - share))
			if c.behaviour.Burst.Length > 0 {
				deviation *= math.Sqrt(float64(c.behaviour.Burst.Length))
			}
			if off := math.Abs(float64(hits) - requests*share); off > 5*deviation {
				t.Errorf("%d of %d, that is %.1f standard deviations off", hits, requests, off/deviation)
			}
		})
	}
}

func TestSharesAreIndependent(t *testing.T) {
	w := build(t, Script{Rules: []Rule{{prefix("10.0.0.0/8"), Behaviour{Garbled: 0.5, Duplicate: 0.5}}}})
	both := 0
	const requests = 10_000
	for n := range uint64(requests) {
		if f := w.decide(addr("10.0.0.1"), n, 0); f.garbled && f.doubled {
			both++
		}
	}
	if deviation := math.Sqrt(requests * 0.25 * 0.75); math.Abs(float64(both)-requests*0.25) > 5*deviation {
		t.Errorf("%d of %d were both, not a quarter", both, requests)
	}
}

func TestBurstsComeInARow(t *testing.T) {
	const length = 5
	w := build(t, Script{Rules: []Rule{{prefix("10.0.0.0/8"), Behaviour{Burst: Burst{0.05, length}}}}})
	phases := make(map[uint64]bool)
	for host := addr("10.0.0.1"); host.Less(addr("10.0.0.33")); host = host.Next() {
		run := 0
		for n := range uint64(2000) {
			if w.decide(host, n, 0).ending == lost {
				run++
				continue
			}
			// Only the burst that was under way at the first request is cut.
			if run%length != 0 && n > length {
				t.Fatalf("%v: %d lost in a row before request %d, not a multiple of %d", host, run, n, length)
			}
			if run >= length {
				phases[n%length] = true
			}
			run = 0
		}
	}
	if len(phases) < 2 {
		t.Error("the bursts of all hosts fall together")
	}
}

func TestScriptMistakes(t *testing.T) {
	p := prefix("10.0.0.0/8")
	for _, s := range []struct {
		script Script
		want   string // in the message
	}{
		{Script{Rules: []Rule{{p, Behaviour{Loss: 1.1}}}}, "loss is a share from 0 to 1, not 1.1"},
		{Script{Rules: []Rule{{p, Behaviour{Loss: math.NaN()}}}}, "loss is a share"},
		{Script{Rules: []Rule{{p, Behaviour{Burst: Burst{Share: 0.1}}}}}, "a burst needs a length"},
		{Script{Rules: []Rule{{p, Behaviour{Strange: 0.1}}}}, "need a source"},
		{Script{Rules: []Rule{{p, Behaviour{Strange: 0.1, Source: addr("::1")}}}}, "same family"},
		{Script{Rules: []Rule{{p, Behaviour{Delay: Fixed(-time.Second)}}}}, "-1s is no delay"},
		{Script{Rules: []Rule{{p, Behaviour{Delay: Uniform(2, 1)}}}}, "is no delay"},
		{Script{Rules: []Rule{{p, Behaviour{Held: Held{0.1, -1}}}}}, "held back"},
		{Script{Rules: []Rule{{p, Behaviour{Error: Error{Share: 1, From: addr("::1")}}}}}, "another family"},
		{Script{Rules: []Rule{{p, Behaviour{Error: Error{Share: 1, Says: 9}}}}}, "there is no refusal 9"},
		{Script{Rules: []Rule{{}}}, "no prefix"},
		{Script{Outages: []Outage{{Prefix: p, From: 2, To: 1}}}, "cannot last"},
		{Script{Outages: []Outage{{From: 2}}}, "no prefix"},
		{Script{Behind: []Behind{{Prefix: p}}}, "no address"},
		{Script{Behind: []Behind{{Parent: addr("10.0.0.1")}}}, "no prefix"},
		{Script{Behind: []Behind{{prefix("10.0.1.0/24"), addr("10.0.2.1")}, {prefix("10.0.2.0/24"), addr("10.0.1.1")}}}, "parents in a circle"},
	} {
		if _, err := newWorld(s.script); err == nil || !strings.Contains(err.Error(), s.want) {
			t.Errorf("got %v, want …%s…", err, s.want)
		}
	}
}
