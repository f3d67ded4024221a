package remote

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang/snappy"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"

	"sereno"
)

// A receiver is a store that takes remote writes over HTTP and remembers every
// sample, and how often it came.
type receiver struct {
	t *testing.T
	*httptest.Server

	mu       sync.Mutex
	answer   func(n int) (code int, header http.Header) // nil: 204
	requests int
	header   http.Header
	samples  map[string]map[int64][]float64 // series, time: values
}

func newReceiver(t *testing.T) *receiver {
	r := &receiver{t: t, samples: map[string]map[int64][]float64{}}
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Close)
	return r
}

// answers has it answer as f says, which is called for one request at a time.
func (r *receiver) answers(f func(n int) (code int, header http.Header)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = f
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.requests++
	r.header = req.Header.Clone()
	if r.answer != nil {
		code, header := r.answer(r.requests)
		maps.Copy(w.Header(), header)
		if code/100 != 2 {
			http.Error(w, "the store says\nno", code)
			return
		}
	}
	packed, err := io.ReadAll(req.Body)
	if err != nil {
		return // the sender was killed
	}
	body, err := snappy.Decode(nil, packed)
	if err != nil {
		r.t.Errorf("not snappy: %v", err)
	}
	var write prompb.WriteRequest
	if err := write.Unmarshal(body); err != nil {
		r.t.Errorf("no WriteRequest: %v", err)
	}
	for _, s := range write.Timeseries {
		l := s.ToLabels(new(labels.NewScratchBuilder(8)), nil)
		if _, bad := l.HasDuplicateLabelNames(); bad || !l.IsValid(2) {
			r.t.Errorf("labels are not as they should be: %v", l)
		}
		key := l.String()
		if r.samples[key] == nil {
			r.samples[key] = map[int64][]float64{}
		}
		for _, p := range s.Samples {
			r.samples[key][p.Timestamp] = append(r.samples[key][p.Timestamp], p.Value)
		}
	}
	w.WriteHeader(http.StatusNoContent)
}

func (r *receiver) count() (samples, twice int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.samples {
		for _, values := range s {
			samples++
			if len(values) > 1 {
				twice++
			}
		}
	}
	return samples, twice
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for !is() {
		select {
		case <-ctx.Done():
			t.Fatalf("never %s", what)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func start(t *testing.T, s *Sender) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return stop
}

func devices(n int) []sereno.Device {
	list := make([]sereno.Device, n)
	for i := range list {
		list[i] = sereno.Device{ID: sereno.DeviceID(100 + i), Checks: []sereno.Check{{ID: sereno.CheckID(1 + i), Kind: "icmp"}}}
	}
	return list
}

func results(second, n int) []sereno.Result {
	list := make([]sereno.Result, n)
	for i := range list {
		list[i] = sereno.Result{Check: sereno.CheckID(1 + i), At: sereno.Instant(second) * 1e6, Status: sereno.Up, RTT: time.Duration(second+i) * time.Microsecond}
	}
	return list
}

func newSender(dir string, log slog.Handler, targets ...Target) *Sender {
	s := New(Options{Dir: dir, Targets: targets, Agent: "sereno/test", Log: slog.New(log)})
	s.Know(devices(50))
	return s
}

// The two series of a check, with marks where one ends.
func TestWhatAStoreGets(t *testing.T) {
	store := newReceiver(t)
	s := newSender(t.TempDir(), slog.DiscardHandler, Target{
		Name: "store", URL: store.URL, Labels: map[string]string{"site": "plant1", "a": "b"}, BearerToken: "s3cret", Headers: map[string]string{"X-Scope-OrgID": "me"},
	})
	start(t, s)
	at := func(second int) sereno.Instant { return sereno.Instant(second)*1e6 + 7000 }
	s.Keep([]sereno.Result{
		{Check: 1, At: at(1), Status: sereno.Up, RTT: 1500 * time.Microsecond},
		{Check: 1, At: at(2), Status: sereno.Degraded, RTT: 90 * time.Millisecond},
		{Check: 1, At: at(3), Status: sereno.Down},
		{Check: 1, At: at(4), Status: sereno.Down},
		{Check: 1, At: at(5), Status: sereno.Unknown},
		{Check: 1, At: at(6), Status: sereno.Unknown},
		{Check: 1, At: at(7), Status: sereno.Up, RTT: time.Millisecond},
		{Check: 1, At: at(8), Status: sereno.Unknown},
		{Check: 2, Vantage: 3, At: at(9), Status: sereno.Up, RTT: time.Millisecond},
		{Check: 99, At: at(9), Status: sereno.Up}, // nobody's
	})
	eventually(t, "everything arrives", func() bool { n, _ := store.count(); return n == 14 })
	stale := "end"
	want := map[string]map[int64]any{
		`{__name__="sereno_rtt_seconds", a="b", check="1", device="100", kind="icmp", site="plant1", vantage="local"}`: {
			1007: sereno.StoredRTT(1500 * time.Microsecond), 2007: sereno.StoredRTT(90 * time.Millisecond), 3007: stale, 7007: sereno.StoredRTT(time.Millisecond), 8007: stale,
		},
		`{__name__="sereno_up", a="b", check="1", device="100", kind="icmp", site="plant1", vantage="local"}`: {
			1007: 1.0, 2007: 1.0, 3007: 0.0, 4007: 0.0, 5007: stale, 7007: 1.0, 8007: stale,
		},
		`{__name__="sereno_rtt_seconds", a="b", check="2", device="101", kind="icmp", site="plant1", vantage="3"}`: {9007: sereno.StoredRTT(time.Millisecond)},
		`{__name__="sereno_up", a="b", check="2", device="101", kind="icmp", site="plant1", vantage="3"}`:          {9007: 1.0},
	}
	store.mu.Lock()
	defer store.mu.Unlock()
	got := map[string]map[int64]any{}
	for key, series := range store.samples {
		got[key] = map[int64]any{}
		for at, values := range series {
			got[key][at] = values[0]
			if math.Float64bits(values[0]) == 0x7ff0000000000002 {
				got[key][at] = stale
			}
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the store got\n%v\nnot\n%v", got, want)
	}
	for name, value := range map[string]string{
		"Content-Type": "application/x-protobuf", "Content-Encoding": "snappy", "X-Prometheus-Remote-Write-Version": "0.1.0",
		"User-Agent": "sereno/test", "Authorization": "Bearer s3cret", "X-Scope-Orgid": "me",
	} {
		if got := store.header.Get(name); got != value {
			t.Errorf("%s is %q, not %q", name, got, value)
		}
	}
	if _, dropped := s.lines[0].queue.Load().waiting(); dropped[unknown] != 1 {
		t.Errorf("%d looks are counted as nobody's", dropped[unknown])
	}
}

// What a store answers decides what becomes of a request.
func TestWhatAStoreAnswers(t *testing.T) {
	for _, c := range []struct {
		code            int
		retryAfter      string
		sentAgain       bool
		logged, failing string
	}{
		{http.StatusServiceUnavailable, "", true, "samples wait on disk", ""},
		{http.StatusInternalServerError, "", true, "samples wait on disk", ""},
		{http.StatusTooManyRequests, "1", true, "samples wait on disk", ""},
		{http.StatusBadRequest, "", false, "400 Bad Request: the store says no", ""},
		{http.StatusUnauthorized, "", false, "401 Unauthorized: the store says no", ""},
		{http.StatusFound, "", false, "302 Found", ""},
	} {
		t.Run(strconv.Itoa(c.code), func(t *testing.T) {
			store := newReceiver(t)
			store.answer = func(n int) (int, http.Header) {
				if n == 1 {
					h := http.Header{"Location": {"http://127.0.0.1:1/"}}
					if c.retryAfter != "" {
						h.Set("Retry-After", c.retryAfter)
					}
					return c.code, h
				}
				return 204, nil
			}
			var log lockedBuilder
			s := newSender(t.TempDir(), slog.NewTextHandler(&log, nil), Target{Name: "store", URL: store.URL + "/?token=s3cret"})
			start(t, s)
			begin := time.Now()
			s.Keep(results(1, 50))
			want := 100
			if !c.sentAgain {
				eventually(t, "the refusal is counted", func() bool { return s.lines[0].refused.Load() == 50 })
				s.Keep(results(2, 10))
				want = 20
			}
			eventually(t, "the rest arrives", func() bool { n, _ := store.count(); return n == want })
			if c.retryAfter == "1" && time.Since(begin) < time.Second {
				t.Error("it did not wait for as long as it was told")
			}
			eventually(t, "nothing waits", func() bool { w, _ := s.lines[0].queue.Load().waiting(); return w.looks == 0 })
			if n := s.lines[0].failures.Load(); n != 1 {
				t.Errorf("%d requests are counted as failed", n)
			}
			if n := strings.Count(log.String(), c.logged); n != 1 || strings.Contains(log.String(), "s3cret") {
				t.Errorf("the log says %d times what it should say once, and no secret:\n%s", n, log.String())
			}
		})
	}
}

type lockedBuilder struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lockedBuilder) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuilder) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// A store that is away costs another one nothing, and gets all when it is back.
func TestAStoreThatIsAway(t *testing.T) {
	good, bad := newReceiver(t), newReceiver(t)
	away := true
	bad.answer = func(int) (int, http.Header) {
		if away {
			return 503, nil
		}
		return 204, nil
	}
	dir := t.TempDir()
	targets := []Target{{Name: "good", URL: good.URL}, {Name: "bad", URL: bad.URL}}
	s := newSender(dir, slog.DiscardHandler, targets...)
	stop := start(t, s)
	for second := range 200 {
		s.Keep(results(second, 50))
	}
	eventually(t, "the good one has all", func() bool { n, _ := good.count(); return n == 200*50*2 })
	if n, _ := bad.count(); n != 0 {
		t.Fatalf("the bad one has %d samples", n)
	}
	stop()
	s = newSender(dir, slog.DiscardHandler, targets...)
	start(t, s)
	bad.mu.Lock()
	away = false
	bad.mu.Unlock()
	eventually(t, "the bad one has all", func() bool { n, _ := bad.count(); return n == 200*50*2 })
	for _, store := range []*receiver{good, bad} {
		if n, twice := store.count(); n != 200*50*2 || twice != 0 {
			t.Errorf("%d samples, %d of them twice", n, twice)
		}
	}
}

// What is kept while nothing can be written is bounded, and counted.
func TestKeepNeverWaits(t *testing.T) {
	s := newSender(t.TempDir(), slog.DiscardHandler, Target{Name: "store", URL: "http://127.0.0.1:1"}) // it does not run
	batch := results(1, 1000)
	for range maxPending/1000 + 5 {
		s.Keep(batch)
	}
	if len(s.pending) != maxPending || s.missed != 5000 {
		t.Errorf("%d wait and %d were missed", len(s.pending), s.missed)
	}
}

// A process that is killed while it keeps and sends, again and again, with a
// store that fails now and then: what was written to disk arrives, in the end,
// and what arrives twice is what was on its way when it was killed.
func TestKilledAgainAndAgain(t *testing.T) {
	store := newReceiver(t)
	random := rand.New(rand.NewPCG(1, 2))
	moods := rand.New(rand.NewPCG(3, 4))
	store.answers(func(int) (int, http.Header) {
		if moods.IntN(10) == 0 {
			return 503, nil
		}
		return 204, nil
	})
	dir := t.TempDir()
	const kills = 10
	written := 0 // seconds of looks
	for range kills {
		child := exec.Command(os.Args[0], "-test.run=^TestHelperProcess$")
		child.Env = append(os.Environ(), "SERENO_TEST_DIR="+dir, "SERENO_TEST_URL="+store.URL, "SERENO_TEST_FROM="+strconv.Itoa(written))
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		target := written + 5 + random.IntN(40)
		for written < target {
			var second int
			if _, err := fmt.Fscanln(out, &second); err != nil {
				child.Process.Kill()
				t.Fatalf("the child says nothing more: %v, %v", err, child.Wait())
			}
			written = second + 1
		}
		if err := child.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		child.Wait() // it was killed
	}
	s := newSender(dir, slog.DiscardHandler, Target{Name: "store", URL: store.URL})
	start(t, s)
	eventually(t, "everything is sent", func() bool {
		q := s.lines[0].queue.Load()
		if q == nil {
			return false
		}
		w, _ := q.waiting()
		return w.looks == 0
	})
	store.mu.Lock()
	defer store.mu.Unlock()
	twice := 0
	for check := range 50 {
		for _, name := range []string{"sereno_up", "sereno_rtt_seconds"} {
			key := fmt.Sprintf(`{__name__=%q, check="%d", device="%d", kind="icmp", vantage="local"}`, name, 1+check, 100+check)
			for second := range written {
				values := store.samples[key][int64(second)*1000]
				if len(values) == 0 {
					t.Fatalf("%s of second %d never came, of %d", key, second, written)
				}
				want := 1.0
				if name == "sereno_rtt_seconds" {
					want = sereno.StoredRTT(time.Duration(second+check) * time.Microsecond)
				}
				for _, v := range values {
					if v != want {
						t.Fatalf("%s of second %d is %v, not %v", key, second, v, want)
					}
				}
				twice += len(values) - 1
			}
		}
	}
	if most := kills * requestLooks * 2; twice > most {
		t.Errorf("%d samples came again, which is more than what can have been on its way", twice)
	}
	t.Logf("%d samples arrived, %d of them came again", written*100, twice)
}

// TestHelperProcess is the process that is killed.
func TestHelperProcess(t *testing.T) {
	dir := os.Getenv("SERENO_TEST_DIR")
	if dir == "" {
		return
	}
	from, err := strconv.Atoi(os.Getenv("SERENO_TEST_FROM"))
	if err != nil {
		t.Fatal(err)
	}
	s := newSender(dir, slog.DiscardHandler, Target{Name: "store", URL: os.Getenv("SERENO_TEST_URL")})
	start(t, s)
	var q *queue
	for q == nil {
		time.Sleep(time.Millisecond)
		q = s.lines[0].queue.Load()
	}
	for second := from; ; second++ {
		s.Keep(results(second, 50))
		for on := false; !on; time.Sleep(time.Millisecond) {
			q.mu.Lock()
			on = q.appended == uint64(second-from+1)*50
			q.mu.Unlock()
		}
		fmt.Println(second)
	}
}

func TestTargets(t *testing.T) {
	good := Target{Name: "store", URL: "https://store.example/api/v1/write"}
	for _, c := range []struct {
		name   string
		change func(*Target)
		want   string
	}{
		{"good", func(*Target) {}, ""},
		{"no url", func(t *Target) { t.URL = "" }, "url: a target of remote_write needs a url, such as https://metrics.example/api/v1/write"},
		{"no scheme", func(t *Target) { t.URL = "store.example/write" }, "url: url begins with http:// or https:// and a host"},
		{"a user in the url", func(t *Target) { t.URL = "https://me:s3cret@store.example/" }, "url: write the user of store.example as username and password, not in its url: urls end up in logs"},
		{"a name that is a path", func(t *Target) { t.Name = "../x" }, `name: the name of a target is 1 to 63 letters, digits, '-', '_' or '.', and begins with a letter or a digit; not "../x"`},
		{"two ways in", func(t *Target) { t.BearerToken, t.Username = "a", "b" }, "bearer_token: a target has a bearer_token, or a username and a password, not both"},
		{"a password alone", func(t *Target) { t.Password = "s3cret" }, "password: a password needs a username"},
		{"a header of ours", func(t *Target) { t.Headers = map[string]string{"authorization": "x"} }, "headers: Authorization is set by Sereno itself (a password or a token has its own key)"},
		{"no header", func(t *Target) { t.Headers = map[string]string{"a b": "x"} }, `headers: "a b" is no header that can be sent`},
		{"a label of ours", func(t *Target) { t.Labels = map[string]string{"device": "x"} }, `labels: every series has a label "device" already`},
		{"no label", func(t *Target) { t.Labels = map[string]string{"1x": "x"} }, `labels: "1x" is no name of a label: letters, digits and '_', not beginning with a digit or '__'`},
		{"too short", func(t *Target) { t.Timeout = time.Millisecond }, "timeout: timeout is 1s to 5m0s, not 1ms"},
		{"too small", func(t *Target) { t.MaxBytes = 1 }, "max_size: max_size is at least 16 MB"},
	} {
		target := good
		c.change(&target)
		var said []string
		for _, e := range target.Validate() {
			said = append(said, e.Error())
		}
		if got := strings.Join(said, "\n"); got != c.want {
			t.Errorf("%s: %q, not %q", c.name, got, c.want)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"": 0, "7": 7 * time.Second, "-7": 0, "soon": 0, "99999999": 24 * time.Hour,
		"Sat, 21 Nov 2026 12:00:30 GMT": 30 * time.Second, "Sat, 21 Nov 2026 11:00:30 GMT": 0,
	} {
		if got := retryAfter(text, now); got != want {
			t.Errorf("%q is %v, not %v", text, got, want)
		}
	}
}

// A target whose folder cannot be made is told, and the others work.
func TestAQueueThatCannotBeOpened(t *testing.T) {
	store := newReceiver(t)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "broken"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var log lockedBuilder
	s := newSender(dir, slog.NewTextHandler(&log, nil), Target{Name: "broken", URL: store.URL}, Target{Name: "works", URL: store.URL})
	start(t, s)
	s.Keep(results(1, 50))
	eventually(t, "the other has all", func() bool { n, _ := store.count(); return n == 100 })
	if !strings.Contains(log.String(), "its queue cannot be opened") {
		t.Errorf("the log says nothing of it:\n%s", log.String())
	}
}
