package store_test

import (
	"context"
	"log/slog"
	"testing"

	"sereno/store"
	"sereno/store/postgrestest"
	"sereno/store/storetest"
)

func TestPostgreSQL(t *testing.T) {
	storetest.Run(t, func(t *testing.T) *store.Store { return openURL(t, postgrestest.Database(t)) })
}

func openURL(tb testing.TB, url string) *store.Store {
	tb.Helper()
	s, err := tryURL(url)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func tryURL(url string) (*store.Store, error) {
	return store.Open(context.Background(), url, slog.New(slog.DiscardHandler))
}
