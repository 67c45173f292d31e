package collect

import (
	"context"
	"slices"

	"gnomon/schema"
)

// Read reads one meter of a policy now, ahead of what is read in cycles, and
// returns its latest readings, which are in reports as well. A policy that is disabled
// can be read too: its port is closed again afterwards.
func (e *Engine) Read(ctx context.Context, policy, meter string) (map[string]Reading, error) {
	e.mu.Lock()
	r := e.policies[policy]
	e.mu.Unlock()
	if r == nil {
		return nil, ErrUnknown
	}
	at := slices.IndexFunc(r.policy.Meters, func(m schema.Meter) bool { return m.ID == meter })
	if at < 0 {
		return nil, ErrUnknown
	}
	defer e.borrow(r)()
	m := r.policy.Meters[at]
	items := r.policy.ItemsOf(m)
	result, err := r.askDriver(ctx, Request{Source: e.sourceOf(r.policy.Source), Meter: m, Items: items, Demand: true})
	r.take(m.ID, items, result)
	e.signal()
	return r.snapshot().Readings[m.ID], err
}

// port names the medium of a source, whatever its settings.
type port struct {
	kind          schema.SourceKind
	address, port string
}

func portOf(s schema.Source) port { return port{s.Kind, s.Address, s.Port} }

// samePort tells whether two sources are one medium.
func samePort(a, b schema.Source) bool { return portOf(a) == portOf(b) }

// borrow keeps the port of a policy from being closed under somebody who asks for a
// meter by himself. What is returned gives it back: whoever is the last to use the port
// closes it, since the policy may be disabled, changed or gone by then.
func (e *Engine) borrow(r *runner) (giveBack func()) {
	source := r.policy.Source
	e.mu.Lock()
	defer e.mu.Unlock()
	e.borrowed[portOf(source)]++
	return func() {
		e.mu.Lock()
		left := e.borrowed[portOf(source)] - 1
		if e.borrowed[portOf(source)] = left; left == 0 {
			delete(e.borrowed, portOf(source))
		}
		unused := left == 0 && !e.uses(source) && !e.finishes(source)
		e.mu.Unlock()
		if unused {
			r.releasePort(source)
		}
	}
}

// finishes tells whether a version of a policy that another has followed still polls
// through a source's port, which is closed when it has ended. The engine must be locked.
func (e *Engine) finishes(s schema.Source) bool {
	for _, r := range e.policies {
		for former := r.former; former != nil; former = former.former {
			select {
			case <-former.done:
			default:
				if former.policy.IsEnabled() && samePort(former.policy.Source, s) {
					return true
				}
			}
		}
	}
	return false
}
