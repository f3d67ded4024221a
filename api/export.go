package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"sereno"
	"sereno/export"
	"sereno/sheet"
)

const (
	// RowsTrailer is the HTTP trailer that ends a whole export and says how
	// many rows it has. Where it is missing, rows are missing.
	RowsTrailer = "Sereno-Rows"
	// ExpectedHeader says about how many rows an export will have, where that
	// is known.
	ExpectedHeader = "Sereno-Rows-Expected"

	// maxDownloads is how many exports and reports are made at once.
	maxDownloads = 4
	// tarry is how long a reader may take for the next piece of a download.
	tarry = time.Minute
)

type exportQuery struct {
	Window
	What   string  `path:"what" enum:"looks,spans,incidents,absences,responses"`
	Format string  `query:"format" enum:"csv,json,ndjson" default:"csv"`
	Device string  `query:"device" maxLength:"100" doc:"Only the devices that had this name, the removed among them, or the one with this id"`
	Tag    string  `query:"tag" maxLength:"100" doc:"Only devices that have this tag"`
	Zone   string  `query:"zone" maxLength:"100" example:"Europe/Berlin" doc:"Write times in this zone, with its offset; left out: UTC"`
	Wide   bool    `query:"wide" doc:"Of responses: one row for each step, one column for each address that was looked at"`
	Step   float64 `query:"step_seconds" doc:"Of a wide form, 0.1 to 86400; left out: the shortest interval of the checks"`
}

// Book is all that was written down, the history of removed devices included.
type Book interface {
	export.Facts
}

// downloads are the answers that are written while they are read.
type downloads struct {
	*desk
	room chan struct{}
}

func (d *downloads) registerExport() {
	content := map[string]*huma.MediaType{}
	for _, f := range []sheet.Format{sheet.CSV, sheet.JSON, sheet.NDJSON} {
		content[f.ContentType()] = &huma.MediaType{Schema: &huma.Schema{Type: huma.TypeString}}
	}
	register(d.desk, huma.Operation{
		OperationID: "export", Method: http.MethodGet, Path: "/api/export/{what}",
		Summary:     "What was recorded, as a file; by default of the last 24 hours",
		Description: "A whole answer ends with the trailer " + RowsTrailer + ". An export that fails is cut off, which HTTP clients notice.",
		Responses: map[string]*huma.Response{"200": {
			Description: "One row for each look, span, incident or absence", Content: content,
			Headers: map[string]*huma.Param{
				ExpectedHeader: {Description: "About how many rows there will be, where that is known", Schema: &huma.Schema{Type: huma.TypeInteger}},
			},
		}},
	}, d.export)
}

func (d *downloads) export(ctx context.Context, in *exportQuery) (*huma.StreamResponse, error) {
	now := d.Now()
	r := export.Request{
		From: in.From.Instant, To: in.To.Instant, Now: now,
		Device: in.Device, Tag: in.Tag, Wide: in.Wide, Step: time.Duration(math.Round(in.Step*1e6)) * time.Microsecond,
	}
	if r.To.IsZero() {
		r.To = now
	}
	if r.From.IsZero() {
		r.From = min(r.To, now).Add(-24 * time.Hour)
	}
	var errs [3]error
	r.Subject, errs[0] = export.ParseSubject(in.What)
	r.Format, errs[1] = sheet.ParseFormat(in.Format)
	r.Zone, errs[2] = zone(in.Zone)
	if err := errors.Join(errs[:]...); err != nil {
		return nil, err
	}
	leave, err := d.enter()
	if err != nil {
		return nil, err
	}
	job, err := export.Prepare(ctx, d.Book, d.Looks, r)
	if err != nil {
		leave()
		return nil, fmt.Errorf("export %s: %w", r.Subject, inQuery(err))
	}
	return &huma.StreamResponse{Body: func(answer huma.Context) {
		defer leave()
		answer.SetHeader("Content-Type", r.Format.ContentType())
		answer.SetHeader("Content-Disposition", disposition("attachment", job.FileName()))
		if job.Expected > 0 {
			answer.SetHeader(ExpectedHeader, strconv.FormatInt(job.Expected, 10))
		}
		answer.SetHeader("Trailer", RowsTrailer)
		d.stream(answer, "export", func(w http.ResponseWriter) error {
			rows, err := job.Write(answer.Context(), w)
			if err == nil {
				w.Header().Set(RowsTrailer, strconv.FormatInt(rows, 10))
			}
			return err
		})
	}}, nil
}

// enter waits for nobody: when too many downloads are under way, one more would
// only make all of them slower, and the watching with them.
func (d *downloads) enter() (leave func(), err error) {
	select {
	case d.room <- struct{}{}:
		return func() { <-d.room }, nil
	default:
		return nil, sereno.Errorf(sereno.Unavailable, "%d exports and reports are being made just now: ask again when one of them has ended", maxDownloads)
	}
}

// stream answers with what write writes. Each piece has its own time, so that a
// download may take as long as it must. A failure before the first piece is a
// problem document; a later one cuts the connection, so that what is missing is
// missed.
func (d *downloads) stream(answer huma.Context, operation string, write func(http.ResponseWriter) error) {
	_, w := humago.Unwrap(answer)
	out := &pieces{ResponseWriter: w, control: http.NewResponseController(w)}
	// A recorder, or a server without deadlines, needs none.
	_ = out.control.SetReadDeadline(time.Time{})
	err := write(out)
	if err == nil {
		return
	}
	if out.begun || answer.Context().Err() != nil {
		if answer.Context().Err() == nil && !out.gone {
			d.Log.Error("a download was cut off", "operation", operation, "err", err)
		}
		panic(http.ErrAbortHandler)
	}
	for _, name := range []string{"Content-Disposition", "Trailer", ExpectedHeader} {
		w.Header().Del(name)
	}
	refusal := d.problem(answer.Context(), operation, err)
	code := http.StatusInternalServerError
	if status, ok := errors.AsType[huma.StatusError](refusal); ok {
		code = status.GetStatus()
	}
	if more, ok := errors.AsType[huma.HeadersError](refusal); ok {
		maps.Copy(w.Header(), more.GetHeaders())
	}
	document, ok := errors.AsType[*huma.ErrorModel](refusal)
	if !ok {
		document = newProblem(code, ours)
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(document) // nobody is left to tell if the connection is gone
}

// pieces is a response of which each piece has its own time.
type pieces struct {
	http.ResponseWriter
	control *http.ResponseController
	begun   bool
	gone    bool // whoever asked reads no longer
}

func (p *pieces) Write(piece []byte) (int, error) {
	_ = p.control.SetWriteDeadline(time.Now().Add(tarry))
	p.begun = p.begun || len(piece) > 0
	n, err := p.ResponseWriter.Write(piece)
	p.gone = p.gone || err != nil
	return n, err
}

// disposition names a file. Names that come from elsewhere are not among them.
func disposition(how, file string) string { return how + `; filename="` + file + `"` }

// zone reads a time zone of a query.
func zone(name string) (*time.Location, error) {
	z, err := sereno.LoadZone(name)
	if err != nil {
		return nil, &sereno.Error{Kind: sereno.KindOf(err), Field: "query.zone", Text: err.Error()}
	}
	return z, nil
}

// inQuery says of a mistake that is about a setting where that was.
func inQuery(err error) error {
	if e, ok := errors.AsType[*sereno.Error](err); ok && e.Field != "" {
		return &sereno.Error{Kind: e.Kind, Field: "query." + e.Field, Text: e.Text}
	}
	return err
}
