package alert

import (
	"cmp"
	"context"
	"fmt"
	"runtime/debug"
	"time"

	"sereno"
	"sereno/message"
	"sereno/notify"
)

// send lets a delivery go that is on disk. A goroutine of its own gathers what
// it tells, at the last moment, and tries once.
func (d *Desk) send(del Delivery) {
	r := d.rules.Load()
	channel, now := r.Channel(del.Channel), d.o.Now()
	switch {
	case d.ending: // the next Desk sends it
		return
	case channel == nil: // it went just now
		delete(d.busy, del.Channel)
		d.engine.Tried(now, del.ID, Outcome{At: now, Failure: &notify.Failure{Text: "the channel is no longer set up"}})
		return
	}
	if del.Tries == 1 && d.o.Begun != nil {
		d.o.Begun(del.Channel, max(now.Sub(del.Due), 0))
	}
	s := d.story(r, del, now)
	d.tries++
	d.parts.Go(func() {
		var m notify.Message
		var err error
		o := Outcome{At: now}
		if wrong := d.safely(func() error { m, err = d.compose(d.running, s); return nil }); wrong != nil {
			o.Failure = notify.FailureOf(wrong)
		} else if err == nil {
			o = d.try(d.sending, channel, m)
		}
		d.bring(func() {
			d.tries--
			delete(d.busy, del.Channel)
			if err == nil {
				d.tried(del, o)
			}
		})
	})
}

// try sends a message once.
func (d *Desk) try(ctx context.Context, channel notify.Channel, m notify.Message) (o Outcome) {
	ctx, cancel := context.WithTimeout(ctx, tryPatience)
	defer cancel()
	ctx, said := notify.Hear(ctx)
	began := time.Now()
	err := d.safely(func() error { return channel.Send(ctx, m) })
	o = Outcome{At: d.o.Now(), Took: time.Since(began), Title: m.Title, Answer: said()}
	if err != nil {
		o.Failure = notify.FailureOf(err)
	}
	return o
}

// safely makes a failure of a panic: a mistake in one channel, or in what one
// message is made of, stops no other.
func (d *Desk) safely(f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			d.o.Log.Error("a message or its channel meets a mistake of Sereno's own", "panic", r, "stack", string(debug.Stack()))
			err = &notify.Failure{Unsure: true, Text: "a mistake of Sereno's own; the log says more"}
		}
	}()
	return f()
}

// tried takes in what came of a try.
func (d *Desk) tried(del Delivery, o Outcome) {
	ill := illness{until: o.At, why: d.ill[del.Channel].why, over: true}
	if o.Failure != nil {
		ill = illness{until: o.At, why: fmt.Sprintf("%s did not take messages (%s)", del.Channel, o.Failure.Text)}
	}
	if _, ever := d.ill[del.Channel]; (ever && !d.ill[del.Channel].over) || o.Failure != nil {
		d.ill[del.Channel] = ill
	}
	d.engine.Tried(o.At, del.ID, o)
	if d.o.Tried != nil {
		d.o.Tried(del.Channel, o)
	}
}

// because says why a delivery goes out only now; "" if it is not late.
func (d *Desk) because(now sereno.Instant, del Delivery) string {
	if now.Sub(del.Due) < lateAfter {
		return ""
	}
	ill := d.ill[del.Channel]
	switch {
	case del.Tries > 1 && del.Answer != "":
		return fmt.Sprintf("%s did not take it (%s)", del.Channel, del.Answer)
	case ill.until > del.Due:
		return ill.why
	case d.shut.until > del.Due:
		return d.shut.why
	case d.began > del.Due:
		return "Sereno was not running"
	default:
		return "other messages on " + del.Channel + " came before it"
	}
}

// Test sends a test message over a channel, directly, and writes down who did.
// The answer is what the other end said, also when it did not take the message:
// err is a *notify.Failure then. It is a sereno.Error of kind NotFound if there
// is no such channel.
func (d *Desk) Test(ctx context.Context, channel, who, via string) (answer string, err error) {
	r := d.rules.Load()
	c := r.Channel(channel)
	if c == nil {
		return "", sereno.Errorf(sereno.NotFound, "there is no channel called %q", channel)
	}
	now := d.o.Now()
	m := write(r, message.Facts{Event: string(notify.Test), Channel: channel}, now)
	m.Key = fmt.Sprintf("test-%s-%d", channel, now)
	o := d.try(ctx, c, m)
	answer = cmp.Or(o.Answer, "taken, without a word")
	if o.Failure != nil {
		answer, err = o.Failure.Text, o.Failure
	}
	audit := sereno.Audit{At: now, Who: who, Via: via, Action: "test", Target: "channel", Of: channel, Text: answer}
	noted := d.ask(context.WithoutCancel(ctx), func() error {
		d.audit = append(d.audit, audit)
		if o.Failure == nil {
			d.guard.mended[channel] = o.At
		}
		return nil
	})
	if noted != nil {
		d.o.Log.Warn("the test of a channel is not in the audit trail", "channel", channel, "who", who, "err", noted)
	}
	return answer, err
}
