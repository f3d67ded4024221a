// Package dashboard tells those who are watching right now: pages that are open
// and programs that follow /api/events.
package dashboard

import (
	"context"
	"encoding/json"

	"sereno/notify"
)

// Kind is the kind "dashboard".
type Kind struct{}

func (Kind) Name() string { return "dashboard" }

// Secrets are none.
func (Kind) Secrets() []string { return nil }

type settings struct{}

// Open needs o.Publish to send; without it the settings can be looked at, and
// every message waits.
func (Kind) Open(raw json.RawMessage, o notify.Options) (notify.Channel, error) {
	if err := notify.Decode(raw, &settings{}); err != nil {
		return nil, err
	}
	return channel{o.Publish}, nil
}

type channel struct {
	publish func(name string, data []byte) bool
}

// Send is done when the news is out, whether or not anybody is watching.
func (c channel) Send(ctx context.Context, m notify.Message) error {
	if ctx.Err() != nil || c.publish == nil {
		return &notify.Failure{Text: "nobody can watch just now"}
	}
	data, err := notify.DocumentOf(m).JSON()
	if err != nil {
		return notify.Refuse("the message cannot be written as JSON: %s", notify.Line(err.Error()))
	}
	if !c.publish(string(m.Event), data) {
		return &notify.Failure{Text: "nobody can watch any more: Sereno is stopping"}
	}
	notify.Say(ctx, "told to whoever is watching")
	return nil
}
