package app

import (
	"context"
	"log/slog"
	"time"

	"sereno"
	"sereno/alert"
	"sereno/api"
	"sereno/ledger"
	"sereno/samples"
	"sereno/store"
)

// A telling is a journal that says when incidents were committed.
type telling struct {
	ledger.Journal
	committed func()
}

func (t telling) Commit(ctx context.Context, e *ledger.Entry) error {
	err := t.Journal.Commit(ctx, e)
	if err == nil && len(e.Incidents) > 0 {
		t.committed()
	}
	return err
}

// stories are told from the store and from the looks that are kept.
type stories struct {
	facts *store.Store
	looks *samples.DB // nil: none are kept
}

func (s stories) Incidents(ctx context.Context, ids []sereno.IncidentID) ([]alert.Change, error) {
	return s.facts.ChangesOf(ctx, ids)
}

func (s stories) Delivery(ctx context.Context, id alert.DeliveryID) (alert.Delivery, error) {
	return s.facts.Delivery(ctx, id)
}

func (s stories) Behind(ctx context.Context, id sereno.IncidentID, limit int) (int, []string, error) {
	return s.facts.ChildrenOf(ctx, id, limit)
}

func (s stories) Count(ctx context.Context, check sereno.CheckID, from, to sereno.Instant) (int, error) {
	return s.facts.CountIncidents(ctx, check, from, to)
}

func (s stories) Uncertainty(ctx context.Context, check sereno.CheckID, begin sereno.Instant) (time.Duration, error) {
	for span, err := range s.facts.Spans(ctx, check, begin, begin+1) {
		if err != nil {
			return 0, err
		}
		if span.Begin == begin {
			return span.Uncertainty, nil
		}
	}
	return 0, nil
}

// Looks go back for as long as n of them may take.
func (s stories) Looks(ctx context.Context, check sereno.CheckID, before sereno.Instant, n int) (answered []bool, err error) {
	if s.looks == nil || !s.looks.Ready() {
		return nil, nil
	}
	for _, back := range []time.Duration{time.Minute, time.Hour} {
		answered = answered[:0]
		for look, err := range s.looks.Looks(ctx, check, before.Add(-back), before+1) {
			if err != nil {
				return nil, err
			}
			answered = append(answered, look.Status == sereno.Up)
		}
		if len(answered) >= n {
			return answered[len(answered)-n:], nil
		}
	}
	return answered, nil
}

// deskParts are what a desk works with.
type deskParts struct {
	plan   *alert.Plan
	facts  *store.Store
	looks  *samples.DB // nil: none are kept
	ledger *ledger.Ledger
	key    *Key
	open   []sereno.Incident // of an earlier process
	// unwritten is since when the store does not take what is found; 0: it does.
	unwritten func() sereno.Instant
	meters    meters
	now       func() sereno.Instant
	log       *slog.Logger
}

// meters measure a desk, see alert.DeskOptions.
type meters interface {
	Promised(took time.Duration, b *alert.Batch)
	Begun(channel string, late time.Duration)
	Tried(channel string, o alert.Outcome)
}

func newDesk(p deskParts) *alert.Desk {
	var known []alert.Fault
	for _, in := range p.open {
		switch in.Trouble {
		case sereno.TroubleChannel, sereno.TroubleOutbox, sereno.TroublePolicy:
			known = append(known, alert.Fault{Trouble: in.Trouble, Subject: in.Subject, Reason: in.Reason})
		}
	}
	return alert.NewDesk(alert.DeskOptions{
		Plan: p.plan, Outbox: p.facts, Stories: stories{p.facts, p.looks}, Links: links(p.key, p.log), Now: p.now, Unwritten: p.unwritten,
		Own: func(ctx context.Context, at sereno.Instant, f alert.Fault) error {
			return p.ledger.Own(ctx, at, ledger.Fault{Trouble: f.Trouble, Subject: f.Subject, Reason: f.Reason})
		},
		Known: known, Devices: p.facts.AllDevices,
		Stored: p.meters.Promised, Begun: p.meters.Begun, Tried: p.meters.Tried, Log: p.log,
	})
}

// links are those of the pages that the API has: there is none of an incident
// yet, and a link that leads nowhere is worse than none at three in the morning.
func links(key *Key, log *slog.Logger) alert.Links {
	return func(base string, id sereno.IncidentID, delivery alert.DeliveryID, all bool, now sereno.Instant) (_, acknowledge string) {
		about := id
		if all {
			about = 0
		}
		path, err := api.NewLink(about, delivery, now).Path(key)
		if err != nil {
			log.Error("a message goes out without a link to acknowledge by", "incident", id, "err", err)
			return "", ""
		}
		return "", base + path
	}
}
