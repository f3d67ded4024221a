package samples

import (
	"context"
	"log/slog"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sereno"
)

// device is one device with one check of the same number.
func device(n int, interval time.Duration) sereno.Device {
	return sereno.Device{ID: sereno.DeviceID(n), Checks: []sereno.Check{{
		ID: sereno.CheckID(n), Kind: "icmp", Policy: sereno.Policy{Interval: interval},
	}}}
}

func devices(n int, interval time.Duration) []sereno.Device {
	list := make([]sereno.Device, n)
	for i := range list {
		list[i] = device(i+1, interval)
	}
	return list
}

// options are those of a database in a folder of the test.
func options(t testing.TB, dir string) Options {
	return Options{Dir: dir, Retention: 30 * 24 * time.Hour, Log: slog.New(slog.NewTextHandler(t.Output(), nil))}
}

// start runs a database until the returned function is called.
func start(t testing.TB, db *DB) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- db.Run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
	t.Cleanup(stop)
	if err := db.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	return stop
}

// day is a whole day of long ago.
var day = sereno.At(time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC))

// answered and silent are looks a while after day began.
func answered(check int, after, rtt time.Duration) sereno.Result {
	return sereno.Result{Check: sereno.CheckID(check), At: day.Add(after), Status: sereno.Up, RTT: sereno.RTTOf(sereno.StoredRTT(rtt))}
}

func silent(check int, after time.Duration) sereno.Result {
	return sereno.Result{Check: sereno.CheckID(check), At: day.Add(after), Status: sereno.Down}
}

func ownFault(check int, after time.Duration) sereno.Result {
	return sereno.Result{Check: sereno.CheckID(check), At: day.Add(after), Fault: sereno.NoRoute}
}

func looksOf(t testing.TB, db *DB, check int, from, to sereno.Instant) []sereno.Result {
	t.Helper()
	var list []sereno.Result
	for r, err := range db.Looks(t.Context(), sereno.CheckID(check), from, to) {
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, r)
	}
	return list
}

func TestWhatIsKeptIsReadBack(t *testing.T) {
	s := time.Second
	kept := []sereno.Result{
		answered(1, 0, 20*time.Millisecond), answered(1, s, 21*time.Millisecond), silent(1, 2*s), ownFault(1, 3*s),
		silent(1, 4*s), answered(1, 5*s, time.Nanosecond), ownFault(1, 6*s), ownFault(1, 7*s),
	}
	want := slices.DeleteFunc(slices.Clone(kept), func(r sereno.Result) bool { return r.Status == sereno.Unknown })
	dir := t.TempDir()
	db := New(options(t, dir))
	db.Know(devices(1, s))
	db.Keep(kept) // before it is open: it waits
	stop := start(t, db)
	stop()
	if u := db.Usage(); u.Kept != uint64(len(want)) || u.Dropped+u.Refused != 0 {
		t.Errorf("kept %d, dropped %d, refused %d", u.Kept, u.Dropped, u.Refused)
	}

	db = New(options(t, dir)) // after a restart
	start(t, db)
	if got := looksOf(t, db, 1, day, day.Add(time.Minute)); !slices.Equal(got, want) {
		t.Errorf("looks\n got %v\nwant %v", got, want)
	}
	if got := looksOf(t, db, 1, day.Add(s), day.Add(2*s)); !slices.Equal(got, want[1:2]) {
		t.Errorf("the looks of one second: %v", got)
	}
	if got := looksOf(t, db, 2, day, day.Add(time.Minute)); got != nil {
		t.Errorf("looks of a check that has none: %v", got)
	}
}

func TestARangeIsHalfOpen(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		from := sereno.Instant(rapid.Int64Range(0, 5000).Draw(t, "from"))
		to := sereno.Instant(rapid.Int64Range(0, 5000).Draw(t, "to"))
		ms := rapid.Int64Range(0, 6).Draw(t, "sample")
		first, last := span(from, to)
		at := sereno.Instant(ms * 1000)
		if got, want := first <= ms && ms <= last, from <= at && at < to; got != want {
			t.Errorf("%d ms within [%d, %d) µs: %v", ms, from, to, got)
		}
	})
}

func TestReadsBeforeItIsOpenSaySo(t *testing.T) {
	db := New(options(t, t.TempDir()))
	for _, err := range db.Looks(t.Context(), 1, day, day.Add(time.Minute)) {
		if sereno.KindOf(err) != sereno.Unavailable {
			t.Errorf("Looks: %v", err)
		}
	}
	if _, err := db.Queryable().Querier(0, 1); sereno.KindOf(err) != sereno.Unavailable {
		t.Errorf("Querier: %v", err)
	}
}

func TestWhatFindsNoRoomIsDroppedAndCounted(t *testing.T) {
	db := New(options(t, t.TempDir()))
	db.waiting.limit = 10
	db.Know(devices(1, time.Second))
	for i := range 15 {
		db.Keep([]sereno.Result{silent(1, time.Duration(i)*time.Second)})
	}
	stop := start(t, db)
	for db.Usage().Waiting > 0 {
		time.Sleep(time.Millisecond)
	}
	db.Pause(true)
	db.Keep([]sereno.Result{silent(1, time.Hour), silent(1, 2*time.Hour)})
	db.Pause(false)
	db.Keep([]sereno.Result{silent(1, 3*time.Hour)})
	db.Keep([]sereno.Result{silent(99, 0)}) // nobody knows it
	stop()
	if u := db.Usage(); u.Kept != 11 || u.Dropped != 7 || u.Refused != 1 || u.Waiting != 0 {
		t.Errorf("kept %d, dropped %d, refused %d, waiting %d", u.Kept, u.Dropped, u.Refused, u.Waiting)
	}
}

func TestOneProcessAtATime(t *testing.T) {
	o := options(t, t.TempDir())
	first := New(o)
	stop := start(t, first)
	if _, err := New(o).openBoth(); sereno.KindOf(err) != sereno.Conflict {
		t.Errorf("a second one opens: %v", err)
	}
	stop()
	open, err := New(o).openBoth()
	if err != nil {
		t.Fatal(err)
	}
	if err := open.close(); err != nil {
		t.Error(err)
	}
}
