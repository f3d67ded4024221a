// Command sereno watches a network, writes down every minute of it, and shows
// what it found.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	_ "time/tzdata" // zones are known on machines that have no database of them

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// version is set when a release is built.
var version = ""

func main() { os.Exit(run()) }

// Exit codes.
const (
	exitOK       = 0
	exitNegative = 1 // some did not answer, something is down, a file has mistakes, there is no such device
	exitFailed   = 2 // usage, permission, or it could not be done at all
)

// errNegative is an answer that is not the one hoped for. It was printed; only
// the exit code is left to tell it.
var errNegative = errors.New("negative answer")

// run is the whole program. It returns the exit code.
func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root := newRoot(os.Stdin, os.Stdout, os.Stderr)
	switch err := root.ExecuteContext(ctx); {
	case err == nil:
		return exitOK
	case errors.Is(err, errNegative):
		return exitNegative
	case errors.Is(err, syscall.EPIPE):
		return exitFailed // whoever read us has enough
	default:
		fmt.Fprintf(os.Stderr, "sereno: %s\n", inertLines(err.Error()))
		return exitFailed
	}
}

// newRoot makes the tree of commands.
func newRoot(stdin io.Reader, stdout, stderr io.Writer) *cobra.Command {
	root := &cobra.Command{
		Use:   "sereno",
		Short: "A night watchman for networks",
		Long: `Sereno watches a network, writes down every minute of it, and shows what it found.

  sereno ping 10.0.0.0/24     look at many hosts now
  sereno serve                watch for good; then, beside it:
  sereno devices add …        say what to watch
  sereno status --watch       see how it is

Exit codes: 0 all well; 1 some did not answer, something is down, or there is
no such thing; 2 it could not be done (usage, permission, no server).`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.PersistentFlags().Bool("json", false, "print JSON")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		if wrong, ok := errors.AsType[*pflag.InvalidValueError](err); ok && wrong.GetFlag().Value.Type() == "int" {
			err = fmt.Errorf("--%s is a whole number, not %q", wrong.GetFlag().Name, wrong.GetValue())
		}
		return fmt.Errorf("%w (see %s --help)", err, cmd.CommandPath())
	})
	root.AddCommand(
		newServe(), newPing(), newStatus(), newDevices(), newHistory(), newUptime(),
		newIncidents(), newAbsences(), newExport(), newReport(), newReplay(), newCheckConfig(), newVersion(),
		newBackup(), newRestore(), newMigrate(), newDoctor(),
		newAlerts(), newAck(), newUnack(), newSnooze(), newUnsnooze(), newResolve(), newComment(), newAudit(),
		newChannels(), newPolicies(), newMaintenance(), newSilences(),
	)
	return root
}

// between accepts from least to most arguments; wanted says what they are.
func between(least, most int, wanted string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < least || len(args) > most {
			return fmt.Errorf("%s (see %s --help)", wanted, cmd.CommandPath())
		}
		return nil
	}
}

func atLeast(least int, wanted string) cobra.PositionalArgs {
	return between(least, math.MaxInt, wanted)
}

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print which Sereno this is", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if asJSON(cmd) {
				return printJSON(cmd.OutOrStdout(), map[string]string{"version": versionText()})
			}
			_, err := fmt.Fprintln(cmd.OutOrStdout(), "sereno", versionText())
			return err
		},
	}
}

// versionText is the release, or what the build knows of its source.
func versionText() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}
