package samples

import (
	"fmt"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
)

// A verifier reads series, one after the other.
type verifier struct {
	labels  labels.ScratchBuilder
	metas   []chunks.Meta
	samples chunkenc.Iterator
	count   uint64
}

// series reads the chunks of the series whose index entry was read.
func (v *verifier) series(from tsdb.ChunkReader, block tsdb.BlockMeta) error {
	var before int64
	for i, m := range v.metas {
		chunk, _, err := from.ChunkOrIterable(m)
		if err != nil {
			return err
		}
		v.samples = chunk.Iterator(v.samples)
		for n := 0; v.samples.Next() != chunkenc.ValNone; n++ {
			t := v.samples.AtT()
			if (i > 0 || n > 0) && t <= before {
				return fmt.Errorf("a sample of %s comes after one of %s", stamp(t), stamp(before))
			}
			if t < m.MinTime || t > m.MaxTime || t < block.MinTime || t >= block.MaxTime {
				return fmt.Errorf("a sample of %s lies outside of its chunk or its block", stamp(t))
			}
			before = t
		}
		if err := v.samples.Err(); err != nil {
			return err
		}
	}
	return nil
}
