package sereno

import "testing"

func TestSeverityOf(t *testing.T) {
	for _, c := range []struct {
		i    Importance
		t    Trouble
		want string
	}{
		{Critical, TroubleDown, "critical"},
		{High, TroubleDown, "high"},
		{Medium, TroubleDown, "medium"},
		{Low, TroubleDown, "low"},
		{Critical, TroubleDegraded, "high"},
		{Medium, TroubleFlapping, "low"},
		{Low, TroubleDegraded, "low"},
		{Medium, TroubleStorage, "critical"},
		{Medium, TroubleIsolated, "high"},
		{Medium, TroubleAbsent, "medium"},
	} {
		if got := SeverityOf(c.i, c.t).String(); got != c.want {
			t.Errorf("%s device, %s: %s, not %s", c.i, c.t, got, c.want)
		}
	}
	var s Severity
	if err := s.UnmarshalText([]byte("high")); err != nil || s != SeverityHigh {
		t.Errorf("high is read as %v (%v)", s, err)
	}
	if err := s.UnmarshalText(nil); KindOf(err) != Invalid {
		t.Errorf("nothing is read: %v", err)
	}
}
