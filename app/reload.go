package app

import (
	"context"
	"reflect"
	"time"

	"sereno"
	"sereno/store"
)

// reloadPause is how long a changed configuration waits for storage that is
// away before it is tried again.
const reloadPause = 5 * time.Second

// reload takes over a changed configuration each time it is asked to. A file
// with a mistake changes nothing: the log says what is wrong, with its line.
func reload(ctx context.Context, o Options, plan *plan, witnesses *watchpost, rules *rulebook) error {
	running := *o.Config
	var again <-chan time.Time // storage was away: until it is back, without saying so each time
	for {
		waited := false
		select {
		case <-ctx.Done():
			return nil
		case <-o.Reload:
		case <-again:
			waited = true
		}
		again = nil
		cfg, err := o.Load()
		if err != nil {
			o.Log.Error("the configuration has mistakes; what ran before goes on", "err", err)
			continue
		}
		var done store.Applied
		err = rules.Reload(ctx, cfg.Alerting, func() (err error) {
			done, err = plan.Apply(ctx, cfg.Devices)
			return err
		})
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			if sereno.KindOf(err) == sereno.Unavailable {
				again = time.After(reloadPause)
			}
			if again == nil || !waited {
				o.Log.Error("the configuration cannot be taken over; what ran before goes on", "err", err, "tried_again", again != nil)
			}
			continue
		}
		witnesses.Name(cfg.Witnesses)
		o.Log.Info("configuration taken over", "added", len(done.Added), "changed", len(done.Changed), "removed", len(done.Removed))
		if restart := *cfg; true {
			restart.Devices, restart.Witnesses, restart.Defaults, restart.Alerting, restart.Warnings = running.Devices, running.Witnesses, running.Defaults, running.Alerting, running.Warnings
			if !reflect.DeepEqual(restart, running) {
				o.Log.Warn("some settings changed that need a restart: all but devices, defaults, witnesses and alerting do")
			}
		}
	}
}
