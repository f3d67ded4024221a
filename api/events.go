package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"sereno"
	"sereno/event"
)

const (
	// maxWatchers is how many may follow the events at once.
	maxWatchers = 100
	// heartbeat is after how long without news a stream says that it lives.
	heartbeat = 15 * time.Second
	// reconnect is after how many milliseconds a watcher comes back.
	reconnect = 2000
)

type eventsQuery struct {
	Topic []string `query:"topic" enum:"alerts" doc:"Only what belongs to these; left out: everything"`
	After int64    `header:"Last-Event-ID" doc:"The id that was heard last: what came since then comes first"`
}

func (d *desk) registerEvents() {
	if d.Events == nil {
		return
	}
	register(d, huma.Operation{
		OperationID: "listEvents", Method: http.MethodGet, Path: "/api/events",
		Summary: "What happens, while it happens (server-sent events)",
		Description: "The id of an event ascends, its name says what happened, its data is JSON: of alerts the body that a webhook gets. " +
			"missed says that what came since Last-Event-ID is no longer known: read the lists again. end says why the stream ends; come back. " +
			"A comment comes at least every 15 seconds.",
		Responses: map[string]*huma.Response{"200": {
			Description: "Events", Content: map[string]*huma.MediaType{"text/event-stream": {Schema: &huma.Schema{Type: huma.TypeString}}},
		}},
	}, d.events)
}

func (d *desk) events(_ context.Context, in *eventsQuery) (*huma.StreamResponse, error) {
	// First in, then counted: of many who come at once none slips through.
	news := d.Events.Subscribe(in.After, in.Topic...)
	if d.Events.Subscribers() > maxWatchers {
		news.Close()
		return nil, sereno.Errorf(sereno.Unavailable, "%d others follow the events just now: ask again when one of them has gone", maxWatchers)
	}
	return &huma.StreamResponse{Body: func(answer huma.Context) {
		r, w := humago.Unwrap(answer)
		w.Header().Set("Content-Type", "text/event-stream")
		w.Header().Set("X-Accel-Buffering", "no") // nginx would hold news back
		defer news.Close()
		// Whoever has gone is noticed by the next write, or by the server.
		_ = follow(r.Context(), newStream(w), news)
	}}, nil
}

// follow writes news until it ends, the watcher has gone, or the server stops.
func follow(ctx context.Context, w *stream, news *event.Subscription) error {
	if err := w.send("retry: %d\n: on watch\n\n", reconnect); err != nil {
		return err
	}
	if missed := news.Missed(); missed != 0 {
		if err := w.event(event.Event{Sequence: missed, Name: "missed", Data: []byte("{}")}); err != nil {
			return err
		}
	}
	beat := time.NewTimer(heartbeat)
	defer beat.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-stopping(ctx):
			return w.end(event.ErrEnded)
		case e, ok := <-news.Events():
			if !ok {
				return w.end(news.Err())
			}
			err = w.event(e)
		case <-beat.C:
			err = w.send(": quiet\n\n")
		}
		if err != nil {
			return err
		}
		beat.Reset(heartbeat)
	}
}

// A stream writes server-sent events, each with its own time, at once.
type stream struct {
	to      io.Writer
	control *http.ResponseController
}

func newStream(w http.ResponseWriter) *stream {
	s := &stream{w, http.NewResponseController(w)}
	// A recorder, or a server without deadlines, needs none. (When that for
	// reading passes, the request would end.)
	_ = s.control.SetReadDeadline(time.Time{})
	return s
}

func (s *stream) send(format string, args ...any) error {
	_ = s.control.SetWriteDeadline(time.Now().Add(tarry))
	if _, err := fmt.Fprintf(s.to, format, args...); err != nil {
		return err
	}
	return s.control.Flush()
}

func (s *stream) event(e event.Event) error {
	var b strings.Builder
	if e.Sequence != 0 {
		fmt.Fprintf(&b, "id: %d\n", e.Sequence)
	}
	fmt.Fprintf(&b, "event: %s\n", e.Name)
	for line := range strings.SplitSeq(string(e.Data), "\n") {
		fmt.Fprintf(&b, "data: %s\n", line)
	}
	return s.send("%s\n", b.String())
}

func (s *stream) end(why error) error {
	reason := "stopping"
	if errors.Is(why, event.ErrSlow) {
		reason = "slow"
	}
	return s.event(event.Event{Name: "end", Data: fmt.Appendf(nil, `{"reason":%q,"text":%q}`, reason, why)})
}
