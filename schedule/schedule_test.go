package schedule

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"sereno"
	"sereno/probe"
)

type target sereno.CheckID

func (t target) Check() sereno.CheckID { return sereno.CheckID(t) }

// A book is a sweeper that writes down what it was handed.
type book struct {
	mu    sync.Mutex
	looks []probe.Look
	block chan struct{}
}

func (*book) Name() string                   { return "book" }
func (*book) Validate(json.RawMessage) error { return nil }
func (*book) Run(context.Context) error      { return nil }
func (*book) Target(c sereno.CheckID, _ netip.Addr, _ time.Duration, _ json.RawMessage) (probe.Target, error) {
	return target(c), nil
}

func (b *book) Sweep(ctx context.Context, looks []probe.Look) error {
	b.mu.Lock()
	block := b.block
	b.mu.Unlock()
	if block != nil {
		<-block
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.looks = append(b.looks, looks...)
	return nil
}

// forget tears the page out.
func (b *book) forget() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.looks = nil
}

func (b *book) of(check sereno.CheckID) (due []sereno.Instant) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, l := range b.looks {
		if l.Target.Check() == check {
			due = append(due, l.Due)
		}
	}
	return due
}

func now() sereno.Instant { return sereno.At(time.Now()) }

// during runs a scheduler in fake time while the story is told.
func during(t *testing.T, story func(*Scheduler, *book)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		b := &book{}
		s := New(b, now, slog.New(slog.DiscardHandler))
		done := make(chan error)
		go func() { done <- s.Run(ctx) }()
		story(s, b)
		synctest.Wait()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestEveryCheckIsDueOnItsGrid(t *testing.T) {
	during(t, func(s *Scheduler, b *book) {
		var items []Item
		for id := range sereno.CheckID(500) {
			items = append(items, Item{target(id), time.Second})
		}
		s.Set(items)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		for id := range sereno.CheckID(500) {
			due := b.of(id)
			if len(due) < 9 || len(due) > 11 {
				t.Fatalf("check %d: %d looks in 10 s", id, len(due))
			}
			for i, at := range due {
				if sereno.Slot(id, time.Second, at) != at {
					t.Fatalf("check %d is due off its grid at %v", id, at)
				}
				if i > 0 && at.Sub(due[i-1]) != time.Second {
					t.Fatalf("check %d: %v after the look before", id, at.Sub(due[i-1]))
				}
			}
		}
		for i := 1; i < len(b.looks); i++ {
			if b.looks[i].Due < b.looks[i-1].Due {
				t.Fatal("looks are not in order of their due times")
			}
		}
	})
}

func TestAPlanChangeDisturbsNoOtherCheck(t *testing.T) {
	during(t, func(s *Scheduler, b *book) {
		s.Set([]Item{{target(1), time.Second}, {target(2), time.Second}, {target(3), time.Second}})
		for i := range 50 {
			time.Sleep(100 * time.Millisecond)
			s.Set([]Item{{target(100 + sereno.CheckID(i)), 500 * time.Millisecond}})
			s.Drop([]sereno.CheckID{sereno.CheckID(99 + i)})
		}
		synctest.Wait()
		for id := sereno.CheckID(1); id <= 3; id++ {
			due := b.of(id)
			if len(due) < 4 {
				t.Fatalf("check %d: %d looks in 5 s", id, len(due))
			}
			for i := 1; i < len(due); i++ {
				if due[i].Sub(due[i-1]) != time.Second {
					t.Fatalf("check %d missed or doubled a look: %v", id, due)
				}
			}
		}
	})
}

func TestHurryLooksEverySecondOnTheSameGrid(t *testing.T) {
	during(t, func(s *Scheduler, b *book) {
		s.Set([]Item{{target(7), time.Minute}})
		time.Sleep(6 * time.Second)
		synctest.Wait()
		if n := len(b.of(7)); n == 0 {
			t.Fatal("a new check with a long interval was not looked at soon")
		}
		b.forget()
		s.Hurry(7, true)
		time.Sleep(2 * time.Minute)
		s.Hurry(7, false)
		synctest.Wait()
		due := b.of(7)
		if len(due) < 119 || len(due) > 121 {
			t.Fatalf("%d looks in two minutes of doubt", len(due))
		}
		for i := 1; i < len(due); i++ {
			if due[i].Sub(due[i-1]) != time.Second {
				t.Fatalf("a look twice or missing: %v", due[i].Sub(due[i-1]))
			}
		}
		b.forget()
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if n := len(b.of(7)); n != 5 {
			t.Errorf("%d looks in five calm minutes", n)
		}
	})
}

func TestLookIsTakenAtOnceAndOnce(t *testing.T) {
	during(t, func(s *Scheduler, b *book) {
		s.Set([]Item{{target(7), time.Hour}})
		time.Sleep(10 * time.Second)
		synctest.Wait()
		b.forget()
		asked := now()
		s.Look(7)
		s.Look(7)
		s.Look(8) // not in the plan
		time.Sleep(20 * time.Millisecond)
		synctest.Wait()
		if due := b.of(7); len(due) != 1 || due[0].Sub(asked) > 10*time.Millisecond {
			t.Errorf("asked at %v, looked at %v", asked, due)
		}
	})
}

func TestRestingIsNoStall(t *testing.T) {
	during(t, func(s *Scheduler, b *book) {
		s.Set([]Item{{target(1), time.Second}, {target(2), 30 * time.Second}})
		s.Drop([]sereno.CheckID{1})
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if n := len(b.of(2)); n < 20 || n > 21 {
			t.Errorf("%d looks in ten minutes", n)
		}
		if s.Skipped() != 0 {
			t.Errorf("%d looks were called left out", s.Skipped())
		}
	})
}

func TestALongStallIsLeftOutNotCaughtUpWith(t *testing.T) {
	during(t, func(s *Scheduler, b *book) {
		s.Set([]Item{{target(1), 100 * time.Millisecond}})
		time.Sleep(time.Second)
		synctest.Wait()
		b.mu.Lock()
		b.block = make(chan struct{})
		b.mu.Unlock()
		time.Sleep(10 * time.Second)
		close(b.block)
		time.Sleep(time.Second)
		synctest.Wait()
		if n := len(b.of(1)); n > 30 {
			t.Errorf("%d looks: the stall was caught up with", n)
		}
		if s.Skipped() < 90 {
			t.Errorf("%d looks counted as left out, want about 98", s.Skipped())
		}
	})
}

func TestRingGivesEverySlotOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := ring{interval: time.Duration(rapid.IntRange(1, 50).Draw(t, "interval")) * 100 * time.Millisecond}
		ids := rapid.SliceOfNDistinct(rapid.Int64Range(-5, 1000), 1, 100, rapid.ID[int64]).Draw(t, "ids")
		for _, id := range ids {
			r.set([]probe.Target{target(id)})
		}
		gone := ids[:rapid.IntRange(0, len(ids)-1).Draw(t, "gone")]
		for _, id := range gone {
			r.drop([]sereno.CheckID{sereno.CheckID(id)})
		}
		ids = ids[len(gone):]
		at := sereno.Instant(1_700_000_000_000_000)
		end := at.Add(20 * r.interval)
		seen := map[sereno.CheckID]int{}
		for begin := at; begin < end; {
			step := min(end, begin.Add(time.Duration(rapid.IntRange(1, 3_000_000).Draw(t, "step"))*time.Microsecond))
			last := begin
			for _, l := range r.due(nil, begin, step) {
				if l.Due <= begin || l.Due > step || l.Due < last || sereno.Slot(l.Target.Check(), r.interval, l.Due) != l.Due {
					t.Fatalf("look at %v in (%v, %v]", l.Due, begin, step)
				}
				last = l.Due
				seen[l.Target.Check()]++
			}
			begin = step
		}
		for _, id := range ids {
			if seen[sereno.CheckID(id)] != 20 {
				t.Fatalf("check %d: %d looks in 20 intervals", id, seen[sereno.CheckID(id)])
			}
		}
		if len(seen) != len(ids) {
			t.Fatal("a dropped check was looked at")
		}
	})
}
