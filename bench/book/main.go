// Command book measures what a look costs on disk: two hours of a thousand
// hosts at 1 s, with the delays of the laboratory, in simulated time, through
// the database of samples as the program uses it, and then as a compacted
// block. It takes half a minute and needs no rights.
//
// The same from a running program: start `sereno-lab` with a thousand hosts
// and such delays, `sereno serve` over them for more than three hours, and
// divide sereno_samples_bytes{class="raw"} by the looks of the time that its
// blocks cover.
package main

import (
	"context"
	"flag"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
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
	all := make([]int, hosts)
	for i := range all {
		all[i] = i % len(kinds)
	}
	if err := measure("all three, a third each", all, length, loss); err != nil {
		return err
	}
	for k := range kinds {
		for i := range all {
			all[i] = k
		}
		if err := measure(kinds[k].name, all[:hosts/len(kinds)], length, loss); err != nil {
			return err
		}
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
	db := samples.New(samples.Options{
		Dir: filepath.Join(dir, "samples"), Retention: 30 * 24 * time.Hour,
		Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	delays := make([]lab.Delay, len(hosts))
	devices := make([]sereno.Device, len(hosts))
	dice := rand.New(rand.NewPCG(1, 2))
	for i, kind := range hosts {
		delays[i] = kinds[kind].delay(dice)
		devices[i] = sereno.Device{ID: sereno.DeviceID(i + 1), Checks: []sereno.Check{{ID: sereno.CheckID(i + 1), Kind: "icmp", Policy: sereno.DefaultPolicy}}}
	}
	db.Know(devices)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- db.Run(ctx) }()
	defer func() {
		stop()
		if e := <-done; err == nil {
			err = e
		}
	}()
	if err := db.Wait(ctx); err != nil {
		return err
	}
	begin := sereno.At(time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC))
	batch := make([]sereno.Result, len(hosts))
	for second := range int(length / time.Second) {
		for i := range batch {
			id := sereno.CheckID(i + 1)
			r := sereno.Result{Check: id, Status: sereno.Up, At: begin.Add(time.Duration(second)*time.Second + sereno.Phase(id, time.Second))}
			if r.RTT = delays[i].Draw(dice.Float64(), dice.Float64()); dice.Float64() < loss {
				r.Status, r.RTT = sereno.Down, 0
			}
			batch[i] = r
		}
		for second%60 == 0 && db.Usage().Waiting > 1_000_000 {
			time.Sleep(time.Millisecond)
		}
		db.Keep(batch)
	}
	for db.Usage().Waiting > 0 {
		time.Sleep(10 * time.Millisecond)
	}
	u := db.Usage()
	if u.Dropped+u.Refused > 0 {
		return fmt.Errorf("%d looks were dropped, %d refused", u.Dropped, u.Refused)
	}
	copied := filepath.Join(dir, "copy")
	if err := db.Snapshot(ctx, copied); err != nil {
		return err
	}
	bytes, err := size(copied)
	if err != nil {
		return err
	}
	perLook := float64(bytes) / float64(u.Kept)
	fmt.Printf("| %s | %d | %d | %.2f | %.2f |\n", name, u.Kept, bytes, perLook, perLook/target)
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
