package notify

import (
	"context"
	"sync"
)

// Hear returns a context for Send, and a function that gives what the far end
// said when it took the message, "" if nothing: "250 2.0.0 queued as 4F7",
// "200 OK". It is a harmless line without secrets.
func Hear(ctx context.Context) (context.Context, func() string) {
	h := &hearing{}
	return context.WithValue(ctx, hearingKey{}, h), func() string {
		h.mu.Lock()
		defer h.mu.Unlock()
		return h.text
	}
}

// Say is for channels: it notes what the far end said, in place of what was
// said before. Whoever did not ask does not hear it.
func Say(ctx context.Context, text string) {
	if h, ok := ctx.Value(hearingKey{}).(*hearing); ok {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.text = Cut(Line(text), 2*MaxAnswer)
	}
}

type hearingKey struct{}

type hearing struct {
	mu   sync.Mutex
	text string
}
