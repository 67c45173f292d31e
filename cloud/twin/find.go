package twin

import (
	"context"

	"gnomon/cloud/identity"
	"gnomon/cloud/store"
	"gnomon/shadow"
)

// MayList says whether somebody may ask about all things, for whoever answers
// such questions from what Config.Committed told.
func (s *Service) MayList(p identity.Principal) error { return authorize(p, actionList, "") }

// Peek returns a shadow as committed, nil when there never was one, without
// making room for it in the cache: reading everything doesn't drive out what is hot.
func (s *Service) Peek(ctx context.Context, p identity.Principal, key store.Key) (*shadow.Document, error) {
	if err := authorize(p, actionRead, key.Thing); err != nil {
		return nil, err
	}
	return s.peek(ctx, key)
}
