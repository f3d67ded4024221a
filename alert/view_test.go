package alert_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"sereno"
	"sereno/alert"
	"sereno/notify"
)

// coming writes what comes, for a reader.
func coming(a alert.Alert, from sereno.Instant) string {
	var words []string
	for _, c := range a.Next {
		word := fmt.Sprintf("%s step %d", c.At.Sub(from), c.Step+1)
		if c.Reminder > 0 {
			word += fmt.Sprintf(" reminder %d of %d", c.Reminder, c.Of)
		}
		words = append(words, word+" on "+strings.Join(c.Channels, " and "))
	}
	return strings.Join(words, ", ")
}

func TestAnAlertSaysWhatComesNext(t *testing.T) {
	b := two()
	b.Policies = []alert.Policy{{Name: "p", Steps: []alert.Step{
		{Channels: []string{"ops"}, Remind: []time.Duration{10 * time.Minute, 30 * time.Minute}},
		{After: 15 * time.Minute, UnlessAcknowledged: true, Channels: []string{"mail"}, Remind: []time.Duration{time.Hour}},
	}}}
	f := newFlood(t, b)
	begin := f.now
	f.Take(f.now, fleet(1, f.now, unrelated))
	next := func() string {
		t.Helper()
		a, ok := f.Alert(1)
		if !ok {
			t.Fatal("there is no alert")
		}
		return coming(a, begin)
	}
	do := func(o alert.Order) {
		t.Helper()
		o.Incident, o.Who = 1, "anna"
		if err := f.Do(f.now, o); err != nil {
			t.Fatal(err)
		}
	}
	see := func(when, got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("%s\n%s\nand not\n%s", when, got, want)
		}
	}
	see("from the start", next(), "10m0s step 1 reminder 1 of 2 on ops, 15m0s step 2 on mail, 30m0s step 1 reminder 2 of 2 on ops, 1h15m0s step 2 reminder 1 of 1 on mail")
	a, _ := f.Alert(1)
	if !slices.Equal(a.Pending, []string{"ops"}) || len(a.Told) != 0 {
		t.Errorf("%q wait, and %q know", a.Pending, a.Told)
	}
	f.run(begin.Add(12 * time.Minute))
	see("after the first reminder", next(), "15m0s step 2 on mail, 30m0s step 1 reminder 2 of 2 on ops, 1h15m0s step 2 reminder 1 of 1 on mail")
	if a, _ := f.Alert(1); !slices.Equal(a.Told, []string{"ops"}) || len(a.Pending) != 0 {
		t.Errorf("%q wait, and %q know", a.Pending, a.Told)
	}
	do(alert.Order{Action: "acknowledge"})
	see("acknowledged for good", next(), "")
	do(alert.Order{Action: "unacknowledge"})
	do(alert.Order{Action: "snooze", Until: begin.Add(2 * time.Hour)})
	f.run(begin.Add(20 * time.Minute))
	a, _ = f.Alert(1)
	if a.Held != "snoozed by anna" || a.HeldUntil != begin.Add(2*time.Hour) {
		t.Errorf("held by %q until %s", a.Held, a.HeldUntil)
	}
	foretold := next()
	see("snoozed", foretold, "2h0m0s step 2 on mail, 2h15m0s step 1 reminder 2 of 2 on ops, 3h0m0s step 2 reminder 1 of 1 on mail")
	f.run(begin.Add(24 * time.Hour))
	var came []string
	for _, name := range []string{"mail", "ops"} {
		for _, d := range f.sent[name] {
			if at := d.Due.Sub(begin); at >= 2*time.Hour {
				came = append(came, fmt.Sprint(at))
			}
		}
	}
	if got := strings.Join(came, " "); got != "2h0m0s 3h0m0s 2h15m0s" {
		t.Errorf("foretold %s, and %s came", foretold, got)
	}
}

func TestWhatPeopleDoIsAudited(t *testing.T) {
	f := newFlood(t, two())
	f.Take(f.now, fleet(1, f.now, unrelated))
	f.Batch()
	until := f.now.Add(time.Hour)
	for _, o := range []alert.Order{
		{Action: "acknowledge", Incident: 1, Who: "anna", Via: "api", Text: "on it", Until: until},
		{Action: "comment", Incident: 77, Who: "anna", Via: "command", Text: "of another one"},
	} {
		if err := f.Do(f.now, o); err != nil {
			t.Fatal(err)
		}
		b := f.Batch()
		if b == nil || len(b.Audit) != 1 {
			t.Fatalf("%s: %+v", o.Action, b)
		}
		want := sereno.Audit{At: f.now, Who: o.Who, Via: o.Via, Action: o.Action, Target: "incident", Of: fmt.Sprint(int64(o.Incident)), Text: o.Text}
		if o.Until != 0 {
			want.Detail = `{"until":"` + until.String() + `"}`
		}
		if b.Audit[0] != want {
			t.Errorf("%+v", b.Audit[0])
		}
	}
	for _, test := range []struct {
		order alert.Order
		kind  sereno.Kind
	}{
		{alert.Order{Action: "acknowledge", Incident: 2}, sereno.NotFound},
		{alert.Order{Action: "unsnooze", Incident: 1}, sereno.Conflict},
		{alert.Order{Action: "close", Incident: 1}, sereno.Invalid},
		{alert.Order{Action: "acknowledge"}, sereno.Invalid},
		{alert.Order{Action: "snooze", Incident: 1, Until: f.now}, sereno.Invalid},
		{alert.Order{Action: "resolve", Incident: 1, Until: until}, sereno.Invalid},
	} {
		if err := f.Do(f.now, test.order); err == nil || sereno.KindOf(err) != test.kind {
			t.Errorf("%+v: %v", test.order, err)
		}
	}
	if b := f.Batch(); b != nil {
		t.Errorf("an order that was refused left %+v", b)
	}
}

// Alerts that a newer Sereno kept are taken up as far as they are understood,
// and those that are not are named.
func TestRecordsOfAnotherVersion(t *testing.T) {
	f := newFlood(t, two())
	d := newDrawer()
	f.Take(f.now, fleet(3, f.now, unrelated))
	d.keep(f.Batch())
	l := d.load()
	for i := range l.Alerts {
		switch r := &l.Alerts[i]; r.ID {
		case 1:
			r.Doc = bytes.Replace(r.Doc, []byte(`{"v":1,`), []byte(`{"v":9,"news":{"a":[1]},`), 1)
		case 2:
			r.Doc = bytes.Replace(r.Doc, []byte(`"ears":[`), []byte(`"ears":{"as":"objects"},"others":[`), 1)
		}
	}
	p, err := two().Compile([]notify.Kind{mute{}}, notify.Options{})
	if err != nil {
		t.Fatal(err)
	}
	f.Engine = alert.NewEngine(l, p, f.now)
	if strange := f.Strange(); len(strange) != 1 || strange[0] != 2 {
		t.Errorf("strange are %v", strange)
	}
	if list := f.Alerts(); len(list) != 2 || list[0].ID != 1 || list[1].ID != 3 {
		t.Errorf("open are %+v", list)
	}
	f.run(f.now.Add(time.Minute))
	for name, sent := range f.sent {
		if len(sent) != 3 {
			t.Errorf("%s was told in %d messages", name, len(sent))
		}
	}
}
