package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"sereno"
	"sereno/alert"
	"sereno/api"
	"sereno/maintenance"
	"sereno/match"
)

// A foreman writes down which devices are under which maintenance window, from
// when to when: by the ledger's time, whenever it gets round to it. What was
// written does not change when a window does, so figures do not either.
//
// What passed while the program was stopped is written at the next start, by
// the windows as they were known before; a window that changed meanwhile holds
// from the start on.
type foreman struct {
	foremanParts

	mu   sync.Mutex
	news []siteNews // not yet taken in, in order

	until sereno.Instant // all is written up to here; of Run alone

	// What others may ask for: Run alone changes it, with asked held.
	asked   sync.RWMutex
	windows []*maintenance.Calendar
	open    map[string]map[sereno.DeviceID]sereno.Instant // by window: since when
}

// foremanParts are what a foreman works with.
type foremanParts struct {
	store   siteBook
	path    string               // of the file that remembers what windows there were
	windows []maintenance.Window // as they are at the start
	settled sereno.Instant       // how far an earlier process came, if that file is not there
	now     func() sereno.Instant
	pending func() bool // reports whether now is provisional
	log     *slog.Logger
	wake    chan struct{} // made by newForeman
}

// siteBook is where maintenance is written down.
type siteBook interface {
	AllDevices(ctx context.Context) iter.Seq2[sereno.Device, error]
	OpenMaintained(ctx context.Context) ([]sereno.Maintained, error)
	PutMaintained(ctx context.Context, list []sereno.Maintained) error
}

// siteNews is something that changed at a moment: the windows, or some devices.
type siteNews struct {
	at      sereno.Instant
	book    bool // the windows are now these
	windows []maintenance.Window
	before  []sereno.Device // as they were, those that are new not among them
	after   []sereno.Device // as they are, those that are gone not among them
}

const (
	// siteBatch is how many stretches are written in one transaction.
	siteBatch = 20_000
	// sitePatience is how long a foreman waits for storage that is away.
	sitePatience = 5 * time.Second
	// siteLook is how long it sleeps at most: the clock may be set.
	siteLook = time.Minute
)

func newForeman(parts foremanParts) *foreman {
	parts.wake = make(chan struct{}, 1)
	return &foreman{foremanParts: parts}
}

// Book is told the windows whenever they change.
func (f *foreman) Book(_ context.Context, p *alert.Plan) error {
	f.tell(siteNews{at: f.now(), book: true, windows: p.Book.Windows})
	return nil
}

// Devices is told of devices that changed: as they were and as they are.
func (f *foreman) Devices(before, after []sereno.Device) {
	f.tell(siteNews{at: f.now(), before: before, after: after})
}

func (f *foreman) tell(n siteNews) {
	f.mu.Lock()
	f.news = append(f.news, n)
	f.mu.Unlock()
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// Under returns which of some devices are under maintenance now, as far as it
// is written down: of several windows the one that ends last.
func (f *foreman) Under(devices []sereno.DeviceID) map[sereno.DeviceID]api.InMaintenance {
	under := map[sereno.DeviceID]api.InMaintenance{}
	f.asked.RLock()
	defer f.asked.RUnlock()
	for _, s := range f.on() {
		for _, d := range devices {
			if _, in := f.open[s.Name][d]; in && s.end > under[d].Until {
				under[d] = api.InMaintenance{Window: s.Name, Until: s.end}
			}
		}
	}
	return under
}

// Count returns how many devices are under maintenance now.
func (f *foreman) Count() int {
	f.asked.RLock()
	defer f.asked.RUnlock()
	on := f.on()
	slices.SortFunc(on, func(a, b stint) int { return len(f.open[b.Name]) - len(f.open[a.Name]) })
	n := 0
	for i, s := range on {
		if i == 0 { // the one with the most need not be gone through
			n = len(f.open[s.Name])
			continue
		}
		for d := range f.open[s.Name] {
			counted := func(other stint) bool { _, in := f.open[other.Name][d]; return in }
			if !slices.ContainsFunc(on[:i], counted) {
				n++
			}
		}
	}
	return n
}

// on returns the windows that devices are under now; one that has ended and is
// not yet written down as ended is none. asked is held.
func (f *foreman) on() (list []stint) {
	now := f.now()
	for _, c := range f.windows {
		if len(f.open[c.Name]) == 0 {
			continue
		}
		if begin, end, in := c.At(now); in {
			list = append(list, stint{c, begin, end})
		}
	}
	return list
}

// Run writes maintenance down until ctx ends.
func (f *foreman) Run(ctx context.Context) error {
	failing := false
	for {
		wait, err := siteLook, error(nil)
		if f.pending() {
			wait = time.Second
		} else if err = f.step(ctx); err == nil {
			if wait = f.rest(); failing {
				f.log.Info("maintenance is written down again")
			}
			failing = false
		}
		if err != nil && ctx.Err() == nil {
			if wait = sitePatience; !failing {
				f.log.Error("which devices are under maintenance cannot be written down; it is tried again, and nothing of it is lost", "err", err)
			}
			failing = true
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-f.wake:
			timer.Stop()
		case <-timer.C:
		}
	}
}

// rest returns how long nothing is to do.
func (f *foreman) rest() time.Duration {
	now := f.now()
	wait := siteLook
	for _, c := range f.windows {
		at, _, ok := c.Next(f.until)
		if _, end, in := c.At(f.until); in {
			at, ok = end, true
		}
		if ok {
			wait = min(wait, max(at.Sub(now), time.Millisecond))
		}
	}
	return wait
}

// step takes in what changed and comes up to now. After an error it may be
// called again: what was written then is written over with the same.
func (f *foreman) step(ctx context.Context) error {
	if f.open == nil {
		if err := f.begin(ctx); err != nil {
			return err
		}
	}
	for {
		f.mu.Lock()
		if len(f.news) == 0 {
			f.mu.Unlock()
			return f.advance(ctx, f.now())
		}
		n := f.news[0]
		f.mu.Unlock()
		// Its moment may be of a clock that was ahead and not to be trusted.
		at := max(min(n.at, f.now()), f.until)
		if err := f.advance(ctx, at); err != nil {
			return err
		}
		take := f.takeDevices
		if n.book {
			take = f.takeBook
		}
		n.at = at
		if err := take(ctx, n); err != nil {
			return err
		}
		f.mu.Lock()
		f.news = f.news[1:]
		f.mu.Unlock()
	}
}

// begin goes on where an earlier process was.
func (f *foreman) begin(ctx context.Context) error {
	list, err := f.store.OpenMaintained(ctx)
	if err != nil {
		return err
	}
	windows, until, err := f.remembered()
	if err != nil {
		f.log.Error("what is remembered of maintenance windows cannot be read; they are taken to have been what they are now", "file", f.path, "err", err)
	}
	if f.until = min(until, f.now()); until.IsZero() {
		windows, f.until = f.foremanParts.windows, min(f.settled, f.now())
		if f.until.IsZero() {
			f.until = f.now()
		}
	}
	f.asked.Lock()
	f.windows = f.compile(windows)
	f.open = map[string]map[sereno.DeviceID]sereno.Instant{}
	for _, m := range list {
		f.opened(m)
	}
	f.asked.Unlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.news = slices.Insert(f.news, 0, siteNews{at: f.now(), book: true, windows: f.foremanParts.windows})
	return nil
}

func (f *foreman) compile(windows []maintenance.Window) []*maintenance.Calendar {
	var list []*maintenance.Calendar
	for _, w := range windows {
		c, err := w.Compile()
		if err != nil { // the book was compiled before it got here, maybe by another version
			f.log.Error("a maintenance window has a mistake and has no effect", "window", w.Name, "err", err)
			continue
		}
		list = append(list, c)
	}
	return list
}

// opened takes a stretch in that lasts. asked is held.
func (f *foreman) opened(m sereno.Maintained) {
	if f.open[m.Window] == nil {
		f.open[m.Window] = map[sereno.DeviceID]sereno.Instant{}
	}
	f.open[m.Window][m.Device] = m.Begin
}

// A stint is one stretch of a window.
type stint struct {
	*maintenance.Calendar
	begin, end sereno.Instant
}

// advance writes what began and ended after until, up to to.
func (f *foreman) advance(ctx context.Context, to sereno.Instant) error {
	if to <= f.until {
		return nil
	}
	var begun []stint
	w := f.writer(ctx)
	ended := map[string]sereno.Instant{} // at first
	for _, c := range f.windows {
		if _, end, in := c.At(f.until); in && end <= to {
			ended[c.Name] = end
			w.closeAll(f.open[c.Name], c.Name, end)
		}
		for t := f.until; ; {
			begin, end, ok := c.Next(t)
			if !ok || begin > to {
				break
			}
			begun = append(begun, stint{c, begin, end})
			if _, already := ended[c.Name]; end <= to && !already {
				ended[c.Name] = end
			}
			t = begin
		}
	}
	fresh := map[string]map[sereno.DeviceID]sereno.Instant{}
	if len(begun) > 0 {
		err := f.eachDevice(ctx, func(d sereno.Device, about match.Subject) {
			for _, s := range begun {
				m := sereno.Maintained{Device: d.ID, Begin: max(s.begin, d.Created), End: s.end, Window: s.Name}
				if since, was := f.open[s.Name][d.ID]; was && since > m.Begin && since < s.end {
					m.Begin = since // it was written down, and then the program ended at once
				}
				if m.Begin >= s.end || !s.Covers(about) {
					continue
				}
				if s.end > to {
					m.End = 0
					if fresh[s.Name] == nil {
						fresh[s.Name] = map[sereno.DeviceID]sereno.Instant{}
					}
					fresh[s.Name][d.ID] = m.Begin
				}
				w.put(m)
			}
		})
		if err != nil {
			return err
		}
	}
	if err := w.done(); err != nil {
		return err
	}
	f.asked.Lock()
	for _, name := range slices.Sorted(maps.Keys(ended)) {
		if n := len(f.open[name]); n > 0 {
			f.log.Info("maintenance ends", "window", name, "at", ended[name], "devices", n)
		}
		delete(f.open, name)
	}
	for _, s := range begun {
		if s.end > to {
			f.open[s.Name] = fresh[s.Name]
			f.log.Info("maintenance begins", "window", s.Name, "at", s.begin, "until", s.end, "devices", len(fresh[s.Name]))
		}
	}
	f.asked.Unlock()
	f.until = to
	if len(begun) > 0 || len(ended) > 0 {
		f.remember()
	}
	return nil
}

// eachDevice goes through the devices as they were before what is not yet taken
// in.
func (f *foreman) eachDevice(ctx context.Context, do func(d sereno.Device, about match.Subject)) error {
	were := map[sereno.DeviceID]sereno.Device{}
	f.mu.Lock()
	for _, n := range slices.Backward(f.news) {
		for _, d := range n.before {
			were[d.ID] = d
		}
	}
	f.mu.Unlock()
	for d, err := range f.store.AllDevices(ctx) {
		if err != nil {
			return fmt.Errorf("find the devices under maintenance: %w", err)
		}
		if was, ok := were[d.ID]; ok {
			delete(were, d.ID)
			d = was
		}
		do(d, match.Of(&d, nil))
	}
	for _, d := range were { // they are gone by now
		do(d, match.Of(&d, nil))
	}
	return nil
}

// takeBook lets other windows hold from a moment on. Who is under one of them
// goes on to be, if it still covers the moment and the device.
func (f *foreman) takeBook(ctx context.Context, n siteNews) error {
	windows := f.compile(n.windows)
	var on []*maintenance.Calendar
	open := map[string]map[sereno.DeviceID]sereno.Instant{}
	for _, c := range windows {
		if _, _, in := c.At(n.at); in {
			on = append(on, c)
			open[c.Name] = map[sereno.DeviceID]sereno.Instant{}
		}
	}
	w := f.writer(ctx)
	begun, ended := map[string]int{}, map[string]int{}
	if len(on) > 0 {
		err := f.eachDevice(ctx, func(d sereno.Device, about match.Subject) {
			for _, c := range on {
				if !c.Covers(about) {
					continue
				}
				since, was := f.open[c.Name][d.ID]
				if !was {
					since = max(n.at, d.Created) // it may be newer than this book
					begun[c.Name]++
					w.put(sereno.Maintained{Device: d.ID, Begin: since, Window: c.Name})
				}
				open[c.Name][d.ID] = since
			}
		})
		if err != nil {
			return err
		}
	}
	for name, devices := range f.open {
		for d, since := range devices {
			if _, stays := open[name][d]; !stays {
				ended[name]++
				w.close(d, name, since, n.at)
			}
		}
	}
	if err := w.done(); err != nil {
		return err
	}
	f.asked.Lock()
	f.windows, f.open = windows, open
	f.asked.Unlock()
	f.until = n.at
	f.remember()
	for said, devices := range map[string]map[string]int{"maintenance begins": begun, "maintenance ends": ended} {
		for _, name := range slices.Sorted(maps.Keys(devices)) {
			f.log.Info(said, "window", name, "at", n.at, "devices", devices[name])
		}
	}
	return nil
}

// takeDevices takes in devices that are new, changed or gone.
func (f *foreman) takeDevices(ctx context.Context, n siteNews) error {
	type place struct {
		window string
		device sereno.DeviceID
	}
	w := f.writer(ctx)
	changes := map[place]sereno.Instant{} // since when it is open, 0 if it is not any more
	known := map[sereno.DeviceID]bool{}
	for _, d := range n.before {
		known[d.ID] = true
		for name, devices := range f.open {
			if _, was := devices[d.ID]; was {
				changes[place{name, d.ID}] = 0
			}
		}
	}
	for _, c := range f.windows {
		begin, _, in := c.At(n.at)
		if !in {
			continue
		}
		for _, d := range n.after {
			if !c.Covers(match.Of(&d, nil)) {
				continue
			}
			at := place{c.Name, d.ID}
			_, was := f.open[c.Name][d.ID]
			switch {
			case was:
				delete(changes, at)
			case known[d.ID], d.Created < begin:
				changes[at] = n.at
			default: // it is new, from before this was told
				changes[at] = min(d.Created, n.at)
			}
		}
	}
	for at, since := range changes {
		if since != 0 {
			w.put(sereno.Maintained{Device: at.device, Begin: since, Window: at.window})
			continue
		}
		w.close(at.device, at.window, f.open[at.window][at.device], n.at)
	}
	if err := w.done(); err != nil {
		return err
	}
	f.asked.Lock()
	for at, since := range changes {
		if since == 0 {
			delete(f.open[at.window], at.device)
		} else {
			f.opened(sereno.Maintained{Device: at.device, Begin: since, Window: at.window})
		}
	}
	f.asked.Unlock()
	if f.until = n.at; len(changes) > 0 {
		f.remember()
	}
	return nil
}

// A siteWriter writes stretches down, many at a time. After an error it does
// nothing more.
type siteWriter struct {
	ctx   context.Context //nolint:containedctx // it lives as long as one call
	store siteBook
	rows  []sereno.Maintained
	err   error
}

func (f *foreman) writer(ctx context.Context) *siteWriter {
	return &siteWriter{ctx: ctx, store: f.store}
}

func (w *siteWriter) put(m sereno.Maintained) {
	if w.err != nil {
		return
	}
	if w.rows = append(w.rows, m); len(w.rows) >= siteBatch {
		w.flush()
	}
}

func (w *siteWriter) close(d sereno.DeviceID, window string, since, at sereno.Instant) {
	w.put(sereno.Maintained{Device: d, Begin: since, End: max(at, since+1), Window: window})
}

func (w *siteWriter) closeAll(devices map[sereno.DeviceID]sereno.Instant, window string, at sereno.Instant) {
	for _, d := range slices.Sorted(maps.Keys(devices)) {
		w.close(d, window, devices[d], at)
	}
}

func (w *siteWriter) flush() {
	if len(w.rows) > 0 {
		w.err = w.store.PutMaintained(w.ctx, w.rows)
		w.rows = w.rows[:0]
	}
}

func (w *siteWriter) done() error {
	if w.err == nil {
		w.flush()
	}
	return w.err
}

// A siteMemory is what a foreman remembers beside the stretches.
type siteMemory struct {
	Until   sereno.Instant       `json:"until"`
	Windows []maintenance.Window `json:"windows"`
}

// remembered reads what windows there were, and how far they are written down.
func (f *foreman) remembered() ([]maintenance.Window, sereno.Instant, error) {
	text, err := os.ReadFile(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	var m siteMemory
	if err := json.Unmarshal(text, &m); err != nil {
		return nil, 0, err
	}
	return m.Windows, m.Until, nil
}

// remember writes it, whole or not at all. Without it the next start writes a
// part of what is there a second time.
func (f *foreman) remember() {
	m := siteMemory{Until: f.until}
	for _, c := range f.windows {
		m.Windows = append(m.Windows, c.Window)
	}
	text, err := json.MarshalIndent(m, "", "\t")
	if err == nil {
		err = replaceFile(f.path, text)
	}
	if err != nil {
		f.log.Error("the maintenance windows cannot be remembered for the next start", "file", f.path, "err", err)
	}
}

// replaceFile writes a file, whole or not at all.
func replaceFile(path string, text []byte) error {
	to, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	_, err = to.Write(text)
	err = errors.Join(err, to.Sync(), to.Close())
	if err == nil {
		err = os.Rename(to.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(to.Name()))
	}
	return nil
}
