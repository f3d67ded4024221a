package api

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"sereno/backup"
)

// Backups writes all that is remembered into one stream (backup.Source).
type Backups interface {
	// Begin is refused with a Conflict while another backup is being written;
	// write is to be called, once.
	Begin() (write func(ctx context.Context, to io.Writer, progress func(backup.Progress)) (backup.Manifest, error), err error)
}

// stuck is how long whoever takes a long answer may take for one piece of it.
const stuck = time.Minute

func (d *desk) registerBackup() {
	if d.Backups == nil {
		return
	}
	register(d, huma.Operation{
		OperationID: "getBackup", Method: http.MethodGet, Path: "/api/backup", Summary: "Everything in one file, of one moment, not encrypted",
		Description: "A tar archive, compressed with Zstandard: see docs/backup.md. A stream that breaks off is no backup; sereno backup verify tells.",
		Errors:      []int{http.StatusConflict},
		Responses: map[string]*huma.Response{"200": {
			Description: "A backup", Content: map[string]*huma.MediaType{"application/zstd": {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}},
		}},
	}, d.backup)
}

func (d *desk) backup(_ context.Context, _ *struct{}) (*huma.StreamResponse, error) {
	write, err := d.Backups.Begin()
	if err != nil {
		return nil, err
	}
	return &huma.StreamResponse{Body: func(ctx huma.Context) {
		_, w := humago.Unwrap(ctx)
		ctx.SetHeader("Content-Type", "application/zstd")
		ctx.SetHeader("Content-Disposition", fmt.Sprintf(`attachment; filename="sereno-%s.backup"`, d.Now().Time().Format("2006-01-02T150405Z")))
		control := http.NewResponseController(w)
		err := control.SetReadDeadline(time.Time{}) // when it passes the request would end
		if err == nil {
			_, err = write(ctx.Context(), patient{w, control}, nil)
		}
		if err != nil {
			if ctx.Context().Err() == nil {
				d.Log.Error("a backup broke off", "err", err)
			}
			panic(http.ErrAbortHandler) // the only way to say that what was sent is not all
		}
	}}, nil
}

// A patient writer takes as long as it takes, as long as it goes on.
type patient struct {
	to      io.Writer
	control *http.ResponseController
}

func (p patient) Write(b []byte) (int, error) {
	if err := p.control.SetWriteDeadline(time.Now().Add(stuck)); err != nil {
		return 0, fmt.Errorf("allow more time: %w", err)
	}
	return p.to.Write(b)
}
