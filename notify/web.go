package notify

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

const (
	// WebPatience is how long a call over HTTP may take in all, unless it asks
	// for more or its context ends earlier.
	WebPatience = 10 * time.Second
	// MaxReply is how much of an answer is read, in bytes.
	MaxReply = 64 << 10
	// MaxAfter bounds what a far end can ask for with Retry-After: one mistaken
	// answer must not silence a channel until its messages are given up.
	MaxAfter = time.Hour

	bodyPatience = 3 * time.Second // for the rest of an answer whose status is known
)

// A Web calls far ends over HTTP for one channel. It follows no redirect, keeps
// no connection open, reads MaxReply of an answer at most, and lets no secret
// into what it says. It is safe for concurrent use.
type Web struct {
	client *http.Client
	agent  string
	veil   *strings.Replacer
}

// NewWeb makes a Web. roots are the certificate authorities to believe, nil for
// the system's. secrets are the values that must never be shown; of one that is
// a URL, its path and its query and their parts are secret as well, its host is
// not.
func NewWeb(o Options, roots *x509.CertPool, secrets ...string) *Web {
	transport := &http.Transport{
		Proxy:             Proxy,
		DialContext:       (&net.Dialer{Timeout: WebPatience}).DialContext,
		TLSClientConfig:   &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		ForceAttemptHTTP2: true,
		// Messages are rare: a connection that a firewall has forgotten
		// meanwhile would cost more than a new one.
		DisableKeepAlives:      true,
		MaxResponseHeaderBytes: MaxReply,
	}
	return &Web{
		client: &http.Client{
			Transport:     transport,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		agent: o.Agent,
		veil:  veil(secrets),
	}
}

// proxied keeps the address of a proxy, which has a password in it as a rule, out
// of errors.
func proxied(proxy func(*http.Request) (*url.URL, error)) func(*http.Request) (*url.URL, error) {
	return func(r *http.Request) (*url.URL, error) {
		u, err := proxy(r)
		if err != nil {
			return nil, errors.New("the address of the proxy in HTTPS_PROXY or HTTP_PROXY is not a URL (a % in a password is written %25)")
		}
		return u, nil
	}
}

// Proxy is http.ProxyFromEnvironment, with errors that hold no secret.
var Proxy = proxied(http.ProxyFromEnvironment)

// A Call is one request.
type Call struct {
	Method   string // "" for POST
	URL      string
	Header   http.Header // besides Content-Type and User-Agent; may be nil
	Type     string      // Content-Type; "" for application/json
	Body     []byte
	Patience time.Duration // 0 for WebPatience
	MaxReply int64         // 0 for MaxReply
}

// A Reply is what the far end answered. It is raw: what is shown of it goes
// through Web.Clean first.
type Reply struct {
	Status int // 0: none came
	Header http.Header
	Body   []byte // at most as much as was asked for
	Cut    bool   // there was more, or the rest did not come
}

// Post makes a call. Its error is a *Failure, nil exactly for an answer of 2xx;
// the reply is there with both, as far as there was one. Too early, too many
// (with Retry-After, which is obeyed), time-outs and the far end's own faults
// are Passing, and so is what a proxy asks for; everything else of 4xx is Refused
// (but see Doubt). Whoever could not be reached
// surely has nothing; where all was written and no answer came, that is Unsure.
func (w *Web) Post(ctx context.Context, c Call) (Reply, error) {
	patience := cmp.Or(c.Patience, WebPatience)
	timed, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var written atomic.Bool
	traced := httptrace.WithClientTrace(timed, &httptrace.ClientTrace{
		WroteRequest: func(i httptrace.WroteRequestInfo) { written.Store(i.Err == nil) },
	})
	req, err := http.NewRequestWithContext(traced, cmp.Or(c.Method, http.MethodPost), c.URL, bytes.NewReader(c.Body))
	if err != nil {
		return Reply{}, Refuse("the request cannot be made: %s", w.Clean(bare(err).Error()))
	}
	maps.Copy(req.Header, c.Header)
	if req.Header.Get("Content-Type") == "" {
		req.Header.Set("Content-Type", cmp.Or(c.Type, "application/json"))
	}
	if req.Header.Get("User-Agent") == "" {
		req.Header.Set("User-Agent", w.agent)
	}
	if host := req.Header.Get("Host"); host != "" {
		req.Host = host
	}
	answer, err := w.client.Do(req)
	if err != nil {
		return Reply{}, &Failure{Unsure: written.Load(), Text: w.Clean(w.why(ctx, timed, patience, err))}
	}
	defer answer.Body.Close()
	reply := Reply{Status: answer.StatusCode, Header: answer.Header}
	late := time.AfterFunc(bodyPatience, cancel)
	most := cmp.Or(c.MaxReply, MaxReply)
	reply.Body, err = io.ReadAll(io.LimitReader(answer.Body, most+1))
	late.Stop()
	if int64(len(reply.Body)) > most {
		reply.Body, reply.Cut = reply.Body[:most], true
	}
	reply.Cut = reply.Cut || err != nil
	if err := w.judge(reply); err != nil {
		return reply, err
	}
	Say(ctx, w.said(reply))
	return reply, nil
}

// said is what the far end answered, for a person.
func (w *Web) said(r Reply) string {
	text := strings.TrimSpace(fmt.Sprintf("%d %s", r.Status, http.StatusText(r.Status)))
	if body := w.Clean(string(r.Body)); body != "" {
		text += ": " + body
	}
	return text
}

// judge says what an answer means for the message.
func (w *Web) judge(r Reply) error {
	if r.Status >= 200 && r.Status <= 299 {
		return nil
	}
	f := &Failure{Text: w.said(r)}
	switch {
	case r.Status == http.StatusProxyAuthRequired:
		f.Text = "407: the proxy (HTTPS_PROXY, HTTP_PROXY) wants a user and a password, or others than it got"
	case r.Status == http.StatusRequestTimeout, r.Status == http.StatusTooEarly, r.Status == http.StatusTooManyRequests, r.Status >= 500:
		f.After = retryAfter(r.Header, time.Now())
		f.Unsure = r.Status == http.StatusGatewayTimeout // nobody knows what is behind the gateway
	case r.Status == http.StatusMovedPermanently, r.Status == http.StatusPermanentRedirect:
		f.Class, f.Text = Refused, fmt.Sprintf("%d %s: redirects are not followed; give the address that it leads to", r.Status, http.StatusText(r.Status))
	case r.Status >= 400:
		f.Class = Refused
	default:
		f.Text = fmt.Sprintf("%d %s: redirects are not followed", r.Status, http.StatusText(r.Status))
	}
	return f
}

// Doubt makes a refusal passing that the far end has not put into its own words:
// a proxy, a portal, or a load balancer whose servers are just being replaced says
// such things as well, and some time later it does not. It returns f.
func Doubt(f *Failure, r Reply) *Failure {
	switch r.Status {
	case http.StatusForbidden, http.StatusNotFound, http.StatusUnavailableForLegalReasons:
		if f.Class == Refused {
			f.Class, f.Text = Passing, Cut(f.Text, MaxAnswer)+", but something on the way may have answered"
		}
	}
	return f
}

// why says why there was no answer.
func (w *Web) why(ctx, timed context.Context, patience time.Duration, err error) string {
	switch {
	case ctx.Err() != nil && !errors.Is(ctx.Err(), context.DeadlineExceeded):
		return "stopped before an answer came"
	case timed.Err() != nil, isTimeout(err):
		if until, ok := ctx.Deadline(); !ok || time.Until(until) > 0 {
			return fmt.Sprintf("no answer within %s", patience)
		}
		return "no answer in time"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the connection was closed without an answer"
	}
	return Reason(bare(err))
}

// Reason says why a far end was not reached, for a person. It is not clean yet.
func Reason(err error) string {
	if e, ok := errors.AsType[*net.DNSError](err); ok {
		if e.IsNotFound {
			return "there is no host called " + e.Name
		}
		return "the name " + e.Name + " cannot be resolved: " + e.Err
	}
	if why := untrusted(err); why != "" {
		return why
	}
	e, ok := errors.AsType[*net.OpError](err)
	if !ok || e.Op != "dial" || e.Addr == nil {
		return err.Error()
	}
	why := e.Err
	if s, ok := errors.AsType[*os.SyscallError](why); ok {
		why = s.Err
	}
	return "no connection to " + e.Addr.String() + ": " + why.Error()
}

// untrusted says why TLS did not come about, "" if that was not it.
func untrusted(err error) string {
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return "the certificate is signed by nobody who is believed here; an authority of your own is given with ca, where the kind of channel has it"
	}
	if e, ok := errors.AsType[x509.HostnameError](err); ok {
		names := append([]string{}, e.Certificate.DNSNames...)
		for _, ip := range e.Certificate.IPAddresses {
			names = append(names, ip.String())
		}
		return "the certificate is not for " + e.Host + ", but for " + cmp.Or(strings.Join(names, ", "), "nobody")
	}
	if e, ok := errors.AsType[x509.CertificateInvalidError](err); ok && e.Reason == x509.Expired {
		return fmt.Sprintf("the certificate is valid from %s to %s, and now it is %s", e.Cert.NotBefore.UTC().Format(time.DateTime), e.Cert.NotAfter.UTC().Format(time.DateTime), time.Now().UTC().Format(time.DateTime))
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return "what answers there does not speak TLS: is it the right port, and is TLS meant?"
	}
	return ""
}

func isTimeout(err error) bool {
	e, ok := errors.AsType[net.Error](err)
	return ok && e.Timeout()
}

// bare takes the URL off an error of net/http.
func bare(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}

// retryAfter reads Retry-After: seconds, or a date, which is measured by the far
// end's own clock if it tells the time. 0 if there is none.
func retryAfter(h http.Header, now time.Time) time.Duration {
	value := strings.TrimSpace(h.Get("Retry-After"))
	if value == "" {
		return 0
	}
	if seconds, err := strconv.ParseFloat(value, 64); err == nil || errors.Is(err, strconv.ErrRange) {
		return After(seconds)
	}
	date, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	if theirs, err := http.ParseTime(h.Get("Date")); err == nil {
		now = theirs
	}
	return After(date.Sub(now).Seconds())
}

// After is a wait that a far end asked for, kept within 0 and MaxAfter.
func After(seconds float64) time.Duration {
	if !(seconds > 0) {
		return 0
	}
	return time.Duration(min(seconds, MaxAfter.Seconds()) * float64(time.Second))
}

// Clean makes a text of the far end, or an error, fit to be shown: no secret, no
// second line, no control or direction mark, at most MaxAnswer characters.
func (w *Web) Clean(text string) string {
	// Once more at the end: what Line leaves out may have stood within a secret.
	return Cut(w.veil.Replace(Line(w.veil.Replace(text))), MaxAnswer)
}

// Veil takes the secrets out of a text and leaves the rest as it is.
func (w *Web) Veil(text string) string { return w.veil.Replace(text) }
