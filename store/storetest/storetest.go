// Package storetest is what every engine of the store must do.
package storetest

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"

	"sereno"
	"sereno/ledger"
	"sereno/store"
)

// Run tests an engine. open returns an empty store, which the test closes.
func Run(t *testing.T, open func(t *testing.T) *store.Store) {
	for _, c := range []struct {
		name string
		test func(*rig)
	}{
		{"a device comes back as it was added", added},
		{"devices are added all or none", allOrNone},
		{"parents", parents},
		{"replacing keeps the identity of checks by name and kind", replaced},
		{"removing keeps history and frees the name", removed},
		{"the file's devices become exactly those of the file", applied},
		{"a file that contradicts the plan changes nothing", appliedBadly},
		{"devices are selected", selected},
		{"pages neither repeat nor hide under change", paged},
		{"identities are never given twice", identities},
		{"a repeated entry changes nothing", repeated},
		{"an entry is written whole or not at all", whole},
		{"news of the dead is left out", dead},
		{"a reason that is no text is made one", unspeakable},
		{"spans that touch a window", windows},
		{"incidents", incidents},
		{"absences", absences},
		{"clock events", clockEvents},
		{"policies, and since when they are in force", policies},
		{"starts", starts},
		{"days of looks", days},
		{"devices of a window, the removed among them", pastLives},
		{"lists that begin with the oldest", oldestFirst},
		{"the newest entry", newest},
		{"a cursor of another list is refused", cursors},
		{"planted faults are found", faults},
		{"what was given up is not done", givenUp},
		{"readers and writers at once", crowded},
		{"random lives tile and sum exactly", lives},
		{"the older part of random lives is dropped", retained},
		{"old incidents and absences are dropped", incidentsRetained},
		{"a clock that is wrong drops little at once", retainedByAWrongClock},
		{"a removed device is purged", purged},
		{"meter readings and spans that are not up give the same figures", meters},
		{"meters of the removed", deadMeters},
		{"figures are of one moment", moving},
		{"every incident that is written comes as a change", changed},
		{"who follows the changes knows what is stored", followed},
		{"incidents by themselves, and what hangs on them", siblings},
		{"what is promised is there, once", promised},
		{"what is merged is told once and listed twice", merged},
		{"what is told twice on a channel is sent and found", toldTwice},
		{"a delivery grows while incidents are deleted", growing},
		{"deliveries", deliveries},
		{"pages of deliveries under change", pagedDeliveries},
		{"random batches", outboxes},
		{"an outbox that contradicts itself", faultyOutboxes},
		{"what was told is forgotten", forgotten},
		{"the audit trail", audited},
		{"entries of the book", entries},
		{"a link is used once", links},
		{"stretches of maintenance", maintained},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := open(t)
			t.Cleanup(func() {
				if err := s.Close(); err != nil {
					t.Errorf("close: %v", err)
				}
			})
			c.test(&rig{T: t, Store: s})
		})
	}
}

// t0 is when everything begins.
const t0 = sereno.Instant(1_790_000_000_000_000)

// at is a number of seconds after t0.
func at(seconds float64) sereno.Instant { return t0 + sereno.Instant(seconds*1e6) }

// A rig is a store under test: what fails ends the test.
type rig struct {
	*testing.T
	*store.Store
}

func (b *rig) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

func (b *rig) add(devices ...sereno.Device) []sereno.Device {
	b.Helper()
	added, err := b.AddDevices(b.Context(), devices, t0)
	b.must(err)
	return added
}

// check adds one device with one check and returns the check's identity.
func (b *rig) check(name string) sereno.CheckID {
	b.Helper()
	return b.add(device(name))[0].Checks[0].ID
}

func (b *rig) commit(e ledger.Entry) {
	b.Helper()
	b.must(b.Commit(b.Context(), &e))
}

func (b *rig) sound() {
	b.Helper()
	b.must(b.CheckInvariants(b.Context()))
	b.must(b.CheckOutbox(b.Context()))
}

// refused checks that err is of a kind, blames a field and mentions words.
func (b *rig) refused(err error, kind sereno.Kind, field string, words ...string) {
	b.Helper()
	e, ok := errors.AsType[*sereno.Error](err)
	if !ok || e.Kind != kind || e.Field != field {
		b.Fatalf("the error is %#v (%v), not of the kind %d about the field %q", e, err, kind, field)
	}
	for _, w := range words {
		if !strings.Contains(e.Text, w) {
			b.Fatalf("%q does not mention %q", e.Text, w)
		}
	}
}

func collect[T any](b *rig, seq iter.Seq2[T, error]) (list []T) {
	b.Helper()
	for v, err := range seq {
		b.must(err)
		list = append(list, v)
	}
	return list
}

func device(name string, parents ...string) sereno.Device {
	return sereno.Device{Name: name, Address: "192.0.2.1", Parents: parents, Checks: []sereno.Check{icmp()}}
}

func icmp() sereno.Check {
	return sereno.Check{Name: "icmp", Kind: "icmp", Policy: sereno.DefaultPolicy}
}

func text(v any) string {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err.Error()
	}
	return string(b)
}

func same(b *rig, what string, got, want any) {
	b.Helper()
	if g, w := text(got), text(want); g != w {
		b.Fatalf("%s: got %s\nwant %s", what, g, w)
	}
}

func names(devices []sereno.Device) (list []string) {
	for _, d := range devices {
		list = append(list, d.Name)
	}
	return list
}

// pages walks through a list and calls between after each page.
func pages[T any](b *rig, page func(cursor string) ([]T, string, error), between func()) (list []T) {
	b.Helper()
	for cursor, n := "", 0; ; n++ {
		items, next, err := page(cursor)
		b.must(err)
		list = append(list, items...)
		if next == "" {
			return list
		}
		if n > 1000 || len(items) == 0 {
			b.Fatalf("page %d has %d items and says that there are more", n, len(items))
		}
		cursor = next
		between()
	}
}

func sortedByID(devices []sereno.Device) []sereno.Device {
	return slices.SortedFunc(slices.Values(devices), func(x, y sereno.Device) int { return cmp.Compare(x.ID, y.ID) })
}

func number(prefix string, i int) string { return fmt.Sprintf("%s-%03d", prefix, i) }
