package app

import (
	"context"
	"reflect"
)

// reload takes over a changed configuration each time it is asked to. A file
// with a mistake changes nothing: the log says what is wrong, with its line.
func reload(ctx context.Context, o Options, plan *plan, witnesses *watchpost) error {
	running := *o.Config
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-o.Reload:
		}
		cfg, err := o.Load()
		if err != nil {
			o.Log.Error("the configuration has mistakes; what ran before goes on", "err", err)
			continue
		}
		done, err := plan.Apply(ctx, cfg.Devices)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			o.Log.Error("the configuration cannot be taken over; what ran before goes on", "err", err)
			continue
		}
		witnesses.Name(cfg.Witnesses)
		o.Log.Info("configuration taken over", "added", len(done.Added), "changed", len(done.Changed), "removed", len(done.Removed))
		if restart := *cfg; true {
			restart.Devices, restart.Witnesses, restart.Defaults = running.Devices, running.Witnesses, running.Defaults
			if !reflect.DeepEqual(restart, running) {
				o.Log.Warn("some settings changed that need a restart: all but devices, defaults and witnesses do")
			}
		}
	}
}
