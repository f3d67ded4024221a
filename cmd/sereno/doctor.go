package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"sereno"
	"sereno/doctor"
	"sereno/samples"
	"sereno/spool"
	"sereno/store"
)

func newDoctor() *cobra.Command {
	var data, database string
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Prove all that Sereno remembers",
		Long: `Read all that Sereno remembers and prove it: that the spans of every check tile
its life, that incidents hang together, that the sums behind the figures are
those of the spans, that partitions are there and blocks of looks can be read,
that nothing waits for the store, that the disk has room.

It asks the running Sereno, or with --data looks into the folder of one that
does not run. Exit code 0 if all is well, 1 if something was found, 2 if
something could not be examined.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if data == "" && database == "" {
				return asking(func(cmd *cobra.Command, c *client, _ []string) error {
					c.http.Timeout = 0 // it takes as long as it takes
					var report doctor.Report
					if err := c.do(cmd.Context(), http.MethodGet, "/api/doctor", nil, nil, &report); err != nil {
						return err
					}
					return printReport(cmd, report)
				})(cmd, nil)
			}
			if data == "" {
				return errors.New("say with --data where the folder of looks and signs of life is, too")
			}
			report, err := examine(cmd, data, database)
			if sereno.KindOf(err) == sereno.Conflict {
				return fmt.Errorf("%w; or leave out --data, to let the running Sereno examine itself", err)
			}
			if err != nil {
				return err
			}
			return printReport(cmd, report)
		},
	}
	addServerFlag(cmd)
	cmd.Flags().StringVar(&data, "data", "", "the folder of a Sereno that does not run")
	cmd.Flags().StringVar(&database, "database", "", "its database, if that is not in the folder")
	return cmd
}

// examine looks into the folder of a Sereno that does not run.
func examine(cmd *cobra.Command, data, database string) (doctor.Report, error) {
	ctx := cmd.Context()
	if database == "" {
		database = "sqlite:" + filepath.Join(data, "sereno.db")
	}
	facts, err := store.OpenAsItIs(ctx, database, quietLog())
	if err != nil {
		return doctor.Report{}, err
	}
	defer facts.Close()
	schema, err := facts.Schema(ctx)
	if err != nil {
		return doctor.Report{}, err
	}
	list := []doctor.Examination{doctor.Schema(facts)}
	if schema == store.LatestSchema() {
		list = append(list, doctor.Ledger(facts), doctor.Outbox(facts), doctor.Meters(facts), doctor.Partitions(facts, time.Now()))
	}
	list = append(list, doctor.Spool(func() (spool.Left, error) { return spool.Look(filepath.Join(data, "spool")) }))
	list = append(list, doctor.Alive(data, func() sereno.Instant { return sereno.At(time.Now()) }))
	looks := filepath.Join(data, "samples")
	if _, err := os.Stat(looks); err == nil {
		list = append(list, doctor.Samples(func(ctx context.Context) ([]string, error) { return verifySamples(ctx, looks) }))
	} else if !errors.Is(err, fs.ErrNotExist) {
		return doctor.Report{}, fmt.Errorf("look for samples: %w", err)
	}
	return doctor.Examine(ctx, append(list, doctor.Disk(data, reserveOf(data, database))), func(part string) {
		if isTerminal(cmd.ErrOrStderr()) {
			fmt.Fprintf(cmd.ErrOrStderr(), "\r\x1b[K%s\r", part)
		}
	})
}

// reserveOf is the path of the reserve of a Sereno that does not run, "" if it
// never set one aside: whether it is to, only its configuration says.
func reserveOf(data, database string) string {
	folder := folderOf(database)
	if folder == "" {
		folder = data
	}
	path := filepath.Join(folder, "reserve")
	if _, err := os.Stat(path); err != nil {
		return ""
	}
	return path
}

// verifySamples opens the looks for as long as it takes to read them.
func verifySamples(ctx context.Context, folder string) ([]string, error) {
	const ever = 100 * 365 * 24 * time.Hour // what is examined is not tidied
	db := samples.New(samples.Options{Dir: folder, Retention: ever, RollupRetention: ever, Log: quietLog()})
	if err := db.Room(); err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- db.Run(ctx) }()
	err := db.Wait(ctx)
	var wrong []string
	if err == nil {
		wrong, err = db.Verify(ctx)
	}
	stop()
	return wrong, errors.Join(err, <-done)
}

func printReport(cmd *cobra.Command, report doctor.Report) error {
	found, failed := report.Findings()
	w := cmd.OutOrStdout()
	if asJSON(cmd) {
		if err := printJSON(w, report); err != nil {
			return err
		}
	} else {
		for _, r := range report.Results {
			if len(r.Findings) == 0 && r.Failed == "" {
				if _, err := fmt.Fprintf(w, "%s: sound\n", r.Part); err != nil {
					return err
				}
			}
			for _, f := range r.Findings {
				if _, err := fmt.Fprintf(w, "%s: %s; %s\n", r.Part, inert(f.Text), inert(f.Do)); err != nil {
					return err
				}
			}
			if r.Failed != "" {
				if _, err := fmt.Fprintf(w, "%s: could not be examined: %s\n", r.Part, inert(r.Failed)); err != nil {
					return err
				}
			}
		}
	}
	switch {
	case failed > 0:
		return fmt.Errorf("%s could not be examined", counted(failed, "part"))
	case found > 0:
		return errNegative
	}
	return nil
}
