package app

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sereno"
	"sereno/alert"
	"sereno/api"
	"sereno/maintenance"
	"sereno/notify"
	"sereno/store"
)

// A line is a kind of channel that says nothing to anybody.
type line struct{ name string }

type openLine struct{ token string }

func (*openLine) Send(context.Context, notify.Message) error { return nil }

func (l line) Name() string    { return l.name }
func (line) Secrets() []string { return []string{"token", "headers"} }

func (l line) Open(settings json.RawMessage, o notify.Options) (notify.Channel, error) {
	var s struct {
		Token   string            `json:"token"`
		BaseURL string            `json:"base_url"`
		Chat    string            `json:"chat"`
		Headers map[string]string `json:"headers"`
	}
	if err := notify.Decode(settings, &s); err != nil {
		return nil, err
	}
	if s.Token == "" {
		return nil, notify.Wrong("token", "it is missing")
	}
	if l.name == "program" && !o.Commands {
		return nil, sereno.Errorf(sereno.Forbidden, "programs are run by channels of the configuration file only")
	}
	return &openLine{s.Token}, nil
}

// A far end takes what it is sent, unless the channel is called mend.
type far struct{ asked []string }

func (f *far) Test(_ context.Context, channel, who, via string) (string, error) {
	f.asked = append(f.asked, who+" "+via)
	switch channel {
	case "ops":
		return "200 OK: thanks, " + who + " by " + via, nil
	case "mend":
		return "", &notify.Failure{Class: notify.Refused, Text: "401 Unauthorized: no such bot"}
	}
	return "", sereno.Errorf(sereno.NotFound, "there is no channel called %q", channel)
}

func (f *far) Health(context.Context) ([]alert.ChannelHealth, error) {
	return []alert.ChannelHealth{
		{Channel: "ops", Delivered: 1_000_000},
		{Channel: "mend", Waiting: 3, Refusing: true, Failing: 2_000_000, Answer: "401 Unauthorized"},
	}, nil
}

// A shelf is a rulebook over a real store, behind the API.
type shelf struct {
	*rulebook
	http.Handler
	t      *testing.T
	facts  *store.Store
	folder string
	now    sereno.Instant
	told   int // how many plans were made known
}

func newShelf(t *testing.T, file alert.Book) *shelf {
	t.Helper()
	folder := t.TempDir()
	facts, err := store.Open(t.Context(), "sqlite:"+filepath.Join(folder, "sereno.db"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { facts.Close() })
	s := &shelf{t: t, facts: facts, folder: folder, now: sereno.At(time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC))}
	s.start(file)
	return s
}

// start begins anew with what the store holds.
func (s *shelf) start(file alert.Book) {
	s.t.Helper()
	key, err := OpenKey(s.folder)
	if err != nil {
		s.t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(s.t.Output(), nil))
	s.rulebook = newRulebook(rulebookParts{
		store: s.facts, key: key, kinds: []notify.Kind{line{"line"}, line{"program"}}, now: func() sereno.Instant { return s.now }, log: log,
		set: []func(context.Context, *alert.Plan) error{func(context.Context, *alert.Plan) error { s.told++; return nil }},
	})
	if _, err := s.Load(s.t.Context(), file); err != nil {
		s.t.Fatal(err)
	}
	s.Handler = api.New(api.Options{Facts: s.facts, Rulebook: s.rulebook, Senders: &far{}, Channels: s.kinds, Now: func() sereno.Instant { return s.now }, Log: log})
}

// do sends a request, requires the code of the answer, and returns its text.
func (s *shelf) do(code int, method, path, body string) string {
	s.t.Helper()
	r := httptest.NewRequest(method, "http://127.0.0.1"+path, strings.NewReader(body))
	r.RemoteAddr = "192.0.2.7:40000"
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	text := w.Body.String()
	if w.Code != code {
		s.t.Fatalf("%s %s %s: %d, want %d: %s", method, path, body, w.Code, code, text)
	}
	if strings.Contains(text, "s3cret") {
		s.t.Fatalf("%s %s gives away a secret: %s", method, path, text)
	}
	return text
}

// says requires that an answer contains words.
func (s *shelf) says(text string, words ...string) {
	s.t.Helper()
	for _, w := range words {
		if !strings.Contains(text, w) {
			s.t.Errorf("%s\ndoes not say %s", text, w)
		}
	}
}

func (s *shelf) token(channel string) string {
	s.t.Helper()
	c, ok := s.Plan().Channel(channel).(*openLine)
	if !ok {
		s.t.Fatalf("there is no channel %s", channel)
	}
	return c.token
}

// ofFile is what a file says: two channels, a policy, a window and a silence.
func ofFile() alert.Book {
	return alert.Book{
		Channels: []alert.Channel{
			{Name: "ops", Kind: "line", Settings: json.RawMessage(`{"chat":"1","token":"s3cret"}`), FromFile: true},
			{Name: "mend", Kind: "program", Settings: json.RawMessage(`{"chat":"s3cret","token":"s3cret"}`), Hidden: []string{"token", "chat"}, FromFile: true},
		},
		Policies: []alert.Policy{{Name: "core", Match: `importance == "critical"`, Continue: true, FromFile: true, Steps: []alert.Step{{Channels: []string{"ops"}}}}},
		Windows:  []maintenance.Window{{Name: "sunday", RRule: "FREQ=WEEKLY;BYDAY=SU", Start: "2026-11-01T02:00", Zone: "Europe/Berlin", Length: 2 * time.Hour}},
		Silences: []alert.Silence{{Name: "works", Match: "own", From: 1, Until: sereno.At(time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)), FromFile: true}},
	}
}

func TestAChannelLivesItsLife(t *testing.T) {
	s := newShelf(t, alert.Book{})
	s.says(s.do(201, "POST", "/api/channels", `{"name":"anna","kind":"line","settings":{"token":"s3cret-1","chat":"7"},"fallback_after_seconds":60}`),
		`"settings":{"chat":"7"}`, `"secrets":["token"]`, `"fallback_after_seconds":60`, `"from_file":false`, `"aside":""`, `"position":1`)
	if s.token("anna") != "s3cret-1" || s.told != 1 {
		t.Errorf("token %q, told %d times", s.token("anna"), s.told)
	}

	// What GET gives can be sent back: the secret stays.
	text := s.do(200, "GET", "/api/channels/anna", "")
	s.do(200, "PUT", "/api/channels/anna", strings.Replace(text, `"chat":"7"`, `"chat":"8"`, 1))
	if s.token("anna") != "s3cret-1" {
		t.Errorf("token %q", s.token("anna"))
	}
	s.do(200, "PUT", "/api/channels/anna", `{"name":"anna","kind":"line","settings":{"token":"s3cret-2","chat":"8"}}`)
	if s.token("anna") != "s3cret-2" {
		t.Errorf("token %q", s.token("anna"))
	}

	// It does not stay where it would be sent elsewhere.
	s.says(s.do(422, "PUT", "/api/channels/anna", `{"name":"anna","kind":"line","settings":{"base_url":"http://elsewhere.example","chat":"8"}}`),
		"body.settings.base_url", "give token again")
	s.says(s.do(422, "PUT", "/api/channels/anna", `{"name":"anna","kind":"line","settings":{"token":null}}`), `settings.token: it is missing`)
	s.says(s.do(422, "PUT", "/api/channels/anna", `{"name":"anna","kind":"program","settings":{}}`), `settings.token: it is missing`)

	// A restart forgets nothing, and another name takes the secret along.
	s.start(alert.Book{})
	if s.token("anna") != "s3cret-2" {
		t.Errorf("after a start the token is %q", s.token("anna"))
	}
	s.do(200, "PUT", "/api/channels/anna", `{"name":"anna 2/b","kind":"line","settings":{"chat":"8"}}`)
	s.start(alert.Book{})
	if s.token("anna 2/b") != "s3cret-2" {
		t.Errorf("under another name the token is %q", s.token("anna 2/b"))
	}
	s.do(404, "GET", "/api/channels/anna", "")
	s.do(200, "GET", "/api/channels/anna%202%2Fb", "")
	s.do(204, "DELETE", "/api/channels/anna%202%2Fb", "")
	s.do(404, "DELETE", "/api/channels/anna%202%2Fb", "")
	s.says(s.do(200, "GET", "/api/channels", ""), `{"items":[],"next_cursor":null}`)

	audits, _, err := s.facts.Audits(t.Context(), store.AuditQuery{Oldest: true})
	if err != nil {
		t.Fatal(err)
	}
	var trail []string
	for _, a := range audits {
		entry := fmt.Sprintf("%s %s %s %s %s", a.Who, a.Via, a.Action, a.Target, a.Of)
		if strings.Contains(a.Detail, `"secrets_changed":["token"]`) {
			entry += " (token)"
		}
		trail = append(trail, entry)
		if strings.Contains(a.Detail, "s3cret") || !json.Valid([]byte(a.Detail)) {
			t.Errorf("the trail says %s", a.Detail)
		}
	}
	if want := []string{
		"192.0.2.7 api create channel anna", "192.0.2.7 api replace channel anna", "192.0.2.7 api replace channel anna (token)",
		"192.0.2.7 api replace channel anna 2/b", "192.0.2.7 api delete channel anna 2/b",
	}; !slices.Equal(trail, want) {
		t.Errorf("the trail is %q", trail)
	}
}

// No secret is in the file of the database as it is.
func TestSecretsAreSealed(t *testing.T) {
	s := newShelf(t, alert.Book{})
	s.do(201, "POST", "/api/channels", `{"name":"anna","kind":"line","settings":{"token":"s3cret-1","headers":{"X-Key":"s3cret-2"}}}`)
	files, err := filepath.Glob(filepath.Join(s.folder, "sereno.db*"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "s3cret") {
			t.Errorf("%s holds a secret", path)
		}
	}

	// With another key the channel is set aside, and can be mended.
	if err := os.Remove(filepath.Join(s.folder, "key")); err != nil {
		t.Fatal(err)
	}
	s.start(alert.Book{})
	if s.Plan().Channel("anna") != nil {
		t.Error("a channel without its secrets has an effect")
	}
	s.says(s.do(200, "GET", "/api/channels/anna", ""), "its secrets cannot be read", "give them again")
	s.do(200, "PUT", "/api/channels/anna", `{"name":"anna","kind":"line","settings":{"token":"s3cret-3"}}`)
	if s.token("anna") != "s3cret-3" {
		t.Errorf("token %q", s.token("anna"))
	}
}

func TestWhatTheFileManagesIsReadOnly(t *testing.T) {
	s := newShelf(t, ofFile())
	for path, body := range map[string]string{
		"/api/channels/ops":       `{"name":"ops","kind":"line","settings":{"token":"x"}}`,
		"/api/policies/core":      `{"name":"core"}`,
		"/api/maintenance/sunday": `{"name":"sunday","start":"2026-11-01T02:00","length_seconds":60}`,
		"/api/silences/works":     `{"match":"own","for_seconds":60}`,
	} {
		s.says(s.do(200, "GET", path, ""), `"from_file":true`, `"position":1`)
		s.says(s.do(403, "PUT", path, body), "is managed by the configuration file: change it there")
		s.says(s.do(403, "DELETE", path, ""), "is managed by the configuration file: change it there")
		folder, _ := filepath.Split(path)
		if path != "/api/silences/works" { // without a name it gets another
			s.says(s.do(409, "POST", strings.TrimSuffix(folder, "/"), body), "the configuration file has a", "already: choose another name")
		}
	}
	s.says(s.do(200, "GET", "/api/channels", ""), `"secrets":["token"]`, `"settings":{"chat":"1"}`, `"secrets":["token","chat"]`)
	s.says(s.do(200, "GET", "/api/kinds", ""), `"channels":[{"name":"line","secrets":["token","headers"]},{"name":"program"`)
	s.says(s.do(422, "POST", "/api/channels", `{"name":"mine","kind":"program","settings":{"token":"x"}}`), "programs are run by channels of the configuration file only")
}

func TestChannelsAreTestedAndShowHowTheyAre(t *testing.T) {
	s := newShelf(t, ofFile())
	s.do(201, "POST", "/api/channels", `{"name":"new","kind":"line","settings":{"token":"x"}}`)
	s.says(s.do(200, "GET", "/api/channels/ops", ""), `"health":{"status":"ok","waiting":0`, `"delivered_at":"1970-01-01T00:00:01.000000Z"`)
	s.says(s.do(200, "GET", "/api/channels", ""), `"status":"refusing","waiting":3`, `"last_answer":"401 Unauthorized"`)
	if text := s.do(200, "GET", "/api/channels/new", ""); strings.Contains(text, "health") {
		t.Errorf("nothing is known of it: %s", text)
	}
	s.says(s.do(200, "POST", "/api/channels/ops/test", `{}`), `"channel":"ops","taken":true,"answer":"200 OK: thanks, 192.0.2.7 by api"`)
	s.says(s.do(200, "POST", "/api/channels/mend/test", ``), `"taken":false,"answer":"401 Unauthorized: no such bot"`)
	s.says(s.do(404, "POST", "/api/channels/nobody/test", `{}`), "there is no channel called")
}

func TestPoliciesAreExplained(t *testing.T) {
	s := newShelf(t, ofFile())
	if _, err := s.facts.AddDevices(t.Context(), []sereno.Device{{
		Name: "core-sw1", Address: "10.0.0.1", Importance: sereno.Critical, Checks: []sereno.Check{{Name: "icmp", Kind: "icmp", Policy: sereno.DefaultPolicy}},
	}}, s.now); err != nil {
		t.Fatal(err)
	}
	s.do(201, "POST", "/api/policies", `{"name":"night","match":"own","steps":[{"channels":["mend"]}]}`)
	s.says(s.do(200, "GET", "/api/policies/explain?device=core-sw1&at=2026-11-21T20:00:00Z", ""),
		`"device":"core-sw1","check":"icmp","status":"down","severity":"critical","held":""`, `"told":true`,
		`"policy":"core","applies":true`, `"at":"2026-11-21T20:00:00.000000Z"`, `"channels":["ops"]`, `"policy":"night","applies":false`)
	s.says(s.do(200, "GET", "/api/policies/explain?device=1&at=2026-11-22T01:30:00Z", ""), `"held":"maintenance sunday","held_until":"2026-11-22T03:00:00.000000Z"`)
	s.says(s.do(200, "GET", "/api/policies/explain?status=storage", ""), `"device":"","check":"","status":"storage"`, `"held":"silence works"`, `"policy":"night","applies":true`)
	s.says(s.do(200, "GET", "/api/policies/explain?device=core-sw1&severity=low", ""), `"severity":"low"`)
	s.says(s.do(422, "GET", "/api/policies/explain", ""), "say which device is down")
	s.says(s.do(422, "GET", "/api/policies/explain?device=core-sw1&status=storage", ""), "trouble of Sereno's own")
	s.says(s.do(422, "GET", "/api/policies/explain?device=core-sw1&check=web", ""), "has no check called")
	s.says(s.do(404, "GET", "/api/policies/explain?device=core", ""), "there is no device called")
}

func TestMistakesHaveTheirPlace(t *testing.T) {
	s := newShelf(t, ofFile())
	for _, story := range []struct{ path, body, want string }{
		{"/api/channels", `{"name":"a","kind":"lyne","settings":{"token":"x"}}`, `"lyne" is no kind of channel; there are line, program; did you mean \"line\"?`},
		{"/api/channels", `{"name":"a","kind":"line","settings":{"token":"x","chatt":"y"}}`, `body.settings.chatt`},
		{"/api/channels", `{"name":"a","kind":"line","settings":{"token":"x"},"fallback":"opps"}`, `"location":"body.fallback"`},
		{"/api/channels", `{"name":"a","kind":"line","settings":{"token":"x"},"give_up_seconds":99999999}`, `"location":"body.give_up_seconds"`},
		{"/api/channels", `{"name":"a","kind":"line","settings":[]}`, `settings are an object`},
		{"/api/channels", `{"name":"a","kind":"line","setings":{}}`, `unexpected property`},
		{"/api/channels", `{"kind":"line","settings":{"token":"x"},"name":""}`, `a channel needs a name`},
		{"/api/policies", `{"name":"a","match":"severty == 1"}`, `"location":"body.match"`},
		{"/api/policies", `{"name":"a","steps":[{"channels":["ops"]},{"after_seconds":60,"channels":["nobody"]}]}`, `"location":"body.steps[1].channels[0]"`},
		{"/api/policies", `{"name":"a","steps":[{"remind_seconds":[600,60]}]}`, `"location":"body.steps[0].remind_seconds[1]"`},
		{"/api/policies", `{"name":"a","quiet":[{"from":"25:00","to":"07:00"}]}`, `"location":"body.quiet[0].from"`},
		{"/api/policies", `{"name":"a","severity":"vital"}`, `"location":"body.severity"`},
		{"/api/maintenance", `{"name":"a","start":"soon","length_seconds":60}`, `"location":"body.start"`},
		{"/api/maintenance", `{"name":"a","start":"2026-11-01T02:00","length_seconds":1}`, `"location":"body.length_seconds"`},
		{"/api/silences", `{"match":"","for_seconds":60}`, `"location":"body.match"`},
		{"/api/silences", `{"match":"own"}`, `"location":"body.until"`},
	} {
		s.says(s.do(422, "POST", story.path, story.body), strings.ReplaceAll(story.want, `"lyne"`, `\"lyne\"`))
	}
	if entries, err := s.facts.Entries(t.Context(), ""); err != nil || len(entries) > 0 {
		t.Errorf("there are entries: %v %v", entries, err)
	}
}

func TestSilencesAreNamedAndEnd(t *testing.T) {
	s := newShelf(t, alert.Book{})
	s.says(s.do(201, "POST", "/api/silences", `{"match":"device == \"a\"","for_seconds":7200,"reason":"toner"}`),
		`"name":"silence-1"`, `"from":"2026-11-21T12:00:00.000000Z"`, `"until":"2026-11-21T14:00:00.000000Z"`, `"by":"192.0.2.7"`, `"state":"active"`)
	s.says(s.do(201, "POST", "/api/silences", `{"match":"own","from":"2026-11-22T00:00:00Z","until":"2026-11-22T01:00:00Z"}`), `"name":"silence-2"`, `"state":"waiting"`)
	s.do(204, "DELETE", "/api/silences/silence-1", "")
	s.now += sereno.Instant(2 * 24 * time.Hour / time.Microsecond)
	s.says(s.do(200, "GET", "/api/silences/silence-2", ""), `"state":"over"`)
}

func TestWindowsShowTheirOccurrences(t *testing.T) {
	s := newShelf(t, ofFile())
	s.says(s.do(200, "GET", "/api/maintenance/sunday", ""), `"next":[{"begin":"2026-11-22T01:00:00.000000Z","end":"2026-11-22T03:00:00.000000Z"},{"begin":"2026-11-29T01:00:00.000000Z"`)
	s.says(s.do(201, "POST", "/api/maintenance", `{"name":"once","start":"2026-11-21T11:00","length_seconds":7200}`),
		`"now":{"begin":"2026-11-21T11:00:00.000000Z","end":"2026-11-21T13:00:00.000000Z"}`, `"next":[]`)
}

func TestOthersReferToIt(t *testing.T) {
	s := newShelf(t, ofFile())
	s.do(201, "POST", "/api/channels", `{"name":"anna","kind":"line","settings":{"token":"x"}}`)
	s.do(201, "POST", "/api/policies", `{"name":"night","steps":[{"channels":["anna"]}]}`)
	s.says(s.do(409, "DELETE", "/api/channels/anna", ""), `the policy \"night\" would not go together with it: steps[0].channels[0]: there is no channel \"anna\"`)
	s.says(s.do(409, "PUT", "/api/channels/anna", `{"name":"otto","kind":"line","settings":{}}`), `the policy \"night\"`)
	s.do(200, "PUT", "/api/policies/night", `{"name":"night","steps":[{"channels":["ops"]}]}`)
	s.do(204, "DELETE", "/api/channels/anna", "")

	// The file may not take a channel away that is told by command.
	file := ofFile()
	file.Channels[0].Name, file.Policies = "ops-2", nil
	err := s.Reload(t.Context(), file, func() error { t.Error("the rest was taken over"); return nil })
	if sereno.KindOf(err) != sereno.Conflict || !strings.Contains(err.Error(), `the policy "night", which was made by command, does not go together with the file: steps[0].channels[0]: there is no channel "ops"`) {
		t.Errorf("got %v", err)
	}
	if s.Plan().Channel("ops") == nil || s.Plan().Channel("ops-2") != nil {
		t.Error("a reload that broke changed something")
	}

	// A start cannot be refused: what does not go together is set aside.
	s.start(file)
	s.says(s.do(200, "GET", "/api/policies/night", ""), `"aside":"steps[0].channels[0]: there is no channel \"ops\"`)
	if got := len(s.Plan().Book.Policies); got != 0 {
		t.Errorf("%d policies hold", got)
	}
	// And it holds again as soon as it can.
	if err := s.Reload(t.Context(), ofFile(), func() error { return nil }); err != nil {
		t.Fatal(err)
	}
	s.says(s.do(200, "GET", "/api/policies/night", ""), `"aside":""`)
}

func TestTheFileWinsAName(t *testing.T) {
	s := newShelf(t, alert.Book{})
	s.do(201, "POST", "/api/channels", `{"name":"ops","kind":"line","settings":{"token":"mine"}}`)
	s.do(201, "POST", "/api/policies", `{"name":"all","steps":[{"channels":["ops"]}]}`)
	if err := s.Reload(t.Context(), ofFile(), func() error { return nil }); err != nil {
		t.Fatal(err)
	}
	if s.token("ops") != "s3cret" {
		t.Error("the file's channel does not hold")
	}
	s.says(s.do(200, "GET", "/api/channels", ""), `"aside":"the configuration file has a channel of this name"`)
	s.says(s.do(409, "PUT", "/api/channels/ops", `{"name":"ops","kind":"line","settings":{}}`), "choose another name")
	s.do(200, "PUT", "/api/channels/ops", `{"name":"ops-anna","kind":"line","settings":{}}`)
	if s.token("ops-anna") != "mine" {
		t.Error("the channel that was aside is not the one it was")
	}
	s.do(403, "DELETE", "/api/channels/ops", "")
}

func TestAReloadThatBreaksChangesNothing(t *testing.T) {
	s := newShelf(t, ofFile())
	before := s.Plan()
	broken := fmt.Errorf("the devices cannot be taken over")
	if err := s.Reload(t.Context(), alert.Book{}, func() error { return broken }); err == nil || s.Plan() != before || s.told != 0 {
		t.Errorf("got %v", err)
	}
}

// A channel that did not change is the same one, with what it has under way.
func TestChannelsStayOpen(t *testing.T) {
	s := newShelf(t, ofFile())
	s.do(201, "POST", "/api/channels", `{"name":"anna","kind":"line","settings":{"token":"x","chat":"y"}}`)
	ops, anna := s.Plan().Channel("ops"), s.Plan().Channel("anna")
	s.do(201, "POST", "/api/channels", `{"name":"otto","kind":"line","settings":{"chat":"y","token":"x"}}`) // the same settings
	if s.Plan().Channel("otto") == anna {
		t.Error("two channels are one")
	}
	s.do(200, "PUT", "/api/channels/anna", `{"name":"anna","kind":"line","settings":{"chat":"y"},"fallback":"ops"}`)
	file := ofFile()
	file.Channels = slices.Insert(file.Channels, 0, alert.Channel{Name: "first", Kind: "line", Settings: json.RawMessage(`{"token":"z"}`), FromFile: true})
	if err := s.Reload(t.Context(), file, func() error { return nil }); err != nil {
		t.Fatal(err)
	}
	if s.Plan().Channel("ops") != ops || s.Plan().Channel("anna") != anna {
		t.Error("a channel that did not change was opened anew")
	}
	s.do(200, "PUT", "/api/channels/anna", `{"name":"anna","kind":"line","settings":{"chat":"z"}}`)
	if s.Plan().Channel("anna") == anna {
		t.Error("a channel that changed is the one it was")
	}
}

// Policies are where people put them, however often they move.
func TestTheOrderOfPolicies(t *testing.T) {
	s := newShelf(t, ofFile())
	run := 0
	rapid.Check(t, func(r *rapid.T) {
		run++
		for _, rule := range slices.Clone(s.Rules(api.RulePolicy)) {
			if !rule.FromFile {
				s.do(204, "DELETE", "/api/policies/"+rule.Name(), "")
			}
		}
		want := []string{"core"} // the file's comes first
		for range rapid.IntRange(1, 20).Draw(r, "steps") {
			at := rapid.IntRange(0, len(want)+1).Draw(r, "position")
			name := fmt.Sprintf("p%d", rapid.IntRange(0, 7).Draw(r, "name"))
			method, path, code := "POST", "/api/policies", 201
			i := slices.Index(want, name)
			if i >= 0 {
				method, path, code = "PUT", "/api/policies/"+name, 200
			}
			position := ""
			if at > 0 {
				position = fmt.Sprintf(`,"position":%d`, at)
			}
			s.do(code, method, path, fmt.Sprintf(`{"name":%q%s}`, name, position))
			if i >= 0 {
				want = slices.Delete(want, i, i+1)
			}
			switch {
			case at == 0 && i >= 0:
				at = i
			case at == 0:
				at = len(want)
			default:
				at = min(max(at-1, 1), len(want))
			}
			want = slices.Insert(want, at, name)
		}
		var got, stored []string
		for _, rule := range s.Rules(api.RulePolicy) {
			got = append(got, rule.Name())
		}
		entries, err := s.facts.Entries(context.Background(), "policy")
		if err != nil {
			r.Fatal(err)
		}
		for _, e := range entries {
			stored = append(stored, e.Name)
		}
		if !slices.Equal(got, want) || !slices.Equal(stored, want[1:]) {
			r.Fatalf("run %d: shown %q, stored %q, want %q", run, got, stored, want)
		}
	})
}

// Whoever changes something at the same time as others loses nothing.
func TestManyAuthorsAtOnce(t *testing.T) {
	s := newShelf(t, ofFile())
	var wg sync.WaitGroup
	var failed atomic.Int64
	try := func(err error) {
		if err != nil {
			failed.Add(1)
			t.Log(err)
		}
	}
	for i := range 4 {
		wg.Go(func() {
			by := api.Author{Who: "192.0.2.7", Via: "api"}
			for k := range 5 {
				policy := api.Rule{Position: 1, Policy: &alert.Policy{Name: fmt.Sprintf("p%d-%d", i, k)}}
				_, err := s.Add(t.Context(), by, policy)
				try(err)
				policy.Policy = &alert.Policy{Name: fmt.Sprintf("q%d-%d", i, k)}
				_, err = s.Replace(t.Context(), by, fmt.Sprintf("p%d-%d", i, k), policy)
				try(err)
				if k%2 == 0 {
					try(s.Remove(t.Context(), by, api.RulePolicy, policy.Policy.Name))
				}
				try(s.Reload(t.Context(), ofFile(), func() error { return nil }))
				for _, r := range s.Rules(api.RulePolicy) {
					if r.Name() == "" {
						t.Error("a rule without a name is shown")
					}
				}
			}
		})
	}
	wg.Wait()
	entries, err := s.facts.Entries(t.Context(), "policy")
	if err != nil || failed.Load() > 0 {
		t.Fatal(err, failed.Load())
	}
	if rules := s.Rules(api.RulePolicy); len(rules) != 1+8 || len(entries) != 8 || len(s.Plan().Book.Policies) != 9 {
		t.Errorf("%d are shown, %d stored, %d hold", len(rules), len(entries), len(s.Plan().Book.Policies))
	}
}
