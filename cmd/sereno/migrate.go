package main

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sereno"
	"sereno/spool"
	"sereno/store"
)

func newMigrate() *cobra.Command {
	var from, to, data string
	cmd := &cobra.Command{
		Use:   "migrate --from ADDRESS --to ADDRESS",
		Short: "Copy the facts into another database",
		Long: `Copy all facts from one database into another, empty one, from SQLite to
PostgreSQL or back. No Sereno may use either meanwhile. The copy is read back and
compared, table by table, before it is kept; it is there whole or not at all, so
one that was interrupted is simply begun anew.

The looks themselves and the signs of life stay where they are, in the data
folder: start sereno serve with the same --data and the new --database. What waits
there for the old database would be lost on the way, so nothing is copied while
anything does. The folder is that of the SQLite file; say with --data if it is
another.`,
		Example: `  sereno migrate --from sqlite:data/sereno.db --to postgres://sereno@db.example.net/sereno`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if from == "" || to == "" {
				return errors.New("say with --from and --to from where to where (see sereno migrate --help)")
			}
			if data == "" {
				data = folderOf(from)
			}
			if data == "" {
				data = folderOf(to)
			}
			if data != "" {
				if err := nothingWaits(data); err != nil {
					return err
				}
			}
			s, err := store.OpenAsItIs(cmd.Context(), from, quietLog())
			if err != nil {
				return err
			}
			defer s.Close()
			show := &copying{w: cmd.ErrOrStderr(), live: isTerminal(cmd.ErrOrStderr()), last: time.Now()}
			sums, err := s.Transfer(cmd.Context(), to, show.progress, quietLog())
			if err != nil {
				show.end()
				return err
			}
			if asJSON(cmd) {
				return printJSON(cmd.OutOrStdout(), map[string]any{"tables": sums})
			}
			for _, sum := range sums {
				if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%-16s %12d rows  sum %.16s\n", sum.Table, sum.Rows, sum.Digest); err != nil {
					return err
				}
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "\nBoth sides are the same. Go on with: sereno serve --database %s\n", inertLines(store.Redact(to)))
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&from, "from", "", "sqlite:PATH or postgres://USER:PASSWORD@HOST:5432/NAME")
	f.StringVar(&to, "to", "", "the same, of an empty database or a file that is not there yet")
	f.StringVar(&data, "data", "", "the data folder of the Sereno that used it (default: where the SQLite file is)")
	return cmd
}

// folderOf is where the data of a Sereno is whose store is a SQLite file there,
// "" if it is none.
func folderOf(address string) string {
	if path, is := strings.CutPrefix(address, "sqlite:"); is {
		return filepath.Dir(path)
	}
	return ""
}

// nothingWaits is an error of kind Conflict while entries wait in the spool of a
// data folder. They belong to the store that was away when they were written.
func nothingWaits(data string) error {
	left, err := spool.Look(filepath.Join(data, "spool"))
	if err != nil || !left.Waits() {
		return err
	}
	what := counted(left.Entries, "transaction")
	if left.Entries == 0 {
		what = "what this Sereno cannot read"
	}
	return sereno.Errorf(sereno.Conflict, "%s holds %s for the store that was away then: start sereno serve on that store and this folder, so that it is written, then try again",
		filepath.Join(data, "spool"), what)
}

// copying shows how far a copy is: on a terminal one line that changes, else a
// line for each table and one every few seconds.
type copying struct {
	w    io.Writer
	live bool
	last time.Time
}

func (c *copying) progress(table string, rows int64, done bool) {
	switch {
	case c.live && done:
		fmt.Fprintf(c.w, "\r\x1b[K")
	case c.live:
		fmt.Fprintf(c.w, "\r\x1b[K%s: %d rows", table, rows)
	case done || time.Since(c.last) > 5*time.Second:
		fmt.Fprintf(c.w, "%s: %d rows\n", table, rows)
		c.last = time.Now()
	}
}

func (c *copying) end() {
	if c.live {
		fmt.Fprintf(c.w, "\r\x1b[K")
	}
}
