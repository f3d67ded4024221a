package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"sereno/app"
	"sereno/config"
)

func newServe() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Watch for good",
		Long: `Watch all devices of the store and of the configuration file until stopped.
SIGHUP, or a change of the file, loads it anew; a file with a mistake changes
nothing.

Flags beat environment variables, which beat the file:
` + variablesHelp(),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return serve(cmd) },
	}
	f := cmd.Flags()
	f.StringP("config", "f", "", "configuration file (default: SERENO_CONFIG, else none)")
	f.String("data", "", "folder of the store (default ./data)")
	f.String("database", "", "sqlite:PATH or postgres://USER:PASSWORD@HOST:5432/NAME (default: a file in the folder)")
	f.String("listen", "", "address and port of the API (default 127.0.0.1:8080)")
	f.Bool("insecure-listen", false, "allow addresses that other machines can reach")
	f.Int("max-pps", 0, "packets a second at most (default: no limit)")
	return cmd
}

func variablesHelp() string {
	var text strings.Builder
	text.WriteString("  SERENO_CONFIG")
	for _, name := range config.Variables() {
		text.WriteString("\n  " + name)
	}
	return text.String()
}

func serve(cmd *cobra.Command) error {
	path, err := cmd.Flags().GetString("config")
	if err != nil {
		return err
	}
	if path == "" {
		path = os.Getenv("SERENO_CONFIG")
	}
	load := func() (*config.Config, error) { return wanted(path, os.Environ(), cmd.Flags()) }
	// A start makes much that stays and little that goes: collecting garbage
	// meanwhile costs more time than it gives room.
	percent := debug.SetGCPercent(400)
	started := func(string) {
		debug.SetGCPercent(percent)
		debug.FreeOSMemory()
	}
	c, err := load()
	if err != nil {
		return err
	}
	log := slog.New(logHandler(cmd))
	slog.SetDefault(log) // what parts of other origin say goes there as well
	reload := make(chan struct{}, 1)
	again := func() {
		select {
		case reload <- struct{}{}:
		default: // one is waiting already, and will read what is there then
		}
	}
	ctx, cancel := context.WithCancel(cmd.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() { hangups(ctx, again) })
	if path != "" {
		wg.Go(func() {
			if err := config.Watch(ctx, path, again); err != nil {
				log.Warn("changes of the configuration file are not noticed; send SIGHUP after a change", "err", err)
			}
		})
	}
	return app.Run(ctx, app.Options{
		Config: c, Reload: reload, Load: load, Ready: started, Command: typed,
		Version: versionText(), Log: log, Stdout: cmd.OutOrStdout(),
	})
}

// typed is what a person types to ask the server at url: this program, as it
// was called.
func typed(url string) string {
	if url == defaultServer {
		return os.Args[0]
	}
	return os.Args[0] + " --server " + url
}

func logHandler(cmd *cobra.Command) slog.Handler {
	if asJSON(cmd) {
		return slog.NewJSONHandler(cmd.ErrOrStderr(), nil)
	}
	return slog.NewTextHandler(cmd.ErrOrStderr(), nil)
}

// hangups calls again for each SIGHUP until ctx ends.
func hangups(ctx context.Context, again func()) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGHUP)
	defer signal.Stop(signals)
	for {
		select {
		case <-ctx.Done():
			return
		case <-signals:
			again()
		}
	}
}

// wanted is the configuration: the file, written over by the environment,
// written over by the flags that were given.
func wanted(path string, environ []string, flags *pflag.FlagSet) (*config.Config, error) {
	c := config.Default()
	if path != "" {
		var err error
		if c, err = config.Load(path, kinds(), channels()); err != nil {
			return nil, err
		}
	}
	if err := c.Environ(environ); err != nil {
		return nil, err
	}
	var errs []error
	for flag, set := range map[string]func() error{
		"data":            func() (err error) { c.Data, err = flags.GetString("data"); return },
		"database":        func() (err error) { c.Database, err = flags.GetString("database"); return },
		"listen":          func() (err error) { c.Listen, err = flags.GetString("listen"); return },
		"insecure-listen": func() (err error) { c.InsecureListen, err = flags.GetBool("insecure-listen"); return },
		"max-pps":         func() (err error) { c.MaxPPS, err = flags.GetInt("max-pps"); return },
	} {
		if flags.Changed(flag) {
			errs = append(errs, set())
		}
	}
	for _, e := range c.Validate() {
		if flag := strings.ReplaceAll(e.Field, "_", "-"); flags.Changed(flag) {
			errs = append(errs, fmt.Errorf("--%s: %s", flag, e.Text))
		}
	}
	return c, errors.Join(errs...)
}
