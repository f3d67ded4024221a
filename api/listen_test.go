package api

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"sereno"
)

func TestOnlyLoopbackIsListenedOn(t *testing.T) {
	tests := []struct {
		addr string
		kind sereno.Kind
		text string // of the refusal; empty: it listens
	}{
		{"127.0.0.1:0", 0, ""},
		{"127.99.1.2:0", 0, ""},
		{"localhost:0", 0, ""},
		{"[::ffff:127.0.0.1]:0", 0, ""},
		{":0", sereno.Forbidden, "refused to listen on all addresses"},
		{"0.0.0.0:0", sereno.Forbidden, "refused to listen on 0.0.0.0"},
		{"[::]:0", sereno.Forbidden, "refused to listen on ::"},
		{"10.0.0.1:0", sereno.Forbidden, "refused to listen on 10.0.0.1: Sereno has no users yet"},
		{"[2001:db8::1]:0", sereno.Forbidden, "refused to listen on 2001:db8::1"},
		{"127.0.0.1", sereno.Invalid, "write it as host:port"},
		{"127.0.0.1:http", sereno.Invalid, `"http" is no port`},
		{"127.0.0.1:65536", sereno.Invalid, "no port from 0 to 65535"},
		{"127.0.0.1:-1", sereno.Invalid, "no port from 0 to 65535"},
		{"nobody.invalid:0", sereno.Invalid, "the name has no address"},
	}
	for _, test := range tests {
		ln, err := Listen(t.Context(), test.addr, false)
		if test.text == "" {
			if err != nil {
				t.Errorf("%s: %v", test.addr, err)
				continue
			}
			if addr := ln.Addr().(*net.TCPAddr).IP; !addr.IsLoopback() {
				t.Errorf("%s listens on %s", test.addr, addr)
			}
			ln.Close()
			continue
		}
		if err == nil {
			ln.Close()
			t.Errorf("%s: it listens, want %q", test.addr, test.text)
		} else if sereno.KindOf(err) != test.kind || !strings.Contains(err.Error(), test.text) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v (kind %d), want %q (kind %d)", test.addr, err, sereno.KindOf(err), test.text, test.kind)
		}
	}
}

func TestInsecureListenTakesAnyAddress(t *testing.T) {
	ln, err := Listen(t.Context(), ":0", true)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if addr := ln.Addr().(*net.TCPAddr).AddrPort().Addr(); addr != netip.IPv6Unspecified() && addr != netip.IPv4Unspecified() {
		t.Errorf("it listens on %s alone", addr)
	}
}

func TestAPortInUseIsSaidInOneSentence(t *testing.T) {
	ln, err := Listen(t.Context(), "127.0.0.1:0", false)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	addr := ln.Addr().String()
	if _, err := Listen(t.Context(), addr, false); err == nil || sereno.KindOf(err) != sereno.Conflict || !strings.Contains(err.Error(), addr+": another program does already") {
		t.Errorf("%v", err)
	}
	if _, err := Listen(t.Context(), "203.0.113.77:0", true); err == nil || !strings.Contains(err.Error(), "no such address") {
		t.Errorf("an address of another machine: %v", err)
	}
}

// served runs Serve until the test is over or stop is called, which returns
// what Serve returned.
func served(t *testing.T, h http.Handler) (url string, stop func() error) {
	t.Helper()
	ln, err := Listen(t.Context(), "127.0.0.1:0", false)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() { result <- Serve(ctx, ln, h) }()
	return "http://" + ln.Addr().String(), func() error { cancel(); return <-result }
}

func TestServeEndsWithItsRequests(t *testing.T) {
	begun, finish := make(chan struct{}), make(chan struct{})
	url, stop := served(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(begun)
		<-finish
		io.WriteString(w, "done")
	}))
	text := make(chan string)
	go func() {
		r, err := http.Get(url)
		if err != nil {
			text <- err.Error()
			return
		}
		defer r.Body.Close()
		body, _ := io.ReadAll(r.Body)
		text <- string(body)
	}()
	<-begun
	ended := make(chan error)
	go func() { ended <- stop() }()
	select {
	case err := <-ended:
		t.Fatalf("it ended before its request: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	close(finish)
	if got := <-text; got != "done" {
		t.Errorf("the request under way got %q", got)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if res, err := http.Get(url); err == nil {
		res.Body.Close()
		t.Error("it still answers")
	}
}

func TestServeGivesUpOnARequestThatHangs(t *testing.T) {
	t.Parallel() // it waits for the whole grace
	begun, ended := make(chan struct{}), make(chan struct{})
	url, stop := served(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(ended)
		close(begun)
		<-r.Context().Done() // as a query of the store does
	}))
	go func() {
		if r, err := http.Get(url); err == nil {
			r.Body.Close()
		}
	}()
	<-begun
	if err := stop(); err != nil {
		t.Error(err)
	}
	select {
	case <-ended:
	default:
		t.Error("Serve returned while a request was under way")
	}
}

func TestServeSaysWhyItCannot(t *testing.T) {
	ln, err := Listen(t.Context(), "127.0.0.1:0", false)
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	if err := Serve(t.Context(), ln, http.NotFoundHandler()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("%v", err)
	}
}

func TestLargeHeadersAreRefused(t *testing.T) {
	url, stop := served(t, http.NotFoundHandler())
	r, err := http.NewRequestWithContext(t.Context(), "GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Large", strings.Repeat("a", 64<<10))
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("%s", answer.Status)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}
