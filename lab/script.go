package lab

import (
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// A Script says how the hosts of a Net behave. The zero Script is a network in
// which everything answers at once. The same script, asked the same things,
// does the same.
type Script struct {
	Seed    uint64
	Rules   []Rule   // of the rules that hold for an address the most specific one counts, alone
	Outages []Outage // any that holds for an address silences it
	Behind  []Behind // any that holds for an address counts
}

// A Rule gives a behaviour to all addresses of a prefix.
type Rule struct {
	Prefix netip.Prefix
	Behaviour
}

// A Behaviour is how a host answers echo requests. Shares are from 0 to 1 and
// fall independently of each other. The zero Behaviour answers each request at
// once.
type Behaviour struct {
	Ignore bool  // it never answers, but what is behind it does
	Delay  Delay // from request to reply

	Loss  float64 // share of requests that are lost
	Burst Burst   // further requests that are lost, many in a row
	Held  Held    // replies that come later than others: out of order, or too late

	Duplicate float64 // share of replies that come twice, each with a delay of its own
	Garbled   float64 // share of replies in which every byte of the data is wrong
	Strange   float64 // share of replies that come from Source
	Source    netip.Addr

	// Forged is the share of requests that somebody who cannot see them
	// answers as well, at once: source, identifier and sequence number are
	// right, the data is guessed. It goes on while the host itself is silent.
	Forged float64

	Error Error // what is said instead of an answer
}

// A Burst loses requests to one address Length at a time.
type Burst struct {
	Share  float64 // of all requests
	Length int
}

// Held holds replies back. By more than the time between two requests it
// brings replies out of order, by more than the timeout late ones.
type Held struct {
	Share float64 // of all replies
	By    time.Duration
}

// An Error is an ICMP error message that comes instead of an answer.
type Error struct {
	Share float64 // of all requests
	Says  Refusal
	From  netip.Addr // the router that says it; the host itself if not set
	Whole bool       // it quotes all of the request, not only its header and eight bytes
}

// A Refusal is what an ICMP error message says.
type Refusal uint8

const (
	HostUnreachable Refusal = iota
	NetUnreachable
	PortUnreachable
	TimeExceeded
)

// Type and code: RFC 792 and RFC 4443.
var (
	refusals4 = [...][2]byte{{3, 1}, {3, 0}, {3, 3}, {11, 0}}
	refusals6 = [...][2]byte{{1, 3}, {1, 0}, {1, 4}, {3, 0}}
)

// An Outage silences all addresses of a prefix from From to To, counted from
// the beginning of the Net; To is 0 if it has no end. A request is judged by
// when it arrives: what arrived before From is still answered.
type Outage struct {
	Prefix   netip.Prefix
	From, To time.Duration
	Error    Error // what a router says of a share of the requests meanwhile; nothing if not set
}

// Behind says what all addresses of a prefix hang on: they are silent when
// Parent is. Parent may lie inside the prefix and behind others.
type Behind struct {
	Prefix netip.Prefix
	Parent netip.Addr
}

func (s Script) validate() error {
	var errs []error
	for _, r := range s.Rules {
		errs = append(errs, r.validate())
	}
	for _, o := range s.Outages {
		errs = append(errs, o.validate())
	}
	for _, b := range s.Behind {
		errs = append(errs, checkPrefix(b.Prefix), checkThat(b.Parent.IsValid(), "parent of %v: that is no address", b.Prefix))
	}
	return errors.Join(errs...)
}

func (r Rule) validate() error {
	b := r.Behaviour
	err := errors.Join(
		checkPrefix(r.Prefix),
		b.Delay.validate(),
		checkShare("loss", b.Loss), checkShare("burst", b.Burst.Share), checkShare("held", b.Held.Share),
		checkShare("duplicate", b.Duplicate), checkShare("garbled", b.Garbled), checkShare("strange", b.Strange),
		checkShare("forged", b.Forged), b.Error.validate(r.Prefix),
		checkThat(b.Burst.Share == 0 || b.Burst.Length > 0, "a burst needs a length"),
		checkThat(b.Held.By >= 0, "replies cannot be held back by %v", b.Held.By),
		checkThat(b.Strange == 0 || fits(b.Source, r.Prefix), "strange replies need a source of the same family"),
	)
	if err != nil {
		return fmt.Errorf("rule for %v: %w", r.Prefix, err)
	}
	return nil
}

func (o Outage) validate() error {
	err := errors.Join(
		checkPrefix(o.Prefix),
		checkThat(o.From >= 0 && (o.To == 0 || o.To > o.From), "it cannot last from %v to %v", o.From, o.To),
		o.Error.validate(o.Prefix),
	)
	if err != nil {
		return fmt.Errorf("outage of %v: %w", o.Prefix, err)
	}
	return nil
}

func (e Error) validate(in netip.Prefix) error {
	return errors.Join(
		checkShare("error", e.Share),
		checkThat(int(e.Says) < len(refusals4), "there is no refusal %d", e.Says),
		checkThat(!e.From.IsValid() || fits(e.From, in), "an error from %v is of another family", e.From),
	)
}

func fits(a netip.Addr, in netip.Prefix) bool { return a.IsValid() && a.Is4() == in.Addr().Is4() }

func checkPrefix(p netip.Prefix) error { return checkThat(p.IsValid(), "that is no prefix") }

func checkShare(name string, share float64) error {
	return checkThat(share >= 0 && share <= 1, "%s is a share from 0 to 1, not %v", name, share)
}

func checkThat(holds bool, format string, args ...any) error {
	if holds {
		return nil
	}
	return fmt.Errorf(format, args...)
}
