package storetest

import (
	"time"

	"sereno"
)

// days are written again without harm, and read by check and range.
func days(b *rig) {
	row := func(check, day int64) sereno.DayOfLooks {
		return sereno.DayOfLooks{
			Check: sereno.CheckID(check), Day: day, Looks: 86400, Lost: day % 7,
			Min: time.Microsecond, Mean: 20 * time.Millisecond, P50: 19 * time.Millisecond, P95: 30 * time.Millisecond, P99: time.Second, Max: time.Hour,
		}
	}
	_, ok, err := b.LatestDay(b.Context(), 1)
	if b.must(err); ok {
		b.Error("there is a day before any was written")
	}
	b.must(b.PutDays(b.Context(), nil))
	b.must(b.PutDays(b.Context(), []sereno.DayOfLooks{row(1, 20000), row(1, 20001), row(2, 20001), row(1, 20003)}))
	changed := row(1, 20001)
	changed.Lost, changed.Max = 5, 2*time.Hour
	b.must(b.PutDays(b.Context(), []sereno.DayOfLooks{changed, row(2, 20001)}))
	got, err := b.DaysOf(b.Context(), 1, 20001, 20003)
	b.must(err)
	same(b, "the days of a range", got, []sereno.DayOfLooks{changed})
	if got, err = b.DaysOf(b.Context(), 1, 0, 30000); err != nil || len(got) != 3 || got[0] != row(1, 20000) || got[2] != row(1, 20003) {
		b.Errorf("all days: %v, %v", got, err)
	}
	if day, ok, err := b.LatestDay(b.Context(), 1); day != 20003 || !ok || err != nil {
		b.Errorf("the latest day is %d, %v, %v", day, ok, err)
	}
}
