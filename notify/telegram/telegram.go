// Package telegram reaches people through a bot of Telegram, and hears the
// buttons that they press. It speaks the Bot API (core.telegram.org/bots/api)
// and calls out only, so it works behind NAT.
package telegram

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"sereno"
	"sereno/notify"
)

const (
	maxText   = 4096 // UTF-16 code units of one message, after its entities were parsed
	maxPieces = 4    // of one message of ours
	publicAPI = "https://api.telegram.org"
)

// Kind is the kind "telegram". Channels of one bot share what it holds, because
// Telegram gives the buttons that were pressed to one listener per bot; and what
// is known of a chat is still known when settings are read again.
type Kind struct {
	mu      sync.Mutex
	pollers map[string]*poller // by bot
	chats   map[string]*chat   // by bot, chat and topic
}

// New makes the kind. A program has one.
func New() *Kind { return &Kind{pollers: map[string]*poller{}, chats: map[string]*chat{}} }

func (*Kind) Name() string      { return "telegram" }
func (*Kind) Secrets() []string { return []string{"token"} }

type settings struct {
	Token   string            `json:"token"`
	Chat    chatID            `json:"chat"`
	Topic   int64             `json:"message_thread_id"` // of a group with topics
	Silent  []sereno.Severity `json:"silent"`            // sent without a sound
	Answers *bool             `json:"answers"`           // buttons, and listening to them; nil for yes
	BaseURL string            `json:"base_url"`          // "" for Telegram's own
	CA      string            `json:"ca"`                // certificate authorities of BaseURL as PEM
}

// A chatID is a number or the name of a public channel, "@name".
type chatID string

func (c *chatID) UnmarshalJSON(text []byte) error {
	var n json.Number
	if err := json.Unmarshal(text, &n); err == nil && n != "" {
		*c = chatID(n)
		return nil
	}
	var s string
	if json.Unmarshal(text, &s) != nil {
		return sereno.Errorf(sereno.Invalid, "it is the number of a chat, such as -1001234567890, or the name of a public channel, such as @name")
	}
	*c = chatID(strings.TrimSpace(s))
	return nil
}

func (c chatID) MarshalJSON() ([]byte, error) {
	if _, err := strconv.ParseInt(string(c), 10, 64); err == nil {
		return []byte(c), nil
	}
	return json.Marshal(string(c))
}

var (
	tokenShape = regexp.MustCompile(`^[0-9]+:[A-Za-z0-9_-]+$`)
	chatShape  = regexp.MustCompile(`^(-?[1-9][0-9]{0,18}|@[A-Za-z][A-Za-z0-9_]{3,})$`)
)

func (k *Kind) Open(raw json.RawMessage, o notify.Options) (notify.Channel, error) {
	var s settings
	if err := notify.Decode(raw, &s); err != nil {
		return nil, err
	}
	var wrong []error
	if s.Token == "" {
		wrong = append(wrong, notify.Wrong("token", "it is missing; @BotFather gives one"))
	} else if !tokenShape.MatchString(s.Token) {
		wrong = append(wrong, notify.Wrong("token", "it is no token of a bot; one is a number, a colon, and 35 letters and digits, as @BotFather writes it"))
	}
	if s.Chat == "" {
		wrong = append(wrong, notify.Wrong("chat", "it is missing: the number of a chat, such as -1001234567890, or the name of a public channel, such as @name"))
	} else if !chatShape.MatchString(string(s.Chat)) {
		wrong = append(wrong, notify.Wrong("chat", "it is the number of a chat, such as -1001234567890, or the name of a public channel, such as @name"))
	}
	if s.Topic < 0 {
		wrong = append(wrong, notify.Wrong("message_thread_id", "it is the number of a topic, 1 or more"))
	}
	if s.BaseURL == "" {
		s.BaseURL = publicAPI
	} else if err := notify.CheckURL("base_url", s.BaseURL); err != nil {
		wrong = append(wrong, err)
	} else if strings.Contains(s.BaseURL, "?") {
		wrong = append(wrong, notify.Wrong("base_url", "it has no part behind a question mark"))
	}
	s.BaseURL = strings.TrimRight(s.BaseURL, "/")
	roots, err := notify.Roots("ca", s.CA)
	if err != nil {
		wrong = append(wrong, err)
	}
	if len(wrong) > 0 {
		return nil, errors.Join(wrong...)
	}
	log := o.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	_, key, _ := strings.Cut(s.Token, ":")
	b := bot{web: notify.NewWeb(o, roots, s.Token, key), url: s.BaseURL + "/bot" + s.Token + "/"}
	return &channel{
		settings: s, bot: b, log: log.With("chat", string(s.Chat)), answers: s.Answers == nil || *s.Answers,
		poller: k.pollerOf(s.BaseURL + " " + s.Token), chat: k.chatOf(s),
	}, nil
}

func (k *Kind) chatOf(s settings) *chat {
	k.mu.Lock()
	defer k.mu.Unlock()
	key := strings.Join([]string{s.BaseURL, s.Token, string(s.Chat), strconv.FormatInt(s.Topic, 10)}, " ")
	c, ok := k.chats[key]
	if !ok {
		c = &chat{id: s.Chat}
		k.chats[key] = c
	}
	return c
}

type channel struct {
	settings settings
	bot      bot
	poller   *poller
	chat     *chat
	log      *slog.Logger
	answers  bool // buttons are drawn and heard
}

// A chat is what is known of where messages go. A restart forgets it.
type chat struct {
	progress notify.Progress // the pieces that were taken

	mu      sync.Mutex
	id      chatID // as it is called now
	threads threads
}

func (c *chat) called() chatID {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.id
}

func (c *chat) moved(to chatID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.id = to
}

// begins notes the message that a thread began with.
func (c *chat) begins(thread string, message int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.threads.add(thread, message)
}

// beginning is the message that a thread began with, 0 if that is not known.
func (c *chat) beginning(thread string) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.threads.ids[thread]
}

// Send sends a message, in several if it is long. One that failed half-way goes
// on where it stopped when it is sent again.
func (c *channel) Send(ctx context.Context, m notify.Message) error {
	buttons := m.Buttons && c.answers && about(&m) != ""
	pieces := write(m, buttons)
	done := len(c.chat.progress.Taken(m.Key))
	for i := min(done, len(pieces)-1); i < len(pieces); i++ {
		last := i == len(pieces)-1
		id, err := c.sendPiece(ctx, m, pieces[i], i == 0, last && buttons)
		if err != nil {
			return err
		}
		if !last {
			c.chat.progress.Take(m.Key, strconv.Itoa(i))
		}
		if id != 0 && m.Thread != "" {
			c.chat.begins(m.Thread, id)
		}
	}
	c.chat.progress.Done(m.Key)
	return nil
}

// sendPiece returns the number of the message that it became, 0 if that is not
// known.
func (c *channel) sendPiece(ctx context.Context, m notify.Message, text string, first, buttons bool) (int64, error) {
	call := sendMessage{
		Chat: c.chat.called(), Topic: c.settings.Topic, Text: text, ParseMode: "HTML",
		Preview: preview{Disabled: true},
		Silent:  !first || slices.Contains(c.settings.Silent, m.Severity),
	}
	if id := c.chat.beginning(m.Thread); id != 0 {
		call.Reply = &replyTo{Message: id, OrWithout: true}
	}
	if buttons {
		call.Keyboard = keyboard(about(&m), offerAll)
	}
	for moved := false; ; moved = true {
		var sent struct {
			ID int64 `json:"message_id"`
		}
		err := c.bot.call(ctx, "sendMessage", call, &sent)
		to, ok := movedTo(err)
		if !ok || moved {
			return sent.ID, failure(err)
		}
		c.log.Warn("telegram: the group has become a supergroup and has another number; messages go there, but write it into the settings: a restart forgets it",
			"now", string(to))
		c.chat.moved(to)
		call.Chat = to
	}
}

// write makes the texts of a message, in Telegram's HTML. Where it has buttons it
// needs no link to acknowledge: they do the same, with no page within reach.
func write(m notify.Message, buttons bool) []string {
	title, text := notify.Line(m.Title), notify.Lines(m.Text)
	if buttons && m.Acknowledge != "" {
		text = strings.Join(slices.DeleteFunc(strings.Split(text, "\n"), func(line string) bool { return strings.Contains(line, m.Acknowledge) }), "\n")
	}
	for _, link := range []struct{ says, url string }{{"", m.Open}, {"Acknowledge: ", m.Acknowledge}} {
		if link.url == "" || strings.Contains(text, link.url) || link.url == m.Acknowledge && buttons {
			continue
		}
		text = strings.TrimRight(text, "\n") + "\n" + link.says + notify.Line(link.url) + "\n"
	}
	if strings.TrimSpace(text) == "" {
		text = title
	}
	pieces := notify.Split(unmention(text), maxText, maxPieces, notify.UTF16)
	if len(pieces) == 0 { // neither title nor text
		pieces = []string{string(m.Event)}
	}
	title = unmention(title)
	for i, piece := range pieces {
		if rest, ok := strings.CutPrefix(piece, title); ok && i == 0 && title != "" && (rest == "" || rest[0] == '\n') {
			pieces[i] = "<b>" + escape(title) + "</b>" + escape(rest)
		} else {
			pieces[i] = escape(piece)
		}
	}
	return pieces
}

// escape makes text of HTML's three letters. Quotes need none outside of tags.
func escape(text string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(text)
}

// wordJoiner has no width and is no part of a user's name.
const wordJoiner = "\u2060"

var mention = regexp.MustCompile(`(^|[^A-Za-z0-9_.])@([A-Za-z0-9_])`)

// unmention keeps Telegram from calling people because of a name that others
// chose: it makes mentions of @words by itself.
func unmention(text string) string {
	return mention.ReplaceAllString(text, "${1}@"+wordJoiner+"${2}")
}

// threads are the numbers of the first message of the latest troubles, so that
// what follows is drawn as an answer to it. A restart forgets them.
type threads struct {
	order []string
	ids   map[string]int64
}

const maxThreads = 1000

func (t *threads) add(thread string, id int64) {
	if t.ids == nil {
		t.ids = map[string]int64{}
	}
	if _, known := t.ids[thread]; known {
		return
	}
	t.ids[thread] = id
	if t.order = append(t.order, thread); len(t.order) > maxThreads {
		delete(t.ids, t.order[0])
		t.order = slices.Delete(t.order, 0, 1)
	}
}

// What is sent to the Bot API, by its names.
type (
	sendMessage struct {
		Chat      chatID   `json:"chat_id"`
		Topic     int64    `json:"message_thread_id,omitempty"`
		Text      string   `json:"text"`
		ParseMode string   `json:"parse_mode,omitempty"`
		Preview   preview  `json:"link_preview_options"`
		Silent    bool     `json:"disable_notification,omitempty"`
		Reply     *replyTo `json:"reply_parameters,omitempty"`
		Keyboard  *markup  `json:"reply_markup,omitempty"`
	}
	preview struct {
		Disabled bool `json:"is_disabled"`
	}
	replyTo struct {
		Message   int64 `json:"message_id"`
		OrWithout bool  `json:"allow_sending_without_reply"`
	}
	markup struct {
		Rows [][]button `json:"inline_keyboard"`
	}
	button struct {
		Text string `json:"text"`
		Data string `json:"callback_data"`
	}
)

// A bot calls the Bot API.
type bot struct {
	web *notify.Web
	url string // up to the method
}

// A refusal is an answer of the Bot API that is not ok.
type refusal struct {
	code    int
	movedTo chatID
	failure *notify.Failure
}

func (r *refusal) Error() string { return r.failure.Text }

// failure is what Send says of an error of call.
func failure(err error) error {
	if r, ok := errors.AsType[*refusal](err); ok {
		return r.failure
	}
	return err
}

func movedTo(err error) (chatID, bool) {
	r, ok := errors.AsType[*refusal](err)
	if !ok || r.movedTo == "" {
		return "", false
	}
	return r.movedTo, true
}

// call calls a method and reads its result. Its error is a *refusal, or a
// *notify.Failure if no answer of the Bot API came.
func (b bot) call(ctx context.Context, method string, args, result any) error {
	var body bytes.Buffer
	e := json.NewEncoder(&body)
	e.SetEscapeHTML(false)
	if err := e.Encode(args); err != nil {
		return notify.Refuse("the message cannot be written as JSON: %s", notify.Line(err.Error()))
	}
	c := notify.Call{URL: b.url + method, Body: bytes.TrimRight(body.Bytes(), "\n")}
	if method == "getUpdates" {
		c.Patience, c.MaxReply = pollTime+pollGrace, maxUpdates
	}
	reply, err := b.web.Post(ctx, c)
	if err != nil && reply.Status == 0 {
		return err
	}
	var answer struct {
		OK          *bool           `json:"ok"`
		Result      json.RawMessage `json:"result"`
		Code        int             `json:"error_code"`
		Description string          `json:"description"`
		Parameters  struct {
			RetryAfter float64     `json:"retry_after"`
			MovedTo    json.Number `json:"migrate_to_chat_id"`
		} `json:"parameters"`
	}
	shaped := json.Unmarshal(reply.Body, &answer) == nil && answer.OK != nil
	switch {
	case !shaped && err != nil && reply.Status != http.StatusForbidden && reply.Status != http.StatusNotFound && reply.Status != http.StatusUnavailableForLegalReasons:
		return err
	case !shaped && reply.Cut:
		return &notify.Failure{Unsure: true, Text: "the answer of the Bot API broke off"}
	case !shaped:
		return &notify.Failure{Text: b.web.Clean("this was not the Bot API; something on the way, or a wrong base_url, answered " + strconv.Itoa(reply.Status) + " " + string(reply.Body))}
	case *answer.OK && err == nil:
		notify.Say(ctx, "200 OK")
		if result != nil && json.Unmarshal(answer.Result, result) != nil && method == "getUpdates" {
			return &notify.Failure{Text: "the updates of the Bot API cannot be read"}
		}
		return nil // taken, even if it is not known what it became
	}
	f := notify.FailureOf(err)
	if err == nil { // 200, and yet not ok
		f = &notify.Failure{}
	}
	f.After = max(f.After, notify.After(answer.Parameters.RetryAfter))
	if answer.Code == 0 {
		answer.Code = reply.Status
	}
	f.Text = b.web.Clean(strconv.Itoa(answer.Code) + " " + answer.Description + advice(answer.Code))
	return &refusal{code: answer.Code, movedTo: chatID(answer.Parameters.MovedTo), failure: f}
}

// advice says what to do about an answer.
func advice(code int) string {
	switch code {
	case http.StatusUnauthorized, http.StatusNotFound:
		return ": Telegram does not know this token; ask @BotFather for it"
	case http.StatusForbidden:
		return ": the bot may not write there; unblock it, or make it a member of the chat"
	case http.StatusBadRequest:
		return ": is the chat right, and is the bot in it?"
	}
	return ""
}
