package lab

import (
	"context"
	"errors"
	"os"
	"sync"
	"testing"
)

// A Net is a namespace and the hosts that can be reached from it.
type Net struct {
	*Namespace
	*Responder
}

// Open makes a Net. Its hosts answer while Run runs.
func Open(script Script) (*Net, error) {
	ns, err := OpenNamespace("lab")
	if err != nil {
		return nil, err
	}
	r, err := OpenResponder(ns, script)
	if err != nil {
		ns.Close()
		return nil, err
	}
	return &Net{Namespace: ns, Responder: r}, nil
}

// Close takes the Net away. Run must have returned.
func (n *Net) Close() error { return errors.Join(n.Responder.Close(), n.Namespace.Close()) }

// New makes a Net that answers until the test ends. Without the right to make
// one the test is skipped.
func New(tb testing.TB, script Script) *Net {
	tb.Helper()
	ns := NewNamespace(tb, "lab")
	return &Net{Namespace: ns, Responder: NewResponder(tb, ns, script)}
}

// NewNamespace makes a namespace that lasts as long as the test. Without the
// right to make one the test is skipped.
func NewNamespace(tb testing.TB, name string) *Namespace {
	tb.Helper()
	ns, err := OpenNamespace(name)
	need(tb, err)
	tb.Cleanup(func() { ns.Close() })
	return ns
}

// NewSwitch makes a switch that lasts as long as the test. Without the right
// to make one the test is skipped.
func NewSwitch(tb testing.TB, name string) *Switch {
	tb.Helper()
	s, err := OpenSwitch(name)
	need(tb, err)
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Error(err)
		}
	})
	return s
}

// NewResponder makes hosts behind a namespace that answer until the test ends.
func NewResponder(tb testing.TB, ns *Namespace, script Script) *Responder {
	tb.Helper()
	r, err := OpenResponder(ns, script)
	need(tb, err)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := r.Run(ctx); err != nil {
			tb.Error(err)
		}
	})
	tb.Cleanup(func() {
		cancel()
		running.Wait()
		if err := r.Close(); err != nil {
			tb.Error(err)
		}
	})
	return r
}

func need(tb testing.TB, err error) {
	tb.Helper()
	if errors.Is(err, os.ErrPermission) {
		tb.Skipf("needs root (CAP_SYS_ADMIN, CAP_NET_ADMIN) to make network namespaces: %v", err)
	}
	if err != nil {
		tb.Fatal(err)
	}
}
