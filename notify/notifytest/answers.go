package notifytest

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"sereno/notify"
)

// Answers tests that a kind understands what its far end answers over HTTP. Each
// line of the file is one answer, its columns divided by tabs: status,
// Retry-After, body; then what it means (taken, passing, unsure, refused), after how
// many seconds to come back, and a part of what a person is told. "-" is none; a
// line that begins with # is a remark.
func Answers(t *testing.T, k notify.Kind, settings func(base string) string, file string) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(string(text)) {
		line = strings.TrimRight(line, "\n")
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		columns := strings.Split(line, "\t")
		if len(columns) != 6 {
			t.Fatalf("%s: %q has not six columns", file, line)
		}
		for i, c := range columns {
			if c == "-" {
				columns[i] = ""
			}
		}
		n++
		t.Run(columns[0]+" "+columns[2], func(t *testing.T) { answer(t, k, settings, columns) })
	}
	if n == 0 {
		t.Errorf("%s has no answers", file)
	}
}

func answer(t *testing.T, k notify.Kind, settings func(base string) string, columns []string) {
	status, err := strconv.Atoi(columns[0])
	if err != nil {
		t.Fatal(err)
	}
	far := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if columns[1] != "" {
			w.Header().Set("Retry-After", columns[1])
		}
		w.WriteHeader(status)
		w.Write([]byte(columns[2]))
	}))
	defer far.Close()
	c, err := k.Open(json.RawMessage(settings(far.URL)), notify.Options{Agent: "sereno/test"})
	if err != nil {
		t.Fatal(err)
	}
	err = c.Send(t.Context(), Message(notify.Opened))
	verdict, after, says := columns[3], columns[4], columns[5]
	if err == nil || verdict == "taken" {
		if err != nil || verdict != "taken" {
			t.Errorf("the answer is %v, not %s", err, verdict)
		}
		return
	}
	f := notify.FailureOf(err)
	got := map[notify.Class]string{notify.Passing: "passing", notify.Refused: "refused"}[f.Class]
	if f.Unsure && got == "passing" {
		got = "unsure"
	}
	if got != verdict {
		t.Errorf("it is %s, not %s: %v", got, verdict, f)
	}
	wait := time.Duration(0)
	if after != "" {
		seconds, err := strconv.ParseFloat(after, 64)
		if err != nil {
			t.Fatal(err)
		}
		wait = time.Duration(seconds * float64(time.Second))
	}
	if f.After != wait {
		t.Errorf("come back after %s, not %s", f.After, wait)
	}
	if !strings.Contains(f.Text, says) {
		t.Errorf("%q does not say %q", f.Text, says)
	}
}
