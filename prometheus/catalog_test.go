package prometheus_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"

	"sereno"
	"sereno/prometheus"
)

// everySecond is a day of ones until now.
type everySecond struct{}

type second int64

func (everySecond) Len() int                { return 86400 }
func (everySecond) Get(i int) chunks.Sample { return second(now.UnixMilli() + int64(i-86399)*1000) }

func (s second) T() int64                    { return int64(s) }
func (second) ST() int64                     { return 0 }
func (second) F() float64                    { return 1 }
func (second) H() *histogram.Histogram       { return nil }
func (second) FH() *histogram.FloatHistogram { return nil }
func (second) Type() chunkenc.ValueType      { return chunkenc.ValFloat }
func (s second) Copy() chunks.Sample         { return s }

func TestNamesOfWhatIsWatched(t *testing.T) {
	created := now.Add(-time.Hour - 1234*time.Millisecond)
	catalog := new(prometheus.Catalog)
	catalog.Know([]sereno.Device{
		{ID: 1, Name: "web", Address: "192.0.2.1", Importance: sereno.Critical, Tags: []string{"core", "rack:3", "rack:4", "Öl-Pumpe:x"}, Created: sereno.At(created), Checks: []sereno.Check{
			{ID: 1, Device: 1, Name: "icmp", Kind: "icmp", Created: sereno.At(created), Policy: sereno.Policy{Interval: time.Second}},
			{ID: 7, Device: 1, Name: "large", Kind: "icmp", Created: sereno.At(now.Add(-time.Minute)), Policy: sereno.Policy{Interval: time.Second}},
		}},
		{ID: 2, Name: `the "other"`, Address: "host.example", Created: sereno.At(created), Checks: []sereno.Check{{ID: 2, Device: 2, Name: "icmp", Kind: "icmp", Created: sereno.At(created)}}},
		{ID: 3, Name: "gone", Address: "192.0.2.3", Created: sereno.At(created), Checks: []sereno.Check{{ID: 3, Device: 3, Name: "icmp", Kind: "icmp"}}},
	})
	catalog.Forget([]sereno.DeviceID{3})
	base := serve(t, prometheus.Options{Catalog: catalog, Samples: &vast{t: t, series: 1, read: seconds}})

	const web = `{"__name__":"sereno_device_info","address":"192.0.2.1","device":"1","importance":"critical","name":"web","tag__l_Pumpe":"x","tag_core":"true","tag_rack":"3,4"}`
	for _, c := range []struct{ path, query, want string }{
		{"query", `sereno_device_info{name="web"}`, `[{"metric":` + web + `,"value":[1795262400,"1"]}]`},
		{"query", `sereno_device_info{name="web"} offset 59m`, `[{"metric":` + web + `,"value":[1795262400,"1"]}]`},
		{"query", `sereno_device_info offset 61m`, `[]`},  // before it was made
		{"query", `sereno_device_info offset -10m`, `[]`}, // the future
		{"query", `sereno_device_info{name="gone"}`, `[]`},
		{"query", `count(sereno_device_info)`, `[{"metric":{},"value":[1795262400,"2"]}]`},
		{"query", `count({__name__=~"sereno_.*_info",device=~".+"})`, `[{"metric":{},"value":[1795262400,"5"]}]`},
		{"query", `sereno_check_info{name="large"}`, `[{"metric":{"__name__":"sereno_check_info","check":"7","device":"1","kind":"icmp","name":"large"},"value":[1795262400,"1"]}]`},
		{"query", `sereno_check_info{name="large"} offset 2m`, `[]`},
		{"query", `sereno_up * on (check) group_left (device, name) sereno_check_info{check="1"}`, `[{"metric":{"check":"1","device":"1","name":"icmp"},"value":[1795262400,"1"]}]`},
		{"query", `count_over_time(sereno_device_info{device="2"}[1m])`, `[{"metric":{"address":"host.example","device":"2","importance":"medium","name":"the \"other\""},"value":[1795262400,"4"]}]`},
		{"query_range&start=1795262340&end=1795262400&step=30", `sum(sereno_device_info)`, `[{"metric":{},"values":[[1795262340,"2"],[1795262370,"2"],[1795262400,"2"]]}]`},
		{"label/name/values", "", `["icmp","large","the \"other\"","web"]`},
		{"label/name/values&match[]=sereno_device_info", "", `["the \"other\"","web"]`},
		{"label/name/values&match[]=sereno_device_info{importance=\"critical\"}&match[]=sereno_check_info{check=\"7\"}", "", `["large","web"]`},
		{"label/name/values&end=1795200000", "", `[]`},
		{"label/__name__/values", "", `["sereno_check_info","sereno_device_info"]`},
		{"labels&match[]=sereno_check_info", "", `["__name__","check","device","kind","name"]`},
		{"series&match[]=sereno_device_info{device=\"1\"}", "", `[` + web + `]`},
		{"series&match[]={device=\"1\",name=~\"w.*\"}&limit=1", "", `[` + web + `]`},
	} {
		path, more, _ := strings.Cut(c.path, "&")
		parameters, err := url.ParseQuery(more)
		if err != nil {
			t.Fatal(err)
		}
		if c.query != "" {
			parameters.Set("query", c.query)
		}
		code, doc := get(t, base+"/api/v1/"+path+"?"+parameters.Encode())
		data := doc["data"]
		if whole, ok := data.(map[string]any); ok {
			data = whole["result"]
		}
		got, err := json.Marshal(data)
		if err != nil || code != http.StatusOK {
			t.Fatalf("%v: %d %v", c, code, doc)
		}
		if string(got) != c.want {
			t.Errorf("%s %s\n  is   %s\n  want %s", c.path, c.query, got, c.want)
		}
	}
}

// A name that changes is the new one, for the past too.
func TestNamesChange(t *testing.T) {
	catalog := new(prometheus.Catalog)
	d := sereno.Device{ID: 1, Name: "old", Created: sereno.At(now.Add(-time.Hour)), Checks: []sereno.Check{{ID: 1, Device: 1, Name: "icmp", Kind: "icmp"}}}
	catalog.Know([]sereno.Device{d})
	d.Name, d.Checks = "new", []sereno.Check{{ID: 2, Device: 1, Name: "other", Kind: "icmp"}}
	catalog.Know([]sereno.Device{d})
	base := serve(t, prometheus.Options{Catalog: catalog, Samples: &vast{t: t}})
	_, doc := get(t, base+"/api/v1/label/name/values")
	if got, _ := json.Marshal(doc["data"]); string(got) != `["new","other"]` {
		t.Errorf("names are %s", got)
	}
}
