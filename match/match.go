// Package match is the language in which people say which trouble they mean, in
// policies, maintenance windows and silences:
//
//	severity in ["critical", "high"] and site == "plant1" and not ("lab" in tags)
//
// Expressions are those of github.com/expr-lang/expr over the fields of a
// Subject. They are checked when they are compiled, so that a word that does
// not exist is a mistake of the file and not of a night.
package match

import (
	"fmt"
	"strings"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/vm"

	"sereno"
)

// A Subject is what an expression speaks of: a device, and one trouble of one of
// its checks. Where there is no trouble (a maintenance window is about devices
// alone) its fields are empty, as are those of the device where trouble is
// Sereno's own.
type Subject struct {
	Device     string            `expr:"device"`
	Address    string            `expr:"address"`
	Importance string            `expr:"importance"` // critical, high, medium, low
	Tags       []string          `expr:"tags"`       // as they are: "core", "site:plant1"
	Label      map[string]string `expr:"label"`      // of tags with a colon: label.rack == "3"
	Site       string            `expr:"site"`       // short for label.site
	Parents    []string          `expr:"parents"`
	Check      string            `expr:"check"`
	Kind       string            `expr:"kind"`     // icmp
	Status     string            `expr:"status"`   // the trouble: down, degraded, flapping, isolated, storage, …
	Severity   string            `expr:"severity"` // critical, high, medium, low
	Own        bool              `expr:"own"`      // trouble of Sereno itself
	About      string            `expr:"about"`    // what own trouble is about, such as the name of a channel
}

// Of describes a device and one of its checks.
func Of(d *sereno.Device, c *sereno.Check) Subject {
	s := Subject{Label: map[string]string{}}
	if d != nil {
		s.Device, s.Address, s.Importance, s.Tags, s.Parents = d.Name, d.Address, d.Importance.String(), d.Tags, d.Parents
		for _, tag := range d.Tags {
			if key, value, ok := strings.Cut(tag, ":"); ok {
				s.Label[key] = value
			}
		}
		s.Site = s.Label["site"]
	}
	if c != nil {
		s.Check, s.Kind = c.Name, c.Kind
	}
	return s
}

const (
	maxLength = 2000 // bytes of an expression
	maxNodes  = 500
)

// An Expression is compiled. The zero Expression holds for everything. It may be
// used by many goroutines at once.
type Expression struct {
	text    string
	program *vm.Program
}

// Compile reads an expression; an empty one holds for everything. The error is
// Invalid and says where in it the mistake is.
func Compile(text string) (Expression, error) {
	if strings.TrimSpace(text) == "" {
		return Expression{}, nil
	}
	if len(text) > maxLength {
		return Expression{}, sereno.Errorf(sereno.Invalid, "an expression has at most %d characters, not %d", maxLength, len(text))
	}
	program, err := expr.Compile(text, expr.Env(Subject{}), expr.AsBool(), expr.MaxNodes(maxNodes), expr.DisableBuiltin("now"))
	if err != nil {
		return Expression{}, sereno.Errorf(sereno.Invalid, "%s", mistake(text, err))
	}
	return Expression{text: text, program: program}, nil
}

// mistake says what is wrong in one line.
func mistake(text string, err error) string {
	//nolint:errorlint // expr returns it unwrapped
	if at, ok := err.(*file.Error); ok {
		return fmt.Sprintf("%s, at character %d of %q", at.Message, at.Column+1, text)
	}
	line, _, _ := strings.Cut(err.Error(), "\n")
	return fmt.Sprintf("%s, in %q", line, text)
}

// String is the expression as it was written.
func (e Expression) String() string { return e.text }

// All reports whether it holds for everything because it says nothing.
func (e Expression) All() bool { return e.program == nil }

// Holds reports whether it is true of s. An expression that cannot be evaluated
// (an index out of range) does not hold, and the error says why.
func (e Expression) Holds(s Subject) (bool, error) {
	if e.program == nil {
		return true, nil
	}
	v, err := expr.Run(e.program, s)
	if err != nil {
		return false, sereno.Errorf(sereno.Invalid, "%s", mistake(e.text, err))
	}
	holds, _ := v.(bool) // AsBool saw to it
	return holds, nil
}
