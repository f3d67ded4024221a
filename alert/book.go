package alert

import (
	"encoding/json"
	"time"

	"sereno"
	"sereno/maintenance"
	"sereno/message"
)

// A Book is all that people have said about alerting: who can be reached and how,
// who hears of what, and when nobody is to be disturbed. Compile makes it ready.
type Book struct {
	Channels  []Channel
	Policies  []Policy // tried in order; the built-in Default if there are none
	Windows   []maintenance.Window
	Silences  []Silence
	Templates map[string]Template // by event, for all channels
	Zone      string              // in which messages write times; "" for the machine's
	URL       string              // how people reach this Sereno, without a slash at its end; "" if they do not
}

// A Channel is one way to reach somebody.
type Channel struct {
	Name          string
	Kind          string          // telegram
	Settings      json.RawMessage // of the kind, its secrets filled in
	Hidden        []string        // settings that came from elsewhere (${env:…}) and are not shown, besides the kind's secrets
	Fallback      string          // the channel that gets what this one did not take; ""
	FallbackAfter time.Duration   // 0: 2 min
	GiveUp        time.Duration   // 0: 24 h
	Templates     map[string]Template
	FromFile      bool
}

// A Template replaces the built-in texts of one event.
type Template = message.Template

// A Policy says who hears what, when.
type Policy struct {
	Name      string
	Match     string          // which trouble, see package match; "" for all
	Continue  bool            // go on to the next policy when this one matches
	Severity  sereno.Severity // instead of the trouble's own; SeverityNone: as it is
	Raise     []Raise
	GroupWait time.Duration // how long trouble of one group is gathered into one message; -1: not at all; 0: 10 s
	GroupBy   []string      // of site, parent, status, kind, device, severity, label.X; nil: site, parent, status
	Settle    time.Duration // trouble that comes back within it is the same trouble; 0: 5 min
	Quiet     []Quiet
	Steps     []Step // nil: at once to every channel, with reminders after 10, 30 and 60 min
	FromFile  bool
}

// A Raise makes trouble that lasts more severe.
type Raise struct {
	After time.Duration
	To    sereno.Severity
}

// A Step is one wave of messages.
type Step struct {
	After              time.Duration // from when the trouble was taken in
	UnlessAcknowledged bool
	Channels           []string        // nil: all there are
	Remind             []time.Duration // after the step, ascending; the last reminder says so
}

// A Quiet is a part of the day in which messages wait until it is over.
type Quiet struct {
	From, To string   // by the clock on the wall of Zone: "22:00", "07:00"; over midnight if To is not later
	Days     []string // mon … sun on which it begins; nil: every day
	Zone     string   // IANA name; "" for that of the book
	Except   string   // what is sent nevertheless, see package match: 'severity == "critical"'; "": nothing
}

// A Silence keeps trouble that matches it from being told, for a while.
type Silence struct {
	ID       int64          // given by the store; 0 from the file
	Name     string         // unique
	Match    string         // which trouble; never empty
	From     sereno.Instant // 0: from now on
	Until    sereno.Instant
	Reason   string
	By       string
	FromFile bool
}
