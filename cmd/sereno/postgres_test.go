package main

import (
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"sereno"
	"sereno/probe/icmp"
	"sereno/store/postgrestest"
)

// Stories of the real binary with a real PostgreSQL: EMPTY is the
// address of an empty database.
func TestPostgreSQLScripts(t *testing.T) {
	engine, err := icmp.New(icmp.Options{Deliver: func([]sereno.Result) {}})
	if err != nil {
		t.Fatal(err)
	}
	permitted := engine.Permitted()
	database := postgrestest.Database(t)
	testscript.Run(t, testscript.Params{
		Dir: "testdata/postgres",
		Setup: func(e *testscript.Env) error {
			e.Setenv("TZ", "UTC")
			e.Setenv("EMPTY", database)
			return nil
		},
		Condition: func(name string) (bool, error) {
			if name == "permitted" {
				return permitted == nil, nil
			}
			return false, os.ErrInvalid
		},
	})
}
