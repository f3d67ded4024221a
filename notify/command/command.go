// Package command tells a program on this machine: to bring a message where
// nothing else brings it, or to mend what can be mended without a person.
//
// Which program runs, with which arguments, is fixed in the configuration file;
// nothing of a message becomes an argument, and no shell is between. The message
// is on the program's standard input, as the JSON document that webhooks get.
package command

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"sereno/notify"
)

// Kind is the kind "command".
type Kind struct{}

func (Kind) Name() string { return "command" }

// Secrets has the environment, which is where a program's secrets belong:
// arguments are seen by everybody on the machine.
func (Kind) Secrets() []string { return []string{"env"} }

type settings struct {
	Run       []string          `json:"run"`       // the program's path and its arguments
	Env       map[string]string `json:"env"`       // more variables
	Directory string            `json:"directory"` // in which it runs; "" for /
}

const (
	// tempFail is the exit code of a program that wants to be run again
	// (EX_TEMPFAIL of sysexits.h), as mailers have it.
	tempFail = 75
	// lag is how long a program that has ended may leave its output open, and how
	// long one that was killed may take to go.
	lag = time.Second
	// kept is how much of the end of what it says is kept, in bytes.
	kept = 4 << 10
	// path is where a program finds others.
	path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
)

// Open refuses everything unless o.Commands. It does not look whether the
// program exists: that may change, and is found out by each message.
func (Kind) Open(raw json.RawMessage, o notify.Options) (notify.Channel, error) {
	var s settings
	if err := notify.Decode(raw, &s); err != nil {
		return nil, err
	}
	var wrong []error
	if !o.Commands {
		wrong = append(wrong, notify.Wrong("run", "programs are run only for channels of the configuration file: nobody can make such a channel by the API"))
	}
	switch {
	case len(s.Run) == 0:
		wrong = append(wrong, notify.Wrong("run", "it is missing: the program's path and its arguments, as a list"))
	case !filepath.IsAbs(s.Run[0]):
		wrong = append(wrong, notify.Wrong("run", "the program is a whole path such as /usr/local/bin/mend"))
	}
	if slices.ContainsFunc(s.Run, func(arg string) bool { return strings.ContainsRune(arg, 0) }) {
		wrong = append(wrong, notify.Wrong("run", "no argument can hold a NUL character"))
	}
	if s.Directory == "" {
		s.Directory = "/"
	}
	if !filepath.IsAbs(s.Directory) || strings.ContainsRune(s.Directory, 0) {
		wrong = append(wrong, notify.Wrong("directory", "it is a whole path such as /var/lib/mend"))
	}
	for _, name := range slices.Sorted(maps.Keys(s.Env)) {
		if name == "" || strings.ContainsAny(name, "=\x00") || strings.HasPrefix(name, "SERENO_") {
			wrong = append(wrong, notify.Wrong("env", "%q is no name for a variable; those that begin with SERENO_ are Sereno's own", notify.Cut(notify.Line(name), 100)))
		}
		if strings.ContainsRune(s.Env[name], 0) {
			wrong = append(wrong, notify.Wrong("env", "no variable can hold a NUL character"))
		}
	}
	if len(wrong) > 0 {
		return nil, errors.Join(wrong...)
	}
	c := &channel{settings: s, log: o.Log}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	for _, value := range s.Env {
		if len(value) >= 4 { // shorter ones are words such as "yes", and would veil parts of all words
			c.secrets = append(c.secrets, value)
			c.longest = max(c.longest, len(value))
		}
	}
	return c, nil
}

type channel struct {
	settings
	secrets []string
	longest int // of the secrets, in bytes
	log     *slog.Logger
}

// Send runs the program until ctx ends; then it and all that it started in its
// process group are killed. Exit code 0 is a yes. 75 means later, and so does
// whatever ends a program from outside. Every other code is a refusal: a program
// that mends things must not be run again by mistake.
func (c *channel) Send(ctx context.Context, m notify.Message) error {
	body, err := notify.DocumentOf(m).JSON()
	if err != nil {
		return notify.Refuse("the message cannot be written as JSON: %s", notify.Line(err.Error()))
	}
	if err := ctx.Err(); err != nil {
		return &notify.Failure{Text: "stopped before the program was started"}
	}
	said := &tail{most: kept}
	cmd := exec.CommandContext(ctx, c.Run[0], c.Run[1:]...) //nolint:gosec // it is what the file says
	cmd.Dir, cmd.Env = c.Directory, c.environment(m)
	cmd.Stdin = bytes.NewReader(append(body, '\n'))
	cmd.Stdout, cmd.Stderr = said, said
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = lag

	begun := time.Now()
	if err := cmd.Start(); err != nil {
		return c.unstarted(err)
	}
	err = cmd.Wait()
	what := c.clean(said.since(c.longest))
	switch code := cmd.ProcessState.ExitCode(); {
	case ctx.Err() != nil && !cmd.ProcessState.Exited():
		return &notify.Failure{Unsure: true, Text: describe(fmt.Sprintf("killed after %s", time.Since(begun).Round(time.Millisecond)), what)}
	case !cmd.ProcessState.Exited():
		return &notify.Failure{Unsure: true, Text: describe("the program was ended by a signal ("+cmd.ProcessState.String()+")", what)}
	case code == tempFail:
		return &notify.Failure{Text: describe("exit code 75, try again", what)}
	case code != 0:
		return &notify.Failure{Class: notify.Refused, Text: describe("exit code "+strconv.Itoa(code), what)}
	case err != nil && !errors.Is(err, exec.ErrWaitDelay) && ctx.Err() == nil:
		// It ended well; what failed is reading what it said.
		c.log.Warn("a program's output was not read to its end", "program", c.Run[0], "err", c.clean(err.Error()))
	}
	notify.Say(ctx, describe("exit code 0", what))
	return nil
}

// environment is all that a program knows besides its input: nothing of
// Sereno's own, which may hold secrets.
func (c *channel) environment(m notify.Message) []string {
	env := []string{
		"PATH=" + path, "LANG=C.UTF-8",
		"SERENO_EVENT=" + string(m.Event), "SERENO_DELIVERY=" + notify.Line(m.Key), "SERENO_SEVERITY=" + m.Severity.String(),
	}
	if m.Incident != nil {
		env = append(env, fmt.Sprintf("SERENO_INCIDENT=%d", m.Incident.ID))
	}
	for _, name := range slices.Sorted(maps.Keys(c.Env)) {
		env = append(env, name+"="+c.Env[name])
	}
	return env
}

// unstarted says why a program did not start. What is wrong with it or the
// machine's rules stays wrong until somebody does something; what the machine
// lacks comes back.
func (c *channel) unstarted(err error) error {
	f := &notify.Failure{Class: notify.Refused}
	why := err.Error()
	switch {
	case errors.Is(err, os.ErrNotExist):
		why = "there is no such program, or no such directory"
		if _, err := os.Stat(c.Run[0]); err == nil {
			why = "the directory, or the interpreter that its first line names, does not exist"
		}
	case errors.Is(err, os.ErrPermission):
		why = "it may not be run by the user that Sereno runs as (is it executable?)"
	case errors.Is(err, syscall.ENOEXEC):
		why = "it is no program; a script begins with a line such as #!/bin/sh"
	default:
		f.Class = notify.Passing
	}
	f.Text = c.clean("the program " + c.Run[0] + " did not start: " + why)
	return f
}

func describe(what, said string) string {
	if said == "" {
		return what
	}
	return what + ": " + said
}

// clean is what a person is shown of what a program said: its last words.
func (c *channel) clean(text string) string {
	runes := []rune(notify.Line(notify.Veil(text, c.secrets...)))
	if len(runes) > notify.MaxAnswer {
		runes = append([]rune{'…'}, runes[len(runes)-notify.MaxAnswer+1:]...)
	}
	return string(runes)
}

// A tail keeps the end of what is written to it.
type tail struct {
	mu   sync.Mutex
	most int
	end  []byte
	cut  bool
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.end = append(t.end, p[max(len(p)-t.most, 0):]...)
	if more := len(t.end) - t.most; more > 0 {
		t.end, t.cut = append(t.end[:0], t.end[more:]...), true
	}
	t.cut = t.cut || len(p) > t.most
	return len(p), nil
}

// since returns what is kept. If more was written, as many bytes at its begin are
// left out: they may be the end of a secret, which nobody would know again.
func (t *tail) since(skip int) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.cut {
		return "…" + string(t.end[min(skip, len(t.end)):])
	}
	return string(t.end)
}
