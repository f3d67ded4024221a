package samples

import (
	"context"
	"fmt"
	"math"
	"time"

	"sereno"
)

// Day returns what the looks of a check were on one day, in UTC; ok is false
// if there were none. The looks are those that are there: of a day whose first
// hours have gone, or that has not ended, it is not the whole.
func (db *DB) Day(ctx context.Context, check sereno.CheckID, day int64) (d sereno.DayOfLooks, ok bool, err error) {
	d = sereno.DayOfLooks{Check: check, Day: day}
	var values []float64
	var sum float64
	for r, err := range db.Looks(ctx, check, sereno.BeginOfDay(day), sereno.BeginOfDay(day+1)) {
		if err != nil {
			return d, false, fmt.Errorf("what was on day %d: %w", day, err)
		}
		d.Looks++
		if !r.Status.Answered() {
			d.Lost++
			continue
		}
		values = append(values, r.RTT.Seconds())
		sum += r.RTT.Seconds()
	}
	if len(values) > 0 {
		var p [5]float64
		sereno.Percentiles(values, []float64{0, 0.5, 0.95, 0.99, 1}, p[:])
		for i, to := range []*time.Duration{&d.Min, &d.P50, &d.P95, &d.P99, &d.Max} {
			*to = micros(p[i])
		}
		d.Mean = micros(sum / float64(len(values)))
	}
	return d, d.Looks > 0, nil
}

// micros returns seconds as whole microseconds, as days keep them.
func micros(seconds float64) time.Duration {
	return time.Duration(math.Round(seconds*1e6)) * time.Microsecond
}
