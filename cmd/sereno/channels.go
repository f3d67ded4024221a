package main

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sereno/api"
)

func newChannels() *cobra.Command {
	cmd := &cobra.Command{
		Use: "channels", Aliases: []string{"channel"}, Short: "How people are reached, and whether it works", Args: cobra.NoArgs,
		Long: "How people are reached, and whether it works. Channels are made in the configuration file or by the API.",
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	addServerFlag(cmd)
	cmd.AddCommand(newChannelsList(), newChannelsTest())
	return cmd
}

func newChannelsList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the channels and how it is with them", Args: cobra.NoArgs,
		RunE: asking(func(cmd *cobra.Command, c *client, _ []string) error {
			channels, err := list[api.Channel](cmd.Context(), c, "/api/channels", nil, 0)
			if err != nil {
				return err
			}
			w := cmd.OutOrStdout()
			if asJSON(cmd) {
				return printJSON(w, api.Page[api.Channel]{Items: channels})
			}
			if len(channels) == 0 {
				return say(w, "there is no channel: nobody is told of anything; see channels in the configuration file")
			}
			t := &table{columns: []column{{"channel", false}, {"kind", false}, {"status", false}, {"waiting", true}, {"delivered", false}, {"fallback", false}, {"managed by", false}, {"", false}}}
			for _, ch := range channels {
				status, waiting, delivered, note := channelState(ch)
				t.add(text(ch.Name), text(ch.Kind), status, text(waiting), cell{delivered, plain}, text(ch.Fallback), cell{managedBy(ch.Managed), faint}, cell{inert(note), faint})
			}
			return t.print(w)
		}),
	}
}

// channelState says how it is with a channel.
func channelState(ch api.Channel) (status cell, waiting, delivered, note string) {
	h := ch.Health
	switch {
	case ch.Aside != "":
		return cell{"aside", bad}, "", "", ch.Aside
	case h == nil:
		return cell{"not known", odd}, "", "", ""
	}
	status = cell{h.Status, plain}
	switch h.Status {
	case "ok":
		status.tone = good
	case "failing", "refusing":
		status.tone = bad
		if !h.Failing.IsZero() {
			note = "since " + moment(h.Failing) + ": "
		}
		note += h.Answer
	}
	if h.Storm {
		note = strings.TrimSpace("one digest a minute at present. " + note)
	}
	return status, grouped(fmt.Sprint(h.Waiting)), moment(h.Delivered), note
}

// managedBy says who may change a rule.
func managedBy(m api.Managed) string {
	if m.FromFile {
		return "file"
	}
	return "api"
}

func newChannelsTest() *cobra.Command {
	return &cobra.Command{
		Use: "test NAME", Short: "Send a test message, and say exactly what the far end answered", Args: between(1, 1, "say which channel"),
		Long: "Send a test message over a channel, and say exactly what the far end answered.\nExit code 0 if it took the message, 1 if it did not.",
		RunE: asking(func(cmd *cobra.Command, c *client, args []string) error {
			c.http.Timeout = 2 * answering // a far end that hangs is waited for
			var result api.ChannelTest
			if err := c.do(cmd.Context(), http.MethodPost, "/api/channels/"+url.PathEscape(args[0])+"/test", nil, struct{}{}, &result); err != nil {
				return err
			}
			w := cmd.OutOrStdout()
			if asJSON(cmd) {
				if err := printJSON(w, result); err != nil {
					return err
				}
			} else {
				verb := good.paint("took it")
				if !result.Taken {
					verb = bad.paint("did not take it")
				}
				if err := say(w, fmt.Sprintf("%s %s (%s): %s", inert(result.Channel), verb, time.Duration(result.Seconds), inert(result.Answer))); err != nil {
					return err
				}
			}
			if !result.Taken {
				return errNegative
			}
			return nil
		}),
	}
}
