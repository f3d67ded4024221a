package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"sereno"
	"sereno/probe"
)

// echo is a kind with one setting of its own.
type echo struct{}

func (echo) Name() string { return "icmp" }

func (echo) Validate(settings json.RawMessage) error {
	var s struct{ Size int }
	d := json.NewDecoder(strings.NewReader(string(settings)))
	d.DisallowUnknownFields()
	if err := d.Decode(&s); err != nil {
		return err
	}
	if s.Size < 0 || s.Size > 65000 {
		return &sereno.Error{Kind: sereno.Invalid, Field: "size", Text: fmt.Sprintf("size is 0 to 65000 bytes, not %d", s.Size)}
	}
	return nil
}

func (echo) Target(sereno.CheckID, netip.Addr, time.Duration, json.RawMessage) (probe.Target, error) {
	return nil, nil
}

var kinds = []probe.Kind{echo{}}

const sound = `
listen: 127.0.0.1:0
data: ./data
defaults: {interval: 1s, timeout: 1s, fall: 3, rise: 2}
witnesses: [10.0.0.254]              # besides the default gateways
devices:
  - name: core-sw1
    address: 10.0.0.1                # or a host name
    importance: critical             # critical, high, medium (default), low
    tags: [site:plant1, rack:3]
  - name: printer-2
    address: 10.0.7.12
    parents: [core-sw1]
    checks:                          # left out: one icmp check with the defaults
      - icmp: {interval: 10s, rtt_above: 50ms, loss_above: 5%, loss_window: 60s}
      - icmp: {name: large, size: 1400, interval: 200ms}
max_pps: 5000
`

func TestParse(t *testing.T) {
	got, err := Parse("sereno.yaml", []byte(sound), kinds, nil)
	if err != nil {
		t.Fatal(err)
	}
	slow := sereno.DefaultPolicy
	slow.Interval, slow.RTTAbove, slow.LossAbove = 10*time.Second, 50*time.Millisecond, 0.05
	large := sereno.DefaultPolicy
	large.Interval, large.Timeout = 200*time.Millisecond, 200*time.Millisecond // the inherited timeout shrinks
	want := Default()
	want.Listen = "127.0.0.1:0"
	want.MaxPPS = 5000
	want.Witnesses = []netip.Addr{netip.MustParseAddr("10.0.0.254")}
	want.Devices = []sereno.Device{
		{
			Name: "core-sw1", Address: "10.0.0.1", Importance: sereno.Critical, FromFile: true,
			Tags:   []string{"rack:3", "site:plant1"},
			Checks: []sereno.Check{{Name: "icmp", Kind: "icmp", Policy: sereno.DefaultPolicy}},
		},
		{
			Name: "printer-2", Address: "10.0.7.12", FromFile: true, Parents: []string{"core-sw1"},
			Checks: []sereno.Check{
				{Name: "icmp", Kind: "icmp", Policy: slow},
				{Name: "large", Kind: "icmp", Policy: large, Settings: json.RawMessage(`{"size":1400}`)},
			},
		},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%+v\nwant\n%+v", got, want)
	}
}

func TestEmptyFileIsTheDefault(t *testing.T) {
	for _, text := range []string{"", "\n", "# nothing yet\n", "---\n", "devices: []\n"} {
		got, err := Parse("f", []byte(text), kinds, nil)
		if err != nil {
			t.Errorf("%q: %v", text, err)
		} else if got.Listen != Default().Listen || len(got.Devices) != 0 {
			t.Errorf("%q: got %+v", text, got)
		}
	}
}

func TestMistakes(t *testing.T) {
	for _, story := range []struct{ name, text, want string }{
		{"a mistyped key", "lisen: x\n", `f:1: there is no key "lisen" in the file; did you mean "listen"?`},
		{
			"a key that resembles none", "devices:\n- {name: a, address: ::1, colour: red}\n",
			`f:2: there is no key "colour" in a device; there are name, address, importance, tags, parents, paused, checks`,
		},
		{"a key given twice", "data: a\nlisten: 127.0.0.1:1\ndata: b\n", `f:3: "data" is given twice in the file; the first is on line 1`},
		{"a key without a value", "data:\n", `f:1: data has no value; give it one or leave it out`},
		{"not a mapping", "- a\n", `f:1: the file is a mapping of keys to values, not a list`},
		{"a list that is none", "devices:\n- {name: a, address: ::1, tags: red}\n", `f:2: tags is a list, not "red"; write [a, b], or each on a line of its own after a hyphen`},
		{"a text that is none", "data: [a]\n", `f:1: data is text, not a list`},
		{"neither true nor false", "insecure_listen: yes\n", `f:1: insecure_listen is true or false, not "yes"`},
		{"not a number", "max_pps: many\n", `f:1: max_pps is a whole number, not "many"`},
		{"a number in quotes", "max_pps: \"12\"\n", `f:1: max_pps is a whole number, not "12"`},
		{"below zero", "max_pps: -1\n", `f:1: max_pps is a number of packets a second, or 0 for no limit, not -1`},
		{"no unit", "alive_interval: 5\n", `f:1: alive_interval: "5" has no unit; write 5s, or 5ms`},
		{"no length of time", "clock_patience: soon\n", `f:1: clock_patience: "soon" is no length of time such as 500ms, 10s, 5m or 30d`},
		{"days are whole", "clock_patience: 1.5d\n", `f:1: clock_patience: "1.5d" is no length of time such as 500ms, 10s, 5m or 30d`},
		{"no size", "samples: {size: large}\n", `f:1: size: "large" is no size such as 500MB or 10GB`},
		{"a size without a unit", "samples: {size: 10}\n", `f:1: size: "10" has no unit; write 10MB, or 10GB`},
		{"too small a reserve", "reserve: 10kB\n", `f:1: reserve is 1MB to 10GB, or 0 for none, not 10kB`},
		{"no spool", "spool: 0\n", `f:1: spool is at least 1MB, not 0`},
		{"too small a size", "samples: {size: 10kB}\n", `f:1: samples.size is at least 100MB, or 0 for no limit, not 10kB`},
		{"too short a retention", "samples: {retention: 5m}\n", `f:1: samples.retention is 1h0m0s to 87600h0m0s, not 5m0s`},
		{"a key of samples that there is not", "samples: {retain: 7d}\n", `f:1: there is no key "retain" in samples; there are off, retention, size, rollups, out_of_order`},
		{"out of range", "isolation_hold: 2m\n", `f:1: isolation_hold is 0s to 1m0s, not 2m0s`},
		{"nowhere to listen", "listen: localhost\n", `f:1: listen is an address and a port such as 127.0.0.1:8080, not "localhost"`},
		{"no port", "listen: 127.0.0.1:http\n", `f:1: the port to listen on is a number from 0 to 65535, not "http"`},
		{
			"witnesses that are names or groups", "witnesses:\n  - gateway\n", `f:2: a witness is an IP address, so that it needs no resolver; "gateway" is none`,
		},
		{"a witness that is no host", "witnesses:\n  - 10.0.0.1\n  - 224.0.0.1\n", `f:3: a witness is one host: 224.0.0.1 is a multicast group, not one host`},
		{
			"bad defaults are told once, not for each check",
			"defaults:\n  interval: 50ms\n  fall: 0\ndevices:\n- {name: a, address: ::1}\n- {name: b, address: ::1}\n",
			"f:2: an interval is 100ms to 24h, not 50ms\nf:3: fall is 1 to 100 looks in a row, not 0",
		},
		{
			"all at once, by line",
			`devices:
  - name: a
    address: 10.0.0.256
    importance: vital
    checks:
      - icmp:
          interval: 50ms
          fall: 101
          intervall: 1s
      - icmp: {loss_above: "5", name: other}
  - address: 10.0.0.2
    parents: [b]
  - name: a
    address: ::1
    checks: []
    parents:
      - aa
      - b
lisen: 127.0.0.1:8080
`,
			`f:3: "10.0.0.256" is neither an IP address nor a host name: an IPv4 address has four numbers from 0 to 255 without leading zeros
f:4: importance is critical, high, medium or low, not "vital"
f:7: an interval is 100ms to 24h, not 50ms
f:8: fall is 1 to 100 looks in a row, not 101
f:9: icmp: json: unknown field "intervall"; did you mean "interval"?
f:10: loss_above is a percentage such as 5%, not "5"
f:11: a device's name is missing
f:12: there is no device called "b"; did you mean "a"?
f:13: "a" is the name of device 1 already; names are given once
f:15: there are 0 checks; a device has 1 to 100
f:17: there is no device called "aa"; did you mean "a"?
f:18: there is no device called "b"; did you mean "a"?
f:19: there is no key "lisen" in the file; did you mean "listen"?`,
		},
		{
			"one mistake hides no other",
			"listen: nowhere\nmax_pps: many\ndefaults:\n  fall: 0\n  rise: x\ndevices:\n- name: [a]\n- adress: ::1\n  name: \"\"\n- nothing\n",
			`f:1: listen is an address and a port such as 127.0.0.1:8080, not "nowhere"
f:2: max_pps is a whole number, not "many"
f:4: fall is 1 to 100 looks in a row, not 0
f:5: rise is a whole number, not "x"
f:7: name is text, not a list
f:7: an address is missing
f:8: there is no key "adress" in a device; did you mean "address"?
f:9: a device's name is missing
f:10: a device is a mapping of keys to values, not "nothing"`,
		},
		{
			"what is measured by a mistake is not judged", "devices:\n- {name: a, address: ::1, checks: [icmp: {interval: 10, timeout: 5s}]}\n",
			`f:2: interval: "10" has no unit; write 10s, or 10ms`,
		},
		{
			"a circle of parents",
			"devices:\n  - {name: a, address: ::1, parents: [b]}\n  - name: b\n    address: ::1\n    parents: [a]\n",
			`f:2: the parents go in a circle: a → b → a`,
		},
		{
			"a written timeout is judged, an inherited one shrinks",
			"devices:\n  - name: a\n    address: ::1\n    checks:\n      - icmp: {interval: 500ms}\n      - icmp:\n          name: b\n          interval: 500ms\n          timeout: 1s\n",
			`f:9: a timeout is at most as long as the interval: 1s is more than 500ms`,
		},
		{
			"a loss window of too many looks",
			"devices:\n  - name: a\n    address: ::1\n    checks:\n      - icmp:\n          loss_window: 17m\n",
			`f:6: a loss_window is at most 1,000 looks long: with an interval of 1s that is 16m40s, not 17m0s`,
		},
		{
			"no loss at all is not a threshold", "devices:\n  - {name: a, address: ::1, checks: [icmp: {loss_above: 0%}]}\n",
			`f:2: loss_above is above 0% (leave it out for never), not "0%"`,
		},
		{
			"an unknown kind", "devices:\n  - {name: a, address: ::1, checks: [ping: {}]}\n",
			`f:2: there is no kind of check called "ping"; there is icmp`,
		},
		{
			"two kinds in one check", "devices:\n  - {name: a, address: ::1, checks: [{icmp: {}, tcp: {}}]}\n",
			`f:2: a check is one kind with its settings, such as icmp: {interval: 10s}`,
		},
		{
			"two checks of one name", "devices:\n  - name: a\n    address: ::1\n    checks:\n      - icmp\n      - icmp:\n",
			`f:6: this device has a check called "icmp" already; give one of them another name`,
		},
		{
			"a setting that its kind refuses", "devices:\n  - name: a\n    address: ::1\n    checks:\n      - icmp:\n          interval: 1s\n          size: 70000\n",
			`f:7: icmp: size is 0 to 65000 bytes, not 70000`,
		},
		{
			"the second tag, though tags are sorted", "devices:\n  - name: a\n    address: ::1\n    tags:\n      - z\n      - \"a\\n\"\n",
			`f:6: a tag has no control characters or odd spaces, and "a\n" has`,
		},
		{"not YAML", "listen: x\ndata: [a\n", `f:3: this is not YAML: did not find expected ',' or ']' while parsing a flow sequence`},
		{"two documents", "data: a\n---\ndata: b\n", `f:2: this is not YAML: a second document begins, and a configuration is one`},
	} {
		t.Run(story.name, func(t *testing.T) {
			_, err := Parse("f", []byte(story.text), kinds, nil)
			if err == nil {
				t.Fatal("no mistake was found")
			}
			if err.Error() != story.want {
				t.Errorf("got\n%s\nwant\n%s", err, story.want)
			}
		})
	}
}

func TestManyMistakesStayReadable(t *testing.T) {
	var text strings.Builder
	for i := range 150 {
		fmt.Fprintf(&text, "bad%d: 1\n", i)
	}
	_, err := Parse("f", []byte(text.String()), kinds, nil)
	lines := strings.Split(err.Error(), "\n")
	if len(lines) != 101 || lines[100] != "… and 50 more" {
		t.Errorf("got %d lines, the last %q", len(lines), lines[len(lines)-1])
	}
}

func TestAnchorsAreShared(t *testing.T) {
	c, err := Parse("f", []byte("devices:\n- {name: a, address: ::1, tags: &t [x, y], checks: &c [icmp: {interval: 3s}]}\n- {name: b, address: ::1, tags: *t, checks: *c}\n"), kinds, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Devices[1]; got.Checks[0].Policy.Interval != 3*time.Second || len(got.Tags) != 2 {
		t.Errorf("got %+v", got)
	}
}

func TestLoadMissing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "none.yaml")
	if _, err := Load(path, kinds, nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want that there is no such file", err)
	}
}

func TestEnvironBeatsFile(t *testing.T) {
	c, err := Parse("f", []byte(sound), kinds, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Environ([]string{"SERENO_DATA=/elsewhere", "SERENO_WITNESSES=10.0.0.1,::1", "SERENO_ALIVE_INTERVAL=7s", "DATA=no", "SERENO_LISTEN="}); err != nil {
		t.Fatal(err)
	}
	if c.Data != "/elsewhere" || len(c.Witnesses) != 2 || c.AliveInterval != 7*time.Second || c.Listen != "127.0.0.1:0" || c.MaxPPS != 5000 {
		t.Errorf("got %+v", c)
	}
}

func TestEnvironMistakes(t *testing.T) {
	for environ, want := range map[string]string{
		"SERENO_SAMPLES_SIZE=5":       `SERENO_SAMPLES_SIZE: "5" has no unit; write 5MB, or 5GB`,
		"SERENO_SAMPLES_RETENTION=1s": `SERENO_SAMPLES_RETENTION: samples.retention is 1h0m0s to 87600h0m0s, not 1s`,
		"SERENO_MAX_PPS=many":         `SERENO_MAX_PPS is a whole number`,
		"SERENO_MAX_PPS=-2":           `SERENO_MAX_PPS: max_pps is a number of packets a second, or 0 for no limit, not -2`,
		"SERENO_INSECURE_LISTEN=oui":  `SERENO_INSECURE_LISTEN is true or false`,
		"SERENO_ALIVE_INTERVAL=5":     `SERENO_ALIVE_INTERVAL: "5" has no unit; write 5s, or 5ms`,
		"SERENO_LISTEN=8080":          `SERENO_LISTEN: listen is an address and a port such as 127.0.0.1:8080, not "8080"`,
		"SERENO_WITNESSES=gw":         `SERENO_WITNESSES is a list of IP addresses such as 10.0.0.1,10.0.0.2`,
	} {
		if err := Default().Environ([]string{environ}); err == nil || err.Error() != want {
			t.Errorf("%s: got\n%v\nwant\n%s", environ, err, want)
		}
	}
}

// large is a file of n devices. plain ones have a name and an address; the
// others have all keys.
func large(n int, plain bool) []byte {
	var b strings.Builder
	b.WriteString("listen: 127.0.0.1:8080\ndevices:\n")
	for i := range n {
		fmt.Fprintf(&b, "  - name: host-%d\n    address: 10.%d.%d.%d\n", i, i>>16, i>>8&255, i&255)
		if !plain {
			fmt.Fprintf(&b, "    importance: high\n    tags: [site:plant%d, rack:%d]\n    parents: [host-%d]\n    checks:\n      - icmp: {interval: 10s, rtt_above: 50ms, loss_above: 5%%}\n", i%7, i%40, max(i, 1)/10)
		}
	}
	if !plain {
		return []byte(strings.Replace(b.String(), "    parents: [host-0]\n", "", 1) + "data: /srv\n")
	}
	return []byte(b.String() + "data: /srv\n")
}

func TestLargeFile(t *testing.T) {
	text := string(large(5000, false))
	c, err := Parse("f", []byte(text), kinds, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Devices) != 5000 || c.Data != "/srv" || c.Devices[4999].Name != "host-4999" || c.Devices[4999].Checks[0].Policy.Interval != 10*time.Second {
		t.Fatalf("got %d devices, data %q, the last %+v", len(c.Devices), c.Data, c.Devices[len(c.Devices)-1])
	}
	text = strings.Replace(text, "address: 10.0.19.135\n", "address: 10.0.19.935\n", 1) // host-4999
	text = strings.Replace(text, "name: host-2500\n", "nam: host-2500\n", 1)
	text = strings.Replace(text, "data:", "dat:", 1)
	line := func(of string) int { return 1 + strings.Count(text[:strings.Index(text, of)], "\n") }
	_, err = Parse("f", []byte(text), kinds, nil)
	want := fmt.Sprintf("f:%d: there is no key %q in a device; did you mean %q?\n", line("nam: host-2500"), "nam", "name")
	if !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got\n%.500s\nwant it to begin\n%s", err, want)
	}
	for _, want := range []string{
		fmt.Sprintf("f:%d: \"10.0.19.935\" is neither an IP address nor a host name: ", line("address: 10.0.19.935")),
		fmt.Sprintf("f:%d: there is no key %q in the file; did you mean %q?", line("dat:"), "dat", "data"),
	} {
		if list := "\n" + errorsOf(err) + "\n"; !strings.Contains(list, "\n"+want) {
			t.Errorf("%q is missing", want)
		}
	}
}

func errorsOf(err error) string {
	var b strings.Builder
	mistakes, _ := errors.AsType[Errors](err)
	for _, m := range mistakes {
		fmt.Fprintln(&b, m)
	}
	return b.String()
}

// A file means the same whether it is parsed whole or in chunks.
func FuzzParse(f *testing.F) {
	f.Add([]byte(sound))
	f.Add(large(9, true))
	f.Add(large(9, false))
	f.Add([]byte("devices:\n- name: a\n  address: ::1\n- name: \"b\n- name: c\"\n  address: x\nx: 1\n"))
	f.Add([]byte("devices:\n  - &a\n    name: a\n    tags: [a,\n  - b]\n  - *a\n"))
	f.Add([]byte("devices:\n  - name: |\n      a\n    address: >\n      b\n\n  - name: c\n\tx: 2\n"))
	f.Add([]byte("data: \"\ndevices:\n - name: a\n - name: b\n\"\n"))
	f.Add([]byte("devices:\n - a\n#\n - b\n- c\nlisten: x\n...\n"))
	f.Add([]byte("%YAML 1.1\n---\ndevices:\n  - {name: !x a}\n  - name: !!binary aGk=\n"))
	f.Add([]byte("devices:\n  - checks:\n    - icmp: &s {size: 1, x: {1: 2, ? [a] : b}}\n    - icmp: *s\n  - checks: &c [*c]\n"))
	f.Add([]byte("channels:\n  - {name: a, caller: {token: x, headers: {b: *c}}}\n  - name: b\n    program: &p {token: !x y, to: [1, 2.5, true, ~]}\npolicies:\n  - {name: p, steps: [{after: 5m, channels: [a, a, c]}, x], quiet: [{from: 1}], raise: [{}]}\ndevices:\n  - name: a\n  - name: b\nsilences: [{name: s, match: own, until: 2026-01-01}]\ntemplates: {opened: {title: \"{{#x\"}}\nzone: x\nmaintenance: [{length: 2h}, &m {rrule: x}, *m]\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		whole, wholeErr := parse("f", text, kinds, callers, len(text)+1)
		parts, partsErr := parse("f", text, kinds, callers, 1)
		if fmt.Sprint(wholeErr) != fmt.Sprint(partsErr) {
			t.Fatalf("whole: %v\nin chunks: %v", wholeErr, partsErr)
		}
		if !reflect.DeepEqual(whole, parts) {
			t.Fatalf("whole: %+v\nin chunks: %+v", whole, parts)
		}
		if wholeErr != nil {
			lines := 1 + strings.Count(strings.NewReplacer("\r", "\n", "\u0085", "\n", "\u2028", "\n", "\u2029", "\n").Replace(string(text)), "\n")
			mistakes, _ := errors.AsType[Errors](wholeErr)
			for _, m := range mistakes {
				if m.Line < 1 || m.Line > lines+1 {
					t.Errorf("%v: there are %d lines", m, lines)
				}
			}
		}
	})
}

func benchmarkParse(b *testing.B, plain bool, size int) {
	text := large(100_000, plain)
	b.ReportAllocs()
	for b.Loop() {
		c, err := parse("f", text, kinds, nil, size)
		if err != nil || len(c.Devices) != 100_000 {
			b.Fatal(err)
		}
	}
}

func BenchmarkParsePlain(b *testing.B) { benchmarkParse(b, true, chunkSize) }
func BenchmarkParseFull(b *testing.B)  { benchmarkParse(b, false, chunkSize) }
func BenchmarkParseWhole(b *testing.B) { benchmarkParse(b, false, 1<<30) }

func TestSizes(t *testing.T) {
	for text, want := range map[string]Bytes{
		"0": 0, "500MB": 5e8, "1.5 GB": 15e8, "10gb": 1e10, "2GiB": 2 << 30, "64MiB": 64 << 20, "1kb": 1000, "7B": 7, "1TB": 1e12, "1TiB": 1 << 40,
	} {
		var got Bytes
		if err := got.UnmarshalText([]byte(text)); err != nil || got != want {
			t.Errorf("%s is %d (%v)", text, got, err)
		}
	}
	for _, text := range []string{"", "-5MB", "MB", "5 apples", "1e30TB", "NaNMB"} {
		var got Bytes
		if err := got.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is taken for %d bytes", text, got)
		}
	}
	for b, want := range map[Bytes]string{0: "0", 10_000: "10kB", 1_500_000_000: "1.5GB", 100_000_000: "100MB"} {
		if b.String() != want {
			t.Errorf("%d is written %s", int64(b), b)
		}
	}
}
