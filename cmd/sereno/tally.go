package main

import (
	"time"

	"sereno"
)

// A tally is what was seen of one host. Its zero value is a host that was not
// looked at yet.
type tally struct {
	sent     uint64 // looks that have an outcome: an answer, or none in time
	answered uint64
	faults   uint64 // looks that failed on our side; they are not in sent

	latest sereno.Status // of the last look; Unknown for a fault
	reason string        // of the last look that brought no answer
	gap    uint64        // looks in a row without an answer, until now

	last, least, most time.Duration
	sum               time.Duration
	wander            time.Duration // sum of the differences of neighbouring round-trip times
	spread            quantiles
}

func (t *tally) add(r *sereno.Result) {
	t.latest = r.Status
	switch {
	case r.Fault != sereno.NoFault || r.Status == sereno.Unknown:
		t.faults++
		t.reason = r.Reason
		return
	case !r.Status.Answered():
		t.sent++
		t.gap++
		t.reason = r.Reason
		return
	}
	t.sent++
	t.gap = 0
	if t.answered++; t.answered == 1 {
		t.least, t.most = r.RTT, r.RTT
	} else {
		t.wander += (r.RTT - t.last).Abs()
		t.least, t.most = min(t.least, r.RTT), max(t.most, r.RTT)
	}
	t.last = r.RTT
	t.sum += r.RTT
	t.spread.add(r.RTT)
}

func (t *tally) lost() uint64 { return t.sent - t.answered }

func (t *tally) mean() time.Duration {
	if t.answered == 0 {
		return 0
	}
	return t.sum / time.Duration(t.answered)
}

// jitter is the mean of the absolute differences between neighbouring
// round-trip times (the plain mean; RFC 3550 smooths the same differences).
func (t *tally) jitter() time.Duration {
	if t.answered < 2 {
		return 0
	}
	return t.wander / time.Duration(t.answered-1)
}

// A condition is one word for a tally, the worst last.
type condition int

const (
	waiting condition = iota // no look has ended yet
	answers
	lossy  // answers now, but did not always
	blind  // we could not look
	silent // does not answer now
	dead   // has never answered
)

var conditions = [...]struct {
	word string
	tone tone
}{{"waiting", faint}, {"answers", good}, {"lossy", warn}, {"cannot look", odd}, {"silent", bad}, {"no answer", bad}}

func (c condition) String() string { return conditions[c].word }

func (t *tally) condition() condition {
	switch {
	case t.sent == 0 && t.faults == 0:
		return waiting
	case t.sent > 0 && t.answered == 0:
		return dead
	case t.latest == sereno.Unknown:
		return blind
	case t.gap > 0:
		return silent
	case t.lost() > 0:
		return lossy
	}
	return answers
}
