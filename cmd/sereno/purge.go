package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"

	"github.com/charmbracelet/x/term"
	"github.com/spf13/cobra"

	"sereno"
	"sereno/api"
)

func newDevicesPurge() *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use: "purge NAME|ID", Short: "Delete for ever all that is remembered of a removed device",
		Long: `Delete for ever all that is remembered of a device that was removed: its spans,
incidents, figures and looks. Its name or id is that of sereno devices removed.
Backups that were made before still have it.

The room that its looks take on the disk comes back little by little, as their
blocks are written anew.`,
		Example: `  sereno devices remove printer-2
  sereno devices purge printer-2`,
		Args: between(1, 1, "say which removed device, by its name or its id"),
		RunE: asking(func(cmd *cobra.Command, c *client, args []string) error {
			gone, err := c.removed(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if !yes {
				if err := confirmed(cmd, gone); err != nil {
					return err
				}
			}
			patient := *c
			patient.http.Timeout = 0 // of years of history it does a little at a time
			if err := patient.do(cmd.Context(), http.MethodDelete, devicePath(gone.ID)+"/history", nil, nil, nil); err != nil {
				return err
			}
			if asJSON(cmd) {
				return printJSON(cmd.OutOrStdout(), gone)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "all that was remembered of %s is deleted\n", inert(gone.Name))
			return err
		}),
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return cmd
}

func newDevicesRemoved() *cobra.Command {
	return &cobra.Command{
		Use: "removed", Short: "List what is watched no longer and still remembered", Args: cobra.NoArgs,
		RunE: asking(func(cmd *cobra.Command, c *client, _ []string) error {
			var found api.Page[api.RemovedDevice]
			if err := c.get(cmd.Context(), removedPath, nil, &found); err != nil {
				return err
			}
			if asJSON(cmd) {
				return printJSON(cmd.OutOrStdout(), found)
			}
			if len(found.Items) == 0 {
				_, err := fmt.Fprintln(cmd.OutOrStdout(), "nothing is remembered of a device that was removed")
				return err
			}
			t := &table{columns: []column{{"id", true}, {"device", false}, {"watched since", false}, {"removed", false}}}
			for _, d := range found.Items {
				t.add(cell{fmt.Sprint(d.ID), faint}, text(d.Name), text(moment(d.Created)), text(moment(d.Removed)))
			}
			return t.print(cmd.OutOrStdout())
		}),
	}
}

const removedPath = "/api/devices/removed"

// removed finds the one removed device of a name or, if there is none, of an
// id.
func (c *client) removed(ctx context.Context, name string) (api.RemovedDevice, error) {
	var none api.RemovedDevice
	var found api.Page[api.RemovedDevice]
	if err := c.get(ctx, removedPath, url.Values{"name": {name}}, &found); err != nil {
		return none, err
	}
	switch len(found.Items) {
	case 1:
		return found.Items[0], nil
	case 0:
	default:
		lines := []string{fmt.Sprintf("%d removed devices were called %q; say which by its id:", len(found.Items), name)}
		for _, d := range found.Items {
			lines = append(lines, fmt.Sprintf("%d, watched from %s to %s", d.ID, moment(d.Created), moment(d.Removed)))
		}
		return none, &refusal{http.StatusConflict, strings.Join(lines, "\n")}
	}
	if err := c.get(ctx, removedPath, nil, &found); err != nil {
		return none, err
	}
	id, err := strconv.ParseInt(name, 10, 64)
	for _, d := range found.Items {
		if err == nil && d.ID == sereno.DeviceID(id) {
			return d, nil
		}
	}
	living, err := c.device(ctx, name)
	if err == nil {
		return none, &refusal{http.StatusConflict, fmt.Sprintf("%s is still watched: remove it first (sereno devices remove)", living.Name)}
	}
	if r, ok := errors.AsType[*refusal](err); !ok || r.status != http.StatusNotFound {
		return none, err
	}
	return none, &refusal{http.StatusNotFound, fmt.Sprintf("there is no removed device called %q; sereno devices removed shows all", name)}
}

// confirmed asks at the terminal whether a device is meant.
func confirmed(cmd *cobra.Command, d api.RemovedDevice) error {
	if !term.IsTerminal(os.Stdin.Fd()) {
		return errors.New("nobody is there to confirm it: say --yes if all that is remembered of this device is to be deleted for ever")
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "Delete for ever all that is remembered of %s (id %d, watched from %s to %s)? [y/N] ",
		inert(d.Name), d.ID, moment(d.Created), moment(d.Removed))
	line, err := bufio.NewReader(cmd.InOrStdin()).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read the answer: %w", err)
	}
	if answer := strings.ToLower(strings.TrimSpace(line)); answer != "y" && answer != "yes" {
		return &refusal{http.StatusConflict, "nothing was deleted"}
	}
	return nil
}
