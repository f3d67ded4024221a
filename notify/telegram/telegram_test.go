package telegram

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"html"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf16"

	"sereno"
	"sereno/notify"
	"sereno/notify/notifytest"
)

const token = "123456:AAE-secret_t0ken_of_a_bot"

func settingsFor(base string) string {
	return fmt.Sprintf(`{"token": %q, "chat": -1001234, "base_url": %q, "silent": ["low"]}`, token, base)
}

func TestKind(t *testing.T) {
	var id atomic.Int64
	far := notifytest.HTTP{
		Settings: settingsFor,
		Good: func(w http.ResponseWriter, r *http.Request, _ []byte) {
			fmt.Fprintf(w, `{"ok":true,"result":{"message_id":%d,"date":1,"chat":{"id":-1001234,"type":"supergroup"}}}`, id.Add(1))
		},
		Busy: func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(429)
			fmt.Fprint(w, `{"ok":false,"error_code":429,"description":"Too Many Requests: retry after 30","parameters":{"retry_after":30}}`)
		},
	}
	notifytest.Run(t, New(), notifytest.Fixture{
		Far: far.Far, Secrets: []string{token, "AAE-secret_t0ken_of_a_bot"}, Shaped: true,
		Bad: map[string]string{
			`{}`:                                                           "token: it is missing",
			`{"token": "hunter2", "chat": "1"}`:                            "@BotFather",
			`{"token": "1:a/../b", "chat": "1"}`:                           "token: it is no token",
			`{"token": "1:a"}`:                                             "chat: it is missing",
			`{"token": "1:a", "chat": "ops"}`:                              "such as @name",
			`{"token": "1:a", "chat": 1.5}`:                                "such as @name",
			`{"token": "1:a", "chat": true}`:                               "chat: it is the number of a chat",
			`{"token": "1:a", "chat": 1, "thread": 1}`:                     "there is no setting \"thread\"",
			`{"token": "1:a", "chat": 1, "message_thread_id": -1}`:         "message_thread_id",
			`{"token": "1:a", "chat": 1, "base_url": "gopher://x"}`:        "base_url: it begins with https://",
			`{"token": "1:a", "chat": 1, "silent": ["lw"]}`:                `silent: "lw" is no severity`,
			`{"token": "1:a", "chat": 1, "answers": "yes"}`:                "answers: it is true or false",
			`{"token": "1:a", "chat": 1, "base_url": "https://a/?b=c"}`:    "question mark",
			`{"token": "1:a", "chat": "-100 1234"}`:                        "such as @name",
			`{"token": 7, "chat": "-1001234"}`:                             "token: it is a text (in quotes), not a number",
			`{"token": "1:a", "chat": 1, "base_ur": "https://a/"}`:         `did you mean "base_url"?`,
			`{"token": "1:a", "chat": 1, "base_url": "h", "ca": "/a.pem"}`: "ca: it is the certificate itself",
		},
		Shown: func(t *testing.T, part notifytest.Sent) string { return shown(t, decode(t, part).Text) },
		Limit: func(t *testing.T, part notifytest.Sent) {
			call := decode(t, part)
			if n := len(utf16.Encode([]rune(html.UnescapeString(tags.ReplaceAllString(call.Text, ""))))); n == 0 || n > 4096 {
				t.Errorf("a message has %d UTF-16 code units", n)
			}
			if call.Keyboard != nil {
				for _, b := range call.Keyboard.Rows[0] {
					if len(b.Data) == 0 || len(b.Data) > 64 {
						t.Errorf("callback_data %q has %d bytes", b.Data, len(b.Data))
					}
				}
			}
		},
	})
}

func decode(t *testing.T, part notifytest.Sent) sendMessage {
	t.Helper()
	var call sendMessage
	if err := json.Unmarshal(part.Body, &call); err != nil {
		t.Errorf("no JSON: %v: %q", err, part.Body)
	}
	if part.Path != "/bot"+token+"/sendMessage" {
		t.Errorf("sent to %s", part.Path)
	}
	return call
}

var (
	tags     = regexp.MustCompile(`</?b>`)
	entities = regexp.MustCompile(`&(amp|lt|gt);`)
)

// shown reads Telegram's HTML as Telegram does, and fails for anything that is
// not our one <b> and the three entities.
func shown(t *testing.T, text string) string {
	t.Helper()
	if n := strings.Count(text, "<b>"); n > 1 || n != strings.Count(text, "</b>") {
		t.Errorf("tags: %q", text)
	}
	bare := tags.ReplaceAllString(text, "")
	if strings.ContainsAny(bare, "<>") || strings.Contains(entities.ReplaceAllString(bare, ""), "&") {
		t.Errorf("this is more markup than ours: %q", text)
	}
	if regexp.MustCompile(`(^|\s)@[A-Za-z0-9_]`).MatchString(bare) {
		t.Errorf("somebody is mentioned: %q", bare)
	}
	return strings.ReplaceAll(html.UnescapeString(bare), wordJoiner, "")
}

// A script is a conversation that was written down.
type script struct {
	t     *testing.T
	mu    sync.Mutex
	lines []line
	at    int
	ended chan struct{} // closed when all was said
}

type line struct {
	n    int
	sign byte
	text string
}

func read(t *testing.T, file string) *script {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	s := &script{t: t, ended: make(chan struct{})}
	n := 0
	for row := range strings.Lines(string(text)) {
		n++
		if row = strings.TrimRight(row, "\n"); row == "" || row[0] == '#' {
			continue
		}
		s.lines = append(s.lines, line{n, row[0], row[2:]})
	}
	return s
}

// next takes the next line of the script, which must begin with that sign.
func (s *script) next(sign byte) (line, bool) {
	if s.at == len(s.lines) || s.lines[s.at].sign != sign {
		return line{}, false
	}
	s.at++
	if s.at == len(s.lines) {
		close(s.ended)
	}
	return s.lines[s.at-1], true
}

func (s *script) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	method, ok := strings.CutPrefix(r.URL.Path, "/bot"+token+"/")
	if !ok {
		s.t.Errorf("a request to %s", r.URL.Path)
	}
	got := method + " " + string(body)
	s.mu.Lock()
	want, ok := s.next('>')
	answer, answered := s.next('<')
	s.mu.Unlock()
	if !ok || got != want.text {
		s.t.Errorf("line %d: sent\n  %s\ninstead of\n  %s", want.n, got, want.text)
	}
	if !answered { // as long polling does
		<-r.Context().Done()
		return
	}
	var status int
	fmt.Sscan(answer.text[:3], &status)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	io.WriteString(w, answer.text[4:])
}

func (s *script) channel(k *Kind, log io.Writer, more string) *channel {
	s.t.Helper()
	server := httptest.NewServer(s)
	s.t.Cleanup(server.Close)
	c, err := k.Open(json.RawMessage(strings.Replace(settingsFor(server.URL), "{", "{"+more, 1)), notify.Options{
		Agent: "sereno/test", Log: slog.New(slog.NewTextHandler(log, nil)),
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return c.(*channel)
}

// TestConversation: every request is as it was written down, and every answer
// means what it was written down to mean.
func TestConversation(t *testing.T) {
	s := read(t, "testdata/messages.txt")
	var log bytes.Buffer
	c := s.channel(New(), &log, "")
	messages := map[string]notify.Message{
		"opened": {
			Key: "1", Thread: "42", Event: notify.Opened, Severity: sereno.SeverityCritical, Buttons: true,
			Title: "core-sw1 <b> is down since 12:03:04 CET", Text: "core-sw1 <b> is down since 12:03:04 CET\nasked by @anna & co\nAcknowledge: https://sereno.example/a/x\n",
			Incident: &notify.Incident{ID: 42}, Acknowledge: "https://sereno.example/a/x",
		},
		"digest": {
			Key: "1234-1ucwbn2o0zk", Event: notify.Digest, Severity: sereno.SeverityCritical, Buttons: true, Count: 37,
			Title: "37 devices are down", Text: "37 devices are down\nAcknowledge: https://sereno.example/a/x\n",
			Incident: &notify.Incident{ID: 42}, Acknowledge: "https://sereno.example/a/x",
		},
		"digest of a long key": {
			Key: strings.Repeat("1", 60), Event: notify.Digest, Severity: sereno.SeverityCritical, Buttons: true, Count: 37,
			Title: "37 devices are down", Text: "37 devices are down\n",
			Incident: &notify.Incident{ID: 42}, Acknowledge: "https://sereno.example/a/x",
		},
		"closed": {Key: "2", Thread: "42", Event: notify.Closed, Severity: sereno.SeverityCritical, Title: "core-sw1 <b> is back", Text: "core-sw1 <b> is back\n"},
		"test":   {Key: "3", Event: notify.Test, Severity: sereno.SeverityLow, Title: "a test", Text: "a test\n"},
	}
	for {
		order, ok := s.next('=')
		if !ok {
			break
		}
		event, want, _ := strings.Cut(strings.TrimPrefix(order.text, "send "), ": ")
		got := "taken"
		if err := c.Send(t.Context(), messages[event]); err != nil {
			f := notify.FailureOf(err)
			got = []string{"passing", "refused"}[f.Class]
			if f.After > 0 {
				got += ", after " + f.After.String()
			}
			got += ": " + f.Text
		}
		if got != want {
			t.Errorf("line %d: %s\ninstead of %s", order.n, got, want)
		}
	}
	if s.at != len(s.lines) {
		t.Errorf("line %d was never said", s.lines[s.at].n)
	}
	if !strings.Contains(log.String(), "chat=-1001234 now=-1009999") || strings.Contains(log.String(), token) {
		t.Errorf("the log: %s", log.String())
	}
}

// safe is a buffer for logs of goroutines.
type safe struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safe) Write(p []byte) (int, error) { s.mu.Lock(); defer s.mu.Unlock(); return s.b.Write(p) }

func (s *safe) String() string { s.mu.Lock(); defer s.mu.Unlock(); return s.b.String() }

func TestButtons(t *testing.T) {
	s := read(t, "testdata/buttons.txt")
	var log safe
	c := s.channel(New(), &log, "")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		done <- c.Listen(ctx, func(_ context.Context, a notify.Answer) (string, bool) {
			s.mu.Lock()
			defer s.mu.Unlock()
			about := a.Key
			if about == "" {
				about = fmt.Sprint(a.Incident)
			}
			got := fmt.Sprintf("hears %s %s %s %s", a.Action, about, a.For, a.Who)
			if want, ok := s.next('='); !ok || got != want.text {
				t.Errorf("line %d: %s\ninstead of %s", want.n, got, want.text)
			}
			return fmt.Sprintf("%s:\n%s", about, a.Action), a.Incident != 99
		})
	}()
	select {
	case <-s.ended:
	case <-time.After(30 * time.Second):
		t.Error("the conversation did not come to its end")
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	for _, part := range []string{"somebody else asks for what is pressed", "is not heard until this passes", "is heard again"} {
		if strings.Count(log.String(), part) != 1 {
			t.Errorf("%q is not said once:\n%s", part, log.String())
		}
	}
	if strings.Contains(log.String(), token) {
		t.Errorf("the log shows the token:\n%s", log.String())
	}
}

// TestOneAsksForAll: three channels of one bot, two of them in one chat; whoever
// asks, each hears what is its own, and another goes on when that one ends.
func TestOneAsksForAll(t *testing.T) {
	var asking, most atomic.Int64
	updates := make(chan string)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if !strings.HasSuffix(r.URL.Path, "/getUpdates") {
			fmt.Fprint(w, `{"ok":true,"result":true}`)
			return
		}
		if n := asking.Add(1); n > most.Load() {
			most.Store(n)
		}
		defer asking.Add(-1)
		select {
		case u := <-updates:
			fmt.Fprintf(w, `{"ok":true,"result":[%s]}`, u)
		case <-r.Context().Done():
			_ = body
		}
	}))
	defer server.Close()
	k := New()
	heard := make(chan string)
	listen := func(name, more string) (stop func()) {
		raw := strings.Replace(settingsFor(server.URL), "-1001234", more, 1)
		c, err := k.Open(json.RawMessage(raw), notify.Options{})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() {
			done <- c.(notify.Listener).Listen(ctx, func(ctx context.Context, a notify.Answer) (string, bool) {
				heard <- fmt.Sprint(name, " ", a.Action, " ", a.Incident)
				return "", true
			})
		}()
		return func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	}
	press := func(n int, chat, want string) {
		t.Helper()
		select {
		case updates <- fmt.Sprintf(`{"update_id":%d,"callback_query":{"id":"x%d","from":{"first_name":"A"},"message":{"message_id":1,%s},"data":"acknowledge:%d"}}`, n, n, chat, n):
		case <-time.After(30 * time.Second):
			t.Fatal("nobody asks")
		}
		select {
		case got := <-heard:
			if got != want {
				t.Errorf("%s instead of %s", got, want)
			}
		case <-time.After(30 * time.Second):
			t.Fatalf("%s was not heard", want)
		}
	}
	stopFirst := listen("first", `-1`)
	stopSecond := listen("second", `-2, "message_thread_id": 5`)
	stopThird := listen("third", `"@ops_channel"`)
	for len(k.pollerOf(server.URL+" "+token).snapshot()) < 3 {
		time.Sleep(time.Millisecond)
	}
	press(1, `"chat":{"id":-1}`, "first acknowledge 1")
	press(2, `"message_thread_id":5,"chat":{"id":-2}`, "second acknowledge 2")
	press(3, `"chat":{"id":-3,"username":"Ops_Channel"}`, "third acknowledge 3")
	stopFirst()
	press(4, `"message_thread_id":5,"chat":{"id":-2}`, "second acknowledge 4")
	stopSecond()
	press(5, `"chat":{"id":-3,"username":"ops_channel"}`, "third acknowledge 5")
	stopThird()
	if most.Load() != 1 {
		t.Errorf("%d asked at once", most.Load())
	}
}

func (p *poller) snapshot() []*channel {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []*channel
	for c := range p.listeners {
		all = append(all, c)
	}
	return all
}

// TestALongMessageGoesOnWhereItStopped: pieces that were taken are not repeated.
func TestALongMessageGoesOnWhereItStopped(t *testing.T) {
	var mu sync.Mutex
	var taken []sendMessage
	fail := true
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if len(taken) == 2 && fail {
			fail = false
			w.WriteHeader(500)
			fmt.Fprint(w, `{"ok":false,"error_code":500,"description":"Internal Server Error"}`)
			return
		}
		var call sendMessage
		if err := json.NewDecoder(r.Body).Decode(&call); err != nil {
			t.Error(err)
		}
		taken = append(taken, call)
		fmt.Fprintf(w, `{"ok":true,"result":{"message_id":%d}}`, len(taken))
	}))
	defer server.Close()
	k := New()
	c, err := k.Open(json.RawMessage(settingsFor(server.URL)), notify.Options{})
	if err != nil {
		t.Fatal(err)
	}
	m := notifytest.Message(notify.Digest)
	m.Text = m.Title + "\n"
	for i := range 900 {
		m.Text += fmt.Sprintf("host-%04d is down <&>\n", i)
	}
	if err := c.Send(t.Context(), m); err == nil || notify.FailureOf(err).Class != notify.Passing {
		t.Fatalf("the failure of a piece brings %v", err)
	}
	// The settings are read again meanwhile.
	if c, err = k.Open(json.RawMessage(settingsFor(server.URL)), notify.Options{}); err != nil {
		t.Fatal(err)
	}
	if err := c.Send(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	if len(taken) != maxPieces {
		t.Fatalf("%d messages, not %d", len(taken), maxPieces)
	}
	var lines []string
	for i, call := range taken {
		lines = append(lines, slices.Collect(strings.SplitSeq(shown(t, call.Text), "\n"))...)
		if buttons := call.Keyboard != nil; buttons != (i == maxPieces-1) {
			t.Errorf("piece %d has buttons: %v", i, buttons)
		}
		if call.Silent != (i > 0) {
			t.Errorf("piece %d is silent: %v", i, call.Silent)
		}
	}
	if at := slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, "… the rest") }); at != len(lines)-1 {
		t.Errorf("the rest was left out, and it says so in line %d of %d", at, len(lines))
	}
	for i, l := range lines[1 : len(lines)-1] {
		if l != fmt.Sprintf("host-%04d is down <&>", i) {
			t.Fatalf("line %d is %q", i, l)
		}
	}
	if err := c.Send(t.Context(), m); err != nil || len(taken) != 2*maxPieces {
		t.Errorf("%v; once it was sent, the same key is a new message: %d", err, len(taken))
	}
}

// listen hears what is pressed until the test ends; heard gets the incidents.
func listen(t *testing.T, c notify.Channel, heard chan<- sereno.IncidentID) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		done <- c.(notify.Listener).Listen(ctx, func(_ context.Context, a notify.Answer) (string, bool) {
			heard <- a.Incident
			return "", true
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func press(update, incident int) string {
	return fmt.Sprintf(`{"update_id":%d,"callback_query":{"id":"cb%d","from":{"first_name":"A"},"message":{"message_id":1,"chat":{"id":-1001234}},"data":"acknowledge:%d"}}`, update, incident, incident)
}

// TestNobodyIsAskedWithoutPause: whatever a far end answers at once, again and
// again, it is not asked without pause, and nothing is done twice.
func TestNobodyIsAskedWithoutPause(t *testing.T) {
	for name, answer := range map[string]string{
		"nothing":                `{"ok":true,"result":[]}`,
		"an update of nothing":   `{"ok":true,"result":[{}]}`,
		"no list":                `{"ok":true,"result":{"update_id":1}}`,
		"the same update":        `{"ok":true,"result":[{"update_id":5,"message":{"text":"hi"}}]}`,
		"the same press":         `{"ok":true,"result":[` + press(5, 42) + `]}`,
		"the largest number":     `{"ok":true,"result":[{"update_id":9223372036854775807}]}`,
		"a number without end":   `{"ok":true,"result":[{"update_id":1e99}]}`,
		"a page of another host": `<html>`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var asked atomic.Int64
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if strings.HasSuffix(r.URL.Path, "/getUpdates") {
					asked.Add(1)
				}
				io.WriteString(w, answer)
			}))
			t.Cleanup(server.Close)
			c, err := New().Open(json.RawMessage(settingsFor(server.URL)), notify.Options{})
			if err != nil {
				t.Fatal(err)
			}
			heard := make(chan sereno.IncidentID, 1000)
			listen(t, c, heard)
			time.Sleep(700 * time.Millisecond)
			if n := asked.Load(); n == 0 || n > 5 {
				t.Errorf("it was asked %d times", n)
			}
			if n := len(heard); n > 1 {
				t.Errorf("what was pressed once was done %d times", n)
			}
		})
	}
}

// TestNumbersBeginAnew: after a quiet week Telegram chooses the number of the next
// update anew, and it may be smaller than what is waited for.
func TestNumbersBeginAnew(t *testing.T) {
	offsets := make(chan int64, 100)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, "/getUpdates") {
			io.WriteString(w, `{"ok":true,"result":true}`)
			return
		}
		var call struct{ Offset int64 }
		if err := json.NewDecoder(r.Body).Decode(&call); err != nil {
			t.Error(err)
		}
		offsets <- call.Offset
		switch {
		case call.Offset == 0:
			fmt.Fprintf(w, `{"ok":true,"result":[%s]}`, press(900_000_000, 1))
		case call.Offset <= 5 || call.Offset > 6 && len(offsets) < 20: // one that lies in the future is none
			fmt.Fprintf(w, `{"ok":true,"result":[%s]}`, press(5, 2))
		default:
			<-r.Context().Done()
		}
	}))
	t.Cleanup(server.Close)
	c, err := New().Open(json.RawMessage(settingsFor(server.URL)), notify.Options{})
	if err != nil {
		t.Fatal(err)
	}
	heard := make(chan sereno.IncidentID, 1000)
	listen(t, c, heard)
	for _, want := range []int64{0, 900_000_001, 6} {
		select {
		case got := <-offsets:
			if got != want {
				t.Fatalf("asked for what comes from %d on, not from %d", got, want)
			}
		case <-time.After(30 * time.Second):
			t.Fatalf("nobody asks for what comes from %d on", want)
		}
	}
	if a, b := <-heard, <-heard; a != 1 || b != 2 || len(heard) != 0 {
		t.Errorf("heard %d, %d and %d more", a, b, len(heard))
	}
}

// TestAnEndInTheMiddleOfAPress: what was pressed and not answered when listening
// ended is heard by whoever listens next, also in another process.
func TestAnEndInTheMiddleOfAPress(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var call struct{ Offset int64 }
		if err := json.NewDecoder(r.Body).Decode(&call); err != nil {
			t.Error(err)
		}
		switch {
		case !strings.HasSuffix(r.URL.Path, "/getUpdates"):
			io.WriteString(w, `{"ok":true,"result":true}`)
		case call.Offset <= 5:
			fmt.Fprintf(w, `{"ok":true,"result":[%s]}`, press(5, 42))
		default:
			<-r.Context().Done()
		}
	}))
	t.Cleanup(server.Close)
	for name, restart := range map[string]bool{"settings are read again": false, "another process": true} {
		first := New()
		next := first
		if restart {
			next = New()
		}
		c, err := first.Open(json.RawMessage(settingsFor(server.URL)), notify.Options{})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		err = c.(notify.Listener).Listen(ctx, func(ctx context.Context, _ notify.Answer) (string, bool) {
			cancel()
			<-ctx.Done()
			return "", false
		})
		if err != nil {
			t.Error(err)
		}
		if c, err = next.Open(json.RawMessage(settingsFor(server.URL)), notify.Options{}); err != nil {
			t.Fatal(err)
		}
		t.Run(name, func(t *testing.T) {
			heard := make(chan sereno.IncidentID, 1000)
			listen(t, c, heard)
			select {
			case id := <-heard:
				if id != 42 {
					t.Errorf("heard %d", id)
				}
			case <-time.After(30 * time.Second):
				t.Error("what was pressed is lost")
			}
		})
	}
}

// TestNewSettingsAreUsedToAnswer: whoever mends the certificate of a server of
// their own is answered.
func TestNewSettingsAreUsedToAnswer(t *testing.T) {
	answered := make(chan bool, 1)
	var once atomic.Bool
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/answerCallbackQuery"):
			answered <- true
			fallthrough
		case !strings.HasSuffix(r.URL.Path, "/getUpdates"):
			io.WriteString(w, `{"ok":true,"result":true}`)
		case once.CompareAndSwap(false, true):
			fmt.Fprintf(w, `{"ok":true,"result":[%s]}`, press(5, 2))
		default:
			<-r.Context().Done()
		}
	}))
	t.Cleanup(server.Close)
	k := New()
	var c notify.Channel
	for _, ca := range []string{"", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))} {
		settings, err := json.Marshal(map[string]any{"token": token, "chat": -1001234, "base_url": server.URL, "ca": ca})
		if err != nil {
			t.Fatal(err)
		}
		if c, err = k.Open(settings, notify.Options{}); err != nil {
			t.Fatal(err)
		}
	}
	listen(t, c, make(chan sereno.IncidentID, 10))
	select {
	case <-answered:
	case <-time.After(30 * time.Second):
		t.Error("whoever pressed was not answered")
	}
}

func TestAnswersCanBeSwitchedOff(t *testing.T) {
	far := notifytest.HTTP{Settings: func(base string) string {
		return strings.Replace(settingsFor(base), "{", `{"answers": false, `, 1)
	}, Good: func(w http.ResponseWriter, _ *http.Request, _ []byte) { fmt.Fprint(w, `{"ok":true,"result":{}}`) }}.Far(t)
	c, err := New().Open(json.RawMessage(far.Settings()), notify.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := c.(notify.Listener).Listen(ctx, nil); err != nil {
		t.Error(err)
	}
	if len(far.Taken()) != 0 {
		t.Error("it asks although nobody wants to hear")
	}
	if err := c.Send(t.Context(), notifytest.Message(notify.Opened)); err != nil {
		t.Fatal(err)
	}
	call := decode(t, far.Taken()[0])
	if call.Keyboard != nil {
		t.Error("buttons are drawn that nobody hears")
	}
	if !strings.Contains(call.Text, "Acknowledge: https://sereno.example/links/abc?t=x%26y") {
		t.Errorf("there is neither a button nor a link: %s", call.Text)
	}
}
