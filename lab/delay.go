package lab

import (
	"cmp"
	"fmt"
	"math"
	"strings"
	"time"
)

// A Delay is how long answers take. The zero Delay is none.
type Delay struct {
	low    time.Duration // uniform: from here ...
	span   time.Duration // ... up to this much more
	spread time.Duration // normal: standard deviation around low
}

// Fixed is always the same.
func Fixed(d time.Duration) Delay { return Delay{low: d} }

// Uniform is anything from low to high, all equally likely.
func Uniform(low, high time.Duration) Delay { return Delay{low: low, span: high - low} }

// Normal is mostly near mean. What would lie below zero is zero.
func Normal(mean, deviation time.Duration) Delay { return Delay{low: mean, spread: deviation} }

// ParseDelay reads what String writes: "5ms" is fixed, "5ms..20ms" uniform,
// "10ms~2ms" normal.
func ParseDelay(text string) (Delay, error) {
	shape := Uniform
	first, second, ok := strings.Cut(text, "..")
	if !ok {
		shape = Normal
		if first, second, ok = strings.Cut(text, "~"); !ok {
			second = "0s"
		}
	}
	x, err1 := time.ParseDuration(first)
	y, err2 := time.ParseDuration(second)
	d := shape(x, y)
	if err := cmp.Or(err1, err2, d.validate()); err != nil {
		return Delay{}, fmt.Errorf("%q is no delay such as 5ms, 5ms..20ms or 10ms~2ms: %w", text, err)
	}
	return d, nil
}

func (d Delay) String() string {
	switch {
	case d.span != 0:
		return fmt.Sprintf("%v..%v", d.low, d.low+d.span)
	case d.spread != 0:
		return fmt.Sprintf("%v~%v", d.low, d.spread)
	default:
		return d.low.String()
	}
}

func (d Delay) validate() error {
	return checkThat(d.low >= 0 && d.span >= 0 && d.spread >= 0, "%v is no delay", d)
}

// Draw returns one delay; u and v are uniform in [0, 1).
func (d Delay) Draw(u, v float64) time.Duration {
	if d.spread == 0 {
		return d.low + time.Duration(u*float64(d.span))
	}
	// Box and Muller 1958; 1 − u is never 0.
	normal := math.Sqrt(-2*math.Log(1-u)) * math.Cos(2*math.Pi*v)
	return max(0, d.low+time.Duration(normal*float64(d.spread)))
}
