package twin

import (
	"context"
	"errors"
	"strings"

	"gnomon/cloud/identity"
	"gnomon/cloud/store"
	"gnomon/schema"
	"gnomon/shadow"
	"gnomon/shadow/wire"
)

// Entry is a shadow in a list.
type Entry struct {
	Key      store.Key
	Document *shadow.Document
}

// Get returns a shadow as committed. The error of one that doesn't exist is
// shadow.ErrNotFound in the contract's words.
func (s *Service) Get(ctx context.Context, p identity.Principal, key store.Key) (*shadow.Document, error) {
	if err := authorize(p, actionRead, key.Thing); err != nil {
		return nil, err
	}
	if key.Internal() {
		return nil, wire.NotFound(key.Thing, key.Shadow)
	}
	d, err := s.current(ctx, key)
	if err != nil {
		return nil, unavailable(err)
	}
	if d.Exists() {
		return d, nil
	}
	return nil, wire.NotFound(key.Thing, key.Shadow)
}

// current returns the committed document: of a shared store the one that is
// there now, whoever wrote it, so that reads are as fresh as the store's own.
func (s *Service) current(ctx context.Context, key store.Key) (*shadow.Document, error) {
	if s.cfg.Shared {
		d, _, err := load(ctx, s.cfg.Store, key)
		return d, err
	}
	st := s.stripeOf(key.Thing)
	st.mu.Lock()
	defer st.mu.Unlock()
	e, err := st.get(ctx, s.cfg.Store, key)
	if err != nil {
		return nil, err
	}
	return e.committed.Load(), nil
}

// scanChunk is how many records one look at the store takes.
const scanChunk = 128

// Shadows returns up to limit shadows of a thing whose names begin with prefix,
// in order, after the name after. next is what to give as after for more, ""
// when there are no more.
func (s *Service) Shadows(ctx context.Context, p identity.Principal, thing string, page Page) (list []Entry, next string, err error) {
	if err := authorize(p, actionRead, thing); err != nil {
		return nil, "", err
	}
	from := page.Prefix
	if page.After != "" {
		from = page.After + "\x00"
	}
	for {
		if from < firstNamed && from != "" {
			from = firstNamed // over the internal records, which lie behind the classic shadow
		}
		records, err := store.ScanThing(ctx, s.cfg.Store, store.Key{Thing: thing, Shadow: from}, scanChunk)
		if err != nil {
			return nil, "", unavailable(err)
		}
		for _, r := range records {
			if !strings.HasPrefix(r.Key.Shadow, page.Prefix) {
				return list, "", nil
			}
			if r.Key.Internal() {
				continue
			}
			d, err := shadow.ParseRecord(r.Data)
			if err != nil {
				s.cfg.Log.Error("a stored shadow is unreadable", "thing", thing, "shadow", r.Key.Shadow, "error", err)
				continue
			}
			if !d.Exists() {
				continue
			}
			if len(list) == page.Limit {
				return list, list[len(list)-1].Key.Shadow, nil
			}
			list = append(list, Entry{r.Key, d})
		}
		if len(records) < scanChunk {
			return list, "", nil
		}
		from = records[len(records)-1].Key.Shadow + "\x00"
	}
}

// firstNamed is not behind any named shadow and behind all internal records.
const firstNamed = "$"

// Page is a part of a list.
type Page struct {
	Prefix string // of the names wanted
	After  string // the last name of the part before; "" = from the start
	Limit  int    // at least 1
}

// Named returns the names of a thing's named shadows, in order.
func (s *Service) Named(ctx context.Context, p identity.Principal, thing string, page Page) (names []string, next string, err error) {
	page.Limit++ // the classic shadow, first of all, isn't listed
	list, next, err := s.Shadows(ctx, p, thing, page)
	for _, e := range list {
		if e.Key.Shadow != "" {
			names = append(names, e.Key.Shadow)
		}
	}
	if len(names) == page.Limit {
		names = names[:page.Limit-1]
		next = names[len(names)-1]
	}
	return names, next, err
}

// Nodes returns up to limit nodes in order of their names, after the name after.
func (s *Service) Nodes(ctx context.Context, p identity.Principal, page Page) (list []Entry, next string, err error) {
	if err := authorize(p, actionList, ""); err != nil {
		return nil, "", err
	}
	from := page.Prefix
	if page.After != "" {
		from = page.After + "\x00"
	}
	for {
		things, err := s.cfg.Store.Things(ctx, from, scanChunk)
		if err != nil {
			return nil, "", unavailable(err)
		}
		for _, thing := range things {
			if !strings.HasPrefix(thing, page.Prefix) {
				return list, "", nil
			}
			d, err := s.peek(ctx, store.Key{Thing: thing})
			if err != nil {
				return nil, "", err
			}
			if !schema.IsNode(d) {
				continue
			}
			if len(list) == page.Limit {
				return list, list[len(list)-1].Key.Thing, nil
			}
			list = append(list, Entry{store.Key{Thing: thing}, d})
		}
		if len(things) < scanChunk {
			return list, "", nil
		}
		from = things[len(things)-1] + "\x00"
	}
}

// peek returns a committed document without making room for it in the cache, so
// that listing everything doesn't drive out what is hot.
func (s *Service) peek(ctx context.Context, key store.Key) (*shadow.Document, error) {
	st := s.stripeOf(key.Thing)
	st.mu.Lock()
	e := st.cached(key)
	if e != nil && !e.failed.Load() && !s.cfg.Shared {
		defer st.mu.Unlock()
		return e.committed.Load(), nil
	}
	st.mu.Unlock()
	d, _, err := load(ctx, s.cfg.Store, key)
	if errors.Is(err, shadow.ErrCorrupt) {
		s.cfg.Log.Error("a stored shadow is unreadable", "thing", key.Thing, "shadow", key.Shadow, "error", err)
		return nil, nil
	}
	if err != nil {
		return nil, unavailable(err)
	}
	return d, nil
}
