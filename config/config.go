// Package config turns the configuration file into vocabulary. All mistakes of
// a file are found at once, each with its line.
//
// Flags beat the environment, which beats the file, which beats Default: load
// the file, let Environ write over it, then the flags.
package config

import (
	"fmt"
	"math"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"sereno"
	"sereno/alert"
	"sereno/deadman"
	"sereno/notify"
	"sereno/peer"
	"sereno/probe"
	"sereno/prometheus"
	"sereno/prometheus/remote"
	"sereno/store"
)

// A Config is what the operator wants.
type Config struct {
	Listen         string        `env:"LISTEN"`          // "127.0.0.1:8080"; port 0 takes a free one
	InsecureListen bool          `env:"INSECURE_LISTEN"` // allow addresses that others can reach
	Data           string        `env:"DATA"`            // the folder of the store
	Database       string        `env:"DATABASE"`        // sqlite:PATH or postgres://…; "" for a file in Data, see Store
	Witnesses      []netip.Addr  `env:"WITNESSES"`       // besides the default gateways
	MaxPPS         int           `env:"MAX_PPS"`         // packets a second that all looks may send; 0: no limit
	IsolationHold  time.Duration `env:"ISOLATION_HOLD"`  // how long a Down waits for the witnesses; at most 1 min
	AliveInterval  time.Duration `env:"ALIVE_INTERVAL"`  // between alive marks; 1 s to 10 min
	ClockPatience  time.Duration `env:"CLOCK_PATIENCE"`  // how long a wrong clock is waited for; at most 24 h

	DatabaseConnections int `env:"DATABASE_CONNECTIONS"` // to PostgreSQL at most; 10 to 30

	Reserve Bytes `env:"RESERVE"` // set aside on the disk for when it is full; 0: nothing
	Spool   Bytes `env:"SPOOL"`   // what may wait on disk while the store is away

	SamplesOff        bool          `env:"SAMPLES_OFF"`          // keep no looks
	SamplesRetention  time.Duration `env:"SAMPLES_RETENTION"`    // of looks; 1 h to 10 years
	SamplesSize       Bytes         `env:"SAMPLES_SIZE"`         // of looks on disk; 0: no limit
	SamplesRollups    time.Duration `env:"SAMPLES_ROLLUPS"`      // how long minutes are kept; 1 day to 20 years
	SamplesOutOfOrder time.Duration `env:"SAMPLES_OUT_OF_ORDER"` // how late a look may come; 1 min to 30 days

	Retention store.Retention `env:"-"` // of facts; 0: for ever, else at least a week

	Prometheus  prometheus.Limits `env:"-"` // what a PromQL question may cost
	RemoteWrite []remote.Target   `env:"-"` // where samples are sent on to

	Alerting alert.Book `env:"-"` // who is told of what: FromFile is set, no IDs are
	Warnings []Mistake  `env:"-"` // what the file says and surely does not mean

	Name    string          `env:"NAME"` // how this Sereno calls itself; "" for the machine's name
	Deadman *deadman.Target `env:"-"`    // what is called for as long as all is well; nil: nothing
	Peers   []peer.Peer     `env:"-"`    // other Serenos

	Defaults sereno.Policy   `env:"-"` // of checks that say nothing else
	File     string          `env:"-"` // where Devices come from; "" when there is no file, which says nothing of devices
	Devices  []sereno.Device `env:"-"` // those of the file: FromFile is set, no IDs are
}

// samplesSize is 1 GB where an address has 32 bits, since blocks of samples are
// mapped into memory, and 10 GB elsewhere.
const samplesSize Bytes = 1_000_000_000 * (1 + 9*(math.MaxInt>>62))

// Default returns what holds where nobody says anything else.
func Default() *Config {
	return &Config{
		Listen:        "127.0.0.1:8080",
		Data:          "./data",
		IsolationHold: 2 * time.Second,
		AliveInterval: 5 * time.Second,
		ClockPatience: 10 * time.Minute,

		Reserve: 64_000_000,
		Spool:   1_000_000_000,

		DatabaseConnections: 10,

		SamplesRetention:  30 * day,
		SamplesSize:       samplesSize,
		SamplesRollups:    365 * day,
		SamplesOutOfOrder: day,

		Retention: store.Retention{Days: 5 * year},

		Prometheus: prometheus.DefaultLimits,

		Defaults: sereno.DefaultPolicy,
	}
}

// Store is the address of the store, see store.Open.
func (c *Config) Store() string {
	if c.Database != "" {
		return c.Database
	}
	return "sqlite:" + filepath.Join(c.Data, "sereno.db")
}

// Load reads and parses a file. Mistakes in it are Errors; any other error
// means that it could not be read.
func Load(path string, kinds []probe.Kind, channels []notify.Kind) (*Config, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the configuration file: %w", err)
	}
	c, err := Parse(path, text, kinds, channels)
	if err == nil {
		c.File = path
	}
	return c, err
}

// Parse turns the text of a file into a Config. name is what mistakes call the
// file; kinds are the checks that there can be, channels the ways to reach
// people. The error is of type Errors.
func Parse(name string, text []byte, kinds []probe.Kind, channels []notify.Kind) (*Config, error) {
	return parse(name, text, kinds, channels, chunkSize)
}

// Validate returns every mistake of the settings, Field being the key of the
// file. Devices and the defaults of checks are not among them.
func (c *Config) Validate() []*sereno.Error {
	var errs []*sereno.Error
	wrong := func(field, format string, args ...any) {
		errs = append(errs, &sereno.Error{Kind: sereno.Invalid, Field: field, Text: fmt.Sprintf(format, args...)})
	}
	within := func(field string, d, least, most time.Duration) {
		if d < least || d > most {
			wrong(field, "%s is %s to %s, not %s", field, least, most, d)
		}
	}
	if _, port, err := net.SplitHostPort(c.Listen); err != nil {
		wrong("listen", "listen is an address and a port such as 127.0.0.1:8080, not %q", c.Listen)
	} else if n, err := strconv.ParseUint(port, 10, 16); err != nil {
		wrong("listen", "the port to listen on is a number from 0 to 65535, not %q", port)
	} else if port != strconv.FormatUint(n, 10) {
		wrong("listen", "write the port to listen on as %d, not %q", n, port)
	}
	if len(c.Name) > sereno.MaxName {
		wrong("name", "name has at most %d characters", sereno.MaxName)
	}
	if c.Data == "" {
		wrong("data", "data names the folder of the store, such as ./data")
	}
	if scheme, rest, ok := strings.Cut(c.Database, ":"); c.Database != "" && (!ok || rest == "" || !slices.Contains([]string{"sqlite", "postgres", "postgresql"}, scheme)) {
		// Not the value: it may hold a password.
		wrong("database", "database is sqlite:PATH, such as sqlite:data/sereno.db, or postgres://USER:PASSWORD@HOST:5432/NAME")
	}
	if n := c.DatabaseConnections; n < 10 || n > 30 {
		wrong("database_connections", "database_connections is a number from 10 to 30, not %d", n)
	}
	for i, w := range c.Witnesses {
		if err := sereno.ValidateAddress(w.String()); err != nil {
			wrong(fmt.Sprintf("witnesses[%d]", i), "a witness is one host: %s", err)
		}
	}
	if c.MaxPPS < 0 {
		wrong("max_pps", "max_pps is a number of packets a second, or 0 for no limit, not %d", c.MaxPPS)
	}
	within("isolation_hold", c.IsolationHold, 0, time.Minute)
	within("alive_interval", c.AliveInterval, time.Second, 10*time.Minute)
	within("clock_patience", c.ClockPatience, 0, 24*time.Hour)
	within("samples.retention", c.SamplesRetention, time.Hour, 3650*day)
	within("samples.rollups", c.SamplesRollups, day, 7300*day)
	within("samples.out_of_order", c.SamplesOutOfOrder, time.Minute, 30*day)
	within("prometheus.timeout", c.Prometheus.Timeout, time.Second, 10*time.Minute)
	for _, n := range []struct {
		field       string
		v           int
		least, most int
	}{
		{"prometheus.samples", c.Prometheus.Held, 1_000_000, 1_000_000_000},
		{"prometheus.reads", c.Prometheus.Read, 1_000_000, math.MaxInt32},
		{"prometheus.concurrent", c.Prometheus.Concurrent, 1, 100},
	} {
		if n.v < n.least || n.v > n.most {
			wrong(n.field, "%s is a number from %d to %d, not %d", n.field, n.least, n.most, n.v)
		}
	}
	if c.SamplesOff && len(c.RemoteWrite) > 0 {
		wrong("remote_write", "remote_write sends on what samples keep, and samples.off keeps none: leave out one of them")
	}
	if c.Reserve < 0 || c.Reserve > 0 && c.Reserve < 1_000_000 || c.Reserve > 10_000_000_000 {
		wrong("reserve", "reserve is 1MB to 10GB, or 0 for none, not %s", c.Reserve)
	}
	for name, keep := range retained(c) {
		if *keep != 0 && *keep < leastRetention {
			wrong("retention."+name, "retention.%s is at least 7d, or forever, not %s", name, *keep)
		}
	}
	if c.Spool < 1_000_000 {
		wrong("spool", "spool is at least 1MB, not %s", c.Spool)
	}
	if c.SamplesSize < 0 || c.SamplesSize > 0 && c.SamplesSize < 100_000_000 {
		wrong("samples.size", "samples.size is at least 100MB, or 0 for no limit, not %s", c.SamplesSize)
	}
	return errs
}
