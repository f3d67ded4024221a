package prometheus

import (
	"context"
	"maps"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"time"
)

// Version is that of Prometheus whose engine this is: clients ask for it to
// know what they may ask for.
const Version = "3.15.0"

// help is what there is to know of a metric.
type help struct {
	Type string `json:"type"`
	Help string `json:"help"`
	Unit string `json:"unit"`
}

// metrics are those that a question can be about.
var metrics = map[string]help{
	"sereno_rtt_seconds":    {"gauge", "Round-trip time of a look that was answered.", "seconds"},
	"sereno_up":             {"gauge", "Whether a look was answered: 1 or 0.", ""},
	minutes + "sent":        {"gauge", "Looks that were due in a minute; two hours behind.", ""},
	minutes + "lost":        {"gauge", "Those of them without an answer.", ""},
	minutes + "rtt_seconds": {"gauge", "Round-trip times of a minute: the least (quantile 0), 0.25, 0.5, 0.75, 0.95 and the greatest (1).", "seconds"},
	DeviceInfo:              {"gauge", "Always 1; the labels say what a device is called and where it is.", ""},
	CheckInfo:               {"gauge", "Always 1; the labels say what a check is called and whose it is.", ""},
}

func (d *door) metadata(_ *http.Request, q *question) (*answer, error) {
	limit := -1
	if s := q.text("limit"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			return nil, badData("limit must be a number")
		}
		limit = n
	}
	if s := q.text("limit_per_metric"); s != "" {
		if _, err := strconv.Atoi(s); err != nil {
			return nil, badData("limit_per_metric must be a number")
		}
	}
	found := map[string][]help{}
	for _, name := range slices.Sorted(maps.Keys(metrics)) {
		if limit >= 0 && len(found) == limit {
			break
		}
		if asked := q.text("metric"); asked == "" || asked == name {
			found[name] = []help{metrics[name]}
		}
	}
	return document(found), nil
}

func (d *door) buildInfo(*http.Request, *question) (*answer, error) {
	return document(map[string]string{
		"version": Version, "revision": "", "branch": "", "buildUser": "", "buildDate": "", "goVersion": runtime.Version(),
	}), nil
}

// rules are none: what Sereno alarms about it decides by itself.
func (d *door) rules(*http.Request, *question) (*answer, error) {
	return document(map[string]any{"groups": []any{}}), nil
}

func (d *door) alerts(*http.Request, *question) (*answer, error) {
	return document(map[string]any{"alerts": []any{}}), nil
}

// routes returns the paths of the door.
func (d *door) routes(prefix string) http.Handler {
	mux := http.NewServeMux()
	base := prefix + "/api/v1"
	for path, route := range map[string]struct {
		posted bool // as a form, too
		answer func(*http.Request, *question) (*answer, error)
	}{
		"/query":               {true, d.query},
		"/query_range":         {true, d.queryRange},
		"/query_exemplars":     {true, d.queryExemplars},
		"/format_query":        {true, d.formatQuery},
		"/labels":              {true, d.labelNames},
		"/label/{name}/values": {false, d.labelValues},
		"/series":              {true, d.series},
		"/metadata":            {false, d.metadata},
		"/status/buildinfo":    {false, d.buildInfo},
		"/rules":               {false, d.rules},
		"/alerts":              {false, d.alerts},
	} {
		mux.Handle("GET "+base+path, d.serve(route.answer))
		if route.posted {
			mux.Handle("POST "+base+path, d.serve(route.answer))
		}
	}
	mux.HandleFunc(prefix+"/", func(w http.ResponseWriter, r *http.Request) {
		refuse(w, &fault{http.StatusNotFound, "not_found", "there is nothing of Prometheus's at this address that Sereno answers; see docs/grafana.md"})
	})
	return mux
}

// serve answers requests in the time that a question has.
func (d *door) serve(find func(*http.Request, *question) (*answer, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), d.limits.Timeout+time.Second) // the engine's own limit comes first
		defer cancel()
		q, err := ask(r)
		var a *answer
		if err == nil {
			a, err = find(r.WithContext(ctx), q)
		}
		if err != nil {
			refuse(w, d.explain(ctx, err))
			return
		}
		if a.release != nil {
			defer a.release()
		}
		w.Header().Set("Content-Type", "application/json")
		if err := a.write(w); err != nil && r.Context().Err() == nil {
			d.log.Warn("an answer to a PromQL question could not be written", "err", err)
		}
	})
}
