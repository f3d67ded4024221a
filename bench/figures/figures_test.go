package main

import (
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"sereno/store"
	"sereno/store/postgrestest"
)

// TestFigures fills a store of each engine and asks every question. Its figures
// are no measurement, unless SERENO_FIGURES says of how many devices.
func TestFigures(t *testing.T) {
	devices, rounds := 50, 2
	if n, err := strconv.Atoi(os.Getenv("SERENO_FIGURES")); err == nil {
		devices, rounds = n, 200
	}
	for name, address := range map[string]func(t *testing.T) string{
		"SQLite":     func(t *testing.T) string { return "sqlite:" + filepath.Join(t.TempDir(), "sereno.db") },
		"PostgreSQL": func(t *testing.T) string { return postgrestest.Database(t) },
	} {
		t.Run(name, func(t *testing.T) {
			s, err := store.Open(t.Context(), address(t), slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if err := fill(t.Context(), s, devices); err != nil {
				t.Fatal(err)
			}
			if err := s.ReadMeters(t.Context()); err != nil {
				t.Fatal(err)
			}
			if devices < 1000 {
				if err := s.CheckMeters(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if err := measure(t.Context(), s, rounds); err != nil {
				t.Fatal(err)
			}
		})
	}
}
