package prometheus

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"sereno"
)

// Names of the series that a Catalog gives.
const (
	DeviceInfo = "sereno_device_info"
	CheckInfo  = "sereno_check_info"
)

// A Catalog knows what is watched. It gives the series that join names to
// samples, which carry nothing but ids because names change:
//
//	sereno_device_info{device, name, address, importance, tag_…} 1
//	sereno_check_info{check, device, kind, name} 1
//
// They are 1 from the creation of the device (the check) until now, under the
// names that hold now. The zero Catalog is empty and ready to use.
type Catalog struct {
	mu      sync.RWMutex
	devices map[sereno.DeviceID]sereno.Device
	checks  map[sereno.CheckID]pace
}

// A pace is how often a check looks, and since when.
type pace struct {
	interval time.Duration
	since    sereno.Instant
}

// Know takes in devices, or what has changed of them.
func (c *Catalog) Know(devices []sereno.Device) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.devices == nil {
		c.devices = make(map[sereno.DeviceID]sereno.Device, len(devices))
		c.checks = make(map[sereno.CheckID]pace, len(devices))
	}
	for _, d := range devices {
		c.drop(d.ID)
		c.devices[d.ID] = d
		for _, check := range d.Checks {
			c.checks[check.ID] = pace{check.Policy.Interval, check.Created}
		}
	}
}

// Forget drops devices that are watched no longer.
func (c *Catalog) Forget(devices []sereno.DeviceID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, id := range devices {
		c.drop(id)
	}
}

func (c *Catalog) drop(id sereno.DeviceID) {
	for _, check := range c.devices[id].Checks {
		delete(c.checks, check.ID)
	}
	delete(c.devices, id)
}

// pace returns how often the check of a series looks.
func (c *Catalog) pace(of labels.Labels) (pace, bool) {
	id, err := strconv.ParseInt(of.Get("check"), 10, 64)
	if err != nil {
		return pace{}, false
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	p, ok := c.checks[sereno.CheckID(id)]
	return p, ok
}

// names yields which series of names there could be for a selector.
func names(matchers []*labels.Matcher) []string {
	return slices.DeleteFunc([]string{CheckInfo, DeviceInfo}, func(name string) bool {
		return slices.ContainsFunc(matchers, func(m *labels.Matcher) bool {
			return m.Name == model.MetricNameLabel && !m.Matches(name)
		})
	})
}

// An info is one series of the catalog.
type info struct {
	labels labels.Labels
	since  sereno.Instant
}

// find returns the series that all matchers match, sorted by their labels.
func (c *Catalog) find(matchers []*labels.Matcher) []info {
	wanted := names(matchers)
	if len(wanted) == 0 {
		return nil
	}
	var found []info
	add := func(l labels.Labels, since sereno.Instant) {
		for _, m := range matchers {
			if !m.Matches(l.Get(m.Name)) {
				return
			}
		}
		found = append(found, info{l, since})
	}
	devices, checks := slices.Contains(wanted, DeviceInfo), slices.Contains(wanted, CheckInfo)
	c.mu.RLock()
	defer c.mu.RUnlock()
	var b labels.ScratchBuilder
	for _, d := range c.devices {
		if devices {
			add(deviceLabels(&b, &d), d.Created)
		}
		if checks {
			for i := range d.Checks {
				add(checkLabels(&b, &d.Checks[i]), d.Checks[i].Created)
			}
		}
	}
	slices.SortFunc(found, func(a, b info) int { return labels.Compare(a.labels, b.labels) })
	return found
}

func deviceLabels(b *labels.ScratchBuilder, d *sereno.Device) labels.Labels {
	b.Reset()
	b.Add(model.MetricNameLabel, DeviceInfo)
	b.Add("address", d.Address)
	b.Add("device", strconv.FormatInt(int64(d.ID), 10))
	b.Add("importance", d.Importance.String())
	b.Add("name", d.Name)
	tags := tagLabels(d.Tags)
	for _, name := range slices.Sorted(maps.Keys(tags)) {
		b.Add(name, tags[name])
	}
	b.Sort()
	return b.Labels()
}

func checkLabels(b *labels.ScratchBuilder, c *sereno.Check) labels.Labels {
	b.Reset()
	b.Add(model.MetricNameLabel, CheckInfo)
	b.Add("check", strconv.FormatInt(int64(c.ID), 10))
	b.Add("device", strconv.FormatInt(int64(c.Device), 10))
	b.Add("kind", c.Kind)
	b.Add("name", c.Name)
	b.Sort()
	return b.Labels()
}

// tagLabels makes labels of tags: "site:plant1" is tag_site="plant1", a word
// alone is tag_word="true". Tags with one key are joined by commas.
func tagLabels(tags []string) map[string]string {
	if len(tags) == 0 {
		return nil
	}
	made := make(map[string]string, len(tags))
	for _, tag := range tags {
		key, value, ok := strings.Cut(tag, ":")
		if !ok || value == "" {
			value = "true"
		}
		name := "tag_" + strings.Map(func(r rune) rune {
			if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
				return r
			}
			return '_'
		}, key)
		if before, ok := made[name]; ok {
			value = before + "," + value
		}
		made[name] = value
	}
	return made
}
