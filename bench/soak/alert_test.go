//go:build soak

package soak

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sereno"
	"sereno/alert"
	"sereno/bench"
	"sereno/notify"
	"sereno/store"
)

// phone is a double of the Telegram Bot API, as far as a channel uses it, and
// the far end of a webhook: both note when a request came.
type phone struct {
	mu    sync.Mutex
	calls []call
}

// A call is one message as it arrived.
type call struct {
	at      time.Time
	channel string // the chat, or the path of the hook
	text    string
	key     string // of a hook
	event   notify.Event
	ids     []sereno.IncidentID // of a hook
}

func (p *phone) note(c call) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls = append(p.calls, c)
}

func (p *phone) all() []call {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.calls)
}

func (p *phone) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	at := time.Now()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the sender was killed: this did not arrive
	}
	w.Header().Set("Content-Type", "application/json")
	switch {
	case strings.HasSuffix(r.URL.Path, "/sendMessage"):
		var m struct {
			Chat json.Number `json:"chat_id"`
			Text string
		}
		if json.Unmarshal(body, &m) != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		p.note(call{at: at, channel: m.Chat.String(), text: m.Text})
		fmt.Fprintf(w, `{"ok": true, "result": {"message_id": %d, "date": 1, "chat": {"id": %s, "type": "group"}}}`, at.UnixMicro(), m.Chat)
	case strings.HasSuffix(r.URL.Path, "/getUpdates"):
		select {
		case <-time.After(10 * time.Second):
		case <-r.Context().Done():
		}
		fmt.Fprint(w, `{"ok": true, "result": []}`)
	case strings.HasPrefix(r.URL.Path, "/hook"):
		var d notify.Document
		if json.Unmarshal(body, &d) != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		c := call{at: at, channel: r.URL.Path, key: d.Delivery, event: d.Event, text: d.Title}
		for _, in := range d.Incidents {
			c.ids = append(c.ids, in.ID)
		}
		p.note(c)
		time.Sleep(time.Duration(rand.IntN(20)) * time.Millisecond)
	default:
		fmt.Fprint(w, `{"ok": true, "result": true}`)
	}
}

const phoneAddress = "127.0.0.1:9099"

// newPhone answers within the lab.
func newPhone(w *watch) *phone {
	p := &phone{}
	var ln net.Listener
	if err := w.lab.Do(func() (err error) { ln, err = net.Listen("tcp", phoneAddress); return err }); err != nil {
		w.t.Fatal(err)
	}
	s := &http.Server{Handler: p}
	go s.Serve(ln)
	w.t.Cleanup(func() { s.Close() })
	return p
}

var deadOrBack = regexp.MustCompile(`h(\d+) is (down|back)`)

// From the last look that proved an outage to the request at Telegram, beyond
// what gathering takes by design: with 10,000 devices at 1 s, p99 within 300 ms.
// SERENO_SOAK_ALERTS is how many outages there are, SERENO_SOAK_ALERT_DEVICES how
// many devices. Half of the devices belong to policies that gather for 10 s.
func TestAnAlarmIsQuick(t *testing.T) {
	const chats = 10 // each takes 20 messages a minute before it is a storm
	n, outages := number("SERENO_SOAK_ALERT_DEVICES", 10_000), number("SERENO_SOAK_ALERTS", 500)
	var conf strings.Builder
	fmt.Fprintf(&conf, "witnesses: [%s]\nchannels:\n", gateway)
	for i := range chats {
		fmt.Fprintf(&conf, "  - {name: chat-%d, telegram: {token: \"%d:double_of_a_token\", chat: \"-%d\", base_url: \"http://%s\"}}\n", i, 100+i, 1000+i, phoneAddress)
	}
	conf.WriteString("policies:\n")
	for i := range chats {
		fmt.Fprintf(&conf, "  - {name: p%d, match: 'label.chat == \"%d\"', group_wait: %ds, group_by: [device], settle: 1s, steps: [{channels: [chat-%d]}]}\n", i, i, 10*(i%2), i)
	}
	conf.WriteString("devices:\n")
	for i := range n {
		fmt.Fprintf(&conf, "  - {name: h%d, address: %s, tags: [\"chat:%d\"]}\n", i, host(i), i%chats)
	}
	w := newLab(t, conf.String(), t.TempDir())
	phone := newPhone(w)
	w.start()
	w.allUp()

	// An outage of 20 s every 700 ms: 17 messages a minute for each chat.
	type death struct{ until time.Time }
	dead := map[int]death{}
	for k := range outages {
		i := k * 7 % n // each once, the chats in turn
		w.lab.Silence(netip.PrefixFrom(host(i), 32))
		dead[i] = death{time.Now().Add(20 * time.Second)}
		for until := time.Now().Add(700 * time.Millisecond); time.Now().Before(until); time.Sleep(20 * time.Millisecond) {
			for i, d := range dead {
				if time.Now().After(d.until) {
					w.lab.Restore(netip.PrefixFrom(host(i), 32))
					delete(dead, i)
				}
			}
		}
	}
	time.Sleep(20 * time.Second)
	for i := range dead {
		time.Sleep(time.Second)
		w.lab.Restore(netip.PrefixFrom(host(i), 32))
	}
	w.until(time.Minute, "all is over", func(s bench.Statistics) bool { return s.IncidentsOpen == 0 })
	time.Sleep(15 * time.Second)
	promised, err := w.Metric(t.Context(), w.ask, "sereno_alert_promised_seconds_sum")
	if err != nil {
		t.Fatal(err)
	}

	proofs := map[string]time.Time{} // "h7 is down": when a look had proven it
	for name, spans := range w.spans(w.book()) {
		for i, span := range spans {
			switch {
			case span.Status == sereno.Down: // known when the look has timed out
				proofs[name+" is down"] = span.Proof.Time().Add(time.Second)
			case span.Status == sereno.Up && i > 0 && spans[i-1].Status == sereno.Down:
				proofs[name+" is back"] = span.Proof.Time()
			}
		}
	}
	at := map[string][]time.Duration{}
	told := map[string]int{}
	for _, c := range phone.all() {
		found := deadOrBack.FindStringSubmatch(c.text)
		if found == nil {
			t.Errorf("a message that nobody expects: %s", c.text)
			continue
		}
		proof, ok := proofs[found[0]]
		if !ok {
			t.Errorf("%s is told, and is not in the book", found[0])
			continue
		}
		told[found[0]]++
		late, kind := c.at.Sub(proof), "at once"
		if strings.HasSuffix(c.channel, "1") || strings.HasSuffix(c.channel, "3") || strings.HasSuffix(c.channel, "5") || strings.HasSuffix(c.channel, "7") || strings.HasSuffix(c.channel, "9") {
			late, kind = late-10*time.Second, "gathered"
		}
		at[kind+", "+found[2]] = append(at[kind+", "+found[2]], late)
		at["all"] = append(at["all"], late)
	}
	for what := range proofs {
		if told[what] != 1 {
			t.Errorf("%s was told %d times", what, told[what])
		}
	}
	for _, kind := range []string{"at once, down", "at once, back", "gathered, down", "gathered, back", "all"} {
		t.Logf("%s: %d messages, p50 %v, p99 %v, most %v", kind, len(at[kind]), quantile(at[kind], 0.5), quantile(at[kind], 0.99), quantile(at[kind], 1))
	}
	t.Logf("%d devices at 1 s; change to promise, on the average: %.1f ms", n, 1000*promised/float64(len(proofs)))
	if len(at["all"]) < 2*outages || quantile(at["all"], 0.99) > 300*time.Millisecond {
		t.Error("promise not kept")
	}
}

// kill -9 of the real program at random moments while devices die and return:
// every begin and end is told, and a kill costs a channel one repetition at
// most, with the same key. SERENO_SOAK_ALERT_KILLS is how many.
func TestKilledWhileItTells(t *testing.T) {
	const n = 2000
	kills := number("SERENO_SOAK_ALERT_KILLS", 200)
	hooks := []string{"/hook/0", "/hook/1"}
	var conf strings.Builder
	conf.WriteString("channels:\n")
	for i, path := range hooks {
		fmt.Fprintf(&conf, "  - {name: hook-%d, webhook: {url: \"http://%s%s\"}}\n", i, phoneAddress, path)
	}
	conf.WriteString("policies:\n  - {name: all, group_wait: 0s, settle: 1s, match: 'not own', steps: [{}]}\n")
	conf.WriteString(hosts(n))
	w := newLab(t, conf.String(), t.TempDir())
	phone := newPhone(w)
	w.start()
	w.allUp()
	for range kills {
		i := rand.IntN(n)
		w.lab.Silence(netip.PrefixFrom(host(i), 32))
		// It is told 3 to 4 s later, and the end 1 to 2 s after the return.
		time.Sleep(time.Duration(3000+rand.IntN(1300)) * time.Millisecond)
		if rand.IntN(2) == 0 {
			w.lab.Restore(netip.PrefixFrom(host(i), 32))
			time.Sleep(time.Duration(1000+rand.IntN(1300)) * time.Millisecond)
		}
		w.Kill()
		w.lab.Restore(netip.PrefixFrom(host(i), 32))
		w.ask.CloseIdleConnections()
		w.start()
	}
	w.allUp()
	w.until(time.Minute, "all is over", func(s bench.Statistics) bool { return s.IncidentsOpen == 0 })
	s := (*store.Store)(nil)
	for waiting := 1.0; waiting > 0; time.Sleep(time.Second) { // a storm's digest comes within a minute
		waiting = 0
		for i := range hooks {
			for _, name := range []string{"sereno_alert_waiting", "sereno_alert_later"} {
				m, err := w.Metric(t.Context(), w.ask, fmt.Sprintf(`%s{channel="hook-%d"}`, name, i))
				if err != nil {
					t.Fatal(err)
				}
				waiting += m
			}
		}
	}
	s = w.book()
	incidents := map[sereno.IncidentID]bool{}
	for cursor := ""; ; {
		page, next, err := s.Incidents(t.Context(), store.IncidentQuery{Limit: 1000, Cursor: cursor})
		if err != nil {
			t.Fatal(err)
		}
		for _, in := range page {
			incidents[in.ID] = in.Device != 0
		}
		if cursor = next; next == "" {
			break
		}
	}
	for i, path := range hooks {
		times := map[string]int{}
		repeated := 0
		for _, c := range phone.all() {
			if c.channel == path {
				if times[c.key]++; times[c.key] > 1 {
					repeated++
				}
			}
		}
		began, over := map[sereno.IncidentID]bool{}, map[sereno.IncidentID]bool{}
		for cursor := ""; ; {
			page, next, err := s.Deliveries(t.Context(), store.DeliveryQuery{Channel: fmt.Sprintf("hook-%d", i), Limit: 1000, Cursor: cursor})
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range page {
				switch {
				case d.State == alert.Delivered && times[d.Key] == 0:
					t.Errorf("delivery %d is delivered, and never came", d.ID)
				case d.State != alert.Delivered && d.State != alert.Merged:
					t.Errorf("delivery %d is %s", d.ID, d.State)
				}
				for _, item := range d.Items {
					if d.State == alert.Delivered {
						began[item.Incident] = began[item.Incident] || strings.HasPrefix(item.Occasion, "opened")
						over[item.Incident] = over[item.Incident] || strings.HasPrefix(item.Occasion, "closed")
					}
				}
			}
			if cursor = next; next == "" {
				break
			}
		}
		lost := 0
		for id, device := range incidents {
			if device && (!began[id] || !over[id]) {
				lost++
				t.Errorf("%s: of incident %d the begin (%v) or the end (%v) was not told", path, id, began[id], over[id])
			}
		}
		t.Logf("%s: %d kills, %d incidents, %d messages, %d repeated with the same key, %d lost", path, kills, len(incidents), len(times), repeated, lost)
		if repeated > kills {
			t.Errorf("%d repetitions for %d kills", repeated, kills)
		}
	}
}
