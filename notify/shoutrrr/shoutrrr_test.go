package shoutrrr

import (
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"sereno/notify"
	"sereno/notify/notifytest"
)

const token = "5ecret-token-of-the-hook"

func TestKind(t *testing.T) {
	tame()
	if http.DefaultClient.Timeout != leftBehind {
		t.Errorf("what is left behind ends after %s", http.DefaultClient.Timeout)
	}
	// Less than it is in use, for the suite waits until nothing is left; more than
	// any deadline in it that Send is to obey by itself.
	http.DefaultClient.Timeout = 5 * time.Second
	t.Cleanup(func() { http.DefaultClient.Timeout = leftBehind })
	notifytest.Run(t, Kind{}, notifytest.Fixture{
		Far: notifytest.HTTP{Settings: func(base string) string {
			return `{"url": "generic://` + strings.TrimPrefix(base, "http://") + "/hook/" + token + `?disabletls=yes&@Authorization=hunter2+of+headers"}`
		}}.Far,
		Secrets: []string{token, "hunter2"},
		Bad: map[string]string{
			`{}`:                             "url: it is missing",
			`{"url": "gotify"}`:              "not a URL",
			`{"url": "gotfy://host/token"}`:  `did you mean "gotify"?`,
			`{"url": "carrier://pigeon"}`:    "there are bark, discord,",
			`{"url": "logger://"}`:           "no service",
			`{"url": "slack://nonsense"}`:    "slack does not take it",
			`{"url": "zulip+https://a/b"}`:   "zulip does not take it",
			`{"urls": ["gotify://a/b"]}`:     "urls",
			`{"url": "telegram://:@nobody"}`: "telegram does not take it",
		},
		NoAfter: true,
		Shown: func(t *testing.T, part notifytest.Sent) string {
			if got := part.Header["Authorization"]; len(got) != 1 || got[0] != "hunter2 of headers" {
				t.Errorf("the header is %q", got)
			}
			return string(part.Body)
		},
		Limit: func(t *testing.T, part notifytest.Sent) {
			if n := len([]rune(string(part.Body))); n > maxText {
				t.Errorf("%d characters", n)
			}
		},
	})
}

// urls are as the library's documentation has them, with what must not be shown
// of each.
var urls = map[string][]string{
	"bark://:devicekey123@api.day.app/":                                                              {"devicekey123"},
	"discord://the-t0ken_of-Discord@123456789012345678":                                              {"the-t0ken_of-Discord", "123456789012345678"},
	"gotify://gotify.example.com/AzyoeNS.D4iJLVa":                                                    {"AzyoeNS.D4iJLVa"},
	"googlechat://chat.googleapis.com/v1/spaces/FOO/messages?key=barbarbarbar&token=bazbazbazbaz":    {"barbarbarbar", "bazbazbazbaz"},
	"ifttt://myiftttwebhookkey/?events=event":                                                        {"myiftttwebhookkey"},
	"join://:apikeyapikey@join/?devices=device":                                                      {"apikeyapikey"},
	"matrix://anna:passw0rd@matrix.example.com/?rooms=%21room":                                       {"passw0rd"},
	"mattermost://mattermost.example.com/mattermosttoken":                                            {"mattermosttoken"},
	"ntfy://anna:passw0rd@ntfy.example.com/mytopic":                                                  {"passw0rd", "mytopic"},
	"opsgenie://api.opsgenie.com/eb243592-faa2-4ba2-a551q-1afdf565c889":                              {"eb243592-faa2-4ba2-a551q-1afdf565c889"},
	"pushbullet://tokentokentokentokentokentokentoke/#channel":                                       {"tokentokentokentokentokentokentoke"},
	"pushover://shoutrrr:pushovertoken@pushoveruser/?devices=device":                                 {"pushovertoken", "pushoveruser"},
	"rocketchat://rocketchat.example.com/tokenAtokenA/tokenBtokenB":                                  {"tokenAtokenA", "tokenBtokenB"},
	"slack://hook:AAAAAAAAA-BBBBBBBBB-123456789123456789123456@webhook":                              {"AAAAAAAAA", "BBBBBBBBB", "123456789123456789123456"},
	"smtp://anna:passw0rd@mail.example.com:587/?from=a@example.com&to=b@example.com":                 {"passw0rd"},
	"telegram://110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw0@telegram?chats=@channel":               {"110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw0", "AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw0"},
	"zulip://bot%40zulip.example.com:correcthorsebattery@zulip.example.com:443?stream=foo&topic=bar": {"correcthorsebattery"},
}

func TestManyServicesAreTaken(t *testing.T) {
	for address, secrets := range urls {
		t.Run(strings.SplitN(address, ":", 2)[0], func(t *testing.T) {
			s, err := json.Marshal(settings{address})
			if err != nil {
				t.Fatal(err)
			}
			opened, err := Kind{}.Open(s, notify.Options{})
			if err != nil {
				for _, secret := range secrets {
					if strings.Contains(err.Error(), secret) {
						t.Errorf("the refusal shows %q: %v", secret, err)
					}
				}
				t.Fatal(err)
			}
			c := opened.(*channel)
			u, err := url.Parse(address)
			if err != nil {
				t.Fatal(err)
			}
			for _, secret := range secrets {
				said := c.judge(`sending: Post "https://example.com/` + secret + `/x?y=` + url.QueryEscape(secret) + `": 404 for ` + u.String()).Error()
				if strings.Contains(said, secret) {
					t.Errorf("%q is shown: %s", secret, said)
				}
			}
		})
	}
}

func TestWordsAreJudged(t *testing.T) {
	c := &channel{scheme: "gotify", url: &url.URL{}}
	for words, want := range map[string]struct {
		class  notify.Class
		unsure bool
	}{
		"unexpected status: 401 Unauthorized":                           {notify.Refused, false},
		"server returned 404":                                           {notify.Refused, false},
		"got HTTP 413: too long":                                        {notify.Refused, false},
		"failed: status code 429 Too Many Requests":                     {notify.Passing, false},
		"unexpected response status: 500 Internal Server Error":         {notify.Passing, false},
		`Post "http://127.0.0.1:400/x": EOF`:                            {notify.Passing, true},
		`Post "http://10.0.0.404/x": unexpected EOF`:                    {notify.Passing, true},
		`Post "http://a/400/x": EOF`:                                    {notify.Passing, true},
		"dial tcp 127.0.0.1:1: connect: connection refused":             {notify.Passing, false},
		"dial tcp: lookup gotify.invalid: no such host":                 {notify.Passing, false},
		"tls: failed to verify certificate: x509: unknown authority":    {notify.Passing, false},
		"context deadline exceeded (Client.Timeout exceeded)":           {notify.Passing, true},
		"the library has failed: runtime error: index out of range [4]": {notify.Passing, true},
	} {
		f := notify.FailureOf(c.judge(words))
		if f.Class != want.class || f.Unsure != want.unsure {
			t.Errorf("%q is %+v", words, f)
		}
	}
}

func TestTitlesStandWhereTheyAreShown(t *testing.T) {
	m := notifytest.Message(notify.Opened)
	for scheme, title := range map[string]string{"gotify": m.Title, "slack": "", "generic": ""} {
		text, params := (&channel{scheme: scheme}).write(m)
		if got, _ := params.Title(); got != title || strings.HasPrefix(text, m.Title) == (title != "") {
			t.Errorf("%s: title %q, text %q", scheme, got, text)
		}
		if !strings.Contains(text, m.Acknowledge) || !strings.Contains(text, m.Open) {
			t.Errorf("%s: no links in %q", scheme, text)
		}
	}
	if _, params := (&channel{scheme: "smtp"}).write(m); params["subject"] != m.Title {
		t.Errorf("%q", params)
	}
}

func TestThereIsNoServiceThatLosesMessages(t *testing.T) {
	if slices.Contains(schemes(), "logger") || len(schemes()) < 20 {
		t.Errorf("%q", schemes())
	}
}

// TestTheManual opens every URL of the page about this kind.
func TestTheManual(t *testing.T) {
	page, err := os.ReadFile("../../docs/channels/shoutrrr.md")
	if err != nil {
		t.Fatal(err)
	}
	words := strings.NewReplacer("pushbullet://TOKEN", "pushbullet://tokentokentokentokentokentokentoke", "HOST", "host.example.com", "PORT", "8080", "FROM", "+4915100000000", "TO/", "+4915100000001/", "/TO`", "/+4915100000001`",
		"#ALIAS", "%23alias:host.example.com", "!ROOM", "!room:host.example.com")
	n := 0
	for _, row := range regexp.MustCompile("(?m)^\\| .* \\| `([a-z]+://[^`]*`)").FindAllStringSubmatch(string(page), -1) {
		address := strings.TrimSuffix(words.Replace(row[1]), "`")
		n++
		s, err := json.Marshal(settings{address})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := (Kind{}).Open(s, notify.Options{}); err != nil {
			t.Errorf("%s: %v", address, err)
		}
	}
	if n < 15 {
		t.Errorf("%d URLs were found", n)
	}
}
