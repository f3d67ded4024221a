package telegram

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"sereno"
	"sereno/notify"
)

const (
	pollTime   = 50 * time.Second // that Telegram holds a question open for news
	pollGrace  = 15 * time.Second // for its answer to arrive
	maxUpdates = 1 << 20          // bytes of one answer
	perPoll    = 10               // updates in one answer, so that it stays below maxUpdates
	hearTime   = 30 * time.Second // for what somebody pressed to be done

	firstPause = time.Second // after something went wrong; it doubles
	longPause  = time.Minute
	skipPause  = firstPause / 4  // between answers in which nothing was pressed
	deafPause  = 5 * time.Minute // when the token is wrong
)

// snoozeFor is what the button offers.
const snoozeFor = time.Hour

// What may be pressed beneath a message.
type offer uint8

const (
	offerAll    offer = iota // acknowledge or snooze
	offerUnack               // it is acknowledged
	offerSnooze              // it is snoozed
)

const (
	maxData   = 64 // bytes that a button sends back, as the Bot API has it
	ofMessage = "m"
)

// about is what buttons name: the one incident of a message, or all of it; "" if
// they can name neither.
func about(m *notify.Message) string {
	switch {
	case m.Incident == nil:
		return ""
	case m.Count <= 1:
		return strconv.FormatInt(int64(m.Incident.ID), 10)
	case m.Key != "" && len("unacknowledge:"+ofMessage+m.Key) <= maxData:
		return ofMessage + m.Key
	}
	return ""
}

// keyboard draws the buttons of a message.
func keyboard(about string, o offer) *markup {
	all := ""
	if strings.HasPrefix(about, ofMessage) {
		all = " all"
	}
	acknowledge := button{"Acknowledge" + all, "acknowledge:" + about}
	unacknowledge := button{"Unacknowledge" + all, "unacknowledge:" + about}
	snooze := button{"Snooze" + all + " 1 h", "snooze:" + about}
	switch o {
	case offerUnack:
		return &markup{[][]button{{unacknowledge, snooze}}}
	case offerSnooze:
		return &markup{[][]button{{acknowledge, {snooze.Text + " more", snooze.Data}}}}
	}
	return &markup{[][]button{{acknowledge, snooze}}}
}

// pressed reads what a button sent back.
func pressed(data string) (a notify.Answer, then *markup, ok bool) {
	action, about, _ := strings.Cut(data, ":")
	a = notify.Answer{Action: action}
	if key, all := strings.CutPrefix(about, ofMessage); all && key != "" {
		a.Key = key
	} else {
		id, err := strconv.ParseInt(about, 10, 64)
		if err != nil || id <= 0 {
			return a, nil, false
		}
		a.Incident = sereno.IncidentID(id)
	}
	switch action {
	case "acknowledge":
		return a, keyboard(about, offerUnack), true
	case "unacknowledge":
		return a, keyboard(about, offerAll), true
	case "snooze":
		a.For = snoozeFor
		return a, keyboard(about, offerSnooze), true
	}
	return a, nil, false
}

type (
	update struct {
		ID       int64     `json:"update_id"`
		Callback *callback `json:"callback_query"`
	}
	callback struct {
		ID   string `json:"id"`
		From struct {
			Username string `json:"username"`
			First    string `json:"first_name"`
			Last     string `json:"last_name"`
		} `json:"from"`
		Message *struct {
			ID    int64 `json:"message_id"`
			Topic int64 `json:"message_thread_id"`
			Chat  struct {
				ID       json.Number `json:"id"`
				Username string      `json:"username"`
			} `json:"chat"`
		} `json:"message"`
		Data string `json:"data"`
	}
)

// who is how the audit trail calls whoever pressed.
func (c *callback) who() string {
	name := c.From.Username
	if name == "" {
		name = strings.TrimSpace(c.From.First + " " + c.From.Last)
	}
	return "telegram: " + notify.Cut(notify.Line(name), 64)
}

// A poller asks Telegram what was pressed, for all channels of one bot: the Bot
// API has one queue per bot and answers one who asks at a time.
type poller struct {
	turn chan struct{} // held by the one who asks

	mu        sync.Mutex
	listeners map[*channel]func(context.Context, notify.Answer) (string, bool)

	// These belong to whoever has the turn.
	offset int64           // the first update that was not heard yet
	heard  notify.Progress // what was pressed and done, by its id
	deaf   string
	pause  time.Duration
}

func (k *Kind) pollerOf(key string) *poller {
	k.mu.Lock()
	defer k.mu.Unlock()
	p, ok := k.pollers[key]
	if !ok {
		p = &poller{turn: make(chan struct{}, 1), listeners: map[*channel]func(context.Context, notify.Answer) (string, bool){}}
		k.pollers[key] = p
	}
	return p
}

// Listen hears the buttons beneath this channel's messages. Of several channels
// of one bot the one that listens longest asks for all.
func (c *channel) Listen(ctx context.Context, answer func(context.Context, notify.Answer) (reply string, done bool)) error {
	if !c.answers {
		<-ctx.Done()
		return nil
	}
	p := c.poller
	p.mu.Lock()
	p.listeners[c] = answer
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.listeners, c)
	}()
	select {
	case p.turn <- struct{}{}:
		defer func() { <-p.turn }()
	case <-ctx.Done():
		return nil
	}
	for ctx.Err() == nil {
		asked := time.Now()
		updates, err := p.ask(ctx, c.bot)
		if ctx.Err() != nil {
			break
		}
		early, before := time.Since(asked) < firstPause, p.offset
		pressed := err == nil && p.take(ctx, c.bot, updates)
		switch {
		case err == nil && early && !pressed && p.offset == before:
			err = &notify.Failure{Text: "an answer without news came before its time"}
			fallthrough
		case err != nil:
			p.rest(ctx, c.log, err)
			continue
		case early && !pressed: // there may be many, from before Sereno asked
			wait(ctx, skipPause)
		}
		p.well(c.log)
	}
	return nil
}

// take hears what was pressed in updates, each press once, and reports whether
// there was one. Their numbers may begin anew below those before, as they do after
// a quiet week.
func (p *poller) take(ctx context.Context, b bot, updates []update) (pressed bool) {
	for _, u := range updates {
		if c := u.Callback; c != nil && len(p.heard.Taken(c.ID)) == 0 {
			p.hear(ctx, b, c)
			if ctx.Err() != nil {
				return true // what was not answered is asked for again
			}
			p.heard.Take(c.ID, "done")
			pressed = true
		}
		if u.ID > 0 && u.ID < math.MaxInt64 {
			p.offset = u.ID + 1
		}
	}
	return pressed
}

func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

func (p *poller) ask(ctx context.Context, b bot) ([]update, error) {
	var updates []update
	err := b.call(ctx, "getUpdates", struct {
		Offset  int64    `json:"offset"`
		Limit   int      `json:"limit"`
		Timeout int      `json:"timeout"`
		Allowed []string `json:"allowed_updates"`
	}{p.offset, perPoll, int(pollTime / time.Second), []string{"callback_query"}}, &updates)
	return updates, err
}

// rest waits after an error, longer each time, and says once what is wrong.
func (p *poller) rest(ctx context.Context, log *slog.Logger, err error) {
	p.pause = min(max(2*p.pause, firstPause), longPause)
	says := "telegram: what is pressed is not heard until this passes"
	pause := p.pause
	if r, ok := errors.AsType[*refusal](err); ok {
		switch r.code {
		case http.StatusConflict:
			says = "telegram: somebody else asks for what is pressed on this bot's buttons, so some of it is not heard here: end the other program, delete the bot's webhook, or give this Sereno a bot of its own"
		case http.StatusUnauthorized, http.StatusNotFound:
			says, pause = "telegram: what is pressed is not heard: the token is wrong", deafPause
		}
		pause = max(pause, r.failure.After)
	}
	if p.deaf != says {
		p.deaf = says
		log.Warn(says, "answer", failure(err).Error())
	}
	wait(ctx, pause)
}

func (p *poller) well(log *slog.Logger) {
	if p.deaf != "" {
		log.Info("telegram: what is pressed is heard again")
	}
	p.deaf, p.pause = "", 0
}

// hear does what was pressed and says so, beneath the message and to whoever
// pressed. Only the chat that the message went to may press.
func (p *poller) hear(ctx context.Context, b bot, c *callback) {
	ctx, cancel := context.WithTimeout(ctx, hearTime)
	defer cancel()
	reply := func(text string) {
		// Telegram forgets a press after a while; then nobody waits for this.
		_ = b.call(ctx, "answerCallbackQuery", struct {
			ID   string `json:"callback_query_id"`
			Text string `json:"text"`
		}{c.ID, notify.Cut(notify.Line(text), notify.MaxAnswer)}, nil)
	}
	answer := p.listenerOf(c)
	a, then, ok := pressed(c.Data)
	switch {
	case answer == nil:
		reply("Sereno does not take orders from this chat.")
		return
	case !ok:
		reply("This button is not Sereno's.")
		return
	}
	a.Who = c.who()
	said, done := answer(ctx, a)
	reply(said)
	if !done {
		return
	}
	_ = b.call(ctx, "editMessageReplyMarkup", struct {
		Chat     chatID  `json:"chat_id"`
		Message  int64   `json:"message_id"`
		Keyboard *markup `json:"reply_markup"`
	}{chatID(c.Message.Chat.ID), c.Message.ID, then}, nil)
}

// listenerOf finds the channel whose message it was: by chat, and by topic where
// several channels write to one chat.
func (p *poller) listenerOf(c *callback) (answer func(context.Context, notify.Answer) (string, bool)) {
	if c.Message == nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	var found *channel
	for listener, hears := range p.listeners {
		chat := listener.chat.called()
		if string(chat) != c.Message.Chat.ID.String() && (c.Message.Chat.Username == "" || !strings.EqualFold(string(chat), "@"+c.Message.Chat.Username)) {
			continue
		}
		if found == nil || listener.settings.Topic == c.Message.Topic {
			found, answer = listener, hears
		}
	}
	return answer
}
