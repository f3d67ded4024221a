package remote

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("sereno_remote_write_"+name, help, append([]string{"target"}, labels...), nil)
}

var (
	pendingLooks = desc("pending_looks", "Looks that wait for the store.")
	pendingBytes = desc("pending_bytes", "What they take on disk.")
	pendingAge   = desc("pending_seconds", "How old the oldest of them is; 0 when none waits.")
	sentTotal    = desc("sent_samples_total", "Samples that the store has taken.")
	failedTotal  = desc("failures_total", "Requests that failed; most were sent again.")
	droppedTotal = desc("dropped_looks_total", "Looks that the store will not get.", "reason")
)

// reasons are all for which looks are dropped.
var reasons = []reason{tooMany, tooOld, damaged, unwritten, noRoom, unknown, refused}

var _ prometheus.Collector = (*Sender)(nil)

// Describe is that of a prometheus.Collector.
func (s *Sender) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{pendingLooks, pendingBytes, pendingAge, sentTotal, failedTotal, droppedTotal} {
		to <- d
	}
}

// Collect counts what became of the looks, by target.
func (s *Sender) Collect(to chan<- prometheus.Metric) {
	s.mu.Lock()
	missed := s.missed
	s.mu.Unlock()
	for _, l := range s.lines {
		var w waiting
		var dropped map[reason]uint64
		if q := l.queue.Load(); q != nil {
			w, dropped = q.waiting()
		}
		gauge := func(d *prometheus.Desc, v float64) {
			to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, l.target.Name)
		}
		counter := func(d *prometheus.Desc, v uint64, labels ...string) {
			to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), append([]string{l.target.Name}, labels...)...)
		}
		gauge(pendingLooks, float64(w.looks))
		gauge(pendingBytes, float64(w.bytes))
		age := 0.0
		if w.looks > 0 {
			age = max(0, time.Since(time.UnixMilli(w.oldest)).Seconds())
		}
		gauge(pendingAge, age)
		counter(sentTotal, l.sent.Load())
		counter(failedTotal, l.failures.Load())
		for _, why := range reasons {
			n := dropped[why]
			switch why {
			case noRoom:
				n += missed
			case refused:
				n += l.refused.Load()
			default:
			}
			counter(droppedTotal, n, string(why))
		}
	}
}
