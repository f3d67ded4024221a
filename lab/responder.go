package lab

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A Responder is all the hosts behind the Device of a namespace. What is
// changed while it runs holds at once for all requests that come later and for
// none that came before.
type Responder struct {
	ns    *Namespace
	fd    int
	bell  int // an eventfd that ends waiting
	began time.Time

	later  later // owned by Run, as is buffer
	buffer []byte

	mu    sync.Mutex // held for one request at a time, never for I/O
	world *world
	truth truth
}

// OpenResponder makes the Device in a namespace that has none. The times of
// the script count from now.
func OpenResponder(ns *Namespace, script Script) (*Responder, error) {
	w, err := newWorld(script)
	if err != nil {
		return nil, fmt.Errorf("script: %w", err)
	}
	bell, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("eventfd", err)
	}
	fd, err := openTUN(ns)
	if err != nil {
		unix.Close(bell)
		return nil, err
	}
	return &Responder{ns: ns, fd: fd, bell: bell, began: time.Now(), buffer: make([]byte, deviceMTU), world: w}, nil
}

// Close removes the Device. Run must have returned.
func (r *Responder) Close() error {
	return errors.Join(os.NewSyscallError("close", unix.Close(r.fd)), os.NewSyscallError("close", unix.Close(r.bell)))
}

// batch is how many requests are read before delayed replies get their turn.
const batch = 64

// Run answers until ctx ends, once in the life of a Responder. Replies that
// are delayed beyond that are not sent.
func (r *Responder) Run(ctx context.Context) error {
	rung := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(rung)
		// An eventfd takes eight bytes, and can only refuse when it rings already.
		_, _ = unix.Write(r.bell, binary.NativeEndian.AppendUint64(nil, 1))
	})
	defer func() {
		if !stop() {
			<-rung
		}
	}()
	for ctx.Err() == nil {
		more, err := r.turn()
		if err == nil && !more {
			err = r.wait()
		}
		if err != nil {
			return fmt.Errorf("responder in namespace %s: %w", r.ns.name, err)
		}
	}
	return nil
}

// turn answers a batch of requests, sends what is due and says whether there
// may be more to read.
func (r *Responder) turn() (more bool, err error) {
	for range batch {
		n, err := unix.Read(r.fd, r.buffer)
		if err == unix.EAGAIN {
			return false, r.sendDue()
		}
		if err != nil {
			return false, os.NewSyscallError("read "+Device, err)
		}
		if err := r.receive(r.buffer[:n]); err != nil {
			return false, err
		}
	}
	return true, r.sendDue()
}

// wait returns when there is something to read or to send, or Run shall end.
func (r *Responder) wait() error {
	var timeout *unix.Timespec // nil: for ever
	if due, ok := r.later.next(); ok {
		t := unix.NsecToTimespec(int64(max(0, due-r.now())))
		timeout = &t
	}
	fds := []unix.PollFd{{Fd: int32(r.fd), Events: unix.POLLIN}, {Fd: int32(r.bell), Events: unix.POLLIN}}
	if _, err := unix.Ppoll(fds, timeout, nil); err != nil && err != unix.EINTR {
		return os.NewSyscallError("ppoll", err)
	}
	if fds[0].Revents&(unix.POLLERR|unix.POLLHUP) != 0 {
		return fmt.Errorf("%s is gone", Device)
	}
	return nil
}

func (r *Responder) sendDue() error {
	now := r.now()
	for p := r.later.take(now); p != nil; p = r.later.take(now) {
		if err := r.send(p); err != nil {
			return err
		}
	}
	return nil
}

func (r *Responder) receive(packet []byte) error {
	request, err := parseEcho(packet)
	if err == nil && (request.reply || request.dst.IsMulticast()) {
		err = errForeign
	}
	r.mu.Lock()
	if err != nil {
		if errors.Is(err, errMalformed) {
			r.truth.counts.Malformed++
		} else {
			r.truth.counts.Foreign++
		}
		r.mu.Unlock()
		return nil
	}
	at := r.now() // inside the lock, so that no change lies between the time and the decision
	number := r.truth.asked.next(request.dst)
	f := r.world.decide(request.dst, number, at)
	seed := r.world.seed
	r.truth.note(request.dst, at, f)
	r.mu.Unlock()
	return r.perform(request, packet, f, roll(seed, request.dst, number), at)
}

// perform sends what a fate says, now or later.
func (r *Responder) perform(request echo, packet []byte, f fate, d dice, at time.Duration) error {
	reply := echo{src: request.dst, dst: request.src, reply: true, id: request.id, seq: request.seq, data: request.data}
	if f.forged {
		forgery := reply
		forgery.data = make([]byte, len(request.data))
		for i := range forgery.data {
			forgery.data[i] = byte(mix(d.bits(ofForgery) + uint64(i)))
		}
		if err := r.post(forgery, at, 0); err != nil {
			return err
		}
	}
	switch f.ending {
	case answered:
		if f.strange {
			reply.src = f.source
		}
		if f.garbled {
			for i := range reply.data {
				reply.data[i] ^= 0xff
			}
		}
		if err := r.post(reply, at, f.after); err != nil {
			return err
		}
		if f.doubled {
			return r.post(reply, at, f.again)
		}
	case refused:
		from := f.refusal.From
		if !from.IsValid() {
			from = request.dst
		}
		p := r.later.parcel()
		p.packet = appendRefusal(p.packet, f.refusal.Says, from, request.src, packet, f.refusal.Whole)
		return r.postParcel(p, at, f.after)
	}
	return nil
}

func (r *Responder) post(e echo, at, after time.Duration) error {
	p := r.later.parcel()
	p.packet = e.append(p.packet)
	return r.postParcel(p, at, after)
}

func (r *Responder) postParcel(p *parcel, at, after time.Duration) error {
	if after > 0 {
		r.later.put(p, at+after)
		return nil
	}
	return r.send(p)
}

func (r *Responder) send(p *parcel) error {
	_, err := unix.Write(r.fd, p.packet)
	r.later.recycle(p)
	switch err {
	case nil:
		return nil
	case unix.EIO, unix.EAGAIN, unix.ENOBUFS: // the link is down, or memory is short
		r.mu.Lock()
		r.truth.counts.Unsent++
		r.mu.Unlock()
		return nil
	default:
		return os.NewSyscallError("write "+Device, err)
	}
}

func (r *Responder) now() time.Duration { return time.Since(r.began) }

// Set adds rules, in place of those for the same prefixes.
func (r *Responder) Set(rules ...Rule) error {
	if err := (Script{Rules: rules}).validate(); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.world.set(rules)
	return nil
}

// Silence begins an outage of all addresses of a prefix and returns when: the
// requests that come from that moment on are not answered.
func (r *Responder) Silence(p netip.Prefix) time.Time {
	if !p.IsValid() {
		panic("lab: no prefix to silence")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	at := r.now()
	r.world.add(&Outage{Prefix: p, From: at})
	return r.began.Add(at)
}

// Restore ends the outages of exactly this prefix and returns when: the
// requests that come from that moment on are answered. The time is zero if
// there was no such outage.
func (r *Responder) Restore(p netip.Prefix) time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	at := r.now()
	if !r.world.restore(p, at) {
		return time.Time{}
	}
	return r.began.Add(at)
}

// A Silence is an outage as it happened.
type Silence struct {
	Prefix   netip.Prefix
	From, To time.Time // To is zero while it lasts
}

// Silences returns all outages that have begun, in the order in which they
// were made.
func (r *Responder) Silences() []Silence {
	r.mu.Lock()
	defer r.mu.Unlock()
	var silences []Silence
	for _, o := range r.world.outages {
		if now := r.now(); o.From <= now {
			s := Silence{Prefix: o.Prefix, From: r.began.Add(o.From)}
			if o.To != 0 && o.To <= now {
				s.To = r.began.Add(o.To)
			}
			silences = append(silences, s)
		}
	}
	return silences
}

// Gaps returns what was left unanswered because of outages, in the order in
// which it began.
func (r *Responder) Gaps() []Gap {
	r.mu.Lock()
	defer r.mu.Unlock()
	gaps := make([]Gap, len(r.truth.gaps))
	for i, g := range r.truth.gaps {
		gaps[i] = Gap{Addr: g.addr, Lost: r.began.Add(g.lost)}
		if g.answered != 0 {
			gaps[i].Answered = r.began.Add(g.answered)
		}
	}
	return gaps
}

// Asked returns how many requests came for an address.
func (r *Responder) Asked(a netip.Addr) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return int(r.truth.asked.of(a))
}

// Counts returns what was done so far.
func (r *Responder) Counts() (Counts, error) {
	dropped, err := dropped(r.ns)
	if err != nil {
		return Counts{}, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.truth.counts
	c.Dropped = dropped
	return c, nil
}
