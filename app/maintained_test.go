package app

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"maps"
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
	"sereno/alert"
	"sereno/maintenance"
	"sereno/match"
	"sereno/store"
	"sereno/store/postgrestest"
)

// A buildingSite is a foreman with a real store and a clock that stands.
type buildingSite struct {
	*testing.T
	store   *store.Store
	path    string
	now     sereno.Instant
	windows []maintenance.Window
	foreman *foreman
	names   map[sereno.DeviceID]string
}

// night is 2026-11-01 00:00 in Berlin.
var night = sereno.At(time.Date(2026, 10, 31, 23, 0, 0, 0, time.UTC))

func newSite(t *testing.T, windows ...maintenance.Window) *buildingSite {
	t.Helper()
	return newSiteIn(t, "sqlite:"+filepath.Join(t.TempDir(), "sereno.db"), windows...)
}

func newSiteIn(t *testing.T, url string, windows ...maintenance.Window) *buildingSite {
	t.Helper()
	facts, err := store.Open(t.Context(), url, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { facts.Close() })
	return &buildingSite{T: t, store: facts, path: filepath.Join(t.TempDir(), "maintenance"), now: night, windows: windows, names: map[sereno.DeviceID]string{}}
}

// start is a start of the program; what there was before has been killed.
func (b *buildingSite) start() {
	b.Helper()
	b.foreman = b.newForeman()
	b.step()
}

func (b *buildingSite) newForeman() *foreman {
	return newForeman(foremanParts{
		store: b.store, path: b.path, windows: b.windows, settled: b.now, now: func() sereno.Instant { return b.now },
		pending: func() bool { return false }, log: slog.New(slog.DiscardHandler),
	})
}

func (b *buildingSite) step() {
	b.Helper()
	if err := b.foreman.step(b.Context()); err != nil {
		b.Fatal(err)
	}
}

// at lets it be so many hours after the beginning of the night.
func (b *buildingSite) at(hours float64) {
	b.Helper()
	b.now = night.Add(time.Duration(hours * float64(time.Hour)))
	b.step()
}

func (b *buildingSite) add(name string, tags ...string) sereno.Device {
	b.Helper()
	added, err := b.store.AddDevices(b.Context(), []sereno.Device{{Name: name, Address: "192.0.2.1", Tags: tags}}, b.now)
	if err != nil {
		b.Fatal(err)
	}
	b.names[added[0].ID] = name
	if b.foreman != nil {
		b.foreman.Devices(nil, added)
	}
	return added[0]
}

func (b *buildingSite) retag(d sereno.Device, tags ...string) sereno.Device {
	b.Helper()
	d.Tags = tags
	before, after, err := b.store.ReplaceDevice(b.Context(), d, b.now)
	if err != nil {
		b.Fatal(err)
	}
	b.foreman.Devices([]sereno.Device{before}, []sereno.Device{after})
	b.step()
	return after
}

func (b *buildingSite) remove(d sereno.Device) {
	b.Helper()
	gone, err := b.store.RemoveDevice(b.Context(), d.ID, b.now)
	if err != nil {
		b.Fatal(err)
	}
	b.foreman.Devices([]sereno.Device{gone}, nil)
	b.step()
}

func (b *buildingSite) book(windows ...maintenance.Window) {
	b.Helper()
	b.windows = windows
	if err := b.foreman.Book(b.Context(), &alert.Plan{Book: alert.Book{Windows: windows}}); err != nil {
		b.Fatal(err)
	}
	b.step()
}

// written is all that is written down, in hours of the night.
func (b *buildingSite) written() string {
	b.Helper()
	list, err := b.store.Maintained(b.Context(), nil, 0, 0)
	if err != nil {
		b.Fatal(err)
	}
	var out []string
	for _, m := range list {
		end := ""
		if m.End != 0 {
			end = fmt.Sprint(m.End.Sub(night).Hours())
		}
		out = append(out, fmt.Sprintf("%s %s %v-%s", b.names[m.Device], m.Window, m.Begin.Sub(night).Hours(), end))
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

func (b *buildingSite) want(text string) {
	b.Helper()
	if got := b.written(); got != text {
		b.Errorf("written is\n%s\nnot\n%s", got, text)
	}
}

func plant(name, rule, start string, length time.Duration) maintenance.Window {
	return maintenance.Window{Name: name, Match: `site == "plant1"`, RRule: rule, Start: start, Zone: "Europe/Berlin", Length: length}
}

var (
	daily = plant("daily", "FREQ=DAILY", "2026-11-01T02:00", 2*time.Hour)
	whole = maintenance.Window{Name: "whole", Start: "2026-11-01T03:00", Zone: "Europe/Berlin", Length: 3 * time.Hour}
)

func TestAWindowIsWrittenDownAsItBeginsAndEnds(t *testing.T) {
	b := newSite(t, daily, whole)
	b.add("oven", "site:plant1")
	b.add("door")
	b.start()
	b.want("")
	b.at(2.01)
	b.want("oven daily 2-")
	b.at(3.5)
	b.want("door whole 3-, oven daily 2-, oven whole 3-")
	b.at(4)
	b.want("door whole 3-, oven daily 2-4, oven whole 3-")
	b.at(30)
	b.want("door whole 3-6, oven daily 2-4, oven daily 26-28, oven whole 3-6")
}

func TestWhatPassedWhileStopped(t *testing.T) {
	b := newSite(t, daily, whole)
	b.add("oven", "site:plant1")
	b.start()
	b.at(2.5)
	b.now = night.Add(75*time.Hour + 30*time.Minute) // killed, and three days off
	b.start()
	b.want("oven daily 2-4, oven daily 26-28, oven daily 50-52, oven daily 74-, oven whole 3-6")
}

func TestAWindowThatChangedWhileStoppedHoldsFromTheStart(t *testing.T) {
	b := newSite(t, daily)
	b.add("oven", "site:plant1")
	b.start()
	b.at(2.5)
	b.now = night.Add(27 * time.Hour)
	b.windows = []maintenance.Window{plant("daily", "FREQ=DAILY", "2026-11-01T03:00", 12*time.Hour), plant("new", "FREQ=DAILY", "2026-11-01T01:00", 8*time.Hour)}
	b.start()
	b.want("oven daily 2-4, oven daily 26-, oven new 27-")
	b.at(48)
	b.want("oven daily 2-4, oven daily 26-39, oven new 27-33")
}

func TestABookThatChanges(t *testing.T) {
	b := newSite(t, daily)
	b.add("oven", "site:plant1")
	b.add("door")
	b.start()
	b.at(2.5)
	b.book()
	b.want("oven daily 2-2.5")
	b.at(3)
	b.book(daily)
	b.want("oven daily 2-2.5, oven daily 3-")
	everything := daily
	everything.Match = ""
	b.at(3.25)
	b.book(everything)
	b.want("door daily 3.25-, oven daily 2-2.5, oven daily 3-")
	b.at(5)
	b.want("door daily 3.25-4, oven daily 2-2.5, oven daily 3-4")
}

func TestDevicesThatChange(t *testing.T) {
	b := newSite(t, daily)
	oven := b.add("oven", "site:plant1")
	door := b.add("door")
	b.start()
	b.at(2.5)
	door = b.retag(door, "site:plant1")
	b.at(2.75)
	oven = b.retag(oven, "site:plant2")
	b.want("door daily 2.5-, oven daily 2-2.75")
	b.at(3)
	b.add("lamp", "site:plant1")
	b.at(3.25)
	b.want("door daily 2.5-, lamp daily 3-, oven daily 2-2.75")
	b.retag(oven, "site:plant1")
	b.remove(door)
	b.at(3.5)
	b.want("door daily 2.5-3.25, lamp daily 3-, oven daily 2-2.75, oven daily 3.25-")
	b.at(6)
	b.want("door daily 2.5-3.25, lamp daily 3-4, oven daily 2-2.75, oven daily 3.25-4")
}

func TestKilledBetweenWritingAndRemembering(t *testing.T) {
	b := newSite(t, daily)
	b.add("oven", "site:plant1")
	b.start()
	early, err := os.ReadFile(b.path)
	if err != nil {
		t.Fatal(err)
	}
	for _, hours := range []float64{2.5, 30} { // begun; begun and ended
		b.at(hours)
		written := b.written()
		if err := replaceFile(b.path, early); err != nil {
			t.Fatal(err)
		}
		b.start()
		b.want(written)
	}
}

// An absentStore is a store that is away at first.
type absentStore struct {
	siteBook
	fails int
}

func (a *absentStore) PutMaintained(ctx context.Context, list []sereno.Maintained) error {
	if a.fails--; a.fails >= 0 {
		return errors.New("the disk is away")
	}
	return a.siteBook.PutMaintained(ctx, list)
}

func TestNothingIsLostWhileStorageIsAway(t *testing.T) {
	b := newSite(t, daily)
	b.add("oven", "site:plant1")
	b.start()
	gone := &absentStore{siteBook: b.store, fails: 3}
	b.foreman.store = gone
	for _, hours := range []float64{2.5, 3, 3.5} {
		b.now = night.Add(time.Duration(hours * float64(time.Hour)))
		if err := b.foreman.step(t.Context()); err == nil {
			t.Fatal("written while storage was away")
		}
		b.want("")
	}
	b.at(3.75)
	b.want("oven daily 2-")
	b.foreman.store, gone.fails = gone, 1
	b.now = night.Add(3*time.Hour + 48*time.Minute)
	if err := b.foreman.step(t.Context()); err != nil {
		t.Fatal(err) // nothing to write
	}
	b.now = night.Add(5 * time.Hour)
	if err := b.foreman.step(t.Context()); err == nil {
		t.Fatal("written while storage was away")
	}
	b.at(6)
	b.want("oven daily 2-4")
}

// What is put off while storage is away is said once, when it is done.
func TestWhatEndsIsSaidOnceItIsWritten(t *testing.T) {
	b := newSite(t, daily)
	b.add("oven", "site:plant1")
	b.start()
	b.at(2.5)
	var said strings.Builder
	b.foreman.log = slog.New(slog.NewTextHandler(&said, nil))
	b.foreman.store = &absentStore{siteBook: b.store, fails: 3}
	b.now = night.Add(5 * time.Hour)
	for range 3 {
		if err := b.foreman.step(t.Context()); err == nil {
			t.Fatal("written while storage was away")
		}
	}
	if said.Len() > 0 {
		t.Errorf("said before it was written:\n%s", said.String())
	}
	b.step()
	if n := strings.Count(said.String(), "maintenance ends"); n != 1 {
		t.Errorf("said %d times:\n%s", n, said.String())
	}
	b.want("oven daily 2-4")
}

// A clock that was far ahead while it was not to be trusted, and then put
// right, leaves nothing in the future.
func TestNewsOfAClockThatWasAhead(t *testing.T) {
	b := newSite(t, daily)
	oven := b.add("oven", "site:plant1")
	b.start()
	b.at(1)
	b.now = night.Add(1000 * time.Hour)
	b.foreman.Devices([]sereno.Device{oven}, []sereno.Device{oven})
	if err := b.foreman.Book(t.Context(), &alert.Plan{Book: alert.Book{Windows: b.windows}}); err != nil {
		t.Fatal(err)
	}
	b.at(1.5)
	b.want("")
	b.at(3)
	b.want("oven daily 2-")
}

// Nothing is under maintenance before it is there.
func TestADeviceThatCameAfterTheBookChanged(t *testing.T) {
	b := newSite(t)
	b.start()
	b.now = night.Add(2*time.Hour + 30*time.Minute)
	if err := b.foreman.Book(t.Context(), &alert.Plan{Book: alert.Book{Windows: []maintenance.Window{daily}}}); err != nil {
		t.Fatal(err)
	}
	b.now = night.Add(3 * time.Hour)
	b.add("oven", "site:plant1")
	b.step()
	b.want("oven daily 3-")
}

func TestWhoIsUnderMaintenanceNow(t *testing.T) {
	b := newSite(t, daily, whole)
	oven, door := b.add("oven", "site:plant1"), b.add("door")
	b.start()
	for _, test := range []struct {
		hours float64
		want  string
		count int
	}{
		{1.5, "", 0},
		{2.5, "oven daily 4", 1},
		{3.5, "oven whole 6, door whole 6", 2}, // of two the one that ends last
		{4.5, "oven whole 6, door whole 6", 2},
		{6, "", 0},
		{26, "oven daily 28", 1},
	} {
		b.at(test.hours)
		var said []string
		under := b.foreman.Under([]sereno.DeviceID{oven.ID, door.ID, door.ID + 1})
		for _, d := range []sereno.Device{oven, door} {
			if m, in := under[d.ID]; in {
				said = append(said, fmt.Sprintf("%s %s %v", d.Name, m.Window, m.Until.Sub(night).Hours()))
			}
		}
		if got := strings.Join(said, ", "); got != test.want || b.foreman.Count() != test.count || len(under) != len(said) {
			t.Errorf("at %v: %d under %q, not %d under %q", test.hours, b.foreman.Count(), got, test.count, test.want)
		}
	}
	b.now = night.Add(28 * time.Hour) // it has ended, and is not yet written down as that
	if n, under := b.foreman.Count(), b.foreman.Under([]sereno.DeviceID{oven.ID}); n != 0 || len(under) != 0 {
		t.Errorf("after its end %d: %v", n, under)
	}
}

// PostgreSQL goes away in the middle of a window and is back after its end;
// Sereno itself is killed meanwhile.
func TestMaintenanceInPostgreSQLThatIsRestarted(t *testing.T) {
	server := postgrestest.Start(t)
	b := newSiteIn(t, server.Database(t), daily, whole)
	b.add("oven", "site:plant1")
	door := b.add("door")
	b.start()
	b.at(2.5)
	b.want("oven daily 2-")
	b.at(3.25)
	b.want("door whole 3-, oven daily 2-, oven whole 3-")
	server.Kill()
	b.now = night.Add(5 * time.Hour)
	if err := b.foreman.step(t.Context()); err == nil {
		t.Fatal("written while there was no server")
	}
	if n := b.foreman.Count(); n != 2 { // by the window that still is
		t.Errorf("%d are under maintenance", n)
	}
	server.Start(t)
	b.again()
	b.want("door whole 3-, oven daily 2-4, oven whole 3-")

	server.Kill()
	b.now = night.Add(6*time.Hour + 30*time.Minute)
	if err := b.foreman.step(t.Context()); err == nil {
		t.Fatal("written while there was no server")
	}
	server.Start(t)
	b.now = night.Add(27 * time.Hour)
	b.foreman = b.newForeman() // killed
	b.again()
	b.want("door whole 3-6, oven daily 2-4, oven daily 26-, oven whole 3-6")
	b.remove(door)
	b.at(30)
	b.want("door whole 3-6, oven daily 2-4, oven daily 26-28, oven whole 3-6")
}

// again steps until storage takes it: the first try finds broken connections.
func (b *buildingSite) again() {
	b.Helper()
	var err error
	for range 100 {
		if err = b.foreman.step(b.Context()); err == nil {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	b.Fatal(err)
}

// fewDevices is a store in memory, for the clock of a bubble.
type fewDevices struct {
	devices []sereno.Device
	wrote   []string
	now     func() sereno.Instant
}

func (f *fewDevices) AllDevices(context.Context) iter.Seq2[sereno.Device, error] {
	return func(yield func(sereno.Device, error) bool) {
		for _, d := range f.devices {
			if !yield(d, nil) {
				return
			}
		}
	}
}

func (f *fewDevices) OpenMaintained(context.Context) ([]sereno.Maintained, error) { return nil, nil }

func (f *fewDevices) PutMaintained(_ context.Context, list []sereno.Maintained) error {
	for _, m := range list {
		f.wrote = append(f.wrote, fmt.Sprintf("%s: %s to %s", f.now(), m.Begin, m.End))
	}
	return nil
}

// The clock of a bubble begins at 2000-01-01 00:00.
func TestTheForemanIsThereInTime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "maintenance")
	synctest.Test(t, func(t *testing.T) {
		now := func() sereno.Instant { return sereno.At(time.Now()) }
		few := &fewDevices{devices: []sereno.Device{{ID: 1, Name: "oven"}}, now: now}
		f := newForeman(foremanParts{
			store: few, path: path, windows: []maintenance.Window{{Name: "w", RRule: "FREQ=DAILY;COUNT=1", Start: "2000-01-01T05:00", Length: time.Hour}},
			now: now, pending: func() bool { return now() < sereno.At(time.Date(2000, 1, 1, 1, 0, 0, 0, time.UTC)) }, log: slog.New(slog.DiscardHandler),
		})
		ctx, stop := context.WithTimeout(t.Context(), 12*time.Hour)
		defer stop()
		var most int
		var asking sync.WaitGroup
		asking.Go(func() { // others ask meanwhile
			for ctx.Err() == nil {
				most = max(most, f.Count()+len(f.Under([]sereno.DeviceID{1})))
				time.Sleep(time.Minute)
			}
		})
		if err := f.Run(ctx); err != nil {
			t.Fatal(err)
		}
		if asking.Wait(); most != 2 {
			t.Errorf("whoever asked was told of %d", most)
		}
		want := []string{
			"2000-01-01T05:00:00.000000Z: 2000-01-01T05:00:00.000000Z to never",
			"2000-01-01T06:00:00.000000Z: 2000-01-01T05:00:00.000000Z to 2000-01-01T06:00:00.000000Z",
		}
		if !slices.Equal(few.wrote, want) {
			t.Errorf("written: %s", strings.Join(few.wrote, "\n"))
		}
	})
}

func BenchmarkAHundredThousandInOneWindow(b *testing.B) {
	folder := b.TempDir()
	facts, err := store.Open(b.Context(), "sqlite:"+filepath.Join(folder, "sereno.db"), slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	defer facts.Close()
	devices := make([]sereno.Device, 100_000)
	for i := range devices {
		devices[i] = sereno.Device{Name: fmt.Sprintf("d%06d", i), Address: "192.0.2.1", Tags: []string{"site:plant1"}}
	}
	if _, err := facts.AddDevices(b.Context(), devices, night); err != nil {
		b.Fatal(err)
	}
	now := night
	f := newForeman(foremanParts{
		store: facts, path: filepath.Join(folder, "maintenance"), windows: []maintenance.Window{daily}, settled: now, now: func() sereno.Instant { return now },
		pending: func() bool { return false }, log: slog.New(slog.DiscardHandler),
	})
	for b.Loop() { // a begin and an end
		for range 2 {
			if err := f.step(b.Context()); err != nil {
				b.Fatal(err)
			}
			_, end, in := f.windows[0].At(now)
			if now = end; !in {
				now, _, _ = f.windows[0].Next(now)
			}
		}
	}
}

// BenchmarkWhoIsUnderMaintenance asks about a page of devices, and counts all,
// while 100,000 are under two windows at once.
func BenchmarkWhoIsUnderMaintenance(b *testing.B) {
	now := night.Add(3*time.Hour + 30*time.Minute)
	few := &fewDevices{now: func() sereno.Instant { return now }}
	for i := range 100_000 {
		few.devices = append(few.devices, sereno.Device{ID: sereno.DeviceID(i + 1), Tags: []string{"site:plant1"}})
	}
	f := newForeman(foremanParts{
		store: few, path: filepath.Join(b.TempDir(), "maintenance"), windows: []maintenance.Window{daily, whole}, settled: now, now: few.now,
		pending: func() bool { return false }, log: slog.New(slog.DiscardHandler),
	})
	if err := f.step(b.Context()); err != nil {
		b.Fatal(err)
	}
	page := make([]sereno.DeviceID, 1000)
	for i := range page {
		page[i] = sereno.DeviceID(50_000 + i)
	}
	b.Run("page", func(b *testing.B) {
		for b.Loop() {
			if n := len(f.Under(page)); n != len(page) {
				b.Fatalf("%d are", n)
			}
		}
	})
	b.Run("count", func(b *testing.B) {
		for b.Loop() {
			if n := f.Count(); n != len(few.devices) {
				b.Fatalf("%d are", n)
			}
		}
	})
}

// Whatever happens in whatever order, and whenever it is killed: who is under
// what is what a walk from minute to minute says.
func TestTheForemanAgreesWithAWalk(t *testing.T) {
	pool := []maintenance.Window{
		daily, whole,
		plant("daily", "FREQ=HOURLY;INTERVAL=3", "2026-11-01T01:20", 40*time.Minute), // the same name
		plant("often", "FREQ=MINUTELY;INTERVAL=50", "2026-11-01T00:10", 20*time.Minute),
		{Name: "other", Match: `site == "plant2"`, RRule: "FREQ=DAILY;BYHOUR=0,5,11;COUNT=4", Start: "2026-11-01T00:30", Length: 2 * time.Hour},
	}
	tags := []string{"site:plant1", "site:plant2"}
	b := newSite(t)
	rapid.Check(t, func(r *rapid.T) {
		books := func() (windows []maintenance.Window) {
			for _, i := range rapid.SliceOfNDistinct(rapid.IntRange(0, len(pool)-1), 0, 3, func(i int) string { return pool[i].Name }).Draw(r, "windows") {
				windows = append(windows, pool[i])
			}
			return windows
		}
		b.foreman, b.now, b.path, b.windows = nil, night, filepath.Join(t.TempDir(), "maintenance"), books()
		type place struct {
			device sereno.DeviceID
			window string
		}
		walked := map[place][]sereno.Instant{} // minutes
		living := map[sereno.DeviceID]sereno.Device{}
		var ever []sereno.DeviceID
		defer func() {
			for id := range living {
				if _, err := b.store.RemoveDevice(t.Context(), id, b.now); err != nil {
					t.Fatal(err)
				}
			}
		}()
		known := b.foremanKnows()
		walk := func(minutes int) {
			for range minutes {
				for _, c := range known {
					if _, _, in := c.At(b.now); !in {
						continue
					}
					for id, d := range living {
						if c.Covers(match.Of(&d, nil)) {
							walked[place{id, c.Name}] = append(walked[place{id, c.Name}], b.now)
						}
					}
				}
				b.now = b.now.Add(time.Minute)
			}
		}
		b.start()
		for i := range rapid.IntRange(1, 12).Draw(r, "turns") {
			minutes := rapid.IntRange(1, 400).Draw(r, "minutes")
			walk(minutes)
			if rapid.Bool().Draw(r, "awake") { // else it gets round to it later
				b.step()
			}
			var some sereno.Device
			for id := range living { // the first
				if some.ID == 0 || id < some.ID {
					some = living[id]
				}
			}
			switch what := rapid.SampledFrom([]string{"add", "retag", "remove", "book", "kill", "off"}).Draw(r, "what"); {
			case what == "add" || some.ID == 0 && what != "kill" && what != "book" && what != "off":
				d := b.add(fmt.Sprint("d", i), rapid.SampledFrom(tags).Draw(r, "tag"))
				living[d.ID], ever = d, append(ever, d.ID)
				b.step()
			case what == "retag":
				living[some.ID] = b.retag(some, rapid.SampledFrom(tags).Draw(r, "tag"))
			case what == "remove":
				b.remove(some)
				delete(living, some.ID)
			case what == "book":
				b.book(books()...)
				known = b.foremanKnows()
			case what == "kill":
				b.start()
			default:
				b.windows = books() // the file was changed meanwhile
				walk(rapid.IntRange(0, 3000).Draw(r, "off"))
				b.start()
				known = b.foremanKnows()
			}
		}
		b.step()

		list, err := b.store.Maintained(t.Context(), append(ever, 0), 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		written := map[place][]sereno.Instant{}
		for _, m := range list {
			end := m.End
			if end == 0 {
				end = b.now
			}
			for at := m.Begin; at < end-1; at = at.Add(time.Minute) { // to the microsecond: what begins and ends at once has one
				written[place{m.Device, m.Window}] = append(written[place{m.Device, m.Window}], at)
			}
		}
		for at := range maps.Keys(written) {
			slices.Sort(written[at])
			written[at] = slices.Compact(written[at])
		}
		for at := range written {
			if !slices.Equal(written[at], walked[at]) {
				r.Fatalf("device %d under %s:\nwritten %v\nwalked  %v", at.device, at.window, written[at], walked[at])
			}
		}
		for at := range walked {
			if written[at] == nil {
				r.Fatalf("device %d was under %s, and nothing of it is written", at.device, at.window)
			}
		}
	})
}

// foremanKnows are the windows as they are now.
func (b *buildingSite) foremanKnows() (list []*maintenance.Calendar) {
	for _, w := range b.windows {
		c, err := w.Compile()
		if err != nil {
			b.Fatal(err)
		}
		list = append(list, c)
	}
	return list
}
