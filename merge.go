package sereno

import "slices"

// A CheckView is what the status of a device is made from: one of its checks.
type CheckView struct {
	Status   Status
	Cause    Cause
	Since    Instant
	Answered Instant // its latest answered look
	Echo     bool    // it is an echo check: its silence weighs more than other news that is older
	Reason   string
}

// DeviceStatus derives the status of a device from its checks, and since when
// and why it has it. It is Down if all checks that have evidence are Down, or
// if its echo check is Down and nothing else has answered since; Degraded if
// some check is Down or Degraded while another is Up; Up if all are Up;
// Unknown if nothing is known. With one check it is the check's own.
func DeviceStatus(checks []CheckView) CheckView {
	if len(checks) == 1 {
		return checks[0]
	}
	var known, down int
	var echoDown, answered Instant
	worst := CheckView{}
	for _, c := range checks {
		if c.Status == Unknown {
			worst.Cause = max(worst.Cause, c.Cause)
			continue
		}
		known++
		if c.Status == Down {
			down++
			if c.Echo {
				echoDown = max(echoDown, c.Since)
			}
		} else {
			answered = max(answered, c.Answered)
		}
	}
	if known == 0 {
		for _, c := range checks {
			worst.Since, worst.Reason = max(worst.Since, c.Since), c.Reason
		}
		return worst
	}
	for _, c := range checks {
		if c.Status > worst.Status || c.Status == worst.Status && c.Status != Up && c.Since < worst.Since {
			worst.Status, worst.Cause, worst.Reason = c.Status, c.Cause, c.Reason
		}
		if c.Status != Unknown {
			worst.Since = max(worst.Since, c.Since)
		}
	}
	worst.Answered = answered
	if worst.Status == Down && down < known && (echoDown == 0 || answered >= echoDown) {
		worst.Status = Degraded
	}
	return worst
}

// MergeSpans derives the spans of a device in [from, to) from the spans of its
// checks, each in order. They tile the window; the first begins when its status
// did, as far as the spans tell. A check that was up counts as answering for as
// long as its span lasts. With one check the spans are the check's own.
func MergeSpans(checks [][]Span, echo []bool, from, to Instant) []Span {
	if len(checks) == 1 {
		return checks[0]
	}
	bounds := []Instant{from, to}
	for _, spans := range checks {
		for _, s := range spans {
			for _, at := range [...]Instant{s.Begin, s.End} {
				if at > from && at < to {
					bounds = append(bounds, at)
				}
			}
		}
	}
	slices.Sort(bounds)
	bounds = slices.Compact(bounds)

	var merged []Span
	next := make([]int, len(checks)) // the span of each check that is current
	for i := range len(bounds) - 1 {
		at := bounds[i]
		var views []CheckView
		for c, spans := range checks {
			for next[c] < len(spans) && spans[next[c]].End != 0 && spans[next[c]].End <= at {
				next[c]++
			}
			if next[c] < len(spans) && spans[next[c]].Begin <= at {
				s := spans[next[c]]
				views = append(views, CheckView{Status: s.Status, Cause: s.Cause, Since: s.Begin, Answered: at, Echo: echo[c], Reason: s.Reason})
			}
		}
		d := DeviceStatus(views)
		if n := len(merged); n > 0 && merged[n-1].Status == d.Status && merged[n-1].Cause == d.Cause {
			merged[n-1].End = bounds[i+1]
			continue
		}
		begin := at
		if at == from && d.Since != 0 {
			begin = min(at, d.Since)
		}
		merged = append(merged, Span{Status: d.Status, Cause: d.Cause, Begin: begin, Proof: begin, End: bounds[i+1], Reason: d.Reason})
	}
	return merged
}
