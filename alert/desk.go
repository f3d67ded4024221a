package alert

import (
	"context"
	"iter"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"sereno"
	"sereno/message"
)

// DeskOptions are what a Desk needs. Links, Own, Known, Devices, the functions
// that measure and Log may be zero.
type DeskOptions struct {
	Plan    *Plan
	Outbox  Outbox
	Stories Stories
	Links   Links
	Now     func() sereno.Instant // the ledger's time
	// Unwritten is since when what is found out cannot be stored, 0 if it can: as
	// long as that lasts there is nothing new to read, and nobody would be told.
	// nil: never.
	Unwritten func() sereno.Instant
	// Own is told what is wrong with alerting itself since at, and with an empty
	// reason that nothing is any more; by one goroutine at a time. What it did
	// not take is told again.
	Own   func(ctx context.Context, at sereno.Instant, f Fault) error
	Known []Fault // what an earlier process told, and did not take back
	// Devices are all that are watched: a policy that none of them can reach is a
	// fault.
	Devices func(ctx context.Context) iter.Seq2[sereno.Device, error]

	Stored func(took time.Duration, b *Batch)       // a batch is on disk, so long after the oldest change that it follows from was; 0: it follows from none
	Begun  func(channel string, late time.Duration) // the first try of a delivery begins, so long after it was due
	Tried  func(channel string, o Outcome)          // a try has ended
	Log    *slog.Logger
}

const (
	tryPatience    = 30 * time.Second      // how long one try to send may take
	endPatience    = 5 * time.Second       // how long a stop waits for tries under way, and again for what they leave to be written
	readAtOnce     = 1000                  // changes
	readEvery      = 10 * time.Second      // changes are looked for if nobody pokes
	commitPause    = 50 * time.Millisecond // before the outbox is asked again; grows up to
	commitPauseMax = 5 * time.Second
)

// A Desk runs the Engine: it reads what has changed, commits what follows, and
// lets the channels send what is committed, each of them one message at a time.
//
// One goroutine owns the Engine. Whatever may take its time (the outbox, the
// stories, the channels) happens in others and comes back as a message, so the
// desk can be asked at any time, also while the store is away. Nothing is sent
// that is not on disk, but for one message: that nothing can be.
type Desk struct {
	o     DeskOptions
	asked chan func()   // questions and wishes of others
	back  chan func()   // what goroutines of ours bring back
	poked chan struct{} // something was committed
	gone  chan struct{} // nobody takes what is brought back any more
	ended chan struct{}
	first atomic.Int64           // when the first change was committed that is not read yet, by the clock of the process; 0: there is none
	rules atomic.Pointer[rules]  // what counts now; changed by Run's goroutine alone
	stuck atomic.Pointer[string] // why nothing goes out; nil or empty: it does

	// The rest belongs to Run's goroutine.
	engine    *Engine         // nil until the outbox was read
	running   context.Context // until a stop is wanted
	sending   context.Context // until tries under way are given up
	writing   context.Context // until what came of them is given up
	ending    bool
	parts     sync.WaitGroup // goroutines of ours
	cursor    int64          // the last revision that was read
	busy      map[string]bool
	picked    []Delivery     // are sent once what was decided with them is on disk
	waiters   []chan<- error // want to know when that is
	audit     []sereno.Audit // is written with it
	tries     int            // under way
	unread    bool           // there may be changes after the cursor
	turn      bool           // to read, before the next batch
	access    sereno.Instant // since when the outbox is being asked; 0: it is not
	fresh     time.Time      // when the oldest change was committed that was taken in and is not promised yet
	ill       map[string]illness
	shut      illness // of the outbox
	began     sereno.Instant
	guard     guard
	listening map[string]listening
	emergency *emergency
}

// rules are a plan and the texts of its channels.
type rules struct {
	*Plan
	texts map[string]*message.Texts
}

func newRules(p *Plan) *rules {
	r := &rules{p, map[string]*message.Texts{}}
	for _, name := range p.names {
		texts, err := p.Texts(name)
		if err != nil { // Compile has refused such a book
			texts, _ = message.NewTexts()
		}
		r.texts[name] = texts
	}
	return r
}

// An illness is when something did not work.
type illness struct {
	since, until sereno.Instant // until is when it was seen last
	why          string
	over         bool // it has worked since
}

// NewDesk makes a Desk. It does nothing until it runs.
func NewDesk(o DeskOptions) *Desk {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	d := &Desk{
		o: o, asked: make(chan func()), back: make(chan func()), poked: make(chan struct{}, 1),
		gone: make(chan struct{}), ended: make(chan struct{}),
		busy: map[string]bool{}, ill: map[string]illness{}, turn: true, guard: newGuard(o.Known),
	}
	d.rules.Store(newRules(o.Plan))
	return d
}

// Poke says that something was committed: there may be changes to read. It may be
// called from anywhere, and takes no time.
func (d *Desk) Poke() {
	d.first.CompareAndSwap(0, time.Now().UnixNano())
	select {
	case d.poked <- struct{}{}:
	default:
	}
}

// Run works until ctx ends. Tries under way are then waited for, for a few
// seconds; what was not delivered by then is tried again by the next Desk, with
// the same key.
func (d *Desk) Run(ctx context.Context) error {
	defer close(d.ended)
	var stopSending, stopWriting context.CancelFunc
	d.running = ctx
	d.sending, stopSending = context.WithCancel(context.WithoutCancel(ctx))
	d.writing, stopWriting = context.WithCancel(context.WithoutCancel(ctx))
	defer d.parts.Wait()
	defer close(d.gone)
	defer stopSending()
	defer stopWriting()

	d.began = d.o.Now()
	d.load()
	d.listen()
	next := time.NewTimer(0)
	defer next.Stop()
	look := time.NewTicker(readEvery)
	defer look.Stop()
	for ctx.Err() == nil {
		d.advance()
		next.Reset(d.rest())
		select {
		case <-ctx.Done():
		case f := <-d.back:
			f()
		case f := <-d.asked:
			f()
		case <-d.poked:
			d.unread = true
		case <-look.C:
			d.unread = true
		case <-next.C:
		}
	}
	d.finish(stopSending, stopWriting)
	return nil
}

// finish waits for what is under way, and writes down what came of it.
func (d *Desk) finish(stopSending, stopWriting context.CancelFunc) {
	d.ending = true
	sent, written := time.NewTimer(endPatience), time.NewTimer(2*endPatience)
	defer sent.Stop()
	defer written.Stop()
	for {
		if d.access == 0 && d.engine != nil && d.writing.Err() == nil {
			d.promise()
		}
		if d.access == 0 && d.tries == 0 {
			return
		}
		select {
		case f := <-d.back:
			f()
		case <-sent.C:
			stopSending()
		case <-written.C:
			stopWriting()
		}
	}
}

// advance does what can be done now. It decides nothing while the outbox is
// being asked: what is decided is to be written at once.
func (d *Desk) advance() {
	d.look()
	d.cry()
	if d.access == 0 {
		d.calm()
	}
	if d.access != 0 || d.engine == nil {
		return
	}
	if d.unread && d.turn {
		d.read()
		return
	}
	now := d.o.Now()
	d.engine.Tick(now)
	for _, name := range d.rules.Load().names {
		if d.busy[name] {
			continue
		}
		if del, ok := d.engine.Ready(now, name); ok {
			d.busy[name] = true
			d.picked = append(d.picked, del)
		}
	}
	if d.promise(); d.access == 0 && d.unread {
		d.read()
	}
}

// rest returns in how long there is something to do, if nobody comes before.
func (d *Desk) rest() time.Duration {
	now, wait := d.o.Now(), guardEvery
	if d.access == 0 && d.engine != nil {
		if next := d.engine.Next(); next != 0 {
			wait = min(wait, next.Sub(now))
		}
	}
	return max(wait, time.Millisecond)
}

// load reads where an earlier process left off.
func (d *Desk) load() {
	d.outbox("read what is promised", func(ctx context.Context) (func(), error) {
		l, err := d.o.Outbox.LoadAlerts(ctx)
		return func() {
			d.cursor = l.Cursor
			d.engine = NewEngine(l, d.rules.Load().Plan, d.o.Now())
			if strange := d.engine.Strange(); len(strange) > 0 {
				d.o.Log.Error("what is kept of some alerts cannot be read: their end may not be told; was a newer Sereno here before?", "how_many", len(strange), "first", strange[0])
			}
			d.unread = true
		}, err
	})
}

// read takes in what has changed.
func (d *Desk) read() {
	d.unread, d.turn = false, false
	after := d.cursor
	committed := d.first.Swap(0)
	d.outbox("read what has changed", func(ctx context.Context) (func(), error) {
		changes, err := d.o.Outbox.Changes(ctx, after, readAtOnce)
		return func() {
			if len(changes) == 0 {
				return
			}
			if committed != 0 && d.fresh.IsZero() {
				d.fresh = time.Unix(0, committed)
			}
			d.unread = d.unread || len(changes) == readAtOnce
			d.cursor = changes[len(changes)-1].Revision
			d.engine.Take(d.o.Now(), changes)
		}, err
	})
}

// promise writes down what was decided since it was called last, and then lets
// go what waits for that.
func (d *Desk) promise() {
	batch := d.engine.Batch()
	if len(d.audit) > 0 {
		if batch == nil {
			batch = new(Batch)
		}
		batch.Audit = append(batch.Audit, d.audit...)
		d.audit = nil
	}
	picked, waiters, fresh := d.picked, d.waiters, d.fresh
	d.picked, d.waiters, d.fresh = nil, nil, time.Time{}
	release := func() {
		for _, w := range waiters {
			w <- nil
		}
		for _, del := range picked {
			d.send(del)
		}
	}
	if batch == nil {
		release()
		return
	}
	d.turn = true
	d.outbox("write down what is promised", func(ctx context.Context) (func(), error) {
		err := d.o.Outbox.Promise(ctx, batch)
		return func() {
			if d.o.Stored != nil {
				var took time.Duration
				if !fresh.IsZero() {
					took = time.Since(fresh)
				}
				d.o.Stored(took, batch)
			}
			release()
		}, err
	})
}

// outbox asks the outbox until it answers, however long that takes, and then
// does what is to follow, unless writing has ended before.
func (d *Desk) outbox(doing string, ask func(context.Context) (then func(), err error)) {
	d.access = d.o.Now()
	d.parts.Go(func() {
		began, pause := time.Now(), commitPause
		for failed := false; ; failed = true {
			then, err := ask(d.writing)
			if err == nil {
				if failed {
					d.o.Log.Info("the outbox works again", "late", time.Since(began).Round(time.Millisecond))
				}
				d.bring(func() {
					d.reopened(failed)
					then()
				})
				return
			}
			if !failed && d.writing.Err() == nil {
				d.o.Log.Error("the outbox fails; nothing is sent until it works again", "doing", doing, "err", err)
			}
			select {
			case <-d.writing.Done():
				d.bring(func() { d.access = 0 })
				return
			case <-time.After(pause):
				pause = min(2*pause, commitPauseMax)
			}
		}
	})
}

// reopened notes that the outbox has answered.
func (d *Desk) reopened(failed bool) {
	now := d.o.Now()
	if failed || now.Sub(d.access) > lateAfter {
		d.shut = illness{since: d.access, until: now, why: "messages could not be stored", over: true}
	}
	d.access = 0
	d.calm()
}

// bring hands what a goroutine of ours found to Run's. It is dropped when that
// has ended.
func (d *Desk) bring(f func()) {
	select {
	case d.back <- f:
	case <-d.gone:
	}
}

// ask does f in Run's goroutine and returns when it is done. It fails, with an
// error of kind Unavailable, after the end and when ctx ends.
func (d *Desk) ask(ctx context.Context, f func() error) error {
	done := make(chan error, 1)
	select {
	case d.asked <- func() { done <- f() }:
		return <-done
	case <-d.ended:
		return errEnded
	case <-ctx.Done():
		return sereno.Errorf(sereno.Unavailable, "alerting does not answer in time; ask again later")
	}
}

var (
	errEnded  = sereno.Errorf(sereno.Unavailable, "Sereno is being stopped; ask again when it is back")
	errUnread = sereno.Errorf(sereno.Unavailable, "what is promised is still being read from the store; ask again in a moment")
)

// consult asks the Engine, which is there once the outbox was read.
func (d *Desk) consult(ctx context.Context, f func(*Engine) error) error {
	return d.ask(ctx, func() error {
		if d.engine == nil {
			return errUnread
		}
		return f(d.engine)
	})
}

// Do does what a person wants, and returns when it is on disk. Errors are those
// of Engine.Do, and Unavailable while the store is away: it may have been taken
// in nevertheless, and is written when the store is back.
func (d *Desk) Do(ctx context.Context, o Order) error {
	return d.order(ctx, func(e *Engine) error { return e.Do(d.o.Now(), o) })
}

// DoAll does what a person wants with many incidents, in one transaction, and
// returns those for which there was something to do, as Engine.DoAll does.
func (d *Desk) DoAll(ctx context.Context, o Order, ids []sereno.IncidentID) (done []sereno.IncidentID, err error) {
	err = d.order(ctx, func(e *Engine) (err error) {
		done, err = e.DoAll(d.o.Now(), o, ids)
		return err
	})
	if err != nil {
		return nil, err
	}
	return done, nil
}

// order lets the Engine do something, and returns when that is on disk.
func (d *Desk) order(ctx context.Context, do func(*Engine) error) error {
	done := make(chan error, 1)
	err := d.consult(ctx, func(e *Engine) error {
		if err := do(e); err != nil {
			return err
		}
		d.waiters = append(d.waiters, done)
		return nil
	})
	if err != nil {
		return err
	}
	select {
	case err := <-done:
		return err
	case <-d.ended:
		return errEnded
	case <-ctx.Done():
		return sereno.Errorf(sereno.Unavailable, "it is taken in, but the store is away: it counts once that is back")
	}
}

// SetBook goes on by another plan. What was promised stays promised; what waits
// for a channel that is gone is dropped, and says so.
func (d *Desk) SetBook(ctx context.Context, p *Plan) error {
	return d.ask(ctx, func() error {
		d.rules.Store(newRules(p))
		if d.engine != nil {
			d.engine.SetPlan(d.o.Now(), p)
		}
		d.listen()
		d.guard.review, d.guard.next = 0, 0
		return nil
	})
}

// Plan returns the plan that counts now.
func (d *Desk) Plan() *Plan { return d.rules.Load().Plan }

// Alerts returns what is open, as Engine.Alerts does.
func (d *Desk) Alerts(ctx context.Context) (all []Alert, err error) {
	err = d.consult(ctx, func(e *Engine) error { all = e.Alerts(); return nil })
	return all, err
}

// Alert returns the alert that an incident belongs to, as Engine.Alert does; the
// error is NotFound if there is none.
func (d *Desk) Alert(ctx context.Context, id sereno.IncidentID) (a Alert, err error) {
	err = d.consult(ctx, func(e *Engine) error {
		var ok bool
		if a, ok = e.Alert(id); !ok {
			return sereno.Errorf(sereno.NotFound, "there is no alert about incident %d, or no more", id)
		}
		return nil
	})
	return a, err
}

// AlertsOf returns the alerts that some incidents belong to, by the incident;
// those without one are left out.
func (d *Desk) AlertsOf(ctx context.Context, ids []sereno.IncidentID) (all map[sereno.IncidentID]Alert, err error) {
	err = d.consult(ctx, func(e *Engine) error {
		all = make(map[sereno.IncidentID]Alert, len(ids))
		for _, id := range ids {
			if a, ok := e.Alert(id); ok {
				all[id] = a
			}
		}
		return nil
	})
	return all, err
}

// Health says how the channels do, as Engine.Health does.
func (d *Desk) Health(ctx context.Context) (all []ChannelHealth, err error) {
	err = d.consult(ctx, func(e *Engine) error { all = e.Health(); return nil })
	return all, err
}
