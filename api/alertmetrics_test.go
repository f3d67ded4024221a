package api

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"sereno"
	"sereno/alert"
	"sereno/notify"
)

func TestWhatBecomesOfMessagesIsMeasured(t *testing.T) {
	due := sereno.At(time.Now().Add(-time.Hour))
	away := errors.New("still being read")
	m := NewMetrics(Sources{Channels: func(context.Context) ([]alert.ChannelHealth, error) {
		return []alert.ChannelHealth{
			{Channel: "mail", Waiting: 3, Later: 2, Oldest: due, Failing: due, Answer: "timeout", Storm: true},
			{Channel: "chat", Refusing: true, Delivered: 1_500_000},
		}, away
	}})
	const about = "sereno_alert_waiting"
	if n, err := testutil.GatherAndCount(m, about); err != nil || n != 0 {
		t.Errorf("before the store was read: %d of %s, %v", n, about, err)
	}
	away = nil

	// A delivery is written when it is promised, with each try, and settled once.
	promised := alert.Delivery{ID: 7, Channel: "mail"}
	tried, delivered := promised, promised
	tried.Tries, delivered.State = 1, alert.Delivered
	merged := alert.Delivery{ID: 8, Channel: "mail", State: alert.Merged}
	for _, d := range []alert.Delivery{promised, tried, delivered, merged} {
		m.Promised(20*time.Millisecond, &alert.Batch{Deliveries: []alert.Delivery{d}})
	}
	m.Begun("mail", 3*time.Millisecond)
	m.Tried("mail", alert.Outcome{Took: time.Second, Failure: &notify.Failure{Text: "timeout"}})
	m.Tried("mail", alert.Outcome{Took: time.Second})
	want := `
# HELP sereno_alert_channel_delivered_timestamp_seconds When a channel took a message last.
# TYPE sereno_alert_channel_delivered_timestamp_seconds gauge
sereno_alert_channel_delivered_timestamp_seconds{channel="chat"} 1.5
# HELP sereno_alert_channel_failing 1 while the latest try on a channel has failed.
# TYPE sereno_alert_channel_failing gauge
sereno_alert_channel_failing{channel="chat"} 0
sereno_alert_channel_failing{channel="mail"} 1
# HELP sereno_alert_channel_refusing 1 while a channel refuses messages for good.
# TYPE sereno_alert_channel_refusing gauge
sereno_alert_channel_refusing{channel="chat"} 1
sereno_alert_channel_refusing{channel="mail"} 0
# HELP sereno_alert_deliveries_total Messages, by channel and by what came of them; promised: all of them.
# TYPE sereno_alert_deliveries_total counter
sereno_alert_deliveries_total{channel="mail",state="delivered"} 1
sereno_alert_deliveries_total{channel="mail",state="merged"} 1
sereno_alert_deliveries_total{channel="mail",state="promised"} 2
# HELP sereno_alert_later Messages whose time has not come.
# TYPE sereno_alert_later gauge
sereno_alert_later{channel="chat"} 0
sereno_alert_later{channel="mail"} 2
# HELP sereno_alert_storm 1 while a channel gets one digest a minute.
# TYPE sereno_alert_storm gauge
sereno_alert_storm{channel="chat"} 0
sereno_alert_storm{channel="mail"} 1
# HELP sereno_alert_tries_total Tries to send a message, by channel and by whether it was taken.
# TYPE sereno_alert_tries_total counter
sereno_alert_tries_total{channel="mail",outcome="failed"} 1
sereno_alert_tries_total{channel="mail",outcome="taken"} 1
# HELP sereno_alert_waiting Messages that are due and not delivered.
# TYPE sereno_alert_waiting gauge
sereno_alert_waiting{channel="chat"} 0
sereno_alert_waiting{channel="mail"} 3
`
	var names []string
	for line := range strings.Lines(want) {
		if name, ok := strings.CutPrefix(line, "# TYPE "); ok {
			names = append(names, strings.Fields(name)[0])
		}
	}
	if err := testutil.GatherAndCompare(m, strings.NewReader(want), names...); err != nil {
		t.Error(err)
	}
	h := New(Options{Plan: &memory{}, Facts: &memory{}, Watch: &memory{}, Metrics: m})
	body := serve(h, request("GET", "/metrics", "")).Body.String()
	for _, line := range []string{
		`sereno_alert_oldest_waiting_seconds{channel="chat"} 0`,
		`sereno_alert_oldest_waiting_seconds{channel="mail"} 36`,
		`sereno_alert_promised_seconds_count 4`,
		`sereno_alert_late_seconds_bucket{le="0.004"} 1`,
		`sereno_alert_try_seconds_count{channel="mail"} 2`,
	} {
		if !strings.Contains(body, line) {
			t.Errorf("/metrics has no %s", line)
		}
	}
}
