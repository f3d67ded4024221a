package api

import (
	"github.com/prometheus/client_golang/prometheus"

	"sereno"
	"sereno/samples"
)

var (
	sampleLooksDesc   = desc("samples_looks_total", "Looks that were to be kept: kept; dropped, as there was no room or the disk is full; refused by the database.", "outcome")
	sampleWaitingDesc = desc("samples_queue_length", "Looks that wait to be written.")
	sampleSeriesDesc  = desc("samples_series", "Series of the latest hours.")
	sampleBytesDesc   = desc("samples_bytes", "Bytes on disk: raw looks, the log of the latest hours, minutes, and what was set aside as broken.", "class")
	sampleAsideDesc   = desc("samples_set_aside", "Broken parts of the samples that lie set aside.")
	sampleOldestDesc  = desc("samples_oldest_timestamp_seconds", "When the oldest sample is from.", "class")
)

// samplesCollector reads the usage once for each scrape.
type samplesCollector func() samples.Usage

func (samplesCollector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{sampleLooksDesc, sampleWaitingDesc, sampleSeriesDesc, sampleBytesDesc, sampleAsideDesc, sampleOldestDesc} {
		to <- d
	}
}

func (ask samplesCollector) Collect(to chan<- prometheus.Metric) {
	u := ask()
	for outcome, n := range map[string]uint64{"kept": u.Kept, "dropped": u.Dropped, "refused": u.Refused} {
		to <- prometheus.MustNewConstMetric(sampleLooksDesc, prometheus.CounterValue, float64(n), outcome)
	}
	for class, n := range map[string]int64{"raw": u.RawBytes, "log": u.LogBytes, "minutes": u.MinuteBytes, "set_aside": u.AsideBytes} {
		to <- prometheus.MustNewConstMetric(sampleBytesDesc, prometheus.GaugeValue, float64(n), class)
	}
	for class, at := range map[string]sereno.Instant{"raw": u.RawOldest, "minutes": u.MinutesOldest} {
		if !at.IsZero() {
			to <- prometheus.MustNewConstMetric(sampleOldestDesc, prometheus.GaugeValue, float64(at)/1e6, class)
		}
	}
	to <- prometheus.MustNewConstMetric(sampleWaitingDesc, prometheus.GaugeValue, float64(u.Waiting))
	to <- prometheus.MustNewConstMetric(sampleSeriesDesc, prometheus.GaugeValue, float64(u.Series))
	to <- prometheus.MustNewConstMetric(sampleAsideDesc, prometheus.GaugeValue, float64(u.Aside))
}
