package alert_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"sereno"
	"sereno/alert"
	"sereno/ledger"
	"sereno/notify"
	"sereno/notify/webhook"
	"sereno/store"
)

// A hook is the far end of a webhook that notes what it was sent before it
// answers, after some time.
type hook struct {
	mu    sync.Mutex
	keys  []string       // in the order in which they came first
	times map[string]int // how often
	wrong []string
}

func (h *hook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var d notify.Document
	if err == nil {
		err = json.Unmarshal(body, &d)
	}
	h.mu.Lock()
	switch {
	case err != nil: // cut off in the middle: not taken
	case d.Delivery == "":
		h.wrong = append(h.wrong, string(body))
	default:
		if h.times[d.Delivery]++; h.times[d.Delivery] == 1 {
			h.keys = append(h.keys, d.Delivery)
		}
	}
	h.mu.Unlock()
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	time.Sleep(time.Duration(rand.IntN(15)) * time.Millisecond)
}

// TestKilled kills a process that finds out and tells, at random moments, again
// and again: what was committed is told, and a kill costs each channel one
// repetition at most, of the same message. SERENO_KILLS is how many there are.
func TestKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	kills := 10
	if n, err := strconv.Atoi(os.Getenv("SERENO_KILLS")); err == nil {
		kills = n
	}
	names := []string{"first", "second"}
	hooks := map[string]*hook{}
	mux := http.NewServeMux()
	for _, name := range names {
		hooks[name] = &hook{times: map[string]int{}}
		mux.Handle("/"+name, hooks[name])
	}
	server := httptest.NewServer(mux)
	defer server.Close()
	path := filepath.Join(t.TempDir(), "sereno.db")
	s := openStore(t, path)
	addDevices(t, s, killedDevices)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	// A life begins an hour after the one before, by its own clock: else all
	// messages would come in one digest a minute, so many there are.
	live := func(life int, drain bool) (*exec.Cmd, io.Reader) {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKilledChild$", "-test.v=false")
		cmd.Env = append(os.Environ(), "SERENO_DESK_TO_KILL="+path, "SERENO_DESK_HOOKS="+server.URL,
			fmt.Sprintf("SERENO_DESK_LIFE=%d", life), fmt.Sprintf("SERENO_DESK_DRAIN=%t", drain))
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd, out
	}
	committed := 0
	for life := range kills {
		cmd, out := live(life, false)
		lines := bufio.NewScanner(out)
		// Its moment comes at random after a change that is on disk, also while
		// the one that was found out first is on its way to the channels.
		moment := 1 + rand.IntN(6)
		for n := 0; n < moment && lines.Scan(); n++ {
			committed++
		}
		time.Sleep(time.Duration(rand.IntN(30_000)) * time.Microsecond)
		_ = cmd.Process.Kill()
		for lines.Scan() {
			committed++
		}
		_ = cmd.Wait()
	}
	cmd, out := live(kills, true)
	if text, err := io.ReadAll(out); err != nil || cmd.Wait() != nil {
		t.Fatalf("the last life ended early: %s", text)
	}

	s = openStore(t, path)
	defer s.Close()
	if err := s.CheckInvariants(t.Context()); err != nil {
		t.Error(err)
	}
	deliveries, incidents := everything(t, s)
	for _, name := range names {
		h := hooks[name]
		at, repeated := map[string]int{}, 0
		for i, key := range h.keys {
			at[key] = i
			repeated += h.times[key] - 1
		}
		allCarried(t, name, deliveries, incidents, at)
		if repeated > kills {
			t.Errorf("%s: %d repetitions for %d kills", name, repeated, kills)
		}
		if len(h.wrong) > 0 {
			t.Errorf("%s: %q", name, h.wrong)
		}
		known := map[string]bool{}
		for _, d := range deliveries {
			known[d.Key] = known[d.Key] || d.Channel == name && d.State == alert.Delivered
		}
		for _, key := range h.keys {
			if !known[key] {
				t.Errorf("%s took %s, which is not delivered by the book", name, key)
			}
		}
		t.Logf("%s: %d kills, %d incidents, %d messages, %d repetitions", name, kills, len(incidents), len(h.keys), repeated)
	}
	if committed < kills || len(incidents) < 2 {
		t.Errorf("%d changes in %d lives: nothing was proven", committed, kills)
	}
}

const killedDevices = 40 // each has its turn

var storeWaiting = store.DeliveryQuery{States: []alert.State{alert.Waiting}, Limit: 1}

// TestKilledChild is a life of TestKilled: it finds out something every few
// milliseconds, and says so when it is committed.
func TestKilledChild(t *testing.T) {
	path := os.Getenv("SERENO_DESK_TO_KILL")
	if path == "" {
		return // it is a part of TestKilled, which starts it
	}
	drain := os.Getenv("SERENO_DESK_DRAIN") == "true"
	life, err := strconv.Atoi(os.Getenv("SERENO_DESK_LIFE"))
	if err != nil {
		t.Fatal(err)
	}
	now := func() sereno.Instant { return sereno.At(time.Now().Add(time.Duration(life) * time.Hour)) }
	s := openStore(t, path)
	book := alert.Book{Policies: []alert.Policy{{Name: "all", GroupWait: -1, GroupBy: []string{"device"}, Settle: time.Millisecond, Steps: []alert.Step{{}}}}}
	for _, name := range []string{"first", "second"} {
		book.Channels = append(book.Channels, alert.Channel{
			Name: name, Kind: "webhook", GiveUp: 30 * 24 * time.Hour,
			Settings: json.RawMessage(fmt.Sprintf(`{"url": "%s/%s"}`, os.Getenv("SERENO_DESK_HOOKS"), name)),
		})
	}
	plan, err := book.Compile([]notify.Kind{webhook.Kind{}}, notify.Options{})
	if err != nil {
		t.Fatal(err)
	}
	desk := alert.NewDesk(alert.DeskOptions{Plan: plan, Outbox: s, Stories: told{s}, Now: now})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- desk.Run(ctx) }()

	last, err := s.LastIncidentID(ctx)
	if err != nil {
		t.Fatal(err)
	}
	open, err := s.OpenIncidents(ctx)
	if err != nil {
		t.Fatal(err)
	}
	commit := func(in sereno.Incident) {
		if err := s.Commit(ctx, &ledger.Entry{Incidents: []sereno.Incident{in}}); err != nil {
			t.Fatal(err)
		}
		desk.Poke()
		fmt.Println(in.ID)
	}
	end := func(in sereno.Incident) {
		in.Closed = now()
		commit(in)
	}
	for !drain {
		if len(open) > 3 || len(open) > 0 && rand.IntN(2) == 0 {
			end(open[0])
			open = open[1:]
		} else {
			last++
			i := 1 + int(last)%killedDevices
			in := sereno.Incident{ID: last, Device: sereno.DeviceID(i), Check: sereno.CheckID(i), Opened: now(), Reason: "no reply in 1s"}
			commit(in)
			open = append(open, in)
		}
		time.Sleep(time.Duration(rand.IntN(20)) * time.Millisecond)
	}
	for _, in := range open {
		end(in)
	}
	for {
		waiting, _, err := s.Deliveries(ctx, storeWaiting)
		if err != nil {
			t.Fatal(err)
		}
		changes, err := s.Changes(ctx, 0, 10_000)
		if err != nil {
			t.Fatal(err)
		}
		loaded, err := s.LoadAlerts(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if len(waiting) == 0 && loaded.Cursor >= changes[len(changes)-1].Revision {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
