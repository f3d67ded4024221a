package api

import (
	"bufio"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sereno"
	"sereno/event"
)

// newsroom is an API that has nothing but events.
func newsroom(t *testing.T) (*event.Hub, http.Handler) {
	hub := event.New()
	return hub, New(Options{
		Events: hub, Version: "test", Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Now: func() sereno.Instant { return noon },
	})
}

// A told is one event as a program reads it, or a comment.
type told struct{ id, name, data, comment string }

// listen reads the stream at url until it ends.
func listen(t *testing.T, url, after string) (events <-chan told, leave func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, "GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if after != "" {
		r.Header.Set("Last-Event-ID", after)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	if got := answer.Header.Get("Content-Type"); answer.StatusCode != 200 || got != "text/event-stream" {
		t.Fatalf("%s, %s", answer.Status, got)
	}
	out := make(chan told, 1000)
	go func() {
		defer close(out)
		defer answer.Body.Close()
		var now told
		for lines := bufio.NewScanner(answer.Body); lines.Scan(); {
			name, value, _ := strings.Cut(lines.Text(), ": ")
			switch {
			case lines.Text() == "":
				out <- now
				now = told{}
			case name == "":
				now.comment = value
			case name == "id":
				now.id = value
			case name == "event":
				now.name = value
			case name == "data":
				if now.data != "" {
					now.data += "\n"
				}
				now.data += value
			}
		}
	}()
	return out, cancel
}

func TestEventsAreToldInOrderAndTakenUpAgain(t *testing.T) {
	hub, h := newsroom(t)
	url, stop := served(t, h)
	defer stop()
	first, leave := listen(t, url+"/api/events?topic=alerts", "")
	if got := <-first; got.comment != "on watch" {
		t.Fatalf("the stream begins with %+v", got)
	}
	hub.Publish("alerts", "opened", []byte(`{"event":"opened"}`))
	hub.Publish("other", "noise", []byte(`{}`))
	hub.Publish("alerts", "closed", []byte("{\n}"))
	opened, closed := <-first, <-first
	if opened.name != "opened" || opened.data != `{"event":"opened"}` || closed.name != "closed" || closed.data != "{\n}" || opened.id >= closed.id {
		t.Errorf("heard %+v, %+v", opened, closed)
	}
	leave()
	for range first {
	}
	hub.Publish("alerts", "reminder", []byte(`{}`))

	again, leave := listen(t, url+"/api/events?topic=alerts", opened.id)
	<-again
	if a, b := <-again, <-again; a != closed || b.name != "reminder" {
		t.Errorf("after %s heard %+v, %+v", opened.id, a, b)
	}
	leave()

	stranger, leave := listen(t, url+"/api/events", "17")
	<-stranger
	if got := <-stranger; got.name != "missed" || got.id == "" {
		t.Errorf("one from another life heard %+v first", got)
	}
	if got := <-stranger; got != opened {
		t.Errorf("and then %+v", got)
	}
	leave()
}

func TestEventsEndWithTheServerAtOnce(t *testing.T) {
	_, h := newsroom(t)
	url, stop := served(t, h)
	events, _ := listen(t, url+"/api/events", "")
	<-events
	begun := time.Now()
	if err := stop(); err != nil {
		t.Error(err)
	}
	if got := <-events; got.name != "end" || !strings.Contains(got.data, `"stopping"`) {
		t.Errorf("heard %+v", got)
	}
	if took := time.Since(begun); took >= grace {
		t.Errorf("the server waited %s for somebody who only listens", took)
	}
}

func TestEventsEndForWhoIsSlow(t *testing.T) {
	hub := event.New()
	w := httptest.NewRecorder()
	sub := hub.Subscribe(0)
	for range 2 * event.Queue {
		hub.Publish("alerts", "opened", []byte(`{}`))
	}
	if err := follow(t.Context(), newStream(w), sub); err != nil {
		t.Fatal(err)
	}
	if body := w.Body.String(); strings.Count(body, "event: opened") != event.Queue || !strings.Contains(body, "event: end\ndata: {\"reason\":\"slow\"") {
		t.Errorf("told: …%s", body[max(len(body)-300, 0):])
	}
}

func TestEventsOutliveTheServersTimeouts(t *testing.T) {
	hub, h := newsroom(t)
	server := httptest.NewUnstartedServer(h)
	server.Config.ReadTimeout, server.Config.WriteTimeout = 100*time.Millisecond, 100*time.Millisecond
	server.Start()
	defer server.Close()
	events, leave := listen(t, server.URL+"/api/events", "")
	defer leave()
	<-events
	time.Sleep(300 * time.Millisecond)
	hub.Publish("alerts", "opened", []byte(`{}`))
	if got, ok := <-events; !ok || got.name != "opened" {
		t.Errorf("heard %+v, %v", got, ok)
	}
}

func TestAQuietStreamSaysThatItLives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := event.New()
		ctx, cancel := context.WithTimeout(t.Context(), 5*heartbeat+time.Second)
		defer cancel()
		w := httptest.NewRecorder()
		sub := hub.Subscribe(0)
		defer sub.Close()
		_ = follow(ctx, newStream(w), sub)
		if n := strings.Count(w.Body.String(), ": quiet\n\n"); n != 5 {
			t.Errorf("%d signs of life in five times %s", n, heartbeat)
		}
	})
}

func TestEventsHaveADoor(t *testing.T) {
	hub, h := newsroom(t)
	url, stop := served(t, h)
	defer stop()
	ask := func(path string, header ...string) int {
		r, err := http.NewRequestWithContext(t.Context(), "GET", url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		return answer.StatusCode
	}
	if got := ask("/api/events", "Sec-Fetch-Site", "cross-site"); got != 403 {
		t.Errorf("a page of another site listens: %d", got)
	}
	if got := ask("/api/events?topic=weather"); got != 422 {
		t.Errorf("a topic that there is not: %d", got)
	}
	if got := ask("/api/events", "Last-Event-ID", "yesterday"); got != 422 {
		t.Errorf("an id that is none: %d", got)
	}
	for range maxWatchers {
		defer hub.Subscribe(0).Close()
	}
	if got := ask("/api/events"); got != 503 {
		t.Errorf("one too many: %d", got)
	}
	if w := newWorld(t); serve(w, httptest.NewRequest("GET", "http://localhost/api/events", nil)).Code != 404 {
		t.Error("there are events although there is no hub")
	}
}

// TestNoMoreThanManyWatchAtOnce: those who come in one moment do not slip through
// a door that each of them found open.
func TestNoMoreThanManyWatchAtOnce(t *testing.T) {
	hub := event.New()
	d := &desk{Options: Options{Events: hub}}
	let := 0
	for range 3 * maxWatchers { // none of which has got so far as to be told something
		if _, err := d.events(t.Context(), &eventsQuery{}); err == nil {
			let++
		} else if sereno.KindOf(err) != sereno.Unavailable {
			t.Fatal(err)
		}
	}
	if let != maxWatchers || hub.Subscribers() != maxWatchers {
		t.Errorf("%d were let in, %d listen", let, hub.Subscribers())
	}
}
