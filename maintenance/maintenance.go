// Package maintenance says when a maintenance window is: once, or by a rule
// (RFC 5545) whose wall-clock times stay put across daylight saving.
package maintenance

import (
	"time"

	"sereno"
	"sereno/match"
)

// A Window is a maintenance window as people write it.
type Window struct {
	Name   string
	Match  string        // which devices, see package match; "" for all
	RRule  string        // RFC 5545, without DTSTART: "FREQ=WEEKLY;BYDAY=SU"; "" for once
	Start  string        // the first begin, by the clock on the wall of Zone: "2026-11-01T02:00"
	Zone   string        // IANA name; "" for UTC
	Length time.Duration // 1 minute to 31 days
	Reason string        // for people
}

// A Calendar is a window ready to be asked.
type Calendar struct {
	Window
	Devices match.Expression
	// …
}

// Compile makes a window ready. Errors are sereno.Errors of kind Invalid, all of
// them joined, Field being match, rrule, start, zone or length.
func (w Window) Compile() (*Calendar, error) { panic("to be written") }

// At returns the occurrence that at lies in.
func (c *Calendar) At(at sereno.Instant) (begin, end sereno.Instant, in bool) { panic("to be written") }

// Next returns the first occurrence that begins after at; ok is false if there
// is none any more.
func (c *Calendar) Next(at sereno.Instant) (begin, end sereno.Instant, ok bool) {
	panic("to be written")
}
