package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sereno/api"
)

// exports answers with three rows, and with a trailer that tells of said rows.
func exports(said int, then func()) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", api.RowsTrailer)
		for i := range 3 {
			fmt.Fprintf(w, "%d,up\r\n", i)
		}
		w.(http.Flusher).Flush()
		if then != nil {
			then()
		}
		if said >= 0 {
			w.Header().Set(api.RowsTrailer, fmt.Sprint(said))
		}
	}
}

func TestAnExportIsWrittenWholeOrNotAtAll(t *testing.T) {
	for _, story := range []struct {
		name   string
		handle http.HandlerFunc
		want   string // of the error
	}{
		{"whole", exports(3, nil), ""},
		{"the server breaks off", exports(3, func() { panic(http.ErrAbortHandler) }), "the connection to the server broke off (its log may say more) after 3 lines: what was written is not the whole"},
		{"somebody in between closes it in order", exports(-1, nil), "broke off"},
	} {
		t.Run(story.name, func(t *testing.T) {
			dir := t.TempDir()
			file := filepath.Join(dir, "looks.csv")
			if err := os.WriteFile(file, []byte("of yesterday"), 0o600); err != nil {
				t.Fatal(err)
			}
			_, told, err := ask(t, story.handle, "export", "looks", "-o", file)
			text, e := os.ReadFile(file)
			if e != nil {
				t.Fatal(e)
			}
			if story.want == "" {
				if err != nil || string(text) != "0,up\r\n1,up\r\n2,up\r\n" || !strings.HasSuffix(told, "looks.csv is written: 3 rows\n") {
					t.Errorf("%v, file %q, told %q", err, text, told)
				}
			} else if err == nil || !strings.Contains(err.Error(), story.want) || string(text) != "of yesterday" {
				t.Errorf("%v, want %q; file %q", err, story.want, text)
			}
			if files, err := os.ReadDir(dir); err != nil || len(files) != 1 {
				t.Errorf("left behind: %v (%v)", files, err)
			}

			out, _, err := ask(t, story.handle, "export", "looks")
			if out != "0,up\r\n1,up\r\n2,up\r\n" || (err == nil) != (story.want == "") {
				t.Errorf("on standard output: %q, %v", out, err)
			}
		})
	}
}

func TestAnExportThatIsStoppedIsNoSuccess(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	server := httptest.NewServer(exports(3, func() { stop(); <-t.Context().Done() }))
	t.Cleanup(server.CloseClientConnections)
	var out bytes.Buffer
	root := newRoot(strings.NewReader(""), &out, &out)
	root.SetArgs([]string{"export", "looks", "--server", server.URL})
	err := root.ExecuteContext(ctx)
	if err == nil || errors.Is(err, errNegative) || !strings.Contains(err.Error(), "it was stopped after ") {
		t.Errorf("%v", err)
	}
}

func TestWhatExportsAndReportsAskFor(t *testing.T) {
	for _, story := range []struct{ args, want string }{
		{"export responses --wide --step 10s --format ndjson --zone Europe/Berlin", "/api/export/responses?format=ndjson&step_seconds=10&wide=true&zone=Europe%2FBerlin"},
		{"export Looks --json --tag site:a --device x/y", "/api/export/looks?device=x%2Fy&format=json&tag=site%3Aa"},
		{"export spans --from 2026-10-01T00:00:00Z", "/api/export/spans?format=csv&from=2026-10-01T00%3A00%3A00.000000Z"},
		{"report --period 2026-10 --behind exclude", "/api/report?behind=exclude&format=html&period=2026-10"},
		{"report --json", "/api/report?format=json"},
	} {
		asked := ""
		_, _, err := ask(t, func(_ http.ResponseWriter, r *http.Request) { asked = r.URL.String() }, strings.Fields(story.args)...)
		if err != nil || asked != story.want {
			t.Errorf("%s asks for %s (%v), want %s", story.args, asked, err, story.want)
		}
	}
	_, told, err := ask(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, `{"detail":"query.device: no device called \"x\" was watched"}`)
	}, "export", "looks")
	if !errors.Is(err, errNegative) || told != "sereno: --device: no device called \"x\" was watched\n" {
		t.Errorf("%v, %q", err, told)
	}
}

func TestProgress(t *testing.T) {
	p := progress{rows: 1_234_567, expected: 2_469_134}
	if got := p.line(time.Second); got != "1,234,567 rows  about 50 %  1,234,567 rows/s" {
		t.Error(got)
	}
	p = progress{rows: 10, expected: 5}
	if got := p.line(2 * time.Second); got != "10 rows  about 99 %  5 rows/s" {
		t.Error(got)
	}
	p = progress{}
	if got := p.line(0); got != "0 rows  0 rows/s" {
		t.Error(got)
	}
}
