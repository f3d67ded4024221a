package main

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sereno"
)

func TestQuantiles(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		times := rapid.SliceOfN(rapid.Int64Range(1, int64(time.Minute)), 1, 3*exactValues).Draw(t, "times")
		var q quantiles
		for _, d := range times {
			q.add(time.Duration(d))
		}
		slices.Sort(times)
		wrong := 1e-6 // float32
		if len(times) > exactValues {
			wrong = 0.0081
		}
		for _, p := range []float64{0.01, 0.5, 0.95, 1} {
			want := float64(times[int(math.Ceil(p*float64(len(times))))-1])
			got := float64(q.at(p))
			if math.Abs(got-want) > wrong*want+1 {
				t.Fatalf("p%g of %d values is %g, want %g", 100*p, len(times), got, want)
			}
		}
	})
}

func TestQuantilesOfNothing(t *testing.T) {
	if got := new(quantiles).at(0.5); got != 0 {
		t.Errorf("got %v", got)
	}
}

// A story of looks: a number is an answer after so many milliseconds, x is a
// loss, f is a fault of our own.
func TestTally(t *testing.T) {
	for _, story := range []struct {
		name, looks                 string
		sent, lost, faults          uint64
		last, least, mean, most, ji int // milliseconds
		condition                   condition
	}{
		{"nothing yet", "", 0, 0, 0, 0, 0, 0, 0, 0, waiting},
		{"one answer has no jitter", "4", 1, 0, 0, 4, 4, 4, 4, 0, answers},
		{"jitter is the mean difference of neighbours", "4 8 6", 3, 0, 0, 6, 4, 6, 8, 3, answers},
		{"a loss does not count as a time", "4 x 6", 3, 1, 0, 6, 4, 5, 6, 2, lossy},
		{"silent now", "4 x", 2, 1, 0, 4, 4, 4, 4, 0, silent},
		{"never an answer", "x x", 2, 2, 0, 0, 0, 0, 0, 0, dead},
		{"a fault is no loss", "4 f", 1, 0, 1, 4, 4, 4, 4, 0, blind},
		{"faults alone", "f f", 0, 0, 2, 0, 0, 0, 0, 0, blind},
		{"a fault passes", "4 f 4", 2, 0, 1, 4, 4, 4, 4, 0, answers},
	} {
		t.Run(story.name, func(t *testing.T) {
			var got tally
			for look := range strings.FieldsSeq(story.looks) {
				switch look {
				case "x":
					got.add(&sereno.Result{Status: sereno.Down, Reason: "no reply in 1s"})
				case "f":
					got.add(&sereno.Result{Fault: sereno.NoRoute, Reason: "network is unreachable"})
				default:
					got.add(&sereno.Result{Status: sereno.Up, RTT: time.Duration(look[0]-'0') * time.Millisecond})
				}
			}
			ms := func(n int) time.Duration { return time.Duration(n) * time.Millisecond }
			if got.sent != story.sent || got.lost() != story.lost || got.faults != story.faults || got.condition() != story.condition {
				t.Errorf("got sent %d, lost %d, faults %d, %v", got.sent, got.lost(), got.faults, got.condition())
			}
			if got.last != ms(story.last) || got.least != ms(story.least) || got.mean() != ms(story.mean) || got.most != ms(story.most) || got.jitter() != ms(story.ji) {
				t.Errorf("got last %v, min %v, mean %v, max %v, jitter %v", got.last, got.least, got.mean(), got.most, got.jitter())
			}
		})
	}
}

func TestDue(t *testing.T) {
	s := newSweep(make([]host, 4), 3, time.Second, time.Second)
	s.start = 1_000_000
	var got []sereno.Instant
	for i := range s.total() {
		got = append(got, s.due(i)-s.start)
	}
	want := []sereno.Instant{0, 250_000, 500_000, 750_000, 1_000_000, 1_250_000, 1_500_000, 1_750_000, 2_000_000, 2_250_000, 2_500_000, 2_750_000}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestOnlyChangesAreEvents(t *testing.T) {
	up := sereno.Result{Check: 1, Status: sereno.Up, RTT: time.Millisecond}
	lost := sereno.Result{Check: 1, Status: sereno.Down, Reason: "no reply in 1s"}
	s := newSweep(make([]host, 2), 0, time.Second, time.Second)
	var gaps []uint64
	for _, r := range []sereno.Result{up, up, lost, lost, up, up} {
		s.deliver([]sereno.Result{r})
		for _, e := range s.take() {
			gaps = append(gaps, e.gap)
		}
	}
	if want := []uint64{0, 2}; !slices.Equal(gaps, want) { // the first loss, and the answer after two
		t.Errorf("got events with gaps %v, want %v", gaps, want)
	}
}

func TestWorstFirstWhenThereIsNoRoomForAll(t *testing.T) {
	s := newSweep(make([]host, 4), 0, time.Second, time.Second)
	for i, looks := range []string{"uuu", "uxu", "uux", "xxx"} {
		for _, look := range looks {
			r := sereno.Result{Check: sereno.CheckID(i + 1), Status: sereno.Up, RTT: time.Millisecond}
			if look == 'x' {
				r = sereno.Result{Check: sereno.CheckID(i + 1), Status: sereno.Down}
			}
			s.deliver([]sereno.Result{r})
		}
	}
	if got := s.worst(4); !slices.Equal(got, []int{0, 1, 2, 3}) {
		t.Errorf("with room for all: %v", got)
	}
	if got := s.worst(3); !slices.Equal(got, []int{3, 2, 1}) {
		t.Errorf("with room for three: %v", got)
	}
}

func BenchmarkDeliver(b *testing.B) {
	const hosts = 20_000
	s := newSweep(make([]host, hosts), 0, time.Second, time.Second)
	batch := make([]sereno.Result, 100)
	next := 0
	b.ReportAllocs()
	for b.Loop() {
		for i := range batch {
			batch[i] = sereno.Result{Check: sereno.CheckID(next%hosts + 1), Status: sereno.Up, RTT: time.Duration(20_000 + next%1000)}
			next++
		}
		s.deliver(batch)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(next), "ns/look")
}
