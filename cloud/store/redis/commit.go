package redis

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"gnomon/cloud/store"
)

// maxGroup bounds the bytes of one pipeline, so that its last member doesn't
// wait long for its first.
const maxGroup = 1 << 18

// idle is how long nothing is committed before the server is asked whether it is
// still there, for Err.
const idle = time.Second

// rest is for how long, after a group was tried again, others are not. While one
// master of a Cluster is replaced, things of the others have to get through.
const rest = 5 * time.Second

// lanes is how many committers there are, each for some of the things and with a
// connection of its own. While the server works for one, others read their
// answers and write what is next; and with appendfsync always one sync serves all
// that came meanwhile.
const lanes = 4

// committer commits the changes of its things, one group after the other.
type committer struct {
	*Store
	queue  chan *change
	known  known
	waited time.Time // when a group was last tried again
}

// moveFor is how long a change is tried again whose keys lie apart because their
// slot is being moved. It takes milliseconds, and if it should hang, others don't
// wait for it.
const moveFor = 100 * time.Millisecond

// isMoving tells that a slot is being moved.
func isMoving(err error) bool {
	var reply goredis.Error
	return errors.As(err, &reply) && strings.HasPrefix(reply.Error(), "TRYAGAIN")
}

// Run commits what is submitted until ctx ends, then what is still queued, so
// that everything accepted is answered.
func (s *Store) Run(ctx context.Context) error {
	var working sync.WaitGroup
	for i := range s.lanes {
		working.Go(func() { s.lanes[i].work(ctx) })
	}
	quiet := time.NewTicker(idle)
	defer quiet.Stop()
	for ctx.Err() == nil {
		select {
		case <-quiet.C:
			if s.silence() > idle {
				s.judge(s.client.Ping(ctx).Err())
			}
		case <-ctx.Done():
		}
	}
	working.Wait()
	s.drain()
	return nil
}

func (s *committer) work(ctx context.Context) {
	group := make([]*change, 0, 256)
	for {
		select {
		case c := <-s.queue:
			group = s.collect(append(group[:0], c))
			s.commit(ctx, group)
			clear(group)
		case <-ctx.Done():
			return
		}
	}
}

// collect adds what is already waiting, without waiting for more.
func (s *committer) collect(group []*change) []*change {
	for size := group[0].bytes; size < maxGroup; {
		select {
		case c := <-s.queue:
			group = append(group, c)
			size += c.bytes
		default:
			return group
		}
	}
	return group
}

// commit writes a group and answers its members in order.
func (s *committer) commit(ctx context.Context, group []*change) {
	// What was accepted is finished even if ctx ends, though not tried again.
	detached := context.WithoutCancel(ctx)
	open := make([]*change, 0, len(group))
	for _, c := range group {
		if len(c.records) > 0 {
			open = append(open, c)
		}
	}
	open = s.enter(detached, open)
	deadline := time.Now().Add(s.retryFor)
	if time.Since(s.waited) < rest {
		deadline = time.Now() // one attempt: things on other servers are waiting
	}
	began, asked, tried := time.Now(), len(open), 0
	var failure error
	for pause := 2 * time.Millisecond; len(open) > 0; pause = min(2*pause, 200*time.Millisecond) {
		open, failure = s.attempt(detached, open)
		if failure != nil {
			s.relocate(detached)
		}
		if len(open) == 0 || ctx.Err() != nil {
			break
		}
		moving := isMoving(failure)
		if tried++; tried > 1 && !moving {
			s.waited = time.Now()
		}
		if !moving && time.Now().After(deadline) || moving && time.Since(began) > moveFor {
			break
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
	settle(group)
	switch {
	case len(open) < asked:
		s.judge(nil) // somebody was there
	case asked > 0:
		s.judge(failure)
	}
	for _, c := range group {
		c.done(c.err)
	}
}

// judge decides whether the server is away: of a Cluster, some of whose masters
// answer, it isn't.
func (s *Store) judge(err error) {
	switch {
	case err == nil:
		s.heard.Store(time.Now().UnixNano())
		s.note(nil)
	case s.silence() > idle:
		s.note(err)
	}
}

// silence is for how long the server hasn't answered.
func (s *Store) silence() time.Duration { return time.Duration(time.Now().UnixNano() - s.heard.Load()) }

// relocate looks anew which server has which slots. Our pipelines are not
// redirected, and so don't find out.
func (s *Store) relocate(ctx context.Context) {
	for _, client := range []goredis.UniversalClient{s.client, s.commits} {
		if cluster, ok := client.(*goredis.ClusterClient); ok {
			cluster.ReloadState(ctx)
		}
	}
}

// attempt runs the scripts of a group and returns the changes to be tried again,
// and why. One that wasn't run takes with it all later ones of its thing, so that
// they are run in order.
func (s *Store) attempt(ctx context.Context, group []*change) (again []*change, failure error) {
	s.perform(ctx, s.plan(group))
	held := make(map[string]bool)
	var others []*change // that plainScript didn't take
	for _, c := range group {
		if c.outcome == failed && !permanent(c.err) {
			held[c.thing] = true
		} else if c.outcome == untried && !held[c.thing] {
			others = append(others, c)
		}
	}
	if len(others) > 0 {
		s.perform(ctx, wholes(others))
	}
	clear(held)
	for _, c := range group {
		if c.outcome == failed {
			c.unsure = c.unsure || maybeRun(c.err)
			last := permanent(c.err)
			c.err = fmt.Errorf("commit: %w", explain(c.err))
			if last {
				continue
			}
			if failure == nil || isMoving(failure) {
				failure = c.err
			}
			held[c.thing] = true
		}
		if held[c.thing] {
			c.unsure = c.unsure || c.outcome == wrote
			if c.err == nil {
				c.err = failure
			}
			again = append(again, c)
			continue
		}
		c.written, c.err = c.outcome == wrote, nil
		if !c.written {
			c.err = store.ErrConflict
		}
	}
	return again, failure
}

// maybeRun tells an error after which the script may have been run, if only for
// some of its records. Of a redirection it isn't known how the next server took
// it.
func maybeRun(err error) bool {
	if isReply(err) {
		for _, before := range []string{"NOSCRIPT", "TRYAGAIN", "CLUSTERDOWN", "LOADING", "READONLY", "MASTERDOWN", "NOREPLICAS", "MISCONF", "BUSY", "NOPERM", "NOAUTH", "OOM"} {
			if strings.HasPrefix(err.Error(), before) {
				return false
			}
		}
		return true
	}
	return !strings.Contains(err.Error(), "dial ")
}

// permanent tells an error that trying again won't mend.
func permanent(err error) bool {
	return isReply(err) && (strings.HasPrefix(err.Error(), "NOPERM") || strings.HasPrefix(err.Error(), "ERR") || strings.HasPrefix(err.Error(), "OOM"))
}

// settle decides what became of scripts that may have run unseen. When a later
// one found its base, the one that wrote that base did run. Else the conflict it
// met may be one with itself, and all that can be said is that it isn't known.
func settle(group []*change) {
	found := make(map[store.Key]store.Sum)
	for i := len(group) - 1; i >= 0; i-- {
		c := group[i]
		if c.unsure && !c.written {
			c.written = len(c.records) > 0
			for _, r := range c.records {
				c.written = c.written && r.sum != store.None && found[r.key] == r.sum
			}
			switch {
			case c.written:
				c.err = nil
			case errors.Is(c.err, store.ErrConflict) && c.writes():
				c.err = errors.New("commit: the answer was lost, and another change came after it")
			}
		}
		if c.written {
			for _, r := range c.records {
				found[r.key] = r.base
			}
		}
	}
}

// drain closes the door, waits until nobody is in it, and commits what came in.
func (s *Store) drain() {
	close(s.stop)
	s.gate.Lock()
	defer s.gate.Unlock()
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	for i := range s.lanes {
		lane := &s.lanes[i]
		for len(lane.queue) > 0 {
			lane.commit(ended, lane.collect([]*change{<-lane.queue}))
		}
	}
}
