package all

import (
	"testing"

	"sereno"
	"sereno/probe/icmp"
)

func TestEveryKindHasItsOwnNameAndDefaults(t *testing.T) {
	kinds, err := New(icmp.Options{Deliver: func([]sereno.Result) {}})
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, k := range kinds.Sweepers() {
		if names[k.Name()] {
			t.Errorf("two kinds are called %q", k.Name())
		}
		names[k.Name()] = true
		if err := k.Validate(nil); err != nil {
			t.Errorf("%s: the defaults are refused: %v", k.Name(), err)
		}
	}
	if !names["icmp"] {
		t.Error("icmp is missing")
	}
	if _, err := New(icmp.Options{}); err == nil {
		t.Error("made kinds that deliver to nobody")
	}
}
