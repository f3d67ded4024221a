package message

import "sereno"

// Words say one trouble.
type words struct{ is, still, had, back, means string }

// wording says a trouble in sentences without a full stop.
func wording(in Incident) words {
	if !in.Trouble.Own() {
		w := who(in)
		said := in.Trouble.String()
		back := map[sereno.Trouble]string{
			sereno.TroubleDown: " is back", sereno.TroubleDegraded: " is well again", sereno.TroubleFlapping: " is calm again",
		}[in.Trouble]
		if in.Removed {
			back = " is no longer watched"
		}
		return words{is: w + " is " + said, still: w + " is still " + said, had: w + " was " + said, back: w + back}
	}
	about := ""
	if in.Subject != "" {
		about = " " + who(in)
	}
	w := map[sereno.Trouble]words{
		sereno.TroubleIsolated: {
			"I am cut off from the network", "I am still cut off from the network", "I was cut off from the network", "I see the network again",
			"Without the network nothing beyond this machine can be judged: what is not seen counts as unknown, not as down.",
		},
		sereno.TroubleStorage: {
			"I cannot write to my storage", "I still cannot write to my storage", "I could not write to my storage", "my storage takes what I write again",
			"What I find meanwhile waits on the disk or in memory until it can be written.",
		},
		sereno.TroubleAbsent: {
			"I was off", "I was off", "I was off", "I am on duty again",
			"What could not be seen counts as unknown.",
		},
		sereno.TroubleSocket: {
			"I cannot look: there is no socket", "I still cannot look: there is no socket", "I could not look: there was no socket", "I can look again",
			"Without one nothing is seen, and nothing counts as down for it.",
		},
		sereno.TroubleOverload: {
			"I have more to do than I manage", "I still have more to do than I manage", "I had more to do than I managed", "I keep up again",
			"Looks are left out: it takes longer until something is seen.",
		},
		sereno.TroubleClock: {
			"my clock cannot be believed", "my clock still cannot be believed", "my clock could not be believed", "my clock can be believed again",
			"Times that are written down meanwhile may be wrong.",
		},
		sereno.TroubleOutbox: {
			"messages do not get out", "messages still do not get out", "messages did not get out", "messages get out again",
			"Nothing is lost, but it comes late.",
		},
		sereno.TroublePolicy: {
			"something is wrong with the policy" + about, "something is still wrong with the policy" + about, "something was wrong with the policy" + about, "the policy" + about + " is in order again",
			"Somebody who should hear of trouble may not.",
		},
		sereno.TroubleChannel: {
			"the channel" + about + " does not take messages", "the channel" + about + " still does not take messages", "the channel" + about + " did not take messages", "the channel" + about + " takes messages again",
			"What is promised to it is kept, and tried again.",
		},
		sereno.TroublePeer: {
			"the other Sereno" + about + " does not report", "the other Sereno" + about + " still does not report", "the other Sereno" + about + " did not report", "the other Sereno" + about + " reports again",
			"What it watches may be without a watchman.",
		},
	}[in.Trouble]
	for _, s := range []*string{&w.is, &w.still, &w.had, &w.back} {
		*s = "Sereno: " + *s
	}
	return w
}

// who names what a trouble is about: the device, its check unless that is
// whether it answers at all, and its site.
func who(in Incident) string {
	if in.Trouble.Own() {
		return plain(in.Subject, maxName)
	}
	w := plain(in.Name, maxName)
	if w == "" {
		w = "a device that is gone"
	}
	if in.Check != "" && in.Check != "icmp" {
		w += " (" + plain(in.Check, maxName) + ")"
	}
	if in.Site != "" {
		w += " at " + plain(in.Site, maxName)
	}
	return w
}
