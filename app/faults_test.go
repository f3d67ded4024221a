package app

import (
	"errors"
	"slices"
	"testing"
	"time"

	"sereno"
	"sereno/ledger"
)

func TestFaults(t *testing.T) {
	var socket error
	synced := true
	now := sereno.Instant(1e15)
	open := map[sereno.Trouble]sereno.Instant{}
	f := &faults{
		permitted: func() error { return socket },
		synced:    func() (bool, error) { return synced, nil },
		now:       func() sereno.Instant { return now },
		own: func(at sereno.Instant, fault ledger.Fault) {
			if delete(open, fault.Trouble); fault.Reason != "" {
				open[fault.Trouble] = at
			}
		},
	}
	var s ledger.Statistics
	is := func(what string, want ...sereno.Trouble) {
		t.Helper()
		f.look(s)
		var got []sereno.Trouble
		for trouble := range open {
			got = append(got, trouble)
		}
		if slices.Sort(got); !slices.Equal(got, want) {
			t.Errorf("%s: %v, not %v", what, got, want)
		}
	}
	is("all is well")
	s.Refused = 7
	is("looks are refused", sereno.TroubleOverload)
	now = now.Add(59 * time.Second)
	is("not for a while", sereno.TroubleOverload)
	now = now.Add(time.Second)
	is("for a minute none")

	socket = errors.New("not permitted")
	is("no socket", sereno.TroubleSocket)
	since := now
	now = now.Add(time.Minute)
	if is("still none", sereno.TroubleSocket); open[sereno.TroubleSocket] != since {
		t.Errorf("it began at %s, not %s", open[sereno.TroubleSocket], since)
	}
	socket = nil
	is("permitted")

	synced = false
	is("the clock has just lost its servers")
	since = now
	now = now.Add(10 * time.Minute)
	if is("for long", sereno.TroubleClock); open[sereno.TroubleClock] != since {
		t.Errorf("it began at %s, not %s", open[sereno.TroubleClock], since)
	}
	synced = true
	is("synchronised again")
}
