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
		Long: `Read a configuration file as serve would, and tell every mistake in it, each with
its line. What is allowed and surely not meant (a policy that is never asked) is
told on standard error.
Exit code 0 if there is no mistake, 1 if there is, 2 if the file cannot be read.`,
		Args: between(1, 1, "say which file"),
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
					Warnings []config.Mistake `json:"warnings"`
				}{OK: !wrong, Mistakes: append([]config.Mistake{}, mistakes...), Warnings: []config.Mistake{}}
				if c != nil {
					document.Devices = len(c.Devices)
					document.Warnings = append(document.Warnings, c.Warnings...)
				}
				if err := printJSON(w, document); err != nil {
					return err
				}
			} else if !wrong {
				for _, m := range c.Warnings {
					if _, err := fmt.Fprintln(cmd.ErrOrStderr(), inert(m.String())); err != nil {
						return err
					}
				}
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
