package sereno

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Bounds of what a plan may say.
const (
	MaxName       = 100 // characters of a device's, a check's or a tag's name
	MaxTags       = 100 // of one device
	MaxParents    = 100 // of one device
	MaxChecks     = 100 // of one device
	MinInterval   = 100 * time.Millisecond
	MaxInterval   = 24 * time.Hour
	MaxInARow     = 100  // fall and rise
	MaxLossWindow = 1000 // looks
)

// ValidateDevices finds every mistake in a plan, in the order of the devices.
// Field names the place ("devices[3].checks[0].interval"), Text says what is
// wrong with it and what to do. known tells whether a parent that is not among
// devices exists elsewhere; nil means that there are no others. A device that
// is only known cannot be followed, so cycles are found among devices alone.
//
// What a kind of check thinks of its own settings is the kind's business and
// is not looked at here.
func ValidateDevices(devices []Device, known func(name string) bool) []*Error {
	v := planValidator{devices: devices, known: known, byName: make(map[string]int, len(devices))}
	for i := range devices {
		v.device(i)
	}
	for i := range devices {
		v.parents(i)
	}
	v.cycles()
	slices.SortStableFunc(v.found, func(a, b plannedError) int { return a.device - b.device })
	errs := make([]*Error, len(v.found))
	for i, f := range v.found {
		errs[i] = f.err
	}
	return errs
}

type plannedError struct {
	device int
	err    *Error
}

type planValidator struct {
	devices []Device
	known   func(string) bool
	byName  map[string]int // the first device of a name
	found   []plannedError
	guesses int // names searched for one that was meant; each costs a walk over all
}

func (v *planValidator) add(device int, kind Kind, field, format string, args ...any) {
	v.found = append(v.found, plannedError{device, &Error{
		Kind:  kind,
		Field: fmt.Sprintf("devices[%d].%s", device, field),
		Text:  fmt.Sprintf(format, args...),
	}})
}

func (v *planValidator) device(i int) {
	d := &v.devices[i]
	if wrong := nameMistake(d.Name); wrong != "" {
		v.add(i, Invalid, "name", "a device's name %s", wrong)
	} else if first, taken := v.byName[d.Name]; taken {
		v.add(i, Conflict, "name", "%q is the name of device %d already; names are given once", d.Name, first+1)
	} else {
		v.byName[d.Name] = i
	}
	if err := ValidateAddress(d.Address); err != nil {
		v.add(i, Invalid, "address", "%s", err)
	}
	if int(d.Importance) >= len(importanceNames) {
		v.add(i, Invalid, "importance", "there is no importance %d", d.Importance)
	}
	if len(d.Tags) > MaxTags {
		v.add(i, Invalid, "tags", "there are %d tags; a device has at most %d", len(d.Tags), MaxTags)
	}
	for k, tag := range d.Tags {
		if wrong := nameMistake(tag); wrong != "" {
			v.add(i, Invalid, fmt.Sprintf("tags[%d]", k), "a tag %s", wrong)
		}
	}
	if len(d.Checks) == 0 || len(d.Checks) > MaxChecks {
		v.add(i, Invalid, "checks", "there are %d checks; a device has 1 to %d", len(d.Checks), MaxChecks)
	}
	for k := range d.Checks {
		v.check(i, k)
	}
}

func (v *planValidator) check(device, k int) {
	checks := v.devices[device].Checks
	c := &checks[k]
	if wrong := nameMistake(c.Name); wrong != "" {
		v.add(device, Invalid, fmt.Sprintf("checks[%d].name", k), "a check's name %s", wrong)
	} else if slices.ContainsFunc(checks[:k], func(o Check) bool { return o.Name == c.Name }) {
		v.add(device, Conflict, fmt.Sprintf("checks[%d].name", k), "this device has a check called %q already; give one of them another name", c.Name)
	}
	for _, e := range c.Policy.Validate() {
		v.add(device, Invalid, fmt.Sprintf("checks[%d].%s", k, e.Field), "%s", e.Text)
	}
}

// Validate returns every mistake of a policy, none for a good one. Field is
// the name of the setting: "interval", "timeout", "fall", "rise", "rtt_above",
// "loss_above" or "loss_window".
func (p Policy) Validate() []*Error {
	var errs []*Error
	wrong := func(field, format string, args ...any) {
		errs = append(errs, &Error{Kind: Invalid, Field: field, Text: fmt.Sprintf(format, args...)})
	}
	intervalFits := p.Interval >= MinInterval && p.Interval <= MaxInterval
	if !intervalFits {
		wrong("interval", "an interval is 100ms to 24h, not %s", p.Interval)
	} else if p.Interval%GridUnit != 0 {
		wrong("interval", "an interval is a whole number of milliseconds, not %s", p.Interval)
	}
	if p.Timeout < time.Millisecond {
		wrong("timeout", "a timeout is at least 1ms, not %s", p.Timeout)
	} else if intervalFits && p.Timeout > p.Interval {
		wrong("timeout", "a timeout is at most as long as the interval: %s is more than %s", p.Timeout, p.Interval)
	}
	if p.Fall < 1 || p.Fall > MaxInARow {
		wrong("fall", "fall is 1 to %d looks in a row, not %d", MaxInARow, p.Fall)
	}
	if p.Rise < 1 || p.Rise > MaxInARow {
		wrong("rise", "rise is 1 to %d looks in a row, not %d", MaxInARow, p.Rise)
	}
	if p.RTTAbove < 0 {
		wrong("rtt_above", "rtt_above is a time above zero, not %s", p.RTTAbove)
	} else if p.RTTAbove > 0 && p.Timeout > 0 && p.RTTAbove >= p.Timeout {
		wrong("rtt_above", "rtt_above is less than the timeout, or it never matters: %s is not less than %s", p.RTTAbove, p.Timeout)
	}
	if !(p.LossAbove >= 0 && p.LossAbove < 1) {
		wrong("loss_above", "loss_above is a share below 100%%, not %g%%", 100*p.LossAbove)
	}
	switch {
	case !intervalFits:
	case p.LossWindow < 0 || p.LossAbove > 0 && p.LossWindow < p.Interval:
		wrong("loss_window", "a loss_window is at least one interval long: %s is less than %s", p.LossWindow, p.Interval)
	case p.LossWindow/p.Interval > MaxLossWindow, p.LossWindow/p.Interval == MaxLossWindow && p.LossWindow%p.Interval > 0:
		wrong("loss_window", "a loss_window is at most 1,000 looks long: with an interval of %s that is %s, not %s",
			p.Interval, MaxLossWindow*p.Interval, p.LossWindow)
	}
	return errs
}

// nameMistake completes the sentence "a name …" for one that cannot be used,
// and is empty for one that can.
func nameMistake(name string) string {
	switch {
	case name == "":
		return "is missing"
	case !utf8.ValidString(name):
		return fmt.Sprintf("is UTF-8 text, and %q is not", name)
	case utf8.RuneCountInString(name) > MaxName:
		return fmt.Sprintf("has at most %d characters, and %.20q… has %d", MaxName, name, utf8.RuneCountInString(name))
	case strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }):
		return fmt.Sprintf("has no control characters or odd spaces, and %q has", name)
	case name[0] == ' ' || name[len(name)-1] == ' ':
		return fmt.Sprintf("neither begins nor ends with a space, and %q does", name)
	}
	return ""
}

// ValidateAddress reports what keeps address from naming one host: it is an
// IPv4 or IPv6 address of a single host, or a host name (RFC 1123, with
// underscores tolerated) to be resolved.
func ValidateAddress(address string) error {
	if address == "" {
		return Errorf(Invalid, "an address is missing")
	}
	if addr, err := netip.ParseAddr(address); err == nil {
		return validateIP(addr)
	}
	return validateHostName(address)
}

func validateIP(addr netip.Addr) error {
	switch addr = addr.Unmap(); {
	case addr.IsUnspecified():
		return Errorf(Invalid, "%s stands for no host", addr)
	case addr.IsMulticast():
		return Errorf(Invalid, "%s is a multicast group, not one host", addr)
	case addr == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return Errorf(Invalid, "%s is the broadcast address, not one host", addr)
	}
	return nil
}

func validateHostName(name string) error {
	bad := func(why string) error {
		return Errorf(Invalid, "%q is neither an IP address nor a host name: %s", clip(name), why)
	}
	if strings.Contains(name, "://") {
		return bad("give the host alone, without scheme and path")
	}
	if strings.Contains(name, "/") {
		return bad("a device is one host, not a network")
	}
	if host, _, found := strings.Cut(name, ":"); found && !strings.Contains(host, ".") {
		return bad("a part of an IPv6 address is wrong, or there is a port")
	} else if found {
		return bad("give it without a port")
	}
	bare := strings.TrimSuffix(name, ".")
	if len(bare) > 253 {
		return bad("it is longer than 253 characters")
	}
	label := ""
	for label = range strings.SplitSeq(bare, ".") {
		switch {
		case label == "":
			return bad("a part between two dots is empty")
		case len(label) > 63:
			return bad("a part between two dots is longer than 63 characters")
		case label[0] == '-' || label[len(label)-1] == '-':
			return bad("a part begins or ends with a hyphen")
		}
		for _, r := range label {
			switch {
			case r >= utf8.RuneSelf:
				return bad("write names beyond ASCII in their xn-- form")
			case !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_'):
				return bad(fmt.Sprintf("%q is not allowed in it", r))
			}
		}
	}
	// No top-level domain is a number, so this can only be an address.
	if !strings.ContainsFunc(label, func(r rune) bool { return r < '0' || r > '9' }) {
		return bad("an IPv4 address has four numbers from 0 to 255 without leading zeros")
	}
	return nil
}

func clip(s string) string {
	if len(s) <= 80 {
		return s
	}
	return strings.ToValidUTF8(s[:80], "") + "…"
}

func (v *planValidator) parents(i int) {
	d := &v.devices[i]
	if len(d.Parents) > MaxParents {
		v.add(i, Invalid, "parents", "there are %d parents; a device has at most %d", len(d.Parents), MaxParents)
		return
	}
	for k, parent := range d.Parents {
		wrong := ""
		if slices.Contains(d.Parents[:k], parent) {
			wrong = fmt.Sprintf("the parent %q is given twice", clip(parent))
		} else if _, here := v.byName[parent]; !here && (v.known == nil || !v.known(parent)) {
			wrong = fmt.Sprintf("there is no device called %q%s", clip(parent), v.meant(parent))
		}
		if wrong != "" {
			v.add(i, Invalid, fmt.Sprintf("parents[%d]", k), "%s", wrong)
		}
	}
}

// meant guesses the name behind a mistyped one. It looks at every name, so it
// gives up after a few.
func (v *planValidator) meant(name string) string {
	if v.guesses++; v.guesses > 20 {
		return ""
	}
	return DidYouMean(name, func(yield func(string) bool) {
		for i := range v.devices {
			if !yield(v.devices[i].Name) {
				return
			}
		}
	})
}

// cycles reports each way back that a walk from child to parent finds, once.
func (v *planValidator) cycles() {
	const (
		fresh = iota
		open  // on the path that is being walked
		done
	)
	type step struct{ device, next int }
	colour := make([]uint8, len(v.devices))
	var path []step
	for start := range v.devices {
		if colour[start] != fresh || len(v.devices[start].Parents) == 0 {
			continue
		}
		path = append(path[:0], step{device: start})
		colour[start] = open
		for len(path) > 0 {
			top := &path[len(path)-1]
			parents := v.devices[top.device].Parents
			if top.next == len(parents) {
				colour[top.device] = done
				path = path[:len(path)-1]
				continue
			}
			parent, exists := v.byName[parents[top.next]]
			top.next++
			switch {
			case !exists || colour[parent] == done:
			case colour[parent] == fresh:
				colour[parent] = open
				path = append(path, step{device: parent})
			default:
				from := slices.IndexFunc(path, func(s step) bool { return s.device == parent })
				circle := make([]int, 0, len(path)-from)
				for _, s := range path[from:] {
					circle = append(circle, s.device)
				}
				v.circle(circle)
			}
		}
	}
}

// circle reports devices that hang on each other, each on the next and the
// last on the first, from the one that comes first in the plan.
func (v *planValidator) circle(devices []int) {
	first := slices.Index(devices, slices.Min(devices))
	devices = slices.Concat(devices[first:], devices[:first])
	names := make([]string, 0, len(devices)+1)
	for _, d := range devices {
		names = append(names, v.devices[d].Name)
	}
	names = append(names, names[0])
	parent := slices.Index(v.devices[devices[0]].Parents, names[1])
	if len(names) > 10 {
		left := fmt.Sprintf("… %d more …", len(names)-10)
		names = slices.Concat(names[:5], []string{left}, names[len(names)-5:])
	}
	v.add(devices[0], Invalid, fmt.Sprintf("parents[%d]", parent), "the parents go in a circle: %s", strings.Join(names, " → "))
}

// DidYouMean returns `; did you mean "…"?` for the candidate that is nearest
// to what was typed, and nothing when none is near.
func DidYouMean(typed string, candidates func(yield func(string) bool)) string {
	if len(typed) > MaxName {
		return ""
	}
	best, least := "", 1+max(1, min(3, utf8.RuneCountInString(typed)/3))
	for c := range candidates {
		if d := len(c) - len(typed); d >= 4*least || d <= -4*least {
			continue // too different in bytes to be near in characters
		}
		if d := editDistance(typed, c, least); d < least {
			best, least = c, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %q?", best)
}

// editDistance counts the characters to insert, remove, replace or swap with
// their neighbour that turn a into b (optimal string alignment). It gives up
// with limit when there are at least that many.
func editDistance(a, b string, limit int) int {
	from, to := []rune(strings.ToLower(a)), []rune(strings.ToLower(b))
	if d := len(from) - len(to); d >= limit || -d >= limit {
		return limit
	}
	rows := make([]int, 3*(len(to)+1))
	before, last, row := rows[:len(to)+1], rows[len(to)+1:2*(len(to)+1)], rows[2*(len(to)+1):]
	for j := range last {
		last[j] = j
	}
	for i, r := range from {
		row[0] = i + 1
		least := row[0]
		for j, s := range to {
			cost := 1
			if r == s {
				cost = 0
			}
			row[j+1] = min(last[j]+cost, last[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && r == to[j-1] && from[i-1] == s {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
			least = min(least, row[j+1])
		}
		if least >= limit {
			return limit
		}
		before, last, row = last, row, before
	}
	return min(last[len(to)], limit)
}
