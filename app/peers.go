package app

import (
	"context"
	"fmt"
	"log/slog"
	"os"

	"sereno"
	"sereno/config"
	"sereno/ledger"
	"sereno/peer"
)

// newPeers makes the watch over other Serenos, whose silence is an incident. One
// that the configuration does not name any more is not missed any more.
func newPeers(ctx context.Context, cfg *config.Config, books *ledger.Ledger, own func(sereno.Instant, ledger.Fault), now func() sereno.Instant, agent string, log *slog.Logger) (*peer.Watch, error) {
	name := cfg.Name
	if name == "" && len(cfg.Peers) > 0 {
		var err error
		if name, err = os.Hostname(); err != nil {
			return nil, fmt.Errorf("this machine has no name to tell its peers; give it one with name: %w", err)
		}
	}
	open, err := books.OwnFaults(ctx)
	if err != nil {
		return nil, err
	}
	known := map[string]bool{}
	for _, p := range cfg.Peers {
		known[p.Name] = true
	}
	for _, in := range open {
		if in.Trouble == sereno.TroublePeer && !known[in.Subject] {
			own(now(), ledger.Fault{Trouble: in.Trouble, Subject: in.Subject})
		}
	}
	return peer.New(peer.Options{
		Name: name, Peers: cfg.Peers, Now: now, Agent: agent, Log: log,
		Blind: func() bool { s, err := books.Statistics(ctx); return err != nil || s.Isolated },
		Told: func(name string, since sereno.Instant, reason string) {
			if reason == "" {
				since = now()
			}
			own(since, ledger.Fault{Trouble: sereno.TroublePeer, Subject: name, Reason: reason})
		},
	}), nil
}

// receiver takes in the beats of peers; nil where there are none.
func receiver(cfg *config.Config, w *peer.Watch) func(body []byte, signature string) error {
	if len(cfg.Peers) == 0 {
		return nil
	}
	return w.Receive
}
