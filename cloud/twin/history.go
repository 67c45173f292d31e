package twin

import (
	"context"
	"errors"
	"fmt"

	"gnomon/cloud/history"
	"gnomon/cloud/identity"
	"gnomon/cloud/store"
	"gnomon/shadow"
	"gnomon/shadow/wire"
)

// readAttempts is how often a shadow and its history are read until both are of
// the same moment.
const readAttempts = 8

// History returns what desired of a shadow was, the last few times it was
// written. A shadow that was deleted has one, too.
func (s *Service) History(ctx context.Context, p identity.Principal, key store.Key) (*history.Log, *shadow.Document, error) {
	if err := authorize(p, actionRead, key.Thing); err != nil {
		return nil, nil, err
	}
	if key.Internal() {
		return nil, nil, wire.NotFound(key.Thing, key.Shadow)
	}
	for attempt := 1; ; attempt++ {
		d, err := s.current(ctx, key)
		if err != nil {
			return nil, nil, unavailable(err)
		}
		if d == nil {
			return nil, nil, wire.NotFound(key.Thing, key.Shadow)
		}
		h, err := s.peek(ctx, history.Key(key))
		if err != nil {
			return nil, nil, err
		}
		log, err := history.Read(h, d)
		if err != nil {
			return nil, nil, unavailable(err)
		}
		if len(log.Entries()) > 0 || h == nil || attempt == readAttempts {
			return log, d, nil
		}
	}
}

// NotKept says that a version is not in the history, and which are.
func NotKept(key store.Key, version uint64, log *history.Log) error {
	kept := "it keeps none"
	if all := log.Entries(); len(all) > 0 {
		kept = fmt.Sprintf("the versions of desired that are kept are %d to %d", all[0].Version, all[len(all)-1].Version)
	}
	name := key.Thing
	if key.Shadow != "" {
		name += "/" + key.Shadow
	}
	return &wire.Error{Code: wire.CodeNotFound, Message: fmt.Sprintf("Version %d of %s is not in its history: %s, and not every version of a shadow changes desired", version, name, kept)}
}

// Revert makes desired what it was at an earlier version, as a version of its
// own. Where it is that already nothing changes. expect, when given, must be the
// current version.
func (s *Service) Revert(ctx context.Context, p identity.Principal, key store.Key, version uint64, expect *uint64) (d *shadow.Document, changed bool, err error) {
	log, _, err := s.History(ctx, p, key)
	if err != nil {
		return nil, false, err
	}
	e, desired, err := log.At(version)
	switch {
	case errors.Is(err, history.ErrNotKept):
		return nil, false, NotKept(key, version, log)
	case err != nil:
		return nil, false, unavailable(err)
	case e.Deleted:
		return nil, false, &shadow.InvalidError{Message: fmt.Sprintf("Version %d is the deletion of the shadow; to do that again, delete it", version)}
	case desired == nil:
		desired = shadow.NewObject()
	}
	return s.ReplaceDesired(ctx, p, key, desired, expect)
}
