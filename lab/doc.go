// Package lab is the test network: hosts that do not exist, but answer, fall
// silent, lose, delay, lie and come back exactly as a script says, and
// namespaces, switches and uplinks to stand in front of them.
//
// A Net is the usual thing: a network namespace of its own in which all of
// 10.0.0.0/8 and fd00:5e7e::/64 is answered for. Its Responder keeps the truth
// (what was asked, what was left unanswered from when to when), so that what a
// watchman wrote down can be compared with what happened.
//
//	net := lab.New(t, lab.Script{Rules: []lab.Rule{
//		{Prefix: netip.MustParsePrefix("10.0.7.0/24"), Behaviour: lab.Behaviour{Delay: lab.Uniform(5*time.Millisecond, 20*time.Millisecond), Loss: 0.01}},
//	}})
//	cmd := net.Command("sereno", "ping", "10.0.7.0/24")
//	...
//	from := net.Silence(netip.MustParsePrefix("10.0.7.12/32"))
//
// It needs root (CAP_NET_ADMIN and CAP_SYS_ADMIN) on Linux. No packet leaves
// the namespaces that it makes, and all of them end with the process, however
// it ends.
package lab
