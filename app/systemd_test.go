package app

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"sereno"
	"sereno/ledger"
)

func TestTheWatchdogIsServedWhileTheLedgerMakesProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex // of all that follows
		s := ledger.Statistics{Now: 1e15, Devices: map[sereno.Status]int{sereno.Up: 2, sereno.Down: 1}}
		var stuck error
		told := 0
		set := func(passed sereno.Instant, err error) {
			mu.Lock()
			defer mu.Unlock()
			s.Now, stuck = s.Now+passed, err
		}
		w := &watchdog{every: 10 * time.Second, log: slog.New(slog.DiscardHandler), ask: func(context.Context) (ledger.Statistics, error) {
			mu.Lock()
			defer mu.Unlock()
			return s, stuck
		}, tell: func(state string) {
			mu.Lock()
			defer mu.Unlock()
			told++
			if !strings.HasPrefix(state, "WATCHDOG=1\nSTATUS=devices watched: 3; up: 2, down: 1") {
				t.Errorf("%q", state)
			}
		}}
		go w.Run(t.Context())
		step := func(want int) {
			t.Helper()
			time.Sleep(10 * time.Second)
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			if told != want {
				t.Errorf("told %d times, not %d", told, want)
			}
		}
		synctest.Wait()
		set(1, nil)
		step(2)
		step(2) // its time stands still
		set(1, nil)
		step(3)
		set(1, errors.New("no answer"))
		step(3)
		set(0, nil)
		step(4)
	})
}

func TestTheServiceManagerIsTold(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	tellSystemd(slog.New(slog.DiscardHandler), daemon.SdNotifyReady)
	text := make([]byte, 100)
	if n, err := socket.Read(text); err != nil || string(text[:n]) != "READY=1" {
		t.Errorf("%q (%v)", text[:n], err)
	}
}
