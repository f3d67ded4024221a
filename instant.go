package sereno

import (
	"fmt"
	"time"
)

// An Instant is a moment, in whole microseconds since 1970-01-01 UTC. The
// ledger counts in microseconds, so sums of spans are exact and an Instant is
// also what the store keeps. The zero Instant means "never".
type Instant int64

// instantLayout is RFC 3339 in UTC with exactly six decimals, so that instants
// sort as text.
const instantLayout = "2006-01-02T15:04:05.000000Z"

// At returns t as an Instant, cut to the microsecond.
func At(t time.Time) Instant { return Instant(t.UnixMicro()) }

// Time returns i as a time.Time in UTC.
func (i Instant) Time() time.Time { return time.UnixMicro(int64(i)).UTC() }

// IsZero reports whether i is "never".
func (i Instant) IsZero() bool { return i == 0 }

// Add returns the instant d later, d cut to the microsecond.
func (i Instant) Add(d time.Duration) Instant { return i + Instant(d/time.Microsecond) }

// Sub returns the time from j to i.
func (i Instant) Sub(j Instant) time.Duration { return time.Duration(i-j) * time.Microsecond }

func (i Instant) String() string {
	if i == 0 {
		return "never"
	}
	return i.Time().Format(instantLayout)
}

// MarshalText gives RFC 3339 in UTC with microseconds; "never" is empty.
func (i Instant) MarshalText() ([]byte, error) {
	if i == 0 {
		return nil, nil
	}
	return i.Time().AppendFormat(nil, instantLayout), nil
}

// MarshalJSON gives the text in quotes, and null for "never".
func (i Instant) MarshalJSON() ([]byte, error) {
	if i == 0 {
		return []byte("null"), nil
	}
	return i.Time().AppendFormat(nil, `"`+instantLayout+`"`), nil
}

// UnmarshalText reads any RFC 3339 time; an empty text is "never".
func (i *Instant) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*i = 0
		return nil
	}
	t, err := time.Parse(time.RFC3339Nano, string(text))
	if err != nil {
		return Errorf(Invalid, "%q is not a time such as 2026-11-21T08:30:00Z", text)
	}
	*i = At(t)
	return nil
}

// UnmarshalJSON reads what MarshalJSON writes.
func (i *Instant) UnmarshalJSON(text []byte) error {
	if string(text) == "null" {
		*i = 0
		return nil
	}
	if len(text) < 2 || text[0] != '"' || text[len(text)-1] != '"' {
		return Errorf(Invalid, "%s is not a time in quotes", text)
	}
	return i.UnmarshalText(text[1 : len(text)-1])
}

// FormatLength writes a length of time for a person: "3 m 22 s", "14 h 28 m",
// "2 d 03 h", "0.4 s". It never rounds up.
func FormatLength(d time.Duration) string {
	switch {
	case d < 0:
		return "-" + FormatLength(-d)
	case d < 10*time.Second:
		return fmt.Sprintf("%d.%d s", d/time.Second, d%time.Second/(100*time.Millisecond))
	case d < time.Minute:
		return fmt.Sprintf("%d s", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%d m %02d s", d/time.Minute, d%time.Minute/time.Second)
	case d < 24*time.Hour:
		return fmt.Sprintf("%d h %02d m", d/time.Hour, d%time.Hour/time.Minute)
	default:
		return fmt.Sprintf("%d d %02d h", d/(24*time.Hour), d%(24*time.Hour)/time.Hour)
	}
}

func percent(share float64) string { return fmt.Sprintf("%.3g %%", share*100) }
