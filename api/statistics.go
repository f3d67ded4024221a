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
	Disk          map[string]int64 `json:"disk_bytes" doc:"By class of what lies on disk; free: what is free there. At most a minute old, of a large store hours"`
	Storage       Storage          `json:"storage" doc:"Whether what is found can be written"`
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

// Storage is the document of how what is found gets written.
type Storage struct {
	Status  string         `json:"status" enum:"ok,degraded,waiting,failing" doc:"degraded: something is wrong, but spans and incidents are written; waiting: some of them wait on disk; failing: they are in memory alone"`
	Fault   *string        `json:"fault" nullable:"true" doc:"What is wrong; null when nothing is"`
	Since   sereno.Instant `json:"since" format:"date-time" nullable:"true" doc:"Since when, once it has lasted two seconds"`
	Entries int            `json:"waiting_entries" doc:"Transactions that wait on disk"`
	Bytes   int64          `json:"waiting_bytes" doc:"Their size"`
	Reserve int64          `json:"reserve_bytes" doc:"Set aside for when the disk is full; 0 when it is given up"`
}

// StorageState is how storage is now.
type StorageState struct {
	Fault   string // what is wrong, for everybody; empty: nothing
	Kept    bool   // what is found is on disk
	Entries int    // that wait on disk
	Bytes   int64  // their size
	Reserve int64  // bytes set aside
}

// Health is the document of a server that does its work.
type Health struct {
	Status  string         `json:"status" enum:"ok,degraded" doc:"degraded: it watches, and what it finds is kept, but something needs a hand"`
	Reason  *string        `json:"reason" nullable:"true" doc:"Why it is degraded"`
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
		Isolated: s.Isolated, ClockPending: s.Pending, QueueLength: s.Queue, Unwritten: s.Unwritten, Refused: s.Refused, Storage: d.storage().document(s.Faulted),
		Disk: d.disk(),
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
	if _, err := d.Watch.Live(ctx, nil); err != nil {
		return nil, d.sick("the ledger", err)
	}
	health := Health{Status: "ok", Version: d.Version, Now: d.Now()}
	switch state := d.storage(); {
	case !state.Kept:
		return nil, newProblem(http.StatusServiceUnavailable, state.Fault)
	case state.Fault != "":
		// To start it anew would mend nothing and cost the view: it is at work.
		health.Status, health.Reason = "degraded", &state.Fault
	default:
		if _, err := d.Facts.CountDevices(ctx); err != nil {
			return nil, d.sick("the store", err)
		}
	}
	return &answer[Health]{health}, nil
}

// storage is how storage is, well if nobody says anything else.
func (d *desk) disk() map[string]int64 {
	if d.Disk != nil {
		if bytes := d.Disk(); bytes != nil {
			return bytes
		}
	}
	return map[string]int64{} // not measured yet
}

func (d *desk) storage() StorageState {
	if d.Storage == nil {
		return StorageState{Kept: true}
	}
	return d.Storage()
}

// document is what the statistics say of storage. since is that of the ledger.
func (s StorageState) document(since sereno.Instant) Storage {
	doc := Storage{Status: "ok", Since: since, Entries: s.Entries, Bytes: s.Bytes, Reserve: s.Reserve}
	switch {
	case !s.Kept:
		doc.Status = "failing"
	case s.Entries > 0:
		doc.Status = "waiting"
	case s.Fault != "":
		doc.Status = "degraded"
	}
	if s.Fault != "" {
		doc.Fault = &s.Fault
	}
	return doc
}

func (d *desk) sick(what string, err error) error {
	d.Log.Warn("not healthy", "part", what, "err", err)
	return newProblem(http.StatusServiceUnavailable, what+" does not answer; the log says more")
}

var _ Watch = (*ledger.Ledger)(nil)
