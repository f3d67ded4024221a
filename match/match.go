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
	"slices"
	"strings"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
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

// functions are those that give no more than they are given.
var functions = []string{
	"all", "none", "any", "one", "count", "find", "filter", "len", "first", "last", "keys", "values",
	"lower", "upper", "trim", "trimPrefix", "trimSuffix", "hasPrefix", "hasSuffix", "indexOf", "lastIndexOf", "split",
}

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
	var costs cost
	options := []expr.Option{expr.Env(Subject{}), expr.AsBool(), expr.MaxNodes(maxNodes), expr.Patch(&costs), expr.DisableAllBuiltins()}
	for _, name := range functions {
		options = append(options, expr.EnableBuiltin(name))
	}
	program, err := expr.Compile(text, options...)
	if err == nil && costs.mistake != nil {
		err = costs.mistake
	}
	if err != nil {
		return Expression{}, sereno.Errorf(sereno.Invalid, "%s", mistake(text, err))
	}
	return Expression{text: text, program: program}, nil
}

// A cost finds what could make an expression take long, or take much room: what
// is left takes as long as it is, times its tags and its parents.
type cost struct{ mistake *file.Error }

// Visit is called for every node; see ast.Visitor.
func (c *cost) Visit(node *ast.Node) {
	if c.mistake != nil {
		return // what lies around a mistake would take long to look through
	}
	switch n := (*node).(type) {
	case *ast.BinaryNode:
		if n.Operator == ".." {
			c.found(n, "ranges are not possible here")
		}
	case *ast.BuiltinNode: // those with predicates are part of the language, enabled or not
		if !slices.Contains(functions, n.Name) {
			c.found(n, "unknown name "+n.Name)
		}
	case *ast.VariableDeclaratorNode:
		c.found(n, "variables are not possible here")
	case *ast.PredicateNode:
		if depth(n) > 2 {
			c.found(n, "no more than two lists can be gone through within one another")
		}
	}
}

func (c *cost) found(n ast.Node, what string) {
	c.mistake = &file.Error{Location: n.Location(), Column: n.Location().From, Message: what}
}

// depth is how many predicates lie within one another, n included.
func depth(n *ast.PredicateNode) int {
	var inner deepest
	ast.Walk(&n.Node, &inner)
	return 1 + int(inner)
}

type deepest int

// Visit is called for every node; see ast.Visitor.
func (d *deepest) Visit(node *ast.Node) {
	if n, ok := (*node).(*ast.PredicateNode); ok {
		*d = max(*d, deepest(depth(n)))
	}
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
