// Sereno-lab runs a program inside a test network in which every address of
// 10.0.0.0/8 and fd00:5e7e::/64 answers echo requests as the flags say.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"sereno/lab"
)

func main() { os.Exit(run()) }

// run returns the exit code: that of the program, 128 and the signal that
// ended it, 2 for a mistake of the caller or a missing right, else 1.
func run() int {
	code := 0
	var f flags
	c := &cobra.Command{
		Use:   "sereno-lab [flags] [--] COMMAND [ARGUMENT...]",
		Short: "Run a program inside a test network whose hosts lose, delay and fall silent as told",
		Example: "  sereno-lab --delay 5ms..20ms --loss 1% --silent 10.0.7.0/24@10s..40s -- \\\n" +
			"      sereno ping 10.0.7.1 10.0.8.1",
		Args:          cobra.MinimumNArgs(1),
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE: func(c *cobra.Command, args []string) error {
			script, err := f.script()
			if err != nil {
				return err
			}
			code, err = inside(script, args, f.quiet)
			return err
		},
	}
	f.bind(c.Flags())
	c.Flags().SetInterspersed(false)
	err := c.Execute()
	if err == nil {
		return code
	}
	fmt.Fprintln(os.Stderr, "sereno-lab:", err)
	if f, ok := errors.AsType[*failure](err); ok {
		return f.code
	}
	fmt.Fprintln(os.Stderr, "Try sereno-lab --help.")
	return 2
}

// A failure is not a mistake in the command line.
type failure struct {
	error
	code int
}

// inside runs a program in a network made for it, and returns its exit code.
func inside(script lab.Script, argv []string, quiet bool) (int, error) {
	path, err := exec.LookPath(argv[0])
	if err != nil {
		return 0, err
	}
	net, err := lab.Open(script)
	if errors.Is(err, os.ErrPermission) {
		return 0, &failure{fmt.Errorf("needs root (CAP_SYS_ADMIN, CAP_NET_ADMIN) to make a network namespace: %w", err), 2}
	}
	if err != nil {
		return 0, &failure{err, 1}
	}
	defer net.Close()

	answering, stop := context.WithCancel(context.Background())
	running, kill := context.WithCancel(context.Background())
	defer kill()
	var responder sync.WaitGroup
	var failed error
	responder.Go(func() {
		failed = net.Run(answering)
		kill()
	})
	cmd := net.CommandContext(running, path, argv[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	err = attend(cmd)
	stop()
	responder.Wait()

	if exit, ok := errors.AsType[*exec.ExitError](err); failed == nil && (err == nil || ok) {
		if !quiet {
			report(os.Stderr, net)
		}
		return exitCode(exit), nil
	}
	return 0, &failure{errors.Join(failed, err), 1}
}

// attend runs a program to its end. Control-C reaches it through the terminal
// and must not end us first; other ends are passed on.
func attend(cmd *exec.Cmd) error {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(signals)
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case err := <-ended:
			return err
		case s := <-signals:
			if s != os.Interrupt {
				_ = cmd.Process.Signal(s) // it may have ended just now
			}
		}
	}
}

func exitCode(exit *exec.ExitError) int {
	if exit == nil {
		return 0
	}
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return exit.ExitCode()
}

// report tells what the network did.
func report(w io.Writer, net *lab.Net) {
	c, err := net.Counts()
	if err != nil {
		fmt.Fprintln(w, "sereno-lab:", err)
		return
	}
	fmt.Fprintf(w, "sereno-lab: %d requests: %d answered, %d lost, %d unanswered in outages; %d answered twice, %d dropped by the lab itself\n",
		c.Requests, c.Answered, c.Lost, c.Silenced, c.Duplicated, c.Dropped)
	const clock = "15:04:05.000000"
	for _, s := range net.Silences() {
		to := "the end"
		if !s.To.IsZero() {
			to = s.To.Format(clock)
		}
		fmt.Fprintf(w, "sereno-lab: %v was silent from %s to %s\n", s.Prefix, s.From.Format(clock), to)
	}
	for i, g := range net.Gaps() {
		if i == 20 {
			fmt.Fprintf(w, "sereno-lab: and %d more gaps\n", len(net.Gaps())-i)
			break
		}
		until := "was not answered again"
		if !g.Answered.IsZero() {
			until = fmt.Sprintf("answered again %s (%v)", g.Answered.Format(clock), g.Answered.Sub(g.Lost).Round(time.Microsecond))
		}
		fmt.Fprintf(w, "sereno-lab: %v left its first request unanswered %s, %s\n", g.Addr, g.Lost.Format(clock), until)
	}
}
