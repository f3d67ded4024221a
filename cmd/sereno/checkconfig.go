package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"sereno/config"
)

func newCheckConfig() *cobra.Command {
	return &cobra.Command{
		Use:   "check-config FILE",
		Short: "Find every mistake in a configuration file",
		Long:  "Read a configuration file as serve would, and tell every mistake in it, each with its line.\nExit code 0 if there is none, 1 if there is, 2 if the file cannot be read.",
		Args:  between(1, 1, "say which file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			w := cmd.OutOrStdout()
			c, err := config.Load(args[0], kinds(), channels())
			mistakes, wrong := errors.AsType[config.Errors](err)
			if err != nil && !wrong {
				return err
			}
			if asJSON(cmd) {
				document := struct {
					OK       bool             `json:"ok"`
					Devices  int              `json:"devices"`
					Mistakes []config.Mistake `json:"mistakes"`
				}{OK: !wrong, Mistakes: append([]config.Mistake{}, mistakes...)}
				if c != nil {
					document.Devices = len(c.Devices)
				}
				if err := printJSON(w, document); err != nil {
					return err
				}
			} else if !wrong {
				_, err := fmt.Fprintf(w, "%s: no mistakes, %s\n", inert(args[0]), counted(len(c.Devices), "device"))
				return err
			}
			if !wrong {
				return nil
			}
			if !asJSON(cmd) {
				for _, m := range mistakes {
					if _, err := fmt.Fprintln(w, inert(m.String())); err != nil {
						return err
					}
				}
				if _, err := fmt.Fprintln(w, counted(len(mistakes), "mistake")); err != nil {
					return err
				}
			}
			return errNegative
		},
	}
}

// counted is a number of things: "1 device", "212 devices".
func counted(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return grouped(fmt.Sprint(n)) + " " + thing + "s"
}
