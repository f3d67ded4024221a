package alert

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"sereno"
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
	o := Order{Action: a.Action, Who: a.Who, Via: via}
	did, then := "Done", "."
	switch a.Action {
	case "acknowledge":
		did, then = "Acknowledged", ": no more reminders."
	case "unacknowledge":
		did, then = "No longer acknowledged", ": reminders go on."
	case "snooze":
		o.Until = d.o.Now().Add(a.For)
		did, then = "Snoozed", fmt.Sprintf(" until %s.", o.Until.Time().In(d.Plan().Zone()).Format("15:04"))
	}
	ctx, cancel := context.WithTimeout(ctx, answerPatience)
	defer cancel()
	ids := []sereno.IncidentID{a.Incident}
	if a.Key != "" {
		var err error
		if ids, err = d.toldBy(ctx, a.Key); err != nil {
			return err.Error(), false
		}
	}
	ended, err := d.DoAll(ctx, o, ids)
	switch {
	case err != nil:
		return err.Error(), false
	case len(ids) == 1:
		return did + then, true
	case len(ended) == len(ids):
		return fmt.Sprintf("%s, all %d%s", did, len(ids), then), true
	}
	return fmt.Sprintf("%s, %d of %d%s For the others there was nothing to do.", did, len(ended), len(ids), then), true
}

// toldBy returns what the message with a key tells of. A number alone would not
// do: after a restored backup it is that of another message.
func (d *Desk) toldBy(ctx context.Context, key string) ([]sereno.IncidentID, error) {
	number, _, _ := strings.Cut(key, "-")
	id, err := strconv.ParseInt(number, 10, 64)
	var del Delivery
	if err == nil {
		del, err = d.o.Stories.Delivery(ctx, DeliveryID(id))
	}
	switch ids := del.Incidents(); {
	case err == nil && del.Key == key && len(ids) > 0:
		return ids, nil
	case err != nil && id != 0 && sereno.KindOf(err) != sereno.NotFound:
		d.o.Log.Warn("somebody answers a message that cannot be read", "delivery", id, "err", err)
		return nil, sereno.Errorf(sereno.Unavailable, "the storage does not answer; press again in a minute")
	}
	return nil, sereno.Errorf(sereno.NotFound, "what this message told of is no longer known")
}
