package api

import (
	"context"
	"fmt"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"sereno"
	"sereno/store"
)

// An Absence is the document of a stretch in which Sereno itself was not
// watching.
type Absence struct {
	Begin       sereno.Instant      `json:"begin" format:"date-time"`
	End         sereno.Instant      `json:"end" format:"date-time"`
	Seconds     Seconds             `json:"seconds"`
	Uncertainty Seconds             `json:"uncertainty_seconds" doc:"The true begin may be this much later than the last sign of life"`
	Cause       sereno.AbsenceCause `json:"cause" enum:"power_loss,reboot,crash,stopped,suspended,stalled,clock_step,restored"`
	Unsure      bool                `json:"unsure" doc:"The clock could not be trusted when it was written down"`
	Checks      int                 `json:"checks" doc:"How many checks could not be seen"`
}

type absenceList struct {
	Window
	Paging
}

func (d *desk) registerAbsences() {
	register(d, huma.Operation{
		OperationID: "listAbsences", Method: http.MethodGet, Path: "/api/absences",
		Summary: "When Sereno itself was not watching, latest first; by default all",
	}, d.absences)
}

func (d *desk) absences(ctx context.Context, in *absenceList) (*answer[Page[Absence]], error) {
	absences, cursor, err := d.Facts.Absences(ctx, store.AbsenceQuery{
		From: in.From.Instant, To: in.To.Instant, Cursor: in.Cursor, Limit: in.Limit,
	})
	if err != nil {
		return nil, fmt.Errorf("list absences: %w", err)
	}
	return page(absences, cursor, func(a sereno.Absence) Absence {
		return Absence{
			Begin: a.Begin, End: a.End, Seconds: Seconds(a.End.Sub(a.Begin)), Uncertainty: Seconds(a.Uncertainty),
			Cause: a.Cause, Unsure: a.Unsure, Checks: a.Checks,
		}
	}), nil
}
