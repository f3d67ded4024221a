package sereno

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// A tale is spans that tile, a letter a microsecond from 1 µs on: u up,
// g degraded, d down, b down behind a parent, ? unknown, p paused.
func tale(text string) []Span {
	kinds := map[byte]Span{
		'u': {Status: Up}, 'g': {Status: Degraded}, 'd': {Status: Down}, 'b': {Status: Down, Cause: CauseBehindParent},
		'?': {Cause: CauseAbsence}, 'p': {Cause: CausePaused},
	}
	var spans []Span
	for i := range len(text) {
		s := kinds[text[i]]
		s.Begin = Instant(i + 1)
		s.Proof = s.Begin
		if n := len(spans); n > 0 {
			if last := spans[n-1]; last.Status == s.Status && last.Cause == s.Cause {
				continue
			}
			spans[n-1].End = s.Begin
		}
		spans = append(spans, s)
	}
	if n := len(spans); n > 0 {
		spans[n-1].End = Instant(len(text) + 1)
	}
	return spans
}

// count says what Tally must say of a tale, one microsecond after the other.
func (c Counting) count(text string, from, to Instant) Figures {
	f := Figures{From: from, To: to, Counting: c}
	down := "d"
	if !c.BehindIsNotDowntime {
		down += "b"
	}
	up := "u"
	if c.DegradedIsDown {
		down += "g"
	} else {
		up += "g"
	}
	if c.UnknownIsDown {
		down += "?"
	}
	open, outage := false, time.Duration(0)
	for at := from; at < to; at++ {
		f.Ongoing = false
		if at < 1 || int(at) > len(text) {
			f.Unknown++
			f.Outside++
			continue
		}
		letter := text[at-1]
		switch letter {
		case 'u':
			f.Up++
		case 'g':
			f.Degraded++
		case 'd':
			f.Down++
		case 'b':
			f.Down++
			f.Behind++
		case '?':
			f.Unknown++
		case 'p':
			f.Paused++
		}
		for _, l := range []byte(down) {
			if l != letter {
				continue
			}
			if !open {
				f.Outages++
				f.LastOutage, outage, open = at, 0, true
				for f.LastOutage > 1 && text[f.LastOutage-2] == letter {
					f.LastOutage--
				}
			}
			outage++
			f.Longest = max(f.Longest, outage)
			f.Ongoing = at == to-1
		}
		for _, l := range []byte(up) {
			open = open && l != letter
		}
	}
	for _, d := range []*time.Duration{&f.Up, &f.Degraded, &f.Down, &f.Unknown, &f.Paused, &f.Behind, &f.Outside, &f.Longest} {
		*d *= time.Microsecond
	}
	return f
}

func TestOutages(t *testing.T) {
	for _, test := range []struct {
		rule, tale string
		counting   Counting
		outages    int
		longest    time.Duration
		last       Instant
	}{
		{"calm", "uuuu", Counting{}, 0, 0, 0},
		{"an outage for each time it failed", "uduuddu", Counting{}, 2, 2, 5},
		{"down that was split when the parent came back is one outage", "ubbddu", Counting{}, 1, 4, 2},
		{"nobody saw it up: one outage, as long as it was seen", "udd???ddu", Counting{}, 1, 4, 2},
		{"a pause is no answer either", "udppdu", Counting{}, 1, 2, 2},
		{"a poor answer is an answer", "udgdu", Counting{}, 2, 1, 4},
		{"unless degraded is down", "udgdu", Counting{DegradedIsDown: true}, 1, 3, 2},
		{"unknown as down", "u??u", Counting{UnknownIsDown: true}, 1, 2, 2},
		{"unknown as down between two of down", "ud?du", Counting{UnknownIsDown: true}, 1, 3, 2},
		{"behind a parent, which is none of its own", "ubbu", Counting{BehindIsNotDowntime: true}, 0, 0, 0},
		{"behind a parent, then by itself", "ubbddu", Counting{BehindIsNotDowntime: true}, 1, 2, 4},
		{"by itself, and behind a parent for a while", "udbbddu", Counting{BehindIsNotDowntime: true}, 1, 3, 2},
	} {
		f := test.counting.Tally(slices.Values(tale(test.tale)), 1, Instant(len(test.tale)+1))
		if f.Outages != test.outages || f.Longest != test.longest*time.Microsecond || f.LastOutage != test.last {
			t.Errorf("%s: %s has %d outages, the longest %v, the last at %d", test.rule, test.tale, f.Outages, f.Longest, f.LastOutage)
		}
	}
}

func TestShares(t *testing.T) {
	const text = "uuuuuuggdddbb??????p"
	for _, test := range []struct {
		name         string
		counting     Counting
		up, of, down time.Duration
	}{
		{"by default", Counting{}, 8, 13, 5},
		{"degraded is down", Counting{DegradedIsDown: true}, 6, 13, 7},
		{"unknown is down", Counting{UnknownIsDown: true}, 8, 19, 11},
		{"behind a parent is not", Counting{BehindIsNotDowntime: true}, 8, 11, 3},
		{"all at once", Counting{DegradedIsDown: true, UnknownIsDown: true, BehindIsNotDowntime: true}, 6, 17, 11},
	} {
		f := test.counting.Tally(slices.Values(tale(text)), -9, Instant(len(text)+1))
		if up, of := f.Counted(); up != test.up*time.Microsecond || of != test.of*time.Microsecond || f.Downtime() != test.down*time.Microsecond {
			t.Errorf("%s: %v of %v, %v down", test.name, up, of, f.Downtime())
		}
		if seen, ok := f.Coverage(); !ok || seen != 13.0/29 || f.Outside != 10*time.Microsecond {
			t.Errorf("%s: coverage %g (%t), %v outside", test.name, seen, ok, f.Outside)
		}
	}
	none := Tally(slices.Values(tale("???")), 1, 4)
	if _, ok := none.Uptime(); ok {
		t.Error("nothing was seen, but there is an uptime")
	}
}

func drawTale(t *rapid.T) string {
	var text []byte
	for range rapid.IntRange(0, 8).Draw(t, "spans") {
		letter := rapid.SampledFrom([]byte("uuugddb?p")).Draw(t, "status")
		for range rapid.IntRange(1, 5).Draw(t, "length") {
			text = append(text, letter)
		}
	}
	return string(text)
}

func drawCounting(t *rapid.T) Counting {
	flag := func(name string) bool { return rapid.Bool().Draw(t, name) }
	return Counting{DegradedIsDown: flag("degraded is down"), UnknownIsDown: flag("unknown is down"), BehindIsNotDowntime: flag("behind is not downtime")}
}

func drawWindow(t *rapid.T, text string) (from, to Instant) {
	from = Instant(rapid.IntRange(-3, len(text)+3).Draw(t, "from"))
	return from, from + Instant(rapid.IntRange(0, len(text)+6).Draw(t, "window"))
}

func notUp(spans []Span) []Span {
	return slices.DeleteFunc(slices.Clone(spans), func(s Span) bool { return s.Status == Up })
}

func TestAnyTallyIsWhatAPatientReaderCounts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text, c := drawTale(t), drawCounting(t)
		from, to := drawWindow(t, text)
		got, want := c.Tally(slices.Values(tale(text)), from, to), c.count(text, from, to)
		if got != want {
			t.Fatalf("%q [%d, %d):\n got %+v\nwant %+v", text, from, to, got, want)
		}
		if sum := got.Up + got.Degraded + got.Down + got.Unknown + got.Maintenance + got.Paused; sum != got.Window() {
			t.Fatalf("%q sums to %v, not %v", text, sum, got.Window())
		}
	})
}

func TestSpansThatAreNotUpSayItAll(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text, c := drawTale(t), drawCounting(t)
		from := Instant(rapid.IntRange(-3, len(text)+1).Draw(t, "from"))
		to := Instant(rapid.IntRange(int(from), len(text)+1).Draw(t, "to")) // what lies ahead is not asked for
		spans := tale(text)
		if n := len(spans); n > 0 {
			spans[n-1].End = 0 // it lives
		} else {
			to = min(to, 1) // it never lived
		}
		touching := slices.DeleteFunc(notUp(spans), func(s Span) bool { return s.Begin >= to || s.End != 0 && s.End <= from })
		got := c.Tally(Tile(slices.Values(touching), 0, max(1, from), to), from, to)
		want := c.Tally(slices.Values(spans), from, to)
		if got != want {
			t.Fatalf("%q [%d, %d):\n got %+v\nwant %+v", text, from, to, got, want)
		}
	})
}

func TestASeriesIsATallyOfEachWindow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text, c := drawTale(t), drawCounting(t)
		bounds := rapid.SliceOfN(rapid.Int64Range(-3, int64(len(text)+3)), 0, 6).Draw(t, "bounds")
		slices.Sort(bounds)
		bounds = slices.Compact(bounds)
		at := make([]Instant, len(bounds))
		for i, b := range bounds {
			at[i] = Instant(b)
		}
		series := c.Series(tale(text), at)
		for i := range len(at) - 1 {
			if want := c.Tally(slices.Values(tale(text)), at[i], at[i+1]); series[i] != want {
				t.Fatalf("%q [%d, %d):\n got %+v\nwant %+v", text, at[i], at[i+1], series[i], want)
			}
		}
		if len(series) != max(0, len(at)-1) {
			t.Fatalf("%d windows between %d bounds", len(series), len(at))
		}
	})
}

func TestTogether(t *testing.T) {
	for _, test := range []struct{ rule, devices, together string }{
		{"all up", "uuu uuu", "uuu"},
		{"one down is down", "uddu uuuu", "uddu"},
		{"down one after the other", "uduu uudu", "uddu"},
		{"not known of one is not known", "u?u uuu", "u?u"},
		{"down weighs more than not known", "u?u udu", "udu"},
		{"degraded less", "uggu uu?u", "ug?u"},
		{"behind a parent if none is down by itself", "ubbu uudu", "ubdu"},
		{"the paused are left out", "uppu uuuu", "uuuu"},
		{"unless all are", "uppu uupu", "uupu"},
	} {
		s := NewSweep(1, 100)
		for _, d := range fields(test.devices) {
			s.Add(tale(d))
		}
		want := tale(test.together)
		if got := s.Spans(); !alike(got, want) {
			t.Errorf("%s: %s gives %v, want %v", test.rule, test.devices, got, want)
		}
	}
	if spans := NewSweep(1, 100).Spans(); len(spans) != 0 {
		t.Errorf("no device: %v", spans)
	}
}

func fields(text string) (list []string) {
	for begin, i := 0, 0; i <= len(text); i++ {
		if i == len(text) || text[i] == ' ' {
			list, begin = append(list, text[begin:i]), i+1
		}
	}
	return list
}

func alike(a, b []Span) bool {
	return slices.EqualFunc(a, b, func(a, b Span) bool {
		return a.Begin == b.Begin && a.End == b.End && a.Status == b.Status && (a.Cause == CausePaused) == (b.Cause == CausePaused) && (a.Cause == CauseBehindParent) == (b.Cause == CauseBehindParent)
	})
}

func TestAnyFleet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := drawCounting(t)
		const length = 30
		var texts []string
		for range rapid.IntRange(1, 5).Draw(t, "devices") {
			texts = append(texts, drawTale(t))
		}
		from, to := drawWindow(t, texts[0])
		var mean Mean
		sweep := NewSweep(from, to)
		var up, of time.Duration
		for _, text := range texts {
			own := c.Tally(slices.Values(tale(text)), from, to)
			mean.Add(own)
			sweep.Add(tale(text))
			u, o := own.Counted()
			up, of = up+u, of+o
		}
		if mean.Up != (Total{}).Plus(up) || mean.Of != (Total{}).Plus(of) || mean.Devices != len(texts) {
			t.Fatalf("%q: %+v, want %v of %v", texts, mean, up, of)
		}
		// One microsecond after the other.
		rank := map[byte]int{'p': 1, 'u': 2, 'g': 3, '?': 4, 'b': 5, 'd': 6}
		var worst []byte
		for at := range length + 20 {
			w := byte(' ')
			for _, text := range texts {
				if at < len(text) && rank[text[at]] > rank[w] {
					w = text[at]
				}
			}
			worst = append(worst, w)
		}
		n := slices.Index(worst, ' ')
		if got, want := c.Tally(slices.Values(sweep.Spans()), from, to), c.count(string(worst[:n]), from, to); got.Up != want.Up || got.Degraded != want.Degraded || got.Down != want.Down ||
			got.Behind != want.Behind || got.Unknown != want.Unknown || got.Paused != want.Paused || got.Outages != want.Outages || got.Longest != want.Longest {
			t.Fatalf("%q [%d, %d):\n got %+v\nwant %+v", texts, from, to, got, want)
		}
	})
}

func TestTotalsDoNotEndAt292Years(t *testing.T) {
	var sum Total
	year := 365*24*time.Hour + 999_999*time.Microsecond
	for range 1000 {
		sum = sum.Plus(year)
	}
	if sum != (Total{Seconds: 1000*365*24*3600 + 999, Micros: 999_000}) {
		t.Errorf("1,000 years are %+v", sum)
	}
	if mean := sum.Mean(1000); mean != (Total{Seconds: 365 * 24 * 3600, Micros: 999_999}) {
		t.Errorf("their mean is %v, not %v", mean, year)
	}
	if mean := sum.Mean(1); mean != sum { // one outage in 1,000 years
		t.Errorf("their mean is %v, not %v", mean, sum)
	}
	if (Total{}).Mean(0) != (Total{}) {
		t.Error("the mean of nothing")
	}
}

func TestAnyMeter(t *testing.T) {
	hour := Instant(MeterHour / time.Microsecond)
	rapid.Check(t, func(t *rapid.T) {
		// A tale whose microseconds are a third of an hour, and not quite.
		text := strings.Repeat(drawTale(t), rapid.IntRange(1, 12).Draw(t, "again"))
		unit := hour/3 + Instant(rapid.Int64Range(-1, 1).Draw(t, "skew"))
		spans := tale(text)
		if len(spans) == 0 {
			return
		}
		born := Instant(rapid.Int64Range(1, int64(2*hour)).Draw(t, "born"))
		for i := range spans {
			spans[i].Begin, spans[i].End = born+spans[i].Begin*unit, born+spans[i].End*unit
		}
		last := &spans[len(spans)-1]
		if rapid.Bool().Draw(t, "it lives") {
			last.End = 0
		}

		// Built in two goes, it is what it is in one.
		kept := slices.Collect(Readings(Meter{}, slices.Values(spans)))
		for i := 1; i < len(kept); i++ {
			if kept[i].At <= kept[i-1].At || kept[i].At%hour != 0 {
				t.Fatalf("readings at %v", kept)
			}
		}
		some := rapid.IntRange(0, len(spans)).Draw(t, "spans of the first go")
		first := slices.Collect(Readings(Meter{}, slices.Values(spans[:some])))
		from := Meter{}
		if n := len(first); n > 0 {
			from = first[n-1]
		}
		if len(kept) > (len(spans)-1)/(MeterSpans-1) {
			t.Fatalf("%d readings of %d spans", len(kept), len(spans))
		}
		since := slices.DeleteFunc(slices.Clone(spans), func(s Span) bool { return s.End != 0 && s.End <= from.At })
		if again := slices.AppendSeq(first, Readings(from, slices.Values(since))); !slices.Equal(again, kept) {
			t.Fatalf("in two goes (%d spans first)\n%+v\nin one\n%+v", some, again, kept)
		}

		// A difference of two readings is a Tally.
		read := func(at Instant) Meter {
			m := Meter{}
			for _, k := range kept {
				if k.At <= at {
					m = k
				}
			}
			return m.Read(slices.Values(spans), at)
		}
		end := born + Instant(len(text)+3)*unit
		a := Instant(rapid.Int64Range(0, int64(end)).Draw(t, "from"))
		b := Instant(rapid.Int64Range(int64(a), int64(end)).Draw(t, "to"))
		resumed := false
		for _, s := range spans {
			if (s.End == 0 || s.End > a) && s.Begin < b && s.Status != Unknown {
				resumed = s.Status == Down && a < b
				break
			}
		}
		want := Tally(slices.Values(spans), a, b)
		want.Longest, want.LastOutage, want.Ongoing = 0, 0, false
		if got := read(b).Since(read(a), resumed); got != want {
			t.Fatalf("%v [%d, %d):\n got %+v\nwant %+v", spans, a, b, got, want)
		}
	})
}

func ExampleCounting() {
	// A switch in a cellar over 20 µs: u is up, g degraded, d down, b down
	// behind its parent, ? not seen.
	spans := tale("uuuuuuggdddbb???uuuu")
	for _, c := range []Counting{{}, {DegradedIsDown: true}, {UnknownIsDown: true}, {BehindIsNotDowntime: true}} {
		f := c.Tally(slices.Values(spans), 1, 21)
		up, of := f.Counted()
		fmt.Println(up, "of", of, "in", f.Outages, "outage")
	}
	// Output:
	// 12µs of 17µs in 1 outage
	// 10µs of 17µs in 1 outage
	// 12µs of 20µs in 1 outage
	// 12µs of 15µs in 1 outage
}

func BenchmarkSweep(b *testing.B) {
	// 5,000 devices over a year, each 200 times not up.
	var tracks [][]Span
	const year = Instant(365 * 24 * time.Hour / time.Microsecond)
	for d := range 5000 {
		var spans []Span
		at := Instant(1)
		for i := range 400 {
			s := Span{Status: Up, Begin: at, End: year/400*Instant(i) + Instant(d*7919) + 2}
			if i%2 == 1 {
				s.Status = Down
			}
			at = s.End
			spans = append(spans, s)
		}
		tracks = append(tracks, spans)
	}
	for b.Loop() {
		s := NewSweep(1, year)
		for _, spans := range tracks {
			s.Add(spans)
		}
		s.Spans()
	}
}
