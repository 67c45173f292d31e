package fanout

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// downFor is how long one of the channels may be down before the replica says
// that it isn't ready. A Cluster replaces a master in less; while it does, all
// replicas miss the same channels, and none is better than another.
const downFor = 30 * time.Second

// stand notes the state of channels. Of one that stands again something may have
// been lost.
func (f *Fanout) stand(channels []int, err error) {
	f.mu.Lock()
	again := false
	for _, c := range channels {
		s := &f.stands[c]
		if err != nil {
			if s.down == nil {
				s.since = time.Now()
			}
			s.down = err
			continue
		}
		again = again || s.before
		s.before, s.down = true, nil
	}
	if err == nil && !slices.ContainsFunc(f.stands[:], func(s standing) bool { return !s.before }) {
		select {
		case <-f.whole:
		default:
			close(f.whole)
		}
	}
	f.mu.Unlock()
	if again {
		f.lost()
	}
}

// Wait waits until this replica hears the others on every channel for the first
// time. What is read from the store after that misses nothing: later changes are
// heard of.
func (f *Fanout) Wait(ctx context.Context) error {
	select {
	case <-f.whole:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// ErrDeaf: this replica doesn't hear the others.
var ErrDeaf = errors.New("fan-out: other replicas are not heard")

// Ready returns nil while this replica hears the others, else why it doesn't. It
// begins when all channels have stood, and ends when none does, or one hasn't for
// half a minute.
func (f *Fanout) Ready() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	down, long := 0, false
	var why error
	for i := range f.stands {
		s := &f.stands[i]
		if s.down != nil {
			down, why = down+1, s.down
			long = long || !s.before || time.Since(s.since) > downFor
		}
	}
	if down == 0 || down < Channels && !long {
		return nil
	}
	return fmt.Errorf("%w on %d of %d channels: %w", ErrDeaf, down, Channels, why)
}
