// Package probe is what it is to look at something.
//
// Bad news about a target is a value (sereno.Result); an error means that we
// could not look.
package probe

import (
	"context"
	"encoding/json"
	"net/netip"
	"time"

	"sereno"
)

// A Target is what a kind prepared for one check, once, so that a look costs
// little. Only the kind that made it looks inside.
type Target interface {
	// Check is the check that results are for.
	Check() sereno.CheckID
}

// A Kind is one way to look, as the plan sees it.
type Kind interface {
	// Name is the key in the configuration file: "icmp".
	Name() string
	// Validate checks the kind's own settings (nil for the defaults).
	Validate(settings json.RawMessage) error
	// Target prepares a check for looking at addr. An invalid addr means that
	// the name is not resolved yet: looks then bring Fault Unresolved.
	Target(check sereno.CheckID, addr netip.Addr, timeout time.Duration, settings json.RawMessage) (Target, error)
}

// A Look is one look that is due.
type Look struct {
	Target Target
	Due    sereno.Instant // by the ledger's time
}

// A Sweeper is a kind that looks at many targets at once, for a price per look
// that a goroutine each could never reach.
type Sweeper interface {
	Kind
	// Sweep hands over looks in order of their due times, some of which may
	// lie a few milliseconds ahead. The sweeper owns the slice from then on.
	// It blocks while the sweeper is behind by more than it can hold, and
	// returns when ctx ends.
	Sweep(ctx context.Context, looks []Look) error
	// Run sends, receives and judges until ctx ends and all is put away.
	// Results of one target come in the order of their due times.
	Run(ctx context.Context) error
}

// Deliver receives a batch of results. The slice may be used again as soon as
// it returns, so it copies what it keeps. It must not block for long.
type Deliver func(batch []sereno.Result)
