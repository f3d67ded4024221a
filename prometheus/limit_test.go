package prometheus_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/util/annotations"

	"sereno"
	"sereno/prometheus"
)

// A vast storage claims to have series of many checks and fails the test when
// anybody reads one.
type vast struct {
	t      testing.TB
	series int
	read   func() chunkenc.Iterator // nil: may not be read
	err    error
}

func (v *vast) Querier(int64, int64) (storage.Querier, error) {
	if v.err != nil {
		return nil, v.err
	}
	return v, nil
}

func (v *vast) Select(_ context.Context, _ bool, _ *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
	for _, m := range matchers {
		if m.Name != "check" && !m.Matches(map[string]string{model.MetricNameLabel: "sereno_up"}[m.Name]) {
			return storage.EmptySeriesSet()
		}
	}
	return &vastSet{vast: v}
}

func (v *vast) LabelValues(context.Context, string, *storage.LabelHints, ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return nil, nil, nil
}

func (v *vast) LabelNames(context.Context, *storage.LabelHints, ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return nil, nil, nil
}

func (*vast) Close() error { return nil }

type vastSet struct {
	*vast
	next int
}

func (s *vastSet) Next() bool                      { s.next++; return s.next <= s.series }
func (*vastSet) Err() error                        { return nil }
func (*vastSet) Warnings() annotations.Annotations { return nil }
func (s *vastSet) At() storage.Series {
	return &storage.SeriesEntry{
		Lset: labels.FromStrings(model.MetricNameLabel, "sereno_up", "check", strconv.Itoa(s.next)),
		SampleIteratorFn: func(chunkenc.Iterator) chunkenc.Iterator {
			if s.read == nil {
				s.t.Error("samples were read")
				return chunkenc.NewNopIterator()
			}
			return s.read()
		},
	}
}

// fleet is a catalog of devices that are looked at every second.
func fleet(n int, since time.Time) *prometheus.Catalog {
	devices := make([]sereno.Device, n)
	for i := range devices {
		id := int64(i + 1)
		devices[i] = sereno.Device{ID: sereno.DeviceID(id), Name: fmt.Sprintf("host-%d", id), Address: "192.0.2.1", Created: sereno.At(since), Checks: []sereno.Check{
			{ID: sereno.CheckID(id), Device: sereno.DeviceID(id), Name: "icmp", Kind: "icmp", Created: sereno.At(since), Policy: sereno.Policy{Interval: time.Second}},
		}}
	}
	c := new(prometheus.Catalog)
	c.Know(devices)
	return c
}

var now = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func serve(t testing.TB, o prometheus.Options) string {
	if o.Now == nil {
		o.Now = func() sereno.Instant { return sereno.At(now) }
	}
	o.Log = slog.New(slog.DiscardHandler)
	s := httptest.NewServer(prometheus.New("", o))
	t.Cleanup(s.Close)
	return s.URL
}

func TestWhatOneQuestionMayCost(t *testing.T) {
	const (
		tooMany  = "this question would read more than 500 million samples, which is the most for one: ask for a shorter time or for fewer series"
		tooOften = "this question would look at samples more than 2000 million times, which is the most for one: ask for a shorter range in brackets, a longer step or fewer series"
	)
	year := now.AddDate(-1, 0, 0)
	for _, c := range []struct {
		name, query string
		devices     int
		since       time.Time
		raw         time.Time
		refused     string
	}{
		{"a billion samples", `avg_over_time(sereno_up[30d])`, 1000, year, time.Time{}, tooMany},
		{"a billion samples in a subquery", `max_over_time(sereno_up[30d:1h])`, 1000, year, time.Time{}, tooMany},
		{"a billion samples by many selectors", `sum_over_time(sereno_up[2d]) + sum_over_time(sereno_up[2d] offset 2d) + sum_over_time(sereno_up[2d] offset 4d)`, 1000, year, time.Time{}, tooMany},
		{"a hundred thousand devices for a day", `sum(avg_over_time(sereno_up[1d]))`, 100_000, year, time.Time{}, tooMany},
		{"a few samples, over and over", `max_over_time(quantile_over_time(0.9, sereno_up[1h])[12h:1s])`, 50, year, time.Time{}, tooOften},
		{"devices that are there since yesterday", `avg_over_time(sereno_up[30d])`, 1000, now.AddDate(0, 0, -1), time.Time{}, ""},
		{"looks that are no longer kept", `avg_over_time(sereno_up[30d])`, 1000, year, now.AddDate(0, 0, -1), ""},
		{"all devices now", `sereno_up`, 100_000, year, time.Time{}, ""},
		{"a day of a thousand", `avg_over_time(sereno_up[1d])`, 1000, year, time.Time{}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			samples := &vast{t: t, series: c.devices}
			if c.refused == "" {
				samples.read = chunkenc.NewNopIterator
			}
			base := serve(t, prometheus.Options{Samples: samples, Catalog: fleet(c.devices, c.since), Raw: func() sereno.Instant {
				if c.raw.IsZero() {
					return 0
				}
				return sereno.At(c.raw)
			}})
			code, doc := get(t, base+"/api/v1/query?"+url.Values{"query": {c.query}}.Encode())
			if c.refused == "" {
				if code != http.StatusOK {
					t.Errorf("refused: %d %v", code, doc)
				}
				return
			}
			if code != http.StatusUnprocessableEntity || doc["errorType"] != "execution" || doc["error"] != c.refused {
				t.Errorf("not refused as it should be: %d %v", code, doc)
			}
		})
	}
}

// The engine makes room for the steps of a subquery before it knows whether
// there is a sample in any of them.
func TestWhatASubqueryMayCost(t *testing.T) {
	base := serve(t, prometheus.Options{Samples: &vast{t: t, read: seconds}})
	at := func(since time.Duration, step string) url.Values {
		return url.Values{"start": {unix(now.Add(-since))}, "end": {unix(now)}, "step": {step}}
	}
	for _, c := range []struct {
		query   string
		ranged  url.Values // nil: at one moment
		refused string
	}{
		{`max_over_time(vector(1)[1y:1ms])`, nil, "the subquery vector(1)[1y:1ms] would have 31536000000 steps, and 5 million are the most: ask for a shorter range or a longer step"},
		{`max_over_time(sereno_up[30d:1ms])`, nil, "would have 2592000000 steps"},
		{`sum(max_over_time(vector(1)[1m:1ms]))`, at(30*24*time.Hour, "3600"), "would have 2592060000 steps"},
		{`max_over_time(max_over_time(vector(1)[1m:1ms])[30d:1h])`, nil, "would have 2592060000 steps"},
		{`max_over_time(max_over_time(vector(1)[5d:1s])[50d:1s])`, nil, "would look at samples more than 2000 million times"},
		{`max_over_time(vector(1)[50d:10s])`, at(100*24*time.Hour, "1000"), "would look at samples more than 2000 million times"},
		{`max_over_time(vector(1)[50d:10s] @ end())`, at(100*24*time.Hour, "1000"), ""},
		{`max_over_time(vector(1)[30d:])`, nil, ""},
		{`max_over_time(vector(1)[1d:1s])`, nil, ""},
		{`max_over_time(max_over_time(vector(1)[1h:15s])[1d:1m])`, at(24*time.Hour, "60"), ""},
	} {
		path, form := "/api/v1/query", url.Values{}
		if c.ranged != nil {
			path, form = "/api/v1/query_range", c.ranged
		}
		form.Set("query", c.query)
		code, doc := get(t, base+path+"?"+form.Encode())
		if c.refused == "" {
			if code != http.StatusOK {
				t.Errorf("%s: refused: %d %v", c.query, code, doc)
			}
			continue
		}
		if code != http.StatusUnprocessableEntity || doc["errorType"] != "execution" || !strings.Contains(fmt.Sprint(doc["error"]), c.refused) {
			t.Errorf("%s: not refused as it should be: %d %v", c.query, code, doc)
		}
	}
}

func TestHowManyStepsAQuestionMayHave(t *testing.T) {
	base := serve(t, prometheus.Options{Samples: &vast{t: t, read: seconds}})
	for _, c := range []struct{ start, end, step, refused string }{
		{"0", "0", "0.0001", "zero or negative query resolution step widths are not accepted"},
		{"0", "1", "0.0009", "zero or negative query resolution step widths are not accepted"},
		{"0", "11000", "1", ""},
		{"0", "11001", "1", "exceeded maximum resolution of 11,000 points"},
		{"-9e15", "9e15", "1e6", "exceeded maximum resolution of 11,000 points"}, // longer than a time.Duration can be
	} {
		form := url.Values{"query": {"vector(1)"}, "start": {c.start}, "end": {c.end}, "step": {c.step}}
		code, doc := get(t, base+"/api/v1/query_range?"+form.Encode())
		if c.refused == "" && code != http.StatusOK || c.refused != "" && (code != http.StatusBadRequest || !strings.Contains(fmt.Sprint(doc["error"]), c.refused)) {
			t.Errorf("%v: %d %v", c, code, doc["error"])
		}
	}
}

func TestTooManySamplesInMemory(t *testing.T) {
	base := serve(t, prometheus.Options{
		Limits:  prometheus.Limits{Held: 1000},
		Catalog: fleet(3, now.Add(-24*time.Hour)), Samples: &vast{t: t, series: 3, read: seconds},
	})
	code, doc := get(t, base+"/api/v1/query_range?"+url.Values{"query": {`sereno_up`}, "start": {unix(now.Add(-time.Hour))}, "end": {unix(now)}, "step": {"1"}}.Encode())
	if code != http.StatusUnprocessableEntity || !strings.Contains(fmt.Sprint(doc["error"]), "too many samples") {
		t.Errorf("%d %v", code, doc)
	}
}

// seconds is a series of a day with a sample a second.
func seconds() chunkenc.Iterator {
	return storage.NewListSeriesIterator(everySecond{})
}

func TestAQuestionThatTakesTooLong(t *testing.T) {
	base := serve(t, prometheus.Options{
		Limits:  prometheus.Limits{Timeout: 50 * time.Millisecond},
		Catalog: fleet(500, now.Add(-24*time.Hour)), Samples: &vast{t: t, series: 500, read: seconds},
	})
	for _, form := range []url.Values{
		{"query": {`avg_over_time(quantile_over_time(0.9, sereno_up[10m])[1h:1s])`}},
		{"query": {`avg_over_time(quantile_over_time(0.9, sereno_up[10m])[1h:1s])`}, "timeout": {"1ms"}},
	} {
		code, doc := get(t, base+"/api/v1/query?"+form.Encode())
		if code != http.StatusServiceUnavailable || doc["errorType"] != "timeout" {
			t.Errorf("%v: %d %v", form, code, doc)
		}
	}
}

// While as many questions are answered as may be, others wait for as long as
// they have time.
func TestQuestionsTakeTurns(t *testing.T) {
	begun, release := make(chan struct{}), make(chan struct{})
	samples := &vast{t: t, series: 1, read: func() chunkenc.Iterator {
		begun <- struct{}{}
		<-release
		return chunkenc.NewNopIterator()
	}}
	base := serve(t, prometheus.Options{Samples: samples, Catalog: fleet(1, now), Limits: prometheus.Limits{Concurrent: 1}})
	answered := make(chan int)
	go func() {
		answer, err := http.Get(base + "/api/v1/query?query=sereno_up")
		if err != nil {
			answered <- 0
			return
		}
		answer.Body.Close()
		answered <- answer.StatusCode
	}()
	<-begun
	code, doc := get(t, base+"/api/v1/query?query=1&timeout=20ms")
	if code != http.StatusServiceUnavailable || !strings.Contains(fmt.Sprint(doc["error"]), "too many other questions") {
		t.Errorf("the second was answered: %d %v", code, doc)
	}
	close(release)
	if code := <-answered; code != http.StatusOK {
		t.Errorf("the first was answered with %d", code)
	}
}

func TestSamplesThatAreNotThereYet(t *testing.T) {
	base := serve(t, prometheus.Options{Samples: &vast{err: sereno.Errorf(sereno.Unavailable, "samples are still being read back")}})
	for _, path := range []string{"query?query=sereno_up", "query_range?query=sereno_up&start=1&end=2&step=1", "labels", "label/check/values", "series?match[]=sereno_up"} {
		answer, err := http.Get(base + "/api/v1/" + path)
		if err != nil {
			t.Fatal(err)
		}
		again := answer.Header.Get("Retry-After")
		code, doc := read(t, answer)
		if code != http.StatusServiceUnavailable || doc["errorType"] != "unavailable" || doc["error"] != "samples are still being read back" || again == "" {
			t.Errorf("%s: %d %v, Retry-After %q", path, code, doc, again)
		}
	}
}
