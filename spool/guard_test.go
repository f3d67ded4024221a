package spool

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sereno"
	"sereno/clock"
	"sereno/lab"
	"sereno/ledger"
	"sereno/store"
)

func TestTheReserveFitsTheDisk(t *testing.T) {
	const mb, gb = int64(1) << 20, int64(1) << 30
	for _, c := range []struct{ wanted, disk, want int64 }{
		{64 * mb, 500 * gb, 64 * mb},
		{64 * mb, 4 * gb, 64 * mb},
		{64 * mb, 2 * gb, 32 * mb},
		{64 * mb, 512 * mb, 16 * mb},
		{64 * mb, 64 * mb, 8 * mb},
		{8 * mb, 500 * gb, 8 * mb},
		{0, 500 * gb, 0},
	} {
		if got := Fitting(c.wanted, c.disk); got != c.want {
			t.Errorf("%d of a disk of %d: %d, want %d", c.wanted, c.disk, got, c.want)
		}
	}
}

func TestRoomGoesAndComes(t *testing.T) {
	const size = 64
	for _, c := range []struct {
		rule       string
		from       level
		free, held int64
		recent     bool
		want       level
	}{
		{"plenty", calm, 1000, 64, false, calm},
		{"half a reserve of room is enough", calm, 32, 64, false, calm},
		{"less is not", calm, 31, 64, false, tight},
		{"an eighth is not nothing", tight, 8, 64, false, tight},
		{"less is", tight, 7, 64, false, full},
		{"from one moment to the next", calm, 0, 64, false, full},
		{"a write that found it full is believed", calm, 1000, 64, true, full},
		{"what was given up is room, not calm", full, 64, 0, false, full},
		{"samples do not begin at once", tight, 63, 64, false, tight},
		{"but from a whole reserve on", tight, 64, 64, false, calm},
		{"the reserve comes back when a whole one stays", full, 128, 0, false, calm},
		{"not before", full, 127, 0, false, full},
	} {
		if got := c.from.next(c.free, size, c.held, c.recent); got != c.want {
			t.Errorf("%s: %d, want %d", c.rule, got, c.want)
		}
	}
}

// The disk fills up to its last byte while spans are written: the reserve
// carries on, samples stop, the alive marks are written, one trouble is told;
// with room again all is as before.
func TestAFullDisk(t *testing.T) {
	for _, kind := range []string{"tmpfs", "ext4"} {
		t.Run(kind, func(t *testing.T) { fillDisk(t, kind) })
	}
}

func fillDisk(t *testing.T, kind string) {
	dir := lab.SmallDisk(t, kind, 64)
	if dir == "" {
		return
	}
	data := filepath.Join(dir, "data")
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	var mu sync.Mutex
	var said []string
	paused := false
	guard := &Guard{
		Reserve: Reserve{Path: filepath.Join(data, "reserve"), Size: 64 << 20}, Log: log,
		Told: func(s string) { mu.Lock(); said = append(said, s); mu.Unlock() },
	}
	guard.Spare(func(on bool) { mu.Lock(); paused = on; mu.Unlock() })
	if err := guard.Look(); err != nil {
		t.Fatal(err)
	}
	held := guard.Held()
	if held < 6<<20 || held > 8<<20 {
		t.Fatalf("the reserve holds %d bytes", held)
	}
	before, _, _ := Room(data)
	for rest := held; rest > 0; rest = guard.Held() {
		if gave, err := guard.Reserve.Give(); !gave || err != nil {
			t.Fatal(gave, err)
		}
		if slice := rest - guard.Held(); slice < min(rest, 1<<20) || slice > max(rest/8, 1<<20) {
			t.Fatalf("a slice of %d bytes of %d", slice, rest)
		}
	}
	if gave, err := guard.Reserve.Give(); gave || err != nil {
		t.Fatal(gave, err)
	}
	if after, _, _ := Room(data); after-before < held {
		t.Fatalf("giving it up gave %d bytes", after-before)
	}
	if err := guard.Look(); err != nil || guard.Held() == 0 {
		t.Fatalf("it does not come back: %v", err)
	}
	facts, err := store.Open(t.Context(), "sqlite:"+filepath.Join(data, "sereno.db"), log)
	if err != nil {
		t.Fatal(err)
	}
	defer facts.Close()
	devices, err := facts.AddDevices(t.Context(), []sereno.Device{{Name: "a", Address: "192.0.2.1", Checks: []sereno.Check{{Name: "icmp", Kind: "icmp", Policy: sereno.DefaultPolicy}}}}, t0)
	if err != nil {
		t.Fatal(err)
	}
	marks, _, _, err := clock.OpenMarks(filepath.Join(data, "alive"), log)
	if err != nil {
		t.Fatal(err)
	}
	defer marks.Close()
	s, _ := open(t, facts, Options{
		Dir: filepath.Join(data, "spool"), Log: log, MakeRoom: guard.MakeRoom,
		Full: func(err error) bool { return errors.Is(err, store.ErrFull) },
	})
	stop := run(t, s)
	defer func() { stop() }()

	check := devices[0].Checks[0].ID
	h := &history{open: []sereno.Span{{Check: check, Cause: sereno.CauseNew, Begin: t0, Proof: t0}}}
	turns := 0
	write := func(spans int) error {
		e := &ledger.Entry{}
		for range spans {
			closed := h.open[0]
			closed.End = closed.Begin + 1e6
			e.Closed = append(e.Closed, closed)
			h.open[0] = sereno.Span{Check: check, Status: 1 + sereno.Status(turns%3), Begin: closed.End, Proof: closed.End, Reason: "no reply in 1s"}
			turns++
		}
		e.Open = []sereno.Span{h.open[0]}
		var err error
		for range 100 { // as the ledger does
			if err = s.Commit(context.Background(), e); err == nil {
				return nil
			}
			time.Sleep(10 * time.Millisecond)
		}
		return err
	}
	if err := write(100); err != nil {
		t.Fatal(err)
	}

	ballast := lab.FillUp(t, dir)
	for range 50 {
		if err := write(100); err != nil {
			t.Fatalf("on a full disk: %v", err)
		}
	}
	if err := marks.Write(sereno.Mark{Ledger: t0 + 1}); err != nil {
		t.Errorf("the alive marks: %v", err)
	}
	if err := guard.Look(); err != nil {
		t.Error(err)
	}
	mu.Lock()
	if !paused || guard.Held() == 0 || guard.Held() >= held || len(said) == 0 || !strings.Contains(said[len(said)-1], "into the reserve") {
		t.Errorf("paused %v, reserve %d, said %q", paused, guard.Held(), said)
	}
	mu.Unlock()

	// Somebody takes whatever comes free, so that the reserve is used up in the
	// end: it says so, and nothing is broken.
	var last error
	rounds := 0
	for ; rounds < 200; rounds++ {
		lab.FillUp(t, dir)
		e := &ledger.Entry{Absences: []sereno.Absence{{Begin: t0, End: t0 + 1}}, Incidents: []sereno.Incident{{ID: 1, Opened: 1, Closed: 2, Reason: strings.Repeat("x", 100_000)}}}
		if last = s.Commit(context.Background(), e); last != nil {
			break
		}
	}
	if last == nil || s.Fault().Kept || s.Fault().Err == nil || guard.Held() != 0 || !strings.Contains(guard.Fault(), "no reserve is left") {
		t.Errorf("on a disk without a byte: %v, %+v, %q", last, s.Fault(), guard.Fault())
	}
	if rounds < 3 {
		t.Errorf("the reserve was gone after %d writes", rounds)
	}
	if err := facts.CheckInvariants(t.Context()); err != nil {
		t.Errorf("on the full disk: %v", err)
	}

	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	guard.fullAt = time.Time{} // the pause after a full disk is over
	if err := write(100); err != nil {
		t.Errorf("with room again: %v", err)
	}
	waitFor(s)
	if err := guard.Look(); err != nil {
		t.Error(err)
	}
	mu.Lock()
	if paused || guard.Held() != held || said[len(said)-1] != "" || s.Fault() != (Fault{}) {
		t.Errorf("with room again: paused %v, reserve %d, said %q, fault %v", paused, guard.Held(), said, s.Fault())
	}
	mu.Unlock()
	n := 0
	for _, err := range facts.Spans(t.Context(), check, 0, 1<<62) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n != turns+1 {
		t.Errorf("%d spans of %d", n, turns+1)
	}
	if err := facts.CheckInvariants(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestADiskThatIsFullAtTheStart(t *testing.T) {
	dir := lab.SmallDisk(t, "tmpfs", 64)
	if dir == "" {
		return
	}
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	reserve := Reserve{Path: filepath.Join(dir, "reserve"), Size: 64 << 20}
	if err := (&Guard{Reserve: reserve, Log: log}).Look(); err != nil || reserve.Held() == 0 {
		t.Fatal(reserve.Held(), err)
	}
	lab.FillUp(t, dir)
	paused := false
	guard := &Guard{Reserve: reserve, Log: log}
	if err := guard.Look(); err != nil {
		t.Fatal(err)
	}
	guard.Spare(func(on bool) { paused = on })
	if !paused || reserve.Held() == 0 {
		t.Errorf("paused %v, reserve %d", paused, reserve.Held())
	}
	for {
		facts, err := store.Open(t.Context(), "sqlite:"+filepath.Join(dir, "sereno.db"), log)
		if err == nil {
			facts.Close()
			return
		}
		if !errors.Is(err, store.ErrFull) || !guard.MakeRoom(t.Context()) {
			t.Fatal(err)
		}
	}
}
