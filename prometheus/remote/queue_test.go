package remote

import (
	"log/slog"
	"os"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sereno"
)

func open(t interface {
	Helper()
	Fatal(...any)
}, dir string, maxBytes int64, maxAge time.Duration,
) *queue {
	t.Helper()
	q, err := openQueue(dir, maxBytes, maxAge, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// run makes n looks from a time on, one a second.
func looksFrom(first, n int) []look {
	list := make([]look, n)
	for i := range list {
		list[i] = look{check: sereno.CheckID(1 + (first+i)%50), at: int64(first+i) * 1000, value: answered + uint64(first+i)}
	}
	return list
}

// Whatever is appended is read once and in order, over any number of ends of
// the process, in order or not, as long as nothing is too large or too old:
// what was acknowledged never again, what was not again.
func TestAQueueLosesNothingAndRepeatsNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp("", "queue")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		// Small segments: a sixteenth of these.
		maxBytes, maxAge := int64(100_000), time.Hour
		q := open(t, dir, maxBytes, maxAge)
		r := newReader(q)
		var appended, acked int // looks, in order
		read := 0
		var unacked []batch
		next := 0
		t.Repeat(map[string]func(*rapid.T){
			"append": func(t *rapid.T) {
				n := rapid.IntRange(1, 5000).Draw(t, "looks")
				if appended-acked+n > 10_000 {
					t.Skip("this would be too much for the queue")
				}
				if err := q.append(looksFrom(next, n), everybody); err != nil {
					t.Fatal(err)
				}
				next += n
				appended += n
			},
			"read": func(t *rapid.T) {
				b, err := r.next(requestLooks)
				if err != nil {
					t.Fatal(err)
				}
				if len(b.looks) == 0 {
					if read != appended {
						t.Fatalf("%d looks were read, %d appended, and nothing is left", read, appended)
					}
					return
				}
				if want := looksFrom(read, len(b.looks)); !slices.Equal(b.looks, want) {
					t.Fatalf("after %d looks comes %v", read, b.looks[0])
				}
				read += len(b.looks)
				unacked = append(unacked, b)
			},
			"ack": func(t *rapid.T) {
				if len(unacked) == 0 {
					t.Skip("nothing to acknowledge")
				}
				b := unacked[0]
				unacked = unacked[1:]
				if err := q.ack(b.end, len(b.looks)); err != nil {
					t.Fatal(err)
				}
				acked += len(b.looks)
			},
			"reopen": func(t *rapid.T) {
				r.close()
				if rapid.Bool().Draw(t, "killed") {
					if q.file != nil && rapid.Bool().Draw(t, "while it wrote") {
						s := q.segments[len(q.segments)-1]
						record, _ := appendRecord(nil, looksFrom(next, 100), &q.known, everybody)
						if _, err := q.file.WriteAt(record[:len(record)/2], s.bytes); err != nil {
							t.Fatal(err)
						}
					}
				} else if err := q.close(); err != nil {
					t.Fatal(err)
				}
				q = open(t, dir, maxBytes, maxAge)
				r = newReader(q)
				read, unacked = acked, nil
			},
			"": func(t *rapid.T) {
				w, dropped := q.waiting()
				if w.looks != appended-acked {
					t.Fatalf("%d looks wait, %d should", w.looks, appended-acked)
				}
				for why, n := range dropped {
					if n > 0 {
						t.Fatalf("%d looks were dropped: %s", n, why)
					}
				}
			},
		})
	})
}

// What is too much goes from the old end, and every look is either read or
// counted.
func TestAQueueHasBounds(t *testing.T) {
	q := open(t, t.TempDir(), 50_000, 365*24*time.Hour)
	const n = 200_000
	for i := 0; i < n; i += 1000 {
		if err := q.append(looksFrom(i, 1000), everybody); err != nil {
			t.Fatal(err)
		}
		if size := q.size(); size > 50_000 {
			t.Fatalf("%d bytes wait", size)
		}
	}
	w, dropped := q.waiting()
	if w.looks == 0 || uint64(w.looks)+dropped[tooMany] != n {
		t.Errorf("%d wait and %d were dropped, of %d", w.looks, dropped[tooMany], n)
	}
	r := newReader(q)
	b, err := r.next(requestLooks)
	if err != nil || b.looks[0].at != int64(n-w.looks)*1000 {
		t.Errorf("the first that is left is of %d s (%v)", b.looks[0].at/1000, err)
	}
}

func TestWhatWaitsTooLongGoes(t *testing.T) {
	q := open(t, t.TempDir(), 1_000_000, time.Hour)
	for i := 0; i < 4*3600; i += 60 { // four hours of looks
		if err := q.append(looksFrom(i, 60), everybody); err != nil {
			t.Fatal(err)
		}
	}
	r := newReader(q)
	if _, err := r.next(requestLooks); err != nil { // and nothing comes of it
		t.Fatal(err)
	}
	q.expire(time.Unix(4*3600, 0))
	w, dropped := q.waiting()
	if left := time.Duration(w.looks) * time.Second; left < time.Hour || left > time.Hour+time.Hour/8 {
		t.Errorf("%v are left of four hours, of which one may wait", left)
	}
	if dropped[tooOld] != uint64(4*3600-w.looks) {
		t.Errorf("%d were counted as too old", dropped[tooOld])
	}
	q.expire(time.Unix(10*3600, 0))
	if w, _ := q.waiting(); w.looks != 0 || q.size() != 0 {
		t.Errorf("%d looks are left although all are too old", w.looks)
	}
	if err := q.append(looksFrom(9*3600, 10), everybody); err != nil {
		t.Fatal(err)
	}
	for name, r := range map[string]*reader{"a new one": newReader(q), "who has read before": r} {
		if b, err := r.next(requestLooks); err != nil || len(b.looks) != 10 || b.looks[0].at != 9*3600*1000 {
			t.Errorf("%s reads %d looks of what comes afterwards, %v", name, len(b.looks), err)
		}
	}
}

// A reader whose part is dropped under it goes on with the next.
func TestAPartIsDroppedUnderItsReader(t *testing.T) {
	q := open(t, t.TempDir(), 50_000, 365*24*time.Hour)
	r := newReader(q)
	next := 0
	add := func(n int) {
		if err := q.append(looksFrom(next, n), everybody); err != nil {
			t.Fatal(err)
		}
		next += n
	}
	add(2000)
	first, err := r.next(requestLooks)
	if err != nil || len(first.looks) != 2000 {
		t.Fatal(len(first.looks), err)
	}
	for range 50 {
		add(1000)
	}
	if q.has(first.end.segment) {
		t.Fatal("it is still there")
	}
	if err := q.ack(first.end, len(first.looks)); err != nil { // it arrived all the same
		t.Fatal(err)
	}
	got, last := 0, int64(0)
	for {
		b, err := r.next(requestLooks)
		if err != nil {
			t.Fatal(err)
		}
		if len(b.looks) == 0 {
			break
		}
		got, last = got+len(b.looks), b.looks[len(b.looks)-1].at
		if err := q.ack(b.end, len(b.looks)); err != nil {
			t.Fatal(err)
		}
	}
	if last != int64(next-1)*1000 {
		t.Errorf("the last one read is of %d s, not %d", last/1000, next-1)
	}
	if w, dropped := q.waiting(); w.looks != 0 || got+int(dropped[tooMany]) != next {
		t.Errorf("%d read, %d dropped, %d wait, of %d", got, dropped[tooMany], w.looks, next)
	}
}

func TestADamagedPartIsSkipped(t *testing.T) {
	dir := t.TempDir()
	q := open(t, dir, 160_000, 365*24*time.Hour)
	for i := 0; i < 20_000; i += 1000 {
		if err := q.append(looksFrom(i, 1000), everybody); err != nil {
			t.Fatal(err)
		}
	}
	path := q.path(q.segments[0].number)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text[100] ^= 1
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	lost := q.segments[0].looks
	r := newReader(q)
	b, err := r.next(requestLooks)
	if err != nil || len(b.looks) == 0 || b.looks[0].at != int64(lost)*1000 {
		t.Fatalf("what is behind the damage is not read: %d looks, %v", len(b.looks), err)
	}
	if _, dropped := q.waiting(); dropped[damaged] != uint64(lost) {
		t.Errorf("%d looks were counted as damaged, %d were", dropped[damaged], lost)
	}
}

func TestAPositionThatIsTornIsTheOneBefore(t *testing.T) {
	dir := t.TempDir()
	q := open(t, dir, 1_000_000, 365*24*time.Hour)
	if err := q.append(looksFrom(0, 4000), everybody); err != nil {
		t.Fatal(err)
	}
	r := newReader(q)
	for range 2 {
		b, err := r.next(recordLooks)
		if err != nil {
			t.Fatal(err)
		}
		if err := q.ack(b.end, len(b.looks)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := q.positions.WriteAt(make([]byte, 20), int64(q.turn%2)*slotSize); err != nil {
		t.Fatal(err)
	}
	again := open(t, dir, 1_000_000, 365*24*time.Hour)
	if w, _ := again.waiting(); w.looks != 2000 {
		t.Errorf("%d looks wait, not the 2000 of the last acknowledgement", w.looks)
	}
}
