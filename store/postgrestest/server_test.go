package postgrestest_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"sereno/store/postgrestest"
)

// TestVersion says on what the suite runs.
func TestVersion(t *testing.T) {
	version := postgrestest.Version(t)
	t.Log(version)
	if !strings.HasPrefix(version, "PostgreSQL 18.") && os.Getenv("SERENO_TEST_POSTGRES") == "" {
		t.Errorf("the tests run on %s, not on PostgreSQL 18", version)
	}
}

func TestEveryTestHasItsDatabase(t *testing.T) {
	first, second := postgrestest.Database(t), postgrestest.Database(t)
	run(t, first, `CREATE TABLE mine (id INT)`)
	run(t, second, `CREATE TABLE mine (id INT)`)
	run(t, first, `SELECT 1 / (CASE WHEN 'a' < 'B' THEN 1 ELSE 0 END)`) // not bytewise
}

func run(t *testing.T, url, text string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(t.Context(), text); err != nil {
		t.Fatal(err)
	}
}

func TestAServerIsMistreated(t *testing.T) {
	s := postgrestest.Start(t)
	url := s.Database(t)
	run(t, url, `CREATE TABLE kept (id INT)`)
	for _, end := range []func(){s.Kill, s.Stop} {
		end()
		if conn, err := pgx.Connect(t.Context(), url); err == nil {
			conn.Close(t.Context())
			t.Fatal("a server that has ended answers")
		}
		s.Start(t)
		run(t, url, `SELECT * FROM kept`)
	}

	s.Pause(t)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if conn, err := pgx.Connect(ctx, url); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a server that stands still gives %v, %v", conn, err)
	}
	s.Resume(t)
	run(t, url, `SELECT * FROM kept`)
}

// TestNothingIsLeft kills a process that uses a server and looks for what it
// leaves.
func TestNothingIsLeft(t *testing.T) {
	cmd := exec.Command(os.Args[0], "-test.run=^TestNothingIsLeftChild$", "-test.v=false")
	postgrestest.Version(t)                         // or be skipped
	folder, err := os.MkdirTemp("", "sereno-left-") // not the test's own, which nobody may pass through
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(folder)
	if err := os.Chmod(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd.Env = append(os.Environ(), "SERENO_POSTGRES_CHILD=yes", "TMPDIR="+folder)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said := make([]byte, len("running"))
	if _, err := out.Read(said); err != nil || !bytes.Equal(said, []byte("running")) {
		t.Fatalf("the child has no PostgreSQL: %q, %v", said, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		left, err := fs.Glob(os.DirFS(folder), "*")
		if err != nil {
			t.Fatal(err)
		}
		if len(left) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%v is left", left)
		}
	}
}

// TestNothingIsLeftChild is the process of TestNothingIsLeft.
func TestNothingIsLeftChild(t *testing.T) {
	if os.Getenv("SERENO_POSTGRES_CHILD") == "" {
		return // it is a part of TestNothingIsLeft, which starts it
	}
	postgrestest.Database(t)
	os.Stdout.WriteString("running")
	select {}
}
