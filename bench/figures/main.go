// Command figures measures how long Sereno takes to tell figures, on any
// engine:
//
//	go run ./bench/figures fill sqlite:/tmp/figures/sereno.db
//	go run ./bench/figures measure sqlite:/tmp/figures/sereno.db
//
// fill makes 20,000 devices with a year of about 400 spans each, which takes a
// minute or two; measure asks for figures of others each time and prints
// percentiles, and how much time of processors (its own, not PostgreSQL's) each
// took on average, which other work on the machine disturbs less.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"sereno"
	"sereno/api"
	"sereno/ledger"
	"sereno/store"
)

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "figures:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	devices := flag.Int("devices", 20_000, "how many devices fill makes")
	rounds := flag.Int("rounds", 300, "how often measure asks each question")
	flag.Parse()
	if flag.NArg() != 2 {
		return errors.New("say fill or measure, and the address of a store")
	}
	s, err := store.Open(ctx, flag.Arg(1), slog.Default())
	if err != nil {
		return err
	}
	defer s.Close()
	began := time.Now()
	switch flag.Arg(0) {
	case "fill":
		if err := fill(ctx, s, *devices); err != nil {
			return err
		}
		fmt.Printf("%d devices with a year each: %v\n", *devices, time.Since(began).Round(time.Millisecond))
		began = time.Now()
		if err := s.ReadMeters(ctx); err != nil {
			return err
		}
		fmt.Printf("meter readings: %v\n", time.Since(began).Round(time.Millisecond))
		return nil
	case "measure":
		return measure(ctx, s, *rounds)
	default:
		return fmt.Errorf("%q is neither fill nor measure", flag.Arg(0))
	}
}

// A watch is the ledger of a program that has looked at nothing.
type watch struct{}

func (watch) Live(context.Context, []sereno.CheckID) ([]ledger.Live, error) { return nil, nil }
func (watch) Statistics(context.Context) (ledger.Statistics, error) {
	return ledger.Statistics{}, nil
}

// used is the time of processors that this process has used.
func used() time.Duration {
	var r unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &r); err != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

func measure(ctx context.Context, s *store.Store, rounds int) error {
	count, err := s.CountDevices(ctx)
	if err != nil {
		return err
	}
	random := rand.New(rand.NewPCG(3, 4))
	any := func(below int) int { return random.IntN(max(1, below)) + 1 }
	door := api.New(api.Options{Facts: s, Watch: watch{}, Figures: s, Now: func() sereno.Instant { return ended }, Log: slog.Default()})
	get := func(path string) func() error {
		return func() error {
			r := httptest.NewRequestWithContext(ctx, http.MethodGet, path, nil)
			r.Host = "localhost"
			w := httptest.NewRecorder()
			door.ServeHTTP(w, r)
			if w.Code != http.StatusOK {
				text, _ := io.ReadAll(w.Body)
				return fmt.Errorf("%s: %d %s", path, w.Code, text)
			}
			return nil
		}
	}
	for _, q := range []struct {
		name string
		ask  func() error
		of   int // times, in hundredths
	}{
		{"365 days of one device, from the store", func() error {
			spans := 0
			check, from := sereno.CheckID(any(count)), ended.Add(-year)
			f := sereno.Tally(sereno.Tile(func(yield func(sereno.Span) bool) {
				for span, e := range s.NotUp(ctx, []sereno.CheckID{check}, from, ended) {
					if err = e; e != nil || !yield(span) {
						return
					}
					spans++
				}
			}, check, from, ended), from, ended)
			if err == nil && (f.Window() != year || f.Outside != 0 || spans < yearly/4) {
				err = fmt.Errorf("figures of %d spans: %+v", spans, f)
			}
			return err
		}, 100},
		{"GET /api/uptime, 365 days of one device", func() error {
			return get(fmt.Sprintf("/api/uptime?device=device-%06d&window=365d", any(count)-1))()
		}, 100},
		{"GET /api/devices/{id}, with 24h,7d,30d,90d,365d", func() error {
			return get(fmt.Sprintf("/api/devices/%d", any(count)))()
		}, 100},
		{"GET /api/devices, a page of 1,000, without figures", func() error {
			return get(fmt.Sprintf("/api/devices?limit=1000&cursor=%s", cursor(any(count-1000))))()
		}, 50},
		{"GET /api/devices, a page of 1,000, with 7d,30d", func() error {
			return get(fmt.Sprintf("/api/devices?figures=7d,30d&limit=1000&cursor=%s", cursor(any(count-1000))))()
		}, 50},
		{"GET /api/devices, a page of 1,000, with 365d", func() error {
			return get(fmt.Sprintf("/api/devices?figures=365d&limit=1000&cursor=%s", cursor(any(count-1000))))()
		}, 20},
		{"GET /api/uptime, 30 days of a site of 1,000", func() error {
			return get(fmt.Sprintf("/api/uptime?site=plant%d&window=30d", any(count/1000)-1))()
		}, 20},
		{"GET /api/uptime, 365 days of a site of 1,000", func() error {
			return get(fmt.Sprintf("/api/uptime?site=plant%d&window=365d", any(count/1000)-1))()
		}, 5},
		{"GET /api/uptime, 30 days of all", get("/api/uptime?window=30d"), 1},
	} {
		took := make([]time.Duration, 0, rounds)
		before := used()
		for range max(1, rounds*q.of/100) {
			began := time.Now()
			if err := q.ask(); err != nil {
				return fmt.Errorf("%s: %w", q.name, err)
			}
			took = append(took, time.Since(began))
		}
		each := (used() - before) / time.Duration(len(took))
		slices.Sort(took)
		at := func(percent int) time.Duration { return took[len(took)*percent/101].Round(10 * time.Microsecond) }
		fmt.Printf("%-55s %5d times  p50 %10v  p99 %10v  most %10v  processor %10v\n", q.name, len(took), at(50), at(99), at(100), each.Round(10*time.Microsecond))
	}
	return nil
}
