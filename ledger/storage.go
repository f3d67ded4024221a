package ledger

import (
	"context"

	"sereno"
)

// Storage says what is wrong with storage since at, "" that nothing is (any
// more). The first fault opens an incident of this vantage point's own, another
// one rewords it, and the end of all closes it: an incident about storage is
// written down like any other, by when there is somewhere to write it.
//
// Until the first call an incident from before the start stays as it was.
func (l *Ledger) Storage(ctx context.Context, at sereno.Instant, fault string) error {
	return l.do(ctx, func() { l.storageFault(at, fault) })
}

func (l *Ledger) storageFault(at sereno.Instant, fault string) {
	if l.faultAt == 0 || (l.fault == "") != (fault == "") {
		l.faultAt = at
	}
	l.fault = fault
	if !l.pendingClock { // else there is no true time to write yet
		l.confess()
	}
}

// confess makes the incident about storage say what is known.
func (l *Ledger) confess() {
	in := &l.storage
	switch {
	case l.faultAt == 0, l.fault == "" && in.ID == 0, l.fault != "" && in.ID != 0 && in.Reason == l.fault:
		return
	case l.fault == "":
		in.Closed = max(l.faultAt, in.Opened)
		l.write(*in)
		l.storage = sereno.Incident{}
		return
	case in.ID == 0:
		l.incidents++
		in.ID, in.Trouble, in.Opened = l.newID(), sereno.TroubleStorage, l.faultAt
	}
	in.Reason = l.fault
	l.write(*in)
}
