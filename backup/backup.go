// Package backup writes the whole of Sereno's memory into one file, proves
// such a file, and makes a data folder of it again.
//
// The file is a tar archive, compressed with Zstandard (RFC 8878) and, on
// request, encrypted with a passphrase (age-encryption.org/v1, scrypt). So it can be read
// without Sereno too: age --decrypt FILE | zstd --decompress | tar --extract.
// In it are, in this order:
//
//	head.json            what made it, when, from which schema (a Head)
//	facts/TABLE/N.json   rows of a table, a line each; the first line has the columns
//	samples/…            the time-series databases, file by file
//	manifest.json        every part before it with its length and SHA-256, and
//	                     the sums of every table (a Manifest)
//
// It ends with a skippable frame that holds the SHA-256 of all before it, so
// that every bit counts.
//
// Facts do not depend on the engine that they come from: a backup of SQLite is
// restored into PostgreSQL, and the other way round.
package backup

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"filippo.io/age"
	"github.com/klauspost/compress/zstd"

	"sereno"
	"sereno/store"
)

// Format is the version of what this package writes. It reads no newer one.
const Format = 1

const (
	headName     = "head.json"
	manifestName = "manifest.json"
	factsFolder  = "facts/"
	samplesFold  = "samples/"

	// chunk is about how many bytes of rows go into one part, since a part's
	// length stands before it.
	chunk = 4 << 20
	// longest is the most that a part with rows or a document may be long.
	longest = 64 << 20

	// trailerMagic begins a skippable frame of Zstandard; its length follows.
	trailerMagic = "\x5e\x2a\x4d\x18\x20\x00\x00\x00"
	trailerSize  = len(trailerMagic) + sha256.Size
)

// A Head says what a backup is of.
type Head struct {
	Format  int            `json:"format"`
	Sereno  string         `json:"sereno"` // the version that wrote it
	Schema  int64          `json:"schema"`
	Made    time.Time      `json:"made"`    // by the clock on the wall
	Ledger  sereno.Instant `json:"ledger"`  // the ledger's time then
	Settled sereno.Instant `json:"settled"` // up to when every look had been judged and written
}

// A Part is one file in a backup.
type Part struct {
	Name   string `json:"name"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// A Manifest is what a backup must contain.
type Manifest struct {
	Parts  []Part      `json:"parts"`
	Tables []store.Sum `json:"tables"`
}

// A Progress is how far a backup or a restore has come.
type Progress struct {
	Part  string // what is under way: "facts/spans", "samples/raw"
	Rows  int64  // of facts, so far
	Bytes int64  // of contents, so far
}

// Facts is the store.
type Facts interface {
	Dump(ctx context.Context, schema func(version int64) error, each func(t store.Table, rows iter.Seq2[store.Row, error]) error) error
}

// A Source is what a backup is made of. One backup is made at a time.
type Source struct {
	Facts Facts
	// Samples makes a complete snapshot of all looks in a folder, which it
	// makes. nil: there are none.
	Samples func(ctx context.Context, folder string) error
	// Scratch is the folder for the snapshot, on the same disk as the looks.
	// What stood there is removed.
	Scratch string
	// Now returns the ledger's time, and up to when every look has been judged
	// and written.
	Now     func() (ledger, settled sereno.Instant)
	Version string // of the program
	// Ready is an error while the facts do not hold all that was settled. It
	// may be nil.
	Ready func() error

	under sync.Mutex
}

// Write writes a backup to w. The error is a Conflict while another is being
// written. progress may be nil.
func (s *Source) Write(ctx context.Context, w io.Writer, progress func(Progress)) (Manifest, error) {
	write, err := s.Begin()
	if err != nil {
		return Manifest{}, err
	}
	return write(ctx, w, progress)
}

// Begin is the part of Write that can be refused. write is to be called, once.
func (s *Source) Begin() (write func(context.Context, io.Writer, func(Progress)) (Manifest, error), err error) {
	if !s.under.TryLock() {
		return nil, sereno.Errorf(sereno.Conflict, "a backup is being made already: wait until it is done")
	}
	if err := s.ready(); err != nil {
		s.under.Unlock()
		return nil, err
	}
	return func(ctx context.Context, w io.Writer, progress func(Progress)) (Manifest, error) {
		defer s.under.Unlock()
		return s.write(ctx, w, progress)
	}, nil
}

func (s *Source) ready() error {
	if s.Ready == nil {
		return nil
	}
	return s.Ready()
}

func (s *Source) write(ctx context.Context, w io.Writer, progress func(Progress)) (Manifest, error) {
	if progress == nil {
		progress = func(Progress) {}
	}
	sum := sha256.New()
	squeeze, err := zstd.NewWriter(io.MultiWriter(w, sum), zstd.WithEncoderLevel(zstd.SpeedDefault), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return Manifest{}, fmt.Errorf("write a backup: %w", err)
	}
	defer squeeze.Close()
	b := &builder{Writer: tar.NewWriter(squeeze), made: time.Now().UTC().Truncate(time.Second), progress: progress}
	if err := s.build(ctx, b); err != nil {
		return Manifest{}, fmt.Errorf("write a backup: %w", err)
	}
	if err := b.Close(); err != nil {
		return Manifest{}, fmt.Errorf("write a backup: %w", err)
	}
	if err := squeeze.Close(); err != nil {
		return Manifest{}, fmt.Errorf("write a backup: %w", err)
	}
	if _, err := w.Write(sum.Sum([]byte(trailerMagic))); err != nil {
		return Manifest{}, fmt.Errorf("write a backup: %w", err)
	}
	return b.manifest, nil
}

func (s *Source) build(ctx context.Context, b *builder) error {
	ledger, settled := s.Now() // before the facts: they are as new at least
	if err := s.ready(); err != nil {
		return err // else what was settled may wait for the store since Begin
	}
	err := s.Facts.Dump(ctx, func(schema int64) error {
		return b.document(headName, Head{Format, s.Version, schema, b.made, ledger, settled})
	}, func(t store.Table, rows iter.Seq2[store.Row, error]) error { return b.table(ctx, t, rows) })
	if err != nil {
		return err
	}
	if s.Samples != nil {
		if err := s.samples(ctx, b); err != nil {
			return err
		}
	}
	return b.document(manifestName, b.manifest)
}

func (s *Source) samples(ctx context.Context, b *builder) error {
	if err := os.RemoveAll(s.Scratch); err != nil {
		return err
	}
	defer os.RemoveAll(s.Scratch)
	if err := s.Samples(ctx, s.Scratch); err != nil {
		return fmt.Errorf("take a snapshot of the samples: %w", err)
	}
	return b.folder(ctx, s.Scratch)
}

// A builder writes the parts.
type builder struct {
	*tar.Writer
	made     time.Time
	manifest Manifest
	rows     int64
	bytes    int64
	progress func(Progress)
}

// part writes one part of a known length.
func (b *builder) part(name string, length int64, content io.Reader) error {
	err := b.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: length, Mode: 0o600, ModTime: b.made, Format: tar.FormatPAX})
	if err != nil {
		return err
	}
	sum := sha256.New()
	if _, err := io.Copy(io.MultiWriter(b, sum), content); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	b.bytes += length
	b.manifest.Parts = append(b.manifest.Parts, Part{name, length, hexSum(sum)})
	return nil
}

func hexSum(h hash.Hash) string { return hex.EncodeToString(h.Sum(nil)) }

func (b *builder) document(name string, v any) error {
	text, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return err
	}
	return b.part(name, int64(len(text))+1, newText(text, '\n'))
}

// table writes the rows of a table, as many parts as it takes.
func (b *builder) table(ctx context.Context, t store.Table, rows iter.Seq2[store.Row, error]) error {
	sum := store.Summer{Table: t}
	head := appendRow(nil, columnsRow(t))
	text := slices.Clone(head)
	n := 0
	flush := func() error {
		if err := ctx.Err(); err != nil {
			return err
		}
		n++
		err := b.part(fmt.Sprintf("%s%s/%06d.json", factsFolder, t.Name, n), int64(len(text)), newText(text))
		text = append(text[:0], head...)
		b.progress(Progress{factsFolder + t.Name, b.rows, b.bytes})
		return err
	}
	for row, err := range rows {
		if err != nil {
			return err
		}
		sum.Add(row)
		b.rows++
		if text = appendRow(text, row); len(text) >= chunk {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	if n == 0 || len(text) > len(head) {
		if err := flush(); err != nil {
			return err
		}
	}
	b.manifest.Tables = append(b.manifest.Tables, sum.Sum())
	return nil
}

// folder writes all regular files below a folder.
func (b *builder) folder(ctx context.Context, folder string) error {
	return filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		name, err := filepath.Rel(folder, path)
		if err != nil {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			return err
		}
		err = b.part(samplesFold+filepath.ToSlash(name), info.Size(), io.LimitReader(f, info.Size()))
		b.progress(Progress{samplesFold, b.rows, b.bytes})
		return err
	})
}

// Resting is a Source's Samples for a folder of looks that nobody writes to.
func Resting(looks string) func(ctx context.Context, folder string) error {
	return func(ctx context.Context, folder string) error {
		return filepath.WalkDir(looks, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			name, err := filepath.Rel(looks, path)
			if err != nil {
				return err
			}
			switch to := filepath.Join(folder, name); {
			case d.IsDir():
				return os.MkdirAll(to, 0o700)
			case d.Type().IsRegular() && d.Name() != "lock":
				return os.Link(path, to)
			}
			return ctx.Err()
		})
	}
}

// Seal encrypts what is written to it with a passphrase, and writes that to w.
// Close it to finish; w stays open.
func Seal(w io.Writer, passphrase string) (io.WriteCloser, error) {
	recipient, err := age.NewScryptRecipient(passphrase)
	if err != nil {
		return nil, sereno.Errorf(sereno.Invalid, "this passphrase cannot be used: %v", err)
	}
	sealed, err := age.Encrypt(w, recipient)
	if err != nil {
		return nil, fmt.Errorf("encrypt a backup: %w", err)
	}
	return sealed, nil
}
