package sereno

import (
	"strings"
	"testing"
	"time"
)

func TestWhatIsToldOfAnAbsence(t *testing.T) {
	for _, c := range []struct {
		cause  AbsenceCause
		length time.Duration
		told   bool
	}{
		{PowerLoss, 5 * time.Second, true},
		{Reboot, time.Minute, true},
		{Crash, time.Millisecond, true},
		{Stopped, 59 * time.Second, false},
		{Stopped, time.Hour, true},
		{Suspended, 8 * time.Hour, true},
		{Stall, 30 * time.Second, false},
		{ClockStep, time.Hour, false},
		{Restored, time.Hour, false},
	} {
		a := Absence{Begin: 1e15, End: Instant(1e15).Add(c.length), Cause: c.cause, Checks: 212, Unsure: true}
		in, told := a.Incident()
		if told != c.told {
			t.Errorf("%s for %s: told is %v", c.cause, c.length, told)
		}
		if told && (in.Opened != a.Begin || in.Closed != a.End || in.Trouble != TroubleAbsent || !strings.HasSuffix(in.Reason, " (the clock was not to be trusted); 212 checks could not be seen")) {
			t.Errorf("%+v", in)
		}
	}
}
