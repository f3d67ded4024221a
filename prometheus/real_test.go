package prometheus_test

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A real is a Prometheus of its own, with an empty configuration, that takes
// remote writes.
type real struct {
	t    *testing.T
	dir  string
	addr string
	cmd  *exec.Cmd
	said *bytes.Buffer
}

// startReal starts the Prometheus of this machine (Debian package prometheus).
// Without one the test is skipped, which CI takes for a failure when it could
// have installed it.
func startReal(t *testing.T) *real {
	t.Helper()
	if _, err := exec.LookPath("prometheus"); err != nil {
		t.Skip("NOT COMPARED: there is no prometheus on this machine to compare with (Debian package prometheus, apt-get install prometheus)")
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &real{t: t, dir: t.TempDir(), addr: ln.Addr().String()}
	ln.Close()
	if err := os.WriteFile(filepath.Join(p.dir, "prometheus.yml"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	p.start()
	t.Cleanup(p.kill)
	return p
}

func (p *real) start() {
	p.t.Helper()
	p.said = new(bytes.Buffer)
	p.cmd = exec.Command("prometheus", "--config.file="+filepath.Join(p.dir, "prometheus.yml"),
		"--storage.tsdb.path="+filepath.Join(p.dir, "data"), "--web.listen-address="+p.addr, "--web.enable-remote-write-receiver")
	p.cmd.Stdout, p.cmd.Stderr = p.said, p.said
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	for range 300 {
		if answer, err := http.Get(p.url("/-/ready")); err == nil {
			answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				return
			}
		}
		time.Sleep(100 * time.Millisecond)
	}
	p.kill()
	p.t.Fatalf("prometheus does not get ready:\n%s", p.said)
}

// kill ends it as kill -9 does.
func (p *real) kill() {
	if p.cmd != nil {
		p.cmd.Process.Kill()
		p.cmd.Wait()
		p.cmd = nil
	}
}

func (p *real) url(path string) string { return "http://" + p.addr + path }

func (p *real) version() string {
	said, err := exec.Command("prometheus", "--version").CombinedOutput()
	if err != nil {
		return err.Error()
	}
	first, _, _ := strings.Cut(string(said), "\n")
	return first
}

// eventually waits for what comes by itself.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for !is() {
		select {
		case <-ctx.Done():
			t.Fatalf("never %s", what)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
