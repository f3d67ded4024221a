package config_test

import (
	"strings"
	"testing"
	"time"

	"sereno/config"
	"sereno/store"
)

func TestRetention(t *testing.T) {
	const day = 24 * time.Hour
	usual := config.Default().Retention
	for _, c := range []struct {
		text  string
		want  store.Retention
		wrong string
	}{
		{"{}", usual, ""},
		{"{spans: forever, days: forever}", store.Retention{}, ""},
		{"{spans: 2y, incidents: 90d, absences: 7d}", store.Retention{Spans: 730 * day, Incidents: 90 * day, Absences: 7 * day, Days: usual.Days}, ""},
		{"{spans: 6d}", usual, "retention.spans is at least 7d, or forever, not 144h0m0s"},
		{"{spans: 0}", usual, "nothing would be kept"},
		{"{spans: 0s}", usual, "forever"},
		{"{spans: -3y}", usual, "no length of time"},
		{"{spans: 300y}", usual, "no length of time"},
		{"{spans: [1y]}", usual, "length of time"},
		{"{span: 1y}", usual, `did you mean "spans"?`},
	} {
		got, err := config.Parse("f", []byte("retention: "+c.text), nil, nil)
		switch {
		case c.wrong == "" && err != nil:
			t.Errorf("%s: %v", c.text, err)
		case c.wrong == "" && got.Retention != c.want:
			t.Errorf("%s is %+v, want %+v", c.text, got.Retention, c.want)
		case c.wrong != "" && (err == nil || !strings.Contains(err.Error(), c.wrong)):
			t.Errorf("%s gives %v, not %q", c.text, err, c.wrong)
		}
	}
}
