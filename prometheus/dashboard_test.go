package prometheus_test

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"sereno"
	"sereno/prometheus"
	"sereno/samples"
)

type dashboard struct {
	Panels     []panel `json:"panels"`
	Templating struct {
		List []struct {
			Name       string `json:"name"`
			Type       string `json:"type"`
			Definition string `json:"definition"`
		} `json:"list"`
	} `json:"templating"`
}

type panel struct {
	ID         int     `json:"id"`
	Title      string  `json:"title"`
	Type       string  `json:"type"`
	Panels     []panel `json:"panels"` // of a row
	Datasource struct {
		UID string `json:"uid"`
	} `json:"datasource"`
	Targets []struct {
		Expr string `json:"expr"`
	} `json:"targets"`
}

// Every expression of the dashboard that we give away is answered, and with
// something where there is something to say.
func TestDashboard(t *testing.T) {
	text, err := os.ReadFile("../docs/grafana/sereno.json")
	if err != nil {
		t.Fatal(err)
	}
	var d dashboard
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	begin := time.Now().Add(-2*time.Hour - time.Minute).Truncate(10 * time.Minute)
	end := begin.Add(2 * time.Hour)
	devices, looks := story(begin)
	db := samples.New(samples.Options{Dir: t.TempDir(), Retention: 24 * time.Hour, Log: slog.New(slog.DiscardHandler)})
	db.Know(devices)
	run(t, db.Run)
	if err := db.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, batch := range looks {
		db.Keep(batch)
	}
	catalog := new(prometheus.Catalog)
	catalog.Know(devices)
	server := httptest.NewServer(prometheus.New("", prometheus.Options{
		Samples: db.Queryable(), Catalog: catalog, Now: func() sereno.Instant { return sereno.At(end) }, Log: slog.New(slog.DiscardHandler),
	}))
	t.Cleanup(server.Close)
	ask := func(query string) (int, map[string]any) {
		return get(t, server.URL+"/api/v1/query_range?"+url.Values{"query": {query}, "start": {unix(begin)}, "end": {unix(end)}, "step": {"60"}}.Encode())
	}
	eventually(t, "the looks are kept", func() bool {
		_, doc := ask(`count_over_time(sereno_up{check="11"}[2h]) >= 719`)
		return len(doc["data"].(map[string]any)["result"].([]any)) > 0
	})

	grafana := strings.NewReplacer("$__rate_interval", "1m", "$__interval", "1m", "$__range", "1h", "$device", ".*")
	ids, asked := map[int]bool{}, 0
	var visit func([]panel)
	visit = func(panels []panel) {
		for _, p := range panels {
			if ids[p.ID] {
				t.Errorf("two panels have the id %d", p.ID)
			}
			ids[p.ID] = true
			visit(p.Panels)
			if p.Type != "row" && (p.Datasource.UID != "${datasource}" || len(p.Targets) == 0) {
				t.Errorf("%s has no targets, or a data source of its own", p.Title)
			}
			for _, target := range p.Targets {
				asked++
				expr := grafana.Replace(target.Expr)
				code, doc := ask(expr)
				switch {
				case code != http.StatusOK:
					t.Errorf("%s: %s: %d %v", p.Title, expr, code, doc["error"])
				case doc["warnings"] != nil || doc["infos"] != nil:
					t.Errorf("%s: %s: %v %v", p.Title, expr, doc["warnings"], doc["infos"])
				case !strings.Contains(expr, "sereno_minute_") && len(doc["data"].(map[string]any)["result"].([]any)) == 0: // minutes come two hours later
					t.Errorf("%s: %s: no answer", p.Title, expr)
				}
			}
		}
	}
	visit(d.Panels)
	if asked < 15 {
		t.Errorf("only %d expressions were found", asked)
	}
	for _, v := range d.Templating.List {
		if v.Type != "query" {
			continue
		}
		inside, ok := strings.CutPrefix(v.Definition, "label_values(")
		selector, label, two := strings.Cut(strings.TrimSuffix(inside, ")"), ", ")
		if !ok || !two {
			t.Fatalf("the variable %s is not understood: %s", v.Name, v.Definition)
		}
		_, doc := get(t, server.URL+"/api/v1/label/"+label+"/values?"+url.Values{"match[]": {selector}}.Encode())
		if got := doc["data"].([]any); !slices.Contains(got, any("host-3")) {
			t.Errorf("the variable %s has the values %v", v.Name, got)
		}
	}
}
