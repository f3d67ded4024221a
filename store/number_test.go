package store_test

import (
	"fmt"
	"testing"

	"sereno"
)

// TestNumbersAreForEver: the store keeps the numbers of these names, so a name
// may join at the end of its list but none may move.
func TestNumbersAreForEver(t *testing.T) {
	for _, c := range []struct {
		what fmt.Stringer
		want string
	}{
		{sereno.Status(0), "unknown"},
		{sereno.Status(1), "up"},
		{sereno.Status(2), "degraded"},
		{sereno.Status(3), "down"},
		{sereno.Cause(0), "look"},
		{sereno.Cause(1), "new"},
		{sereno.Cause(2), "no_evidence"},
		{sereno.Cause(3), "absence"},
		{sereno.Cause(4), "isolated"},
		{sereno.Cause(5), "paused"},
		{sereno.Cause(6), "behind_parent"},
		{sereno.Importance(0), "medium"},
		{sereno.Importance(1), "low"},
		{sereno.Importance(2), "high"},
		{sereno.Importance(3), "critical"},
		{sereno.Trouble(0), "down"},
		{sereno.Trouble(1), "degraded"},
		{sereno.Trouble(2), "flapping"},
		{sereno.Trouble(3), "isolated"},
		{sereno.AbsenceCause(0), "power_loss"},
		{sereno.AbsenceCause(1), "reboot"},
		{sereno.AbsenceCause(2), "crash"},
		{sereno.AbsenceCause(3), "stopped"},
		{sereno.AbsenceCause(4), "suspended"},
		{sereno.AbsenceCause(5), "stalled"},
		{sereno.AbsenceCause(6), "clock_step"},
	} {
		if c.what.String() != c.want {
			t.Errorf("%T %d is %s and was %s", c.what, c.what, c.what, c.want)
		}
	}
}
