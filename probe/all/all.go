// Package all is the list of the kinds of probe there are.
package all

import (
	"sereno/probe"
	"sereno/probe/icmp"
)

// Kinds are one of each, ready to run.
type Kinds struct {
	ICMP *icmp.Engine
}

// New makes them.
func New(o icmp.Options) (Kinds, error) {
	echo, err := icmp.New(o)
	if err != nil {
		return Kinds{}, err
	}
	return Kinds{ICMP: echo}, nil
}

// List returns all of them.
func (k Kinds) List() []probe.Kind { return []probe.Kind{k.ICMP} }

// Sweepers returns those that look at many targets at once, each to be run.
func (k Kinds) Sweepers() []probe.Sweeper { return []probe.Sweeper{k.ICMP} }
