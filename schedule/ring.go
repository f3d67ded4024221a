package schedule

import (
	"cmp"
	"slices"
	"time"

	"sereno"
	"sereno/probe"
)

// A ring is all checks of one interval, in order of their phases: whoever is
// due next stands next. Finding what is due costs nothing for what is not.
type ring struct {
	interval time.Duration
	entries  []entry
}

type entry struct {
	phase  time.Duration
	check  sereno.CheckID
	target probe.Target
}

func (e entry) compare(o entry) int {
	return cmp.Or(cmp.Compare(e.phase, o.phase), cmp.Compare(e.check, o.check))
}

func (r *ring) find(check sereno.CheckID) (int, bool) {
	return slices.BinarySearchFunc(r.entries, entry{phase: sereno.Phase(check, r.interval), check: check}, entry.compare)
}

// set adds targets, or replaces those of the same check. Many at once cost one
// sort, a few cost a shift each.
func (r *ring) set(targets []probe.Target) {
	var added []entry
	for _, t := range targets {
		check := t.Check()
		if i, ok := r.find(check); ok {
			r.entries[i].target = t
		} else {
			added = append(added, entry{sereno.Phase(check, r.interval), check, t})
		}
	}
	if len(added) > 64 {
		r.entries = append(r.entries, added...)
		slices.SortFunc(r.entries, entry.compare)
		return
	}
	for _, e := range added {
		if i, ok := r.find(e.check); !ok {
			r.entries = slices.Insert(r.entries, i, e)
		}
	}
}

// drop removes checks.
func (r *ring) drop(checks []sereno.CheckID) {
	if len(checks) > 64 {
		gone := make(map[sereno.CheckID]bool, len(checks))
		for _, c := range checks {
			gone[c] = true
		}
		r.entries = slices.DeleteFunc(r.entries, func(e entry) bool { return gone[e.check] })
		return
	}
	for _, c := range checks {
		if i, ok := r.find(c); ok {
			r.entries = slices.Delete(r.entries, i, i+1)
		}
	}
}

// after returns the first entry that is due later than at, and when. The ring
// must not be empty.
func (r *ring) after(at sereno.Instant) (int, sereno.Instant) {
	round := at - sereno.Instant(mod(int64(at), r.interval.Microseconds()))
	phase := at.Sub(round)
	i, _ := slices.BinarySearchFunc(r.entries, phase, func(e entry, p time.Duration) int {
		if e.phase <= p {
			return -1
		}
		return 1
	})
	if i == len(r.entries) {
		i, round = 0, round.Add(r.interval)
	}
	return i, round.Add(r.entries[i].phase)
}

// due appends the looks that are due in (from, to], in order. Where it is
// longer than the interval, a check appears more than once.
func (r *ring) due(looks []probe.Look, from, to sereno.Instant) []probe.Look {
	if len(r.entries) == 0 {
		return looks
	}
	i, at := r.after(from)
	for at <= to {
		looks = append(looks, probe.Look{Target: r.entries[i].target, Due: at})
		before := r.entries[i].phase
		if i++; i == len(r.entries) {
			i = 0
			at = at.Add(r.interval)
		}
		at = at.Add(r.entries[i].phase - before)
	}
	return looks
}

func mod(a, m int64) int64 { return (a%m + m) % m }
