// Package remote sends the samples on to stores elsewhere, by remote write 1.0.
//
// What is to be sent waits on disk, for each store by itself, so that a store
// that is away for hours, and the end of this process, cost nothing. Nothing
// waits for any of it: who keeps looks gives them here and goes on.
package remote

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/golang/snappy"

	"sereno"
)

// Options are what a Sender needs. Targets have been validated.
type Options struct {
	Dir     string // a folder in it for each target
	Targets []Target
	Agent   string       // what requests call themselves: "sereno/1.2"
	Log     *slog.Logger // nil: slog.Default()
}

// A Sender sends samples to its targets.
type Sender struct {
	log   *slog.Logger
	lines []*lane

	mu      sync.Mutex
	known   map[sereno.CheckID]identity
	pending []look
	missed  uint64 // looks that found no room
	wake    chan struct{}
}

// maxPending is how many looks may wait to be written to disk: ten seconds of
// 100,000 a second, 32 bytes each.
const maxPending = 1_000_000

// A lane is one target: what waits for it and what became of it.
type lane struct {
	target Target
	dir    string
	log    *slog.Logger
	post   *poster
	queue  atomic.Pointer[queue] // nil until it is open

	unwritten bool // nothing could be written to it last, and that was told; Run's own

	sent, failures, refused atomic.Uint64 // samples, requests, looks
}

// New returns a Sender. It opens nothing before Run.
func New(o Options) *Sender {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	s := &Sender{log: o.Log.With("part", "remote write"), known: map[sereno.CheckID]identity{}, wake: make(chan struct{}, 1)}
	for _, t := range o.Targets {
		t = t.orDefault()
		s.lines = append(s.lines, &lane{
			target: t, dir: filepath.Join(o.Dir, t.Name), log: s.log.With("target", t.Name), post: newPoster(t, o.Agent),
		})
	}
	return s
}

// Know tells whose a check is, before its first look. It is never taken back.
func (s *Sender) Know(devices []sereno.Device) {
	if len(s.lines) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range devices {
		for _, c := range devices[i].Checks {
			s.known[c.ID] = identity{strconv.FormatInt(int64(devices[i].ID), 10), c.Kind}
		}
	}
}

func (s *Sender) identify(c sereno.CheckID) (identity, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id, ok := s.known[c]
	return id, ok
}

// Keep takes in looks, per check in ascending order of time; Status Unknown is
// a moment at which looks stopped saying anything. It copies them and never
// blocks; what finds no room is dropped and counted.
func (s *Sender) Keep(batch []sereno.Result) {
	if len(s.lines) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if room := maxPending - len(s.pending); len(batch) > room {
		s.missed += uint64(len(batch) - room)
		batch = batch[:room]
	}
	for i := range batch {
		s.pending = append(s.pending, lookOf(&batch[i]))
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// How often what was written is synced, and what waits is looked through.
const (
	syncEvery   = 5 * time.Second
	expireEvery = time.Minute
)

// Run writes what is kept to disk and sends it, until ctx ends; what was kept
// until then is on disk when it returns. Whoever calls Keep ends before that.
//
// A queue that cannot be opened is no reason not to watch: it is told, and its
// target gets nothing.
func (s *Sender) Run(ctx context.Context) error {
	var sending sync.WaitGroup
	for _, l := range s.lines {
		q, err := openQueue(l.dir, l.target.MaxBytes, l.target.MaxAge, l.log)
		if err != nil {
			l.log.Error("nothing is sent to this target: its queue cannot be opened", "err", err)
			continue
		}
		l.queue.Store(q)
		sending.Go(func() { l.run(ctx, q) })
	}
	sync, expire := time.NewTicker(syncEvery), time.NewTicker(expireEvery)
	defer sync.Stop()
	defer expire.Stop()
	var spare []look
	for done := false; !done; {
		select {
		case <-ctx.Done():
			done = true
		case <-s.wake:
		case <-sync.C:
			s.each(func(l *lane, q *queue) { l.check("sync the queue", q.sync()) })
		case <-expire.C:
			s.each(func(_ *lane, q *queue) { q.expire(time.Now()) })
		}
		spare = s.write(spare)
	}
	sending.Wait()
	s.each(func(l *lane, q *queue) { l.check("close the queue", q.close()) })
	return nil
}

func (s *Sender) each(do func(*lane, *queue)) {
	for _, l := range s.lines {
		if q := l.queue.Load(); q != nil {
			do(l, q)
		}
	}
}

func (l *lane) check(doing string, err error) {
	if err != nil {
		l.log.Error("could not "+doing, "err", err)
	}
}

// write appends what is pending to every queue. It gives back the memory of
// it for the next.
func (s *Sender) write(spare []look) []look {
	s.mu.Lock()
	pending := s.pending
	s.pending = spare[:0]
	s.mu.Unlock()
	if len(pending) > 0 {
		s.each(func(l *lane, q *queue) {
			err := q.append(pending, s.identify)
			if err != nil && !l.unwritten {
				l.log.Error("could not write to the queue: until it can be written again, samples are dropped, and counted", "err", err)
			} else if err == nil && l.unwritten {
				l.log.Info("the queue is written again")
			}
			l.unwritten = err != nil
		})
	}
	return pending
}

// Bounds of one request, and of the pauses between tries.
const (
	requestLooks = 3 * recordLooks
	firstPause   = 250 * time.Millisecond
	longestPause = 30 * time.Second
	mostPatience = 10 * time.Minute // with a Retry-After
)

// run sends what is in the queue until ctx ends.
func (l *lane) run(ctx context.Context, q *queue) {
	r := newReader(q)
	defer r.close()
	w := writer{extra: l.target.Labels}
	var packed []byte
	for ctx.Err() == nil {
		b, err := r.next(requestLooks)
		if err != nil {
			l.check("read the queue", err)
			if !pause(ctx, longestPause) {
				return
			}
			continue
		}
		if len(b.looks) == 0 {
			select {
			case <-ctx.Done():
				return
			case <-q.wake:
			}
			continue
		}
		body, samples := w.request(b)
		if samples > 0 {
			packed = snappy.Encode(packed[:cap(packed)], body)
			if !l.deliver(ctx, q, b, packed, samples) {
				return
			}
		}
		l.check("write the queue's position", q.ack(b.end, len(b.looks)))
	}
}

// deliver sends one request until the store has it, or does not want it, or it
// is dropped from the queue. It reports whether to go on.
func (l *lane) deliver(ctx context.Context, q *queue, b batch, packed []byte, samples int) bool {
	wait, failing := firstPause, time.Time{}
	for {
		err := l.send(ctx, packed)
		if err == nil {
			l.sent.Add(uint64(samples))
			if !failing.IsZero() {
				l.log.Info("the store takes samples again", "after", time.Since(failing).Round(time.Second))
			}
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		l.failures.Add(1)
		no, ok := errors.AsType[*refusal](err)
		if ok && !no.again {
			l.refused.Add(uint64(len(b.looks)))
			if l.post.told != no.code {
				l.log.Error("the store does not take samples: they are dropped, and counted", "err", err)
			}
			l.post.told = no.code
			return true
		}
		if failing.IsZero() {
			failing = time.Now()
			l.log.Warn("the store cannot be reached or is too busy; samples wait on disk", "err", err)
		}
		next := wait + time.Duration(rand.Int64N(int64(wait/4)))
		if ok && no.after > 0 {
			next = min(no.after, mostPatience)
		}
		if !pause(ctx, next) {
			return false
		}
		if !q.has(b.end.segment) {
			return true // it has waited too long, and is counted
		}
		wait = min(2*wait, longestPause)
	}
}

// parting is how long a request that is under way may still take when the
// process ends, so that it is not sent again by the next.
const parting = 2 * time.Second

func (l *lane) send(ctx context.Context, packed []byte) error {
	longer, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(parting, cancel) })()
	return l.post.post(longer, packed)
}

// pause waits for d; it reports whether ctx still goes on.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
