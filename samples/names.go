package samples

import (
	"strconv"
	"sync"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"sereno"
)

// Names of the series of the raw database.
const (
	RTT = "sereno_rtt_seconds" // round-trip time of a look that was answered
	Up  = "sereno_up"          // 1: the look was answered, 0: it was not
)

// names knows whose each check is.
type names struct {
	mu   sync.RWMutex
	of   map[sereno.CheckID]owner
	rate float64 // looks a second of all checks that were made known
}

type owner struct {
	device sereno.DeviceID
	kind   string
}

func (n *names) add(devices []sereno.Device) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.of == nil {
		n.of = make(map[sereno.CheckID]owner, len(devices))
	}
	for i := range devices {
		for _, c := range devices[i].Checks {
			if _, known := n.of[c.ID]; !known && c.Policy.Interval > 0 {
				n.rate += 1 / c.Policy.Interval.Seconds()
			}
			n.of[c.ID] = owner{devices[i].ID, c.Kind}
		}
	}
}

func (n *names) owner(check sereno.CheckID) (owner, bool) {
	n.mu.RLock()
	defer n.mu.RUnlock()
	o, ok := n.of[check]
	return o, ok
}

// expected returns how many checks are known, and how many looks they make in
// a second.
func (n *names) expected() (checks int, rate float64) {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return len(n.of), n.rate
}

// Labels returns the labels of a check's series called name, such as RTT or
// Up. ok is false for a check that is not known.
func (db *DB) Labels(name string, check sereno.CheckID, vantage sereno.VantageID) (l labels.Labels, ok bool) {
	o, ok := db.names.owner(check)
	if !ok {
		return labels.EmptyLabels(), false
	}
	// Labels are few and stand still: ids, not names that change.
	return labels.FromStrings(
		model.MetricNameLabel, name,
		"check", strconv.FormatInt(int64(check), 10),
		"device", strconv.FormatInt(int64(o.device), 10),
		"kind", o.kind,
		"vantage", vantageName(vantage),
	), true
}

const local = "local"

func vantageName(v sereno.VantageID) string {
	if v == 0 {
		return local
	}
	return strconv.FormatInt(int64(v), 10)
}
