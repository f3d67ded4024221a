// Command book measures what looks cost on disk: two hours of a thousand hosts
// at 1 s, with the delays of the laboratory, in simulated time, through the
// database of samples as the program uses it, and then as a compacted block;
// their log, in real time; and, of a tenth of the hosts, a day of minutes, and
// their rows in the table of days. It takes about five minutes and needs no
// rights.
//
// The same from a running program: start `sereno-lab` with a thousand hosts
// and such delays, `sereno serve` over them for more than three hours, and
// divide sereno_samples_bytes{class="raw"} by the looks of the time that its
// blocks cover.
package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"time"

	"sereno"
	"sereno/lab"
	"sereno/samples"
)

// target is the most that a look may take, in bytes.
const target = 3.0

func main() {
	hosts := flag.Int("hosts", 1000, "how many hosts")
	length := flag.Duration("length", 2*time.Hour, "how long they are looked at")
	loss := flag.Float64("loss", 0.002, "share of looks without an answer")
	flag.Parse()
	if err := run(*hosts, *length, *loss); err != nil {
		fmt.Fprintln(os.Stderr, "book:", err)
		os.Exit(1)
	}
}

// kinds of hosts: machines in the same room, across the country, behind radio.
var kinds = []struct {
	name  string
	delay func(dice *rand.Rand) lab.Delay
}{
	{"room, 0.2 to 1 ms, deviation a tenth", func(dice *rand.Rand) lab.Delay {
		mean := 200*time.Microsecond + time.Duration(dice.Int64N(int64(800*time.Microsecond)))
		return lab.Normal(mean, mean/10)
	}},
	{"country, 5 to 40 ms, deviation a twentieth", func(dice *rand.Rand) lab.Delay {
		mean := 5*time.Millisecond + time.Duration(dice.Int64N(int64(35*time.Millisecond)))
		return lab.Normal(mean, mean/20)
	}},
	{"radio, anything from 10 to 60 ms", func(*rand.Rand) lab.Delay {
		return lab.Uniform(10*time.Millisecond, 60*time.Millisecond)
	}},
}

func run(hosts int, length time.Duration, loss float64) error {
	fmt.Printf("%d hosts at 1 s for %v, %.1f %% lost\n\n", hosts, length, 100*loss)
	fmt.Println("| hosts | looks | bytes on disk | bytes per look | of 3.0 |\n|---|---:|---:|---:|---:|")
	if err := measure("all three, a third each", mixed(hosts), length, loss); err != nil {
		return err
	}
	for k := range kinds {
		if err := measure(kinds[k].name, slices.Repeat([]int{k}, hosts/len(kinds)), length, loss); err != nil {
			return err
		}
	}
	fmt.Println("\n| what | of | bytes on disk | bytes |\n|---|---:|---:|---:|")
	for _, n := range []int{hosts / 10, hosts} {
		if err := measureLog(n, 30*time.Second, loss); err != nil {
			return err
		}
	}
	return measureDay(max(1, hosts/10), loss)
}

// A watch is a database of samples that is given simulated looks at hosts.
type watch struct {
	db     *samples.DB
	hosts  []lab.Delay
	loss   float64
	dice   *rand.Rand
	batch  []sereno.Result
	ctx    context.Context
	cancel context.CancelFunc
	done   chan error
}

// newWatch makes a database in dir for hosts, each of a kind.
func newWatch(dir string, hosts []int, loss float64) (*watch, error) {
	w := &watch{loss: loss, dice: rand.New(rand.NewPCG(1, 2)), batch: make([]sereno.Result, len(hosts)), done: make(chan error, 1)}
	w.ctx, w.cancel = context.WithCancel(context.Background())
	w.db = samples.New(samples.Options{
		Dir: filepath.Join(dir, "samples"), Retention: 30 * 24 * time.Hour,
		Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	devices := make([]sereno.Device, len(hosts))
	for i, kind := range hosts {
		w.hosts = append(w.hosts, kinds[kind].delay(w.dice))
		devices[i] = sereno.Device{ID: sereno.DeviceID(i + 1), Checks: []sereno.Check{{ID: sereno.CheckID(i + 1), Kind: "icmp", Policy: sereno.DefaultPolicy}}}
	}
	w.db.Know(devices)
	go func() { w.done <- w.db.Run(w.ctx) }()
	if err := w.db.Wait(w.ctx); err != nil {
		return nil, w.end(err)
	}
	return w, nil
}

// end stops the database, and returns err or else why it failed.
func (w *watch) end(err error) error {
	w.cancel()
	return cmp.Or(err, <-w.done)
}

// draw makes a look at every host in a second of simulated time.
func (w *watch) draw(second int) {
	for i := range w.batch {
		id := sereno.CheckID(i + 1)
		r := sereno.Result{Check: id, Status: sereno.Up, At: begin.Add(time.Duration(second)*time.Second + sereno.Phase(id, time.Second))}
		if r.RTT = w.hosts[i].Draw(w.dice.Float64(), w.dice.Float64()); w.dice.Float64() < w.loss {
			r.Status, r.RTT = sereno.Down, 0
		}
		w.batch[i] = r
	}
}

// keep keeps the looks of seconds as fast as they are taken.
func (w *watch) keep(length time.Duration) error {
	for second := range int(length / time.Second) {
		w.draw(second)
		for second%60 == 0 && w.db.Usage().Waiting > 1_000_000 {
			time.Sleep(time.Millisecond)
		}
		w.db.Keep(w.batch)
	}
	for w.db.Usage().Waiting > 0 {
		time.Sleep(10 * time.Millisecond)
	}
	if u := w.db.Usage(); u.Dropped+u.Refused > 0 {
		return fmt.Errorf("%d looks were dropped, %d refused", u.Dropped, u.Refused)
	}
	return nil
}

// measure keeps the looks of hosts, each of a kind, and prints a row.
func measure(name string, hosts []int, length time.Duration, loss float64) (err error) {
	dir, err := os.MkdirTemp("", "book")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	w, err := newWatch(dir, hosts, loss)
	if err != nil {
		return err
	}
	defer func() { err = w.end(err) }()
	if err := w.keep(length); err != nil {
		return err
	}
	copied := filepath.Join(dir, "copy")
	if err := w.db.Snapshot(w.ctx, copied); err != nil {
		return err
	}
	bytes, err := size(copied)
	if err != nil {
		return err
	}
	looks := w.db.Usage().Kept
	perLook := float64(bytes) / float64(looks)
	fmt.Printf("| %s | %d | %d | %.2f | %.2f |\n", name, looks, bytes, perLook, perLook/target)
	return nil
}

func size(dir string) (sum int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			sum += info.Size()
		}
		return err
	})
	return sum, err
}
