package sereno

import (
	"errors"
	"fmt"
)

// A Kind says what sort of mistake an error is, so that an edge (HTTP, exit
// code) can choose its answer without reading the text.
type Kind uint8

const (
	Internal    Kind = iota // our own fault; the zero Kind
	Invalid                 // what was asked makes no sense; the text says why
	NotFound                // there is no such thing
	Conflict                // it exists already, or changed meanwhile
	Forbidden               // not allowed, whoever asks (such as changing what the file manages)
	Unavailable             // cannot be done just now (storage is away, or still being read back); the same may be asked again
)

// An Error is a mistake with its kind. Field, when set, names what was wrong.
type Error struct {
	Kind  Kind
	Field string // "devices[3].checks[0].interval"; empty when no one field is to blame
	Text  string // one sentence: what, where, what to do
}

func (e *Error) Error() string {
	if e.Field == "" {
		return e.Text
	}
	return e.Field + ": " + e.Text
}

// Errorf makes an Error of a kind.
func Errorf(kind Kind, format string, args ...any) error {
	return &Error{Kind: kind, Text: fmt.Sprintf(format, args...)}
}

// KindOf returns the kind of the first Error in err's tree, Internal if none.
func KindOf(err error) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return Internal
}
