package event

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

func heard(s *Subscription) (names []string) {
	for {
		select {
		case e, ok := <-s.Events():
			if !ok {
				return names
			}
			names = append(names, e.Name)
		default:
			return names
		}
	}
}

func TestNewsReachesThoseWhoAskedForItsTopic(t *testing.T) {
	h := New()
	all, alerts, other := h.Subscribe(0), h.Subscribe(0, "alerts"), h.Subscribe(0, "devices")
	h.Publish("alerts", "opened", nil)
	h.Publish("devices", "added", nil)
	h.Publish("alerts", "closed", nil)
	late := h.Subscribe(0)
	for _, c := range []struct {
		who  string
		s    *Subscription
		want string
	}{
		{"all", all, "[opened added closed]"},
		{"alerts", alerts, "[opened closed]"},
		{"devices", other, "[added]"},
		{"late", late, "[]"},
	} {
		if got := fmt.Sprint(heard(c.s)); got != c.want {
			t.Errorf("%s heard %s, not %s", c.who, got, c.want)
		}
	}
}

func TestASlowOneIsCutOffAndDelaysNobody(t *testing.T) {
	h := New()
	slow, quick := h.Subscribe(0), h.Subscribe(0)
	for i := range 3 * Queue {
		h.Publish("alerts", fmt.Sprint(i), nil)
		if got := heard(quick); len(got) != 1 {
			t.Fatalf("the quick one heard %v at %d", got, i)
		}
	}
	if got := heard(slow); len(got) != Queue {
		t.Errorf("the slow one heard %d events before it was cut off, not the %d that had waited", len(got), Queue)
	}
	if !errors.Is(slow.Err(), ErrSlow) {
		t.Errorf("the slow one ended with %v", slow.Err())
	}
	if quick.Err() != nil || h.Subscribers() != 1 {
		t.Errorf("quick: %v; %d subscribers are left", quick.Err(), h.Subscribers())
	}
}

func TestWhoComesBackHearsWhatCameMeanwhile(t *testing.T) {
	h := New()
	first := h.Subscribe(0)
	h.Publish("alerts", "a", nil)
	a := <-first.Events()
	first.Close()
	if !errors.Is(first.Err(), ErrClosed) {
		t.Errorf("closed: %v", first.Err())
	}
	for _, name := range []string{"b", "c"} {
		h.Publish("alerts", name, nil)
	}
	h.Publish("devices", "other", nil)
	again := h.Subscribe(a.Sequence, "alerts")
	h.Publish("alerts", "d", nil)
	if got := fmt.Sprint(heard(again)); got != "[b c d]" || again.Missed() != 0 {
		t.Errorf("heard %s, missed %d", got, again.Missed())
	}
	for range Kept {
		h.Publish("alerts", "x", nil)
	}
	for what, after := range map[string]int64{"long gone": a.Sequence, "another life": 5, "a later life": a.Sequence + 1e6} {
		s := h.Subscribe(after, "alerts")
		if got := heard(s); s.Missed() == 0 || len(got) != Kept {
			t.Errorf("%s: missed %d, heard %d", what, s.Missed(), len(got))
		}
	}
}

func TestTheEndEndsAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New()
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { h.Run(ctx) })
		s := h.Subscribe(0)
		h.Publish("alerts", "opened", nil)
		cancel()
		wg.Wait()
		if got := fmt.Sprint(heard(s)); got != "[opened]" || !errors.Is(s.Err(), ErrEnded) {
			t.Errorf("heard %s, ended with %v", got, s.Err())
		}
		if h.Publish("alerts", "late", nil) {
			t.Error("published after the end")
		}
		late := h.Subscribe(0)
		if _, open := <-late.Events(); open || !errors.Is(late.Err(), ErrEnded) {
			t.Errorf("subscribed after the end: %v", late.Err())
		}
		s.Close()
		late.Close()
	})
}

// Whoever comes and goes, with the sequence heard last each time, hears every
// event once and in order, or is told that some were missed.
func TestNothingIsMissedUnsaid(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := New()
		var last int64
		next := 0 // the number of the next event to be heard
		published := 0
		s := h.Subscribe(0)
		take := func() {
			for {
				select {
				case e, ok := <-s.Events():
					if !ok {
						return
					}
					if got := int(e.Data[0]) | int(e.Data[1])<<8; got != next || e.Sequence <= last {
						t.Fatalf("heard event %d with sequence %d, wanted %d after %d", got, e.Sequence, next, last)
					}
					next++
					last = e.Sequence
				default:
					return
				}
			}
		}
		publish := func(n int) {
			for range n {
				h.Publish("alerts", "x", []byte{byte(published), byte(published >> 8)})
				published++
			}
		}
		publish(1)
		take()
		for range rapid.IntRange(1, 12).Draw(t, "steps") {
			publish(rapid.SampledFrom([]int{0, 1, 5, Queue, Queue + 1, Kept - 1, Kept, Kept + 1, 2 * Kept}).Draw(t, "published"))
			switch rapid.IntRange(0, 1).Draw(t, "what") {
			case 0:
				take()
			case 1:
				before := next
				s.Close()
				s = h.Subscribe(last)
				if published-before > Kept != (s.Missed() != 0) {
					t.Fatalf("%d events came meanwhile, missed is %d", published-before, s.Missed())
				}
				if s.Missed() != 0 {
					next = published - Kept
				}
				take()
			}
			if s.Err() != nil { // cut off: back again
				take()
			}
		}
	})
}

func TestManyAtOnce(t *testing.T) {
	h := New()
	ctx, cancel := context.WithCancel(t.Context())
	var tellers, others sync.WaitGroup
	others.Go(func() { h.Run(ctx) })
	for range 4 {
		tellers.Go(func() {
			for range 500 {
				h.Publish("alerts", "x", nil)
			}
		})
		others.Go(func() {
			var last int64
			for {
				s := h.Subscribe(last)
				for e := range s.Events() {
					if e.Sequence <= last {
						t.Errorf("%d after %d", e.Sequence, last)
					}
					last = e.Sequence
				}
				if errors.Is(s.Err(), ErrEnded) {
					return
				}
			}
		})
	}
	tellers.Wait()
	cancel()
	others.Wait()
	if n := h.Subscribers(); n != 0 {
		t.Errorf("%d subscribers are left", n)
	}
}

// TestAThousandSlowOnes: whoever tells is not held up by any number of those who
// do not listen, nothing more than their queues is kept for them, and they are
// cut off.
func TestAThousandSlowOnes(t *testing.T) {
	h := New()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- h.Run(ctx) }()
	var slow []*Subscription
	for range 1000 {
		slow = append(slow, h.Subscribe(0))
	}
	quick := h.Subscribe(0)
	told := make(chan bool)
	go func() {
		defer close(told)
		for i := range 10 * Queue {
			h.Publish("alerts", fmt.Sprint(i), nil)
			if e := <-quick.Events(); e.Name != fmt.Sprint(i) {
				t.Errorf("the quick one heard %q at %d", e.Name, i)
			}
		}
	}()
	select {
	case <-told:
	case <-time.After(time.Minute):
		t.Fatal("whoever tells waits for those who do not listen")
	}
	if n := h.Subscribers(); n != 1 {
		t.Errorf("%d are not cut off", n-1)
	}
	for i, s := range slow {
		if got := heard(s); len(got) != Queue || !errors.Is(s.Err(), ErrSlow) {
			t.Fatalf("the %dth slow one heard %d, and ended with %v", i, len(got), s.Err())
		}
		s.Close()
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if !errors.Is(quick.Err(), ErrEnded) {
		t.Errorf("the quick one ended with %v", quick.Err())
	}
}
