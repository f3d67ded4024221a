package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"sereno"
	"sereno/report"
)

type reportQuery struct {
	Window
	Counting
	Period string `query:"period" maxLength:"20" example:"2026-10" doc:"2026, 2026-10, 2026-W42, 2026-10-03, today, yesterday, week, month or year, instead of from and to; left out with them: the month before this one"`
	Zone   string `query:"zone" maxLength:"100" example:"Europe/Berlin" doc:"Of periods, days and times; left out: UTC"`
	Format string `query:"format" enum:"html,csv,json" default:"html"`
	Device string `query:"device" maxLength:"100" doc:"Only the devices that had this name, the removed among them, or the one with this id"`
	Tag    string `query:"tag" maxLength:"100" doc:"Only devices that have this tag"`
}

var reportTypes = map[string]string{"html": "text/html; charset=utf-8", "csv": "text/csv; charset=utf-8; header=present", "json": "application/json"}

func (d *downloads) registerReport() {
	content := map[string]*huma.MediaType{}
	for _, kind := range reportTypes {
		content[kind] = &huma.MediaType{Schema: &huma.Schema{Type: huma.TypeString}}
	}
	register(d.desk, huma.Operation{
		OperationID: "report", Method: http.MethodGet, Path: "/api/report",
		Summary:   "The availability report of a period: a page that prints, a table of devices, or one document",
		Responses: map[string]*huma.Response{"200": {Description: "The report", Content: content}},
	}, d.report)
}

func (d *downloads) report(ctx context.Context, in *reportQuery) (*huma.StreamResponse, error) {
	r := report.Request{
		From: in.From.Instant, To: in.To.Instant, Now: d.Now(),
		Device: in.Device, Tag: in.Tag, Counting: in.counting(), Version: d.Version,
	}
	var err error
	if r.Zone, err = zone(in.Zone); err != nil {
		return nil, err
	}
	switch {
	case in.Period != "" && (r.From != 0 || r.To != 0):
		return nil, &sereno.Error{Kind: sereno.Invalid, Field: "query.period", Text: "a period stands instead of from and to, not beside them"}
	case in.Period != "":
		r.From, r.To, err = sereno.ParsePeriod(in.Period, r.Zone, r.Now)
	case r.From == 0 && r.To == 0:
		r.From, r.To, err = lastMonth(r)
	case r.From == 0:
		return nil, &sereno.Error{Kind: sereno.Invalid, Field: "query.from", Text: "say when the window of the report begins, or name a period"}
	case r.To == 0:
		r.To = r.Now
	}
	if err != nil {
		return nil, &sereno.Error{Kind: sereno.KindOf(err), Field: "query.period", Text: err.Error()}
	}
	leave, err := d.enter()
	if err != nil {
		return nil, err
	}
	made, err := report.Make(ctx, d.Book, r)
	if err != nil {
		leave()
		return nil, fmt.Errorf("make a report: %w", inQuery(err))
	}
	return &huma.StreamResponse{Body: func(answer huma.Context) {
		defer leave()
		how, write := "attachment", made.CSV
		switch in.Format {
		case "html":
			// The page loads nothing; its style is the only thing that it has
			// and that the policy of all other answers would refuse.
			answer.SetHeader("Content-Security-Policy", "default-src 'none'; style-src "+report.StyleHash()+"; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
			how, write = "inline", made.HTML
		case "json":
			write = made.JSON
		}
		answer.SetHeader("Content-Type", reportTypes[in.Format])
		answer.SetHeader("Content-Disposition", disposition(how, made.FileName()+"."+in.Format))
		d.stream(answer, "report", func(w http.ResponseWriter) error { return write(w) })
	}}, nil
}

// lastMonth is the latest calendar month that is over.
func lastMonth(r report.Request) (from, to sereno.Instant, err error) {
	this, _, err := sereno.ParsePeriod("month", r.Zone, r.Now)
	last, _, e := sereno.ParsePeriod("month", r.Zone, this-1)
	return last, this, errors.Join(err, e)
}
