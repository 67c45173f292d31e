package twin

import (
	"context"

	"gnomon/cloud/identity"
	"gnomon/cloud/store"
	"gnomon/shadow"
	"gnomon/shadow/wire"
)

// Update applies u to a shadow and returns the new document once it is durable.
func (s *Service) Update(ctx context.Context, p identity.Principal, key store.Key, u *shadow.Update) (*shadow.Document, error) {
	return s.await(ctx, change{principal: p, key: key, plan: s.planUpdate(key, u)})
}

func (s *Service) planUpdate(key store.Key, u *shadow.Update) func(*shadow.Document, int64) (*shadow.Document, *shadow.Update, error) {
	return func(head *shadow.Document, now int64) (*shadow.Document, *shadow.Update, error) {
		next, err := head.Apply(u, now, s.cfg.Limits)
		return next, u, err
	}
}

// ReplaceDesired makes desired the whole desired section and returns the
// document once it is durable. When desired is that already nothing changes and
// there is no new version, unless some of it is there only until a change-set
// expires: then it is said again, and stays. expect, when given, must be the current version (0:
// there is no such shadow).
func (s *Service) ReplaceDesired(ctx context.Context, p identity.Principal, key store.Key, desired *shadow.Value, expect *uint64) (d *shadow.Document, changed bool, err error) {
	plan := func(head *shadow.Document, now int64) (*shadow.Document, *shadow.Update, error) {
		changed = false
		if expect != nil && *expect != currentVersion(head) {
			return nil, nil, shadow.ErrVersionConflict
		}
		var old *shadow.Value
		if head.Exists() {
			old = head.Desired
		}
		if s.lives.takeBack(key) { // who wants it to stay must be seen to have said so
			changed = true
			u := &shadow.Update{Desired: shadow.Section{Present: true, Patch: desired, Replace: true}}
			next, err := head.Apply(u, now, s.cfg.Limits)
			return next, u, err
		}
		patch := shadow.PatchBetween(old, shadow.Merge(nil, desired, now))
		if patch == nil && head.Exists() {
			return nil, nil, nil
		}
		if patch == nil {
			patch = shadow.NewObject()
		}
		changed = true
		u := &shadow.Update{Desired: shadow.Section{Present: true, Patch: patch}}
		next, err := head.Apply(u, now, s.cfg.Limits)
		return next, u, err
	}
	d, err = s.await(ctx, change{principal: p, key: key, plan: plan})
	return d, changed && err == nil, err
}

// currentVersion is that of a shadow which exists, else 0.
func currentVersion(d *shadow.Document) uint64 {
	if !d.Exists() {
		return 0
	}
	return d.Version
}

// Delete removes a shadow and returns its tombstone once that is durable.
// expect, when given, must be the current version.
func (s *Service) Delete(ctx context.Context, p identity.Principal, key store.Key, expect *uint64) (*shadow.Document, error) {
	return s.await(ctx, change{principal: p, key: key, plan: planDelete(key, expect, "")})
}

func planDelete(key store.Key, expect *uint64, token string) func(*shadow.Document, int64) (*shadow.Document, *shadow.Update, error) {
	return func(head *shadow.Document, now int64) (*shadow.Document, *shadow.Update, error) {
		if !head.Exists() {
			return nil, nil, wire.NotFound(key.Thing, key.Shadow)
		}
		next, err := head.Delete(expect, now)
		return next, &shadow.Update{ClientToken: token}, err
	}
}

// await submits a change and waits until it is durable. When ctx ends first,
// the change may still happen.
func (s *Service) await(ctx context.Context, c change) (*shadow.Document, error) {
	type result struct {
		d   *shadow.Document
		err error
	}
	answer := make(chan result, 1)
	c.done = func(d *shadow.Document, err error) { answer <- result{d, err} }
	if err := s.submit(ctx, c); err != nil {
		return nil, err
	}
	select {
	case r := <-answer:
		return r.d, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
