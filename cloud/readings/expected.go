package readings

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gnomon/cloud/history"
	"gnomon/cloud/identity"
	"gnomon/cloud/store"
	"gnomon/schema"
	"gnomon/shadow"
)

// span is a version of a policy with the time for which it was in force: from its
// being written in the cloud, to the next one. A slot is expected of it from the time
// on by which the node has it.
type span struct {
	version  uint64
	from, to time.Time
	taken    time.Time
	policy   *schema.Policy
}

// taking is how long a version is given to reach its node: a slot meanwhile is
// expected of none, since nobody knows which version the node had. History knows
// whole seconds, so that one to two of them are left.
const taking = 2 * time.Second

// inForce returns what was desired of a policy within a time, oldest first. Where
// nothing was, or it was disabled, there is no span. vague tells that the history
// doesn't go back far enough: then the oldest version that is known stands for those
// before it.
func (s *Service) inForce(ctx context.Context, p identity.Principal, of Policy, from, to time.Time) (spans []span, vague bool, err error) {
	log, now, err := s.cfg.Past.History(ctx, p, store.Key{Thing: of.Node, Shadow: schema.PolicyPrefix + of.Name})
	if errors.Is(err, shadow.ErrNotFound) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("what was desired of policy %s of %s: %w", of.Name, of.Node, err)
	}
	entries := log.Entries()
	if len(entries) == 0 { // none is kept
		return within(nil, desiredOf(now), span{version: now.DesiredVersion, from: from, to: to}), true, nil
	}
	for i, e := range entries {
		began, ended := time.Unix(e.Time, 0), to
		taken := began.Add(taking)
		if i == 0 && e.Before != 0 {
			vague = began.After(from)
			began, taken = from, from
		}
		if i+1 < len(entries) {
			ended = time.Unix(entries[i+1].Time, 0)
		}
		if !began.Before(to) || !ended.After(from) {
			continue
		}
		_, desired, err := log.At(e.Version)
		if errors.Is(err, history.ErrNotKept) {
			continue
		}
		if err != nil {
			return nil, false, fmt.Errorf("what was desired of policy %s of %s: %w", of.Name, of.Node, err)
		}
		spans = within(spans, desired, span{version: e.Version, from: later(began, from), to: earlier(ended, to), taken: taken})
	}
	return spans, vague, nil
}

func desiredOf(d *shadow.Document) *shadow.Value {
	if !d.Exists() {
		return nil
	}
	return d.Desired
}

// within adds a span, if there is something to read in it.
func within(spans []span, desired *shadow.Value, sp span) []span {
	if desired == nil {
		return spans
	}
	policy, err := schema.ParsePolicy(desired.AppendJSON(nil))
	if err != nil || !policy.IsEnabled() { // one that an older version let pass
		return spans
	}
	sp.policy = policy
	return append(spans, sp)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// Day is a day by the clock of some place.
type Day struct {
	From, To time.Time
	Zone     string // offset from UTC, such as +08:00
}

// dayForm is how days are written.
const dayForm = "2006-01-02"

// dayOf returns a day by the clock of a policy: that of the version in force at its
// end, or else in UTC. date is at midnight in UTC.
func (s *Service) dayOf(ctx context.Context, p identity.Principal, of Policy, date time.Time) (Day, []span, bool, error) {
	const zones = 14 * time.Hour // an offset is no more
	all, vague, err := s.inForce(ctx, p, of, date.Add(-zones), date.Add(24*time.Hour+zones))
	if err != nil {
		return Day{}, nil, false, err
	}
	offset, zone := time.Duration(0), "+00:00"
	if len(all) > 0 {
		last := all[len(all)-1].policy
		offset, zone = last.Offset(), last.Zone
	}
	d := Day{date.Add(-offset), date.Add(24*time.Hour - offset), zone}
	var spans []span
	for _, sp := range all {
		sp.from, sp.to = later(sp.from, d.From), earlier(sp.to, d.To)
		if sp.from.Before(sp.to) {
			spans = append(spans, sp)
		}
	}
	return d, spans, vague, nil
}

// settled is how long after a slot it counts: when its cycle is over, or after an
// hour, and the node has had the time to tell that the policy gives it.
func settled(p *schema.Policy) time.Duration {
	return min(p.Period.D(), time.Hour) + min(p.Report.MaxDelay.D(), time.Hour)
}

// first is where slots are expected from.
func (sp *span) first() time.Time { return later(sp.from, sp.taken) }

// slots calls each with the slots of a span that have settled.
func (sp *span) slots(now time.Time, each func(slot time.Time)) {
	for t := sp.policy.NextSlot(sp.first().Add(-time.Nanosecond)); t.Before(sp.to); t = t.Add(sp.policy.Period.D()) {
		if t.Add(settled(sp.policy)).After(now) {
			return
		}
		if sp.policy.InWindow(t) {
			each(t)
		}
	}
}

// next returns the first slot of a span that hasn't settled, if there is one.
func (sp *span) next(now time.Time) *NextSlot {
	after := later(sp.first().Add(-time.Nanosecond), now.Add(-settled(sp.policy)))
	for t := sp.policy.NextSlot(after); t.Before(sp.to); t = t.Add(sp.policy.Period.D()) {
		if sp.policy.InWindow(t) {
			return &NextSlot{t, t.Add(settled(sp.policy))}
		}
	}
	return nil
}

// isSlot tells whether a time is a slot of the span that has settled.
func (sp *span) isSlot(at, now time.Time) bool {
	return !at.Before(sp.first()) && at.Before(sp.to) && !at.Add(settled(sp.policy)).After(now) &&
		sp.policy.NextSlot(at.Add(-time.Nanosecond)).Equal(at) && sp.policy.InWindow(at)
}
