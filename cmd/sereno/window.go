package main

import (
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sereno"
)

// addWindowFlags gives a command --from and --to.
func addWindowFlags(cmd *cobra.Command) {
	cmd.Flags().String("from", "", "begin: a time such as 2026-11-21T08:30:00Z, a day such as 2026-11-21, or a length before now such as 24h or 7d")
	cmd.Flags().String("to", "", "end, likewise (default: now)")
}

// windowQuery turns --from and --to into the API's.
func windowQuery(cmd *cobra.Command, now time.Time) (url.Values, error) {
	query := url.Values{}
	for _, name := range []string{"from", "to"} {
		typed, err := cmd.Flags().GetString(name)
		if err != nil {
			return nil, err
		}
		if typed == "" {
			continue
		}
		at, err := parseMoment(typed, now)
		if err != nil {
			return nil, fmt.Errorf("--%s: %w", name, err)
		}
		query.Set(name, sereno.At(at).String())
	}
	return query, nil
}

// parseMoment reads a time, a local day or minute, or a length before now.
func parseMoment(s string, now time.Time) (time.Time, error) {
	if s == "now" {
		return now, nil
	}
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t, nil
	}
	for _, layout := range []string{time.DateOnly, "2006-01-02T15:04", "2006-01-02 15:04", "2006-01-02T15:04:05", time.DateTime} {
		if t, err := time.ParseInLocation(layout, s, now.Location()); err == nil {
			return t, nil
		}
	}
	if days, ok := strings.CutSuffix(s, "d"); ok {
		var n int
		if _, err := fmt.Sscanf(days+"|", "%d|", &n); err == nil && n >= 0 && n <= 100_000 {
			return now.AddDate(0, 0, -n), nil
		}
	}
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	return time.Time{}, fmt.Errorf("%q is neither a time such as 2026-11-21T08:30:00Z or 2026-11-21 nor a length before now such as 24h or 7d", s)
}

// moment writes an instant for a person, in local time.
func moment(i sereno.Instant) string {
	if i.IsZero() {
		return "–"
	}
	return i.Time().Local().Format("2006-01-02 15:04:05")
}
