package storetest

import (
	"fmt"
	"slices"
	"strings"

	"sereno"
	"sereno/ledger"
	"sereno/store"
)

// pastLives walks through devices that come and go: "a" lives from 0 on, and
// loses one of its two checks at 20; "b" lives from 10 to 30; another "b" from
// 40 on.
func pastLives(b *rig) {
	ctx := b.Context()
	put := func(seconds float64, d sereno.Device) sereno.Device {
		added, err := b.AddDevices(ctx, []sereno.Device{d}, at(seconds))
		b.must(err)
		return added[0]
	}
	two := device("a")
	two.Tags = []string{"site:plant1"}
	two.Checks = append(two.Checks, sereno.Check{Name: "second", Kind: "icmp", Policy: sereno.DefaultPolicy})
	a := put(0, two)
	b1 := put(10, device("b"))
	one := a
	one.Checks = a.Checks[:1]
	_, _, err := b.ReplaceDevice(ctx, one, at(20))
	b.must(err)
	_, err = b.RemoveDevice(ctx, b1.ID, at(30))
	b.must(err)
	b2 := put(40, device("b"))

	for _, c := range []struct {
		name string
		q    store.LifeQuery
		want string // id of the device: ids of its checks
	}{
		{"of all times", store.LifeQuery{}, says(a, 2) + says(b1, 1) + says(b2, 1)},
		{"before all", store.LifeQuery{To: t0}, ""},
		{"the first instant", store.LifeQuery{To: t0 + 1}, says(a, 2)},
		{"until the second came", store.LifeQuery{To: at(10)}, says(a, 2)},
		{"while the check went", store.LifeQuery{From: at(19), To: at(21)}, says(a, 2) + says(b1, 1)},
		{"after the check went", store.LifeQuery{From: at(20), To: at(30)}, says(a, 1) + says(b1, 1)},
		{"after the device went", store.LifeQuery{From: at(30), To: at(40)}, says(a, 1)},
		{"now", store.LifeQuery{From: at(50)}, says(a, 1) + says(b2, 1)},
		{"a name with two lives", store.LifeQuery{Name: "b"}, says(b1, 1) + says(b2, 1)},
		{"a tag", store.LifeQuery{Tag: "site:plant1"}, says(a, 2)},
		{"a part of a tag", store.LifeQuery{Tag: "site:plant"}, ""},
		{"an id", store.LifeQuery{Device: b1.ID}, says(b1, 1)},
	} {
		for _, limit := range []int{1, 100} {
			var got strings.Builder
			for _, l := range pages(b, func(cursor string) ([]store.Life, string, error) {
				c.q.Cursor, c.q.Limit = cursor, limit
				return b.Lives(ctx, c.q)
			}, func() {}) {
				got.WriteString(says(l.Device, len(l.Checks)))
				if gone := l.Removed != 0; gone != (l.ID == b1.ID) || gone && l.Removed != at(30) {
					b.Errorf("%s: device %d was removed at %s", c.name, l.ID, l.Removed)
				}
			}
			if got.String() != c.want {
				b.Errorf("%s, by %d: got %q, want %q", c.name, limit, &got, c.want)
			}
		}
	}
	_, _, err = b.Lives(ctx, store.LifeQuery{Cursor: "1.2"})
	b.refused(err, sereno.Invalid, "cursor")
}

func says(d sereno.Device, checks int) string {
	var ids []sereno.CheckID
	for _, c := range d.Checks[:checks] {
		ids = append(ids, c.ID)
	}
	return fmt.Sprintf("%d:%v ", d.ID, slices.Sorted(slices.Values(ids)))
}

// oldestFirst: the lists that can be read the other way round are the same
// then, backwards, in pages of any size.
func oldestFirst(b *rig) {
	ctx := b.Context()
	var in []sereno.Incident
	var away []sereno.Absence
	d := b.add(device("a"))[0]
	for i := range 5 {
		in = append(in, sereno.Incident{
			ID: sereno.IncidentID(i + 1), Device: d.ID, Check: d.Checks[0].ID,
			Opened: at(float64(10 * i)), Closed: at(float64(10*i + 5)),
		})
		away = append(away, sereno.Absence{Begin: at(float64(10 * i)), End: at(float64(10*i + 1))})
	}
	b.commit(ledger.Entry{Incidents: in, Absences: away})
	for _, limit := range []int{1, 2, 5, 6} {
		got := pages(b, func(cursor string) ([]sereno.Incident, string, error) {
			return b.Incidents(ctx, store.IncidentQuery{Oldest: true, Cursor: cursor, Limit: limit})
		}, func() {})
		same(b, "incidents", got, in)
		gone := pages(b, func(cursor string) ([]sereno.Absence, string, error) {
			return b.Absences(ctx, store.AbsenceQuery{Oldest: true, Cursor: cursor, Limit: limit})
		}, func() {})
		same(b, "absences", gone, away)
	}
}
