package samples

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"sereno"
)

const span6h = 6 * time.Hour

// filled is a folder with six hours of looks of one check, most of them in
// blocks, and the looks.
func filled(t *testing.T) (Options, []sereno.Result) {
	t.Helper()
	o := options(t, t.TempDir())
	looks := history(1, 0, span6h, time.Second, 11)
	db := New(o)
	db.block = 20 * time.Minute
	db.Know(devices(1, time.Second))
	db.Keep(looks)
	stop := start(t, db)
	settle(t, db)
	stop()
	return o, slices.DeleteFunc(looks, func(r sereno.Result) bool { return r.Status == sereno.Unknown })
}

// reopen opens what filled has left.
func reopen(t *testing.T, o Options) (db *DB, stop func()) {
	t.Helper()
	db = New(o)
	db.block = 20 * time.Minute
	db.Know(devices(1, time.Second))
	return db, start(t, db)
}

func blocks(t *testing.T, dir string) []string {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(dir, "raw", "01*"))
	if err != nil || len(list) < 3 {
		t.Fatalf("blocks: %v (%v)", list, err)
	}
	return list
}

// flip changes a byte of a file, counted from its end if below 0.
func flip(t *testing.T, path string, at int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if at < 0 {
		info, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		at += info.Size()
	}
	var b [1]byte
	if _, err := f.ReadAt(b[:], at); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 0x5a
	if _, err := f.WriteAt(b[:], at); err != nil {
		t.Fatal(err)
	}
}

func half(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size() / 2
}

func TestABrokenBlockIsSetAsideAndTheRestServed(t *testing.T) {
	sound, want := filled(t)
	for name, damage := range map[string]func(t *testing.T, block string){
		"the end of the index": func(t *testing.T, block string) { flip(t, filepath.Join(block, "index"), -20) },
		"a series of the index": func(t *testing.T, block string) {
			flip(t, filepath.Join(block, "index"), half(t, filepath.Join(block, "index")))
		},
		"no index":       func(t *testing.T, block string) { os.Remove(filepath.Join(block, "index")) },
		"an empty index": func(t *testing.T, block string) { os.Truncate(filepath.Join(block, "index"), 0) },
		"half an index": func(t *testing.T, block string) {
			os.Truncate(filepath.Join(block, "index"), half(t, filepath.Join(block, "index")))
		},
		"a chunk": func(t *testing.T, block string) {
			path := filepath.Join(block, "chunks", "000001")
			flip(t, path, half(t, path))
		},
		"the header of the chunks": func(t *testing.T, block string) { flip(t, filepath.Join(block, "chunks", "000001"), 0) },
		"no chunks":                func(t *testing.T, block string) { os.Remove(filepath.Join(block, "chunks", "000001")) },
		"half the chunks": func(t *testing.T, block string) {
			path := filepath.Join(block, "chunks", "000001")
			os.Truncate(path, half(t, path))
		},
		"meta.json":       func(t *testing.T, block string) { flip(t, filepath.Join(block, "meta.json"), 0) },
		"no meta.json":    func(t *testing.T, block string) { os.Remove(filepath.Join(block, "meta.json")) },
		"empty meta.json": func(t *testing.T, block string) { os.Truncate(filepath.Join(block, "meta.json"), 0) },
		"tombstones":      func(t *testing.T, block string) { flip(t, filepath.Join(block, "tombstones"), 0) },
	} {
		t.Run(name, func(t *testing.T) {
			o := options(t, t.TempDir())
			if err := os.CopyFS(o.Dir, os.DirFS(sound.Dir)); err != nil {
				t.Fatal(err)
			}
			whole, stop := reopen(t, o)
			b := whole.opened.Load().raw.Blocks()[0] // of which there are minutes
			victim, from, to := b.Dir(), sereno.Instant(b.MinTime()*1000), sereno.Instant(b.MaxTime()*1000)
			if all := looksOf(t, whole, 1, day, day.Add(span6h)); !slices.Equal(all, want) {
				t.Fatalf("before the damage: %d looks of %d", len(all), len(want))
			}
			stop()
			damage(t, victim)

			db, _ := reopen(t, o)
			got := looksOf(t, db, 1, day, day.Add(span6h))
			rest := slices.DeleteFunc(slices.Clone(want), func(r sereno.Result) bool { return r.At >= from && r.At < to })
			// What was read of the block before its broken part may have been told.
			if outside := slices.DeleteFunc(slices.Clone(got), func(r sereno.Result) bool { return r.At >= from && r.At < to }); !slices.Equal(outside, rest) {
				t.Errorf("%d looks instead of the %d outside of the broken block", len(outside), len(rest))
			}
			for _, r := range got {
				if i, found := slices.BinarySearchFunc(want, r, func(a, b sereno.Result) int { return int(a.At - b.At) }); !found || want[i] != r {
					t.Fatalf("a look that nobody took: %v", r)
				}
			}
			if n := db.Usage().Aside; n != 1 {
				t.Errorf("%d parts are set aside", n)
			}
			if wrong, err := db.Verify(t.Context()); len(wrong) > 0 || err != nil {
				t.Errorf("afterwards: %q, %v", wrong, err)
			}
			s, err := db.Series(t.Context(), 1, from, from.Add(time.Minute), time.Minute)
			if err != nil || len(s.Sources) != 1 || !s.Sources[0].Minutes {
				t.Fatalf("minutes do not step in for the broken block: %+v, %v", s, err)
			}
			compareBuckets(t, s.Buckets, plain(want, from, from.Add(time.Minute), time.Minute))
		})
	}
}

func TestVerifyFindsABrokenChunkThatNobodyRead(t *testing.T) {
	o, _ := filled(t)
	path := filepath.Join(blocks(t, o.Dir)[0], "chunks", "000001")
	flip(t, path, half(t, path))
	db, _ := reopen(t, o)
	wrong, err := db.Verify(t.Context())
	if err != nil || len(wrong) != 1 || !strings.Contains(wrong[0], "is broken") {
		t.Errorf("%q, %v", wrong, err)
	}
}

func TestABrokenLogCostsItsTail(t *testing.T) {
	for name, damage := range map[string]func(t *testing.T, dir string){
		"cut in the middle of a record": func(t *testing.T, dir string) {
			log := lastFile(t, filepath.Join(dir, "raw", "wal"))
			os.Truncate(log, half(t, log)+3)
		},
		"a byte": func(t *testing.T, dir string) {
			log := lastFile(t, filepath.Join(dir, "raw", "wal"))
			flip(t, log, half(t, log))
		},
		"a head chunk": func(t *testing.T, dir string) {
			chunks := lastFile(t, filepath.Join(dir, "raw", "chunks_head"))
			flip(t, chunks, half(t, chunks))
		},
		"the header of head chunks": func(t *testing.T, dir string) {
			flip(t, lastFile(t, filepath.Join(dir, "raw", "chunks_head")), 0)
		},
		"no log at all": func(t *testing.T, dir string) { os.RemoveAll(filepath.Join(dir, "raw", "wal")) },
	} {
		t.Run(name, func(t *testing.T) {
			o := options(t, t.TempDir())
			want := history(1, 0, 2*time.Hour, time.Second, 5) // one and a half blocks: all in the head
			db := New(o)
			db.Know(devices(1, time.Second))
			start(t, db)
			for part := range slices.Chunk(want, 600) { // ten minutes each: several records
				db.Keep(part)
				for db.Usage().Waiting > 0 {
					time.Sleep(time.Millisecond)
				}
			}
			db.opened.Load().raw.ForceHeadMMap()
			crashed := t.TempDir() // as kill -9 would leave it
			if err := os.CopyFS(crashed, os.DirFS(o.Dir)); err != nil {
				t.Fatal(err)
			}
			damage(t, crashed)

			o.Dir = crashed
			db = New(o)
			db.Know(devices(1, time.Second))
			start(t, db)
			want = slices.DeleteFunc(want, func(r sereno.Result) bool { return r.Status == sereno.Unknown })
			got := looksOf(t, db, 1, day, day.Add(2*time.Hour))
			t.Logf("%d of %d looks are left", len(got), len(want))
			for _, r := range got {
				if _, found := slices.BinarySearchFunc(want, r, func(a, b sereno.Result) int { return int(a.At - b.At) }); !found {
					t.Fatalf("a look that nobody took: %v", r)
				}
			}
			next := answered(1, 3*time.Hour, time.Millisecond)
			db.Keep([]sereno.Result{next})
			for db.Usage().Waiting > 0 {
				time.Sleep(time.Millisecond)
			}
			if l := looksOf(t, db, 1, next.At, next.At+1); !slices.Equal(l, []sereno.Result{next}) {
				t.Errorf("what comes afterwards is not kept: %v", l)
			}
		})
	}
}

func lastFile(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range slices.Backward(entries) {
		if _, err := strconv.Atoi(e.Name()); err == nil {
			return filepath.Join(dir, e.Name())
		}
	}
	t.Fatalf("no file in %s", dir)
	return ""
}

func TestSnapshotIsWhole(t *testing.T) {
	o, want := filled(t)
	db, _ := reopen(t, o)
	last := answered(1, span6h+time.Minute, time.Millisecond)
	db.Keep([]sereno.Result{last})
	for db.Usage().Waiting > 0 {
		time.Sleep(time.Millisecond)
	}
	copied := filepath.Join(t.TempDir(), "copy")
	if err := db.Snapshot(t.Context(), copied); err != nil {
		t.Fatal(err)
	}
	o.Dir = copied
	restored, _ := reopen(t, o)
	if got := looksOf(t, restored, 1, day, day.Add(24*time.Hour)); !slices.Equal(got, append(want, last)) {
		t.Errorf("%d looks of %d are in the snapshot", len(got), len(want)+1)
	}
	if restored.Usage().MinutesUntil != db.Usage().MinutesUntil {
		t.Errorf("minutes until %v, not %v", restored.Usage().MinutesUntil, db.Usage().MinutesUntil)
	}
}

// TestKill9 kills a process that keeps looks and requires that what it said to
// be written is there, without a hole.
func TestKill9(t *testing.T) {
	if dir := os.Getenv("SAMPLES_VICTIM"); dir != "" {
		keepUntilKilled(dir)
		return
	}
	o := options(t, t.TempDir())
	sent := 0
	for range 3 {
		child := exec.Command(os.Args[0], "-test.run=^TestKill9$")
		child.Env = append(os.Environ(), "SAMPLES_VICTIM="+o.Dir, fmt.Sprint("SAMPLES_FROM=", sent))
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		written := sent
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if n, err := strconv.Atoi(lines.Text()); err == nil {
				written = n
			}
			if written >= sent+5000 {
				break
			}
		}
		child.Process.Kill()
		child.Wait()
		if written < sent+5000 {
			t.Fatal("the child wrote too little")
		}
		db := New(o)
		db.Know(devices(1, time.Second))
		stop := start(t, db)
		got := looksOf(t, db, 1, day, day.Add(1000*time.Hour))
		if len(got) < written {
			t.Errorf("%d looks were written, %d are there", written, len(got))
		}
		for i := range got {
			if got[i].At != day.Add(time.Duration(i)*time.Second) {
				t.Fatalf("look %d is of %v", i, got[i].At)
			}
		}
		sent = len(got)
		stop()
	}
}

// keepUntilKilled keeps looks, ten at a time, and prints how many are written.
func keepUntilKilled(dir string) {
	n, _ := strconv.Atoi(os.Getenv("SAMPLES_FROM"))
	begin := n
	db := New(Options{Dir: dir, Retention: 1000 * time.Hour, Log: slog.New(slog.DiscardHandler)})
	db.Know(devices(1, time.Second))
	go db.Run(context.Background())
	for {
		for range 100 {
			db.Keep([]sereno.Result{answered(1, time.Duration(n)*time.Second, 20*time.Millisecond)})
			n++
		}
		time.Sleep(time.Millisecond)
		fmt.Println(begin + int(db.Usage().Kept))
	}
}
