package store_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sereno"
	"sereno/ledger"
	"sereno/store"
	"sereno/store/storetest"
)

func TestSQLite(t *testing.T) {
	storetest.Run(t, func(t *testing.T) *store.Store {
		return open(t, filepath.Join(t.TempDir(), "sereno.db"))
	})
}

func open(tb testing.TB, path string) *store.Store {
	tb.Helper()
	s, err := tryOpen(path)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func tryOpen(path string) (*store.Store, error) {
	return store.Open(context.Background(), "sqlite:"+path, slog.New(slog.DiscardHandler))
}

// made returns the path of a store with one device, closed.
func made(t *testing.T) string {
	path := filepath.Join(t.TempDir(), "sereno.db")
	s := open(t, path)
	add(t, s, "first")
	closeStore(t, s)
	return path
}

func add(tb testing.TB, s *store.Store, name string) sereno.Device {
	tb.Helper()
	added, err := s.AddDevices(tb.Context(), []sereno.Device{{
		Name: name, Address: "192.0.2.1", Checks: []sereno.Check{{Name: "icmp", Kind: "icmp", Policy: sereno.DefaultPolicy}},
	}}, 1e15)
	if err != nil {
		tb.Fatal(err)
	}
	return added[0]
}

func closeStore(tb testing.TB, s *store.Store) {
	tb.Helper()
	if err := s.Close(); err != nil {
		tb.Fatal(err)
	}
}

func TestAStoreIsMadeForItsOwnerAlone(t *testing.T) {
	old := unix.Umask(0)
	defer unix.Umask(old)
	folder := filepath.Join(t.TempDir(), "new", "data?mode=ro#%41 ü")
	path := filepath.Join(folder, "sereno.db")
	s := open(t, path)
	add(t, s, "first")
	for name, want := range map[string]fs.FileMode{"": 0o700, "sereno.db": 0o600, "sereno.db-wal": 0o600, "sereno.db.lock": 0o600} {
		info, err := os.Stat(filepath.Join(folder, name))
		if err != nil {
			t.Error(err)
		} else if info.Mode().Perm() != want {
			t.Errorf("%s has the mode %o, not %o", name, info.Mode().Perm(), want)
		}
	}
	closeStore(t, s)
	left, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	if len(left) != 2 {
		t.Errorf("a closed store leaves %v, not one file and its lock", left)
	}
	s = open(t, path)
	defer s.Close()
	if _, err := s.DeviceByName(t.Context(), "first"); err != nil {
		t.Errorf("opened again: %v", err)
	}
}

func TestOneStoreOneSereno(t *testing.T) {
	path := made(t)
	first := open(t, path)
	_, err := tryOpen(path)
	refused(t, err, sereno.Conflict, fmt.Sprintf("another sereno (pid %d) already uses", os.Getpid()), path)
	add(t, first, "still works")
	closeStore(t, first)
	closeStore(t, open(t, path))
}

// refused checks for one sentence of a kind that mentions words.
func refused(t *testing.T, err error, kind sereno.Kind, words ...string) {
	t.Helper()
	e, ok := errors.AsType[*sereno.Error](err)
	if !ok || e.Kind != kind {
		t.Fatalf("%v is not a sereno.Error of the kind %d", err, kind)
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("%q is more than a sentence", err)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%q does not mention %q", err, w)
		}
	}
}

func TestFilesThatAreNoStoreStayAsTheyAre(t *testing.T) {
	foreign := func(pragma string) func(*testing.T, string) {
		return func(t *testing.T, path string) {
			db, err := sql.Open("sqlite", "file:"+path)
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			if _, err := db.Exec(pragma + `; CREATE TABLE songs (name TEXT); INSERT INTO songs VALUES ('Sereno')`); err != nil {
				t.Fatal(err)
			}
		}
	}
	write := func(content string) func(*testing.T, string) {
		return func(t *testing.T, path string) {
			if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, c := range []struct {
		name  string
		make  func(*testing.T, string)
		kind  sereno.Kind
		words string
	}{
		{"empty", write(""), sereno.Invalid, "is empty"},
		{"a short text", write("hello"), sereno.Invalid, "it is no SQLite file"},
		{"a long text", write(strings.Repeat("hello ", 1000)), sereno.Invalid, "it is no SQLite file"},
		{"the beginning of a header", write("SQLite format 3\x00abc"), sereno.Internal, "is damaged"},
		{"another program's", foreign(`PRAGMA application_id = 1`), sereno.Invalid, "another program"},
		{"nobody's", foreign(`PRAGMA journal_mode = delete`), sereno.Invalid, "another program"},
		{"another program's with a log", foreign(`PRAGMA journal_mode = wal; PRAGMA wal_autocheckpoint = 0`), sereno.Invalid, "another program"},
		{"a folder", func(t *testing.T, path string) {
			if err := os.Mkdir(path, 0o700); err != nil {
				t.Fatal(err)
			}
		}, sereno.Invalid, "a folder and a file are in each other's place"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "sereno.db")
			c.make(t, path)
			before := snapshot(t, filepath.Dir(path))
			_, err := tryOpen(path)
			refused(t, err, c.kind, c.words, path)
			if after := snapshot(t, filepath.Dir(path)); after != before {
				t.Errorf("the folder was\n%s\nand is\n%s", before, after)
			}
		})
	}
}

// snapshot is the content of a folder, without the lock.
func snapshot(t *testing.T, folder string) string {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".lock") {
			continue
		}
		content, _ := os.ReadFile(filepath.Join(folder, e.Name()))
		fmt.Fprintf(&b, "%s %s %x\n", e.Name(), e.Type(), content)
	}
	return b.String()
}

func TestADamagedStoreIsRefused(t *testing.T) {
	for _, c := range []struct {
		name   string
		damage func(content []byte) []byte
	}{
		{"half is missing", func(c []byte) []byte { return c[:len(c)/2] }},
		{"the last byte is missing", func(c []byte) []byte { return c[:len(c)-1] }},
		{"only the header is left", func(c []byte) []byte { return c[:100] }},
		{"all but the header is overwritten", func(c []byte) []byte { return append(c[:100:100], bytes.Repeat([]byte{0x5a}, len(c)-100)...) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := made(t)
			content, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			content = c.damage(content)
			if err := os.WriteFile(path, content, 0o600); err != nil {
				t.Fatal(err)
			}
			_, err = tryOpen(path)
			refused(t, err, sereno.Internal, "is damaged", path)
			if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, content) {
				t.Errorf("the file was changed (%v)", err)
			}
		})
	}
}

func TestALogWithoutItsFileIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sereno.db")
	if err := os.WriteFile(path+"-wal", []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	before := snapshot(t, filepath.Dir(path))
	_, err := tryOpen(path)
	refused(t, err, sereno.Invalid, "is gone", path+"-wal")
	if after := snapshot(t, filepath.Dir(path)); after != before {
		t.Errorf("the folder was\n%s\nand is\n%s", before, after)
	}
}

func TestANewerSchemaIsRefused(t *testing.T) {
	path := made(t)
	db, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(`INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, 1)`); err != nil {
		t.Fatal(err)
	}
	db.Close()
	_, err = tryOpen(path)
	refused(t, err, sereno.Invalid, "a newer Sereno (schema 9999, this one knows 3)")
}

func TestADraftOfACrashIsNoObstacle(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sereno.db")
	for _, suffix := range []string{".new", ".new-journal"} {
		if err := os.WriteFile(path+suffix, []byte("half a store"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	closeStore(t, open(t, path))
	if left := snapshot(t, filepath.Dir(path)); strings.Contains(left, ".new") {
		t.Errorf("the draft is still there:\n%s", left)
	}
}

func TestAnAddressThatIsNone(t *testing.T) {
	for _, url := range []string{"", "sqlite:", "/var/lib/sereno.db", "mysql://host/db"} {
		_, err := store.Open(t.Context(), url, slog.New(slog.DiscardHandler))
		refused(t, err, sereno.Invalid, strconv.Quote(url), "sqlite:PATH")
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := tryOpen(filepath.Join(file, "data", "sereno.db"))
	refused(t, err, sereno.Invalid, "a folder and a file are in each other's place")
}

// TestNoPermission borrows the rights of nobody, since root may write
// everywhere.
func TestNoPermission(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: only it may take the rights of another user for a moment")
	}
	old := made(t)
	fresh := filepath.Join(t.TempDir(), "sereno.db")
	readOnly := made(t)
	for path, mode := range map[string]fs.FileMode{old: 0o600, filepath.Dir(fresh): 0o755, readOnly: 0o444} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	const nobody = 65534
	if err := unix.Setfsuid(nobody); err != nil {
		t.Fatal(err)
	}
	defer unix.Setfsuid(0)
	for _, path := range []string{old, fresh, readOnly, filepath.Join(filepath.Dir(fresh), "deeper", "sereno.db")} {
		_, err := tryOpen(path)
		refused(t, err, sereno.Forbidden, "may not be written by this user", path)
	}
}

// mount gives this goroutine's thread a mount namespace of its own with a
// tmpfs, which ends with the thread.
func mount(t *testing.T, size string) (folder string, remount func(flags uintptr, size string)) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: mounts a small disk")
	}
	runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
	folder = t.TempDir()
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		t.Skipf("needs a mount namespace: %v", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", folder, "tmpfs", 0, "size="+size); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(folder, unix.MNT_DETACH) })
	return folder, func(flags uintptr, size string) {
		t.Helper()
		if err := unix.Mount("tmpfs", folder, "tmpfs", unix.MS_REMOUNT|flags, "size="+size); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAReadOnlyDisk(t *testing.T) {
	folder, remount := mount(t, "4m")
	path := filepath.Join(folder, "sereno.db")
	closeStore(t, open(t, path))
	remount(unix.MS_RDONLY, "4m")
	for _, path := range []string{path, filepath.Join(folder, "new", "sereno.db")} {
		_, err := tryOpen(path)
		refused(t, err, sereno.Forbidden, "read-only file system", path)
	}
}

func TestAFullDisk(t *testing.T) {
	folder, remount := mount(t, "4m")
	path := filepath.Join(folder, "sereno.db")
	s := open(t, path)
	check := add(t, s, "a").Checks[0].ID
	history := &history{check: check, begin: 1e15}
	var e ledger.Entry
	var err error
	for range 1000 {
		e = history.next(1000)
		if err = s.Commit(t.Context(), &e); err != nil {
			break
		}
	}
	if !errors.Is(err, store.ErrFull) {
		t.Fatalf("a full disk gives %v", err)
	}
	refused(t, err, sereno.Internal, path, "the disk is full")
	if err := s.CheckInvariants(t.Context()); err != nil {
		t.Errorf("on the full disk: %v", err)
	}
	if err := s.Commit(t.Context(), &e); !errors.Is(err, store.ErrFull) {
		t.Errorf("again on the full disk: %v", err)
	}
	_, err = tryOpen(filepath.Join(folder, "other", "sereno.db"))
	if !errors.Is(err, store.ErrFull) {
		t.Errorf("a new store on a full disk gives %v", err)
	}

	remount(0, "16m")
	if err := s.Commit(t.Context(), &e); err != nil {
		t.Errorf("with room again: %v", err)
	}
	if err := s.CheckInvariants(t.Context()); err != nil {
		t.Errorf("with room again: %v", err)
	}
	closeStore(t, s)
	s = open(t, path)
	defer s.Close()
	if n := count(t, s, check); n != history.n {
		t.Errorf("%d spans are stored, %d were committed", n, history.n)
	}
}

// A history is the endless life of one check, turning every second.
type history struct {
	check sereno.CheckID
	begin sereno.Instant
	n     int // closed spans
}

func (h *history) next(turns int) (e ledger.Entry) {
	span := func() sereno.Span {
		begin := h.begin.Add(time.Duration(h.n) * time.Second)
		if h.n == 0 {
			return sereno.Span{Check: h.check, Cause: sereno.CauseNew, Begin: begin, Proof: begin}
		}
		return sereno.Span{Check: h.check, Status: sereno.Up + sereno.Status(h.n%3), Begin: begin, Proof: begin, Uncertainty: time.Second, Reason: "no reply in 1s"}
	}
	for range turns {
		s := span()
		s.End = s.Begin.Add(time.Second)
		e.Closed = append(e.Closed, s)
		h.n++
	}
	e.Open = []sereno.Span{span()}
	return e
}

// count returns how many closed spans of a check are stored.
func count(tb testing.TB, s *store.Store, check sereno.CheckID) (n int) {
	tb.Helper()
	for span, err := range s.Spans(tb.Context(), check, 0, 1<<62) {
		if err != nil {
			tb.Fatal(err)
		}
		if span.End != 0 {
			n++
		}
	}
	return n
}

// TestKilled kills a process that commits at some moment, again and again: what
// it was told to be written is there, and the ledger holds.
func TestKilled(t *testing.T) {
	path := made(t)
	promised, check := 0, sereno.CheckID(0)
	for round := range 8 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKilledChild$", "-test.v=false")
		cmd.Env = append(os.Environ(), "SERENO_STORE_TO_KILL="+path)
		answer, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		timer := time.AfterFunc(time.Duration(50+37*round)*time.Millisecond, func() { cmd.Process.Kill() })
		for {
			var n int
			if _, err := fmt.Fscanln(answer, &n); err != nil {
				break
			}
			promised = n
		}
		timer.Stop()
		cmd.Process.Kill()
		cmd.Wait()

		s := open(t, path)
		if err := s.CheckInvariants(t.Context()); err != nil {
			t.Errorf("round %d: %v", round, err)
		}
		if d, err := s.DeviceByName(t.Context(), "killed"); err == nil {
			check = d.Checks[0].ID
		}
		if n := count(t, s, check); n < promised {
			t.Errorf("round %d: %d spans are stored of %d that were promised", round, n, promised)
		}
		closeStore(t, s)
	}
	if promised == 0 {
		t.Error("no process lived long enough to commit")
	}
}

// TestKilledChild is the process of TestKilled: it says how many spans are
// stored after each commit.
func TestKilledChild(t *testing.T) {
	path := os.Getenv("SERENO_STORE_TO_KILL")
	if path == "" {
		return // it is a part of TestKilled, which starts it
	}
	s := open(t, path)
	d, err := s.DeviceByName(t.Context(), "killed")
	if err != nil {
		d = add(t, s, "killed")
	}
	h := &history{check: d.Checks[0].ID, begin: d.Checks[0].Created, n: count(t, s, d.Checks[0].ID)}
	for {
		e := h.next(20)
		if err := s.Commit(t.Context(), &e); err != nil {
			t.Fatal(err)
		}
		fmt.Println(h.n)
	}
}

// TestAnIncidentThatHangsOnNothingIsFound plants what no commit leaves behind.
func TestAnIncidentThatHangsOnNothingIsFound(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sereno.db")
	s := open(t, path)
	defer closeStore(t, s)
	if err := s.Commit(t.Context(), &ledger.Entry{Incidents: []sereno.Incident{{ID: 4, Opened: 5, Closed: 6}}}); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec("UPDATE incidents SET under_id = 77"); err != nil {
		t.Fatal(err)
	}
	if err := s.CheckInvariants(t.Context()); err == nil || !strings.Contains(err.Error(), "incident 4 hangs on incident 77") {
		t.Errorf("the error is %v", err)
	}
}

// TestAnAlertAboutNothingIsFound plants what no promise leaves behind.
func TestAnAlertAboutNothingIsFound(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sereno.db")
	s := open(t, path)
	defer closeStore(t, s)
	db, err := sql.Open("sqlite", "file:"+path)
	must(t, err)
	defer db.Close()
	for text, want := range map[string]string{
		`INSERT INTO alerts (id, done, doc) VALUES (4, 0, ''), (5, 1, '')`:                                    "alert 4 is about an incident that does not exist",
		`INSERT INTO maintained (device_id, window_name, begin_us, end_us) VALUES (3, 'w', 2000000, 1000000)`: "maintenance of device 3 began at 1970-01-01T00:00:02",
	} {
		_, err := db.Exec(text)
		must(t, err)
		if err := s.CheckInvariants(t.Context()); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "alert 5") {
			t.Errorf("the error is %v", err)
		}
	}
}
