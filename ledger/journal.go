package ledger

import (
	"context"

	"sereno"
)

// A Journal keeps what the ledger found out. Each Commit is one transaction:
// all of it is on disk when Commit returns nil, and none of it otherwise.
// Entries come in the order in which they happened; a Commit that failed is
// repeated with the same entry.
type Journal interface {
	Commit(ctx context.Context, e *Entry) error
}

// An Entry is what one transaction writes down. The store gives a check its
// first open span when it takes the check in, and closes the last one (and its
// incident) when it removes it; entries about checks that live no more are left
// out. So a check has one open span exactly as long as it lives.
type Entry struct {
	Closed    []sereno.Span       // spans that ended, in order per check
	Open      []sereno.Span       // the last span of a check, which is open: replaces the one before
	Incidents []sereno.Incident   // by ID: new ones and new versions of old ones
	Absences  []sereno.Absence    // new ones
	Clock     []sereno.ClockEvent // new ones
	Starts    []sereno.Start      // new ones
	// Policies say since when the latest policy of a check is in force, where
	// it replaced another one: a moment after the store took it in. Check and
	// Since count.
	Policies []sereno.PolicySince
}

// Len returns how many rows e writes.
func (e *Entry) Len() int {
	return len(e.Closed) + len(e.Open) + len(e.Incidents) + len(e.Absences) + len(e.Clock) + len(e.Starts) + len(e.Policies)
}
