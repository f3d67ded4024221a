package all

import (
	"encoding/json"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"

	"sereno"
	"sereno/notify"
)

func TestEveryKindHasItsOwnNameAndAPage(t *testing.T) {
	table, err := os.ReadFile("../../docs/channels/README.md")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, k := range Kinds() {
		name := k.Name()
		if name == "" || slices.Contains(names, name) {
			t.Errorf("two kinds are called %q", name)
		}
		names = append(names, name)
		if _, err := os.Stat("../../docs/channels/" + name + ".md"); err != nil {
			t.Errorf("%s has no page: %v", name, err)
		}
		if !strings.Contains(string(table), "("+name+".md)") {
			t.Errorf("docs/channels/README.md does not lead to the page of %s", name)
		}
		if _, err := k.Open(json.RawMessage(`{"no-such-setting": 1}`), notify.Options{Log: slog.New(slog.DiscardHandler)}); sereno.KindOf(err) != sereno.Invalid {
			t.Errorf("%s takes a setting that it does not have: %v", name, err)
		}
	}
}
