package main

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"sereno"
	"sereno/lab"
	"sereno/probe/icmp"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"sereno": func() { os.Exit(run()) }})
}

// Stories of the real binary. "[permitted]" holds where echo requests may be
// sent; "[root]" where namespaces can be made.
func TestScripts(t *testing.T) {
	engine, err := icmp.New(icmp.Options{Deliver: func([]sereno.Result) {}})
	if err != nil {
		t.Fatal(err)
	}
	permitted := engine.Permitted()
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(e *testscript.Env) error {
			e.Setenv("TZ", "UTC")
			return nil
		},
		Condition: func(name string) (bool, error) {
			switch name {
			case "root":
				return os.Geteuid() == 0, nil
			case "permitted":
				return permitted == nil, nil
			}
			return false, errors.New("no such condition")
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"lab": inLab},
	})
}

// inLab runs a program in a network in which 10.0.0.0/8 answers, but for
// 10.0.9.0/24, and fd00:5e7e::/64 does, and expects its exit code.
func inLab(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: lab CODE PROGRAM ARGS…")
	}
	network, err := lab.Open(lab.Script{Rules: []lab.Rule{
		{Prefix: netip.MustParsePrefix("10.0.9.0/24"), Behaviour: lab.Behaviour{Loss: 1}},
	}})
	ts.Check(err)
	defer network.Close()
	ctx, stop := context.WithCancel(context.Background())
	var answering sync.WaitGroup
	answering.Go(func() {
		if err := network.Run(ctx); err != nil {
			ts.Logf("the lab: %v", err)
		}
	})
	defer answering.Wait()
	defer stop()
	cmd := network.Command(args[1], args[2:]...)
	cmd.Stdout, cmd.Stderr = ts.Stdout(), ts.Stderr()
	cmd.Dir = ts.MkAbs(".")
	if err := cmd.Run(); cmd.ProcessState == nil {
		ts.Fatalf("%v", err)
	}
	if got := cmd.ProcessState.ExitCode(); got != int(args[0][0]-'0') {
		ts.Fatalf("exit code %d, want %s", got, args[0])
	}
}
