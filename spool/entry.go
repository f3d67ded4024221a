package spool

import (
	"encoding/binary"
	"errors"
	"time"

	"sereno"
	"sereno/ledger"
)

// An entry is encoded as its version, then each list: its length, then its
// rows, every number a varint (https://protobuf.dev/programming-guides/encoding/#varints),
// every text its length and its bytes as they are. A later version may add to a
// row; what an earlier one wrote stays readable.
const entryVersion = 2 // since it: Incident.Subject

// errNewer is the error of an entry that this version cannot read.
var errNewer = errors.New("an entry of a newer version")

var errGarbled = errors.New("not an entry")

func encodeEntry(e *ledger.Entry) []byte {
	w := encoder(make([]byte, 0, 64+64*e.Len()))
	w.number(entryVersion)
	w.number(int64(len(e.Closed)))
	for i := range e.Closed {
		w.span(&e.Closed[i])
	}
	w.number(int64(len(e.Open)))
	for i := range e.Open {
		w.span(&e.Open[i])
	}
	w.number(int64(len(e.Incidents)))
	for i := range e.Incidents {
		in := &e.Incidents[i]
		w.numbers(int64(in.ID), int64(in.Device), int64(in.Check), int64(in.Vantage), int64(in.Trouble), int64(in.Opened), int64(in.Closed), int64(in.Under))
		w.text(in.Reason)
		w.text(in.Subject)
	}
	w.number(int64(len(e.Absences)))
	for _, a := range e.Absences {
		unsure := int64(0)
		if a.Unsure {
			unsure = 1
		}
		w.numbers(int64(a.Begin), int64(a.End), int64(a.Uncertainty), int64(a.Cause), unsure, int64(a.Checks))
	}
	w.number(int64(len(e.Clock)))
	for _, c := range e.Clock {
		w.numbers(int64(c.At), int64(c.Step))
	}
	w.number(int64(len(e.Starts)))
	for _, s := range e.Starts {
		w.numbers(int64(s.At), int64(s.Settled))
		w.text(s.Version)
	}
	w.number(int64(len(e.Policies)))
	for _, p := range e.Policies {
		w.numbers(int64(p.Check), int64(p.Since))
	}
	return w
}

// decodeEntry appends what encodeEntry wrote to an entry.
func decodeEntry(b []byte, e *ledger.Entry) error {
	r := &decoder{rest: b}
	version := r.number()
	if version > entryVersion && r.err == nil {
		return errNewer
	}
	for range r.length() {
		e.Closed = append(e.Closed, r.span())
	}
	for range r.length() {
		e.Open = append(e.Open, r.span())
	}
	for range r.length() {
		in := sereno.Incident{
			ID: sereno.IncidentID(r.number()), Device: sereno.DeviceID(r.number()), Check: sereno.CheckID(r.number()),
			Vantage: sereno.VantageID(r.number()), Trouble: sereno.Trouble(r.number()),
			Opened: sereno.Instant(r.number()), Closed: sereno.Instant(r.number()), Under: sereno.IncidentID(r.number()), Reason: r.text(),
		}
		if version >= 2 {
			in.Subject = r.text()
		}
		e.Incidents = append(e.Incidents, in)
	}
	for range r.length() {
		e.Absences = append(e.Absences, sereno.Absence{
			Begin: sereno.Instant(r.number()), End: sereno.Instant(r.number()), Uncertainty: time.Duration(r.number()),
			Cause: sereno.AbsenceCause(r.number()), Unsure: r.number() != 0, Checks: int(r.number()),
		})
	}
	for range r.length() {
		e.Clock = append(e.Clock, sereno.ClockEvent{At: sereno.Instant(r.number()), Step: time.Duration(r.number())})
	}
	for range r.length() {
		e.Starts = append(e.Starts, sereno.Start{At: sereno.Instant(r.number()), Settled: sereno.Instant(r.number()), Version: r.text()})
	}
	for range r.length() {
		e.Policies = append(e.Policies, sereno.PolicySince{Check: sereno.CheckID(r.number()), Since: sereno.Instant(r.number())})
	}
	if r.err == nil && len(r.rest) > 0 {
		r.err = errGarbled
	}
	return r.err
}

type encoder []byte

func (w *encoder) number(n int64) { *w = binary.AppendVarint(*w, n) }

func (w *encoder) numbers(all ...int64) {
	for _, n := range all {
		w.number(n)
	}
}

func (w *encoder) text(s string) {
	w.number(int64(len(s)))
	*w = append(*w, s...)
}

func (w *encoder) span(s *sereno.Span) {
	w.numbers(int64(s.Check), int64(s.Status), int64(s.Cause), int64(s.Begin), int64(s.End), int64(s.Proof), int64(s.Uncertainty))
	w.text(s.Reason)
}

// A decoder reads on until its first error, then nothing but zeros.
type decoder struct {
	rest []byte
	err  error
}

func (r *decoder) number() int64 {
	n, size := binary.Varint(r.rest)
	if size <= 0 {
		r.err, r.rest = errGarbled, nil
		return 0
	}
	r.rest = r.rest[size:]
	return n
}

// length reads how many rows or bytes follow: each takes one byte at least.
func (r *decoder) length() int {
	n := r.number()
	if n < 0 || n > int64(len(r.rest)) {
		r.err, r.rest = errGarbled, nil
		return 0
	}
	return int(n)
}

func (r *decoder) text() string {
	n := r.length()
	s := string(r.rest[:n])
	r.rest = r.rest[n:]
	return s
}

func (r *decoder) span() sereno.Span {
	return sereno.Span{
		Check: sereno.CheckID(r.number()), Status: sereno.Status(r.number()), Cause: sereno.Cause(r.number()),
		Begin: sereno.Instant(r.number()), End: sereno.Instant(r.number()), Proof: sereno.Instant(r.number()),
		Uncertainty: time.Duration(r.number()), Reason: r.text(),
	}
}
