package backup

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"filippo.io/age"
	"github.com/klauspost/compress/zstd"

	"sereno"
	"sereno/store"
)

const (
	ageMagic  = "age-encryption.org/v1\n"
	zstdMagic = "\x28\xb5\x2f\xfd"

	// hardest is the most that a passphrase may cost to try, as a power of two:
	// a file that asks for more would keep a machine busy for minutes.
	hardest = 22
)

// A Reader reads a backup from its beginning to its end.
type Reader struct {
	Head Head

	tar      *tar.Reader
	zstd     *zstd.Decoder
	whole    *whole
	manifest Manifest // as it is met
}

// Open reads the head of a backup. passphrase is asked for when the backup is
// encrypted.
//
// What is no backup, or one of a newer Sereno, a wrong passphrase and a file
// that is damaged are Invalid; each a sentence of its own. Close the Reader when done.
func Open(from io.Reader, passphrase func() (string, error)) (*Reader, error) {
	buffered := bufio.NewReaderSize(from, 1<<20)
	begin, err := buffered.Peek(len(ageMagic))
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read the backup: %w", err)
	}
	var plain io.Reader = buffered
	switch {
	case len(begin) == 0:
		return nil, sereno.Errorf(sereno.Invalid, "the file is empty, so it is no backup: use another")
	case string(begin) == ageMagic:
		if plain, err = unseal(buffered, passphrase); err != nil {
			return nil, err
		}
	case !bytes.HasPrefix(begin, []byte(zstdMagic)):
		return nil, sereno.Errorf(sereno.Invalid, "this is no backup of Sereno's, or its beginning is damaged: use another file")
	}
	w := &whole{from: plain, sum: sha256.New()}
	decoder, err := zstd.NewReader(w, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(128<<20))
	if err != nil {
		return nil, damaged(err)
	}
	r := &Reader{tar: tar.NewReader(decoder), zstd: decoder, whole: w}
	if err := r.readHead(); err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

// Close lets go of what the Reader holds; the file is the caller's.
func (r *Reader) Close() { r.zstd.Close() }

func unseal(from io.Reader, passphrase func() (string, error)) (io.Reader, error) {
	text, err := passphrase()
	if err != nil {
		return nil, err
	}
	identity, err := age.NewScryptIdentity(text)
	if err != nil {
		return nil, sereno.Errorf(sereno.Invalid, "this passphrase cannot be used: %v", err)
	}
	identity.SetMaxWorkFactor(hardest)
	plain, err := age.Decrypt(from, identity)
	if _, wrong := errors.AsType[*age.NoIdentityMatchError](err); wrong {
		return nil, sereno.Errorf(sereno.Invalid, "the passphrase is not the one that this backup was made with (or its first lines are damaged)")
	}
	if err != nil {
		return nil, damaged(err)
	}
	return plain, nil
}

func (r *Reader) readHead() error {
	h, err := r.tar.Next()
	if err != nil {
		return damaged(err)
	}
	if h.Name != headName {
		return sereno.Errorf(sereno.Invalid, "this is no backup of Sereno's but another archive: use another file")
	}
	if err := r.document(h, &r.Head); err != nil {
		return err
	}
	switch {
	case r.Head.Format > Format:
		return sereno.Errorf(sereno.Invalid, "the backup was written by a newer Sereno (%.40s, format %d; this one reads %d): use that version", r.Head.Sereno, r.Head.Format, Format)
	case r.Head.Schema > store.LatestSchema():
		return sereno.Errorf(sereno.Invalid, "the backup was written by a newer Sereno (%.40s, schema %d; this one knows %d): use that version", r.Head.Sereno, r.Head.Schema, store.LatestSchema())
	case r.Head.Format < 1 || r.Head.Schema < 1:
		return damaged(errors.New("its head says nothing"))
	}
	return nil
}

// A Sink takes what a backup holds.
type Sink struct {
	Rows func(t store.Table, rows []store.Row) error
	// File takes a file of the samples; name is local and has slashes.
	File     func(name string, content io.Reader) error
	Progress func(Progress)
}

// Each gives all of the backup to a sink, once, and proves that it is whole
// and as it was written: what the sink was given counts only if the error is
// nil.
func (r *Reader) Each(ctx context.Context, sink Sink) (Manifest, error) {
	var sums []store.Sum
	var sum store.Summer
	var progress Progress
	done := func() {
		if sum.Table.Name != "" {
			sums = append(sums, sum.Sum())
		}
	}
	for {
		if err := ctx.Err(); err != nil {
			return Manifest{}, err
		}
		h, err := r.tar.Next()
		if err != nil {
			return Manifest{}, damaged(errors.Join(err, errors.New("its end is missing")))
		}
		switch {
		case h.Typeflag != tar.TypeReg || h.Size < 0:
			return Manifest{}, damaged(fmt.Errorf("%.100q is no file", h.Name))
		case h.Name == manifestName:
			done()
			r.manifest.Tables = sums
			return r.finish(h)
		case strings.HasPrefix(h.Name, factsFolder):
			t, rows, err := r.rows(h)
			if err != nil {
				return Manifest{}, err
			}
			if t.Name != sum.Table.Name {
				done()
				sum = store.Summer{Table: t}
			}
			for _, row := range rows {
				sum.Add(row)
			}
			progress.Part, progress.Rows = factsFolder+t.Name, progress.Rows+int64(len(rows))
			if sink.Rows != nil {
				if err := sink.Rows(t, rows); err != nil {
					return Manifest{}, err
				}
			}
		case strings.HasPrefix(h.Name, samplesFold):
			name := strings.TrimPrefix(h.Name, samplesFold)
			if !filepath.IsLocal(name) || strings.Contains(name, `\`) {
				return Manifest{}, damaged(fmt.Errorf("%.100q lies outside", h.Name))
			}
			progress.Part = samplesFold
			take := sink.File
			if take == nil {
				take = func(string, io.Reader) error { return nil }
			}
			if err := r.part(h, func(content io.Reader) error { return take(name, content) }); err != nil {
				return Manifest{}, err
			}
		default:
			return Manifest{}, damaged(fmt.Errorf("nobody knows %.100q", h.Name))
		}
		progress.Bytes += h.Size
		if sink.Progress != nil {
			sink.Progress(progress)
		}
	}
}

// part reads a part and notes what it was.
func (r *Reader) part(h *tar.Header, take func(io.Reader) error) error {
	sum := sha256.New()
	content := &faults{from: io.TeeReader(r.tar, sum)}
	err := take(content)
	if err == nil {
		_, err = io.Copy(io.Discard, content)
	}
	if content.err != nil { // ours, whatever was made of it
		return damaged(content.err)
	}
	if err != nil {
		return err
	}
	r.manifest.Parts = append(r.manifest.Parts, Part{h.Name, h.Size, hexSum(sum)})
	return nil
}

// faults remembers what went wrong with reading, to tell it from what went
// wrong with writing.
type faults struct {
	from io.Reader
	err  error
}

func (f *faults) Read(p []byte) (int, error) {
	n, err := f.from.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		f.err = err
	}
	return n, err
}

// text reads a part whole.
func (r *Reader) text(h *tar.Header) (text []byte, err error) {
	if h.Size > longest {
		return nil, damaged(fmt.Errorf("%.100q is too long", h.Name))
	}
	err = r.part(h, func(content io.Reader) (err error) {
		text, err = io.ReadAll(content)
		return err
	})
	return text, err
}

func (r *Reader) document(h *tar.Header, into any) error {
	text, err := r.text(h)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, into); err != nil {
		return damaged(err)
	}
	return nil
}

func (r *Reader) rows(h *tar.Header) (t store.Table, rows []store.Row, err error) {
	name, _, ok := strings.Cut(strings.TrimPrefix(h.Name, factsFolder), "/")
	if !ok {
		return t, nil, damaged(fmt.Errorf("nobody knows %.100q", h.Name))
	}
	text, err := r.text(h)
	if err != nil {
		return t, nil, err
	}
	t.Name = name
	for line := range bytes.Lines(text) {
		row, err := parseRow(bytes.TrimSuffix(line, []byte("\n")))
		if err != nil {
			return t, nil, damaged(fmt.Errorf("%s: %w", h.Name, err))
		}
		if t.Columns == nil {
			for _, c := range row {
				column, _ := c.(string)
				t.Columns = append(t.Columns, column)
			}
			continue
		}
		if len(row) != len(t.Columns) {
			return t, nil, damaged(fmt.Errorf("%s: a row with %d values for %d columns", h.Name, len(row), len(t.Columns)))
		}
		rows = append(rows, row)
	}
	return t, rows, nil
}

// finish compares what was met with what must be there, to the last byte.
func (r *Reader) finish(h *tar.Header) (Manifest, error) {
	met := r.manifest
	met.Parts = slices.Clone(met.Parts)
	var must Manifest
	if err := r.document(h, &must); err != nil {
		return Manifest{}, err
	}
	if !slices.Equal(met.Parts, must.Parts) {
		return Manifest{}, damaged(errors.New("its parts are not those that it lists"))
	}
	if !slices.Equal(met.Tables, must.Tables) {
		return Manifest{}, damaged(errors.New("its tables have other sums than it lists"))
	}
	if h, err := r.tar.Next(); !errors.Is(err, io.EOF) {
		return Manifest{}, damaged(fmt.Errorf("something follows its end: %v, %w", h, err))
	}
	// What is left is the end of the archive, in which nothing is.
	if _, err := io.Copy(io.Discard, r.zstd); err != nil {
		return Manifest{}, damaged(err)
	}
	if err := r.whole.check(); err != nil {
		return Manifest{}, err
	}
	return must, nil
}

func damaged(err error) error {
	if errors.Is(err, context.Canceled) || sereno.KindOf(err) != sereno.Internal {
		return err
	}
	return sereno.Errorf(sereno.Invalid, "the backup is damaged or cut short: use another one (%s)", strings.ReplaceAll(err.Error(), "\n", "; "))
}

// whole passes all on but the trailer, and sums it.
type whole struct {
	from io.Reader
	sum  hash.Hash
	held []byte // read, and perhaps the trailer
	end  bool
}

func (w *whole) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for !w.end && len(w.held) <= trailerSize {
		more := make([]byte, max(len(p), 4096))
		n, err := w.from.Read(more)
		w.held = append(w.held, more[:n]...)
		if errors.Is(err, io.EOF) {
			w.end = true
		} else if err != nil {
			return 0, err
		}
	}
	n := copy(p, w.held[:max(0, len(w.held)-trailerSize)])
	if n == 0 {
		return 0, io.EOF
	}
	w.sum.Write(p[:n])
	w.held = append(w.held[:0], w.held[n:]...)
	return n, nil
}

// check reads to the end, and compares the sum with the trailer.
func (w *whole) check() error {
	if _, err := io.Copy(io.Discard, w); err != nil {
		return damaged(err)
	}
	if string(w.held) != string(w.sum.Sum([]byte(trailerMagic))) {
		return damaged(errors.New("its check sum is another"))
	}
	return nil
}
