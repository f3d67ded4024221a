package message

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// The manual lists every value and shows every built-in template as it is.
func TestTheManualIsTrue(t *testing.T) {
	const file = "../docs/templates.md"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	head, _, _ := strings.Cut(string(text), "## What they can say\n")
	want := head + "## What they can say\n\n" + manual()
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if string(text) != want {
		t.Errorf("%s does not say what there is; go test ./message -update writes it", file)
	}
}

func manual() string {
	var b strings.Builder
	table := func(one bool) {
		b.WriteString("| | for example | |\n|---|---|---|\n")
		for _, v := range Values {
			if v.One == one {
				fmt.Fprintf(&b, "| `%s` | %s | %s |\n", v.Name, v.Example, v.Means)
			}
		}
	}
	b.WriteString("Of the message:\n\n")
	table(false)
	b.WriteString("\nOf one incident: inside of `{{#incidents}}` each has its own, outside they are those of the first, the worst:\n\n")
	table(true)
	b.WriteString("\n## The built-in ones\n\nThe first line is the title.\n")
	for _, event := range Events {
		text, err := builtin.ReadFile("builtin/" + event + ".mustache")
		if err != nil {
			panic(err)
		}
		fmt.Fprintf(&b, "\n### %s\n\n```mustache\n%s```\n", event, text)
	}
	return b.String()
}
