package app

import (
	"context"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"sereno"
	"sereno/ledger"
	"sereno/probe/icmp"
	"sereno/schedule"
)

type noJournal struct{}

func (noJournal) Commit(context.Context, *ledger.Entry) error { return nil }

// posted runs a watchpost and the ledger that hears its witnesses.
func posted(t *testing.T) (*watchpost, *ledger.Ledger) {
	now := func() sereno.Instant { return sereno.At(time.Now()) }
	books := ledger.New(ledger.Options{Journal: noJournal{}, Beat: func() ledger.Beat { return ledger.Beat{Now: now()} }})
	echo, err := icmp.New(icmp.Options{Deliver: books.Deliver})
	if err != nil {
		t.Fatal(err)
	}
	post := newWatchpost(books, schedule.New(echo, now, slog.New(slog.DiscardHandler)), echo, slog.New(slog.DiscardHandler))
	parts := newStack(t.Context())
	parts.start("ledger", books.Run)
	parts.start("witnesses", post.Run)
	t.Cleanup(func() {
		if err := parts.unwind(); err != nil {
			t.Error(err)
		}
	})
	return post, books
}

// silenced fails unless the silence of a witness cuts this vantage point off.
func silenced(t *testing.T, books *ledger.Ledger, check sereno.CheckID) {
	t.Helper()
	for range 50 {
		time.Sleep(20 * time.Millisecond)
		books.Deliver([]sereno.Result{{Check: check, At: sereno.At(time.Now()), Status: sereno.Down}})
		if s, err := books.Statistics(t.Context()); err != nil {
			t.Fatal(err)
		} else if s.Isolated {
			return
		}
	}
	t.Error("its silence means nothing")
}

func TestAGatewayThatTheUserNamesIsBelievedAtOnce(t *testing.T) {
	post, books := posted(t)
	gateway := netip.MustParseAddr("127.0.0.9")
	post.Gateways([]netip.Addr{gateway})
	post.Outside(true)
	for len(post.wake) > 0 {
		time.Sleep(time.Millisecond)
	}
	time.Sleep(10 * time.Millisecond)
	post.Name([]netip.Addr{gateway})
	silenced(t, books, -1)
}

func TestAGatewayWhoseInterfaceIsGoneEndsNothing(t *testing.T) {
	post, books := posted(t)
	post.Gateways([]netip.Addr{netip.MustParseAddr("fe80::1%gone0")})
	post.Outside(true)
	for len(post.wake) > 0 {
		time.Sleep(time.Millisecond)
	}
	time.Sleep(10 * time.Millisecond)
	post.Name([]netip.Addr{netip.MustParseAddr("127.0.0.9")})
	silenced(t, books, -1)
}
