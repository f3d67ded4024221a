package webhook

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"sereno/notify"
	"sereno/notify/notifytest"
)

const (
	token  = "T0KEN-in-the-path"
	secret = "5ecret \"of\" signatures"
	bearer = "b3arer-of-headers"
)

func far() notifytest.HTTP {
	return notifytest.HTTP{Settings: func(base string) string {
		s, _ := json.Marshal(map[string]any{
			"url": base + "/hook/" + token + "?key=qu3ry-key", "secret": secret,
			"headers": map[string]string{"Authorization": "Bearer " + bearer, "X-Title": "{{title}}"},
		})
		return string(s)
	}}
}

func TestKind(t *testing.T) {
	notifytest.Run(t, Kind{}, notifytest.Fixture{
		Far:     far().Far,
		Secrets: []string{token, secret, bearer, "qu3ry-key"},
		Bad: map[string]string{
			`{}`:                                                                                       "url: it is missing",
			`{"ur": "http://a/"}`:                                                                      `did you mean "url"?`,
			`{"url": "ftp://a/"}`:                                                                      "url: it begins with https:// or http://",
			`{"url": "file:///etc/passwd"}`:                                                            "https://",
			`{"url": "http:///x"}`:                                                                     "no host",
			`{"url": "http://a/ b"}`:                                                                   "not a URL",
			`{"url": 7}`:                                                                               "url: it is a text (in quotes), not a number",
			`{"url": "http://a/", "method": "GET"}`:                                                    "POST or PUT",
			`{"url": "http://a/", "ca": "/etc/ca.pem"}`:                                                "${file:",
			`{"url": "http://a/", "ca": "-----BEGIN nothing"}`:                                         "ca: there is no certificate",
			`{"url": "http://a/", "headers": {"A B": "x"}}`:                                            "headers",
			`{"url": "http://a/", "headers": {"A\r\nB": "x"}}`:                                         "headers",
			`{"url": "http://a/", "headers": {"Content-Length": "7"}}`:                                 "belongs to the connection",
			`{"url": "http://a/", "headers": {"Sereno-Event": "x"}}`:                                   "own headers",
			`{"url": "http://a/", "headers": {"X": "{{nosuch}}"}}`:                                     "no {{nosuch}}",
			`{"url": "http://a/", "headers": {"X": 7}}`:                                                "headers: it is a text",
			`{"url": "http://a/", "content_type": "a\r\nb: c"}`:                                        "content_type",
			`{"url": "http://a/", "body": "{\"a\": \"{{#incident}}"}`:                                  "body: the template is wrong",
			`{"url": "http://a/", "body": "{\"a\": \"{{incident.nam}}\"}"}`:                            "body: there is no \"nam\" in incident",
			`{"url": "http://a/", "body": "{\"a\": \"{{tilte}}\"}"}`:                                   `did you mean "title"?`,
			`{"url": "http://a/", "body": "{\"a\": {{{text}}} }"}`:                                     "two braces",
			`{"url": "http://a/", "body": "{\"a\": {{incident}} }"}`:                                   "more than one value",
			`{"url": "http://a/", "body": "{{> /etc/passwd}}"}`:                                        "no other one",
			`{"url": "http://a/", "body": "{{=<% %>=}}"}`:                                              "braces",
			`{"url": "http://a/", "body": "{\"id\": {{incident.id}} }"}`:                               `no JSON for the event "test"`,
			`{"url": "http://a/", "body": "{{#incidents}}{{#incidents}}{{/incidents}}{{/incidents}}"}`: "inside of itself",
		},
		Shown: func(t *testing.T, part notifytest.Sent) string {
			if !utf8.Valid(part.Body) {
				t.Errorf("not UTF-8: %q", part.Body)
			}
			var d struct{ Title, Text string }
			if err := json.Unmarshal(part.Body, &d); err != nil {
				t.Errorf("no JSON: %v: %q", err, part.Body)
			}
			return d.Title + "\n" + d.Text
		},
	})
}

func TestTheDocument(t *testing.T) {
	m := notifytest.Message(notify.Closed)
	m.At = time.Date(2026, 11, 21, 11, 6, 26, 500_000_000, time.UTC)
	c := open(t, `{"url": "http://127.0.0.1/"}`)
	body, header, err := c.write(m, time.Unix(1, 0))
	if err != nil {
		t.Fatal(err)
	}
	want := `{"event":"closed","delivery":"42-closed","thread":"alert-42","severity":"critical",` +
		`"title":"core-sw1 is back after 3 m 22 s",` +
		`"text":"core-sw1 is back after 3 m 22 s\nlast looks: ......xxx\nno answer from core-sw1\n",` +
		`"at":"2026-11-21T11:06:26.500000Z","last":false,` +
		`"incident":{"id":42,"thread":"alert-42","status":"down","severity":"critical","opened":"2026-11-21T11:03:04.000000Z",` +
		`"closed":"2026-11-21T11:06:26.000000Z","seconds":202.25,"reason":"no answer from core-sw1","under":null},` +
		`"device":{"id":7,"name":"core-sw1","address":"192.0.2.1","tags":["site:plant1","core-sw1"]},` +
		`"incidents":[{"id":42,"thread":"alert-42","status":"down","severity":"critical","opened":"2026-11-21T11:03:04.000000Z",` +
		`"closed":"2026-11-21T11:06:26.000000Z","seconds":202.25,"reason":"no answer from core-sw1","under":null,` +
		`"device":{"id":7,"name":"core-sw1","address":"192.0.2.1","tags":["site:plant1","core-sw1"]}}],"count":1,` +
		`"links":{"open":"https://sereno.example/incidents/42","acknowledge":""}}`
	if string(body) != want {
		t.Errorf("the body is\n%s\nand should be\n%s", body, want)
	}
	if header.Get("Sereno-Event") != "closed" || header.Get("Sereno-Delivery") != "42-closed" || header.Get("Sereno-Signature") != "" {
		t.Errorf("headers: %v", header)
	}
	body, _, err = c.write(notifytest.Message(notify.Test), time.Unix(1, 0))
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{`"incident":null`, `"device":null`, `"incidents":[]`, `"count":0`, `"severity":""`} {
		if !strings.Contains(string(body), part) {
			t.Errorf("a test has no %s: %s", part, body)
		}
	}
}

// TestWhatIsNotThereMayComeBack: a receiver that is being replaced is not found
// for a while.
func TestWhatIsNotThereMayComeBack(t *testing.T) {
	for status, want := range map[int]notify.Class{404: notify.Passing, 401: notify.Refused, 403: notify.Refused, 410: notify.Refused, 422: notify.Refused} {
		far := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
		err := open(t, `{"url": "`+far.URL+`"}`).Send(t.Context(), notifytest.Message(notify.Opened))
		far.Close()
		if f := notify.FailureOf(err); err == nil || f.Class != want {
			t.Errorf("%d: %+v", status, f)
		}
	}
}

// TestABodyThatIsNoJSONIsNotSent: what no sample has shown is noticed in time.
func TestABodyThatIsNoJSONIsNotSent(t *testing.T) {
	far := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("it was sent") }))
	defer far.Close()
	c := open(t, `{"url": "`+far.URL+`", "body": "{\"seconds\": {{^incident}}0{{/incident}}{{#incident}}{{^device}}{{seconds}}{{/device}}{{#device}}1{{#under}}2{{/under}}{{^under}},{{/under}}{{/device}}{{/incident}}}"}`)
	f := notify.FailureOf(c.Send(t.Context(), notifytest.Message(notify.Opened)))
	if f.Class != notify.Refused || !strings.Contains(f.Text, "no JSON") {
		t.Errorf("%+v", f)
	}
}

// TestShortKeysAreSecret: an interface's key may be a word.
func TestShortKeysAreSecret(t *testing.T) {
	far := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, r.Header.Get("X-Api-Key")+" is no key, priority "+r.Header.Get("X-Priority"), http.StatusUnauthorized)
	}))
	defer far.Close()
	err := open(t, `{"url": "`+far.URL+`", "headers": {"X-Api-Key": "sesame", "X-Priority": "high"}}`).Send(t.Context(), notifytest.Message(notify.Opened))
	if err == nil || strings.Contains(err.Error(), "sesame") || !strings.Contains(err.Error(), "priority high") {
		t.Errorf("%v", err)
	}
}

func TestTemplates(t *testing.T) {
	m := notifytest.Message(notify.Opened)
	m.Device.Name = `a"b<c>&` + "\n\\ö"
	for _, c := range []struct{ name, settings, want string }{
		{"values are escaped for JSON", `{"body": "{\"name\": \"{{device.name}}\", \"id\": \"{{incident.id}}\"}"}`, `{"name": "a\"b\u003cc\u003e\u0026\n\\ö", "id": "42"}`},
		{"what is missing is empty", `{"body": "{\"closed\": \"{{incident.closed}}\"}"}`, `{"closed": ""}`},
		{"numbers are as they are", `{"body": "[{{#incident}}{{id}},{{seconds}}{{/incident}}]"}`, `[42,202.25]`},
		{"elements of lists", `{"body": "\"{{#device.tags}}<{{.}}>{{/device.tags}}\""}`, `"<site:plant1><core-sw1>"`},
		{"forms", `{"content_type": "application/x-www-form-urlencoded", "body": "n={{device.name}}&i={{incident.id}}"}`, `n=a%22b%3Cc%3E%26%0A%5C%C3%B6&i=42`},
		{"XML", `{"content_type": "application/xml", "body": "<n>{{device.name}}</n>"}`, `<n>a&#34;b&lt;c&gt;&amp;&#xA;\ö</n>`},
		{"text", `{"content_type": "text/plain", "body": "{{event}}: {{title}}"}`, `opened: core-sw1 is down since 12:03:04 CET`},
	} {
		t.Run(c.name, func(t *testing.T) {
			body, _, err := open(t, `{"url": "http://127.0.0.1/", `+c.settings[1:]).write(m, time.Now())
			if err != nil || string(body) != c.want {
				t.Errorf("%s, %v; it should be %s", body, err, c.want)
			}
		})
	}
}

func TestHeadersAreTemplates(t *testing.T) {
	m := notifytest.Message(notify.Opened)
	m.Title = "core\r\nBcc: x\x00 ö"
	_, header, err := open(t, `{"url": "http://127.0.0.1/", "headers": {"x-title": "<{{title}}> {{incident.id}}"}}`).write(m, time.Now())
	if want := "<core Bcc: x\ufffd ö> 42"; err != nil || header.Get("X-Title") != want {
		t.Errorf("%q, %v; it should be %q", header.Get("X-Title"), err, want)
	}
}

func TestAPutIsPossible(t *testing.T) {
	f := far().Far(t)
	c := open(t, strings.Replace(f.Settings(), `{`, `{"method": "PUT", `, 1))
	if err := c.Send(t.Context(), notifytest.Message(notify.Opened)); err != nil {
		t.Fatal(err)
	}
	if got := f.Taken(); len(got) != 1 || got[0].Method != "PUT" {
		t.Errorf("arrived: %v", got)
	}
}

// TestTheTemplateOfTheManual: the page's own example is taken, and makes JSON.
func TestTheTemplateOfTheManual(t *testing.T) {
	page, err := os.ReadFile("../../docs/channels/webhook.md")
	if err != nil {
		t.Fatal(err)
	}
	_, body, _ := strings.Cut(string(page), "      body: '")
	body, _, ok := strings.Cut(body, "'\n")
	if !ok {
		t.Fatal("the page has no example")
	}
	settings, err := json.Marshal(map[string]string{"url": "http://127.0.0.1/", "body": body})
	if err != nil {
		t.Fatal(err)
	}
	got, _, err := open(t, string(settings)).write(notifytest.Message(notify.Opened), time.Now())
	want := `{"channel": "ops", "message": "core-sw1 is down since 12:03:04 CET", "device": "core-sw1", "tags": ["site:plant1", "core-sw1", "sereno"]}`
	if err != nil || string(got) != want {
		t.Errorf("%s, %v; it should be %s", got, err, want)
	}
}

func open(t *testing.T, settings string) *channel {
	t.Helper()
	c, err := Kind{}.Open(json.RawMessage(settings), notify.Options{Agent: "sereno/test"})
	if err != nil {
		t.Fatal(err)
	}
	return c.(*channel)
}

func ExampleSign() {
	fmt.Println(Sign("secret", time.Unix(1790000000, 0), []byte(`{"event":"test"}`)))
	// Output: t=1790000000,v1=375a18003f8d35f7e095af68954f5d7c9ac5503907e2efb2152d6f82697fe88c
}
