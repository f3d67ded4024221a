package samples

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/tsdb/index"
	"github.com/prometheus/prometheus/tsdb/tombstones"
)

// A minuteWriter writes a block of minutes. Chunks go to disk as they come,
// check by check; the index, which is sorted by name first, is written at the
// end, and only where the chunks are is remembered until then. Chunks must lie
// in the order of the index, so those of each name have files of their own.
type minuteWriter struct {
	meta   tsdb.BlockMeta
	dir    string // where it will be
	tmp    string // where it is made; the database removes what is left of it at start
	files  [len(minuteNames)]*chunks.Writer
	owners []minuteOwner                  // those of a check from all its vantage points stand together
	chunks [][columns]*chunkenc.XOR2Chunk // of the latest check's owners, to be written
}

// segmentSize is how long a file of chunks may be. Files are made at full
// length and cut afterwards, which a small disk should be able to bear.
const segmentSize = 64 << 20

// minuteNames are the names of the series, sorted.
var minuteNames = [...]string{MinuteLost, MinuteRTT, MinuteSent}

// columns are the series of a check: lost, the quantiles, sent.
const columns = 2 + len(Quantiles)

// nameOf returns which of minuteNames a column has.
func nameOf(column int) int {
	switch column {
	case 0:
		return 0
	case columns - 1:
		return 2
	}
	return 1
}

type minuteOwner struct {
	labels [len(ownerLabels)]string
	refs   [columns]chunkRef
}

type chunkRef struct {
	ref         chunks.ChunkRef // among the files of its name; 0: none, for the first one begins after a header
	first, last int64
}

func newMinuteWriter(folder string, begin, end int64) (*minuteWriter, error) {
	id, err := ulid.New(ulid.Timestamp(time.Now()), rand.Reader)
	if err != nil {
		return nil, err
	}
	w := &minuteWriter{dir: filepath.Join(folder, id.String())}
	w.tmp = w.dir + ".tmp-for-creation"
	w.meta = tsdb.BlockMeta{ULID: id, MinTime: begin, MaxTime: end, Version: 1}
	w.meta.Compaction.Level, w.meta.Compaction.Sources = 1, []ulid.ULID{id}
	for i, name := range minuteNames {
		if err == nil {
			if err = os.MkdirAll(filepath.Join(w.tmp, name), 0o700); err == nil {
				w.files[i], err = chunks.NewWriter(filepath.Join(w.tmp, name), chunks.WithSegmentSize(segmentSize))
			}
		}
	}
	if err != nil {
		return nil, errors.Join(err, w.close())
	}
	return w, nil
}

// close removes what was not finished.
func (w *minuteWriter) close() error {
	return errors.Join(w.closeFiles(), os.RemoveAll(w.tmp))
}

func (w *minuteWriter) closeFiles() (err error) {
	for i, f := range w.files {
		if w.files[i] = nil; f != nil {
			err = errors.Join(err, f.Close())
		}
	}
	return err
}

// add takes in the minutes of one owner. They come in the order of their
// labels.
func (w *minuteWriter) add(lset labels.Labels, rows []minute) error {
	if len(rows) == 0 {
		return nil
	}
	var owner minuteOwner
	for i, name := range ownerLabels {
		owner.labels[i] = lset.Get(name)
	}
	if n := len(w.owners); n > 0 && !w.owners[n-1].sameCheck(&owner) {
		if err := w.flush(); err != nil {
			return err
		}
	}
	var made [columns]*chunkenc.XOR2Chunk
	for c := range columns {
		chunk := chunkenc.NewXOR2Chunk()
		app, err := chunk.Appender()
		if err != nil {
			return err
		}
		at := &owner.refs[c]
		for i := range rows {
			v := rows[i].column(c)
			if math.IsNaN(v) {
				continue
			}
			if chunk.NumSamples() == 0 {
				at.first = rows[i].at
			}
			at.last = rows[i].at
			app.Append(0, rows[i].at, v)
		}
		if chunk.NumSamples() > 0 {
			made[c] = chunk
		}
	}
	w.owners, w.chunks = append(w.owners, owner), append(w.chunks, made)
	return nil
}

// flush writes the chunks of the latest check: in the order of the index,
// where the vantage point comes last.
func (w *minuteWriter) flush() error {
	owners := w.owners[len(w.owners)-len(w.chunks):]
	stats := &w.meta.Stats
	for c := range columns {
		for i := range owners {
			chunk := w.chunks[i][c]
			if chunk == nil {
				continue
			}
			at := &owners[i].refs[c]
			meta := []chunks.Meta{{Chunk: chunk, MinTime: at.first, MaxTime: at.last}}
			if err := w.files[nameOf(c)].WriteChunks(meta...); err != nil {
				return err
			}
			at.ref = meta[0].Ref
			stats.NumSamples += uint64(chunk.NumSamples())
			stats.NumFloatSamples += uint64(chunk.NumSamples())
			stats.NumChunks++
			stats.NumSeries++
		}
	}
	w.chunks = w.chunks[:0]
	return nil
}

// sameCheck reports whether two owners differ in their vantage point alone.
func (o *minuteOwner) sameCheck(other *minuteOwner) bool {
	const vantage = len(ownerLabels) - 1
	return slices.Equal(o.labels[:vantage], other.labels[:vantage])
}

func (m *minute) column(c int) float64 {
	switch nameOf(c) {
	case 0:
		return float64(m.lost)
	case 1:
		return m.rtt[c-1]
	}
	return float64(m.sent)
}

// finish writes the index and makes the block one of the database's, if there
// is anything in it.
func (w *minuteWriter) finish(ctx context.Context) error {
	if len(w.owners) == 0 {
		return nil
	}
	if err := errors.Join(w.flush(), w.closeFiles()); err != nil {
		return err
	}
	before, err := w.gather()
	if err != nil {
		return err
	}
	if err := w.writeIndex(ctx, before); err != nil {
		return fmt.Errorf("write the index of minutes: %w", err)
	}
	text, err := json.MarshalIndent(w.meta, "", "\t")
	if err != nil {
		return err
	}
	if err := writeSynced(filepath.Join(w.tmp, "meta.json"), text); err != nil {
		return err
	}
	if _, err := tombstones.WriteFile(slog.New(slog.DiscardHandler), w.tmp, tombstones.NewMemTombstones()); err != nil {
		return err
	}
	if err := syncFolder(w.tmp); err != nil {
		return err
	}
	if err := os.Rename(w.tmp, w.dir); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(w.dir))
}

// gather makes one row of the files of all names, and returns how many come
// before those of each.
func (w *minuteWriter) gather() (before [len(minuteNames)]int, err error) {
	all := filepath.Join(w.tmp, "chunks")
	if err := os.Mkdir(all, 0o700); err != nil {
		return before, err
	}
	n := 0
	for i, name := range minuteNames {
		before[i] = n
		from := filepath.Join(w.tmp, name)
		files, err := os.ReadDir(from) // sorted
		if err != nil {
			return before, err
		}
		for _, f := range files {
			n++
			if err := os.Rename(filepath.Join(from, f.Name()), filepath.Join(all, fmt.Sprintf("%06d", n))); err != nil {
				return before, err
			}
		}
		if err := os.Remove(from); err != nil {
			return before, err
		}
	}
	return before, syncFolder(all)
}

func (w *minuteWriter) writeIndex(ctx context.Context, before [len(minuteNames)]int) (err error) {
	ix, err := index.NewWriter(ctx, filepath.Join(w.tmp, "index"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ix.Close()) }()
	for _, s := range w.symbols() {
		if err := ix.AddSymbol(s); err != nil {
			return err
		}
	}
	var ref storage.SeriesRef
	for column := range columns {
		if n := nameOf(column); n == 1 && column != 1 {
			continue // with the first of its name
		}
		last := column
		if column == 1 {
			last = columns - 2
		}
		for rest := w.owners; len(rest) > 0; {
			n := 1
			for n < len(rest) && rest[n].sameCheck(&rest[0]) {
				n++
			}
			for c := column; c <= last; c++ {
				for i := range rest[:n] {
					at := rest[i].refs[c]
					if at.ref == 0 {
						continue
					}
					file, offset := chunks.BlockChunkRef(at.ref).Unpack()
					place := chunks.NewBlockChunkRef(uint64(file+before[nameOf(c)]), uint64(offset))
					ref++
					if err := ix.AddSeries(ref, rest[i].series(c), chunks.Meta{Ref: chunks.ChunkRef(place), MinTime: at.first, MaxTime: at.last}); err != nil {
						return err
					}
				}
			}
			rest = rest[n:]
		}
	}
	return nil
}

// series returns the labels of a column.
func (o *minuteOwner) series(column int) labels.Labels {
	text := append(make([]string, 0, 12), model.MetricNameLabel, minuteNames[nameOf(column)])
	for i, label := range ownerLabels {
		text = append(text, label, o.labels[i])
	}
	if nameOf(column) == 1 {
		text = append(text, "quantile", quantileLabels[column-1])
	}
	return labels.FromStrings(text...)
}

// symbols returns every text of the index, sorted.
func (w *minuteWriter) symbols() []string {
	all := append([]string{"", model.MetricNameLabel, "quantile"}, minuteNames[:]...)
	all = append(all, ownerLabels[:]...)
	all = append(all, quantileLabels[:]...)
	for i := range w.owners {
		all = append(all, w.owners[i].labels[:]...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func writeSynced(path string, text []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Sync(), f.Close())
}

func syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
