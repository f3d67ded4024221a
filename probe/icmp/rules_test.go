package icmp

import (
	"encoding/json"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"sereno"
)

const ms = int64(time.Millisecond)

func TestRoundTrip(t *testing.T) {
	const wall int64 = 1_700_000_000_000_000_000
	for _, test := range []struct {
		rule            string
		step            int64 // by which the wall clock was set meanwhile
		sent, came, now int64 // ms by the loop's clock; came is stamped by the wall clock
		stampedBefore   bool  // the step
		rtt             time.Duration
	}{
		{"from the send stamp to the receive stamp, not to when it was read", 0, 100, 120, 500, false, 20 * time.Millisecond},
		{"an answer before its interpolated request took the least there is", 0, 100, 100, 101, false, 1},
		{"the wall clock was set forward before the answer", 3_600_000, 100, 120, 500, false, 20 * time.Millisecond},
		{"the wall clock was set back before the answer", -3_600_000, 100, 120, 500, false, 20 * time.Millisecond},
		{"it was set forward after the answer", 3_600_000, 100, 120, 500, true, 20 * time.Millisecond},
		{"it was set back after the answer", -3_600_000, 100, 120, 500, true, 20 * time.Millisecond},
		{"never longer than it can have been", 0, 100, 700, 500, false, 400 * time.Millisecond},
	} {
		c := clock{offset: wall + test.step*ms, before: wall}
		stamp := test.came*ms + c.offset
		if test.stampedBefore {
			stamp = test.came*ms + c.before
		}
		if got := c.roundTrip(test.sent*ms, stamp, test.now*ms); got != test.rtt {
			t.Errorf("%s: %v, want %v", test.rule, got, test.rtt)
		}
	}
}

func TestRoundTripIsAlwaysPossible(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		whatever := rapid.Int64Range(-1<<60, 1<<60)
		sent := rapid.Int64Range(0, 1<<50).Draw(t, "sent")
		now := sent + rapid.Int64Range(0, 1<<40).Draw(t, "elapsed")
		c := clock{offset: whatever.Draw(t, "offset"), before: whatever.Draw(t, "before")}
		if rtt := c.roundTrip(sent, whatever.Draw(t, "stamp"), now); rtt < 1 || int64(rtt) > max(now-sent, 1) {
			t.Fatalf("%v in %v", rtt, time.Duration(now-sent))
		}
	})
}

func TestClockFollowsTheWallClock(t *testing.T) {
	c := newClock()
	c.offset += int64(time.Hour) // as if it had been set back since
	c.before = c.offset
	wrong := c.offset
	c.read()
	if d := time.Duration(c.offset - (wrong - int64(time.Hour))); d < -time.Second || d > time.Second || c.before != wrong {
		t.Errorf("offset %v beside the truth, before %d", d, c.before)
	}
	right := c.offset
	if c.read(); c.offset != right {
		t.Errorf("the offset moved by %v although nobody set the clock", time.Duration(c.offset-right))
	}
}

func TestStall(t *testing.T) {
	for _, test := range []struct {
		rule           string
		expected, now  int64 // ms
		suspended      time.Duration
		sent, deadline int64 // ms, of a look without an answer
		hit            bool
	}{
		{"a loop that runs on time says nothing", 1000, 1001, 0, 500, 1500, false},
		{"nor one that is a little late", 1000, 1250, 0, 500, 1100, false},
		{"a look under way when the loop stopped", 1000, 6000, 0, 500, 1500, true},
		{"a look that had timed out before", 1000, 6000, 0, 500, 999, false},
		{"a look that outlasts the stall", 1000, 6000, 0, 500, 9000, true},
		{"a look that was sent after it", 1000, 6000, 0, 6000, 7000, false},
		{"a machine that was suspended, which its clock does not show", 1000, 1002, time.Hour, 500, 1500, true},
	} {
		s, late := stalled(test.expected*ms, test.now*ms, test.suspended)
		if hit := late && s.hit(test.sent*ms, test.deadline*ms); hit != test.hit {
			t.Errorf("%s: %v, want %v (stall %+v)", test.rule, hit, test.hit, s)
		}
	}
}

// TestPace lets a loop that has far too much to do run at random moments.
func TestPace(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		maxPPS := rapid.IntRange(0, 1_000_000).Draw(t, "max")
		p := newPace(maxPPS)
		rate := p.rate
		var now, sent int64
		for range rapid.IntRange(1, 200).Draw(t, "rounds") {
			now += rapid.Int64Range(0, 20*ms).Draw(t, "rest")
			n := p.allow(now)
			p.spend(n)
			sent += int64(n)
			if n > burst {
				t.Fatalf("a burst of %d", n)
			}
			if most := p.depth + float64(now)*rate/1e9; float64(sent) > most+1 {
				t.Fatalf("%d packets in %v, at most %.0f at %.0f a second", sent, time.Duration(now), most, rate)
			}
			if p.tick < int64(shortest) || p.tick > int64(longest) {
				t.Fatalf("a tick of %v", time.Duration(p.tick))
			}
		}
	})
}

func TestLateness(t *testing.T) {
	var l Lateness
	if q := l.Quantile(0.99); q != 0 {
		t.Errorf("p99 of nothing: %v", q)
	}
	for range 99 {
		l.note(3 * time.Millisecond)
	}
	l.note(time.Minute)
	if q := l.Quantile(0.99); q != 5*time.Millisecond {
		t.Errorf("p99 %v, want the bound 5ms", q)
	}
	if q := l.Quantile(1); q != 100*time.Second {
		t.Errorf("p100 %v, want more than every bound", q)
	}
	if l.Sum != 99*3*time.Millisecond+time.Minute {
		t.Errorf("sum %v", l.Sum)
	}
}

// TestHangar compares the hangar with the plainest way to do the same.
func TestHangar(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := newHangar()
		model := map[int32]int64{} // deadline by slot
		now := int64(0)
		limit := func() {
			now += rapid.Int64Range(0, 10_000*ms).Draw(t, "rest")
			lost := map[int32]bool{}
			h.overdue(now, func(i int32) {
				lost[i] = true
				h.land(i)
				h.release(i)
			})
			for i, deadline := range model {
				if (deadline <= now) != lost[i] {
					t.Fatalf("deadline %d at %d: lost %v", deadline, now, lost[i])
				}
				if lost[i] {
					delete(model, i)
				}
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"launch": func(t *rapid.T) {
				timeout := rapid.Int64Range(1, 20_000*ms).Draw(t, "timeout")
				for range rapid.IntRange(1, 500).Draw(t, "looks") {
					i := h.take(&target{timeout: timeout}, 0)
					if _, used := model[i]; used || i == 0 {
						t.Fatalf("slot %d was given out twice", i)
					}
					h.launch(i, now)
					model[i] = now + timeout
				}
			},
			"land": func(t *rapid.T) {
				for i := range model { // any
					h.land(i)
					h.release(i)
					delete(model, i)
					break
				}
			},
			"wait": func(*rapid.T) { limit() },
			"": func(t *rapid.T) {
				if h.flying != len(model) {
					t.Fatalf("%d fly, want %d", h.flying, len(model))
				}
			},
		})
	})
}

func TestSlotsAreUsedAgainInTheOrderInWhichTheyBecameFree(t *testing.T) {
	h := newHangar()
	first := h.take(&target{}, 0)
	h.release(first)
	for range firstSlots - 2 {
		if i := h.take(&target{}, 0); i == first {
			t.Fatalf("slot %d was used again while others were free for longer", first)
		}
	}
	if i := h.take(&target{}, 0); i != first || h.slots[i].generation != 2 {
		t.Errorf("slot %d, generation %d, want %d and 2", i, h.slots[i].generation, first)
	}
}

func TestFaultsOfOurOwn(t *testing.T) {
	for errno, want := range map[unix.Errno]sereno.Fault{
		unix.ENETUNREACH: sereno.NoRoute, unix.EHOSTUNREACH: sereno.NoRoute, unix.ENETDOWN: sereno.NoRoute, unix.EADDRNOTAVAIL: sereno.NoRoute,
		unix.EPERM: sereno.Refused, unix.EACCES: sereno.Refused, unix.EMSGSIZE: sereno.Refused,
		unix.ENOBUFS: sereno.Skipped, unix.ENOMEM: sereno.Skipped, unix.EAGAIN: sereno.Skipped,
	} {
		if got := faultOf(errno); got != want {
			t.Errorf("%v: %v, want %v", errno, got, want)
		}
	}
}

func TestTargets(t *testing.T) {
	e, err := New(Options{Deliver: func([]sereno.Result) {}})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		addr, settings string
		timeout        time.Duration
		ok             bool
	}{
		{"127.0.0.1", ``, time.Second, true},
		{"127.0.0.1", `{"size": 24}`, time.Second, true},
		{"127.0.0.1", `{"size": 65499}`, time.Second, true},
		{"127.0.0.1", `{"size": 23}`, time.Second, false},
		{"127.0.0.1", `{"size": 65500}`, time.Second, false},
		{"127.0.0.1", `{"length": 56}`, time.Second, false},
		{"127.0.0.1", ``, 0, false},
		{"::ffff:127.0.0.1", ``, time.Second, true},
		{"fe80::1%1", ``, time.Second, true},
		{"fe80::1%no such link", ``, time.Second, false},
		{"0.0.0.0", ``, time.Second, false},
		{"224.0.0.1", ``, time.Second, false},
		{"ff02::1", ``, time.Second, false},
	} {
		_, err := e.Target(1, netip.MustParseAddr(test.addr), test.timeout, json.RawMessage(test.settings))
		if (err == nil) != test.ok {
			t.Errorf("%s %s %v: %v", test.addr, test.settings, test.timeout, err)
		}
		if err != nil && sereno.KindOf(err) != sereno.Invalid {
			t.Errorf("%s %s %v: %v is not of kind Invalid", test.addr, test.settings, test.timeout, err)
		}
	}
}

func FuzzSettings(f *testing.F) {
	f.Add([]byte(`{"size": 100}`))
	f.Add([]byte(`{"size": 1e99}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		if s, err := parseSettings(text); err == nil && (s.Size < minSize || s.Size > maxSize) {
			t.Errorf("size %d", s.Size)
		}
	})
}
