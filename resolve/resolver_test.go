package resolve

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A zone is a name server for tests.
type zone struct {
	mu      sync.Mutex
	answers map[string]string // addresses, or "!" for a server that fails, or "-" for one that is silent
	took    time.Duration
	asked   map[string]int
	now     int
	most    int
}

var errServer = errors.New("the server fails")

func (z *zone) lookup(ctx context.Context, name string) ([]netip.Addr, error) {
	z.mu.Lock()
	text := z.answers[name]
	z.asked[name]++
	z.now++
	z.most = max(z.most, z.now)
	z.mu.Unlock()
	defer func() {
		z.mu.Lock()
		defer z.mu.Unlock()
		z.now--
	}()
	if text == "-" {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	time.Sleep(z.took)
	if text == "!" {
		return nil, errServer
	}
	var addrs []netip.Addr
	for word := range strings.FieldsSeq(text) {
		addrs = append(addrs, netip.MustParseAddr(word))
	}
	return addrs, nil
}

func (z *zone) answer(name, text string) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.answers[name] = text
}

func (z *zone) count(name string) int {
	z.mu.Lock()
	defer z.mu.Unlock()
	return z.asked[name]
}

// resolving runs a Resolver on z until the test ends; told returns what it
// reported since it was last called.
func resolving(t *testing.T, z *zone, o Options) (r *Resolver, told func() string) {
	t.Helper()
	z.asked = map[string]int{}
	var mu sync.Mutex
	var lines []string
	o.Lookup = z.lookup
	o.Changed = func(name string, addr netip.Addr, err error) {
		mu.Lock()
		defer mu.Unlock()
		line := fmt.Sprint(name, " ", addr)
		if err != nil {
			line += ": " + err.Error()
		}
		lines = append(lines, line)
	}
	r = New(o)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return r, func() string {
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		slices.Sort(lines)
		text := strings.Join(lines, "; ")
		lines = nil
		return text
	}
}

func TestANameStory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := &zone{answers: map[string]string{"host.example": "192.0.2.1 192.0.2.2"}, took: 10 * time.Millisecond}
		r, told := resolving(t, z, Options{})
		r.Set([]string{"host.example"})
		for _, step := range []struct{ what, answer, want string }{
			{"the first answer counts", "192.0.2.1 192.0.2.2", "host.example 192.0.2.1"},
			{"the same again is no news", "192.0.2.1 192.0.2.2", ""},
			{"another order is no news", "192.0.2.2 192.0.2.1", ""},
			{"the server fails: the address stays, said once", "!", "host.example 192.0.2.1: the server fails"},
			{"still", "!", ""},
			{"the server is silent: still the same trouble", "-", ""},
			{"it is back", "192.0.2.1", "host.example 192.0.2.1"},
			{"no answers: the address stays", "", "host.example 192.0.2.1: the name has no address"},
			{"it moved", "192.0.2.7", "host.example 192.0.2.7"},
			{"useless answers are none", "0.0.0.0 :: 224.0.0.1", "host.example 192.0.2.7: the name has no address"},
			{"to the other family", "2001:db8::1 192.0.2.9", "host.example 2001:db8::1"},
			{"with a zone", "fe80::1%eth0", "host.example fe80::1%eth0"},
			{"in the other family's clothes", "::ffff:192.0.2.3", "host.example 192.0.2.3"},
		} {
			z.answer("host.example", step.answer)
			time.Sleep(2 * time.Minute)
			if got := told(); got != step.want {
				t.Errorf("%s: told %q, want %q", step.what, got, step.want)
			}
		}
	})
}

func TestANameIsAskedForOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := &zone{answers: map[string]string{}}
		var names []string
		for i := range 500 {
			name := fmt.Sprintf("host-%d.example", i)
			names = append(names, name)
			z.answers[name] = "192.0.2.1"
		}
		r, told := resolving(t, z, Options{})
		r.Set(names)
		told()
		time.Sleep(2 * time.Minute) // each has come to its place
		told()
		before := make(map[string]int)
		for _, name := range names {
			before[name] = z.count(name)
		}
		// Second by second: the names are spread over the minute.
		most, last := 0, total(z)
		for range 600 {
			time.Sleep(time.Second)
			synctest.Wait()
			most, last = max(most, total(z)-last), total(z)
		}
		for _, name := range names {
			if n := z.count(name) - before[name]; n != 10 {
				t.Errorf("%s was asked for %d times in ten minutes", name, n)
			}
		}
		if most > 40 { // 8.3 in the mean
			t.Errorf("%d of 500 names were asked for in one second", most)
		}
	})
}

func total(z *zone) (n int) {
	z.mu.Lock()
	defer z.mu.Unlock()
	for _, asked := range z.asked {
		n += asked
	}
	return n
}

func TestANameWithoutAddressIsAskedForSoonAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := &zone{answers: map[string]string{"host.example": "!"}}
		r, told := resolving(t, z, Options{})
		r.Set([]string{"host.example"})
		if got := told(); got != "host.example invalid IP: the server fails" {
			t.Errorf("told %q", got)
		}
		time.Sleep(7 * time.Second)
		z.answer("host.example", "192.0.2.1")
		time.Sleep(5 * time.Second)
		if got := told(); got != "host.example 192.0.2.1" {
			t.Errorf("told %q", got)
		}
	})
}

func TestLiteralsAreNeverAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := &zone{}
		r, told := resolving(t, z, Options{})
		r.Set([]string{"192.0.2.1", "2001:db8::1", "fe80::1%eth0", "192.0.2.1"})
		if got, want := told(), "192.0.2.1 192.0.2.1; 2001:db8::1 2001:db8::1; fe80::1%eth0 fe80::1%eth0"; got != want {
			t.Errorf("told %q, want %q", got, want)
		}
		time.Sleep(10 * time.Minute)
		if got := told(); got != "" || total(z) != 0 {
			t.Errorf("told %q, asked %d times", got, total(z))
		}
	})
}

func TestAtMostSoManyAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := &zone{answers: map[string]string{}, took: time.Second}
		var names []string
		for i := range 30 {
			names = append(names, fmt.Sprintf("host-%d.example", i))
			z.answers[names[i]] = "192.0.2.1"
		}
		r, told := resolving(t, z, Options{AtOnce: 10})
		r.Set(names)
		time.Sleep(3*time.Second + time.Millisecond)
		if n := strings.Count(told(), ";") + 1; n != 30 || z.most != 10 {
			t.Errorf("told of %d names, asked for %d at once", n, z.most)
		}
	})
}

func TestSetForgetsAndKeeps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		z := &zone{answers: map[string]string{"a": "192.0.2.1", "b": "192.0.2.2", "slow": "-", "c": "192.0.2.3"}}
		r, told := resolving(t, z, Options{})
		r.Set([]string{"a", "b", "slow"})
		if got := told(); got != "a 192.0.2.1; b 192.0.2.2" {
			t.Errorf("told %q", got)
		}
		r.Set([]string{"b", "c"})
		if got := told(); got != "c 192.0.2.3" {
			t.Errorf("a name that stays, and a new one: told %q", got)
		}
		z.answer("a", "192.0.2.9")
		asked := z.count("a")
		time.Sleep(10 * time.Minute)
		if got := told(); got != "" || z.count("a") != asked || z.count("slow") != 1 {
			t.Errorf("of forgotten names: told %q, asked %d and %d times", got, z.count("a")-asked, z.count("slow"))
		}
		r.Set([]string{"a"})
		if got := told(); got != "a 192.0.2.9" {
			t.Errorf("one that is wanted again: told %q", got)
		}
	})
}

func TestRunWaitsForTheLookupsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		returned := false
		r := New(Options{Lookup: func(ctx context.Context, _ string) ([]netip.Addr, error) {
			<-ctx.Done()
			time.Sleep(time.Second)
			returned = true
			return nil, ctx.Err()
		}})
		r.Set([]string{"host.example"})
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if err := r.Run(ctx); err != nil || !returned {
			t.Errorf("Run returned %v, the lookup %v", err, returned)
		}
	})
}
