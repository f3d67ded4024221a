package message

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sereno"
)

var update = flag.Bool("update", false, "write what the stories give to testdata")

var berlin = func() *time.Location {
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		panic(err)
	}
	return zone
}()

// at is a moment by the clock on a wall in Berlin: "03:12:04" on 21 November,
// "10-25 02:30:00", "2025-12-31 23:59:59", or with its offset from UTC where
// there are two.
func at(clock string) sereno.Instant {
	switch len(clock) {
	case len("15:04:05"):
		clock = "2026-11-21 " + clock
	case len("01-02 15:04:05"):
		clock = "2026-" + clock
	case len("01-02 15:04:05 +0100"):
		t, err := time.Parse("2006-01-02 15:04:05 -0700", "2026-"+clock)
		if err != nil {
			panic(err)
		}
		return sereno.At(t)
	}
	t, err := time.ParseInLocation(time.DateTime, clock, berlin)
	if err != nil {
		panic(err)
	}
	return sereno.At(t)
}

func core(opened, closed string) Incident {
	in := Incident{
		Incident: sereno.Incident{ID: 42, Device: 1, Check: 1, Opened: at(opened), Reason: "no reply in 1s"},
		Severity: sereno.SeverityCritical, Name: "core-sw1", Address: "192.0.2.1", Check: "icmp", Uncertainty: time.Second,
	}
	if closed != "" {
		in.Closed = at(closed)
	}
	return in
}

// many are n access points at a site, a tenth of a second after each other.
func many(n int) (list []Incident) {
	for i := range n {
		in := core("03:12:04", "")
		in.ID, in.Device = sereno.IncidentID(100+i), sereno.DeviceID(100+i)
		in.Opened = in.Opened.Add(time.Duration(i) * 100 * time.Millisecond)
		in.Name, in.Site, in.Severity = fmt.Sprintf("ap-%02d", i+1), "plant2", sereno.SeverityMedium
		list = append(list, in)
	}
	return list
}

func ownTrouble(t sereno.Trouble, subject, reason, opened, closed string) Incident {
	in := Incident{Incident: sereno.Incident{ID: 7, Trouble: t, Subject: subject, Opened: at(opened), Reason: reason}, Severity: sereno.SeverityOf(0, t)}
	if closed != "" {
		in.Closed = at(closed)
	}
	return in
}

// facts are those of a message of one incident or several.
func facts(event, now string, in ...Incident) Facts {
	f := Facts{Event: event, Now: at(now), Zone: berlin, Incidents: in, Count: len(in), Channel: "ops-telegram"}
	if len(in) > 0 {
		f.Severity = in[0].Severity
	}
	return f
}

func with(f Facts, change func(*Facts)) Facts {
	change(&f)
	return f
}

// The stories: what happened, and in testdata the message that tells it.
func stories() map[string]Facts {
	full := core("03:12:04", "")
	full.Site, full.Tags = "plant1", []string{"core", "site:plant1"}
	full.Reason = "host unreachable, says 192.0.2.254"
	full.Looks = []bool{true, true, true, true, false, false, false}
	full.Behind, full.BehindNames = 42, []string{"ap-01", "ap-02", "ap-03", "cam-door", "plc-7"}
	full.Today, full.Month = 3, 7

	back := core("12:03:04", "12:06:26")
	back.Today, back.Month = 2, 5
	web := core("12:03:04", "")
	web.Check, web.Reason, web.Trouble = "https", "certificate expires in 2 d", sereno.TroubleDegraded
	gone := core("12:03:04", "12:06:26")
	gone.Removed = true
	web.Device, web.Severity = 1, sereno.SeverityHigh
	flapping := core("12:03:04", "")
	flapping.Trouble, flapping.Reason = sereno.TroubleFlapping, "changes too often to be believed"
	hostile := core("12:03:04", "")
	hostile.Name = "<b>*evil*</b>\r\nBcc: boss@example.com\u202e\x00[x](http://e)\x1b[2J"
	hostile.Site, hostile.Reason = "a\u2028b", strings.Repeat("long ", 2000)
	hostile.Check, hostile.BehindNames, hostile.Behind = "icmp\n", []string{"\u2066x\u2069", "\xff"}, 2

	partly := many(37)
	for i := range 5 {
		partly[36-i].Closed = partly[36-i].Opened.Add(4 * time.Second)
	}
	recovered := many(3)
	for i := range recovered {
		recovered[i].Closed = at("03:15:26").Add(time.Duration(i) * time.Second)
	}
	storm := append(many(22), back)
	storm[0] = full
	storm[3].Closed = at("03:13:04")

	return map[string]Facts{
		"a device is down": facts("opened", "03:12:14", core("03:12:04", "")),
		"all that can be known of it": with(facts("opened", "03:12:14", full), func(f *Facts) {
			f.Open, f.Acknowledge = "https://sereno.example/#/incidents/42", "https://sereno.example/a/AAAA"
		}),
		"another check than whether it answers": facts("opened", "12:03:14", web),
		"down again": with(facts("opened", "12:20:14", core("12:20:04", "")), func(f *Facts) {
			f.Again, f.AgainIn = 3, 20*time.Minute
		}),
		"down again, and acknowledged": with(facts("opened", "12:20:14", core("12:20:04", "")), func(f *Facts) {
			f.By = "anna"
			f.Again, f.AgainIn = 3, 20*time.Minute
		}),
		"kept back by a maintenance window": with(facts("opened", "04:00:10", core("03:12:04", "")), func(f *Facts) {
			f.Held = "maintenance sunday"
		}),
		"late": with(facts("opened", "03:19:16", core("03:12:04", "")), func(f *Facts) {
			f.Due, f.LateBecause = at("03:12:14"), "telegram could not be reached"
		}),
		"a reminder": with(facts("reminder", "03:42:14", core("03:12:04", "")), func(f *Facts) {
			f.Reminder, f.Reminders = 2, 3
		}),
		"the last reminder": with(facts("reminder", "04:12:14", core("03:12:04", "")), func(f *Facts) {
			f.Reminder, f.Reminders, f.Last = 3, 3, true
		}),
		"a recovery": facts("closed", "12:06:40", back),
		"over before it could be told": with(facts("closed", "12:03:14", with1(core("12:03:04", "12:03:12"))), func(f *Facts) {
			f.Both = true
		}),
		"over while the first message waited":        facts("opened", "12:03:14", core("12:03:04", "12:03:12")),
		"a recovery across the autumn clock change":  facts("closed", "10-25 02:07:00 +0100", core("10-25 02:59:04 +0200", "10-25 02:06:26 +0100")),
		"a recovery after the autumn clock change":   facts("closed", "10-25 08:00:10", core("10-25 01:30:00", "10-25 08:00:00")),
		"a recovery after days":                      facts("closed", "11-23 08:00:10", core("21:15:00", "11-23 08:00:00")),
		"a recovery after the turn of the year":      facts("closed", "00:00:10", core("2025-12-31 23:59:50", "00:00:05")),
		"a device that was removed":                  facts("closed", "12:06:40", gone),
		"many devices":                               with(facts("opened", "03:12:18", many(37)...), func(f *Facts) { f.Group = "plant2" }),
		"many devices behind one":                    with(facts("opened", "03:12:18", many(3)...), func(f *Facts) { f.Group = "plant2, behind core-sw1" }),
		"many devices, some of them back already":    with(facts("opened", "03:12:18", partly...), func(f *Facts) { f.Group = "plant2" }),
		"many devices, of which only some are known": with(facts("opened", "03:12:18", many(25)...), func(f *Facts) { f.Group, f.Count, f.Over = "plant2", 2800, 12 }),
		"a reminder of many":                         with(facts("reminder", "03:22:18", many(3)...), func(f *Facts) { f.Group, f.Reminder, f.Reminders = "plant2", 1, 3 }),
		"many are back":                              with(facts("closed", "03:15:40", recovered...), func(f *Facts) { f.Group = "plant2" }),
		"a digest":                                   with(facts("digest", "03:14:04", storm...), func(f *Facts) { f.Count, f.Over = 312, 40 }),
		"acknowledged": with(facts("acknowledged", "03:15:04", core("03:12:04", "")), func(f *Facts) {
			f.By, f.Note = "anna", "on my way"
		}),
		"worse than before":        with(facts("changed", "03:15:04", core("03:12:04", "")), func(f *Facts) { f.Was = "degraded" }),
		"more severe with time":    facts("changed", "04:15:04", core("03:12:04", "")),
		"flapping":                 with(facts("changed", "12:09:04", flapping), func(f *Facts) { f.Was = "down" }),
		"resolved by a person":     with(facts("closed", "12:06:40", back), func(f *Facts) { f.By, f.Note = "anna", "it was unplugged" }),
		"two checks of one device": facts("opened", "12:03:14", core("12:03:04", ""), web),
		"a test":                   facts("test", "12:00:00"),
		"a hostile device": with(facts("opened", "12:03:14", hostile), func(f *Facts) {
			f.Note, f.Held, f.LateBecause, f.Due = "x\ny", "quiet\rhours", "\u202ano", at("12:00:00")
		}),
		"Sereno was off": facts("opened", "17:40:20",
			ownTrouble(sereno.TroubleAbsent, "", "power loss or hard reset; 212 checks could not be seen", "03:12:05", "17:40:10")),
		"Sereno was off, as the rules tell it": with(facts("closed", "17:40:20",
			ownTrouble(sereno.TroubleAbsent, "", "it crashed or was killed; 4 checks could not be seen", "17:39:57", "17:40:10")), func(f *Facts) { f.Both = true }),
		"Sereno was cut off": facts("opened", "12:10:00",
			ownTrouble(sereno.TroubleIsolated, "", "no witness answers: 192.0.2.254, 2001:db8::1", "12:03:04", "12:09:44")),
		"many troubles of different kinds": facts("opened", "12:03:14",
			core("12:03:04", ""), ownTrouble(sereno.TroubleChannel, "ops-mail", "535 wrong password", "12:03:00", "")),
	}
}

func with1(in Incident) Incident {
	in.Today, in.Month = 1, 4
	return in
}

func TestStories(t *testing.T) {
	texts, err := NewTexts()
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]bool{}
	for name, f := range stories() {
		t.Run(name, func(t *testing.T) {
			title, text := texts.Write(f)
			if first, _, _ := strings.Cut(text, "\n"); first != title {
				t.Errorf("the text begins with %q, the title is %q", first, title)
			}
			golden(t, name, text)
		})
		files[name] = true
	}
	files["own troubles"] = true
	for _, e := range must(os.ReadDir("testdata")) {
		if name, ok := strings.CutSuffix(e.Name(), ".txt"); ok && !files[name] {
			t.Errorf("there is no story %q any more", name)
		}
	}
}

// Every trouble of Sereno's own has sentences of its own, at its begin, while
// it lasts and at its end.
func TestOwnTroubles(t *testing.T) {
	texts, err := NewTexts()
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for trouble := range sereno.TroublePeer + 1 {
		if !trouble.Own() {
			continue
		}
		subject := map[sereno.Trouble]string{sereno.TroubleChannel: "ops-mail", sereno.TroublePolicy: "nights", sereno.TroublePeer: "plant2"}[trouble]
		fmt.Fprintf(&b, "== %v\n", trouble)
		for _, f := range []Facts{
			facts("opened", "12:03:14", ownTrouble(trouble, subject, "the reason", "12:03:04", "")),
			with(facts("reminder", "12:13:14", ownTrouble(trouble, subject, "the reason", "12:03:04", "")), func(f *Facts) { f.Reminder, f.Reminders = 1, 3 }),
			facts("closed", "12:20:00", ownTrouble(trouble, subject, "the reason", "12:03:04", "12:19:04")),
		} {
			_, text := texts.Write(f)
			b.WriteString(text + "\n")
		}
	}
	golden(t, "own troubles", b.String())
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name+".txt")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
