package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"sereno"
	"sereno/api"
)

const (
	defaultServer = "http://127.0.0.1:8080"
	// answering is how long a server may take for one request.
	answering = 30 * time.Second
	// answerLimit is how many bytes of one answer are read.
	answerLimit = 64 << 20
)

// A client asks a running Sereno.
type client struct {
	server *url.URL
	http   http.Client
}

// addServerFlag gives a command, and those below it, --server.
func addServerFlag(cmd *cobra.Command) {
	cmd.PersistentFlags().String("server", "", "URL of the running Sereno (default: SERENO_SERVER, else "+defaultServer+")")
}

func newClient(cmd *cobra.Command) (*client, error) {
	address, err := cmd.Flags().GetString("server")
	if err != nil {
		return nil, err
	}
	from := "--server"
	if address == "" {
		address, from = os.Getenv("SERENO_SERVER"), "SERENO_SERVER"
	}
	if address == "" {
		address = defaultServer
	}
	server, err := url.Parse(address)
	if err != nil || server.Host == "" || server.Scheme != "http" && server.Scheme != "https" {
		return nil, fmt.Errorf("%s is the URL of a Sereno such as %s, not %q", from, defaultServer, address)
	}
	return &client{server: server, http: http.Client{Timeout: answering}}, nil
}

// A refusal is the server's answer that something cannot be done as asked.
type refusal struct {
	status int
	text   string
}

func (r *refusal) Error() string { return r.text }

// do sends a request and decodes the answer into out, unless that is nil. body
// is sent as JSON, unless it is nil.
func (c *client) do(ctx context.Context, method, path string, query url.Values, body, out any) error {
	to := *c.server
	to.Path = strings.TrimSuffix(to.Path, "/") + path
	to.RawQuery = query.Encode()
	var content io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return err
		}
		content = bytes.NewReader(text)
	}
	request, err := http.NewRequestWithContext(ctx, method, to.String(), content)
	if err != nil {
		return err
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	answer, err := c.http.Do(request)
	if err != nil {
		return c.unreachable(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, answerLimit))
	if err != nil {
		return c.unreachable(err)
	}
	if answer.StatusCode >= 300 {
		return refused(answer, text)
	}
	if out == nil || len(text) == 0 {
		return nil
	}
	if err := json.Unmarshal(text, out); err != nil {
		return fmt.Errorf("%s does not answer as Sereno does: %w; is it another program?", c.server, err)
	}
	return nil
}

func (c *client) unreachable(err error) error {
	if errors.Is(err, context.Canceled) {
		return context.Canceled
	}
	if errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("no Sereno answers at %s; start one with \"sereno serve\", or say where it is with --server", c.server)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("the Sereno at %s broke off its answer; its log says why", c.server)
	}
	if wrong, ok := errors.AsType[net.Error](err); ok && wrong.Timeout() {
		return fmt.Errorf("the Sereno at %s does not answer in time", c.server)
	}
	if wrong, ok := errors.AsType[*url.Error](err); ok {
		err = wrong.Err
	}
	return fmt.Errorf("ask the Sereno at %s: %w", c.server, err)
}

// refused makes an error of a problem document (RFC 9457).
func refused(answer *http.Response, text []byte) error {
	var problem struct {
		Title  string `json:"title"`
		Detail string `json:"detail"`
		Errors []struct {
			Message  string `json:"message"`
			Location string `json:"location"`
		} `json:"errors"`
	}
	r := &refusal{status: answer.StatusCode, text: "the server answers " + answer.Status}
	if json.Unmarshal(text, &problem) != nil {
		return r
	}
	switch {
	case len(problem.Errors) > 1:
		var lines []string
		for _, e := range problem.Errors {
			where := strings.TrimPrefix(e.Location, "body.")
			lines = append(lines, strings.TrimPrefix(where+": "+e.Message, ": "))
		}
		r.text = strings.Join(lines, "\n")
	case problem.Detail != "":
		r.text = problem.Detail
	case problem.Title != "":
		r.text = problem.Title
	}
	return r
}

func (c *client) get(ctx context.Context, path string, query url.Values, out any) error {
	return c.do(ctx, http.MethodGet, path, query, nil, out)
}

// list reads a list, page by page, up to most items if that is above 0.
func list[T any](ctx context.Context, c *client, path string, query url.Values, most int) ([]T, error) {
	items := []T{}
	asked := url.Values{"limit": {"1000"}}
	maps.Copy(asked, query)
	if most > 0 && most < 1000 {
		asked.Set("limit", strconv.Itoa(most))
	}
	for {
		var page api.Page[T]
		if err := c.get(ctx, path, asked, &page); err != nil {
			return nil, err
		}
		items = append(items, page.Items...)
		if page.NextCursor == nil || *page.NextCursor == "" || most > 0 && len(items) >= most {
			return items, nil
		}
		asked.Set("cursor", *page.NextCursor)
	}
}

// device finds the one device of a name or, if there is none, of an id.
func (c *client) device(ctx context.Context, name string) (api.Device, error) {
	found, err := list[api.Device](ctx, c, "/api/devices", url.Values{"name": {name}}, 1)
	if err != nil {
		return api.Device{}, err
	}
	if len(found) == 1 {
		return found[0], nil
	}
	var d api.Device
	if id, err := strconv.ParseInt(name, 10, 64); err == nil && id > 0 {
		err := c.get(ctx, devicePath(sereno.DeviceID(id)), nil, &d)
		if r, ok := errors.AsType[*refusal](err); !ok || r.status != http.StatusNotFound {
			return d, err
		}
	}
	return d, &refusal{http.StatusNotFound, fmt.Sprintf("there is no device called %q; sereno devices list shows all", name)}
}

func devicePath(id sereno.DeviceID) string { return fmt.Sprintf("/api/devices/%d", id) }

// flagged names the flags of a command where the API names what it was asked.
func flagged(cmd *cobra.Command, text string) string {
	rest, ok := strings.CutPrefix(text, "query.")
	if !ok {
		return text
	}
	name, rest, ok := strings.Cut(rest, ": ")
	if !ok {
		return text
	}
	for _, flag := range map[string][]string{"step": {"by", "step"}, "step_seconds": {"step"}, "limit": {"worst"}}[name] {
		if cmd.Flags().Lookup(flag) != nil {
			return "--" + flag + ": " + rest
		}
	}
	if cmd.Flags().Lookup(name) == nil && cmd.Flags().Lookup("policy") != nil {
		name = "policy" // holds all of a policy's keys
	}
	return "--" + name + ": " + rest
}

// asking wraps the run of a command that uses the API: not found and refused
// are negative answers, told on stderr; what was asked wrongly is wrong usage;
// Ctrl-C is no error.
func asking(run func(cmd *cobra.Command, c *client, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		c, err := newClient(cmd)
		if err != nil {
			return err
		}
		err = run(cmd, c, args)
		if errors.Is(err, context.Canceled) {
			return nil
		}
		if r, ok := errors.AsType[*refusal](err); ok && r.status < 500 {
			text := flagged(cmd, r.text)
			if r.status == http.StatusUnprocessableEntity || r.status == http.StatusBadRequest {
				return &refusal{r.status, text}
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "sereno: %s\n", inertLines(text))
			return errNegative
		}
		return err
	}
}
