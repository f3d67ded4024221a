package remote

import (
	"bytes"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"sereno"
)

// What a full disk does not take is counted to the last look, and leaves no
// empty parts behind.
func TestAFullDiskIsCounted(t *testing.T) {
	dir := t.TempDir()
	q, err := openQueue(dir, 1_000_000_000, 24*time.Hour, slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	identify := func(sereno.CheckID) (identity, bool) { return identity{"1", "icmp"}, true }
	for n := 1; n <= 20; n++ {
		if err := os.Symlink("/dev/full", q.path(uint64(n))); err != nil {
			t.Fatal(err)
		}
	}
	looks := make([]look, 5*recordLooks)
	for i := range looks {
		looks[i] = look{check: 1, at: 1_700_000_000_000 + int64(i), value: lost}
	}
	for range 3 {
		if err := q.append(looks, identify); err == nil {
			t.Fatal("a full disk takes looks")
		}
	}
	w, dropped := q.waiting()
	if got := dropped[unwritten]; got != uint64(3*len(looks)) || w.looks != 0 {
		t.Errorf("%d of %d looks are counted, %d wait", got, 3*len(looks), w.looks)
	}
	if n := len(q.segments); n > 1 {
		t.Errorf("%d empty parts", n)
	}
}

// A disk that stays full is told once, and that it is no more.
func TestAFullDiskIsToldOnce(t *testing.T) {
	var said bytes.Buffer
	s := New(Options{Dir: t.TempDir(), Targets: []Target{{Name: "there"}}, Log: slog.New(slog.NewTextHandler(&said, nil))})
	s.Know([]sereno.Device{{ID: 1, Checks: []sereno.Check{{ID: 1, Kind: "icmp"}}}})
	q := open(t, s.lines[0].dir, 1_000_000_000, 24*time.Hour)
	s.lines[0].queue.Store(q)
	for n := 1; n <= 5; n++ {
		if err := os.Symlink("/dev/full", q.path(uint64(n))); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 8 {
		s.Keep([]sereno.Result{{Check: 1, At: sereno.Instant(1e15) + sereno.Instant(i)*1e6, Status: sereno.Down}})
		s.write(nil)
	}
	if told := said.String(); strings.Count(told, "level=ERROR") != 1 || strings.Count(told, "level=INFO") != 1 {
		t.Errorf("told: %s", told)
	}
	if w, dropped := q.waiting(); w.looks != 3 || dropped[unwritten] != 5 {
		t.Errorf("%d wait, %d are counted", w.looks, dropped[unwritten])
	}
}

// However much may wait: no part is larger than what is read back at once.
func TestPartsAreSmall(t *testing.T) {
	q := open(t, t.TempDir(), 1<<40, 24*time.Hour)
	if err := q.append(looksFrom(0, 1), everybody); err != nil {
		t.Fatal(err)
	}
	q.segments[0].bytes = mostSegment // as if there were so many
	for i := range 2 {
		if err := q.append(looksFrom(1+i, 1), everybody); err != nil {
			t.Fatal(err)
		}
	}
	if len(q.segments) != 2 {
		t.Errorf("%d parts", len(q.segments))
	}
}
