package upgrade

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"gnomon/edge/upgrade/slot"
)

// look is how often an agent on trial looks at itself.
const look = 250 * time.Millisecond

// prove waits until this version is healthy and has been for long enough, and
// keeps it. What it waits for is written down for the launcher, which ends the
// trial when it has taken too long.
func (u *Upgrade) prove(ctx context.Context) error {
	intent := u.dir.Intent()
	log := u.cfg.Log.With("version", u.cfg.Version, "start", u.cfg.Launch.Trial)
	log.Info("on trial")
	var said string
	var well time.Time
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		if u.unwanted(intent) {
			log.Info("trial abandoned: the version before is wanted again")
			if err := u.dir.Abandon(); err != nil {
				return fmt.Errorf("abandon a trial: %w", err)
			}
			return ErrHandOver
		}
		waiting, cloud := u.lacks(intent)
		if len(waiting) > 0 {
			well = time.Time{}
		} else if well.IsZero() {
			well = time.Now()
		}
		if !well.IsZero() && time.Since(well) >= u.cfg.Launch.Settle {
			return u.keep(intent)
		}
		if text := strings.Join(waiting, "; "); text != said {
			said = text
			u.set(Status{Phase: Trial, From: intent.From, To: u.cfg.Version, Waiting: waiting})
			if err := u.dir.SetHealth(slot.Health{Target: u.cfg.Launch.Target, Waiting: waiting, Cloud: cloud}); err != nil {
				return fmt.Errorf("write what a trial waits for: %w", err)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// unwanted tells whether the version before this one is wanted again.
func (u *Upgrade) unwanted(intent slot.Intent) bool {
	a, asked := u.want()
	return asked && a != nil && a.Version == intent.From && a.Version != u.cfg.Version
}

// lacks says what this agent lacks to be healthy; cloud tells that it is nothing
// but the cloud. That its store could be opened is why it is here at all.
func (u *Upgrade) lacks(intent slot.Intent) (waiting []string, cloud bool) {
	if _, asked := u.want(); !asked {
		waiting = append(waiting, "it has not gone over its workloads yet")
	}
	if len(u.missing) > 0 {
		slices.Sort(u.missing)
		waiting = append(waiting, "it doesn't know the running "+strings.Join(u.missing, ", "))
	}
	if u.cfg.Cloud() || !intent.Cloud && time.Since(u.began) >= u.cfg.Launch.Alone {
		return waiting, false
	}
	cloud = len(waiting) == 0
	if intent.Cloud {
		return append(waiting, "no connection to the cloud"), cloud
	}
	return append(waiting, fmt.Sprintf("no connection to the cloud, nor %s without it", u.cfg.Launch.Alone)), cloud
}

// keep makes this version the current one.
func (u *Upgrade) keep(intent slot.Intent) error {
	if err := u.dir.Commit(u.cfg.Launch.Factory); err != nil {
		return fmt.Errorf("keep version %s: %w", u.cfg.Version, err)
	}
	u.cfg.Log.Info("version kept", "version", u.cfg.Version, "before", intent.From)
	u.trial = false
	u.set(Status{Phase: Done, From: intent.From, To: u.cfg.Version})
	return nil
}
