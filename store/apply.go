package store

import (
	"cmp"
	"context"
	"database/sql"
	"maps"
	"slices"

	"sereno"
)

// Applied is what ApplyFile changed, and what there is now.
type Applied struct {
	Living  []sereno.Device // all living devices, by ID
	Added   []sereno.Device
	Removed []sereno.Device
	Changed []Changed
}

// Changed is a living device before and after.
type Changed struct{ Old, New sereno.Device }

// ApplyFile makes the living devices that come from the file exactly those
// given, matched by name, all or nothing. What is alike is not written. Of the
// other devices only those change that lose a parent by it.
//
// A name that is given twice or belongs to a device that is not from the file
// is a Conflict, an unknown parent and a circle of parents are Invalid.
func (s *Store) ApplyFile(ctx context.Context, devices []sereno.Device, now sereno.Instant) (Applied, error) {
	return s.applyFile(ctx, devices, now, now)
}

// TakeUpFile is ApplyFile at a start: nobody watched from seen to now, so that
// what ends now was not known in between.
func (s *Store) TakeUpFile(ctx context.Context, devices []sereno.Device, seen, now sereno.Instant) (Applied, error) {
	return s.applyFile(ctx, devices, min(seen, now), now)
}

func (s *Store) applyFile(ctx context.Context, devices []sereno.Device, seen, now sereno.Instant) (Applied, error) {
	wanted, err := normal(devices, deviceField)
	if err != nil {
		return Applied{}, err
	}
	for i := range wanted {
		wanted[i].FromFile = true
	}
	var a Applied
	err = s.writeSpans(ctx, "apply the file", slices.Values([]sereno.Instant{seen, now}), func(tx *sql.Tx) error {
		living := make(map[string]sereno.Device)
		for d, err := range allDevices(ctx, tx) {
			if err != nil {
				return err
			}
			living[d.Name] = d
		}
		if err := checkFile(wanted, living); err != nil {
			return err
		}
		a = compare(wanted, living)
		// Removed first, so that nothing hangs on them; changed last, so that
		// they can hang on the added.
		p := &plan{store: s, tx: tx, now: now, unseen: seen}
		if err := p.remove(a.Removed); err != nil {
			return err
		}
		if err := p.add(a.Added, deviceField); err != nil {
			return err
		}
		for i := range a.Changed {
			c := &a.Changed[i]
			if err := p.change(c.Old, &c.New, ""); err != nil {
				return err
			}
		}
		a.Living = a.after(living)
		return nil
	})
	if err != nil {
		return Applied{}, err
	}
	return a, nil
}

// after returns what becomes of living.
func (a *Applied) after(living map[string]sereno.Device) []sereno.Device {
	for _, d := range a.Removed {
		delete(living, d.Name)
	}
	for _, c := range a.Changed {
		living[c.New.Name] = c.New
	}
	for _, d := range a.Added {
		living[d.Name] = d
	}
	return slices.SortedFunc(maps.Values(living), func(x, y sereno.Device) int { return cmp.Compare(x.ID, y.ID) })
}

// checkFile finds what stands against the devices of a file beside the living
// ones.
func checkFile(wanted []sereno.Device, living map[string]sereno.Device) error {
	after := make(map[string]bool, len(wanted))
	for i, d := range wanted {
		if old, ok := living[d.Name]; after[d.Name] || ok && !old.FromFile {
			return nameTaken(deviceField(i), d.Name)
		}
		after[d.Name] = true
	}
	for i, d := range wanted {
		for _, parent := range d.Parents {
			if old, ok := living[parent]; !after[parent] && (!ok || old.FromFile) {
				return unknownParent(deviceField(i), parent)
			}
		}
	}
	parents := parentsOf(wanted)
	for name, d := range living {
		if !d.FromFile && len(d.Parents) > 0 {
			parents[name] = d.Parents
		}
	}
	return circle(parents)
}

// compare says what must change for wanted to be the file's part of living.
func compare(wanted []sereno.Device, living map[string]sereno.Device) (a Applied) {
	after := make(map[string]bool, len(wanted))
	for _, d := range wanted {
		after[d.Name] = true
		if old, ok := living[d.Name]; !ok {
			a.Added = append(a.Added, d)
		} else if !same(old, d) {
			a.Changed = append(a.Changed, Changed{Old: old, New: d})
		}
	}
	gone := func(name string) bool { return living[name].FromFile && !after[name] }
	for name, d := range living {
		switch {
		case gone(name):
			a.Removed = append(a.Removed, d)
		case !d.FromFile && slices.ContainsFunc(d.Parents, gone):
			orphan := d
			orphan.Checks = slices.Clone(d.Checks)
			orphan.Parents = sorted(slices.DeleteFunc(slices.Clone(d.Parents), gone))
			a.Changed = append(a.Changed, Changed{Old: d, New: orphan})
		}
	}
	slices.SortFunc(a.Removed, func(x, y sereno.Device) int { return cmp.Compare(x.ID, y.ID) })
	slices.SortFunc(a.Changed, func(x, y Changed) int { return cmp.Compare(x.Old.ID, y.Old.ID) })
	return a
}
