package api

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"sereno"
	"sereno/samples"
)

// Samples are the looks that were kept.
type Samples interface {
	// Series is the buckets of step, a whole number of milliseconds above 0,
	// of the looks of a check in [from, to). A check that nothing is known of
	// has empty ones. It is sereno.Unavailable while samples are read back.
	Series(ctx context.Context, check sereno.CheckID, from, to sereno.Instant, step time.Duration) (*samples.Series, error)
}

// A Series is what the looks of a check in a window were, in buckets of the
// same length.
type Series struct {
	CheckID sereno.CheckID `json:"check_id"`
	From    sereno.Instant `json:"from" format:"date-time"`
	To      sereno.Instant `json:"to" format:"date-time"`
	Step    Seconds        `json:"step_seconds" doc:"Length of a bucket; the last one ends with the window"`
	Sources []SeriesSource `json:"sources" doc:"Which part of the window is known from what; they tile it"`
	Buckets []SeriesBucket `json:"buckets" doc:"Every bucket of the window, also those in which nobody looked: they have sent 0"`
}

// A SeriesSource is where a part of a Series comes from.
type SeriesSource struct {
	Source      string         `json:"source" enum:"raw,minutes" doc:"raw: each look; minutes: what was kept of every minute after the looks had gone"`
	From        sereno.Instant `json:"from" format:"date-time"`
	To          sereno.Instant `json:"to" format:"date-time"`
	Percentiles string         `json:"percentiles" enum:"exact,estimated" doc:"estimated: put together from those of several minutes; all else is exact"`
}

// A SeriesBucket is what the looks that were due in it were. A percentile is the
// smallest value that this share of them did not exceed (nearest rank).
type SeriesBucket struct {
	Begin sereno.Instant `json:"begin" format:"date-time"`
	Sent  int64          `json:"sent" doc:"Looks, without those that failed by our own fault"`
	Lost  int64          `json:"lost" doc:"How many of them had no answer"`
	Min   *Seconds       `json:"min_seconds" nullable:"true" doc:"Round-trip times are null when none was answered"`
	P25   *Seconds       `json:"p25_seconds" nullable:"true"`
	P50   *Seconds       `json:"p50_seconds" nullable:"true"`
	P75   *Seconds       `json:"p75_seconds" nullable:"true"`
	P95   *Seconds       `json:"p95_seconds" nullable:"true"`
	Max   *Seconds       `json:"max_seconds" nullable:"true"`
}

// quantileKeys are the keys of samples.Quantiles.
var quantileKeys = [len(samples.Quantiles)]string{"min_seconds", "p25_seconds", "p50_seconds", "p75_seconds", "p95_seconds", "max_seconds"}

const (
	usualBuckets = 500
	maxBuckets   = 10_000
)

type seriesQuery struct {
	ID int64 `path:"id" minimum:"1"`
	Window
	Step    float64 `query:"step" doc:"Seconds that a bucket is long; or give buckets"`
	Buckets int     `query:"buckets" doc:"How many buckets there may be, 1 to 10000; left out, and without a step: 500"`
}

func (d *desk) registerSeries() {
	op := huma.Operation{
		OperationID: "getSeries", Method: http.MethodGet, Path: "/api/checks/{id}/series",
		Summary:     "Round-trip times and losses of a check in buckets; by default of the last 24 hours",
		Description: "A range that ends before it begins and more than 10,000 buckets are mistakes (422).",
		Responses: map[string]*huma.Response{"200": {
			Description: "The series", Content: map[string]*huma.MediaType{"application/json": {Schema: schema[Series](d.huma)}},
		}},
	}
	register(d, op, d.series)
}

func (d *desk) series(ctx context.Context, in *seriesQuery) (*huma.StreamResponse, error) {
	if d.Samples == nil {
		return nil, sereno.Errorf(sereno.NotFound, "no looks are kept: samples are switched off in the configuration")
	}
	now := d.Now()
	from, to, err := in.bounds(now)
	if err != nil {
		return nil, err
	}
	from = from.Grid() // where the buckets begin
	step, err := in.step(from, to)
	if err != nil {
		return nil, err
	}
	check := sereno.CheckID(in.ID)
	s, err := d.Samples.Series(ctx, check, from, to, step)
	if err != nil {
		return nil, fmt.Errorf("get the series of check %d: %w", check, err)
	}
	if s.Empty() {
		live, err := d.Watch.Live(ctx, []sereno.CheckID{check})
		if err != nil {
			return nil, fmt.Errorf("get check %d: %w", check, err)
		}
		if len(live) == 0 {
			return nil, sereno.Errorf(sereno.NotFound, "there is no check %d", check)
		}
	}
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		hc.SetHeader("Content-Type", "application/json")
		hc.SetStatus(http.StatusOK)
		out := bufio.NewWriterSize(hc.BodyWriter(), 64<<10)
		writeSeries(ctx, out, s)
	}}, nil
}

// step is how long a bucket is. Whole seconds are preferred.
func (q *seriesQuery) step(from, to sereno.Instant) (time.Duration, error) {
	wrong := func(field, format string, args ...any) (time.Duration, error) {
		return 0, &sereno.Error{Kind: sereno.Invalid, Field: "query." + field, Text: fmt.Sprintf(format, args...)}
	}
	window := to.Sub(from)
	switch {
	case q.Step != 0 && q.Buckets != 0:
		return wrong("step", "a series has a step or a number of buckets, not both")
	case q.Step != 0:
		if !(q.Step >= 0.001 && q.Step < 1e9) {
			return wrong("step", "a step is 0.001 to 1000000000 seconds, not %v", q.Step)
		}
		step := time.Duration(math.Round(q.Step*1000)) * time.Millisecond
		if n := (window + step - 1) / step; n > maxBuckets {
			return wrong("step", "a step of %v s makes %d buckets of this window, and there are at most %d: ask for a longer step or a shorter window", q.Step, n, maxBuckets)
		}
		return step, nil
	case q.Buckets < 0 || q.Buckets > maxBuckets:
		return wrong("buckets", "a series has 1 to %d buckets, not %d", maxBuckets, q.Buckets)
	}
	most := time.Duration(q.Buckets)
	if most == 0 {
		most = usualBuckets
	}
	step := (window + most - 1) / most
	unit := time.Millisecond
	if step > 10*time.Second {
		unit = time.Second
	}
	return (step + unit - 1) / unit * unit, nil
}

// writeSeries writes a Series as it goes, until ctx ends or nobody reads any
// more.
func writeSeries(ctx context.Context, out *bufio.Writer, s *samples.Series) {
	var line []byte
	key := func(name string) { line = append(strconv.AppendQuote(line, name), ':') }
	instant := func(name string, i sereno.Instant) {
		key(name)
		line = i.Time().AppendFormat(line, `"2006-01-02T15:04:05.000000Z",`)
	}
	line = append(line, '{')
	key("check_id")
	line = append(strconv.AppendInt(line, int64(s.Check), 10), ',')
	instant("from", s.From)
	instant("to", s.To)
	key("step_seconds")
	line = append(appendSeconds(line, s.Step), ',')
	key("sources")
	sources := make([]SeriesSource, len(s.Sources))
	for i, src := range s.Sources {
		sources[i] = SeriesSource{Source: "raw", From: src.From, To: src.To, Percentiles: "exact"}
		if src.Minutes {
			sources[i].Source = "minutes"
		}
		if src.Estimated {
			sources[i].Percentiles = "estimated"
		}
	}
	text, err := json.Marshal(sources)
	if err != nil {
		panic(err) // plain texts and times
	}
	line = append(line, text...)
	line = append(line, `,"buckets":[`...)
	for i := range s.Buckets {
		b := &s.Buckets[i]
		if i > 0 {
			line = append(line, ',')
		}
		line = append(line, "\n{"...)
		instant("begin", b.Begin)
		key("sent")
		line = append(strconv.AppendInt(line, b.Sent, 10), ',')
		key("lost")
		line = strconv.AppendInt(line, b.Lost, 10)
		for q, v := range b.RTT {
			line = append(line, ',')
			key(quantileKeys[q])
			if math.IsNaN(v) {
				line = append(line, "null"...)
			} else {
				line = appendSeconds(line, sereno.RTTOf(v))
			}
		}
		line = append(line, '}')
		if _, err := out.Write(line); err != nil || ctx.Err() != nil {
			return // nobody is left to tell
		}
		line = line[:0]
	}
	line = append(line, "]}\n"...)
	_, _ = out.Write(line)
	_ = out.Flush()
}

func appendSeconds(to []byte, d time.Duration) []byte {
	text, err := Seconds(d).MarshalJSON()
	if err != nil {
		panic(err) // a number has a text
	}
	return append(to, text...)
}
