package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"sereno"
	"sereno/store"
)

// begin is when simulated time begins: with a day.
var begin = sereno.At(time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC))

// measureDay keeps a day and a quarter of looks of hosts of all kinds, waits
// until the databases have made blocks and minutes of them by themselves, and
// prints what a day of a check takes: its minutes, and its row in the store.
func measureDay(hosts int, loss float64) (err error) {
	const length = 30 * time.Hour
	dir, err := os.MkdirTemp("", "book")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	w, err := newWatch(dir, mixed(hosts), loss)
	if err != nil {
		return err
	}
	defer func() { err = w.end(err) }()
	if err := w.keep(length); err != nil {
		return err
	}
	const covered = 24 * time.Hour
	for deadline := time.Now().Add(10 * time.Minute); w.db.Usage().MinutesUntil < begin.Add(covered); time.Sleep(time.Second) {
		if time.Now().After(deadline) {
			return fmt.Errorf("minutes reach to %v only", w.db.Usage().MinutesUntil)
		}
	}
	u := w.db.Usage()
	days := u.MinutesUntil.Sub(begin).Hours() / 24 * float64(hosts)
	fmt.Printf("| minutes, all three kinds at 1 s | %.2f days of checks | %d | %.0f a check and day |\n", days, u.MinuteBytes, float64(u.MinuteBytes)/days)

	var rows []sereno.DayOfLooks
	for check := range hosts {
		row, any, err := w.db.Day(w.ctx, sereno.CheckID(check+1), sereno.DayOf(begin))
		if err != nil {
			return err
		}
		if !any {
			return fmt.Errorf("check %d has no day", check+1)
		}
		rows = append(rows, row)
	}
	bytes, err := daysInStore(filepath.Join(dir, "sereno.db"), rows, 365)
	if err != nil {
		return err
	}
	fmt.Printf("| days, SQLite, a year | %d rows | %d | %.0f a check and day |\n", 365*hosts, bytes, float64(bytes)/float64(365*hosts))
	return nil
}

// daysInStore writes the days of many checks, day after day as they end, and
// returns by how much the file has grown.
func daysInStore(path string, rows []sereno.DayOfLooks, days int) (int64, error) {
	ctx := context.Background()
	facts, err := store.Open(ctx, "sqlite:"+path, slog.New(slog.DiscardHandler))
	if err != nil {
		return 0, err
	}
	if err := facts.Close(); err != nil {
		return 0, err
	}
	before, err := os.Stat(path)
	if err != nil {
		return 0, err
	}
	if facts, err = store.Open(ctx, "sqlite:"+path, slog.New(slog.DiscardHandler)); err != nil {
		return 0, err
	}
	for range days {
		for i := range rows {
			rows[i].Day++
		}
		if err == nil {
			err = facts.PutDays(ctx, rows)
		}
	}
	if e := facts.Close(); err == nil {
		err = e
	}
	if err != nil {
		return 0, err
	}
	after, err := os.Stat(path)
	if err != nil {
		return 0, err
	}
	return after.Size() - before.Size(), nil
}

// measureLog keeps looks in real time, in batches of a tenth of a second as
// they come, and prints what they take in the log.
func measureLog(hosts int, length time.Duration, loss float64) (err error) {
	dir, err := os.MkdirTemp("", "book")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	w, err := newWatch(dir, mixed(hosts), loss)
	if err != nil {
		return err
	}
	defer func() { err = w.end(err) }()
	w.draw(0)
	w.db.Keep(w.batch) // the series are made, each of which the log names once
	time.Sleep(time.Second)
	before := w.db.Usage()
	tick := time.NewTicker(time.Second / 10)
	defer tick.Stop()
	for second := 1; second <= int(length/time.Second); second++ {
		w.draw(second)
		for part := range 10 {
			<-tick.C
			w.db.Keep(w.batch[len(w.batch)*part/10 : len(w.batch)*(part+1)/10])
		}
	}
	time.Sleep(time.Second)
	after := w.db.Usage()
	looks, bytes := after.Kept-before.Kept, after.LogBytes-before.LogBytes
	fmt.Printf("| log, %d checks at 1 s, in real time | %d looks | %d | %.1f a look |\n", hosts, looks, bytes, float64(bytes)/float64(looks))
	return nil
}

// mixed returns hosts of all kinds in turn.
func mixed(hosts int) []int {
	all := make([]int, hosts)
	for i := range all {
		all[i] = i % len(kinds)
	}
	return all
}
