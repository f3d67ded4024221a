package email

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"slices"
	"strings"
	"testing"

	"github.com/emersion/go-smtp"
	sender "github.com/wneessen/go-mail/smtp"

	"sereno/notify"
	"sereno/notify/notifytest"
)

func TestKind(t *testing.T) {
	notifytest.Run(t, New(), notifytest.Fixture{
		Far:     func(t *testing.T) notifytest.Far { return newFar(t, "starttls") },
		Secrets: []string{password},
		Without: []notifytest.Manner{notifytest.Redirects},
		Shaped:  true,
		NoAfter: true,
		Bad: map[string]string{
			`{}`: "host: it is missing",
			`{"host": "a", "from": "a@b.c", "to": "d@e.f", "prot": 25}`:                                                  `did you mean "port"?`,
			`{"host": "a:25", "from": "a@b.c", "to": "d@e.f"}`:                                                           "host: it is the name or the address of a mail server alone",
			`{"host": "a", "from": "nobody", "to": "d@e.f"}`:                                                             `from: "nobody" is no mail address`,
			`{"host": "a", "from": "a@b.c\r\nBcc: x@y.z", "to": "d@e.f"}`:                                                "from:",
			`{"host": "a", "from": "a@b.c"}`:                                                                             "to: it is missing",
			`{"host": "a", "from": "a@b.c", "to": []}`:                                                                   "to: it is missing",
			`{"host": "a", "from": "a@b.c", "to": ["d@e.f", "g"]}`:                                                       `to[1]: "g" is no mail address`,
			`{"host": "a", "from": "a@b.c", "to": ["d@e.f", "D@e.f"]}`:                                                   "to[1]: it stands there twice",
			`{"host": "a", "from": "a@b.c", "to": "d@e.f", "tls": "startls"}`:                                            `did you mean "starttls"?`,
			`{"host": "a", "from": "a@b.c", "to": "d@e.f", "port": 70000}`:                                               "port: a port is 1 to 65535",
			`{"host": "a", "from": "a@b.c", "to": "d@e.f", "port": "25"}`:                                                "port: it is a whole number, not a text",
			`{"host": "a", "from": "a@b.c", "to": "d@e.f", "password": "hunter2"}`:                                       "user: it is missing",
			`{"host": "a", "from": "a@b.c", "to": "d@e.f", "user": "x"}`:                                                 "password: it is missing",
			`{"host": "a", "from": "a@b.c", "to": "d@e.f", "user": "x", "password": "y", "auth": "md5"}`:                 "auth: there is no way",
			`{"host": "a", "from": "a@b.c", "to": "d@e.f", "user": "x", "password": "y", "auth": "plain", "tls":"none"}`: "for all to read",
			`{"host": "a", "from": "a@b.c", "to": "d@e.f", "hello": "a b"}`:                                              "hello",
			`{"host": "a", "from": "a@b.c", "to": "d@e.f", "ca": "/etc/ca.pem"}`:                                         "ca: it is the certificate itself",
		},
		Shown: func(t *testing.T, part notifytest.Sent) string {
			m := read(t, part.Body)
			for _, name := range []string{"Bcc", "X-Injected"} {
				if m.header.Get(name) != "" {
					t.Errorf("a name became the header %s", name)
				}
			}
			if strings.Contains(m.html, "<script") || strings.Contains(m.html, "<img") || strings.Contains(m.html, "<b>bold") {
				t.Errorf("a name became HTML: %s", m.html)
			}
			return m.subject + "\n" + m.plain
		},
		Limit: func(t *testing.T, part notifytest.Sent) {
			for line := range bytes.Lines(part.Body) {
				if len(line) > 1000 { // RFC 5321, 4.5.3.1.6
					t.Errorf("a line has %d bytes: %.80q", len(line), line)
				}
			}
		},
	})
}

// A letter is a mail as its reader sees it.
type letter struct {
	header               mail.Header
	subject, plain, html string
}

func read(t *testing.T, raw []byte) letter {
	t.Helper()
	m, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		t.Fatalf("no mail: %v: %.200q", err, raw)
	}
	l := letter{header: m.Header}
	if l.subject, err = new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject")); err != nil {
		t.Errorf("subject: %v", err)
	}
	media, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil || media != "multipart/alternative" {
		t.Fatalf("content type %q: %v", m.Header.Get("Content-Type"), err)
	}
	for parts := multipart.NewReader(m.Body, params["boundary"]); ; {
		part, err := parts.NextRawPart()
		if errors.Is(err, io.EOF) {
			return l
		}
		if err != nil {
			t.Fatal(err)
		}
		var r io.Reader = part
		if part.Header.Get("Content-Transfer-Encoding") == "quoted-printable" {
			r = quotedprintable.NewReader(part)
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		plain := strings.ReplaceAll(string(text), "\r\n", "\n")
		if strings.HasPrefix(part.Header.Get("Content-Type"), "text/plain") {
			l.plain = plain
		} else {
			l.html = plain
		}
	}
}

func open(t *testing.T, f *far, log io.Writer) *channel {
	t.Helper()
	c, err := New().Open(json.RawMessage(f.Settings()), notify.Options{Agent: "sereno/test", Log: slog.New(slog.NewTextHandler(log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	return c.(*channel)
}

func TestALetter(t *testing.T) {
	f := newFar(t, "starttls")
	c := open(t, f, io.Discard)
	opened, closed := notifytest.Message(notify.Opened), notifytest.Message(notify.Closed)
	for _, m := range []notify.Message{opened, opened, closed} {
		if err := c.Send(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	var all []letter
	for _, part := range f.Taken() {
		all = append(all, read(t, part.Body))
	}
	first := all[0]
	for name, want := range map[string]string{
		"From": `"Sereno" <sereno@example.com>`, "To": `"Ops" <ops@example.com>, <boss@example.com>`,
		"Auto-Submitted": "auto-generated", "User-Agent": "sereno/test", "Importance": "high", "Mime-Version": "1.0",
	} {
		if got := first.header.Get(name); got != want {
			t.Errorf("%s: %s; it should be %s", name, got, want)
		}
	}
	if first.subject != opened.Title {
		t.Errorf("the subject is %q", first.subject)
	}
	want := "core-sw1 is down since 12:03:04 CET\n\nlast looks: ......xxx\nno answer from core-sw1\n\n" +
		"Details: https://sereno.example/incidents/42\nAcknowledge: https://sereno.example/links/abc?t=x%26y\n"
	if first.plain != want {
		t.Errorf("the text is\n%s\nand should be\n%s", first.plain, want)
	}
	for _, part := range []string{`<a href="https://sereno.example/links/abc?t=x%26y">Acknowledge</a>`, "<strong>core-sw1 is down since 12:03:04 CET</strong>", `content="light dark"`, "......xxx<br>"} {
		if !strings.Contains(first.html, part) {
			t.Errorf("the page has no %s:\n%s", part, first.html)
		}
	}
	id := func(l letter) string { return l.header.Get("Message-ID") }
	if id(all[0]) != id(all[1]) || id(all[0]) == id(all[2]) || !strings.HasSuffix(id(all[0]), "@example.com>") {
		t.Errorf("ids: %s, %s, %s", id(all[0]), id(all[1]), id(all[2]))
	}
	if root := first.header.Get("References"); root == "" || root == id(first) || root != all[2].header.Get("References") || root != all[2].header.Get("In-Reply-To") {
		t.Errorf("threads: %q and %q", root, all[2].header.Get("References"))
	}
	if all[2].header.Get("Importance") != "" {
		t.Error("good news are important")
	}
}

func TestEveryWayToConnect(t *testing.T) {
	for _, mode := range []string{"starttls", "tls", "none"} {
		t.Run(mode, func(t *testing.T) {
			f := newFar(t, mode)
			c := open(t, f, io.Discard)
			ctx, said := notify.Hear(t.Context())
			if err := c.Send(ctx, notifytest.Message(notify.Opened)); err != nil {
				t.Fatal(err)
			}
			if len(f.Taken()) != 1 || !strings.HasPrefix(said(), "250 ") {
				t.Errorf("%d mails; the server said %q", len(f.Taken()), said())
			}
		})
	}
}

func TestTheBestLoginIsTaken(t *testing.T) {
	for _, c := range []struct {
		offers []string
		auth   string
		want   string
	}{
		{[]string{"LOGIN", "PLAIN", "CRAM-MD5", "SCRAM-SHA-256"}, "", "SCRAM-SHA-256"},
		{[]string{"LOGIN", "PLAIN", "CRAM-MD5"}, "", "CRAM-MD5"},
		{[]string{"LOGIN", "PLAIN"}, "", "PLAIN"},
		{[]string{"LOGIN"}, "", "LOGIN"},
		{[]string{"LOGIN", "PLAIN", "CRAM-MD5"}, "login", "LOGIN"},
		{[]string{"PLAIN", "NTLM", "XOAUTH2"}, "", "PLAIN"},
	} {
		t.Run(strings.Join(c.offers, " ")+" "+c.auth, func(t *testing.T) {
			f := newFar(t, "starttls")
			f.offers, f.settings["auth"] = c.offers, c.auth
			if err := open(t, f, io.Discard).Send(t.Context(), notifytest.Message(notify.Opened)); err != nil {
				t.Fatal(err)
			}
			if f.used != c.want || len(f.Taken()) != 1 {
				t.Errorf("logged in by %s, not %s; %d mails", f.used, c.want, len(f.Taken()))
			}
			f.settings["password"] = "wrong-password"
			err := open(t, f, io.Discard).Send(t.Context(), notifytest.Message(notify.Opened))
			if err == nil || notify.FailureOf(err).Class != notify.Refused || !strings.Contains(err.Error(), "535") {
				t.Errorf("a wrong password: %v", err)
			}
		})
	}
}

// TestAPasswordIsNotShownToTheNetwork: without TLS, and not to this machine
// itself, nothing but what hides the password is used.
func TestAPasswordIsNotShownToTheNetwork(t *testing.T) {
	for _, c := range []struct {
		host   string
		tls    bool
		offers []string
		want   string // "" for none
	}{
		{"mail.test", false, []string{"PLAIN", "LOGIN"}, ""},
		{"mail.test", false, []string{"PLAIN", "LOGIN", "CRAM-MD5"}, "CRAM-MD5"},
		{"mail.test", true, []string{"PLAIN", "LOGIN"}, "PLAIN"},
		{"127.0.0.1", false, []string{"PLAIN", "LOGIN"}, "PLAIN"},
		{"mail.test", true, nil, ""},
	} {
		l := &login{settings: settings{Host: c.host, User: user, Password: password}}
		got, _, err := l.Start(&sender.ServerInfo{Name: c.host, TLS: c.tls, Auth: c.offers})
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%s, TLS %v, %v: %q, %v; it should be %q", c.host, c.tls, c.offers, got, err, c.want)
		}
	}
}

func TestWhatIsRefusedBeforeAnythingIsSent(t *testing.T) {
	for _, c := range []struct {
		name, mode string
		change     map[string]any
		class      notify.Class
		says       string
	}{
		{"a certificate that nobody vouches for", "starttls", map[string]any{"ca": ""}, notify.Passing, "certificate"},
		{"a certificate of another host", "starttls", map[string]any{"host": "localhost"}, notify.Passing, "certificate"},
		{"the same with TLS from the start", "tls", map[string]any{"ca": ""}, notify.Passing, "certificate"},
		{"a server without STARTTLS", "none", map[string]any{"tls": "starttls"}, notify.Passing, "STARTTLS"},
		{"a wrong password", "starttls", map[string]any{"password": "wr0ng-password"}, notify.Refused, "535 5.7.8 Authentication failed; are user and password right?"},
		{"nobody logs in where it is wanted", "starttls", map[string]any{"user": "", "password": ""}, notify.Refused, "502 5.7.0 Please authenticate first"},
		{"a way to log in that the server does not have", "starttls", map[string]any{"auth": "scram-sha-256"}, notify.Refused, "offers no way to log in that can be used: PLAIN"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFar(t, c.mode)
			maps.Copy(f.settings, c.change)
			err := open(t, f, io.Discard).Send(t.Context(), notifytest.Message(notify.Opened))
			if err == nil || notify.FailureOf(err).Class != c.class || !strings.Contains(err.Error(), c.says) || notify.FailureOf(err).Unsure {
				t.Errorf("%+v; it should be %d and speak of %s", err, c.class, c.says)
			}
			if err != nil && (strings.Contains(err.Error(), password) || strings.Contains(err.Error(), "wr0ng")) {
				t.Errorf("the password is shown: %v", err)
			}
			if len(f.Taken()) != 0 {
				t.Error("a mail was sent")
			}
		})
	}
}

// TestOneBadAddressDoesNotLoseTheOthers tells the story of two recipients.
func TestOneBadAddressDoesNotLoseTheOthers(t *testing.T) {
	unknown := &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "no such user"}
	greylisted := &smtp.SMTPError{Code: 450, EnhancedCode: smtp.EnhancedCode{4, 7, 1}, Message: "greylisted"}
	type try struct {
		refuse map[string]*smtp.SMTPError
		want   string // what comes of it
		to     []string
	}
	both := []string{"ops@example.com", "boss@example.com"}
	for _, c := range []struct {
		name  string
		tries []try
	}{
		{"one is unknown: the other gets it, and it is said", []try{
			{map[string]*smtp.SMTPError{"boss@example.com": unknown}, "taken: not for all: boss@example.com: 550 5.1.1 no such user; for the others 250", both[:1]},
		}},
		{"all are unknown: refused, all of them named", []try{
			{map[string]*smtp.SMTPError{"boss@example.com": unknown, "ops@example.com": unknown}, "refused: ops@example.com: 550 5.1.1 no such user; boss@example.com: 550 5.1.1 no such user", nil},
		}},
		{"one is put off: another try is for that one alone", []try{
			{map[string]*smtp.SMTPError{"ops@example.com": greylisted}, "passing: ops@example.com: 450 4.7.1 greylisted", both[1:]},
			{map[string]*smtp.SMTPError{"ops@example.com": greylisted}, "passing: ops@example.com: 450 4.7.1 greylisted", nil},
			{nil, "taken: 250", both[:1]},
			{nil, "taken: 250", both}, // the same again is a new message
		}},
		{"put off and then refused: taken, because the other has it", []try{
			{map[string]*smtp.SMTPError{"ops@example.com": greylisted}, "passing: ops@example.com: 450 4.7.1 greylisted", both[1:]},
			{map[string]*smtp.SMTPError{"ops@example.com": unknown}, "taken: not for all: ops@example.com: 550 5.1.1 no such user", nil},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFar(t, "starttls")
			var log bytes.Buffer
			channel := open(t, f, &log)
			for i, try := range c.tries {
				f.mu.Lock()
				f.refuse, f.to = try.refuse, nil
				f.mu.Unlock()
				ctx, said := notify.Hear(t.Context())
				var got string
				if err := channel.Send(ctx, notifytest.Message(notify.Opened)); err != nil {
					got = []string{"passing: ", "refused: "}[notify.FailureOf(err).Class] + err.Error()
				} else {
					got = "taken: " + said()
				}
				if !strings.HasPrefix(got, try.want) {
					t.Errorf("try %d: %s\ninstead of %s", i+1, got, try.want)
				}
				if to := slices.Concat(f.to...); !slices.Equal(to, try.to) {
					t.Errorf("try %d: sent to %v instead of %v", i+1, to, try.to)
				}
				if warned := strings.Contains(log.String(), "5.1.1 no such user"); warned != strings.Contains(try.want, "not for all") {
					t.Errorf("try %d: the log says %q", i+1, log.String())
				}
			}
		})
	}
}

func TestALoginThatIsRepeatedIsNotShown(t *testing.T) {
	f := newFar(t, "starttls")
	f.Behave(notifytest.Refuses)
	sent := base64.StdEncoding.EncodeToString([]byte("\x00" + user + "\x00" + password))
	f.echo = sent
	err := open(t, f, io.Discard).Send(t.Context(), notifytest.Message(notify.Opened))
	if err == nil || strings.Contains(err.Error(), sent) || !strings.Contains(err.Error(), "554 5.6.0 no [secret] [secret] ") {
		t.Errorf("%v", err)
	}
}

func TestASubjectIsNotDecodedTwice(t *testing.T) {
	f := newFar(t, "starttls")
	m := notifytest.Message(notify.Opened)
	m.Title = "=?utf-8?q?=E2=80=AEevil=0D=0ABcc:_x?= is down"
	if err := open(t, f, io.Discard).Send(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	if got := read(t, f.Taken()[0].Body).subject; strings.ContainsAny(got, "\u202e\r\n") || !strings.Contains(got, "E2=80=AE") {
		t.Errorf("the subject is %q", got)
	}
}

// with is a channel of other settings for the same far end.
func with(t *testing.T, k *Kind, f *far, more map[string]any) notify.Channel {
	t.Helper()
	settings := map[string]any{}
	if err := json.Unmarshal([]byte(f.Settings()), &settings); err != nil {
		t.Fatal(err)
	}
	maps.Copy(settings, more)
	text, err := json.Marshal(settings)
	if err != nil {
		t.Fatal(err)
	}
	c, err := k.Open(text, notify.Options{Agent: "sereno/test"})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestNamesOfPeople: whatever Open takes, Send can write.
func TestNamesOfPeople(t *testing.T) {
	f := newFar(t, "starttls")
	for text, want := range map[string]string{
		`"Ops \"Night\" Team" <ops@example.com>`:                      `Ops "Night" Team`,
		`"back\\slash" <ops@example.com>`:                             `back\slash`,
		`Zoë <ops@example.com>`:                                       `Zoë`,
		`"a, b" <ops@example.com>`:                                    `a, b`,
		`"` + strings.Repeat("long ", 400) + `end" <ops@example.com>`: strings.Repeat("long ", 400) + `end`,
		`"` + strings.Repeat("ä", 400) + `" <ops@example.com>`:        strings.Repeat("ä", 400),
	} {
		c := with(t, New(), f, map[string]any{"from": text, "to": text})
		before := len(f.Taken())
		if err := c.Send(t.Context(), notifytest.Message(notify.Opened)); err != nil {
			t.Errorf("%.100s: %v", text, err)
			continue
		}
		got := f.Taken()[before]
		for _, header := range []string{"From", "To"} {
			list, err := mail.ParseAddressList(read(t, got.Body).header.Get(header))
			if err != nil || len(list) != 1 || list[0].Name != want || list[0].Address != "ops@example.com" {
				t.Errorf("%.100s: %s: %v, %v", text, header, list, err)
			}
		}
		short(t, got.Body)
	}
}

// short fails the test for lines that servers do not take (RFC 5321).
func short(t *testing.T, letter []byte) {
	t.Helper()
	for line := range bytes.Lines(letter) {
		if len(line) > 1000 {
			t.Errorf("a line has %d bytes: %.100q", len(line), line)
		}
	}
}

func TestAHundredRecipients(t *testing.T) {
	f := newFar(t, "starttls")
	var to []string
	for i := range maxTo {
		to = append(to, fmt.Sprintf("Somebody with a name of some length <somebody-%03d@a-rather-long-domain.example.com>", i))
	}
	m := notifytest.Message(notify.Opened)
	m.Title = strings.Repeat("x", 3000)
	m.Text = m.Title + "\n" + strings.Repeat("y", 3000) + "\n"
	if err := with(t, New(), f, map[string]any{"to": to}).Send(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	short(t, f.Taken()[0].Body)
	if n := len(slices.Concat(f.to...)); n != maxTo {
		t.Errorf("%d recipients", n)
	}
}

// TestWhoIsTakenOffTheListIsNotWaitedFor: whoever has the mail does not get it
// once more because the one who was put off is no longer meant.
func TestWhoIsTakenOffTheListIsNotWaitedFor(t *testing.T) {
	f := newFar(t, "starttls")
	k := New()
	f.refuse = map[string]*smtp.SMTPError{"boss@example.com": {Code: 450, Message: "greylisted"}}
	m := notifytest.Message(notify.Opened)
	if err := with(t, k, f, nil).Send(t.Context(), m); err == nil {
		t.Error("taken for all")
	}
	if err := with(t, k, f, map[string]any{"to": "ops@example.com"}).Send(t.Context(), m); err != nil {
		t.Error(err)
	}
	if got := slices.Concat(f.to...); !slices.Equal(got, []string{"ops@example.com"}) {
		t.Errorf("sent to %v", got)
	}
}
