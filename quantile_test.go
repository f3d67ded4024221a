package sereno

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestPercentilesAreThoseOfTheSortedValues(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.Float64Range(0, 9), 1, 400).Draw(t, "values")
		if rapid.Bool().Draw(t, "few different") {
			for i := range values {
				values[i] = math.Trunc(values[i])
			}
		}
		ps := []float64{0, 0.25, 0.5, 0.75, 0.95, 0.99, 1}
		sorted := slices.Sorted(slices.Values(values))
		got := make([]float64, len(ps))
		Percentiles(values, ps, got)
		for i, p := range ps {
			// By the definition, without a rank: how many do not exceed it.
			atMost := func(v float64) int { n, _ := slices.BinarySearch(sorted, math.Nextafter(v, 10)); return n }
			enough := p*float64(len(sorted)) - 1e-9
			if !slices.Contains(sorted, got[i]) || float64(atMost(got[i])) < enough {
				t.Errorf("p%v of %v is %v", p, sorted, got[i])
			}
			if at, _ := slices.BinarySearch(sorted, got[i]); at > 0 && float64(at) >= enough && p > 0 {
				t.Errorf("p%v of %v is %v, but a smaller one would do", p, sorted, got[i])
			}
		}
		if slices.Sort(values); !slices.Equal(values, sorted) {
			t.Error("the values are not the same any more")
		}
	})
}

func TestRank(t *testing.T) {
	for _, c := range []struct {
		p    float64
		n    int
		want int
	}{{0, 1, 0}, {1, 1, 0}, {0.5, 4, 1}, {0.5, 5, 2}, {0.95, 20, 18}, {0.99, 100, 98}, {0.25, 3, 0}, {1, 7, 6}} {
		if got := Rank(c.p, c.n); got != c.want {
			t.Errorf("Rank(%v, %d) is %d, not %d", c.p, c.n, got, c.want)
		}
	}
}

func BenchmarkPercentiles(b *testing.B) {
	values := make([]float64, 2592)
	for i := range values {
		values[i] = math.Round(rand.NormFloat64()*2000+20000) / rttUnits
	}
	scratch, out := make([]float64, len(values)), make([]float64, 6)
	for b.Loop() {
		copy(scratch, values)
		Percentiles(scratch, []float64{0, 0.25, 0.5, 0.75, 0.95, 1}, out)
	}
}
