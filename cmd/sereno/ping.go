package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"sereno"
	"sereno/probe/icmp"
)

type pingOptions struct {
	count             int
	interval, timeout length
	size              int
	v4, v6            bool
	quiet, yes, json  bool
	maxPPS            int
}

func newPing() *cobra.Command {
	o := pingOptions{interval: length(time.Second), timeout: length(time.Second)}
	cmd := &cobra.Command{
		Use:   "ping TARGET…",
		Short: "Look at many hosts at once, by echo requests",
		Long: `Look at every TARGET by ICMP echo requests, all in parallel, until Ctrl-C or
for --count rounds. A TARGET is an address, a host name, a network such as
10.0.0.0/24, @FILE with one or more of these on each line (# begins a comment),
or @- for the same from standard input.

Round-trip times are in milliseconds. p50 and p95 are the times that half and
95 % of the answers did not exceed; jitter is the mean difference between
neighbouring answers.

Exit code: 0 if every host answered at least once, 1 if some did not answer at
all, 2 if nothing could be sent (usage, permission, a name without address).`,
		Example: `  sereno ping 10.0.0.0/24
  sereno ping -c 5 -i 0.2 core-sw1 192.0.2.7
  sereno ping -c 1 --json @hosts.txt`,
		Args: atLeast(1, "say what to look at: an address, a name, a network or @FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.json = asJSON(cmd)
			if cmd.Flags().Changed("count") && o.count < 1 {
				return errors.New("--count is at least 1; leave it out to go on until Ctrl-C")
			}
			if o.v4 && o.v6 {
				return errors.New("-4 and -6 leave nothing; give one of them, or none for both")
			}
			return o.run(cmd.Context(), args, cmd.InOrStdin(), cmd.OutOrStdout())
		},
	}
	f := cmd.Flags()
	f.IntVarP(&o.count, "count", "c", 0, "looks at each host (default: until Ctrl-C)")
	f.VarP(&o.interval, "interval", "i", "between looks at one host, such as 200ms; bare numbers are seconds")
	f.VarP(&o.timeout, "timeout", "W", "how long an answer may take")
	f.IntVarP(&o.size, "size", "s", 56, "bytes of payload, 24 to 65499")
	f.BoolVarP(&o.v4, "ipv4", "4", false, "IPv4 only")
	f.BoolVarP(&o.v6, "ipv6", "6", false, "IPv6 only")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "print only the result")
	f.BoolVar(&o.yes, "yes", false, "networks of more than 65,536 hosts are meant")
	f.IntVar(&o.maxPPS, "max-pps", 0, "packets a second at most (default: no limit)")
	return cmd
}

func (o *pingOptions) validate() error {
	switch interval, timeout := time.Duration(o.interval), time.Duration(o.timeout); {
	case interval < sereno.MinInterval || interval > sereno.MaxInterval:
		return fmt.Errorf("--interval is 100ms to 24h, not %s", interval)
	case timeout < time.Millisecond || timeout > sereno.MaxInterval:
		return fmt.Errorf("--timeout is 1ms to 24h, not %s", timeout)
	case o.count > 1e9:
		return errors.New("--count is at most 1,000,000,000")
	case o.maxPPS < 0:
		return errors.New("--max-pps is a number of packets a second, or 0 for no limit")
	}
	return nil
}

func (o *pingOptions) run(ctx context.Context, args []string, stdin io.Reader, stdout io.Writer) error {
	if err := o.validate(); err != nil {
		return err
	}
	list := targetList{stdin: stdin, family: anyFamily, yes: o.yes}
	switch {
	case o.v4:
		list.family = onlyIPv4
	case o.v6:
		list.family = onlyIPv6
	}
	if err := list.collect(args); err != nil {
		return err
	}
	if err := list.resolve(ctx); err != nil {
		return err
	}
	if len(list.hosts) == 0 {
		return errors.New("there is nothing to look at: no target was given")
	}
	s := newSweep(list.hosts, o.count, time.Duration(o.interval), time.Duration(o.timeout))
	engine, err := icmp.New(icmp.Options{Deliver: s.deliver, MaxPPS: o.maxPPS})
	if err != nil {
		return err
	}
	settings, err := json.Marshal(icmp.Settings{Size: o.size})
	if err != nil {
		return err
	}
	if wrong, ok := errors.AsType[*sereno.Error](engine.Validate(settings)); ok {
		return fmt.Errorf("--size: %s", wrong.Text)
	}
	if err := engine.Permitted(); err != nil {
		return err
	}
	if err := s.prepare(engine, settings); err != nil {
		return err
	}
	if err := o.watch(ctx, s, engine, stdout); err != nil {
		return err
	}
	return o.conclude(s, stdout)
}

// watch runs the sweep and shows it meanwhile, as is fit for stdout.
func (o *pingOptions) watch(ctx context.Context, s *sweep, engine *icmp.Engine, stdout io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	live := isTerminal(stdout) && !o.quiet && !o.json
	silent := o.quiet || o.json || live
	s.every = !silent && len(s.hosts) == 1
	var wg sync.WaitGroup
	var failed error
	wg.Go(func() {
		defer cancel()
		failed = s.run(ctx, engine)
	})
	var shown error
	if live {
		shown = showLive(ctx, s)
	} else {
		shown = s.showLines(ctx, silent, stdout)
	}
	cancel()
	wg.Wait()
	if failed != nil {
		return failed
	}
	if shown == nil && !live && !silent {
		shown = s.printEvents(stdout) // those of the last moment
	}
	return shown
}

// showLines prints events as they come, until ctx ends.
func (s *sweep) showLines(ctx context.Context, silent bool, w io.Writer) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.news:
			if silent {
				s.take()
			} else if err := s.printEvents(w); err != nil {
				return err
			}
		}
	}
}

func (s *sweep) printEvents(w io.Writer) error {
	for _, e := range s.take() {
		if err := say(w, s.sentence(e)); err != nil {
			return err
		}
	}
	return nil
}

// sentence tells one event.
func (s *sweep) sentence(e event) string {
	h, r := &s.hosts[e.host], &e.result
	who := h.String()
	if h.name != "" {
		who += " (" + h.addr.String() + ")"
	}
	if !s.every {
		who = r.At.Time().Local().Format("15:04:05 ") + who
	}
	switch {
	case r.Fault != sereno.NoFault || r.Status == sereno.Unknown:
		return odd.paint(who + ": cannot look: " + inert(r.Reason))
	case !r.Status.Answered() && s.every:
		return bad.paint(fmt.Sprintf("%s: look %d: %s", who, e.round, inert(r.Reason)))
	case !r.Status.Answered():
		return bad.paint(fmt.Sprintf("%s: %s", who, inert(r.Reason)))
	case s.every:
		return fmt.Sprintf("%s: look %d: %s ms", who, e.round, milliseconds(r.RTT))
	case e.gap > 0:
		return good.paint(fmt.Sprintf("%s: answers again after %d lost, %s ms", who, e.gap, milliseconds(r.RTT)))
	}
	return good.paint(fmt.Sprintf("%s: answers, %s ms", who, milliseconds(r.RTT)))
}

// conclude prints the result and turns it into the exit code. The sweep has
// ended, so nothing changes any more.
func (o *pingOptions) conclude(s *sweep, w io.Writer) error {
	t := s.totals()
	var err error
	if o.json {
		err = s.printDocuments(w, t)
	} else {
		err = s.printResult(w, t, isTerminal(w))
	}
	if err == nil && t.none > 0 {
		err = errNegative
	}
	return err
}

// longList is how many hosts a terminal is still given one by one, if all is
// well with them.
const longList = 256

func (s *sweep) printResult(w io.Writer, t totals, terminal bool) error {
	shown := newPingTable(t.faults > 0)
	left := 0
	for i := range s.hosts {
		if terminal && len(s.hosts) > longList && s.tallies[i].condition() == answers {
			left++
			continue
		}
		shown.add(pingRow(&s.hosts[i], &s.tallies[i], t.faults > 0)...)
	}
	if len(shown.rows) > 0 {
		if err := shown.print(w); err != nil {
			return err
		}
	}
	if left > 0 {
		if err := say(w, faint.paint(fmt.Sprintf("… and %s that answered every look", grouped(fmt.Sprint(left))))); err != nil {
			return err
		}
	}
	err := say(w, t.sentence(time.Since(s.began)))
	return err
}

// sentence is the last line of a ping.
func (t totals) sentence(took time.Duration) string {
	var who string
	switch {
	case t.hosts == 1 && t.none == 1:
		who = bad.paint("1 host: no answer")
	case t.hosts == 1 && t.some == 1:
		who = warn.paint("1 host: answered some looks")
	case t.hosts == 1:
		who = good.paint("1 host: answered every look")
	default:
		who = fmt.Sprintf("%s hosts: ", grouped(fmt.Sprint(t.hosts)))
		if t.all == t.hosts {
			who += good.paint("all answered every look")
			break
		}
		who += fmt.Sprintf("%s answered every look, %s some, %s none", grouped(fmt.Sprint(t.all)), grouped(fmt.Sprint(t.some)), grouped(fmt.Sprint(t.none)))
	}
	line := fmt.Sprintf("%s · %s sent, %s lost (%s) in %s", who, grouped(fmt.Sprint(t.sent)), grouped(fmt.Sprint(t.lost)), percent(t.lost, t.sent), sereno.FormatLength(took))
	if t.faults > 0 {
		line += odd.paint(fmt.Sprintf(" · %s could not be sent", grouped(fmt.Sprint(t.faults))))
	}
	return line
}

func newPingTable(faults bool) *table {
	t := &table{columns: []column{
		{"host", false},
		{"state", false},
		{"sent", true},
		{"lost", true},
		{"loss", true},
		{"last ms", true},
		{"min", true},
		{"avg", true},
		{"p50", true},
		{"p95", true},
		{"max", true},
		{"jitter", true},
	}}
	if faults {
		t.columns = append(t.columns, column{"not sent", true})
	}
	t.columns = append(t.columns, column{"reason", false})
	return t
}

func pingRow(h *host, t *tally, faults bool) []cell {
	number := func(n uint64) cell { return cell{grouped(fmt.Sprint(n)), plain} }
	rtt := func(d time.Duration) cell {
		if t.answered == 0 {
			return cell{"–", faint}
		}
		return cell{milliseconds(d), plain}
	}
	c := t.condition()
	state := cell{c.String(), conditions[c].tone}
	lost := plain
	if t.lost() > 0 {
		lost = warn
	}
	jitter := rtt(t.jitter())
	if t.answered == 1 {
		jitter = cell{"–", faint}
	}
	row := []cell{
		{h.String(), plain},
		state, number(t.sent),
		{grouped(fmt.Sprint(t.lost())), lost},
		{percent(t.lost(), t.sent), lost},
		rtt(t.last), rtt(t.least), rtt(t.mean()), rtt(t.spread.at(0.5)), rtt(t.spread.at(0.95)), rtt(t.most), jitter,
	}
	if faults {
		row = append(row, number(t.faults))
	}
	return append(row, cell{inert(t.reason), faint})
}

// A pingDocument is one host of a ping as JSON. Times are null without an
// answer; jitter is, without two.
type pingDocument struct {
	Host     string   `json:"host"`
	Address  string   `json:"address"`
	Sent     uint64   `json:"sent"`
	Received uint64   `json:"received"`
	Lost     uint64   `json:"lost"`
	Loss     *float64 `json:"loss"` // share of sent; null if none was sent
	Faults   uint64   `json:"faults"`
	Last     *float64 `json:"last_seconds"`
	Min      *float64 `json:"min_seconds"`
	Avg      *float64 `json:"avg_seconds"`
	P50      *float64 `json:"p50_seconds"`
	P95      *float64 `json:"p95_seconds"`
	Max      *float64 `json:"max_seconds"`
	Jitter   *float64 `json:"jitter_seconds"`
	State    string   `json:"state"`
	Reason   string   `json:"reason"` // of the last look without an answer
}

type pingSummary struct {
	Hosts       int     `json:"hosts"`
	AnsweredAll int     `json:"answered_all"`
	Some        int     `json:"answered_some"`
	None        int     `json:"answered_none"`
	Sent        uint64  `json:"sent"`
	Received    uint64  `json:"received"`
	Lost        uint64  `json:"lost"`
	Faults      uint64  `json:"faults"`
	Seconds     float64 `json:"seconds"`
}

func (s *sweep) printDocuments(to io.Writer, t totals) error {
	w := bufio.NewWriterSize(to, 64<<10)
	for i := range s.hosts {
		h, t := &s.hosts[i], &s.tallies[i]
		name := h.name
		if name == "" {
			name = h.addr.String()
		}
		d := pingDocument{
			Host: name, Address: h.addr.String(), Sent: t.sent, Received: t.answered, Lost: t.lost(), Faults: t.faults,
			State: t.condition().String(), Reason: t.reason,
		}
		if t.sent > 0 {
			d.Loss = new(float64(t.lost()) / float64(t.sent))
		}
		if t.answered > 0 {
			d.Last, d.Min, d.Avg, d.Max = seconds(t.last), seconds(t.least), seconds(t.mean()), seconds(t.most)
			d.P50, d.P95 = seconds(t.spread.at(0.5)), seconds(t.spread.at(0.95))
		}
		if t.answered > 1 {
			d.Jitter = seconds(t.jitter())
		}
		if err := printJSON(w, d); err != nil {
			return err
		}
	}
	err := printJSON(w, map[string]pingSummary{"summary": {
		Hosts: t.hosts, AnsweredAll: t.all, Some: t.some, None: t.none,
		Sent: t.sent, Received: t.sent - t.lost, Lost: t.lost, Faults: t.faults,
		Seconds: time.Since(s.began).Seconds(),
	}})
	return errors.Join(err, w.Flush())
}

func seconds(d time.Duration) *float64 { return new(d.Seconds()) }
