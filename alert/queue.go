package alert

import (
	"container/heap"
	"encoding/json"
	"hash/fnv"
	"slices"
	"strings"
	"time"

	"sereno"
	"sereno/notify"
)

const (
	// storm is how many messages of one minute on one channel are too many.
	storm  = 20
	minute = time.Minute

	leastBackOff = time.Second
	mostBackOff  = 5 * time.Minute
)

// A parcel is a delivery that waits.
type parcel struct {
	Delivery
	flying   bool                        // it is being sent
	doubted  bool                        // it was unsure before the try under way
	about    map[sereno.IncidentID]uint8 // what it tells of each incident
	threads  []*thread
	lasting  int // of how many incidents it does not tell the end
	group    string
	place    int // in its queue's heap; -1: in none
	changed  bool
	withdraw map[sereno.IncidentID]bool // what is to be taken out of it
	reason   string                     // why, for a person
	heir     DeliveryID                 // which tells some of that instead; 0: none does
	alarm    sereno.Instant             // when it is checked next
	stoodIn  bool                       // its channel's fallback was given it
}

// What a parcel tells of an incident.
const (
	tellsOf uint8 = 1 << iota
	tellsAlarm
	tellsEnd
)

// kind is the first word of an occasion.
func (i Item) kind() string {
	kind, _, _ := strings.Cut(i.Occasion, "/")
	kind, _, _ = strings.Cut(kind, "+")
	return kind
}

func (p *parcel) tells(in sereno.IncidentID) bool { return p.about[in] != 0 && !p.withdraw[in] }

// open reports whether lines may still be added to it, or taken over by another:
// once it may have been taken by the other end it stays as it is.
func (p *parcel) open() bool { return p.State == Waiting && !p.flying && !p.Unsure }

// note takes an item in.
func (p *parcel) note(i Item) {
	was := p.about[i.Incident]
	is := was | tellsOf
	switch i.kind() {
	case "closed":
		is |= tellsEnd
	case "opened", "reminder":
		is |= tellsAlarm
	}
	if was == 0 {
		p.lasting++
	}
	if is&tellsEnd > was&tellsEnd {
		p.lasting--
	}
	p.about[i.Incident] = is
}

// before is the order on a channel.
func (p *parcel) before(q *parcel) bool {
	return p.Due < q.Due || p.Due == q.Due && p.ID < q.ID
}

// A queue is what waits for one channel, and how that does. Its exported fields
// are what is kept of it.
type queue struct {
	Failing   sereno.Instant   `json:"failing"` // since when no try succeeded; 0
	Fails     int              `json:"fails,omitempty"`
	Failed    DeliveryID       `json:"failed,omitempty"` // the latest that did
	Refusing  bool             `json:"refusing,omitempty"`
	Answer    string           `json:"answer,omitempty"`
	Many      bool             `json:"many,omitempty"` // more than one message failed in that row
	Hold      sereno.Instant   `json:"hold"`           // no try before it
	Others    sereno.Instant   `json:"others"`         // nor, of another message than Failed, before this
	Delivered sereno.Instant   `json:"delivered"`
	Sent      []sereno.Instant `json:"sent,omitempty"` // the latest, at most storm+1
	Storm     sereno.Instant   `json:"storm"`          // when the next digest is due; 0: no storm
	Count     int              `json:"count,omitempty"`
	Digest    DeliveryID       `json:"digest,omitempty"`   // the one that gathers
	StoodIn   []DeliveryID     `json:"stood_in,omitempty"` // what the fallback was given, while it waits

	name   string
	heap   parcels
	flying *parcel
}

type parcels []*parcel

func (h parcels) Len() int           { return len(h) }
func (h parcels) Less(i, j int) bool { return h[i].before(h[j]) }
func (h parcels) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = i, j
}

func (h *parcels) Push(x any) {
	p := x.(*parcel) //nolint:forcetypeassert // heap.Push is called with no other
	p.place = len(*h)
	*h = append(*h, p)
}

func (h *parcels) Pop() any {
	last := len(*h) - 1
	p := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	p.place = -1
	return p
}

func (q *queue) add(p *parcel) { heap.Push(&q.heap, p) }

func (q *queue) remove(p *parcel) {
	if p.place >= 0 {
		heap.Remove(&q.heap, p.place)
	}
}

// due returns what is due by a time, in order, at most that many if most is not
// 0, and when the first of the others is due (0: there is none).
func (q *queue) due(by sereno.Instant, most int) (list []*parcel, next sereno.Instant) {
	var walk func(i int)
	walk = func(i int) {
		if i >= len(q.heap) || most != 0 && len(list) >= most {
			return
		}
		p := q.heap[i]
		if p.Due > by {
			if next == 0 || p.Due < next {
				next = p.Due
			}
			return
		}
		list = append(list, p)
		walk(2*i + 1)
		walk(2*i + 2)
	}
	walk(0)
	slices.SortFunc(list, func(a, b *parcel) int {
		if a.before(b) {
			return -1
		}
		return 1
	})
	return list, next
}

// sentWithin returns how many were sent in the minute before now.
func (q *queue) sentWithin(now sereno.Instant) int {
	n := 0
	for _, at := range q.Sent {
		if now.Sub(at) < minute {
			n++
		}
	}
	return n
}

// choose returns what is to be sent now, or when to ask again (0: not before
// something else happens). What failed stands behind what is new for a second
// opinion on whether it is the channel or the message, and again after every
// third try; about one trouble the order is kept.
func (q *queue) choose(now sereno.Instant) (*parcel, sereno.Instant) {
	list, next := q.due(now, 0)
	if q.flying != nil || len(list) == 0 && next == 0 {
		return nil, 0
	}
	var best *parcel
	for i, p := range list {
		if at := max(p.Next, q.hold(p)); at > now {
			if next == 0 || at < next {
				next = at
			}
			continue
		}
		if q.blocked(p, list[:i]) {
			continue
		}
		if best == nil || q.rank(p) < q.rank(best) {
			best = p
		}
	}
	if best != nil {
		return best, now
	}
	return nil, next
}

// hold is before when nothing is to be tried again.
func (q *queue) hold(p *parcel) sereno.Instant {
	if p.ID == q.Failed {
		return q.Hold
	}
	return q.Others
}

// fail notes a try that failed. While it is one message alone that does, it may
// be that message's fault, and others are not held up by more than a moment.
func (q *queue) fail(p *parcel, at sereno.Instant, f *notify.Failure) {
	q.Many = q.Many || f.After > 0 || q.Fails > 0 && q.Failed != p.ID
	q.Fails++
	q.Failed, q.Answer = p.ID, f.Text
	q.Hold = at.Add(max(backOff(q.Fails, q.name), f.After))
	q.Others = at.Add(leastBackOff)
	if q.Many {
		q.Others = q.Hold
	}
}

// clear forgets failures.
func (q *queue) clear() { q.Fails, q.Failed, q.Many, q.Hold, q.Others = 0, 0, false, 0, 0 }

// plain makes an ordinary message of a digest that tells one thing.
func (p *parcel) plain() {
	if p.Event != notify.Digest || len(p.about) != 1 {
		return
	}
	switch {
	case p.lasting == 0:
		p.Event = notify.Closed
	case p.Items[0].kind() == "opened":
		p.Event = notify.Opened
	}
}

func (q *queue) rank(p *parcel) int {
	if q.Fails == 0 {
		return 0
	}
	r := p.Tries / 3 * 2
	if !q.Many && p.ID == q.Failed {
		r++
	}
	return r
}

// blocked reports whether something about the same trouble is to be sent before.
func (q *queue) blocked(p *parcel, earlier []*parcel) bool {
	if len(earlier) == 0 {
		return false
	}
	for _, t := range p.threads {
		for _, o := range t.waiting {
			if o != p && o.Channel == p.Channel && o.before(p) {
				return true
			}
		}
	}
	return false
}

// backOff is how long to wait after some failures in a row: twice as long each
// time, and up to a fifth less, so that channels do not come back together.
func backOff(fails int, seed string) time.Duration {
	d := mostBackOff
	if fails < 10 {
		d = min(leastBackOff<<max(fails-1, 0), mostBackOff)
	}
	h := fnv.New32a()
	h.Write([]byte(seed))
	h.Write([]byte{byte(fails), byte(fails >> 8)})
	return max(d-time.Duration(int64(d/5)*int64(h.Sum32()%1000)/1000), leastBackOff)
}

// queues is the record of how the channels do.
type queuesDoc struct {
	Version int               `json:"v"`
	Queues  map[string]*queue `json:"queues"`
	Taken   spans             `json:"taken,omitempty"`
}

func (e *Engine) queuesRecord() Record {
	doc, err := json.Marshal(queuesDoc{threadVersion, e.queues, e.taken})
	if err != nil {
		panic(err) // plain data
	}
	return Record{Doc: doc}
}

// calm ends a storm once a minute passed without too many.
func (e *Engine) calm(q *queue, now sereno.Instant) {
	for q.Storm != 0 && now >= q.Storm {
		e.queuesChanged = true
		if q.Count <= storm {
			q.Storm, q.Count, q.Digest = 0, 0, 0
			return
		}
		q.Storm, q.Count, q.Digest = q.Storm.Add(minute), 0, 0
	}
}

// press makes one digest of what is due within a minute, where that is too much.
func (e *Engine) press(q *queue, now sereno.Instant) {
	e.calm(q, now)
	sent := 0
	if q.Storm == 0 {
		sent = q.sentWithin(now)
	}
	if len(q.heap)+sent <= storm {
		return
	}
	if list, _ := q.due(now.Add(minute), storm+1); len(list)+sent <= storm {
		return
	}
	list, _ := q.due(now.Add(minute), 0)
	var wishes []*parcel
	list = slices.DeleteFunc(list, func(p *parcel) bool {
		wish := p.open() && p.Event == notify.Acknowledged && len(p.about) > 1
		if wish {
			wishes = append(wishes, p)
		}
		return wish || !p.open()
	})
	if len(list) == 0 || q.Storm != 0 && len(list) <= storm {
		return
	}
	e.queuesChanged = true
	due := max(now, list[0].Due)
	q.Storm, q.Count, q.Digest = due.Add(minute), 0, 0
	if len(list) == 1 {
		return
	}
	digest := e.digest(q, due, now)
	for _, p := range list {
		if p.Event == notify.Opened && p.Step == 0 && p.Reminder == 0 {
			for _, t := range p.threads {
				e.align(t, t.course(p.Policy), due)
			}
		}
		e.pour(p, digest, now, "")
	}
	// That many are acknowledged is told by itself, after the digest.
	for last, at := DeliveryID(0), due+1; len(wishes) > 0 && wishes[0].Due <= due; wishes = wishes[1:] {
		if wishes[0].ID < last {
			at++
		}
		last = wishes[0].ID
		e.putOff(wishes[0], at)
	}
}

// align lets the ladders of those that are told in one digest count from there,
// so that what follows comes together too.
func (e *Engine) align(t *thread, c *course, due sereno.Instant) {
	if c == nil || c.Over || c.Base == 0 || c.HeldFrom != 0 || t.Ended != 0 {
		return
	}
	pol := e.policy(c.Policy)
	if pol == nil {
		return
	}
	from := due.Add(-pol.GroupWait)
	for i := range c.Paces {
		switch p := &c.Paces[i]; {
		case p.Fired == 0:
			p.Shift = from.Sub(c.Base)
		case pol.Steps[i].After == 0 && p.Reminded == 0:
			p.Shift = from.Sub(p.Fired)
		}
		if at, _, ok := c.due(pol, i); ok && at < t.wake {
			t.wake = max(at, e.now+1)
			e.timers.add(timer{t.wake, int64(t.ID), true})
		}
	}
	e.touch(t)
}

// digest makes an empty digest, which gathers what follows until it is sent.
func (e *Engine) digest(q *queue, due, now sereno.Instant) *parcel {
	p := e.post(Delivery{Channel: q.name, Event: notify.Digest, Promised: now, Due: due}, "")
	q.Digest = p.ID
	return p
}

// pour moves all lines of a parcel into another.
func (e *Engine) pour(from, into *parcel, now sereno.Instant, answer string) {
	if into.Policy == "" {
		into.Policy = from.Policy
	}
	if into.Held == "" {
		into.Held = from.Held
	}
	if into.For == "" {
		into.For = from.For
	}
	items := from.Items
	e.settle(from, Merged, into.ID, answer, now)
	for _, i := range items {
		if !from.withdraw[i.Incident] {
			e.put(into, i)
		}
	}
}
