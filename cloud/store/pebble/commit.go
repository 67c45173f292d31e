package pebble

import (
	"context"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"gnomon/cloud/store"
	"gnomon/cloud/store/group"
	"gnomon/cloud/store/pebble/logger"
)

// maxGroup bounds the bytes of one batch, so that one sync stays short and the
// batch fits the write buffer.
const maxGroup = 2 << 20

type change struct {
	records []store.Record
	done    func(error)
}

func sizeOf(c change) int {
	n := 0
	for _, r := range c.records {
		n += len(r.Data) + len(r.Key.Thing) + len(r.Key.Shadow) + 16
	}
	return n
}

// Submit implements store.Store.
func (s *Store) Submit(ctx context.Context, records []store.Record, done func(error)) error {
	if err := s.Err(); err != nil {
		return err
	}
	return s.group.Submit(ctx, change{records, done})
}

// Run commits what is submitted until ctx ends, then what is still queued, so
// that everything accepted is answered. It returns nil, or the failure that
// broke the store, after which it keeps refusing until ctx ends.
func (s *Store) Run(ctx context.Context) error {
	s.group.Run(ctx, group.Work[change]{Commit: s.commit})
	return s.Err()
}

// commit writes a group in one batch with one sync and answers its members.
func (s *Store) commit(all []change) {
	err := s.Err()
	if err == nil {
		if err = s.write(all); err != nil {
			err = fmt.Errorf("%w: %w", store.ErrBroken, err)
			s.broken.Store(&err)
		}
	}
	for _, c := range all {
		c.done(err)
	}
}

func (s *Store) write(all []change) (err error) {
	defer logger.Caught(&err)
	batch := s.db.NewBatch()
	defer batch.Close()
	var key []byte
	for _, c := range all {
		for _, r := range c.records {
			if r.Data == nil {
				continue // to be compared: with one writer there is nothing to compare with
			}
			key = recordKey(key[:0], r.Key)
			if err := batch.Set(key, r.Data, nil); err != nil {
				return err
			}
		}
	}
	return batch.Commit(pebble.Sync)
}
