// Package notify is what it is to reach people: a kind of channel is a folder
// below it and a line in notify/all.
//
// A channel sends one message and says what came of it. It does not try again,
// it does not wait, it remembers nothing that a restart may not forget: that a
// message arrives, once and in order, is the outbox's business (package alert).
package notify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"sereno"
)

// An Event is why a message is sent.
type Event string

const (
	Opened       Event = "opened"
	Reminder     Event = "reminder"
	Acknowledged Event = "acknowledged"
	Changed      Event = "changed"
	Closed       Event = "closed"
	Digest       Event = "digest" // much at once, in one message
	Test         Event = "test"
)

// A Message is ready to be sent: its texts are written and plain. What a name
// or a reason may contain is for the channel to make harmless in its own format
// (HTML, Markdown, headers); nothing in it is markup.
type Message struct {
	Key         string // the same for the same message, however often it is sent
	Thread      string // the same for all messages about one trouble; "" for digests and tests
	Event       Event
	Severity    sereno.Severity
	Title       string // one line: what, where, since when
	Text        string // all of it, Title first; lines end with \n
	At          time.Time
	Incident    *Incident  // the first of Incidents; nil in a test
	Incidents   []Incident // at most MaxIncidents
	Count       int        // how many incidents there are
	Device      *Device    // nil for Sereno's own trouble
	Open        string     // URL of the incident's page; "" if nobody said how Sereno is reached
	Acknowledge string     // URL that acknowledges it after a question, once; ""
	Buttons     bool       // offer to acknowledge and to snooze, where a channel can
	Last        bool       // no more reminders follow
}

// MaxIncidents is how many incidents one message carries as data.
const MaxIncidents = 100

// An Incident as programs read it.
type Incident struct {
	ID       sereno.IncidentID  `json:"id"`
	Thread   string             `json:"thread"` // of its trouble, see Message.Thread: where it began, and where it ends
	Status   sereno.Trouble     `json:"status"`
	Severity sereno.Severity    `json:"severity"`
	Opened   sereno.Instant     `json:"opened"`
	Closed   sereno.Instant     `json:"closed"`
	Seconds  float64            `json:"seconds"` // its length, until now while it lasts
	Reason   string             `json:"reason"`
	Under    *sereno.IncidentID `json:"under"`
	Device   *Device            `json:"device,omitempty"` // in lists
}

// A Device as programs read it.
type Device struct {
	ID      sereno.DeviceID `json:"id"`
	Name    string          `json:"name"`
	Address string          `json:"address"`
	Tags    []string        `json:"tags"`
}

// A Channel reaches somebody.
type Channel interface {
	// Send sends one message before ctx ends. nil means that the other end has
	// taken it. Any error is a *Failure, or is taken for one that may pass. It
	// never holds a secret of the channel.
	Send(ctx context.Context, m Message) error
}

// A Listener is a channel through which people answer. answer does what they want
// and says what came of it, and whether it is done. Listen returns when ctx ends;
// what goes wrong on the way it logs, and tries again.
type Listener interface {
	Listen(ctx context.Context, answer func(context.Context, Answer) (reply string, done bool)) error
}

// An Answer is what somebody wants done with an incident, or with all that a
// message tells of and that is still open.
type Answer struct {
	Action   string // acknowledge, unacknowledge, snooze
	Incident sereno.IncidentID
	Key      string        // of the message, in place of Incident
	For      time.Duration // of a snooze
	Who      string        // "telegram: anna"
}

// A Kind is one way to reach people, as the configuration sees it.
type Kind interface {
	// Name is the key in the configuration file: "telegram".
	Name() string
	// Open makes a channel of its settings, without any input or output. Its
	// errors are sereno.Errors of kind Invalid, one or several joined, Field
	// being the setting.
	Open(settings json.RawMessage, o Options) (Channel, error)
	// Secrets are the names of the settings that are never shown again.
	Secrets() []string
}

// Options are what channels need besides their settings.
type Options struct {
	Agent    string // "sereno/1.0", what HTTP requests and mails call themselves
	Commands bool   // programs may be run: only where the configuration file says so
	// Publish tells whoever is watching right now of something that happened,
	// with JSON about it, and waits for nobody; false: there is no telling any
	// more. nil: nobody can watch.
	Publish func(name string, data []byte) bool
	Log     *slog.Logger
}

// A Class says whether trying again makes sense.
type Class uint8

const (
	Passing Class = iota // the other end cannot be reached, is overloaded or fails: try again
	Refused              // it will never take this message, or any: trying again changes nothing
)

// A Failure is why a message was not taken.
type Failure struct {
	Class  Class
	After  time.Duration // do not come back before that, as the other end asked; 0: it did not say
	Unsure bool          // it may have been taken nevertheless: all of it was sent, and no answer came
	Text   string        // what the other end said or what went wrong, for a person, without secrets: "401 Unauthorized: bot token is wrong"
}

func (f *Failure) Error() string { return f.Text }

// FailureOf returns the Failure in err's tree, or makes a passing one of it.
func FailureOf(err error) *Failure {
	if f, ok := errors.AsType[*Failure](err); ok {
		return f
	}
	return &Failure{Text: err.Error()}
}

// Refuse makes a Failure that no other try will mend.
func Refuse(format string, args ...any) error {
	return &Failure{Class: Refused, Text: fmt.Sprintf(format, args...)}
}
