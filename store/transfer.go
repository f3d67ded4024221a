package store

import (
	"context"
	"fmt"
	"iter"
	"log/slog"
	"slices"

	"sereno"
)

// Transfer copies the whole store into a new one at an address of either
// engine, as it is at one moment, and proves it: the rows of the copy are read
// back and summed before they are kept. It returns the sum of every table.
// Progress is told how many rows of a table are there so far, and whether it is
// finished.
//
// The copy is there whole or not at all; after an interruption it is begun
// anew. A store at the address in which something was ever written is a
// Conflict.
func (s *Store) Transfer(ctx context.Context, to string, progress func(table string, rows int64, done bool), log *slog.Logger) (sums []Sum, err error) {
	schema, err := s.Schema(ctx)
	if err != nil {
		return nil, err
	}
	err = Restore(ctx, to, schema, func(d *Draft) error {
		sums = nil
		err := s.Dump(ctx, func(int64) error { return nil }, func(t Table, rows iter.Seq2[Row, error]) error {
			sum := Summer{Table: t}
			put := func(batch []Row) error {
				err := d.Put(ctx, t, batch)
				progress(t.Name, sum.Sum().Rows, false)
				return err
			}
			batch := make([]Row, 0, handful)
			for row, err := range rows {
				if err != nil {
					return err
				}
				sum.Add(row)
				if batch = append(batch, slices.Clone(row)); len(batch) == cap(batch) {
					if err := put(batch); err != nil {
						return err
					}
					batch = batch[:0]
				}
			}
			if err := put(batch); err != nil {
				return err
			}
			sums = append(sums, sum.Sum())
			progress(t.Name, sum.Sum().Rows, true)
			return nil
		})
		if err != nil {
			return err
		}
		return d.proven(ctx, sums)
	}, log)
	if err != nil {
		return nil, err
	}
	return sums, nil
}

// proven compares what the draft holds with what was read.
func (d *Draft) proven(ctx context.Context, want []Sum) error {
	have, err := d.Sums(ctx)
	if err != nil {
		return fmt.Errorf("read the copy back: %w", err)
	}
	if len(have) != len(want) {
		return sereno.Errorf(sereno.Internal, "the copy has %d tables, not %d: nothing was kept", len(have), len(want))
	}
	for i, w := range want {
		if have[i] != w {
			return sereno.Errorf(sereno.Internal, "the copy of %s differs (%d rows of sum %.8s, not %d of %.8s): nothing was kept", w.Table, have[i].Rows, have[i].Digest, w.Rows, w.Digest)
		}
	}
	return nil
}
