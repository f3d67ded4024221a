package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sereno"
	"sereno/notify"
	"sereno/notify/notifytest"
)

const secret = "hunter2-of-the-program"

// script is a program that keeps what it takes in a folder of its own, and
// behaves as the file manner there says.
const script = `
dir=$1
read -r manner < "$dir/manner"
body=$(mktemp "$dir/body.XXXXXX")
cat > "$body"
case $manner in
takes | garbage)
	mv "$body" "$dir/taken.$(date +%s%N).${body##*.}"
	test "$manner" = takes || printf 'Welcome \033[31m to the \000 hotel\n'
	;;
hangs) sleep 600 ;;
trickles) while :; do printf .; sleep 0.02; done ;;
floods) while :; do echo 0123456789012345678901234567890123456789; done ;;
resets) kill -9 $$ ;;
busy | fails) echo "not now, $TOKEN"; exit 75 ;;
refuses) cat "$body"; env; printf '\342\200\256out\r\n'; exit 1 ;;
esac
`

type far struct {
	t   *testing.T
	dir string
	mu  sync.Mutex
}

func newFar(t *testing.T) notifytest.Far {
	f := &far{t: t, dir: t.TempDir()}
	if err := os.WriteFile(filepath.Join(f.dir, "far.sh"), []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
	f.Behave(notifytest.Takes)
	return f
}

func (f *far) Settings() string {
	s, _ := json.Marshal(map[string]any{
		"run": []string{"/bin/sh", filepath.Join(f.dir, "far.sh"), f.dir}, "env": map[string]string{"TOKEN": secret},
	})
	return string(s)
}

func (f *far) Behave(m notifytest.Manner) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := os.WriteFile(filepath.Join(f.dir, "manner"), []byte(m.String()+"\n"), 0o600); err != nil {
		f.t.Fatal(err)
	}
}

func (f *far) Taken() (taken []notifytest.Sent) {
	names, err := filepath.Glob(filepath.Join(f.dir, "taken.*"))
	if err != nil {
		f.t.Fatal(err)
	}
	slices.Sort(names)
	for _, name := range names {
		body, err := os.ReadFile(name)
		if err != nil {
			f.t.Fatal(err)
		}
		taken = append(taken, notifytest.Sent{Body: body})
	}
	return taken
}

func TestKind(t *testing.T) {
	notifytest.Run(t, Kind{}, notifytest.Fixture{
		Far:     newFar,
		Secrets: []string{secret},
		Bad: map[string]string{
			`{}`:                     "run: it is missing",
			`{"run": []}`:            "run: it is missing",
			`{"run": "/bin/true"}`:   "run: it is a list",
			`{"run": ["true"]}`:      "whole path",
			`{"run": ["/a\u0000b"]}`: "NUL",
			`{"rum": ["/bin/true"]}`: `did you mean "run"?`,
			`{"run": ["/bin/true"], "env": {"A=B": "x"}}`:             "env",
			`{"run": ["/bin/true"], "env": {"SERENO_DELIVERY": "x"}}`: "Sereno's own",
			`{"run": ["/bin/true"], "directory": "here"}`:             "directory: it is a whole path",
		},
		Without: []notifytest.Manner{notifytest.Redirects, notifytest.Gone},
		NoAfter: true,
		Shown: func(t *testing.T, part notifytest.Sent) string {
			if strings.Count(string(part.Body), "\n") != 1 || !strings.HasSuffix(string(part.Body), "\n") {
				t.Errorf("the input is not one line: %q", part.Body)
			}
			var d struct{ Title, Text string }
			if err := json.Unmarshal(part.Body, &d); err != nil {
				t.Fatalf("the input is no JSON: %v", err)
			}
			return d.Title + "\n" + d.Text
		},
		Options: notify.Options{Commands: true},
	})
}

func TestProgramsRunOnlyWhereTheFileSaysSo(t *testing.T) {
	_, err := Kind{}.Open(json.RawMessage(`{"run": ["/bin/true"]}`), notify.Options{})
	if err == nil || sereno.KindOf(err) != sereno.Invalid || !strings.Contains(err.Error(), "configuration file") {
		t.Errorf("opened: %v", err)
	}
}

// sh opens a channel that runs a line of shell.
func sh(t *testing.T, line string, more ...string) notify.Channel {
	t.Helper()
	return run(t, append([]string{"/bin/sh", "-c", line}, more...), map[string]string{"TOKEN": secret})
}

func run(t *testing.T, args []string, env map[string]string) notify.Channel {
	t.Helper()
	s, err := json.Marshal(map[string]any{"run": args, "env": env})
	if err != nil {
		t.Fatal(err)
	}
	c, err := Kind{}.Open(s, notify.Options{Commands: true})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestExitCodesAreVerdicts(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("just text\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	blank := filepath.Join(t.TempDir(), "blank")
	if err := os.WriteFile(blank, []byte("\x01\x02 no program\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	orphan := filepath.Join(t.TempDir(), "orphan")
	if err := os.WriteFile(orphan, []byte("#!/nonexistent/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	shell := func(line string) []string { return []string{"/bin/sh", "-c", line} }
	for _, c := range []struct {
		what   string
		run    []string
		taken  bool
		class  notify.Class
		unsure bool
		text   string
	}{
		{"0 is a yes", shell("exit 0"), true, 0, false, ""},
		{"whatever it says", shell("echo error: failed >&2"), true, 0, false, ""},
		{"input that is not read is no mistake", shell("exec <&-; exit 0"), true, 0, false, ""},
		{"75 is later", shell("echo busy; exit 75"), false, notify.Passing, false, "exit code 75, try again: busy"},
		{"1 is a no", shell("echo one; echo two >&2; exit 1"), false, notify.Refused, false, "exit code 1: one two"},
		{"255 is a no", shell("exit 255"), false, notify.Refused, false, "exit code 255"},
		{"a signal may pass", shell("kill -TERM $$; sleep 5"), false, notify.Passing, true, "ended by a signal (signal: terminated)"},
		{"no program", []string{"/nonexistent/mend"}, false, notify.Refused, false, "no such program"},
		{"no interpreter", []string{orphan}, false, notify.Refused, false, "the interpreter"},
		{"not executable", []string{file}, false, notify.Refused, false, "may not be run"},
		{"no program at all", []string{blank}, false, notify.Refused, false, "it is no program"},
		{"a folder", []string{"/tmp"}, false, notify.Refused, false, "may not be run"},
	} {
		t.Run(c.what, func(t *testing.T) {
			err := run(t, c.run, nil).Send(t.Context(), notifytest.Message(notify.Opened))
			if c.taken {
				if err != nil {
					t.Errorf("not taken: %v", err)
				}
				return
			}
			f, ok := errors.AsType[*notify.Failure](err)
			if !ok || f.Class != c.class || f.Unsure != c.unsure || !strings.Contains(f.Text, c.text) {
				t.Errorf("%+v, wanted class %d, unsure %v, %q", f, c.class, c.unsure, c.text)
			}
		})
	}
}

func TestAProgramKnowsNothingOfSerenosEnvironment(t *testing.T) {
	t.Setenv("SERENO_DATABASE", "postgres://user:password@db/sereno")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "aws-secret")
	t.Setenv("LD_PRELOAD_TEST", "x")
	out := filepath.Join(t.TempDir(), "env")
	m := notifytest.Message(notify.Opened)
	m.Key = "key\nEVIL=1"
	if err := sh(t, `env -u PWD -u SHLVL -u _ | sort > "$0"; pwd >> "$0"; readlink /proc/self/fd | wc -l`, out).Send(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for line := range strings.Lines(string(text)) {
		name, _, _ := strings.Cut(line, "=")
		names = append(names, strings.TrimSpace(name))
	}
	want := []string{"LANG", "OLDPWD", "PATH", "SERENO_DELIVERY", "SERENO_EVENT", "SERENO_INCIDENT", "SERENO_SEVERITY", "TOKEN", "/"}
	names = slices.DeleteFunc(names, func(n string) bool { return n == "OLDPWD" })
	want = slices.DeleteFunc(want, func(n string) bool { return n == "OLDPWD" })
	if !slices.Equal(names, want) {
		t.Errorf("the program sees %q, not %q", names, want)
	}
	if !strings.Contains(string(text), "SERENO_INCIDENT=42\n") || !strings.Contains(string(text), "SERENO_DELIVERY=key EVIL=1\n") {
		t.Errorf("%s", text)
	}
}

func TestTheDeadlineKillsTheWholeGroup(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	go func() { // as soon as the grandchild says that it is there
		for ctx.Err() == nil {
			if _, err := os.Stat(filepath.Join(dir, "pid")); err == nil {
				cancel()
			}
			time.Sleep(5 * time.Millisecond)
		}
	}()
	err := sh(t, `(trap '' TERM HUP; sleep 600 & echo $! > "$0/new"; mv "$0/new" "$0/pid"; wait) & wait`, dir).Send(ctx, notifytest.Message(notify.Opened))
	if f, ok := errors.AsType[*notify.Failure](err); !ok || f.Class != notify.Passing || !f.Unsure || !strings.Contains(f.Text, "killed after") {
		t.Errorf("%v", err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "pid"))
	if err != nil {
		t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Sscan(string(text), &pid); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if gone(pid) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("the grandchild %d lives on", pid)
		}
	}
}

// gone reports whether a process has ended, whoever is to bury it.
func gone(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
		return true
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	return strings.HasPrefix(rest, "Z") || strings.HasPrefix(rest, "X")
}

func TestWhatIsLeftInTheBackgroundDoesNotHoldTheMessage(t *testing.T) {
	dir := t.TempDir()
	err := sh(t, `(sleep 600 & echo $! > "$0/pid"; wait) & while ! test -s "$0/pid"; do :; done; exit 0`, dir).Send(t.Context(), notifytest.Message(notify.Opened))
	if err != nil {
		t.Errorf("not taken: %v", err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "pid"))
	if err != nil {
		t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Sscan(string(text), &pid); err != nil {
		t.Fatal(err)
	}
	if gone(pid) {
		t.Error("what it left in the background was killed")
	}
	syscall.Kill(pid, syscall.SIGKILL)
}

func TestTheLastWordsAreShown(t *testing.T) {
	err := sh(t, `i=0; while test $i -lt 3000; do echo "line $i"; i=$((i+1)); done; echo "cannot open the door with $TOKEN"; exit 2`).Send(t.Context(), notifytest.Message(notify.Opened))
	text := notify.FailureOf(err).Text
	if !strings.HasSuffix(text, "line 2999 cannot open the door with [secret]") || len(text) > 2*notify.MaxAnswer {
		t.Errorf("%q", text)
	}
	// The end of a secret that was cut in two is not shown either.
	err = sh(t, `printf %s "$TOKEN"; head -c 4085 /dev/zero | tr '\0' ' '; exit 2`).Send(t.Context(), notifytest.Message(notify.Opened))
	if text := notify.FailureOf(err).Text; strings.Contains(text, "program") {
		t.Errorf("%q", text)
	}
}
