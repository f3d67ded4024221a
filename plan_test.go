package sereno

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func planned(name string, parents ...string) Device {
	return Device{
		Name: name, Address: "10.0.0.1", Parents: parents,
		Checks: []Check{{Name: "icmp", Kind: "icmp", Policy: DefaultPolicy}},
	}
}

func with(d Device, change func(*Device)) Device {
	change(&d)
	return d
}

func policy(change func(*Policy)) Device {
	return with(planned("a"), func(d *Device) { change(&d.Checks[0].Policy) })
}

func TestValidateDevices(t *testing.T) {
	for _, story := range []struct {
		name    string
		devices []Device
		want    []string
	}{
		{"a sound plan", []Device{planned("core"), planned("a", "core"), planned("b", "a", "core")}, nil},
		{
			"all mistakes at once, in the order of the devices",
			[]Device{
				with(planned("a", "gone"), func(d *Device) { d.Address = "10.0.0.300" }),
				with(planned(""), func(d *Device) { d.Tags = []string{"rack:1", "rack\n2"} }),
				planned("a"),
			},
			[]string{
				`devices[0].address: "10.0.0.300" is neither an IP address nor a host name: an IPv4 address has four numbers from 0 to 255 without leading zeros`,
				`devices[0].parents[0]: there is no device called "gone"`,
				`devices[1].name: a device's name is missing`,
				`devices[1].tags[1]: a tag has no control characters or odd spaces, and "rack\n2" has`,
				`devices[2].name: "a" is the name of device 1 already; names are given once`,
			},
		},
		{
			"a mistyped parent is guessed",
			[]Device{planned("core-sw1"), planned("Printer"), planned("x", "cor-sw1", "printer", "router")},
			[]string{
				`devices[2].parents[0]: there is no device called "cor-sw1"; did you mean "core-sw1"?`,
				`devices[2].parents[1]: there is no device called "printer"; did you mean "Printer"?`,
				`devices[2].parents[2]: there is no device called "router"`,
			},
		},
		{
			"its own parent",
			[]Device{planned("a", "a")},
			[]string{`devices[0].parents[0]: the parents go in a circle: a → a`},
		},
		{
			"a circle is told once, from its first device, whichever way one enters it",
			[]Device{planned("in", "c"), planned("a", "b"), planned("b", "c"), planned("c", "a")},
			[]string{`devices[1].parents[0]: the parents go in a circle: a → b → c → a`},
		},
		{
			"two circles",
			[]Device{planned("a", "b"), planned("b", "a"), planned("c", "d"), planned("d", "c")},
			[]string{
				`devices[0].parents[0]: the parents go in a circle: a → b → a`,
				`devices[2].parents[0]: the parents go in a circle: c → d → c`,
			},
		},
		{"two ways to one ancestor are no circle", []Device{planned("top"), planned("l", "top"), planned("r", "top"), planned("x", "l", "r")}, nil},
		{"the same parent twice", []Device{planned("a"), planned("b", "a", "a")}, []string{`devices[1].parents[1]: the parent "a" is given twice`}},
		{
			"no checks",
			[]Device{with(planned("a"), func(d *Device) { d.Checks = nil })},
			[]string{`devices[0].checks: there are 0 checks; a device has 1 to 100`},
		},
		{
			"two checks of one name",
			[]Device{with(planned("a"), func(d *Device) { d.Checks = append(d.Checks, d.Checks[0]) })},
			[]string{`devices[0].checks[1].name: this device has a check called "icmp" already; give one of them another name`},
		},
		{
			"an interval under 100 ms",
			[]Device{policy(func(p *Policy) { p.Interval = 99 * time.Millisecond })},
			[]string{`devices[0].checks[0].interval: an interval is 100ms to 24h, not 99ms`},
		},
		{
			"a timeout above the interval",
			[]Device{policy(func(p *Policy) { p.Timeout = 2 * time.Second })},
			[]string{`devices[0].checks[0].timeout: a timeout is at most as long as the interval: 2s is more than 1s`},
		},
		{
			"proof out of range",
			[]Device{policy(func(p *Policy) { p.Fall, p.Rise = 0, 101 })},
			[]string{
				`devices[0].checks[0].fall: fall is 1 to 100 looks in a row, not 0`,
				`devices[0].checks[0].rise: rise is 1 to 100 looks in a row, not 101`,
			},
		},
		{
			"a threshold that no answer can pass",
			[]Device{policy(func(p *Policy) { p.RTTAbove = time.Second })},
			[]string{`devices[0].checks[0].rtt_above: rtt_above is less than the timeout, or it never matters: 1s is not less than 1s`},
		},
		{
			"all of the looks lost is not a share to exceed",
			[]Device{policy(func(p *Policy) { p.LossAbove = 1 })},
			[]string{`devices[0].checks[0].loss_above: loss_above is a share below 100%, not 100%`},
		},
		{"a loss window of 1,000 looks", []Device{policy(func(p *Policy) { p.LossWindow = 1000 * time.Second })}, nil},
		{
			"a loss window of 1,001 looks",
			[]Device{policy(func(p *Policy) { p.LossWindow = 1001 * time.Second })},
			[]string{`devices[0].checks[0].loss_window: a loss_window is at most 1,000 looks long: with an interval of 1s that is 16m40s, not 16m41s`},
		},
		{"a loss window shorter than the interval does not matter without loss_above", []Device{policy(func(p *Policy) { p.Interval = time.Hour })}, nil},
		{
			"but does with it",
			[]Device{policy(func(p *Policy) { p.Interval, p.LossAbove = time.Hour, 0.05 })},
			[]string{`devices[0].checks[0].loss_window: a loss_window is at least one interval long: 1m0s is less than 1h0m0s`},
		},
	} {
		t.Run(story.name, func(t *testing.T) {
			var got []string
			for _, e := range ValidateDevices(story.devices, nil) {
				got = append(got, e.Error())
			}
			if !slices.Equal(got, story.want) {
				t.Errorf("got\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(story.want, "\n\t"))
			}
		})
	}
}

func TestParentKnownElsewhere(t *testing.T) {
	known := func(name string) bool { return name == "stored" }
	if errs := ValidateDevices([]Device{planned("a", "stored")}, known); len(errs) != 0 {
		t.Errorf("got %v for a parent that is stored", errs)
	}
	if errs := ValidateDevices([]Device{planned("a", "other")}, known); len(errs) != 1 {
		t.Errorf("got %v for a parent that is nowhere", errs)
	}
}

func TestLongCircleStaysReadable(t *testing.T) {
	devices := make([]Device, 100_000)
	for i := range devices {
		devices[i] = planned(fmt.Sprint("d", i), fmt.Sprint("d", (i+1)%len(devices)))
	}
	errs := ValidateDevices(devices, nil)
	if len(errs) != 1 {
		t.Fatalf("got %d mistakes, want one circle", len(errs))
	}
	want := "devices[0].parents[0]: the parents go in a circle: d0 → d1 → d2 → d3 → d4 → … 99991 more … → d99996 → d99997 → d99998 → d99999 → d0"
	if got := errs[0].Error(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestValidateAddress(t *testing.T) {
	for _, good := range []string{
		"10.0.0.1", "::1", "2001:db8::1", "fe80::1%eth0", "::ffff:10.0.0.1", "localhost", "core-sw1.example.",
		"_sip.example", "3com.example", "1.2.3.4.in-addr.arpa", "xn--bcher-kva.example",
	} {
		if err := ValidateAddress(good); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for bad, why := range map[string]string{
		"":                                    "missing",
		"10.0.0.300":                          "four numbers",
		"10.1":                                "four numbers",
		"010.0.0.1":                           "four numbers",
		"10.0.0.0/24":                         "not a network",
		"http://host/":                        "scheme",
		"host:80":                             "wrong, or there is a port",
		"host.example:80":                     "without a port",
		"fe80::g":                             "IPv6",
		"0.0.0.0":                             "no host",
		"::":                                  "no host",
		"224.0.0.1":                           "multicast",
		"::ffff:224.0.0.1":                    "multicast",
		"ff02::1":                             "multicast",
		"255.255.255.255":                     "broadcast",
		"a..b":                                "empty",
		".":                                   "empty",
		"-a.example":                          "hyphen",
		"a b":                                 `' '`,
		"\x1b[2J":                             `'\x1b'`,
		"bücher.example":                      "xn--",
		strings.Repeat("a", 64):               "63",
		strings.Repeat("a.", 127) + "example": "253",
	} {
		if err := ValidateAddress(bad); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%q: got %v, want a sentence with %q", bad, err, why)
		}
	}
}

func TestDidYouMean(t *testing.T) {
	keys := []string{"interval", "timeout", "fall", "rise", "rtt_above", "loss_above"}
	for typed, want := range map[string]string{
		"intervall": "interval", "Timeout": "timeout", "tiemout": "timeout", "fal": "fall",
		"rtt-above": "rtt_above", "los_above": "loss_above", "colour": "", "": "", "x": "",
	} {
		got := DidYouMean(typed, slices.Values(keys))
		if want != "" {
			want = fmt.Sprintf("; did you mean %q?", want)
		}
		if got != want {
			t.Errorf("%q: got %q, want %q", typed, got, want)
		}
	}
}

func BenchmarkValidateDevices(b *testing.B) {
	devices := make([]Device, 100_000)
	for i := range devices {
		devices[i] = planned(fmt.Sprint("device-", i))
		if i > 0 {
			devices[i].Parents = []string{fmt.Sprint("device-", (i-1)/10)}
		}
	}
	for b.Loop() {
		if errs := ValidateDevices(devices, nil); len(errs) != 0 {
			b.Fatal(errs[0])
		}
	}
}
