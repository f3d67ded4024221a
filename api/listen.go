package api

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"syscall"
	"time"

	"sereno"
)

// Listen opens addr ("127.0.0.1:8080", "localhost:0") for Serve. Until there
// are users, only loopback addresses are allowed: a name must mean nothing
// else, and no host means all interfaces. insecure allows any address.
func Listen(ctx context.Context, addr string, insecure bool) (net.Listener, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, sereno.Errorf(sereno.Invalid, "cannot listen on %q: write it as host:port, such as 127.0.0.1:8080", addr)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil {
		return nil, sereno.Errorf(sereno.Invalid, "cannot listen on %q: %q is no port from 0 to 65535", addr, port)
	} else {
		port = strconv.FormatUint(n, 10)
	}
	if !insecure {
		local, err := loopback(ctx, host)
		if err != nil {
			return nil, err
		}
		host = local.String()
	}
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort(host, port))
	switch {
	case err == nil:
		return ln, nil
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, sereno.Errorf(sereno.Conflict, "cannot listen on %s: another program does already (perhaps another Sereno); stop it, or choose another port with --listen", addr)
	case errors.Is(err, syscall.EACCES):
		return nil, sereno.Errorf(sereno.Forbidden, "cannot listen on %s: this user may not open the port; choose one above 1023 with --listen", addr)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return nil, sereno.Errorf(sereno.Invalid, "cannot listen on %s: this machine has no such address; choose another with --listen", addr)
	default:
		return nil, sereno.Errorf(sereno.Invalid, "cannot listen on %s: %v", addr, err)
	}
}

// loopback returns the address that host means, if it means only this machine.
func loopback(ctx context.Context, host string) (netip.Addr, error) {
	refused := func(what string) error {
		return sereno.Errorf(sereno.Forbidden, "refused to listen on %s: Sereno has no users yet, so whoever can connect may do anything; "+
			"use 127.0.0.1, or --insecure-listen if you know who can connect", what)
	}
	if host == "" {
		return netip.Addr{}, refused("all addresses")
	}
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil || len(addrs) == 0 {
		return netip.Addr{}, sereno.Errorf(sereno.Invalid, "cannot listen on %q: the name has no address; use 127.0.0.1", host)
	}
	best := addrs[0].Unmap()
	for _, a := range addrs {
		a = a.Unmap()
		if !a.IsLoopback() {
			return netip.Addr{}, refused(host)
		}
		if a.Is4() && !best.Is4() {
			best = a
		}
	}
	return best, nil
}

// grace is how long requests under way may take after the end was asked for.
const grace = 3 * time.Second

// stopKey is where a request finds out that the server wants to stop.
type stopKey struct{}

// stopping is closed when the server that a request came to wants to stop: what
// would go on for ever ends then. nil without such a server.
func stopping(ctx context.Context) <-chan struct{} {
	stop, _ := ctx.Value(stopKey{}).(<-chan struct{})
	return stop
}

// Serve answers requests on ln until ctx ends. It closes ln, gives requests
// under way a few seconds, and returns when all of them are done.
func Serve(ctx context.Context, ln net.Listener, handler http.Handler) error {
	requests, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()

	// Requests hold gate for reading; once it is held for writing none is left
	// and none can begin.
	var gate sync.RWMutex
	srv := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !gate.TryRLock() {
				refuse(w, http.StatusServiceUnavailable, "this server is stopping")
				return
			}
			defer gate.RUnlock()
			handler.ServeHTTP(w, r)
		}),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       15 * time.Second,
		WriteTimeout:      time.Minute,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		BaseContext:       func(net.Listener) context.Context { return context.WithValue(requests, stopKey{}, ctx.Done()) },
		ErrorLog:          slog.NewLogLogger(slog.Default().Handler(), slog.LevelWarn),
	}

	var wg sync.WaitGroup
	var served error
	ended := make(chan struct{})
	wg.Go(func() {
		defer close(ended)
		served = srv.Serve(ln)
	})
	select {
	case <-ctx.Done():
	case <-ended:
	}
	limit, stop := context.WithTimeout(requests, grace)
	defer stop()
	if srv.Shutdown(limit) != nil {
		cancel()
		srv.Close()
	}
	wg.Wait()
	gate.Lock()
	if errors.Is(served, http.ErrServerClosed) {
		return nil
	}
	return served
}
