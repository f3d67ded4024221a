package app

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestTheBookkeeperReadsEveryHourWhateverGoesWrong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		read := 0
		b := &bookkeeper{log: slog.New(slog.NewTextHandler(&log, nil)), read: func(context.Context) error {
			if read++; read == 2 {
				return errors.New("the disk is full")
			}
			return nil
		}}
		ctx, stop := context.WithTimeout(t.Context(), 5*time.Hour)
		defer stop()
		if err := b.Run(ctx); err != nil {
			t.Fatal(err)
		}
		if read != 5 || strings.Count(log.String(), "disk is full") != 1 {
			t.Errorf("read %d times in five hours; the log says %s", read, &log)
		}
	})
}
