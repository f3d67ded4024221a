package remote

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// A poster sends requests to one target.
//
// It is not client_golang's remote.API, because that keeps from its caller
// what the store answered: what may be tried again is to wait here as long as
// the queue allows, and no longer.
type poster struct {
	target Target
	agent  string
	client http.Client
	told   int // the code of the refusal that the log has
}

func newPoster(t Target, agent string) *poster {
	transport := http.DefaultTransport.(*http.Transport).Clone() //nolint:errcheck,forcetypeassert // it is one
	transport.MaxIdleConnsPerHost = 2
	return &poster{target: t, agent: agent, client: http.Client{
		Timeout:   t.Timeout,
		Transport: transport,
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse // a password is for the host that was named
		},
	}}
}

// A refusal is a store's answer that is no success.
type refusal struct {
	code  int
	again bool          // the same may be sent again
	after time.Duration // when; 0: it did not say
	text  string
}

func (r *refusal) Error() string {
	if r.text == "" {
		return "the store answered " + strconv.Itoa(r.code) + " " + http.StatusText(r.code)
	}
	return fmt.Sprintf("the store answered %d %s: %s", r.code, http.StatusText(r.code), r.text)
}

// post sends a compressed WriteRequest. Errors are a refusal, or that the
// store was not reached or did not answer in time.
func (p *poster) post(ctx context.Context, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.target.URL, bytes.NewReader(body))
	if err != nil {
		return err
	}
	for name, value := range p.target.Headers {
		req.Header.Set(name, value)
	}
	req.Header.Set("Content-Encoding", "snappy")
	req.Header.Set("Content-Type", "application/x-protobuf")
	req.Header.Set("X-Prometheus-Remote-Write-Version", "0.1.0")
	req.Header.Set("User-Agent", p.agent)
	switch {
	case p.target.BearerToken != "":
		req.Header.Set("Authorization", "Bearer "+p.target.BearerToken)
	case p.target.Username != "":
		req.SetBasicAuth(p.target.Username, p.target.Password)
	}
	answer, err := p.client.Do(req)
	if err != nil {
		if e, ok := errors.AsType[*url.Error](err); ok {
			return e.Err // without the URL, which may hold a secret
		}
		return err
	}
	defer answer.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(answer.Body, 512))  //nolint:errcheck // it is for the log only
	io.Copy(io.Discard, io.LimitReader(answer.Body, 64<<10)) //nolint:errcheck // so that the connection can be used again
	if answer.StatusCode/100 == 2 {
		p.told = 0
		return nil
	}
	return &refusal{
		code:  answer.StatusCode,
		again: answer.StatusCode/100 == 5 || answer.StatusCode == http.StatusTooManyRequests,
		after: retryAfter(answer.Header.Get("Retry-After"), time.Now()),
		text:  oneLine(string(text)),
	}
}

// retryAfter reads seconds or a date (RFC 9110, 10.2.3); 0 is neither.
func retryAfter(s string, now time.Time) time.Duration {
	if n, err := strconv.Atoi(s); err == nil && n > 0 {
		return time.Duration(min(n, 86400)) * time.Second
	}
	if at, err := http.ParseTime(s); err == nil {
		return max(0, at.Sub(now))
	}
	return 0
}

func oneLine(s string) string {
	return strings.Join(strings.Fields(strings.ToValidUTF8(s, "")), " ")
}
