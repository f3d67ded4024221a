// Package app puts the parts together, in one straight line. It is the only
// package that knows them all.
package app

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"sereno"
	"sereno/alert"
	"sereno/api"
	"sereno/clock"
	"sereno/config"
	"sereno/deadman"
	"sereno/event"
	"sereno/export"
	"sereno/ledger"
	channels "sereno/notify/all"
	"sereno/probe/all"
	"sereno/probe/icmp"
	"sereno/prometheus"
	"sereno/prometheus/remote"
	"sereno/resolve"
	"sereno/samples"
	"sereno/schedule"
	"sereno/spool"
	"sereno/store"
	"sereno/vantage"
)

// Options are what Run needs. Reload, Load, Ready and Command may be nil.
type Options struct {
	Config  *config.Config
	Reload  <-chan struct{}                // each value asks to load the configuration anew
	Load    func() (*config.Config, error) // how
	Ready   func(url string)               // called once it watches and can be asked
	Command func(url string) string        // what a person types to ask the server at url
	Version string
	Log     *slog.Logger
	Stdout  io.Writer
}

// Run watches until ctx ends and all is written down. What cannot work from
// the start (a port in use, a store that is not ours) is an error before
// anything was changed.
func Run(ctx context.Context, o Options) error {
	cfg, log := o.Config, o.Log
	if o.Command == nil {
		o.Command = func(string) string { return "sereno" }
	}
	ln, err := api.Listen(ctx, cfg.Listen, cfg.InsecureListen)
	if err != nil {
		return err
	}
	defer ln.Close()
	guard := &spool.Guard{Reserve: spool.Reserve{Path: reservePath(cfg), Size: int64(cfg.Reserve)}, Log: log}
	var facts *store.Store
	err = inReserve(ctx, guard, func() (err error) { facts, err = openFacts(ctx, cfg, log); return err })
	if err != nil || facts == nil {
		return err
	}
	defer facts.Close()
	if err := os.MkdirAll(cfg.Data, 0o700); err != nil { // the facts may be elsewhere
		return err
	}
	marks, mark, _, err := clock.OpenMarks(filepath.Join(cfg.Data, "alive"), log)
	if err != nil {
		return err
	}
	defer marks.Close()
	var clk *clock.Clock
	var desk *alert.Desk
	var site *foreman
	poke := func() {
		if desk != nil { // there is none while an earlier run's entries are written
			desk.Poke()
		}
	}
	storage, waited, err := newStorage(ctx, telling{facts, poke}, cfg, guard, func() sereno.Instant { return clk.Now() }, log)
	if err != nil || storage == nil {
		return err
	}
	defer storage.spool.Close()
	newest, err := facts.Newest(ctx)
	if err != nil {
		return err
	}
	clk, found, err := clock.New(clock.Options{
		Rhythm: sereno.Rhythm{Patience: cfg.ClockPatience}, Mark: mark, Newest: newest,
	})
	if err != nil {
		return err
	}
	parts := newStack(ctx)
	defer parts.unwind()
	beats := &beats{clock: clk, found: found}
	parts.start("read the clocks", beats.Run) // first, for loading may take seconds

	// The parts, each made from those before it.
	var scheduler *schedule.Scheduler
	var metrics *api.Metrics
	kept := samples.New(samples.Options{
		Dir: filepath.Join(cfg.Data, "samples"), Retention: cfg.SamplesRetention, RollupRetention: cfg.SamplesRollups,
		MaxBytes: int64(cfg.SamplesSize), OutOfOrder: cfg.SamplesOutOfOrder, Log: log,
	})
	keep, know, usage := kept.Keep, kept.Know, kept.Usage
	end, erase := func(checks []sereno.CheckID) { kept.End(checks, clk.Now()) }, kept.Delete
	if cfg.SamplesOff {
		keep, know, usage = nil, func([]sereno.Device) {}, nil
		end, erase = func([]sereno.CheckID) {}, func(context.Context, []sereno.CheckID) error { return nil }
	}
	guard.Spare(kept.Pause)
	catalog := new(prometheus.Catalog)
	outbox := remote.New(remote.Options{
		Dir: filepath.Join(cfg.Data, "remote_write"), Targets: cfg.RemoteWrite, Agent: "sereno/" + o.Version, Log: log,
	})
	if len(cfg.RemoteWrite) > 0 {
		kept.Tap(outbox.Keep)
	}
	books := ledger.New(ledger.Options{
		Journal:   storage.spool,
		Beat:      beats.Take,
		Look:      func(c sereno.CheckID) { scheduler.Look(c) },
		Hurry:     func(c sereno.CheckID, on bool) { scheduler.Hurry(c, on) },
		Hold:      max(cfg.IsolationHold, time.Nanosecond),
		Keep:      keep,
		Committed: func(took time.Duration, e *ledger.Entry) { metrics.Committed(took, e) },
		Version:   o.Version,
		Log:       log,
	})
	looks, err := all.New(icmp.Options{Deliver: books.Deliver, Clock: clk.Now, MaxPPS: cfg.MaxPPS, Log: log})
	if err != nil {
		return err
	}
	echo := looks.ICMP
	if err := echo.Permitted(); err != nil {
		log.Error("no looks can be taken: every check stays unknown until this is mended", "err", err)
	}
	kinds := looks.List()
	scheduler = schedule.New(echo, clk.Now, log)
	disk := &gauge{cfg: cfg, facts: facts, looks: kept, storage: storage, log: log}
	metrics = api.NewMetrics(api.Sources{
		Disk: disk.Bytes, Statistics: books.Statistics, Echo: echo.Counters, Storage: storage.State, Samples: usage, Connections: facts.Pool, Version: o.Version,
		Channels:    func(ctx context.Context) ([]alert.ChannelHealth, error) { return desk.Health(ctx) },
		Maintenance: func() int { return site.Count() },
	})
	witnesses := newWatchpost(books, scheduler, echo, log)
	witnesses.Name(cfg.Witnesses)
	scene := newScene(witnesses.Gateways)
	var plan *plan
	resolver := resolve.New(resolve.Options{Changed: func(name string, addr netip.Addr, err error) {
		if err != nil {
			log.Warn("a name does not resolve; its devices are looked at where they last were, if anywhere", "name", name, "err", err)
		}
		plan.Resolved(name, addr)
	}})
	plan = newPlan(planParts{
		store: facts, idle: storage.spool.Idle, ledger: books, schedule: scheduler, kinds: kinds, now: clk.Now, log: log,
		resolver: resolver, beyond: scene.Beyond, outside: witnesses.Outside, know: func(d []sereno.Device) { know(d); catalog.Know(d); outbox.Know(d) }, forget: catalog.Forget,
		end: end, erase: erase, changed: func(before, after []sereno.Device) { site.Devices(before, after); poke() },
	})

	count, err := facts.CountDevices(ctx)
	if err != nil {
		return err
	}
	past := ledger.Past{Settled: mark.Settled}
	if mark.Ledger.IsZero() {
		past.Settled = newest // no sign of life is left but what was written
	}
	if waited.Lost { // and so is what was found after it
		past.Settled = min(past.Settled, max(newest, waited.Until))
	}
	var applied store.Applied
	if cfg.File == "" && len(cfg.Devices) == 0 {
		applied.Living, err = living(ctx, facts)
	} else {
		err = inReserve(ctx, guard, func() (err error) {
			applied, err = facts.TakeUpFile(ctx, cfg.Devices, past.Settled, clk.Now())
			return inFile(err)
		})
	}
	if err != nil {
		return err
	}
	if gone := len(applied.Removed); gone > 0 {
		log.Warn("devices that the configuration file had are not in it any more: they are no longer watched; what is known of them is kept",
			"devices", gone, "first", applied.Removed[0].Name)
	}
	devices := applied.Living
	if count == 0 && len(cfg.Devices) == 0 {
		if devices, err = facts.AddDevices(ctx, thisMachine(), clk.Now()); err != nil {
			return err
		}
	}
	if past.Incidents, err = facts.OpenIncidents(ctx); err != nil {
		return err
	}
	if past.LastID, err = facts.LastIncidentID(ctx); err != nil {
		return err
	}
	if err := plan.Load(ctx, devices, past); err != nil {
		return err
	}
	events := event.New()
	key, err := OpenKey(cfg.Data)
	if err != nil {
		return err
	}
	rules := newRulebook(rulebookParts{
		store: facts, key: key, kinds: channels.Kinds(), agent: "sereno/" + o.Version, now: clk.Now, log: log,
		publish: func(name string, data []byte) bool { return events.Publish("alerts", name, data) },
		set: []func(context.Context, *alert.Plan) error{
			func(ctx context.Context, p *alert.Plan) error { return site.Book(ctx, p) }, // always takes it
			func(ctx context.Context, p *alert.Plan) error { return desk.SetBook(ctx, p) },
		},
	})
	book, err := rules.Load(ctx, cfg.Alerting)
	if err != nil {
		return err
	}
	site = newForeman(foremanParts{
		store: facts, path: filepath.Join(cfg.Data, "maintenance"), windows: book.Book.Windows, settled: past.Settled,
		now: clk.Now, pending: clk.Pending, log: log,
	})
	told := kept
	if cfg.SamplesOff {
		told = nil
	}
	desk = newDesk(deskParts{plan: book, facts: facts, looks: told, ledger: books, key: key, open: past.Incidents, unwritten: storage.unwritten, meters: metrics, now: clk.Now, log: log})

	keeper := &clock.Keeper{Clock: clk, Marks: marks, Every: cfg.AliveInterval, Settled: books.Settled, Log: log}
	parts.start("keep signs of life", keeper.Run)
	if len(cfg.RemoteWrite) > 0 {
		metrics.MustRegister(outbox)
		parts.start("remote write", outbox.Run) // before the samples, whose last looks it writes
	}
	if !cfg.SamplesOff {
		parts.start("samples", kept.Run) // before the ledger, whose last looks it writes
	}
	parts.start("room on the disk", guard.Run)
	parts.start("spool", storage.spool.Run) // before the ledger, whose last changes it takes
	parts.start("ledger", books.Run)
	parts.start("storage", func(ctx context.Context) error { return storage.Run(ctx, books) })
	parts.start("events", events.Run)
	parts.start("alerts", desk.Run) // before the schedule: what is found to the last is told
	parts.start("maintenance", site.Run)
	parts.start("echo", echo.Run)
	parts.start("schedule", scheduler.Run)
	parts.start("vantage point", (&vantage.Watcher{Changed: scene.Changed, Log: log}).Run)
	parts.start("witnesses", witnesses.Run)
	own := func(at sereno.Instant, f ledger.Fault) {
		_ = books.Own(ctx, at, f) // it has ended, and so will its caller
	}
	parts.start("faults of our own", (&faults{
		ask: books.Statistics, permitted: echo.Permitted, own: own, now: clk.Now,
		synced: func() (bool, error) { r, _, err := clk.Look(); return r.Synced, err },
	}).Run)
	parts.start("watchdog", newWatchdog(books.Statistics, log).Run)
	watched, err := newPeers(ctx, cfg, books, own, clk.Now, "sereno/"+o.Version, log)
	if err != nil {
		return err
	}
	parts.start("peers", watched.Run)
	if cfg.Deadman != nil {
		parts.start("dead-man URL", deadman.New(deadman.Options{
			Target: *cfg.Deadman, Agent: "sereno/" + o.Version, Log: log,
			Well: well{ask: books.Statistics, permitted: echo.Permitted, stuck: desk.Stuck}.Check,
		}).Run)
	}
	parts.start("resolve names", resolver.Run)
	parts.start("measure the disk", disk.Run)
	parts.start("drop what is too old", (&retainer{
		drop:    func(ctx context.Context) error { return retain(ctx, facts, cfg.Retention, clk.Now(), log) },
		pending: clk.Pending, log: log,
	}).Run)
	parts.start("read the meters", (&bookkeeper{read: facts.ReadMeters, log: log}).Run)
	parts.start("tend the store", func(ctx context.Context) error { return facts.Run(ctx, clk.Now, untended(log, storage.tended)) })
	if !cfg.SamplesOff {
		parts.start("write down days", (&days{samples: kept, store: facts, now: clk.Now, log: log}).Run)
	}
	if o.Load != nil {
		parts.start("reload", func(ctx context.Context) error { return reload(ctx, o, plan, witnesses, rules) })
	}
	var readable export.Samples // nil: none are kept
	var series api.Samples      // likewise
	if !cfg.SamplesOff {
		readable, series = kept, kept
	}
	var replays api.Replays // likewise
	if !cfg.SamplesOff {
		replays = facts
	}
	var promQL http.Handler // likewise
	if !cfg.SamplesOff {
		promQL = prometheus.New("/prometheus", prometheus.Options{
			Samples: kept.Queryable(), Catalog: catalog, Limits: cfg.Prometheus, Metrics: metrics, Log: log, Now: clk.Now,
			Raw: func() sereno.Instant { return clk.Now().Add(-cfg.SamplesRetention) },
		})
	}
	door := api.New(api.Options{
		Disk:    disk.Bytes,
		Doctor:  examinations(cfg, facts, kept, storage),
		Backups: newBackups(cfg, facts, kept, books, clk, storage.spool.Idle, o.Version),
		Plan:    plan, Facts: facts, Watch: books, Storage: storage.State, Figures: facts, Kinds: kinds, Defaults: cfg.Defaults, Metrics: metrics,
		Version: o.Version, InsecureListen: cfg.InsecureListen, Log: log, Now: clk.Now,
		Beats: receiver(cfg, watched), Prometheus: promQL, Samples: series, Book: facts, Looks: readable, Replays: replays,
		Channels: channels.Kinds(), Rulebook: rules, Senders: desk, Events: events,
		Alerts: desk, Told: facts, Resolve: books.Resolve, Signer: key, Maintenance: site.Under,
	})
	parts.start("api", func(ctx context.Context) error { return api.Serve(ctx, ln, door) })

	url := "http://" + ln.Addr().String()
	var proposals []string
	if !plan.looksOutside() {
		proposals = scene.proposals()
	}
	greet(o.Stdout, o.Command(url), o.Version, url, len(devices), proposals)
	if o.Ready != nil {
		o.Ready(url)
	}
	tellSystemd(log, daemon.SdNotifyReady)
	context.AfterFunc(ctx, func() { tellSystemd(log, daemon.SdNotifyStopping) })
	return parts.wait(ctx)
}

// living reads what is watched when there is no file to say what should be:
// what an earlier file had stays as it was.
func living(ctx context.Context, facts *store.Store) (devices []sereno.Device, err error) {
	for d, err := range facts.AllDevices(ctx) {
		if err != nil {
			return nil, err
		}
		devices = append(devices, d)
	}
	return devices, nil
}
