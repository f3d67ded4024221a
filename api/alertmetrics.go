package api

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sereno/alert"
)

// An alertMeter counts what becomes of messages, while it happens.
type alertMeter struct {
	deliveries *prometheus.CounterVec
	tries      *prometheus.CounterVec
	took       *prometheus.HistogramVec
	promised   prometheus.Histogram
	late       prometheus.Histogram
}

func newAlertMeter() alertMeter {
	quick := prometheus.ExponentialBuckets(0.0005, 2, 18) // to a minute
	return alertMeter{
		deliveries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sereno_alert_deliveries_total", Help: "Messages, by channel and by what came of them; promised: all of them.",
		}, []string{"channel", "state"}),
		tries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sereno_alert_tries_total", Help: "Tries to send a message, by channel and by whether it was taken.",
		}, []string{"channel", "outcome"}),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "sereno_alert_try_seconds", Help: "Time that a try to send a message took.", Buckets: prometheus.ExponentialBuckets(0.001, 2, 16),
		}, []string{"channel"}),
		promised: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "sereno_alert_promised_seconds", Help: "Time from when a change was on disk until what follows from it was.", Buckets: quick,
		}),
		late: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "sereno_alert_late_seconds", Help: "How long after it was due a message was tried for the first time.", Buckets: quick,
		}),
	}
}

func (a alertMeter) collectors() []prometheus.Collector {
	return []prometheus.Collector{a.deliveries, a.tries, a.took, a.promised, a.late}
}

// Promised counts what a batch of the desk has written down (see
// alert.DeskOptions.Stored). A delivery is written when it is promised and when
// it is tried, and settled once.
func (m *Metrics) Promised(took time.Duration, b *alert.Batch) {
	if took > 0 {
		m.alerts.promised.Observe(took.Seconds())
	}
	for _, d := range b.Deliveries {
		if d.ID > m.lastDelivery {
			m.lastDelivery = d.ID
			m.alerts.deliveries.WithLabelValues(d.Channel, "promised").Inc()
		}
		if d.State != alert.Waiting {
			m.alerts.deliveries.WithLabelValues(d.Channel, d.State.String()).Inc()
		}
	}
}

// Begun counts the first try of a message (see alert.DeskOptions).
func (m *Metrics) Begun(_ string, late time.Duration) { m.alerts.late.Observe(late.Seconds()) }

// Tried counts a try (see alert.DeskOptions).
func (m *Metrics) Tried(channel string, o alert.Outcome) {
	outcome := "taken"
	if o.Failure != nil {
		outcome = "failed"
	}
	m.alerts.tries.WithLabelValues(channel, outcome).Inc()
	m.alerts.took.WithLabelValues(channel).Observe(o.Took.Seconds())
}

var (
	waitingDesc  = desc("alert_waiting", "Messages that are due and not delivered.", "channel")
	laterDesc    = desc("alert_later", "Messages whose time has not come.", "channel")
	oldestDesc   = desc("alert_oldest_waiting_seconds", "For how long the oldest message that is due and not delivered has been due; 0: none is.", "channel")
	failingDesc  = desc("alert_channel_failing", "1 while the latest try on a channel has failed.", "channel")
	refusingDesc = desc("alert_channel_refusing", "1 while a channel refuses messages for good.", "channel")
	lastDesc     = desc("alert_channel_delivered_timestamp_seconds", "When a channel took a message last.", "channel")
	stormDesc    = desc("alert_storm", "1 while a channel gets one digest a minute.", "channel")
)

// channelCollector asks how the channels do, once for each scrape.
type channelCollector func(context.Context) ([]alert.ChannelHealth, error)

func (channelCollector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{waitingDesc, laterDesc, oldestDesc, failingDesc, refusingDesc, lastDesc, stormDesc} {
		to <- d
	}
}

func (ask channelCollector) Collect(to chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	channels, err := ask(ctx)
	if err != nil { // the store is away since the start: there is nothing to say yet
		return
	}
	for _, c := range channels {
		gauge := func(d *prometheus.Desc, v float64) {
			to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, c.Channel)
		}
		flag := func(d *prometheus.Desc, on bool) {
			if on {
				gauge(d, 1)
			} else {
				gauge(d, 0)
			}
		}
		gauge(waitingDesc, float64(c.Waiting))
		gauge(laterDesc, float64(c.Later))
		oldest := 0.0
		if c.Oldest != 0 {
			oldest = max(0, time.Since(c.Oldest.Time()).Seconds())
		}
		gauge(oldestDesc, oldest)
		flag(failingDesc, c.Failing != 0)
		flag(refusingDesc, c.Refusing)
		flag(stormDesc, c.Storm)
		if c.Delivered != 0 {
			gauge(lastDesc, float64(c.Delivered.Time().UnixMicro())/1e6)
		}
	}
}
