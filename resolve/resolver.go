// Package resolve turns names into addresses, apart from the looks: a look
// never waits for a name server, and a name server that fails is its own
// trouble, not the target's.
package resolve

import (
	"container/heap"
	"context"
	"errors"
	"hash/fnv"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Options say how a Resolver works. The zero Options ask the system's name
// servers and tell nobody.
type Options struct {
	// Lookup returns the addresses of a name, the preferred one first. The
	// system's resolver if nil.
	Lookup func(ctx context.Context, name string) ([]netip.Addr, error)

	// Changed is called by Run, one at a time, when the address of a name or
	// the trouble with it changes: addr is where to look now (not valid as long
	// as none is known), err what is wrong with the name, nil if nothing is. It
	// is called for each name that is set, as soon as something is known.
	Changed func(name string, addr netip.Addr, err error)

	Refresh time.Duration // how often a name is asked for; 60 s if 0
	Timeout time.Duration // of one lookup; 5 s if 0
	AtOnce  int           // lookups under way at the same time; 16 if 0
}

// hasty is how often a name is asked for that has no address yet: a machine
// that has just started may have no network.
const hasty = 5 * time.Second

// ErrNoAddress is the trouble with a name that exists but has no address.
var ErrNoAddress = errors.New("the name has no address")

// A Resolver keeps the addresses of a set of names.
//
// The address of a name stays while it is among the answers, so that a name
// with several addresses does not flap between them; and it stays while the
// resolver fails. A literal address, with or without a zone, is its own answer
// and is never asked for.
type Resolver struct {
	options Options
	wake    chan struct{}

	mu     sync.Mutex
	wanted []string // of the latest Set
}

// New makes a Resolver without any names.
func New(o Options) *Resolver {
	if o.Lookup == nil {
		o.Lookup = lookup
	}
	if o.Changed == nil {
		o.Changed = func(string, netip.Addr, error) {}
	}
	if o.Refresh == 0 {
		o.Refresh = time.Minute
	}
	if o.Timeout == 0 {
		o.Timeout = 5 * time.Second
	}
	if o.AtOnce == 0 {
		o.AtOnce = 16
	}
	return &Resolver{options: o, wake: make(chan struct{}, 1)}
}

func lookup(ctx context.Context, name string) ([]netip.Addr, error) {
	return net.DefaultResolver.LookupNetIP(ctx, "ip", name)
}

// Set says which names are wanted from now on. Names that were wanted before
// keep their addresses; the others are forgotten.
func (r *Resolver) Set(names []string) {
	r.mu.Lock()
	r.wanted = slices.Clone(names)
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Run resolves until ctx ends and the lookups under way have returned.
func (r *Resolver) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	book := book{options: r.options, names: map[string]*entry{}}
	answers := make(chan answer, r.options.AtOnce) // never more than are under way
	underWay := 0
	alarm := time.NewTimer(0)
	defer alarm.Stop()
	for {
		now := time.Now()
		for underWay < r.options.AtOnce {
			e := book.due(now)
			if e == nil {
				break
			}
			underWay++
			wg.Go(func() { answers <- r.ask(ctx, e) })
		}
		if next, ok := book.next(); ok && underWay < r.options.AtOnce {
			alarm.Reset(next.Sub(now))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-alarm.C:
		case a := <-answers:
			underWay--
			book.hear(a, time.Now())
		case <-r.wake:
			r.mu.Lock()
			wanted := r.wanted
			r.mu.Unlock()
			book.set(wanted, time.Now())
		}
	}
}

func (r *Resolver) ask(ctx context.Context, e *entry) answer {
	ctx, cancel := context.WithTimeout(ctx, r.options.Timeout)
	defer cancel()
	addrs, err := r.options.Lookup(ctx, e.name)
	return answer{e, addrs, err}
}

// An answer is what one lookup brought.
type answer struct {
	entry *entry
	addrs []netip.Addr
	err   error
}

// An entry is one wanted name.
type entry struct {
	name  string
	addr  netip.Addr
	err   error
	told  bool
	gone  bool // no longer wanted: an answer that still comes is for nobody
	next  time.Time
	index int // in the queue; -1 while it is asked for
}

// A book holds the wanted names, and the queue of those to ask for. Run owns it.
type book struct {
	options Options
	names   map[string]*entry
	queue   queue
}

func (b *book) set(wanted []string, now time.Time) {
	keep := make(map[string]bool, len(wanted))
	for _, name := range wanted {
		if keep[name] {
			continue
		}
		keep[name] = true
		if b.names[name] != nil {
			continue
		}
		e := &entry{name: name, next: now, index: -1}
		b.names[name] = e
		if literal, err := netip.ParseAddr(name); err == nil {
			b.tell(e, literal.Unmap(), nil)
			continue
		}
		heap.Push(&b.queue, e)
	}
	for name, e := range b.names {
		if keep[name] {
			continue
		}
		delete(b.names, name)
		e.gone = true
		if e.index >= 0 {
			heap.Remove(&b.queue, e.index)
		}
	}
}

// due takes the first entry that is due out of the queue; nil if none is.
func (b *book) due(now time.Time) *entry {
	if len(b.queue) == 0 || b.queue[0].next.After(now) {
		return nil
	}
	return heap.Pop(&b.queue).(*entry)
}

func (b *book) next() (time.Time, bool) {
	if len(b.queue) == 0 {
		return time.Time{}, false
	}
	return b.queue[0].next, true
}

// hear takes an answer in and plans the next question.
func (b *book) hear(a answer, now time.Time) {
	e := a.entry
	if e.gone {
		return
	}
	addr, err := choose(e.addr, a.addrs, a.err)
	wait := spread(e.name, now, b.options.Refresh)
	if !addr.IsValid() {
		wait = min(hasty, b.options.Refresh)
	}
	e.next = now.Add(wait)
	heap.Push(&b.queue, e)
	b.tell(e, addr, err)
}

// choose returns the address to look at from now on, and the trouble with it.
func choose(current netip.Addr, answers []netip.Addr, err error) (netip.Addr, error) {
	if err != nil {
		return current, err
	}
	var first netip.Addr
	for _, a := range answers {
		a = a.Unmap()
		switch {
		case !a.IsValid() || a.IsUnspecified() || a.IsMulticast():
		case a == current:
			return current, nil
		case !first.IsValid():
			first = a
		}
	}
	if !first.IsValid() {
		return current, ErrNoAddress
	}
	return first, nil
}

// spread returns the time to the next question: between half the refresh time
// and one and a half, so that the name comes to its own place in each period
// and names that were set together are not asked for together.
func spread(name string, now time.Time, refresh time.Duration) time.Duration {
	h := fnv.New64a()
	h.Write([]byte(name))
	place := time.Duration(h.Sum64() % uint64(refresh))
	since := time.Duration(now.UnixNano()) % refresh
	wait := (place - since + refresh) % refresh
	if wait < refresh/2 {
		wait += refresh
	}
	return wait
}

// tell reports a change of the address, or of whether there is trouble.
func (b *book) tell(e *entry, addr netip.Addr, err error) {
	changed := !e.told || addr != e.addr || (err == nil) != (e.err == nil)
	e.addr, e.err, e.told = addr, err, true
	if changed {
		b.options.Changed(e.name, addr, err)
	}
}

// A queue is a heap of entries, the one that is due first on top.
type queue []*entry

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].next.Before(q[j].next) }
func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}

// Push is for container/heap.
func (q *queue) Push(x any) {
	e := x.(*entry)
	e.index = len(*q)
	*q = append(*q, e)
}

// Pop is for container/heap.
func (q *queue) Pop() any {
	last := len(*q) - 1
	e := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	e.index = -1
	return e
}
