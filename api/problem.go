package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"sereno"
	"sereno/store"
)

// codes is how the kinds of mistakes look in HTTP.
var codes = map[sereno.Kind]int{
	sereno.Internal:    http.StatusInternalServerError,
	sereno.Invalid:     http.StatusUnprocessableEntity,
	sereno.NotFound:    http.StatusNotFound,
	sereno.Conflict:    http.StatusConflict,
	sereno.Forbidden:   http.StatusForbidden,
	sereno.Unavailable: http.StatusServiceUnavailable,
}

// ours is all that a client learns of an error of our own.
const ours = "this is an error of our own; the log says more"

// maxMistakes is how many mistakes of one request are named.
const maxMistakes = 100

// problem turns the error of an operation into the answer. Errors of our own
// are logged here and nowhere else.
func (d *desk) problem(ctx context.Context, operation string, err error) error {
	if answer, ok := errors.AsType[huma.StatusError](err); ok {
		return answer
	}
	if errors.Is(err, store.ErrFull) {
		return newProblem(http.StatusInsufficientStorage, "the disk is full: nothing was changed; free some space and try again")
	}
	if errors.Is(err, store.ErrAway) { // where it is and as whom we ask is not for everybody
		d.Log.Warn("a request needs the database, which cannot be reached", "operation", operation, "err", err)
		return huma.ErrorWithHeaders(newProblem(http.StatusServiceUnavailable, "the database cannot be reached; ask again later"),
			http.Header{"Retry-After": {retryAfter}})
	}
	code := codes[sereno.KindOf(err)]
	if code == http.StatusInternalServerError {
		if ctx.Err() == nil {
			d.Log.Error("request failed", "operation", operation, "err", err)
		}
		return newProblem(code, ours)
	}
	p := newProblem(code, "")
	for e := range mistakes(err) {
		if len(p.Errors) == maxMistakes {
			break
		}
		location := e.Field
		if location == "cursor" {
			location = "query.cursor"
		}
		p.Errors = append(p.Errors, &huma.ErrorDetail{Location: location, Message: e.Text})
	}
	if summarise(p); code == http.StatusServiceUnavailable {
		return huma.ErrorWithHeaders(p, http.Header{"Retry-After": {retryAfter}})
	}
	return p
}

// retryAfter is when to ask again what cannot be answered just now, in
// seconds.
const retryAfter = "5"

// mistakes yields the sereno.Errors in err's tree.
func mistakes(err error) func(yield func(*sereno.Error) bool) {
	var walk func(err error, yield func(*sereno.Error) bool) bool
	walk = func(err error, yield func(*sereno.Error) bool) bool {
		if e, ok := err.(*sereno.Error); ok { //nolint:errorlint // each error of the tree by itself
			return yield(e)
		}
		switch e := err.(type) { //nolint:errorlint // likewise
		case interface{ Unwrap() error }:
			return walk(e.Unwrap(), yield)
		case interface{ Unwrap() []error }:
			for _, inner := range e.Unwrap() {
				if !walk(inner, yield) {
					return false
				}
			}
		}
		return true
	}
	return func(yield func(*sereno.Error) bool) { walk(err, yield) }
}

// explain gives huma's own problems the shape of ours.
func explain(_ huma.Context, _ string, v any) (any, error) {
	p, ok := v.(*huma.ErrorModel)
	if !ok {
		return v, nil
	}
	if p.Status == http.StatusInternalServerError {
		return newProblem(p.Status, ours), nil
	}
	return summarise(p), nil
}

// summarise makes the first mistake the detail, so that a client that shows
// one line shows the right one. What was sent is not sent back.
func summarise(p *huma.ErrorModel) *huma.ErrorModel {
	if len(p.Errors) == 0 {
		return p
	}
	for _, e := range p.Errors {
		e.Value = nil
	}
	first := p.Errors[0]
	p.Detail = first.Message
	if first.Location != "" {
		p.Detail = strings.TrimPrefix(first.Location, "body.") + ": " + first.Message
	}
	if more := len(p.Errors) - 1; more > 0 {
		p.Detail += fmt.Sprintf(" (and %d more)", more)
	}
	return p
}

func newProblem(code int, detail string) *huma.ErrorModel {
	return &huma.ErrorModel{Status: code, Title: http.StatusText(code), Detail: detail}
}

// refuse answers a request that reached no operation.
func refuse(w http.ResponseWriter, code int, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(code)
	// Nobody is left to tell if the connection is gone.
	_ = json.NewEncoder(w).Encode(newProblem(code, detail))
}

// problems answers what the mux has no route for with a problem document.
func problems(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, pattern := mux.Handler(r); pattern != "" {
			mux.ServeHTTP(w, r)
			return
		}
		bare := &bare{header: w.Header()}
		mux.ServeHTTP(bare, r)
		switch bare.code {
		case http.StatusMethodNotAllowed:
			refuse(w, bare.code, r.Method+" is not possible here, only "+w.Header().Get("Allow"))
		default:
			refuse(w, http.StatusNotFound, "there is nothing at this address; the list is at /")
		}
	})
}

// A bare response keeps the headers and the code, and forgets the text.
type bare struct {
	header http.Header
	code   int
}

func (b *bare) Header() http.Header         { return b.header }
func (b *bare) WriteHeader(code int)        { b.code = code }
func (b *bare) Write(p []byte) (int, error) { return len(p), nil }
