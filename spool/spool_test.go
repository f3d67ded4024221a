package spool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"sereno"
	"sereno/ledger"
	"sereno/store"
)

const t0 sereno.Instant = 1_700_000_000_000_000

// A line is a journal that can be cut: storage at the end of a wire.
type line struct {
	ledger.Journal

	mu      sync.Mutex
	err     error         // what it answers
	deaf    bool          // it does not answer until released
	release chan struct{} //
	lost    bool          // it commits, but the answer is lost
	took    []*ledger.Entry
}

var errAway = sereno.Errorf(sereno.Unavailable, "the database cannot be reached")

func (l *line) Commit(ctx context.Context, e *ledger.Entry) error {
	l.mu.Lock()
	err, lost, deaf, release := l.err, l.lost, l.deaf, l.release
	l.mu.Unlock()
	if deaf {
		<-release
	}
	if err != nil && !lost {
		return err
	}
	if l.Journal != nil {
		if err := l.Journal.Commit(ctx, e); err != nil {
			return err
		}
	}
	l.mu.Lock()
	l.took = append(l.took, e)
	l.mu.Unlock()
	return err
}

func (l *line) set(err error, lost bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err, l.lost = err, lost
}

// clocks returns the steps that arrived, in order: a mark in each entry.
func (l *line) clocks() (all []int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.took {
		for _, c := range e.Clock {
			all = append(all, int(c.Step))
		}
	}
	return all
}

func numbered(i int) *ledger.Entry {
	return &ledger.Entry{Clock: []sereno.ClockEvent{{At: t0, Step: time.Duration(i)}}}
}

func numbers(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}

// tester is what testing.T and rapid.T have in common.
type tester interface {
	Helper()
	Fatal(...any)
	Fatalf(string, ...any)
	Errorf(string, ...any)
}

func open(t tester, inner ledger.Journal, o Options) (*Spool, Found) {
	t.Helper()
	o.Now = func() sereno.Instant { return t0 }
	s, found, err := Open(inner, o)
	if err != nil {
		t.Fatal(err)
	}
	return s, found
}

func commit(t tester, s *Spool, e *ledger.Entry) {
	t.Helper()
	if err := s.Commit(context.Background(), e); err != nil {
		t.Fatal(err)
	}
}

// run runs a spool until stop, which returns when it has ended.
func run(t tester, s *Spool) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	return func() {
		t.Helper()
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		s.Close()
	}
}

func folder(t *testing.T) string { return filepath.Join(t.TempDir(), "spool") }

func TestNothingIsOnDiskWhileStorageWorks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &line{}
		dir := folder(t)
		s, found := open(t, l, Options{Dir: dir})
		if found != (Found{}) {
			t.Errorf("found %+v in nothing", found)
		}
		stop := run(t, s)
		for i := range 5 {
			commit(t, s, numbered(i))
		}
		stop()
		if got := l.clocks(); !slices.Equal(got, numbers(5)) {
			t.Errorf("committed %v", got)
		}
		if _, err := os.Stat(dir); err == nil {
			t.Error("there is a folder, for nothing")
		}
	})
}

func TestStorageIsAwayForTenMinutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &line{}
		var told []Fault
		s, _ := open(t, l, Options{Dir: folder(t), Told: func(f Fault) { told = append(told, f) }})
		defer run(t, s)()
		commit(t, s, numbered(0))
		l.set(errAway, false)
		for i := 1; i <= 600; i++ {
			commit(t, s, numbered(i))
			time.Sleep(time.Second)
		}
		if u := s.Usage(); u.Entries != 600 || u.Bytes == 0 {
			t.Errorf("waiting: %+v", u)
		}
		if err := s.Idle(); sereno.KindOf(err) != sereno.Unavailable {
			t.Errorf("the plan may be changed: %v", err)
		}
		l.set(nil, false)
		time.Sleep(mostPause + time.Second)
		commit(t, s, numbered(601))
		if got := l.clocks(); !slices.Equal(got, numbers(602)) {
			t.Errorf("committed %v", got)
		}
		if u := s.Usage(); u != (Usage{}) || s.Idle() != nil {
			t.Errorf("still waiting: %+v", u)
		}
		if len(told) != 2 || !errors.Is(told[0].Err, errAway) || !told[0].Kept || told[1] != (Fault{}) {
			t.Errorf("told %v", told)
		}
	})
}

func TestStorageThatDoesNotAnswerIsNotWaitedForForever(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &line{deaf: true, release: make(chan struct{})}
		s, _ := open(t, l, Options{Dir: folder(t)})
		defer run(t, s)()
		began := time.Now()
		commit(t, s, numbered(0))
		if took := time.Since(began); took != 10*time.Second {
			t.Errorf("waited for %v", took)
		}
		commit(t, s, numbered(1))
		if time.Since(began) != 10*time.Second {
			t.Error("waited again")
		}
		synctest.Wait()
		if len(l.clocks()) != 0 {
			t.Error("something was committed beside the one that hangs")
		}
		l.deaf = false
		close(l.release)
		time.Sleep(time.Second)
		// The first was written after all, and is repeated where it stands.
		if got := l.clocks(); !slices.Equal(got, []int{0, 0, 1}) {
			t.Errorf("committed %v", got)
		}
	})
}

func TestAnErrorThatIsNotStoragesAbsenceGoesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &line{err: errors.New("contradiction")}
		var told []Fault
		s, _ := open(t, l, Options{Dir: folder(t), Told: func(f Fault) { told = append(told, f) }})
		defer run(t, s)()
		for range 2 {
			if err := s.Commit(t.Context(), numbered(0)); !errors.Is(err, l.err) {
				t.Errorf("got %v", err)
			}
		}
		if s.Usage() != (Usage{}) || len(told) != 1 || told[0].Kept {
			t.Errorf("%+v, told %v", s.Usage(), told)
		}
		l.set(nil, false)
		commit(t, s, numbered(0))
		if len(told) != 2 || told[1] != (Fault{}) {
			t.Errorf("told %v", told)
		}
	})
}

func TestAFullDiskIsAskedForRoomFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &line{err: store.ErrFull}
		asked := 0
		s, _ := open(t, l, Options{
			Dir: folder(t), Full: func(err error) bool { return errors.Is(err, store.ErrFull) },
			MakeRoom: func(context.Context) bool { asked++; l.set(nil, false); return true },
		})
		defer run(t, s)()
		commit(t, s, numbered(0))
		if got := l.clocks(); asked != 1 || !slices.Equal(got, []int{0}) || s.Usage() != (Usage{}) {
			t.Errorf("asked %d times, committed %v, waiting %+v", asked, got, s.Usage())
		}
	})
}

func TestAFullSpoolSaysSoAndTakesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &line{err: errAway}
		var told []Fault
		s, _ := open(t, l, Options{Dir: folder(t), MaxBytes: 1000, Told: func(f Fault) { told = append(told, f) }})
		defer run(t, s)()
		n := 0
		var err error
		for err == nil && n < 1000 {
			if err = s.Commit(t.Context(), numbered(n)); err == nil {
				n++
			}
		}
		if err == nil || !strings.Contains(err.Error(), "full") || n == 0 {
			t.Fatalf("after %d: %v", n, err)
		}
		if last := told[len(told)-1]; last.Kept || last.Err == nil {
			t.Errorf("told %v", told)
		}
		l.set(nil, false)
		time.Sleep(time.Minute)
		commit(t, s, numbered(n))
		if got := l.clocks(); !slices.Equal(got, numbers(n+1)) {
			t.Errorf("committed %v", got)
		}
		if last := told[len(told)-1]; last != (Fault{}) {
			t.Errorf("told %v", told)
		}
	})
}

// waiting returns a folder in which n entries wait, written by a run that is
// over.
func waiting(t *testing.T, n int) string {
	dir := folder(t)
	s, _ := open(t, &line{err: errAway}, Options{Dir: dir})
	stop := run(t, s)
	for i := range n {
		commit(t, s, numbered(i))
	}
	stop()
	return dir
}

func files(t *testing.T, dir string) (all []string) {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range list {
		all = append(all, filepath.Join(dir, f.Name()))
	}
	return all
}

func TestWhatWaitsIsWrittenByTheNextStart(t *testing.T) {
	dir := waiting(t, 5)
	l := &line{err: errAway}
	s, found := open(t, l, Options{Dir: dir})
	if found.Entries != 5 || found.Lost {
		t.Fatalf("found %+v", found)
	}
	if err := s.Drain(t.Context()); !errors.Is(err, errAway) || !strings.Contains(err.Error(), dir) {
		t.Errorf("storage is still away: %v", err)
	}
	l.set(nil, false)
	if err := s.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := l.clocks(); !slices.Equal(got, numbers(5)) || len(files(t, dir)) != 0 {
		t.Errorf("committed %v; left %v", got, files(t, dir))
	}
}

func TestALastEntryThatIsCutShortIsCutOff(t *testing.T) {
	for _, size := range []int{0, 1, 20, 27, 28, 29, 35} { // of the last record, which is longer
		dir := waiting(t, 3)
		path := files(t, dir)[0]
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		at := bytes.LastIndex(whole, encodeRecord(1, 0, nil)[:4])
		if err := os.WriteFile(path, whole[:at+size], 0o600); err != nil {
			t.Fatal(err)
		}
		l := &line{}
		s, found := open(t, l, Options{Dir: dir})
		if found.Entries != 2 || found.Lost {
			t.Errorf("%d bytes of the last: found %+v", size, found)
		}
		if err := s.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := l.clocks(); !slices.Equal(got, numbers(2)) {
			t.Errorf("%d bytes of the last: committed %v", size, got)
		}
	}
}

// Whatever bit is flipped: what is before is committed, nothing behind it is,
// and it is said.
func TestAFlippedBitIsFound(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		const n = 4
		dir := waiting(t, n)
		path := files(t, dir)[0]
		b, err := os.ReadFile(path)
		if err != nil {
			rt.Fatal(err)
		}
		bit := rapid.IntRange(0, 8*len(b)-1).Draw(rt, "bit")
		b[bit/8] ^= 1 << (bit % 8)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			rt.Fatal(err)
		}
		var said bytes.Buffer
		l := &line{}
		s, found, err := Open(l, Options{Dir: dir, Now: func() sereno.Instant { return t0 }, Log: slog.New(slog.NewTextHandler(&said, nil))})
		if err != nil {
			if sereno.KindOf(err) == sereno.Invalid && bit/8 < len(magic) {
				return // another version's, as far as anybody can tell
			}
			rt.Fatal(err)
		}
		if !found.Lost || found.Entries >= n || !strings.Contains(said.String(), setAside) {
			rt.Errorf("found %+v; said %s", found, &said)
		}
		if err := s.Drain(t.Context()); err != nil {
			rt.Fatal(err)
		}
		if got := l.clocks(); !slices.Equal(got, numbers(found.Entries)) {
			rt.Errorf("committed %v of %+v", got, found)
		}
		stop := run(rt, s)
		commit(rt, s, numbered(9))
		stop()
		if got := l.clocks(); got[len(got)-1] != 9 {
			rt.Errorf("it takes nothing any more: %v", got)
		}
		if left := files(t, dir); len(left) != 1 || !strings.HasSuffix(left[0], setAside) {
			rt.Errorf("left %v", left)
		}
	})
}

func TestEntriesOfANewerVersionAreLeftAlone(t *testing.T) {
	dir := waiting(t, 1)
	path := files(t, dir)[0]
	b, _ := os.ReadFile(path)
	b = bytes.Replace(b, []byte("sereno spool 1"), []byte("sereno spool 2"), 1)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	_, _, err := Open(&line{}, Options{Dir: dir})
	if sereno.KindOf(err) != sereno.Invalid || !strings.Contains(err.Error(), "newer") {
		t.Errorf("got %v", err)
	}
	if again, _ := os.ReadFile(path); !bytes.Equal(again, b) {
		t.Error("it was touched")
	}
}

func TestFilesAreBegunAndRemovedInOrder(t *testing.T) {
	dir := folder(t)
	q, _, err := openQueue(dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	reason := strings.Repeat("x", segmentSize/3)
	for i := range 8 {
		e := numbered(i)
		e.Incidents = []sereno.Incident{{ID: 1, Reason: reason}}
		if err := q.append(t0, encodeEntry(e)); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(files(t, dir)); n != 3 {
		t.Errorf("%d files", n)
	}
	q.close()
	l := &line{}
	s, found := open(t, l, Options{Dir: dir})
	if found.Entries != 8 {
		t.Errorf("found %+v", found)
	}
	if err := s.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := l.clocks(); !slices.Equal(got, numbers(8)) || len(files(t, dir)) != 0 {
		t.Errorf("committed %v; left %v", got, files(t, dir))
	}
}

// Storage goes and comes, answers are lost, the process dies at any moment,
// also between a commit and its removal from the spool, and the last write may
// be torn: what a Commit acknowledged is in the store in the end exactly as if
// nothing had ever failed.
func TestNothingIsLostOrDoubled(t *testing.T) {
	const checks = 3
	made := filepath.Join(t.TempDir(), "made.db")
	{
		s := openStore(t, made)
		var devices []sereno.Device
		for i := range checks {
			devices = append(devices, sereno.Device{Name: fmt.Sprint("d", i), Address: "192.0.2.1", Checks: []sereno.Check{{Name: "icmp", Kind: "icmp", Policy: sereno.DefaultPolicy}}})
		}
		if _, err := s.AddDevices(t.Context(), devices, t0); err != nil {
			t.Fatal(err)
		}
		s.Close()
	}
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		dir := filepath.Join(t.TempDir(), fmt.Sprint(n))
		copyFile(t, made, filepath.Join(dir, "real.db"))
		copyFile(t, made, filepath.Join(dir, "ideal.db"))
		real, ideal := openStore(t, filepath.Join(dir, "real.db")), openStore(t, filepath.Join(dir, "ideal.db"))
		defer real.Close()
		defer ideal.Close()

		spools := 0
		spoolDir := filepath.Join(dir, "spool0")
		l := &line{Journal: real}
		s, _ := open(rt, l, Options{Dir: spoolDir})
		stop := run(rt, s)
		defer func() { stop() }()
		world := newHistory(checks)
		for range rapid.IntRange(1, 25).Draw(rt, "steps") {
			switch rapid.SampledFrom([]string{"commit", "commit", "commit", "commit", "away", "back", "answers lost", "die", "die after a commit"}).Draw(rt, "what") {
			case "commit":
				e := world.next(rt)
				commit(rt, s, e)
				if err := ideal.Commit(t.Context(), e); err != nil {
					rt.Fatal(err)
				}
			case "away":
				l.set(errAway, false)
			case "answers lost":
				l.set(errAway, true)
			case "back":
				l.set(nil, false)
			case "die", "die after a commit":
				// What a crash leaves is the files as they are at some moment:
				// here before what waits is committed and removed.
				l.set(errAway, rapid.Bool().Draw(rt, "its last commit was taken"))
				spools++
				after := filepath.Join(dir, fmt.Sprint("spool", spools))
				copyFolder(t, spoolDir, after)
				l.set(nil, false)
				if rapid.Bool().Draw(rt, "it wrote on") {
					waitFor(s)
				}
				stop()
				if rapid.Bool().Draw(rt, "torn") {
					tear(rt, after, world)
				}
				spoolDir = after
				s, _ = open(rt, l, Options{Dir: spoolDir})
				if err := s.Drain(t.Context()); err != nil {
					rt.Fatal(err)
				}
				stop = run(rt, s)
			}
		}
		l.set(nil, false)
		waitFor(s)
		if got, want := content(rt, real), content(rt, ideal); got != want {
			rt.Fatalf("with failures:\n%s\nwithout:\n%s", got, want)
		}
		if err := real.CheckInvariants(t.Context()); err != nil {
			rt.Fatal(err)
		}
	})
}

// waitFor returns when nothing waits.
func waitFor(s *Spool) {
	for s.waits() {
		time.Sleep(time.Millisecond)
	}
}

func openStore(t *testing.T, path string) *store.Store {
	t.Helper()
	s, err := store.Open(context.Background(), "sqlite:"+path, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err == nil {
		err = errors.Join(os.MkdirAll(filepath.Dir(to), 0o700), os.WriteFile(to, b, 0o600))
	}
	if err != nil {
		t.Fatal(err)
	}
}

func copyFolder(t *testing.T, from, to string) {
	t.Helper()
	if list, err := os.ReadDir(from); err == nil {
		for _, f := range list {
			if b, err := os.ReadFile(filepath.Join(from, f.Name())); err == nil { // else it is committed and gone
				if err := errors.Join(os.MkdirAll(to, 0o700), os.WriteFile(filepath.Join(to, f.Name()), b, 0o600)); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

// tear adds the beginning of an entry that nobody acknowledged.
func tear(t *rapid.T, dir string, h *history) {
	list, err := os.ReadDir(dir)
	if err != nil || len(list) == 0 {
		return
	}
	path := filepath.Join(dir, list[len(list)-1].Name())
	q, _, err := openQueue(dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	b := encodeRecord(q.number+1, t0, encodeEntry(h.clone().next(t)))
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(b[:rapid.IntRange(0, len(b)-1).Draw(t, "written of it")]); err != nil {
		t.Fatal(err)
	}
}

// A history is the life of a few checks, whose spans tile.
type history struct {
	open []sereno.Span
	in   []sereno.Incident
	last sereno.IncidentID
}

func newHistory(checks int) *history {
	h := &history{in: make([]sereno.Incident, checks)}
	for i := range checks {
		h.open = append(h.open, sereno.Span{Check: sereno.CheckID(i + 1), Cause: sereno.CauseNew, Begin: t0, Proof: t0})
	}
	return h
}

func (h *history) clone() *history {
	return &history{slices.Clone(h.open), slices.Clone(h.in), h.last}
}

// next lets some checks turn, and their incidents open and close.
func (h *history) next(t *rapid.T) *ledger.Entry {
	e := &ledger.Entry{}
	for range rapid.IntRange(1, 4).Draw(t, "turns") {
		i := rapid.IntRange(0, len(h.open)-1).Draw(t, "check")
		s := h.open[i]
		s.End = s.Begin + sereno.Instant(rapid.Int64Range(1, 1e7).Draw(t, "microseconds"))
		e.Closed = append(e.Closed, s)
		status := sereno.Down
		if s.Status == sereno.Down {
			status = sereno.Up
		}
		h.open[i] = sereno.Span{Check: s.Check, Status: status, Begin: s.End, Proof: s.End, Uncertainty: time.Second, Reason: rapid.SampledFrom([]string{"", "no reply in 1s", "\xff\x00"}).Draw(t, "reason")}
		e.Open = append(e.Open, h.open[i])
		in := &h.in[i]
		if status == sereno.Down {
			h.last++
			*in = sereno.Incident{ID: h.last, Device: sereno.DeviceID(s.Check), Check: s.Check, Opened: s.End}
		} else {
			in.Closed = s.End
		}
		if in.ID != 0 {
			e.Incidents = append(e.Incidents, *in)
		}
	}
	if rapid.IntRange(0, 4).Draw(t, "an absence") == 0 {
		at := t0 + sereno.Instant(rapid.Int64Range(0, 1e9).Draw(t, "at"))
		e.Absences = append(e.Absences, sereno.Absence{Begin: at, End: at + 1e6, Cause: sereno.Stall})
	}
	return e
}

// content writes down all that a store says.
func content(t tester, s *store.Store) string {
	t.Helper()
	ctx := context.Background()
	var b strings.Builder
	for d, err := range s.AllDevices(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		for span, err := range s.Spans(ctx, d.Checks[0].ID, 0, 1<<62) {
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&b, "%+v\n", span)
		}
	}
	incidents, _, err := s.Incidents(ctx, store.IncidentQuery{Limit: 1000})
	absences, _, err2 := s.Absences(ctx, store.AbsenceQuery{Limit: 1000})
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	for _, in := range incidents {
		fmt.Fprintf(&b, "%+v\n", in)
	}
	for _, a := range absences {
		fmt.Fprintf(&b, "%+v\n", a)
	}
	return b.String()
}

// A stop while storage hangs: what the ledger has found is on disk before it
// gives up.
func TestAStopDoesNotWaitInVainForStorageThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &line{deaf: true, release: make(chan struct{})}
		s, _ := open(t, l, Options{Dir: folder(t)})
		stopped := run(t, s)
		now := func() sereno.Instant { return sereno.At(time.Now()) }
		books := ledger.New(ledger.Options{
			Journal: s, Look: func(sereno.CheckID) {},
			Beat: func() ledger.Beat { return ledger.Beat{Now: now()} },
		})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- books.Run(ctx) }()
		synctest.Wait()
		cancel() // the record of the start is to be written now
		if err := <-ended; err != nil {
			t.Errorf("the ledger: %v", err)
		}
		if s.Usage().Entries == 0 {
			t.Error("what it found is lost")
		}
		close(l.release)
		stopped()
	})
}

// A start that sets damaged entries aside and ends before it has said that the
// time since is unknown leaves that to the next.
func TestThatSomethingWasLostIsNotForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := folder(t)
		l := &line{err: errAway}
		s, _ := open(t, l, Options{Dir: dir})
		stop := run(t, s)
		commit(t, s, numbered(0))
		commit(t, s, numbered(1))
		stop()
		files, err := filepath.Glob(filepath.Join(dir, "*.entries"))
		if err != nil || len(files) != 1 {
			t.Fatal(files, err)
		}
		b, err := os.ReadFile(files[0])
		if err != nil {
			t.Fatal(err)
		}
		b[len(b)-6] ^= 1
		if err := os.WriteFile(files[0], b, 0o600); err != nil {
			t.Fatal(err)
		}
		for i := range 3 {
			s, found := open(t, l, Options{Dir: dir})
			if want := (Found{Entries: 1, Lost: true, Until: t0}); i < 2 && found != want {
				t.Errorf("start %d found %+v", i, found)
			}
			if i == 2 { // also when all that was left is written by now
				l.set(nil, false)
				if err := s.Drain(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			s.Close()
		}
		for i, lost := range []bool{true, false} {
			s, found := open(t, l, Options{Dir: dir})
			if found.Lost != lost || lost && found.Until != t0 {
				t.Errorf("after it is written, start %d found %+v", i, found)
			}
			stop := run(t, s)
			commit(t, s, numbered(2))
			stop()
		}
	})
}
