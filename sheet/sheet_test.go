package sheet

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sereno"
)

// hostile is any text, with a liking for what CSV and spreadsheets trip over.
func hostile() *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		return strings.Join(rapid.SliceOf(rapid.OneOf(
			rapid.String(), rapid.SampledFrom([]string{
				"=", "+", "-", "@", "'", `"`, ",", "\r", "\n", "\r\n", "\t", " ", "\x00", "\xff", "＝", "<b>", "\u2028",
				"=1+1", "-1", "''", `"",`, "null", "\ufeff",
			}),
		)).Draw(t, "parts"), "")
	})
}

func TestWhateverIsWrittenIsReadBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rows := rapid.SliceOfN(rapid.SliceOfN(hostile(), 3, 3), 0, 5).Draw(t, "rows")
		names := []string{"a", "b,c", "d"}
		written := func(f Format) []byte {
			var out bytes.Buffer
			table := New(&out, f, time.UTC)
			table.Begin(names...)
			for _, row := range rows {
				for _, cell := range row {
					table.Text(cell)
				}
				if err := table.End(); err != nil {
					t.Fatal(err)
				}
			}
			if err := table.Finish(); err != nil {
				t.Fatal(err)
			}
			return out.Bytes()
		}

		r := csv.NewReader(bytes.NewReader(written(CSV)))
		r.FieldsPerRecord = len(names)
		got, err := r.ReadAll()
		if err != nil || len(got) != 1+len(rows) {
			t.Fatalf("%d lines (%v) of %q", len(got), err, written(CSV))
		}
		for i, row := range rows {
			for c, want := range row {
				want = strings.ToValidUTF8(want, "\ufffd")
				cell := got[1+i][c]
				if cell != "" && strings.ContainsRune("=+-@\t\r\n＝＋－＠", []rune(cell)[0]) {
					t.Errorf("a spreadsheet would run %q", cell)
				}
				// One apostrophe taken off gives the original; encoding/csv reads
				// CRLF within quotes as LF.
				if got := strings.TrimPrefix(cell, "'"); got != strings.ReplaceAll(want, "\r\n", "\n") {
					t.Errorf("got %q, want %q", cell, want)
				}
			}
		}

		var objects []map[string]string
		if err := json.Unmarshal(written(JSON), &objects); err != nil || len(objects) != len(rows) {
			t.Fatalf("%v in %s", err, written(JSON))
		}
		lines := bytes.Split(bytes.TrimSuffix(written(NDJSON), []byte("\n")), []byte("\n"))
		for i, row := range rows {
			var line map[string]string
			if err := json.Unmarshal(lines[i], &line); err != nil {
				t.Fatalf("%v in %s", err, lines[i])
			}
			for c, want := range row {
				want = strings.ToValidUTF8(want, "\ufffd")
				if objects[i][names[c]] != want || line[names[c]] != want {
					t.Errorf("JSON %q, NDJSON %q, want %q", objects[i][names[c]], line[names[c]], want)
				}
			}
		}
	})
}

func TestMomentsAreWrittenAsTheCalendarWould(t *testing.T) {
	var zones []*time.Location
	for _, name := range []string{"UTC", "Europe/Berlin", "Asia/Kathmandu", "Australia/Lord_Howe", "America/St_Johns"} {
		zone, err := time.LoadLocation(name)
		if err != nil {
			t.Fatal(err)
		}
		zones = append(zones, zone)
	}
	rapid.Check(t, func(t *rapid.T) {
		zone := rapid.SampledFrom(zones).Draw(t, "zone")
		table := New(nil, CSV, zone)
		at := sereno.Instant(rapid.Int64Range(1, 4e15).Draw(t, "first"))
		for range 5 {
			want := at.Time().In(zone).Format("2006-01-02T15:04:05.000000Z07:00")
			if got := string(table.appendMoment(nil, at)); got != want {
				t.Fatalf("%d in %s is %s, want %s", at, zone, got, want)
			}
			at += sereno.Instant(rapid.Int64Range(-90e6, 90e6).Draw(t, "on"))
			at = max(at, 1)
		}
	})
}

func TestNumbersAreExact(t *testing.T) {
	for _, c := range []struct {
		d                     time.Duration
		seconds, milliseconds string
	}{
		{0, "0", "0"},
		{time.Second, "1", "1000"},
		{1500 * time.Microsecond, "0.0015", "1.5"},
		{time.Microsecond, "0.000001", "0.001"},
		{time.Nanosecond, "0", "0.000001"},
		{-time.Millisecond, "-0.001", "-1"},
		{290 * 365 * 24 * time.Hour, "9145440000", "9145440000000"},
	} {
		var out bytes.Buffer
		table := New(&out, CSV, time.UTC)
		table.Seconds(c.d)
		table.Milliseconds(c.d)
		if err := table.Finish(); err != nil || out.String() != c.seconds+","+c.milliseconds {
			t.Errorf("%d ns: %s (%v), want %s,%s", c.d, &out, err, c.seconds, c.milliseconds)
		}
	}
}
