package sereno

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// A desk is a simulated machine with a watchman on it: its clocks, what is on
// its disk, and what the watchman booked.
type desk struct {
	t        interface{ Fatalf(string, ...any) }
	actual   Instant       // the time as it is
	wrong    time.Duration // the wall clock above it
	r        Reading
	boots    int
	mark     Mark
	newest   Instant // the latest instant in the store
	timeline Timeline
	alive    bool
	now      Instant   // the latest that the ledger's time was seen to be
	held     []Absence // given out while pending
	booked   []Absence
	steps    []ClockEvent
	shift    time.Duration
}

var tellRhythm = Rhythm{Beat: 250 * time.Millisecond, Patience: 10 * time.Minute}

const tellAlive = 5 * time.Second

var deskOpened = Instant(1_790_000_000_000_000) // 2026-09-21

func newDesk(t interface{ Fatalf(string, ...any) }) *desk {
	return &desk{t: t, actual: deskOpened, r: Reading{BootID: "boot-0", Synced: true, Chip: true, Boot: time.Hour, Mono: time.Hour}}
}

// pass lets time go by; the machine sleeps through the last part of it.
func (d *desk) pass(all, asleep time.Duration) {
	d.actual = d.actual.Add(all)
	d.r.Boot += all
	d.r.Mono += all - asleep
	d.r.Wall = d.actual.Add(d.wrong)
}

func (d *desk) start() {
	d.pass(0, 0)
	var b Beat
	d.timeline, b = StartTimeline(tellRhythm, d.mark, d.newest, d.r)
	d.alive, d.held = true, nil
	d.now = max(d.newest, d.mark.Ledger) // only what was stored can be gone back from
	d.hear(b)
	d.write(false)
}

func (d *desk) beat() {
	before := d.timeline
	var b Beat
	d.timeline, b = d.timeline.Next(d.r)
	// It is made of time that passed, true to 500 parts in a million, and of
	// time that was jumped over.
	passed := d.r.Boot - before.last.Boot
	made := d.timeline.Pace().At(d.r.Boot).Sub(before.Pace().At(before.last.Boot)) - b.Shift
	for _, a := range b.Absences {
		if a.Cause == ClockStep {
			made -= a.End.Sub(a.Begin)
		}
	}
	if (made - passed).Abs() > passed/2000+2*time.Microsecond {
		d.t.Fatalf("%v became %v of the ledger's time: %+v", passed, made, b)
	}
	d.hear(b)
	if d.r.Boot-d.mark.Boot >= tellAlive || !d.mark.follows(d.r) {
		d.write(false)
	}
}

func (d *desk) hear(b Beat) {
	if b.Shift < 0 {
		d.t.Fatalf("a shift of %v", b.Shift)
	}
	if b.Settled {
		d.shift = b.Shift
		d.booked = append(d.booked, b.Absences...)
		for _, a := range d.held {
			a.Begin, a.End = a.Begin.Add(b.Shift), a.End.Add(b.Shift)
			d.booked = append(d.booked, a)
		}
		slices.SortStableFunc(d.booked, func(a, b Absence) int { return cmp.Compare(a.Begin, b.Begin) })
		d.held = nil
	} else if d.timeline.Pending() {
		d.held = append(d.held, b.Absences...)
	} else {
		d.booked = append(d.booked, b.Absences...)
	}
	d.steps = append(d.steps, b.Steps...)
	now := d.timeline.Pace().At(d.r.Boot)
	if now < d.now {
		d.t.Fatalf("the ledger's time went back from %v to %v", d.now, now)
	}
	d.now = now
	for i, a := range d.booked {
		if a.End < a.Begin || a.End > now || i > 0 && a.Begin < d.booked[i-1].End {
			d.t.Fatalf("absence %v is negative, in the future or overlaps the one before (now %v): %v", a, now, d.booked)
		}
		if !d.timeline.Pending() {
			d.newest = max(d.newest, a.End)
		}
	}
}

func (d *desk) write(clean bool) {
	if d.timeline.Pending() {
		return
	}
	now := d.timeline.Pace().At(d.r.Boot)
	d.mark = Mark{Reading: d.r, Ledger: now, Settled: now, Every: tellAlive, Clean: clean}
}

// do plays one word of a story.
func (d *desk) do(word string) {
	verb, rest, _ := strings.Cut(word, " ")
	length, err := time.ParseDuration(rest)
	if rest != "" && err != nil {
		d.t.Fatalf("%q: %v", word, err)
	}
	switch verb {
	case "start":
		d.start()
	case "run":
		for ; length > 0; length -= tellRhythm.Beat {
			d.pass(tellRhythm.Beat, 0)
			d.beat()
		}
	case "stall":
		d.pass(length, 0)
		d.beat()
	case "sleep":
		d.pass(length, length)
		d.pass(100*time.Millisecond, 0)
		d.beat()
	case "set": // the wall clock
		d.wrong += length
		d.pass(0, 0)
	case "sync":
		d.wrong, d.r.Synced = 0, true
		d.pass(0, 0)
	case "unsync":
		d.r.Synced = false
	case "kill":
		d.alive = false
	case "stop":
		d.beat()
		d.write(true)
		d.alive = false
	case "wait": // with the process dead
		d.pass(length, 0)
	case "off":
		d.actual = d.actual.Add(length)
		if !d.r.Chip {
			d.wrong -= length
		}
		d.boots++
		d.r.BootID = fmt.Sprint("boot-", d.boots)
		d.r.Boot, d.r.Mono, d.r.Synced, d.alive = 0, 0, false, false
		d.pass(0, 0)
	case "chipless":
		d.r.Chip = false
	case "lose": // the file of the marks
		d.mark = Mark{}
	case "restore": // a backup that was made just now
		d.mark = Mark{Reading: Reading{Wall: d.r.Wall}, Ledger: d.now, Settled: d.now, Restored: true}
	default:
		d.t.Fatalf("no such word: %q", word)
	}
}

func (d *desk) tell() string {
	var out []string
	for _, a := range d.booked {
		s := fmt.Sprintf("%v %v", a.Cause, a.End.Sub(a.Begin).Round(10*time.Millisecond))
		if a.Uncertainty != 0 {
			s += fmt.Sprint("±", a.Uncertainty)
		}
		if a.Unsure {
			s += "?"
		}
		out = append(out, s)
	}
	for _, e := range d.steps {
		out = append(out, fmt.Sprintf("step %v", e.Step.Round(10*time.Millisecond)))
	}
	if d.timeline.Pending() {
		out = append(out, "pending")
	}
	if off := d.now.Sub(d.actual).Round(10 * time.Millisecond); off != 0 {
		out = append(out, fmt.Sprintf("ledger off by %v", off))
	}
	return strings.Join(out, ", ")
}

func TestTimeline(t *testing.T) {
	for _, c := range []struct{ name, story, want string }{
		{"a calm hour", "start; run 1h", ""},
		{"a first start books nothing", "wait 3h; start", ""},

		{"a crash, however short, is an absence from the last mark", "start; run 12s; kill; wait 100ms; start", "crash 2.1s±5s"},
		{"a crash over night", "start; run 10s; kill; wait 8h; start", "crash 8h0m0s±5s"},
		{"a stop in order, and soon again, is a restart", "start; run 12s; stop; wait 7s; start", ""},
		{"a stop in order for longer", "start; run 12s; stop; wait 7250ms; start", "stopped 7.25s"},
		{"a reboot", "start; run 12s; stop; off 60s; wait 20s; start", "reboot 1m20s"},
		{"a power cut", "start; run 12s; off 3h; wait 20s; start", "power_loss 3h0m22s±5s"},
		{
			"restart storm", "start; run 1s; kill; start; run 1s; kill; wait 1s; start; run 1s; kill; start",
			"crash 1s±5s, crash 2s±5s, crash 1s±5s",
		},
		{
			"a crash right after a sleep was booked does not book it again", "start; run 1s; sleep 8h; kill; wait 1s; start",
			"suspended 8h0m0.1s±100ms, crash 1s±5s",
		},
		{
			"the file of the marks is lost", "start; run 10s; sleep 1h; run 10s; kill; lose; wait 1m; start",
			"suspended 1h0m0.1s±100ms, crash 1m10s±1m10s?",
		},

		{"a backup is restored", "start; run 1h; kill; restore; wait 3h; start; run 1m", "restored 3h0m0s"},
		{"a backup is restored at once, on another machine", "start; run 1h; kill; restore; off 1s; start", "restored 1s"},

		{"asleep over night", "start; run 1m; sleep 8h; run 1m", "suspended 8h0m0.1s±100ms"},
		{"stopped by a signal", "start; run 1m; stall 5s; run 1m", "stalled 5s±250ms"},
		{"a late beat is no absence", "start; run 1m; stall 2s; run 1m", ""},

		{"more than two seconds are", "start; run 1m; stall 2500ms; run 1m; sleep 2100ms; run 1m", "stalled 2.5s±250ms, suspended 2.2s±100ms"},

		{"set forward an hour: nobody watched a time that did not exist", "start; run 1m; set 1h; run 1m", "clock_step 1h0m0s, step 1h0m0s, ledger off by 1h0m0s"},
		{"set right by an hour", "set -1h; start; run 1m; set 1h; run 1m", "clock_step 1h0m0s, step 1h0m0s"},
		{"set forward five minutes", "start; run 1m; set 5m; run 1m", "clock_step 5m0s, step 5m0s, ledger off by 5m0s"},
		{"set back an hour: the ledger stays ahead and comes back slowly", "start; run 1m; set -1h; run 100s", "step -1h0m0s, ledger off by -50ms"},
		{"set back five minutes and forth", "start; run 1m; set -5m; run 100s; set 5m; run 200s", "step -5m0s, step 5m0s"},
		{"set forth and back", "start; run 1m; set 5m; run 1m; set -5m; run 1m", "clock_step 5m0s, step 5m0s, step -5m0s, ledger off by 4m59.97s"},
		{"less than a second is followed without a word", "start; set 500ms; run 20m", "ledger off by 500ms"},
		{"nothing is followed blindly", "start; set 500ms; run 1s; stall 1h", "stalled 1h0m0s±250ms"},
		{"a leap second is less than it seems", "start; run 1m; set -999ms; run 10s; set 999ms; run 1m", ""},
		{"two small steps make a large one", "start; run 1m; set 600ms; run 1s; set 600ms; run 1s", "clock_step 1.2s, step 1.2s, ledger off by 1.2s"},
		{"asleep, and set when it woke", "start; run 1m; sleep 8h; set 2s; run 1m", "suspended 8h0m0.1s±100ms, clock_step 2s, step 2s, ledger off by 2s"},

		{"set forward while it was stopped", "start; run 10s; stop; wait 1m; set 1h; start", "stopped 1m0s, clock_step 1h0m0s, step 1h0m0s, ledger off by 1h0m0s"},
		{"set back while it was stopped", "start; run 10s; stop; wait 1m; set -1h; start; run 1s", "stopped 1m0s, step -1h0m0s"},
		{"crashed with the ledger ahead", "start; run 10s; set -1h; run 10s; kill; wait 1m; start", "crash 1m0s±5s, step -1h0m0s"},
		{
			"a mark from the future, clock right: nobody knows how long", "set 24h; start; run 10s; off 1m; set -24h; wait 10s; sync; start; run 1m",
			"power_loss 0s±5s?, step -23h58m50s, ledger off by 23h58m49.97s",
		},
		{"daylight saving is of no concern to any of the clocks", "start; run 24h", ""},

		{
			"14 h without power and without a clock chip", "chipless; start; run 62s; off 14h; wait 30s; start; run 40s; sync; run 1m",
			"power_loss 14h0m32s±5s, step 14h0m0s",
		},
		{
			"the same with a clock that starts in 1970", "chipless; start; run 62s; off 14h; set -400000h; wait 30s; start; run 40s; sync; run 1m",
			"power_loss 14h0m32s±5s, step 400014h0m0s",
		},
		{
			"the same with the clock that was saved at the last moment", "chipless; start; run 60s; stop; off 14h; set 25s; wait 30s; start; run 40s; sync; run 1m",
			"reboot 14h0m30s, step 13h59m35s",
		},
		{
			"the same, set by hand", "chipless; start; run 62s; off 14h; set -1h; wait 30s; start; run 40s; set 15h; run 1m",
			"power_loss 14h0m32s±5s, step 15h0m0s",
		},
		{
			"set, but to a time before the mark: still held", "chipless; start; run 62s; off 14h; set -1h; wait 30s; start; run 40s; set 30m; run 1m",
			"step 30m0s, pending, ledger off by -14h0m32s",
		},
		{"nobody sets the clock: held for ten minutes", "chipless; start; run 62s; off 14h; set -1h; wait 30s; start; run 9m", "pending, ledger off by -14h0m32s"},
		{
			"nobody sets the clock: unsure after ten minutes", "chipless; start; run 62s; off 14h; wait 30s; start; run 11m",
			"power_loss 32s±5s?, ledger off by -14h0m0s",
		},
		{
			"and set later", "chipless; start; run 62s; off 14h; wait 30s; start; run 11m; sync; run 1m",
			"power_loss 32s±5s?, clock_step 14h0m0s, step 14h0m0s",
		},
		{
			"a stall while it is held moves along", "chipless; start; run 62s; off 14h; wait 30s; start; run 10s; stall 8s; run 10s; sync; run 1m",
			"power_loss 14h0m32s±5s, stalled 8s±250ms, step 14h0m0s",
		},
		{
			"power lost again while it was held: one absence", "chipless; start; run 62s; off 14h; wait 30s; start; run 60s; off 1h; wait 30s; start; sync; run 1s",
			"power_loss 15h2m2s±5s, step 15h0m0s",
		},
		{
			"stopped in order while it was held", "chipless; start; run 60s; off 14h; wait 30s; start; run 60s; stop; wait 1m; start; sync; run 1s",
			"power_loss 14h2m30s±5s, step 14h0m0s",
		},
		{"the first start of all in 1970", "chipless; off 0s; set -400000h; start; run 1m; sync; run 1s", "step 400000h0m0s"},
		{"the first start of all in 1970, and nobody sets the clock", "chipless; off 0s; set -400000h; start; run 11m", "ledger off by -6326h13m20.03s"},
		{"with a clock chip nothing is held", "start; run 60s; off 1m; wait 30s; start", "power_loss 1m30s±5s"},
		{"unsynchronised for ever, off for longer than a saved clock shows", "unsync; chipless; start; run 60s; off 3m; set 3m; wait 30s; start", "power_loss 3m30s±5s"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDesk(t)
			for word := range strings.SplitSeq(c.story, "; ") {
				d.do(word)
			}
			if got := d.tell(); got != c.want {
				t.Errorf("%s:\n got %s\nwant %s", c.story, got, c.want)
			}
		})
	}
}

func TestDurationsAreTrue(t *testing.T) {
	d := newDesk(t)
	d.do("start")
	for _, word := range []string{"set -1h", "set -300ms", "set 900ms", "sleep 3h", "stall 1m"} {
		began, boot := d.now, d.r.Boot
		d.do(word)
		d.do("run 1h")
		took, passed := d.now.Sub(began), d.r.Boot-boot
		if wrong := (took - passed).Abs(); wrong > passed/2000+time.Millisecond {
			t.Errorf("%s: %v read %v", word, passed, took)
		}
	}
}

// Whatever is done to a machine: the ledger's time does not go back, durations
// are true, and no absence overlaps another (desk.beat and desk.hear check it).
func TestAnyLifeOfATimeline(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := newDesk(t)
		if rapid.Bool().Draw(t, "chipless") {
			d.do("chipless")
		}
		d.do("start")
		words := rapid.SliceOfN(rapid.SampledFrom([]string{
			"run 250ms", "run 1s", "run 6s", "run 40s", "run 11m", "stall 2s", "stall 3s", "stall 1h", "sleep 1s", "sleep 8h",
			"set 999ms", "set -999ms", "set 1s", "set -1s", "set 1h", "set -1h", "set -400000h", "set 24h", "sync", "unsync",
			"kill; start", "kill; wait 1s; start", "kill; wait 1h; start", "stop; start", "stop; wait 8s; start",
			"off 1s; wait 30s; start", "off 14h; wait 30s; start", "stop; off 14h; wait 30s; start", "lose; kill; start",
			"kill; set -1h; start", "kill; set 1h; start", "off 1s; set 5h; start",
		}), 1, 40).Draw(t, "words")
		for _, words := range words {
			for word := range strings.SplitSeq(words, "; ") {
				d.do(word)
			}
		}
	})
}
