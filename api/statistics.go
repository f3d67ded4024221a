package api

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"sereno"
	"sereno/ledger"
)

// Statistics is the document of the whole.
type Statistics struct {
	Version       string           `json:"version"`
	Now           sereno.Instant   `json:"now" format:"date-time"`
	Since         sereno.Instant   `json:"since" format:"date-time" nullable:"true" doc:"When this process began to watch"`
	Seconds       Seconds          `json:"seconds" doc:"How long it has watched"`
	Settled       sereno.Instant   `json:"settled" format:"date-time" nullable:"true" doc:"What was judged until then is on disk"`
	Devices       Count            `json:"devices"`
	Checks        Count            `json:"checks"`
	Looks         map[string]Looks `json:"looks" doc:"By kind of check, since the process began"`
	IncidentsOpen int              `json:"incidents_open"`
	Isolated      bool             `json:"isolated" doc:"Cut off: nothing that is seen now says anything about targets"`
	ClockPending  bool             `json:"clock_pending" doc:"The clock is not to be trusted yet; nothing is judged"`
	QueueLength   int              `json:"queue_length" doc:"Batches of results that wait to be judged"`
	Unwritten     int              `json:"unwritten" doc:"Rows that wait for storage"`
	Refused       uint64           `json:"refused" doc:"Results that found no room in the queue"`
}

// A Count is how many there are of each status.
type Count struct {
	Total    int `json:"total"`
	Up       int `json:"up"`
	Degraded int `json:"degraded"`
	Down     int `json:"down"`
	Unknown  int `json:"unknown"`
}

// Looks is what became of the looks of one kind.
type Looks struct {
	Answered uint64 `json:"answered"`
	Lost     uint64 `json:"lost" doc:"No answer, or bad news"`
	Faults   uint64 `json:"faults" doc:"Could not look, by our own fault"`
}

// Health is the document of a server that works.
type Health struct {
	Status  string         `json:"status" enum:"ok"`
	Version string         `json:"version"`
	Now     sereno.Instant `json:"now" format:"date-time"`
}

func (d *desk) registerStatistics() {
	register(d, huma.Operation{
		OperationID: "getStatistics", Method: http.MethodGet, Path: "/api/statistics", Summary: "How much of what there is",
	}, d.statistics)
	register(d, huma.Operation{
		OperationID: "getHealth", Method: http.MethodGet, Path: "/health", Summary: "Whether the store and the ledger answer",
		Errors: []int{http.StatusServiceUnavailable},
	}, d.health)
}

func (d *desk) statistics(ctx context.Context, _ *struct{}) (*answer[Statistics], error) {
	s, err := d.Watch.Statistics(ctx)
	if err != nil {
		return nil, fmt.Errorf("ask for statistics: %w", err)
	}
	looks := make(map[string]Looks, len(s.Looks))
	for kind, o := range s.Looks {
		looks[kind] = Looks(o)
	}
	return &answer[Statistics]{Statistics{
		Version: d.Version, Now: s.Now, Since: s.Since, Seconds: length(s.Since, s.Now, s.Now), Settled: s.Settled,
		Devices: count(s.Devices), Checks: count(s.Checks), Looks: looks, IncidentsOpen: s.Incidents,
		Isolated: s.Isolated, ClockPending: s.Pending, QueueLength: s.Queue, Unwritten: s.Unwritten, Refused: s.Refused,
	}}, nil
}

func count(by map[sereno.Status]int) Count {
	c := Count{Up: by[sereno.Up], Degraded: by[sereno.Degraded], Down: by[sereno.Down], Unknown: by[sereno.Unknown]}
	c.Total = c.Up + c.Degraded + c.Down + c.Unknown
	return c
}

// patience is how long the store and the ledger may take to be called healthy.
const patience = 2 * time.Second

func (d *desk) health(ctx context.Context, _ *struct{}) (*answer[Health], error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if _, err := d.Facts.CountDevices(ctx); err != nil {
		return nil, d.sick("the store", err)
	}
	if _, err := d.Watch.Live(ctx, nil); err != nil {
		return nil, d.sick("the ledger", err)
	}
	return &answer[Health]{Health{Status: "ok", Version: d.Version, Now: d.Now()}}, nil
}

func (d *desk) sick(what string, err error) error {
	d.Log.Warn("not healthy", "part", what, "err", err)
	return newProblem(http.StatusServiceUnavailable, what+" does not answer; the log says more")
}

var _ Watch = (*ledger.Ledger)(nil)
