package notify

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sereno"
)

func TestATitleAndWhatFollowsIt(t *testing.T) {
	for _, c := range []struct{ what, title, text, wantTitle, wantRest string }{
		{"as they are written", "core is down", "core is down\nlast looks: xx\nbehind it: 3\n", "core is down", "last looks: xx\nbehind it: 3"},
		{"a title alone", "core is down", "core is down\n", "core is down", ""},
		{"nothing but a title", "core is down", "", "core is down", ""},
		{"a text that begins otherwise", "core is down", "All of it:\nx\n", "core is down", "All of it:\nx"},
		{"a text that begins alike", "core", "core-sw1 is down\nx\n", "core", "core-sw1 is down\nx"},
		{"no title", "", "first\nsecond\n", "first", "second"},
		{"no text", " ", " \n\n", "Sereno: opened", ""},
		{"a title of two lines", "a\r\nb is down", "a\r\nb is down\nrest\n", "a b is down", "rest"},
		{"turned round", "a\u202eb", "a\u202eb\nc\u202ed\n", "a\ufffdb", "c\ufffdd"},
	} {
		t.Run(c.what, func(t *testing.T) {
			title, rest := Message{Event: Opened, Title: c.title, Text: c.text}.Parts()
			if title != c.wantTitle || rest != c.wantRest {
				t.Errorf("%q and %q, not %q and %q", title, rest, c.wantTitle, c.wantRest)
			}
		})
	}
}

func TestPartsAreAlwaysHarmless(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := Message{Event: Closed, Title: rapid.String().Draw(t, "title")}
		m.Text = m.Title + rapid.SampledFrom([]string{"\n", "\r\n", "", " "}).Draw(t, "between") + rapid.String().Draw(t, "text")
		title, rest := m.Parts()
		if title == "" || Line(title) != title || Lines(rest) != rest || strings.HasSuffix(rest, "\n") {
			t.Fatalf("%q and %q", title, rest)
		}
	})
}

func TestADocumentIsOneLineWithAllItsNames(t *testing.T) {
	at := time.Date(2026, 11, 21, 11, 3, 4, 0, time.UTC)
	in := Incident{ID: 42, Status: sereno.TroubleDown, Severity: sereno.SeverityHigh, Opened: sereno.At(at), Device: &Device{Name: "a\nb"}}
	for what, m := range map[string]Message{
		"much":   {Key: "k", Event: Opened, Title: "a\nb", Text: "a\nb\n<&>\xff\u2028", At: at, Incident: &in, Incidents: []Incident{in}, Device: in.Device},
		"little": {Event: Test, At: at},
	} {
		text, err := DocumentOf(m).JSON()
		if err != nil {
			t.Fatal(err)
		}
		if bytes.ContainsAny(text, "\r\n\u2028") {
			t.Errorf("%s: more than a line: %q", what, text)
		}
		var d map[string]any
		if err := json.Unmarshal(text, &d); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"event", "delivery", "thread", "severity", "title", "text", "at", "last", "incident", "device", "incidents", "count", "links"} {
			if _, ok := d[name]; !ok {
				t.Errorf("%s: no %s", what, name)
			}
		}
		if _, ok := d["incidents"].([]any); !ok {
			t.Errorf("%s: the incidents are %v", what, d["incidents"])
		}
		if what == "much" {
			if tags, ok := d["device"].(map[string]any)["tags"].([]any); !ok || len(tags) != 0 {
				t.Errorf("no tags are %v", d["device"])
			}
			if _, ok := d["incident"].(map[string]any)["device"]; ok {
				t.Error("the device stands beside the incident and in it")
			}
			if got := d["text"]; got != "a\nb\n<&>\ufffd\n" {
				t.Errorf("the text is %q", got)
			}
		}
	}
	if in.Device.Tags != nil || in.Device == nil {
		t.Error("writing a message down has changed it")
	}
}

func TestMarks(t *testing.T) {
	for want, m := range map[string]Message{
		"🔴": {Event: Opened, Severity: sereno.SeverityCritical}, "🟠": {Event: Reminder, Severity: sereno.SeverityHigh},
		"🟡": {Event: Changed, Severity: sereno.SeverityMedium}, "🔵": {Event: Digest, Severity: sereno.SeverityLow},
		"✅": {Event: Closed, Severity: sereno.SeverityCritical}, "👀": {Event: Acknowledged, Severity: sereno.SeverityCritical}, "": {Event: Test},
	} {
		if got := m.Mark(); got != want {
			t.Errorf("%s of %s is %q, not %q", m.Event, m.Severity, got, want)
		}
	}
}
