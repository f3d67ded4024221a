package alert

import (
	"time"

	"sereno"
	"sereno/notify"
)

// A DeliveryID is given by the desk, ascending, and never used again.
type DeliveryID int64

// A State is how far a delivery has come.
type State uint8

const (
	Waiting        State = iota // promised; its time may not have come
	Delivered                   // the other end took it
	RefusedForGood              // the other end will never take it
	Expired                     // given up after GiveUp
	Merged                      // its lines travel in another delivery, see Into
	Dropped                     // it has become pointless before it was sent: its channel is gone, a backup was restored
)

var stateNames = [...]string{"waiting", "delivered", "refused", "expired", "merged", "dropped"}

func (s State) String() string { return stateNames[s] }

// MarshalText gives the lower-case name.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads the lower-case name.
func (s *State) UnmarshalText(text []byte) error {
	for i, name := range stateNames {
		if name == string(text) {
			*s = State(i)
			return nil
		}
	}
	return sereno.Errorf(sereno.Invalid, "%q is no state of a delivery; there are %v", text, stateNames)
}

// A Delivery is one message promised to one channel: stored before it is sent.
type Delivery struct {
	ID       DeliveryID
	Key      string // what a receiver may recognise a repetition by
	Channel  string // its name
	For      string // the channel that this one stands in for; ""
	Event    notify.Event
	Policy   string
	Step     int // 0 first
	Reminder int // the how-manieth; 0: none
	Last     bool
	Group    string         // what its incidents share, for a person; ""
	Items    []Item         // what it tells; many in a group or a digest
	By, Note string         // who acknowledged, and what that person wrote
	Was      sereno.Trouble // what a changed trouble was before
	Held     string         // why it was kept back; ""
	Promised sereno.Instant // when it was stored
	Due      sereno.Instant // when it is to be sent: later than Promised by group_wait, quiet hours …

	State     State
	Into      DeliveryID // of a merged one
	Tries     int
	TriedAt   sereno.Instant // the last time
	Next      sereno.Instant // not to be tried before; 0: Due
	Answer    string         // what came of the last try, for a person
	Unsure    bool           // a try may have been taken although no answer came
	SettledAt sereno.Instant // when it was delivered, refused, given up, merged, dropped; 0 while it waits
	Title     string         // as it was sent last
}

// An Item is one thing that a delivery tells of one incident. No two deliveries
// of one channel tell the same: (incident, occasion, channel) is unique.
type Item struct {
	Incident sereno.IncidentID
	Occasion string // "opened/default/0", "reminder/default/0/2", "closed", "changed/3", "acknowledged/2"
}

// An Outcome is what came of one try to send.
type Outcome struct {
	At      sereno.Instant
	Took    time.Duration
	Failure *notify.Failure // nil: it was taken
	Answer  string          // what the other end said when it took it; "" for nothing
	Title   string          // as it was sent
}
