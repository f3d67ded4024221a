package sereno

// A Status is what one look saw (in a Result) or what enough looks have proven
// (in a State).
type Status uint8

const (
	Unknown Status = iota // nothing was seen; the zero Status
	Up
	Degraded
	Down
)

var statusNames = [...]string{"unknown", "up", "degraded", "down"}

func (s Status) String() string { return statusNames[s] }

// Answered reports whether the target answered: up or degraded.
func (s Status) Answered() bool { return s == Up || s == Degraded }

// MarshalText gives the lower-case name.
func (s Status) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads the lower-case name.
func (s *Status) UnmarshalText(text []byte) error {
	return unmarshalName(s, statusNames[:], text, "status")
}

// A Cause says what kind of fact stands behind a status, so that figures can
// be counted one way or another without reading a sentence.
type Cause uint8

const (
	CauseLook         Cause = iota // looks proved it
	CauseNew                       // nothing has been seen yet
	CauseNoEvidence                // looks brought no evidence for too long
	CauseAbsence                   // Sereno itself was not watching
	CauseIsolated                  // the vantage point was cut off
	CausePaused                    // a person paused it
	CauseBehindParent              // down, because everything it hangs on is down
	CauseMaintenance               // a maintenance window; never stored, see Exempt
)

var causeNames = [...]string{"look", "new", "no_evidence", "absence", "isolated", "paused", "behind_parent", "maintenance"}

func (c Cause) String() string { return causeNames[c] }

// MarshalText gives the lower-case name.
func (c Cause) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText reads the lower-case name.
func (c *Cause) UnmarshalText(text []byte) error {
	return unmarshalName(c, causeNames[:], text, "cause")
}

// An Importance says how much a device matters to its owner.
type Importance uint8

const (
	Medium Importance = iota // the zero Importance
	Low
	High
	Critical
)

var importanceNames = [...]string{"medium", "low", "high", "critical"}

func (i Importance) String() string { return importanceNames[i] }

// MarshalText gives the lower-case name.
func (i Importance) MarshalText() ([]byte, error) { return []byte(i.String()), nil }

// UnmarshalText reads the lower-case name.
func (i *Importance) UnmarshalText(text []byte) error {
	return unmarshalName(i, importanceNames[:], text, "importance")
}

func unmarshalName[T ~uint8](to *T, names []string, text []byte, what string) error {
	for i, name := range names {
		if name == string(text) {
			*to = T(i)
			return nil
		}
	}
	return Errorf(Invalid, "%q is no %s; there are %v", text, what, names)
}
