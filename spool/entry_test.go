package spool

import (
	"errors"
	"os"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sereno"
	"sereno/ledger"
)

// fill gives every field of a value something of its own, so that one that is
// not written, or is read in another's place, is found.
func fill(t *rapid.T, v reflect.Value, name string) {
	if v.Type() == reflect.TypeFor[sereno.Policy]() {
		return // a ledger.Entry says since when a policy is in force, not which
	}
	switch v.Kind() {
	case reflect.Struct:
		for f, field := range v.Fields() {
			fill(t, field, name+"."+f.Name)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), rapid.IntRange(0, 3).Draw(t, name), 3))
		for i := range v.Len() {
			fill(t, v.Index(i), name)
		}
	case reflect.String:
		v.SetString(string(rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(t, name))) // whatever a probe said
	case reflect.Bool:
		v.SetBool(rapid.Bool().Draw(t, name))
	case reflect.Uint8:
		v.SetUint(uint64(rapid.Uint8().Draw(t, name)))
	case reflect.Int32:
		v.SetInt(int64(rapid.Int32().Draw(t, name)))
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(rapid.Int64Range(-1<<31, 1<<31-1).Draw(t, name)) * int64(v.Type().Size()/4))
	default:
		t.Fatalf("%s: an entry holds a %v, which is not written", name, v.Kind())
	}
}

func TestAnEntryIsReadAsItWasWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var e, got ledger.Entry
		fill(t, reflect.ValueOf(&e).Elem(), "entry")
		b := encodeEntry(&e)
		if err := decodeEntry(b, &got); err != nil {
			t.Fatal(err)
		}
		again := encodeEntry(&got)
		if string(again) != string(b) {
			t.Fatalf("wrote %+v\nread %+v", e, got)
		}
		for _, list := range []struct{ a, b any }{{e.Closed, got.Closed}, {e.Open, got.Open}, {e.Incidents, got.Incidents}, {e.Absences, got.Absences}, {e.Clock, got.Clock}, {e.Starts, got.Starts}, {e.Policies, got.Policies}} {
			if a, b := reflect.ValueOf(list.a), reflect.ValueOf(list.b); a.Len() != b.Len() || a.Len() > 0 && !reflect.DeepEqual(list.a, list.b) {
				t.Fatalf("wrote %+v\nread %+v", list.a, list.b)
			}
		}
	})
}

// TestAnEntryOfTheFirstVersionIsRead reads what an earlier release left on disk.
func TestAnEntryOfTheFirstVersionIsRead(t *testing.T) {
	b, err := os.ReadFile("testdata/entry-1.bin")
	if err != nil {
		t.Fatal(err)
	}
	var got ledger.Entry
	if err := decodeEntry(b, &got); err != nil {
		t.Fatal(err)
	}
	want := ledger.Entry{
		Closed: []sereno.Span{{Check: 7, Status: sereno.Up, Begin: 1_700_000_000_000_000, End: 1_700_000_060_000_000, Proof: 1_700_000_059_000_000, Uncertainty: time.Second}},
		Open:   []sereno.Span{{Check: 7, Status: sereno.Down, Begin: 1_700_000_060_000_000, Proof: 1_700_000_062_000_000, Uncertainty: time.Second, Reason: "no reply in 1s"}},
		Incidents: []sereno.Incident{
			{ID: 41, Device: 3, Check: 7, Opened: 1_700_000_060_000_000, Reason: "no reply in 1s", Under: 40},
			{ID: 42, Trouble: sereno.TroubleStorage, Opened: 1_700_000_000_000_000, Closed: 1_700_000_050_000_000, Reason: "the disk is full"},
		},
		Absences: []sereno.Absence{{Begin: 1_699_999_000_000_000, End: 1_699_999_500_000_000, Uncertainty: 5 * time.Second, Cause: sereno.Reboot, Unsure: true, Checks: 12}},
		Clock:    []sereno.ClockEvent{{At: 1_699_999_600_000_000, Step: -time.Hour}},
		Starts:   []sereno.Start{{At: 1_699_999_500_000_000, Settled: 1_699_999_000_000_000, Version: "0.2"}},
		Policies: []sereno.PolicySince{{Check: 7, Since: 1_699_999_700_000_000}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("read %+v\nwant %+v", got, want)
	}
}

func TestAnEntryOfANewerVersionIsTold(t *testing.T) {
	w := encoder{}
	w.number(entryVersion + 1)
	if err := decodeEntry(w, new(ledger.Entry)); !errors.Is(err, errNewer) {
		t.Errorf("got %v", err)
	}
}

func FuzzDecodeEntry(f *testing.F) {
	f.Add([]byte{2, 0, 0, 0, 0, 0, 0, 0})
	f.Add([]byte{4, 0, 0, 0, 0, 0, 0, 0})
	f.Add(encodeEntry(&ledger.Entry{Closed: make([]sereno.Span, 2), Open: make([]sereno.Span, 1)}))
	f.Fuzz(func(t *testing.T, b []byte) {
		var e ledger.Entry
		if decodeEntry(b, &e) != nil {
			return
		}
		var again ledger.Entry
		if err := decodeEntry(encodeEntry(&e), &again); err != nil || again.Len() != e.Len() {
			t.Fatalf("%d rows became %d: %v", e.Len(), again.Len(), err)
		}
	})
}
