package sereno

import "time"

// An IncidentID is given by the ledger, ascending.
type IncidentID int64

// A Trouble is what an incident is about.
type Trouble uint8

const (
	TroubleDown     Trouble = iota // a check is Down
	TroubleDegraded                // a check is Degraded
	TroubleFlapping                // a check changes too often to be believed
	TroubleIsolated                // a vantage point is cut off
	TroubleStorage                 // what is found out cannot be written where it belongs
	TroubleAbsent                  // Sereno itself was not watching; told afterwards, so it is closed from the start
	TroubleSocket                  // no looks can be taken
	TroubleOverload                // looks are refused because too many wait
	TroubleClock                   // the clock cannot be believed
	TroubleOutbox                  // messages are not sent
	TroublePolicy                  // a policy has nobody to tell, or nothing to tell of
	TroubleChannel                 // a channel does not take messages
	TroublePeer                    // another Sereno does not report
)

var troubleNames = [...]string{
	"down", "degraded", "flapping", "isolated", "storage", "absent", "socket", "overload", "clock", "outbox", "policy", "channel", "peer",
}

// Own reports whether a trouble is Sereno's own and not a device's.
func (t Trouble) Own() bool { return t >= TroubleIsolated }

func (t Trouble) String() string { return troubleNames[t] }

// MarshalText gives the lower-case name.
func (t Trouble) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText reads the lower-case name.
func (t *Trouble) UnmarshalText(text []byte) error {
	return unmarshalName(t, troubleNames[:], text, "trouble")
}

// An Incident is one stretch of trouble, from the change that opened it to the
// change that closed it. There is at most one open incident per check, and at
// most one of each trouble and subject per vantage point.
type Incident struct {
	ID      IncidentID
	Device  DeviceID // 0 for a vantage point's own
	Check   CheckID  // 0 for a vantage point's own
	Vantage VantageID
	Trouble Trouble
	Subject string     // what trouble of Sereno's own is about, such as the name of a channel; "" for nothing more
	Opened  Instant    // when the trouble began (back-dated)
	Closed  Instant    // when it ended (back-dated); 0 while it is open
	Reason  string     // for a person
	Under   IncidentID // the incident of the parent it hangs on; 0 for none
}

const (
	// FlapChanges proven changes of one check within FlapWindow are flapping;
	// it ends after FlapWindow without one.
	FlapChanges = 6
	FlapWindow  = 10 * time.Minute
)

// A Case is the trouble that one check is in, and its latest proven changes.
// The zero Case is none.
type Case struct {
	Incident Incident // ID 0: none is open
	turns    [FlapChanges]Instant
	latest   int // where in turns the latest is
}

// Next folds a change of the check's status into its case. When news is true,
// the incident was opened, changed or closed and is to be written down; a
// closed one is gone from the case that follows. newID is called when an
// incident opens.
//
// Trouble closes on an answer that is Up, never on missing data. A check that
// flaps keeps one incident until Calm.
func (c Case) Next(ch Change, newID func() IncidentID) (next Case, written Incident, news bool) {
	if ch.To == Unknown {
		return c, Incident{}, false
	}
	flaps := false
	if ch.From != Unknown {
		c.latest = (c.latest + 1) % FlapChanges
		c.turns[c.latest] = ch.Begin
		oldest := c.turns[(c.latest+1)%FlapChanges]
		flaps = oldest != 0 && ch.Begin.Sub(oldest) < FlapWindow
	}
	in := &c.Incident
	switch {
	case in.ID != 0 && in.Trouble == TroubleFlapping:
		return c, Incident{}, false
	case in.ID != 0 && flaps:
		in.Trouble, in.Reason = TroubleFlapping, "changes too often to be believed"
	case ch.To == Up && in.ID == 0:
		return c, Incident{}, false
	case ch.To == Up:
		in.Closed = ch.Begin
		written, c.Incident = *in, Incident{}
		return c, written, true
	default:
		if in.ID == 0 {
			in.ID, in.Opened = newID(), ch.Begin
		}
		in.Trouble, in.Reason = troubleOf(ch.To), ch.Reason
		if flaps {
			in.Trouble, in.Reason = TroubleFlapping, "changes too often to be believed"
		}
	}
	return c, *in, true
}

// Calm ends flapping when there was no proven change for FlapWindow: the
// incident closes where the check became Up, or goes on as what it is.
func (c Case) Calm(s State, now Instant) (next Case, written Incident, news bool) {
	in := &c.Incident
	if in.ID == 0 || in.Trouble != TroubleFlapping || s.Status == Unknown || now.Sub(max(c.turns[c.latest], s.Since)) < FlapWindow {
		return c, Incident{}, false
	}
	if s.Status != Up {
		in.Trouble, in.Reason = troubleOf(s.Status), "stopped changing"
		return c, *in, true
	}
	in.Closed = s.Since
	written, c.Incident = *in, Incident{}
	return c, written, true
}

// Resolve ends, at now, trouble of a check of which nothing is known any more.
func (c Case) Resolve(now Instant) (next Case, written Incident) {
	written = c.Incident
	written.Closed = max(now, written.Opened)
	c.Incident = Incident{}
	return c, written
}

func troubleOf(s Status) Trouble {
	if s == Degraded {
		return TroubleDegraded
	}
	return TroubleDown
}
