package api

import (
	"encoding/json"
	"math"
	"reflect"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"sereno"
)

// Seconds is a length of time, in JSON a number of seconds. It is exact to the
// microsecond at any length, which a float is not.
type Seconds time.Duration

// MarshalJSON writes as many decimals as there are, at most six.
func (s Seconds) MarshalJSON() ([]byte, error) {
	us := time.Duration(s).Microseconds()
	var out []byte
	if us < 0 {
		out, us = append(out, '-'), -us
	}
	out = strconv.AppendInt(out, us/1e6, 10)
	if us %= 1e6; us == 0 {
		return out, nil
	}
	out = append(out, '.')
	for unit := int64(1e5); us > 0; unit /= 10 {
		out = append(out, byte('0'+us/unit))
		us %= unit
	}
	return out, nil
}

// UnmarshalJSON reads any number of seconds that fits, rounded to the
// microsecond.
func (s *Seconds) UnmarshalJSON(text []byte) error {
	if string(text) == "null" {
		return nil
	}
	number, err := strconv.ParseFloat(string(text), 64)
	if err != nil || math.Abs(number) > math.MaxInt64/1e9-1 {
		return sereno.Errorf(sereno.Invalid, "%.40s is no length of time in seconds", text)
	}
	*s = Seconds(math.Round(number*1e6)) * Seconds(time.Microsecond)
	return nil
}

// Schema describes Seconds in OpenAPI.
func (Seconds) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeNumber, Format: "double"}
}

// moment is a time in a query.
type moment struct{ sereno.Instant }

// Schema describes a moment in OpenAPI.
func (moment) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeString, Format: "date-time"}
}

// A Page is one page of a list.
type Page[T any] struct {
	Items      []T     `json:"items"`
	NextCursor *string `json:"next_cursor" doc:"Send it as cursor to get the next page; null on the last one"`
}

// answer is what an operation gives back: one document.
type answer[T any] struct{ Body T }

// page makes the documents of one page out of what the store gave.
func page[F, T any](facts []F, cursor string, document func(F) T) *answer[Page[T]] {
	items := make([]T, len(facts))
	for i, f := range facts {
		items[i] = document(f)
	}
	return &answer[Page[T]]{Page[T]{items, orNull(cursor)}}
}

// Paging is the part of a query that every list has. (It and its like are
// exported because huma looks into embedded structs only then.)
type Paging struct {
	Cursor string `query:"cursor" maxLength:"500" doc:"next_cursor of the page before"`
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"How many items at most"`
}

// Window is a span of time in a query: [From, To).
type Window struct {
	From moment `query:"from" doc:"Begin, included"`
	To   moment `query:"to" doc:"End, not included"`
}

// orNull makes the zero value of what is optional a null.
func orNull[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}

// oneOf describes a JSON body that is one of schemas.
func oneOf(schemas ...*huma.Schema) map[string]*huma.MediaType {
	return map[string]*huma.MediaType{"application/json": {Schema: &huma.Schema{OneOf: schemas}}}
}

// schema is the description of T.
func schema[T any](api huma.API) *huma.Schema {
	return api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[T](), true, "")
}

// settings keeps a kind's settings as they are, and "none" as null.
func settings(raw json.RawMessage) json.RawMessage {
	if string(raw) == "null" {
		return nil
	}
	return raw
}
