// Package prometheus is the door for programs that speak Prometheus: the read
// API that Grafana calls, on the real PromQL engine.
//
// It answers as Prometheus does (documents, codes, sentences); what it must
// add is that no question may take this machine away from its watch: each has
// a time limit and a limit of the samples that it holds and reads, and few are
// answered at once.
package prometheus

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	client "github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"

	"sereno"
)

// Limits are what one question may cost. A zero is the default.
type Limits struct {
	Timeout    time.Duration // of one question, its wait for others included; 30 s
	Held       int           // samples in memory at once (16 bytes each); 50 million
	Read       int           // samples that are read from storage; 500 million
	Concurrent int           // questions that are answered at once, others wait; 4
}

// DefaultLimits are those of a question where nobody says anything else.
var DefaultLimits = Limits{Timeout: 30 * time.Second, Held: 50_000_000, Read: 500_000_000, Concurrent: 4}

func (l Limits) orDefault() Limits {
	d := DefaultLimits
	if l.Timeout > 0 {
		d.Timeout = l.Timeout
	}
	if l.Held > 0 {
		d.Held = l.Held
	}
	if l.Read > 0 {
		d.Read = l.Read
	}
	if l.Concurrent > 0 {
		d.Concurrent = l.Concurrent
	}
	return d
}

// Lookback is how old a sample may be to be still the value of its series,
// where a question does not say (lookback_delta).
const Lookback = 5 * time.Minute

// defaultStep is the step of a subquery that does not say it.
const defaultStep = time.Minute

// Options are what the door is made from. Samples is needed.
type Options struct {
	Samples storage.Queryable // every look; an error of the kind Unavailable is answered with 503
	Catalog *Catalog          // what is watched; nil: there are no series of names
	Limits  Limits
	Now     func() sereno.Instant // the ledger's time; nil: the wall clock
	Raw     func() sereno.Instant // since when looks are kept; nil: ever
	Metrics client.Registerer     // for the engine's metrics; nil: none
	Log     *slog.Logger          // nil: slog.Default()
}

// New returns the door. It serves the paths below /api/v1/ that follow prefix,
// such as "/prometheus".
func New(prefix string, o Options) http.Handler {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Now == nil {
		o.Now = func() sereno.Instant { return sereno.At(time.Now()) }
	}
	if o.Raw == nil {
		o.Raw = func() sereno.Instant { return 0 }
	}
	if o.Catalog == nil {
		o.Catalog = new(Catalog)
	}
	limits := o.Limits.orDefault()
	language := parser.NewParser(parser.Options{})
	d := &door{
		log: o.Log, now: o.Now, limits: limits, language: language,
		samples: &joined{samples: o.Samples, catalog: o.Catalog, now: o.Now, raw: o.Raw, most: limits.Read},
		engine: promql.NewEngine(promql.EngineOpts{
			Reg:                      o.Metrics,
			Logger:                   o.Log,
			MaxSamples:               limits.Held,
			Timeout:                  limits.Timeout,
			LookbackDelta:            Lookback,
			NoStepSubqueryIntervalFn: func(int64) int64 { return defaultStep.Milliseconds() },
			EnableAtModifier:         true,
			EnableNegativeOffset:     true,
			ActiveQueryTracker:       make(turns, limits.Concurrent),
			Parser:                   language,
		}),
	}
	return d.routes(prefix)
}

// A door answers questions.
type door struct {
	log      *slog.Logger
	now      func() sereno.Instant
	limits   Limits
	language parser.Parser
	samples  *joined
	engine   *promql.Engine
}

// turns lets so many questions be answered at once as it has room for.
type turns chan struct{}

var _ promql.QueryTracker = turns(nil)

func (t turns) GetMaxConcurrent() int { return cap(t) }

// Insert waits until there is room.
func (t turns) Insert(ctx context.Context, _ string) (int, error) {
	select {
	case t <- struct{}{}:
		return 0, nil
	case <-ctx.Done():
		if ctx.Err() == context.DeadlineExceeded { //nolint:errorlint // ctx.Err returns it bare
			return 0, promql.ErrQueryTimeout("the queue: too many other questions are being answered")
		}
		return 0, promql.ErrQueryCanceled("the queue")
	}
}

func (t turns) Delete(int) { <-t }

func (t turns) Close() error { return nil }
