package main

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"sereno/lab"
)

type flags struct {
	delay, loss, duplicate string
	silent                 []string
	seed                   uint64
	quiet                  bool
}

func (f *flags) bind(set *pflag.FlagSet) {
	set.StringVar(&f.delay, "delay", "0s", "how long answers take: 5ms, 5ms..20ms (uniform) or 10ms~2ms (normal)")
	set.StringVar(&f.loss, "loss", "0%", "share of requests that are lost")
	set.StringVar(&f.duplicate, "duplicate", "0%", "share of replies that come twice")
	set.StringArrayVar(&f.silent, "silent", nil, "an outage, such as 10.0.7.0/24@10s..40s or 10.0.7.1@10s (repeatable)")
	set.Uint64Var(&f.seed, "seed", 1, "the same seed gives the same losses and delays")
	set.BoolVarP(&f.quiet, "quiet", "q", false, "do not tell at the end what the network did")
}

func (f *flags) script() (lab.Script, error) {
	var b lab.Behaviour
	var err error
	if b.Delay, err = lab.ParseDelay(f.delay); err != nil {
		return lab.Script{}, fmt.Errorf("--delay: %w", err)
	}
	if b.Loss, err = parseShare(f.loss); err != nil {
		return lab.Script{}, fmt.Errorf("--loss: %w", err)
	}
	if b.Duplicate, err = parseShare(f.duplicate); err != nil {
		return lab.Script{}, fmt.Errorf("--duplicate: %w", err)
	}
	s := lab.Script{Seed: f.seed}
	for _, all := range []string{"0.0.0.0/0", "::/0"} {
		s.Rules = append(s.Rules, lab.Rule{Prefix: netip.MustParsePrefix(all), Behaviour: b})
	}
	for _, text := range f.silent {
		o, err := parseOutage(text)
		if err != nil {
			return lab.Script{}, fmt.Errorf("--silent: %w", err)
		}
		s.Outages = append(s.Outages, o)
	}
	return s, nil
}

// parseShare reads "1%", "0.5%" or "0.01".
func parseShare(text string) (float64, error) {
	digits, isPercent := strings.CutSuffix(text, "%")
	share, err := strconv.ParseFloat(digits, 64)
	if isPercent {
		share /= 100
	}
	if err != nil || !(share >= 0 && share <= 1) {
		return 0, fmt.Errorf("%q is no share such as 1%% or 0.01", text)
	}
	return share, nil
}

// parseOutage reads "10.0.7.0/24@10s..40s"; without an end it lasts.
func parseOutage(text string) (lab.Outage, error) {
	fail := func() (lab.Outage, error) {
		return lab.Outage{}, fmt.Errorf("%q is no outage such as 10.0.7.0/24@10s..40s", text)
	}
	where, when, _ := strings.Cut(text, "@")
	from, to, ends := strings.Cut(when, "..")
	var o lab.Outage
	var err error
	if o.Prefix, err = netip.ParsePrefix(where); err != nil {
		host, err := netip.ParseAddr(where)
		if err != nil {
			return fail()
		}
		o.Prefix = netip.PrefixFrom(host, host.BitLen())
	}
	if o.From, err = time.ParseDuration(from); err != nil || o.From < 0 {
		return fail()
	}
	if ends {
		if o.To, err = time.ParseDuration(to); err != nil || o.To <= o.From {
			return fail()
		}
	}
	return o, nil
}
