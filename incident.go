package sereno

// An IncidentID is given by the ledger, ascending.
type IncidentID int64

// A Trouble is what an incident is about.
type Trouble uint8

const (
	TroubleDown     Trouble = iota // a check is Down
	TroubleDegraded                // a check is Degraded
	TroubleFlapping                // a check changes too often to be believed
	TroubleIsolated                // a vantage point is cut off
)

var troubleNames = [...]string{"down", "degraded", "flapping", "isolated"}

func (t Trouble) String() string { return troubleNames[t] }

// MarshalText gives the lower-case name.
func (t Trouble) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText reads the lower-case name.
func (t *Trouble) UnmarshalText(text []byte) error {
	return unmarshalName(t, troubleNames[:], text, "trouble")
}

// An Incident is one stretch of trouble, from the change that opened it to the
// change that closed it. There is at most one open incident per check, and at
// most one per vantage point.
type Incident struct {
	ID      IncidentID
	Device  DeviceID // 0 for a vantage point's own
	Check   CheckID  // 0 for a vantage point's own
	Vantage VantageID
	Trouble Trouble
	Opened  Instant    // when the trouble began (back-dated)
	Closed  Instant    // when it ended (back-dated); 0 while it is open
	Reason  string     // for a person
	Under   IncidentID // the incident of the parent it hangs on; 0 for none
}
