// Package bench runs the real program and measures it from outside: processor
// time, memory, what it says of itself. Its commands and tests make the
// published figures.
package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A Server is one run of `sereno serve` on a free port of the loopback.
type Server struct {
	URL   string
	Began time.Time
	cmd   *exec.Cmd
	log   bytes.Buffer
	done  chan struct{}
	err   error
}

// Start runs binary with its store in data and the text of a configuration
// file, and returns when it answers. command makes the process: exec.Command,
// or one that puts it into a namespace. ask is how its API is reached.
func Start(ctx context.Context, binary, data, config string, command func(string, ...string) *exec.Cmd, ask *http.Client) (*Server, error) {
	file := filepath.Join(data, "sereno.yaml")
	if err := os.MkdirAll(data, 0o700); err != nil {
		return nil, err
	}
	port := 20000 + os.Getpid()%10000
	if old, err := os.ReadFile(file); err != nil || string(old) != config {
		if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
			return nil, err
		}
	}
	s := &Server{URL: fmt.Sprintf("http://127.0.0.1:%d", port), done: make(chan struct{})}
	s.cmd = command(binary, "serve", "--config", file, "--data", data, "--listen", s.URL[len("http://"):])
	s.cmd.Stdout, s.cmd.Stderr = io.Discard, &s.log
	s.Began = time.Now()
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(s.done)
		s.err = s.cmd.Wait()
	}()
	for {
		if _, err := s.Statistics(ctx, ask); err == nil {
			return s, nil
		}
		select {
		case <-ctx.Done():
			s.Kill()
			return nil, errors.Join(context.Cause(ctx), errors.New(s.log.String()))
		case <-s.done:
			return nil, fmt.Errorf("sereno ended: %v\n%s", s.err, s.log.String())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// PID is the process.
func (s *Server) PID() int { return s.cmd.Process.Pid }

// Signal sends it a signal.
func (s *Server) Signal(sig syscall.Signal) error { return s.cmd.Process.Signal(sig) }

// Kill ends it at once, and returns when it is gone.
func (s *Server) Kill() {
	_ = s.cmd.Process.Kill()
	<-s.done
}

// Stop asks it to end, and returns when it is gone.
func (s *Server) Stop() error {
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	<-s.done
	if s.err != nil {
		return fmt.Errorf("%w\n%s", s.err, s.log.String())
	}
	return nil
}

// Statistics is the part of GET /api/statistics that is measured.
type Statistics struct {
	Devices struct{ Total, Up, Degraded, Down, Unknown int }
	Looks   map[string]struct{ Answered, Lost, Faults uint64 }
	Queue   int `json:"queue_length"`

	IncidentsOpen int `json:"incidents_open"`
	Isolated      bool
}

// Taken returns how many looks were taken.
func (s Statistics) Taken() (n uint64) {
	for _, l := range s.Looks {
		n += l.Answered + l.Lost + l.Faults
	}
	return n
}

// Statistics asks for them.
func (s *Server) Statistics(ctx context.Context, ask *http.Client) (st Statistics, err error) {
	return st, s.Get(ctx, ask, "/api/statistics", &st)
}

// Get asks for a document.
func (s *Server) Get(ctx context.Context, ask *http.Client, path string, to any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+path, nil)
	if err != nil {
		return err
	}
	res, err := ask.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", path, res.Status)
	}
	return json.NewDecoder(res.Body).Decode(to)
}

// Metric returns the value of one metric, by its name and labels as written.
func (s *Server) Metric(ctx context.Context, ask *http.Client, name string) (float64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	res, err := ask.Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return strconv.ParseFloat(strings.TrimSpace(value), 64)
		}
	}
	return 0, fmt.Errorf("no metric %s", name)
}

// CPU returns the processor time, user and system, that a process has used.
func CPU(pid int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The name, in parentheses, may hold anything.
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	user, err1 := strconv.ParseInt(fields[11], 10, 64)
	system, err2 := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * (time.Second / 100), errors.Join(err1, err2)
}

// RSS returns the resident memory of a process in bytes.
func RSS(pid int) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0, err
	}
	pages, err := strconv.ParseInt(strings.Fields(string(text))[1], 10, 64)
	return pages * int64(os.Getpagesize()), err
}

// Loopback writes a configuration of n devices on 127.0.0.0/8, looked at once
// a second.
func Loopback(n int) string {
	var b strings.Builder
	b.WriteString("devices:\n")
	for i := range n {
		fmt.Fprintf(&b, "  - {name: host-%d, address: %s}\n", i, Address(i))
	}
	return b.String()
}

// Address returns the i-th address of the loopback range, from 127.1.0.0 on.
func Address(i int) string { return fmt.Sprintf("127.%d.%d.%d", 1+i>>16, i>>8&255, i&255) }

// Loopback4 is the same as an address.
func Loopback4(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{127, byte(1 + i>>16), byte(i >> 8), byte(i)})
}
