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

func TestAGatewayThatTheUserNamesIsBelievedAtOnce(t *testing.T) {
	now := func() sereno.Instant { return sereno.At(time.Now()) }
	books := ledger.New(ledger.Options{Journal: noJournal{}, Beat: func() ledger.Beat { return ledger.Beat{Now: now()} }})
	echo, err := icmp.New(icmp.Options{Deliver: books.Deliver})
	if err != nil {
		t.Fatal(err)
	}
	post := newWatchpost(books, schedule.New(echo, now, slog.New(slog.DiscardHandler)), echo)
	parts := newStack(t.Context())
	parts.start("ledger", books.Run)
	parts.start("witnesses", post.Run)
	defer parts.unwind()

	gateway := netip.MustParseAddr("127.0.0.9")
	post.Gateways([]netip.Addr{gateway})
	post.Outside(true)
	for len(post.wake) > 0 {
		time.Sleep(time.Millisecond)
	}
	time.Sleep(10 * time.Millisecond)
	post.Name([]netip.Addr{gateway})
	for range 50 {
		time.Sleep(20 * time.Millisecond)
		books.Deliver([]sereno.Result{{Check: -1, At: now(), Status: sereno.Down}})
		if s, err := books.Statistics(t.Context()); err != nil {
			t.Fatal(err)
		} else if s.Isolated {
			return
		}
	}
	t.Error("its silence means nothing")
}
