package sereno

// An Audit is one thing that a person (or a program in a person's name) did, as
// it is kept for ever: who, when, by which way, to what, and why.
type Audit struct {
	ID     int64 // given by the store, ascending
	At     Instant
	Who    string // as far as known: a name, "telegram: anna", "127.0.0.1"
	Via    string // api, command, telegram, link, file
	Action string // acknowledge, unacknowledge, snooze, resolve, comment, create, replace, delete, test, …
	Target string // incident, channel, policy, maintenance, silence, device
	Of     string // which: the incident's number, the channel's name
	Text   string // why, as the person wrote it; ""
	Detail string // what changed, as JSON without secrets; ""
}
