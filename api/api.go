// Package api is Sereno over HTTP: devices, their history, incidents and
// absences as JSON documents, and the program's own metrics.
//
// Times are RFC 3339 in UTC with microseconds, numbers carry their unit in
// their name, lists are {"items": […], "next_cursor": …}, and whatever goes
// wrong is a problem document (RFC 9457).
package api

import (
	"context"
	"encoding/json"
	"io"
	"iter"
	"log/slog"
	"net/http"
	"sync"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"sereno"
	"sereno/alert"
	"sereno/doctor"
	"sereno/event"
	"sereno/export"
	"sereno/ledger"
	"sereno/notify"
	"sereno/peer"
	"sereno/probe"
	"sereno/store"
)

// A Plan changes what is watched, in the store and in the running program at
// once. Mistakes of the caller are sereno.Errors: a name that is taken is a
// Conflict, an unknown id NotFound, what the configuration file manages
// Forbidden.
type Plan interface {
	// Add gives ids to new devices and their checks. It takes all of them or
	// none. The Field of a mistake begins with "devices[3]".
	Add(ctx context.Context, devices []sereno.Device) ([]sereno.Device, error)
	// Replace gives the device with d's id all of d's other fields, and its
	// checks ids: a check whose name and kind stay keeps its own and so its
	// history.
	Replace(ctx context.Context, d sereno.Device) (sereno.Device, error)
	Remove(ctx context.Context, id sereno.DeviceID) error
	// Purge deletes all that is remembered of a device that was removed. One
	// that is still watched is a Conflict. Cut short, it may be called again.
	Purge(ctx context.Context, id sereno.DeviceID) error
}

// Facts is what was written down.
type Facts interface {
	Devices(ctx context.Context, q store.DeviceQuery) ([]sereno.Device, string, error)
	Device(ctx context.Context, id sereno.DeviceID) (sereno.Device, error)
	DeviceByName(ctx context.Context, name string) (sereno.Device, error)
	CountDevices(ctx context.Context) (int, error)
	Tombstones(ctx context.Context, name string) ([]store.Tombstone, error)
	Spans(ctx context.Context, check sereno.CheckID, from, to sereno.Instant) iter.Seq2[sereno.Span, error]
	Incidents(ctx context.Context, q store.IncidentQuery) ([]sereno.Incident, string, error)
	Absences(ctx context.Context, q store.AbsenceQuery) ([]sereno.Absence, string, error)
	// ChangesOf returns those of some incidents that are there, with what each is
	// about.
	ChangesOf(ctx context.Context, ids []sereno.IncidentID) ([]alert.Change, error)
	// Maintained returns the stretches of maintenance of devices that touch
	// [from, to), by device and begin.
	Maintained(ctx context.Context, devices []sereno.DeviceID, from, to sereno.Instant) ([]sereno.Maintained, error)
}

// Watch is what the running program knows right now.
type Watch interface {
	// Live leaves out checks that the ledger does not hold.
	Live(ctx context.Context, checks []sereno.CheckID) ([]ledger.Live, error)
	Statistics(ctx context.Context) (ledger.Statistics, error)
}

// Options are what the API is made from. Plan, Facts, Watch and Now are
// needed.
type Options struct {
	Plan           Plan
	Facts          Facts
	Watch          Watch
	Figures        Figures                                   // nil: no /api/uptime, and no figures in devices
	Storage        func() StorageState                       // nil: all is well with it
	Kinds          []probe.Kind                              // the ways to look that a device may ask for
	Channels       []notify.Kind                             // the ways to reach people that a channel may have
	Rulebook       Rulebook                                  // who is told of what; nil: nothing is said of it
	Senders        Senders                                   // what sends; nil: no channel can be tested
	Defaults       sereno.Policy                             // of a check that says nothing else; zero: sereno.DefaultPolicy
	Metrics        prometheus.Gatherer                       // nil: no /metrics
	Prometheus     http.Handler                              // what is below /prometheus/; nil: nothing
	Version        string                                    // of the program, for people
	InsecureListen bool                                      // take requests for any host name
	Log            *slog.Logger                              // nil: slog.Default()
	Now            func() sereno.Instant                     // the ledger's time
	Samples        Samples                                   // nil: no looks are kept
	Disk           func() map[string]int64                   // bytes on disk by class; nil: not known
	Backups        Backups                                   // nil: there are none
	Doctor         func() []doctor.Examination               // what it can find out about itself; nil: nothing
	Book           Book                                      // what exports and reports are made from; nil: there are none
	Looks          export.Samples                            // of which an export of looks is made; needed with Book
	Beats          func(body []byte, signature string) error // takes in beats of peers (peer.Watch.Receive); nil: there are none
	Replays        Replays                                   // what replays are made from; nil: there are none
	Events         *event.Hub                                // what happens, for those who follow it; nil: no /api/events

	// Maintenance returns which of some devices are under maintenance now; nil:
	// none ever is.
	Maintenance func(devices []sereno.DeviceID) map[sereno.DeviceID]InMaintenance

	// Who is told, and what people do about it; nil: nobody is told of anything.
	Alerts  Alerts
	Told    Told                                                  // needed with Alerts
	Resolve func(ctx context.Context, id sereno.IncidentID) error // ledger.Ledger.Resolve; needed with Alerts
	Signer  Signer                                                // of links in messages; nil: there are none
}

// New returns the API. It starts nothing: see Listen and Serve.
func New(o Options) http.Handler {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Defaults == (sereno.Policy{}) {
		o.Defaults = sereno.DefaultPolicy
	}
	mux := http.NewServeMux()
	d := &desk{Options: o, huma: humago.New(mux, describe(o.Version))}
	d.registerDevices()
	d.registerPurge()
	d.registerHistory()
	d.registerUptime()
	d.registerIncidents()
	d.registerAbsences()
	d.registerStatistics()
	d.registerSeries()
	d.registerBackup()
	d.registerDoctor()
	d.registerEvents()
	d.registerKinds()
	if o.Rulebook != nil {
		d.registerRules()
	}
	links := linkDoor{}
	if o.Alerts != nil {
		d.registerAlerts()
		if o.Signer != nil {
			d.registerLinks(mux)
			links.base = func() string { return o.Alerts.Plan().Book.URL }
		}
	}
	if o.Replays != nil {
		d.registerReplay()
	}
	if o.Book != nil {
		downloads := &downloads{d, make(chan struct{}, maxDownloads)}
		downloads.registerExport()
		downloads.registerReport()
	}

	if o.Beats != nil {
		mux.HandleFunc("POST "+peer.Path, d.beats)
	}
	mux.HandleFunc("GET /{$}", front)
	mux.Handle("GET /openapi.json", openAPI(d.huma))
	if o.Metrics != nil {
		mux.Handle("GET /metrics", promhttp.HandlerFor(o.Metrics, promhttp.HandlerOpts{
			ErrorLog:            slog.NewLogLogger(o.Log.Handler(), slog.LevelError),
			ErrorHandling:       promhttp.ContinueOnError,
			MaxRequestsInFlight: 4,
		}))
	}
	if o.Prometheus != nil {
		mux.Handle(promQL, o.Prometheus)
	}
	return door(o.InsecureListen, links, o.Log, problems(mux))
}

// A desk answers requests.
type desk struct {
	Options
	huma huma.API
}

// describe is huma's configuration: its own pages are left out, for they load
// scripts from elsewhere.
func describe(version string) huma.Config {
	config := huma.DefaultConfig("Sereno", version)
	config.Info.Description = "Devices, their history, incidents and absences. " +
		"Times are RFC 3339 in UTC with microseconds; lengths of time are seconds; shares are 0 to 1."
	config.OpenAPIPath, config.DocsPath, config.SchemasPath = "", "", ""
	config.CreateHooks = nil
	config.RejectUnknownQueryParameters = true
	config.Transformers = []huma.Transformer{explain}
	return config
}

// register adds an operation whose errors are answered by problem.
func register[I, O any](d *desk, op huma.Operation, handle func(context.Context, *I) (*O, error)) {
	huma.Register(d.huma, op, func(ctx context.Context, in *I) (*O, error) {
		out, err := handle(ctx, in)
		if err != nil {
			return nil, d.problem(ctx, op.OperationID, err)
		}
		return out, nil
	})
}

// openAPI serves the description of the API. (huma's own handler for it is not
// safe for two requests at once.)
func openAPI(api huma.API) http.HandlerFunc {
	text := sync.OnceValues(func() ([]byte, error) { return json.Marshal(api.OpenAPI()) })
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := text()
		if err != nil {
			panic(err)
		}
		w.Header().Set("Content-Type", "application/openapi+json")
		w.Write(body)
	}
}

func front(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	io.WriteString(w, `Sereno, a night watchman for networks, is on duty.

  devices      /api/devices
  history      /api/devices/{id}/history
  series       /api/checks/{id}/series
  uptime       /api/uptime
  incidents    /api/incidents
  alerts       /api/alerts
  audit trail  /api/audit
  absences     /api/absences
  events       /api/events (server-sent)
  exports      /api/export/{looks,spans,incidents,absences,responses}
  report       /api/report
  replay       /api/replay
  alerting     /api/{channels,policies,maintenance,silences}
  statistics   /api/statistics
  backup       /api/backup
  doctor       /api/doctor
  health       /health
  metrics      /metrics
  PromQL       /prometheus (a Prometheus data source for Grafana)
  description  /openapi.json
`)
}
