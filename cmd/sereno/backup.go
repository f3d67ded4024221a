package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/charmbracelet/x/term"
	"github.com/spf13/cobra"

	"sereno"
	"sereno/backup"
	"sereno/clock"
	"sereno/store"
)

func newBackup() *cobra.Command {
	var data, database string
	var secret passphrase
	cmd := &cobra.Command{
		Use:   "backup FILE",
		Short: "Put all that Sereno remembers into one file",
		Long: `Put all that Sereno remembers (devices, spans, incidents, absences, looks) into
one file. The running Sereno goes on watching meanwhile; the file holds one
moment of it. Without a running Sereno, say with --data where its folder is.

The file is proven while it is written. FILE may be - for the standard output.
An encrypted one can be read with its passphrase alone: keep that elsewhere.`,
		Example: `  sereno backup sereno-2026-11-21.backup
  sereno backup sereno.backup --passphrase-file /etc/sereno/passphrase
  sereno backup sereno.backup --data /var/lib/sereno
  sereno backup verify sereno.backup`,
		Args: between(1, 1, "say which file to write"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if data == "" && database == "" {
				return asking(func(cmd *cobra.Command, c *client, args []string) error {
					return makeBackup(cmd, args[0], &secret, c.backup)
				})(cmd, args)
			}
			return makeBackup(cmd, args[0], &secret, func(ctx context.Context, w io.Writer, progress func(backup.Progress)) error {
				return offlineBackup(ctx, w, data, database, progress)
			})
		},
	}
	addServerFlag(cmd)
	f := cmd.Flags()
	f.StringVar(&data, "data", "", "the folder of a Sereno that does not run")
	f.StringVar(&database, "database", "", "its database, if that is not in the folder")
	secret.addFlags(cmd, true)
	cmd.AddCommand(newBackupVerify())
	return cmd
}

func newBackupVerify() *cobra.Command {
	var quick bool
	var secret passphrase
	cmd := &cobra.Command{
		Use:   "verify FILE",
		Short: "Prove that a backup is whole and can be restored",
		Long: `Read a backup to its end and prove that every byte is as it was written; restore
its facts into a folder for temporary files, compare the sums of all tables, and
prove the ledger in them. Exit code 0 if all is well, 1 if it is not.`,
		Args: between(1, 1, "say which file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			f, size, err := openBackup(args[0])
			if err != nil {
				return err
			}
			defer f.Close()
			r, err := backup.Open(f, secret.toRead)
			if err != nil {
				return negative(cmd, args[0], err)
			}
			defer r.Close()
			show := newShow(cmd)
			m, err := backup.Verify(cmd.Context(), r, quick, show.progress, quietLog())
			show.end()
			if err != nil {
				return negative(cmd, args[0], err)
			}
			proof := "all proven"
			if quick {
				proof = "its check sums are right"
			}
			return printBackup(cmd, args[0], proof, size, r.Head, m)
		},
	}
	cmd.Flags().BoolVar(&quick, "quick", false, "do not restore it, only compare check sums")
	secret.addFlags(cmd, false)
	return cmd
}

func newRestore() *cobra.Command {
	var data, database string
	var secret passphrase
	cmd := &cobra.Command{
		Use:   "restore FILE --data DIR",
		Short: "Make a folder of Sereno's of a backup",
		Long: `Make a folder for sereno serve of a backup: whole, or not at all. The folder must
be empty, and so must be the database if one is named; a backup of either engine
goes into either.

A Sereno that starts on it books the time since the backup as its own absence,
and tells nothing of what was before.`,
		Example: `  sereno restore sereno.backup --data /var/lib/sereno`,
		Args:    between(1, 1, "say which file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if data == "" {
				return errors.New("say with --data into which folder")
			}
			if err := nothingWaits(data); err != nil {
				return err
			}
			f, size, err := openBackup(args[0])
			if err != nil {
				return err
			}
			defer f.Close()
			r, err := backup.Open(f, secret.toRead)
			if err != nil {
				return inBackup(args[0], err)
			}
			defer r.Close()
			show := newShow(cmd)
			m, err := backup.Restore(cmd.Context(), r, backup.Target{Data: data, Database: database, Progress: show.progress, Log: quietLog()})
			show.end()
			if err != nil {
				return inBackup(args[0], err)
			}
			return printBackup(cmd, args[0], "all proven", size, r.Head, m)
		},
	}
	f := cmd.Flags()
	f.StringVar(&data, "data", "", "the folder to make")
	f.StringVar(&database, "database", "", "the address of an empty database, if the facts are not to lie in the folder")
	secret.addFlags(cmd, false)
	return cmd
}

func quietLog() *slog.Logger { return slog.New(slog.DiscardHandler) }

// inBackup says of which file a sentence is, unless it names another thing.
func inBackup(name string, err error) error {
	if sereno.KindOf(err) == sereno.Invalid {
		return fmt.Errorf("%s: %w", name, err)
	}
	return err
}

// negative tells what is wrong with a backup as the answer that it is.
func negative(cmd *cobra.Command, name string, err error) error {
	if wrong, ok := errors.AsType[*sereno.Error](err); ok {
		fmt.Fprintf(cmd.ErrOrStderr(), "sereno: %s\n", inertLines(inBackup(name, wrong).Error()))
		return errNegative
	}
	return err
}

func openBackup(name string) (io.ReadCloser, int64, error) {
	if name == "-" {
		return io.NopCloser(os.Stdin), 0, nil
	}
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, fmt.Errorf("there is no file %s", name)
	}
	if err != nil {
		return nil, 0, fmt.Errorf("read the backup: %w", err)
	}
	info, err := f.Stat()
	if err == nil && info.IsDir() {
		err = fmt.Errorf("%s is a folder; say which file in it", name)
	}
	if err != nil {
		f.Close()
		return nil, 0, err
	}
	return f, info.Size(), nil
}

// makeBackup writes what produce does into a file that has its name only once
// it is whole and on the disk.
func makeBackup(cmd *cobra.Command, name string, secret *passphrase, produce func(context.Context, io.Writer, func(backup.Progress)) error) (failed error) {
	sealed, text, err := secret.toWrite()
	if err != nil {
		return err
	}
	out, done, err := target(cmd, name)
	if err != nil {
		return err
	}
	defer func() { failed = errors.Join(failed, done(failed == nil)) }()
	counted := &counter{to: out}
	var to io.WriteCloser = counted
	if sealed {
		if to, err = backup.Seal(counted, text); err != nil {
			return err
		}
	}
	show := newShow(cmd)
	defer show.end()
	// What is written is read again on its way, so that no backup is kept that
	// could not be restored.
	proof := newProof()
	err = produce(cmd.Context(), io.MultiWriter(to, proof), show.progress)
	proof.end(err)
	if err != nil {
		return err
	}
	if proof.verdict != nil {
		return fmt.Errorf("the backup could not be proven: %w", proof.verdict)
	}
	if err := to.Close(); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	show.end()
	if name == "-" {
		return nil
	}
	return printBackup(cmd, name, "all proven", counted.n, proof.head, proof.manifest)
}

// target is where a backup is written to; done ends it.
func target(cmd *cobra.Command, name string) (to io.Writer, done func(well bool) error, err error) {
	if name == "-" {
		if isTerminal(cmd.OutOrStdout()) {
			return nil, nil, errors.New("a backup is nothing for a terminal: name a file, or send the output on")
		}
		return cmd.OutOrStdout(), func(bool) error { return nil }, nil
	}
	if _, err := os.Lstat(name); err == nil {
		return nil, nil, fmt.Errorf("%s is there already: choose another name, or remove it first", name)
	}
	part := name + ".part"
	f, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, nil, fmt.Errorf("write a backup: %w", err)
	}
	return f, func(well bool) error {
		var err error
		if well {
			err = f.Sync()
		}
		err = errors.Join(err, f.Close())
		if err == nil && well {
			err = os.Rename(part, name)
		}
		if err != nil || !well {
			os.Remove(part)
		}
		return err
	}, nil
}

type counter struct {
	to io.Writer
	n  int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.to.Write(p)
	c.n += int64(n)
	return n, err
}

func (c *counter) Close() error { return nil }

// A proof reads a backup while it is written.
type proof struct {
	*io.PipeWriter
	head     backup.Head
	manifest backup.Manifest
	verdict  error
	done     chan struct{}
}

func newProof() *proof {
	from, to := io.Pipe()
	p := &proof{PipeWriter: to, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		defer io.Copy(io.Discard, from) // the writer is not to wait for a reader that has enough
		r, err := backup.Open(from, func() (string, error) { return "", errors.New("it is encrypted") })
		if err != nil {
			p.verdict = err
			return
		}
		defer r.Close()
		p.head = r.Head
		p.manifest, p.verdict = r.Each(context.Background(), backup.Sink{})
	}()
	return p
}

// end waits for the verdict; err is why the backup ends early, or nil.
func (p *proof) end(err error) {
	p.CloseWithError(err)
	<-p.done
}

// backup copies the answer of the server, which is a backup.
func (c *client) backup(ctx context.Context, w io.Writer, progress func(backup.Progress)) error {
	to := *c.server
	to.Path = strings.TrimSuffix(to.Path, "/") + "/api/backup"
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, to.String(), nil)
	if err != nil {
		return err
	}
	patient := c.http
	patient.Timeout = 0 // it takes as long as it takes
	answer, err := patient.Do(request)
	if err != nil {
		return c.unreachable(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		text, err := io.ReadAll(io.LimitReader(answer.Body, answerLimit))
		if err != nil {
			return c.unreachable(err)
		}
		return refused(answer, text)
	}
	seen := &counter{to: w}
	buffer := make([]byte, 256<<10)
	for {
		n, err := answer.Body.Read(buffer)
		if _, err := seen.Write(buffer[:n]); err != nil {
			return fmt.Errorf("write a backup: %w", err)
		}
		progress(backup.Progress{Part: "backup", Bytes: seen.n})
		if errors.Is(err, io.EOF) {
			return nil
		}
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return fmt.Errorf("the Sereno at %s broke off the backup; its log says why", c.server)
		}
		if err != nil {
			return c.unreachable(err)
		}
	}
}

// offlineBackup backs up a data folder that no server uses.
func offlineBackup(ctx context.Context, w io.Writer, data, database string, progress func(backup.Progress)) error {
	if data == "" {
		return errors.New("say with --data where the folder of looks and signs of life is, too")
	}
	mark, release, err := lastMark(data)
	if err != nil {
		return err
	}
	defer release()
	if database == "" {
		database = "sqlite:" + filepath.Join(data, "sereno.db")
	}
	facts, err := store.OpenAsItIs(ctx, database, quietLog())
	if err != nil {
		return err
	}
	defer facts.Close()
	s := &backup.Source{
		Facts: facts, Scratch: filepath.Join(data, ".backup"), Version: versionText(),
		Now: func() (ledger, settled sereno.Instant) { return mark.Ledger, mark.Settled },
	}
	looks := filepath.Join(data, "samples")
	if _, err := os.Stat(looks); err == nil {
		s.Samples = backup.Resting(looks)
	}
	_, err = s.Write(ctx, w, progress)
	return err
}

// lastMark reads the last sign of life in a data folder, and keeps servers off
// the folder until release is called.
func lastMark(data string) (mark sereno.Mark, release func(), err error) {
	path := filepath.Join(data, "alive")
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return mark, func() {}, nil
	}
	marks, mark, _, err := clock.OpenMarks(path, quietLog())
	if err != nil {
		return mark, nil, err
	}
	return mark, func() { marks.Close() }, nil
}

// printBackup says what is in a backup, and how far that is proven.
func printBackup(cmd *cobra.Command, name, proof string, size int64, head backup.Head, m backup.Manifest) error {
	rows := map[string]int64{}
	for _, t := range m.Tables {
		rows[t.Table] = t.Rows
	}
	if asJSON(cmd) {
		document := struct {
			File  string           `json:"file"`
			Bytes int64            `json:"bytes"`
			Made  time.Time        `json:"made"`
			By    string           `json:"sereno"`
			Rows  map[string]int64 `json:"rows"`
		}{name, size, head.Made, head.Sereno, rows}
		return printJSON(cmd.OutOrStdout(), document)
	}
	var looks int64
	for _, p := range m.Parts {
		if strings.HasPrefix(p.Name, "samples/") {
			looks += p.Bytes
		}
	}
	_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s: of %s, %s, %s, %s, %s; %s\n", inert(name), head.Made.Local().Format(time.DateTime),
		counted(int(rows["devices"]), "device"), counted(int(rows["spans"]+rows["states"]), "span"), counted(int(rows["incidents"]), "incident"), "looks in "+bytesText(looks), proof)
	return err
}

// bytesText is a number of bytes for people.
func bytesText(n int64) string {
	const units = "kMGTPE"
	if n < 1000 {
		return counted(int(n), "byte")
	}
	v, unit := float64(n), -1
	for v >= 999.5 && unit < len(units)-1 {
		v /= 1000
		unit++
	}
	if v < 9.95 {
		return fmt.Sprintf("%.1f %cB", v, units[unit])
	}
	return fmt.Sprintf("%.0f %cB", v, units[unit])
}

// A show tells on stderr how far a long work has come.
type show struct {
	to    io.Writer
	live  bool // a terminal: one line that changes
	last  time.Time
	begun bool
}

func newShow(cmd *cobra.Command) *show {
	return &show{to: cmd.ErrOrStderr(), live: isTerminal(cmd.ErrOrStderr()), last: time.Now()}
}

func (s *show) progress(p backup.Progress) {
	every := 10 * time.Second
	if s.live {
		every = 200 * time.Millisecond
	}
	if time.Since(s.last) < every {
		return
	}
	s.last, s.begun = time.Now(), true
	line := fmt.Sprintf("%s, %s", strings.Trim(p.Part, "/"), bytesText(p.Bytes))
	if p.Rows > 0 {
		line += ", " + counted(int(p.Rows), "row")
	}
	if s.live {
		fmt.Fprintf(s.to, "\r\x1b[K%s", line)
	} else {
		fmt.Fprintln(s.to, line)
	}
}

func (s *show) end() {
	if s.live && s.begun {
		fmt.Fprint(s.to, "\r\x1b[K")
	}
	s.begun = false
}

// A passphrase comes from a file, the environment, or whoever sits there.
type passphrase struct {
	file    string
	encrypt bool
}

func (p *passphrase) addFlags(cmd *cobra.Command, writes bool) {
	cmd.Flags().StringVar(&p.file, "passphrase-file", "", "file whose first line is the passphrase (else: SERENO_PASSPHRASE, or you are asked)")
	if writes {
		cmd.Flags().BoolVar(&p.encrypt, "encrypt", false, "encrypt it; implied by a passphrase")
	}
}

// given returns the passphrase of the file or of the environment.
func (p *passphrase) given() (text string, ok bool, err error) {
	if p.file != "" {
		content, err := os.ReadFile(p.file)
		if err != nil {
			return "", false, fmt.Errorf("read the passphrase: %w", err)
		}
		text, _, _ := strings.Cut(string(content), "\n")
		if text = strings.TrimSuffix(text, "\r"); text == "" {
			return "", false, fmt.Errorf("the first line of %s is empty, so it is no passphrase", p.file)
		}
		return text, true, nil
	}
	text = os.Getenv("SERENO_PASSPHRASE")
	return text, text != "", nil
}

// toWrite returns whether a backup is to be encrypted, and with what.
func (p *passphrase) toWrite() (encrypt bool, text string, err error) {
	text, ok, err := p.given()
	if err != nil || ok || !p.encrypt {
		return ok, text, err
	}
	text, err = whisper("Passphrase for the backup: ")
	if err != nil {
		return false, "", err
	}
	again, err := whisper("Once more: ")
	if err == nil && again != text {
		err = errors.New("these were two different passphrases; nothing was written")
	}
	return true, text, err
}

// toRead returns the passphrase of an encrypted backup.
func (p *passphrase) toRead() (string, error) {
	text, ok, err := p.given()
	if err != nil || ok {
		return text, err
	}
	return whisper("Passphrase of the backup: ")
}

// whisper reads a passphrase from the terminal, without showing it.
func whisper(prompt string) (string, error) {
	if !term.IsTerminal(os.Stdin.Fd()) {
		return "", errors.New("the backup needs a passphrase: give it with --passphrase-file, or in SERENO_PASSPHRASE")
	}
	fmt.Fprint(os.Stderr, prompt)
	text, err := term.ReadPassword(os.Stdin.Fd())
	fmt.Fprintln(os.Stderr)
	if err == nil && len(text) == 0 {
		err = errors.New("an empty passphrase is none; nothing was done")
	}
	return string(text), err
}
