package doctor_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sereno"
	"sereno/clock"
	"sereno/doctor"
	"sereno/spool"
	"sereno/store"
)

// look makes one examination.
func look(t *testing.T, e doctor.Examination) doctor.Result {
	t.Helper()
	r, err := doctor.Examine(t.Context(), []doctor.Examination{e}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r.Results[0]
}

// expect checks that there is one finding, which says what is wrong and what to
// do; no words mean that nothing is found.
func expect(t *testing.T, r doctor.Result, words ...string) {
	t.Helper()
	if r.Failed != "" {
		t.Errorf("%s could not be examined: %s", r.Part, r.Failed)
	}
	if len(words) == 0 {
		if len(r.Findings) != 0 {
			t.Errorf("%s: %v", r.Part, r.Findings)
		}
		return
	}
	if len(r.Findings) != 1 {
		t.Fatalf("%s: %d findings: %v", r.Part, len(r.Findings), r.Findings)
	}
	f := r.Findings[0]
	for _, w := range words {
		if !strings.Contains(f.Text, w) {
			t.Errorf("%q does not mention %q", f.Text, w)
		}
	}
	if f.Do == "" || f.Part != r.Part {
		t.Errorf("nobody knows what to do: %+v", f)
	}
}

type facts struct {
	invariants, outbox, meters error
	partitions                 []store.Partition
}

func (f facts) CheckInvariants(context.Context) error                 { return f.invariants }
func (f facts) CheckOutbox(context.Context) error                     { return f.outbox }
func (f facts) CheckMeters(context.Context) error                     { return f.meters }
func (f facts) Partitions(context.Context) ([]store.Partition, error) { return f.partitions, nil }

func TestTheFacts(t *testing.T) {
	expect(t, look(t, doctor.Ledger(facts{})))
	expect(t, look(t, doctor.Ledger(facts{invariants: sereno.Errorf(sereno.Internal, "the ledger contradicts itself")})), "contradicts itself")
	expect(t, look(t, doctor.Outbox(facts{})))
	expect(t, look(t, doctor.Outbox(facts{outbox: sereno.Errorf(sereno.Internal, "messages were told twice")})), "told twice")
	expect(t, look(t, doctor.Meters(facts{meters: sereno.Errorf(sereno.Internal, "the meters contradict the ledger")})), "meters")
	for _, away := range []error{errors.New("disk on fire"), sereno.Errorf(sereno.Unavailable, "the database is away")} {
		if r := look(t, doctor.Ledger(facts{invariants: away})); r.Failed != away.Error() || len(r.Findings) != 0 {
			t.Errorf("%v becomes %+v", away, r)
		}
	}
}

func TestPartitions(t *testing.T) {
	month := func(m time.Month) store.Partition {
		at := func(m time.Month) sereno.Instant { return sereno.At(time.Date(2026, m, 1, 0, 0, 0, 0, time.UTC)) }
		return store.Partition{Table: m.String(), From: at(m), To: at(m + 1)}
	}
	now := time.Date(2026, 11, 30, 23, 0, 0, 0, time.UTC)
	expect(t, look(t, doctor.Partitions(facts{}, now))) // SQLite
	expect(t, look(t, doctor.Partitions(facts{partitions: []store.Partition{month(10), month(11), month(12)}}, now)))
	expect(t, look(t, doctor.Partitions(facts{partitions: []store.Partition{month(10), month(11)}}, now)), "December 2026")
	expect(t, look(t, doctor.Partitions(facts{partitions: []store.Partition{month(10), month(12)}}, now)), "November 2026")
	twice := month(12)
	twice.Table, twice.From = "by hand", twice.From+1
	expect(t, look(t, doctor.Partitions(facts{partitions: []store.Partition{month(11), month(12), twice}}, now)), "overlap")
}

func TestSamples(t *testing.T) {
	expect(t, look(t, doctor.Samples(func(context.Context) ([]string, error) { return nil, nil })))
	expect(t, look(t, doctor.Samples(func(context.Context) ([]string, error) { return []string{"block 7 is broken"}, nil })), "block 7")
}

func TestSignsOfLife(t *testing.T) {
	now := func() sereno.Instant { return 1_790_000_000_000_000 }
	folder := t.TempDir()
	expect(t, look(t, doctor.Alive(folder, now)), "is not there")
	path := filepath.Join(folder, "alive")
	write := func(at sereno.Instant) {
		marks, _, _, err := clock.OpenMarks(path, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		defer marks.Close()
		if err := marks.Write(sereno.Mark{Ledger: at, Reading: sereno.Reading{Wall: at}}); err != nil {
			t.Fatal(err)
		}
		expectFailed(t, doctor.Alive(folder, now), "already runs") // while somebody has it
	}
	write(now() - 5)
	expect(t, look(t, doctor.Alive(folder, now)))
	write(now().Add(time.Hour))
	expect(t, look(t, doctor.Alive(folder, now)), "future")
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := 20; i < len(content); i += 512 {
		content[i] ^= 0xff
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	expect(t, look(t, doctor.Alive(folder, now)), "damaged")
}

func expectFailed(t *testing.T, e doctor.Examination, words string) {
	t.Helper()
	if r := look(t, e); !strings.Contains(r.Failed, words) {
		t.Errorf("%+v does not mention %q", r, words)
	}
}

func TestDisk(t *testing.T) {
	folder := t.TempDir()
	expect(t, look(t, doctor.Disk(folder, filepath.Join(folder, "reserve"))), "reserve", "not there")
	if err := os.WriteFile(filepath.Join(folder, "reserve"), []byte("room"), 0o600); err != nil {
		t.Fatal(err)
	}
	expect(t, look(t, doctor.Disk(folder, filepath.Join(folder, "reserve"))))
	if r := look(t, doctor.Disk(filepath.Join(folder, "none"), "")); r.Failed == "" {
		t.Errorf("a folder that is not there gives %+v", r)
	}
}

func TestSpool(t *testing.T) {
	examine := func(left spool.Left) doctor.Examination {
		return doctor.Spool(func() (spool.Left, error) { return left, nil })
	}
	expect(t, look(t, examine(spool.Left{})))
	expect(t, look(t, examine(spool.Left{Usage: spool.Usage{Entries: 3, Bytes: 99}})), "wait on disk: 3 (99 bytes)")
	expect(t, look(t, examine(spool.Left{Unreadable: []string{"spool/1.entries"}})), "spool/1.entries", "cannot be read")
	expect(t, look(t, examine(spool.Left{SetAside: []string{"spool/2.entries.damaged"}})), "spool/2.entries.damaged", "set aside")
	expectFailed(t, doctor.Spool(func() (spool.Left, error) { return spool.Left{}, errors.New("no permission") }), "no permission")
}

func TestAnExaminationIsGivenUp(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("somebody pressed a key")
	_, err := doctor.Examine(ctx, []doctor.Examination{{Part: "a", Look: func(context.Context) ([]doctor.Finding, error) {
		cancel(why)
		return nil, nil
	}}}, nil)
	if !errors.Is(err, why) {
		t.Errorf("the error is %v", err)
	}
}
