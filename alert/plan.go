package alert

import (
	"iter"
	"time"

	"sereno"
	"sereno/match"
	"sereno/notify"
)

// A Plan is a Book that is ready to be used. It does not change.
type Plan struct {
	Book     Book
	Warnings []string // sentences about policies that can tell nobody, or of nothing

	zone *time.Location
}

// Compile makes a book ready. Its errors are sereno.Errors of kind Invalid, all
// of them joined; Field is where in the book: "policies[0].steps[1].channels[0]".
func (b Book) Compile(kinds []notify.Kind, o notify.Options) (*Plan, error) { panic("to be written") }

// Channel returns a channel by its name, nil if there is none.
func (p *Plan) Channel(name string) notify.Channel { panic("to be written") }

// Zone is where messages write their times.
func (p *Plan) Zone() *time.Location { return p.zone }

// Reach returns the channels that hear at once of a trouble, in the order of the
// book.
func (p *Plan) Reach(s match.Subject) []string { panic("to be written") }

// Unmatched returns a sentence for every policy that no trouble of these devices,
// and none of Sereno's own, can ever reach.
func (p *Plan) Unmatched(devices iter.Seq[sereno.Device]) []string { panic("to be written") }
