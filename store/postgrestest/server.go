// Package postgrestest gives tests a real PostgreSQL 18: fetched once, started
// as an unprivileged user on a loopback port, and gone with the test process,
// however that ends.
//
//	url := postgrestest.Database(t)  // an empty database of its own
//
//	server := postgrestest.Start(t)  // a server of its own, to be mistreated
//	url := server.Database(t)
//	server.Kill()
//	server.Start()
//
// Where it cannot be had the test is skipped, unless it runs as root: there
// that is a failure.
package postgrestest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// The role that owns everything, and its password.
const (
	User     = "sereno"
	Password = "correct horse/battery?staple"
)

// patience is how long a server may take to start or to stop, on a machine
// that is busy with other tests.
const patience = 60 * time.Second

// shared is the server that all tests of a process use which do not mistreat
// it. It ends with the process.
var shared = sync.OnceValues(func() (*Server, error) {
	// A test process that dies loses nothing that the kernel has.
	return start("fsync=off", "full_page_writes=off")
})

// Database returns the address of a new, empty database on a server that other
// tests use too. It is dropped when the test ends.
func Database(tb testing.TB) string {
	tb.Helper()
	s, err := shared()
	unavailable(tb, err)
	return s.Database(tb)
}

// Version is what the server says it is: "PostgreSQL 18.4 on …".
func Version(tb testing.TB) string {
	tb.Helper()
	s, err := shared()
	unavailable(tb, err)
	return s.Query(tb, "postgres", "SELECT version()")
}

// Start starts a server that only this test uses. Each setting is a line of
// postgresql.conf, such as "max_connections=5". It is stopped when the test
// ends.
func Start(tb testing.TB, settings ...string) *Server {
	tb.Helper()
	s, err := start(settings...)
	unavailable(tb, err)
	tb.Cleanup(s.end)
	return s
}

func unavailable(tb testing.TB, err error) {
	tb.Helper()
	if err == nil {
		return
	}
	if os.Getuid() == 0 {
		tb.Fatalf("no PostgreSQL: %v", err)
	}
	tb.Skipf("no PostgreSQL: %v", err)
}

// A Server is one PostgreSQL with a data folder of its own. It is used by one
// goroutine at a time.
type Server struct {
	folder string // holds data/ and log
	home   string // of the programs
	port   int
	fresh  bool // nobody knows the port yet
	cmd    *exec.Cmd
	exited chan struct{} // closed when cmd has ended
	watch  *os.File      // when it closes, the watcher ends the server and removes the folder
	ended  chan struct{} // closed when the watcher has done so
}

func start(settings ...string) (*Server, error) {
	home, err := install()
	if err != nil {
		return nil, err
	}
	folder, err := os.MkdirTemp("", "sereno-postgres-")
	if err != nil {
		return nil, err
	}
	s := &Server{folder: folder, home: home, fresh: true}
	if err := s.watchOver(); err != nil {
		os.RemoveAll(folder)
		return nil, err
	}
	if err := s.initialise(settings); err != nil {
		s.end()
		return nil, err
	}
	if err := s.start(); err != nil {
		s.end()
		return nil, err
	}
	return s, nil
}

// watchOver starts a process that outlives this one: it waits until the pipe
// closes, on purpose or because this process died, then ends the server and
// removes the folder.
func (s *Server) watchOver() error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	watcher := exec.Command("sh", "-c", `
		read -r _
		pid=$(head -n 1 "$0/data/postmaster.pid" 2>/dev/null)
		ours() { [ -n "$pid" ] && [ "$(readlink "/proc/$pid/cwd")" = "$0/data" ]; }
		if ours; then
			kill -QUIT "$pid"; kill -CONT "$pid"
			for i in 1 2 3 4 5 6 7 8 9 10; do ours || break; sleep 0.1; done
			ours && kill -KILL "$pid"
		fi
		for i in 1 2 3 4 5 6 7 8 9 10; do rm -rf "$0" 2>/dev/null && break; sleep 0.1; done`, s.folder)
	watcher.Stdin = r
	watcher.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // so that ^C leaves it its work
	if err := watcher.Start(); err != nil {
		w.Close()
		return err
	}
	s.watch, s.ended = w, make(chan struct{})
	go func() {
		defer close(s.ended)
		_ = watcher.Wait() // it has nobody to tell how it went
	}()
	return nil
}

func (s *Server) end() {
	s.watch.Close()
	<-s.ended
}

// owner is who runs the server: this user, or nobody for root, as whom
// PostgreSQL refuses to run.
func (s *Server) owner() *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setpgid: true}
	if os.Getuid() == 0 {
		attr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
	}
	return attr
}

const nobody = 65534

func (s *Server) data() string { return filepath.Join(s.folder, "data") }

func (s *Server) initialise(settings []string) error {
	secret := filepath.Join(s.folder, "password")
	if err := os.WriteFile(secret, []byte(Password+"\n"), 0o600); err != nil {
		return err
	}
	if os.Getuid() == 0 {
		for _, path := range []string{s.folder, secret} {
			if err := os.Chown(path, nobody, nobody); err != nil {
				return err
			}
		}
	}
	// A collation that is not bytewise, as most servers have it, so that a
	// query that relies on the order of names has to say which.
	initdb := exec.Command(filepath.Join(s.home, "bin", "initdb"), "--pgdata", s.data(), "--username", User, "--pwfile", secret,
		"--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C", "--locale-provider", "icu", "--icu-locale", "en-US", "--no-sync")
	initdb.SysProcAttr, initdb.Dir, initdb.Env = s.owner(), s.folder, s.environ()
	if out, err := initdb.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	conf, err := os.OpenFile(filepath.Join(s.data(), "postgresql.conf"), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	defer conf.Close()
	_, err = fmt.Fprintf(conf, "\nlisten_addresses='127.0.0.1'\nunix_socket_directories=''\nmax_connections=200\nlogging_collector=off\n%s\n",
		strings.Join(settings, "\n"))
	return err
}

func (s *Server) environ() []string {
	return []string{"LD_LIBRARY_PATH=" + filepath.Join(s.home, "lib"), "PATH=" + os.Getenv("PATH"), "LC_ALL=C", "TZ=UTC"}
}

// start starts the server and waits until it takes connections. It tries again
// when somebody was faster at the port, or when processes of a server that was
// killed are still about to end.
func (s *Server) start() error {
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		said, err := s.launch()
		if err == nil {
			return nil
		}
		taken := strings.Contains(said, "Address already in use")
		if taken && s.fresh {
			s.port = 0
		}
		if !taken && !strings.Contains(said, "is still in use") || time.Now().After(deadline) {
			return fmt.Errorf("%w\n%s", err, said)
		}
	}
}

// launch tries once, and returns what the server said meanwhile.
func (s *Server) launch() (said string, err error) {
	if s.port == 0 {
		if s.port, err = freePort(); err != nil {
			return "", err
		}
	}
	log, err := os.OpenFile(filepath.Join(s.folder, "log"), os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return "", err
	}
	defer log.Close()
	before, err := log.Seek(0, io.SeekEnd)
	if err != nil {
		return "", err
	}
	cmd, exited := exec.Command(filepath.Join(s.home, "bin", "postgres"), "-D", s.data(), "-p", strconv.Itoa(s.port)), make(chan struct{})
	cmd.SysProcAttr, cmd.Dir, cmd.Env = s.owner(), s.data(), s.environ()
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return "", err
	}
	go func() {
		defer close(exited)
		_ = cmd.Wait() // killed as often as not
	}()
	s.cmd, s.exited = cmd, exited
	if err := s.ready(); err != nil {
		text, _ := io.ReadAll(io.NewSectionReader(log, before, 1<<20))
		return string(text), err
	}
	s.fresh = false
	return "", nil
}

func (s *Server) ready() error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		conn, err := pgx.Connect(ctx, s.URL("postgres"))
		if err == nil {
			// Whoever answers at the port may be another test's.
			var folder string
			err = conn.QueryRow(ctx, `SHOW data_directory`).Scan(&folder)
			conn.Close(ctx)
			if err == nil && folder == s.data() {
				return nil
			}
		}
		select {
		case <-s.exited:
			return errors.New("PostgreSQL ended at its start")
		case <-ctx.Done():
			return fmt.Errorf("PostgreSQL does not start: %w", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func freePort() (int, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).Port, nil
}

// URL is the address of a database of this server, which need not exist.
func (s *Server) URL(database string) string {
	return (&url.URL{
		Scheme: "postgres", User: url.UserPassword(User, Password),
		Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)), Path: "/" + database,
	}).String()
}

// Database makes an empty database and returns its address. It is dropped when
// the test ends.
func (s *Server) Database(tb testing.TB) string {
	tb.Helper()
	name := "test_" + strings.ToLower(rand.Text())
	s.Exec(tb, "postgres", "CREATE DATABASE "+name+" TEMPLATE template0")
	tb.Cleanup(func() {
		// The test may have left the server dead, and its folder goes anyway.
		if conn, err := pgx.Connect(context.Background(), s.URL("postgres")); err == nil {
			defer conn.Close(context.Background())
			_, _ = conn.Exec(context.Background(), "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)")
		}
	})
	return s.URL(name)
}

// Exec runs statements in a database, each by itself.
func (s *Server) Exec(tb testing.TB, database string, statements ...string) {
	tb.Helper()
	conn := s.connect(tb, database)
	defer conn.Close(context.Background())
	for _, text := range statements {
		if _, err := conn.Exec(context.Background(), text); err != nil {
			tb.Fatalf("%s: %v", text, err)
		}
	}
}

// Query returns the one value of a query as text.
func (s *Server) Query(tb testing.TB, database, text string) (value string) {
	tb.Helper()
	conn := s.connect(tb, database)
	defer conn.Close(context.Background())
	if err := conn.QueryRow(context.Background(), text).Scan(&value); err != nil {
		tb.Fatalf("%s: %v", text, err)
	}
	return value
}

// Hold runs a statement in a transaction of a database, and leaves that open
// until release is called.
func (s *Server) Hold(tb testing.TB, database, text string) (release func()) {
	tb.Helper()
	conn := s.connect(tb, database)
	for _, t := range []string{"BEGIN", text} {
		if _, err := conn.Exec(context.Background(), t); err != nil {
			tb.Fatalf("%s: %v", t, err)
		}
	}
	return func() { conn.Close(context.Background()) }
}

// Set writes a setting, a line of postgresql.conf, that the server has from its
// next start on. It goes over what ALTER SYSTEM said.
func (s *Server) Set(tb testing.TB, setting string) {
	tb.Helper()
	conf, err := os.OpenFile(filepath.Join(s.data(), "postgresql.auto.conf"), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		tb.Fatal(err)
	}
	defer conf.Close()
	if _, err := fmt.Fprintf(conf, "\n%s\n", setting); err != nil {
		tb.Fatal(err)
	}
}

func (s *Server) connect(tb testing.TB, database string) *pgx.Conn {
	tb.Helper()
	conn, err := pgx.Connect(context.Background(), s.URL(database))
	if err != nil {
		tb.Fatalf("connect to the test's PostgreSQL: %v", err)
	}
	return conn
}

// Kill ends the server and all of its processes at once, as kill -9 does.
func (s *Server) Kill() {
	for _, pid := range s.processes() {
		_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended already
	}
	<-s.exited
}

// Stop ends the server in order, without waiting for its clients.
func (s *Server) Stop() {
	_ = s.cmd.Process.Signal(syscall.SIGINT) // it may have ended already
	<-s.exited
}

// Start starts the server again on the same port, after Kill or Stop, and
// waits until it takes connections.
func (s *Server) Start(tb testing.TB) {
	tb.Helper()
	if err := s.start(); err != nil {
		tb.Fatal(err)
	}
}

// Pause lets every process of the server stand still: connections stay open
// and nothing answers. Resume ends it.
func (s *Server) Pause(tb testing.TB) { s.toAll(tb, syscall.SIGSTOP) }

// Resume lets a server that was paused go on.
func (s *Server) Resume(tb testing.TB) { s.toAll(tb, syscall.SIGCONT) }

func (s *Server) toAll(tb testing.TB, sig syscall.Signal) {
	tb.Helper()
	for i, pid := range s.processes() {
		if err := syscall.Kill(pid, sig); err != nil && i == 0 { // children come and go
			tb.Fatal(err)
		}
	}
}

// processes are the server and its children, each of which leads a group of
// its own.
func (s *Server) processes() []int {
	pid := s.cmd.Process.Pid
	all := []int{pid}
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return all // it has ended, or there is no /proc
	}
	for field := range strings.FieldsSeq(string(children)) {
		if child, err := strconv.Atoi(field); err == nil {
			all = append(all, child)
		}
	}
	return all
}
