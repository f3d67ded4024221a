package spool

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"sereno"
	"sereno/ledger"
)

// A queue is the entries that wait, in files of a few megabytes that are named
// by a number, in order. Each begins with a head; a record follows for each
// entry. A file is removed when all of it is committed, and only then may
// anything be committed that is not in a file: entries that were committed may
// be read again after a crash, but never behind a later one.
//
//	head    magic [16]byte, time int64, CRC-32C of both
//	record  mark, length of the payload uint32, number uint64, time int64,
//	        CRC-32C of these; the payload; CRC-32C of the payload
//
// All is little endian; the times are the ledger's, when an entry was handed
// over; the numbers of the records go on by one. CRC-32C is that of RFC 3720,
// appendix B.4.
type queue struct {
	dir      string
	segments []*segment // in order
	tail     *os.File   // the last segment, open to be appended to; nil
	number   uint64     // of the latest record
	unsynced bool       // files were removed, but that may not be on disk
	lost     bool       // that something was set aside is noted in the folder
}

type segment struct {
	path    string
	index   uint64
	size    int64 // as far as it is whole
	read    int64 // as far as it is committed
	entries int   // behind read
}

const (
	magic       = "sereno spool 1\n\x00"
	magicFamily = "sereno spool "
	headSize    = int64(len(magic) + 8 + 4)
	mark        = 0x7e_53_50_7e // "~SP~"
	recordHead  = 4 + 4 + 8 + 8 + 4
	sumSize     = 4
	segmentSize = 8 << 20
	suffix      = ".entries"
	setAside    = ".damaged"
	lostNote    = "lost" // until when all is known, in microseconds; there until what follows is written
)

var (
	errDamaged = errors.New("damaged")
	errShort   = errors.New("cut short")
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func sum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

// openQueue finds what is in dir, and mends what can be.
func openQueue(dir string, log *slog.Logger) (*queue, Found, error) {
	q := &queue{dir: dir}
	var found Found
	all, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, found, err
	}
	for _, f := range all {
		digits, ours := strings.CutSuffix(f.Name(), suffix)
		index, err := strconv.ParseUint(digits, 10, 64)
		if !ours || err != nil {
			continue
		}
		q.segments = append(q.segments, &segment{path: filepath.Join(dir, f.Name()), index: index})
	}
	slices.SortFunc(q.segments, func(a, b *segment) int { return cmp.Compare(a.index, b.index) })
	for i, s := range q.segments {
		b, err := os.ReadFile(s.path)
		if err != nil {
			return nil, found, err
		}
		if strings.HasPrefix(string(b), magicFamily) && !strings.HasPrefix(string(b), magic) {
			return nil, found, q.newer(s)
		}
		last := i == len(q.segments)-1
		if last && len(b) < int(headSize) {
			q.segments = q.segments[:i]
			if err := os.Remove(s.path); err != nil { // its first entry was not even begun
				return nil, found, err
			}
			break
		}
		damage := q.inspect(s, b, &found)
		if errors.Is(damage, errNewer) {
			return nil, found, q.newer(s)
		}
		if damage == nil {
			continue
		}
		rest := b[s.size:]
		if last && torn(rest, damage) {
			log.Warn("the last entry of the spool was not written to its end before the power failed; it is cut off, and what it said is booked anew", "file", s.path, "bytes", len(rest))
			if err := cut(s.path, s.size); err != nil {
				return nil, found, err
			}
			break
		}
		if err := q.noteLost(found.Until); err != nil {
			return nil, found, err
		}
		if err := q.putAside(i, rest); err != nil {
			return nil, found, err
		}
		log.Error("the spool is damaged: what cannot be committed any more is set aside, and that time is booked as unknown",
			"file", s.path+setAside, "at", s.size, "known_until", found.Until)
		break
	}
	q.segments = slices.DeleteFunc(q.segments, func(s *segment) bool { return s.entries == 0 && os.Remove(s.path) == nil })
	found.Entries = q.usage().Entries
	if noted, err := os.ReadFile(q.lostPath()); err == nil {
		at, _ := strconv.ParseInt(string(noted), 10, 64) // else nothing is known to be there
		found.Lost, found.Until, q.lost = true, sereno.Instant(at), true
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, found, err
	}
	return q, found, nil
}

func (q *queue) lostPath() string { return filepath.Join(q.dir, lostNote) }

// noteLost notes that all is known until a moment only: a start that ends before
// it has booked the rest as unknown leaves that to the next one. A note that is
// there already is of less.
func (q *queue) noteLost(until sereno.Instant) error {
	f, err := os.OpenFile(q.lostPath(), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = f.WriteString(strconv.FormatInt(int64(until), 10))
	return errors.Join(err, f.Sync(), f.Close(), syncFolder(q.dir))
}

// forgetLost removes the note.
func (q *queue) forgetLost() error {
	if !q.lost {
		return nil
	}
	if err := removed(os.Remove(q.lostPath())); err != nil {
		return err
	}
	q.lost = false
	return nil
}

func (q *queue) newer(s *segment) error {
	return sereno.Errorf(sereno.Invalid, "%s holds entries of a newer Sereno: start that one, so that it writes them into the store", s.path)
}

// inspect reads a whole file, as far as its records are sound.
func (q *queue) inspect(s *segment, b []byte, found *Found) error {
	at, err := readHead(b)
	if err != nil {
		return err
	}
	found.Until = max(found.Until, at)
	s.size, s.read = headSize, headSize
	for s.size < int64(len(b)) {
		r, err := readRecord(b[s.size:])
		if err == nil && q.number != 0 && r.number != q.number+1 {
			err = errDamaged
		}
		if err == nil {
			err = decodeEntry(r.payload, &ledger.Entry{})
		}
		if err != nil {
			return err
		}
		q.number = r.number
		found.Until = r.at
		s.size += r.size()
		s.entries++
	}
	return nil
}

// torn reports whether the rest of the last file is the beginning of a record
// whose writing was interrupted. What is as long as it should be was whole once.
func torn(rest []byte, damage error) bool {
	return errors.Is(damage, errShort) || len(bytes.TrimRight(rest, "\x00")) < recordHead
}

// putAside moves what is damaged out of the way: the rest of the i-th file, and
// all files behind it.
func (q *queue) putAside(i int, rest []byte) error {
	s := q.segments[i]
	if s.size < headSize { // not even the head is sound
		s.size, s.entries = 0, 0
	}
	if err := os.WriteFile(s.path+setAside, rest, 0o600); err != nil {
		return err
	}
	for _, later := range q.segments[i+1:] {
		if err := os.Rename(later.path, later.path+setAside); err != nil {
			return err
		}
	}
	q.segments = q.segments[:i+1]
	if err := syncFolder(q.dir); err != nil {
		return err
	}
	return cut(s.path, s.size)
}

// cut shortens a file, and returns when that is on disk.
func cut(path string, size int64) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Truncate(size); err != nil {
		return err
	}
	return f.Sync()
}

func (q *queue) close() error {
	if q.tail == nil {
		return nil
	}
	err := q.tail.Close()
	q.tail = nil
	return err
}

func (q *queue) usage() (u Usage) {
	for _, s := range q.segments {
		u.Entries += s.entries
		u.Bytes += s.size
	}
	return u
}

// waits reports whether there is anything that a later entry may not overtake.
func (q *queue) waits() bool { return len(q.segments) > 0 || q.unsynced }

// append writes an entry behind all others and returns when it is on disk. When
// it fails nothing of it stays.
func (q *queue) append(at sereno.Instant, payload []byte) error {
	if n := len(q.segments); q.tail == nil || q.segments[n-1].size >= segmentSize {
		if err := q.begin(at); err != nil {
			return err
		}
	}
	s := q.segments[len(q.segments)-1]
	// What an earlier failure left must go first.
	if err := q.tail.Truncate(s.size); err != nil {
		return fmt.Errorf("write into the spool: %w", err)
	}
	b := encodeRecord(q.number+1, at, payload)
	_, err := q.tail.WriteAt(b, s.size)
	if err == nil {
		err = q.tail.Sync()
	}
	if err != nil {
		return fmt.Errorf("write into the spool: %w", errors.Join(err, q.tail.Truncate(s.size)))
	}
	q.number++
	s.size += int64(len(b))
	s.entries++
	return nil
}

// begin begins another file.
func (q *queue) begin(at sereno.Instant) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("begin a file of the spool: %w", err)
		}
	}()
	if err := os.MkdirAll(q.dir, 0o700); err != nil {
		return err
	}
	index := uint64(1)
	if n := len(q.segments); n > 0 {
		index = q.segments[n-1].index + 1
	}
	s := &segment{path: filepath.Join(q.dir, fmt.Sprintf("%016d%s", index, suffix)), index: index, size: headSize, read: headSize}
	f, err := os.OpenFile(s.path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(encodeHead(at), 0)
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = syncFolder(q.dir)
	}
	if err != nil {
		return errors.Join(err, f.Close(), os.Remove(s.path))
	}
	if q.tail != nil {
		q.tail.Close() // synced before
	}
	q.tail, q.unsynced = f, false
	q.segments = append(q.segments, s)
	return nil
}

// A stretch is the part of the oldest file that waits, as it was at one moment.
type stretch struct {
	path     string
	from, to int64
}

func (q *queue) front() stretch {
	if len(q.segments) == 0 {
		return stretch{}
	}
	s := q.segments[0]
	return stretch{s.path, s.read, s.size}
}

// read joins the first entries of a stretch into one, of about so many rows:
// joined, in order, they say the same. n is how many, size their bytes.
func (f stretch) read(rows int) (e *ledger.Entry, n int, size int64, err error) {
	e = &ledger.Entry{}
	if f.from >= f.to {
		return e, 0, 0, nil
	}
	file, err := os.Open(f.path)
	if err != nil {
		return nil, 0, 0, err
	}
	defer file.Close()
	for window := int64(readAhead); ; window *= 2 {
		b := make([]byte, min(f.to-f.from, window))
		if _, err := file.ReadAt(b, f.from); err != nil {
			return nil, 0, 0, fmt.Errorf("read the spool: %w", err)
		}
		for int(size) < len(b) && e.Len() < rows {
			r, err := readRecord(b[size:])
			if errors.Is(err, errShort) && int64(len(b)) < f.to-f.from {
				break // the window ends here
			}
			if err == nil {
				err = decodeEntry(r.payload, e)
			}
			if err != nil {
				return nil, 0, 0, fmt.Errorf("%s at byte %d: %w", f.path, f.from+size, errDamaged)
			}
			n++
			size += r.size()
		}
		if n > 0 {
			return e, n, size, nil
		}
	}
}

// readAhead is how much of a file is read at once, if an entry is not longer.
const readAhead = 1 << 20

// pop forgets the oldest n entries, and their file when nothing of it is left.
func (q *queue) pop(n int, size int64) error {
	if len(q.segments) > 0 {
		s := q.segments[0]
		s.read += size
		s.entries -= n
		if s.read < s.size {
			return nil
		}
		if err := os.Remove(s.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove what is written from the spool: %w", err)
		}
		q.segments = q.segments[1:]
		q.unsynced = true
		if len(q.segments) == 0 && q.tail != nil {
			q.tail.Close() // nothing of it is needed any more
			q.tail = nil
		}
	}
	if q.unsynced {
		if err := syncFolder(q.dir); err != nil {
			return fmt.Errorf("remove what is written from the spool: %w", err)
		}
		q.unsynced = false
	}
	return nil
}

func encodeHead(at sereno.Instant) []byte {
	b := binary.LittleEndian.AppendUint64([]byte(magic), uint64(at))
	return binary.LittleEndian.AppendUint32(b, sum(b))
}

func readHead(b []byte) (sereno.Instant, error) {
	whole := len(magic) + 8
	if len(b) < int(headSize) || string(b[:len(magic)]) != magic || sum(b[:whole]) != binary.LittleEndian.Uint32(b[whole:]) {
		return 0, errDamaged
	}
	return sereno.Instant(binary.LittleEndian.Uint64(b[len(magic):])), nil
}

type record struct {
	length  uint32
	number  uint64
	at      sereno.Instant
	payload []byte
}

// size is that of the whole record on disk.
func (r record) size() int64 { return recordHead + int64(r.length) + sumSize }

func encodeRecord(number uint64, at sereno.Instant, payload []byte) []byte {
	b := make([]byte, 0, recordHead+len(payload)+sumSize)
	b = binary.LittleEndian.AppendUint32(b, mark)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(payload)))
	b = binary.LittleEndian.AppendUint64(b, number)
	b = binary.LittleEndian.AppendUint64(b, uint64(at))
	b = binary.LittleEndian.AppendUint32(b, sum(b))
	b = append(b, payload...)
	return binary.LittleEndian.AppendUint32(b, sum(payload))
}

func readRecordHead(b []byte) (record, error) {
	if len(b) < recordHead {
		return record{}, errShort
	}
	if binary.LittleEndian.Uint32(b) != mark || sum(b[:recordHead-sumSize]) != binary.LittleEndian.Uint32(b[recordHead-sumSize:]) {
		return record{}, errDamaged
	}
	return record{
		length: binary.LittleEndian.Uint32(b[4:]), number: binary.LittleEndian.Uint64(b[8:]),
		at: sereno.Instant(binary.LittleEndian.Uint64(b[16:])),
	}, nil
}

func readRecord(b []byte) (record, error) {
	r, err := readRecordHead(b)
	if err != nil {
		return r, err
	}
	if r.size() > int64(len(b)) {
		return r, errShort
	}
	end := recordHead + int(r.length)
	r.payload = b[recordHead:end]
	if sum(r.payload) != binary.LittleEndian.Uint32(b[end:]) {
		return r, errDamaged
	}
	return r, nil
}

func syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
