package webhook

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sereno/notify"
	"sereno/notify/notifytest"
)

// TestTheReceiverOfTheManual runs the program of docs/channels/webhook.md, which
// shares nothing with this one but the page, and sends to it.
func TestTheReceiverOfTheManual(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("there is no python3")
	}
	page, err := os.ReadFile("../../docs/channels/webhook.md")
	if err != nil {
		t.Fatal(err)
	}
	_, program, ok := strings.Cut(string(page), "```python\n")
	program, _, closed := strings.Cut(program, "```\n")
	if !ok || !closed {
		t.Fatal("the page has no program")
	}
	file := filepath.Join(t.TempDir(), "hook.py")
	if err := os.WriteFile(file, []byte(program), 0o600); err != nil {
		t.Fatal(err)
	}
	run := exec.CommandContext(t.Context(), python, file, "0")
	run.Env = append(os.Environ(), "HOOK_SECRET="+secret)
	var complaints bytes.Buffer
	run.Stderr = &complaints
	out, err := run.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { run.Process.Kill(); run.Wait() }()
	lines := bufio.NewScanner(out)
	next := func() string {
		t.Helper()
		if !lines.Scan() {
			t.Fatalf("it ended: %s", complaints.String())
		}
		return lines.Text()
	}
	var port int
	if _, err := fmt.Sscanf(next(), "listening on %d", &port); err != nil {
		t.Fatal(err)
	}
	base := fmt.Sprintf("http://127.0.0.1:%d/hook", port)
	settings := func(secret string) string {
		s, _ := json.Marshal(map[string]string{"url": base, "secret": secret})
		return string(s)
	}

	genuine := open(t, settings(secret))
	m := notifytest.Message(notify.Opened)
	m.Title, m.Text = "ö 👍 is down", "ö 👍 is down\n"
	for range 2 { // the second is a repetition, and is taken as one
		if err := genuine.Send(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	if got := next(); got != "opened ö 👍 is down" {
		t.Errorf("it says %q", got)
	}
	if got := next(); got != "" { // the text's own line end
		t.Errorf("it says %q", got)
	}
	if err := open(t, settings("another secret")).Send(t.Context(), m); err == nil || err.Error() != "401 Unauthorized: wrong signature" || notify.FailureOf(err).Class != notify.Refused {
		t.Errorf("a wrong secret: %v", err)
	}
	if err := open(t, fmt.Sprintf(`{"url": %q}`, base)).Send(t.Context(), m); err == nil || notify.FailureOf(err).Class != notify.Refused {
		t.Errorf("no secret: %v", err)
	}

	post := func(header http.Header, body []byte) int {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, base, bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header = header
		answer, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		io.Copy(io.Discard, answer.Body)
		return answer.StatusCode
	}
	m.Key = "another"
	body, old, err := genuine.write(m, time.Now().Add(-10*time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	if got := post(old, body); got != 401 {
		t.Errorf("a request of ten minutes ago is answered with %d", got)
	}
	_, header, err := genuine.write(m, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if got := post(header, bytes.Replace(body, []byte("down"), []byte("fine"), 1)); got != 401 {
		t.Errorf("a body that was changed is answered with %d", got)
	}
	if got := post(header, body); got != 200 {
		t.Errorf("the same, unchanged, is answered with %d: %s", got, complaints.String())
	}
	if got := next(); got != "opened ö 👍 is down" {
		t.Errorf("it says %q", got)
	}
}
