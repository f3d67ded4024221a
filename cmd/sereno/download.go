package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sereno/api"
)

// silence is how long a download may bring nothing before it is given up. The
// server may have to look through much before the first row.
const silence = 2 * time.Minute

// save downloads a file to standard output or, if output is set, to a file that
// has its name only once it is whole. How far it is stands on stderr, if that
// is a terminal and the data are not there too.
func (c *client) save(cmd *cobra.Command, path string, query url.Values, output string) error {
	if output == "" || output == "-" {
		stdout := cmd.OutOrStdout()
		_, err := c.download(cmd.Context(), path, query, stdout, progressOn(cmd.ErrOrStderr(), !isTerminal(stdout)))
		return err
	}
	if info, err := os.Stat(output); err == nil && info.IsDir() {
		return fmt.Errorf("write %s: this is a folder; name a file in it", output)
	}
	partial, err := os.CreateTemp(filepath.Dir(output), "."+filepath.Base(output)+".*")
	if err != nil {
		return fmt.Errorf("write %s: %w", output, reasonOf(err))
	}
	defer os.Remove(partial.Name()) // which it no longer has if all went well
	rows, err := c.download(cmd.Context(), path, query, partial, progressOn(cmd.ErrOrStderr(), true))
	if err == nil {
		err = errors.Join(partial.Sync(), partial.Chmod(0o644))
	}
	if e := partial.Close(); err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	if err := os.Rename(partial.Name(), output); err != nil {
		return fmt.Errorf("write %s: %w", output, reasonOf(err))
	}
	done := inert(output) + " is written"
	if rows >= 0 {
		done += ": " + manifold(rows, "row")
	}
	_, err = fmt.Fprintln(cmd.ErrOrStderr(), done)
	return err
}

// reasonOf is what went wrong with a file, without its temporary name.
func reasonOf(err error) error {
	if e, ok := errors.AsType[*os.PathError](err); ok {
		return e.Err
	}
	if e, ok := errors.AsType[*os.LinkError](err); ok {
		return e.Err
	}
	return err
}

// download writes what the server answers to w and returns the number of rows,
// -1 if the answer has none. An answer that is cut off is an error.
func (c *client) download(ctx context.Context, path string, query url.Values, w io.Writer, told *progress) (rows int64, err error) {
	ctx, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	quiet := time.AfterFunc(silence, func() { giveUp(errSilent) })
	defer quiet.Stop()

	to := *c.server
	to.Path = strings.TrimSuffix(to.Path, "/") + path
	to.RawQuery = query.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, to.String(), nil)
	if err != nil {
		return 0, err
	}
	answer, err := new(http.Client).Do(request)
	if err != nil {
		if errors.Is(context.Cause(ctx), errSilent) {
			return 0, fmt.Errorf("the Sereno at %s does not answer in time", c.server)
		}
		if ctx.Err() != nil {
			return 0, cutOff(ctx, 0)
		}
		return 0, c.unreachable(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		text, err := io.ReadAll(io.LimitReader(answer.Body, answerLimit))
		if err != nil {
			return 0, c.unreachable(err)
		}
		return 0, refused(answer, text)
	}
	promised := answer.Trailer != nil // the server says at the end how many rows there were
	expected, _ := strconv.ParseInt(answer.Header.Get(api.ExpectedHeader), 10, 64)
	told.begin(expected)
	defer told.end()
	piece := make([]byte, 256<<10)
	for {
		n, err := answer.Body.Read(piece)
		quiet.Reset(silence)
		if n > 0 {
			if _, err := w.Write(piece[:n]); err != nil {
				return 0, fmt.Errorf("write what was exported: %w", err)
			}
			told.passed(piece[:n])
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return 0, cutOff(ctx, told.rows)
		}
	}
	if !promised {
		return -1, nil
	}
	if rows, err = strconv.ParseInt(answer.Trailer.Get(api.RowsTrailer), 10, 64); err != nil {
		return 0, cutOff(ctx, told.rows)
	}
	return rows, nil
}

// manifold is counted for what does not fit into an int of 32 bits.
func manifold(n int64, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return grouped(strconv.FormatInt(n, 10)) + " " + thing + "s"
}

var errSilent = errors.New("nothing came for a long time")

// cutOff says that an answer is not whole. It is an error even where somebody
// wanted it so: what has been written must not pass for all.
func cutOff(ctx context.Context, lines int64) error {
	why := "the connection to the server broke off (its log may say more)"
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, errSilent):
		why = "the server sent nothing for " + silence.String()
	case cause != nil:
		why = "it was stopped"
	}
	return fmt.Errorf("%s after %s: what was written is not the whole", why, manifold(lines, "line"))
}

// A progress says on a terminal how far a download is.
type progress struct {
	w        io.Writer // nil: nobody is told
	rows     int64     // lines so far
	expected int64
	since    time.Time
	last     time.Time
}

func progressOn(w io.Writer, wanted bool) *progress {
	if !wanted || !isTerminal(w) {
		return &progress{}
	}
	return &progress{w: w}
}

func (p *progress) begin(expected int64) {
	p.expected, p.since = expected, time.Now()
	p.last = p.since
}

func (p *progress) passed(piece []byte) {
	p.rows += int64(bytes.Count(piece, []byte{'\n'}))
	now := time.Now()
	if p.w == nil || now.Sub(p.last) < 200*time.Millisecond {
		return
	}
	p.last = now
	fmt.Fprintf(p.w, "\r\x1b[K%s", p.line(now.Sub(p.since)))
}

func (p *progress) line(took time.Duration) string {
	share := ""
	if p.expected > 0 {
		share = fmt.Sprintf("  about %d %%", min(99, 100*p.rows/p.expected))
	}
	rate := int64(float64(p.rows) / max(took.Seconds(), 0.001))
	return fmt.Sprintf("%s rows%s  %s rows/s", grouped(strconv.FormatInt(p.rows, 10)), share, grouped(strconv.FormatInt(rate, 10)))
}

func (p *progress) end() {
	if p.w != nil {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}
