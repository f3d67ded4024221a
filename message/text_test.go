package message

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"pgregory.net/rapid"

	"sereno"
)

func TestTemplatesOfTheUser(t *testing.T) {
	texts, err := NewTexts(
		map[string]Template{"opened": {Title: "{{name}} ausgefallen seit {{opened}}", Text: "zuerst"}, "test": {Title: "{{#own}}never{{/own}}"}},
		map[string]Template{"opened": {Text: "{{#looks}}Blicke {{.}}{{/looks}}\n{{^looks}}keine Blicke{{/looks}}\r\n\n\n\n{{#incidents}}\n- {{name}} <{{address}}>\n{{/incidents}}\n\n"}})
	if err != nil {
		t.Fatal(err)
	}
	title, text := texts.Write(facts("opened", "03:12:14", core("03:12:04", "")))
	if title != "core-sw1 ausgefallen seit 03:12:04 CET" {
		t.Errorf("the title is %q", title)
	}
	if want := title + "\nkeine Blicke\n\n- core-sw1 <192.0.2.1>\n"; text != want {
		t.Errorf("got\n%s\nwant\n%s", text, want)
	}
	if title, _ := texts.Write(facts("test", "03:12:14")); title != "Sereno: a test of the channel ops-telegram" {
		t.Errorf("a title of nothing became %q", title)
	}
	if _, text := texts.Write(facts("reminder", "03:12:14", core("03:12:04", ""))); !strings.HasPrefix(text, "core-sw1 is still down") {
		t.Errorf("what nobody changed became %q", text)
	}
}

func TestMistakesInTemplates(t *testing.T) {
	for text, want := range map[string]string{
		"{{namme}}":                              `there is no {{namme}}; did you mean "name"?`,
		"{{#incidents}}{{adress}}{{/incidents}}": `there is no {{adress}}; did you mean "address"?`,
		"{{name.length}}":                        `there is no {{name.length}}`,
		"{{.}}":                                  `there is no {{.}}`,
		"a\n{{#many}}b":                          `line 2: {{#many}} is not closed by {{/many}}`,
		"{{#many}}{{#own}}{{/many}}{{/own}}":     `line 1: {{/many}} closes what is not open, or not the last that is`,
		"{{/many}}":                              `line 1: a {{/…}} closes what is not open`,
		"{{name":                                 `line 1: a {{ is not closed by }}`,
		"{{}}":                                   `line 1: there is nothing between {{ and }}`,
		"{{{}}}":                                 `there is no {{}}`,
		"{{> /etc/passwd}}":                      `{{> /etc/passwd}}: a template takes in no other one`,
		"{{incidents}}":                          `{{incidents}} is a list: write {{#incidents}}…{{/incidents}}`,
		"{{#incidents}}{{#incidents}}{{/incidents}}{{/incidents}}":        `{{#incidents}} stands inside of itself`,
		strings.Repeat("{{#many}}", 13) + strings.Repeat("{{/many}}", 13): `{{#many}}: sections are nested at most 12 deep`,
		strings.Repeat("{{#many}}", 1700):                                 `a template has at most 16000 bytes, not 15300`,
		strings.Repeat("x", 16_001):                                       `a template has at most 16000 bytes, not 16001`,
		"a\x00":                                                           `a template holds no NUL`,
	} {
		_, err := NewTexts(map[string]Template{"closed": {Text: text}})
		if len(text) == 15300 { // it is short enough, and its sections are not closed
			want = `line 1: {{#many}} is not closed by {{/many}}`
		}
		e, ok := errors.AsType[*sereno.Error](err)
		if !ok || e.Kind != sereno.Invalid || e.Field != "closed.text" || e.Text != want {
			t.Errorf("%.60q: got %v, want %s", text, err, want)
		}
	}
	_, err := NewTexts(map[string]Template{"opend": {Title: "x"}, "opened": {Title: "{{x}}", Text: "{{y}}"}, "closed": {Title: "{{z}}"}})
	want := "closed.title: there is no {{z}}\n" +
		`opend: there is no event "opend", only opened, reminder, acknowledged, changed, closed, digest, test; did you mean "opened"?` + "\n" +
		"opened.title: there is no {{x}}\nopened.text: there is no {{y}}"
	if err == nil || strings.ReplaceAll(err.Error(), `; did you mean "by"?`, "") != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}

func TestEveryValueIsThere(t *testing.T) {
	for _, f := range []Facts{{}, facts("opened", "03:12:14", many(3)...)} {
		if got, want := slices.Sorted(maps.Keys(flatten(f))), slices.Sorted(eachName); !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	var want []string
	for _, v := range Values {
		if v.One {
			want = append(want, v.Name)
		}
	}
	slices.Sort(want)
	// A name that an incident did not have would be taken from outside of the list.
	if got := slices.Sorted(maps.Keys(one(Incident{}, calendar{now: time.Unix(0, 0)}))); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// Whatever the facts hold, a message is lines of visible text, the title is one
// of them, and nothing in it turns the reading direction.
func TestHostileFacts(t *testing.T) {
	texts, err := NewTexts()
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		hostile := rapid.OneOf(
			rapid.String(),
			rapid.StringOfN(rapid.RuneFrom([]rune("a <b>&*_`[]()\r\n\t\x00\x1b\u0085\u2028\u202e\u2066\u200f\u00ad\ufeff\U000E0041{}")), 0, 40, -1),
			rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) }),
			rapid.Just(strings.Repeat("x\n", 5000)), rapid.Just("{{name}}{{#many}}"),
		)
		text := func(what string) string { return hostile.Draw(t, what) }
		instant := func(what string) sereno.Instant {
			return sereno.Instant(rapid.Int64Range(-62_135_596_800_000_000, 253_402_300_799_000_000).Draw(t, what))
		}
		f := Facts{
			Event: rapid.SampledFrom(append(Events, "?")).Draw(t, "event"), Now: instant("now"), Zone: rapid.SampledFrom([]*time.Location{nil, berlin}).Draw(t, "zone"),
			Count: rapid.IntRange(0, 50).Draw(t, "count"), Over: rapid.IntRange(0, 50).Draw(t, "over"), Both: rapid.Bool().Draw(t, "both"),
			Group: text("group"), Again: rapid.IntRange(-1, 3).Draw(t, "again"), By: text("by"), Note: text("note"), Was: text("was"),
			Due: instant("due"), LateBecause: text("late"), Held: text("held"), Channel: text("channel"), Open: text("open"), Acknowledge: text("ack"),
		}
		for range rapid.IntRange(0, 25).Draw(t, "incidents") {
			f.Incidents = append(f.Incidents, Incident{
				Incident: sereno.Incident{
					Device: 1, Trouble: rapid.SampledFrom([]sereno.Trouble{sereno.TroubleDown, sereno.TroubleChannel, sereno.TroubleAbsent}).Draw(t, "trouble"),
					Subject: text("subject"), Reason: text("reason"), Opened: instant("opened"), Closed: instant("closed"),
				},
				Name: text("name"), Address: text("address"), Site: text("site"), Check: text("check"), Tags: []string{text("tag")},
				Behind: rapid.IntRange(-1, 3).Draw(t, "behind"), BehindNames: []string{text("behind name")},
				Looks: rapid.SliceOf(rapid.Bool()).Draw(t, "looks"), Uncertainty: time.Duration(rapid.Int64().Draw(t, "uncertainty")),
			})
		}
		title, whole := texts.Write(f)
		if title == "" || strings.Contains(title, "\n") || utf8.RuneCountInString(title) > maxTitle {
			t.Fatalf("the title is %q", title)
		}
		if !strings.HasPrefix(whole, title+"\n") || !strings.HasSuffix(whole, "\n") || len(whole) > maxText+4*maxTitle+2 {
			t.Fatalf("the text is %q", whole)
		}
		if !utf8.ValidString(whole) || strings.ContainsFunc(whole, func(r rune) bool { return r != '\n' && r != ' ' && !unicode.IsPrint(r) }) {
			t.Fatalf("it can be more than read: %q", whole)
		}
		if n := strings.Count(whole, "\n"); n > 2*maxListed+20 {
			t.Fatalf("names made lines: %d", n)
		}
	})
}

func FuzzTemplate(f *testing.F) {
	for _, event := range Events {
		f.Add(Builtin(event).Title)
		f.Add(Builtin(event).Text)
	}
	f.Add("{{=<% %>=}}<%name%><%={{ }}=%>{{{name}}}{{&name}}{{!note}}{{=x}}{{= =}}")
	message := facts("opened", "03:12:14", many(25)...)
	f.Fuzz(func(t *testing.T, text string) {
		texts, err := NewTexts(map[string]Template{"opened": {Title: text, Text: text}})
		if err != nil {
			return
		}
		if title, whole := texts.Write(message); title == "" || len(whole) > maxText*4 || !utf8.ValidString(whole) {
			t.Errorf("%q gives %q", text, whole)
		}
	})
}

func TestLengths(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "", -time.Second: "", 8 * time.Second: "8 s", 400 * time.Millisecond: "0.4 s", 202 * time.Second: "3 m 22 s", 10*time.Second + time.Microsecond: "10 s",
	} {
		if got := length(d); got != want {
			t.Errorf("%v: got %q, want %q", d, got, want)
		}
	}
	for d, want := range map[time.Duration]string{
		0: "", time.Microsecond: "1 s", 95 * time.Second: "95 s", 7*time.Minute + 12*time.Second: "7 min", 20 * time.Minute: "20 min", 3 * time.Hour: "3 h", 50 * time.Hour: "2 days",
	} {
		if got := roughly(d); got != want {
			t.Errorf("%v: got %q, want %q", d, got, want)
		}
	}
	for _, c := range [][3]string{
		{"", "", ""},
		{"", "plant1", ""},
		{"plant1", "plant1", "at plant1"},
		{"plant1, behind sw", "plant1", "at plant1 (behind sw)"},
		{"behind sw", "", "behind sw"},
		{"rack 3", "plant1", "(rack 3)"},
		{"plant10", "plant1", "(plant10)"},
		{"plant1", "", "(plant1)"},
	} {
		if got := where(c[0], c[1]); got != c[2] {
			t.Errorf("%q at site %q: got %q, want %q", c[0], c[1], got, c[2])
		}
	}
	for n, want := range map[int]string{-1: "", 0: "", 1: "1st", 2: "2nd", 3: "3rd", 4: "4th", 11: "11th", 12: "12th", 13: "13th", 21: "21st", 102: "102nd", 111: "111th", 113: "113th"} {
		if got := nth(n); got != want {
			t.Errorf("%d: got %q, want %q", n, got, want)
		}
	}
}

func BenchmarkWrite(b *testing.B) {
	f := stories()["all that can be known of it"]
	for b.Loop() {
		usual.Write(f)
	}
}
