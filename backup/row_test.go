package backup

import (
	"math"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"sereno/store"
)

func TestARowComesBack(t *testing.T) {
	value := rapid.OneOf(
		rapid.Int64().AsAny(),
		rapid.Float64().Filter(func(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }).AsAny(),
		rapid.String().AsAny(),
		rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) }).AsAny(),
	)
	rapid.Check(t, func(t *rapid.T) {
		row := store.Row(rapid.SliceOfN(value, 1, 8).Draw(t, "row"))
		line := appendRow(nil, row)
		got, err := parseRow(line[:len(line)-1])
		if err != nil || !reflect.DeepEqual(got, row) {
			t.Fatalf("%s came back as %#v, %v", line, got, err)
		}
	})
}

func FuzzParseRow(f *testing.F) {
	for _, line := range []string{`[1,"a",0.5]`, `["\"",{"base64":"/w=="}]`, `[`, `[]`, `["`, `["\`, `[{`, `[1,]`, `[1]]`} {
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		row, err := parseRow(line)
		if err != nil {
			return
		}
		again, err := parseRow(appendRow(nil, row)[:len(appendRow(nil, row))-1])
		if err != nil || len(again) != len(row) {
			t.Errorf("%q gives %v and then %v, %v", line, row, again, err)
		}
	})
}
