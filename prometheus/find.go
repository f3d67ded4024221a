package prometheus

import (
	"bufio"
	"context"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/timestamp"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/annotations"
)

// labelNames lists the labels that there are.
func (d *door) labelNames(r *http.Request, q *question) (*answer, error) {
	return d.words(r, q, storage.Querier.LabelNames)
}

// labelValues lists the values that a label has.
func (d *door) labelValues(r *http.Request, q *question) (*answer, error) {
	name := r.PathValue("name")
	if strings.HasPrefix(name, "U__") {
		name = model.UnescapeName(name, model.ValueEncodingEscaping)
	}
	if !model.UTF8Validation.IsValidLabelName(name) {
		return nil, badData("invalid label name: %q", name)
	}
	return d.words(r, q, func(from storage.Querier, ctx context.Context, hints *storage.LabelHints, m ...*labels.Matcher) ([]string, annotations.Annotations, error) { //nolint:revive // the receiver comes first, as in the method
		return from.LabelValues(ctx, name, hints, m...)
	})
}

// words lists names or values, of all series or of those that are selected.
func (d *door) words(r *http.Request, q *question,
	list func(storage.Querier, context.Context, *storage.LabelHints, ...*labels.Matcher) ([]string, annotations.Annotations, error),
) (*answer, error) {
	limit := q.limit()
	start, end := q.time("start", minTime), q.time("end", maxTime)
	selectors := d.selectors(q)
	if q.wrong != nil {
		return nil, q.wrong
	}
	from, err := d.samples.Querier(timestamp.FromTime(start), timestamp.FromTime(end))
	if err != nil {
		return nil, err
	}
	defer from.Close()
	if len(selectors) == 0 {
		selectors = [][]*labels.Matcher{nil}
	}
	found := []string{}
	warnings := annotations.New()
	for _, set := range selectors {
		words, notes, err := list(from, r.Context(), &storage.LabelHints{Limit: oneMore(limit)}, set...)
		if err != nil {
			return nil, err
		}
		warnings.Merge(notes)
		found = append(found, words...)
	}
	slices.Sort(found)
	found = slices.Compact(found)
	for i := range found {
		found[i] = strings.Clone(found[i]) // the storage's memory ends with the querier
	}
	if limit > 0 && len(found) > limit {
		found = found[:limit]
		warnings.Add(errTruncated)
	}
	a := document(found)
	a.warnings = *warnings
	return a, nil
}

// oneMore is the limit for the storage, so that it shows whether there is more.
func oneMore(limit int) int {
	if limit > 0 && limit < math.MaxInt {
		return limit + 1
	}
	return limit
}

// series lists the series that are selected.
func (d *door) series(r *http.Request, q *question) (*answer, error) {
	if len(q.form["match[]"]) == 0 {
		return nil, badData("no match[] parameter provided")
	}
	limit := q.limit()
	start, end := q.time("start", minTime), q.time("end", maxTime)
	if q.wrong != nil {
		return nil, q.wrong
	}
	selectors := d.selectors(q)
	if q.wrong != nil {
		return nil, badParameter("match[]", q.wrong)
	}
	from, err := d.samples.Querier(timestamp.FromTime(start), timestamp.FromTime(end))
	if err != nil {
		return nil, err
	}
	done := false
	defer func() {
		if !done {
			from.Close()
		}
	}()
	hints := &storage.SelectHints{
		Start: timestamp.FromTime(start), End: timestamp.FromTime(end),
		Func: "series", Limit: oneMore(limit), // Func says that no samples are needed
	}
	sets := make([]storage.SeriesSet, len(selectors))
	for i, set := range selectors {
		sets[i] = from.Select(r.Context(), len(selectors) > 1, hints, set...)
	}
	set := sets[0]
	if len(sets) > 1 {
		set = storage.NewMergeSeriesSet(sets, 0, storage.ChainedSeriesMerge)
	}
	var found []labels.Labels
	warnings := annotations.New()
	warnings.Merge(set.Warnings())
	for set.Next() {
		if len(found)%1024 == 0 && r.Context().Err() != nil {
			return nil, fmt.Errorf("list series: %w", r.Context().Err())
		}
		if limit > 0 && len(found) == limit {
			warnings.Add(errTruncated)
			break
		}
		found = append(found, set.At().Labels())
	}
	if err := set.Err(); err != nil {
		return nil, err
	}
	done = true
	return &answer{warnings: *warnings, release: func() { from.Close() }, data: func(w *bufio.Writer) error {
		w.WriteByte('[')
		for i, l := range found {
			comma(w, i)
			writeLabels(w, l)
		}
		return w.WriteByte(']')
	}}, nil
}
