package api

import (
	"context"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"sereno"
	"sereno/alert"
	"sereno/ledger"
	"sereno/probe/icmp"
	"sereno/samples"
	"sereno/store"
)

// Sources are where the metrics come from. Those that are functions are asked
// when somebody reads the metrics, so that a look pays nothing for them. A
// source that is nil has no metrics.
type Sources struct {
	Statistics  func(context.Context) (ledger.Statistics, error)
	Echo        func() icmp.Counters
	Storage     func() StorageState
	Samples     func() samples.Usage
	Disk        func() map[string]int64 // bytes by class
	Connections func() store.Pool
	Channels    func(context.Context) ([]alert.ChannelHealth, error) // those of alerting
	Maintenance func() int                                           // devices that are under maintenance now
	Version     string
}

// Metrics are Sereno's own, in the shape of Prometheus.
type Metrics struct {
	*prometheus.Registry
	commits      prometheus.Histogram
	alerts       alertMeter
	lastDelivery alert.DeliveryID // the latest that was counted; of the desk's goroutine
}

// NewMetrics returns the metrics of sources, of the Go runtime and of the
// process.
func NewMetrics(s Sources) *Metrics {
	m := &Metrics{
		Registry: prometheus.NewRegistry(),
		alerts:   newAlertMeter(),
		commits: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "sereno_ledger_commit_seconds", Help: "Time that a transaction of the ledger took.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 15),
		}),
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "sereno_build_info", Help: "Always 1; the label says which version runs.", ConstLabels: prometheus.Labels{"version": strings.ToValidUTF8(s.Version, "")},
	})
	build.Set(1)
	m.MustRegister(m.commits, build, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if s.Statistics != nil {
		m.MustRegister(statisticsCollector(s.Statistics))
	}
	if s.Storage != nil {
		m.MustRegister(storageCollector(s.Storage))
	}
	if s.Echo != nil {
		m.MustRegister(echoCollector(s.Echo))
	}
	if s.Disk != nil {
		m.MustRegister(diskCollector(s.Disk))
	}
	if s.Samples != nil {
		m.MustRegister(samplesCollector(s.Samples))
	}
	if s.Maintenance != nil {
		m.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "sereno_devices_in_maintenance", Help: "Devices that are under a maintenance window.",
		}, func() float64 { return float64(s.Maintenance()) }))
	}
	if s.Connections != nil {
		m.MustRegister(poolCollector(s.Connections))
	}
	if s.Channels != nil {
		m.MustRegister(channelCollector(s.Channels))
		m.MustRegister(m.alerts.collectors()...)
	}
	return m
}

// Committed counts one transaction of the ledger (see ledger.Options).
func (m *Metrics) Committed(took time.Duration, _ *ledger.Entry) { m.commits.Observe(took.Seconds()) }

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("sereno_"+name, help, labels, nil)
}

var (
	looksDesc     = desc("looks_total", "Looks, by what came of them: answered, lost, or a fault of our own.", "kind", "outcome")
	checksDesc    = desc("checks", "Checks of each status.", "status")
	devicesDesc   = desc("devices", "Devices of each status.", "status")
	incidentsDesc = desc("incidents_open", "Incidents that last.")
	isolatedDesc  = desc("isolated", "1 while this vantage point is cut off.")
	queueDesc     = desc("ledger_queue_length", "Batches of results that wait to be judged.")
	unwrittenDesc = desc("ledger_unwritten_rows", "Rows that wait for storage.")
	refusedDesc   = desc("ledger_refused_total", "Results that found no room in the queue.")
	latenessDesc  = desc("look_lateness_seconds", "How long after they were due looks were sent.")
)

// statisticsCollector reads the ledger once for each scrape.
type statisticsCollector func(context.Context) (ledger.Statistics, error)

func (statisticsCollector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{looksDesc, checksDesc, devicesDesc, incidentsDesc, isolatedDesc, queueDesc, unwrittenDesc, refusedDesc} {
		to <- d
	}
}

func (ask statisticsCollector) Collect(to chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s, err := ask(ctx)
	if err != nil {
		to <- prometheus.NewInvalidMetric(checksDesc, err)
		return
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	counter := func(d *prometheus.Desc, v uint64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	for kind, o := range s.Looks {
		counter(looksDesc, o.Answered, kind, "answered")
		counter(looksDesc, o.Lost, kind, "lost")
		counter(looksDesc, o.Faults, kind, "fault")
	}
	for _, status := range []sereno.Status{sereno.Unknown, sereno.Up, sereno.Degraded, sereno.Down} {
		gauge(checksDesc, float64(s.Checks[status]), status.String())
		gauge(devicesDesc, float64(s.Devices[status]), status.String())
	}
	isolated := 0.0
	if s.Isolated {
		isolated = 1
	}
	gauge(isolatedDesc, isolated)
	gauge(incidentsDesc, float64(s.Incidents))
	gauge(queueDesc, float64(s.Queue))
	gauge(unwrittenDesc, float64(s.Unwritten))
	counter(refusedDesc, s.Refused)
}

var (
	faultDesc   = desc("storage_fault", "1 while something is wrong with storage.")
	spooledDesc = desc("spool_entries", "Transactions that wait on disk for storage.")
	spoolDesc   = desc("spool_bytes", "Their size.")
	reserveDesc = desc("reserve_bytes", "Set aside for when the disk is full; 0 when it is given up.")
)

// storageCollector asks once for each scrape.
type storageCollector func() StorageState

func (storageCollector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{faultDesc, spooledDesc, spoolDesc, reserveDesc} {
		to <- d
	}
}

func (ask storageCollector) Collect(to chan<- prometheus.Metric) {
	s := ask()
	fault := 0.0
	if s.Fault != "" {
		fault = 1
	}
	for d, v := range map[*prometheus.Desc]float64{faultDesc: fault, spooledDesc: float64(s.Entries), spoolDesc: float64(s.Bytes), reserveDesc: float64(s.Reserve)} {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v)
	}
}

// echoes are the counts of the echo engine, by the name of their metric.
var echoes = []struct {
	desc *prometheus.Desc
	of   func(icmp.Counters) uint64
}{
	{desc("icmp_sent_total", "Echo requests sent."), func(c icmp.Counters) uint64 { return c.Sent }},
	{desc("icmp_received_total", "Echo replies received in time."), func(c icmp.Counters) uint64 { return c.Received }},
	{desc("icmp_duplicate_total", "Replies to a request that had its reply."), func(c icmp.Counters) uint64 { return c.Duplicate }},
	{desc("icmp_late_total", "Replies after their timeout."), func(c icmp.Counters) uint64 { return c.Late }},
	{desc("icmp_foreign_total", "Replies to nothing that was asked."), func(c icmp.Counters) uint64 { return c.Foreign }},
	{desc("icmp_errors_total", "Requests that this machine did not send."), func(c icmp.Counters) uint64 { return c.Errors }},
	{desc("icmp_socket_drops_total", "Packets that the socket had no room for."), func(c icmp.Counters) uint64 { return c.SocketDrops }},
}

// echoCollector reads the counts once for each scrape.
type echoCollector func() icmp.Counters

func (echoCollector) Describe(to chan<- *prometheus.Desc) {
	for _, e := range echoes {
		to <- e.desc
	}
	to <- latenessDesc
}

func (ask echoCollector) Collect(to chan<- prometheus.Metric) {
	c := ask()
	for _, e := range echoes {
		to <- prometheus.MustNewConstMetric(e.desc, prometheus.CounterValue, float64(e.of(c)))
	}
	below := make(map[float64]uint64, len(icmp.LatenessBounds))
	var total uint64
	for i, n := range c.Lateness.Counts {
		total += n
		if i < len(icmp.LatenessBounds) {
			below[icmp.LatenessBounds[i].Seconds()] = total
		}
	}
	to <- prometheus.MustNewConstHistogram(latenessDesc, total, c.Lateness.Sum.Seconds(), below)
}

var (
	connectionsDesc = desc("database_connections", "Connections to the database that are open, by whether somebody uses them.", "state")
	mostDesc        = desc("database_connections_max", "Connections to the database that there can be.")
	waitsDesc       = desc("database_waits_total", "How often somebody found no connection free.")
	waitedDesc      = desc("database_wait_seconds_total", "Time that was spent waiting for a connection.")
)

// poolCollector reads how busy the connections to the database are. A store in
// a file has none to speak of, and no metrics.
type poolCollector func() store.Pool

func (poolCollector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{connectionsDesc, mostDesc, waitsDesc, waitedDesc} {
		to <- d
	}
}

func (ask poolCollector) Collect(to chan<- prometheus.Metric) {
	p := ask()
	if p.Most == 0 {
		return
	}
	to <- prometheus.MustNewConstMetric(connectionsDesc, prometheus.GaugeValue, float64(p.InUse), "in_use")
	to <- prometheus.MustNewConstMetric(connectionsDesc, prometheus.GaugeValue, float64(p.Idle), "idle")
	to <- prometheus.MustNewConstMetric(mostDesc, prometheus.GaugeValue, float64(p.Most))
	to <- prometheus.MustNewConstMetric(waitsDesc, prometheus.CounterValue, float64(p.Waits))
	to <- prometheus.MustNewConstMetric(waitedDesc, prometheus.CounterValue, p.Waited.Seconds())
}

var diskDesc = desc("disk_bytes", "Bytes on disk, by class of what lies there; free: what is free there.", "class")

// diskCollector asks for what was measured last.
type diskCollector func() map[string]int64

func (diskCollector) Describe(to chan<- *prometheus.Desc) { to <- diskDesc }

func (ask diskCollector) Collect(to chan<- prometheus.Metric) {
	for class, n := range ask() {
		to <- prometheus.MustNewConstMetric(diskDesc, prometheus.GaugeValue, float64(n), class)
	}
}
