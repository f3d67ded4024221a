package prometheus_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb"

	"sereno"
	"sereno/prometheus"
)

// hour is a store that holds an hour of looks at n devices, one a second.
func hour(b *testing.B, n int) *tsdb.DB {
	b.Helper()
	o := tsdb.DefaultOptions()
	o.StripeSize = 64
	db, err := tsdb.Open(b.TempDir(), slog.New(slog.DiscardHandler), nil, o, nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { db.Close() })
	for i := range n {
		app := db.Appender(b.Context())
		id := fmt.Sprint(i + 1)
		l := labels.FromStrings(model.MetricNameLabel, "sereno_rtt_seconds", "check", id, "device", id, "kind", "icmp", "vantage", "local")
		for s := range 3600 {
			at := now.Add(time.Duration(s-3600)*time.Second + time.Duration(i%1000)*time.Millisecond)
			if _, err := app.Append(0, l, at.UnixMilli(), sereno.StoredRTT(time.Duration(1000+(s*7919+i*31)%500)*time.Microsecond)); err != nil {
				b.Fatal(err)
			}
		}
		if err := app.Commit(); err != nil {
			b.Fatal(err)
		}
	}
	return db
}

func BenchmarkQueryRange(b *testing.B) {
	const series = 1000
	h := prometheus.New("", prometheus.Options{
		Samples: hour(b, series), Catalog: fleet(series, now.Add(-time.Hour)), Now: func() sereno.Instant { return sereno.At(now) }, Log: slog.New(slog.DiscardHandler),
	})
	for _, query := range []string{
		`sereno_rtt_seconds`, `avg(avg_over_time(sereno_rtt_seconds[1m]))`, `avg_over_time(sereno_rtt_seconds[1m])`,
		`quantile_over_time(0.95, sereno_rtt_seconds[1m])`, `avg_over_time(sereno_rtt_seconds[1m]) * on (device) group_left (name) sereno_device_info`,
	} {
		b.Run(query, func(b *testing.B) {
			r := httptest.NewRequest(http.MethodGet, "/api/v1/query_range?"+url.Values{
				"query": {query}, "start": {unix(now.Add(-time.Hour))}, "end": {unix(now)}, "step": {"15"},
			}.Encode(), nil)
			var bytes int64
			for b.Loop() {
				w := &sink{header: http.Header{}}
				h.ServeHTTP(w, r)
				if w.code > 200 {
					b.Fatal(w.code)
				}
				bytes = w.bytes
			}
			b.ReportMetric(float64(bytes)/1e6, "MB/answer")
		})
	}
}

// What it costs to refuse a question about a billion samples and more.
func BenchmarkRefuse(b *testing.B) {
	for _, n := range []int{1000, 100_000} {
		b.Run(fmt.Sprint(n, " devices"), func(b *testing.B) {
			h := prometheus.New("", prometheus.Options{
				Samples: &vast{t: b, series: n}, Catalog: fleet(n, now.AddDate(-1, 0, 0)), Now: func() sereno.Instant { return sereno.At(now) }, Log: slog.New(slog.DiscardHandler),
			})
			r := httptest.NewRequest(http.MethodGet, "/api/v1/query?"+url.Values{"query": {`avg_over_time(sereno_up[30d])`}}.Encode(), nil)
			for b.Loop() {
				w := &sink{header: http.Header{}}
				if h.ServeHTTP(w, r); w.code != http.StatusUnprocessableEntity {
					b.Fatal(w.code)
				}
			}
		})
	}
}

// A sink is an answer that is only measured.
type sink struct {
	header http.Header
	code   int
	bytes  int64
}

func (s *sink) Header() http.Header { return s.header }
func (s *sink) WriteHeader(c int)   { s.code = c }
func (s *sink) Write(p []byte) (int, error) {
	s.bytes += int64(len(p))
	return len(p), nil
}
