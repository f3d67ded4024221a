package alert

import (
	"context"

	"sereno"
)

// An Outbox keeps what is promised. Each Promise is one transaction: all of it is
// on disk when Promise returns nil, and none of it otherwise; one that failed is
// repeated with the same batch, which then changes nothing twice.
type Outbox interface {
	// LoadAlerts returns where an earlier process left off.
	LoadAlerts(ctx context.Context) (Loaded, error)
	// Changes returns incidents whose latest version is newer than a revision, in
	// order, at most limit. What changed twice in between comes once.
	Changes(ctx context.Context, after int64, limit int) ([]Change, error)
	Promise(ctx context.Context, b *Batch) error
}

// A Change is the present version of an incident, and whom it is about.
type Change struct {
	Revision int64
	Incident sereno.Incident
	Device   *sereno.Device // nil for Sereno's own trouble, and for a device that is gone for good
	Check    *sereno.Check  // likewise; Device and Check of a device that was removed are as they were
	Removed  bool           // the device or the check is no longer watched
}

// Loaded is what the outbox held at a start.
type Loaded struct {
	Cursor  int64      // the last revision that was taken in
	Alerts  []Record   // those that are not done, by ID
	Waiting []Delivery // by ID, with their items
	LastID  DeliveryID // the highest ever given

	// Restored is when a backup was put in place, 0 once a Promise was made since:
	// what is open was told before, and whether it lasts is not known yet.
	Restored sereno.Instant
}

// A Record is an alert as the store keeps it: the store does not look inside.
type Record struct {
	ID   sereno.IncidentID // of the first incident of the thread; 0: how the channels do, which is never done
	Done bool              // nothing will come of it any more
	Doc  []byte            // JSON
}

// A Batch is what one transaction writes down.
type Batch struct {
	Cursor     int64          // 0: as it was
	Alerts     []Record       // new ones and new versions
	Deliveries []Delivery     // new ones, and new versions of known ones; all their Items, which may have grown
	Audit      []sereno.Audit // what people did that is part of it; IDs are given by the store
}

// Len returns how many rows b writes.
func (b *Batch) Len() int {
	n := len(b.Alerts) + len(b.Audit)
	for i := range b.Deliveries {
		n += 1 + len(b.Deliveries[i].Items)
	}
	return n
}
