package alert

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"sereno"
)

// A Fault is trouble of alerting itself, in one respect.
type Fault struct {
	Trouble sereno.Trouble // channel, policy, outbox
	Subject string         // the name of the channel; ""
	Reason  string         // for a person; "" when nothing is wrong (any more)
}

const (
	guardEvery   = 5 * time.Second
	reviewEvery  = 10 * time.Minute
	channelAfter = 2 * time.Minute // a channel that fails for so long is trouble of its own
	outboxAfter  = time.Minute     // and so are messages that wait so long for nothing
)

// A respect is what there is at most one fault in.
type respect struct {
	trouble sereno.Trouble
	subject string
}

// A finding is a fault and since when it is one.
type finding struct {
	since  sereno.Instant
	reason string
}

// A guard tells what is wrong with alerting itself, each thing once.
type guard struct {
	next      sereno.Instant
	told      map[respect]string        // what stands
	telling   bool                      // under way
	review    sereno.Instant            // when the policies are looked at again
	reviewing bool                      // under way
	policies  string                    // what is wrong with them
	mended    map[string]sereno.Instant // channels, by a test that succeeded
}

func newGuard(known []Fault) guard {
	g := guard{told: map[respect]string{}, mended: map[string]sereno.Instant{}}
	for _, f := range known {
		g.told[respect{f.Trouble, f.Subject}] = f.Reason
	}
	return g
}

// look finds out what is wrong, every now and then, and tells what is new.
func (d *Desk) look() {
	now, g := d.o.Now(), &d.guard
	if now < g.next || d.engine == nil && d.access == 0 {
		return
	}
	g.next = now.Add(guardEvery)
	d.review(now)
	found := d.findings(now)
	outbox := found[respect{trouble: sereno.TroubleOutbox}].reason
	d.stuck.Store(&outbox)
	if d.o.Own == nil || g.telling {
		return
	}
	type news struct {
		at sereno.Instant
		Fault
	}
	var tell []news
	for r, f := range found {
		// That a channel fails in another way by now is no news.
		if was, stands := g.told[r]; !stands || r.trouble == sereno.TroublePolicy && was != f.reason {
			tell = append(tell, news{f.since, Fault{r.trouble, r.subject, f.reason}})
		}
	}
	for r := range g.told {
		_, still := found[r]
		unknown := d.engine == nil || r.trouble == sereno.TroublePolicy && g.reviewing
		if !still && !unknown {
			tell = append(tell, news{now, Fault{r.trouble, r.subject, ""}})
		}
	}
	if len(tell) == 0 {
		return
	}
	slices.SortFunc(tell, func(a, b news) int {
		return cmp.Or(cmp.Compare(a.Trouble, b.Trouble), cmp.Compare(a.Subject, b.Subject))
	})
	g.telling = true
	d.parts.Go(func() {
		var taken []Fault
		for _, n := range tell {
			if err := d.o.Own(d.running, n.at, n.Fault); err != nil {
				break // again, at the next look
			}
			taken = append(taken, n.Fault)
		}
		d.bring(func() {
			g.telling = false
			for _, f := range taken {
				if r := (respect{f.Trouble, f.Subject}); f.Reason == "" {
					delete(g.told, r)
				} else {
					g.told[r] = f.Reason
				}
			}
		})
	})
}

// findings are the faults of now.
func (d *Desk) findings(now sereno.Instant) map[respect]finding {
	found := map[respect]finding{}
	if d.guard.policies != "" {
		found[respect{trouble: sereno.TroublePolicy}] = finding{now, d.guard.policies}
	}
	outbox := respect{trouble: sereno.TroubleOutbox}
	if d.access != 0 && now.Sub(d.access) >= outboxAfter {
		found[outbox] = finding{d.access, "messages cannot be stored, so none is sent"}
	}
	if d.engine == nil {
		return found
	}
	for _, h := range d.engine.Health() {
		ill := d.ill[h.Channel]
		failing := h.Refusing || h.Failing != 0 && now.Sub(h.Failing) >= channelAfter
		if failing && d.guard.mended[h.Channel] <= ill.until {
			found[respect{sereno.TroubleChannel, h.Channel}] = finding{cmp.Or(h.Failing, ill.until, now), fmt.Sprintf("%s does not take messages: %s", h.Channel, h.Answer)}
		}
		// What waits behind a channel that fails or that asked to be left alone is
		// not stuck, nor is what waits in a queue that moves.
		moved := max(h.Oldest, h.Delivered, ill.until, h.Hold)
		if h.Oldest != 0 && h.Failing == 0 && !h.Refusing && now.Sub(moved) >= outboxAfter && found[outbox].reason == "" {
			found[outbox] = finding{h.Oldest, fmt.Sprintf("%d messages on %s are due and not sent, though nothing is wrong with it", h.Waiting, h.Channel)}
		}
	}
	return found
}

// review finds policies that can tell nobody, or of nothing: when the book has
// changed, and now and then, since devices come and go.
func (d *Desk) review(now sereno.Instant) {
	g := &d.guard
	if g.reviewing || now < g.review {
		return
	}
	g.review, g.reviewing = now.Add(reviewEvery), true
	p := d.rules.Load()
	d.parts.Go(func() {
		sentences := slices.Clone(p.Warnings)
		var err error
		if d.o.Devices != nil {
			sentences = append(sentences, p.Unmatched(func(yield func(sereno.Device) bool) {
				for device, e := range d.o.Devices(d.running) {
					if err = e; err != nil || !yield(device) {
						return
					}
				}
			})...)
		}
		d.bring(func() {
			g.reviewing = false
			if err == nil { // else not all devices were seen
				g.policies = strings.Join(sentences, "; ")
				g.next = 0
			}
		})
	})
}

// Stuck says why messages do not go out although somebody could take them; ""
// if they do.
func (d *Desk) Stuck() string {
	if why := d.stuck.Load(); why != nil {
		return *why
	}
	return ""
}
