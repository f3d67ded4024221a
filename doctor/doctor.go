// Package doctor examines what Sereno remembers: whether the ledger still
// proves itself, the sums are those of the spans, the looks can be read, and
// the disk has room. It finds and says what to do; it mends nothing.
package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"sereno"
	"sereno/clock"
	"sereno/spool"
	"sereno/store"
)

// A Finding is one thing that is not as it should be.
type Finding struct {
	Part string `json:"part"` // what was examined
	Text string `json:"text"` // what is wrong
	Do   string `json:"do"`   // what to do about it
}

// An Examination looks at one part. Its error means that it could not look.
type Examination struct {
	Part string
	Look func(ctx context.Context) ([]Finding, error)
}

// A Result is what one examination gave.
type Result struct {
	Part     string    `json:"part"`
	Findings []Finding `json:"findings"`
	Failed   string    `json:"failed,omitempty"` // why it could not be examined
}

// A Report is what all examinations gave, in order.
type Report struct {
	Results []Result `json:"results"`
}

// Findings returns the number of findings, and of parts that could not be
// examined.
func (r Report) Findings() (found, failed int) {
	for _, one := range r.Results {
		found += len(one.Findings)
		if one.Failed != "" {
			failed++
		}
	}
	return found, failed
}

// Examine makes all examinations, one after the other, and calls began before
// each. It ends early only with ctx.
func Examine(ctx context.Context, list []Examination, began func(part string)) (Report, error) {
	var report Report
	for _, e := range list {
		if began != nil {
			began(e.Part)
		}
		findings, err := e.Look(ctx)
		if ctx.Err() != nil {
			return report, context.Cause(ctx)
		}
		r := Result{Part: e.Part, Findings: append([]Finding{}, findings...)}
		if err != nil {
			r.Failed = err.Error()
		}
		for i := range r.Findings {
			r.Findings[i].Part = e.Part
		}
		report.Results = append(report.Results, r)
	}
	return report, nil
}

// contradiction makes a finding of an error of the kind Internal that an
// examination of the store returns: any other says that it could not be made.
func contradiction(err error, do string) ([]Finding, error) {
	e, ok := errors.AsType[*sereno.Error](err)
	if !ok || e.Kind != sereno.Internal {
		return nil, err
	}
	return []Finding{{Text: e.Text, Do: do}}, nil
}

// Ledger proves that the spans of every check tile its life, and that incidents
// hang together.
func Ledger(facts interface {
	CheckInvariants(ctx context.Context) error
},
) Examination {
	return Examination{"ledger", func(ctx context.Context) ([]Finding, error) {
		return contradiction(facts.CheckInvariants(ctx), "restore the last backup that sereno backup verify finds sound, and report this as a fault of Sereno's")
	}}
}

// Outbox proves that nobody was told anything twice.
func Outbox(facts interface {
	CheckOutbox(ctx context.Context) error
},
) Examination {
	return Examination{"outbox", func(ctx context.Context) ([]Finding, error) {
		return contradiction(facts.CheckOutbox(ctx), "nothing was lost and nothing is to be done: report this as a fault of Sereno's")
	}}
}

// Meters proves that the readings from which figures are made equal the spans.
func Meters(facts interface {
	CheckMeters(ctx context.Context) error
},
) Examination {
	return Examination{"meters", func(ctx context.Context) ([]Finding, error) {
		return contradiction(facts.CheckMeters(ctx), "figures of these checks may be wrong, the spans are not: report this as a fault of Sereno's")
	}}
}

// Partitions proves that the database has room for the spans of this month and
// the next.
func Partitions(facts interface {
	Partitions(ctx context.Context) ([]store.Partition, error)
}, now time.Time,
) Examination {
	return Examination{"partitions", func(ctx context.Context) ([]Finding, error) {
		list, err := facts.Partitions(ctx)
		if err != nil || list == nil {
			return nil, err
		}
		var found []Finding
		now = now.UTC()
		for _, month := range []time.Time{now, time.Date(now.Year(), now.Month()+1, 1, 0, 0, 0, 0, time.UTC)} {
			if !covered(list, sereno.At(month)) {
				found = append(found, Finding{
					Text: fmt.Sprintf("there is no partition for the spans of %s", month.Format("January 2006")),
					Do:   "start sereno serve, which makes it, and read its log if it does not: the user of the database must own the tables",
				})
			}
		}
		for i := 1; i < len(list); i++ {
			if list[i].From < list[i-1].To {
				found = append(found, Finding{
					Text: fmt.Sprintf("the partitions %s and %s overlap", list[i-1].Table, list[i].Table), Do: "somebody made partitions by hand: remove what does not belong to Sereno",
				})
			}
		}
		return found, nil
	}}
}

func covered(list []store.Partition, at sereno.Instant) bool {
	for _, p := range list {
		if p.From <= at && at < p.To {
			return true
		}
	}
	return false
}

// Schema tells that a store is older than this program.
func Schema(facts interface {
	Schema(ctx context.Context) (int64, error)
},
) Examination {
	return Examination{"schema", func(ctx context.Context) ([]Finding, error) {
		have, err := facts.Schema(ctx)
		if want := store.LatestSchema(); err == nil && have < want {
			return []Finding{{
				Text: fmt.Sprintf("the store has schema %d, this Sereno writes %d, so the rest of the facts is not examined", have, want),
				Do:   "make a backup, then start sereno serve once: it brings the store up to date",
			}}, nil
		}
		return nil, err
	}}
}

// Samples reads every block of looks.
func Samples(verify func(ctx context.Context) ([]string, error)) Examination {
	return Examination{"samples", func(ctx context.Context) ([]Finding, error) {
		wrong, err := verify(ctx)
		var found []Finding
		for _, text := range wrong {
			found = append(found, Finding{Text: text, Do: "nothing but these looks is lost: check the disk, and restore a backup if they matter"})
		}
		return found, err
	}}
}

// Alive reads the signs of life in a data folder that no server uses.
func Alive(folder string, now func() sereno.Instant) Examination {
	return Examination{"signs of life", func(context.Context) ([]Finding, error) {
		path := filepath.Join(folder, "alive")
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			return []Finding{{Text: path + " is not there", Do: "nothing, if Sereno never ran on this folder; else the next start books an absence whose length it cannot be sure of"}}, nil
		}
		log := &listener{Handler: slog.DiscardHandler}
		marks, mark, found, err := clock.OpenMarks(path, slog.New(log))
		if err != nil {
			return nil, err
		}
		defer marks.Close()
		switch {
		case log.heard:
			return []Finding{{Text: path + " was damaged, and holds no sign of life any more", Do: "check the disk; the next start books an absence whose length it cannot be sure of"}}, nil
		case found && mark.Ledger > now().Add(time.Minute):
			return []Finding{{
				Text: fmt.Sprintf("the last sign of life is of %s, which is in the future", mark.Ledger),
				Do:   "set the clock of this machine right (timedatectl); Sereno goes on from there and brings its time back slowly",
			}}, nil
		}
		return nil, nil
	}}
}

// A listener hears that something was logged.
type listener struct {
	slog.Handler
	heard bool
}

func (l *listener) Enabled(context.Context, slog.Level) bool { return true }

func (l *listener) Handle(context.Context, slog.Record) error {
	l.heard = true
	return nil
}

// Spool tells of what waits on disk for the store, and of what of it cannot be
// read.
func Spool(look func() (spool.Left, error)) Examination {
	return Examination{"spool", func(context.Context) ([]Finding, error) {
		left, err := look()
		if err != nil {
			return nil, err
		}
		var found []Finding
		if left.Entries > 0 {
			found = append(found, Finding{
				Text: fmt.Sprintf("transactions for the store wait on disk: %d (%d bytes)", left.Entries, left.Bytes),
				Do:   "bring the database back, and start sereno serve: it writes them down, in order",
			})
		}
		for _, path := range left.Unreadable {
			found = append(found, Finding{
				Text: path + " holds entries that cannot be read: it is damaged, or of a newer Sereno",
				Do:   "start the newest Sereno that ran here; what is damaged it sets aside, and books that time as unknown",
			})
		}
		for _, path := range left.SetAside {
			found = append(found, Finding{
				Text: path + " was set aside because it is damaged; what it said is booked as unknown",
				Do:   "check the disk; remove the file when nobody needs it",
			})
		}
		return found, nil
	}}
}

// least is how much room a disk should have: the smaller of a share and bytes.
const (
	leastShare = 20 // one in twenty
	leastBytes = 1 << 30
)

// Disk tells whether there is room where a folder is, and whether what was set
// aside for a full disk is there. reserve is its path, "" if none is wanted.
func Disk(folder, reserve string) Examination {
	return Examination{"disk", func(context.Context) ([]Finding, error) {
		var fs unix.Statfs_t
		if err := unix.Statfs(folder, &fs); err != nil {
			return nil, fmt.Errorf("ask for the room at %s: %w", folder, err)
		}
		var found []Finding
		free, all := fs.Bavail*uint64(fs.Bsize), fs.Blocks*uint64(fs.Bsize)
		if free < min(all/leastShare, leastBytes) {
			found = append(found, Finding{
				Text: fmt.Sprintf("only %d MB of %d MB are free where %s is", free>>20, all>>20, folder),
				Do:   "make room, or let samples and retention keep less",
			})
		}
		if fs.Files > 0 && fs.Ffree < fs.Files/100 {
			found = append(found, Finding{Text: fmt.Sprintf("only %d files more can be made where %s is", fs.Ffree, folder), Do: "remove files that nobody needs"})
		}
		if reserve != "" {
			if info, err := os.Stat(reserve); err != nil || info.Size() == 0 {
				found = append(found, Finding{
					Text: reserve + ", which keeps room for facts on a full disk, is not there or used up",
					Do:   "make room: sereno serve sets it aside again by itself",
				})
			}
		}
		return found, nil
	}}
}
