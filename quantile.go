package sereno

import (
	"math"
	"slices"
)

// Rank returns the place, from 0, of a percentile among n sorted values by
// nearest rank: that of the smallest value which at least the share p of all
// values does not exceed. So a percentile is always one of the values, p = 0
// is the least and p = 1 the greatest. n is at least 1.
func Rank(p float64, n int) int {
	// 0.95 × 20 is a little more than 19 in binary, and must not be the 20th.
	return min(n-1, max(0, int(math.Ceil(p*float64(n)-1e-9))-1))
}

// Select puts the value that would stand at place k, were the values sorted,
// there, those that are not greater before it and those that are not smaller
// behind it, and returns it. It takes time in proportion to their number
// (Hoare 1961: "Find"). NaNs are not allowed.
func Select(values []float64, k int) float64 {
	low, high := 0, len(values)-1
	for turn := 0; low < high; turn++ {
		if turn == 64 { // an order made to be slow
			slices.Sort(values[low : high+1])
			break
		}
		a, b, c := values[low], values[low+(high-low)/2], values[high]
		pivot := max(min(a, b), min(max(a, b), c))
		i, j := low, high
		for i <= j {
			for values[i] < pivot {
				i++
			}
			for pivot < values[j] {
				j--
			}
			if i <= j {
				values[i], values[j] = values[j], values[i]
				i, j = i+1, j-1
			}
		}
		switch {
		case k <= j:
			high = j
		case k >= i:
			low = i
		default:
			return values[k]
		}
	}
	return values[k]
}

// Percentiles writes the percentiles ps, ascending, of values to out, moving
// values about. There is at least one value.
func Percentiles(values []float64, ps []float64, out []float64) {
	percentiles(values, 0, len(values), ps, out)
}

// percentiles does so for the places of values from first on, of n in all. The
// one in the middle comes first: it halves what the others have to look at.
func percentiles(values []float64, first, n int, ps []float64, out []float64) {
	if len(ps) == 0 {
		return
	}
	middle := len(ps) / 2
	k := Rank(ps[middle], n)
	out[middle] = Select(values, k-first)
	percentiles(values[:k-first+1], first, n, ps[:middle], out[:middle])
	percentiles(values[k-first:], k, n, ps[middle+1:], out[middle+1:])
}
