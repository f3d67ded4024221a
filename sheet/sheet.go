// Package sheet writes one table, cell by cell, as CSV, JSON or NDJSON.
package sheet

import (
	"bytes"
	"encoding/json"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"sereno"
)

// A Format is how a table is written.
//
// CSV is that of RFC 4180: a line of headings, CRLF, a cell in quotes where it
// must be, UTF-8 without a byte-order mark. What is not known is an empty cell.
// Spreadsheets take a cell that begins with = + - @ (or a control character)
// for a formula and would run it, and the names of devices come from
// elsewhere: such a text, and one that begins with an apostrophe, gets one
// apostrophe in front of it. Numbers and times are never texts in this sense.
//
// JSON and NDJSON have every text as it is, and null for what is not known.
type Format uint8

const (
	CSV    Format = iota // RFC 4180
	JSON                 // one array of objects
	NDJSON               // one object a line
)

var formats = [...]string{"csv", "json", "ndjson"}

func (f Format) String() string { return formats[f] }

// ParseFormat reads the name of a Format.
func ParseFormat(name string) (Format, error) {
	if i := slices.Index(formats[:], name); i >= 0 {
		return Format(i), nil
	}
	return 0, sereno.Errorf(sereno.Invalid, "there is no format %q, only csv, json and ndjson", name)
}

// ContentType is the media type of a Format.
func (f Format) ContentType() string {
	return [...]string{"text/csv; charset=utf-8; header=present", "application/json", "application/x-ndjson"}[f]
}

// A Table is written cell by cell, in the order of its columns.
type Table struct {
	rows int64

	w       io.Writer
	format  Format
	columns []string // the name of each, as it is written before its value
	next    int
	buf     []byte
	failed  error

	zone   *time.Location
	minute sereno.Instant // of which prefix and suffix are
	prefix []byte         // "2026-11-21T08:30:"
	suffix []byte         // "Z" or "+01:00"
}

// flushAt is how many bytes are gathered before they are given on.
const flushAt = 64 << 10

// New begins a table that is written to w; times are written in zone.
func New(w io.Writer, format Format, zone *time.Location) *Table {
	return &Table{w: w, format: format, zone: zone, minute: -1, buf: make([]byte, 0, flushAt+flushAt/4)}
}

// Rows returns how many rows there are so far.
func (t *Table) Rows() int64 { return t.rows }

// Begin names the columns.
func (t *Table) Begin(columns ...string) {
	if t.format == CSV {
		for i, name := range columns {
			if i > 0 {
				t.buf = append(t.buf, ',')
			}
			t.buf = appendCSV(t.buf, name)
		}
		t.buf = append(t.buf, "\r\n"...)
		return
	}
	t.columns = make([]string, len(columns))
	for i, name := range columns {
		t.columns[i] = string(append(appendJSON(nil, name), ':'))
	}
}

// cell begins the next cell.
func (t *Table) cell() {
	if t.format != CSV {
		t.key()
	} else if t.next > 0 {
		t.buf = append(t.buf, ',')
	}
	t.next++
}

// key writes the name of the next cell, and what stands before it.
func (t *Table) key() {
	switch {
	case t.next > 0:
		t.buf = append(t.buf, ',')
	case t.format == JSON && t.rows > 0:
		t.buf = append(t.buf, ",\n{"...)
	case t.format == JSON:
		t.buf = append(t.buf, "[\n{"...)
	default:
		t.buf = append(t.buf, '{')
	}
	t.buf = append(t.buf, t.columns[t.next]...)
}

// Text writes a text that may come from anywhere.
func (t *Table) Text(s string) {
	t.cell()
	if t.format == CSV {
		t.buf = appendCSV(t.buf, s)
	} else {
		t.buf = appendJSON(t.buf, s)
	}
}

// TextOrNull writes a text, of which "" is none.
func (t *Table) TextOrNull(s string) {
	if s == "" {
		t.Null()
		return
	}
	t.Text(s)
}

// Word writes a text of our own, which needs no care.
func (t *Table) Word(s string) {
	t.cell()
	if t.format == CSV {
		t.buf = append(t.buf, s...)
		return
	}
	t.buf = append(t.buf, '"')
	t.buf = append(t.buf, s...)
	t.buf = append(t.buf, '"')
}

// Integer writes a whole number.
func (t *Table) Integer(n int64) {
	t.cell()
	t.buf = strconv.AppendInt(t.buf, n, 10)
}

// Number writes a number to its last digit.
func (t *Table) Number(f float64) {
	t.cell()
	t.buf = strconv.AppendFloat(t.buf, f, 'f', -1, 64)
}

// IDOrNull writes an identity, of which 0 is none.
func (t *Table) IDOrNull(n int64) {
	if n == 0 {
		t.Null()
		return
	}
	t.Integer(n)
}

// Truth writes true or false.
func (t *Table) Truth(b bool) {
	t.cell()
	t.buf = strconv.AppendBool(t.buf, b)
}

// Seconds writes a length of time, exactly.
func (t *Table) Seconds(d time.Duration) {
	t.cell()
	t.buf = AppendSeconds(t.buf, d)
}

// Milliseconds writes a length of time, exactly.
func (t *Table) Milliseconds(d time.Duration) {
	t.cell()
	t.buf = appendFixed(t.buf, int64(d), 1_000_000)
}

// Null writes that nothing is known.
func (t *Table) Null() {
	t.cell()
	if t.format != CSV {
		t.buf = append(t.buf, "null"...)
	}
}

// LeaveOut leaves a cell empty, and its key out of an object. It is not for the
// first of a row.
func (t *Table) LeaveOut() {
	if t.format == CSV {
		t.cell()
		return
	}
	t.next++
}

// Moment writes a time; that of "never" is not known.
func (t *Table) Moment(i sereno.Instant) {
	if i == 0 {
		t.Null()
		return
	}
	t.cell()
	if t.format != CSV {
		t.buf = append(t.buf, '"')
	}
	t.buf = t.appendMoment(t.buf, i)
	if t.format != CSV {
		t.buf = append(t.buf, '"')
	}
}

const minuteLong = sereno.Instant(time.Minute / time.Microsecond)

// appendMoment writes RFC 3339 with six decimals. Most of it is the same for a
// minute, and calendars are slow.
func (t *Table) appendMoment(b []byte, i sereno.Instant) []byte {
	within := i % minuteLong
	if within < 0 {
		within += minuteLong
	}
	if i-within != t.minute || t.prefix == nil {
		at := (i - within).Time().In(t.zone)
		t.minute = i - within
		t.prefix = at.AppendFormat(t.prefix[:0], "2006-01-02T15:04:")
		t.suffix = at.AppendFormat(t.suffix[:0], "Z07:00")
	}
	b = append(b, t.prefix...)
	s, us := within/1e6, within%1e6
	b = append(b, byte('0'+s/10), byte('0'+s%10), '.')
	for unit := sereno.Instant(100_000); unit > 0; unit /= 10 {
		b = append(b, byte('0'+us/unit%10))
	}
	return append(b, t.suffix...)
}

// End ends a row, and gives on what has gathered.
func (t *Table) End() error {
	if t.format == CSV {
		t.buf = append(t.buf, "\r\n"...)
	} else {
		t.buf = append(t.buf, '}')
		if t.format == NDJSON {
			t.buf = append(t.buf, '\n')
		}
	}
	t.next = 0
	t.rows++
	if len(t.buf) < flushAt {
		return nil
	}
	return t.flush()
}

func (t *Table) flush() error {
	if t.failed == nil {
		_, t.failed = t.w.Write(t.buf)
	}
	t.buf = t.buf[:0]
	return t.failed
}

// Finish ends the table.
func (t *Table) Finish() error {
	if t.format == JSON {
		if t.rows == 0 {
			t.buf = append(t.buf, '[')
		}
		t.buf = append(t.buf, "\n]\n"...)
	}
	return t.flush()
}

// AppendSeconds appends a length of time as a number of seconds, exact to the
// microsecond, with as many decimals as there are.
func AppendSeconds(b []byte, d time.Duration) []byte {
	return appendFixed(b, int64(d/time.Microsecond), 1_000_000)
}

// appendFixed writes n/unit with as many decimals as there are. unit is a power
// of ten.
func appendFixed(b []byte, n, unit int64) []byte {
	if n < 0 {
		b, n = append(b, '-'), -n
	}
	b = strconv.AppendInt(b, n/unit, 10)
	if n %= unit; n == 0 {
		return b
	}
	b = append(b, '.')
	for unit /= 10; n > 0; unit /= 10 {
		b = append(b, byte('0'+n/unit))
		n %= unit
	}
	return b
}

// appendCSV writes a text as a cell.
func appendCSV(b []byte, s string) []byte {
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, string(utf8.RuneError))
	}
	if formula(s) {
		s = "'" + s
	}
	if !strings.ContainsAny(s, "\",\r\n") && !strings.HasPrefix(s, " ") && !strings.HasSuffix(s, " ") {
		return append(b, s...)
	}
	b = append(b, '"')
	for i := range len(s) {
		if s[i] == '"' {
			b = append(b, '"')
		}
		b = append(b, s[i])
	}
	return append(b, '"')
}

// formula reports whether a spreadsheet might take s for more than a text, in
// ASCII or in the wide forms that some of them read likewise, or whether s
// could be mistaken for what was made harmless.
func formula(s string) bool {
	r, _ := utf8.DecodeRuneInString(s)
	switch r {
	case '=', '+', '-', '@', '\t', '\r', '\n', '\'', '＝', '＋', '－', '＠':
		return s != ""
	}
	return false
}

// appendJSON writes a text as a JSON string.
func appendJSON(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			return appendEscaped(b, s)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

func appendEscaped(b []byte, s string) []byte {
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	if err := e.Encode(strings.ToValidUTF8(s, string(utf8.RuneError))); err != nil {
		panic(err) // a string always encodes
	}
	return append(b, bytes.TrimSuffix(text.Bytes(), []byte("\n"))...)
}
