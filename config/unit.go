package config

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

const day = 24 * time.Hour

// Bytes is an amount of storage.
type Bytes int64

// byteUnits are what sizes are written in, largest first.
var byteUnits = []struct {
	name string
	size float64
}{{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}, {"B", 1}}

func (b Bytes) String() string {
	for _, u := range byteUnits {
		if n := float64(b) / u.size; n >= 1 || n <= -1 {
			return strconv.FormatFloat(n, 'g', 4, 64) + u.name
		}
	}
	return "0"
}

// UnmarshalText reads a size such as 500MB or 1.5GB, or 0. Units are powers of
// ten; case does not matter, nor does an i (GiB), which makes them powers of
// two.
func (b *Bytes) UnmarshalText(text []byte) error {
	s := strings.TrimSpace(string(text))
	if s == "0" {
		*b = 0
		return nil
	}
	lower := strings.ToLower(s)
	for i, u := range byteUnits {
		size := u.size
		number, ok := strings.CutSuffix(lower, strings.ToLower(u.name))
		if binary, two := strings.CutSuffix(lower, strings.ToLower(u.name[:1])+"ib"); two && u.name != "B" {
			number, ok, size = binary, true, float64(int64(1)<<(10*(len(byteUnits)-1-i)))
		}
		if !ok {
			continue
		}
		n, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		if err != nil || !(n*size >= 0 && n*size < 1<<60) {
			break
		}
		*b = Bytes(n * size)
		return nil
	}
	if _, err := strconv.ParseFloat(s, 64); err == nil {
		return fmt.Errorf("%q has no unit; write %sMB, or %sGB", clip(s), clip(s), clip(s))
	}
	return fmt.Errorf("%q is no size such as 500MB or 10GB", clip(s))
}
