//go:build soak

package soak

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sereno"
	"sereno/bench"
	"sereno/store"
	"sereno/store/postgrestest"
)

// number is a parameter of a test, from the environment.
func number(name string, otherwise int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return n
	}
	return otherwise
}

// wire lets the programs in the lab reach PostgreSQL, which is outside of it,
// by the same address.
func (w *watch) wire(address string) {
	w.t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		w.t.Fatal(err)
	}
	var ln net.Listener
	if err := w.lab.Do(func() (err error) { ln, err = net.Listen("tcp", u.Host); return err }); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			in, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer in.Close()
				out, err := new(net.Dialer).DialContext(context.Background(), "tcp", u.Host)
				if err != nil {
					return
				}
				defer out.Close()
				go func() { io.Copy(out, in); out.Close(); in.Close() }()
				io.Copy(in, out)
			}()
		}
	}()
	w.url, w.conf = address, "database: "+strconv.Quote(address)+"\n"+w.conf
}

// An outage is the silence of sixteen hosts that nobody else shares.
type outage struct {
	first    int
	from, to time.Time
}

func (w *watch) silence(round int) *outage {
	o := &outage{first: 16 * (round + 1)}
	o.from = w.lab.Silence(netip.PrefixFrom(host(o.first), 28))
	return o
}

func (w *watch) restore(o *outage) { o.to = w.lab.Restore(netip.PrefixFrom(host(o.first), 28)) }

// compare fails unless the outages booked are exactly those that there were,
// begin and end where they may be; see bookable. It returns how many there were.
func (w *watch) compare(all []*outage) (compared int) {
	w.t.Helper()
	truth := map[string]*outage{}
	for _, o := range all {
		for i := range 16 {
			truth[fmt.Sprintf("h%d", o.first+i)] = o
		}
	}
	s := w.book()
	absences, _, err := s.Absences(w.t.Context(), store.AbsenceQuery{Limit: 1000})
	if err != nil {
		w.t.Fatal(err)
	}
	off, unseen := time.Duration(0), 0
	for name, spans := range w.spans(s) {
		o := truth[name]
		var downs []sereno.Span
		for _, span := range spans {
			if span.Status == sereno.Down {
				downs = append(downs, span)
			}
		}
		if o == nil {
			if len(downs) > 0 {
				w.t.Errorf("%s was never silent: %+v", name, downs)
			}
			continue
		}
		if len(downs) != 1 {
			w.t.Errorf("%s: %d outages booked of 1: %+v", name, len(downs), spans)
			continue
		}
		compared++
		for _, turn := range []struct {
			name         string
			booked, true time.Time
		}{{"begin", downs[0].Begin.Time(), o.from}, {"end", downs[0].End.Time(), o.to}} {
			d := turn.booked.Sub(turn.true)
			from, to, exact := bookable(turn.true, absences)
			if turn.booked.Before(from) || turn.booked.After(to) {
				const clock = "15:04:05.000"
				w.t.Errorf("%s: the %s is off by %v: %s may be booked from %s to %s", name, turn.name, d.Round(time.Millisecond), turn.true.Format(clock), from.Format(clock), to.Format(clock))
			}
			if exact {
				off = max(off, d.Abs())
			} else {
				unseen++
			}
		}
	}
	w.t.Logf("%d outages of the truth, each booked once, %v off at most outside of absences; %d absences, in or beside which %d turns fell", compared, off.Round(time.Millisecond), len(absences), unseen)
	return compared
}

// storageIncidents returns those about storage, and fails if one is open.
func (w *watch) storageIncidents() (all []incident) {
	w.t.Helper()
	for _, in := range w.incidents() {
		if in.Status == "storage" {
			all = append(all, in)
			if in.Closed == nil {
				w.t.Errorf("storage works, and yet: %+v", in)
			}
		}
	}
	return all
}

type storageState struct {
	bench.Statistics
	Storage struct {
		Status  string
		Waiting int   `json:"waiting_entries"`
		Reserve int64 `json:"reserve_bytes"`
	}
}

// stored waits until storage says so.
func (w *watch) stored(atMost time.Duration, status string) time.Duration {
	w.t.Helper()
	began := time.Now()
	for {
		var s storageState
		err := w.Get(w.t.Context(), w.ask, "/api/statistics", &s)
		if err == nil && s.Storage.Status == status {
			return time.Since(began)
		}
		if time.Since(began) > atMost {
			w.t.Fatalf("not %s within %v: %+v %v", status, atMost, s, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// PostgreSQL is killed, stopped or stands still while outages come and go: each
// is booked once, with its true times.
func TestTheDatabaseIsKilled(t *testing.T) {
	n, rounds := number("SERENO_SOAK_HOSTS", 3000), number("SERENO_SOAK_ROUNDS", 20)
	pg := postgrestest.Start(t)
	w := newLab(t, hosts(n), t.TempDir())
	w.wire(pg.Database(t))
	w.start()
	w.allUp()
	var outages []*outage
	var back []time.Duration
	most := 0
	for round := range rounds {
		o := w.silence(round)
		outages = append(outages, o)
		time.Sleep(time.Duration(rand.IntN(4000)) * time.Millisecond)
		how := []string{"kill -9", "stop", "stand still"}[round%3]
		away := 3*time.Second + time.Duration(rand.IntN(8000))*time.Millisecond
		switch how {
		case "kill -9":
			pg.Kill()
		case "stop":
			pg.Stop()
		default:
			pg.Pause(t)
		}
		time.Sleep(away / 2)
		time.Sleep(max(0, 6*time.Second-time.Since(o.from)))
		w.restore(o)
		time.Sleep(away / 2)
		var s storageState
		if err := w.Get(t.Context(), w.ask, "/api/statistics", &s); err == nil {
			most = max(most, s.Storage.Waiting)
		}
		if how == "stand still" {
			pg.Resume(t)
		} else {
			pg.Start(t)
		}
		back = append(back, w.stored(time.Minute, "ok"))
		w.until(20*time.Second, "all up", func(s bench.Statistics) bool { return s.Devices.Up == n })
	}
	time.Sleep(3 * time.Second)
	incidents := w.storageIncidents()
	compared := w.compare(outages)
	t.Logf("PostgreSQL killed, stopped or paused %d times under %d devices: %d incidents about storage, %d transactions waited at most, all written %v (median), %v (most) after it was back",
		rounds, n, len(incidents), most, quantile(back, 0.5), quantile(back, 1))
	if compared != 16*rounds || len(incidents) == 0 {
		t.Error("promise not kept")
	}
}

// PostgreSQL is away for ten minutes: looking and judging go on, and all is
// written with its true times when it is back.
func TestTheDatabaseIsAwayForTenMinutes(t *testing.T) {
	n, away := number("SERENO_SOAK_HOSTS", 3000), time.Duration(number("SERENO_SOAK_AWAY", 600))*time.Second
	pg := postgrestest.Start(t)
	w := newLab(t, hosts(n), t.TempDir())
	w.wire(pg.Database(t))
	w.start()
	w.allUp()
	time.Sleep(2 * time.Second)
	looks := w.statistics().Taken()
	gone := time.Now()
	pg.Stop()
	var outages []*outage
	for round := 0; time.Since(gone) < away && 16*(round+2) < n; round++ {
		o := w.silence(round)
		outages = append(outages, o)
		time.Sleep(7 * time.Second)
		w.restore(o)
		time.Sleep(time.Second)
	}
	w.stored(10*time.Second, "waiting")
	var s storageState
	if err := w.Get(t.Context(), w.ask, "/api/statistics", &s); err != nil {
		t.Fatal(err)
	}
	taken := s.Taken() - looks
	length := time.Since(gone)
	pg.Start(t)
	caught := w.stored(time.Minute, "ok")
	w.allUp()
	time.Sleep(3 * time.Second)
	incidents := w.storageIncidents()
	if len(incidents) != 1 || incidents[0].Opened.Sub(gone).Abs() > 5*time.Second || incidents[0].Closed.Sub(gone) < length {
		t.Errorf("incidents about storage: %+v", incidents)
	}
	compared := w.compare(outages)
	t.Logf("away for %v under %d devices: %.4f looks a device and second, %d transactions waited, all written %v after it was back; %d outages, each booked once",
		length.Round(time.Second), n, float64(taken)/float64(n)/length.Seconds(), s.Storage.Waiting, caught.Round(time.Millisecond), compared)
	if compared != 16*len(outages) {
		t.Error("promise not kept")
	}
}

// Sereno is killed while the database is away: what waits is not lost. It
// watches again when the database is there.
func TestKilledWhileTheDatabaseIsAway(t *testing.T) {
	n, rounds := number("SERENO_SOAK_HOSTS", 3000), number("SERENO_SOAK_ROUNDS", 20)
	pg := postgrestest.Start(t)
	w := newLab(t, hosts(n), t.TempDir())
	w.wire(pg.Database(t))
	w.start()
	var outages []*outage
	for round := range rounds {
		w.until(30*time.Second, "all up", func(s bench.Statistics) bool { return s.Devices.Up == n })
		pg.Kill()
		o := w.silence(round)
		outages = append(outages, o)
		time.Sleep(7 * time.Second)
		w.restore(o)
		w.until(20*time.Second, "all up", func(s bench.Statistics) bool { return s.Devices.Up == n })
		w.stored(10*time.Second, "waiting")
		time.Sleep(time.Duration(rand.IntN(1000)) * time.Millisecond)
		w.Kill()
		w.ask.CloseIdleConnections()
		pg.Start(t)
		if round%2 == 0 { // and again, while it writes what waited
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rand.IntN(600))*time.Millisecond)
			if s, err := bench.Start(ctx, binary, w.data, w.conf, w.lab.Command, w.ask); err == nil {
				s.Kill()
			}
			cancel()
			w.ask.CloseIdleConnections()
		}
		w.start()
	}
	w.allUp()
	time.Sleep(3 * time.Second)
	w.storageIncidents()
	if compared := w.compare(outages); compared != 16*rounds {
		t.Errorf("%d outages of %d", compared, 16*rounds)
	}
}

// The disk fills up to its last byte while outages come and go: samples give
// way, spans and incidents are written, and it recovers by itself.
func TestTheDiskIsFull(t *testing.T) {
	n, rounds := number("SERENO_SOAK_HOSTS", 3000), number("SERENO_SOAK_ROUNDS", 20)
	disk := smallDisk(t, 512)
	w := newLab(t, hosts(n), filepath.Join(disk, "data"))
	w.start()
	w.allUp()
	var outages []*outage
	var back []time.Duration
	for round := range rounds {
		ballast := filepath.Join(disk, "ballast")
		fill(t, ballast)
		w.stored(10*time.Second, "degraded")
		o := w.silence(round)
		outages = append(outages, o)
		time.Sleep(7 * time.Second)
		fill(t, ballast) // what came free meanwhile
		w.restore(o)
		w.until(20*time.Second, "all up", func(s bench.Statistics) bool { return s.Devices.Up == n })
		time.Sleep(time.Duration(rand.IntN(2000)) * time.Millisecond)
		if round%4 == 3 { // also while the disk is full
			w.Kill()
			w.ask.CloseIdleConnections()
			w.start()
		}
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
		back = append(back, w.stored(time.Minute, "ok"))
	}
	w.allUp()
	time.Sleep(3 * time.Second)
	incidents := w.storageIncidents()
	var s storageState
	if err := w.Get(t.Context(), w.ask, "/api/statistics", &s); err != nil {
		t.Fatal(err)
	}
	compared := w.compare(outages)
	t.Logf("the disk was full %d times under %d devices: %d incidents about storage; well again after %v (median), %v (most); %d MB in reserve again",
		rounds, n, len(incidents), quantile(back, 0.5), quantile(back, 1), s.Storage.Reserve>>20)
	if compared != 16*rounds || s.Storage.Reserve == 0 || len(incidents) < rounds {
		t.Error("promise not kept")
	}
}

// fill takes up all the room there is.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for size := 1 << 20; size > 0; {
		if _, err := f.Write(make([]byte, size)); err != nil {
			size /= 2
		}
	}
	_ = f.Sync()
}

// smallDisk mounts an ext4 file system of so many megabytes, in mounts that end
// with this process (see TestMain).
func smallDisk(t *testing.T, megabytes int64) string {
	t.Helper()
	dir := t.TempDir()
	image, disk := filepath.Join(dir, "image"), filepath.Join(dir, "disk")
	f, err := os.Create(image)
	if err == nil {
		err = errors.Join(f.Truncate(megabytes<<20), f.Close(), os.Mkdir(disk, 0o700))
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"mkfs.ext4", "-q", "-F", "-m", "0", image}, {"mount", "-o", "loop", image, disk}} {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v %s", strings.Join(args, " "), err, out)
		}
	}
	t.Cleanup(func() {
		if err := unix.Unmount(disk, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return disk
}

// ownMounts runs the tests again in a process whose mounts nobody else sees,
// and reports whether it did.
func ownMounts() (code int, did bool) {
	const inside = "SERENO_SOAK_INSIDE"
	if os.Getenv(inside) != "" {
		return 0, false
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &unix.SysProcAttr{Unshareflags: unix.CLONE_NEWNS, Pdeathsig: unix.SIGKILL}
	if err := cmd.Run(); err != nil {
		if cmd.ProcessState == nil {
			fmt.Fprintln(os.Stderr, "mounts of its own:", err)
		}
		return 1, true
	}
	return 0, true
}
