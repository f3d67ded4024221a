package lab

import (
	"math"
	"testing"
	"time"
)

func TestParseDelay(t *testing.T) {
	for text, want := range map[string]Delay{
		"0s":         {},
		"5ms":        Fixed(5 * time.Millisecond),
		"5ms..20ms":  Uniform(5*time.Millisecond, 20*time.Millisecond),
		"10ms~2.5ms": Normal(10*time.Millisecond, 2500*time.Microsecond),
	} {
		got, err := ParseDelay(text)
		if err != nil || got != want {
			t.Errorf("%s: got %v, %v", text, got, err)
		}
		if again, err := ParseDelay(got.String()); err != nil || again != got {
			t.Errorf("%v does not read back: %v, %v", got, again, err)
		}
	}
	for _, text := range []string{"", "5", "20ms..5ms", "-1ms", "1ms..", "..1ms", "1ms~", "1ms~-1ms", "1ms..2ms..3ms"} {
		if d, err := ParseDelay(text); err == nil {
			t.Errorf("%q was read as %v", text, d)
		}
	}
}

// TestDelaysAreDrawnAsSaid looks at 100,000 draws; the bounds are five
// standard errors.
func TestDelaysAreDrawnAsSaid(t *testing.T) {
	const draws = 100_000
	const ms = float64(time.Millisecond)
	for _, c := range []struct {
		delay           Delay
		mean, deviation float64
		low, high       time.Duration
	}{
		{Fixed(7 * time.Millisecond), 7 * ms, 0, 7 * time.Millisecond, 7 * time.Millisecond},
		{Uniform(5*time.Millisecond, 20*time.Millisecond), 12.5 * ms, 15 * ms / math.Sqrt(12), 5 * time.Millisecond, 20 * time.Millisecond},
		{Normal(50*time.Millisecond, 5*time.Millisecond), 50 * ms, 5 * ms, 0, time.Second},
	} {
		var sum, squares float64
		for n := range uint64(draws) {
			d := roll(1, Vantage4, n)
			x := c.delay.Draw(d.share(ofDelay), d.share(ofSpread))
			if x < c.low || x > c.high {
				t.Fatalf("%v gave %v", c.delay, x)
			}
			sum += float64(x)
			squares += (float64(x) - c.mean) * (float64(x) - c.mean)
		}
		if mean := sum / draws; math.Abs(mean-c.mean) > 5*c.deviation/math.Sqrt(draws) {
			t.Errorf("%v has the mean %v", c.delay, time.Duration(mean))
		}
		if deviation := math.Sqrt(squares / draws); math.Abs(deviation-c.deviation) > 0.02*c.deviation {
			t.Errorf("%v deviates by %v", c.delay, time.Duration(deviation))
		}
	}
}

func TestNoDelayIsNegative(t *testing.T) {
	d := Normal(time.Millisecond, time.Second)
	for n := range uint64(1000) {
		dice := roll(1, Vantage4, n)
		if x := d.Draw(dice.share(ofDelay), dice.share(ofSpread)); x < 0 {
			t.Fatalf("drew %v", x)
		}
	}
}
