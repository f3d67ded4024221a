package api

import (
	"encoding/json"
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestSecondsAreExact(t *testing.T) {
	tests := []struct {
		length time.Duration
		text   string
	}{
		{0, "0"},
		{time.Microsecond, "0.000001"},
		{50 * time.Millisecond, "0.05"},
		{time.Second, "1"},
		{90*time.Second + 10*time.Microsecond, "90.00001"},
		{-1500 * time.Millisecond, "-1.5"},
		{123456789*time.Second + 123456*time.Microsecond, "123456789.123456"},
		{math.MaxInt64, "9223372036.854775"},
	}
	for _, test := range tests {
		if got, err := json.Marshal(Seconds(test.length)); err != nil || string(got) != test.text {
			t.Errorf("%v: %s, want %s (%v)", test.length, got, test.text, err)
		}
	}
	for _, text := range []string{`"1"`, "1e300", "-1e300", "true", "{}"} {
		if err := json.Unmarshal([]byte(text), new(Seconds)); err == nil {
			t.Errorf("%s is taken for a length of time", text)
		}
	}
}

func TestSecondsComeBackAsTheyWent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		// A float holds microseconds exactly up to 2⁵³ of them, 285 years.
		want := Seconds(rapid.Int64Range(-1<<53, 1<<53).Draw(t, "µs")) * Seconds(time.Microsecond)
		if want > math.MaxInt64/2 || want < math.MinInt64/2 {
			return
		}
		text, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		var got Seconds
		if err := json.Unmarshal(text, &got); err != nil || got != want {
			t.Fatalf("%d as %s comes back as %d (%v)", want, text, got, err)
		}
	})
}

func TestPatternEndsWithTheLatestLook(t *testing.T) {
	tests := []struct {
		recent uint64
		seen   int
		text   string
	}{
		{0, 0, ""},
		{0b1, 1, "1"},
		{0b110, 4, "0110"},
		{0b1110, 3, "110"},
		{math.MaxUint64 - 1, 64, "1111111111111111111111111111111111111111111111111111111111111110"},
	}
	for _, test := range tests {
		if got := pattern(test.recent, test.seen); got != test.text {
			t.Errorf("%b of %d: %s, want %s", test.recent, test.seen, got, test.text)
		}
	}
}
