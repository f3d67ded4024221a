package api

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"sereno"
	"sereno/ledger"
	"sereno/probe"
	"sereno/probe/icmp"
)

func TestMetricsSayWhatTheSourcesKnow(t *testing.T) {
	m := NewMetrics(Sources{
		Version: "v1.2.3",
		Statistics: func(context.Context) (ledger.Statistics, error) {
			return ledger.Statistics{
				Checks:  map[sereno.Status]int{sereno.Up: 7, sereno.Down: 2},
				Devices: map[sereno.Status]int{sereno.Up: 5},
				Looks:   map[string]ledger.Outcomes{"icmp": {Answered: 1000, Lost: 20, Faults: 3}},
				Queue:   4, Unwritten: 5, Refused: 6, Incidents: 8, Isolated: true,
			}, nil
		},
		Echo: func() icmp.Counters {
			c := icmp.Counters{Sent: 11, Received: 12, Duplicate: 13, Late: 14, Foreign: 15, SocketDrops: 16, Errors: 17}
			c.Lateness.Sum = 2 * time.Second
			c.Lateness.Counts[0], c.Lateness.Counts[5], c.Lateness.Counts[len(icmp.LatenessBounds)] = 100, 10, 1
			return c
		},
		Maintenance: func() int { return 18 },
	})
	m.Committed(3*time.Millisecond, nil)

	want := `
# HELP sereno_checks Checks of each status.
# TYPE sereno_checks gauge
sereno_checks{status="degraded"} 0
sereno_checks{status="down"} 2
sereno_checks{status="unknown"} 0
sereno_checks{status="up"} 7
# HELP sereno_devices_in_maintenance Devices that are under a maintenance window.
# TYPE sereno_devices_in_maintenance gauge
sereno_devices_in_maintenance 18
# HELP sereno_icmp_duplicate_total Replies to a request that had its reply.
# TYPE sereno_icmp_duplicate_total counter
sereno_icmp_duplicate_total 13
# HELP sereno_icmp_errors_total Requests that this machine did not send.
# TYPE sereno_icmp_errors_total counter
sereno_icmp_errors_total 17
# HELP sereno_icmp_foreign_total Replies to nothing that was asked.
# TYPE sereno_icmp_foreign_total counter
sereno_icmp_foreign_total 15
# HELP sereno_icmp_late_total Replies after their timeout.
# TYPE sereno_icmp_late_total counter
sereno_icmp_late_total 14
# HELP sereno_icmp_received_total Echo replies received in time.
# TYPE sereno_icmp_received_total counter
sereno_icmp_received_total 12
# HELP sereno_icmp_sent_total Echo requests sent.
# TYPE sereno_icmp_sent_total counter
sereno_icmp_sent_total 11
# HELP sereno_icmp_socket_drops_total Packets that the socket had no room for.
# TYPE sereno_icmp_socket_drops_total counter
sereno_icmp_socket_drops_total 16
# HELP sereno_incidents_open Incidents that last.
# TYPE sereno_incidents_open gauge
sereno_incidents_open 8
# HELP sereno_isolated 1 while this vantage point is cut off.
# TYPE sereno_isolated gauge
sereno_isolated 1
# HELP sereno_ledger_queue_length Batches of results that wait to be judged.
# TYPE sereno_ledger_queue_length gauge
sereno_ledger_queue_length 4
# HELP sereno_look_lateness_seconds How long after they were due looks were sent.
# TYPE sereno_look_lateness_seconds histogram
sereno_look_lateness_seconds_bucket{le="0.001"} 100
sereno_look_lateness_seconds_bucket{le="0.002"} 100
sereno_look_lateness_seconds_bucket{le="0.005"} 100
sereno_look_lateness_seconds_bucket{le="0.01"} 100
sereno_look_lateness_seconds_bucket{le="0.02"} 100
sereno_look_lateness_seconds_bucket{le="0.05"} 110
sereno_look_lateness_seconds_bucket{le="0.1"} 110
sereno_look_lateness_seconds_bucket{le="0.2"} 110
sereno_look_lateness_seconds_bucket{le="0.5"} 110
sereno_look_lateness_seconds_bucket{le="1"} 110
sereno_look_lateness_seconds_bucket{le="2"} 110
sereno_look_lateness_seconds_bucket{le="5"} 110
sereno_look_lateness_seconds_bucket{le="10"} 110
sereno_look_lateness_seconds_bucket{le="+Inf"} 111
sereno_look_lateness_seconds_sum 2
sereno_look_lateness_seconds_count 111
# HELP sereno_looks_total Looks, by what came of them: answered, lost, or a fault of our own.
# TYPE sereno_looks_total counter
sereno_looks_total{kind="icmp",outcome="answered"} 1000
sereno_looks_total{kind="icmp",outcome="fault"} 3
sereno_looks_total{kind="icmp",outcome="lost"} 20
`
	var names []string
	for line := range strings.Lines(want) {
		if name, ok := strings.CutPrefix(line, "# TYPE "); ok {
			names = append(names, strings.Fields(name)[0])
		}
	}
	if err := testutil.GatherAndCompare(m, strings.NewReader(want), names...); err != nil {
		t.Error(err)
	}

	h := New(Options{Plan: &memory{}, Facts: &memory{}, Watch: &memory{}, Kinds: []probe.Kind{fakeKind{}}, Metrics: m})
	body := serve(h, request("GET", "/metrics", "")).Body.String()
	for _, line := range []string{
		`sereno_build_info{version="v1.2.3"} 1`,
		`sereno_ledger_commit_seconds_bucket{le="0.004"} 1`,
		`sereno_ledger_commit_seconds_count 1`,
		"go_goroutines ",
		"process_resident_memory_bytes ",
	} {
		if !strings.Contains(body, line) {
			t.Errorf("/metrics has no %s", line)
		}
	}
}

func TestMetricsWithoutTheLedgerStillTellTheRest(t *testing.T) {
	m := NewMetrics(Sources{Statistics: func(context.Context) (ledger.Statistics, error) {
		return ledger.Statistics{}, errors.New("it has stopped")
	}})
	h := New(Options{Plan: &memory{}, Facts: &memory{}, Watch: &memory{}, Metrics: m, Log: slog.New(slog.DiscardHandler)})
	w := serve(h, request("GET", "/metrics", ""))
	if w.Code != 200 || !strings.Contains(w.Body.String(), "go_goroutines") || strings.Contains(w.Body.String(), "sereno_checks") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
