package match

import (
	"strings"
	"testing"

	"sereno"
)

var core = Subject{
	Device: "core-sw1", Address: "10.0.0.1", Importance: "critical", Tags: []string{"core", "rack:3", "site:plant1"},
	Label: map[string]string{"rack": "3", "site": "plant1"}, Site: "plant1", Check: "icmp", Kind: "icmp", Status: "down", Severity: "critical",
}

func TestHolds(t *testing.T) {
	for text, want := range map[string]bool{
		"":   true,
		"  ": true,
		`severity in ["critical", "high", "medium"]`: true,
		`severity in ["low"]`:                        false,
		`site == "plant1" and status == "down"`:      true,
		`"core" in tags`:                             true,
		`label.rack == "3"`:                          true,
		`label["room"] == ""`:                        true,
		`device startsWith "core-" && !own`:          true,
		`device matches "^edge"`:                     false,
		`any(tags, # startsWith "rack:")`:            true,
		`none(parents, any(tags, # == "core"))`:      true,
		`count(tags, # contains ":") == 2`:           true,
		`lower(device) == "core-sw1"`:                true,
		`split(device, "-")[1] == "sw1"`:             true,
		`(tags[0] ?? "") == "core"`:                  true,
	} {
		e, err := Compile(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got, err := e.Holds(core); got != want || err != nil {
			t.Errorf("%s: %v (%v), not %v", text, got, err, want)
		}
	}
}

func TestMistakes(t *testing.T) {
	for text, words := range map[string]string{
		`severty == "high"`:                    "unknown name severty",
		`severity ==`:                          "unexpected",
		`device`:                               "expected bool",
		`site == 3`:                            "mismatched types",
		strings.Repeat("a", 2001):              "at most 2000",
		`device matches "["`:                   "missing closing",
		`now() > now()`:                        "now",
		strings.Repeat("own or ", 280) + "own": "node",
		`all(1..1000000, # > 0)`:               "ranges are not possible here",
		`repeat(device, 100000000) == ""`:      "unknown name repeat",
		`len(map(tags, #)) > 0`:                "unknown name map",
		`reduce(tags, #acc + #acc) == ""`:      "unknown name reduce",
		`let a = device + device; a == device`: "variables are not possible here",
		`any(tags, any(tags, any(tags, any(parents, # == "x"))))`:            "no more than two lists",
		strings.Repeat("any(tags, ", 150) + "own" + strings.Repeat(")", 150): "no more than two lists",
	} {
		_, err := Compile(text)
		if sereno.KindOf(err) != sereno.Invalid || !strings.Contains(err.Error(), words) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%.40s: %v, which does not say %q", text, err, words)
		}
	}
	e, err := Compile(`tags[7] == "x"`)
	if err != nil {
		t.Fatal(err)
	}
	if holds, err := e.Holds(core); holds || sereno.KindOf(err) != sereno.Invalid {
		t.Errorf("out of range: %v, %v", holds, err)
	}
}

func TestOf(t *testing.T) {
	d := sereno.Device{Name: "a", Address: "10.0.0.9", Importance: sereno.High, Tags: []string{"site:x", "y"}, Parents: []string{"b"}}
	s := Of(&d, &sereno.Check{Name: "web", Kind: "http"})
	if s.Site != "x" || s.Importance != "high" || s.Check != "web" || s.Kind != "http" || s.Parents[0] != "b" {
		t.Errorf("%+v", s)
	}
	if own := Of(nil, nil); own.Device != "" || own.Label == nil {
		t.Errorf("%+v", own)
	}
}
