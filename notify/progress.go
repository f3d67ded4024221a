package notify

import (
	"slices"
	"sync"
)

// A Progress remembers which parts of a message the far end has taken already,
// where one message is several to it (pieces of a long text, recipients), so
// that another try does not repeat them. It holds the latest messages only and
// is gone with the process: a repetition is the price of that, not a loss. The
// zero Progress is ready, and safe for concurrent use.
type Progress struct {
	mu    sync.Mutex
	order []string
	taken map[string][]string
}

const maxProgress = 1000 // messages that are remembered

// Take notes that a part of a message was taken.
func (p *Progress) Take(key, part string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.taken == nil {
		p.taken = map[string][]string{}
	}
	if _, ok := p.taken[key]; !ok {
		if p.order = append(p.order, key); len(p.order) > maxProgress {
			delete(p.taken, p.order[0])
			p.order = slices.Delete(p.order, 0, 1)
		}
	}
	p.taken[key] = append(p.taken[key], part)
}

// Taken are the parts of a message that were taken, nil if there are none.
func (p *Progress) Taken(key string) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.taken[key])
}

// Done forgets a message.
func (p *Progress) Done(key string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.taken, key)
	p.order = slices.DeleteFunc(p.order, func(k string) bool { return k == key })
}
