package loop

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"gnomon/edge/reconcile"
)

// Progress is what Components may do beyond their contract: tell how far a call
// of Resolve has come, in bytes. known is false when that isn't known.
type Progress interface {
	Progress(reference string) (done, total int64, known bool)
}

// errOverdue breaks off a step that takes longer than it may.
var errOverdue = errors.New("took too long")

// How long steps may take. None of them holds up another application: a step that
// is slow gives its slot to others long before.
const (
	startPatience  = time.Minute      // the set-up of an instance; usually it takes tens of milliseconds
	stopPatience   = 30 * time.Second // beyond the grace
	removePatience = 10 * time.Minute // with all the data it has
	stallPatience  = 2 * time.Minute  // a fetch that gets no further
	fetchPatience  = 30 * time.Minute // a fetch of which nothing tells how far it is

	slotPatience   = 20 * time.Second // in a slot without getting any further
	overseePause   = time.Second
	reportProgress = 5 * time.Second
	finishPatience = 90 * time.Second // for the steps under way when the agent ends
)

func patience(s reconcile.Step) time.Duration {
	switch s.Kind {
	case reconcile.Start, reconcile.Reload:
		return startPatience
	case reconcile.Stop, reconcile.Retire, reconcile.Withdraw:
		return s.Grace + stopPatience
	case reconcile.Remove:
		return removePatience
	default:
		return fetchPatience
	}
}

// enter takes a slot where steps of a kind are bounded in number.
func (l *Loop) enter(ctx context.Context, kind reconcile.StepKind) (release func(), err error) {
	slots := l.slots[kind]
	if slots == nil {
		return func() {}, nil
	}
	select {
	case slots <- struct{}{}:
		return sync.OnceFunc(func() { <-slots }), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// overseen is a step that is watched while it is carried out.
type overseen struct {
	*underway
	cancel  context.CancelCauseFunc
	release func() // its slot
	done    chan struct{}
}

// oversee gives the slot of a step that is slow to others, and breaks it off once
// it takes longer than it may, for as long as it is carried out.
func (l *Loop) oversee(o overseen) {
	defer o.release()
	ticker := time.NewTicker(overseePause)
	defer ticker.Stop()
	began := time.Now()
	further, before := began, int64(-1)
	for {
		select {
		case <-o.done:
			return
		case <-ticker.C:
		}
		now, limit := time.Now(), patience(o.step)
		if p, can := l.cfg.Components.(Progress); can && o.step.Kind == reconcile.Fetch {
			if done, _, known := p.Progress(o.step.Component); known {
				limit = stallPatience
				if done != before {
					further, before = now, done
				}
			}
		}
		if now.Sub(further) >= slotPatience {
			o.release()
		}
		if now.Sub(further) >= limit && !o.overdue.Swap(true) {
			o.cancel(fmt.Errorf("%s %w: nothing came of it for %s", o.step.Kind, errOverdue, limit))
		}
	}
}
