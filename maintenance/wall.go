package maintenance

import (
	"time"

	"sereno"
)

// A wall is what a clock on a wall shows, in seconds, counted as if the wall
// were in UTC: a date and a time of day without a zone.
type wall int64

const (
	wallMinute wall = 60
	wallHour   wall = 60 * wallMinute
	wallDay    wall = 24 * wallHour
)

func seconds(d time.Duration) wall { return wall(d / time.Second) }

// date returns w as if in UTC, for its fields.
func (w wall) date() time.Time { return time.Unix(int64(w), 0).UTC() }

// days returns the days from 1970-01-01, rounded down.
func (w wall) days() wall { return floorDiv(w, wallDay) }

func floorDiv(a, b wall) wall {
	q := a / b
	if a%b != 0 && (a < 0) != (b < 0) {
		q--
	}
	return q
}

// wallAt returns what the wall of a zone shows at a moment.
func wallAt(zone *time.Location, at sereno.Instant) wall {
	t := at.Time().In(zone)
	_, offset := t.Zone()
	return wall(t.Unix() + int64(offset))
}

// A zone finds moments on its wall. It remembers the stretch of one offset that
// it found the last one in, for the next is mostly there too.
type zone struct {
	*time.Location
	from, to     wall // on the wall: [from, to) of the stretch, without what is there twice
	offset       wall
	inRemembered bool
}

// first returns the first moment at which the wall shows w or something later.
// gap is how much the wall jumped over if it never shows w, and 0 if it does.
func (z *zone) first(w wall) (at time.Time, gap time.Duration) {
	if z.inRemembered && z.from <= w && w < z.to {
		return time.Unix(int64(w-z.offset), 0).UTC(), 0
	}
	// No offset, and no jump, is longer than 26 hours.
	t := time.Unix(int64(w-26*wallHour), 0).In(z.Location)
	shown := wall(-1 << 62) // up to where the wall had come before
	for {
		begin, end := t.ZoneBounds()
		_, seconds := t.Zone()
		offset := wall(seconds)
		if !begin.IsZero() {
			if from := wall(begin.Unix()) + offset; w < from {
				return begin.UTC(), time.Duration(from-shown) * time.Second
			}
		}
		if end.IsZero() {
			return time.Unix(int64(w-offset), 0).UTC(), 0
		}
		to := wall(end.Unix()) + offset
		if w < to {
			z.from, z.to, z.offset, z.inRemembered = w, to, offset, true
			return time.Unix(int64(w-offset), 0).UTC(), 0
		}
		shown = max(shown, to)
		t = end.In(z.Location)
	}
}
