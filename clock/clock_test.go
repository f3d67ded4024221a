package clock

import (
	"context"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sereno"
)

// A bench is a machine in a synctest bubble: its clocks run with the bubble's.
type bench struct {
	mu     sync.Mutex
	begun  time.Time
	asleep time.Duration
	wrong  time.Duration
	boot   string
	unsync bool
	lag    time.Duration // that a reading takes to arrive
}

func newBench() *bench { return &bench{begun: time.Now().Add(-time.Hour), boot: "a"} }

// The bubble begins in 2000, before any clock that Sereno believes.
const bubbleAge = 27 * 365 * 24 * time.Hour

func (b *bench) read() (sereno.Reading, error) {
	b.mu.Lock()
	lag, ran := b.lag, time.Since(b.begun)
	r := sereno.Reading{
		Wall: sereno.At(time.Now()).Add(bubbleAge + b.asleep + b.wrong), Boot: ran + b.asleep, Mono: ran,
		BootID: b.boot, Synced: !b.unsync, Chip: true,
	}
	b.mu.Unlock()
	time.Sleep(lag)
	return r, nil
}

func (b *bench) change(f func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f()
}

// running starts a clock on b and returns it with a way to ask for its news.
func running(t *testing.T, b *bench, o Options) (*Clock, func() []sereno.Beat) {
	t.Helper()
	o.Read = b.read
	c, found, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	news := []sereno.Beat{found}
	var mu sync.Mutex
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- c.Run(ctx, func(beat sereno.Beat) {
			mu.Lock()
			defer mu.Unlock()
			for _, a := range beat.Absences {
				if !c.Pending() && c.Now() > a.Begin.Add(time.Second) {
					t.Errorf("Now is %v before the absence from %v was told", c.Now(), a.Begin)
				}
			}
			news = append(news, beat)
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return c, func() []sereno.Beat {
		mu.Lock()
		defer mu.Unlock()
		return news
	}
}

func TestClockRunsWithTheMachine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		c, news := running(t, b, Options{})
		began := c.Now()
		if want := sereno.At(time.Now()).Add(bubbleAge); began != want {
			t.Fatalf("began at %v, the wall clock shows %v", began, want)
		}
		time.Sleep(10*time.Minute + 100*time.Millisecond)
		if got := c.Now().Sub(began); got != 10*time.Minute+100*time.Millisecond {
			t.Errorf("10m0.1s became %v", got)
		}
		if n := len(news()); n != 1 || !news()[0].Quiet() {
			t.Errorf("news of a calm time: %+v", news())
		}
	})
}

func TestClockNoticesSleepAtTheNextBeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		c, news := running(t, b, Options{})
		time.Sleep(10*time.Second + 100*time.Millisecond)
		before := c.Now()
		b.change(func() { b.asleep = 8 * time.Hour })
		if c.Now() != before {
			t.Errorf("Now jumped by %v before the sleep was noticed", c.Now().Sub(before))
		}
		time.Sleep(400 * time.Millisecond)
		if got := c.Now().Sub(before); got != 8*time.Hour+400*time.Millisecond {
			t.Errorf("8h0m0.4s became %v", got)
		}
		told := news()
		if len(told) != 2 || len(told[1].Absences) != 1 || told[1].Absences[0].Cause != sereno.Suspended {
			t.Fatalf("news: %+v", told)
		}
	})
}

func TestClockIsPendingUntilItIsSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		r, _ := b.read()
		mark := sereno.Mark{Reading: r, Ledger: r.Wall, Every: 5 * time.Second}
		b.boot, b.unsync, b.wrong = "b", true, -time.Hour
		time.Sleep(30 * time.Minute)
		c, news := running(t, b, Options{Mark: mark})
		if !c.Pending() || c.Now() != mark.Ledger {
			t.Fatalf("pending %v at %v, the mark is of %v", c.Pending(), c.Now(), mark.Ledger)
		}
		time.Sleep(time.Minute)
		b.change(func() { b.unsync, b.wrong = false, 0 })
		time.Sleep(time.Second)
		told := news()
		if c.Pending() || len(told) != 2 || !told[1].Settled || told[1].Shift != 30*time.Minute {
			t.Fatalf("news: %+v", told)
		}
		if got := c.Now().Sub(mark.Ledger); got != 31*time.Minute+time.Second {
			t.Errorf("31m1s became %v", got)
		}
	})
}

func TestClockIsOverdueWithoutBeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		c, _, err := New(Options{Read: b.read})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		if c.Overdue() {
			t.Error("overdue after 2s")
		}
		time.Sleep(time.Second)
		if !c.Overdue() {
			t.Error("not overdue after 3s")
		}
	})
}

// A machine under load may take its time between a reading and its use: that
// holds Now neither back nor lets it go back.
func TestReadingsThatComeLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		c, _ := running(t, b, Options{})
		time.Sleep(time.Second)
		began, then := c.Now(), time.Now()
		last := began
		for i := range 40_000 {
			switch i % 20_000 {
			case 0:
				b.change(func() { b.lag, b.wrong = 0, 500*time.Millisecond })
			case 10_000:
				b.change(func() { b.lag, b.wrong = 200*time.Millisecond, -500*time.Millisecond })
			}
			time.Sleep(50 * time.Microsecond)
			now := c.Now()
			if now < last {
				t.Fatalf("went back by %v", last.Sub(now))
			}
			if wrong := now.Sub(began) - time.Since(then); wrong.Abs() > 10*time.Millisecond {
				t.Fatalf("%v became %v", time.Since(then), now.Sub(began))
			}
			last = now
		}
	})
}

// Many ask while the clock is set, slewed and read with doubt.
func TestNowNeverGoesBack(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	beats := 0
	jittery := func() (sereno.Reading, error) {
		r, err := Read()
		if beats++; beats == 60 {
			cancel()
		}
		r.Boot += time.Duration(beats%7) * time.Microsecond
		switch beats / 8 % 4 {
		case 1:
			r.Wall = r.Wall.Add(-time.Hour)
		case 2:
			r.Wall = r.Wall.Add(500 * time.Millisecond)
		case 3:
			r.Wall = r.Wall.Add(time.Duration(beats) * time.Second)
		}
		return r, err
	}
	c, _, err := New(Options{Read: jittery, Rhythm: sereno.Rhythm{Beat: time.Millisecond}})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for last := c.Now(); ctx.Err() == nil; {
				for range 100 {
					now := c.Now()
					if now < last {
						t.Errorf("went back by %v", last.Sub(now))
						return
					}
					last = now
				}
			}
		})
	}
	if err := c.Run(ctx, func(sereno.Beat) {}); err != nil {
		t.Error(err)
	}
	wg.Wait()
}

func TestRead(t *testing.T) {
	first, err := Read()
	if err != nil {
		t.Fatal(err)
	}
	for range 1000 {
		r, err := Read()
		if err != nil {
			t.Fatal(err)
		}
		if r.Boot < first.Boot || r.Mono < first.Mono || r.BootID != first.BootID {
			t.Fatalf("%+v is followed by %+v", first, r)
		}
		if d := (r.Boot - r.Mono) - (first.Boot - first.Mono); d.Abs() > time.Second {
			t.Fatalf("boot-time and monotonic clock moved by %v against each other", d)
		}
		first = r
	}
	if off := time.Since(first.Wall.Time()).Abs(); off > time.Minute {
		t.Errorf("the wall clock was read %v off", off)
	}
}

func TestKeeperAndTheNextStart(t *testing.T) {
	for _, c := range []struct {
		name  string
		after func(b *bench)
		kill  bool
		want  string
	}{
		{"stopped in order, and started again soon", func(*bench) { time.Sleep(time.Second) }, false, ""},
		{"stopped in order for a minute", func(*bench) { time.Sleep(time.Minute) }, false, "stopped 1m0s"},
		{"killed two seconds after its last mark", func(*bench) { time.Sleep(time.Second) }, true, "crash 3s"},
		{"another boot", func(b *bench) { time.Sleep(time.Hour); b.boot = "b" }, true, "power_loss 1h0m2s"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "alive")
			synctest.Test(t, func(t *testing.T) {
				b := newBench()
				keep(t, b, path, 12*time.Second, c.kill)
				c.after(b)

				marks, mark, found, err := OpenMarks(path, slog.New(slog.DiscardHandler))
				if err != nil || !found {
					t.Fatalf("found %v, %v", found, err)
				}
				defer marks.Close()
				if mark.Settled != mark.Ledger-1 || mark.PID == 0 || mark.Clean == c.kill {
					t.Errorf("the mark is %+v", mark)
				}
				_, beat, err := New(Options{Read: b.read, Mark: mark})
				if err != nil {
					t.Fatal(err)
				}
				var got []string
				for _, a := range beat.Absences {
					got = append(got, a.Cause.String()+" "+a.End.Sub(a.Begin).String())
				}
				if got := strings.Join(got, ", "); got != c.want {
					t.Errorf("got %q, want %q", got, c.want)
				}
			})
		})
	}
}

// keep runs a clock and a keeper for a while. Killed, the file is closed under
// the keeper's hands, so that it writes no last mark.
func keep(t *testing.T, b *bench, path string, length time.Duration, kill bool) {
	t.Helper()
	marks, _, _, err := OpenMarks(path, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	c, _, err := New(Options{Read: b.read})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	k := &Keeper{Clock: c, Marks: marks, Settled: func() sereno.Instant { return c.Now() - 1 }, Log: slog.New(slog.DiscardHandler)}
	done := make(chan error, 1)
	go func() { done <- k.Run(ctx) }()
	time.Sleep(length)
	synctest.Wait()
	if kill {
		marks.Close()
	}
	cancel()
	if err := <-done; (err != nil) != kill {
		t.Fatalf("the keeper ended with %v", err)
	}
	marks.Close()
}

func TestKeeperWritesNothingWhilePending(t *testing.T) {
	path := filepath.Join(t.TempDir(), "alive")
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		keep(t, b, path, time.Second, false)
		b.boot, b.unsync, b.wrong = "b", true, -time.Hour
		marks, before, _, err := OpenMarks(path, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		c, _, err := New(Options{Read: b.read, Mark: before})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		k := &Keeper{Clock: c, Marks: marks, Settled: c.Now, Log: slog.New(slog.DiscardHandler)}
		if err := k.Run(ctx); err != nil {
			t.Fatal(err)
		}
		if after, err := marks.read(); err != nil || after != before {
			t.Errorf("%+v became %+v (%v)", before, after, err)
		}
		marks.Close()
	})
}

func TestKeeperWritesNothingBeforeAnythingIsSettled(t *testing.T) {
	path := filepath.Join(t.TempDir(), "alive")
	synctest.Test(t, func(t *testing.T) {
		marks := mustOpen(t, path)
		c, _, err := New(Options{Read: newBench().read})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		k := &Keeper{Clock: c, Marks: marks, Settled: func() sereno.Instant { return 0 }, Log: slog.New(slog.DiscardHandler)}
		if err := k.Run(ctx); err != nil {
			t.Fatal(err)
		}
		if last, err := marks.read(); err != nil || !last.Ledger.IsZero() {
			t.Errorf("wrote %+v (%v)", last, err)
		}
	})
}

func BenchmarkNow(b *testing.B) {
	c, _, err := New(Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		c.Now()
	}
}

func BenchmarkRead(b *testing.B) {
	for b.Loop() {
		if _, err := Read(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkNowFromEverywhere(b *testing.B) {
	c, _, err := New(Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			c.Now()
		}
	})
}
