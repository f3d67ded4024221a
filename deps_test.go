package sereno_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// layers is the house, bottom first. A package may import those on lower lines
// and itself; two packages of one line do not know each other. "x/*" stands for
// every folder directly in x that has no line of its own.
const layers = `
	.
	probe clock vantage resolve sheet notify match message event
	probe/* notify/* maintenance
	probe/all notify/all
	schedule ledger alert
	store samples spool
	store/migration
	store/storetest
	prometheus prometheus/remote export report backup doctor deadman peer
	config
	api
	app
	cmd/*
`

// free may import anything, and is imported by tests and commands alone.
var free = []string{"lab", "bench", "probe/probetest", "notify/notifytest", "store/postgrestest"}

func TestLayers(t *testing.T) {
	line := map[string]int{}
	for i, row := range strings.Split(strings.TrimSpace(layers), "\n") {
		for name := range strings.FieldsSeq(row) {
			line[name] = i
		}
	}
	place := func(pkg string) (int, bool) {
		if i, ok := line[pkg]; ok {
			return i, true
		}
		dir, _, nested := strings.Cut(pkg, "/")
		i, ok := line[dir+"/*"]
		return i, nested && ok && strings.Count(pkg, "/") == 1
	}
	isFree := func(pkg string) bool {
		return slices.ContainsFunc(free, func(f string) bool { return pkg == f || strings.HasPrefix(pkg, f+"/") })
	}
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "./...").Output()
	if err != nil {
		t.Fatal(err)
	}
	for row := range strings.Lines(string(out)) {
		fields := strings.Fields(row)
		pkg := short(fields[0])
		if isFree(pkg) {
			continue
		}
		at, ok := place(pkg)
		if !ok {
			t.Errorf("%s stands on no line of the house: give it a place in deps_test.go and ARCHITECTURE.md, or another home", pkg)
			continue
		}
		for _, path := range fields[1:] {
			if path != "sereno" && !strings.HasPrefix(path, "sereno/") {
				continue
			}
			imported := short(path)
			if isFree(imported) {
				if !strings.HasPrefix(pkg, "cmd/") {
					t.Errorf("%s imports %s, which is for tests and commands", pkg, imported)
				}
				continue
			}
			if to, ok := place(imported); ok && to >= at && imported != pkg {
				t.Errorf("%s imports %s, which stands on the same line or above", pkg, imported)
			}
		}
	}
}

func short(path string) string {
	if path == "sereno" {
		return "."
	}
	return strings.TrimPrefix(path, "sereno/")
}
