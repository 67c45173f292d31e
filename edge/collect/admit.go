package collect

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"gnomon/schema"
)

// ErrCrowded is said of a policy that its port has no time for beside the others.
var ErrCrowded = errors.New("no room on the port")

// admit refuses a policy that, with the others on its port, needs more time than
// there is even at the pace of the fastest meters. The engine must be locked.
func (e *Engine) admit(name string, p *schema.Policy) error {
	if !p.IsEnabled() {
		return nil
	}
	sum := p.Share()
	var others []string
	for _, other := range slices.Sorted(maps.Keys(e.policies)) {
		o := e.policies[other].policy
		if other == name || !o.IsEnabled() || !samePort(o.Source, p.Source) {
			continue
		}
		sum += o.Share()
		others = append(others, demand(other, o))
	}
	if len(others) == 0 || sum <= 1 {
		return nil
	}
	return fmt.Errorf("%w %s%s: %s and %s are %d %% of the time, at most 100 %%: lengthen a period, or read less",
		ErrCrowded, p.Source.Address, p.Source.Port, demand(name, p), strings.Join(others, ", "), percent(sum))
}

// demand says what a policy takes of its line.
func demand(name string, p *schema.Policy) string {
	needs := p.BusTime(p.Source.Kind.Fastest()).Slot
	return fmt.Sprintf("%s with %v of every %v (%d %%)", name, needs.Round(max(needs/100, time.Millisecond)), p.Period, percent(p.Share()))
}

// percent is rounded up, so that what is too much reads as too much.
func percent(share float64) int { return int(share*100 + 0.999) }

// sourceOf is a policy's source as the policies on its port have it together: they
// share one window of meters that are read at once, and none may open it further
// than another wants it. SNMP agents have no port in common.
func (e *Engine) sourceOf(s schema.Source) schema.Source {
	if s.Kind.Protocol() == schema.SNMP {
		return s
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, r := range e.policies {
		if o := r.policy.Source; o.Parallel > 0 && r.policy.IsEnabled() && samePort(o, s) {
			s.Parallel = min(s.Parallel, o.Parallel)
		}
	}
	return s
}
