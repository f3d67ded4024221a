package main

import (
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"
)

func TestInert(t *testing.T) {
	for in, want := range map[string]string{
		"core-sw1":        "core-sw1",
		"Gerät 7":         "Gerät 7",
		"a\x1b[2Jb":       `a\x1b[2Jb`,
		"a\r\nb\tc":       `a\x0d\x0ab\x09c`,
		"a\u202eb":        `a\u202eb`,
		"a\u009bb":        `a\u009bb`,
		"\xff\uFFFD":      `\xff` + "\uFFFD",
		"no\u00a0break":   `no\u00a0break`,
		"\U000E0041 tag":  `\ue0041 tag`,
		"printer-2 \x00 ": `printer-2 \x00 `,
	} {
		if got := inert(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func FuzzInert(f *testing.F) {
	f.Add("a\x1b[2J\u202e\xff\n")
	f.Fuzz(func(t *testing.T, s string) {
		got := inert(s)
		if !utf8.ValidString(got) || strings.ContainsFunc(got, func(r rune) bool { return r != ' ' && !unicode.IsPrint(r) }) {
			t.Errorf("%q: got %q", s, got)
		}
		if inert(got) != got {
			t.Errorf("%q: twice is not once", s)
		}
	})
}

func TestTable(t *testing.T) {
	table := &table{columns: []column{{"device", false}, {"ms", true}, {"reason", false}}}
	table.add(cell{"a", plain}, cell{"1.23", good}, cell{"", faint})
	table.add(cell{"Gerät", bad}, cell{"10", plain}, cell{"no reply", plain})
	var b strings.Builder
	if err := table.print(&b); err != nil {
		t.Fatal(err)
	}
	want := "device    ms  reason\na       1.23\nGerät     10  no reply\n"
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
	for _, line := range table.lines(9) {
		if breadth(line) > 9 && !strings.Contains(line, "\x1b") {
			t.Errorf("%q is longer than 9", line)
		}
	}
}

func TestTableLeavesOutWhatNoRowSays(t *testing.T) {
	table := &table{columns: []column{{"device", false}, {"tags", false}, {"ms", true}, {"reason", false}}}
	table.add(cell{"a", plain}, cell{"", plain}, cell{"1.5", plain}, cell{"", faint})
	var b strings.Builder
	if err := table.print(&b); err != nil {
		t.Fatal(err)
	}
	if want := "device  tags   ms\na             1.5\n"; b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}

func TestNumbers(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0.000", 43 * time.Microsecond: "0.043", 1234 * time.Microsecond: "1.23", 12340 * time.Microsecond: "12.3",
		123 * time.Millisecond: "123", 1230 * time.Millisecond: "1230",
	} {
		if got := milliseconds(d); got != want {
			t.Errorf("%v: got %s, want %s", d, got, want)
		}
	}
	for _, c := range []struct {
		part, whole uint64
		want        string
	}{
		{0, 0, "0 %"},
		{0, 10, "0 %"},
		{1, 1_000_000, "<0.01 %"},
		{1, 1000, "0.10 %"},
		{1, 3, "33.3 %"},
		{99_999, 100_000, ">99.9 %"},
		{7, 7, "100 %"},
	} {
		if got := percent(c.part, c.whole); got != c.want {
			t.Errorf("%d of %d: got %s, want %s", c.part, c.whole, got, c.want)
		}
	}
	for in, want := range map[string]string{"1": "1", "999": "999", "1000": "1,000", "16777214": "16,777,214"} {
		if got := grouped(in); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	if got := share(0.999999); got != ">99.999 %" {
		t.Errorf("nearly all reads %s", got)
	}
}

func TestLength(t *testing.T) {
	for in, want := range map[string]time.Duration{"1": time.Second, "0.2": 200 * time.Millisecond, "50ms": 50 * time.Millisecond, "1m": time.Minute} {
		var l length
		if err := l.Set(in); err != nil || time.Duration(l) != want {
			t.Errorf("%s: got %v, %v", in, time.Duration(l), err)
		}
	}
	for _, in := range []string{"", "soon", "-1", "NaN", "1e300", "Inf"} {
		if err := new(length).Set(in); err == nil {
			t.Errorf("%q was taken", in)
		}
	}
}

func TestMoment(t *testing.T) {
	zone := time.FixedZone("east", 2*3600)
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, zone)
	for in, want := range map[string]time.Time{
		"now":                  now,
		"24h":                  now.Add(-24 * time.Hour),
		"7d":                   now.AddDate(0, 0, -7),
		"2026-11-20":           time.Date(2026, 11, 20, 0, 0, 0, 0, zone),
		"2026-11-20 08:30":     time.Date(2026, 11, 20, 8, 30, 0, 0, zone),
		"2026-11-20T08:30:00Z": time.Date(2026, 11, 20, 8, 30, 0, 0, time.UTC),
	} {
		if got, err := parseMoment(in, now); err != nil || !got.Equal(want) {
			t.Errorf("%s: got %v, %v, want %v", in, got, err, want)
		}
	}
	for _, in := range []string{"", "yesterday", "-1d", "7dd", "-24h", "2026-13-01"} {
		if got, err := parseMoment(in, now); err == nil {
			t.Errorf("%q was taken for %v", in, got)
		}
	}
}

func TestTargets(t *testing.T) {
	for _, story := range []struct {
		name string
		list targetList
		args []string
		want []string // nil: refused
	}{
		{"in the order given, once", targetList{}, []string{"10.0.0.2", "10.0.0.1", "10.0.0.2", "::1", "host.example"}, []string{"10.0.0.2", "10.0.0.1", "::1", "host.example"}},
		{"a network without its ends", targetList{}, []string{"10.0.0.5/30"}, []string{"10.0.0.5", "10.0.0.6"}},
		{"a link between two has no ends", targetList{}, []string{"10.0.0.4/31"}, []string{"10.0.0.4", "10.0.0.5"}},
		{"one address", targetList{}, []string{"10.0.0.4/32"}, []string{"10.0.0.4"}},
		{"IPv6 has no broadcast", targetList{}, []string{"fd00::/126"}, []string{"fd00::", "fd00::1", "fd00::2", "fd00::3"}},
		{"an IPv4 address in IPv6 clothes", targetList{}, []string{"::ffff:10.0.0.1", "10.0.0.1"}, []string{"10.0.0.1"}},
		{"standard input", targetList{stdin: strings.NewReader("a # b\n\nc ::1\n")}, []string{"@-"}, []string{"a", "c", "::1"}},
		{"65,536 hosts need no leave", targetList{}, []string{"10.0.0.0/15"}, nil},
		{"only IPv4", targetList{family: onlyIPv4}, []string{"::1"}, nil},
		{"only IPv6", targetList{family: onlyIPv6}, []string{"10.0.0.0/30"}, nil},
		{"a network of groups", targetList{}, []string{"224.0.0.0/24"}, nil},
	} {
		t.Run(story.name, func(t *testing.T) {
			if story.list.family == "" {
				story.list.family = anyFamily
			}
			err := story.list.collect(story.args)
			if (err != nil) != (story.want == nil) {
				t.Fatalf("got %v", err)
			}
			var got []string
			for i := range story.list.hosts {
				got = append(got, story.list.hosts[i].String())
			}
			if err == nil && !slices.Equal(got, story.want) {
				t.Errorf("got %v, want %v", got, story.want)
			}
		})
	}
}

func TestLargePrefixes(t *testing.T) {
	collect := func(yes bool, prefix string) (int, error) {
		l := targetList{family: anyFamily, yes: yes}
		err := l.collect([]string{prefix})
		return len(l.hosts), err
	}
	if n, err := collect(false, "10.0.0.0/16"); n != 65_534 || err != nil {
		t.Errorf("a /16: %d hosts, %v", n, err)
	}
	if _, err := collect(false, "10.0.0.0/15"); err == nil || err.Error() != "10.0.0.0/15 has 131,070 hosts; add --yes if you mean it" {
		t.Errorf("a /15: %v", err)
	}
	if n, err := collect(true, "10.0.0.0/15"); n != 131_070 || err != nil {
		t.Errorf("a /15, meant: %d hosts, %v", n, err)
	}
	if _, err := collect(true, "fd00::/64"); err == nil {
		t.Error("2^64 hosts were taken")
	}
}
