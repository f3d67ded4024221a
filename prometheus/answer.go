package prometheus

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"unicode/utf8"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/util/annotations"

	"sereno"
)

// A fault is an answer that says what is wrong, by the names that Prometheus
// has for that.
type fault struct {
	code int
	kind string
	text string
}

func (f *fault) Error() string { return f.text }

func badData(format string, args ...any) error {
	return &fault{http.StatusBadRequest, "bad_data", fmt.Sprintf(format, args...)}
}

// badParameter says of which parameter it is that err speaks.
func badParameter(name string, err error) error {
	return badData("invalid parameter %q: %s", name, err)
}

// clientClosed is what Prometheus answers to who has hung up (after nginx).
const clientClosed = 499

// ours is all that a client learns of an error of our own.
const ours = "this is an error of our own; the log says more"

// explain says in Prometheus's way what became of a question that failed.
func (d *door) explain(ctx context.Context, err error) *fault {
	if f, ok := errors.AsType[*fault](err); ok {
		return f
	}
	if e, ok := errors.AsType[*sereno.Error](err); ok {
		switch e.Kind {
		case sereno.Unavailable:
			return &fault{http.StatusServiceUnavailable, "unavailable", e.Text}
		case sereno.Internal:
		default:
			return &fault{http.StatusUnprocessableEntity, "execution", e.Text}
		}
	}
	if e, ok := errors.AsType[promql.ErrQueryTimeout](err); ok {
		return &fault{http.StatusServiceUnavailable, "timeout", e.Error()}
	}
	if e, ok := errors.AsType[promql.ErrQueryCanceled](err); ok {
		return &fault{clientClosed, "canceled", e.Error()}
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return &fault{http.StatusServiceUnavailable, "timeout", fmt.Sprintf("this takes longer than %s: ask for less", d.limits.Timeout)}
	}
	if errors.Is(err, context.Canceled) {
		return &fault{clientClosed, "canceled", err.Error()}
	}
	if e, ok := errors.AsType[promql.ErrStorage](err); ok {
		if ctx.Err() == nil {
			d.log.Error("a PromQL question failed", "err", e)
		}
		return &fault{http.StatusInternalServerError, "internal", ours}
	}
	return &fault{http.StatusUnprocessableEntity, "execution", err.Error()}
}

// retryAfter is when to ask again what cannot be answered just now, in
// seconds.
const retryAfter = "5"

func refuse(w http.ResponseWriter, f *fault) {
	w.Header().Set("Content-Type", "application/json")
	if f.code == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", retryAfter)
	}
	w.WriteHeader(f.code)
	// Nobody is left to tell if the connection is gone.
	_ = json.NewEncoder(w).Encode(struct {
		Status string `json:"status"`
		Kind   string `json:"errorType"`
		Error  string `json:"error"`
	}{"error", f.kind, f.text})
}

// An answer is a document that is no error. Its data is written by data.
type answer struct {
	data     func(w *bufio.Writer) error
	query    string // that warnings point into; may be empty
	warnings annotations.Annotations
	release  func() // called once it is written; may be nil
}

// document is an answer whose data the standard library writes.
func document(data any) *answer {
	return &answer{data: func(w *bufio.Writer) error { return encode(w, data) }}
}

// mostNotes is how many warnings, and how many infos, an answer lists.
const mostNotes = 10

func (a *answer) write(to io.Writer) error {
	w := bufio.NewWriterSize(to, 64<<10)
	w.WriteString(`{"status":"success","data":`)
	if err := a.data(w); err != nil {
		return err
	}
	warnings, infos := a.warnings.AsStrings(a.query, mostNotes, mostNotes)
	for _, notes := range []struct {
		name string
		list []string
	}{{`,"warnings":`, warnings}, {`,"infos":`, infos}} {
		if len(notes.list) > 0 {
			w.WriteString(notes.name)
			if err := encode(w, notes.list); err != nil {
				return err
			}
		}
	}
	w.WriteString("}\n")
	return w.Flush()
}

func encode(w *bufio.Writer, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = w.Write(text)
	return err
}

// writeResult writes what the engine found: "resultType" and "result". There
// are no native histograms, for the samples have none to make them from.
func writeResult(w *bufio.Writer, result any) {
	switch r := result.(type) {
	case promql.Matrix:
		w.WriteString(`"resultType":"matrix","result":[`)
		for i := range r {
			comma(w, i)
			w.WriteString(`{"metric":`)
			writeLabels(w, r[i].Metric)
			w.WriteString(`,"values":[`)
			for j, p := range r[i].Floats {
				comma(w, j)
				writePoint(w, p.T, p.F)
			}
			w.WriteString("]}")
		}
		w.WriteByte(']')
	case promql.Vector:
		w.WriteString(`"resultType":"vector","result":[`)
		for i := range r {
			comma(w, i)
			w.WriteString(`{"metric":`)
			writeLabels(w, r[i].Metric)
			w.WriteString(`,"value":`)
			writePoint(w, r[i].T, r[i].F)
			w.WriteByte('}')
		}
		w.WriteByte(']')
	case promql.Scalar:
		w.WriteString(`"resultType":"scalar","result":`)
		writePoint(w, r.T, r.V)
	case promql.String:
		w.WriteString(`"resultType":"string","result":[`)
		w.Write(appendTime(w.AvailableBuffer(), r.T))
		w.WriteByte(',')
		writeText(w, r.V)
		w.WriteByte(']')
	}
}

func comma(w *bufio.Writer, i int) {
	if i > 0 {
		w.WriteByte(',')
	}
}

func writeLabels(w *bufio.Writer, l labels.Labels) {
	w.WriteByte('{')
	i := 0
	l.Range(func(l labels.Label) {
		comma(w, i)
		i++
		writeText(w, l.Name)
		w.WriteByte(':')
		writeText(w, l.Value)
	})
	w.WriteByte('}')
}

// writePoint writes [time, "value"]. The value is text, for JSON knows neither
// NaN nor infinity.
func writePoint(w *bufio.Writer, t int64, v float64) {
	b := append(w.AvailableBuffer(), '[')
	b = append(appendTime(b, t), ',', '"')
	form := byte('f')
	if abs := math.Abs(v); abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		form = 'e'
	}
	b = strconv.AppendFloat(b, v, form, -1, 64)
	w.Write(append(b, '"', ']'))
}

// appendTime appends Unix milliseconds as seconds, with three decimals or none.
func appendTime(b []byte, t int64) []byte {
	if t < 0 {
		b, t = append(b, '-'), -t
	}
	b = strconv.AppendInt(b, t/1000, 10)
	if t %= 1000; t != 0 {
		b = append(b, '.', byte('0'+t/100), byte('0'+t/10%10), byte('0'+t%10))
	}
	return b
}

func writeText(w *bufio.Writer, s string) {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			text, _ := json.Marshal(s) // text always has a form
			w.Write(text)
			return
		}
	}
	w.WriteByte('"')
	w.WriteString(s)
	w.WriteByte('"')
}
