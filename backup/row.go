package backup

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"sereno/store"
)

// Rows are JSON lists, a line each. A number with a point or an exponent is a
// float64, one without an int64, and a text that JSON cannot hold, since it is not UTF-8, is
// {"base64":"…"}.

func columnsRow(t store.Table) store.Row {
	row := make(store.Row, len(t.Columns))
	for i, c := range t.Columns {
		row[i] = c
	}
	return row
}

func appendRow(b []byte, row store.Row) []byte {
	for i, v := range row {
		b = append(b, "[,"[min(i, 1)])
		switch v := v.(type) {
		case int64:
			b = strconv.AppendInt(b, v, 10)
		case float64:
			b = appendFloat(b, v)
		case string:
			b = appendText(b, v)
		}
	}
	return append(b, ']', '\n')
}

func appendFloat(b []byte, v float64) []byte {
	if math.IsInf(v, 0) || math.IsNaN(v) {
		return appendText(b, strconv.FormatFloat(v, 'g', -1, 64)) // no store holds one; the sums will tell
	}
	from := len(b)
	b = strconv.AppendFloat(b, v, 'g', -1, 64)
	if !bytes.ContainsAny(b[from:], ".e") {
		b = append(b, ".0"...)
	}
	return b
}

func appendText(b []byte, s string) []byte {
	if !utf8.ValidString(s) {
		b = append(b, `{"base64":"`...)
		b = base64.StdEncoding.AppendEncode(b, []byte(s))
		return append(b, `"}`...)
	}
	plain := true
	for i := range len(s) {
		plain = plain && s[i] >= ' ' && s[i] != '"' && s[i] != '\\'
	}
	if plain {
		b = append(b, '"')
		b = append(b, s...)
		return append(b, '"')
	}
	quoted, err := json.Marshal(s)
	if err != nil {
		panic(err) // texts always encode
	}
	return append(b, quoted...)
}

var errRow = errors.New("a line holds no row")

// parseRow reads one line without its end.
func parseRow(line []byte) (row store.Row, err error) {
	if len(line) < 2 || line[0] != '[' || line[len(line)-1] != ']' {
		return nil, errRow
	}
	rest := line[1:]
	for len(rest) > 0 {
		var v any
		var n int
		switch rest[0] {
		case '"':
			v, n, err = parseText(rest)
		case '{':
			v, n, err = parseBytes(rest)
		default:
			v, n, err = parseNumber(rest)
		}
		if err != nil {
			return nil, err
		}
		row = append(row, v)
		last := len(rest) == n+1
		if n >= len(rest) || last && rest[n] != ']' || !last && rest[n] != ',' {
			return nil, errRow
		}
		rest = rest[n+1:]
	}
	return row, nil
}

func parseText(b []byte) (text string, n int, err error) {
	n = 1
	escaped := false
	for ; ; n++ {
		if n >= len(b) {
			return "", 0, errRow
		}
		if b[n] == '\\' {
			escaped = true
			n++
		} else if b[n] == '"' {
			n++
			break
		}
	}
	if !escaped {
		return string(b[1 : n-1]), n, nil
	}
	if err := json.Unmarshal(b[:n], &text); err != nil {
		return "", 0, fmt.Errorf("%w: %w", errRow, err)
	}
	return text, n, nil
}

func parseBytes(b []byte) (text string, n int, err error) {
	end := bytes.IndexByte(b, '}')
	if end < 0 {
		return "", 0, errRow
	}
	var wrapped struct {
		Base64 []byte `json:"base64"`
	}
	if err := json.Unmarshal(b[:end+1], &wrapped); err != nil {
		return "", 0, fmt.Errorf("%w: %w", errRow, err)
	}
	return string(wrapped.Base64), end + 1, nil
}

func parseNumber(b []byte) (v any, n int, err error) {
	n = bytes.IndexAny(b, ",]")
	if n < 0 {
		return nil, 0, errRow
	}
	text := string(b[:n])
	if strings.ContainsAny(text, ".e") {
		v, err = strconv.ParseFloat(text, 64)
	} else {
		v, err = strconv.ParseInt(text, 10, 64)
	}
	if err != nil {
		return nil, 0, fmt.Errorf("%w: %w", errRow, err)
	}
	return v, n, nil
}

// newText reads text and what follows it.
func newText(text []byte, more ...byte) io.Reader {
	return io.MultiReader(bytes.NewReader(text), bytes.NewReader(more))
}
