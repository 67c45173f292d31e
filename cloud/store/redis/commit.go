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
const maxGroup = 1 << 20

// idle is how long nothing is committed before the server is asked whether it is
// still there, for Err.
const idle = time.Second

// rest is for how long, after a group was tried again, others are not. While one
// master of a Cluster is replaced, things of the others have to get through.
const rest = 5 * time.Second

// Run commits what is submitted until ctx ends, then what is still queued, so
// that everything accepted is answered.
func (s *Store) Run(ctx context.Context) error {
	defer s.drain()
	group := make([]*change, 0, 256)
	quiet := time.NewTicker(idle)
	defer quiet.Stop()
	for {
		select {
		case c := <-s.queue:
			group = s.collect(append(group[:0], c))
			s.commit(ctx, group)
			clear(group)
			quiet.Reset(idle)
		case <-quiet.C:
			s.judge(s.client.Ping(ctx).Err())
		case <-ctx.Done():
			return nil
		}
	}
}

// collect adds what is already waiting, without waiting for more.
func (s *Store) collect(group []*change) []*change {
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
func (s *Store) commit(ctx context.Context, group []*change) {
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
	asked, tried := len(open), 0
	var failure error
	for pause := 2 * time.Millisecond; len(open) > 0; pause = min(2*pause, 200*time.Millisecond) {
		open, failure = s.attempt(detached, open)
		if failure != nil {
			s.relocate(detached)
		}
		if tried++; tried > 1 {
			s.waited = time.Now()
		}
		if len(open) == 0 || ctx.Err() != nil || time.Now().After(deadline) {
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
		s.heard = time.Now()
		s.note(nil)
	case time.Since(s.heard) > idle:
		s.note(err)
	}
}

// relocate looks anew which server has which slots. Our pipelines are not
// redirected, and so don't find out.
func (s *Store) relocate(ctx context.Context) {
	for _, client := range []goredis.UniversalClient{s.client, s.commits} {
		if cluster, ok := client.(*goredis.ClusterClient); ok {
			cluster.ReloadState(ctx)
		}
	}
}

// attempt runs the scripts of a group in one pipeline and returns those to be
// run again, and why. One that wasn't run takes with it all later ones of its
// thing, so that they are run in order.
func (s *Store) attempt(ctx context.Context, group []*change) (again []*change, failure error) {
	s.pipeline(ctx, group, commitScript.EvalSha)
	var missing []*change
	for _, c := range group {
		if err := c.reply.Err(); err != nil && strings.HasPrefix(err.Error(), "NOSCRIPT") {
			missing = append(missing, c)
		}
	}
	if len(missing) > 0 { // a server that was started since, or is new
		s.pipeline(ctx, missing, commitScript.Eval)
	}
	held := make(map[string]bool)
	for _, c := range group {
		n, err := c.reply.Int64()
		if err != nil {
			c.err = fmt.Errorf("commit: %w", err)
			c.unsure = c.unsure || maybeRun(err)
			if permanent(err) {
				continue
			}
			failure = c.err
			held[c.thing] = true
		}
		if held[c.thing] {
			again = append(again, c)
			continue
		}
		c.written, c.err = n != answerConflict, nil
		if !c.written {
			c.err = store.ErrConflict
		}
	}
	return again, failure
}

// lanes is how many connections a large group is sent over. While the server
// works on one part the next is written and the last is read, and with
// appendfsync always one sync serves what came over all of them: the server
// takes some 16 KiB from a connection before it syncs.
const (
	lanes    = 4
	laneSize = 16 // changes that are worth a connection
)

// pipeline runs the scripts of a group; those of one thing in order.
func (s *Store) pipeline(ctx context.Context, group []*change, run runner) {
	n := min(lanes, len(group)/laneSize)
	if n < 2 {
		s.lane(ctx, group, run)
		return
	}
	parts := make([][]*change, n)
	for _, c := range group {
		i := c.hash % uint64(n)
		parts[i] = append(parts[i], c)
	}
	var wg sync.WaitGroup
	for _, part := range parts {
		wg.Go(func() { s.lane(ctx, part, run) })
	}
	wg.Wait()
}

// runner is EvalSha or Eval of a script.
type runner func(ctx context.Context, c goredis.Scripter, keys []string, args ...any) *goredis.Cmd

func (s *Store) lane(ctx context.Context, group []*change, run runner) {
	if len(group) == 0 {
		return
	}
	pipe := s.commits.Pipeline()
	for _, c := range group {
		c.reply = run(ctx, pipe, c.keys, c.args...)
	}
	_, _ = pipe.Exec(ctx) // every command has its own
}

// maybeRun tells an error after which the script may have been run.
func maybeRun(err error) bool {
	return !isReply(err) && !strings.Contains(err.Error(), "dial ")
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
			for j, r := range c.records {
				c.written = c.written && c.sums[j] != store.None && found[r.Key] == c.sums[j]
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
				found[r.Key] = r.Base
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
	for {
		select {
		case c := <-s.queue:
			s.commit(ended, s.collect([]*change{c}))
		default:
			return
		}
	}
}
