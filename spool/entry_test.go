package spool

import (
	"errors"
	"reflect"
	"testing"

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

func TestAnEntryOfANewerVersionIsTold(t *testing.T) {
	w := encoder{}
	w.number(entryVersion + 1)
	if err := decodeEntry(w, new(ledger.Entry)); !errors.Is(err, errNewer) {
		t.Errorf("got %v", err)
	}
}

func FuzzDecodeEntry(f *testing.F) {
	f.Add([]byte{2, 0, 0, 0, 0, 0, 0, 0})
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
