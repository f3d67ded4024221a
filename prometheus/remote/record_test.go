package remote

import (
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sereno"
)

var looksOf = rapid.SliceOfN(rapid.Custom(func(t *rapid.T) look {
	return look{
		check:   sereno.CheckID(rapid.Int64Range(1, 40).Draw(t, "check")),
		vantage: sereno.VantageID(rapid.Int32Range(0, 2).Draw(t, "vantage")),
		at:      rapid.Int64Range(0, 4e12).Draw(t, "at"),
		value:   rapid.Uint64Range(0, 1<<40).Draw(t, "value"),
	}
}), 1, 200)

func everybody(c sereno.CheckID) (identity, bool) {
	return identity{device: string(rune('a' + c%26)), kind: "icmp"}, true
}

// What a record says is what was put into it, whoever reads it and wherever a
// segment begins.
func TestRecordsSayWhatWasPutIn(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var wrote, read register
		var b []byte
		var put, got []look
		for _, looks := range rapid.SliceOfN(looksOf, 1, 5).Draw(t, "records") {
			var n int
			if b, n = appendRecord(b, looks, &wrote, everybody); n != len(looks) {
				t.Fatalf("%d of %d looks are in the record", n, len(looks))
			}
			put = append(put, looks...)
		}
		for len(b) > 0 {
			p, size, ok, err := payload(b)
			if err != nil || !ok {
				t.Fatalf("not whole: %v", err)
			}
			if _, _, err := decode(p, &read, func(_ int, l look) { got = append(got, l) }); err != nil {
				t.Fatal(err)
			}
			b = b[size:]
		}
		if !slices.Equal(got, put) || !slices.Equal(wrote.list, read.list) {
			t.Fatalf("read %v, wrote %v", got, put)
		}
	})
}

// A record of which a part is missing or changed is never taken for one.
func TestRecordsThatAreDamaged(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b, _ := appendRecord(nil, looksOf.Draw(t, "looks"), new(register), everybody)
		if rapid.Bool().Draw(t, "cut") {
			cut := b[:rapid.IntRange(0, len(b)-1).Draw(t, "length")]
			if _, _, ok, err := payload(cut); ok && err == nil {
				t.Fatal("a part is taken for the whole")
			}
			return
		}
		b[rapid.IntRange(0, len(b)-1).Draw(t, "place")] ^= byte(rapid.IntRange(1, 255).Draw(t, "change"))
		if p, _, ok, err := payload(b); ok && err == nil {
			t.Fatalf("a changed record is taken for a good one: %x", p)
		}
	})
}

func FuzzDecode(f *testing.F) {
	b, _ := appendRecord(nil, []look{{check: 1, at: 5, value: 7}, {check: 2, at: 4, value: 1}}, new(register), everybody)
	f.Add(b[headSize:])
	f.Fuzz(func(t *testing.T, p []byte) {
		n := 0
		count, _, err := decode(p, new(register), func(int, look) { n++ })
		if err == nil && n != count {
			t.Errorf("%d looks were given, %d are said to be there", n, count)
		}
	})
}

// The round-trip time that a store gets is the one that samples keep, to the
// bit.
func TestRoundTripTimesAreTheStoredOnes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rtt := time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(t, "rtt"))
		l := lookOf(&sereno.Result{Status: sereno.Up, RTT: rtt})
		if math.Float64bits(l.rtt()) != math.Float64bits(sereno.StoredRTT(rtt)) {
			t.Fatalf("%v is sent as %v and kept as %v", rtt, l.rtt(), sereno.StoredRTT(rtt))
		}
	})
}
