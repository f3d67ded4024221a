package alert

import (
	"context"
	"fmt"
	"sync"
	"time"

	"sereno/notify"
)

// A listener hears what people answer on the channels of one plan.
type listener struct {
	stop context.CancelFunc
	done chan struct{} // closed when nobody listens any more
}

// listen begins to hear people on the channels of the plan, once those who heard
// them on the channels of the plan before have ended: of two that ask a far end
// at once, one goes away empty.
func (d *Desk) listen() {
	before, p := d.listener, d.rules.Load()
	ctx, stop := context.WithCancel(d.sending)
	done := make(chan struct{})
	d.listener = listener{stop, done}
	if before.stop != nil {
		before.stop()
	}
	d.parts.Go(func() {
		defer close(done)
		if before.done != nil {
			<-before.done
		}
		var all sync.WaitGroup
		defer all.Wait()
		for _, c := range p.Book.Channels {
			l, ok := p.Channel(c.Name).(notify.Listener)
			if !ok {
				continue
			}
			all.Go(func() {
				err := l.Listen(ctx, func(ctx context.Context, a notify.Answer) string { return d.answer(ctx, c.Kind, a) })
				if err != nil && ctx.Err() == nil {
					d.o.Log.Error("nobody is heard on a channel any more, until its configuration changes or Sereno is started again", "channel", c.Name, "err", err)
				}
			})
		}
	})
}

// answer does what somebody wants, and says for that person what came of it.
func (d *Desk) answer(ctx context.Context, via string, a notify.Answer) (reply string) {
	o := Order{Action: a.Action, Incident: a.Incident, Who: a.Who, Via: via}
	done := "Done."
	switch a.Action {
	case "acknowledge":
		done = "Acknowledged: no more reminders and no escalation."
	case "snooze":
		o.Until = d.o.Now().Add(a.For)
		done = fmt.Sprintf("Snoozed until %s.", o.Until.Time().In(d.rules.Load().Zone()).Format("15:04"))
	}
	ctx, cancel := context.WithTimeout(ctx, answerPatience)
	defer cancel()
	if err := d.Do(ctx, o); err != nil {
		return err.Error()
	}
	return done
}

// answerPatience is how long somebody who pressed a button waits to hear of it.
const answerPatience = 10 * time.Second
