package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// A length is a flag for a time. A bare number is seconds, as in ping.
type length time.Duration

func (l *length) String() string { return time.Duration(*l).String() }
func (l *length) Type() string   { return "time" }

func (l *length) Set(s string) error {
	d, err := time.ParseDuration(s)
	if days, ok := strings.CutSuffix(s, "d"); ok && err != nil {
		var n uint64
		if n, err = strconv.ParseUint(days, 10, 16); err == nil {
			d = time.Duration(n) * 24 * time.Hour
		}
	}
	if err != nil {
		seconds, bad := strconv.ParseFloat(s, 64)
		if bad != nil || !(seconds >= 0 && seconds <= 1e9) {
			return fmt.Errorf("%q is no length of time such as 500ms, 2s or 0.5", s)
		}
		d = time.Duration(seconds * float64(time.Second))
	}
	*l = length(d)
	return nil
}

// milliseconds writes a round-trip time with three digits that matter: "0.043",
// "1.23", "12.3", "1230".
func milliseconds(d time.Duration) string {
	ms := float64(d) / float64(time.Millisecond)
	switch {
	case ms < 1:
		return strconv.FormatFloat(ms, 'f', 3, 64)
	case ms < 10:
		return strconv.FormatFloat(ms, 'f', 2, 64)
	case ms < 100:
		return strconv.FormatFloat(ms, 'f', 1, 64)
	}
	return strconv.FormatFloat(ms, 'f', 0, 64)
}

// percent writes a share: "0 %", "0.04 %", "1.7 %", "100 %". Only nothing is
// 0 %, and only all is 100 %.
func percent(part, whole uint64) string {
	if part == 0 || whole == 0 {
		return "0 %"
	}
	p := 100 * float64(part) / float64(whole)
	switch {
	case part == whole:
		return "100 %"
	case p < 0.01:
		return "<0.01 %"
	case p < 1:
		return strconv.FormatFloat(p, 'f', 2, 64) + " %"
	case p > 99.9:
		return ">99.9 %"
	}
	return strconv.FormatFloat(p, 'f', 1, 64) + " %"
}
