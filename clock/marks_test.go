package clock

import (
	"bytes"
	"context"
	"encoding/binary"
	"hash/crc32"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sereno"
)

func markOf(n int) sereno.Mark {
	at := sereno.Instant(1_790_000_000_000_000).Add(time.Duration(n) * time.Second)
	return sereno.Mark{
		Reading: sereno.Reading{
			Wall: at, Boot: time.Duration(n) * time.Second, Mono: time.Duration(n) * time.Minute,
			BootID: "1b4e28ba-2fa1-11d2-883f-0016d3cca427", Synced: n%2 == 0, Chip: n%3 == 0,
		},
		Ledger: at + 1, Settled: at - 1, Clean: n%5 == 0, Every: 5 * time.Second, PID: n, Restored: n%7 == 0,
	}
}

// written returns the path of a file that holds marks 1 to n.
func written(t *testing.T, n int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "alive")
	marks := mustOpen(t, path)
	for i := range n {
		if err := marks.Write(markOf(i + 1)); err != nil {
			t.Fatal(err)
		}
	}
	if err := marks.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func mustOpen(t *testing.T, path string) *Marks {
	t.Helper()
	marks, _, _, err := OpenMarks(path, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { marks.Close() })
	return marks
}

// reopen returns the last mark and what the log said.
func reopen(t *testing.T, path string) (sereno.Mark, bool, string) {
	t.Helper()
	var said bytes.Buffer
	marks, last, found, err := OpenMarks(path, slog.New(slog.NewTextHandler(&said, nil)))
	if err != nil {
		t.Fatal(err)
	}
	if err := marks.Close(); err != nil {
		t.Fatal(err)
	}
	return last, found, said.String()
}

func TestTheLastMarkIsFound(t *testing.T) {
	for n := range 8 {
		path := written(t, n)
		last, found, said := reopen(t, path)
		if found != (n > 0) || found && last != markOf(n) || said != "" {
			t.Errorf("of %d marks: %v %+v %q", n, found, last, said)
		}
		if info, err := os.Stat(path); err != nil || info.Size() != 2*slotSize {
			t.Errorf("after %d marks the file is %v, %v", n, info, err)
		}
	}
}

// A write may end at any byte: what is behind it is as it was before, or lost.
func TestATornWriteLeavesTheMarkBeforeIt(t *testing.T) {
	path := written(t, 4)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	fifth := encodeSlot(5, markOf(5))
	for torn := range len(fifth) + 1 {
		for _, lost := range []bool{false, true} {
			now := bytes.Clone(whole)
			slot := now[slotSize:]
			if lost {
				clear(slot)
			}
			copy(slot, fifth[:torn])
			if err := os.WriteFile(path, now, 0o600); err != nil {
				t.Fatal(err)
			}
			last, found, said := reopen(t, path)
			complete := bytes.Equal(slot[:len(fifth)], fifth)
			if want := map[bool]sereno.Mark{false: markOf(4), true: markOf(5)}[complete]; !found || last != want || said != "" {
				t.Fatalf("torn at %d: %v %+v %q", torn, found, last, said)
			}
		}
	}
}

func TestWritingGoesOnInTheDamagedSlot(t *testing.T) {
	path := written(t, 4)
	flip(t, path, 0, 40) // mark 4; mark 3 is left
	marks := mustOpen(t, path)
	if err := marks.Write(markOf(9)); err != nil {
		t.Fatal(err)
	}
	marks.Close()
	if last, _, _ := reopen(t, path); last != markOf(9) {
		t.Errorf("found %+v", last)
	}
	flip(t, path, 0, 40)
	if last, _, _ := reopen(t, path); last != markOf(3) {
		t.Errorf("mark 3 did not survive: %+v", last)
	}
}

func flip(t *testing.T, path string, offsets ...int) {
	t.Helper()
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range offsets {
		whole[at] ^= 0x10
	}
	if err := os.WriteFile(path, whole, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestADamagedFileOfOursIsStartedAnew(t *testing.T) {
	for _, c := range []struct {
		name   string
		damage func(whole []byte) []byte
	}{
		{"both slots", func(b []byte) []byte { b[30] ^= 1; b[slotSize+30] ^= 1; return b }},
		{"empty", func([]byte) []byte { return nil }},
		{"zeros", func(b []byte) []byte { return make([]byte, len(b)) }},
		{"cut off", func(b []byte) []byte { return b[:60] }},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := written(t, 4)
			whole, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, c.damage(whole), 0o600); err != nil {
				t.Fatal(err)
			}
			_, found, said := reopen(t, path)
			if found || !strings.Contains(said, "damaged") {
				t.Errorf("found %v, and the log says %q", found, said)
			}
			marks := mustOpen(t, path)
			if err := marks.Write(markOf(7)); err != nil {
				t.Fatal(err)
			}
			marks.Close()
			if last, _, said := reopen(t, path); last != markOf(7) || said != "" {
				t.Errorf("found %+v, and the log says %q", last, said)
			}
		})
	}
}

func TestAFileThatIsNotOursIsLeftAlone(t *testing.T) {
	for name, text := range map[string]string{
		"a text": "my notes\n", "a large file": strings.Repeat("x", 3*slotSize), "many zeros": strings.Repeat("\x00", 3*slotSize),
		"a later version": "sereno alive 2\n\x00" + strings.Repeat("\x00", 2*slotSize-16),
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "alive")
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			_, _, _, err := OpenMarks(path, slog.New(slog.DiscardHandler))
			if sereno.KindOf(err) != sereno.Invalid || !strings.Contains(err.Error(), path) {
				t.Errorf("got %v", err)
			}
			if now, _ := os.ReadFile(path); string(now) != text {
				t.Error("it was changed")
			}
		})
	}
}

func TestOneProcessKeepsTheMarks(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("files are locked on Linux only")
	}
	path := written(t, 3)
	mustOpen(t, path)
	_, _, _, err := OpenMarks(path, slog.New(slog.DiscardHandler))
	if sereno.KindOf(err) != sereno.Conflict || !strings.Contains(err.Error(), "process 3") {
		t.Errorf("got %v", err)
	}
}

func TestADirectoryThatIsNone(t *testing.T) {
	_, _, _, err := OpenMarks(filepath.Join(t.TempDir(), "none", "alive"), slog.New(slog.DiscardHandler))
	if sereno.KindOf(err) != sereno.Invalid || strings.Contains(err.Error(), "\n") {
		t.Errorf("got %v", err)
	}
}

func TestAFullDiskIsSaidOnceAndTheMarkBeforeStays(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_RDWR, 0)
	if err != nil {
		t.Skip("no /dev/full: ", err)
	}
	defer full.Close()
	path := written(t, 3)
	synctest.Test(t, func(t *testing.T) {
		var said bytes.Buffer
		marks := mustOpen(t, path)
		good := marks.file
		c, _, err := New(Options{Read: newBench().read})
		if err != nil {
			t.Fatal(err)
		}
		k := &Keeper{Clock: c, Marks: marks, Settled: c.Now, Log: slog.New(slog.NewTextHandler(&said, nil))}
		marks.file = full
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := k.Run(ctx); err == nil || strings.Count(said.String(), "\n") != 1 {
			t.Errorf("ended with %v, and the log says %q", err, said.String())
		}
		marks.file = good
		if last, err := marks.read(); err != nil || last != markOf(3) {
			t.Errorf("%+v, %v", last, err)
		}
	})
}

func TestAWriteThatFailedIsRepeatedInItsSlot(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_RDWR, 0)
	if err != nil {
		t.Skip("no /dev/full: ", err)
	}
	defer full.Close()
	path := written(t, 3)
	marks := mustOpen(t, path)
	good := marks.file
	marks.file = full
	if err := marks.Write(markOf(4)); err == nil {
		t.Fatal("a full disk took a mark")
	}
	marks.file = good
	if err := marks.Write(markOf(5)); err != nil {
		t.Fatal(err)
	}
	marks.Close()
	if last, _, _ := reopen(t, path); last != markOf(5) {
		t.Errorf("found %+v", last)
	}
	flip(t, path, 40)
	if last, _, _ := reopen(t, path); last != markOf(3) {
		t.Errorf("mark 3 did not survive: %+v", last)
	}
}

func FuzzDecodeSlot(f *testing.F) {
	f.Add(encodeSlot(7, markOf(7)), true)
	f.Add(encodeSlot(7, markOf(7))[:100], false)
	f.Add([]byte(slotMagic), true)
	f.Add(make([]byte, slotSize), false)
	f.Fuzz(func(t *testing.T, b []byte, sealed bool) {
		if sealed && len(b) >= recordSize+4 {
			copy(b, slotMagic)
			binary.LittleEndian.PutUint32(b[recordSize:], crc32.Checksum(b[:recordSize], castagnoli))
		}
		number, m, err := decodeSlot(b)
		if err != nil {
			return
		}
		again, same, err := decodeSlot(encodeSlot(number, m))
		if err != nil || again != number || same != m {
			t.Errorf("%d %+v became %d %+v, %v", number, m, again, same, err)
		}
	})
}

func BenchmarkWrite(b *testing.B) {
	marks, _, _, err := OpenMarks(filepath.Join(b.TempDir(), "alive"), slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	defer marks.Close()
	for b.Loop() {
		if err := marks.Write(markOf(1)); err != nil {
			b.Fatal(err)
		}
	}
}
