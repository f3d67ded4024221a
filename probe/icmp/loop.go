package icmp

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/sys/unix"

	"sereno"
	"sereno/probe"
)

const (
	// grace is how long after its deadline a look is given up at the earliest:
	// a reply is stamped a moment before it can be read.
	grace = 2 * time.Millisecond
	// jamPatience is how long a request is tried again that the kernel has no
	// room for.
	jamPatience = 50 * time.Millisecond
	// reopening is how long the loop waits before it tries again to open a
	// socket.
	reopening = time.Second
	// gather is how long results wait for company, because each delivery wakes
	// somebody; crowd is how many of them no longer wait.
	gather = 20 * time.Millisecond
	crowd  = 256
	// winding is how many rounds without work the loop ticks on before it
	// dozes.
	winding = 2
	// drainLimit is how many batches are read in one round, so that a flood
	// cannot keep the loop from sending.
	drainLimit = 1024
)

// A loop is one run of a lane: it owns all that is under way there.
type loop struct {
	lane   *lane
	engine *Engine
	clock  *clock
	seal   *seal
	pace   *pace

	queue   [][]probe.Look // in order of due times
	next    int            // the first of queue that is not done
	done    int            // how much of that one is
	emptied [][]probe.Look // for the engine's next inbox
	sent    int            // looks taken off the queue in this round

	hangar    *hangar
	sockets   [families]*socket
	closed    [families]closed
	results   []sereno.Result
	delivered int64    // when the latest were handed over
	count     Counters // of this round
	reasons   map[trouble]string
	filler    []byte

	latest    int64 // when the loop was last seen running, or was to run next
	suspended time.Duration
	stall     stall
	quiet     int // rounds without work

	start  int64          // of this round
	ledger sereno.Instant // the same by the ledger's time
}

// closed says why a family has no socket.
type closed struct {
	reason string
	retry  int64
}

func newLoop(n *lane) *loop {
	e := n.engine
	return &loop{
		lane:      n,
		engine:    e,
		clock:     newClock(),
		seal:      newSeal(),
		pace:      newPace(e.options.MaxPPS),
		hangar:    newHangar(),
		reasons:   make(map[trouble]string),
		suspended: asleep(),
	}
}

// round sends what is due, reads what has come, gives up what is overdue,
// delivers, and rests.
func (l *loop) round() {
	l.wake()
	l.send()
	drained := l.now()
	if l.drain() {
		l.expire(drained - int64(grace))
	}
	if l.start-l.delivered >= int64(gather) || len(l.results) >= crowd {
		l.deliver()
	}
	l.engine.board.add(&l.count)
	l.rest()
}

// deliver hands over the results that there are.
func (l *loop) deliver() {
	l.delivered = l.start
	if len(l.results) == 0 {
		return
	}
	l.engine.handOver(l.results)
	clear(l.results)
	l.results = l.results[:0]
}

// now returns the time, and notices if the loop did not run.
func (l *loop) now() int64 {
	now := l.clock.now()
	l.ran(now, 0)
	return now
}

func (l *loop) ran(now int64, suspended time.Duration) {
	if s, late := stalled(l.latest, now, suspended); late {
		l.stall = s
		l.engine.options.Log.Warn("the echo loop did not run", "seconds", time.Duration(s.end-s.begin).Seconds(), "suspended_seconds", suspended.Seconds())
	}
	l.latest = now
}

// wake begins a round.
func (l *loop) wake() {
	l.start = l.clock.read()
	asleep := asleep()
	l.ran(l.start, asleep-l.suspended)
	l.suspended = asleep
	l.ledger = l.engine.options.Clock()
	full := l.lane.exchange(l.sent, l.emptied)
	l.sent = 0
	l.queue = append(l.queue, full...)
	clear(full)
	l.emptied = full
}

// head returns the first look that waits, nil if none does.
func (l *loop) head() *probe.Look {
	if l.next == len(l.queue) {
		return nil
	}
	return &l.queue[l.next][l.done]
}

// pop takes the first look off the queue.
func (l *loop) pop() {
	l.sent++
	if l.done++; l.done < len(l.queue[l.next]) {
		return
	}
	l.queue[l.next], l.done = nil, 0
	if l.next++; l.next > len(l.queue)/2 {
		n := copy(l.queue, l.queue[l.next:])
		clear(l.queue[n:])
		l.queue, l.next = l.queue[:n], 0
	}
}

// send sends what is due, at most one burst.
func (l *loop) send() {
	for _, s := range l.sockets {
		if s != nil && s.queued > 0 && !l.flush(s) {
			return
		}
	}
	l.pace.share(max(l.engine.used(), 1)) // lanes may send at the same time
	n, free := 0, l.pace.allow(l.start)
	for look := l.head(); n < free && look != nil && look.Due <= l.ledger; look = l.head() {
		s := l.take(look)
		l.pop()
		n++
		if s != nil && s.queued == batch && !l.flush(s) {
			break
		}
	}
	for _, s := range l.sockets {
		if s != nil && s.queued > 0 {
			l.flush(s)
		}
	}
	l.pace.spend(n)
}

// overflowed books what the receive buffer of a socket had no room for. It
// hurts the looks that are under way.
func (l *loop) overflowed(s *socket) {
	if n := s.overflow(); n > 0 {
		l.count.SocketDrops += uint64(n)
		s.dropped = l.now()
	}
}

// take makes a flight of a look and queues its request. It returns the socket,
// or nil when the look could not be taken and has its result already.
func (l *loop) take(look *probe.Look) *socket {
	t := look.Target.(*target)
	slot := l.hangar.take(t, look.Due)
	if t.family == noFamily {
		l.decide(slot, sereno.Unknown, sereno.Unresolved, 0, "its name has no address that we know of")
		return nil
	}
	s := l.socket(t.family, int(t.size))
	if s == nil {
		l.count.Errors++
		l.decide(slot, sereno.Unknown, sereno.NoSocket, 0, l.closed[t.family].reason)
		return nil
	}
	s.queue(slot, t, l.seal, mark{uint32(slot), l.hangar.slots[slot].generation, l.start})
	return s
}

// socket returns the socket of a family, with room for payloads of size bytes,
// and opens it if need be. It is nil if that cannot be done.
func (l *loop) socket(f family, size int) *socket {
	s := l.sockets[f]
	if s != nil && size <= s.size {
		return s
	}
	if size = max(size, int(l.engine.size.Load())); size > len(l.filler) {
		l.filler = make([]byte, size)
		fill(l.filler)
	}
	if s != nil {
		if s.queued > 0 && !l.flush(s) {
			l.skip(s, unix.EAGAIN)
		}
		s.grow(size)
		return s
	}
	if l.closed[f].reason != "" && l.start < l.closed[f].retry {
		return nil
	}
	s, err := open(f, l.engine.options.Mode, size)
	if err != nil {
		reason := permission(err)
		if reason != l.closed[f].reason {
			l.engine.options.Log.Error("no socket for echo requests", "problem", err, "advice", reason)
		}
		l.closed[f] = closed{reason, l.start + int64(reopening)}
		return nil
	}
	l.closed[f] = closed{}
	l.sockets[f] = s
	l.engine.options.Log.Debug("opened a socket for echo requests", "mode", s.mode, "id", s.id)
	return s
}

// flush sends what is queued in a socket. It reports whether nothing is left:
// what the kernel has no room for stays for the next round.
func (l *loop) flush(s *socket) bool {
	// The kernel tells an ICMP error about an older request to whoever calls
	// next, as if it were about this call. Then it is also in the error queue;
	// when that was empty twice, the error is this request's own.
	const alone, most = 2, 100
	failed, empty := 0, 0
	if s.flying == 0 {
		l.overflowed(s) // what was dropped until now is not the fault of these
	}
	before := l.now()
	for s.first < s.queued {
		n, errno := s.send()
		after := l.now()
		if n > 0 {
			l.launch(s, n, before, after)
			s.troubled = s.troubled || s.first < s.queued
			s.jammed, failed, empty = 0, 0, 0
			before = after
			continue
		}
		switch {
		case errno == unix.EINTR:
		case full(errno):
			if s.jammed == 0 {
				s.jammed = after
			}
			if after-s.jammed < int64(jamPatience) {
				return false
			}
			l.skip(s, errno)
		default:
			if failed++; l.troubles(s) == 0 {
				empty++
			}
			if empty == alone || failed == most {
				l.refuse(s, errno)
				failed, empty = 0, 0
			}
		}
		before = l.now()
	}
	s.first, s.queued = 0, 0
	return true
}

// launch books n requests that the kernel took between two moments. Each is
// stamped with the moment at which its turn came, if all took equally long:
// the kernel handles one after the other, on loopback including the reply.
func (l *loop) launch(s *socket, n int, before, after int64) {
	for k := range n {
		slot := s.slots[s.first+k]
		sent := before + (after-before)*int64(k)/int64(n)
		l.hangar.launch(slot, sent)
		l.count.Lateness.note(l.ledger.Sub(l.hangar.slots[slot].due) + time.Duration(sent-l.start))
	}
	s.first += n
	s.flying += n
	l.count.Sent += uint64(n)
}

// refuse ends the look whose request is next in a socket and cannot be sent.
func (l *loop) refuse(s *socket, errno unix.Errno) {
	l.count.Errors++
	l.decide(s.slots[s.first], sereno.Unknown, faultOf(errno), 0, refusalOf(errno))
	s.first++
}

// skip does so for all that is queued.
func (l *loop) skip(s *socket, errno unix.Errno) {
	for s.first < s.queued {
		l.refuse(s, errno)
	}
	s.first, s.queued = 0, 0
}

// drain reads all that has come. It reports whether nothing is left.
func (l *loop) drain() bool {
	complete := true
	for _, s := range l.sockets {
		if s != nil && s.flying > 0 {
			complete = l.read(s) && complete
			if s.troubled {
				l.troubles(s)
			}
		}
	}
	return complete
}

func (l *loop) read(s *socket) bool {
	for range drainLimit {
		n, errno := s.receive()
		if errno == unix.EAGAIN {
			return true
		}
		if errno != 0 { // tells an ICMP error, or EINTR
			l.troubles(s)
			continue
		}
		now := l.clock.read()
		l.ran(now, 0)
		for i := range n {
			l.reply(s, i, now)
			s.rearm(i)
		}
		if n < inbox {
			return true
		}
	}
	return false
}

// reply judges one packet that was read at now.
func (l *loop) reply(s *socket, i int, now int64) {
	message, ok := s.message(i)
	if !ok {
		l.count.Foreign++
		return
	}
	e, ok := parseEcho(message, s.reply)
	if !ok || e.id != s.id {
		l.count.Foreign++
		return
	}
	m, ok := l.seal.read(e.payload)
	if !ok || m.slot == 0 || int(m.slot) >= len(l.hangar.slots) || e.sequence != uint16(m.slot) {
		l.count.Foreign++
		return
	}
	f := &l.hangar.slots[m.slot]
	if f.generation != m.generation {
		l.count.Late++ // its slot was used again: whatever became of it is long decided
		return
	}
	if !f.target.is(&s.sources[i]) || len(e.payload) != int(f.target.size) || !bytes.Equal(e.payload[markSize:], l.filler[markSize:len(e.payload)]) {
		l.count.Foreign++
		return
	}
	rtt := l.clock.roundTrip(f.sent, s.stamp(i), now)
	switch {
	case f.stage == flying && int64(rtt) <= f.target.timeout:
		l.count.Received++
		l.land(int32(m.slot))
		l.decide(int32(m.slot), sereno.Up, sereno.NoFault, rtt, "")
	case f.stage != flying && f.status == sereno.Up:
		l.count.Duplicate++
		l.tell(f, "duplicate", rtt)
	default:
		l.count.Late++
		l.tell(f, "late", rtt)
	}
}

// tell passes evidence on.
func (l *loop) tell(f *flight, kind string, rtt time.Duration) {
	o := &l.engine.options
	debug := o.Log.Enabled(context.Background(), slog.LevelDebug)
	if o.Evidence == nil && !debug {
		return
	}
	detail := fmt.Sprintf("%s, %v", kind, rtt.Round(max(rtt/100, 1)))
	if o.Evidence != nil {
		o.Evidence(f.target.check, kind, detail)
	}
	if debug {
		o.Log.Debug("echo reply", "check", int64(f.target.check), "due", f.due, "detail", detail)
	}
}

// troubles empties the error queue of a socket and returns how many ICMP errors
// were in it. One that quotes a request under way becomes the reason of its
// look, should no answer come.
func (l *loop) troubles(s *socket) (n int) {
	for range drainLimit {
		control, to, quoted, ok := s.lastError()
		if !ok {
			s.troubled = false
			return n
		}
		t, ok := parseTrouble(control)
		if !ok {
			continue
		}
		n++
		if slot := l.quoted(s, quoted, to); slot != 0 {
			l.hangar.slots[slot].reason = l.reason(t)
		}
	}
	s.troubled = true
	return n
}

// quoted returns the flight whose request an ICMP error quotes, 0 for none.
func (l *loop) quoted(s *socket, message []byte, to *[unix.SizeofSockaddrInet6]byte) int32 {
	e, ok := parseEcho(message, s.request)
	if !ok || e.id != s.id {
		return 0
	}
	if len(e.payload) < markSize {
		return l.hangar.find(e.sequence, to)
	}
	m, ok := l.seal.read(e.payload)
	if !ok || m.slot == 0 || int(m.slot) >= len(l.hangar.slots) {
		return 0
	}
	if f := &l.hangar.slots[m.slot]; f.generation == m.generation && f.stage == flying && f.target.is(to) {
		return int32(m.slot)
	}
	return 0
}

// reason returns what t says. When ten thousand hosts are unreachable, few
// routers say so.
func (l *loop) reason(t trouble) string {
	const most = 1024
	text, ok := l.reasons[t]
	if !ok {
		if len(l.reasons) >= most {
			clear(l.reasons)
		}
		text = t.String()
		l.reasons[t] = text
	}
	return text
}

// expire gives up all looks whose deadline is not after limit. Everything that
// came before limit has been read.
func (l *loop) expire(limit int64) {
	asked := [families]bool{}
	l.hangar.overdue(limit, func(i int32) {
		f := &l.hangar.slots[i]
		s := l.sockets[f.target.family]
		if !asked[s.family] {
			asked[s.family] = true
			l.overflowed(s)
		}
		l.land(i)
		switch {
		case l.stall.hit(f.sent, f.deadline()):
			l.decide(i, sereno.Unknown, sereno.Stalled, 0, "our process did not run")
		case f.sent < s.dropped:
			l.decide(i, sereno.Unknown, sereno.Overflow, 0, "our receive buffer overflowed")
		case f.reason != "":
			l.decide(i, sereno.Down, sereno.NoFault, 0, f.reason)
		default:
			l.decide(i, sereno.Down, sereno.NoFault, 0, f.target.silence)
		}
	})
}

// land takes a look out of the air.
func (l *loop) land(i int32) {
	l.hangar.land(i)
	l.sockets[l.hangar.slots[i].target.family].flying--
}

// decide ends a look, and hands over what that makes known of its target:
// results of one target leave in the order of their due times, so one that
// overtook an older look waits for it.
func (l *loop) decide(i int32, status sereno.Status, fault sereno.Fault, rtt time.Duration, reason string) {
	f := &l.hangar.slots[i]
	f.stage, f.status, f.fault, f.rtt, f.reason = decided, status, fault, rtt, reason
	for t := f.target; t.first != 0; {
		i := t.first
		f := &l.hangar.slots[i]
		if f.stage != decided {
			return
		}
		l.results = append(l.results, sereno.Result{
			Check: t.check, Status: f.status, Fault: f.fault, At: f.due, RTT: f.rtt, Reason: f.reason,
		})
		t.first = f.after
		l.hangar.release(i)
	}
}

// rest waits until there is something to do.
func (l *loop) rest() {
	look := l.head()
	jammed := false
	for _, s := range l.sockets {
		jammed = jammed || s != nil && s.queued > 0
	}
	if l.sent > 0 || l.hangar.flying > 0 || jammed {
		l.quiet = 0
	} else {
		l.quiet++
	}
	alarm := l.start + l.pace.tick
	switch {
	case jammed:
		alarm = l.start + int64(time.Millisecond)
	case look != nil && look.Due <= l.ledger: // overdue: as soon as a burst may leave
		alarm = l.start + l.pace.refill()
	case l.quiet > winding && (look == nil || look.Due.Sub(l.ledger) > 2*longest):
		l.doze(look)
		return
	}
	if rest := alarm - l.now(); rest > 0 {
		l.latest = alarm
		nap(time.Duration(rest))
	}
}

// doze rests until look is due, or something is handed over.
func (l *loop) doze(look *probe.Look) {
	l.deliver()
	if !l.lane.mayDoze() {
		return
	}
	defer l.lane.awake()
	if look == nil {
		l.lane.bell.doze(-1)
		l.latest = l.clock.now() // nothing was to be done until now
		return
	}
	rest := look.Due.Sub(l.ledger)
	l.latest = l.start + int64(rest)
	l.lane.bell.doze(rest)
}

// close puts everything away.
func (l *loop) close() {
	for i := range l.hangar.slots {
		if f := &l.hangar.slots[i]; f.stage != landed {
			f.target.first, f.target.last = 0, 0
		}
	}
	for _, s := range l.sockets {
		if s != nil {
			s.close()
		}
	}
	l.deliver()
	l.engine.board.add(&l.count)
}

// now is the wall clock.
func now() sereno.Instant { return sereno.At(time.Now()) }
