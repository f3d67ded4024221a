package notify

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestAnswersAreClassified(t *testing.T) {
	for _, c := range []struct {
		status int
		after  string
		want   string
	}{
		{200, "", "taken"},
		{202, "", "taken"},
		{204, "", "taken"},
		{299, "", "taken"},
		{301, "", "refused"},
		{302, "", "passing"}, // a hotel's network sends elsewhere for a while
		{307, "", "passing"},
		{308, "", "refused"},
		{400, "", "refused"},
		{401, "", "refused"},
		{403, "", "refused"},
		{404, "", "refused"},
		{405, "", "refused"},
		{407, "", "passing"}, // a proxy's, not the far end's
		{408, "", "passing"},
		{410, "", "refused"},
		{413, "", "refused"},
		{422, "", "refused"},
		{425, "", "passing"},
		{429, "30", "passing after 30s"},
		{429, "0.5", "passing after 500ms"},
		{429, "soon", "passing"},
		{429, "-7", "passing"},
		{429, "99999999999999999999", "passing after 1h0m0s"}, // a whole day's messages are not given up for it
		{429, "1e400", "passing after 1h0m0s"},
		{429, "NaN", "passing"},
		{500, "", "passing"},
		{503, "120", "passing after 2m0s"},
		{503, "Sat, 21 Nov 2026 12:00:40 GMT", "passing after 40s"},
		{503, "Sat, 21 Nov 2026 11:00:00 GMT", "passing"},
		{504, "", "passing, unsure"}, // whoever is behind the gateway may have it
		{599, "", "passing"},
		{404, "30", "refused"},
	} {
		t.Run(fmt.Sprint(c.status, c.after), func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/" {
					t.Error("a redirect was followed")
				}
				w.Header().Set("Date", "Sat, 21 Nov 2026 12:00:00 GMT") // its own clock
				if c.after != "" {
					w.Header().Set("Retry-After", c.after)
				}
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(c.status)
			}))
			defer server.Close()
			reply, err := NewWeb(Options{Agent: "sereno/test"}, nil).Post(t.Context(), Call{URL: server.URL})
			got := "taken"
			if err != nil {
				f := FailureOf(err)
				got = []string{"passing", "refused"}[f.Class]
				if f.After != 0 {
					got += " after " + f.After.String()
				}
				if f.Unsure {
					got += ", unsure"
				}
				if !strings.HasPrefix(f.Text, fmt.Sprint(c.status)) {
					t.Errorf("it does not say what was answered: %q", f.Text)
				}
			}
			if got != c.want || reply.Status != c.status {
				t.Errorf("%d: %s; it should be %s", reply.Status, got, c.want)
			}
		})
	}
}

func TestARequestIsAsItIsAskedFor(t *testing.T) {
	var got *http.Request
	var body []byte
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r
		body, _ = io.ReadAll(r.Body)
		fmt.Fprint(w, "thanks,\r\n \u202ealot")
	}))
	defer server.Close()
	ctx, said := Hear(t.Context())
	_, err := NewWeb(Options{Agent: "sereno/test"}, nil).Post(ctx, Call{Method: "PUT", URL: server.URL + "/a?b=c", Header: http.Header{"X-Y": {"z"}}, Body: []byte("{}")})
	if err != nil {
		t.Fatal(err)
	}
	if got.Method != "PUT" || got.RequestURI != "/a?b=c" || got.Header.Get("X-Y") != "z" || got.UserAgent() != "sereno/test" ||
		got.Header.Get("Content-Type") != "application/json" || string(body) != "{}" {
		t.Errorf("%s %s %v %q", got.Method, got.RequestURI, got.Header, body)
	}
	if want := "200 OK: thanks, \ufffdalot"; said() != want {
		t.Errorf("heard %q instead of %q", said(), want)
	}
}

func TestAYesThatDoesNotEndIsAYes(t *testing.T) {
	for name, rest := range map[string]func(w io.Writer, r *http.Request){
		"endless": func(w io.Writer, _ *http.Request) {
			for _, err := w.Write([]byte("yes")); err == nil; _, err = w.Write(bytes.Repeat([]byte("yes"), 10000)) {
			}
		},
		"silent": func(w io.Writer, r *http.Request) {
			w.Write([]byte("yes"))
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				io.Copy(io.Discard, r.Body)
				rest(w, r)
			}))
			defer server.Close()
			reply, err := NewWeb(Options{}, nil).Post(t.Context(), Call{URL: server.URL, MaxReply: 1000, Patience: time.Hour})
			if err != nil || !reply.Cut || len(reply.Body) > 1000 || !bytes.HasPrefix(reply.Body, []byte("yes")) {
				t.Errorf("%v, cut %v, %d bytes", err, reply.Cut, len(reply.Body))
			}
		})
	}
}

// TestWhoWasNotReachedHasNothing: only what was sent whole can be unsure.
func TestWhoWasNotReachedHasNothing(t *testing.T) {
	plain := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer plain.Close()
	secure := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a request came through") }))
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	defer secure.Close()
	gone := httptest.NewServer(nil)
	gone.Close()
	for name, url := range map[string]string{
		"nobody listens": gone.URL, "no TLS there": "https" + strings.TrimPrefix(plain.URL, "http"),
		"an unknown authority": secure.URL,
	} {
		t.Run(name, func(t *testing.T) {
			_, err := NewWeb(Options{}, nil).Post(t.Context(), Call{URL: url + "/s3cret-path", Body: []byte("x")})
			f, ok := errors.AsType[*Failure](err)
			if !ok || f.Unsure || f.Class != Passing || strings.Contains(f.Text, "s3cret-path") {
				t.Errorf("%+v", err)
			}
		})
	}
}

func TestReason(t *testing.T) {
	gone := httptest.NewServer(nil)
	gone.Close()
	_, err := NewWeb(Options{}, nil).Post(t.Context(), Call{URL: gone.URL})
	if want := "no connection to " + gone.Listener.Addr().String() + ": connection refused"; err == nil || err.Error() != want {
		t.Errorf("%v; it should be %s", err, want)
	}
	for err, want := range map[error]string{
		&net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "no such host", Name: "hooks.test", Server: "10.0.0.1:53", IsNotFound: true}}: "there is no host called hooks.test",
		&net.DNSError{Err: "server misbehaving", Name: "hooks.test"}:                                                                               "the name hooks.test cannot be resolved: server misbehaving",
		errors.New("something else"): "something else",
	} {
		if got := Reason(err); got != want {
			t.Errorf("%s; it should be %s", got, want)
		}
	}
}

func TestAnAuthorityOfOnesOwn(t *testing.T) {
	var n atomic.Int64
	server := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { n.Add(1) }))
	defer server.Close()
	roots, err := Roots("ca", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewWeb(Options{}, roots).Post(t.Context(), Call{URL: server.URL}); err != nil || n.Load() != 1 {
		t.Errorf("%v, %d requests", err, n.Load())
	}
}

// TestNoConnectionIsKept: HTTP/2 would keep one, and a goroutine with it.
func TestNoConnectionIsKept(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 2 {
			t.Errorf("it speaks %s", r.Proto)
		}
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	roots, err := Roots("ca", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))
	if err != nil {
		t.Fatal(err)
	}
	before := runtime.NumGoroutine()
	for range 10 {
		if _, err := NewWeb(Options{}, roots).Post(t.Context(), Call{URL: server.URL}); err != nil {
			t.Fatal(err)
		}
	}
	for end := time.Now().Add(30 * time.Second); runtime.NumGoroutine() > before; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d goroutines became %d", before, runtime.NumGoroutine())
		}
	}
}

func TestPatience(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	}))
	defer server.Close()
	_, err := NewWeb(Options{}, nil).Post(t.Context(), Call{URL: server.URL, Patience: 100 * time.Millisecond})
	if f := FailureOf(err); f.Text != "no answer within 100ms" || !f.Unsure {
		t.Errorf("%+v", f)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	time.AfterFunc(100*time.Millisecond, func() { cancel(errors.New("over")) })
	_, err = NewWeb(Options{}, nil).Post(ctx, Call{URL: server.URL})
	if f := FailureOf(err); f.Text != "stopped before an answer came" || !f.Unsure {
		t.Errorf("%+v", f)
	}
}

func TestVeil(t *testing.T) {
	const url = "https://user:pa%20ss@hooks.example.com/services/T0123456/B99/xyz_secret-token?key=qu3ry&a=b"
	const password = `p"ss w/rd+&é`
	quoted, _ := json.Marshal(password)
	text := strings.Join([]string{
		url, "hooks.example.com", "/services/T0123456/B99/xyz_secret-token?key=qu3ry&a=b", "xyz_secret-token", "T0123456", "qu3ry", "pa ss",
		password, string(quoted), "p%22ss+w%2Frd%2B%26%C3%A9", "cCJzcyB3L3JkKybDqQ==", "dXNlcjpwYSBzcw==", "/",
	}, "\n")
	want := strings.Join([]string{
		"[secret]", "hooks.example.com", "[secret]", "[secret]", "[secret]", "[secret]", "[secret]",
		"[secret]", `"[secret]"`, "[secret]", "[secret]", "[secret]", "/",
	}, "\n")
	if got := Veil(text, url, password, ""); got != want {
		t.Errorf("it leaves\n%s\ninstead of\n%s", got, want)
	}
	if got := Veil("/ is no secret, nor is a hook; /hook is", "http://127.0.0.1:80/", "http://127.0.0.1/hook"); got != "/ is no secret, nor is a hook; [secret] is" {
		t.Error(got)
	}
}

func TestProgress(t *testing.T) {
	var p Progress
	for i := range maxProgress + 10 {
		key := fmt.Sprint(i)
		p.Take(key, "a")
		p.Take(key, "b")
	}
	if got := p.Taken("0"); got != nil {
		t.Errorf("an old message is remembered: %v", got)
	}
	last := fmt.Sprint(maxProgress + 9)
	if got := p.Taken(last); fmt.Sprint(got) != "[a b]" {
		t.Errorf("the latest message: %v", got)
	}
	p.Done(last)
	p.Done(last)
	if p.Taken(last) != nil || len(p.taken) != len(p.order) {
		t.Errorf("a message that is done is remembered: %d, %d", len(p.taken), len(p.order))
	}
}

func TestSayingToNobody(t *testing.T) {
	Say(t.Context(), "hello")
	ctx, said := Hear(t.Context())
	Say(ctx, "a\nb"+strings.Repeat("c", 1000))
	if got := said(); !strings.HasPrefix(got, "a bc") || len([]rune(got)) != 2*MaxAnswer {
		t.Errorf("%q", got)
	}
}

func TestARefusalInOtherWords(t *testing.T) {
	for status, want := range map[int]Class{403: Passing, 404: Passing, 451: Passing, 400: Refused, 401: Refused, 413: Refused} {
		f := Doubt(&Failure{Class: Refused, Text: "no"}, Reply{Status: status})
		if f.Class != want || strings.HasPrefix(f.Text, "no, ") != (want == Passing) {
			t.Errorf("%d: %+v", status, f)
		}
	}
}

// TestSecretsWhereNobodyLooksForThem: a name in a URL that is a token, a host
// that is one, a password in the address of the proxy.
func TestSecretsWhereNobodyLooksForThem(t *testing.T) {
	w := NewWeb(Options{}, nil, "https://s3cr3t-token@eoq7abc1d2e3f4g.hooks.example.com/x")
	for _, said := range []string{
		"Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte("s3cr3t-token:")),
		"who is s3cr3t-token?",
		"there is no host called eoq7abc1d2e3f4g.hooks.example.com",
		"who is s3cr3t\u00ad-token?", // what is left out of a text must not put a secret together
	} {
		if got := w.Clean(said); !strings.Contains(got, veiled) || strings.Contains(got, "s3cr3t-token") || strings.Contains(got, "eoq7abc") {
			t.Errorf("%q is shown as %q", said, got)
		}
	}
	if got := w.Clean("hooks.example.com"); got != "hooks.example.com" {
		t.Errorf("the host is %q", got)
	}
	broken := proxied(func(*http.Request) (*url.URL, error) {
		return nil, errors.New(`invalid proxy address "http://anna:hunter2%@proxy:3128": parse error`)
	})
	if _, err := broken(nil); err == nil || strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), "HTTPS_PROXY") {
		t.Errorf("a proxy that cannot be read: %v", err)
	}
}

// TestCertificatesThatAreNotBelieved: it is said which, why, and what to do.
func TestCertificatesThatAreNotBelieved(t *testing.T) {
	quiet := func(s *httptest.Server) *httptest.Server {
		s.Config.ErrorLog = log.New(io.Discard, "", 0)
		return s
	}
	secure := quiet(httptest.NewUnstartedServer(http.NotFoundHandler()))
	secure.StartTLS()
	defer secure.Close()
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	go func() {
		for {
			conn, err := plain.Accept()
			if err != nil {
				return
			}
			io.WriteString(conn, "220 mail.example.com ESMTP\r\n")
			conn.Close()
		}
	}()
	pool := x509.NewCertPool()
	pool.AddCert(secure.Certificate())
	named := strings.Replace(secure.URL, "127.0.0.1", "localhost", 1)
	for _, c := range []struct {
		url, want string
		roots     *x509.CertPool
	}{
		{secure.URL, "the certificate is signed by nobody who is believed here; an authority of your own is given with ca", nil},
		{named, "the certificate is not for localhost, but for example.com", pool},
		{"https://" + plain.Addr().String(), "what answers there does not speak TLS: is it the right port, and is TLS meant?", nil},
	} {
		_, err := NewWeb(Options{}, c.roots).Post(t.Context(), Call{URL: c.url})
		if f := FailureOf(err); !strings.HasPrefix(f.Text, c.want) || f.Class != Passing || f.Unsure {
			t.Errorf("%+v; it should be %q", f, c.want)
		}
	}
}
