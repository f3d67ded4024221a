package api

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"sereno"
)

// A RemovedDevice is watched no longer, and its history is still there.
type RemovedDevice struct {
	ID      sereno.DeviceID  `json:"id"`
	Name    string           `json:"name"`
	Created sereno.Instant   `json:"created"`
	Removed sereno.Instant   `json:"removed"`
	Checks  []sereno.CheckID `json:"checks"`
}

// purging is how long a purge may take: of years of history it does a little
// at a time.
const purging = time.Hour

func (d *desk) registerPurge() {
	register(d, huma.Operation{
		OperationID: "listRemovedDevices", Method: http.MethodGet, Path: "/api/devices/removed",
		Summary: "Devices that are watched no longer and whose history is still there, the latest first; at most 1000",
	}, d.listRemoved)
	register(d, huma.Operation{
		OperationID: "purgeDevice", Method: http.MethodDelete, Path: "/api/devices/{id}/history",
		Summary:     "Delete for ever all that is remembered of a removed device",
		Description: "Spans, incidents, figures and looks. Cut short, it may be asked again. A device that is still watched is a conflict.",
		Errors:      []int{http.StatusNotFound, http.StatusConflict, http.StatusServiceUnavailable},
		Middlewares: huma.Middlewares{func(ctx huma.Context, next func(huma.Context)) {
			_, w := humago.Unwrap(ctx)
			// A server that does not know it sets no limit.
			_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(purging))
			next(ctx)
		}},
	}, d.purgeDevice)
}

func (d *desk) listRemoved(ctx context.Context, in *struct {
	Name string `query:"name" doc:"exactly this name"`
},
) (*answer[Page[RemovedDevice]], error) {
	stones, err := d.Facts.Tombstones(ctx, in.Name)
	if err != nil {
		return nil, fmt.Errorf("list removed devices: %w", err)
	}
	documents := make([]RemovedDevice, len(stones))
	for i, s := range stones {
		documents[i] = RemovedDevice{ID: s.ID, Name: s.Name, Created: s.Created, Removed: s.Removed, Checks: s.Checks}
		if s.Checks == nil {
			documents[i].Checks = []sereno.CheckID{}
		}
	}
	return &answer[Page[RemovedDevice]]{Page[RemovedDevice]{Items: documents}}, nil
}

func (d *desk) purgeDevice(ctx context.Context, in *DevicePath) (*struct{}, error) {
	if err := d.Plan.Purge(ctx, sereno.DeviceID(in.ID)); err != nil {
		return nil, fmt.Errorf("purge device %d: %w", in.ID, err)
	}
	return nil, nil
}
