package app

import (
	"context"
	"errors"
	"fmt"
)

// A stack is the running parts of the program: started in order, stopped in
// the reverse order, each only when all that were started after it have ended.
// So whatever is under way in one part has somewhere to go.
type stack struct {
	ctx   context.Context // its values; its end ends nothing by itself
	parts []*part
	fell  chan *part // a part ended by itself
}

type part struct {
	name string
	stop context.CancelFunc
	done chan struct{}
	err  error
}

func newStack(ctx context.Context) *stack {
	return &stack{ctx: context.WithoutCancel(ctx), fell: make(chan *part, 32)}
}

// start runs a part. When it ends with an error before it was told to, the
// whole program ends.
func (s *stack) start(name string, run func(context.Context) error) {
	ctx, stop := context.WithCancel(s.ctx)
	p := &part{name: name, stop: stop, done: make(chan struct{})}
	s.parts = append(s.parts, p)
	go func() {
		defer close(p.done)
		if p.err = run(ctx); ctx.Err() == nil {
			s.fell <- p
		}
	}()
}

// wait returns when ctx ends or a part has failed, after all parts have ended.
func (s *stack) wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
	case <-s.fell:
	}
	return s.unwind()
}

// unwind stops all parts, the last one first, and returns what they ended
// with. A second call does nothing.
func (s *stack) unwind() error {
	var errs []error
	for i := len(s.parts) - 1; i >= 0; i-- {
		p := s.parts[i]
		p.stop()
		<-p.done
		if p.err != nil && !errors.Is(p.err, context.Canceled) {
			errs = append(errs, fmt.Errorf("%s: %w", p.name, p.err))
		}
	}
	s.parts = nil
	return errors.Join(errs...)
}
