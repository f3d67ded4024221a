package api

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"sereno"
	"sereno/doctor"
)

// examining is how long an examination may take: it reads everything.
const examining = time.Hour

func (d *desk) registerDoctor() {
	if d.Doctor == nil {
		return
	}
	var under sync.Mutex
	huma.Register(d.huma, huma.Operation{
		OperationID: "getDoctor", Method: http.MethodGet, Path: "/api/doctor", Summary: "Whether all that is remembered still proves itself",
		Description: "Reads every span and every look, which may take minutes. One at a time.",
		Errors:      []int{http.StatusConflict},
		Middlewares: huma.Middlewares{func(ctx huma.Context, next func(huma.Context)) {
			_, w := humago.Unwrap(ctx)
			control := http.NewResponseController(w)
			// Without it the answer would come too late; a server that does
			// not know it sets no limit.
			_ = control.SetWriteDeadline(time.Now().Add(examining))
			_ = control.SetReadDeadline(time.Time{})
			next(ctx)
		}},
	}, func(ctx context.Context, _ *struct{}) (*answer[doctor.Report], error) {
		if !under.TryLock() {
			return nil, d.problem(ctx, "getDoctor", sereno.Errorf(sereno.Conflict, "an examination is under way already: wait until it is done"))
		}
		defer under.Unlock()
		report, err := doctor.Examine(ctx, d.Doctor(), nil)
		if err != nil {
			return nil, d.problem(ctx, "getDoctor", err)
		}
		return &answer[doctor.Report]{report}, nil
	})
}
