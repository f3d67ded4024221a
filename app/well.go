package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sereno"
	"sereno/ledger"
)

// unwrittenFor is how long what was judged may wait to be written while all is
// well.
const unwrittenFor = time.Minute

// well says why this Sereno does not do its work, nil if it does: it looks,
// judges, writes down, and its messages go out. That is when the dead-man URL is
// called.
type well struct {
	ask       func(context.Context) (ledger.Statistics, error)
	permitted func() error
	stuck     func() string // why messages do not go out; "" if they do
}

func (w well) Check(ctx context.Context) error {
	s, err := w.ask(ctx)
	switch {
	case err != nil:
		return fmt.Errorf("the ledger does not answer: %w", err)
	case s.Fault != "":
		return errors.New(s.Fault)
	case s.Pending:
		return errors.New("the clock is not to be trusted yet, so nothing is judged")
	case s.Now.Sub(max(s.Settled, s.Since)) > unwrittenFor:
		return fmt.Errorf("what was found since %s is not written down yet", s.Settled)
	}
	if err := w.permitted(); err != nil {
		return fmt.Errorf("no looks can be taken: %w", err)
	}
	if why := w.stuck(); why != "" {
		return sereno.Errorf(sereno.Unavailable, "%s", why)
	}
	return nil
}
