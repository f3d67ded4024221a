package remote

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"sereno"
)

// A queue holds looks on disk until a store has them. It is a row of segments
// (see record.go), each of which is written once, from its begin to its end,
// and a position up to which everything was acknowledged.
//
// What was appended survives the end of the process, however it ends. A loss
// of power may take what was appended after the last sync, and set the position
// back: what is then sent again is the same samples, which stores take for one.
type queue struct {
	dir      string
	maxBytes int64
	maxAge   time.Duration
	log      *slog.Logger
	wake     chan struct{} // there is something to read

	mu        sync.Mutex
	segments  []*segment // by ascending number
	last      uint64     // number that was given
	file      *os.File   // of the last segment; nil: the next append makes one
	known     register   // of file
	dirty     bool
	positions *os.File
	turn      uint64 // of the position that was written last
	at        position
	dropped   map[reason]uint64 // looks
	appended  uint64            // looks
}

// A segment is one file of a queue.
type segment struct {
	number        uint64
	bytes         int64 // that are good
	looks, acked  int
	first, newest int64 // Unix milliseconds
}

// A position is between two records.
type position struct {
	segment uint64
	offset  int64
}

// A reason is why looks were dropped.
type reason string

const (
	tooMany   reason = "size"     // more bytes than may wait
	tooOld    reason = "age"      // longer than it may wait
	damaged   reason = "damaged"  // cannot be read back
	unwritten reason = "disk"     // cannot be written
	noRoom    reason = "memory"   // the disk is slower than they come
	unknown   reason = "unknown"  // whose looks they are nobody knows
	refused   reason = "rejected" // the store does not want them
)

// leastBytes is the smallest bound that leaves room for enough segments.
const leastBytes = 16_000_000

// parts is into how many segments a full queue is divided: the share of it
// that goes at once.
const parts = 16

// mostSegment is how large a segment may be, however much may wait: at start it
// is read as a whole.
const mostSegment = 64 << 20

func openQueue(dir string, maxBytes int64, maxAge time.Duration, log *slog.Logger) (*queue, error) {
	q := &queue{
		dir: dir, maxBytes: maxBytes, maxAge: maxAge, log: log,
		wake: make(chan struct{}, 1), dropped: map[reason]uint64{},
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the queue: %w", err)
	}
	if err := q.openPosition(); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("read the queue: %w", err), q.positions.Close())
	}
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), suffix)
		number, err := strconv.ParseUint(name, 10, 64)
		if !ok || err != nil {
			continue
		}
		s, err := q.inspect(number)
		if err != nil {
			return nil, errors.Join(err, q.positions.Close())
		}
		q.segments = append(q.segments, s)
	}
	slices.SortFunc(q.segments, func(a, b *segment) int { return cmp.Compare(a.number, b.number) })
	q.last = q.at.segment
	if n := len(q.segments); n > 0 {
		q.last = max(q.last, q.segments[n-1].number)
	}
	q.tidy()
	if len(q.segments) > 0 {
		q.wake <- struct{}{}
	}
	return q, nil
}

const suffix = ".looks"

func (q *queue) path(number uint64) string {
	return filepath.Join(q.dir, fmt.Sprintf("%012d%s", number, suffix))
}

// inspect reads a segment of an earlier run. It is good until its first record
// that is not whole, as a process that was killed while it wrote leaves one.
func (q *queue) inspect(number uint64) (*segment, error) {
	s := &segment{number: number}
	text, err := os.ReadFile(q.path(number))
	if err != nil {
		return nil, fmt.Errorf("read the queue: %w", err)
	}
	var known register
	for int(s.bytes) < len(text) {
		p, size, ok, err := payload(text[s.bytes:])
		if err != nil || !ok {
			break
		}
		n, newest, err := decode(p, &known, nil)
		if err != nil {
			break
		}
		s.add(n, size, newest, newest)
		if number < q.at.segment || number == q.at.segment && s.bytes <= q.at.offset {
			s.acked = s.looks
		}
	}
	if rest := int64(len(text)) - s.bytes; rest > 0 {
		q.log.Warn("the end of a part of the queue cannot be read; it was being written when the process ended, or the disk is damaged",
			"file", q.path(number), "bytes", rest)
	}
	return s, nil
}

func (s *segment) add(looks, bytes int, first, newest int64) {
	if s.looks == 0 {
		s.first = first
	}
	s.looks += looks
	s.bytes += int64(bytes)
	s.newest = max(s.newest, newest)
}

// append writes looks behind the others. Those of whom identify knows nothing
// are dropped.
func (q *queue) append(looks []look, identify func(sereno.CheckID) (identity, bool)) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(looks) > 0 {
		n := min(recordLooks, len(looks))
		if err := q.appendPart(looks[:n], identify); err != nil {
			q.drop(unwritten, len(looks)-n)
			return err
		}
		looks = looks[n:]
	}
	return nil
}

// recordLooks is how many looks are in a record at most.
const recordLooks = 2000

func (q *queue) appendPart(looks []look, identify func(sereno.CheckID) (identity, bool)) error {
	if q.file == nil {
		if err := q.begin(); err != nil {
			q.drop(unwritten, len(looks))
			return err
		}
	}
	record, n := appendRecord(nil, looks, &q.known, identify)
	q.drop(unknown, len(looks)-n)
	if n == 0 {
		return nil
	}
	s := q.segments[len(q.segments)-1]
	if _, err := q.file.WriteAt(record, s.bytes); err != nil {
		q.drop(unwritten, n)
		err = errors.Join(fmt.Errorf("write to the queue: %w", err), q.end())
		if s.bytes == 0 { // or a full disk would leave one each time
			q.segments = q.segments[:len(q.segments)-1]
			err = errors.Join(err, os.Remove(q.path(s.number)))
		}
		return err
	}
	first, newest := looks[0].at, looks[0].at
	for i := range looks {
		newest = max(newest, looks[i].at)
	}
	s.add(n, len(record), first, newest)
	q.appended += uint64(n)
	q.dirty = true
	if s.bytes >= min(q.maxBytes/parts, mostSegment) || time.Duration(s.newest-s.first)*time.Millisecond >= q.maxAge/parts {
		if err := q.end(); err != nil {
			return err
		}
	}
	for q.size() > q.maxBytes && len(q.segments) > 1 {
		q.dropFirst(tooMany)
	}
	select {
	case q.wake <- struct{}{}:
	default:
	}
	return nil
}

// begin opens a new segment.
func (q *queue) begin() error {
	number := q.last + 1 // never one that a reader may still have in mind
	f, err := os.OpenFile(q.path(number), os.O_CREATE|os.O_RDWR|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("begin a part of the queue: %w", err)
	}
	q.file, q.known, q.last = f, register{}, number
	q.segments = append(q.segments, &segment{number: number})
	return nil
}

// end closes the segment that is written to.
func (q *queue) end() error {
	if q.file == nil {
		return nil
	}
	err := errors.Join(q.file.Sync(), q.file.Close())
	q.file, q.known, q.dirty = nil, register{}, false
	return err
}

func (q *queue) size() (bytes int64) {
	for _, s := range q.segments {
		bytes += s.bytes
	}
	return bytes
}

func (q *queue) drop(why reason, looks int) {
	if looks > 0 {
		q.dropped[why] += uint64(looks)
	}
}

// dropFirst drops the oldest segment.
func (q *queue) dropFirst(why reason) {
	s := q.segments[0]
	if len(q.segments) == 1 {
		if err := q.end(); err != nil {
			q.log.Warn("a part of the queue could not be closed", "err", err)
		}
	}
	q.drop(why, s.looks-s.acked)
	q.segments = q.segments[1:]
	if err := os.Remove(q.path(s.number)); err != nil {
		q.log.Warn("a part of the queue could not be removed", "err", err)
	}
}

// expire drops what has waited too long.
func (q *queue) expire(now time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.segments) > 0 {
		s := q.segments[0]
		if s.looks == 0 || time.UnixMilli(s.newest).Add(q.maxAge).After(now) {
			return
		}
		q.dropFirst(tooOld)
	}
}

// sync makes all that was appended survive a loss of power.
func (q *queue) sync() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.dirty {
		return nil
	}
	q.dirty = false
	return errors.Join(q.file.Sync(), q.positions.Sync())
}

func (q *queue) close() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	return errors.Join(q.end(), q.positions.Sync(), q.positions.Close())
}

// ack notes that a store has everything before at, which lies in or behind the
// segment that looks, so many, came from.
func (q *queue) ack(at position, looks int) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, s := range q.segments {
		if s.number == at.segment {
			s.acked += looks
		}
	}
	err := q.writePosition(at)
	q.tidy()
	return err
}

// skip gives up a segment that cannot be read back. It is the first one.
func (q *queue) skip(number uint64) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.segments) == 0 || q.segments[0].number != number {
		return nil
	}
	q.dropFirst(damaged)
	return q.writePosition(position{segment: number + 1})
}

// tidy removes segments that are acknowledged to their end, but for the one
// that is written to.
func (q *queue) tidy() {
	for len(q.segments) > 0 {
		s := q.segments[0]
		done := s.number < q.at.segment || s.number == q.at.segment && s.bytes <= q.at.offset || s.bytes == 0
		if !done || len(q.segments) == 1 && q.file != nil {
			return
		}
		s.acked = s.looks
		q.dropFirst("")
	}
}

// The position is kept in two slots, of which a torn write spoils only the one
// that is written.
const slotSize = 32

func (q *queue) openPosition() error {
	f, err := os.OpenFile(filepath.Join(q.dir, "position"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("open the queue: %w", err)
	}
	slots := make([]byte, 2*slotSize)
	if n, err := f.ReadAt(slots, 0); err != nil && !errors.Is(err, io.EOF) {
		return errors.Join(fmt.Errorf("read the queue's position: %w", err), f.Close())
	} else if n < len(slots) {
		clear(slots[n:])
	}
	for slot := range slices.Chunk(slots, slotSize) {
		turn := binary.LittleEndian.Uint64(slot)
		if crc32.Checksum(slot[:24], castagnoli) == binary.LittleEndian.Uint32(slot[24:]) && turn > q.turn {
			q.turn = turn
			q.at = position{binary.LittleEndian.Uint64(slot[8:]), int64(binary.LittleEndian.Uint64(slot[16:]))}
		}
	}
	q.positions = f
	return nil
}

func (q *queue) writePosition(at position) error {
	q.at = at
	q.turn++
	slot := make([]byte, slotSize)
	binary.LittleEndian.PutUint64(slot, q.turn)
	binary.LittleEndian.PutUint64(slot[8:], at.segment)
	binary.LittleEndian.PutUint64(slot[16:], uint64(at.offset))
	binary.LittleEndian.PutUint32(slot[24:], crc32.Checksum(slot[:24], castagnoli))
	if _, err := q.positions.WriteAt(slot, int64(q.turn%2)*slotSize); err != nil {
		return fmt.Errorf("write the queue's position: %w", err)
	}
	return nil
}

// waiting is what is in the queue and not acknowledged.
type waiting struct {
	looks  int
	bytes  int64
	oldest int64 // Unix milliseconds; 0: nothing waits
}

func (q *queue) waiting() (w waiting, dropped map[reason]uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, s := range q.segments {
		left := s.looks - s.acked
		if left <= 0 {
			continue
		}
		if w.looks == 0 { // of a part that is sent in part, about where it is
			w.oldest = s.first + (s.newest-s.first)*int64(s.acked)/int64(s.looks)
		}
		w.looks += left
		w.bytes += s.bytes * int64(left) / int64(s.looks)
	}
	return w, maps.Clone(q.dropped)
}

// has reports whether a segment is still there.
func (q *queue) has(number uint64) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.ContainsFunc(q.segments, func(s *segment) bool { return s.number == number })
}

// following returns the first segment at or behind a number, as it is now, and
// whether it will grow no more.
func (q *queue) following(number uint64) (s segment, complete, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i, other := range q.segments {
		if other.number >= number {
			return *other, i < len(q.segments)-1 || q.file == nil, true
		}
	}
	return segment{}, false, false
}

// A reader reads a queue from its position on. Only one may ack.
type reader struct {
	q       *queue
	at      position
	file    *os.File
	opened  uint64 // the segment of file
	known   register
	text    []byte // these are used again for each batch
	looks   []look
	numbers []int
}

func newReader(q *queue) *reader { return &reader{q: q, at: q.at} }

// A batch is looks of one segment, in order. It is valid until the next.
type batch struct {
	looks   []look
	numbers []int     // of their subjects
	known   *register // of the segment
	end     position  // behind the last of them
}

// next returns up to most looks, none if nothing waits. It reads at least one
// record.
func (r *reader) next(most int) (b batch, err error) {
	for {
		s, complete, ok := r.q.following(r.at.segment)
		if !ok {
			return b, nil
		}
		if s.number != r.at.segment {
			r.at = position{segment: s.number}
		}
		if r.at.offset >= s.bytes {
			if !complete {
				return b, nil
			}
			r.at = position{segment: s.number + 1}
			continue
		}
		if b, err = r.read(s, most); err == nil {
			return b, nil
		}
		if !r.q.has(s.number) {
			continue // dropped meanwhile
		}
		r.q.log.Error("a part of the queue cannot be read back and is skipped", "file", r.q.path(s.number), "looks", s.looks-s.acked, "err", err)
		if err := r.q.skip(s.number); err != nil {
			return b, err
		}
		r.at = position{segment: s.number + 1}
	}
}

func (r *reader) read(s segment, most int) (b batch, err error) {
	if r.file == nil || r.opened != s.number {
		if err := r.open(s.number); err != nil {
			return b, err
		}
	}
	size := int(min(s.bytes-r.at.offset, longestRecord))
	r.text = slices.Grow(r.text[:0], size)[:size]
	text := r.text
	b.looks, b.numbers = r.looks[:0], r.numbers[:0]
	if _, err := r.file.ReadAt(text, r.at.offset); err != nil && !errors.Is(err, io.EOF) {
		return b, fmt.Errorf("read the queue: %w", err)
	}
	offset := r.at.offset
	for used := 0; used < len(text) && (len(b.looks) == 0 || len(b.looks)+recordLooks <= most); {
		p, size, ok, err := payload(text[used:])
		if err != nil {
			return b, err
		}
		if !ok {
			if len(b.looks) == 0 {
				return b, errDamaged
			}
			break
		}
		if _, _, err := decode(p, &r.known, func(number int, l look) {
			b.looks, b.numbers = append(b.looks, l), append(b.numbers, number)
		}); err != nil {
			return b, err
		}
		used += size
		offset += int64(size)
	}
	r.at.offset = offset
	r.looks, r.numbers = b.looks, b.numbers
	b.known, b.end = &r.known, r.at
	return b, nil
}

// maxLookBytes is what a look and its subject take in a record at most: three
// numbers, and two numbers and two short words.
const maxLookBytes = 128

// longestRecord is what is read at once: some records of the usual length.
const longestRecord = headSize + 32 + recordLooks*maxLookBytes

// open opens a segment and reads its subjects up to where r is.
func (r *reader) open(number uint64) error {
	r.close()
	f, err := os.Open(r.q.path(number))
	if err != nil {
		return fmt.Errorf("open a part of the queue: %w", err)
	}
	r.file, r.opened, r.known = f, number, register{}
	text := make([]byte, r.at.offset)
	if _, err := io.ReadFull(f, text); err != nil {
		return fmt.Errorf("read the queue: %w", err)
	}
	for len(text) > 0 {
		p, size, ok, err := payload(text)
		if err != nil || !ok {
			return errDamaged
		}
		if _, _, err := decode(p, &r.known, nil); err != nil {
			return err
		}
		text = text[size:]
	}
	return nil
}

func (r *reader) close() {
	if r.file != nil {
		r.file.Close() //nolint:errcheck // nothing was written
		r.file = nil
	}
}
