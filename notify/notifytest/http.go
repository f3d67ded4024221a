package notifytest

import (
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// HTTP is a far end that speaks HTTP.
type HTTP struct {
	// Settings are good settings for the address http://127.0.0.1:port.
	Settings func(base string) string
	// Good answers a message that is taken, as documented; nil: 200 and "ok".
	Good func(w http.ResponseWriter, r *http.Request, body []byte)
	// Busy asks to come back in BusyFor; nil: 429 with Retry-After.
	Busy func(w http.ResponseWriter, r *http.Request)
	// Garbage answers with yes and nonsense; nil: 200 and some HTML.
	Garbage func(w http.ResponseWriter, r *http.Request)
	// Counts says whether a request is a message; nil: each is.
	Counts func(r *http.Request) bool
	// Refusal is the status of a refusal; 0 for 400.
	Refusal int
}

// Far starts it.
func (h HTTP) Far(t *testing.T) Far {
	f := &httpFar{HTTP: h, closing: make(chan struct{})}
	f.server = httptest.NewUnstartedServer(f)
	f.server.Config.ErrorLog = log.New(io.Discard, "", 0)
	f.server.Start()
	f.base = f.server.URL
	t.Cleanup(func() { close(f.closing); f.server.CloseClientConnections(); f.server.Close() })
	return f
}

type httpFar struct {
	HTTP
	server  *httptest.Server
	base    string
	closing chan struct{}
	flooded atomic.Int64

	mu     sync.Mutex
	manner Manner
	taken  []Sent
}

func (f *httpFar) Settings() string { return f.HTTP.Settings(f.base) }

func (f *httpFar) Behave(m Manner) {
	if m == Gone {
		f.server.Listener.Close()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.manner = m
}

func (f *httpFar) Taken() []Sent {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]Sent(nil), f.taken...)
}

// Flooded is how many bytes of endless answers were written.
func (f *httpFar) Flooded() int64 { return f.flooded.Load() }

func (f *httpFar) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	f.mu.Lock()
	manner := f.manner
	if (manner == Takes || manner == Garbage) && (f.Counts == nil || f.Counts(r)) {
		f.taken = append(f.taken, Sent{r.Method, r.URL.RequestURI(), r.Header, body})
	}
	f.mu.Unlock()
	switch manner {
	case Takes:
		if f.Good != nil {
			f.Good(w, r, body)
			return
		}
		fmt.Fprint(w, "ok")
	case Hangs:
		f.hang(r)
	case Trickles:
		for {
			if _, err := w.Write([]byte(" ")); err != nil {
				return
			}
			http.NewResponseController(w).Flush()
			select {
			case <-f.closing:
				return
			case <-r.Context().Done():
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	case Floods:
		junk := make([]byte, 32<<10)
		for i := range junk {
			junk[i] = ' '
		}
		for {
			n, err := w.Write(junk)
			f.flooded.Add(int64(n))
			if err != nil {
				return
			}
		}
	case Resets:
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		if tcp, ok := conn.(*net.TCPConn); ok {
			tcp.SetLinger(0)
		}
		conn.Close()
	case Busy:
		if f.Busy != nil {
			f.Busy(w, r)
			return
		}
		w.Header().Set("Retry-After", "30")
		w.WriteHeader(http.StatusTooManyRequests)
		fmt.Fprint(w, "slow down")
	case Fails:
		http.Error(w, "out of order\u202e\x00\r\n", http.StatusInternalServerError)
	case Refuses:
		status := f.Refusal
		if status == 0 {
			status = http.StatusBadRequest
		}
		w.WriteHeader(status)
		fmt.Fprintf(w, "%s%s %s %v ", f.base, r.URL.RequestURI(), r.URL.Path, r.Header)
		w.Write(body)
	case Garbage:
		if f.Garbage != nil {
			f.Garbage(w, r)
			return
		}
		fmt.Fprint(w, "<html><body>Welcome to the \u202e\x00\x1b[31m hotel</body></html>")
	case Redirects:
		http.Redirect(w, r, f.base+"/elsewhere", http.StatusFound)
	}
}

func (f *httpFar) hang(r *http.Request) {
	select {
	case <-f.closing:
	case <-r.Context().Done():
	}
}
