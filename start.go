package sereno

// A Start is one start of Sereno. What the looks before it had brought into
// doubt, but not proven, was forgotten then.
type Start struct {
	At      Instant
	Settled Instant // up to then all looks had been judged and written; 0: there were none
	Version string  // of the program
}

// A PolicySince is the policy of a check from a moment on, until its next.
type PolicySince struct {
	Check  CheckID
	Since  Instant
	Policy Policy
}
