package twin

import (
	"context"

	"gnomon/cloud/identity"
	"gnomon/cloud/store"
	"gnomon/shadow"
	"gnomon/shadow/wire"
)

// Edit is a change of a desired section that depends on what that is.
type Edit struct {
	// Change makes the new section of the old one, which is nil when absent. It
	// may be called more than once, and other changes of the thing wait for it.
	Change func(old *shadow.Value) (*shadow.Value, error)
	Expect *uint64 // when given, must be the current version
}

// EditDesired changes the desired section of a shadow that exists and returns
// the document once it is durable. When the section stays what it is there is no
// new version.
func (s *Service) EditDesired(ctx context.Context, p identity.Principal, key store.Key, e Edit) (*shadow.Document, error) {
	plan := func(head *shadow.Document, now int64) (*shadow.Document, *shadow.Update, error) {
		if !head.Exists() {
			return nil, nil, wire.NotFound(key.Thing, key.Shadow)
		}
		if e.Expect != nil && *e.Expect != head.Version {
			return nil, nil, shadow.ErrVersionConflict
		}
		wanted, err := e.Change(head.Desired)
		if err != nil {
			return nil, nil, err
		}
		u := editUpdate(head.Desired, shadow.Merge(nil, wanted, now))
		if u == nil {
			return nil, nil, nil
		}
		next, err := head.Apply(u, now, s.cfg.Limits)
		return next, u, err
	}
	return s.await(ctx, change{principal: p, key: key, plan: plan})
}

// editUpdate is the update that makes one section of another, nil when they are equal.
func editUpdate(from, to *shadow.Value) *shadow.Update {
	patch := shadow.PatchBetween(from, to)
	if patch == nil || from == nil && to.Len() == 0 {
		return nil
	}
	return &shadow.Update{Desired: shadow.Section{Present: true, Patch: patch}}
}
