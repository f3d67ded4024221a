package main

import (
	"sereno"
	"sereno/notify"
	ways "sereno/notify/all"
	"sereno/probe"
	"sereno/probe/all"
	"sereno/probe/icmp"
)

// kinds are the checks that a configuration file may ask for. They judge
// settings here, and look at nothing.
func kinds() []probe.Kind {
	list, err := all.New(icmp.Options{Deliver: func([]sereno.Result) {}})
	if err != nil {
		panic(err) // only without a Deliver
	}
	return list.List()
}

// channels are the ways to reach people that a configuration file may ask for.
func channels() []notify.Kind { return ways.Kinds() }
