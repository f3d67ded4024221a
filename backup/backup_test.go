package backup_test

import (
	"archive/tar"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"pgregory.net/rapid"

	"sereno"
	"sereno/alert"
	"sereno/backup"
	"sereno/clock"
	"sereno/ledger"
	"sereno/notify"
	"sereno/store"
	"sereno/store/postgrestest"
)

const t0 = sereno.Instant(1_790_000_000_000_000)

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

func open(tb testing.TB, folder string) *store.Store {
	tb.Helper()
	s, err := store.Open(tb.Context(), "sqlite:"+filepath.Join(folder, "sereno.db"), quiet())
	must(tb, err)
	return s
}

// live adds a device and gives its check a life of n spans.
func live(tb testing.TB, s *store.Store, name string, n int) sereno.CheckID {
	tb.Helper()
	added, err := s.AddDevices(tb.Context(), []sereno.Device{{
		Name: name, Address: "192.0.2.1", Checks: []sereno.Check{{Name: "icmp", Kind: "icmp", Policy: sereno.DefaultPolicy}},
	}}, t0)
	must(tb, err)
	check := added[0].Checks[0].ID
	turn(tb, s, check, 0, n)
	return check
}

// turn commits n changes of a check, a second each, after the first so many.
func turn(tb testing.TB, s *store.Store, check sereno.CheckID, first, n int) {
	tb.Helper()
	span := func(i int) sereno.Span {
		at := t0.Add(time.Duration(i) * time.Second)
		if i == 0 {
			return sereno.Span{Check: check, Cause: sereno.CauseNew, Begin: at, Proof: at}
		}
		return sereno.Span{Check: check, Status: sereno.Up + sereno.Status(i%3), Begin: at, Proof: at, Uncertainty: time.Second, Reason: "no reply in 1s"}
	}
	var e ledger.Entry
	for i := range n {
		s := span(first + i)
		s.End = s.Begin.Add(time.Second)
		e.Closed = append(e.Closed, s)
	}
	e.Open = []sereno.Span{span(first + n)}
	must(tb, s.Commit(tb.Context(), &e))
}

// looks are files such as a snapshot of samples has.
var looks = map[string]string{"raw/01ABC/meta.json": "{}", "raw/01ABC/chunks/000001": strings.Repeat("\x00\x01chunk", 9000), "minutes/empty": ""}

func snapshot(_ context.Context, folder string) error {
	for name, content := range looks {
		path := filepath.Join(folder, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(content), 0o600)); err != nil {
			return err
		}
	}
	return nil
}

func source(tb testing.TB, s *store.Store) *backup.Source {
	return &backup.Source{
		Facts: s, Samples: snapshot, Scratch: filepath.Join(tb.TempDir(), "scratch"), Version: "1.2.3",
		Now: func() (sereno.Instant, sereno.Instant) { return t0.Add(time.Hour), t0.Add(time.Hour - time.Second) },
	}
}

// written returns a backup, encrypted if there is a passphrase.
func written(tb testing.TB, s *backup.Source, passphrase string) []byte {
	tb.Helper()
	var file bytes.Buffer
	if passphrase == "" {
		_, err := s.Write(tb.Context(), &file, nil)
		must(tb, err)
		return file.Bytes()
	}
	sealed, err := backup.Seal(&file, passphrase)
	must(tb, err)
	_, err = s.Write(tb.Context(), sealed, nil)
	must(tb, err)
	must(tb, sealed.Close())
	return file.Bytes()
}

func says(passphrase string) func() (string, error) {
	return func() (string, error) { return passphrase, nil }
}

func restore(tb testing.TB, file []byte, passphrase, folder string) error {
	tb.Helper()
	r, err := backup.Open(bytes.NewReader(file), says(passphrase))
	if err != nil {
		return err
	}
	defer r.Close()
	_, err = backup.Restore(tb.Context(), r, backup.Target{Data: folder, Log: quiet()})
	return err
}

func verify(tb testing.TB, file []byte, passphrase string, quick bool) error {
	tb.Helper()
	r, err := backup.Open(bytes.NewReader(file), says(passphrase))
	if err != nil {
		return err
	}
	defer r.Close()
	_, err = backup.Verify(tb.Context(), r, quick, nil, quiet())
	return err
}

func files(tb testing.TB, folder string) map[string]string {
	tb.Helper()
	found := map[string]string{}
	must(tb, filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		name, _ := filepath.Rel(folder, path)
		found[filepath.ToSlash(name)] = string(content)
		return err
	}))
	return found
}

// lasting leaves out the tables that a restore changes, so that nobody is told of
// the past.
func lasting(sums []store.Sum) []store.Sum {
	return slices.DeleteFunc(slices.Clone(sums), func(s store.Sum) bool { return s.Table == "alert_state" || s.Table == "deliveries" })
}

func TestWhatIsRestoredIsWhatWas(t *testing.T) {
	from := open(t, t.TempDir())
	defer from.Close()
	live(t, from, "süß \"quoted\"\\\n", 60_000)
	want, err := from.Sums(t.Context())
	must(t, err)
	for _, passphrase := range []string{"", "correct horse"} {
		file := written(t, source(t, from), passphrase)
		must(t, verify(t, file, passphrase, true))
		must(t, verify(t, file, passphrase, false))
		folder := filepath.Join(t.TempDir(), "new")
		must(t, restore(t, file, passphrase, folder))

		marks, mark, found, err := clock.OpenMarks(filepath.Join(folder, "alive"), quiet())
		must(t, err)
		must(t, marks.Close())
		if !found || !mark.Restored || mark.Ledger != t0.Add(time.Hour) || mark.Settled != t0.Add(time.Hour-time.Second) {
			t.Errorf("the sign of life is %+v", mark)
		}
		to := open(t, folder)
		defer to.Close()
		got, err := to.Sums(t.Context())
		must(t, err)
		if !slices.Equal(lasting(got), lasting(want)) {
			t.Errorf("restored is\n%v\nof\n%v", got, want)
		}
		must(t, to.CheckInvariants(t.Context()))
		left := files(t, folder)
		for name, content := range looks {
			if left["samples/"+name] != content {
				t.Errorf("%s is %.20q", name, left["samples/"+name])
			}
			delete(left, "samples/"+name)
		}
		for name := range left {
			if name != "alive" && !strings.HasPrefix(name, "sereno.db") {
				t.Errorf("%s was left there", name)
			}
		}
	}
}

// What was told before the backup is known after it, and nothing of it is told
// again: neither what waited, nor what nobody had taken in yet.
func TestARestoredStoreTellsNobodyOfThePast(t *testing.T) {
	from := open(t, t.TempDir())
	defer from.Close()
	check := live(t, from, "a", 3)
	in := func(id sereno.IncidentID, reason string) sereno.Incident {
		return sereno.Incident{ID: id, Device: 1, Check: check, Opened: t0, Reason: reason}
	}
	closed := in(2, "")
	closed.Closed = t0.Add(time.Second)
	must(t, from.Commit(t.Context(), &ledger.Entry{Incidents: []sereno.Incident{in(1, "no reply"), closed}}))
	told := func(id alert.DeliveryID, incident sereno.IncidentID, state alert.State) alert.Delivery {
		d := alert.Delivery{ID: id, Channel: "mail", Event: notify.Opened, State: state, Items: []alert.Item{{Incident: incident, Occasion: "opened/default/0"}}, Answer: "so far"}
		if state != alert.Waiting {
			d.SettledAt = t0
		}
		return d
	}
	open := alert.Record{ID: 1, Doc: []byte(`{"told":["mail"]}`)}
	must(t, from.Promise(t.Context(), &alert.Batch{
		Cursor: 1, Alerts: []alert.Record{open}, Deliveries: []alert.Delivery{told(1, 1, alert.Delivered), told(2, 2, alert.Waiting)},
		Audit: []sereno.Audit{{At: t0, Who: "anna", Action: "comment"}},
	}))
	_, err := from.SaveEntry(t.Context(), store.Entry{Kind: "channel", Name: "mail", Doc: []byte(`{}`), Sealed: []byte{0, 1}})
	must(t, err)
	_, err = from.UseLink(t.Context(), "once", t0)
	must(t, err)
	must(t, from.PutMaintained(t.Context(), []sereno.Maintained{{Device: 1, Begin: t0, Window: "sunday"}}))
	must(t, from.Commit(t.Context(), &ledger.Entry{Incidents: []sereno.Incident{in(1, "no reply, and nobody knows yet")}}))
	want, err := from.Sums(t.Context())
	must(t, err)
	for _, database := range []string{"", postgrestest.Database(t)} {
		file := written(t, source(t, from), "")
		must(t, verify(t, file, "", false))
		r, err := backup.Open(bytes.NewReader(file), says(""))
		must(t, err)
		defer r.Close()
		folder := filepath.Join(t.TempDir(), "new")
		_, err = backup.Restore(t.Context(), r, backup.Target{Data: folder, Database: database, Log: quiet()})
		must(t, err)
		to, err := store.Open(t.Context(), cmp.Or(database, "sqlite:"+filepath.Join(folder, "sereno.db")), quiet())
		must(t, err)
		defer to.Close()
		got, err := to.Sums(t.Context())
		must(t, err)
		if !slices.Equal(lasting(got), lasting(want)) {
			t.Errorf("restored is\n%v\nof\n%v", got, want)
		}
		l, err := to.LoadAlerts(t.Context())
		must(t, err)
		if len(l.Waiting) != 0 || len(l.Alerts) != 1 || !reflect.DeepEqual(l.Alerts[0], open) || l.Restored == 0 || l.LastID != 2 {
			t.Errorf("a start finds %+v", l)
		}
		if news, err := to.Changes(t.Context(), l.Cursor, 10); err != nil || len(news) != 0 {
			t.Errorf("news of the past: %+v (%v)", news, err)
		}
		dropped, err := to.Delivery(t.Context(), 2)
		must(t, err)
		if dropped.State != alert.Dropped || dropped.SettledAt == 0 || !strings.Contains(dropped.Answer, "the backup") || len(dropped.Items) != 1 {
			t.Errorf("what waited is %+v", dropped)
		}
		if first, err := to.UseLink(t.Context(), "once", t0); err != nil || first {
			t.Errorf("a used link can be used again (%v)", err)
		}
		must(t, to.CheckInvariants(t.Context()))
		// What ends now is news, and the next promise is like any other.
		ended := in(1, "no reply")
		ended.Closed = t0.Add(time.Hour)
		must(t, to.Commit(t.Context(), &ledger.Entry{Incidents: []sereno.Incident{ended}}))
		if news, err := to.Changes(t.Context(), l.Cursor, 10); err != nil || len(news) != 1 || news[0].Incident != ended {
			t.Errorf("what ended afterwards: %+v (%v)", news, err)
		}
		must(t, to.Promise(t.Context(), &alert.Batch{Cursor: l.Cursor + 1}))
		if l, err := to.LoadAlerts(t.Context()); err != nil || l.Restored != 0 {
			t.Errorf("it is for ever a restored one: %+v (%v)", l, err)
		}
	}
}

// A restored server finds one absence, from when the backup was made.
func TestAStartOnABackup(t *testing.T) {
	from := open(t, t.TempDir())
	defer from.Close()
	live(t, from, "a", 10)
	folder := t.TempDir()
	must(t, restore(t, written(t, source(t, from), ""), "", folder))
	marks, mark, _, err := clock.OpenMarks(filepath.Join(folder, "alive"), quiet())
	must(t, err)
	defer marks.Close()
	to := open(t, folder)
	defer to.Close()
	newest, err := to.Newest(t.Context())
	must(t, err)
	now := t0.Add(24 * time.Hour)
	_, found, err := clock.New(clock.Options{Mark: mark, Newest: newest, Read: func() (sereno.Reading, error) {
		return sereno.Reading{Wall: now, Boot: time.Hour, Mono: time.Hour, BootID: "another", Synced: true}, nil
	}})
	must(t, err)
	want := []sereno.Absence{{Begin: t0.Add(time.Hour), End: now, Cause: sereno.Restored}}
	if !slices.Equal(found.Absences, want) {
		t.Errorf("the start books %+v, want %+v", found.Absences, want)
	}
}

// refused checks that an error is of a kind and of one sentence, and says what.
func refused(tb testing.TB, err error, kind sereno.Kind, words ...string) {
	tb.Helper()
	if sereno.KindOf(err) != kind || err == nil {
		tb.Errorf("the error is %v, not of kind %d", err, kind)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			tb.Errorf("%q does not mention %q", err, w)
		}
	}
	if strings.Contains(err.Error(), "\n") {
		tb.Errorf("%q has several lines", err)
	}
}

func TestWhatIsRefused(t *testing.T) {
	from := open(t, t.TempDir())
	defer from.Close()
	live(t, from, "a", 100)
	plain, sealed := written(t, source(t, from), ""), written(t, source(t, from), "right")
	for _, c := range []struct {
		name, passphrase string
		file             []byte
		words            string
	}{
		{"the wrong passphrase", "wrong", sealed, "passphrase is not the one"},
		{"no passphrase", "", sealed, "passphrase cannot be used"},
		{"an empty file", "", nil, "is empty"},
		{"another file", "", []byte(strings.Repeat("hello\n", 100)), "no backup of Sereno's"},
		{"another archive", "", another(t), "another archive"},
		{"half a backup", "", plain[:len(plain)/2], "cut short"},
		{"half an encrypted backup", "right", sealed[:len(sealed)/2], "cut short"},
		{"all but the last byte", "", plain[:len(plain)-1], "damaged"},
		{"one byte too many", "", append(slices.Clone(plain), 0), "damaged"},
		{"all but the last byte, encrypted", "right", sealed[:len(sealed)-1], "damaged"},
		{"one byte too many, encrypted", "right", append(slices.Clone(sealed), 0), "damaged"},
	} {
		t.Run(c.name, func(t *testing.T) {
			folder := filepath.Join(t.TempDir(), "data")
			refused(t, restore(t, c.file, c.passphrase, folder), sereno.Invalid, c.words)
			if left, err := os.ReadDir(folder); err == nil && len(left) > 0 {
				t.Errorf("left is %v", left)
			}
			refused(t, verify(t, c.file, c.passphrase, true), sereno.Invalid, c.words)
		})
	}
}

func another(tb testing.TB) []byte {
	var b bytes.Buffer
	squeeze, err := zstd.NewWriter(&b)
	must(tb, err)
	w := tar.NewWriter(squeeze)
	noise := make([]byte, 300_000)
	rand.NewChaCha8([32]byte{}).Read(noise)
	must(tb, w.WriteHeader(&tar.Header{Name: "readme.txt", Mode: 0o600, Size: int64(len(noise))}))
	_, err = w.Write(noise)
	must(tb, err)
	must(tb, w.Close())
	must(tb, squeeze.Close())
	return b.Bytes()
}

// Whatever happens to a single bit, or wherever the file ends: it is noticed,
// and nothing is restored.
func TestAnyDamageIsFound(t *testing.T) {
	from := open(t, t.TempDir())
	defer from.Close()
	live(t, from, "a", 2000)
	for _, passphrase := range []string{"", "right"} {
		file := written(t, source(t, from), passphrase)
		n := 300
		if passphrase != "" {
			n = 12 // each costs a second: that is what a passphrase is for
		}
		if testing.Short() {
			n /= 6
		}
		order := rand.New(rand.NewPCG(1, 2))
		for range n {
			harmed := slices.Clone(file)
			at := order.IntN(len(file))
			if order.IntN(4) == 0 {
				harmed = harmed[:at]
			} else {
				harmed[at] ^= 1 << order.IntN(8)
			}
			folder := filepath.Join(t.TempDir(), "data")
			if err := verify(t, harmed, passphrase, true); sereno.KindOf(err) != sereno.Invalid || err == nil {
				t.Errorf("damage at byte %d of %d gives %v", at, len(file), err)
			}
			if passphrase != "" {
				continue
			}
			if err := restore(t, harmed, passphrase, folder); sereno.KindOf(err) != sereno.Invalid || err == nil {
				t.Errorf("damage at byte %d of %d is restored: %v", at, len(file), err)
			}
			if left := entries(folder); len(left) > 0 {
				t.Errorf("damage at byte %d leaves %v", at, left)
			}
		}
	}
}

func entries(folder string) (names []string) {
	found, _ := os.ReadDir(folder)
	for _, e := range found {
		names = append(names, e.Name())
	}
	return names
}

func TestAFolderThatIsNotEmpty(t *testing.T) {
	from := open(t, t.TempDir())
	defer from.Close()
	file := written(t, source(t, from), "")
	folder := t.TempDir()
	must(t, os.WriteFile(filepath.Join(folder, "precious"), nil, 0o600))
	refused(t, restore(t, file, "", folder), sereno.Conflict, folder, "precious")
	if left := entries(folder); !slices.Equal(left, []string{"precious"}) {
		t.Errorf("the folder has %v", left)
	}
	// What a restore left that was cut short is no obstacle.
	folder = t.TempDir()
	must(t, os.MkdirAll(filepath.Join(folder, ".restoring", "samples"), 0o700))
	must(t, restore(t, file, "", folder))
	// A folder in use is not empty either.
	refused(t, restore(t, file, "", folder), sereno.Conflict, folder)
}

func TestAnEncryptedBackupSaysNothing(t *testing.T) {
	from := open(t, t.TempDir())
	defer from.Close()
	live(t, from, "device-with-a-telling-name", 10)
	file := written(t, source(t, from), "right")
	for _, word := range []string{"device-with-a-telling-name", "192.0.2.1", "facts/", "head.json", "right", "(\xb5/\xfd"} {
		if bytes.Contains(file, []byte(word)) {
			t.Errorf("the file contains %q", word)
		}
	}
}

// Other programs read it as what it is.
func TestItIsAPlainArchive(t *testing.T) {
	from := open(t, t.TempDir())
	defer from.Close()
	live(t, from, "a", 10)
	d, err := zstd.NewReader(bytes.NewReader(written(t, source(t, from), "")))
	must(t, err)
	defer d.Close()
	text, err := io.ReadAll(d)
	must(t, err)
	for _, word := range []string{"head.json", "facts/spans/000001.json", `["begin_us","cause","check_id","end_us",`, "samples/raw/01ABC/meta.json", "manifest.json"} {
		if !bytes.Contains(text, []byte(word)) {
			t.Errorf("the archive does not contain %q", word)
		}
	}
}

// While one is written, the ledger goes on; what is restored is one moment of
// it, and a second backup waits its turn.
func TestABackupUnderLoad(t *testing.T) {
	from := open(t, t.TempDir())
	defer from.Close()
	check := live(t, from, "a", 5000)
	s := source(t, from)
	committed, slow := 5000, 0
	w := writes(func(p []byte) (int, error) {
		if slow++; slow == 1 {
			turn(t, from, check, committed, 500)
			committed += 500
			_, err := s.Write(t.Context(), io.Discard, nil)
			refused(t, err, sereno.Conflict, "already")
		}
		return len(p), nil
	})
	var file bytes.Buffer
	_, err := s.Write(t.Context(), io.MultiWriter(w, &file), func(backup.Progress) {
		turn(t, from, check, committed, 100)
		committed += 100
	})
	must(t, err)
	if committed < 5600 {
		t.Fatalf("only %d were committed", committed)
	}
	folder := t.TempDir()
	must(t, restore(t, file.Bytes(), "", folder))
	to := open(t, folder)
	defer to.Close()
	must(t, to.CheckInvariants(t.Context()))
	n := 0
	for _, err := range to.Spans(t.Context(), check, 0, 1<<62) {
		must(t, err)
		n++
	}
	if n != 5001 {
		t.Errorf("%d spans were restored, of a moment with 5001", n)
	}
}

type writes func([]byte) (int, error)

func (w writes) Write(p []byte) (int, error) { return w(p) }

func TestAWriterThatFails(t *testing.T) {
	from := open(t, t.TempDir())
	defer from.Close()
	live(t, from, "a", 100)
	fault := errors.New("no room")
	s := source(t, from)
	_, err := s.Write(t.Context(), writes(func([]byte) (int, error) { return 0, fault }), nil)
	if !errors.Is(err, fault) {
		t.Errorf("the error is %v", err)
	}
	if left, err := os.ReadDir(s.Scratch); err == nil {
		t.Errorf("the snapshot was left: %v", left)
	}
	written(t, s, "") // and the next one is made
}

func BenchmarkWrite(b *testing.B) {
	s := open(b, b.TempDir())
	defer s.Close()
	live(b, s, "a", 500_000)
	src := source(b, s)
	var size int
	for b.Loop() {
		size = len(written(b, src, ""))
	}
	b.ReportMetric(500_000*float64(b.N)/b.Elapsed().Seconds(), "spans/s")
	b.ReportMetric(float64(size)/500_000, "B/span")
}

func BenchmarkRestore(b *testing.B) {
	s := open(b, b.TempDir())
	defer s.Close()
	live(b, s, "a", 500_000)
	file := written(b, source(b, s), "")
	n := 0
	for b.Loop() {
		n++
		must(b, restore(b, file, "", filepath.Join(b.TempDir(), fmt.Sprint(n))))
	}
	b.ReportMetric(500_000*float64(b.N)/b.Elapsed().Seconds(), "spans/s")
}

func TestRapidRestores(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		from := open(t, t.TempDir())
		defer from.Close()
		for i := range rapid.IntRange(0, 3).Draw(rt, "devices") {
			name := rapid.StringMatching(`[^\x00]{1,20}`).Draw(rt, "name") + fmt.Sprint(i)
			live(t, from, name, rapid.IntRange(0, 50).Draw(rt, "spans"))
		}
		want, err := from.Sums(t.Context())
		must(t, err)
		folder := t.TempDir()
		must(t, restore(t, written(t, source(t, from), ""), "", folder))
		to := open(t, folder)
		defer to.Close()
		if got, err := to.Sums(t.Context()); err != nil || !slices.Equal(lasting(got), lasting(want)) {
			rt.Fatalf("restored is\n%v\nof\n%v (%v)", got, want, err)
		}
	})
}

// What was settled when a backup says so is in it: between being asked for and
// being read the store may have failed, and what was found since waits.
func TestABackupThatWouldLackWhatWaitsIsNone(t *testing.T) {
	s := open(t, t.TempDir())
	defer s.Close()
	waits := false
	source := &backup.Source{
		Facts: s, Scratch: filepath.Join(t.TempDir(), "scratch"),
		Now: func() (ledger, settled sereno.Instant) { return t0, t0 },
		Ready: func() error {
			if waits {
				return sereno.Errorf(sereno.Unavailable, "something waits")
			}
			return nil
		},
	}
	write, err := source.Begin()
	must(t, err)
	waits = true
	if _, err := write(t.Context(), io.Discard, nil); sereno.KindOf(err) != sereno.Unavailable {
		t.Errorf("the error is %v", err)
	}
	waits = false
	_, err = source.Write(t.Context(), io.Discard, nil)
	must(t, err)
}
