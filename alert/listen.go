package alert

import (
	"context"
	"fmt"
	"time"

	"sereno/notify"
)

// answerPatience is how long somebody who pressed a button waits to hear of it.
const answerPatience = 10 * time.Second

// A listening hears what people answer on a channel.
type listening struct {
	to   notify.Listener
	stop context.CancelFunc
	done chan struct{}
}

// listen hears people on the channels of the plan. Where a channel has become
// another one, that begins once the old one has ended: of two that ask a far end
// at once, one goes away empty.
func (d *Desk) listen() {
	before := d.listening
	d.listening = map[string]listening{}
	for _, name := range d.rules.Load().names {
		channel := d.rules.Load().channels[name]
		to, ok := channel.open.(notify.Listener)
		if !ok {
			continue
		}
		old, was := before[name]
		if was && old.to == to {
			d.listening[name] = old
			delete(before, name)
			continue
		}
		ctx, stop := context.WithCancel(d.running)
		l := listening{to, stop, make(chan struct{})}
		d.listening[name] = l
		d.parts.Go(func() {
			defer close(l.done)
			if was {
				<-old.done
			}
			err := to.Listen(ctx, func(ctx context.Context, a notify.Answer) (string, bool) { return d.answer(ctx, channel.Kind, a) })
			if err != nil && ctx.Err() == nil {
				d.o.Log.Error("nobody is heard on a channel any more, until it is set up anew or Sereno is started again", "channel", name, "err", err)
			}
		})
	}
	for _, l := range before {
		l.stop()
	}
}

// answer does what somebody wants, and says to that person what came of it, and
// whether it is done.
func (d *Desk) answer(ctx context.Context, via string, a notify.Answer) (reply string, done bool) {
	o := Order{Action: a.Action, Incident: a.Incident, Who: a.Who, Via: via}
	reply = "Done."
	switch a.Action {
	case "acknowledge":
		reply = "Acknowledged: no more reminders."
	case "unacknowledge":
		reply = "No longer acknowledged: reminders go on."
	case "snooze":
		o.Until = d.o.Now().Add(a.For)
		reply = fmt.Sprintf("Snoozed until %s.", o.Until.Time().In(d.Plan().Zone()).Format("15:04"))
	}
	ctx, cancel := context.WithTimeout(ctx, answerPatience)
	defer cancel()
	if err := d.Do(ctx, o); err != nil {
		return err.Error(), false
	}
	return reply, true
}
