package sereno

import (
	"encoding/json"
	"time"
)

type (
	// A DeviceID is given by the store and never used again.
	DeviceID int64
	// A CheckID is given by the store and never used again. Negative ones are
	// the ledger's own (witnesses) and are never stored.
	CheckID int64
	// A VantageID says where a look was taken from; 0 is this process.
	VantageID int32
)

// A Device is something that is watched.
type Device struct {
	ID         DeviceID
	Name       string // unique among living devices, 1 to 100 characters
	Address    string // an IP address, or a host name to resolve
	Importance Importance
	Tags       []string // "rack:3", sorted, each once
	Parents    []string // names of the devices it hangs on: its switch, its site's router
	Paused     bool     // not looked at; its spans are Unknown, reason "paused"
	FromFile   bool     // the configuration file manages it; the API may only read it
	Created    Instant
	Checks     []Check // at least one
}

// A Check is one way in which a device is looked at, and how looks are judged.
type Check struct {
	ID       CheckID
	Device   DeviceID
	Name     string // unique within its device; by default its kind
	Kind     string // "icmp"
	Policy   Policy
	Settings json.RawMessage // the kind's own settings; nil for its defaults
	Created  Instant
}

// A Policy says how often a check looks and how many looks prove a status.
type Policy struct {
	Interval time.Duration // between looks; 100 ms to 24 h
	Timeout  time.Duration // how long an answer may take; at most Interval
	Fall     int           // looks in a row that were not Up, to leave Up; 1 to 100
	Rise     int           // looks in a row that brought an answer, to leave Down; 1 to 100

	RTTAbove   time.Duration // an answer slower than this is Degraded; 0: never
	LossAbove  float64       // more loss than this share over LossWindow is Degraded; 0: never
	LossWindow time.Duration // at most 1,000 looks long
}

// DefaultPolicy is what a check has that says nothing else.
var DefaultPolicy = Policy{Interval: time.Second, Timeout: time.Second, Fall: 3, Rise: 2, LossWindow: time.Minute}

// Doubting is how often a check with a longer interval than 5 s is looked at
// while its latest looks contradict its status.
const Doubting = time.Second

// Patience is how long a status stands without any evidence.
func (p *Policy) Patience() time.Duration { return max(3*p.Interval, 10*time.Second) }
