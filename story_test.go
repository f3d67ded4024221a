package sereno

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// A story is one letter a look, one look a second from second 0:
// u up, g degraded, d down, ? a fault of our own, - no look at all.
var letters = map[rune]Status{'u': Up, 'g': Degraded, 'd': Down, '?': Unknown}

const storyStart = Instant(1_700_000_000_000_000)

// tell folds a story and returns its changes as "BEGIN: from→to", joined by
// commas; BEGIN is the second of the look with which the new status begins.
func tell(p Policy, story string) string {
	var s State
	var told []string
	note := func(c Change) {
		if !c.IsZero() {
			told = append(told, fmt.Sprintf("%g: %v→%v", c.Begin.Sub(storyStart).Seconds(), c.From, c.To))
		}
	}
	for i, letter := range []rune(story) {
		if letter == '-' {
			continue
		}
		r := Result{At: storyStart.Add(time.Duration(i) * time.Second), Status: letters[letter]}
		var c Change
		s, c = s.Lapse(p, r.At)
		note(c)
		s, c = s.Next(p, r)
		note(c)
	}
	return strings.Join(told, ", ")
}

func TestStateStories(t *testing.T) {
	for _, test := range []struct {
		rule       string
		fall, rise int
		story      string
		changes    string
	}{
		{"the first answer makes Up", 3, 2, "u", "0: unknown→up"},
		{"the first answer, if poor, makes Degraded", 3, 2, "g", "0: unknown→degraded"},
		{"silence from the start is Down after fall looks, from the first", 3, 2, "ddd", "0: unknown→down"},
		{"fewer than fall looks prove nothing", 3, 2, "uuddudd", "0: unknown→up"},
		{"an outage begins with its first failure", 3, 2, "uuddd", "0: unknown→up, 2: up→down"},
		{"it ends with the first of the answers that proved it", 3, 2, "udddduu", "0: unknown→up, 1: up→down, 5: down→up"},
		{"one answer does not end an outage", 3, 2, "udddududduu", "0: unknown→up, 1: up→down, 9: down→up"},
		{"not only down, so degraded", 3, 2, "udgd", "0: unknown→up, 1: up→degraded"},
		{"degraded becomes down with the first of fall downs in a row", 3, 2, "ugggddd", "0: unknown→up, 1: up→degraded, 4: degraded→down"},
		{"degraded becomes up after rise", 3, 2, "ggguu", "0: unknown→degraded, 3: degraded→up"},
		{"degraded is not left by a single up", 3, 2, "ggugg", "0: unknown→degraded"},
		{"down is left for degraded if an answer was poor", 3, 2, "dddgu", "0: unknown→down, 3: down→degraded"},
		{"and goes on to up from there", 3, 2, "dddguu", "0: unknown→down, 3: down→degraded, 4: degraded→up"},
		{"a fault of our own neither strengthens nor breaks a doubt", 3, 2, "ud?d?d", "0: unknown→up, 1: up→down"},
		{"nothing but faults is no outage", 3, 2, "u????", "0: unknown→up"},
		{"ten seconds without evidence are Unknown from one interval after it", 3, 2, "u???????????d", "0: unknown→up, 1: up→unknown"},
		{"missing looks are neither recovery nor failure", 3, 2, "uddd-------------u", "0: unknown→up, 1: up→down, 4: down→unknown, 17: unknown→up"},
		{"a doubt does not survive a gap", 3, 2, "udd------------d", "0: unknown→up, 3: up→unknown"},
		{"fall 1", 1, 1, "udu", "0: unknown→up, 1: up→down, 2: down→up"},
	} {
		p := DefaultPolicy
		p.Fall, p.Rise = test.fall, test.rise
		if got := tell(p, test.story); got != test.changes {
			t.Errorf("%s\n  %s\n  got  %s\n  want %s", test.rule, test.story, got, test.changes)
		}
	}
}

func TestUncertaintyIsTheDistanceToTheLookBefore(t *testing.T) {
	var s State
	var last Change
	at := storyStart
	for _, look := range []struct {
		after  time.Duration
		status Status
	}{{0, Up}, {60 * time.Second, Down}, {time.Second, Down}, {time.Second, Down}} {
		at = at.Add(look.after)
		if next, c := s.Next(DefaultPolicy, Result{At: at, Status: look.status}); true {
			if s = next; !c.IsZero() {
				last = c
			}
		}
	}
	if last.To != Down || last.Uncertainty != time.Minute || last.Begin != storyStart.Add(time.Minute) || last.Proof != at {
		t.Errorf("got %+v", last)
	}
}

func TestLooksOutOfOrderChangeNothing(t *testing.T) {
	s, _ := State{}.Next(DefaultPolicy, Result{At: storyStart, Status: Up})
	if again, c := s.Next(DefaultPolicy, Result{At: storyStart, Status: Down}); again != s || !c.IsZero() {
		t.Errorf("a look told twice changed %+v to %+v", s, again)
	}
}

func TestGrid(t *testing.T) {
	for id := range CheckID(1000) {
		phase := Phase(id, time.Minute)
		if phase < 0 || phase >= time.Minute {
			t.Fatalf("phase %v", phase)
		}
		if Phase(id, time.Second) != phase%time.Second {
			t.Fatalf("check %d: the grid of 1s is not that of 60s thinned out", id)
		}
		slot := Slot(id, time.Minute, storyStart)
		if slot > storyStart || storyStart.Sub(slot) >= time.Minute || Slot(id, time.Minute, slot) != slot {
			t.Fatalf("check %d: slot %v before %v", id, slot, storyStart)
		}
	}
}

func TestALossWindowOfAnotherSizeStartsAnew(t *testing.T) {
	for _, sizes := range [][2]int{{10, 60}, {60, 10}} {
		var l Loss
		for range 60 {
			l.Add(sizes[0], true)
		}
		for range 60 {
			l.Add(sizes[1], false)
		}
		if share, ok := l.Share(sizes[1]); !ok || share != 0 {
			t.Errorf("from %d looks to %d: %v, %v", sizes[0], sizes[1], share, ok)
		}
	}
}

func TestLoss(t *testing.T) {
	var l Loss
	for i := range 10 {
		l.Add(10, i < 2)
	}
	if share, ok := l.Share(10); !ok || share != 0.2 {
		t.Errorf("share %v %v, want 0.2", share, ok)
	}
	for range 10 {
		l.Add(10, false)
	}
	if share, _ := l.Share(10); share != 0 {
		t.Errorf("old losses did not leave: %v", share)
	}
	var young Loss
	young.Add(10, true)
	if _, ok := young.Share(10); ok {
		t.Error("one look of ten is called a loss rate")
	}
}

func TestJudge(t *testing.T) {
	p := DefaultPolicy
	p.RTTAbove = 50 * time.Millisecond
	if s := p.Judge(&Result{Status: Up, RTT: 51 * time.Millisecond}, nil); s != Degraded {
		t.Errorf("slow answer: %v", s)
	}
	if s := p.Judge(&Result{Status: Down}, nil); s != Down {
		t.Errorf("no answer: %v", s)
	}
	p.LossAbove, p.LossWindow = 0.05, 10*time.Second
	var l Loss
	for i := range 10 {
		l.Add(p.LossLooks(), i == 0)
	}
	if s := p.Judge(&Result{Status: Up, RTT: time.Millisecond}, &l); s != Degraded {
		t.Errorf("answer amid 10 %% loss: %v", s)
	}
}

func TestCaseStories(t *testing.T) {
	// Each change happens a minute after the one before, unless the story says calm.
	for _, test := range []struct{ rule, changes, written string }{
		{"down opens, up closes", "d u", "1 down, 1 closed"},
		{"up alone is no news", "u u", ""},
		{"degraded that becomes down stays one incident", "g d u", "1 degraded, 1 down, 1 closed"},
		{"unknown neither opens nor closes", "d ? u", "1 down, 1 closed"},
		{"the next trouble is another incident", "d u d u", "1 down, 1 closed, 2 down, 2 closed"},
		{"six changes in ten minutes are flapping, told once", "u d u d u d u d u", "1 down, 1 closed, 2 down, 2 closed, 3 down, 3 flapping"},
		{"which ends after ten calm minutes", "u d u d u d u calm", "1 down, 1 closed, 2 down, 2 closed, 3 down, 3 flapping, 3 closed"},
		{"or turns out to be an outage", "u d u d u d u d calm", "1 down, 1 closed, 2 down, 2 closed, 3 down, 3 flapping, 3 down"},
	} {
		var c Case
		var state State
		var ids IncidentID
		var written []string
		at := storyStart
		note := func(next Case, in Incident, news bool) {
			c = next
			if !news {
				return
			}
			what := in.Trouble.String()
			if in.Closed != 0 {
				what = "closed"
			}
			written = append(written, fmt.Sprintf("%d %s", in.ID, what))
		}
		for word := range strings.FieldsSeq(test.changes) {
			if word == "calm" {
				at = at.Add(FlapWindow)
				note(c.Calm(state, at))
				continue
			}
			at = at.Add(time.Minute)
			ch := Change{From: state.Status, To: letters[rune(word[0])], Begin: at}
			state.Status, state.Since = ch.To, at
			note(c.Next(ch, func() IncidentID { ids++; return ids }))
		}
		if got := strings.Join(written, ", "); got != test.written {
			t.Errorf("%s\n  %s\n  got  %s\n  want %s", test.rule, test.changes, got, test.written)
		}
	}
}

func TestAgainIsNextForLess(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := DefaultPolicy
		p.Fall, p.Rise = rapid.IntRange(1, 4).Draw(t, "fall"), rapid.IntRange(1, 4).Draw(t, "rise")
		var long, short State
		at, quick := storyStart, 0
		for range 200 {
			at = at.Add(rapid.SampledFrom([]time.Duration{0, time.Second, time.Second, 12 * time.Second}).Draw(t, "after"))
			r := Result{At: at, Status: rapid.SampledFrom([]Status{Up, Up, Up, Up, Degraded, Down, Unknown}).Draw(t, "look")}
			long, _ = long.Lapse(p, at)
			long, _ = long.Next(p, r)
			if short.Again(&p, at, r.Status) {
				quick++
			} else {
				short, _ = short.Lapse(p, at)
				short, _ = short.Next(p, r)
			}
			if long != short {
				t.Fatalf("after %v: %+v, in short %+v", r.Status, long, short)
			}
		}
	})
}
