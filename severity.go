package sereno

// A Severity says how much a trouble matters: from the importance of the device
// and from what is wrong. Greater is worse; the zero Severity is none.
type Severity uint8

const (
	SeverityNone Severity = iota
	SeverityLow
	SeverityMedium
	SeverityHigh
	SeverityCritical
)

var severityNames = [...]string{"", "low", "medium", "high", "critical"}

func (s Severity) String() string { return severityNames[s] }

// MarshalText gives the lower-case name, nothing for none.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads the lower-case name.
func (s *Severity) UnmarshalText(text []byte) error {
	for i, name := range severityNames[1:] {
		if name == string(text) {
			*s = Severity(i + 1)
			return nil
		}
	}
	return Errorf(Invalid, "%q is no severity; there are low, medium, high, critical", text)
}

// SeverityOf judges a trouble of a device; that of Sereno's own is the same
// whatever is watched. A device that is down is as severe as it is important;
// one that is degraded or flapping is one step less.
func SeverityOf(i Importance, t Trouble) Severity {
	switch t {
	case TroubleDown, TroubleDegraded, TroubleFlapping:
	case TroubleStorage, TroubleSocket:
		return SeverityCritical
	case TroubleClock, TroublePolicy, TroubleAbsent:
		return SeverityMedium
	default:
		return SeverityHigh
	}
	s := map[Importance]Severity{Low: SeverityLow, Medium: SeverityMedium, High: SeverityHigh, Critical: SeverityCritical}[i]
	if t != TroubleDown {
		s = max(s-1, SeverityLow)
	}
	return s
}
