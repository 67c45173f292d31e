package pebble

import (
	"context"
	"fmt"
	"runtime"

	"github.com/cockroachdb/pebble/v2"

	"gnomon/cloud/store"
)

// maxGroup bounds the bytes of one batch, so that one sync stays short and the
// batch fits the write buffer.
const maxGroup = 2 << 20

// Run commits what is submitted until ctx ends, then what is still queued, so
// that everything accepted is answered. It returns nil, or the failure that
// broke the store, after which it keeps refusing until ctx ends.
func (s *Store) Run(ctx context.Context) error {
	defer s.drain()
	group := make([]change, 0, 256)
	for {
		select {
		case c := <-s.queue:
			group = s.collect(append(group[:0], c))
			s.commit(group)
			clear(group)
		case <-ctx.Done():
			return s.Err()
		}
	}
}

// yields is how often whoever can run goes first before a group is closed. A
// sync costs as much as many changes: while the processors are busy, those who are
// about to submit make the group worth it, and when they aren't it costs nothing.
const yields = 3

// collect adds what is already waiting, without waiting for more.
func (s *Store) collect(group []change) []change {
	size := sizeOf(group[0])
	for yielded := 0; size < maxGroup; {
		select {
		case c := <-s.queue:
			group = append(group, c)
			size += sizeOf(c)
		default:
			if yielded == yields {
				return group
			}
			runtime.Gosched()
			yielded++
		}
	}
	return group
}

func sizeOf(c change) int {
	n := 0
	for _, r := range c.records {
		n += len(r.Data) + len(r.Key.Thing) + len(r.Key.Shadow) + 16
	}
	return n
}

// commit writes a group in one batch with one sync and answers its members.
func (s *Store) commit(group []change) {
	err := s.Err()
	if err == nil {
		if err = s.write(group); err != nil {
			err = fmt.Errorf("%w: %w", store.ErrBroken, err)
			s.broken.Store(&err)
		}
	}
	for _, c := range group {
		c.done(err)
	}
}

func (s *Store) write(group []change) (err error) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case fatal:
			err = r
		default:
			panic(r)
		}
	}()
	batch := s.db.NewBatch()
	defer batch.Close()
	var key []byte
	for _, c := range group {
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

// drain closes the door, waits until nobody is in it, and commits what came in.
func (s *Store) drain() {
	close(s.stop)
	s.gate.Lock()
	defer s.gate.Unlock()
	for {
		select {
		case c := <-s.queue:
			s.commit([]change{c})
		default:
			return
		}
	}
}
