package alert

import (
	"sereno"
)

// An Order is a person's wish.
type Order struct {
	Action   string // acknowledge, unacknowledge, snooze, unsnooze, resolve, comment
	Incident sereno.IncidentID
	Until    sereno.Instant // of a snooze; when an acknowledgement expires, 0: never
	Who, Via string         // as in sereno.Audit
	Text     string         // why
}

// An Engine decides who is to be told what, when. It has no clock and does no
// input or output: the same calls give the same batches. It is one goroutine's.
//
// What it decided is in Batch, and nothing that Ready hands out may be sent
// before that batch is committed. An Engine made from what batches wrote goes on
// as the one that wrote them would have.
type Engine struct {
	plan *Plan
	now  sereno.Instant
}

// NewEngine takes up where an earlier one left off.
func NewEngine(l Loaded, p *Plan, now sereno.Instant) *Engine { panic("to be written") }

// SetPlan goes on by another book. What is promised to a channel that is gone is
// dropped; whom it had told stays known, should it come back.
func (e *Engine) SetPlan(now sereno.Instant, p *Plan) { panic("to be written") }

// Take takes in changes, in the order of their revisions, and moves the cursor
// past them. One that was taken in before changes nothing.
func (e *Engine) Take(now sereno.Instant, changes []Change) { panic("to be written") }

// Tick does whatever is due by now.
func (e *Engine) Tick(now sereno.Instant) { panic("to be written") }

// Next returns when Tick is wanted next, and Ready of every channel after it;
// 0: not before something else happens.
func (e *Engine) Next() sereno.Instant { panic("to be written") }

// Do carries out an order. Its errors are sereno.Errors: NotFound for an
// incident that no alert speaks of, Conflict where there is nothing to do (it is
// over, it is not acknowledged), Invalid for an order that makes no sense.
func (e *Engine) Do(now sereno.Instant, o Order) error { panic("to be written") }

// Ready returns what a channel is to send now, and marks it under way: nothing
// more comes for that channel before Tried. The try is part of the next Batch
// (as one that may have been taken), so that a crash while it is under way leads
// to a repetition of exactly this message, with the same Key.
func (e *Engine) Ready(now sereno.Instant, channel string) (Delivery, bool) { panic("to be written") }

// Tried notes what came of what Ready handed out.
func (e *Engine) Tried(now sereno.Instant, id DeliveryID, o Outcome) { panic("to be written") }

// Batch returns what changed since the last call, nil if nothing did.
func (e *Engine) Batch() *Batch { panic("to be written") }

// Health tells of every channel, in the order of the book.
func (e *Engine) Health() []ChannelHealth { panic("to be written") }

// Alerts returns what is open, acknowledged or kept back or not, by ID.
func (e *Engine) Alerts() []Alert { panic("to be written") }

// Alert returns the alert that an incident belongs to, also for a while after it
// closed, and as long as messages about it wait.
func (e *Engine) Alert(id sereno.IncidentID) (Alert, bool) { panic("to be written") }
