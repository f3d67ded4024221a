package maintenance

import (
	"os"
	"strings"
	"testing"
	"time"

	"sereno"
)

// The tables of the manual are as it is.
func TestTheManual(t *testing.T) {
	text, err := os.ReadFile("../docs/maintenance.md")
	if err != nil {
		t.Fatal(err)
	}
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	rules, nights := 0, 0
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		for i := range cells {
			cells[i] = strings.Trim(strings.TrimSpace(cells[i]), "`")
		}
		switch {
		case len(cells) == 3 && strings.HasPrefix(cells[1], "2026-"):
			rules++
			c, err := window(cells[0], cells[1], "Europe/Berlin", time.Hour).Compile()
			if err != nil {
				t.Errorf("%s: %v", line, err)
				continue
			}
			start, err := time.ParseInLocation("2006-01-02T15:04", cells[1], berlin)
			if err != nil {
				t.Fatal(err)
			}
			if _, _, in := c.At(sereno.At(start)); !in {
				t.Errorf("%s: its start is no occurrence", line)
			}
		case len(cells) == 5 && strings.Contains(cells[2], "–"):
			nights++
			length, err := time.ParseDuration(cells[1])
			if err != nil {
				t.Fatal(err)
			}
			for i, day := range []string{"2026-06-10", "2026-03-29", "2026-10-25"} {
				// What begins late in the evening is the night before.
				begins, err := time.Parse("2006-01-02T15:04", day+"T"+cells[0])
				if err != nil {
					t.Fatal(err)
				}
				if begins.Hour() >= 12 {
					begins = begins.AddDate(0, 0, -1)
				}
				c := compile(t, window("", begins.Format("2006-01-02T15:04"), "Europe/Berlin", length))
				begin, end, _ := c.Next(0)
				layout := "15:04 MST"
				if i == 0 {
					layout = "15:04"
				}
				got := begin.Time().In(berlin).Format("15:04") + "–" + end.Time().In(berlin).Format(layout)
				want, more, _ := strings.Cut(cells[2+i], ", ")
				if got != want {
					t.Errorf("%s for %s on %s is %s, the manual says %s", cells[0], length, day, got, want)
				}
				if hours, ok := strings.CutSuffix(more, " h"); ok && end.Sub(begin).String() != hours+"h0m0s" {
					t.Errorf("%s for %s on %s is %s, the manual says %s", cells[0], length, day, end.Sub(begin), more)
				}
			}
		}
	}
	if rules != 9 || nights != 7 {
		t.Errorf("the manual has %d rules and %d nights", rules, nights)
	}
}
