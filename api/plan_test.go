package api

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"sereno"
)

// problemOf reads a problem document.
func problemOf(t testing.TB, body []byte) (detail string, locations []string) {
	t.Helper()
	var p struct {
		Title, Detail string
		Status        int
		Errors        []struct{ Location, Message string }
	}
	if err := json.Unmarshal(body, &p); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	for _, e := range p.Errors {
		locations = append(locations, e.Location)
	}
	return p.Detail, locations
}

func TestBadPlansAreRefusedWithTheirPlace(t *testing.T) {
	long := strings.Repeat("a", 101)
	tests := []struct {
		name, body string
		code       int
		where      string // a location among the errors
		what       string // in the detail
	}{
		{"no JSON", `{"name":`, 400, "", "not JSON"},
		{"something behind it", `{"name":"a","address":"10.0.0.1"} x`, 400, "", "not JSON"},
		{"a list", `[]`, 422, "body", "expected a device"},
		{"null", `null`, 422, "body", "expected object"},
		{"a word", `"device"`, 422, "body", "expected a device"},
		{"nothing said", `{}`, 422, "body", "required property"},
		{"unknown field", `{"name":"a","address":"10.0.0.1","colour":"red"}`, 422, "body.colour", "unexpected property"},
		{"unknown field of a check", `{"name":"a","address":"10.0.0.1","checks":[{"kind":"icmp","interval":1}]}`, 422, "body.checks[0].interval", "unexpected property"},
		{"name of another type", `{"name":7,"address":"10.0.0.1"}`, 422, "body.name", "expected string"},
		{"empty name", `{"name":"","address":"10.0.0.1"}`, 422, "body.name", "is missing"},
		{"long name", `{"name":"` + long + `","address":"10.0.0.1"}`, 422, "body.name", "at most 100 characters"},
		{"name with a control character", `{"name":"a\u001b[2J","address":"10.0.0.1"}`, 422, "body.name", "control characters"},
		{"long name behind another", `{"name":"a","NAME":"` + long + `","address":"10.0.0.1"}`, 422, "body.name", "at most 100 characters"},
		{"wrong address", `{"name":"a","address":"10.0.0.256"}`, 422, "body.address", ""},
		{"an address of a network", `{"name":"a","address":"10.0.0.0/24"}`, 422, "body.address", "one host"},
		{"long address", `{"name":"a","address":"` + strings.Repeat("a.", 127) + `a"}`, 422, "body.address", "253"},
		{"importance", `{"name":"a","address":"10.0.0.1","importance":"huge"}`, 422, "body.importance", "one of"},
		{"many tags", `{"name":"a","address":"10.0.0.1","tags":[` + numbers(100) + `]}`, 201, "", ""},
		{"too many tags", `{"name":"a","address":"10.0.0.1","tags":[` + numbers(101) + `]}`, 422, "body.tags", "at most 100"},
		{"long tag", `{"name":"a","address":"10.0.0.1","tags":["ok","` + long + `"]}`, 422, "body.tags[1]", "at most 100 characters"},
		{"unknown parent", `{"name":"a","address":"10.0.0.1","parents":["nobody"]}`, 422, "body.parents[0]", `no device called "nobody"`},
		{"its own parent", `{"name":"a","address":"10.0.0.1","parents":["a"]}`, 422, "body.parents[0]", "circle"},
		{"interval of 50 ms", `{"name":"a","address":"10.0.0.1","checks":[{"kind":"icmp","interval_seconds":0.05}]}`, 422, "body.checks[0].interval_seconds", ">= 0.1"},
		{"interval of nothing", `{"name":"a","address":"10.0.0.1","checks":[{"kind":"icmp","interval_seconds":0}]}`, 422, "body.checks[0].interval_seconds", ">= 0.1"},
		{"interval as text", `{"name":"a","address":"10.0.0.1","checks":[{"kind":"icmp","interval_seconds":"1s"}]}`, 422, "body.checks[0].interval_seconds", "expected number"},
		{"timeout above the interval", `{"name":"a","address":"10.0.0.1","checks":[{"kind":"icmp","interval_seconds":1,"timeout_seconds":2}]}`, 422, "body.checks[0].timeout_seconds", "at most as long as the interval"},
		{"fall of nothing", `{"name":"a","address":"10.0.0.1","checks":[{"kind":"icmp","fall":0}]}`, 422, "body.checks[0].fall", ">= 1"},
		{"half a fall", `{"name":"a","address":"10.0.0.1","checks":[{"kind":"icmp","fall":1.5}]}`, 422, "body.checks[0].fall", "integer"},
		{"all lost", `{"name":"a","address":"10.0.0.1","checks":[{"kind":"icmp","loss_above":1}]}`, 422, "body.checks[0].loss_above", "< 1"},
		{"a long loss window", `{"name":"a","address":"10.0.0.1","checks":[{"kind":"icmp","loss_above":0.1,"loss_window_seconds":3600}]}`, 422, "body.checks[0].loss_window_seconds", "1,000 looks"},
		{"an unknown kind", `{"name":"a","address":"10.0.0.1","checks":[{"kind":"ping"}]}`, 422, "body.checks[0].kind", `no kind of check called "ping"; there are: icmp`},
		{"settings of the kind", `{"name":"a","address":"10.0.0.1","checks":[{"kind":"icmp","settings":{"size":-1}}]}`, 422, "body.checks[0].settings", "0 to 1400"},
		{"two checks of one name", `{"name":"a","address":"10.0.0.1","checks":[{"kind":"icmp"},{"kind":"icmp"}]}`, 409, "body.checks[1].name", "already"},

		{"empty list", `{"items":[]}`, 422, "body.items", "at least one"},
		{"list of nothing", `{"items":null}`, 422, "body.items", "expected array"},
		{"list of something else", `{"items":{}}`, 422, "body.items", "expected array"},
		{"something beside the list", `{"items":[{"name":"a","address":"10.0.0.1"}],"name":"b"}`, 422, "body", "nothing beside items"},
		{"one of many", `{"items":[{"name":"a","address":"10.0.0.1"},{"name":"b","address":"10.0.0.2"},{"name":"c","address":"10.0.0.3"},{"name":"","address":"10.0.0.4"}]}`, 422, "body.items[3].name", "items[3].name: a device's name is missing"},
		{"one of many of another type", `{"items":[{"name":"a","address":"10.0.0.1"},7]}`, 422, "body.items[1]", "items[1]: expected object"},
		{"one of many has a check", `{"items":[{"name":"a","address":"10.0.0.1"},{"name":"b","address":"10.0.0.1","checks":[{"kind":"icmp","timeout_seconds":3}]}]}`, 422, "body.items[1].checks[0].timeout_seconds", ""},
		{"a name twice", `{"items":[{"name":"a","address":"10.0.0.1"},{"name":"a","address":"10.0.0.2"}]}`, 409, "body.items[1].name", "names are given once"},
		{"a circle", `{"items":[{"name":"a","address":"10.0.0.1","parents":["b"]},{"name":"b","address":"10.0.0.2","parents":["a"]}]}`, 422, "body.items[0].parents[0]", "circle: a → b → a"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			m := &memory{devices: []sereno.Device{{ID: 1, Name: "there"}}}
			h, _ := remembered(t, m)
			w := serve(h, request("POST", "/api/devices", test.body))
			if w.Code != test.code {
				t.Fatalf("%d, want %d: %s", w.Code, test.code, w.Body)
			}
			if test.code == 201 {
				return
			}
			detail, locations := problemOf(t, w.Body.Bytes())
			if !strings.Contains(detail, test.what) {
				t.Errorf("detail %q, want %q", detail, test.what)
			}
			if test.where != "" && !slices.Contains(locations, test.where) {
				t.Errorf("locations %q, want %q", locations, test.where)
			}
			if len(m.devices) != 1 {
				t.Errorf("something was added: %v", m.devices[1:])
			}
		})
	}
}

func numbers(n int) string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf(`"%d"`, i)
	}
	return strings.Join(list, ",")
}

func TestEveryMistakeIsNamedAtOnceUpToABound(t *testing.T) {
	h, _ := remembered(t, &memory{})
	w := serve(h, request("POST", "/api/devices", `{"items":[{"name":"","address":"x y","fall":3},{"name":"b","address":"10.0.0.1","importance":"huge"}]}`))
	if _, locations := problemOf(t, w.Body.Bytes()); !slices.Equal(locations, []string{"body.items[0].fall", "body.items[1].importance"}) {
		t.Errorf("%q", locations)
	}
	w = serve(h, request("POST", "/api/devices", `{"items":[`+strings.Repeat("{},", 100_000)+`{}]}`))
	if _, locations := problemOf(t, w.Body.Bytes()); w.Code != 422 || len(locations) != maxMistakes {
		t.Errorf("%d with %d errors", w.Code, len(locations))
	}
	w = serve(h, request("POST", "/api/devices", `{"items":[`+strings.Repeat(`{"name":"a","address":""},`, 10_000)+`{"name":"a","address":""}]}`))
	if _, locations := problemOf(t, w.Body.Bytes()); w.Code != 422 || len(locations) != maxMistakes {
		t.Errorf("%d with %d errors", w.Code, len(locations))
	}
}

func TestWhatWasSentIsNotSentBack(t *testing.T) {
	h, _ := remembered(t, &memory{})
	for _, r := range []string{`{"name":{"x":"MARK"},"address":"MARK","y":["MARK"]}`, `{"name":"MARK`} {
		if w := serve(h, request("POST", "/api/devices", r)); strings.Contains(w.Body.String(), "MARK") {
			t.Errorf("%s: %s", r, w.Body)
		}
	}
}

func FuzzPostDevices(f *testing.F) {
	for _, seed := range []string{
		`{"name":"a","address":"10.0.0.1"}`,
		`{"items":[{"name":"a","address":"::1","tags":["x"],"parents":["b"],"checks":[{"kind":"icmp","interval_seconds":10,"settings":{"size":5}}]},{"name":"b","address":"host.example"}]}`,
		`{"items":[{}]}`, `{"items":null}`, `[]`, `null`, `{"a.b":{"c":1},"name":[]}`, `{"name":"a","address":"10.0.0.1","since":"x","status":7}`,
		`{"name":"a","address":"10.0.0.1","id":1e300,"checks":[{"kind":"icmp","fall":9007199254740993,"rtt_above_seconds":1e-9}]}`,
	} {
		f.Add([]byte(seed))
	}
	m := &memory{}
	h, log := remembered(f, m)
	f.Fuzz(func(t *testing.T, body []byte) {
		m.devices = nil
		log.Reset()
		w := serve(h, request("POST", "/api/devices", string(body)+" "))
		switch w.Code {
		case 201:
			if len(m.devices) == 0 {
				t.Fatalf("201 and nothing was added: %s", w.Body)
			}
			for _, e := range sereno.ValidateDevices(m.devices, nil) {
				t.Errorf("it let pass: %v", e)
			}
			if !json.Valid(w.Body.Bytes()) {
				t.Errorf("the answer is not JSON: %s", w.Body)
			}
		case 400, 409, 422:
			if len(m.devices) != 0 {
				t.Fatalf("%d and something was added", w.Code)
			}
			if detail, _ := problemOf(t, w.Body.Bytes()); detail == "" {
				t.Errorf("no word about what is wrong: %s", w.Body)
			}
		default:
			t.Fatalf("%d %s\n%s", w.Code, w.Body, log)
		}
	})
}
