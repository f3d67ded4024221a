package sereno

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

const replayBegin = Instant(1_790_000_000_000_000)

// recordedLife is what a ledger writes of looks at 1 s, given as in "uuudddu":
// up, slow, down; "." is a look that was not taken.
func recordedLife(p Policy, looks string) (Book, []Result) {
	b := Book{Check: 1, Policies: []PolicySince{{Check: 1, Since: replayBegin, Policy: p}}}
	state := State{Cause: CauseNew, Since: replayBegin}
	open := Span{Check: 1, Cause: CauseNew, Begin: replayBegin, Proof: replayBegin}
	var kept []Result
	for i, c := range looks {
		r := Result{Check: 1, At: replayBegin.Add(time.Duration(i+1) * time.Second)}
		switch c {
		case 'u':
			r.Status, r.RTT = Up, 10*time.Millisecond
		case 's':
			r.Status, r.RTT = Up, 80*time.Millisecond
		case 'd':
			r.Status = Down
		default:
			continue
		}
		kept = append(kept, r)
		judged := r
		judged.Status = p.Judge(&r, nil)
		for _, step := range []func() (State, Change){
			func() (State, Change) { return state.Lapse(p, r.At) },
			func() (State, Change) { return state.Next(p, judged) },
		} {
			next, ch := step()
			state = next
			if ch.IsZero() {
				continue
			}
			if ch.Begin > open.Begin {
				open.End = ch.Begin
				b.Spans = append(b.Spans, open)
			}
			open = Span{Check: 1, Status: ch.To, Cause: ch.Cause, Begin: ch.Begin, Proof: ch.Proof, Uncertainty: ch.Uncertainty, Reason: ch.Reason}
		}
	}
	b.Spans = append(b.Spans, open)
	return b, kept
}

func toldSpans(spans []Span) string {
	var words []string
	for _, s := range spans {
		words = append(words, fmt.Sprintf("%g %v", s.Begin.Sub(replayBegin).Seconds(), s.Status))
	}
	return strings.Join(words, ", ")
}

func TestAnotherPolicyOverTheSameLooks(t *testing.T) {
	recorded := Policy{Interval: time.Second, Timeout: time.Second, Fall: 3, Rise: 2}
	for _, c := range []struct {
		name   string
		looks  string
		change func(*Policy)
		same   string
		other  string
		alarms [2]int
	}{
		{
			"more patience sees no outage", "uuuuudddduuuuuu", func(p *Policy) { p.Fall = 5 },
			"0 unknown, 1 up, 6 down, 10 up", "0 unknown, 1 up",
			[2]int{1, 0},
		},
		{
			"less patience sees every lost look", "uuuduuuuduuudddduuuu", func(p *Policy) { p.Fall = 1 },
			"0 unknown, 1 up, 13 down, 17 up", "0 unknown, 1 up, 4 down, 5 up, 9 down, 10 up, 13 down, 17 up",
			[2]int{1, 3},
		},
		{
			"quick to believe", "uuuddduddduuuu", func(p *Policy) { p.Rise = 1 },
			"0 unknown, 1 up, 4 down, 11 up", "0 unknown, 1 up, 4 down, 7 up, 8 down, 11 up",
			[2]int{1, 2},
		},
		{
			"slow is degraded", "uuussssuuu", func(p *Policy) { p.RTTAbove = 50 * time.Millisecond },
			"0 unknown, 1 up", "0 unknown, 1 up, 4 degraded, 8 up",
			[2]int{0, 1},
		},
		{
			"loss is degraded", "uuuuuuuuuuduududuuuuuuuuuuuuuuu", func(p *Policy) { p.LossAbove, p.LossWindow = 0.25, 10*time.Second },
			"0 unknown, 1 up", "0 unknown, 1 up, 16 degraded, 21 up",
			[2]int{0, 1},
		},
		{
			"nobody looked: no policy changes that", "uuuuu............uuuuu", func(p *Policy) { p.Fall = 1 },
			"0 unknown, 1 up, 6 unknown, 18 up", "0 unknown, 1 up, 6 unknown, 18 up",
			[2]int{0, 0},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			book, looks := recordedLife(recorded, c.looks)
			r := NewReplay(book, replayBegin, func(p Policy) Policy { c.change(&p); return p })
			for i := range looks {
				r.Look(&looks[i])
			}
			done := r.End(replayBegin, replayBegin.Add(time.Hour), looks[len(looks)-1].At+1)
			if a, b, differ := done.Differ(); differ {
				t.Fatalf("recorded %+v, replayed %+v", a, b)
			}
			if got := toldSpans(done.Same); got != c.same {
				t.Errorf("recorded %q, want %q", got, c.same)
			}
			if got := toldSpans(done.Other); got != c.other {
				t.Errorf("replayed %q, want %q", got, c.other)
			}
			if got := [2]int{Alarms(done.Same, nil, replayBegin), Alarms(done.Other, nil, replayBegin)}; got != c.alarms {
				t.Errorf("alarms %v, want %v", got, c.alarms)
			}
		})
	}
}

func TestAReplayFindsWhatTheLooksDoNotSay(t *testing.T) {
	p := Policy{Interval: time.Second, Timeout: time.Second, Fall: 3, Rise: 2}
	for _, c := range []struct {
		name   string
		wrong  func(b *Book, looks *[]Result)
		differ bool
	}{
		{"as it was", func(*Book, *[]Result) {}, false},
		{"another begin", func(b *Book, _ *[]Result) { b.Spans[2].Begin += 1e6; b.Spans[1].End += 1e6 }, true},
		{"another proof", func(b *Book, _ *[]Result) { b.Spans[2].Proof += 1e6 }, true},
		{"another status", func(b *Book, _ *[]Result) { b.Spans[2].Status = Degraded }, true},
		{"an outage that was not booked", func(b *Book, _ *[]Result) { b.Spans[1].End = 0; b.Spans = b.Spans[:2] }, true},
		{"a look that was not kept", func(_ *Book, looks *[]Result) { *looks = slices.Delete(*looks, 11, 12) }, true},
		{"other words", func(b *Book, _ *[]Result) { b.Spans[2].Reason = "refused" }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			book, looks := recordedLife(p, "uuuuuuuuuuddddduuuuu")
			c.wrong(&book, &looks)
			r := NewReplay(book, replayBegin, nil)
			for i := range looks {
				r.Look(&looks[i])
			}
			done := r.End(replayBegin, replayBegin.Add(time.Hour), looks[len(looks)-1].At+1)
			if done.From >= done.Until {
				t.Fatal("nothing was said")
			}
			if a, b, differ := done.Differ(); differ != c.differ {
				t.Errorf("differ %v: recorded %+v, replayed %+v", differ, a, b)
			}
		})
	}
}

func TestAReplayBeginsWhereTheStateIsKnown(t *testing.T) {
	p := Policy{Interval: time.Second, Timeout: time.Second, Fall: 3, Rise: 2, LossAbove: 0.5, LossWindow: 10 * time.Second}
	book, looks := recordedLife(p, strings.Repeat("u", 40))
	r := NewReplay(book, looks[5].At, nil)
	for i := range looks[5:] {
		r.Look(&looks[5+i])
	}
	done := r.End(replayBegin, replayBegin.Add(time.Hour), looks[39].At+1)
	if want := looks[5+9].At; done.From != want { // with a loss window full of looks
		t.Errorf("exact from %v, want %v", done.From.Sub(replayBegin), want.Sub(replayBegin))
	}
	if want := looks[39].At + 1; done.Until != want {
		t.Errorf("exact until %v, want %v", done.Until.Sub(replayBegin), want.Sub(replayBegin))
	}
	empty := NewReplay(book, replayBegin, nil).End(replayBegin, replayBegin.Add(time.Hour), replayBegin.Add(time.Hour))
	if empty.From < empty.Until {
		t.Errorf("without looks: %+v", empty)
	}
}

// 30 days at 1 s with an outage each hour, under two policies at once.
func BenchmarkReplayMonth(b *testing.B) {
	hour := strings.Repeat("u", 3590) + "ddddduuuuu"
	book, looks := recordedLife(Policy{Interval: time.Second, Timeout: time.Second, Fall: 3, Rise: 2}, strings.Repeat(hour, 30*24))
	for b.Loop() {
		r := NewReplay(book, replayBegin, func(p Policy) Policy { p.Fall = 5; return p })
		for i := range looks {
			r.Look(&looks[i])
		}
		if done := r.End(replayBegin, looks[len(looks)-1].At, looks[len(looks)-1].At); len(done.Same) < 1000 {
			b.Fatal(len(done.Same))
		}
	}
}
