package prometheus_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"sereno/prometheus"
)

// What the Prometheus that answers are compared with does not know yet.
func TestWhatIsNewer(t *testing.T) {
	base := serve(t, prometheus.Options{Samples: &vast{t: t, series: 3, read: seconds}, Catalog: fleet(3, now.Add(-time.Hour))})
	later := unix(now.Add(10 * time.Second))
	for _, c := range []struct {
		path, form, want string
		code             int
	}{
		{"query", `query=sereno_up&limit=1`, `"result":[{"metric":{"__name__":"sereno_up","check":"1"},"value":[1795262400,"1"]}]},"warnings":["results truncated due to limit"]`, 200},
		{"query", `query=sum(sereno_up)&limit=3`, `{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1795262400,"3"]}]}}`, 200},
		{"query_range", `query=sereno_up&limit=2&start=1795262399&end=1795262400&step=1`, `"warnings":["results truncated due to limit"]`, 200},
		{"labels", `match[]=sereno_device_info&limit=2`, `{"status":"success","data":["__name__","address"],"warnings":["results truncated due to limit"]}`, 200},
		{"label/name/values", `limit=2`, `{"status":"success","data":["host-1","host-2"],"warnings":["results truncated due to limit"]}`, 200},
		{"label/name/values", `match[]=sereno_device_info&limit=3`, `{"status":"success","data":["host-1","host-2","host-3"]}`, 200},
		{"series", `match[]=sereno_check_info&limit=1`, `"warnings":["results truncated due to limit"]`, 200},
		{"query", `query=1&limit=-1`, `invalid parameter \"limit\": limit must be non-negative`, 400},
		{"query", `query=1&limit=x`, `invalid parameter \"limit\"`, 400},
		{"query", `query=sereno_up&time=` + later, `"value":[1795262410,"1"]`, 200},
		{"query", `query=sereno_up&lookback_delta=5s&time=` + later, `"result":[]`, 200},
		{"query", `query=sereno_up&lookback_delta=x`, `error parsing lookback delta duration: cannot parse \"x\" to a valid duration`, 400},
		{"query", `query=rate(sereno_up[1m])`, `"infos":["PromQL info: metric might not be a counter`, 200},
		{"query", `query=quantile(2, sereno_up)`, `"warnings":["PromQL warning: quantile value should be between 0 and 1, got 2 (1:10)"]`, 200},
		{"query", `query=sereno_up&stats=all`, `"stats":{"samples":{"peakSamples":3,"samplesRead":3,"totalQueryableSamples":3}`, 200},
		{"query", `query=max_over_time(sereno_up[1h:0s])`, `parse error`, 400},
		{"metadata", `metric=sereno_up`, `{"status":"success","data":{"sereno_up":[{"help":"Whether a look was answered: 1 or 0.","type":"gauge","unit":""}]}}`, 200},
		{"metadata", `metric=nothing`, `{"status":"success","data":{}}`, 200},
		{"metadata", `limit=0`, `{"status":"success","data":{}}`, 200},
		{"metadata", `limit=x`, `limit must be a number`, 400},
		{"status/buildinfo", ``, `"version":"` + prometheus.Version + `"`, 200},
		{"rules", ``, `{"status":"success","data":{"groups":[]}}`, 200},
		{"alerts", ``, `{"status":"success","data":{"alerts":[]}}`, 200},
		{"nothing", ``, `"errorType":"not_found"`, 404},
		{"label/a%2Fb/values", ``, `{"status":"success","data":[]}`, 200},
	} {
		form, err := url.ParseQuery(c.form)
		if err != nil {
			t.Fatal(err)
		}
		code, doc := get(t, base+"/api/v1/"+c.path+"?"+form.Encode())
		text, err := json.Marshal(ordered(doc))
		if err != nil {
			t.Fatal(err)
		}
		if plain := string(text); code != c.code || !strings.Contains(plain, c.want) {
			t.Errorf("%s %s: %d %s\n  has no %s", c.path, c.form, code, plain, c.want)
		}
	}
	answer, err := http.Post(base+"/api/v1/query", "application/x-www-form-urlencoded", strings.NewReader("query=%zz"))
	if err != nil {
		t.Fatal(err)
	}
	if code, doc := read(t, answer); code != 400 || !strings.HasPrefix(fmt.Sprint(doc["error"]), "error parsing form values") {
		t.Errorf("a form that is none: %d %v", code, doc)
	}
}

// ordered puts the members of a document in the order in which they are sent.
func ordered(doc map[string]any) any {
	return struct {
		Status   any `json:"status"`
		Data     any `json:"data,omitempty"`
		Kind     any `json:"errorType,omitempty"`
		Error    any `json:"error,omitempty"`
		Warnings any `json:"warnings,omitempty"`
		Infos    any `json:"infos,omitempty"`
	}{doc["status"], result(doc["data"]), doc["errorType"], doc["error"], doc["warnings"], doc["infos"]}
}

func result(data any) any {
	m, ok := data.(map[string]any)
	if !ok || m["resultType"] == nil {
		return data
	}
	return struct {
		Type   any `json:"resultType"`
		Result any `json:"result"`
		Stats  any `json:"stats,omitempty"`
	}{m["resultType"], m["result"], m["stats"]}
}

// Clients choose what they ask for by the version that we say we are.
func TestTheVersionIsTheEngines(t *testing.T) {
	text, err := os.ReadFile("../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`github\.com/prometheus/prometheus v0\.(\d)(\d\d)\.(\d+)`).FindStringSubmatch(string(text))
	if found == nil {
		t.Fatal("go.mod does not say which engine it is")
	}
	if want := found[1] + "." + strings.TrimPrefix(found[2], "0") + "." + found[3]; want != prometheus.Version {
		t.Errorf("the engine is that of %s, not of %s", want, prometheus.Version)
	}
}
