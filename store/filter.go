package store

import (
	"fmt"
	"strconv"
	"strings"

	"sereno"
)

// A page is at most so long.
const (
	defaultLimit = 100
	maxLimit     = 1000
)

func pageLimit(limit int) int {
	if limit <= 0 {
		return defaultLimit
	}
	return min(limit, maxLimit)
}

// A filter collects the conditions of a query. Texts come from this package
// alone; whatever comes from outside is an argument.
type filter struct {
	text strings.Builder
	args []any
}

// and adds a condition, in which each ? stands for the next of args.
func (f *filter) and(condition string, args ...any) {
	if f.text.Len() > 0 {
		f.text.WriteString(" AND ")
	}
	for _, arg := range args {
		before, after, _ := strings.Cut(condition, "?")
		f.text.WriteString(before)
		f.text.WriteString(f.param(arg))
		condition = after
	}
	f.text.WriteString(condition)
}

// param adds an argument and returns its name in the text.
func (f *filter) param(arg any) string {
	f.args = append(f.args, arg)
	return fmt.Sprintf("$%d", len(f.args))
}

// where returns the conditions as the rest of a query, empty if there are none.
func (f *filter) where() string {
	if f.text.Len() == 0 {
		return ""
	}
	return " WHERE " + f.text.String()
}

// order is the direction of a list, and beyond says what comes after a cursor
// in it.

func order(oldest bool) string {
	if oldest {
		return ""
	}
	return " DESC"
}

func beyond(oldest bool) string {
	if oldest {
		return ">"
	}
	return "<"
}

// contains is the LIKE pattern of every text that has part in it.
func contains(part string) string {
	return "%" + strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(part) + "%"
}

// A cursor is the key of the last item of a page, to go on after it.

func formatCursor(key ...int64) string {
	parts := make([]string, len(key))
	for i, k := range key {
		parts[i] = strconv.FormatInt(k, 36)
	}
	return strings.Join(parts, ".")
}

// parseCursor reads a cursor into key.
func parseCursor(cursor string, key ...*int64) error {
	parts := strings.Split(cursor, ".")
	bad := len(parts) != len(key)
	for i := 0; !bad && i < len(key); i++ {
		k, err := strconv.ParseInt(parts[i], 36, 64)
		*key[i], bad = k, err != nil
	}
	if bad {
		return &sereno.Error{Kind: sereno.Invalid, Field: "cursor", Text: fmt.Sprintf("%q was not given by this list: use its next_cursor, or none to begin", cursor)}
	}
	return nil
}
