package alert_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"sereno"
	"sereno/notify"
)

// TestIncidentsSayWhereTheirTroubleBegan: each incident of a message has the
// thread of the trouble that it belongs to, in a group as well, and the one that
// opens again has that of the first.
func TestIncidentsSayWhereTheirTroubleBegan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, "a")
		o.book.Policies[0].GroupWait, o.book.Policies[0].GroupBy = 10*time.Second, []string{}
		o.open()
		defer o.stop()
		threads := func() (got []string) {
			all := o.far("a").arrivals()
			for _, in := range all[len(all)-1].Incidents {
				got = append(got, in.Thread)
			}
			slices.Sort(got)
			return got
		}
		first, second := o.down(1), o.down(2)
		time.Sleep(time.Minute)
		if got := threads(); !slices.Equal(got, []string{"incident-1", "incident-2"}) {
			t.Errorf("the group has %q", got)
		}
		o.up(first)
		o.up(second)
		time.Sleep(time.Minute)
		o.put(sereno.Incident{ID: 3, Device: 2, Check: 2, Trouble: sereno.TroubleDown, Opened: now(), Reason: "no reply in 1s"})
		time.Sleep(time.Minute)
		if got := threads(); !slices.Equal(got, []string{"incident-2"}) {
			t.Errorf("the one that is down again has %q", got)
		}
		all := o.far("a").arrivals()
		if last := all[len(all)-1]; last.Event != notify.Opened || last.Incident.Thread != last.Thread || last.Incident.ID != 3 {
			t.Errorf("the last message is %s of %+v in %s", last.Event, last.Incident, last.Thread)
		}
	})
}
