package remote

import (
	"log/slog"
	"os"
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
		looks[i] = look{check: 1, at: int64(1_700_000_000_000 + i), value: lost}
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
