// Package all is the list of the kinds of channel there are.
package all

import (
	"sereno/notify"
	"sereno/notify/command"
	"sereno/notify/dashboard"
	"sereno/notify/discord"
	"sereno/notify/email"
	"sereno/notify/ntfy"
	"sereno/notify/pagerduty"
	"sereno/notify/shoutrrr"
	"sereno/notify/slack"
	"sereno/notify/teams"
	"sereno/notify/telegram"
	"sereno/notify/webhook"
)

// Kinds returns one of each, in the order in which they are told to people.
// Channels of one kind may share what their kind holds, so a program asks once.
func Kinds() []notify.Kind {
	return []notify.Kind{
		email.New(),
		telegram.New(),
		webhook.Kind{},
		slack.Kind{},
		discord.Kind{},
		teams.Kind{},
		ntfy.Kind{},
		pagerduty.Kind{},
		command.Kind{},
		dashboard.Kind{},
		shoutrrr.Kind{},
	}
}
