package prometheus

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/util/stats"

	"sereno"
)

// The earliest and the latest time that a question may name, for those that
// name none. They are Prometheus's own: clients write them out.
var (
	minTime = time.Unix(math.MinInt64/1000+62135596801, 0).UTC()
	maxTime = time.Unix(math.MaxInt64/1000-62135596801, 999999999).UTC()
)

// A question is the parameters of a request. Each of its methods reads one, or
// notes the first that is wrong.
type question struct {
	form  url.Values
	wrong error
}

func ask(r *http.Request) (*question, error) {
	if err := r.ParseForm(); err != nil {
		return nil, badData("error parsing form values: %s", err)
	}
	return &question{form: r.Form}, nil
}

func (q *question) text(name string) string { return q.form.Get(name) }

func (q *question) bad(name string, err error) {
	if q.wrong == nil {
		q.wrong = badParameter(name, err)
	}
}

// time reads a moment; absent is that of a parameter that is not there.
func (q *question) time(name string, absent time.Time) time.Time {
	s := q.text(name)
	if s == "" {
		return absent
	}
	t, err := parseTime(s)
	if err != nil {
		q.bad(name, fmt.Errorf("invalid time value for '%s': %w", name, err))
	}
	return t
}

// needTime reads a moment that must be there.
func (q *question) needTime(name string) time.Time {
	t, err := parseTime(q.text(name))
	if err != nil {
		q.bad(name, err)
	}
	return t
}

// parseTime reads Unix seconds or RFC 3339.
func parseTime(s string) (time.Time, error) {
	if v, err := strconv.ParseFloat(s, 64); err == nil {
		seconds, rest := math.Modf(v)
		if math.Abs(seconds) > math.MaxInt64/1000 || math.IsNaN(v) {
			return time.Time{}, fmt.Errorf("cannot parse %q to a valid timestamp", s)
		}
		millis := math.Round(rest * 1000)
		return time.Unix(int64(seconds), int64(millis)*int64(time.Millisecond)).UTC(), nil
	}
	if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
		return t, nil
	}
	for _, t := range []time.Time{minTime, maxTime} { // their years have more digits than time.Parse reads
		if s == t.Format(time.RFC3339Nano) {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("cannot parse %q to a valid timestamp", s)
}

// parseDuration reads seconds, or a length such as 1h30m, 1d or 2w.
func parseDuration(s string) (time.Duration, error) {
	if v, err := strconv.ParseFloat(s, 64); err == nil {
		ns := v * float64(time.Second)
		if math.IsNaN(ns) || ns >= math.MaxInt64 || ns <= math.MinInt64 {
			return 0, fmt.Errorf("cannot parse %q to a valid duration. It overflows int64", s)
		}
		return time.Duration(ns), nil
	}
	if d, err := model.ParseDuration(s); err == nil {
		return time.Duration(d), nil
	}
	return 0, fmt.Errorf("cannot parse %q to a valid duration", s)
}

// limit reads how many are wanted at most; 0 is all.
func (q *question) limit() int {
	s := q.text("limit")
	if s == "" {
		return 0
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		q.bad("limit", err)
	} else if n < 0 {
		q.bad("limit", errors.New("limit must be non-negative"))
	}
	return n
}

// errTruncated is the warning about what a limit left out.
var errTruncated = errors.New("results truncated due to limit")

// options reads how the engine is to answer.
func (q *question) options() promql.QueryOpts {
	var lookback time.Duration
	if s := q.text("lookback_delta"); s != "" {
		d, err := parseDuration(s)
		if err != nil && q.wrong == nil {
			q.wrong = badData("error parsing lookback delta duration: %s", err)
		}
		lookback = d
	}
	return promql.NewPrometheusQueryOpts(false, lookback)
}

// timeout reads how long the asker is ready to wait.
func (q *question) timeout(ctx context.Context) (context.Context, context.CancelFunc) {
	s := q.text("timeout")
	if s == "" {
		return context.WithCancel(ctx)
	}
	d, err := parseDuration(s)
	if err != nil {
		q.bad("timeout", err)
	}
	return context.WithTimeout(ctx, d)
}

// query answers what an expression is at one moment.
func (d *door) query(r *http.Request, q *question) (*answer, error) {
	limit := q.limit()
	at := q.time("time", d.now().Time())
	ctx, cancel := q.timeout(r.Context())
	defer cancel()
	options := q.options()
	if q.wrong != nil {
		return nil, q.wrong
	}
	if err := d.affordable(q.text("query"), 0, 0); err != nil {
		return nil, err
	}
	asked, err := d.engine.NewInstantQuery(ctx, d.samples, options, q.text("query"), at)
	if err != nil {
		return nil, badQuery(err)
	}
	return evaluate(ctx, asked, q, limit)
}

// mostPoints is how many points a series of an answer may have: a minute each
// for a week, an hour each for a year.
const mostPoints = 11_000

var errNoStep = errors.New("zero or negative query resolution step widths are not accepted. Try a positive integer")

// queryRange answers what an expression is at many moments.
func (d *door) queryRange(r *http.Request, q *question) (*answer, error) {
	limit := q.limit()
	start, end := q.needTime("start"), q.needTime("end")
	if q.wrong == nil && end.Before(start) {
		q.bad("end", errors.New("end timestamp must not be before start time"))
	}
	step, err := parseDuration(q.text("step"))
	if err != nil {
		q.bad("step", err)
	} else if step <= 0 {
		q.bad("step", errNoStep)
	}
	span := length(start, end)
	if q.wrong == nil && math.Floor(span/float64(step)) > mostPoints {
		return nil, badData("exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)")
	}
	if step < time.Millisecond {
		q.bad("step", errNoStep) // it is 0 for the engine
	}
	ctx, cancel := q.timeout(r.Context())
	defer cancel()
	options := q.options()
	if q.wrong != nil {
		return nil, q.wrong
	}
	if err := d.affordable(q.text("query"), span, float64(step)); err != nil {
		return nil, err
	}
	asked, err := d.engine.NewRangeQuery(ctx, d.samples, options, q.text("query"), start, end, step)
	if err != nil {
		return nil, badQuery(err)
	}
	return evaluate(ctx, asked, q, limit)
}

// mostSteps is how many steps a subquery may have: a second each for almost
// two months. The engine makes room for all of them at once, 16 bytes each,
// whether there are samples or not.
const mostSteps = 5_000_000

// affordable refuses the subqueries that would take more memory than there is,
// or more time than anybody has: the budget of the samples does not know of
// them. A question is asked for so long, every so often, in nanoseconds. What
// cannot be parsed is left to the engine to complain about.
func (d *door) affordable(query string, asked, every float64) error {
	expr, err := d.language.ParseExpr(query)
	if err != nil {
		return nil //nolint:nilerr // the engine parses it as well
	}
	return parser.Walk(visitor(func(node parser.Node, path []parser.Node) error {
		if _, ok := node.(*parser.SubqueryExpr); !ok {
			return nil
		}
		span, step, looks := asked, every, 0.0
		for _, n := range append(slices.Clone(path), node) {
			s, ok := n.(*parser.SubqueryExpr)
			if !ok {
				continue
			}
			times := 1.0
			if s.Timestamp != nil || s.StartOrEnd != 0 {
				span = 0 // it is the same at each step
			} else if step > 0 {
				times += span / step
			}
			if step = float64(s.Step); step == 0 {
				step = float64(defaultStep)
			}
			span += float64(s.Range)
			looks = times * float64(s.Range) / step
		}
		if span/step > mostSteps {
			return sereno.Errorf(sereno.Invalid, "the subquery %s would have %.0f steps, and %d million are the most: ask for a shorter range or a longer step", node, span/step, mostSteps/1_000_000)
		}
		if looks > float64(d.limits.Read*looksPerRead) {
			return tooOften(d.limits.Read)
		}
		return nil
	}), expr, nil)
}

// A visitor is called for each node of an expression, with its parents, the
// outermost first.
type visitor func(node parser.Node, path []parser.Node) error

func (v visitor) Visit(node parser.Node, path []parser.Node) (parser.Visitor, error) {
	return v, v(node, path)
}

// length is how long it is from start to end in nanoseconds, also where that
// is too long for a time.Duration.
func length(start, end time.Time) float64 {
	return float64(end.Unix()-start.Unix())*float64(time.Second) + float64(end.Nanosecond()-start.Nanosecond())
}

// badQuery says what is wrong with an expression, unless it is that it waited
// in vain for its turn to be read.
func badQuery(err error) error {
	if _, ok := errors.AsType[promql.ErrQueryTimeout](err); ok {
		return err
	}
	if _, ok := errors.AsType[promql.ErrQueryCanceled](err); ok {
		return err
	}
	return badParameter("query", err)
}

// evaluate runs a question of the engine.
func evaluate(ctx context.Context, asked promql.Query, q *question, limit int) (*answer, error) {
	result := asked.Exec(ctx)
	if result.Err != nil {
		asked.Close()
		return nil, result.Err
	}
	value, cut := truncate(result.Value, limit)
	if cut {
		result.Warnings.Add(errTruncated)
	}
	return &answer{
		query: q.text("query"), warnings: result.Warnings, release: asked.Close,
		data: func(w *bufio.Writer) error {
			w.WriteByte('{')
			writeResult(w, value)
			if q.text("stats") != "" {
				w.WriteString(`,"stats":`)
				if err := encode(w, stats.NewQueryStats(asked.Stats())); err != nil {
					return err
				}
			}
			return w.WriteByte('}')
		},
	}, nil
}

// truncate cuts a result to its first series, and reports whether it had more.
func truncate(value any, limit int) (any, bool) {
	switch v := value.(type) {
	case promql.Matrix:
		if limit > 0 && len(v) > limit {
			return v[:limit], true
		}
	case promql.Vector:
		if limit > 0 && len(v) > limit {
			return v[:limit], true
		}
	}
	return value, false
}

// formatQuery writes an expression as Prometheus would.
func (d *door) formatQuery(_ *http.Request, q *question) (*answer, error) {
	expr, err := d.language.ParseExpr(q.text("query"))
	if err != nil {
		return nil, badParameter("query", err)
	}
	return document(expr.Pretty(0)), nil
}

// queryExemplars answers that there are none.
func (d *door) queryExemplars(_ *http.Request, q *question) (*answer, error) {
	start, end := q.time("start", minTime), q.time("end", maxTime)
	if q.wrong != nil {
		return nil, q.wrong
	}
	if end.Before(start) {
		return nil, badData("end timestamp must not be before start timestamp")
	}
	if _, err := d.language.ParseExpr(q.text("query")); err != nil {
		return nil, badData("%s", err)
	}
	return document([]any{}), nil
}

// selectors reads match[].
func (d *door) selectors(q *question) [][]*labels.Matcher {
	sets, err := d.language.ParseMetricSelectors(q.form["match[]"])
	if err == nil && slices.ContainsFunc(sets, func(set []*labels.Matcher) bool {
		return !slices.ContainsFunc(set, func(m *labels.Matcher) bool { return !m.Matches("") })
	}) {
		err = errors.New("match[] must contain at least one non-empty matcher")
	}
	if err != nil && q.wrong == nil {
		q.wrong = badData("%s", err)
	}
	return sets
}
