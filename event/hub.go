// Package event brings news to whoever is watching right now: a page, a program
// that follows along. It is a view and no record: whoever was away for long reads
// what was written down. Nobody who watches can delay the one who tells.
package event

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

// An Event is one piece of news.
type Event struct {
	Sequence int64  // ascending, also over restarts unless the clock was set back; below 2^53
	Topic    string // what it belongs to: "alerts"
	Name     string // what happened: "opened"
	Data     []byte // JSON on one line; not to be changed
}

// Why a subscription ended.
var (
	ErrSlow   = errors.New("cut off: too slow, news was waiting")
	ErrEnded  = errors.New("the end of the program")
	ErrClosed = errors.New("closed by the one who listened")
)

const (
	// Kept is how many of the latest events of all topics a hub remembers for
	// those who come back.
	Kept = 256
	// Queue is how much news may wait for one subscriber before it is cut off.
	Queue = 64
)

// A Hub passes events on, in one order for all. All its methods may be called at
// any time by any goroutine; none of them waits for a subscriber. Its state is
// behind a lock and not a goroutine's, so that Publish costs no handing over.
type Hub struct {
	mu      sync.Mutex
	last    int64   // the sequence given last
	kept    []Event // the latest, oldest first
	dropped int64   // the sequence of the latest that is no longer kept
	subs    map[*Subscription]struct{}
	ended   bool
}

// New makes a hub whose sequences begin with the time in microseconds: above
// those of the hub of an earlier process.
func New() *Hub {
	start := time.Now().UnixMicro()
	return &Hub{last: start, dropped: start, subs: map[*Subscription]struct{}{}}
}

// Run waits until ctx ends and then ends all subscriptions. What is published
// afterwards reaches nobody.
func (h *Hub) Run(ctx context.Context) error {
	<-ctx.Done()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ended = true
	for s := range h.subs {
		h.end(s, ErrEnded)
	}
	return nil
}

// Publish tells all subscribers of topic. It reports false when the hub has
// ended. data belongs to the hub from then on.
func (h *Hub) Publish(topic, name string, data []byte) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ended {
		return false
	}
	h.last++
	e := Event{Sequence: h.last, Topic: topic, Name: name, Data: data}
	if len(h.kept) == Kept {
		h.dropped = h.kept[0].Sequence
		h.kept = slices.Delete(h.kept, 0, 1)
	}
	h.kept = append(h.kept, e)
	for s := range h.subs {
		if !s.wants(topic) {
			continue
		}
		select {
		case s.events <- e:
		default:
			h.end(s, ErrSlow)
		}
	}
	return true
}

// Subscribe listens to topics (none: to all) from now on. after, if it is not 0,
// is the sequence that was heard last: what came since then is heard first, as
// far as it is kept.
func (h *Hub) Subscribe(after int64, topics ...string) *Subscription {
	s := &Subscription{hub: h, topics: topics}
	h.mu.Lock()
	defer h.mu.Unlock()
	var since []Event
	if after != 0 {
		if after < h.dropped || after > h.last {
			s.missed = h.dropped
			after = h.dropped
		}
		for _, e := range h.kept {
			if e.Sequence > after && s.wants(e.Topic) {
				since = append(since, e)
			}
		}
	}
	s.events = make(chan Event, len(since)+Queue)
	for _, e := range since {
		s.events <- e
	}
	if h.ended {
		s.why = ErrEnded
		close(s.events)
		return s
	}
	h.subs[s] = struct{}{}
	return s
}

// Subscribers returns how many are listening.
func (h *Hub) Subscribers() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.subs)
}

// end cuts a subscription off; the lock is held.
func (h *Hub) end(s *Subscription, why error) {
	if _, ok := h.subs[s]; ok {
		delete(h.subs, s)
		s.why = why
		close(s.events)
	}
}

// A Subscription hears events until it is closed, is too slow, or the hub ends.
type Subscription struct {
	hub    *Hub
	topics []string
	events chan Event
	missed int64
	why    error // the hub's lock
}

func (s *Subscription) wants(topic string) bool {
	return len(s.topics) == 0 || slices.Contains(s.topics, topic)
}

// Events gives the news in order, and is closed at the end of the subscription,
// after what was waiting.
func (s *Subscription) Events() <-chan Event { return s.events }

// Missed returns the sequence up to which news is lost for this subscription,
// because it is no longer kept, or nobody can know: the sequence given to
// Subscribe is another life's. 0: nothing was missed.
func (s *Subscription) Missed() int64 { return s.missed }

// Err says why the subscription ended: ErrSlow, ErrEnded, ErrClosed; nil while
// it has not.
func (s *Subscription) Err() error {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	return s.why
}

// Close ends the subscription. It may be called more than once.
func (s *Subscription) Close() {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	s.hub.end(s, ErrClosed)
}
